//! What an agent did last, and why: a ring of a few changes.

use std::collections::VecDeque;

use crate::moment::Moment;

use super::agent::State;

/// Changes that are kept for each agent.
pub const CHANGES_MAX: usize = 32;

/// Octets of a reason or a queue's name that are kept with a change.
const TEXT_LEN_MAX: usize = 64;

/// Why an agent's state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// His phone registered.
    Registered,
    /// His last registration ended.
    RegistrationEnded,
    /// A queue calls him.
    QueueCall,
    /// Somebody else calls him.
    DirectCall,
    /// He calls somebody.
    OwnCall,
    /// He answered.
    Answered,
    /// He put his call on hold.
    Held,
    /// He took it back.
    Resumed,
    /// A call ended.
    CallEnded,
    /// The time after a call is over.
    WrapupEnded,
    /// Somebody reserved him.
    Reserved,
    /// Nobody used that.
    ReservationEnded,
    /// He said so.
    OwnWord,
    /// A supervisor said so.
    SupervisorsWord,
    /// It was said at another edge.
    AnotherEdge,
    /// The edge started, and this was said before.
    Restart,
}

impl Cause {
    /// The word of CLI and API.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Registered => "registered",
            Cause::RegistrationEnded => "registration_ended",
            Cause::QueueCall => "queue_call",
            Cause::DirectCall => "direct_call",
            Cause::OwnCall => "own_call",
            Cause::Answered => "answered",
            Cause::Held => "held",
            Cause::Resumed => "resumed",
            Cause::CallEnded => "call_ended",
            Cause::WrapupEnded => "wrapup_ended",
            Cause::Reserved => "reserved",
            Cause::ReservationEnded => "reservation_ended",
            Cause::OwnWord => "own_word",
            Cause::SupervisorsWord => "supervisors_word",
            Cause::AnotherEdge => "another_edge",
            Cause::Restart => "restart",
        }
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Moment,
    /// The queue that called or reserved him, or why he is not ready.
    pub text: Option<Box<str>>,
    /// The state before.
    pub from: State,
    /// And after; the same when another reason was given.
    pub to: State,
    /// Why.
    pub cause: Cause,
}

/// The last changes of one agent, the oldest first: at most [`CHANGES_MAX`].
#[derive(Clone, Debug, Default)]
pub struct History {
    entries: VecDeque<Entry>,
}

impl History {
    /// Notes one; the oldest makes room.
    pub(super) fn note(&mut self, entry: Entry) {
        if self.entries.len() == CHANGES_MAX {
            self.entries.pop_front();
        }
        // Room for one at first: who registers and is never called has no other.
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(self.entries.len().max(1));
        }
        self.entries.push_back(entry);
    }

    /// All of them.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// A reason or a queue's name as it is kept: short, and none when it is empty.
pub(super) fn kept(text: &str) -> Option<Box<str>> {
    let ends = (0..=text.len().min(TEXT_LEN_MAX)).rev();
    let cut = ends.into_iter().find_map(|end| text.get(..end)).unwrap_or_default();
    (!cut.is_empty()).then(|| cut.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(secs: u64) -> Entry {
        let at = Moment::from_micros(secs * 1_000_000);
        Entry { at, text: None, from: State::Ready, to: State::NotReady, cause: Cause::OwnWord }
    }

    #[test]
    fn the_last_changes_are_kept_and_no_more() {
        let mut history = History::default();
        (0..100).for_each(|secs| history.note(entry(secs)));
        let first = history.iter().next().unwrap();
        assert_eq!((history.iter().count(), first), (CHANGES_MAX, &entry(100 - CHANGES_MAX as u64)));
    }

    #[test]
    fn an_agents_history_takes_about_a_kilobyte_and_its_texts() {
        assert!(size_of::<Entry>() <= 32, "{}", size_of::<Entry>());
        assert_eq!(kept(&"ä".repeat(40)).unwrap().len(), TEXT_LEN_MAX);
        assert_eq!(kept(&format!("x{}", "ä".repeat(40))).unwrap().len(), TEXT_LEN_MAX - 1);
        assert_eq!(kept(""), None);
    }
}
