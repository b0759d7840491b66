//! Which node takes a call: the farm as it is configured, the board of free places, health verdicts and rules.
//!
//! Pure. [`farm::Farm`] never changes once it is built; a reload builds the next one. [`board::Board`] holds what changes
//! with every call: how many leases each node has and which nodes may take one more. [`health::Health`] judges one
//! node from probes and calls. [`rules`] says who is talking and which pool serves them.

pub mod board;
pub mod farm;
pub mod health;
pub mod least_calls;
pub mod node;
pub mod rendezvous;
pub mod rules;
pub mod sequence;

pub use board::{Board, NoSeat, NoSeatWhy, Pick, Picked};
pub use farm::Farm;
