//! The proxy core in virtual time: a message goes in, exactly these messages come out, and nothing more.

#![allow(clippy::unwrap_used)]

mod agents;
mod calls;
mod cancel;
mod dialogs;
mod failover;
#[allow(dead_code)]
mod harness;
mod reconcile;
mod refusals;
mod registrar;
mod restart;
mod torture;
mod transfers;
