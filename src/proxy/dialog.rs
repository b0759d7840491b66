//! Requests inside a dialog, and ACKs (RFC 3261 sections 12.2, 13.2.2.4 and 16.12).
//!
//! The token in the edge's Route says where both ends are; the message alone is enough. The lease only has to hear of it when
//! the call ends, and is made anew when the edge finds a call that it does not know.

use crate::calls::errand::{ErrandKind, T64};
use crate::calls::history::EndCause;
use crate::calls::lease::{Lease, Names, Way};
use crate::calls::ledger::Slot;
use crate::calls::{CallKey, NodeId, Phase, PoolId, Shard};
use crate::dispatch::rules::Source;
use crate::sip::message::Message;
use crate::sip::uri::{self, Uri};
use crate::sip::{Method, Request};
use crate::transport::flow::{Flow, ListenerId, Protocol, Target};

use super::answer::own_tag;
use super::branch::transaction;
use super::contract::{Destination, DropReason, Event, RejectReason, Side, World};
use super::core::{Core, Inbound};
use super::forward::{Forwarding, opens_dialog};
use super::route::Routing;
use super::token::{ToCaller, Token};

impl<W: World> Core<'_, W> {
    /// A request with the edge's token.
    pub(super) fn in_dialog(&mut self, inbound: Inbound<'_>, routing: &Routing<'_>, token: Token) {
        if token.to_caller == ToCaller::Edge {
            return self.pass_on(inbound, routing, token);
        }
        let (request, flow) = (inbound.request, inbound.flow);
        self.world.claim(inbound.key);
        let from_caller = inbound.tag == token.caller_tag;
        let side = if from_caller { Side::Node } else { Side::Caller };
        let to = match side {
            Side::Node => Destination::Way(token.way_to_node()),
            Side::Caller => self.to_caller(inbound, routing, token),
        };
        let node = self.farm.sources.node_at(token.node);
        let (key, world) = (inbound.key, self.world);
        let is_dead = world.with_shard(key, |shard| {
            let slot = match shard.find(key) {
                Some(slot) => {
                    learn(shard, slot, token);
                    Some(slot)
                }
                None => self.adopt(shard, key, request, token, node),
            };
            let dead = side == Side::Node && self.is_dead(shard, slot, node);
            // Another node may have answered the same INVITE; what is said to that one does not concern the call.
            if let Some(slot) = slot.filter(|slot| shard.lease(*slot).way.target() == token.node) {
                self.note_request(shard, slot, request.method(), dead);
                self.note_hold_asked(shard.lease_mut(slot), request, side);
            }
            dead
        });
        if is_dead {
            return match request.method() {
                Method::Ack => self.drop(DropReason::Unroutable),
                Method::Bye => {
                    // It is sent on all the same: a node that only froze ends the call when it wakes.
                    self.forward_in_dialog(inbound, routing, &to, side, 0);
                    self.reject(request, flow, inbound.source, RejectReason::NodeDownBye);
                }
                _ => self.reject(request, flow, inbound.source, RejectReason::NodeDown),
            };
        }
        self.forward_in_dialog(inbound, routing, &to, side, 0);
    }

    /// A request of a call that another edge has, to or from a phone that registered here: it passes, and nothing is known of it.
    fn pass_on(&mut self, inbound: Inbound<'_>, routing: &Routing<'_>, token: Token) {
        let request = inbound.request;
        let from_edge = inbound.tag == token.caller_tag;
        let (side, way) =
            if from_edge { (Side::Node, token.way_to_node()) } else { (Side::Caller, caller_way(token.caller)) };
        let Some(via) = request.via() else { return };
        let opens = request.to_tag().is_none() && opens_dialog(request.method());
        let forwarding = Forwarding {
            to: &Destination::Way(way),
            side,
            transaction: transaction(&self.farm.keys, request, inbound.key, via),
            attempt: 0,
            uri: None,
            routes: b"",
            record: opens.then_some(&token),
            try_of: None,
        };
        self.forward(inbound, routing, forwarding);
    }

    fn forward_in_dialog(
        &mut self,
        inbound: Inbound<'_>,
        routing: &Routing<'_>,
        to: &Destination,
        side: Side,
        attempt: u8,
    ) {
        let Some(via) = inbound.request.via() else { return };
        let transaction = transaction(&self.farm.keys, inbound.request, inbound.key, via);
        let forwarding =
            Forwarding { to, side, transaction, attempt, uri: None, routes: b"", record: None, try_of: None };
        self.forward(inbound, routing, forwarding);
    }

    /// True when the request would meet a node that is known to be dead. While everything looks dead nothing is taken
    /// for certain.
    fn is_dead(&self, shard: &Shard, slot: Option<Slot>, node: Option<NodeId>) -> bool {
        let down = node.and_then(|node| self.farm.node(node)).is_some_and(|node| node.live.is_down());
        down && !slot.is_some_and(|slot| self.world.looks_dead(shard.lease(slot).pool))
    }

    /// What the call has to know of a request inside it.
    fn note_request(&mut self, shard: &mut Shard, slot: Slot, method: Method, is_dead: bool) {
        let now = self.now;
        if !matches!(shard.lease(slot).phase, Phase::Up { .. } | Phase::Ending { .. }) {
            return;
        }
        if is_dead && method != Method::Ack {
            let cause = if method == Method::Bye { EndCause::Bye } else { EndCause::NodeDown };
            return self.end_call(shard, slot, cause, None);
        }
        let lease = shard.lease_mut(slot);
        if let Phase::Up { answered, late } = &mut lease.phase
            && method == Method::Bye
        {
            lease.phase = Phase::Ending { answered: *answered, late: late.take() };
            lease.deadline = now + T64;
            shard.changed(slot);
        }
    }

    /// A call that is up but not known, after a restart or from another edge, gets a lease: it takes a place on its node
    /// whether the edge knows about it or not. A subscription is a dialog and no call: a phone's lamps take no place, and keep no
    /// drain waiting.
    fn adopt(
        &mut self,
        shard: &mut Shard,
        key: CallKey,
        request: Request<'_>,
        token: Token,
        node: Option<NodeId>,
    ) -> Option<Slot> {
        let node = node?;
        let is_no_call = matches!(request.method(), Method::Bye | Method::Subscribe | Method::Notify);
        if is_no_call || !shard.has_room() {
            return None;
        }
        let (from, to) = (request.from_uri(), request.to_uri());
        let caller = from.and_then(|uri| uri.number()).unwrap_or_default();
        let called = to.and_then(|uri| uri.number()).unwrap_or_default();
        let (now, seat) = (self.now, self.world.take_on(node));
        let (names, ends) = (Names::new(request.call_id(), caller, called), now + self.farm.calls.max_duration);
        let found = Lease::found_up(key, names, token.caller, token.way_to_node(), seat, now, ends);
        self.take_up(shard, Lease { caller_tag: token.caller_tag, ..found })
    }

    /// Takes up a call that is up; a full shard does not.
    pub(super) fn take_up(&mut self, shard: &mut Shard, lease: Lease) -> Option<Slot> {
        let node = lease.node;
        match shard.open(lease) {
            Ok(slot) => {
                self.out.events.push(Event::CallAdopted(node));
                shard.save(slot);
                Some(slot)
            }
            Err(lease) => {
                lease.seat.into_iter().for_each(|seat| self.world.give_back(seat));
                None
            }
        }
    }

    /// The way to the caller: a gateway by the rest of its route set and its Contact (section 12.2.1.1), a phone behind
    /// NAT by its flow. Only a node may say where to: from anybody else the request goes where the INVITE came from.
    fn to_caller(&self, inbound: Inbound<'_>, routing: &Routing<'_>, token: Token) -> Destination {
        let by_flow = Destination::Way(caller_way(token.caller));
        if token.to_caller != ToCaller::Contact || !matches!(inbound.source, Source::Node(_)) {
            return by_flow;
        }
        let strict = routing.strict.and_then(|strict| uri::parse(strict.uri));
        let Some(next) = routing.next.or(strict).or(inbound.request.uri()).filter(Uri::is_sip) else { return by_flow };
        let protocol = next.param(b"transport").and_then(Protocol::from_bytes).unwrap_or(Protocol::Udp);
        let listener = token.caller.listener;
        match uri::ip(next.host) {
            // The same host by the same protocol: the connection that is there serves (RFC 5923).
            Some(ip) if ip == token.caller.remote.ip() && token.caller.connection.is_some() => by_flow,
            Some(ip) => {
                let address = std::net::SocketAddr::new(ip, next.port.unwrap_or(5060));
                Destination::Way(Way::Target { listener, target: Target { protocol, address } })
            }
            None => Destination::Name {
                host: String::from_utf8_lossy(next.host).into(),
                port: next.port,
                fallback: Way::Target { listener, target: Target { protocol, address: token.caller.remote } },
            },
        }
    }

    /// A request inside a dialog whose sender lost the edge's Route: the Call-ID may be known.
    pub(super) fn in_dialog_by_call_id(&mut self, inbound: Inbound<'_>, routing: &Routing<'_>) {
        let (request, flow, source) = (inbound.request, inbound.flow, inbound.source);
        let (key, world) = (inbound.key, self.world);
        world.claim(key);
        let known = world.with_shard(key, |shard| {
            let slot = shard.find(key)?;
            let lease = shard.lease(slot);
            if lease.is_hearsay() || (!source.is_trusted() && flow != lease.caller) {
                return None;
            }
            let listener = lease.way.listener();
            Some(self.token_of(lease, listener))
        });
        match known {
            Some(token) => self.in_dialog(inbound, routing, token),
            None if source.is_trusted() => self.reject(request, flow, source, RejectReason::NoSuchCall),
            None => self.reject(request, flow, source, RejectReason::NoToken),
        }
    }

    fn token_of(&self, lease: &Lease, node_listener: ListenerId) -> Token {
        let caller_source = self.farm.sources.classify(lease.caller);
        Token {
            caller: lease.caller,
            to_caller: if caller_source.is_trusted() { ToCaller::Contact } else { ToCaller::Flow },
            caller_tag: lease.caller_tag,
            node_listener,
            node: lease.way.target(),
        }
    }

    /// An ACK without a token: for a failure, which goes hop by hop, or for a 2xx whose Route got lost.
    pub(super) fn ack(&mut self, inbound: Inbound<'_>, routing: &Routing<'_>) {
        let request = inbound.request;
        let is_own = request.to_tag() == Some(&own_tag(&self.farm.keys, request)[..]);
        let (key, world) = (inbound.key, self.world);
        world.claim(key);
        let to = world.with_shard(key, |shard| {
            let slot = shard.find(key)?;
            if is_own {
                self.finish_errand(shard, slot, ErrandKind::Final);
                return None;
            }
            let lease = shard.lease(slot);
            let allowed = inbound.source.is_trusted() || inbound.flow == lease.caller;
            (allowed && !lease.is_hearsay()).then_some((lease.way, lease.attempt))
        });
        match to {
            _ if is_own => self.drop(DropReason::OwnAck),
            Some((way, attempt)) => {
                self.forward_in_dialog(inbound, routing, &Destination::Way(way), Side::Node, attempt);
            }
            None => self.drop(DropReason::StrayAck),
        }
    }

    /// A request that opens no call and belongs to none: OPTIONS through the edge, MESSAGE, SUBSCRIBE and others.
    pub(super) fn new_request(&mut self, inbound: Inbound<'_>, routing: &Routing<'_>, pool: PoolId) {
        let Inbound { request, flow, source, .. } = inbound;
        let Some(via) = request.via() else { return };
        let key = self.sticky_key(pool, request).unwrap_or(inbound.key.0 as u64);
        let Some((node, way)) = self.world.home_of(pool, key) else {
            return self.reject(request, flow, source, RejectReason::NoneAlive);
        };
        let transaction = transaction(&self.farm.keys, request, inbound.key, via);
        let token = self.token(inbound, way).filter(|_| opens_dialog(request.method()));
        let uri = self.gateway_uri(node, request);
        let forwarding = Forwarding {
            to: &Destination::Way(way),
            side: Side::Node,
            transaction,
            attempt: 0,
            uri: uri.as_deref(),
            routes: b"",
            record: token.as_ref(),
            try_of: None,
        };
        self.forward(inbound, routing, forwarding);
    }

    /// OPTIONS for the edge itself: 200 while it takes calls, 503 once it is stopping.
    pub(super) fn answer_probe(&mut self, inbound: Inbound<'_>) {
        let Inbound { request, flow, source, .. } = inbound;
        if self.stopping {
            return self.reject(request, flow, source, RejectReason::Stopping);
        }
        let headers = [super::answer::ALLOW, b"Accept: application/sdp\r\n"].concat();
        if !self.answer(request, flow, source, 200, "OK", &headers) {
            self.answer(request, flow, source, 200, "OK", b"");
        }
    }
}

/// What a message inside the dialog tells of a call that only its node had told of.
fn learn(shard: &mut Shard, slot: Slot, token: Token) {
    if !shard.lease(slot).is_hearsay() {
        return;
    }
    let lease = shard.lease_mut(slot);
    (lease.caller, lease.caller_tag, lease.way) = (token.caller, token.caller_tag, token.way_to_node());
    shard.changed(slot);
    shard.save(slot);
}

/// Back along the flow of the INVITE; a connection that is gone is opened again to the same address.
fn caller_way(flow: Flow) -> Way {
    Way::Flow(flow)
}
