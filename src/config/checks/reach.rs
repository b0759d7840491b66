//! Whether what has an address can be reached there, and whether it alone is.

use std::collections::HashMap;

use crate::config::addresses::{canonical, ip_of};
use crate::config::checked::{GatewayConfig, ListenConfig, NodeConfig};
use crate::config::place::Path;
use crate::dispatch::node::NodeUri;
use crate::transport::flow::Target;

use super::{Check, Placed};

impl Check<'_> {
    pub(super) fn reach(
        &mut self,
        listen: &[ListenConfig],
        gateways: &[Placed<GatewayConfig>],
        nodes: &[Placed<NodeConfig>],
    ) {
        let at = self.one_address_one_node(nodes);
        for Placed { path, value } in gateways {
            let Some(uri) = &value.uri else { continue };
            if let Some(node) = at.get(&canonical(uri).to_string()) {
                let what = format!("this is the address of node {node} too; what it sends counts as the node's");
                self.warn(&path.key("uri"), what, "give the two different ports");
            }
        }
        let gateway_uris = gateways.iter().filter_map(|g| Some((g.path.key("uri"), g.value.uri.as_ref()?)));
        let node_uris = nodes.iter().map(|node| (node.path.key("uri"), &node.value.uri));
        let listeners_are_lost = listen.is_empty() || self.has_lost_items(&Path::to("listen"));
        for (path, uri) in gateway_uris.chain(node_uris) {
            if is_own(uri, listen) {
                self.refuse(
                    &path,
                    "the edge itself listens there",
                    Some("a node has an address of its own, or another port"),
                );
            } else if !listeners_are_lost && !listen.iter().any(|listener| reaches(listener, uri)) {
                self.unreachable(&path, uri);
            }
        }
    }

    /// A phone's address must be one that a listener sends to, and none of the edge's own.
    pub(super) fn has_listener(&mut self, path: &Path, target: Target, listen: &[ListenConfig]) {
        let uri = NodeUri {
            host: target.address.ip().to_string(),
            port: Some(target.address.port()),
            protocol: target.protocol,
        };
        if is_own(&uri, listen) {
            self.refuse(path, "the edge itself listens there", Some("the address of the phone"));
        } else if !listen.is_empty()
            && !self.has_lost_items(&Path::to("listen"))
            && !listen.iter().any(|listener| reaches(listener, &uri))
        {
            self.unreachable(path, &uri);
        }
    }

    fn one_address_one_node(&mut self, nodes: &[Placed<NodeConfig>]) -> HashMap<String, String> {
        let mut by_place: Vec<&Placed<NodeConfig>> = nodes.iter().collect();
        by_place.sort_by_key(|node| self.tree.place(&node.path));
        let mut at: HashMap<String, String> = HashMap::new();
        for Placed { path, value } in by_place {
            let address = canonical(&value.uri).to_string();
            if let Some(other) = at.get(&address) {
                let what = format!("node {other} has this address already; who sends from it could not be told");
                self.refuse(&path.key("uri"), what, None);
                continue;
            }
            at.insert(address, value.name.clone());
        }
        at
    }

    fn unreachable(&mut self, path: &Path, uri: &NodeUri) {
        let protocol = uri.protocol.lower();
        let (family, address) = match ip_of(uri) {
            Some(ip) if ip.is_ipv6() => (" over IPv6", "[2001:db8::1]"),
            Some(_) => (" over IPv4", "192.0.2.1"),
            None => ("", "192.0.2.1"),
        };
        let hint = format!("listen: [\"{protocol}://{address}:5060\"]");
        self.refuse(path, format!("no listener sends {protocol}{family}, so it cannot be reached"), Some(&hint));
    }
}

fn is_own(uri: &NodeUri, listen: &[ListenConfig]) -> bool {
    let address = ip_of(uri).map(|ip| (ip, uri.port.unwrap_or(NodeUri::DEFAULT_PORT)).into());
    listen.iter().any(|listener| {
        let is_bound = address.is_some_and(|address| listener.uri.bind == address);
        let is_said =
            address.map(|address: std::net::SocketAddr| address.to_string()).is_some_and(|a| a == listener.sent_by);
        listener.uri.protocol == uri.protocol && (is_bound || is_said)
    })
}

/// Requests leave by a listener of their protocol and address family.
fn reaches(listener: &ListenConfig, uri: &NodeUri) -> bool {
    let family = ip_of(uri).is_none_or(|ip| ip.is_ipv4() == listener.uri.bind.is_ipv4());
    listener.uri.protocol == uri.protocol && family
}
