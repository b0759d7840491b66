//! A new call: an INVITE without a To tag.
//!
//! The lease is made before the INVITE leaves, and it keeps the INVITE's bytes until the call is answered: a node that
//! says nothing, or says that it did not start the call, is followed by the next one ([`failover`](super::failover)).

use std::sync::Arc;

use crate::calls::errand::{Errands, T1};
use crate::calls::history::{Candidates, Choice, End, EndCause, Explanation, TryRecord};
use crate::calls::lease::{Hold, Invite, Names, Resend, Told, Try, TryState, Way};
use crate::calls::ledger::Slot;
use crate::calls::{CallKey, Lease, NodeId, Phase, PoolId, Seat, Shard};
use crate::dispatch::farm::KeyedBy;
use crate::dispatch::node::Kind;
use crate::dispatch::rules::{Rule, Source};
use crate::dispatch::{NoSeatWhy, Pick, Picked};
use crate::moment::Moment;
use crate::sip::message::Message;
use crate::sip::{Outcome, Request, parse, status};

use super::answer::framing;
use super::branch::transaction;
use super::contract::{Destination, Event, RejectReason, Side, TryId, World};
use super::core::{Core, Inbound};
use super::forward::Forwarding;
use super::route::{self, Routing};
use super::token::{ToCaller, Token};

/// What decides where a new call goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening<'f> {
    pub key: CallKey,
    pub transaction: u64,
    /// The name of the rule that decided, for explanations.
    pub rule: &'f Arc<str>,
    pub pool: PoolId,
    /// The node that had this Call-ID before.
    pub prefer: Option<NodeId>,
    /// The node that has another call of the agent who is calling.
    pub beside: Option<NodeId>,
}

