//! Compares calls with the channels that nodes have (ARI): regularly, after a start, and when a node comes back.
//!
//! What follows from a look is decided by [`reconcile`](crate::asterisk::reconcile); here nodes are asked, in turn and with bounds,
//! and what was decided is carried out. No call waits for any of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use tokio::sync::{mpsc, oneshot};

use crate::asterisk::channels::Channel;
use crate::asterisk::reconcile::{Doubts, Found, Look, Plan, Policy, Standing, Step, Up, plan};
use crate::calls::history::EndCause;
use crate::calls::lease::Lease;
use crate::calls::{CallKey, NodeId, Phase, Shard};
use crate::config::Config;
use crate::config::checked::{AriConfig, NodeConfig};
use crate::dispatch::Farm;
use crate::dispatch::health::Verdict;
use crate::dispatch::node::{Admin, Kind};
use crate::dispatch::rules::Source;
use crate::moment::Moment;
use crate::proxy::World;

use super::ari::{Ari, Place};
use super::complaints::About;
use super::engine::Engine;
use super::farm_writer::WriterHandle;
use super::hands::on_this_thread;

/// Nodes that are asked at one time.
const ASKED_MAX: usize = 8;
/// Calls that are hung up after one look; the rest is found again.
const HANG_UPS_MAX: usize = 200;
/// Longest pause after failures.
const BACK_OFF_MAX: Duration = Duration::from_secs(300);
/// How often the task looks whom it has to ask.
const TICK: Duration = Duration::from_millis(200);
/// How old the list of calls that are up may be: at a large farm many nodes are looked at within this.
const LIST_AGE: Duration = Duration::from_secs(1);

/// The task.
pub struct Reconciler {
    engine: Arc<Engine>,
    writer: WriterHandle,
    nodes: BTreeMap<NodeId, Watched>,
    answers: (mpsc::Sender<Answer>, mpsc::Receiver<Answer>),
    up: HashMap<NodeId, Vec<Up>>,
    listed: Moment,
    /// Dropped once every node has been asked: whoever waits for the other end goes on.
    first: Option<oneshot::Sender<()>>,
}

/// One node.
struct Watched {
    ari: Ari,
    next: Moment,
    /// When it was asked, while it has not answered.
    asked: Option<Moment>,
    was_asked: bool,
    was_read: bool,
    was_up: bool,
    fails: u32,
    doubts: Doubts,
}

/// What a node said.
struct Answer {
    node: NodeId,
    channels: Result<Vec<Channel>, String>,
}

impl Reconciler {
    /// A task for this edge, and what ends when every node has been asked once.
    pub fn new(engine: Arc<Engine>, writer: WriterHandle) -> (Self, oneshot::Receiver<()>) {
        let (first, asked) = oneshot::channel();
        let task = Reconciler {
            engine,
            writer,
            nodes: BTreeMap::new(),
            answers: mpsc::channel(ASKED_MAX),
            up: HashMap::new(),
            listed: Moment::ZERO,
            first: Some(first),
        };
        (task, asked)
    }

