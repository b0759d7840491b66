//! What goes into the core and what comes out of it.
//!
//! The core never sends, waits, counts or logs. It appends to an [`Outbox`] what is to be sent and what happened, and
//! reaches what all workers share through a [`World`].

use std::time::Duration;

use crate::agents::book::Offer;
use crate::calls::history::{Choice, EndCause};
use crate::calls::lease::Way;
use crate::calls::tries::Cause;
use crate::calls::{CallKey, NodeId, PoolId, Seat, Shard};
use crate::dispatch::health::Signal;
use crate::dispatch::{NoSeat, Pick, Picked};
use crate::moment::Moment;
use crate::registrar::auth::Use;
use crate::registrar::binding::Texts;
use crate::registrar::register::{Changes, Refusal, TakenBack};
use crate::registrar::{Aor, Binding, Doubt, Table};
use crate::sip::parse::Fault;
use crate::sip::{Method, status};
use crate::transport::flow::{Flow, Target};

/// What all workers share. The shell puts locks behind it, a simulation does without.
pub trait World {
    /// Acts on the shard that a call belongs to. It must not be entered twice at a time by one worker.
    fn with_shard<R>(&self, key: CallKey, act: impl FnOnce(&mut Shard) -> R) -> R;
    /// A request of a call came here. Where several edges share a farm another one may have the call: it is here from now on.
    fn claim(&self, _: CallKey) {}
    /// An answer came here to the INVITE of this transaction. Where it is the one that another edge sent for a call of its own - the address
    /// has moved here - the call is here from now on; what merely passes through this edge on its way to a phone leaves it where it is.
    fn claim_answered(&self, _: CallKey, _: u64) {}
    /// Chooses a node and takes a place on it, in one step.
    fn take(&self, pick: Pick<'_>) -> Result<Picked, NoSeat>;
    /// Takes a place on the node that has the call already.
    fn take_on(&self, node: NodeId) -> Seat;
    /// Gives a place back.
    fn give_back(&self, seat: Seat);
    /// The node of a pool for a request that opens no call.
    fn home_of(&self, pool: PoolId, key: u64) -> Option<(NodeId, Way)>;
    /// True when every enabled node of the pool looks dead.
    fn looks_dead(&self, pool: PoolId) -> bool;
    /// What the registrar shares; none where there is no registrar.
    fn registry(&self) -> Option<&dyn Registry> {
        None
    }
}

/// What the core wants done, in order. Kept by a worker and used again for each batch.
#[derive(Debug, Default)]
pub struct Outbox {
    /// The messages to send, one behind the other.
    pub text: Vec<u8>,
    /// Where each of them goes.
    pub sends: Vec<Send>,
    /// What happened.
    pub events: Vec<Event>,
    /// Registrations to store, and what is to be answered then.
    pub registrations: Vec<Registration>,
}

/// Bindings that are to be stored before anybody hears of it.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Whose.
    pub aor: Aor,
    /// Where the answer goes.
    pub to: Way,
    /// Where the answer stands in [`Outbox::text`] for when they are stored.
    pub granted: std::ops::Range<usize>,
    /// And for when they cannot be.
    pub failed: std::ops::Range<usize>,
    /// What became of the bindings.
    pub changes: Changes,
}

