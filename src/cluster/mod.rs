//! Several edges that act as one.
//!
//! Pure. Edges tell each other what each of them knows first hand - calls, registrations, agents who are not ready, operators' words - as
//! [`entry`]s of one log that all of them read.
//!
//! - [`peers`]: the others' calls, enough to take each of them over with the next message, or when its edge is gone
//! - [`homes`]: where their phones are
//! - [`members`]: who is there, from heartbeats
//! - [`words`]: when something was last said of a node or an agent
//! - [`doubts`]: what an edge that tells everything has not told again
//! - [`untold`]: what they have not been told yet
//! - [`among`]: what an edge has itself and what it holds of the others, for those who decide:
//!   [`hearing`] what they told, [`missed`] what they told meanwhile, [`telling`] everything, [`pulse`] what follows from heartbeats, [`choosing`] as one
//! - [`following`]: how far the log was read, and how to go on
//! - [`asking`]: questions that a message has to wait for

pub mod among;
pub mod asking;
pub mod choosing;
pub mod doubts;
pub mod entry;
pub mod following;
pub mod hearing;
pub mod homes;
pub mod members;
pub mod missed;
pub mod peers;
pub mod pulse;
pub mod telling;
pub mod untold;
pub mod words;

pub use among::{Among, Here, Others};
pub use doubts::Doubts;
pub use entry::Entry;
pub use homes::Homes;
pub use members::Members;
pub use peers::Peers;
pub use pulse::Pulse;
pub use untold::Untold;
pub use words::Words;
