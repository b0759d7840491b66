//! Words of one node: weight, states, addresses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::calls::NodeId;
use crate::transport::flow::{ListenerId, Protocol};

/// A share of the calls: a whole number from 1 to 1000. Zero is not a weight; a node that shall take nothing is drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u16);

impl Weight {
    /// Largest weight.
    pub const MAX: u16 = 1_000;

    /// The weight, if it is in range.
    pub fn new(weight: u16) -> Option<Self> {
        (1..=Self::MAX).contains(&weight).then_some(Weight(weight))
    }

    /// The number.
    pub fn get(self) -> u32 {
        u32::from(self.0)
    }
}

/// What the operator wants of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Admin {
    /// Takes calls.
    #[default]
    Enabled,
    /// Takes no new calls; those that are up go on, and probes too.
    Draining,
    /// Takes no new calls and is not probed.
    Disabled,
}

impl Admin {
    /// The word of CLI, API, metrics and store.
    pub fn as_str(self) -> &'static str {
        match self {
            Admin::Enabled => "enabled",
            Admin::Draining => "draining",
            Admin::Disabled => "disabled",
        }
    }

    /// Finds a state by its word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Admin::Enabled, Admin::Draining, Admin::Disabled].into_iter().find(|a| a.as_str() == word)
    }
}

/// What kind of destination a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An Asterisk node.
    Node,
    /// A gateway to the outside.
    Gateway,
    /// All phones together: calls to agents are counted here.
    Agents,
}

/// Where a node is reached, as it was written: an address, or a name that DNS knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeUri {
    /// Host name or address; IPv6 without brackets.
    pub host: String,
    /// The port, if one was given. Without it a name is looked up by SRV first (RFC 3263 section 4.2).
    pub port: Option<u16>,
    /// The transport.
    pub protocol: Protocol,
}

impl NodeUri {
    /// The port that is used when there is neither one in the URI nor an SRV record.
    pub const DEFAULT_PORT: u16 = 5060;
}

impl std::fmt::Display for NodeUri {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "sip:{open}{}{close}", self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        if self.protocol == Protocol::Tcp {
            write!(f, ";transport=tcp")?;
        }
        Ok(())
    }
}

/// A node or gateway as it is configured.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its number.
    pub id: NodeId,
    /// Its name: the identity that survives every reload.
    pub name: Arc<str>,
    /// Node, gateway, or all agents.
    pub kind: Kind,
    /// Where it is reached; a gateway that is only called from has none.
    pub uri: Option<NodeUri>,
    /// The listener that requests to it leave by.
    pub listener: ListenerId,
    /// Calls that it may have at once; none means no limit.
    pub max_calls: Option<u32>,
    /// What the data path has to know at once.
    pub live: Arc<NodeLive>,
}

/// Facts about a node that change without a reload, shared from farm to farm by the node's name.
#[derive(Debug, Default)]
pub struct NodeLive {
    down: AtomicBool,
    unreachable: AtomicBool,
    suspect: AtomicBool,
}

impl NodeLive {
    /// True when the node is dead: as the health checks of this edge found, or, of several edges, those of most of them.
    pub fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    /// True when something failed there lately, so that good news from calls is worth passing on.
    pub fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Relaxed)
    }

    /// Notes whether something failed there lately.
    pub fn set_suspect(&self, suspect: bool) {
        self.suspect.store(suspect, Ordering::Relaxed);
    }

    /// True when this edge's own health checks found the node dead.
    pub fn is_unreachable(&self) -> bool {
        self.unreachable.load(Ordering::Relaxed)
    }

    /// Notes what this edge's own health checks found.
    pub fn set_unreachable(&self, unreachable: bool) {
        self.unreachable.store(unreachable, Ordering::Relaxed);
    }

    /// Notes a verdict.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::Relaxed);
    }
}
