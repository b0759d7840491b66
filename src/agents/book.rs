//! All agents.

use std::collections::{BTreeSet, HashMap};

use crate::calls::CallKey;
use crate::moment::Moment;
use crate::registrar::{AgentPolicy, Aor, Gate};

use super::agent::{Agent, AgentCall, CALLS_MAX, Doing, Intent, State};
use super::history::{Cause, Entry, kept};
use super::idle::{Idle, Skills};
use super::reservation::{HOLD_MAX, Held, LOST_HOLD, Reservation, Reservations, Wanted};

/// Agents of whom nothing but their history is known. Where everybody may register, names could come without end.
const GONE_MAX: usize = 10_000;

/// All agents, and what changed about them.
#[derive(Debug, Default)]
pub struct Book {
    /// Boxed: most of a map's places are empty, and a million agents are in one.
    agents: HashMap<Aor, Box<Agent>>,
    /// Who is free.
    idle: Idle,
    /// Ends of wrap-ups, in order.
    wrapups: BTreeSet<(Moment, Aor)>,
    /// Ends of reservations, in order.
    reservations: BTreeSet<(Moment, Aor)>,
    /// Who has nothing but a history, in order.
    gone: BTreeSet<(Moment, Aor)>,
    changes: Vec<Change>,
    counts: Reservations,
}

/// An agent is in another state than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Who.
    pub aor: Aor,
    /// Before.
    pub from: State,
    /// Now.
    pub to: State,
    /// Why.
    pub cause: Cause,
}

/// A call that wants an agent.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// Whom.
    pub aor: &'a Aor,
    /// The call.
    pub key: CallKey,
    /// The queue that sends it, perhaps without a name; none for any other call.
    pub queue: Option<&'a [u8]>,
    /// What it shows of a reservation.
    pub reservation: Option<u64>,
    /// Which calls have to find him free.
    pub gate: Gate,
}

impl Offer<'_> {
    /// Whether a queue sends it.
    pub fn is_of_queue(&self) -> bool {
        self.queue.is_some() || self.reservation.is_some()
    }

    /// Whether he has to be free for it.
    pub fn must_be_free(&self) -> bool {
        match self.gate {
            Gate::Queue => self.is_of_queue(),
            Gate::All => true,
            Gate::Off => false,
        }
    }
}

/// What is known of a call of an agent's.
#[derive(Clone, Copy, Debug)]
pub struct Note<'a> {
    /// Which.
    pub key: CallKey,
    /// How far it is; `None` when it is over.
    pub doing: Option<Doing>,
    /// The queue that sent it.
    pub queue: Option<&'a [u8]>,
    /// Whether he is calling.
    pub is_own: bool,
}

impl Note<'_> {
    fn call(self) -> Option<AgentCall> {
        self.doing.map(|doing| AgentCall { key: self.key, doing, queue: self.queue.map(queue_name) })
    }

    fn first_cause(self) -> Cause {
        match (self.is_own, self.queue) {
            (true, _) => Cause::OwnCall,
            (false, Some(_)) => Cause::QueueCall,
            (false, None) => Cause::DirectCall,
        }
    }
}

impl Book {
    /// Whether [`Book::offer`] would let the call through.
    pub fn would_take(&self, offer: Offer<'_>, now: Moment) -> bool {
        let nobody = Agent::default();
        let agent = self.find(offer.aor.as_bytes()).unwrap_or(&nobody);
        agent.calls().iter().any(|call| call.key == offer.key) || agent.admits(offer, now)
    }

