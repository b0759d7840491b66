//! Agents: who is free, who is not, and why.
//!
//! Pure. [`agent`] is one agent: his calls, his registration and what he or a supervisor said of him, and the one state that
//! follows from these. [`book`] holds all of them, lets a call through to an agent or not in one step with noting it,
//! picks and holds the longest idle one ([`idle`], [`reservation`]), and collects the changes that the nodes' queues have to hear
//! of; [`listener`] is what one node has still to hear. [`ends`] says what a call means for them, [`history`] is what an agent did last.

pub mod agent;
pub mod book;
pub mod ends;
pub mod history;
pub mod idle;
pub mod listener;
pub mod reservation;

pub use agent::{Agent, Intent, State};
pub use book::Book;
pub use history::Cause;
