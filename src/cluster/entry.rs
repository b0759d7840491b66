//! One thing that an edge tells the others. Entries are whole: the last one about a thing is all there is to know about it, so
//! that one who hears an entry twice, or an old one after it missed some, is not misled.

use serde::{Deserialize, Serialize};

use crate::calls::CallKey;
use crate::registrar::register::TakenBack;
use crate::store::contract::{SavedAdmin, SavedBinding, SavedLease};

/// The form that entries are written in. One of another form is not read: it comes from an edge of another version.
const FORM: u8 = 2;

/// Something that one edge knows first hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry<'a> {
    /// A call, as long as it takes a place; the edge that tells it has it.
    Call {
        /// Key of its Call-ID.
        key: u128,
        /// What is known of it.
        #[serde(borrow)]
        lease: Box<SavedLease<'a>>,
    },
    /// A call is over.
    Over {
        /// Key of its Call-ID.
        key: u128,
        /// How far it was at the edge that tells this, when the log may not say that it was there: this is all that was told, or a log was
        /// lost.
        was_here: Option<Reached>,
    },
    /// The phones of a user that registered at the edge that tells it.
    Bindings {
        /// The user.
        #[serde(borrow)]
        aor: &'a [u8],
        /// The phones; none left when it is empty.
        #[serde(borrow)]
        list: Vec<SavedBinding<'a>>,
        /// What the user took back here, wherever it registered.
        taken_back: TakenBack,
    },
    /// Whether queues may call an agent.
    NotReady {
        /// The user.
        #[serde(borrow)]
        user: &'a [u8],
        /// When that was said, in milliseconds of Unix time: the last word holds.
        since: u64,
        /// Why not; none when they may.
        reason: Option<&'a str>,
    },
    /// What an operator wants of a node. `enabled` is a word like the others: an edge that was away when it was said hears it.
    Admin {
        /// The node's name.
        node: &'a str,
        /// What, and when it was said: the last word holds.
        wanted: SavedAdmin,
    },
    /// An agent is held for a call, or the call came. It is told once, and over within a minute: who starts does without.
    Held {
        /// The agent.
        #[serde(borrow)]
        user: &'a [u8],
        /// What the call shows.
        token: u64,
        /// Until when he is held, in milliseconds of Unix time; none when the call came.
        until: Option<u64>,
        /// The queue that his wrap-up goes by.
        queue: Option<&'a str>,
    },
    /// The edge tells everything that it knows first hand, from here or up to here: calls and phones of its own that it does not
    /// tell in between are over.
    Everything {
        /// From here.
        begins: bool,
    },
}

/// How far a call was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reached {
    /// Nobody had answered.
    Trying,
    /// It was answered.
    Answered,
}

impl Reached {
    /// How far a call is of which this is known.
    pub fn of(lease: &SavedLease<'_>) -> Self {
        if lease.answered.is_some() { Reached::Answered } else { Reached::Trying }
    }
}

/// How the name of an entry begins that says where everything begins or ends.
const EVERYTHING: &[u8] = b"e:";
/// Longest name of an edge in an entry.
const EDGE_LEN_MAX: usize = 255;

impl<'a> Entry<'a> {
    /// Writes it with the name of the edge that tells it.
    pub fn write(&self, edge: &str) -> Vec<u8> {
        let edge = &edge.as_bytes()[..edge.len().min(EDGE_LEN_MAX)];
        let mut octets = vec![FORM, edge.len() as u8];
        octets.extend_from_slice(edge);
        // Writing to memory cannot fail.
        postcard::to_extend(self, octets).unwrap_or_default()
    }

    /// Reads who tells it, and what; `None` when the octets are damaged or of another form.
    pub fn read(octets: &'a [u8]) -> Option<(&'a str, Self)> {
        let (form, rest) = octets.split_first()?;
        let (length, rest) = rest.split_first()?;
        let (edge, rest) = rest.split_at_checked(usize::from(*length))?;
        let entry = (*form == FORM).then(|| postcard::from_bytes(rest).ok()).flatten()?;
        Some((std::str::from_utf8(edge).ok()?, entry))
    }

