//! Where the edge listens: at least somewhere, nowhere twice, and so that others know how to answer.

use std::collections::HashMap;

use crate::config::addresses::{Advertised, ListenUri};
use crate::config::checked::ListenConfig;
use crate::config::place::Path;
use crate::config::raw::RawListener;
use crate::config::words::TextOr;

use super::Check;

impl Check<'_> {
    pub(super) fn listeners(&mut self, raw: &[TextOr<ListenUri, RawListener>]) -> Vec<ListenConfig> {
        let path = Path::to("listen");
        if raw.is_empty() && !self.has_lost_items(&path) {
            self.refuse(
                &path,
                "the edge listens nowhere",
                Some("listen: [\"udp://192.0.2.1:5060\", \"tcp://192.0.2.1:5060\"]"),
            );
        }
        let mut known: HashMap<ListenUri, Path> = HashMap::new();
        let mut listeners = Vec::new();
        for item in self.placed(&path, raw) {
            let (uri, advertised) = match item.value {
                TextOr::Text(uri) => (*uri, None),
                TextOr::Map(map) => (map.uri.0, map.advertise.as_ref().map(|advertised| &advertised.0)),
            };
            if let Some(first) = known.get(&uri) {
                let what = format!("{uri} is listened at already, see {}", self.place(first));
                self.refuse(&item.path, what, None);
                continue;
            }
            let advertise_is_lost = self.tree.is_lost(&item.path.key("advertise"));
            if uri.bind.ip().is_unspecified() && advertised.is_none() && !advertise_is_lost {
                let hint = format!("{{ uri: \"{uri}\", advertise: \"203.0.113.5:{}\" }}", uri.bind.port());
                self.refuse(&item.path, "others cannot answer to this address; say what they reach it by", Some(&hint));
            }
            known.insert(uri, item.path);
            listeners.push(ListenConfig { uri, sent_by: sent_by(uri, advertised) });
        }
        self.covered_listeners(&known);
        listeners
    }

    /// A listener at all addresses leaves no room for one at a single address with the same port.
    fn covered_listeners(&mut self, known: &HashMap<ListenUri, Path>) {
        for (uri, path) in known.iter().filter(|(uri, _)| !uri.bind.ip().is_unspecified()) {
            let any: std::net::IpAddr = if uri.bind.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
            let all = ListenUri { bind: (any, uri.bind.port()).into(), ..*uri };
            if let Some(covering) = known.get(&all) {
                let what = format!("{all} at {} listens here too", self.place(covering));
                self.refuse(path, what, Some("list the addresses one by one"));
            }
        }
    }
}

fn sent_by(uri: ListenUri, advertised: Option<&Advertised>) -> String {
    match advertised {
        Some(advertised) => format!("{}:{}", advertised.host, advertised.port.unwrap_or(uri.bind.port())),
        None => uri.bind.to_string(),
    }
}
