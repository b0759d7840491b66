//! Leases and bindings to the store and back.

use std::time::Duration;

use crate::calls::errand::Errands;
use crate::calls::lease::{Hold, Invite, Names, SessionTimer, Told, Try, TryState, Way};
use crate::calls::{CallKey, Lease, NodeId, Phase, PoolId, Seat};
use crate::dispatch::Farm;
use crate::moment::{Moment, Reading};
use crate::registrar::Binding;
use crate::registrar::binding::Texts;
use crate::transport::flow::Flow;

use super::contract::{SavedBinding, SavedFlow, SavedLease};

/// A lease as the store keeps it.
pub fn saved<'a>(lease: &'a Lease, farm: &'a Farm, clocks: Reading) -> SavedLease<'a> {
    SavedLease {
        call_id: lease.names.call_id(),
        caller: lease.names.caller(),
        called: lease.names.called(),
        node: farm.node(lease.node).map_or("", |node| &node.name),
        pool: farm.pool(lease.pool).map_or("", |pool| &pool.name),
        from: lease.caller.into(),
        caller_tag: lease.caller_tag,
        agent: lease.agent.as_deref(),
        queue: lease.queue.as_deref(),
        is_held: lease.hold.is_held,
        to: SavedFlow::of(lease.way.listener(), lease.way.target()),
        attempt: lease.attempt,
        transaction: lease.transaction,
        opened: clocks.unix_millis(lease.opened),
        answered: lease.answered().map(|at| clocks.unix_millis(at)),
        deadline: clocks.unix_millis(lease.deadline),
        session: lease.session.map(|timer| (timer.interval.as_secs() as u32, clocks.unix_millis(timer.ends))),
    }
}

/// A lease from the store, with a place on its node. `None` when its time is over: then the place is not needed.
pub fn restored(
    key: CallKey,
    saved: &SavedLease<'_>,
    node: NodeId,
    pool: PoolId,
    clocks: Reading,
    take: impl FnOnce() -> Seat,
) -> Option<Lease> {
    let now = clocks.now;
    // Nothing was opened in the future: the time of day was set back since.
    let saved = &saved.clone().by_clock(saved.opened.saturating_sub(clocks.unix_millis) as i64);
    let deadline = clocks.moment_of(saved.deadline);
    let session = saved.session.map(|(interval, ends)| SessionTimer {
        interval: Duration::from_secs(u64::from(interval)),
        ends: clocks.moment_of(ends),
    });
    if deadline <= now || session.is_some_and(|timer| timer.ends <= now) {
        return None;
    }
    let way = Way::Target { listener: saved.to.listener(), target: saved.to.target() };
    let caller = saved.from.flow();
    let opened = clocks.moment_of(saved.opened);
    let phase = match saved.answered {
        Some(answered) => Phase::Up { answered: clocks.moment_of(answered), late: None },
        None => Phase::Trying(Box::new(lost_invite(caller, node, way, saved.attempt, opened))),
    };
    Some(Lease {
        key,
        names: Names::new(saved.call_id, saved.caller, saved.called),
        caller,
        caller_tag: saved.caller_tag,
        agent: saved.agent.map(Box::from),
        queue: saved.queue.map(Box::from),
        hold: Hold { is_held: saved.is_held, asked: None },
        node,
        pool,
        way,
        attempt: saved.attempt,
        transaction: saved.transaction,
        seat: Some(take()),
        phase,
        opened,
        deadline,
        session,
        errands: Errands::default(),
    })
}

/// An INVITE whose octets did not survive: it can be answered by its node, but not offered to another.
fn lost_invite(flow: Flow, node: NodeId, way: Way, attempt: u8, started: Moment) -> Invite {
    let one = Try { node, way, started, state: TryState::Heard };
    Invite {
        bytes: Box::default(),
        flow,
        started,
        tries: vec![one],
        forgotten: attempt,
        told: Told::Trying,
        ran: None,
        cancelled: None,
        silence_at: Moment::NEVER,
        resend: None,
        sticky: None,
        contacts: Box::default(),
    }
}

/// A binding as the store keeps it.
pub fn saved_binding(binding: &Binding, clocks: Reading) -> SavedBinding<'_> {
    SavedBinding {
        contact: binding.contact(),
        flow: binding.flow.into(),
        preference: binding.preference,
        expires: clocks.unix_millis(binding.expires),
        updated: clocks.unix_millis(binding.updated),
        call_id: binding.call_id,
        cseq: binding.cseq,
        instance: binding.instance(),
        reg_id: binding.reg_id,
        path: binding.path(),
    }
}

/// A binding from the store.
pub fn restored_binding(saved: &SavedBinding<'_>, clocks: Reading) -> Binding {
    // The same for what was refreshed in the future.
    let saved = saved.clone().by_clock(saved.updated.saturating_sub(clocks.unix_millis) as i64);
    Binding {
        texts: Texts::new(saved.contact, saved.instance, saved.path),
        flow: saved.flow.flow(),
        preference: saved.preference,
        expires: clocks.moment_of(saved.expires),
        updated: clocks.moment_of(saved.updated),
        call_id: saved.call_id,
        cseq: saved.cseq,
        reg_id: saved.reg_id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binding_lasts_as_long_as_it_was_granted_when_the_time_of_day_was_set_back() {
        let flow = SavedFlow { listener: 1, is_tcp: false, remote: "192.0.2.7:5060".parse().unwrap() };
        let texts: (&[u8], &[u8]) = (b"sip:a@x", b"");
        let saved = SavedBinding {
            contact: texts.0,
            flow,
            preference: 1_000,
            expires: 4_000_000,
            updated: 3_700_000,
            call_id: 1,
            cseq: 1,
            instance: None,
            reg_id: 0,
            path: texts.1,
        };
        let now = Moment::from_micros(9_000_000_000);
        let restored = restored_binding(&saved, Reading { now, unix_millis: 100_000 });
        assert_eq!((restored.updated, restored.expires), (now, now + Duration::from_secs(300)));
        let later = restored_binding(&saved, Reading { now, unix_millis: 3_800_000 });
        assert_eq!(later.expires, now + Duration::from_secs(200));
    }
}
