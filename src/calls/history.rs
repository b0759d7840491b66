//! Why recent calls went where they went: what `explain` shows.
//!
//! A ring of bounded size; the oldest explanation makes room for the newest.

use std::sync::Arc;

use hashbrown::HashTable;

use crate::moment::Moment;
use crate::transport::flow::Target;

use super::key::CallKey;
use super::seat::{NodeId, PoolId};
use super::tries::Cause;

/// Candidates that an explanation lists at most; a larger pool is represented by the first of them.
pub const CANDIDATES_MAX: usize = 8;

/// One decision and what became of it.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The call.
    pub key: CallKey,
    /// When its INVITE came.
    pub opened: Moment,
    /// Who sent it: a gateway's or a node's name, or `stranger`.
    pub from: Arc<str>,
    /// The called number.
    pub called: Box<[u8]>,
    /// The rule that named the pool.
    pub rule: Arc<str>,
    /// The pool that the node was taken from.
    pub pool: PoolId,
    /// What the choice went by.
    pub choice: Choice,
    /// The pool's nodes at that moment.
    pub candidates: Candidates,
    /// Every node it was offered to.
    pub tries: Vec<TryRecord>,
    /// How it ended, if it did.
    pub end: Option<End>,
}

/// What a choice went by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Fewest calls for its weight.
    LeastCalls,
    /// In turn, by weight.
    RoundRobin,
    /// Drawn, by weight.
    Random,
    /// Rendezvous hash.
    Hash,
    /// The home of the called number.
    Sticky,
    /// The node that had this Call-ID before.
    Affinity,
    /// The node that has another call of the agent who is calling.
    AgentAffinity,
    /// The node that has the call which this one replaces.
    Replaces,
    /// No node looks alive: the least suspicious one.
    Panic,
    /// Where the agent's phones are.
    Location,
}

impl Choice {
    /// The word that `explain` prints.
    pub fn as_str(self) -> &'static str {
        match self {
            Choice::LeastCalls => "weighted_least_calls",
            Choice::RoundRobin => "round_robin",
            Choice::Random => "random",
            Choice::Hash => "hash",
            Choice::Sticky => "sticky",
            Choice::Affinity => "affinity",
            Choice::AgentAffinity => "agent_affinity",
            Choice::Replaces => "replaces",
            Choice::Panic => "panic",
            Choice::Location => "location",
        }
    }
}

/// A node as it stood when the choice was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The node.
    pub node: NodeId,
    /// Its leases.
    pub leases: u32,
    /// Its weight at that moment: slow start and a slow answer to probes lower it. In 64ths.
    pub weight_64ths: u32,
    /// Why it could not be taken, if so.
    pub barred: Option<Barred>,
}

/// Why a node takes no new call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Barred {
    /// The operator drains or disabled it.
    Admin,
    /// Health checks found it dead.
    Down,
    /// It said itself that it takes no calls.
    Closed,
    /// It has as many calls as it may.
    Full,
    /// It was tried for this call already.
    Tried,
}

impl Barred {
    /// The word that `explain` prints.
    pub fn as_str(self) -> &'static str {
        match self {
            Barred::Admin => "admin",
            Barred::Down => "down",
            Barred::Closed => "closed",
            Barred::Full => "full",
            Barred::Tried => "tried",
        }
    }
}

/// Up to [`CANDIDATES_MAX`] candidates, without memory of their own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Candidates {
    list: [Option<Candidate>; CANDIDATES_MAX],
    len: u8,
    /// Nodes in the pool, listed or not.
    pub total: u32,
}

impl Candidates {
    /// None yet, of a pool of so many nodes.
    pub fn of_pool(total: u32) -> Self {
        Candidates { list: [None; CANDIDATES_MAX], len: 0, total }
    }

    /// Adds one while there is room.
    pub fn push(&mut self, candidate: Candidate) {
        if let Some(place) = self.list.get_mut(usize::from(self.len)) {
            *place = Some(candidate);
            self.len += 1;
        }
    }

    /// Those that are listed.
    pub fn iter(&self) -> impl Iterator<Item = &Candidate> {
        self.list.iter().flatten()
    }
}

/// One node that the call was offered to.
#[derive(Clone, Copy, Debug)]
pub struct TryRecord {
    /// The node.
    pub node: NodeId,
    /// Its address.
    pub target: Target,
    /// When.
    pub started: Moment,
    /// What came of it, and when.
    pub result: Option<(TryResult, Moment)>,
}

/// What came of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryResult {
    /// A final answer that was forwarded.
    Answered(u16),
    /// Given up; with the answer that was swallowed, if there was one.
    Abandoned(Cause, Option<u16>),
    /// The caller took the call back, or waited too long.
    Cancelled,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Why.
    pub cause: EndCause,
    /// When.
    pub at: Moment,
    /// The final answer that the caller got, if the call was not answered.
    pub code: Option<u16>,
}

