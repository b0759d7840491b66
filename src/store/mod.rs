//! What survives a restart: leases, registrations and operators' words.
//!
//! [`contract`] says what is kept. [`embedded`] keeps it in a folder of the machine: a database file for what must be on disk
//! before it is acknowledged, and in front of it a [`journal`] in shared memory for leases, which survives the death
//! of the process at the price of a memory copy, and a [`log`] for registrations, which survives the death of the machine at the
//! price of one sync for all that come at once. [`redis`] is where several edges meet, and [`way`] how it is reached. [`saving`]
//! makes what is kept of leases and bindings, and them of it.

mod changes;
pub mod contract;
pub mod embedded;
pub mod journal;
pub mod log;
pub mod redis;
pub mod saving;
mod steps;
pub mod way;

pub use contract::{BindingBatch, Saved, SavedAdmin, SavedBinding, SavedLease, Store, StoreError};
