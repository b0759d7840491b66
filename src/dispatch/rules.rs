//! Who is talking, and which pool serves them.
//!
//! Both questions are answered in a fixed order: a node by its address, a gateway by the longest prefix, else a
//! stranger; then the first rule that fits.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use prefix_trie::joint::JointPrefixMap;

use crate::calls::{NodeId, PoolId};
use crate::sip::Method;
pub use crate::sip::pattern::Pattern;
use crate::transport::flow::{Flow, Protocol, Target};

/// Who sent a message, by its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An Asterisk node.
    Node(NodeId),
    /// A gateway.
    Gateway(NodeId),
    /// A phone whose user proved who he is.
    Agent,
    /// Anybody else.
    Stranger,
}

impl Source {
    /// True for nodes and gateways.
    pub fn is_trusted(self) -> bool {
        matches!(self, Source::Node(_) | Source::Gateway(_))
    }

    /// Metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Node(_) => "node",
            Source::Gateway(_) => "gateway",
            Source::Agent => "agent",
            Source::Stranger => "stranger",
        }
    }
}

/// Who is at an address.
type ByAddress<A> = HashMap<A, NodeId, BuildHasherDefault<AddressHasher>>;

/// A quick hash for tables of configured addresses. Nobody outside decides what stands in them, so nobody can make one slow.
#[derive(Clone, Copy, Debug, Default)]
struct AddressHasher(u64);

impl AddressHasher {
    #[inline]
    fn take(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
}

impl Hasher for AddressHasher {
    #[inline]
    fn write(&mut self, octets: &[u8]) {
        let (words, rest) = octets.as_chunks::<4>();
        words.iter().for_each(|word| self.take(u64::from(u32::from_ne_bytes(*word))));
        rest.iter().for_each(|octet| self.take(u64::from(*octet)));
    }

    #[inline]
    fn write_u16(&mut self, number: u16) {
        self.take(u64::from(number));
    }

    // Lengths and kinds: the octets differ anyway.
    #[inline]
    fn write_usize(&mut self, _: usize) {}

    #[inline]
    fn write_isize(&mut self, number: isize) {
        self.take(number as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (self.0 >> 32)
    }
}

/// All known addresses.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Nodes over UDP: address and port, so that several can live on one address.
    datagram_nodes: ByAddress<SocketAddr>,
    /// Nodes over streams: the port is an ephemeral one.
    stream_nodes: ByAddress<IpAddr>,
    /// Every address that calls are sent to, gateways' included.
    targets: ByAddress<Target>,
    gateways: JointPrefixMap<IpNet, Vec<GatewayPort>>,
    /// Those of them that are single addresses, which most are.
    single: HashMap<IpAddr, Vec<GatewayPort>, BuildHasherDefault<AddressHasher>>,
}

#[derive(Clone, Debug)]
struct GatewayPort {
    gateway: NodeId,
    /// Only this port is the gateway's, where one was given.
    port: Option<u16>,
}

impl Sources {
    /// Takes up a node's address.
    pub fn add_node(&mut self, node: NodeId, target: Target) {
        self.datagram_nodes.entry(target.address).or_insert(node);
        self.stream_nodes.entry(target.address.ip()).or_insert(node);
        self.add_target(node, target);
    }

    /// Takes up an address that calls are sent to.
    pub fn add_target(&mut self, node: NodeId, target: Target) {
        self.targets.entry(target).or_insert(node);
    }

    /// Takes up a gateway's network.
    pub fn add_gateway(&mut self, gateway: NodeId, network: IpNet, port: Option<u16>) {
        let entry = GatewayPort { gateway, port };
        if network.prefix_len() == network.max_prefix_len() {
            self.single.entry(network.addr()).or_default().push(entry.clone());
        }
        match self.gateways.get_mut(&network) {
            Some(list) => list.push(entry),
            None => {
                self.gateways.insert(network, vec![entry]);
            }
        }
    }