    /// Lets a call through to an agent and notes it, in one step: of two calls at the same moment one is let through. False when
    /// he is not free for it.
    pub fn offer(&mut self, offer: Offer<'_>, now: Moment) -> bool {
        self.tick(now);
        let agent = self.agents.entry(offer.aor.clone()).or_default();
        if agent.calls.iter().any(|call| call.key == offer.key) {
            return true;
        }
        if !agent.admits(offer, now) {
            self.keep_or_forget(offer.aor, now);
            return false;
        }
        let reserved = agent.is_reserved_for(offer, now).then(|| self.end_reservation(offer.aor)).flatten();
        self.counts.used += u64::from(reserved.is_some());
        let of_reservation = reserved.map(|reservation| reservation.queue.unwrap_or_default());
        let queue = offer.queue.map(queue_name).or(of_reservation);
        let cause = if queue.is_some() { Cause::QueueCall } else { Cause::DirectCall };
        let agent = self.agents.entry(offer.aor.clone()).or_default();
        agent.calls.push(AgentCall { key: offer.key, doing: Doing::Ringing, queue: queue.clone() });
        self.report(offer.aor, cause, queue.as_deref(), now);
        true
    }

    /// Takes back a call that was let through and came to nothing.
    pub fn take_back(&mut self, aor: &Aor, key: CallKey, now: Moment) {
        let Some(agent) = self.agents.get_mut(aor.as_bytes()) else { return };
        agent.calls.retain(|call| call.key != key);
        self.report(aor, Cause::CallEnded, None, now);
    }

    /// Notes how far a call of an agent's is.
    pub fn note(&mut self, aor: &Aor, note: Note<'_>, policy: &AgentPolicy, now: Moment) {
        let calls = self.agents.get(aor.as_bytes()).map_or(&[][..], |agent| &agent.calls);
        let known = calls.iter().position(|call| call.key == note.key);
        match (known, note.call()) {
            (Some(at), Some(call)) => self.go_on(aor, at, call.doing, now),
            (Some(at), None) => self.end(aor, at, policy, now),
            (None, Some(call)) => self.begin(aor, call, note.first_cause(), now),
            (None, None) => {}
        }
    }

    /// A call that was not known.
    fn begin(&mut self, aor: &Aor, call: AgentCall, cause: Cause, now: Moment) {
        let agent = self.agents.entry(aor.clone()).or_default();
        let queue = call.queue.clone();
        if agent.calls.len() < CALLS_MAX {
            agent.calls.push(call);
        }
        self.report(aor, cause, queue.as_deref(), now);
    }

    fn go_on(&mut self, aor: &Aor, at: usize, doing: Doing, now: Moment) {
        let Some(call) = self.agents.get_mut(aor.as_bytes()).and_then(|agent| agent.calls.get_mut(at)) else { return };
        let cause = match (call.doing, doing) {
            (_, Doing::Holding) => Cause::Held,
            (Doing::Holding, _) => Cause::Resumed,
            _ => Cause::Answered,
        };
        call.doing = doing;
        let queue = call.queue.clone();
        self.report(aor, cause, queue.as_deref(), now);
    }

    fn end(&mut self, aor: &Aor, at: usize, policy: &AgentPolicy, now: Moment) {
        let Some(agent) = self.agents.get_mut(aor.as_bytes()) else { return };
        let over = agent.calls.remove(at);
        let is_last = agent.calls.is_empty();
        if let Some(queue) = over.queue.as_deref().filter(|_| is_last && over.doing != Doing::Ringing) {
            let wrapup = policy.wrapup_of(aor, queue);
            if !wrapup.is_zero() {
                self.begin_wrapup(aor, now + wrapup);
            }
        }
        self.report(aor, Cause::CallEnded, over.queue.as_deref(), now);
    }

    fn begin_wrapup(&mut self, aor: &Aor, ends: Moment) {
        self.end_wrapup(aor);
        self.agents.entry(aor.clone()).or_default().wrapup_ends = Some(ends);
        self.wrapups.insert((ends, aor.clone()));
    }

    fn end_wrapup(&mut self, aor: &Aor) {
        let ends = self.agents.get_mut(aor.as_bytes()).and_then(|agent| agent.wrapup_ends.take());
        if let Some(ends) = ends {
            self.wrapups.remove(&(ends, aor.clone()));
        }
    }

