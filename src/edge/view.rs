//! What operators can look at: the shapes of API and CLI, made from the live parts when somebody asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::agents::State;
use crate::calls::history::{Explanation, TryResult};
use crate::calls::{CallKey, Lease, NodeId, PoolId};
use crate::dispatch::Farm;
use crate::dispatch::board::NodeView as BoardView;
use crate::dispatch::health::Verdict;
use crate::dispatch::node::{Admin, Kind, Node};
use crate::moment::Moment;
use crate::proxy::World;
use crate::store::SavedAdmin;
use crate::store::contract::StoreCounts;

use super::cluster::seen::EdgeView;
use super::complaints::About;
use super::engine::Engine;
use super::farm_writer::{ConfigStatus, WriterHandle};
use super::prober::{HealthBook, ProberHandle};

/// The edge at a glance.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct StatusView {
    /// The edge's name.
    pub edge: String,
    /// The version that runs.
    pub version: String,
    /// `serving`, `degraded` or `stopping`.
    pub state: String,
    /// Why it is not just `serving`.
    pub reasons: Vec<String>,
    /// Seconds since it started.
    pub uptime_secs: u64,
    /// The configuration.
    pub config: ConfigView,
    /// Calls.
    pub calls: CallCounts,
    /// What survives a restart.
    pub store: StoreView,
    /// The other edges, where there are several.
    #[serde(default)]
    pub edges: Vec<EdgeView>,
    /// Where it listens.
    pub listeners: Vec<String>,
    /// The nodes and gateways.
    pub nodes: Vec<NodeView>,
}

/// The configuration that serves, and the last attempt to change it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ConfigView {
    /// Hash of the configuration that serves.
    pub generation: String,
    /// When it was taken up, in seconds of Unix time.
    pub loaded_at: u64,
    /// False when the last attempt to load failed.
    pub last_load_ok: bool,
    /// When that was, in seconds of Unix time.
    pub last_load_at: u64,
    /// What was wrong with it.
    pub problems: Vec<String>,
    /// Changes in the file that only a restart brings about.
    pub needs_restart: Vec<String>,
    /// What is legal and looks wrong.
    pub warnings: Vec<String>,
}

/// Calls by phase.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct CallCounts {
    /// Without a final answer.
    pub trying: u64,
    /// Answered.
    pub up: u64,
    /// Ended by a BYE that is not answered yet.
    pub ending: u64,
    /// Over, and remembered for half a minute.
    pub remembered: u64,
    /// Calls that the edge may hold, remembered ones included.
    pub max: u64,
}

impl CallCounts {
    /// Calls that take a place on a node.
    pub fn open(&self) -> u64 {
        self.trying + self.up + self.ending
    }
}

/// The store.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct StoreView {
    /// False while it cannot write.
    pub is_up: bool,
    /// Changes of leases that it lost since the start.
    pub lost: u64,
    /// Commits that failed since the start.
    pub failures: u64,
}

/// A node or gateway.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// `node` or `gateway`.
    pub kind: String,
    /// What counts for the next call: `up`, `unknown`, `full`, `closed`, `down`, `draining`, `drained`, `disabled` or
    /// `leaving` (no longer configured, and still with calls).
    pub state: String,
    /// Why, in words.
    pub why: Option<String>,
    /// What the operator wants: `enabled`, `draining` or `disabled`.
    pub admin: String,
    /// Since when, in seconds of Unix time, if it is not `enabled`.
    pub admin_since: Option<u64>,
    /// What health checks say: `up`, `down` or `unknown`.
    pub health: String,
    /// Calls on it that this edge has.
    pub calls: u32,
    /// Calls on it that other edges have.
    #[serde(default)]
    pub other_calls: u32,
    /// Calls that it may have.
    pub max_calls: Option<u32>,
    /// The part of its weight that it has now: less than 100 while it warms up or answers slowly.
    pub share_percent: u32,
    /// Its pools.
    pub pools: Vec<MembershipView>,
    /// Where it is, as configured.
    pub uri: Option<String>,
    /// Its addresses.
    pub addresses: Vec<AddressView>,
    /// What does not work with it, beside calls: its channels cannot be read, or it is not told of agents.
    #[serde(default)]
    pub complaints: Vec<String>,
    /// For a node that drains: seconds until its last call will probably have ended.
    pub drain_estimate_secs: Option<u64>,
}

