//! Giving up a node and asking the next one (RFC 3261 sections 16.7 and 16.9).
//!
//! Whatever is given up is followed to its end: it gets a CANCEL, its failure is acknowledged by the edge, and a 2xx that
//! comes after all is never dropped.

use crate::calls::errand::{Errand, ErrandKind, T64};
use crate::calls::history::{End, EndCause, TryResult};
use crate::calls::lease::{Invite, Told, Try, TryState, Way};
use crate::calls::ledger::Slot;
use crate::calls::tries::{Cause, TRIES_MAX};
use crate::calls::{NodeId, Phase, Shard};
use crate::dispatch::Pick;
use crate::dispatch::health::Signal;
use crate::moment::Moment;
use crate::sip::originate;
use crate::transport::flow::Target;

use super::branch::{Branch, turn, write_flow};
use super::contract::{Destination, Event, RejectReason, World};
use super::core::Core;

impl<W: World> Core<'_, W> {
    /// Gives up the node that has the INVITE and asks the next one. False, and nothing changed, when there is none to
    /// ask or the policy forbids it. `swallowed` is the answer that the caller will not see.
    pub(super) fn next_try(&mut self, shard: &mut Shard, slot: Slot, cause: Cause, swallowed: Option<u16>) -> bool {
        if !self.may_try_again(shard, slot, cause) {
            return false;
        }
        let lease = shard.lease(slot);
        let (key, pool) = (lease.key, lease.pool);
        let Phase::Trying(invite) = &lease.phase else { return false };
        let tried: Vec<NodeId> = invite.tries.iter().map(|t| t.node).collect();
        let picked = match invite.contacts.get(invite.tries.len()) {
            Some(contact) => self.picked_contact(lease.node, contact.way),
            None if !invite.contacts.is_empty() => return false,
            None => {
                let pick = Pick { pool, key, sticky: invite.sticky, prefer: None, beside: None, avoid: &tried };
                let Ok(picked) = self.world.take(pick) else { return false };
                picked
            }
        };
        self.abandon(shard, slot, cause, swallowed);
        if let Some(explanation) = shard.history.find_mut(key) {
            explanation.pool = picked.pool;
        }
        let mut picked = Some(picked);
        self.with_kept_invite(shard, slot, |core, shard, inbound, routing| {
            if let Some(picked) = picked.take() {
                core.offer(shard, slot, inbound, routing, picked);
            }
        });
        if let Some(picked) = picked {
            // The kept INVITE was parsed before it was kept, so this does not happen; the place is not lost if it does.
            self.world.give_back(picked.seat);
            return false;
        }
        true
    }

    fn may_try_again(&self, shard: &Shard, slot: Slot, cause: Cause) -> bool {
        let lease = shard.lease(slot);
        let Phase::Trying(invite) = &lease.phase else { return false };
        let policy = &self.farm.calls.failover;
        let gone = cause == Cause::NodeDown;
        policy.allows(cause)
            && invite.cancelled.is_none()
            && !invite.bytes.is_empty()
            && invite.tries.len() < usize::from(policy.tries_max.min(TRIES_MAX))
            && (gone || invite.ran != Some(lease.attempt))
            && (gone || self.now < self.budget_end(invite))
    }

    /// When no further node is asked any more. A caller who was told that it rings does not repeat his INVITE and waits; with
    /// each node that takes over from a dead one the time begins anew.
    fn budget_end(&self, invite: &Invite) -> Moment {
        let current = invite.tries.last().filter(|_| invite.told == Told::Progress);
        current.map_or(invite.started, |current| current.started) + self.farm.calls.failover.budget
    }

    /// Marks the current try as given up and sends what that asks for.
    fn abandon(&mut self, shard: &mut Shard, slot: Slot, cause: Cause, swallowed: Option<u16>) {
        let now = self.now;
        let lease = shard.lease_mut(slot);
        let (key, attempt) = (lease.key, lease.attempt);
        let Phase::Trying(invite) = &mut lease.phase else { return };
        let Some(current) = invite.current() else { return };
        current.state = TryState::Abandoned(cause);
        let node = current.node;
        self.out.events.push(Event::TryAbandoned { node, cause });
        shard.history.note_try(key, attempt, TryResult::Abandoned(cause, swallowed), now);
        if matches!(cause, Cause::Silence | Cause::NodeDown) {
            self.send_cancel(shard, slot, attempt);
        }
    }

    /// Sends the CANCEL of one try, and again until it is answered. Nothing is done when that is under way already.
    pub(super) fn send_cancel(&mut self, shard: &mut Shard, slot: Slot, attempt: u8) {
        if shard.lease(slot).errands.iter().any(|errand| errand.kind == ErrandKind::Cancel(attempt)) {
            return;
        }
        let transaction = shard.lease(slot).transaction;
        let Some(tried) = one_try(shard, slot, attempt) else { return };
        let Some(listener) = self.farm.listener_for(tried.way.target(), tried.way.listener()) else { return };
        let bytes = self.with_kept_invite(shard, slot, |core, shard, inbound, routing| {
            let keys = &core.farm.keys;
            // The very Via and Request-URI that the INVITE went out with (section 9.1).
            let mut via = listener.via.to_vec();
            Branch::new(keys, transaction, attempt, turn(keys, inbound.request, inbound.key, routing)).write(&mut via);
            if inbound.flow.listener != listener.id || inbound.flow.connection.is_some() {
                write_flow(keys, inbound.flow, &mut via);
            }
            let aim = core.aim(shard, slot, attempt, tried.node, inbound.request);
            originate::cancel(aim.uri.as_deref().unwrap_or(inbound.request.uri_text()), inbound.request, &via)
        });
        if let Some(bytes) = bytes {
            self.start_errand(shard, slot, ErrandKind::Cancel(attempt), bytes.into_boxed_slice(), tried.way);
        }
    }

    /// Sends something now and, where it may get lost, again until it is answered.
    pub(super) fn start_errand(&mut self, shard: &mut Shard, slot: Slot, kind: ErrandKind, bytes: Box<[u8]>, way: Way) {
        self.out.send(Destination::Way(way), None, |out| out.extend_from_slice(&bytes));
        let now = self.now;
        let lease = shard.lease_mut(slot);
        lease.errands.push(Errand::sent(kind, bytes, way, now));
        if matches!(lease.phase, Phase::Ended { .. }) {
            lease.deadline = lease.deadline.max(now + T64);
        }
        shard.changed(slot);
    }

    /// The transport refused the INVITE of the try that is on.
    pub(super) fn refused(&mut self, shard: &mut Shard, slot: Slot) {
        let Phase::Trying(invite) = &mut shard.lease_mut(slot).phase else { return };
        let (was_cancelled, is_for_agent) = (invite.cancelled.is_some(), !invite.contacts.is_empty());
        let Some(current) = invite.current().filter(|current| current.state == TryState::Waiting) else { return };
        let (node, target) = (current.node, current.way.target());
        self.out.events.push(Event::Health { node, target, signal: Signal::Refused });
        if self.next_try(shard, slot, Cause::Refused, None) {
            return;
        }
        let unreachable = self.farm.registrar.as_ref().filter(|_| is_for_agent);
        let reason = match unreachable {
            _ if was_cancelled => RejectReason::Cancelled,
            Some(service) => RejectReason::NotRegistered(service.not_registered),
            None => RejectReason::NoneAlive,
        };
        self.abandon(shard, slot, Cause::Refused, None);
        self.fail_call(shard, slot, reason);
    }

    /// The transport refused something for this address, a probe perhaps.
    pub fn note_refused(&mut self, target: Target) {
        if let Some(node) = self.farm.sources.node_at(target) {
            self.out.events.push(Event::Health { node, target, signal: Signal::Refused });
        }
    }

    /// The transport refused something for this address: every call that waits there for a first word is concerned.
    pub fn target_refused(&mut self, shard: &mut Shard, target: Target) {
        for slot in shard.trying_where(|lease| lease.way.target() == target) {
            self.refused(shard, slot);
        }
    }

    /// The try could not be sent at all.
    pub fn send_failed(&mut self, shard: &mut Shard, id: super::contract::TryId) {
        if let Some(slot) = shard.find(id.key)
            && shard.lease(slot).attempt == id.attempt
        {
            self.refused(shard, slot);
        }
    }

    /// Health checks found a node dead: whoever still waits there for an answer is taken to another one.
    pub fn node_down(&mut self, shard: &mut Shard, node: NodeId) {
        for slot in shard.trying_where(|lease| lease.node == node) {
            if !self.next_try(shard, slot, Cause::NodeDown, None) {
                // Nowhere to go: perhaps the verdict is wrong. The ring time-out ends the wait.
                shard.changed(slot);
            }
        }
    }

    /// The node said nothing for too long.
    pub(super) fn silent(&mut self, shard: &mut Shard, slot: Slot) {
        let now = self.now;
        let budget_end = {
            let Phase::Trying(invite) = &mut shard.lease_mut(slot).phase else { return };
            let was_cancelled = invite.cancelled.is_some();
            let Some(current) = invite.current() else { return };
            if current.state != TryState::Waiting {
                invite.silence_at = Moment::NEVER;
                return;
            }
            let (node, target) = (current.node, current.way.target());
            self.out.events.push(Event::Health { node, target, signal: Signal::CallSilent });
            if was_cancelled {
                self.abandon(shard, slot, Cause::Silence, None);
                return self.fail_call(shard, slot, RejectReason::Cancelled);
            }
            self.budget_end(invite)
        };
        if self.next_try(shard, slot, Cause::Silence, None) {
            return;
        }
        if now < budget_end {
            // Nobody else to ask: the node gets the rest of the time that the caller can be made to wait.
            if let Phase::Trying(invite) = &mut shard.lease_mut(slot).phase {
                invite.silence_at = budget_end;
            }
            return;
        }
        self.abandon(shard, slot, Cause::Silence, None);
        self.fail_call(shard, slot, RejectReason::NoResponse);
    }

    /// Ends an unanswered call with the edge's own final answer.
    pub(super) fn fail_call(&mut self, shard: &mut Shard, slot: Slot, reason: RejectReason) {
        let lease = shard.lease(slot);
        let Phase::Trying(invite) = &lease.phase else { return };
        let (told, cancelled) = (invite.told, invite.cancelled.is_some());
        let cause = match reason {
            RejectReason::RingTimeout => EndCause::RingTimeout,
            _ if cancelled => EndCause::Cancelled,
            _ => EndCause::Failed,
        };
        let answer = self.own_final(invite, reason);
        self.out.events.push(Event::Rejected(reason));
        self.end_call(shard, slot, cause, Some(reason.code()));
        if let Phase::Ended { own_answer, .. } = &mut shard.lease_mut(slot).phase {
            *own_answer = Some(reason.code());
        }
        let Some((bytes, way)) = answer else { return };
        if told > Told::Nothing && way.protocol().is_unreliable() {
            // This caller no longer repeats its INVITE, so the answer is repeated until its ACK (section 17.2.1).
            self.start_errand(shard, slot, ErrandKind::Final, bytes, way);
        } else {
            self.out.send(Destination::Way(way), None, |out| out.extend_from_slice(&bytes));
        }
    }

    /// Gives the place back and remembers the call until nothing about it can arrive any more.
    pub(super) fn end_call(&mut self, shard: &mut Shard, slot: Slot, cause: EndCause, code: Option<u16>) {
        let now = self.now;
        let lease = shard.lease_mut(slot);
        let talked = lease.answered().map(|answered| now.since(answered));
        let (key, node) = (lease.key, lease.node);
        let ended = Phase::Ended { late: None, own_answer: None };
        let late = match std::mem::replace(&mut lease.phase, ended) {
            Phase::Trying(invite) => Some(invite),
            Phase::Up { late, .. } | Phase::Ending { late, .. } | Phase::Ended { late, .. } => late,
        };
        lease.phase = Phase::Ended { late: late.filter(|invite| invite.has_loose_ends()), own_answer: None };
        lease.deadline = now + T64;
        lease.session = None;
        if let Some(seat) = lease.seat.take() {
            self.world.give_back(seat);
            self.out.events.push(Event::LeaseEnded { node, cause, talked });
            shard.history.note_end(key, End { cause, at: now, code });
        }
        shard.changed(slot);
        shard.save(slot);
    }
}

/// One try of an INVITE that the lease still keeps.
pub(super) fn one_try(shard: &Shard, slot: Slot, attempt: u8) -> Option<Try> {
    shard.lease(slot).phase.invite()?.try_at(attempt).copied()
}
