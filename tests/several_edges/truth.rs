//! What must hold, looked at from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cordboard::calls::CallKey;
use cordboard::cluster::Others;
use cordboard::config::checked::AGENTS;
use cordboard::dispatch::node::Admin;
use cordboard::moment::Moment;
use cordboard::registrar::Aor;

use crate::calls::{Call, End, server_of};
use crate::edge::Process;
use crate::faults::Fault;
use crate::message::Message;
use crate::net::{Net, Who};
use crate::settings::Settings;
use crate::sim::Sim;

/// How long edges may need after Redis is back until they ask it again and have told each other everything.
const SETTLED: Duration = Duration::from_secs(5);
/// What an edge did within this time before it was killed may be known to nobody else.
const UNTOLD: Duration = Duration::from_millis(60);
/// When places that belong to no call have been found at the latest: they are looked at every 30 s, and each twice.
const SWEPT: Duration = Duration::from_secs(100);
/// How long an edge lets a call ring, and what it waits for after that.
const RINGS_AT_MOST: Duration = Duration::from_secs(100);
/// And within this time before its machine lost its power.
const LOST: Duration = Duration::from_millis(1_100);
/// What it answered may be on its way for so long.
const ON_ITS_WAY: Duration = Duration::from_millis(500);

/// The truth, and what was found against it.
pub struct Truth {
    /// When some edge did not reach a Redis that knew everything.
    troubles: Vec<(Moment, Moment)>,
    open: BTreeMap<String, Moment>,
    /// When an edge was killed, and whether it lost what it wrote last.
    kills: Vec<(Moment, bool)>,
    /// When an edge was dead or cut off, from when to when.
    outages: Vec<(Moment, Moment)>,
    dead: BTreeMap<u8, Moment>,
    cut: BTreeMap<u8, Moment>,
    /// When the store lost everything.
    emptied: Vec<Moment>,
    pub violations: Vec<String>,
    pub tally: Tally,
    is_lossy: bool,
}

/// What was played.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub runs: u32,
    pub calls: usize,
    pub answered: usize,
    pub refused_agents: usize,
    pub compared: usize,
    pub moved: usize,
    pub excused: usize,
    pub unanswered: usize,
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        self.runs += other.runs;
        self.calls += other.calls;
        self.answered += other.answered;
        self.refused_agents += other.refused_agents;
        self.compared += other.compared;
        self.moved += other.moved;
        self.excused += other.excused;
        self.unanswered += other.unanswered;
    }
}

impl Truth {
    pub fn new(settings: &Settings) -> Self {
        Truth {
            troubles: Vec::new(),
            open: BTreeMap::new(),
            kills: Vec::new(),
            outages: Vec::new(),
            dead: BTreeMap::new(),
            cut: BTreeMap::new(),
            emptied: Vec::new(),
            violations: Vec::new(),
            tally: Tally { runs: 1, ..Tally::default() },
            is_lossy: settings.loss > 0,
        }
    }

    fn violate(&mut self, net: &mut Net, what: String) {
        net.line(|| format!("VIOLATION: {what}"));
        self.violations.push(format!("at {:.3} s: {what}", net.now().micros() as f64 / 1e6));
    }

    /// Notes when edges did not reach Redis, and when one was killed.
    pub fn fault(&mut self, fault: Fault, now: Moment) {
        let (begins, ends) = match fault {
            Fault::Cut(edge) => (Some(format!("cut {edge}")), None),
            Fault::Mend(edge) => (None, Some(format!("cut {edge}"))),
            Fault::RedisDies => (Some("dead".to_owned()), None),
            Fault::RedisStarts { .. } => (None, Some("dead".to_owned())),
            Fault::Hang => (Some("hangs".to_owned()), None),
            Fault::GoOn => (None, Some("hangs".to_owned())),
            Fault::Flush => (Some("flushed".to_owned()), Some("flushed".to_owned())),
            Fault::Kill { power_cut, edge, .. } => {
                self.kills.push((now, power_cut));
                self.dead.entry(edge).or_insert(now);
                (None, None)
            }
            _ => (None, None),
        };
        match fault {
            Fault::Start(edge) => self.outages.extend(self.dead.remove(&edge).map(|from| (from, now))),
            Fault::Cut(edge) => _ = self.cut.entry(edge).or_insert(now),
            Fault::Mend(edge) => self.outages.extend(self.cut.remove(&edge).map(|from| (from, now))),
            _ => {}
        }
        if matches!(fault, Fault::RedisDies | Fault::RedisStarts { .. } | Fault::Flush) {
            self.emptied.push(now);
        }
        if let Some(name) = begins {
            self.open.entry(name).or_insert(now);
        }
        if let Some(began) = ends.and_then(|name| self.open.remove(&name)) {
            self.troubles.push((began, now + SETTLED));
        }
    }