/// A node's part in a pool.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MembershipView {
    /// The pool.
    pub pool: String,
    /// The weight there.
    pub weight: u32,
    /// The tier there.
    pub priority: u8,
    /// Whether it stands at another site than this edge, and so comes after all nodes that do not.
    pub is_far: bool,
}

/// One address of a node.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AddressView {
    /// Protocol and address.
    pub address: String,
    /// `up`, `down` or `unknown`.
    pub health: String,
    /// Smoothed round trip of probes, in milliseconds.
    pub round_trip_ms: Option<f64>,
    /// Seconds since a probe was answered.
    pub answered_secs_ago: Option<f64>,
    /// Failures in a row.
    pub fails: u32,
    /// What failed last.
    pub last_failure: Option<String>,
    /// Seconds that it still has to wait for having flapped.
    pub waits_secs: u64,
}

/// A call.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CallView {
    /// Its Call-ID.
    pub call_id: String,
    /// The caller's number.
    pub caller: String,
    /// The called number.
    pub called: String,
    /// `trying`, `up`, `ending` or `ended`.
    pub phase: String,
    /// The node that has it.
    pub node: String,
    /// The address there.
    pub address: String,
    /// Where the INVITE came from.
    pub from: String,
    /// When the INVITE came, in seconds of Unix time.
    pub opened_at: u64,
    /// Seconds since the answer, or since the INVITE while there is none.
    pub secs: u64,
    /// When it ends by itself at the latest, in seconds of Unix time.
    pub ends_at: u64,
}

/// Why a call went where it went.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ExplainView {
    /// The Call-ID that was asked for.
    pub call_id: String,
    /// When its INVITE came, in milliseconds of Unix time.
    pub opened_at_ms: u64,
    /// Who sent it.
    pub from: String,
    /// The called number.
    pub called: String,
    /// The rule that named the pool.
    pub rule: String,
    /// The pool that the node was taken from.
    pub pool: String,
    /// What the choice went by.
    pub choice: String,
    /// Nodes of the pool.
    pub pool_size: u32,
    /// How they stood, the chosen one first; at most eight of them.
    pub candidates: Vec<CandidateView>,
    /// Every node it was offered to.
    pub tries: Vec<TryView>,
    /// How it ended.
    pub end: Option<EndView>,
    /// The call, while it is known.
    pub call: Option<CallView>,
}

/// A node as it stood when the choice was made.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CandidateView {
    /// Its name.
    pub node: String,
    /// Calls on it.
    pub calls: u32,
    /// Its weight at that moment.
    pub weight: f64,
    /// (calls + 1) / weight: the least one is chosen.
    pub load: f64,
    /// Why it could not be chosen: `admin`, `down`, `closed`, `full` or `tried`.
    pub barred: Option<String>,
}

/// One node that the call was offered to.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TryView {
    /// The node.
    pub node: String,
    /// The address.
    pub address: String,
    /// Milliseconds after the INVITE came.
    pub after_ms: u64,
    /// What came of it.
    pub result: String,
    /// Milliseconds after the INVITE came at which that was known.
    pub result_after_ms: Option<u64>,
}

/// How a call ended.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EndView {
    /// Why.
    pub cause: String,
    /// Milliseconds after the INVITE came.
    pub after_ms: u64,
    /// The final answer that the caller got, if the call was not answered.
    pub code: Option<u16>,
}

/// Looks at the live parts.
#[derive(Clone)]
pub struct Viewer {
    /// What all threads share.
    pub engine: Arc<Engine>,
    /// The health machines.
    pub prober: ProberHandle,
    /// The writer's words.
    pub writer: WriterHandle,
}