    /// The Asterisk node that listens at an address, whichever protocol it is.
    pub fn listening_at(&self, address: SocketAddr) -> Option<NodeId> {
        self.datagram_nodes.get(&address).copied()
    }

    /// The node or gateway that lives at an address.
    pub fn node_at(&self, target: Target) -> Option<NodeId> {
        self.targets.get(&target).copied()
    }

    /// Who is at the other end of a flow.
    pub fn classify(&self, flow: Flow) -> Source {
        let address = flow.remote;
        let node = match flow.protocol {
            Protocol::Udp => self.datagram_nodes.get(&address),
            Protocol::Tcp => self.stream_nodes.get(&address.ip()).filter(|_| self.gateway(address, true).is_none()),
        };
        match node {
            Some(node) => Source::Node(*node),
            None => self.gateway(address, false).map_or(Source::Stranger, Source::Gateway),
        }
    }

    /// The gateway of an address: one that names the port first, then one that takes any.
    fn gateway(&self, address: SocketAddr, with_port_only: bool) -> Option<NodeId> {
        let fitting = |list: &Vec<GatewayPort>| {
            let named = list.iter().find(|g| g.port == Some(address.port()));
            let any = || list.iter().find(|g| g.port.is_none() && !with_port_only);
            named.or_else(any).map(|g| g.gateway)
        };
        if let Some(gateway) = self.single.get(&address.ip()).and_then(fitting) {
            return Some(gateway);
        }
        // The longest prefix first; one whose gateways all name other ports gives way to the next shorter one.
        let mut wanted = IpNet::from(address.ip());
        while let Some((prefix, list)) = self.gateways.get_lpm(&wanted) {
            if let Some(gateway) = fitting(list) {
                return Some(gateway);
            }
            wanted = prefix.supernet()?;
        }
        None
    }
}

/// Whom a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// Any node.
    Nodes,
    /// Any gateway.
    Gateways,
    /// Any registered user.
    Agents,
    /// One node or gateway.
    Named(NodeId),
    /// Everybody, strangers too.
    Anyone,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A node of this pool gets the request.
    Pool(PoolId),
    /// The edge refuses it with this code.
    Reject(u16),
}

/// One rule; what is not set fits everything.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name, for explanations.
    pub name: Arc<str>,
    /// Who sends.
    pub from: From,
    /// The user part of the Request-URI.
    pub to_user: Option<Pattern>,
    /// The user part of From.
    pub from_user: Option<Pattern>,
    /// The host of the Request-URI.
    pub to_host: Option<Pattern>,
    /// The methods.
    pub methods: Vec<Method>,
    /// What then.
    pub action: Action,
}

/// What rules are matched against.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Who sends.
    pub source: Source,
    /// The method.
    pub method: Method,
    /// The user part of the Request-URI, without its parameters.
    pub to_user: &'a [u8],
    /// The host of the Request-URI.
    pub to_host: &'a [u8],
    /// The user part of From.
    pub from_user: &'a [u8],
}

/// The first rule that fits.
pub fn first_match<'r>(rules: &'r [Rule], subject: Subject<'_>) -> Option<&'r Rule> {
    rules.iter().find(|rule| rule.fits(subject))
}

