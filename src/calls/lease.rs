//! One call, from its INVITE until nothing about it can arrive any more.

use std::time::Duration;

use crate::moment::Moment;
use crate::transport::flow::{Flow, ListenerId, Protocol, Target};

use super::errand::{Errands, T64};
use super::key::CallKey;
use super::seat::{NodeId, PoolId, Seat};
use super::tries::Cause;

/// How a message leaves the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Back along the flow that something came by.
    Flow(Flow),
    /// To an address, from this listener.
    Target {
        /// The listener whose socket is used, or whose side a new connection belongs to.
        listener: ListenerId,
        /// The address.
        target: Target,
    },
}

impl Way {
    /// The protocol it goes by.
    pub fn protocol(self) -> Protocol {
        match self {
            Way::Flow(flow) => flow.protocol,
            Way::Target { target, .. } => target.protocol,
        }
    }

    /// The address it goes to.
    pub fn target(self) -> Target {
        match self {
            Way::Flow(flow) => flow.target(),
            Way::Target { target, .. } => target,
        }
    }

    /// The listener it leaves by.
    pub fn listener(self) -> ListenerId {
        match self {
            Way::Flow(flow) => flow.listener,
            Way::Target { listener, .. } => listener,
        }
    }
}

/// A call that has, or had, a place on a node.
#[derive(Debug)]
pub struct Lease {
    /// Its key.
    pub key: CallKey,
    /// Call-ID, caller and called number.
    pub names: Names,
    /// Where the INVITE came from.
    pub caller: Flow,
    /// Hash of the caller's From tag: it tells the two directions of the dialog apart.
    pub caller_tag: u32,
    /// The agent who is calling, if one is.
    pub agent: Option<Box<[u8]>>,
    /// For a call to an agent: the queue that sent it, perhaps without a name; none for any other call.
    pub queue: Option<Box<[u8]>>,
    /// Whether the agent at one of its ends holds the call.
    pub hold: Hold,
    /// The node that has the call.
    pub node: NodeId,
    /// The pool that it was chosen from.
    pub pool: PoolId,
    /// The way to the node.
    pub way: Way,
    /// Number of the try that is on: part of the branch that ACK and CANCEL must hit again.
    pub attempt: u8,
    /// Identity of the INVITE's transaction, the same for its repetitions and its CANCEL.
    pub transaction: u64,
    /// The place that the call takes on the node; none once it is over.
    pub seat: Option<Seat>,
    /// How far the call is.
    pub phase: Phase,
    /// When the INVITE came.
    pub opened: Moment,
    /// When the phase ends by itself: the ring time-out, the longest duration, the wait for a BYE's answer, the end of
    /// remembering.
    pub deadline: Moment,
    /// The negotiated session timer (RFC 4028): its interval and when it runs out.
    pub session: Option<SessionTimer>,
    /// What is being sent for it.
    pub errands: Errands,
}

/// Whether the agent's side holds a call (RFC 3264 section 8.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    /// It does.
    pub is_held: bool,
    /// What it asks for, until the other side has answered.
    pub asked: Option<HoldAsked>,
}

/// An offer of the agent's side that is not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldAsked {
    /// CSeq of the request that carries it.
    pub cseq: u32,
    /// Whether it holds the call.
    pub is_held: bool,
}

/// RFC 4028.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimer {
    /// Session-Expires.
    pub interval: Duration,
    /// When the call is taken for dead.
    pub ends: Moment,
}

/// How far a call is.
#[derive(Debug)]
pub enum Phase {
    /// The INVITE is with a node; no final answer yet.
    Trying(Box<Invite>),
    /// A 2xx was forwarded.
    Up {
        /// When.
        answered: Moment,
        /// Kept while a node that was given up may still answer.
        late: Option<Box<Invite>>,
    },
    /// A BYE was forwarded and is not answered yet. The place is still taken.
    Ending {
        /// When the call was answered.
        answered: Moment,
        /// Kept while a node that was given up may still answer.
        late: Option<Box<Invite>>,
    },
    /// Over. Remembered so that ACKs, repetitions and a new INVITE after a challenge find their node.
    Ended {
        /// Kept while a node that was given up may still answer.
        late: Option<Box<Invite>>,
        /// The code of the final answer that the edge itself gave, to be given again to a repeated INVITE.
        own_answer: Option<u16>,
    },
}

