//! Several edges that act as one.
//!
//! Pure. Edges tell each other what each of them knows first hand - calls, registrations, agents who are not ready, operators' words - as
//! [`entry`]s of one log that all of them read. [`peers`] is what an edge holds of the others' calls: enough to take each of
//! them over with the next message, or when its edge is gone; [`homes`] is where their phones are. [`members`] says who is there, from heartbeats.

pub mod entry;
pub mod homes;
pub mod members;
pub mod peers;

pub use entry::Entry;
pub use homes::Homes;
pub use members::Members;
pub use peers::Peers;
