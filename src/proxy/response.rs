//! Responses (RFC 3261 section 16.7).
//!
//! A response is let through only when the farm made the branch in its top Via for just this transaction. The edge's Via goes,
//! and the rest follows the next Via, to the address that was noted there when the request came.

use crate::calls::errand::ErrandKind;
use crate::calls::history::{EndCause, TryResult};
use crate::calls::lease::{Cancelled, Invite, Resend, SessionTimer, Told, Try, TryState, Way};
use crate::calls::ledger::Slot;
use crate::calls::tries::{Cause, Refusal};
use crate::calls::{CallKey, NodeId, Phase, Shard};
use crate::dispatch::health::Signal;
use crate::moment::Moment;
use crate::sip::edit::remove_leading;
use crate::sip::message::Message;
use crate::sip::scan::Span;
use crate::sip::via::Via;
use crate::sip::{HeaderName, Method, Response, edit, originate, uri, values};
use crate::transport::flow::{Flow, Protocol, Target};

use super::branch::{ACK_OF, BYE_OF, Branch, ProbeBranch, read_flow, transaction};
use super::contract::{Destination, DropReason, Event, Side, World};
use super::core::Core;
use super::failover::one_try;

/// A response's own Via, taken apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnVia {
    via: Via,
    /// How the response came in.
    flow: Flow,
    /// Its call.
    key: CallKey,
}

/// An INVITE's response that belongs to the call's first transaction.
#[derive(Clone, Copy, Debug)]
struct FirstAnswer<'a> {
    response: Response<'a>,
    own: OwnVia,
    next: Via,
    attempt: u8,
}

