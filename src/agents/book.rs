//! All agents.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::calls::CallKey;
use crate::moment::Moment;
use crate::registrar::{Aor, Gate};

use super::agent::{Agent, AgentCall, Doing, Intent, State};

/// Calls that one agent may have at once. More are refused as if he were busy.
const CALLS_MAX: usize = 32;

/// All agents, and what changed about them.
#[derive(Debug, Default)]
pub struct Book {
    /// Boxed: most of a map's places are empty, and a million agents are in one.
    agents: HashMap<Aor, Box<Agent>>,
    /// Ends of wrap-ups, in order.
    wrapups: BTreeSet<(Moment, Aor)>,
    changes: Vec<Change>,
}

/// An agent is in another state than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Who.
    pub aor: Aor,
    /// Now.
    pub to: State,
}

/// A call that wants an agent.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// Whom.
    pub aor: &'a Aor,
    /// The call.
    pub key: CallKey,
    /// Whether a queue sends it.
    pub is_of_queue: bool,
    /// Which calls have to find him free.
    pub gate: Gate,
}

impl Book {
    /// Lets a call through to an agent and notes it, in one step: of two calls at the same moment one is let through. False when
    /// he is not free for it.
    pub fn offer(&mut self, offer: Offer<'_>, now: Moment) -> bool {
        let gated = match offer.gate {
            Gate::Queue => offer.is_of_queue,
            Gate::All => true,
            Gate::Off => false,
        };
        let agent = self.agents.entry(offer.aor.clone()).or_default();
        let is_known = agent.calls.iter().any(|call| call.key == offer.key);
        let free = agent.state(now) == State::Ready || (!offer.is_of_queue && agent.state(now) == State::NotReady);
        if !is_known && ((gated && !free) || agent.calls.len() >= CALLS_MAX) {
            return false;
        }
        if !is_known {
            let call = AgentCall { key: offer.key, doing: Doing::Ringing, is_of_queue: offer.is_of_queue };
            agent.calls.push(call);
        }
        self.report(offer.aor, now);
        true
    }

    /// Notes how far a call of an agent's is; `None` when it is over.
    pub fn note(&mut self, aor: &Aor, key: CallKey, doing: Option<Doing>, wrapup: Duration, now: Moment) {
        let known = self.agents.get(aor.as_bytes()).is_some_and(|agent| agent.calls.iter().any(|call| call.key == key));
        if doing.is_none() && !known {
            return;
        }
        let agent = self.agents.entry(aor.clone()).or_default();
        match (agent.calls.iter().position(|call| call.key == key), doing) {
            (Some(at), Some(doing)) => agent.calls[at].doing = doing,
            (None, Some(doing)) if agent.calls.len() < CALLS_MAX => {
                agent.calls.push(AgentCall { key, doing, is_of_queue: false });
            }
            (Some(at), None) => {
                let over = agent.calls.remove(at);
                let talked = over.doing == Doing::Talking;
                if over.is_of_queue && talked && wrapup > Duration::ZERO && agent.calls.is_empty() {
                    self.begin_wrapup(aor, now + wrapup);
                }
            }
            (None, _) => {}
        }
        self.report(aor, now);
    }

    fn begin_wrapup(&mut self, aor: &Aor, ends: Moment) {
        let agent = self.agents.entry(aor.clone()).or_default();
        if let Some(before) = agent.wrapup_ends.replace(ends) {
            self.wrapups.remove(&(before, aor.clone()));
        }
        self.wrapups.insert((ends, aor.clone()));
    }

    fn end_wrapup(&mut self, aor: &Aor) {
        let ends = self.agents.get_mut(aor.as_bytes()).and_then(|agent| agent.wrapup_ends.take());
        if let Some(ends) = ends {
            self.wrapups.remove(&(ends, aor.clone()));
        }
    }

    /// Notes whether he is registered anywhere.
    pub fn set_registered(&mut self, aor: &Aor, is_registered: bool, now: Moment) {
        if !is_registered && !self.agents.contains_key(aor.as_bytes()) {
            return;
        }
        self.agents.entry(aor.clone()).or_default().is_registered = is_registered;
        self.report(aor, now);
    }

    /// Notes what he or a supervisor said; saying that he is ready also ends his wrap-up.
    pub fn set_intent(&mut self, aor: &Aor, intent: Intent, now: Moment) {
        if intent == Intent::Ready {
            self.end_wrapup(aor);
        }
        self.agents.entry(aor.clone()).or_default().intent = intent;
        self.report(aor, now);
    }

    /// Time passes: wrap-ups end.
    pub fn tick(&mut self, now: Moment) {
        while let Some((ends, aor)) = self.wrapups.first().cloned() {
            if ends > now {
                return;
            }
            self.end_wrapup(&aor);
            self.report(&aor, now);
        }
    }

    /// One agent; none of whom nothing is known.
    pub fn find(&self, aor: &[u8]) -> Option<&Agent> {
        self.agents.get(aor).map(|agent| &**agent)
    }

    /// What he is doing.
    pub fn state(&self, aor: &[u8], now: Moment) -> State {
        self.find(aor).map_or(State::Unavailable, |agent| agent.state(now))
    }

    /// All agents of whom something is known.
    pub fn iter(&self) -> impl Iterator<Item = (&Aor, &Agent)> {
        self.agents.iter().map(|(aor, agent)| (aor, &**agent))
    }

