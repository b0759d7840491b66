//! The farm as it is configured: one immutable snapshot that a reload replaces as a whole.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::calls::tries::FailoverPolicy;
use crate::calls::{NodeId, PoolId};
use crate::keys::Keys;
use crate::registrar::Service;
use crate::sip::uri::Uri;
use crate::transport::flow::{ListenerId, Protocol, Target};

use super::board::PoolPlan;
use super::node::Node;
use super::rules::{Rule, Sources};

/// Everything that routing reads and no call changes.
#[derive(Debug)]
pub struct Farm {
    /// Hash of the configuration that it was built from, as operators see it.
    pub generation: Generation,
    /// This edge's name.
    pub edge: Arc<str>,
    /// The farm's keyed hashes.
    pub keys: Keys,
    /// Where the edge listens.
    pub listeners: Vec<Listener>,
    /// Names that are the edge's own in Route and Request-URI, in lower case.
    pub domains: HashSet<Vec<u8>>,
    /// Nodes and gateways by number; empty places belong to nodes of other configurations.
    pub nodes: Vec<Option<Arc<Node>>>,
    /// Pools by number.
    pub pools: Vec<Option<Pool>>,
    /// Who is who by address.
    pub sources: Sources,
    /// Who is served by which pool.
    pub rules: Vec<Rule>,
    /// How calls are treated.
    pub calls: CallPolicy,
    /// What is let in.
    pub security: SecurityPolicy,
    /// The registrar, if there is one.
    pub registrar: Option<Arc<Service>>,
}

/// A short hash of a configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation(pub u64);

impl std::fmt::Display for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:012x}", self.0 & 0xffff_ffff_ffff)
    }
}

/// One place where the edge listens, with the texts that it writes about itself.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its number.
    pub id: ListenerId,
    /// The protocol.
    pub protocol: Protocol,
    /// The address that it binds.
    pub bind: SocketAddr,
    /// Host and port that others reach it by; IPv6 with brackets.
    pub sent_by: Box<[u8]>,
    /// The same in two parts, the port as it is meant where none is said.
    reached: (Box<[u8]>, u16),
    /// `SIP/2.0/UDP host:port;branch=`
    pub via: Box<[u8]>,
    /// `<sip:host:port;lr` with the transport where it is not UDP; the token and `>` follow.
    pub route: Box<[u8]>,
}

impl Listener {
    /// A listener and its texts.
    pub fn new(id: ListenerId, protocol: Protocol, bind: SocketAddr, sent_by: &str) -> Self {
        let transport = if protocol == Protocol::Udp { "" } else { ";transport=tcp" };
        let (host, port) = crate::sip::uri::parse_hostport(sent_by.as_bytes()).unwrap_or_default();
        Listener {
            id,
            protocol,
            bind,
            sent_by: sent_by.as_bytes().into(),
            reached: (host.into(), port.unwrap_or(5060)),
            via: format!("SIP/2.0/{} {sent_by};branch=", protocol.as_str()).into_bytes().into_boxed_slice(),
            route: format!("<sip:{sent_by}{transport};lr").into_bytes().into_boxed_slice(),
        }
    }
}

/// A pool.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Its name.
    pub name: Arc<str>,
    /// What `hash` and stickiness go by.
    pub key: KeyedBy,
    /// What the board knows of it.
    pub plan: PoolPlan,
}

/// What a hash or stickiness goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyedBy {
    /// The Call-ID.
    CallId,
    /// The user part of From.
    FromUser,
    /// The user part of the Request-URI.
    ToUser,
    /// The first value of a header.
    Header(Box<[u8]>),
}

/// How calls are treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallPolicy {
    /// When a node is given up for a call.
    pub failover: FailoverPolicy,
    /// Longest wait for a final answer.
    pub ring_timeout: Duration,
    /// Longest call.
    pub max_duration: Duration,
    /// Whether a node's 503 reaches the caller as such instead of as 500.
    pub forward_503_as_is: bool,
    /// Retry-After of the edge's own 503, in seconds.
    pub retry_after_secs: u32,
    /// Whether an INVITE is given a Record-Route.
    pub record_route: bool,
}

impl Default for CallPolicy {
    fn default() -> Self {
        CallPolicy {
            failover: FailoverPolicy::default(),
            ring_timeout: Duration::from_secs(180),
            max_duration: Duration::from_secs(4 * 3_600),
            forward_503_as_is: false,
            retry_after_secs: 5,
            record_route: true,
        }
    }
}

/// What is let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecurityPolicy {
    /// Whether OPTIONS of strangers is answered.
    pub options_from_strangers: bool,
    /// Messages a second that one thread reads from one unknown address; 0 means no limit.
    pub stranger_rate: u32,
    /// Header names that only nodes may send, in lower case; `x-edge-*` always is one.
    pub strip: Vec<Box<[u8]>>,
}

impl Farm {
    /// A node by its number.
    pub fn node(&self, id: NodeId) -> Option<&Arc<Node>> {
        self.nodes.get(id.0 as usize).and_then(Option::as_ref)
    }

    /// Whether nodes are told what agents are doing.
    pub fn publishes(&self) -> bool {
        self.registrar.as_ref().is_some_and(|service| service.policy.publish)
    }

    /// A pool by its number.
    pub fn pool(&self, id: PoolId) -> Option<&Pool> {
        self.pools.get(id.0 as usize).and_then(Option::as_ref)
    }

    /// A listener by its number.
    pub fn listener(&self, id: ListenerId) -> Option<&Listener> {
        self.listeners.iter().find(|listener| listener.id == id)
    }

    /// The listener that reaches a target: the wanted one where it can, else the first of the protocol and address
    /// family.
    pub fn listener_for(&self, target: Target, wanted: ListenerId) -> Option<&Listener> {
        let able = |l: &&Listener| l.protocol == target.protocol && l.bind.is_ipv4() == target.address.is_ipv4();
        self.listener(wanted).filter(able).or_else(|| self.listeners.iter().find(able))
    }

    /// True when a URI names this edge: one of its listeners, or one of its names.
    pub fn is_own(&self, uri: &Uri<'_>) -> bool {
        if !uri.is_sip() {
            return false;
        }
        let port = uri.port.unwrap_or(5060);
        let is_named =
            |listener: &Listener| listener.reached.1 == port && listener.reached.0.eq_ignore_ascii_case(uri.host);
        if self.listeners.iter().any(is_named) {
            return true;
        }
        let is_bound = |ip: std::net::IpAddr| {
            self.listeners.iter().any(|listener| listener.bind.port() == port && listener.bind.ip() == ip)
        };
        crate::sip::uri::ip(uri.host).is_some_and(is_bound) || self.is_own_domain(uri.host)
    }

    /// True for one of the edge's names.
    pub fn is_own_domain(&self, host: &[u8]) -> bool {
        if self.domains.contains(host) {
            return true;
        }
        host.iter().any(u8::is_ascii_uppercase) && self.domains.contains(&host.to_ascii_lowercase())
    }
}
