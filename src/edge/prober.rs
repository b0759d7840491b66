//! OPTIONS to every address behind every node, and what follows from the answers.
//!
//! One task owns the health machines. It is woken by their deadlines and by news from calls; what it finds goes to the
//! board, to the nodes' flags that the data path reads, to the metrics, and - changes only - to the log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::RngExt;
use tokio::sync::mpsc;

use crate::calls::NodeId;
use crate::calls::lease::Way;
use crate::dispatch::board::Assessment;
use crate::dispatch::farm::Farm;
use crate::dispatch::health::{Change, Health, HealthPolicy, Signal, Verdict};
use crate::dispatch::node::Kind;
use crate::moment::Moment;
use crate::proxy::branch::ProbeBranch;
use crate::resolve::Address;
use crate::sip::originate::{Probe, options};
use crate::transport::flow::{Protocol, Target};

use super::engine::{Engine, HealthNews};
use super::hands::{Hands, send_datagram};

/// Longest sleep, so that a clock that was set or a machine that was suspended is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// How often it is asked what other edges say of the nodes.
const VOTE_PAUSE: Duration = Duration::from_millis(200);

/// Whom to probe, and how.
#[derive(Clone, Debug)]
pub struct ProbePlan {
    /// How nodes are judged.
    pub policy: HealthPolicy,
    /// The nodes.
    pub nodes: Vec<ProbedNode>,
}

/// A node to be probed.
#[derive(Clone, Debug)]
pub struct ProbedNode {
    /// Its number.
    pub node: NodeId,
    /// Its addresses, the preferred one first.
    pub addresses: Vec<Address>,
    /// False for a node that the operator disabled.
    pub is_probed: bool,
}

/// All health machines, for the prober to drive and for operators to look at.
#[derive(Default)]
pub struct HealthBook {
    policy: HealthPolicy,
    nodes: BTreeMap<NodeId, Vec<Watched>>,
}

/// One address and its health.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The address.
    pub address: Address,
    /// What is known of it.
    pub health: Health,
    is_probed: bool,
}

impl HealthBook {
    /// The addresses of a node.
    pub fn addresses(&self, node: NodeId) -> &[Watched] {
        self.nodes.get(&node).map_or(&[], Vec::as_slice)
    }

    /// How nodes are judged.
    pub fn policy(&self) -> &HealthPolicy {
        &self.policy
    }

    /// Takes up a plan. What is known of an address stays known as long as the address stays with the node.
    fn apply(&mut self, plan: &ProbePlan, now: Moment) {
        self.policy = plan.policy.clone();
        let mut old = std::mem::take(&mut self.nodes);
        // The first probes of a large farm are spread over one interval; a small farm hears at once.
        let gap = (self.policy.interval / plan.nodes.len().max(1) as u32).min(Duration::from_millis(5));
        for (position, planned) in plan.nodes.iter().enumerate() {
            let mut had = old.remove(&planned.node).unwrap_or_default();
            let watched = planned.addresses.iter().map(|address| {
                let known = had.iter().position(|w| w.address.target == address.target && w.is_probed);
                let health = match known {
                    Some(at) => had.swap_remove(at).health,
                    None => Health::new(now + gap * position as u32),
                };
                Watched { address: *address, health, is_probed: planned.is_probed }
            });
            let watched: Vec<Watched> = watched.collect();
            self.nodes.insert(planned.node, watched);
        }
    }

    fn wake_at(&self) -> Moment {
        let probed = self.nodes.values().flatten().filter(|watched| watched.is_probed);
        probed.map(|watched| watched.health.wake_at(&self.policy)).min().unwrap_or(Moment::NEVER)
    }

    /// What a node as a whole is known to be: as good as its best address, which is the one that is used.
    fn assess(&self, node: NodeId, farm: &Farm) -> Assessment {
        let Some(best) = self.addresses(node).iter().max_by_key(|watched| watched.rank()) else {
            return Assessment { verdict: Verdict::Down, speed_64ths: 64, ..Assessment::default() };
        };
        let target = best.address.target;
        let wanted = farm.node(node).map_or_else(Default::default, |node| node.listener);
        let way = farm.listener_for(target, wanted).map(|listener| Way::Target { listener: listener.id, target });
        let health = &best.health;
        Assessment {
            verdict: health.verdict(),
            closed: health.closed().map(|closed| closed.why),
            speed_64ths: health.speed_64ths(&self.policy),
            up_since: if health.is_new() { Moment::ZERO } else { health.up_since() },
            last_good: health.last_answer().unwrap_or(Moment::ZERO),
            way,
        }
    }
}

impl Watched {
    /// Alive before unknown before dead, open before closed, then as DNS prefers.
    fn rank(&self) -> impl Ord + use<> {
        let life = match self.health.verdict() {
            Verdict::Up => 2,
            Verdict::Unknown => 1,
            Verdict::Down => 0,
        };
        let preference = std::cmp::Reverse((self.address.priority, std::cmp::Reverse(self.address.weight)));
        (life, self.health.closed().is_none(), preference)
    }
}