    /// Whether some edge did not reach Redis at some time between two.
    fn trouble(&self, from: Moment, to: Moment) -> bool {
        let is_open = self.open.values().any(|began| *began <= to);
        is_open || self.troubles.iter().any(|(began, ended)| *began <= to && from <= *ended)
    }

    /// Whether a call changed while an edge was dead or cut off, and the log that would have told it so was lost with the store: it knows an
    /// old state of the call, and nobody can tell it better.
    fn is_forgotten(&self, call: &Call, (from, to): &(Moment, Moment)) -> bool {
        let is_emptied = self.emptied.iter().any(|at| at.before(SETTLED) <= *to && *from <= *at + SETTLED);
        is_emptied && call.begun <= *to && *from <= call.changed()
    }

    /// Until when the trouble lasts that there is at a moment.
    fn trouble_at(&self, at: Moment) -> Option<Moment> {
        let open = self.open.values().any(|began| *began <= at).then_some(Moment::NEVER);
        let ended = self.troubles.iter().filter(|(began, ended)| *began <= at && at <= *ended).map(|(_, ended)| *ended);
        open.into_iter().chain(ended).max()
    }

    /// Whether what became of a call may be known to nobody: its edge was killed before it could tell.
    fn is_excused(&self, call: &Call) -> bool {
        let legs = || std::iter::once(&call.client).chain(call.servers.values()).map(|leg| leg.since);
        let times = || legs().chain([call.begun]);
        let is_near = |(kill, power_cut): (Moment, bool)| {
            times().any(|since| {
                let told_later =
                    self.trouble_at(since).filter(|until| *until < Moment::NEVER).map(|until| until.since(since));
                let untold = told_later.unwrap_or_default().max(if power_cut { LOST } else { UNTOLD });
                since <= kill + ON_ITS_WAY && kill <= since + untold
            })
        };
        self.kills.iter().any(|kill| is_near(*kill))
            || self.outages.iter().any(|outage| self.is_forgotten(call, outage))
    }

    /// A message arrives at somebody who calls or is called.
    pub fn arrives(&mut self, call: &Call, from: Who, to: Who, message: &Message<'_>, net: &mut Net) {
        if message.code().is_some() || to == call.caller {
            return;
        }
        // Nobody calls gateways here: an edge took an agent for a number outside. One that is cut off may not know him.
        if matches!(to, Who::Gateway(_)) {
            if !self.trouble(call.begun, net.now()) {
                self.violate(net, format!("{}: {} comes to {to}", call.call_id, message.method()));
            }
            return;
        }
        match message.to_tag().and_then(server_of) {
            // (1) Whatever belongs to a call that somebody answered goes to him.
            Some(who) if who != to => {
                self.violate(net, format!("{}: {} of {who}'s dialog comes to {to}", call.call_id, message.method()));
            }
            Some(_) => {}
            None if message.method() == "INVITE" && !call.servers.contains_key(&to) => self.rings(call, from, to, net),
            None => {}
        }
    }

    /// (1) An INVITE goes to nobody else once one has answered and the caller knows it.
    fn rings(&mut self, call: &Call, from: Who, to: Who, net: &mut Net) {
        let other = call.answered_by.filter(|other| *other != to);
        if let Some(other) = other.filter(|_| !self.trouble(call.begun, net.now()) && !self.is_lossy) {
            self.violate(net, format!("{}: {to} is called by {from} although {other} has answered", call.call_id));
        }
    }

