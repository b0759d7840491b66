//! What is known of an edge while it tells everything that it has: whatever it does not tell again is over.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::calls::CallKey;
use crate::registrar::Aor;

/// What edges had before they began to tell everything, and have not told since.
#[derive(Debug, Default)]
pub struct Doubts {
    of: HashMap<Arc<str>, Doubt>,
}

/// What one edge has not told again.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Doubt {
    /// Its calls.
    pub calls: BTreeSet<CallKey>,
    /// Users with phones at it.
    pub users: BTreeSet<Aor>,
}

impl Doubts {
    /// An edge begins to tell everything.
    pub fn begin(&mut self, edge: Arc<str>, doubt: Doubt) {
        self.of.insert(edge, doubt);
    }

    /// An edge told of a call: nothing is in doubt about it.
    pub fn heard_call(&mut self, edge: &str, key: CallKey) {
        self.of.get_mut(edge).map(|doubt| doubt.calls.remove(&key));
    }

    /// The same of a user's phones.
    pub fn heard_phones(&mut self, edge: &str, aor: &Aor) {
        self.of.get_mut(edge).map(|doubt| doubt.users.remove(aor));
    }

    /// An edge has told everything: what it did not tell.
    pub fn end(&mut self, edge: &str) -> Doubt {
        self.of.remove(edge).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_edge_does_not_tell_again_is_left() {
        let (mut doubts, anna) = (Doubts::default(), Aor::from_user(b"anna").unwrap());
        let doubt = Doubt { calls: [CallKey(1), CallKey(2)].into(), users: [anna.clone()].into() };
        doubts.begin("a".into(), doubt);
        doubts.heard_call("a", CallKey(1));
        doubts.heard_call("b", CallKey(2));
        doubts.heard_phones("a", &anna);
        assert_eq!(doubts.end("a"), Doubt { calls: [CallKey(2)].into(), users: BTreeSet::new() });
        assert_eq!(doubts.end("a"), Doubt::default(), "who was not heard to begin ends nothing");
    }
}
