//! What only Asterisk speaks.
//!
//! - [`node_files`]: the configuration that a stock node needs to stand behind the edge
//! - [`channels`]: what a node says of its calls (ARI)
//! - [`queues`]: what a node is told of a queue; [`realtime`]: how it asks
//! - [`reconcile`]: where edge and node disagree about a call, and what follows

pub mod channels;
pub mod node_files;
pub mod queues;
pub mod realtime;
pub mod reconcile;
