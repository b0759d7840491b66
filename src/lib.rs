//! Cordboard: the SIP edge of an Asterisk farm.
//!
//! Gateways send it their calls; it spreads them over the nodes by weighted least-calls, keeps every message of a call on its
//! node, notices dead nodes, and is reloaded and drained without losing a call.
//!
//! # The map
//!
//! Floors from the top; a module uses those below it and never those above (`tests/imports.rs` reads the `use` lines and
//! fails otherwise). Pure modules hold no socket, clock, lock or random source.
//!
//! | module | what it is | pure |
//! |---|---|---|
//! | `cli` | the commands | |
//! | `api` | HTTP: nodes, calls, configuration, explanations, metrics | |
//! | `edge` | the shell: threads, sockets, clocks, the writer of the farm | |
//! | `metrics`, `telemetry` | numbers and logs | |
//! | [`cluster`] | several edges that act as one | yes |
//! | [`proxy`] | RFC 3261 section 16 | yes |
//! | `asterisk` | what a stock node needs to stand behind the edge | yes |
//! | `config` | `dispatcher.yaml` | yes, but for `reload` |
//! | `store` | what survives a restart, and what edges share | |
//! | [`agents`] | who is free, and who is not | yes |
//! | [`registrar`] | who is where: bindings, digest authentication | yes |
//! | [`dispatch`] | the farm, the board of places, health, rules | yes |
//! | `resolve` | names behind nodes (RFC 3263) | |
//! | [`calls`] | leases | yes |
//! | [`transport`] | UDP in batches, TCP by flow | `flow` only |
//! | [`sip`] | messages on the wire | yes |
//! | [`keys`], [`moment`] | keyed hashes; time as the pure parts see it | yes |
//!
//! `docs/life-of-an-invite.md` follows one call through all of this.

pub mod agents;
pub mod api;
pub mod asterisk;
pub mod calls;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod dispatch;
pub mod edge;
pub mod keys;
pub mod metrics;
pub mod moment;
pub mod proxy;
pub mod registrar;
pub mod resolve;
pub mod sip;
pub mod store;
pub mod telemetry;
pub mod transport;