/// What the registrar shares.
pub trait Registry {
    /// Acts on the part of the table that an address of record belongs to.
    fn with_table(&self, aor: &Aor, act: &mut dyn FnMut(&mut Table));
    /// Whether a proof is used for the first time; notes that it was.
    fn is_first_use(&self, proof: Use) -> bool;
    /// The time of day, which nonces carry.
    fn unix_secs(&self) -> u64;
    /// Lets a call through to an agent, or not, in one step with noting it.
    fn offer(&self, offer: Offer<'_>, now: Moment) -> Offered;
    /// The phones of a user that registered at other edges.
    fn elsewhere(&self, _: &Aor) -> Vec<PhoneElsewhere> {
        Vec::new()
    }
    /// A REGISTER was obeyed here: what it takes back goes at other edges too.
    fn take_back_elsewhere(&self, _: &Aor, _: TakenBack) {}
    /// The calls of an agent.
    fn calls_of(&self, agent: &[u8]) -> Vec<CallKey>;
    /// Takes back a call that was let through and came to nothing before it was a lease.
    fn take_back(&self, aor: &Aor, key: CallKey, now: Moment);
    /// Notes whether a user is registered anywhere.
    fn set_registered(&self, aor: &Aor, is_registered: bool, now: Moment);
    /// True while one more registration can wait for the disk.
    fn has_room(&self) -> bool;
}

/// A phone that registered at another edge.
#[derive(Clone, Debug)]
pub struct PhoneElsewhere {
    /// Where that edge is; none when it is gone.
    pub edge: Option<Target>,
    /// The way to the phone from a listener of that edge's.
    pub flow: Flow,
    /// The URI that it gave.
    pub contact: Box<[u8]>,
    /// The device.
    pub instance: Option<Box<[u8]>>,
    /// Which of the device's flows.
    pub reg_id: u32,
    /// Preference in thousandths.
    pub preference: u16,
    /// The Path.
    pub path: Box<[u8]>,
    /// When its registration ends.
    pub expires: Moment,
    /// When it was last refreshed.
    pub updated: Moment,
}

impl PhoneElsewhere {
    /// It as a binding, for the user's list of them; its flow is the other edge's.
    pub fn binding(&self) -> Binding {
        Binding {
            texts: Texts::new(&self.contact, self.instance.as_deref(), &self.path),
            flow: self.flow,
            preference: self.preference,
            expires: self.expires,
            updated: self.updated,
            call_id: 0,
            cseq: 0,
            reg_id: self.reg_id,
        }
    }
}

/// What became of a call that wants an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// It goes to him.
    LetThrough,
    /// He is not free for it.
    Refused,
    /// It is being asked; the same message comes again when the answer is there.
    Asked,
}

/// One message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Send {
    /// Where it goes.
    pub to: Destination,
    /// Where it stands in [`Outbox::text`].
    pub range: std::ops::Range<usize>,
    /// The try that fails when it cannot be sent.
    pub try_of: Option<TryId>,
}

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To an address.
    Way(Way),
    /// To a host name that has to be looked up; if that fails, the way that is given.
    Name {
        /// The host.
        host: Box<str>,
        /// The port, if one was given.
        port: Option<u16>,
        /// Protocol and listener, and the address to fall back upon.
        fallback: Way,
    },
}

/// One try of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TryId {
    /// The call.
    pub key: CallKey,
    /// The number of the try.
    pub attempt: u8,
}

impl Outbox {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.text.clear();
        self.sends.clear();
        self.events.clear();
        self.registrations.clear();
    }

    /// Adds a message that the closure writes.
    pub fn send(&mut self, to: Destination, try_of: Option<TryId>, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.text.len();
        write(&mut self.text);
        self.sends.push(Send { to, range: start..self.text.len(), try_of });
    }
}

/// Which way a message was forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Toward the node.
    Node,
    /// Toward the caller.
    Caller,
}

impl Side {
    /// Metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Side::Node => "node",
            Side::Caller => "caller",
        }
    }
}

/// Something that happened. The shell counts it, tells the health machine, or writes a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message was dropped without an answer.
    Dropped(DropReason),
    /// A request was refused by the edge.
    Rejected(RejectReason),
    /// A request was forwarded.
    RequestForwarded(Method, Side),
    /// A response was forwarded.
    ResponseForwarded(Side),
    /// A node gave a final answer to an INVITE.
    NodeAnswered {
        /// The node.
        node: NodeId,
        /// Its code.
        code: u16,
    },
    /// A call took a place on a node.
    CallLeased {
        /// The node.
        node: NodeId,
        /// The pool it was chosen from.
        pool: PoolId,
        /// What the choice went by.
        choice: Choice,
    },
    /// A lease was made for a call that was found inside its dialog.
    CallAdopted(NodeId),
    /// It rings: the time since the INVITE.
    CallRinging(Duration),
    /// A call was answered.
    CallAnswered {
        /// Where.
        node: NodeId,
        /// The time since the INVITE.
        after: Duration,
    },
    /// A node was given up for a call.
    TryAbandoned {
        /// The node.
        node: NodeId,
        /// Why.
        cause: Cause,
    },
    /// A node that had been given up answered with 2xx.
    LateAnswer {
        /// The node.
        node: NodeId,
        /// True when the caller got it, false when the edge ended that call.
        forwarded: bool,
    },
    /// A call gave its place back.
    LeaseEnded {
        /// The node.
        node: NodeId,
        /// Why.
        cause: EndCause,
        /// How long it had been up, if it was answered.
        talked: Option<Duration>,
    },
    /// A REGISTER was granted.
    Registered(Changes),
    /// A node answered to what it was told of agents.
    Published {
        /// The node.
        node: NodeId,
        /// Which of the messages to it.
        number: u32,
        /// Its answer.
        code: u16,
    },
    /// A node wants to be told of all agents.
    StatesAsked(NodeId),
    /// The edge sent something again.
    Resent,
    /// Something told of a node's life.
    Health {
        /// The node.
        node: NodeId,
        /// Its address.
        target: Target,
        /// What.
        signal: Signal,
    },
}

