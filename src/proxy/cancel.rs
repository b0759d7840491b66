//! CANCEL (RFC 3261 sections 9.2 and 16.10).
//!
//! With the INVITE's lease at hand the edge answers a CANCEL itself and sees to it that the node gets one, whichever node
//! that is by then. Without it, after a restart, the CANCEL is forwarded as it came.

use crate::calls::history::TryResult;
use crate::calls::lease::{Cancelled, TryState};
use crate::calls::ledger::Slot;
use crate::calls::{Phase, Shard};
use crate::sip::message::Message;

use super::branch::transaction;
use super::contract::{Destination, RejectReason, Side, World};
use super::core::{Core, Inbound};
use super::forward::Forwarding;
use super::route::Routing;

impl<W: World> Core<'_, W> {
    /// A CANCEL.
    pub(super) fn cancel(&mut self, inbound: Inbound<'_>, routing: &Routing<'_>) {
        let request = inbound.request;
        let Some(via) = request.via() else { return };
        let (key, world) = (inbound.key, self.world);
        let transaction = transaction(&self.farm.keys, request, key, via);
        world.claim(key);
        world.with_shard(key, |shard| {
            let slot = shard.find(key).filter(|slot| shard.lease(*slot).transaction == transaction);
            let Some(slot) = slot else {
                let reason =
                    if inbound.source.is_trusted() { RejectReason::NoSuchCall } else { RejectReason::Stranger };
                return self.reject(request, inbound.flow, inbound.source, reason);
            };
            let kept = shard.lease(slot).phase.invite().is_some_and(|invite| !invite.bytes.is_empty());
            if matches!(shard.lease(slot).phase, Phase::Trying(_)) && !kept {
                let lease = shard.lease(slot);
                let (way, attempt) = (lease.way, lease.attempt);
                let forwarding = Forwarding {
                    to: &Destination::Way(way),
                    side: Side::Node,
                    transaction,
                    attempt,
                    uri: None,
                    routes: b"",
                    record: None,
                    try_of: None,
                };
                self.forward(inbound, routing, forwarding);
                return;
            }
            self.answer(request, inbound.flow, inbound.source, 200, "OK", b"");
            self.take_back(shard, slot, Cancelled::ByCaller);
        });
    }

    /// Tells the node that nobody waits for its answer any more.
    pub(super) fn take_back(&mut self, shard: &mut Shard, slot: Slot, by: Cancelled) {
        let now = self.now;
        let lease = shard.lease_mut(slot);
        let (key, attempt) = (lease.key, lease.attempt);
        let Phase::Trying(invite) = &mut lease.phase else { return };
        if invite.cancelled.is_some() {
            return;
        }
        invite.cancelled = Some(by);
        let heard = invite.current().is_some_and(|current| current.state == TryState::Heard);
        lease.deadline = now + crate::calls::errand::T64;
        shard.history.note_try(key, attempt, TryResult::Cancelled, now);
        shard.changed(slot);
        if heard {
            self.send_cancel(shard, slot, attempt);
        }
    }
}
