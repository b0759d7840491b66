//! What must always hold, looked at from outside: at every message that the edge receives and sends, at every event that
//! it reports, once a second, and at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use cordboard::calls::NodeId;
use cordboard::calls::lease::Lease;
use cordboard::dispatch::node::Admin;
use cordboard::moment::Moment;
use cordboard::proxy::Event;
use cordboard::proxy::contract::RejectReason;

use crate::client::T64;
use crate::context::{Context, Who};
use crate::edge::{Configured, Disk, Edge, Process};
use crate::faults::Trouble;
use crate::gateway::node_of_tag;
use crate::message::Message;
use crate::record::{By, Ending, Heard, Offer, Outcome, Record};
use crate::settings::{MAX_DURATION, RING_TIMEOUT};

/// A fault may be blamed for what happens so long after it: a flapping node waits two minutes until it is believed again.
const AFTERMATH: Duration = Duration::from_secs(150);

/// The longest that a session timer keeps a call: its interval and half a minute.
const SESSION: Duration = Duration::from_secs(90 + 32);

/// Nodes that one call is offered to, as the configuration has it by default.
const TRIES_MAX: usize = 3;

/// A message reaches the edge: what it learns from it.
pub fn arriving(ctx: &mut Context, from: Who, bytes: &[u8]) {
    ctx.tally.received += 1;
    let Some(message) = Message::read(bytes) else { return };
    let Some(call) = message.call() else { return };
    let record = &mut ctx.records[call as usize];
    record.received += 1;
    let (Who::Node(node), Some(code), (1, "INVITE")) = (from, message.code(), message.cseq) else { return };
    let heard = match code {
        100 => Heard::Trying,
        101..200 => Heard::Progress,
        200..300 => Heard::Answered,
        503 if message.reason.is_none_or(|reason| reason.contains("cause=42")) => Heard::NotStarted,
        _ => Heard::Refused,
    };
    for offer in record.offers.iter_mut().filter(|offer| offer.node == node) {
        offer.heard = offer.heard.max(heard);
    }
}

/// A message leaves the edge.
pub fn leaving(ctx: &mut Context, process: &Process, to: Who, bytes: &[u8]) {
    ctx.tally.sent += 1;
    ctx.trace.mix(ctx.now, bytes);
    let Some(message) = Message::read(bytes) else {
        return ctx.violate(None, format!("sent what is no message: {}", bytes.escape_ascii()));
    };
    let Some(call) = message.call() else { return };
    ctx.records[call as usize].sent += 1;
    no_storm(ctx, call);
    match (to, message.code()) {
        (Who::Edge, _) => ctx.violate(Some(call), "sent to itself"),
        (Who::Gateway(number), _) if number != ctx.records[call as usize].plan.gateway => {
            ctx.violate(Some(call), format!("{} goes to gateway {number}, which has no such call", message.start));
        }
        (Who::Gateway(_), _) => {}
        (Who::Node(node), Some(_)) => {
            if message.sender_tag().and_then(node_of_tag).is_none_or(|(owner, _)| owner != node) {
                ctx.violate(Some(call), format!("{} goes to node {node}, which asked nothing", message.start));
            }
        }
        (Who::Node(node), None) => to_node(ctx, process, call, node, &message),
    }
}

