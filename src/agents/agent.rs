//! One agent, and the state that follows from what is known of him.

use crate::calls::CallKey;
use crate::moment::Moment;
use crate::registrar::Gate;

use super::book::Offer;
use super::history::History;
use super::reservation::Reservation;

/// Calls that one agent may have at once. More are refused as if he were busy.
pub(super) const CALLS_MAX: usize = 32;

/// What an agent is doing, in the words of a call centre.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Registered nowhere.
    #[default]
    Unavailable,
    /// Free.
    Ready,
    /// His phone rings, or is about to: he is reserved.
    Ringing,
    /// He talks.
    InUse,
    /// He holds his only call, or all of them.
    OnHold,
    /// He works on what the last call left behind.
    Wrapup,
    /// He takes no calls, by his own word or a supervisor's.
    NotReady,
}

impl State {
    /// Every state.
    pub const ALL: [State; 7] =
        [State::Unavailable, State::Ready, State::Ringing, State::InUse, State::OnHold, State::Wrapup, State::NotReady];

    /// The word of CLI, API and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Unavailable => "unavailable",
            State::Ready => "ready",
            State::Ringing => "ringing",
            State::InUse => "in_use",
            State::OnHold => "on_hold",
            State::Wrapup => "wrapup",
            State::NotReady => "not_ready",
        }
    }
}

/// What an agent or a supervisor said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Intent {
    /// Calls are welcome.
    #[default]
    Ready,
    /// They are not, for this reason; it may be empty.
    NotReady(Box<str>),
}

impl Intent {
    /// Why he is not ready.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Intent::Ready => None,
            Intent::NotReady(reason) => Some(reason),
        }
    }
}

/// How far a call of an agent's is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It rings.
    Ringing,
    /// He talks, or is calling somebody.
    Talking,
    /// He holds it.
    Holding,
}

/// One call of an agent's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentCall {
    /// Which.
    pub key: CallKey,
    /// How far it is.
    pub doing: Doing,
    /// The queue that sent it, perhaps without a name: then he wraps up afterwards. None for any other call.
    pub queue: Option<Box<str>>,
}

/// One agent.
#[derive(Clone, Debug, Default)]
pub struct Agent {
    pub(super) calls: Vec<AgentCall>,
    pub(super) is_registered: bool,
    pub(super) intent: Intent,
    pub(super) wrapup_ends: Option<Moment>,
    /// Boxed: few have one, and a million agents are in memory.
    pub(super) reservation: Option<Box<Reservation>>,
    /// The state that was reported last, and since when.
    pub(super) reported: State,
    pub(super) since: Moment,
    /// Since when he stands among those who are free, if he does.
    pub(super) idle_since: Option<Moment>,
    /// Where he stands among them when he comes back from a reservation that nobody used.
    pub(super) idle_before: Option<Moment>,
    /// Since when nothing but his history is known of him, if that is so.
    pub(super) gone_since: Option<Moment>,
    pub(super) history: History,
}

impl Agent {
    /// What he is doing now.
    pub fn state(&self, now: Moment) -> State {
        let is_reserved = self.reservation.as_ref().is_some_and(|reservation| reservation.ends > now);
        match self.state_but_for_reservation(now) {
            State::Ready | State::NotReady | State::Wrapup if is_reserved => State::Ringing,
            state => state,
        }
    }

    fn state_but_for_reservation(&self, now: Moment) -> State {
        let has = |doing| self.calls.iter().any(|call| call.doing == doing);
        if has(Doing::Talking) {
            return State::InUse;
        }
        if has(Doing::Ringing) {
            return State::Ringing;
        }
        if has(Doing::Holding) {
            return State::OnHold;
        }
        if !self.is_registered {
            return State::Unavailable;
        }
        if self.wrapup_ends.is_some_and(|ends| ends > now) {
            return State::Wrapup;
        }
        match self.intent {
            Intent::Ready => State::Ready,
            Intent::NotReady(_) => State::NotReady,
        }
    }

    /// Whether a call that he does not have yet finds him free.
    pub(super) fn admits(&self, offer: Offer<'_>, now: Moment) -> bool {
        let uses_reservation = self.is_reserved_for(offer, now);
        let is_of_queue = offer.queue.is_some() || uses_reservation;
        let gated = match offer.gate {
            Gate::Queue => is_of_queue,
            Gate::All => true,
            Gate::Off => false,
        };
        let state = if uses_reservation { self.state_but_for_reservation(now) } else { self.state(now) };
        let is_free = state == State::Ready || (!is_of_queue && state == State::NotReady);
        (!gated || is_free) && self.calls.len() < CALLS_MAX
    }

    /// Whether he was reserved for this call.
    pub(super) fn is_reserved_for(&self, offer: Offer<'_>, now: Moment) -> bool {
        let reservation = self.reservation.as_ref().filter(|reservation| reservation.ends > now);
        reservation.is_some_and(|reservation| Some(reservation.token) == offer.reservation)
    }

    /// His calls.
    pub fn calls(&self) -> &[AgentCall] {
        &self.calls
    }

    /// What he or a supervisor said.
    pub fn intent(&self) -> &Intent {
        &self.intent
    }

    /// Until when he is reserved for a call, if he is.
    pub fn reserved_until(&self) -> Option<Moment> {
        self.reservation.as_ref().map(|reservation| reservation.ends)
    }

    /// Since when he is in the state that was reported last.
    pub fn since(&self) -> Moment {
        self.since
    }

    /// How he came to be in it.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// True when nothing has to be known of him.
    pub(super) fn is_blank(&self) -> bool {
        self.calls.is_empty()
            && !self.is_registered
            && self.intent == Intent::Ready
            && self.wrapup_ends.is_none()
            && self.reservation.is_none()
            && self.reported == State::Unavailable
    }
}