    /// Picks the longest idle agent with the wanted skills and holds him, in one step: of two that want him at the same moment one
    /// gets him. While that lasts he is free for nobody but the call that shows the token.
    pub fn reserve(&mut self, wanted: Wanted<'_>, now: Moment) -> Option<Aor> {
        self.tick(now);
        let Some(aor) = self.idle.longest(wanted.skills).cloned() else {
            self.counts.refused += 1;
            return None;
        };
        self.hold(&aor, Held { token: wanted.token, ends: now + wanted.hold, queue: wanted.queue }, now);
        self.counts.made += 1;
        Some(aor)
    }

    /// Somebody was quicker with him at another edge: he stays held until that edge is heard, and not for long.
    pub fn lose_reservation(&mut self, aor: &Aor, now: Moment) {
        let lost = self.find(aor.as_bytes()).and_then(|agent| agent.reservation.clone());
        if let Some(lost) = lost {
            self.counts.made -= 1;
            let ends = lost.ends.min(now + LOST_HOLD);
            self.hold(aor, Held { token: lost.token, ends, queue: lost.queue.as_deref() }, now);
        }
    }

    /// Notes that he is held for a call, as another edge says.
    pub fn hear_reservation(&mut self, aor: &Aor, held: Held<'_>, now: Moment) {
        self.tick(now);
        self.hold(aor, held, now);
    }

    /// Notes that the call came for which he was held, at another edge. One that was held again since stays held.
    pub fn hear_used(&mut self, aor: &Aor, token: u64, now: Moment) {
        let held = self.find(aor.as_bytes()).and_then(|agent| agent.reservation.as_ref());
        if held.is_some_and(|reservation| reservation.token == token) {
            self.end_reservation(aor);
            self.report(aor, Cause::ReservationEnded, None, now);
        }
    }

    /// Holds somebody who is known. Whoever was held before keeps the place in the line that he had then.
    fn hold(&mut self, aor: &Aor, held: Held<'_>, now: Moment) {
        let before = self.end_reservation(aor).map(|reservation| reservation.idle_since);
        let Some(agent) = self.agents.get_mut(aor.as_bytes()) else { return };
        let idle_since = before.or(agent.idle_since).unwrap_or(now);
        let ends = held.ends.min(now + HOLD_MAX);
        let queue = held.queue.and_then(kept);
        agent.reservation = Some(Box::new(Reservation { token: held.token, ends, idle_since, queue }));
        self.reservations.insert((ends, aor.clone()));
        self.report(aor, Cause::Reserved, held.queue, now);
    }

    fn end_reservation(&mut self, aor: &Aor) -> Option<Reservation> {
        let agent = self.agents.get_mut(aor.as_bytes())?;
        let reservation = agent.reservation.take()?;
        agent.idle_before = Some(reservation.idle_since);
        self.reservations.remove(&(reservation.ends, aor.clone()));
        Some(*reservation)
    }

    /// What became of reservations since the start.
    pub fn reservations(&self) -> Reservations {
        self.counts
    }

    /// Takes up who has which skills.
    pub fn set_skills(&mut self, skills: Skills) {
        self.idle.set_skills(skills);
    }

    /// Who is free, and what everybody is good for.
    pub fn idle(&self) -> &Idle {
        &self.idle
    }

    /// Notes whether he is registered anywhere.
    pub fn set_registered(&mut self, aor: &Aor, is_registered: bool, now: Moment) {
        if !is_registered && !self.agents.contains_key(aor.as_bytes()) {
            return;
        }
        if !is_registered {
            self.withdraw(aor);
        }
        self.agents.entry(aor.clone()).or_default().is_registered = is_registered;
        let cause = if is_registered { Cause::Registered } else { Cause::RegistrationEnded };
        self.report(aor, cause, None, now);
    }