    /// (2) No agent is rung by two queues at once, as long as all edges reached Redis since the first of the calls began.
    pub fn look(&mut self, calls: &[Call], id: usize, net: &mut Net) {
        let call = &calls[id];
        let Some(agent) = call.agent else { return };
        let phone = Who::Phone(agent);
        let at_phone = |call: &Call| call.servers.get(&phone).filter(|leg| leg.end != End::Over).map(|leg| leg.since);
        let Some(since) = at_phone(call).filter(|since| *since == net.now()) else { return };
        for other in calls.iter().filter(|other| other.id != id && other.agent == Some(agent)) {
            if at_phone(other).is_some_and(|began| began <= since && other.begun <= since)
                && !self.trouble(call.begun.min(other.begun), net.now())
                // What a machine took with it that lost its power, nobody can know.
                && !self.is_excused(other)
            {
                self.violate(net, format!("{phone} is rung by {} while it has {}", call.call_id, other.call_id));
            }
        }
    }
}

/// What one edge knows: calls that it has, and calls that it believes others have.
fn known(process: &Process) -> (BTreeSet<CallKey>, BTreeSet<CallKey>) {
    let peers = process.with_peers(|peers| peers.iter().map(|(key, _)| key).collect());
    (process.own_calls().into_iter().collect(), peers)
}

impl Sim {
    fn say(&mut self, what: String) {
        self.truth.violate(&mut self.net, what);
    }

    fn is_known(&self, key: CallKey) -> bool {
        self.edges.iter().filter_map(|edge| edge.process.as_ref()).any(|process| {
            let (own, peers) = known(process);
            own.contains(&key) || peers.contains(&key)
        })
    }

    fn name_of(&self, key: CallKey) -> String {
        let call = self.calls.iter().find(|call| self.key_of(call) == key);
        call.map_or_else(
            || format!("{key:?}"),
            |call| {
                format!(
                    "{} ({:?}, {:?} s ago)",
                    call.call_id,
                    call.up_at(),
                    self.net.now().since(call.changed()).as_secs()
                )
            },
        )
    }

    /// (4) All edges and Redis know exactly the calls that are up, and count them right. Nothing has happened for `quiet`.
    pub fn compare(&mut self, quiet: Duration) {
        let now = self.net.now();
        let (mut must, mut may) = (BTreeSet::new(), BTreeSet::new());
        for call in &self.calls {
            let (key, is_excused) = (self.key_of(call), self.truth.is_excused(call));
            let is_quiet = now.since(call.changed()) > quiet;
            if call.up_at().is_some() && is_quiet && !is_excused {
                must.insert(key);
            }
            let is_over = call.over_since().is_some_and(|since| now.since(since) > quiet);
            // What a killed edge or a lost message left half done is given up when it has rung for long enough.
            let is_half_done = !self.truth.kills.is_empty() || self.truth.is_lossy;
            let may_ring = is_half_done && now.since(call.changed()) < RINGS_AT_MOST;
            if !is_over || is_excused || may_ring {
                may.insert(key);
            }
        }
        let mut wrong = Vec::new();
        let seats: BTreeSet<CallKey> = self.redis.places().into_iter().map(CallKey).collect();
        let check = |who: &str, has: &BTreeSet<CallKey>| {
            let lost = must.difference(has).map(|key| format!("{who} does not know {}", self.name_of(*key)));
            let left = has.difference(&may).map(|key| format!("{who} still knows {}", self.name_of(*key)));
            lost.chain(left).collect::<Vec<String>>()
        };
        // A question that Redis answered too late left a place behind, until it is looked for.
        let is_swept = self.truth.troubles.iter().all(|(_, ended)| now.since(*ended) > SWEPT);
        let of_calls = |key: &&CallKey| is_swept || may.contains(key) || self.is_known(**key);
        wrong.extend(check("Redis", &seats.iter().filter(of_calls).copied().collect()));
        for process in self.edges.iter().filter_map(|edge| edge.process.as_ref()) {
            let (own, peers) = known(process);
            wrong.extend(check(
                &format!("{} with {} own", process.name, own.len()),
                &own.union(&peers).copied().collect(),
            ));
            if let Some(key) = own.intersection(&peers).next() {
                let name = self.name_of(*key);
                wrong.push(format!("{} has {name} itself and believes that another has it", process.name));
            }
            wrong.extend(counts(process));
        }
        wrong.extend(self.totals());
        self.truth.tally.compared += must.len();
        wrong.into_iter().for_each(|what| self.say(what));
    }