/// Why a message was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// Not SIP, or nothing that could be answered.
    Garbage(Fault),
    /// A response that the farm did not ask for, or whose branch is forged.
    StrayResponse,
    /// An ACK that belongs to nothing.
    StrayAck,
    /// An ACK to an answer of the edge's own: it has done its work.
    OwnAck,
    /// A request without rights or with a fault whose answer would be larger than itself.
    Amplification,
    /// An ACK with a fault: ACKs are never answered.
    BadAck,
    /// A response to something the edge had sent on its own account, or to a node that was given up.
    Absorbed,
    /// No listener can reach the destination.
    NoListener,
    /// A message that leads nowhere: an ACK to a node that is down, a response whose next Via cannot be used.
    Unroutable,
    /// More from an unknown address than is read.
    RateLimited,
}

impl DropReason {
    /// Metric label and test expectation.
    pub fn as_str(self) -> &'static str {
        match self {
            DropReason::Garbage(fault) => fault.as_str(),
            DropReason::StrayResponse => "stray_response",
            DropReason::StrayAck => "stray_ack",
            DropReason::OwnAck => "own_ack",
            DropReason::Amplification => "amplification",
            DropReason::BadAck => "bad_ack",
            DropReason::Absorbed => "absorbed",
            DropReason::NoListener => "no_listener",
            DropReason::Unroutable => "unroutable",
            DropReason::RateLimited => "rate_limited",
        }
    }
}

/// Why the edge refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RejectReason {
    /// It breaks the grammar.
    Malformed(Fault),
    /// Max-Forwards is used up.
    TooManyHops,
    /// It came round.
    Loop,
    /// Proxy-Require names an extension.
    BadExtension,
    /// A stranger may not do this.
    Stranger,
    /// A request inside a dialog without the edge's token.
    NoToken,
    /// A Route that leads out of the farm.
    ForeignRoute,
    /// The edge knows no such call.
    NoSuchCall,
    /// No rule serves it.
    NoRule,
    /// A rule refuses it with this code.
    Rule(u16),
    /// All nodes are full.
    Full,
    /// No node is alive.
    NoneAlive,
    /// The edge holds as many calls as it may.
    TooManyCalls,
    /// The edge is stopping.
    Stopping,
    /// More comes than the edge can carry.
    Overloaded,
    /// The node that has the call is down, for a BYE.
    NodeDownBye,
    /// The node that has the call is down, for anything else.
    NodeDown,
    /// No node answered in time.
    NoResponse,
    /// Every node that was asked refused to start the call.
    AllRefused,
    /// It rang for too long.
    RingTimeout,
    /// The caller took it back and the node never confirmed.
    Cancelled,
    /// The edge does not serve this method.
    Method,
    /// Somebody has to prove who he is: a REGISTER.
    RegisterUnproven(Doubt),
    /// Somebody has to prove who he is: any other request.
    RequestUnproven(Doubt),
    /// A REGISTER for another one's address of record.
    ThirdParty,
    /// A REGISTER for a name that is not the farm's.
    ForeignDomain,
    /// A REGISTER for somebody who is no user, by one who may register others.
    UnknownUser,
    /// What a REGISTER asks for cannot be.
    Register(Refusal),
    /// More registrations than can be held or stored.
    RegistrarBusy,
    /// The agent is not free for this call.
    AgentBusy,
    /// The user is registered nowhere; the code is configured.
    NotRegistered(u16),
}