    /// Notes what he or a supervisor said; saying that he is ready also ends his wrap-up, and that he is not a reservation.
    pub fn set_intent(&mut self, aor: &Aor, intent: Intent, cause: Cause, now: Moment) {
        match intent {
            Intent::Ready => self.end_wrapup(aor),
            Intent::NotReady(_) => self.withdraw(aor),
        }
        let agent = self.agents.entry(aor.clone()).or_default();
        let is_other_reason = agent.reported == State::NotReady && intent != Intent::Ready && agent.intent != intent;
        agent.intent = intent;
        if is_other_reason {
            let text = agent.intent.reason().and_then(kept);
            agent.history.note(Entry { at: now, text, from: State::NotReady, to: State::NotReady, cause });
        }
        self.report(aor, cause, None, now);
    }

    fn withdraw(&mut self, aor: &Aor) {
        self.counts.withdrawn += u64::from(self.end_reservation(aor).is_some());
    }

    /// Time passes: wrap-ups and reservations end.
    pub fn tick(&mut self, now: Moment) {
        while let Some((_, aor)) = self.wrapups.first().filter(|(ends, _)| *ends <= now).cloned() {
            self.end_wrapup(&aor);
            self.report(&aor, Cause::WrapupEnded, None, now);
        }
        while let Some((_, aor)) = self.reservations.first().filter(|(ends, _)| *ends <= now).cloned() {
            self.counts.expired += u64::from(self.end_reservation(&aor).is_some());
            self.report(&aor, Cause::ReservationEnded, None, now);
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

    /// All agents of whom something is known but what they once did.
    pub fn iter(&self) -> impl Iterator<Item = (&Aor, &Agent)> {
        let known = self.agents.iter().filter(|(_, agent)| agent.gone_since.is_none());
        known.map(|(aor, agent)| (aor, &**agent))
    }

    /// Takes away what changed, in order.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// True when something changed that nobody has taken yet.
    pub fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Compares what he is doing with what was reported last. `text` is the queue, where there is one.
    fn report(&mut self, aor: &Aor, cause: Cause, text: Option<&str>, now: Moment) {
        let Some(agent) = self.agents.get_mut(aor.as_bytes()) else { return };
        let (from, to) = (agent.reported, agent.state(now));
        if from != to {
            (agent.reported, agent.since) = (to, now);
            let reason = agent.intent.reason().filter(|_| to == State::NotReady);
            let text = reason.or(text).and_then(kept);
            agent.history.note(Entry { at: now, text, from, to, cause });
            self.changes.push(Change { aor: aor.clone(), from, to, cause });
        }
        // His place holds only if he is free at once.
        let before = agent.idle_before.take();
        match (agent.idle_since, to == State::Ready) {
            (None, true) => {
                let since = before.unwrap_or(now);
                agent.idle_since = Some(since);
                self.idle.add(since, aor);
            }
            (Some(since), false) => {
                agent.idle_since = None;
                self.idle.remove(since, aor);
            }
            _ => {}
        }
        self.keep_or_forget(aor, now);
    }

    /// Who has nothing but a history is kept for that, until so many others have come after him.
    fn keep_or_forget(&mut self, aor: &Aor, now: Moment) {
        let Some(agent) = self.agents.get_mut(aor.as_bytes()) else { return };
        if !agent.is_blank() {
            if let Some(since) = agent.gone_since.take() {
                self.gone.remove(&(since, aor.clone()));
            }
        } else if agent.history.is_empty() {
            self.agents.remove(aor.as_bytes());
        } else if agent.gone_since.is_none() {
            agent.gone_since = Some(now);
            self.gone.insert((now, aor.clone()));
            if self.gone.len() > GONE_MAX
                && let Some((_, oldest)) = self.gone.pop_first()
            {
                self.agents.remove(oldest.as_bytes());
            }
        }
    }
}

/// A queue's name as its node says it.
fn queue_name(octets: &[u8]) -> Box<str> {
    kept(&String::from_utf8_lossy(octets)).unwrap_or_default()
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