    /// Redis' sums are those of its places.
    fn totals(&self) -> Vec<String> {
        let mut sums: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
        for seat in self.redis.hash("seats").values() {
            let node = seat.split(|octet| *octet == b'\t').nth(1).unwrap_or_default().to_vec();
            *sums.entry(node).or_default() += 1;
        }
        let totals = self.redis.hash("totals");
        let totals: BTreeMap<Vec<u8>, i64> = totals
            .iter()
            .map(|(node, count)| (node.clone(), String::from_utf8_lossy(count).parse().unwrap_or(-1)))
            .collect();
        (sums != totals).then(|| format!("Redis counts {totals:?}, its places are {sums:?}")).into_iter().collect()
    }

    /// (3) and (5): phones are known at all edges, and operators' words hold at all of them.
    pub fn look_at_the_rest(&mut self) {
        let (now, mut wrong) = (self.net.now(), Vec::new());
        for process in self.edges.iter().filter_map(|edge| edge.process.as_ref()) {
            for phone in &self.phones {
                let Some((until, at)) = phone.registered.filter(|(until, _)| *until > now) else { continue };
                let aor = Aor::from_user(phone.user().as_bytes()).expect("a name");
                let here = process.table.borrow().find(aor.as_bytes()).len();
                let elsewhere = process.phones_elsewhere(&aor, process.clocks.reading()).len();
                if here + elsewhere != 1 {
                    wrong.push(format!(
                        "{} knows {here} + {elsewhere} phones of {}, who is registered at edge-{at} until {:.1} s",
                        process.name,
                        phone.user(),
                        until.micros() as f64 / 1e6
                    ));
                }
            }
            for (node, (_, drains)) in &self.words {
                let id = process.names.borrow().find_node(&format!("ast-{node}")).expect("a node");
                let admin = process.board.borrow().view(id).map(|view| view.admin);
                let wanted = if *drains { Admin::Draining } else { Admin::Enabled };
                if admin != Some(wanted) {
                    wrong.push(format!("at {} ast-{node} is {admin:?}, and should be {wanted:?}", process.name));
                }
            }
        }
        wrong.into_iter().for_each(|what| self.say(what));
    }

    /// In the end nothing is left anywhere.
    pub fn finish(&mut self) {
        let mut tally = std::mem::take(&mut self.truth.tally);
        for call in &self.calls {
            tally.calls += 1;
            tally.answered += usize::from(call.code == 200);
            tally.refused_agents += usize::from(call.code == 486 && call.agent.is_some());
            tally.excused += usize::from(self.truth.is_excused(call));
            tally.unanswered += usize::from(call.code == 0);
        }
        self.truth.tally = tally;
    }
}

/// An edge's board counts what it knows, and its book has no calls that it does not know.
fn counts(process: &Process) -> Vec<String> {
    let mut own: BTreeMap<u32, u32> = BTreeMap::new();
    for shard in &process.shards {
        shard.borrow().check_invariants();
        for lease in shard.borrow().iter().filter(|lease| lease.is_open()) {
            *own.entry(lease.node.0).or_default() += 1;
        }
    }
    let (mut wrong, farm) = (Vec::new(), process.farm.borrow());
    for node in farm.nodes.iter().flatten() {
        let Some(view) = process.board.borrow().view(node.id) else { continue };
        let others = process.with_peers(|peers| peers.on_node(&node.name));
        let leases = own.get(&node.id.0).copied().unwrap_or(0);
        if (view.leases, view.others) != (leases, others) {
            wrong.push(format!(
                "{} counts {} + {} calls on {}, and has {leases} + {others}",
                process.name, view.leases, view.others, node.name
            ));
        }
    }
    let (own, peers) = known(process);
    let has = |key: &CallKey| own.contains(key) || peers.contains(key);
    for (aor, agent) in process.book.borrow().iter() {
        for call in agent.calls().iter().filter(|call| !has(&call.key)) {
            wrong.push(format!(
                "{} believes that {} has a call that is nowhere: {:?}",
                process.name,
                String::from_utf8_lossy(aor.as_bytes()),
                call.key
            ));
        }
    }
    debug_assert!(farm.nodes.iter().flatten().any(|node| &*node.name == AGENTS));
    wrong
}