impl Viewer {
    /// The edge at a glance.
    pub fn status(&self) -> StatusView {
        let farm = self.engine.farm.load_full();
        let status = self.writer.status.load_full();
        let store = self.engine.store.counts();
        let nodes = self.nodes();
        let reasons = self.reasons(&farm, &status, store);
        let state = match (self.engine.is_stopping(), reasons.is_empty()) {
            (true, _) => "stopping",
            (false, true) => "serving",
            (false, false) => "degraded",
        };
        StatusView {
            edge: farm.edge.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            state: state.to_owned(),
            reasons,
            uptime_secs: self.engine.clock.uptime().as_secs(),
            config: config_view(&status),
            calls: self.call_counts(),
            store: StoreView { is_up: !store.is_failing, lost: store.leases_lost, failures: store.failures },
            edges: self.edges(),
            listeners: farm.listeners.iter().map(|l| format!("{}://{}", l.protocol.lower(), l.bind)).collect(),
            nodes,
        }
    }

    /// Why the edge is not just serving.
    fn reasons(&self, farm: &Farm, status: &ConfigStatus, store: StoreCounts) -> Vec<String> {
        let mut reasons = Vec::new();
        if !status.last.is_ok {
            reasons.push("the configuration file has problems; the last good one serves".to_owned());
        }
        if store.is_failing {
            reasons.push("the store cannot write; leases and registrations will not survive a restart".to_owned());
        }
        if let Some(cluster) = self.engine.cluster.as_ref().filter(|cluster| !cluster.shared.is_up()) {
            let why = cluster.shared.complaint();
            reasons.push(format!("the shared store is away ({why}); calls go by what this edge knows itself"));
        }
        self.engine.with_board(|board| {
            for pool in farm.pools.iter().flatten().filter(|pool| !board.has_taker(pool.plan.id)) {
                reasons.push(format!("no node of pool {} takes calls", pool.name));
            }
        });
        reasons
    }

    /// All nodes and gateways that calls can be on.
    pub fn nodes(&self) -> Vec<NodeView> {
        let farm = self.engine.farm.load_full();
        let status = self.writer.status.load_full();
        let admin = self.writer.admin.load_full();
        let book = self.prober.book.lock();
        let now = self.engine.clock.now();
        let mean = self.engine.metrics.mean_call_secs();
        let view = |node: &Arc<Node>| {
            let board = self.engine.with_board(|board| board.view(node.id))?;
            let is_gone = !status.config.nodes.iter().any(|n| *n.name == *node.name)
                && !status.config.gateways.iter().any(|g| *g.name == *node.name);
            let complaints = self.engine.complaints.of(node.id);
            let part = NodeParts { farm: &farm, node, board, book: &book, now, is_gone, admin: &admin, complaints };
            Some(part.view(mean))
        };
        let callable = farm.nodes.iter().flatten().filter(|node| node.uri.is_some() || node.kind == Kind::Node);
        let mut nodes: Vec<NodeView> = callable.filter_map(view).collect();
        nodes.sort_by(|a, b| (b.kind == "node", &a.name).cmp(&(a.kind == "node", &b.name)));
        nodes
    }

    /// Brings the gauges that are read at a scrape up to date.
    pub fn measure(&self) {
        use crate::metrics::raise;
        let (engine, counts) = (&self.engine, self.call_counts());
        let scrape = &engine.metrics.scrape;
        for (phase, count) in [("trying", counts.trying), ("up", counts.up), ("ending", counts.ending)] {
            scrape.leases.with_label_values(&[phase]).set(count as i64);
        }
        scrape.leases_max.set(counts.max as i64);
        let mut agents = [0i64; State::ALL.len()];
        let now = engine.clock.now();
        engine.registrations.with_book(|book| {
            book.iter().for_each(|(_, agent)| agents[agent.state(now) as usize] += 1);
            for (outcome, count) in book.reservations().by_outcome() {
                raise(&engine.metrics.reservations.with_label_values(&[outcome]), count);
            }
        });
        for state in State::ALL {
            scrape.agents.with_label_values(&[state.as_str()]).set(agents[state as usize]);
        }
        scrape.bindings.set(engine.registrations.count() as i64);
        self.measure_edges();
        scrape.event_watchers.set(engine.events.watchers() as i64);
        scrape.connections.set(engine.streams.open() as i64);
        let store = engine.store.counts();
        raise(&scrape.store_changes, store.leases_taken);
        raise(&scrape.store_lost, store.leases_lost);
        raise(&scrape.store_failures, store.failures);
        scrape.store_up.set(i64::from(!store.is_failing));
        let streams = engine.streams.counters();
        raise(&scrape.connections_refused, streams.refused.load(std::sync::atomic::Ordering::Relaxed));
        raise(&scrape.connections_broken, streams.broken.load(std::sync::atomic::Ordering::Relaxed));
        scrape.uptime.set(engine.clock.uptime().as_secs() as i64);
        scrape.stopping.set(i64::from(engine.is_stopping()));
        self.measure_nodes();
    }