impl RejectReason {
    /// Metric label, log field and test expectation.
    pub fn as_str(self) -> &'static str {
        match self {
            RejectReason::Malformed(_) => "malformed",
            RejectReason::TooManyHops => "too_many_hops",
            RejectReason::Loop => "loop",
            RejectReason::BadExtension => "bad_extension",
            RejectReason::Stranger => "stranger",
            RejectReason::NoToken => "no_token",
            RejectReason::ForeignRoute => "foreign_route",
            RejectReason::NoSuchCall => "no_such_call",
            RejectReason::NoRule => "no_rule",
            RejectReason::Rule(_) => "rule",
            RejectReason::Full => "full",
            RejectReason::NoneAlive => "none_alive",
            RejectReason::TooManyCalls => "too_many_calls",
            RejectReason::Stopping => "stopping",
            RejectReason::Overloaded => "overloaded",
            RejectReason::NodeDownBye => "node_down_bye",
            RejectReason::NodeDown => "node_down",
            RejectReason::NoResponse => "no_response",
            RejectReason::AllRefused => "all_refused",
            RejectReason::RingTimeout => "ring_timeout",
            RejectReason::Cancelled => "cancelled",
            RejectReason::Method => "method",
            RejectReason::RegisterUnproven(doubt) | RejectReason::RequestUnproven(doubt) => doubt.as_str(),
            RejectReason::ThirdParty => "third_party",
            RejectReason::ForeignDomain => "foreign_domain",
            RejectReason::UnknownUser => "unknown_user",
            RejectReason::Register(refusal) => refusal.as_str(),
            RejectReason::RegistrarBusy => "registrar_busy",
            RejectReason::AgentBusy => "agent_busy",
            RejectReason::NotRegistered(_) => "not_registered",
        }
    }

    /// The status code on the wire: the one place where a reason becomes one.
    pub fn code(self) -> u16 {
        match self {
            RejectReason::Malformed(fault) => fault.code(),
            RejectReason::TooManyHops => 483,
            RejectReason::Loop => 482,
            RejectReason::BadExtension => 420,
            RejectReason::Stranger | RejectReason::NoToken | RejectReason::ForeignRoute => 403,
            RejectReason::NoSuchCall | RejectReason::NodeDownBye => 481,
            RejectReason::NoRule => 404,
            RejectReason::Rule(code) => code,
            RejectReason::Full
            | RejectReason::NoneAlive
            | RejectReason::TooManyCalls
            | RejectReason::Stopping
            | RejectReason::Overloaded
            | RejectReason::RegistrarBusy => 503,
            RejectReason::NodeDown | RejectReason::NoResponse | RejectReason::RingTimeout => 408,
            RejectReason::AllRefused => 500,
            RejectReason::Cancelled => 487,
            RejectReason::Method => 405,
            RejectReason::RegisterUnproven(_) => 401,
            RejectReason::RequestUnproven(_) => 407,
            RejectReason::ThirdParty => 403,
            RejectReason::ForeignDomain | RejectReason::UnknownUser => 404,
            RejectReason::Register(refusal) => refusal.code(),
            RejectReason::AgentBusy => 486,
            RejectReason::NotRegistered(code) => code,
        }
    }

    /// The reason phrase on the wire; it names the fault where there is one.
    pub fn phrase(self) -> &'static str {
        match self {
            RejectReason::Malformed(fault) => fault.phrase(),
            other => status::phrase(other.code()),
        }
    }

    /// True when the answer carries Retry-After: the edge speaks about itself and its farm.
    pub fn has_retry_after(self) -> bool {
        matches!(
            self,
            RejectReason::Full
                | RejectReason::NoneAlive
                | RejectReason::TooManyCalls
                | RejectReason::Stopping
                | RejectReason::Overloaded
                | RejectReason::RegistrarBusy
        )
    }
}