impl<W: World> Core<'_, W> {
    /// The branch of the top Via, if it has the form of the edge's.
    pub(super) fn own_branch(&self, response: Response<'_>, flow: Flow) -> Option<(Branch, OwnVia)> {
        let via = response.via()?;
        let branch = Branch::read(response.text(via.branch?))?;
        Some((branch, OwnVia { via, flow, key: self.key(response) }))
    }

    /// An answer to INVITE.
    pub(super) fn invite_response(&mut self, response: Response<'_>, branch: Branch, own: OwnVia, next: Via) {
        let keys = &self.farm.keys;
        let transaction = transaction(keys, response, own.key, next);
        if !branch.proves(keys, transaction) {
            return self.drop(DropReason::StrayResponse);
        }
        let (key, world) = (own.key, self.world);
        world.claim_answered(key, transaction);
        world.with_shard(key, |shard| {
            let slot = shard.find(key);
            match slot.filter(|slot| shard.lease(*slot).transaction == transaction) {
                Some(slot) => {
                    let answer = FirstAnswer { response, own, next, attempt: branch.number };
                    self.first_answer(shard, slot, answer);
                }
                None => {
                    self.note_dialog(shard, slot, response);
                    self.forward_response(response, own, next);
                }
            }
        });
    }

    fn first_answer(&mut self, shard: &mut Shard, slot: Slot, answer: FirstAnswer<'_>) {
        let lease = shard.lease(slot);
        let is_current = lease.attempt == answer.attempt && self.is_from(answer, lease.node);
        let is_trying = matches!(shard.lease(slot).phase, Phase::Trying(_));
        match (is_trying, is_current) {
            (true, true) if answer.response.status().is_provisional() => self.provisional(shard, slot, answer),
            (true, true) if answer.response.status().is_success() => self.answered(shard, slot, answer),
            (true, true) => self.failed(shard, slot, answer),
            // A repetition, or an answer that the call does not change by any more.
            (false, true) => self.repeated_answer(shard, slot, answer),
            (_, false) => self.late_answer(shard, slot, answer),
        }
    }

    fn provisional(&mut self, shard: &mut Shard, slot: Slot, answer: FirstAnswer<'_>) {
        let now = self.now;
        let is_progress = answer.response.status().code() > 100;
        let lease = shard.lease_mut(slot);
        let (attempt, opened) = (lease.attempt, lease.opened);
        let Phase::Trying(invite) = &mut lease.phase else { return };
        if let Some(current) = invite.current() {
            current.state = TryState::Heard;
        }
        (invite.silence_at, invite.resend) = (Moment::NEVER, None);
        if is_progress {
            invite.ran = Some(attempt);
        }
        if is_progress && invite.told < Told::Progress {
            self.out.events.push(Event::CallRinging(now.since(opened)));
        }
        invite.told = invite.told.max(if is_progress { Told::Progress } else { Told::Trying });
        let cancel_is_due = invite.cancelled.is_some();
        shard.changed(slot);
        if cancel_is_due {
            // It was taken back before the node had said anything, and had to wait for this (section 9.1).
            self.send_cancel(shard, slot, attempt);
        }
        self.forward_response(answer.response, answer.own, answer.next);
    }

    /// The call is answered.
    fn answered(&mut self, shard: &mut Shard, slot: Slot, answer: FirstAnswer<'_>) {
        let now = self.now;
        let (max_duration, response) = (self.farm.calls.max_duration, answer.response);
        let lease = shard.lease_mut(slot);
        let (key, node) = (lease.key, lease.node);
        let up = Phase::Up { answered: now, late: None };
        let Phase::Trying(mut invite) = std::mem::replace(&mut lease.phase, up) else { return };
        if let Some(winner) = invite.try_at_mut(answer.attempt) {
            winner.state = TryState::Done;
        }
        let after = now.since(invite.started);
        if invite.has_loose_ends() {
            lease.phase = Phase::Up { answered: now, late: Some(invite) };
        }
        lease.deadline = now + max_duration;
        lease.session = session_timer(response, now);
        shard.changed(slot);
        shard.save(slot);
        let code = response.status().code();
        shard.history.note_try(key, answer.attempt, TryResult::Answered(code), now);
        self.out.events.push(Event::NodeAnswered { node, code });
        self.out.events.push(Event::CallAnswered { node, after });
        self.tell_health(shard, slot, answer.attempt, Signal::CallAnswered);
        self.forward_response(response, answer.own, answer.next);
    }

    /// The node refused the call: perhaps another one will have it.
    fn failed(&mut self, shard: &mut Shard, slot: Slot, answer: FirstAnswer<'_>) {
        let (now, response) = (self.now, answer.response);
        let code = response.status().code();
        let refusal = Refusal { code, has_reason: values::has_reason(response), q850: values::q850_cause(response) };
        let lease = shard.lease_mut(slot);
        let (key, node) = (lease.key, lease.node);
        let Phase::Trying(invite) = &mut lease.phase else { return };
        let cancelled = invite.cancelled;
        if let Some(current) = invite.current() {
            current.state = TryState::Done;
        }
        let not_started = self.farm.calls.failover.is_not_started(refusal);
        self.out.events.push(Event::NodeAnswered { node, code });
        self.tell_health(shard, slot, answer.attempt, signal_of(response, refusal, not_started));
        // The way back must be written while the INVITE is still at hand.
        if not_started && self.swallow(shard, slot, answer, code) {
            return;
        }
        shard.history.note_try(key, answer.attempt, TryResult::Answered(code), now);
        let cause = match cancelled {
            Some(Cancelled::ByRingTimeout) => EndCause::RingTimeout,
            Some(Cancelled::ByCaller) => EndCause::Cancelled,
            None if matches!(code, 401 | 407) => EndCause::Challenged,
            None => EndCause::Failed,
        };
        self.end_call(shard, slot, cause, Some(code));
        self.forward_response(response, answer.own, answer.next);
    }

    /// Takes the call to another node and acknowledges the failure in the caller's place. False when there is no other.
    fn swallow(&mut self, shard: &mut Shard, slot: Slot, answer: FirstAnswer<'_>, code: u16) -> bool {
        if !self.next_try(shard, slot, Cause::Unavailable, Some(code)) {
            return false;
        }
        self.acknowledge_failure(shard, slot, answer);
        self.drop(DropReason::Absorbed);
        true
    }

    /// An answer from the node that has the call, after its final one.
    fn repeated_answer(&mut self, shard: &mut Shard, slot: Slot, answer: FirstAnswer<'_>) {
        let response = answer.response;
        if response.status().is_provisional() {
            return self.drop(DropReason::Absorbed);
        }
        if let Phase::Ended { own_answer: Some(_), .. } = shard.lease(slot).phase {
            // The caller has the edge's own answer, and this one comes too late.
            return self.late_answer(shard, slot, answer);
        }
        if let Phase::Ended { .. } = shard.lease(slot).phase
            && response.status().is_success()
        {
            return self.late_answer(shard, slot, answer);
        }
        self.forward_response(response, answer.own, answer.next);
    }

    /// An answer from a node that had been given up.
    fn late_answer(&mut self, shard: &mut Shard, slot: Slot, answer: FirstAnswer<'_>) {
        let response = answer.response;
        let has_number_only =
            one_try(shard, slot, answer.attempt).is_some_and(|tried| !self.is_from(answer, tried.node));
        if response.status().is_provisional() {
            if !has_number_only {
                self.send_cancel(shard, slot, answer.attempt);
            }
            return self.drop(DropReason::Absorbed);
        }
        if !has_number_only {
            self.finish_errand(shard, slot, ErrandKind::Cancel(answer.attempt));
        }
        if !response.status().is_success() {
            self.acknowledge_failure(shard, slot, answer);
            if !has_number_only {
                self.settle(shard, slot, answer.attempt);
            }
            return self.drop(DropReason::Absorbed);
        }
        let Some((node, way)) = self.sender(shard, slot, answer) else {
            // Nothing is known of this try any more; the caller ends what it did not ask for (section 13.2.2.4).
            return self.forward_response(response, answer.own, answer.next);
        };
        if matches!(shard.lease(slot).phase, Phase::Trying(_)) {
            self.out.events.push(Event::LateAnswer { node, forwarded: true });
            self.give_call_to(shard, slot, node, way, answer.attempt);
            return self.answered(shard, slot, answer);
        }
        self.out.events.push(Event::LateAnswer { node, forwarded: false });
        self.end_unwanted(shard, slot, answer);
        self.drop(DropReason::Absorbed);
    }

    /// The first 2xx wins, even from a node that had been given up: the call moves to it, and the node that was asked
    /// instead is told to stop.
    fn give_call_to(&mut self, shard: &mut Shard, slot: Slot, node: NodeId, way: Way, attempt: u8) {
        let current = shard.lease(slot).attempt;
        self.send_cancel(shard, slot, current);
        let seat = self.world.take_on(node);
        let lease = shard.lease_mut(slot);
        if let Some(old) = lease.seat.replace(seat) {
            self.world.give_back(old);
        }
        (lease.node, lease.way, lease.attempt) = (node, way, attempt);
        let Phase::Trying(invite) = &mut lease.phase else { return };
        if let Some(loser) = invite.try_at_mut(current) {
            loser.state = TryState::Abandoned(Cause::Silence);
        }
    }

    /// A 2xx that nobody wants is acknowledged and ended by the edge (section 13.2.2.4).
    fn end_unwanted(&mut self, shard: &mut Shard, slot: Slot, answer: FirstAnswer<'_>) {
        let way = self.errand_way(shard, slot, answer);
        let (attempt, transaction) = (answer.attempt, shard.lease(slot).transaction);
        let via = self.via_value(way, transaction, ACK_OF + attempt);
        if let Some(ack) = via.as_deref().and_then(|via| originate::ack_success(answer.response, via)) {
            self.out.send(Destination::Way(way), None, |out| out.extend_from_slice(&ack));
        }
        let bye = ErrandKind::Bye(attempt);
        if shard.lease(slot).errands.iter().any(|errand| errand.kind == bye) {
            return;
        }
        let via = self.via_value(way, transaction, BYE_OF + attempt);
        if let Some(bytes) = via.as_deref().and_then(|via| originate::bye(answer.response, via)) {
            self.start_errand(shard, slot, bye, bytes.into_boxed_slice(), way);
        }
    }

    /// Acknowledges a failure that the caller does not get to see (section 17.1.1.3).
    fn acknowledge_failure(&mut self, shard: &mut Shard, slot: Slot, answer: FirstAnswer<'_>) {
        let way = self.errand_way(shard, slot, answer);
        let tried = one_try(shard, slot, answer.attempt);
        let uri = self.with_kept_invite(shard, slot, |core, shard, inbound, _| {
            let aim = tried.map(|tried| core.aim(shard, slot, answer.attempt, tried.node, inbound.request));
            aim.and_then(|aim| aim.uri).unwrap_or_else(|| inbound.request.uri_text().to_vec())
        });
        // Without the INVITE its To says whom it was for; servers match an ACK by its branch.
        let to = || answer.response.to_uri_text().to_vec();
        let via = answer.response.text(answer.own.via.whole);
        let ack = originate::ack_failure(&uri.unwrap_or_else(to), answer.response, via);
        self.out.send(Destination::Way(way), None, |out| out.extend_from_slice(&ack));
    }

    /// The node that gave a late answer, and the way to it: as the try has them or, when a restart has left nothing of the
    /// try or another one has its number, where the answer came from.
    fn sender(&self, shard: &Shard, slot: Slot, answer: FirstAnswer<'_>) -> Option<(NodeId, Way)> {
        if let Some(tried) = self.own_try(shard, slot, answer) {
            return Some((tried.node, tried.way));
        }
        let (flow, lease) = (answer.own.flow, shard.lease(slot));
        let is_other = |node: &NodeId| lease.attempt != answer.attempt || lease.node != *node;
        let node = self.farm.sources.node_at(flow.target()).filter(is_other)?;
        Some((node, Way::Flow(flow)))
    }

    /// The try that an answer belongs to, unless it comes from the node of a try that was forgotten and had its number.
    fn own_try(&self, shard: &Shard, slot: Slot, answer: FirstAnswer<'_>) -> Option<Try> {
        one_try(shard, slot, answer.attempt).filter(|tried| self.is_from(answer, tried.node))
    }

    /// True unless another node of the farm sent the answer.
    fn is_from(&self, answer: FirstAnswer<'_>, node: NodeId) -> bool {
        self.farm.sources.node_at(answer.own.flow.target()).is_none_or(|sender| sender == node)
    }

    /// The way to the node that sent an answer.
    fn errand_way(&self, shard: &Shard, slot: Slot, answer: FirstAnswer<'_>) -> Way {
        let current = shard.lease(slot);
        match self.own_try(shard, slot, answer) {
            Some(tried) => tried.way,
            None if current.attempt == answer.attempt && self.is_from(answer, current.node) => current.way,
            None => Way::Flow(answer.own.flow),
        }
    }

    /// A Via of the edge's for a request of its own.
    fn via_value(&self, way: Way, transaction: u64, number: u8) -> Option<Vec<u8>> {
        let listener = self.farm.listener_for(way.target(), way.listener())?;
        let mut via = listener.via.to_vec();
        Branch::new(&self.farm.keys, transaction, number, 0).write(&mut via);
        Some(via)
    }

    /// A try that had been given up has given its final answer.
    fn settle(&mut self, shard: &mut Shard, slot: Slot, attempt: u8) {
        let lease = shard.lease_mut(slot);
        let is_loose = |invite: &mut Box<Invite>| {
            if let Some(tried) = invite.try_at_mut(attempt) {
                tried.state = TryState::Done;
            }
            invite.has_loose_ends()
        };
        if let Phase::Up { late, .. } | Phase::Ending { late, .. } | Phase::Ended { late, .. } = &mut lease.phase {
            *late = late.take().and_then(|mut invite| is_loose(&mut invite).then_some(invite));
        } else if let Phase::Trying(invite) = &mut lease.phase {
            is_loose(invite);
        }
        shard.changed(slot);
    }

    pub(super) fn finish_errand(&mut self, shard: &mut Shard, slot: Slot, kind: ErrandKind) {
        shard.lease_mut(slot).errands.retain(|errand| errand.kind != kind);
        shard.changed(slot);
    }

    /// An answer to a request of the edge's own: CANCEL or BYE.
    pub(super) fn own_request_response(&mut self, response: Response<'_>, branch: Branch) {
        let (key, world) = (self.key(response), self.world);
        let is_known = world.with_shard(key, |shard| {
            let Some(slot) = shard.find(key) else { return false };
            if !branch.proves(&self.farm.keys, shard.lease(slot).transaction) {
                return false;
            }
            if !response.status().is_provisional() {
                let kind = match response.cseq().map(|cseq| cseq.method) {
                    Some(Method::Cancel) => ErrandKind::Cancel(branch.number),
                    _ => ErrandKind::Bye(branch.number.saturating_sub(BYE_OF)),
                };
                self.finish_errand(shard, slot, kind);
            }
            true
        });
        self.drop(if is_known { DropReason::Absorbed } else { DropReason::StrayResponse });
    }

    /// An answer to a probe.
    pub(super) fn probe_response(&mut self, response: Response<'_>, flow: Flow) {
        let branch = response.via().and_then(|via| via.branch).map(|branch| response.text(branch));
        let Some(probe) = branch.and_then(|text| ProbeBranch::read(&self.farm.keys, text)) else {
            return self.drop(DropReason::StrayResponse);
        };
        if response.status().is_provisional() {
            return self.drop(DropReason::Absorbed);
        }
        let code = response.status().code();
        if response.cseq().is_some_and(|cseq| cseq.method == Method::Publish) {
            let event = Event::Published { node: NodeId(probe.node), number: probe.probe, code };
            return self.out.events.push(event);
        }
        let signal = Signal::ProbeAnswered { probe: probe.probe, code: response.status().code() };
        self.out.events.push(Event::Health { node: NodeId(probe.node), target: flow.target(), signal });
    }

    /// An answer to BYE: the call is over.
    pub(super) fn bye_response(&mut self, response: Response<'_>, branch: Branch, own: OwnVia, next: Via) {
        if !self.is_proven(response, branch, own, next) {
            return self.drop(DropReason::StrayResponse);
        }
        let (key, world) = (own.key, self.world);
        world.with_shard(key, |shard| {
            let Some(slot) = shard.find(key) else { return };
            let status = response.status();
            let lease = shard.lease_mut(slot);
            let Phase::Ending { answered, late } = &mut lease.phase else { return };
            if matches!(status.code(), 401 | 407) {
                // The BYE will come again with credentials; until then the call is up.
                lease.deadline = *answered + self.farm.calls.max_duration;
                lease.phase = Phase::Up { answered: *answered, late: late.take() };
                shard.changed(slot);
            } else if !status.is_provisional() {
                self.end_call(shard, slot, EndCause::Bye, None);
            }
        });
        self.forward_response(response, own, next);
    }

    /// An answer to anything else.
    pub(super) fn other_response(&mut self, response: Response<'_>, branch: Branch, own: OwnVia, next: Via) {
        if !self.is_proven(response, branch, own, next) {
            return self.drop(DropReason::StrayResponse);
        }
        let status = response.status();
        let is_update = response.cseq().is_some_and(|cseq| cseq.method == Method::Update);
        if status.code() == 481 || (is_update && status.is_success()) {
            let (key, world) = (own.key, self.world);
            world.with_shard(key, |shard| {
                let slot = shard.find(key);
                self.note_dialog(shard, slot, response);
            });
        }
        self.forward_response(response, own, next);
    }

    /// True when it answers what the edge forwarded.
    pub(super) fn is_asked_for(&self, response: Response<'_>, flow: Flow) -> bool {
        let asked = self.own_branch(response, flow).zip(response.next_via());
        asked.is_some_and(|((branch, own), next)| self.is_proven(response, branch, own, next))
    }

    fn is_proven(&self, response: Response<'_>, branch: Branch, own: OwnVia, next: Via) -> bool {
        let keys = &self.farm.keys;
        branch.proves(keys, transaction(keys, response, own.key, next))
    }

    /// What a response inside a dialog says about the call: a refreshed session timer, or that there is no dialog.
    fn note_dialog(&mut self, shard: &mut Shard, slot: Option<Slot>, response: Response<'_>) {
        let (Some(slot), now) = (slot, self.now) else { return };
        if !matches!(shard.lease(slot).phase, Phase::Up { .. }) {
            return;
        }
        if response.status().code() == 481 && response.to_tag().is_some() {
            // RFC 5057 section 5.1: the dialog is gone.
            self.end_call(shard, slot, EndCause::DialogGone, None);
        } else if response.status().is_success() {
            let lease = shard.lease_mut(slot);
            lease.session = session_timer(response, now);
            self.note_hold_answered(lease, response);
            shard.changed(slot);
            shard.save(slot);
        }
    }

    fn tell_health(&mut self, shard: &Shard, slot: Slot, attempt: u8, signal: Signal) {
        let tried = one_try(shard, slot, attempt);
        let lease = shard.lease(slot);
        let (node, target) = tried.map_or((lease.node, lease.way.target()), |t| (t.node, t.way.target()));
        self.out.events.push(Event::Health { node, target, signal });
    }

    /// Takes the edge's Via off and sends the rest on.
    fn forward_response(&mut self, response: Response<'_>, own: OwnVia, next: Via) {
        let Some(to) = self.way_of_response(response, own, next) else {
            return self.drop(DropReason::Unroutable);
        };
        let edits = &mut self.scratch.edits;
        edits.clear();
        if let Some(field) = response.fields().iter().find(|field| field.name == HeaderName::Via) {
            remove_leading(edits, response.bytes(), field.line, field.value, own.via.whole.end);
        }
        if response.status().code() == 503 && !self.farm.calls.forward_503_as_is {
            // A 503 speaks about one node, and would speak to the caller about the whole farm (section 16.7 step 6).
            edits.replace(edit::start_line(response), |out| {
                out.extend_from_slice(b"SIP/2.0 500 Server Internal Error\r\n");
            });
        }
        if to.protocol() != Protocol::Udp && response.content_length().is_none() {
            edits.insert(edit::headers_end(response), |out| {
                out.extend_from_slice(b"Content-Length: ");
                edit::number(out, response.body().len() as u64);
                out.extend_from_slice(b"\r\n");
            });
        }
        self.out.send(Destination::Way(to), None, |out| edits.write(response, out));
        self.out.events.push(Event::ResponseForwarded(Side::Caller));
    }

    /// Where a response goes: to the source that the edge noted in the next Via (section 18.2.2, RFC 3581 section 4), from
    /// the listener and by the connection that the request came in by.
    fn way_of_response(&self, response: Response<'_>, own: OwnVia, next: Via) -> Option<Way> {
        let (listener, connection) = match own.via.flow {
            Some(flow) => read_flow(&self.farm.keys, response.text(flow))?,
            None => (own.flow.listener, None),
        };
        let text = |span: Span| response.text(span);
        let protocol = Protocol::from_bytes(text(next.transport))?;
        let ip = next.received.and_then(|r| uri::ip(text(r.value))).or_else(|| uri::ip(text(next.host)))?;
        let rport = next.rport.and_then(|rport| crate::sip::scan::decimal(text(rport.value), 65_535));
        let port = match (protocol, rport) {
            (Protocol::Udp, Some(port)) if port > 0 => port as u16,
            // A new connection, should the old one be gone, goes to where the sender listens.
            _ => next.port.unwrap_or(5060),
        };
        let remote = std::net::SocketAddr::new(ip, port);
        if protocol != Protocol::Udp && connection.is_none() {
            return Some(Way::Target { listener, target: Target { protocol, address: remote } });
        }
        Some(Way::Flow(Flow { listener, protocol, remote, connection }))
    }

    /// The INVITE is sent again to a node that may not have got it.
    pub(super) fn resend_invite(&mut self, shard: &mut Shard, slot: Slot) {
        let now = self.now;
        let lease = shard.lease_mut(slot);
        let (way, attempt, transaction, node) = (lease.way, lease.attempt, lease.transaction, lease.node);
        let Phase::Trying(invite) = &mut lease.phase else { return };
        invite.resend = invite.resend.map(|r| Resend { at: now + r.pause, pause: r.pause * 2 });
        shard.changed(slot);
        self.out.events.push(Event::Resent);
        self.with_kept_invite(shard, slot, |core, shard, inbound, routing| {
            let token = core.token(inbound, way);
            let aim = core.aim(shard, slot, attempt, node, inbound.request);
            let forwarding = super::forward::Forwarding {
                to: &Destination::Way(way),
                side: Side::Node,
                transaction,
                attempt,
                uri: aim.uri.as_deref(),
                routes: &aim.routes,
                record: token.as_ref(),
                try_of: None,
            };
            core.forward(inbound, routing, forwarding)
        });
    }
}

/// How long a call may be silent before it is taken for dead: the interval of its 2xx and half a minute (RFC 4028 section 10
/// lets the side that does not refresh wait until shortly before the end).
fn session_timer(response: Response<'_>, now: Moment) -> Option<SessionTimer> {
    let interval = std::time::Duration::from_secs(u64::from(values::session_expires_secs(response)?));
    Some(SessionTimer { interval, ends: now + interval + crate::calls::errand::T64 })
}

/// What a failure tells of the node's life. With a Q.850 cause the dialplan spoke, and the node is well.
fn signal_of(response: Response<'_>, refusal: Refusal, not_started: bool) -> Signal {
    if not_started {
        return Signal::CallUnavailable {
            retry_after_secs: values::retry_after_secs(response),
            full: refusal.q850.is_some(),
        };
    }
    let own_failure = matches!(refusal.code, 500 | 502 | 504) && refusal.q850.is_none();
    if own_failure { Signal::CallFailed } else { Signal::CallAnswered }
}