    fn measure_nodes(&self) {
        let farm = self.engine.farm.load_full();
        let book = self.prober.book.lock();
        let now = self.engine.clock.now();
        for node in farm.nodes.iter().flatten() {
            let (Some(metrics), Some(board)) =
                (self.engine.metrics.node(node.id), self.engine.with_board(|board| board.view(node.id)))
            else {
                continue;
            };
            let weights = farm.pools.iter().flatten().flat_map(|pool| &pool.plan.members);
            let weight = weights.filter(|part| part.node == node.id).map(|part| part.weight).max();
            let answered = book.addresses(node.id).iter().filter_map(|w| w.health.last_answer()).max();
            metrics.leases.set(i64::from(board.leases));
            metrics.capacity.set(board.max_calls.map_or(-1, i64::from));
            metrics.weight.set(i64::from(weight.unwrap_or(0)));
            metrics.share.set(i64::from(board.share_64ths * 100 / 64));
            metrics.up.set(i64::from(board.assessment.verdict == Verdict::Up));
            metrics.closed.set(i64::from(board.assessment.closed.is_some()));
            metrics.admin.set(board.admin as i64);
            metrics.takes_calls.set(i64::from(board.barred.is_none()));
            for about in About::ALL {
                metrics.complaints[about as usize].set(i64::from(self.engine.complaints.has(node.id, about)));
            }
            metrics.probe_age.set(answered.map_or(-1, |at| now.since(at).as_secs() as i64));
        }
    }

    /// Calls by phase.
    pub fn call_counts(&self) -> CallCounts {
        let mut counts = CallCounts::default();
        self.engine.look_at_shards(|shard| {
            counts.max += shard.leases_max() as u64;
            for lease in shard.iter() {
                match lease.phase.as_str() {
                    "trying" => counts.trying += 1,
                    "up" => counts.up += 1,
                    "ending" => counts.ending += 1,
                    _ => counts.remembered += 1,
                }
            }
        });
        counts
    }

    /// Calls, the oldest first: those of a node, or all; at most `limit`.
    pub fn calls(&self, node: Option<&str>, limit: usize) -> Vec<CallView> {
        let farm = self.engine.farm.load_full();
        let mut calls = Vec::new();
        self.engine.look_at_shards(|shard| {
            let open = shard.iter().filter(|lease| lease.is_open());
            let wanted = open.filter(|lease| node.is_none_or(|name| node_name(&farm, lease.node) == name));
            calls.extend(wanted.map(|lease| self.call_view(&farm, lease)));
        });
        calls.sort_by(|a, b| (a.opened_at, &a.call_id).cmp(&(b.opened_at, &b.call_id)));
        calls.truncate(limit);
        calls
    }

    /// One call.
    pub fn call(&self, call_id: &[u8]) -> Option<CallView> {
        let farm = self.engine.farm.load_full();
        let key = CallKey::of(&farm.keys, call_id);
        self.engine.with_shard(key, |shard| shard.find(key).map(|slot| self.call_view(&farm, shard.lease(slot))))
    }

    /// Why a call went where it went.
    pub fn explain(&self, call_id: &[u8]) -> Option<ExplainView> {
        let farm = self.engine.farm.load_full();
        let key = CallKey::of(&farm.keys, call_id);
        let explanation = self.engine.with_shard(key, |shard| shard.history.find(key).cloned())?;
        Some(self.explain_view(&farm, call_id, &explanation))
    }