/// The task that probes.
pub struct Prober {
    engine: Arc<Engine>,
    book: Arc<Mutex<HealthBook>>,
    news: mpsc::Receiver<HealthNews>,
    plans: mpsc::Receiver<ProbePlan>,
    hands: Hands,
    voted: Moment,
    /// A part of the Call-IDs of this run.
    run: u64,
}

/// How the prober is told of a new plan, and where its findings can be read.
#[derive(Clone)]
pub struct ProberHandle {
    /// All health machines.
    pub book: Arc<Mutex<HealthBook>>,
    plans: mpsc::Sender<ProbePlan>,
}

impl ProberHandle {
    /// Gives the prober a new plan.
    pub async fn plan(&self, plan: ProbePlan) {
        // It only ends with the process.
        let _ = self.plans.send(plan).await;
    }
}

/// A prober that waits for its first plan, and the handle to it.
pub fn prober(engine: Arc<Engine>, news: mpsc::Receiver<HealthNews>) -> (Prober, ProberHandle) {
    let (plans, receiver) = mpsc::channel(4);
    let book = Arc::new(Mutex::new(HealthBook::default()));
    let handle = ProberHandle { book: Arc::clone(&book), plans };
    let run = rand::rng().random();
    (Prober { engine, book, news, plans: receiver, hands: Hands::new(), voted: Moment::ZERO, run }, handle)
}

impl Prober {
    /// Probes until the runtime ends.
    pub async fn run(mut self) {
        loop {
            let wake_at = self.book.lock().wake_at();
            let longest = if self.engine.cluster.is_some() { VOTE_PAUSE } else { SLEEP_MAX };
            let sleep = wake_at.since(self.engine.clock.now()).min(longest);
            tokio::select! {
                biased;
                Some(plan) = self.plans.recv() => self.take_up(&plan),
                Some(news) = self.news.recv() => self.hear(news),
                () = tokio::time::sleep(sleep) => {}
            }
            self.poll();
            self.vote();
        }
    }

    /// Follows what most edges say of a node, now that one of them has changed its mind.
    fn vote(&mut self) {
        let (engine, now) = (Arc::clone(&self.engine), self.engine.clock.now());
        let Some(cluster) = engine.cluster.as_ref().filter(|_| now.since(self.voted) >= VOTE_PAUSE) else { return };
        self.voted = now;
        let farm = engine.farm.load_full();
        for node in farm.nodes.iter().flatten() {
            let (own, was_down) = (node.live.is_unreachable(), node.live.is_down());
            let is_down = cluster.is_down(&node.name, own);
            if is_down != was_down {
                let (name, verdict) = (&*node.name, if is_down { "down" } else { "not down" });
                tracing::warn!(
                    node = name,
                    "node {name} is {verdict}, as most edges find; this edge finds it {}",
                    word(own)
                );
                self.follow(node.id, None);
            }
        }
    }

    fn take_up(&mut self, plan: &ProbePlan) {
        let now = self.engine.clock.now();
        self.book.lock().apply(plan, now);
        for planned in &plan.nodes {
            self.publish(planned.node);
        }
    }

    fn hear(&mut self, news: HealthNews) {
        let news = HealthNews { signal: self.unmasked(news.signal), ..news };
        let mut change = None;
        {
            let mut book = self.book.lock();
            let HealthBook { policy, nodes } = &mut *book;
            let Some(watched) = nodes.get_mut(&news.node) else { return };
            for watched in watched.iter_mut().filter(|w| w.address.target.address == news.target.address) {
                let before = watched.health.last_answer();
                change = watched.health.signal(news.signal, news.at, policy).or(change);
                self.count(news, watched, before);
            }
        }
        self.follow(news.node, change);
    }

    /// Numbers of probes begin anew with each run, and branches are made from them; a node takes a branch that it saw within half a
    /// minute, from an edge that ended since, for a repetition. So they leave under a mask that is the run's own.
    fn mask(&self) -> u32 {
        self.run as u32
    }

    fn unmasked(&self, signal: Signal) -> Signal {
        match signal {
            Signal::ProbeAnswered { probe, code } => Signal::ProbeAnswered { probe: probe ^ self.mask(), code },
            other => other,
        }
    }

    fn count(&self, news: HealthNews, watched: &Watched, before: Option<Moment>) {
        let Some(metrics) = self.engine.metrics.node(news.node) else { return };
        if matches!(news.signal, Signal::ProbeAnswered { .. }) && watched.health.last_answer() != before {
            metrics.probes_answered.inc();
            if let Some(round_trip) = watched.health.last_round_trip() {
                metrics.probe_seconds.observe(round_trip.as_secs_f64());
            }
        }
    }

