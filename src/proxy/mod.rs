//! The proxy of RFC 3261 section 16, transaction-stateless (section 16.11) and aware of calls.
//!
//! Pure: bytes, a flow and a moment go in; messages to send and events come out through the
//! [`Outbox`](contract::Outbox). What is shared by all workers - leases and places on nodes - is reached through
//! the [`World`](contract::World), whose locks are the shell's affair.
//!
//! Read in this order: [`contract`], [`core`] (the one large match), then the sections of the RFC: [`validate`] 16.3,
//! [`route`] 16.4, [`target`] 16.5, [`forward`] 16.6, [`response`] 16.7. A new call is [`invite`]; giving up a node and
//! asking the next is [`failover`]; calls that belong together meet by
//! [`affinity`] and [`replaces`]; what happens when time passes is [`timers`].

pub mod affinity;
pub mod agents;
pub mod answer;
pub mod branch;
pub mod cancel;
pub mod contract;
pub mod core;
pub mod dialog;
pub mod failover;
pub mod forward;
pub mod hold;
pub mod invite;
pub mod reconcile;
pub mod register;
pub mod replaces;
pub mod response;
pub mod route;
pub mod strangers;
pub mod target;
pub mod timers;
pub mod token;
pub mod validate;

pub use contract::{Event, Outbox, World};
pub use core::{Core, Scratch};
