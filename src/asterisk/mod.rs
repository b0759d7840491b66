//! What only Asterisk speaks.
//!
//! [`node_files`] makes the configuration that a stock node needs to stand behind the edge.

pub mod node_files;
