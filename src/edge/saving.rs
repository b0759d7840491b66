//! Leases to the store and back.

use std::time::Duration;

use crate::calls::lease::{Hold, Invite, Names, SessionTimer, Told, Try, TryState, Way};
use crate::calls::{CallKey, Lease, NodeId, Phase, PoolId, Seat};
use crate::dispatch::Farm;
use crate::moment::Moment;
use crate::store::SavedLease;
use crate::store::contract::SavedFlow;
use crate::transport::flow::{Flow, ListenerId, Protocol, Target};

use super::clock::Reading;

/// A lease as the store keeps it.
pub fn saved<'a>(lease: &'a Lease, farm: &'a Farm, clocks: Reading) -> SavedLease<'a> {
    let target = lease.way.target();
    SavedLease {
        call_id: lease.names.call_id(),
        caller: lease.names.caller(),
        called: lease.names.called(),
        node: farm.node(lease.node).map_or("", |node| &node.name),
        pool: farm.pool(lease.pool).map_or("", |pool| &pool.name),
        from: SavedFlow {
            listener: lease.caller.listener.0,
            is_tcp: lease.caller.protocol == Protocol::Tcp,
            remote: lease.caller.remote,
        },
        caller_tag: lease.caller_tag,
        agent: lease.agent.as_deref(),
        queue: lease.queue.as_deref(),
        is_held: lease.hold.is_held,
        node_listener: lease.way.listener().0,
        node_is_tcp: target.protocol == Protocol::Tcp,
        node_address: target.address,
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
    let deadline = clocks.moment_of(saved.deadline);
    let session = saved.session.map(|(interval, ends)| SessionTimer {
        interval: Duration::from_secs(u64::from(interval)),
        ends: clocks.moment_of(ends),
    });
    if deadline <= now || session.is_some_and(|timer| timer.ends <= now) {
        return None;
    }
    let protocol = |is_tcp| if is_tcp { Protocol::Tcp } else { Protocol::Udp };
    let target = Target { protocol: protocol(saved.node_is_tcp), address: saved.node_address };
    let way = Way::Target { listener: ListenerId(saved.node_listener), target };
    let caller = Flow {
        listener: ListenerId(saved.from.listener),
        protocol: protocol(saved.from.is_tcp),
        remote: saved.from.remote,
        connection: None,
    };
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
        errands: Vec::new(),
        scheduled: Moment::NEVER,
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