    /// Sends what is due and notes what was not answered in time.
    fn poll(&mut self) {
        let now = self.engine.clock.now();
        let (mut sends, mut changes) = (Vec::new(), Vec::new());
        {
            let mut book = self.book.lock();
            let HealthBook { policy, nodes } = &mut *book;
            for (node, watched) in nodes.iter_mut() {
                for watched in watched.iter_mut().filter(|watched| watched.is_probed) {
                    if watched.health.wake_at(policy) > now {
                        continue;
                    }
                    let fails = watched.health.fails();
                    let (probe, change) = watched.health.poll(now, policy, rand::rng().random());
                    sends.extend(probe.map(|probe| (*node, watched.address.target, probe)));
                    changes.push((*node, change, watched.health.fails() > fails));
                }
            }
        }
        for (node, change, failed) in changes {
            if failed && let Some(metrics) = self.engine.metrics.node(node) {
                metrics.probes_failed.inc();
            }
            if failed || change.is_some() {
                self.follow(node, change);
            }
        }
        for (node, target, probe) in sends {
            self.send(node, target, probe);
        }
    }

    /// Carries a finding to everyone whom it concerns.
    fn follow(&mut self, node: NodeId, change: Option<Change>) {
        let is_down = |engine: &Engine| engine.farm.load().node(node).is_some_and(|node| node.live.is_down());
        let was_down = is_down(&self.engine);
        self.publish(node);
        if let Some(change) = change {
            self.log(node, change);
        }
        let is_down = is_down(&self.engine);
        if is_down != was_down
            && let Some(metrics) = self.engine.metrics.node(node)
        {
            metrics.changes.inc();
        }
        if is_down && !was_down {
            // Calls that still wait there for an answer are taken elsewhere.
            let (engine, now) = (Arc::clone(&self.engine), self.engine.clock.now());
            self.hands.with_core(&engine, now, |core, _| engine.each_shard(|shard| core.node_down(shard, node)));
            self.hands.flush(&engine, now);
        }
    }

    /// A node that this edge does not reach gets no new calls from here. Its calls are ended, and those that wait there taken elsewhere,
    /// when most edges say that it is dead; and then it gets none from here either.
    fn publish(&self, node: NodeId) {
        let farm = self.engine.farm.load();
        let (mut assessment, is_suspect) = {
            let book = self.book.lock();
            let is_suspect = book.addresses(node).iter().any(|w| w.health.fails() > 0);
            (book.assess(node, &farm), is_suspect)
        };
        if let Some(node) = farm.node(node) {
            let own = assessment.verdict == Verdict::Down;
            let is_down = self.engine.cluster.as_ref().map_or(own, |cluster| cluster.is_down(&node.name, own));
            node.live.set_unreachable(own);
            node.live.set_down(is_down);
            node.live.set_suspect(is_suspect);
            if is_down {
                assessment.verdict = Verdict::Down;
            }
        }
        let now = self.engine.clock.now();
        self.engine.with_board(|board| board.assess(node, assessment, now));
    }

    fn log(&self, id: NodeId, change: Change) {
        let farm = self.engine.farm.load();
        let Some(node) = farm.node(id) else { return };
        let (name, kind) = (&*node.name, if node.kind == Kind::Gateway { "gateway" } else { "node" });
        self.engine.events.node(
            name,
            match change {
                Change::Up => "up",
                Change::Down(_) => "down",
                Change::Closed(_) => "closed",
                Change::Opened => "open",
            },
        );
        match change {
            Change::Up => tracing::info!(node = name, "{kind} {name} is up"),
            Change::Down(failure) => tracing::warn!(node = name, reason = %failure, "{kind} {name} is down: {failure}"),
            Change::Closed(why) => {
                tracing::warn!(node = name, "{kind} {name} takes no calls by its own word: it {}", why.as_str());
            }
            Change::Opened => tracing::info!(node = name, "{kind} {name} takes calls again"),
        }
    }

    fn send(&self, node: NodeId, target: Target, probe: u32) {
        let farm = self.engine.farm.load();
        let wanted = farm.node(node).map_or_else(Default::default, |node| node.listener);
        let Some(listener) = farm.listener_for(target, wanted) else { return };
        let sent_by = String::from_utf8_lossy(&listener.sent_by);
        let transport = if target.protocol == Protocol::Tcp { ";transport=tcp" } else { "" };
        let bytes = options(Probe {
            uri: &format!("sip:{}{transport}", target.address),
            via: &ProbeBranch { node: node.0, probe: probe ^ self.mask() }.via(&farm.keys, listener),
            from: &format!("<sip:{}@{sent_by}>;tag=p{:x}", farm.edge, self.run ^ u64::from(probe)),
            call_id: &format!("probe-{:x}-{}-{probe}@{sent_by}", self.run, node.0),
            cseq: 1,
        });
        let way = Way::Target { listener: listener.id, target };
        match target.protocol {
            Protocol::Udp => send_datagram(&self.engine, way, &bytes),
            Protocol::Tcp => {
                let local = listener.bind.ip();
                self.engine.streams.send(target.address, listener.id, local, bytes, None);
            }
        }
    }
}

fn word(is_down: bool) -> &'static str {
    if is_down { "down" } else { "alive" }
}