impl Rule {
    fn fits(&self, subject: Subject<'_>) -> bool {
        let from = match (self.from, subject.source) {
            (From::Anyone, _)
            | (From::Nodes, Source::Node(_))
            | (From::Gateways, Source::Gateway(_))
            | (From::Agents, Source::Agent) => true,
            (From::Named(name), Source::Node(id) | Source::Gateway(id)) => name == id,
            _ => false,
        };
        let fits = |pattern: &Option<Pattern>, text| pattern.as_ref().is_none_or(|p| p.matches(text));
        from && (self.methods.is_empty() || self.methods.contains(&subject.method))
            && fits(&self.to_user, subject.to_user)
            && fits(&self.from_user, subject.from_user)
            && fits(&self.to_host, subject.to_host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::flow::ListenerId;

    fn from(protocol: Protocol, remote: &str) -> Flow {
        Flow { listener: ListenerId(1), protocol, remote: remote.parse().unwrap(), connection: None }
    }

    fn sources() -> Sources {
        let mut sources = Sources::default();
        let udp = |address: &str| Target { protocol: Protocol::Udp, address: address.parse().unwrap() };
        sources.add_node(NodeId(1), udp("127.0.0.1:5061"));
        sources.add_node(NodeId(2), udp("127.0.0.1:5062"));
        sources.add_gateway(NodeId(10), "127.0.0.0/8".parse().unwrap(), None);
        sources.add_gateway(NodeId(11), "127.0.0.1/32".parse().unwrap(), Some(5070));
        sources.add_gateway(NodeId(12), "2001:db8::/32".parse().unwrap(), None);
        sources
    }

    #[test]
    fn nodes_come_before_gateways_and_the_longest_prefix_before_shorter_ones() {
        let sources = sources();
        let udp = |remote| sources.classify(from(Protocol::Udp, remote));
        assert_eq!(udp("127.0.0.1:5061"), Source::Node(NodeId(1)));
        assert_eq!(udp("127.0.0.1:5062"), Source::Node(NodeId(2)));
        assert_eq!(udp("127.0.0.1:5070"), Source::Gateway(NodeId(11)));
        assert_eq!(udp("127.0.0.9:5061"), Source::Gateway(NodeId(10)));
        assert_eq!(udp("[2001:db8:5::1]:5060"), Source::Gateway(NodeId(12)));
        assert_eq!(udp("192.0.2.1:5060"), Source::Stranger);
    }

    #[test]
    fn a_gateway_that_names_its_port_is_told_from_the_rest_of_its_address() {
        let mut sources = sources();
        assert_eq!(sources.classify(from(Protocol::Udp, "127.0.0.1:9999")), Source::Gateway(NodeId(10)));
        sources.add_gateway(NodeId(13), "192.0.2.1/32".parse().unwrap(), Some(5060));
        assert_eq!(sources.classify(from(Protocol::Udp, "192.0.2.1:5060")), Source::Gateway(NodeId(13)));
        assert_eq!(sources.classify(from(Protocol::Udp, "192.0.2.1:5061")), Source::Stranger);
    }

    #[test]
    fn over_a_stream_a_node_is_known_by_its_address_alone() {
        let sources = sources();
        assert_eq!(sources.classify(from(Protocol::Tcp, "127.0.0.1:40000")), Source::Node(NodeId(1)));
        assert_eq!(sources.classify(from(Protocol::Tcp, "127.0.0.1:5070")), Source::Gateway(NodeId(11)));
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rule = |name: &str, from, to_user: Option<&str>, action| Rule {
            name: name.into(),
            from,
            to_user: to_user.map(Pattern::new),
            from_user: None,
            to_host: None,
            methods: vec![],
            action,
        };
        let rules = [
            rule("premium", From::Gateways, Some("0900*"), Action::Reject(403)),
            rule("one", From::Named(NodeId(3)), None, Action::Pool(PoolId(2))),
            rule("in", From::Gateways, None, Action::Pool(PoolId(1))),
        ];
        let decide = |source, to_user: &str| {
            let subject =
                Subject { source, method: Method::Invite, to_user: to_user.as_bytes(), to_host: b"", from_user: b"" };
            first_match(&rules, subject).map(|r| r.name.to_string())
        };
        assert_eq!(decide(Source::Gateway(NodeId(9)), "0900123").as_deref(), Some("premium"));
        assert_eq!(decide(Source::Gateway(NodeId(3)), "100").as_deref(), Some("one"));
        assert_eq!(decide(Source::Gateway(NodeId(9)), "100").as_deref(), Some("in"));
        assert_eq!(decide(Source::Stranger, "100"), None);
    }
}