    /// Runs until it is aborted.
    pub async fn run(mut self) {
        loop {
            self.turn();
            tokio::select! {
                Some(answer) = self.answers.1.recv() => self.hear(answer),
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    fn turn(&mut self) {
        let (engine, now) = (Arc::clone(&self.engine), self.engine.clock.now());
        let (farm, config) = (engine.farm.load_full(), Arc::clone(&self.writer.status.load().config));
        self.take_up(&farm, &config, now);
        let mut room = ASKED_MAX.saturating_sub(self.nodes.values().filter(|node| node.asked.is_some()).count());
        for (id, node) in &mut self.nodes {
            if room > 0 && node.asked.is_none() && node.next <= now {
                room -= 1;
                node.asked = Some(now);
                ask(*id, node.ari.clone(), self.answers.0.clone());
            }
        }
        if self.nodes.values().all(|node| node.was_asked) {
            self.first = None;
        }
    }

    /// Nodes come and go. Whoever came, or came back, is asked at once; whoever is down is not asked.
    fn take_up(&mut self, farm: &Farm, config: &Config, now: Moment) {
        let wanted = wanted(farm, config);
        self.nodes.retain(|id, _| {
            let stays = wanted.contains_key(id);
            if !stays {
                self.engine.complaints.settle(*id, About::Channels);
            }
            stays
        });
        for (id, at) in wanted {
            let view = self.engine.with_board(|board| board.view(id));
            let is_off = view.as_ref().is_some_and(|view| view.admin == Admin::Disabled);
            let verdict = view.map_or(Verdict::Unknown, |view| view.assessment.verdict);
            let node = self.nodes.entry(id).or_insert_with(|| Watched::new(Ari::new(at.clone()), now));
            if !node.ari.is_at(&at) {
                (node.ari, node.next) = (Ari::new(at), now);
            }
            if is_off || verdict == Verdict::Down {
                (node.was_up, node.next, node.doubts) = (false, Moment::NEVER, Doubts::default());
                node.was_asked = true;
            } else if !node.was_up && verdict == Verdict::Up {
                (node.was_up, node.next) = (true, now);
            }
        }
    }

    fn hear(&mut self, answer: Answer) {
        let Answer { node: id, channels } = answer;
        let config = Arc::clone(&self.writer.status.load().config);
        let Some(ari) = &config.ari else { return };
        let farm = self.engine.farm.load_full();
        let Some(asked) = self.nodes.get_mut(&id).and_then(|node| node.asked.take()) else { return };
        let result = if channels.is_ok() { "ok" } else { "failed" };
        self.engine.metrics.reconcile_checks.with_label_values(&[result]).inc();
        match channels {
            Ok(channels) => self.look(&farm, ari, id, asked, &channels),
            Err(why) => self.failed(&farm, ari, id, why),
        }
    }

    fn failed(&mut self, farm: &Farm, ari: &AriConfig, id: NodeId, why: String) {
        let now = self.engine.clock.now();
        let Some(node) = self.nodes.get_mut(&id) else { return };
        (node.fails, node.was_asked) = (node.fails + 1, true);
        node.next = now + spread(ari.interval * 2u32.saturating_pow(node.fails.min(8))).min(BACK_OFF_MAX);
        let what = format!("its channels cannot be read: {why}");
        if self.engine.complaints.note(id, About::Channels, what) {
            let name = name(farm, id);
            tracing::warn!(node = &*name, "channels of node {name} cannot be read, calls go on: {why}");
        }
    }

    /// Compares, and does what follows.
    fn look(&mut self, farm: &Farm, ari: &AriConfig, id: NodeId, asked: Moment, channels: &[Channel]) {
        if self.engine.complaints.settle(id, About::Channels) {
            tracing::info!(node = &*name(farm, id), "channels of node {} can be read again", name(farm, id));
        }
        self.list(farm);
        let found: Vec<Found> = channels.iter().map(|channel| self.found(farm, channel)).collect();
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let none = Vec::new();
        let look = Look { asked, is_first: !node.was_read, up: self.up.get(&id).unwrap_or(&none), found: &found };
        let policy = Policy { grace: ari.grace, surplus: ari.surplus };
        let plan = plan(&look, policy, &mut node.doubts);
        // After the first look, and while there are doubts, the next one comes as soon as it can decide something.
        let is_calm = node.was_read && node.doubts.is_empty();
        let pause = if is_calm { spread(ari.interval) } else { ari.grace };
        (node.was_read, node.was_asked, node.fails) = (true, true, 0);
        node.next = asked + pause;
        self.act(farm, id, &plan, channels);
    }

    fn found(&self, farm: &Farm, channel: &Channel) -> Found {
        let key = CallKey::of(&farm.keys, channel.call_id.as_bytes());
        let standing = self.engine.with_shard(key, |shard| standing(shard, key));
        Found { key, is_up: channel.is_up, is_of_edge: channel.is_of_edge, standing }
    }

    /// The calls that are up, by the node that must have them.
    fn list(&mut self, farm: &Farm) {
        let now = self.engine.clock.now();
        if self.listed > Moment::ZERO && now.since(self.listed) < LIST_AGE && self.nodes.len() > ASKED_MAX {
            return;
        }
        self.listed = now;
        self.up.clear();
        let up = &mut self.up;
        self.engine.look_at_shards(|shard| {
            for lease in shard.iter() {
                if let (Phase::Up { answered, .. }, Some(node)) = (&lease.phase, home(lease, farm)) {
                    up.entry(node).or_default().push(Up { key: lease.key, answered: *answered });
                }
            }
        });
    }

    fn act(&self, farm: &Farm, id: NodeId, plan: &Plan, channels: &[Channel]) {
        let engine = &self.engine;
        if let Some(metrics) = engine.metrics.node(id) {
            metrics.calls_missing.set(plan.missing as i64);
            metrics.calls_surplus.set(plan.surplus as i64);
        }
        let way = engine.with_board(|board| board.view(id)).and_then(|view| view.assessment.way);
        let (mut ended, mut adopted, mut doomed) = (0u64, 0u64, Vec::new());
        on_this_thread(engine, |core, _| {
            for step in &plan.steps {
                match *step {
                    Step::End(key, answered) => {
                        let is_ended = engine.with_shard(key, |shard| core.node_has_not(shard, key, answered));
                        ended += u64::from(is_ended);
                    }
                    Step::Adopt(at) => {
                        let (Some(way), Some(channel)) = (way, channels.get(at)) else { continue };
                        let key = CallKey::of(&farm.keys, channel.call_id.as_bytes());
                        let is_taken = engine.with_shard(key, |shard| core.node_has(shard, key, id, way, channel));
                        adopted += u64::from(is_taken);
                    }
                    Step::HangUp(at) => doomed.extend(channels.get(at).map(|channel| channel.id.clone())),
                }
            }
        });
        doomed.truncate(HANG_UPS_MAX);
        for (action, count) in [("ended", ended), ("adopted", adopted)] {
            engine.metrics.reconciled.with_label_values(&[action]).inc_by(count);
        }
        if ended + adopted + doomed.len() as u64 > 0 {
            let name = name(farm, id);
            tracing::info!(
                node = &*name,
                "calls compared with node {name}: {ended} that it does not have ended, {adopted} that it has taken up, {} hung up",
                doomed.len()
            );
        }
        if let Some(node) = self.nodes.get(&id).filter(|_| !doomed.is_empty()) {
            hang_up(engine, name(farm, id), node.ari.clone(), doomed);
        }
    }
}

impl Watched {
    fn new(ari: Ari, now: Moment) -> Self {
        Watched {
            ari,
            next: now,
            asked: None,
            was_asked: false,
            was_read: false,
            was_up: false,
            fails: 0,
            doubts: Doubts::default(),
        }
    }
}

/// The nodes whose channels are read.
fn wanted(farm: &Farm, config: &Config) -> BTreeMap<NodeId, Place> {
    let Some(ari) = &config.ari else { return BTreeMap::new() };
    let authorization = Place::authorization(ari);
    let nodes: HashMap<&str, NodeId> = farm.nodes.iter().flatten().map(|node| (&*node.name, node.id)).collect();
    let of_node =
        |node: &NodeConfig| Some((*nodes.get(node.name.as_str())?, Place::new(ari.url_of(node)?, &authorization)));
    config.nodes.iter().filter_map(of_node).collect()
}

/// The node that has a call: where the lease is, or, for calls to agents and to the outside, where it came from.
fn home(lease: &Lease, farm: &Farm) -> Option<NodeId> {
    let is_node = farm.node(lease.node).is_some_and(|node| node.kind == Kind::Node);
    match farm.sources.classify(lease.caller) {
        _ if is_node => Some(lease.node),
        Source::Node(node) => Some(node),
        _ => None,
    }
}

fn standing(shard: &Shard, key: CallKey) -> Standing {
    let lease = shard.find(key).map(|slot| shard.lease(slot).is_open());
    let cause = shard.history.find(key).and_then(|explanation| explanation.end).map(|end| end.cause);
    match (lease, cause) {
        (Some(true), _) => Standing::Open,
        (_, Some(cause)) if is_known_end(cause) => Standing::Over,
        (Some(false), None) => Standing::Over,
        _ => Standing::Unknown,
    }
}

/// Whether somebody ended the call. Otherwise the edge gave the lease up by itself, and it was wrong if the node still has the call.
fn is_known_end(cause: EndCause) -> bool {
    match cause {
        EndCause::Bye
        | EndCause::ByeUnanswered
        | EndCause::Failed
        | EndCause::Challenged
        | EndCause::Cancelled
        | EndCause::RingTimeout
        | EndCause::DialogGone => true,
        EndCause::MaxDuration | EndCause::SessionTimer | EndCause::NodeDown | EndCause::Reconciled => false,
    }
}

fn ask(node: NodeId, ari: Ari, answers: mpsc::Sender<Answer>) {
    tokio::task::spawn_blocking(move || {
        // The edge is ending when nobody listens any more.
        let _ = answers.blocking_send(Answer { node, channels: ari.channels() });
    });
}

fn hang_up(engine: &Arc<Engine>, node: Arc<str>, ari: Ari, ids: Vec<String>) {
    let engine = Arc::clone(engine);
    tokio::task::spawn_blocking(move || {
        for id in ids {
            match ari.hang_up(&id) {
                Ok(()) => engine.metrics.reconciled.with_label_values(&["hung_up"]).inc(),
                Err(why) => {
                    tracing::warn!(node = &*node, "a call of node {node} cannot be hung up: {why}");
                    return;
                }
            }
        }
    });
}

/// Spread by a tenth, so that nodes are not all asked at once for ever after.
fn spread(pause: Duration) -> Duration {
    pause.mul_f64(0.9 + 0.2 * rand::rng().random::<f64>())
}

fn name(farm: &Farm, id: NodeId) -> Arc<str> {
    farm.node(id).map_or_else(|| "?".into(), |node| Arc::clone(&node.name))
}
