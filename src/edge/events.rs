//! What happens, for whoever watches: wallboards, supervisors' pages, scripts.
//!
//! Nothing is kept: who comes later asks for the state first and follows from there. Who reads too slowly loses the oldest news and is
//! told how many. While nobody watches, nothing is made.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::agents::book::Change;
use crate::calls::Lease;
use crate::dispatch::Farm;
use crate::registrar::Aor;

use super::view::shown;

/// News that a slow watcher may be behind.
const BEHIND_MAX: usize = 4_096;
/// Watchers at once: each holds one of the API's connections.
pub const WATCHERS_MAX: usize = 64;

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum News {
    /// An agent is in another state.
    Agent {
        /// The user.
        user: String,
        /// His state, in the words of `/api/v1/agents`.
        state: String,
    },
    /// A call opened, was answered, is ending, or is over.
    Call {
        /// Its Call-ID.
        call_id: String,
        /// Who calls.
        caller: String,
        /// Who was called.
        called: String,
        /// The node that has it; `agents` for a call to an agent's phone.
        node: String,
        /// `trying`, `up`, `ending` or `ended`.
        phase: String,
    },
    /// A user's phones registered, refreshed or went, and that is on disk.
    Registration {
        /// The user.
        user: String,
        /// Phones that he has.
        phones: usize,
    },
    /// A node or gateway changed: its health, or what the operator wants of it.
    Node {
        /// Its name.
        node: String,
        /// `up`, `down`, `closed`, `open`, `enabled`, `draining` or `disabled`.
        change: String,
    },
}

impl News {
    /// The word that it is chosen by.
    pub fn kind(&self) -> &'static str {
        match self {
            News::Agent { .. } => "agent",
            News::Call { .. } => "call",
            News::Registration { .. } => "registration",
            News::Node { .. } => "node",
        }
    }

    /// All such words.
    pub const KINDS: [&'static str; 4] = ["agent", "call", "registration", "node"];
}

/// Where news are told.
pub struct Events {
    news: broadcast::Sender<News>,
}

impl Default for Events {
    fn default() -> Self {
        Events { news: broadcast::Sender::new(BEHIND_MAX) }
    }
}

impl Events {
    /// Starts to watch; `None` when too many do.
    pub fn watch(&self) -> Option<broadcast::Receiver<News>> {
        (self.watchers() < WATCHERS_MAX).then(|| self.news.subscribe())
    }

    /// How many watch.
    pub fn watchers(&self) -> usize {
        self.news.receiver_count()
    }

    /// Tells that an agent is in another state.
    pub fn agent(&self, change: &Change) {
        self.tell(|| News::Agent { user: shown(change.aor.as_bytes()), state: change.to.as_str().to_owned() });
    }

    /// Tells how far a call is.
    pub fn call(&self, lease: &Lease, farm: &Farm) {
        self.tell(|| News::Call {
            call_id: shown(lease.names.call_id()),
            caller: shown(lease.names.caller()),
            called: shown(lease.names.called()),
            node: farm.node(lease.node).map_or_else(|| "?".to_owned(), |node| node.name.to_string()),
            phase: lease.phase.as_str().to_owned(),
        });
    }

    /// Tells of a user's phones.
    pub fn registration(&self, aor: &Aor, phones: usize) {
        self.tell(|| News::Registration { user: shown(aor.as_bytes()), phones });
    }

    /// Tells of a node.
    pub fn node(&self, name: &str, change: &str) {
        self.tell(|| News::Node { node: name.to_owned(), change: change.to_owned() });
    }

    fn tell(&self, news: impl FnOnce() -> News) {
        if self.watchers() > 0 {
            // The last watcher may have left a moment ago.
            let _ = self.news.send(news());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_made_while_nobody_watches() {
        let events = Events::default();
        events.tell(|| unreachable!("nobody watches"));
        let mut watcher = events.watch().unwrap();
        events.node("ast-1", "down");
        assert_eq!(watcher.try_recv().unwrap(), News::Node { node: "ast-1".into(), change: "down".into() });
        drop(watcher);
        events.tell(|| unreachable!("nobody watches any more"));
    }

    #[test]
    fn there_are_only_so_many_watchers() {
        let events = Events::default();
        let watchers: Vec<_> = std::iter::from_fn(|| events.watch()).collect();
        assert_eq!(watchers.len(), WATCHERS_MAX);
    }

    #[test]
    fn every_kind_has_its_word() {
        let news = News::Agent { user: "1001".into(), state: "ready".into() };
        assert_eq!(serde_json::to_string(&news).unwrap(), r#"{"event":"agent","user":"1001","state":"ready"}"#);
        assert!(News::KINDS.contains(&news.kind()));
    }
}