/// Why a lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndCause {
    /// BYE, answered.
    Bye,
    /// BYE without an answer for 32 seconds.
    ByeUnanswered,
    /// A final failure was forwarded, or given by the edge.
    Failed,
    /// The node asked for credentials; the caller comes again.
    Challenged,
    /// The caller took it back.
    Cancelled,
    /// No final answer in time.
    RingTimeout,
    /// Longer than a call may last.
    MaxDuration,
    /// The negotiated session timer ran out.
    SessionTimer,
    /// One side said that the dialog does not exist.
    DialogGone,
    /// A request for it met a node that is down.
    NodeDown,
    /// The node has no such call.
    Reconciled,
}

impl EndCause {
    /// Metric label, log field, API word and test expectation.
    pub fn as_str(self) -> &'static str {
        match self {
            EndCause::Bye => "bye",
            EndCause::ByeUnanswered => "bye_unanswered",
            EndCause::Failed => "failed",
            EndCause::Challenged => "challenged",
            EndCause::Cancelled => "cancelled",
            EndCause::RingTimeout => "ring_timeout",
            EndCause::MaxDuration => "max_duration",
            EndCause::SessionTimer => "session_timer",
            EndCause::DialogGone => "dialog_gone",
            EndCause::NodeDown => "node_down",
            EndCause::Reconciled => "reconciled",
        }
    }

    /// Every cause.
    pub const ALL: [EndCause; 11] = [
        EndCause::Bye,
        EndCause::ByeUnanswered,
        EndCause::Failed,
        EndCause::Challenged,
        EndCause::Cancelled,
        EndCause::RingTimeout,
        EndCause::MaxDuration,
        EndCause::SessionTimer,
        EndCause::DialogGone,
        EndCause::NodeDown,
        EndCause::Reconciled,
    ];
}

/// The ring.
#[derive(Debug)]
pub struct History {
    ring: Vec<Explanation>,
    next: usize,
    max: usize,
    table: HashTable<u32>,
}

impl History {
    /// A ring of at most `max` explanations.
    pub fn new(max: usize) -> Self {
        History { ring: Vec::new(), next: 0, max, table: HashTable::new() }
    }

    /// Takes one up; it stands for the call from then on.
    pub fn push(&mut self, explanation: Explanation) {
        if self.max == 0 {
            return;
        }
        self.forget(explanation.key);
        let index = self.next;
        self.next = (index + 1) % self.max;
        let hash = explanation.key.table_hash();
        if index < self.ring.len() {
            // Only this place's entry goes: the same call may stand in a newer place.
            if let Ok(found) = self.table.find_entry(self.ring[index].key.table_hash(), |i| *i as usize == index) {
                found.remove();
            }
            self.ring[index] = explanation;
        } else {
            self.ring.push(explanation);
        }
        let ring = &self.ring;
        self.table.insert_unique(hash, index as u32, |i| ring[*i as usize].key.table_hash());
    }

    fn forget(&mut self, key: CallKey) {
        let ring = &self.ring;
        if let Ok(found) = self.table.find_entry(key.table_hash(), |i| ring[*i as usize].key == key) {
            found.remove();
        }
    }

    /// The explanation of a call.
    pub fn find(&self, key: CallKey) -> Option<&Explanation> {
        let found = self.table.find(key.table_hash(), |i| self.ring[*i as usize].key == key)?;
        Some(&self.ring[*found as usize])
    }

    /// The same, to be continued.
    pub fn find_mut(&mut self, key: CallKey) -> Option<&mut Explanation> {
        let ring = &self.ring;
        let found = *self.table.find(key.table_hash(), |i| ring[*i as usize].key == key)?;
        Some(&mut self.ring[found as usize])
    }

    /// Notes the result of the newest try that has none.
    pub fn note_try(&mut self, key: CallKey, attempt: u8, result: TryResult, now: Moment) {
        if let Some(record) = self.find_mut(key).and_then(|e| e.tries.get_mut(attempt as usize)) {
            record.result.get_or_insert((result, now));
        }
    }

    /// Notes how a call ended.
    pub fn note_end(&mut self, key: CallKey, end: End) {
        if let Some(explanation) = self.find_mut(key) {
            explanation.end.get_or_insert(end);
        }
    }

    /// Number of explanations.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explanation(key: u128) -> Explanation {
        Explanation {
            key: CallKey(key << 64 | key),
            opened: Moment::ZERO,
            from: "gw".into(),
            called: b"100"[..].into(),
            rule: "default".into(),
            pool: PoolId(0),
            choice: Choice::LeastCalls,
            candidates: Candidates::default(),
            tries: Vec::new(),
            end: None,
        }
    }

    #[test]
    fn the_oldest_explanation_makes_room_and_no_call_has_two() {
        let mut history = History::new(3);
        for key in [1, 2, 3, 2, 4] {
            history.push(explanation(key));
        }
        let known = |key: u128| history.find(CallKey(key << 64 | key)).is_some();
        assert_eq!((1..=4).map(known).collect::<Vec<_>>(), [false, true, true, true]);
        assert_eq!(history.len(), 3);
    }

    #[test]
    fn a_ring_of_no_size_keeps_nothing() {
        let mut history = History::new(0);
        history.push(explanation(1));
        assert!(history.is_empty());
    }
}
