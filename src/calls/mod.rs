//! Leases: which call is on which node, and until when at the latest.
//!
//! Pure. The number of calls on a node is the number of its leases; nothing anywhere counts up and down beside
//! that. A lease owns its [`Seat`](seat::Seat), so a call that is over gives its place back exactly once, and every lease has a
//! deadline, so a call whose end got lost heals by itself.
//!
//! - [`lease`]: one call, from its INVITE until nothing about it can arrive any more
//! - [`ledger`]: all leases of one shard, found by Call-ID
//! - [`tries`]: when a node is given up and the next one is asked
//! - [`errand`]: what the edge itself sends for a call until it is answered
//! - [`history`]: why recent calls went where they went
//! - [`wheel`]: deadlines in order

pub mod errand;
pub mod history;
pub mod key;
pub mod lease;
pub mod ledger;
pub mod seat;
pub mod tries;
pub mod wheel;

pub use key::CallKey;
pub use lease::{Lease, Phase};
pub use ledger::Shard;
pub use seat::{NodeId, PoolId, Seat};
