//! Numbers for nodes and pools, and the place that a call takes on a node.

/// A node's number. It is given to the node's name once and stays with it for the life of the process, through
/// every reload; it is never used for another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// A pool's number, kept in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId(pub u32);

impl PoolId {
    /// The number that no pool has: of calls that were not chosen from one.
    pub const NONE: PoolId = PoolId(u32::MAX);
}

/// One call's place on a node. It cannot be copied: whoever gives it back no longer has it, so a node's count and
/// its leases cannot drift apart. Only `dispatch` makes seats, and only a lease keeps one.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a seat that is dropped stays taken"]
pub struct Seat {
    node: NodeId,
}

impl Seat {
    /// Makes the seat that the board has just counted.
    pub fn taken(node: NodeId) -> Self {
        Seat { node }
    }

    /// The node that it is on.
    pub fn node(&self) -> NodeId {
        self.node
    }
}
