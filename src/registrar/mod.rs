//! The registrar: who is where (RFC 3261 section 10).
//!
//! Pure. [`auth`] finds out who asks ([`digest`], [`nonce`], [`replays`], [`users`]); [`register`] says what becomes of the
//! bindings of an address of record; [`table`] holds them.

pub mod aor;
pub mod auth;
pub mod binding;
pub mod digest;
pub mod nonce;
pub mod policy;
pub mod register;
pub mod replays;
pub mod table;
pub mod users;

use crate::calls::NodeId;

pub use aor::Aor;
pub use auth::{Authority, Doubt};
pub use binding::Binding;
pub use policy::{AgentPolicy, Gate, Person};
pub use register::{Plan, Refusal, Terms};
pub use table::Table;

/// The registrar as it is configured.
#[derive(Clone, Debug)]
pub struct Service {
    /// Who may register and call; none lets everybody register under any name, which is for labs.
    pub authority: Option<Authority>,
    /// How long registrations last.
    pub terms: Terms,
    /// Pause between two questions to a phone behind NAT; none for zero.
    pub keep_alive: std::time::Duration,
    /// What is answered to a call for a user who is registered nowhere.
    pub not_registered: u16,
    /// The farm's name, for GRUUs and the identity of callers.
    pub domain: Box<[u8]>,
    /// The number that calls to agents are counted under.
    pub agents: NodeId,
    /// How agents are treated.
    pub policy: AgentPolicy,
}

impl Service {
    /// Whether somebody of this name may register.
    pub fn knows(&self, user: &[u8]) -> bool {
        self.authority.as_ref().is_some_and(|authority| authority.users.knows(user))
    }
}