impl<W: World> Core<'_, W> {
    /// An INVITE that opens a call, or repeats one.
    pub(super) fn new_call(&mut self, inbound: Inbound<'_>, routing: &Routing<'_>, rule: &Rule, pool: PoolId) {
        let request = inbound.request;
        let Some(via) = request.via() else { return };
        let key = inbound.key;
        let transaction = transaction(&self.farm.keys, request, key, via);
        let beside = inbound.agent.and_then(|agent| self.node_beside(agent, key));
        let opening = Opening { key, transaction, rule: &rule.name, pool, prefer: None, beside };
        let world = self.world;
        world.claim(key);
        world.with_shard(key, |shard| match shard.find(key) {
            None => self.open_call(shard, inbound, routing, opening),
            Some(slot) => self.known_call(shard, slot, inbound, routing, opening),
        });
    }

    /// An INVITE whose way no rule has to say. One that repeats a call goes where that went, any other one opens a call.
    pub(super) fn repeat_or_open(
        &mut self,
        inbound: Inbound<'_>,
        routing: &Routing<'_>,
        rule: &str,
        open: impl FnOnce(&mut Self, &mut Shard, Opening<'_>),
    ) {
        let Some(via) = inbound.request.via() else { return };
        let (key, rule) = (inbound.key, Arc::from(rule));
        let transaction = transaction(&self.farm.keys, inbound.request, key, via);
        let opening = Opening { key, transaction, rule: &rule, pool: PoolId::NONE, prefer: None, beside: None };
        let world = self.world;
        world.claim(key);
        world.with_shard(key, |shard| match standing_lease(shard, key, transaction) {
            Some(slot) => self.known_call(shard, slot, inbound, routing, opening),
            None => open(self, shard, opening),
        });
    }

    fn known_call(
        &mut self,
        shard: &mut Shard,
        slot: Slot,
        inbound: Inbound<'_>,
        routing: &Routing<'_>,
        opening: Opening<'_>,
    ) {
        let lease = shard.lease(slot);
        let (way, attempt, node) = (lease.way, lease.attempt, lease.node);
        match lease.phase {
            // The edge has given its own answer; it says the same again.
            Phase::Ended { own_answer: Some(code), .. } if lease.transaction == opening.transaction => {
                self.answer(inbound.request, inbound.flow, inbound.source, code, status::phrase(code), b"");
            }
            // After a challenge, or after any failure: a new try of the caller's, on the node that knows about it.
            Phase::Ended { .. } if lease.transaction != opening.transaction => {
                shard.remove(slot);
                self.open_call(shard, inbound, routing, Opening { prefer: Some(node), ..opening });
            }
            // A repetition goes where the INVITE went, with the same branch; so does one that arrived over another
            // path, with a branch of its own, and the node sees that it is merged (section 8.2.2.2).
            _ => {
                let own_token = self.token(inbound, shard.lease(slot).way);
                let aim = self.aim(shard, slot, attempt, node, inbound.request);
                self.forward(
                    inbound,
                    routing,
                    Forwarding {
                        to: &Destination::Way(way),
                        side: Side::Node,
                        transaction: opening.transaction,
                        attempt,
                        uri: aim.uri.as_deref(),
                        routes: &aim.routes,
                        record: own_token.as_ref(),
                        try_of: None,
                    },
                );
            }
        }
    }

    fn open_call(&mut self, shard: &mut Shard, inbound: Inbound<'_>, routing: &Routing<'_>, opening: Opening<'_>) {
        let Inbound { request, flow, source, .. } = inbound;
        if !shard.has_room() {
            return self.reject(request, flow, source, RejectReason::TooManyCalls);
        }
        let sticky = self.sticky_key(opening.pool, request);
        let Opening { pool, key, prefer, beside, .. } = opening;
        let pick = Pick { pool, key, sticky, prefer, beside, avoid: &[] };
        let picked = match self.world.take(pick) {
            Ok(picked) => picked,
            Err(no_seat) => {
                let Some(reason) = refusal(no_seat.why) else { return };
                self.explain(shard, inbound, opening, opening.pool, Choice::LeastCalls, *no_seat.candidates);
                let end = End { cause: EndCause::Failed, at: self.now, code: Some(reason.code()) };
                shard.history.note_end(opening.key, end);
                return self.reject(request, flow, source, reason);
            }
        };
        self.explain(shard, inbound, opening, picked.pool, picked.choice, picked.candidates);
        let lease = self.new_lease(inbound, opening, sticky, &picked);
        self.open_lease(shard, lease, inbound, routing, picked);
    }

    /// Takes up a new call and offers its INVITE to the node that was picked. False when there was no room for it after all.
    pub(super) fn open_lease(
        &mut self,
        shard: &mut Shard,
        lease: Lease,
        inbound: Inbound<'_>,
        routing: &Routing<'_>,
        picked: Picked,
    ) -> bool {
        let Ok(slot) = shard.open(lease) else {
            // There was room a moment ago, and the shard has been held since.
            self.world.give_back(picked.seat);
            self.reject(inbound.request, inbound.flow, inbound.source, RejectReason::TooManyCalls);
            return false;
        };
        self.offer(shard, slot, inbound, routing, picked);
        true
    }

    pub(super) fn new_lease(
        &self,
        inbound: Inbound<'_>,
        opening: Opening<'_>,
        sticky: Option<u64>,
        picked: &Picked,
    ) -> Lease {
        let Inbound { request, flow, .. } = inbound;
        let (from, called) = (request.from_uri(), request.uri());
        let caller = from.and_then(|uri| uri.number()).unwrap_or_default();
        let called = called.and_then(|uri| uri.number()).unwrap_or_default();
        let invite = Invite {
            bytes: request.bytes().into(),
            flow,
            started: self.now,
            tries: Vec::with_capacity(1),
            forgotten: 0,
            told: Told::Nothing,
            ran: None,
            cancelled: None,
            silence_at: Moment::NEVER,
            resend: None,
            sticky,
            contacts: Box::default(),
        };
        Lease {
            key: opening.key,
            names: Names::new(request.call_id(), caller, called),
            caller: flow,
            caller_tag: inbound.tag,
            agent: inbound.agent.map(Box::from),
            queue: None,
            hold: Hold::default(),
            node: picked.seat.node(),
            pool: opening.pool,
            way: picked.way,
            attempt: 0,
            transaction: opening.transaction,
            seat: None,
            phase: Phase::Trying(Box::new(invite)),
            opened: self.now,
            deadline: self.now + self.farm.calls.ring_timeout,
            session: None,
            errands: Errands::default(),
        }
    }

    /// Offers the INVITE to the node that was picked.
    pub(super) fn offer(
        &mut self,
        shard: &mut Shard,
        slot: Slot,
        inbound: Inbound<'_>,
        routing: &Routing<'_>,
        picked: Picked,
    ) {
        let (now, key) = (self.now, shard.lease(slot).key);
        let node = picked.seat.node();
        self.out.events.push(Event::CallLeased { node, pool: picked.pool, choice: picked.choice });
        if let Some(explanation) = shard.history.find_mut(key) {
            let record = TryRecord { node, target: picked.way.target(), started: now, result: None };
            explanation.tries.push(record);
        }
        let attempt = self.seat_try(shard.lease_mut(slot), picked.seat, picked.way);
        let transaction = shard.lease(slot).transaction;
        shard.changed(slot);
        shard.save(slot);
        let token = self.token(inbound, picked.way);
        let aim = self.aim(shard, slot, attempt, node, inbound.request);
        let sent = self.forward(
            inbound,
            routing,
            Forwarding {
                to: &Destination::Way(picked.way),
                side: Side::Node,
                transaction,
                attempt,
                uri: aim.uri.as_deref(),
                routes: &aim.routes,
                record: token.as_ref(),
                try_of: Some(TryId { key, attempt }),
            },
        );
        if !sent {
            self.refused(shard, slot);
        }
    }

    /// Moves the lease to the node and starts the clock of the try.
    fn seat_try(&mut self, lease: &mut Lease, seat: Seat, way: Way) -> u8 {
        let now = self.now;
        let node = seat.node();
        if let Some(old) = lease.seat.replace(seat) {
            self.world.give_back(old);
        }
        (lease.node, lease.way) = (node, way);
        let Phase::Trying(invite) = &mut lease.phase else { return lease.attempt };
        invite.tries.push(Try { node, way, started: now, state: TryState::Waiting });
        invite.silence_at = now + self.farm.calls.failover.no_response;
        // A caller on UDP that has been told nothing repeats its INVITE by itself; nobody else does.
        let caller_repeats = invite.flow.protocol.is_unreliable() && invite.told == Told::Nothing;
        let owed = way.protocol().is_unreliable() && (!caller_repeats || invite.tries.len() > 1);
        invite.resend = owed.then(|| Resend { at: now + T1, pause: T1 * 2 });
        lease.attempt = invite.attempt();
        lease.attempt
    }

    /// Acts with the INVITE that a lease keeps. `None` when it keeps none.
    pub(super) fn with_kept_invite<T>(
        &mut self,
        shard: &mut Shard,
        slot: Slot,
        act: impl FnOnce(&mut Self, &mut Shard, Inbound<'_>, &Routing<'_>) -> T,
    ) -> Option<T> {
        let lease = shard.lease_mut(slot);
        let (key, tag) = (lease.key, lease.caller_tag);
        let invite = lease.phase.invite_mut()?;
        let (bytes, flow) = (std::mem::take(&mut invite.bytes), invite.flow);
        let agent = lease.agent.take();
        let mut index = self.scratch.second.take().unwrap_or_default();
        let mut result = None;
        if let Outcome::Request(request) = parse(&bytes, framing(flow), &mut index) {
            let source = if agent.is_some() { Source::Agent } else { self.farm.sources.classify(flow) };
            let inbound = Inbound { request, flow, source, key, tag, agent: agent.as_deref() };
            let routing = route::read(request, key, self.farm);
            result = Some(act(self, shard, inbound, &routing));
        }
        self.scratch.second = Some(index);
        shard.lease_mut(slot).agent = agent;
        if let Some(invite) = shard.lease_mut(slot).phase.invite_mut() {
            invite.bytes = bytes;
        }
        result
    }

    /// The token for a call from here to there.
    pub(super) fn token(&self, inbound: Inbound<'_>, way: Way) -> Option<Token> {
        if !self.farm.calls.record_route {
            return None;
        }
        let listener = self.farm.listener_for(way.target(), way.listener())?;
        Some(Token {
            caller: inbound.flow,
            to_caller: if inbound.source.is_trusted() { ToCaller::Contact } else { ToCaller::Flow },
            caller_tag: inbound.tag,
            node_listener: listener.id,
            node: way.target(),
        })
    }

    /// What one try of a call is addressed to: a phone by its contact, a gateway by its own host.
    pub(super) fn aim(&self, shard: &Shard, slot: Slot, attempt: u8, node: NodeId, request: Request<'_>) -> Aim {
        let invite = shard.lease(slot).phase.invite();
        match invite.and_then(|invite| invite.contacts.get(usize::from(attempt))) {
            Some(contact) => Aim { uri: Some(contact.uri.to_vec()), routes: contact.routes.to_vec() },
            None => Aim { uri: self.gateway_uri(node, request), routes: Vec::new() },
        }
    }

    /// A gateway is addressed by its own host: the node that dialled knows only the edge.
    pub(super) fn gateway_uri(&self, node: NodeId, request: Request<'_>) -> Option<Vec<u8>> {
        let gateway = self.farm.node(node).filter(|node| node.kind == Kind::Gateway)?;
        let (target, uri) = (gateway.uri.as_ref()?.to_string(), request.uri()?);
        if !self.farm.is_own(&uri) {
            return None;
        }
        let host = target.strip_prefix("sip:")?;
        let user = uri.user.map(|user| [user, b"@"].concat()).unwrap_or_default();
        Some([b"sip:", &user[..], host.as_bytes()].concat())
    }

    /// Hash of what the pool's algorithm or stickiness goes by.
    pub(super) fn sticky_key(&self, pool: PoolId, request: Request<'_>) -> Option<u64> {
        let text = match &self.farm.pool(pool)?.key {
            KeyedBy::CallId => return None,
            KeyedBy::FromUser => request.from_uri()?.number()?,
            KeyedBy::ToUser => request.uri()?.number()?,
            KeyedBy::Header(name) => {
                let named = |f: &&crate::sip::parse::Field| request.text(f.spelling()).eq_ignore_ascii_case(name);
                request.text(request.fields().iter().find(named)?.value)
            }
        };
        Some(self.farm.keys.call.hash().piece(text).finish64())
    }

    pub(super) fn explain(
        &self,
        shard: &mut Shard,
        inbound: Inbound<'_>,
        opening: Opening<'_>,
        pool: PoolId,
        choice: Choice,
        candidates: Candidates,
    ) {
        let from = match inbound.source {
            Source::Node(id) | Source::Gateway(id) => self.farm.node(id).map(|node| Arc::clone(&node.name)),
            Source::Agent => inbound.agent.map(|agent| Arc::from(agent.escape_ascii().to_string())),
            Source::Stranger => None,
        };
        let called = inbound.request.uri().and_then(|uri| uri.number()).unwrap_or_default();
        shard.history.push(Explanation {
            key: opening.key,
            opened: self.now,
            from: from.unwrap_or_else(|| Arc::from("stranger")),
            called: called[..called.len().min(64)].into(),
            rule: Arc::clone(opening.rule),
            pool,
            choice,
            candidates,
            tries: Vec::with_capacity(1),
            end: None,
        });
    }
}

/// What a try is addressed to.
#[derive(Debug, Default)]
pub(super) struct Aim {
    /// The Request-URI, where it is not the caller's.
    pub uri: Option<Vec<u8>>,
    /// Routes to be put on.
    pub routes: Vec<u8>,
}

/// The lease that an INVITE repeats. One that is over makes room for a new try of the caller's.
fn standing_lease(shard: &mut Shard, key: CallKey, transaction: u64) -> Option<Slot> {
    let slot = shard.find(key)?;
    let lease = shard.lease(slot);
    if lease.is_open() || lease.transaction == transaction {
        return Some(slot);
    }
    shard.remove(slot);
    None
}

/// What the caller is told when no node was found; nothing while that is being asked.
pub(super) fn refusal(why: NoSeatWhy) -> Option<RejectReason> {
    match why {
        NoSeatWhy::Full => Some(RejectReason::Full),
        NoSeatWhy::NoneAlive => Some(RejectReason::NoneAlive),
        NoSeatWhy::Asked => None,
    }
}
