//! Gateways: one name means one thing, and each is known by where it sends from.

use std::collections::HashMap;

use crate::config::addresses::{SourceNet, ip_of};
use crate::config::checked::GatewayConfig;
use crate::config::keys::RouteFrom;
use crate::config::place::Path;
use crate::config::raw::RawGateway;

use super::{Check, Placed};

impl Check<'_> {
    pub(super) fn gateways(&mut self, raw: &[RawGateway]) -> Vec<Placed<GatewayConfig>> {
        let mut names: HashMap<String, Path> = HashMap::new();
        let mut sources: HashMap<SourceNet, String> = HashMap::new();
        let mut gateways = Vec::new();
        for Placed { path, value: raw } in self.placed(&Path::to("gateways"), raw) {
            let name = &raw.name.0.0;
            self.reserved_name(&path.key("name"), name);
            match names.get(name) {
                Some(first) => {
                    let what = format!("a gateway of the name {name} stands at {} already", self.place(first));
                    self.refuse(&path.key("name"), what, None);
                }
                None => {
                    names.insert(name.clone(), path.key("name"));
                }
            }
            let value = GatewayConfig {
                name: name.clone(),
                sources: self.sources(&path, raw, &mut sources),
                uri: raw.uri.as_ref().map(|uri| uri.0.clone()),
                max_calls: raw.max_calls.map(|max| max.0.0),
            };
            gateways.push(Placed { path, value });
        }
        gateways
    }

    /// Where a gateway sends from: what was given, or the address of its URI.
    fn sources(&mut self, path: &Path, raw: &RawGateway, known: &mut HashMap<SourceNet, String>) -> Vec<SourceNet> {
        let (list, uri) = (path.key("source"), path.key("uri"));
        let mut sources = Vec::new();
        for Placed { path, value } in self.placed(&list, raw.source.as_deref().unwrap_or_default()) {
            self.source(&path, value.0, &raw.name.0.0, known);
            sources.push(value.0);
        }
        if !sources.is_empty() || self.has_lost_items(&list) || self.tree.is_lost(&uri) {
            return sources;
        }
        match raw.uri.as_ref().map(|uri| (&uri.0, ip_of(&uri.0))) {
            Some((_, Some(ip))) => {
                let source = SourceNet { network: ip.into(), port: None };
                self.source(&uri, source, &raw.name.0.0, known);
                sources.push(source);
            }
            Some((uri, None)) => {
                let hint = format!("{} is a name; list the addresses that the gateway sends from", uri.host);
                self.refuse(path, "`source` is missing", Some(&hint));
            }
            None => self.refuse(path, "`source` or `uri` is missing", Some("source: [192.0.2.2]")),
        }
        sources
    }

    fn source(&mut self, path: &Path, source: SourceNet, gateway: &str, known: &mut HashMap<SourceNet, String>) {
        if let Some(other) = known.insert(source, gateway.to_owned()) {
            let whose = if other == gateway { "this gateway".to_owned() } else { format!("gateway {other}") };
            self.refuse(path, format!("{source} is a source of {whose} already"), None);
        }
        if source.network.prefix_len() == 0 {
            self.warn(path, "everybody is trusted as this gateway", "name the networks that it really sends from");
        }
    }

    pub(super) fn reserved_name(&mut self, path: &Path, name: &str) {
        if RouteFrom::GROUPS.contains(&name) {
            self.refuse(path, format!("`{name}` is the word for a group in rules; it cannot be a name"), None);
        }
    }
}
