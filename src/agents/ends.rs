//! What a call means for the agents at its ends: the one who is called, and the one who calls.

use crate::calls::{Lease, NodeId, Phase};
use crate::registrar::Aor;

use super::agent::Doing;
use super::book::Note;

/// The agents at a call's ends, with what is to be noted of each; `agents` is the node that calls to agents are counted on.
pub fn notes(lease: &Lease, agents: NodeId) -> impl Iterator<Item = (Aor, Note<'_>)> {
    let doing = |while_trying| match lease.phase {
        Phase::Trying(_) => Some(while_trying),
        Phase::Up { .. } | Phase::Ending { .. } if lease.hold.is_held => Some(Doing::Holding),
        Phase::Up { .. } | Phase::Ending { .. } => Some(Doing::Talking),
        Phase::Ended { .. } => None,
    };
    let called = (lease.node == agents).then(|| Aor::from_user(lease.names.called())).flatten();
    let calling = lease.agent.as_deref().and_then(Aor::from_user);
    let note = |doing, is_own| Note { key: lease.key, doing, queue: lease.queue.as_deref(), is_own };
    let called = called.map(|aor| (aor, note(doing(Doing::Ringing), false)));
    called.into_iter().chain(calling.map(|aor| (aor, note(doing(Doing::Talking), true))))
}