/// Requests: inside a dialog only to the node that has it, and a new call never to a second node once it ran on one.
fn to_node(ctx: &mut Context, process: &Process, call: u32, node: u8, message: &Message<'_>) {
    let record = &ctx.records[call as usize];
    if let Some(tag) = message.to_tag() {
        // The ACK to a failure has the INVITE's Request-URI and no Route. Over a restart the edge forgets calls that have failed, and can only go by the
        // Call-ID of what it finds later.
        let is_hop_by_hop = message.start.starts_with("ACK sip:100@");
        let is_forgotten = is_hop_by_hop && ctx.restarts.iter().any(|at| *at >= record.started);
        if node_of_tag(tag).is_none_or(|(owner, _)| owner != node) && !is_forgotten {
            ctx.violate(Some(call), format!("{} with tag {tag} goes to node {node}", message.start));
        }
        return;
    }
    let is_known = record.offers.iter().any(|offer| offer.node == node);
    if message.method() != "INVITE" {
        if !is_known {
            ctx.violate(Some(call), format!("{} goes to node {node}, which was never asked", message.start));
        }
        return;
    }
    if record.offers.last().is_some_and(|offer| offer.node == node) {
        return;
    }
    let runs = |offer: &&Offer| offer.heard == Heard::Progress && !process.finds_down(offer.node);
    // What a node says that had been given up does not count, unless it answers.
    let refused = record.offers.last().filter(|offer| offer.heard == Heard::Refused && !process.finds_down(offer.node));
    let ended = refused.or(record.offers.iter().find(|offer| offer.heard == Heard::Answered));
    let running = record.offers.last().filter(runs).copied();
    let has_restarted = ctx.restarts.iter().any(|at| *at >= record.started);
    if let Some(offer) = running.filter(|_| !has_forgotten(ctx, record)) {
        ctx.violate(Some(call), format!("node {node} is asked, while node {} rings", offer.node));
    } else if let Some(offer) = ended.filter(|_| !has_restarted).copied() {
        // Calls that have ended are not kept over a restart.
        ctx.violate(Some(call), format!("node {node} is asked, after node {} said {:?}", offer.node, offer.heard));
    } else if is_known && !has_restarted {
        ctx.violate(Some(call), format!("node {node} is asked again after others"));
    }
    ctx.records[call as usize].offers.push(Offer { node, heard: Heard::Nothing });
}

/// True when an edge that started since the call began may not know it: what it wrote was lost with the power, or the
/// clock was set so far that the call's time seemed to be over.
fn has_forgotten(ctx: &Context, record: &Record) -> bool {
    let since = |list: &[Moment]| list.iter().any(|at| *at >= record.started);
    since(&ctx.amnesia) || (since(&ctx.restarts) && !ctx.grace.is_zero())
}

/// Messages are bounded by what came in and by the timers that RFC 3261 gives each try.
fn no_storm(ctx: &mut Context, call: u32) {
    let record = &ctx.records[call as usize];
    let bound = 3 * record.received + 40 * (1 + record.offers.len() as u32);
    if record.sent > bound {
        let (sent, received) = (record.sent, record.received);
        ctx.violate(Some(call), format!("a storm: {sent} messages sent for {received} received"));
    }
}

/// What the edge says of itself.
pub fn reported(ctx: &mut Context, process: &Process, events: &[Event], configured: &[Configured], disk: &Disk) {
    for event in events {
        match *event {
            Event::CallLeased { node, .. } => leased(ctx, process, node, configured, disk),
            Event::Rejected(reason) => {
                *ctx.tally.refused.entry(reason.as_str()).or_default() += 1;
                refused(ctx, process, reason, configured, disk);
            }
            Event::TryAbandoned { cause, .. } => *ctx.tally.failovers.entry(cause.as_str()).or_default() += 1,
            Event::LateAnswer { .. } => ctx.tally.late_answers += 1,
            Event::CallAdopted(_) => ctx.tally.adopted += 1,
            Event::LeaseEnded { cause, .. } => *ctx.tally.ends.entry(cause.as_str()).or_default() += 1,
            Event::Resent => ctx.tally.resent += 1,
            _ => {}
        }
    }
}