    /// Takes away what changed, in order.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// True when something changed that nobody has taken yet.
    pub fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    fn report(&mut self, aor: &Aor, now: Moment) {
        let Some(agent) = self.agents.get_mut(aor.as_bytes()) else { return };
        let to = agent.state(now);
        if agent.reported != to {
            (agent.reported, agent.since) = (to, now);
            self.changes.push(Change { aor: aor.clone(), to });
        }
        if agent.is_blank() {
            self.agents.remove(aor.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRAPUP: Duration = Duration::from_secs(8);

    fn at(secs: u64) -> Moment {
        Moment::from_micros(secs * 1_000_000)
    }

    fn anna() -> Aor {
        Aor::from_user(b"anna").unwrap()
    }

    fn offer(book: &mut Book, key: u128, is_of_queue: bool, gate: Gate) -> bool {
        book.offer(Offer { aor: &anna(), key: CallKey(key), is_of_queue, gate }, at(10))
    }

    fn registered() -> Book {
        let mut book = Book::default();
        book.set_registered(&anna(), true, at(1));
        assert_eq!(book.state(b"anna", at(1)), State::Ready);
        book
    }

    fn states(book: &mut Book) -> Vec<&'static str> {
        book.take_changes().iter().map(|change| change.to.as_str()).collect()
    }

    #[test]
    fn of_two_queues_at_the_same_moment_one_gets_the_agent() {
        let mut book = registered();
        assert!(offer(&mut book, 1, true, Gate::Queue));
        assert!(!offer(&mut book, 2, true, Gate::Queue));
        assert!(offer(&mut book, 1, true, Gate::Queue), "a repetition of the first");
        assert_eq!(book.find(b"anna").unwrap().calls().len(), 1);
    }

    #[test]
    fn a_direct_call_may_wait_unless_the_gate_is_for_all() {
        let mut book = registered();
        assert!(offer(&mut book, 1, true, Gate::Queue));
        assert!(offer(&mut book, 2, false, Gate::Queue), "call waiting");
        assert!(!offer(&mut book, 3, false, Gate::All));
        assert!(offer(&mut book, 4, true, Gate::Off));
    }

    #[test]
    fn a_call_from_a_queue_is_followed_by_wrap_up_and_a_direct_one_is_not() {
        let mut book = registered();
        offer(&mut book, 1, true, Gate::Queue);
        book.note(&anna(), CallKey(1), Some(Doing::Talking), WRAPUP, at(11));
        book.note(&anna(), CallKey(1), None, WRAPUP, at(20));
        assert_eq!(states(&mut book), ["ready", "ringing", "in_use", "wrapup"]);
        assert!(!offer(&mut book, 2, true, Gate::Queue));
        book.tick(at(27));
        assert_eq!(book.state(b"anna", at(27)), State::Wrapup);
        book.tick(at(28));
        assert_eq!(states(&mut book), ["ready"]);
        offer(&mut book, 3, false, Gate::Queue);
        book.note(&anna(), CallKey(3), Some(Doing::Talking), WRAPUP, at(30));
        book.note(&anna(), CallKey(3), None, WRAPUP, at(31));
        assert_eq!(states(&mut book), ["ringing", "in_use", "ready"]);
    }

    #[test]
    fn a_call_that_nobody_took_is_not_wrapped_up() {
        let mut book = registered();
        offer(&mut book, 1, true, Gate::Queue);
        book.note(&anna(), CallKey(1), None, WRAPUP, at(20));
        assert_eq!(book.state(b"anna", at(20)), State::Ready);
    }

    #[test]
    fn saying_ready_ends_a_wrap_up_and_saying_not_ready_keeps_queues_away() {
        let mut book = registered();
        offer(&mut book, 1, true, Gate::Queue);
        book.note(&anna(), CallKey(1), Some(Doing::Talking), WRAPUP, at(11));
        book.note(&anna(), CallKey(1), None, WRAPUP, at(20));
        book.set_intent(&anna(), Intent::Ready, at(21));
        assert_eq!(book.state(b"anna", at(21)), State::Ready);
        book.set_intent(&anna(), Intent::NotReady("lunch".into()), at(22));
        assert!(!offer(&mut book, 2, true, Gate::Queue));
        assert!(offer(&mut book, 3, false, Gate::All), "a person may still call him");
        book.tick(at(1_000));
        assert!(book.wrapups.is_empty());
    }

    #[test]
    fn two_calls_are_in_use_until_the_last_one_ends() {
        let mut book = registered();
        book.note(&anna(), CallKey(1), Some(Doing::Talking), WRAPUP, at(2));
        offer(&mut book, 2, false, Gate::Queue);
        book.note(&anna(), CallKey(2), Some(Doing::Talking), WRAPUP, at(3));
        book.note(&anna(), CallKey(1), None, WRAPUP, at(4));
        assert_eq!(book.state(b"anna", at(4)), State::InUse);
        book.note(&anna(), CallKey(2), None, WRAPUP, at(5));
        assert_eq!(book.state(b"anna", at(5)), State::Ready);
    }

    #[test]
    fn nobody_is_remembered_for_nothing() {
        let mut book = registered();
        book.note(&anna(), CallKey(9), None, WRAPUP, at(2));
        book.set_registered(&anna(), false, at(3));
        assert_eq!(states(&mut book), ["ready", "unavailable"]);
        assert_eq!(book.iter().count(), 0);
    }

    #[test]
    fn an_agent_whose_registration_ran_out_is_in_use_until_he_hangs_up() {
        let mut book = registered();
        offer(&mut book, 1, true, Gate::Queue);
        book.note(&anna(), CallKey(1), Some(Doing::Talking), Duration::ZERO, at(11));
        book.set_registered(&anna(), false, at(12));
        assert_eq!(book.state(b"anna", at(12)), State::InUse);
        book.note(&anna(), CallKey(1), None, Duration::ZERO, at(13));
        assert_eq!(book.state(b"anna", at(13)), State::Unavailable);
    }
}