    fn call_view(&self, farm: &Farm, lease: &Lease) -> CallView {
        let clock = &self.engine.clock;
        let since = lease.answered().unwrap_or(lease.opened);
        CallView {
            call_id: shown(lease.names.call_id()),
            caller: shown(lease.names.caller()),
            called: shown(lease.names.called()),
            phase: lease.phase.as_str().to_owned(),
            node: node_name(farm, lease.node),
            address: lease.way.target().to_string(),
            from: lease.caller.target().to_string(),
            opened_at: clock.unix_millis(lease.opened) / 1_000,
            secs: clock.now().since(since).as_secs(),
            ends_at: clock.unix_millis(lease.deadline) / 1_000,
        }
    }

    fn explain_view(&self, farm: &Farm, call_id: &[u8], explanation: &Explanation) -> ExplainView {
        let millis = |at: Moment| at.since(explanation.opened).as_millis() as u64;
        let candidates = explanation.candidates.iter().map(|candidate| {
            let weight = f64::from(candidate.weight_64ths) / 64.0;
            CandidateView {
                node: node_name(farm, candidate.node),
                calls: candidate.leases,
                weight,
                load: (f64::from(candidate.leases) + 1.0) / weight.max(f64::MIN_POSITIVE),
                barred: candidate.barred.map(|barred| barred.as_str().to_owned()),
            }
        });
        let tries = explanation.tries.iter().map(|record| TryView {
            node: node_name(farm, record.node),
            address: record.target.to_string(),
            after_ms: millis(record.started),
            result: record.result.map_or("pending".to_owned(), |(result, _)| in_words(result)),
            result_after_ms: record.result.map(|(_, at)| millis(at)),
        });
        ExplainView {
            call_id: shown(call_id),
            opened_at_ms: self.engine.clock.unix_millis(explanation.opened),
            from: explanation.from.to_string(),
            called: shown(&explanation.called),
            rule: explanation.rule.to_string(),
            pool: pool_name(farm, explanation.pool),
            choice: explanation.choice.as_str().to_owned(),
            pool_size: explanation.candidates.total,
            candidates: candidates.collect(),
            tries: tries.collect(),
            end: explanation.end.map(|end| EndView {
                cause: end.cause.as_str().to_owned(),
                after_ms: millis(end.at),
                code: end.code,
            }),
            call: self.call(call_id),
        }
    }
}

/// A result as `explain` prints it.
fn in_words(result: TryResult) -> String {
    match result {
        TryResult::Answered(code) => format!("answered {code}"),
        TryResult::Abandoned(cause, None) => format!("given up: {}", cause.as_str()),
        TryResult::Abandoned(cause, Some(code)) => format!("given up: {} ({code})", cause.as_str()),
        TryResult::Cancelled => "cancelled".to_owned(),
    }
}

/// Everything about one node, to be put together.
struct NodeParts<'a> {
    farm: &'a Farm,
    node: &'a Node,
    board: BoardView,
    book: &'a HealthBook,
    now: Moment,
    is_gone: bool,
    admin: &'a BTreeMap<String, SavedAdmin>,
    complaints: Vec<String>,
}