/// A new call: its node is configured and enabled, and has no more calls than it may.
fn leased(ctx: &mut Context, process: &Process, id: NodeId, configured: &[Configured], disk: &Disk) {
    ctx.tally.leases += 1;
    let Some(number) = process.number_of(id) else { return ctx.violate(None, format!("{id:?} is no node")) };
    let Some(plan) = configured.iter().find(|node| node.number == number) else {
        return ctx.violate(None, format!("a new call for node {number}, which is not configured"));
    };
    let admin = disk.admin.get(&format!("ast-{number}")).copied().unwrap_or_default();
    if admin != Admin::Enabled {
        ctx.violate(None, format!("a new call for node {number}, which is {}", admin.as_str()));
    }
    let leases = process.view(id).map_or(0, |view| view.leases);
    if plan.max_calls.is_some_and(|max| leases > max) {
        ctx.violate(None, format!("node {number} has {leases} calls and may have {:?}", plan.max_calls));
    }
}

/// "No node" is said only when no node is known to be well and has room.
fn refused(ctx: &mut Context, process: &Process, reason: RejectReason, configured: &[Configured], disk: &Disk) {
    let manners = ctx.settings.manners;
    let says_no = manners.stopping + manners.full + manners.faulty + manners.breaking_off > 0;
    if !matches!(reason, RejectReason::Full | RejectReason::NoneAlive) || says_no || ctx.settings.weather.loss > 0 {
        return;
    }
    // A call that has been offered to as many nodes as `max_tries` allows is refused whatever the others are like.
    if ctx.records.iter().any(|record| record.outcome == Outcome::Pending && record.offers.len() >= TRIES_MAX) {
        return;
    }
    let is_well = |node: &&Configured| {
        let admin = disk.admin.get(&format!("ast-{}", node.number)).copied().unwrap_or_default();
        let leases = process.id_of(node.number).and_then(|id| process.view(id)).map_or(0, |view| view.leases);
        admin == Admin::Enabled
            && node.max_calls.is_none_or(|max| leases < max)
            && !ctx.troubles.iter().any(|t| t.node == Some(node.number) && t.until + AFTERMATH >= ctx.now)
    };
    if let Some(well) = configured.iter().find(is_well) {
        let what = format!("{} although node {} is well: {:?}", reason.as_str(), well.number, process.barred());
        ctx.violate(None, what);
    }
}

/// Once a second: the counts are the leases, and every lease has a call, or had one until lately.
pub fn once_a_second(ctx: &mut Context, edge: &Edge) {
    let Some(process) = &edge.process else { return };
    let mut seats: BTreeMap<NodeId, u32> = BTreeMap::new();
    let (mut stale, now) = (Vec::new(), ctx.now);
    for record in &mut ctx.records {
        record.lease_on = None;
    }
    let past = Past { troubles: &ctx.troubles, restarts: &ctx.restarts, grace: ctx.grace };
    process.each_shard(|shard| {
        shard.check_invariants();
        for lease in shard.iter().filter(|lease| lease.is_open()) {
            *seats.entry(lease.node).or_default() += 1;
            let Some(call) = call_of(lease) else { continue };
            let record = &mut ctx.records[call as usize];
            record.lease_on = process.number_of(lease.node);
            if record.over_since().is_some_and(|over| over + bound(record, over, &past) < now) {
                stale.push((call, lease.phase.as_str()));
            }
        }
    });
    process.with_board(cordboard::dispatch::Board::check_invariants);
    for id in process.ids() {
        let (counted, leases) = (process.view(id).map_or(0, |view| view.leases), seats.get(&id).copied().unwrap_or(0));
        if counted != leases {
            ctx.violate(None, format!("the board counts {counted} calls on {id:?}, and there are {leases} leases"));
        }
    }
    if let Some((call, phase)) = stale.first() {
        ctx.violate(Some(*call), format!("the call has long been over and its lease is {phase}"));
    }
    every_call_has_a_lease(ctx);
}

