//! Getting octets in and out: UDP in batches, TCP by flow (RFC 3261 section 18).
//!
//! [`flow`] is what the rest of the program knows of all this: where a message came from and where one goes.

pub mod flow;
pub mod stream;
pub mod udp;
