//! The registrar: who is where (RFC 3261 section 10).
//!
//! Pure. [`auth`] finds out who asks ([`digest`], [`nonce`], [`replays`], [`users`]); [`register`] says what becomes of the
//! bindings of an address of record; [`table`] holds them; beside it stands what is configured and needs no REGISTER
//! ([`permanent`]).

pub mod aor;
pub mod auth;
pub mod binding;
pub mod digest;
pub mod elsewhere;
pub mod ended;
pub mod nonce;
pub mod permanent;
pub mod policy;
pub mod queue;
pub mod register;
pub mod replays;
pub mod table;
pub mod users;

use crate::calls::NodeId;

pub use aor::Aor;
pub use auth::{Authority, Doubt};
pub use binding::Binding;
pub use ended::Ended;
pub use permanent::{Permanent, Permanents};
pub use policy::{AgentPolicy, Gate, Person};
pub use queue::{Member, Queue, Realtime};
pub use register::{Plan, Refusal, Terms};
pub use table::Table;
pub use users::{User, UserChanges, Users};

/// The registrar as it is configured.
#[derive(Clone, Debug)]
pub struct Service {
    /// Who may register and call; none lets everybody register under any name, which is for labs.
    pub authority: Option<Authority>,
    /// Phones that cannot register.
    pub permanents: Permanents,
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
    /// Whether this is one of the farm's: somebody who may register, or who has a permanent contact.
    pub fn knows(&self, user: &[u8]) -> bool {
        let may_register = self.authority.as_ref().is_some_and(|authority| authority.users.knows(user));
        may_register || !self.permanents.of(user).is_empty()
    }

    /// Whether one user may register the phones of another one.
    pub fn may_register(&self, user: &Aor, other: &Aor) -> bool {
        let users = self.authority.as_ref().map(|authority| &authority.users);
        users.is_some_and(|users| users.may_register(user.as_bytes(), other.as_bytes()))
    }
}