impl NodeParts<'_> {
    fn view(&self, mean_call_secs: Option<f64>) -> NodeView {
        let (node, board) = (self.node, &self.board);
        let (state, why) = self.state();
        let since = self.admin.get(&*node.name).map(|saved| saved.since / 1_000);
        NodeView {
            name: node.name.to_string(),
            kind: if node.kind == Kind::Node { "node" } else { "gateway" }.to_owned(),
            state: state.to_owned(),
            why,
            admin: board.admin.as_str().to_owned(),
            admin_since: since,
            health: board.assessment.verdict.as_str().to_owned(),
            calls: board.leases,
            other_calls: board.others,
            max_calls: board.max_calls,
            share_percent: board.share_64ths * 100 / 64,
            pools: self.memberships(),
            uri: node.uri.as_ref().map(ToString::to_string),
            addresses: self.addresses(),
            complaints: self.complaints.clone(),
            drain_estimate_secs: mean_call_secs
                .filter(|_| state == "draining" || state == "leaving")
                .map(|mean| drain_estimate(mean, board.leases)),
        }
    }

    /// What counts for the next call, and why.
    fn state(&self) -> (&'static str, Option<String>) {
        let board = &self.board;
        let failure = || self.book.addresses(self.node.id).iter().filter_map(|w| w.health.last_failure()).next_back();
        match (board.admin, board.assessment.verdict) {
            _ if self.is_gone => ("leaving", Some("no longer configured; its calls go on".to_owned())),
            (Admin::Disabled, _) => ("disabled", None),
            (Admin::Draining, _) if board.leases + board.others > 0 => ("draining", None),
            (Admin::Draining, _) => ("drained", Some("no calls left".to_owned())),
            (_, Verdict::Down) if self.book.addresses(self.node.id).is_empty() => {
                ("down", Some("its name has no address".to_owned()))
            }
            (_, Verdict::Down) => ("down", failure().map(|failure| failure.to_string())),
            _ if board.assessment.closed.is_some() => {
                ("closed", board.assessment.closed.map(|why| why.as_str().to_owned()))
            }
            _ if board.max_calls.is_some_and(|max| board.leases + board.others >= max) => ("full", None),
            (_, Verdict::Unknown) => ("unknown", Some("not heard of yet".to_owned())),
            (_, Verdict::Up) if board.share_64ths < 64 => ("up", Some(self.why_less())),
            (_, Verdict::Up) => ("up", None),
        }
    }

    fn why_less(&self) -> String {
        let slow = self.board.assessment.speed_64ths <= self.board.share_64ths;
        if slow { "answers probes slowly" } else { "warms up" }.to_owned()
    }

    fn memberships(&self) -> Vec<MembershipView> {
        let of_pool = |pool: &crate::dispatch::farm::Pool| {
            let part = pool.plan.members.iter().find(|part| part.node == self.node.id)?;
            Some(MembershipView {
                pool: pool.name.to_string(),
                weight: part.weight,
                priority: part.rank.priority,
                is_far: part.rank.is_far,
            })
        };
        self.farm.pools.iter().flatten().filter_map(of_pool).collect()
    }

    fn addresses(&self) -> Vec<AddressView> {
        let view = |watched: &super::prober::Watched| {
            let health = &watched.health;
            AddressView {
                address: watched.address.target.to_string(),
                health: health.verdict().as_str().to_owned(),
                round_trip_ms: health.round_trip().map(|trip| (trip.as_secs_f64() * 100_000.0).round() / 100.0),
                answered_secs_ago: health.last_answer().map(|at| self.now.since(at).as_millis() as f64 / 1_000.0),
                fails: health.fails(),
                last_failure: health.last_failure().map(|failure| failure.to_string()),
                waits_secs: health.flap_wait_left(self.now, self.book.policy()).as_secs(),
            }
        };
        self.book.addresses(self.node.id).iter().map(view).collect()
    }
}

/// When the last of so many calls will have ended, if calls end at random: the mean length times the harmonic number.
fn drain_estimate(mean_call_secs: f64, calls: u32) -> u64 {
    let harmonic: f64 = (1..=calls.min(10_000)).map(|n| 1.0 / f64::from(n)).sum();
    (mean_call_secs * harmonic).round() as u64
}

fn config_view(status: &ConfigStatus) -> ConfigView {
    let mut problems: Vec<String> = status.last.problems.iter().map(ToString::to_string).collect();
    problems.extend(status.last.error.clone());
    ConfigView {
        generation: status.generation.to_string(),
        loaded_at: status.loaded_at / 1_000,
        last_load_ok: status.last.is_ok,
        last_load_at: status.last_at / 1_000,
        problems,
        needs_restart: status.needs_restart.clone(),
        warnings: status.warnings.iter().map(ToString::to_string).collect(),
    }
}

fn node_name(farm: &Farm, id: NodeId) -> String {
    farm.node(id).map_or_else(|| format!("node {}", id.0), |node| node.name.to_string())
}

fn pool_name(farm: &Farm, id: PoolId) -> String {
    farm.pool(id).map_or_else(String::new, |pool| pool.name.to_string())
}

/// Octets from the wire as text that is safe to show.
pub(super) fn shown(octets: &[u8]) -> String {
    match std::str::from_utf8(octets) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => octets.escape_ascii().to_string(),
    }
}
