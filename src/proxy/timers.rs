//! What has to be done about a call because time has passed.

use crate::calls::errand::T64;
use crate::calls::history::EndCause;
use crate::calls::lease::Cancelled;
use crate::calls::ledger::Slot;
use crate::calls::{Phase, Shard};

use super::contract::{Destination, Event, RejectReason, World};
use super::core::Core;

impl<W: World> Core<'_, W> {
    /// Deals with everything in a shard whose time has come.
    pub fn tick(&mut self, shard: &mut Shard) {
        let now = self.now;
        shard.each_due(now, |shard, slot| self.due(shard, slot));
    }

    fn due(&mut self, shard: &mut Shard, slot: Slot) {
        self.run_errands(shard, slot);
        let now = self.now;
        let lease = shard.lease(slot);
        let is_over_time = lease.deadline <= now;
        match &lease.phase {
            Phase::Trying(invite) => {
                let (silent, resend) = (invite.silence_at <= now, invite.resend.is_some_and(|r| r.at <= now));
                if is_over_time {
                    self.over_time(shard, slot);
                } else if silent {
                    self.silent(shard, slot);
                } else if resend {
                    self.resend_invite(shard, slot);
                }
            }
            Phase::Up { answered, late: Some(_) } if *answered + T64 <= now => {
                // Whoever had been given up has had its time to answer; the INVITE's bytes can go.
                let answered = *answered;
                shard.lease_mut(slot).phase = Phase::Up { answered, late: None };
            }
            Phase::Up { .. } if is_over_time => self.end_call(shard, slot, EndCause::MaxDuration, None),
            Phase::Up { .. } if lease.session.is_some_and(|session| session.ends <= now) => {
                self.end_call(shard, slot, EndCause::SessionTimer, None);
            }
            Phase::Ending { .. } if is_over_time => self.end_call(shard, slot, EndCause::ByeUnanswered, None),
            Phase::Ended { .. } if is_over_time => {
                shard.remove(slot);
            }
            Phase::Up { .. } | Phase::Ending { .. } | Phase::Ended { .. } => {}
        }
    }

    /// An INVITE has waited for its final answer as long as it may: it is taken back, and when that does not bring
    /// the final answer either, the edge gives its own (RFC 3261 section 16.8).
    fn over_time(&mut self, shard: &mut Shard, slot: Slot) {
        let Phase::Trying(invite) = &shard.lease(slot).phase else { return };
        match invite.cancelled {
            None => self.take_back(shard, slot, Cancelled::ByRingTimeout),
            Some(Cancelled::ByCaller) => self.fail_call(shard, slot, RejectReason::Cancelled),
            Some(Cancelled::ByRingTimeout) => self.fail_call(shard, slot, RejectReason::RingTimeout),
        }
    }

    /// Sends again what is due, and gives up what nobody answers.
    fn run_errands(&mut self, shard: &mut Shard, slot: Slot) {
        let now = self.now;
        let lease = shard.lease_mut(slot);
        if lease.errands.is_empty() {
            return;
        }
        lease.errands.retain(|errand| errand.until > now);
        for errand in lease.errands.iter_mut().filter(|errand| errand.next <= now) {
            errand.sent_again(now);
            self.out.send(Destination::Way(errand.way), None, |out| out.extend_from_slice(&errand.bytes));
            self.out.events.push(Event::Resent);
        }
    }
}
