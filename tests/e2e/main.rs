//! End to end: the edge's own binary between SIPp gateways and SIPp or Asterisk nodes, on loopback.
//!
//! Each test has a farm on addresses of its own (127.0.N.x), so that they run side by side, in one process or in many.
//! `tests/install` installs what they need. `CORDBOARD_E2E_KEEP=1` leaves the folder of a failed test.

#![allow(clippy::unwrap_used)]

mod agent_states;
mod agents;
mod asterisk;
mod avalanche;
mod bad_input;
mod calls;
mod cluster;
mod deploy;
mod edge;
mod events;
mod farm;
mod ha_lab;
mod health;
mod lab;
mod metrics;
mod nat;
mod nodes_fail;
mod operating;
mod phone;
mod phones;
mod process;
mod queues;
mod realtime;
mod reconcile;
mod registrar;
mod reload;
mod restart;
mod shared_store;
mod sipp;
mod sites;
mod spread;
mod told;
mod transfers;
mod two;