    /// What it is about, as the edge of this name tells it: a later entry with the same name takes its place.
    pub fn name(&self, edge: &str) -> Vec<u8> {
        match self {
            Entry::Call { key, .. } | Entry::Over { key, .. } => format!("c:{key:032x}").into_bytes(),
            // Each edge answers for the phones that registered with it.
            Entry::Bindings { aor, .. } => [b"b:", edge.as_bytes(), b":", *aor].concat(),
            Entry::NotReady { user, .. } => [b"n:", *user].concat(),
            Entry::Admin { node, .. } => [b"a:", node.as_bytes()].concat(),
            Entry::Held { user, .. } => [b"h:", *user].concat(),
            Entry::Everything { .. } => [EVERYTHING, edge.as_bytes()].concat(),
        }
    }

    /// The call that it is about.
    pub fn call(&self) -> Option<CallKey> {
        match self {
            Entry::Call { key, .. } | Entry::Over { key, .. } => Some(CallKey(*key)),
            _ => None,
        }
    }

    /// True for the name of an entry that says where everything begins or ends.
    pub fn is_of_everything(name: &[u8]) -> bool {
        name.starts_with(EVERYTHING)
    }

    /// True for the name of what somebody said of a node or an agent.
    pub fn is_word(name: &[u8]) -> bool {
        name.starts_with(b"a:") || name.starts_with(b"n:")
    }

    /// True when nothing is left to know: the thing is over.
    pub fn is_over(&self) -> bool {
        match self {
            Entry::Bindings { list, .. } => list.is_empty(),
            Entry::Call { .. } | Entry::NotReady { .. } | Entry::Admin { .. } => false,
            // The last two mean something in their place in the log alone.
            Entry::Over { .. } | Entry::Held { .. } | Entry::Everything { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_entry_comes_back_as_it_was_and_damage_is_seen() {
        let entries = [
            Entry::NotReady { user: b"1001", since: 5, reason: Some("lunch") },
            Entry::Admin { node: "ast-1", wanted: SavedAdmin { state: "draining".into(), since: 7 } },
            Entry::Bindings { aor: b"\xff,\n", list: Vec::new(), taken_back: TakenBack::All },
            Entry::Over { key: u128::MAX, was_here: Some(Reached::Answered) },
            Entry::Held { user: b"1001", token: u64::MAX, until: Some(7), queue: Some("sales") },
            Entry::Everything { begins: true },
        ];
        for entry in entries {
            let octets = entry.write("edge-1");
            assert_eq!(Entry::read(&octets), Some(("edge-1", entry.clone())));
            assert_eq!(Entry::read(&octets[..octets.len() - 1]), None);
            assert_eq!(Entry::read(&[&[9], &octets[1..]].concat()), None);
        }
    }

    #[test]
    fn what_was_taken_back_is_written_as_it_was() {
        let contacts = vec![b"sip:a"[..].into(), Box::from(&b"sip:bc"[..])];
        let entry = Entry::Bindings { aor: b"1", list: Vec::new(), taken_back: TakenBack::Contacts(contacts) };
        assert_eq!(entry.write("e"), b"\x02\x01e\x02\x011\0\x01\x02\x05sip:a\x06sip:bc");
        assert_eq!(Entry::read(&entry.write("e")), Some(("e", entry)));
    }

    #[test]
    fn what_is_over_is_known_by_itself() {
        assert!(!Entry::NotReady { user: b"1", since: 1, reason: None }.is_over(), "who was away has to hear it");
        assert!(Entry::Bindings { aor: b"1", list: Vec::new(), taken_back: TakenBack::Nothing }.is_over());
    }

    proptest! {
        #[test]
        fn any_octets_are_read_without_harm(octets in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Entry::read(&octets);
        }
    }
}