impl Phase {
    /// The INVITE, while it is kept.
    pub fn invite(&self) -> Option<&Invite> {
        match self {
            Phase::Trying(invite)
            | Phase::Up { late: Some(invite), .. }
            | Phase::Ending { late: Some(invite), .. }
            | Phase::Ended { late: Some(invite), .. } => Some(invite),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub fn invite_mut(&mut self) -> Option<&mut Invite> {
        match self {
            Phase::Trying(invite)
            | Phase::Up { late: Some(invite), .. }
            | Phase::Ending { late: Some(invite), .. }
            | Phase::Ended { late: Some(invite), .. } => Some(invite),
            _ => None,
        }
    }

    /// Metric label, API word and test expectation.
    pub fn as_str(&self) -> &'static str {
        match self {
            Phase::Trying(_) => "trying",
            Phase::Up { .. } => "up",
            Phase::Ending { .. } => "ending",
            Phase::Ended { .. } => "ended",
        }
    }
}

/// An INVITE that waits for its final answer, with what failover needs.
#[derive(Debug)]
pub struct Invite {
    /// The request as it was received.
    pub bytes: Box<[u8]>,
    /// Where it came from.
    pub flow: Flow,
    /// When it came.
    pub started: Moment,
    /// Every node it was offered to, in order; the last one is on.
    pub tries: Vec<Try>,
    /// Tries before these, of which a restart has left nothing but their number.
    pub forgotten: u8,
    /// The most that the caller was told.
    pub told: Told,
    /// The try that said more than 100: the dialplan runs there, or ran there if the node has died since.
    pub ran: Option<u8>,
    /// Set once it was taken back.
    pub cancelled: Option<Cancelled>,
    /// When the node is given up for its silence.
    pub silence_at: Moment,
    /// When the INVITE is sent to the node again, and the pause after that. Only for nodes on UDP whose caller will
    /// not repeat it.
    pub resend: Option<Resend>,
    /// What the pool's hash or stickiness goes by.
    pub sticky: Option<u64>,
    /// For a call to an agent: where his phones are, the most wanted first (RFC 3261 section 16.5).
    pub contacts: Box<[Contact]>,
}

/// One phone that a call may be offered to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// The way to it.
    pub way: Way,
    /// The Request-URI that it wants.
    pub uri: Box<[u8]>,
    /// Routes to be put on the request (RFC 3327); empty for none.
    pub routes: Box<[u8]>,
}

/// That an INVITE was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// The caller did it.
    ByCaller,
    /// It rang for too long.
    ByRingTimeout,
}

/// A repetition that the edge owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resend {
    /// When.
    pub at: Moment,
    /// The pause after that.
    pub pause: Duration,
}

/// What the caller has been told so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Told {
    /// Nothing: a caller on UDP still repeats its INVITE.
    Nothing,
    /// 100.
    Trying,
    /// 101 to 199: it rings, or early media flows.
    Progress,
}

/// One node that the INVITE was offered to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Try {
    /// The node.
    pub node: NodeId,
    /// The way to it.
    pub way: Way,
    /// When.
    pub started: Moment,
    /// How it stands.
    pub state: TryState,
}

/// How a try stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryState {
    /// Nothing came back.
    Waiting,
    /// A provisional response came.
    Heard,
    /// Given up; whatever still comes is the edge's to deal with.
    Abandoned(Cause),
    /// It has given its final answer.
    Done,
}

impl Invite {
    /// The try that is on.
    pub fn current(&mut self) -> Option<&mut Try> {
        self.tries.last_mut()
    }

    /// Number of the try that is on.
    pub fn attempt(&self) -> u8 {
        self.forgotten + self.tries.len().saturating_sub(1) as u8
    }