/// A call that is up at both ends has a lease, on its node, unless something that is named took it away.
fn every_call_has_a_lease(ctx: &mut Context) {
    let now = ctx.now;
    let mut wrong = None;
    for (call, record) in ctx.records.iter_mut().enumerate() {
        let up_on = record.up_on.filter(|node| record.caller_over.is_none() && record.on_nodes.contains(node));
        let Some(node) = up_on.filter(|node| record.lease_on != Some(*node)) else {
            record.without_lease = None;
            continue;
        };
        let since = *record.without_lease.get_or_insert(now);
        let may_be_forgotten = ctx.amnesia.iter().any(|at| *at >= record.started) || !ctx.grace.is_zero();
        // A session that nobody refreshed in time, and a node that was taken for dead.
        let is_young = record.up_since.is_some_and(|up| now.since(up) < SESSION);
        let touches = |t: &Trouble| t.node == Some(node) && t.until + AFTERMATH >= record.started && t.from <= now;
        let is_suspect = ctx.troubles.iter().any(touches);
        if is_young && !may_be_forgotten && !is_suspect && now.since(since) > Duration::from_secs(2) {
            wrong.get_or_insert((call as u32, node, record.lease_on));
        }
    }
    if let Some((call, node, lease)) = wrong {
        ctx.violate(Some(call), format!("the call is up at both ends on node {node}, its lease is on {lease:?}"));
    }
}

fn call_of(lease: &Lease) -> Option<u32> {
    let text = std::str::from_utf8(lease.names.call_id()).ok()?;
    text.strip_prefix('c')?.split('@').next()?.parse().ok()
}

/// How long after the end of a call its lease may stay.
fn bound(record: &Record, over: Moment, past: &Past<'_>) -> Duration {
    let has_restarted = past.restarts.iter().any(|at| *at >= record.started);
    let longest = MAX_DURATION.max(RING_TIMEOUT + T64) + T64 * 3 + past.grace;
    if has_restarted {
        return longest;
    }
    if record.ending == Some(Ending::Clean) {
        // BYE has passed the edge: its answer has too, or is waited for no longer.
        return T64 + Duration::from_secs(2);
    }
    let touches = |t: &&Trouble| {
        let is_asked = |node| record.offers.iter().any(|offer| offer.node == node);
        t.from <= over && t.until + AFTERMATH >= record.started && t.node.is_none_or(is_asked)
    };
    if past.troubles.iter().any(|t| touches(&t)) {
        return longest;
    }
    match (record.outcome, record.has_session) {
        (_, true) => SESSION + T64 * 2,
        _ if record.plan.vanishes.is_some() || record.ending.is_some() => longest,
        // It was never up.
        _ => RING_TIMEOUT + T64 * 2,
    }
}

/// What has happened to the farm until now.
struct Past<'a> {
    troubles: &'a [Trouble],
    restarts: &'a [Moment],
    grace: Duration,
}

/// At the end nothing is left, and every call that failed has a reason with a name.
pub fn at_the_end(ctx: &mut Context, edge: &Edge) {
    if let Some(process) = &edge.process {
        let mut left = 0;
        process.each_shard(|shard| left += shard.len());
        let counted: u32 = process.ids().filter_map(|id| process.view(id)).map(|view| view.leases).sum();
        if left > 0 || counted > 0 {
            ctx.violate(None, format!("{left} leases and {counted} places are left at the end"));
        }
    }
    let errands_and_retries = 3 * ctx.tally.received + ctx.tally.resent + 10 * u64::from(ctx.settings.calls);
    if ctx.tally.sent > errands_and_retries {
        ctx.violate(None, format!("{} messages sent for {} received", ctx.tally.sent, ctx.tally.received));
    }
    for call in 0..ctx.records.len() {
        let record = &ctx.records[call];
        *ctx.tally.outcomes.entry(word(record)).or_default() += 1;
        match blame(ctx, record) {
            Blame::Nobody => {}
            Blame::On(name) => *ctx.tally.excuses.entry(name).or_default() += 1,
            Blame::Edge => {
                let what = format!("{} for no reason: {:?}, {:?}", word(record), record.outcome, record.ending);
                ctx.violate(Some(call as u32), what);
            }
        }
    }
}

