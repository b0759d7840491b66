//! What a call means for the agents at its ends: the one who is called, and the one who calls.

use crate::calls::{CallKey, Lease, NodeId, Phase};
use crate::registrar::Aor;

use super::agent::Doing;
use super::book::Note;

/// As much of a call as agents have to do with, wherever it is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends<'a> {
    /// The call.
    pub key: CallKey,
    /// Who is called, if that is an agent.
    pub called: Option<&'a [u8]>,
    /// Who is calling, if that is one.
    pub calling: Option<&'a [u8]>,
    /// The queue that sent it.
    pub queue: Option<&'a [u8]>,
    /// How far it is.
    pub stage: Stage,
}

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Not answered yet.
    Trying,
    /// Answered.
    Up {
        /// Whether the agent holds it.
        is_held: bool,
    },
    /// Over.
    Over,
}

impl<'a> Ends<'a> {
    /// Those of a call that this edge has; `agents` is the node that calls to agents are counted on.
    pub fn of(lease: &'a Lease, agents: NodeId) -> Self {
        Ends {
            key: lease.key,
            called: (lease.node == agents).then(|| lease.names.called()),
            calling: lease.agent.as_deref(),
            queue: lease.queue.as_deref(),
            stage: match lease.phase {
                Phase::Trying(_) => Stage::Trying,
                Phase::Up { .. } | Phase::Ending { .. } => Stage::Up { is_held: lease.hold.is_held },
                Phase::Ended { .. } => Stage::Over,
            },
        }
    }

    /// The agents, with what is to be noted of each.
    pub fn notes(self) -> impl Iterator<Item = (Aor, Note<'a>)> {
        let doing = |while_trying| match self.stage {
            Stage::Trying => Some(while_trying),
            Stage::Up { is_held: true } => Some(Doing::Holding),
            Stage::Up { is_held: false } => Some(Doing::Talking),
            Stage::Over => None,
        };
        let note = |doing, is_own| Note { key: self.key, doing, queue: self.queue, is_own };
        let (called, calling) = (self.called.and_then(Aor::from_user), self.calling.and_then(Aor::from_user));
        let called = called.map(|aor| (aor, note(doing(Doing::Ringing), false)));
        called.into_iter().chain(calling.map(|aor| (aor, note(doing(Doing::Talking), true))))
    }
}