    /// The try with this number; none when it is forgotten.
    pub fn try_at(&self, attempt: u8) -> Option<&Try> {
        self.tries.get(usize::from(attempt.checked_sub(self.forgotten)?))
    }

    /// The same, to be changed.
    pub fn try_at_mut(&mut self, attempt: u8) -> Option<&mut Try> {
        self.tries.get_mut(usize::from(attempt.checked_sub(self.forgotten)?))
    }

    /// True while a node that was given up has not given its final answer.
    pub fn has_loose_ends(&self) -> bool {
        self.tries.iter().any(|t| matches!(t.state, TryState::Abandoned(cause) if cause != Cause::Unavailable))
    }
}

impl Lease {
    /// A call that is up and had no lease. What only its INVITE told is not known of it.
    pub fn found_up(key: CallKey, names: Names, caller: Flow, way: Way, seat: Seat, now: Moment, ends: Moment) -> Self {
        Lease {
            key,
            names,
            caller,
            caller_tag: 0,
            agent: None,
            queue: None,
            hold: Hold::default(),
            node: seat.node(),
            pool: PoolId::NONE,
            way,
            attempt: 0,
            transaction: 0,
            seat: Some(seat),
            phase: Phase::Up { answered: now, late: None },
            opened: now,
            deadline: ends,
            session: None,
            errands: Errands::default(),
        }
    }

    /// The earliest moment at which something has to be done about it.
    pub fn due(&self) -> Moment {
        let mut due = self.deadline;
        if let Some(timer) = self.session {
            due = due.min(timer.ends);
        }
        match &self.phase {
            Phase::Trying(invite) => {
                due = due.min(invite.silence_at);
                if let Some(resend) = invite.resend {
                    due = due.min(resend.at);
                }
            }
            Phase::Up { answered, late: Some(_) } => due = due.min(*answered + T64),
            _ => {}
        }
        self.errands.iter().fold(due, |due, errand| due.min(errand.next.min(errand.until)))
    }

    /// True while the call takes a place on its node.
    pub fn is_open(&self) -> bool {
        self.seat.is_some()
    }

    /// True for a call that a node told of and no message has passed for: its caller's address and tag are not known, and the
    /// way to a phone is a guess.
    pub fn is_hearsay(&self) -> bool {
        self.transaction == 0 && self.caller_tag == 0
    }

    /// When the call was answered.
    pub fn answered(&self) -> Option<Moment> {
        match self.phase {
            Phase::Up { answered, .. } | Phase::Ending { answered, .. } => Some(answered),
            Phase::Trying(_) | Phase::Ended { .. } => None,
        }
    }
}

/// Call-ID, caller and called number of a call in one piece of memory.
#[derive(Clone, PartialEq, Eq)]
pub struct Names {
    text: Box<[u8]>,
    call_id_len: u16,
    caller_len: u16,
}

/// Longest caller or called number that is kept; longer ones are cut.
const NUMBER_LEN_MAX: usize = 48;
/// Longest Call-ID that is kept for display; the key is made from all of it.
const CALL_ID_LEN_MAX: usize = 256;

impl Names {
    /// Copies the three.
    pub fn new(call_id: &[u8], caller: &[u8], called: &[u8]) -> Self {
        let call_id = &call_id[..call_id.len().min(CALL_ID_LEN_MAX)];
        let caller = &caller[..caller.len().min(NUMBER_LEN_MAX)];
        let called = &called[..called.len().min(NUMBER_LEN_MAX)];
        Names {
            text: [call_id, caller, called].concat().into_boxed_slice(),
            call_id_len: call_id.len() as u16,
            caller_len: caller.len() as u16,
        }
    }

    /// The Call-ID.
    pub fn call_id(&self) -> &[u8] {
        &self.text[..self.call_id_len as usize]
    }

    /// The user part of From.
    pub fn caller(&self) -> &[u8] {
        &self.text[self.call_id_len as usize..][..self.caller_len as usize]
    }

    /// The user part of the Request-URI.
    pub fn called(&self) -> &[u8] {
        &self.text[(self.call_id_len + self.caller_len) as usize..]
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.call_id().escape_ascii().to_string())
    }
}
