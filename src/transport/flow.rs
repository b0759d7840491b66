//! Where a message came from and where one goes (RFC 3261 section 18, flows RFC 5626).

use std::net::SocketAddr;

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Datagrams.
    Udp,
    /// A stream.
    Tcp,
}

impl Protocol {
    /// The name in a Via.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Udp => "UDP",
            Protocol::Tcp => "TCP",
        }
    }

    /// The name in a URI's `transport` parameter, a listener's scheme, labels and logs.
    pub fn lower(self) -> &'static str {
        match self {
            Protocol::Udp => "udp",
            Protocol::Tcp => "tcp",
        }
    }

    /// Finds the protocol of a name, whatever its case.
    pub fn from_bytes(name: &[u8]) -> Option<Self> {
        [Protocol::Udp, Protocol::Tcp].into_iter().find(|p| name.eq_ignore_ascii_case(p.as_str().as_bytes()))
    }

    /// True when what is sent may get lost on the way, so that somebody has to send again.
    pub fn is_unreliable(self) -> bool {
        self == Protocol::Udp
    }
}

/// A listener, known by a number that is made from its URI and so is the same after a reload and a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub u16);

/// A stream connection of this process. Numbers are never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub std::num::NonZeroU32);

/// Where a message came from, and so where its answers go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The listener that received it, or that owns the connection.
    pub listener: ListenerId,
    /// The protocol.
    pub protocol: Protocol,
    /// The other end.
    pub remote: SocketAddr,
    /// The connection of a stream.
    pub connection: Option<ConnectionId>,
}

/// An address that a message can be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// The protocol.
    pub protocol: Protocol,
    /// The address.
    pub address: SocketAddr,
}

impl Flow {
    /// The other end as a target.
    pub fn target(self) -> Target {
        Target { protocol: self.protocol, address: self.remote }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.protocol.lower(), self.address)
    }
}
