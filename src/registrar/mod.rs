//! The registrar: who is where (RFC 3261 section 10).
//!
//! Pure. [`auth`] finds out who asks ([`digest`], [`nonce`], [`replays`], [`users`]); [`register`] says what becomes of the
//! bindings of an address of record; [`table`] holds them.

pub mod aor;
pub mod auth;
pub mod binding;
pub mod digest;
pub mod nonce;
pub mod register;
pub mod replays;
pub mod table;
pub mod users;

pub use aor::Aor;
pub use auth::{Authority, Doubt};
pub use binding::Binding;
pub use register::{Plan, Refusal, Terms};
pub use table::Table;