fn word(record: &Record) -> String {
    match (record.outcome, record.ending) {
        (Outcome::Pending, _) => "nothing".to_owned(),
        (Outcome::Answered, Some(Ending::Clean)) => "answered".to_owned(),
        (Outcome::Answered, None) => "answered, then vanished".to_owned(),
        (Outcome::Answered, Some(Ending::Code(code))) => format!("answered, BYE {code}"),
        (Outcome::Answered, Some(Ending::Unanswered)) => "answered, BYE unanswered".to_owned(),
        (Outcome::Refused(code, By::Edge), _) => format!("{code} by the edge"),
        (Outcome::Refused(code, By::Node), _) => format!("{code}"),
        (Outcome::TimedOut, _) => "no answer".to_owned(),
        (Outcome::GaveUp, _) => "cancelled".to_owned(),
        (Outcome::Vanished, _) => "vanished".to_owned(),
    }
}

enum Blame {
    /// Nothing went wrong.
    Nobody,
    On(&'static str),
    Edge,
}

/// Why a call went wrong, if it did.
fn blame(ctx: &Context, record: &Record) -> Blame {
    let (manners, weather) = (ctx.settings.manners, ctx.settings.weather);
    let by_node = match record.outcome {
        Outcome::Answered if matches!(record.ending, None | Some(Ending::Clean)) => return Blame::Nobody,
        Outcome::GaveUp | Outcome::Vanished => return Blame::Nobody,
        Outcome::Refused(486, By::Node) if manners.busy > 0 => Some("node: busy"),
        Outcome::Refused(500, By::Node) if manners.congested + manners.faulty + manners.breaking_off > 0 => {
            Some("node: 5xx")
        }
        Outcome::Refused(500, By::Node) if manners.stopping + manners.full > 0 => Some("node: 503"),
        Outcome::Refused(487 | 480, By::Node) if manners.rings_on > 0 => Some("node: rings on"),
        _ => None,
    };
    let until = record.caller_over.unwrap_or(ctx.now);
    let by_trouble = || {
        let at_that_time = |t: &&Trouble| t.from <= until && t.until + AFTERMATH >= record.started;
        ctx.troubles.iter().filter(at_that_time).find(|t| explains(t, record)).map(|trouble| trouble.what)
    };
    let by_bounds = || match record.outcome {
        Outcome::Refused(503, By::Edge) if ctx.settings.max_calls.is_some() => Some("farm full"),
        Outcome::Refused(503, By::Edge) if manners.stopping + manners.full + manners.breaking_off > 0 => {
            Some("node: 503")
        }
        _ => None,
    };
    if let Some(name) = by_node.or_else(by_trouble).or_else(by_bounds) {
        return Blame::On(name);
    }
    // A call survives the loss of one datagram in twenty; more than that may use up its time.
    if weather.loss > 50 { Blame::On("loss") } else { Blame::Edge }
}

/// True when this trouble can have made the call end as it did.
fn explains(trouble: &Trouble, record: &Record) -> bool {
    let (is_up, no_node) = (record.outcome == Outcome::Answered, record.outcome == Outcome::Refused(503, By::Edge));
    match (trouble.what, trouble.node) {
        // Everything that was written lately is gone.
        ("power cut", _) => true,
        // Calls that are up survive it; of those that are not, none can be offered to another node.
        ("edge killed", _) => !is_up && !no_node && record.started <= trouble.until,
        // Less nodes, or less room on them.
        ("reload" | "operator's word", _) => no_node,
        (_, Some(node)) if is_up => record.up_on == Some(node),
        (_, Some(node)) => no_node || record.offers.iter().any(|offer| offer.node == node),
        (_, None) => true,
    }
}

/// The moment after which a run that is not over has hung.
pub fn hopeless_at(last_start: Moment, grace: Duration) -> Moment {
    last_start + MAX_DURATION * 2 + Duration::from_secs(300) + grace
}
