//! One agent, and the state that follows from what is known of him.

use crate::calls::CallKey;
use crate::moment::Moment;

/// What an agent is doing, in the words of a call centre.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Registered nowhere.
    #[default]
    Unavailable,
    /// Free.
    Ready,
    /// His phone rings.
    Ringing,
    /// He talks.
    InUse,
    /// He works on what the last call left behind.
    Wrapup,
    /// He takes no calls, by his own word or a supervisor's.
    NotReady,
}

impl State {
    /// Every state.
    pub const ALL: [State; 6] =
        [State::Unavailable, State::Ready, State::Ringing, State::InUse, State::Wrapup, State::NotReady];

    /// The word of CLI, API and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Unavailable => "unavailable",
            State::Ready => "ready",
            State::Ringing => "ringing",
            State::InUse => "in_use",
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

/// How far a call of an agent's is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It rings.
    Ringing,
    /// He talks, or is calling somebody.
    Talking,
}

/// One call of an agent's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentCall {
    /// Which.
    pub key: CallKey,
    /// How far it is.
    pub doing: Doing,
    /// Whether a queue sent it: then he wraps up afterwards.
    pub is_of_queue: bool,
}

/// One agent.
#[derive(Clone, Debug, Default)]
pub struct Agent {
    pub(super) calls: Vec<AgentCall>,
    pub(super) is_registered: bool,
    pub(super) intent: Intent,
    pub(super) wrapup_ends: Option<Moment>,
    /// The state that was reported last, and since when.
    pub(super) reported: State,
    pub(super) since: Moment,
}

impl Agent {
    /// What he is doing now.
    pub fn state(&self, now: Moment) -> State {
        if self.calls.iter().any(|call| call.doing == Doing::Talking) {
            return State::InUse;
        }
        if !self.calls.is_empty() {
            return State::Ringing;
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

    /// His calls.
    pub fn calls(&self) -> &[AgentCall] {
        &self.calls
    }

    /// What he or a supervisor said.
    pub fn intent(&self) -> &Intent {
        &self.intent
    }

    /// Since when he is in the state that was reported last.
    pub fn since(&self) -> Moment {
        self.since
    }

    /// True when nothing has to be remembered of him.
    pub(super) fn is_blank(&self) -> bool {
        self.calls.is_empty()
            && !self.is_registered
            && self.intent == Intent::Ready
            && self.wrapup_ends.is_none()
            && self.reported == State::Unavailable
    }
}
