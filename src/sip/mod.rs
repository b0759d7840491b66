//! SIP on the wire: a lossless view of a received message, and the few edits a proxy makes to it
//! (RFC 3261 sections 7, 18, 19, 20 and 25).
//!
//! Pure. The bytes that came in are kept as they are; parsing only writes down where things stand
//! ([`parse::Index`]), so a forwarded message costs no allocation and every byte that nobody had a
//! reason to change leaves as it arrived. Of bodies only one thing is read, and only of agents' calls: whether
//! one side holds the other ([`sdp`]).
//!
//! Start with [`parse::parse`] (bytes to one of three outcomes), then [`message`] (what can be asked
//! of a message) and [`edit`] (how the forwarded copy is written). [`originate`] builds the requests
//! that the edge sends on its own account and is the only place that knows the `rsip` crate.

pub mod address;
pub mod edit;
pub mod framing;
pub mod headers;
mod lines;
pub mod message;
pub mod method;

pub mod originate;
pub mod parse;
pub mod pattern;
pub mod reply;
pub mod scan;
pub mod sdp;
mod sixteen;
pub mod status;
pub mod uri;
pub mod values;
pub mod via;

pub use headers::HeaderName;
pub use message::{Request, Response};
pub use method::Method;
pub use parse::{Fault, Index, Outcome, parse};
pub use scan::Span;
