//! Numbers for Prometheus.
//!
//! The core reports [`Event`]s; here, and nowhere else, they become counters. Handles are resolved once for each node and
//! thrown away with it, so a scrape shows the nodes that are there and an event costs an index and an atomic add. Whatever
//! can be read when it is asked for - leases, states, ages - is read at the scrape. `docs/metrics.md` lists them all, and a test
//! compares.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use prometheus::core::Collector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::agents::State;
use crate::agents::reservation::Reservations;
use crate::calls::NodeId;
use crate::calls::history::{Choice, EndCause};
use crate::calls::tries::Cause;
use crate::dispatch::Farm;
use crate::dispatch::node::Kind;
use crate::proxy::Event;
use crate::registrar::Ended;
use crate::registrar::register::Changes;
use crate::sip::Method;

/// Buckets for what callers wait for: from an instant to a ring time-out.
const WAIT_BUCKETS: [f64; 12] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 180.0];
/// Buckets for the time that a message spends in the edge.
const EDGE_BUCKETS: [f64; 10] = [2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 2e-2, 1e-1];
/// Buckets for the round trip of a probe.
const PROBE_BUCKETS: [f64; 10] = [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0];
/// Buckets for how long nodes' queues do not know yet what an agent is doing.
const PUBLICATION_BUCKETS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0];
/// Buckets for how long calls last.
const TALK_BUCKETS: [f64; 9] = [1.0, 5.0, 15.0, 60.0, 180.0, 600.0, 1_800.0, 3_600.0, 14_400.0];

/// Counters of what nearly every message adds to. Finding one by its labels costs a few hundred instructions.
#[derive(Default)]
struct Known {
    /// By method and side.
    requests: [[OnceLock<IntCounter>; 2]; Method::ALL.len()],
    /// By cause.
    ended: [OnceLock<IntCounter>; EndCause::ALL.len()],
}

/// All metrics of the edge.
pub struct Metrics {
    registry: Registry,
    by_node: ArcSwap<Vec<Option<Arc<NodeMetrics>>>>,
    /// Nodes' series are made and dropped by one caller at a time.
    rebuilding: Mutex<()>,
    families: Families,
    /// Messages received, by transport.
    pub received: IntCounterVec,
    /// Messages sent, by transport.
    pub sent: IntCounterVec,
    /// Messages that could not be sent, by transport.
    pub unsent: IntCounterVec,
    dropped: IntCounterVec,
    rejected: IntCounterVec,
    requests: IntCounterVec,
    /// The counters of `requests` and `ended`, each looked up by its labels once.
    known: Known,
    responses: IntCounter,
    ended: IntCounterVec,
    adopted: IntCounter,
    resent: IntCounter,
    late: IntCounterVec,
    registered: IntCounterVec,
    /// Bindings that ended, by cause.
    pub bindings_ended: IntCounterVec,
    /// Times that registrations were brought to disk.
    pub registration_commits: IntCounter,
    agent_calls: IntCounter,
    /// Changes of agents' states, by the new one.
    pub agent_changes: IntCounterVec,
    /// What became of reservations of agents.
    pub reservations: IntCounterVec,
    /// What nodes answered to the states of agents.
    pub publications: IntCounterVec,
    /// From a change of an agent's state to the 2xx of a node that was told.
    pub publication: Histogram,
    /// Looks at nodes' channels, by result.
    pub reconcile_checks: IntCounterVec,
    /// Calls that edge and node disagreed about, by what was done.
    pub reconciled: IntCounterVec,
    ringing_after: Histogram,
    answered_after: Histogram,
    talked: Histogram,
    /// Time from the receipt of a batch to its last send.
    pub forwarding: Histogram,
    /// Reloads, by result.
    pub reloads: IntCounterVec,
    /// 1 when the last reload succeeded.
    pub reload_ok: IntGauge,
    /// When the configuration that serves was loaded, in seconds of Unix time.
    pub reload_time: IntGauge,
    generation: IntGaugeVec,
    /// What is read at the scrape.
    pub scrape: Scrape,
}

/// Gauges that are set when somebody asks.
pub struct Scrape {
    /// Leases by phase.
    pub leases: IntGaugeVec,
    /// Leases that the edge may hold.
    pub leases_max: IntGauge,
    /// Registered phones.
    pub bindings: IntGauge,
    /// Agents by state.
    pub agents: IntGaugeVec,
    /// Edges that are there, this one included.
    pub edges: IntGauge,
    /// 0 while the shared store is away.
    pub shared_store_up: IntGauge,
    /// Questions to the shared store that a message waited for, by result.
    pub shared_store_questions: IntCounterVec,
    /// Entries of the log, by direction.
    pub edge_entries: IntCounterVec,
    /// Times that everything was told anew.
    pub resyncs: IntCounter,
    /// Calls that came over from another edge.
    pub calls_taken_over: IntCounter,
    /// Calls that other edges have.
    pub peer_calls: IntGauge,
    /// TCP connections.
    pub connections: IntGauge,
    /// Changes of leases given to the store.
    pub store_changes: IntCounter,
    /// Changes that it lost.
    pub store_lost: IntCounter,
    /// Its failed commits.
    pub store_failures: IntCounter,
    /// Watchers of events.
    pub event_watchers: IntGauge,
    /// 0 while the store cannot write.
    pub store_up: IntGauge,
    /// Seconds since the edge started.
    pub uptime: IntGauge,
    /// 1 while the edge is stopping.
    pub stopping: IntGauge,
    /// Connections turned away.
    pub connections_refused: IntCounter,
    /// Connections closed for what they did.
    pub connections_broken: IntCounter,
}

/// Brings a counter up to a total that is counted elsewhere.
pub fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

/// Families with a series for each node.
struct Families {
    leased: IntCounterVec,
    answered: IntCounterVec,
    answers: IntCounterVec,
    abandoned: IntCounterVec,
    probes: IntCounterVec,
    probe_seconds: HistogramVec,
    changes: IntCounterVec,
    leases: IntGaugeVec,
    capacity: IntGaugeVec,
    weight: IntGaugeVec,
    share: IntGaugeVec,
    up: IntGaugeVec,
    closed: IntGaugeVec,
    admin: IntGaugeVec,
    takes_calls: IntGaugeVec,
    probe_age: IntGaugeVec,
    calls_missing: IntGaugeVec,
    calls_surplus: IntGaugeVec,
    complaints: IntGaugeVec,
}

/// One node's handles.
pub struct NodeMetrics {
    name: Arc<str>,
    leased: IntCounter,
    answered: IntCounter,
    answers: [IntCounter; 5],
    abandoned: [IntCounter; Cause::ALL.len()],
    /// Probes that were answered, not answered in time, refused.
    pub probes_answered: IntCounter,
    /// See `probes_answered`.
    pub probes_failed: IntCounter,
    /// Round trips of probes.
    pub probe_seconds: Histogram,
    /// Changes of the verdict.
    pub changes: IntCounter,
    /// Leases.
    pub leases: IntGauge,
    /// Calls that it may have; -1 without a limit.
    pub capacity: IntGauge,
    /// Configured weight.
    pub weight: IntGauge,
    /// The part of its weight that it has now, in percent.
    pub share: IntGauge,
    /// 1 when alive.
    pub up: IntGauge,
    /// 1 when it said that it takes no calls.
    pub closed: IntGauge,
    /// 0 enabled, 1 draining, 2 disabled.
    pub admin: IntGauge,
    /// 1 when it may take a new call.
    pub takes_calls: IntGauge,
    /// Seconds since a probe was answered; -1 for never.
    pub probe_age: IntGauge,
    /// Calls of the edge that it did not have when it was asked last.
    pub calls_missing: IntGauge,
    /// Its calls that the edge did not have.
    pub calls_surplus: IntGauge,
    /// 1 while its channels cannot be read, and while it is not told of agents.
    pub complaints: [IntGauge; COMPLAINTS.len()],
}

/// What may not work with a node, beside calls.
pub const COMPLAINTS: [&str; 2] = ["channels", "states"];
const ANSWER_CLASSES: [&str; 5] = ["2xx", "3xx", "4xx", "5xx", "6xx"];

impl Metrics {
    /// All families, without nodes.
    pub fn new() -> Self {
        let registry = Registry::new();
        let made = Maker { registry: &registry };
        let families = Families::new(&made);
        let scrape = Scrape::new(&made);
        let build = made.gauges("build_info", "The version that runs; always 1.", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let metrics = Metrics {
            by_node: ArcSwap::from_pointee(Vec::new()),
            rebuilding: Mutex::new(()),
            families,
            received: made.counters("messages_received_total", "SIP messages received.", &["transport"]),
            sent: made.counters("messages_sent_total", "SIP messages sent.", &["transport"]),
            unsent: made.counters("messages_unsent_total", "SIP messages that could not be sent.", &["transport"]),
            dropped: made.counters("messages_dropped_total", "Messages that went no further, by reason.", &["reason"]),
            rejected: made.counters("requests_rejected_total", "Requests that the edge refused.", &["reason", "code"]),
            requests: made.counters("requests_forwarded_total", "Requests forwarded.", &["method", "side"]),
            known: Known::default(),
            responses: made.counter("responses_forwarded_total", "Responses forwarded."),
            ended: made.counters("calls_ended_total", "Calls that gave their place back, by cause.", &["cause"]),
            adopted: made.counter("calls_adopted_total", "Calls that were found inside their dialog."),
            resent: made.counter("resends_total", "Messages that the edge sent again on its own account."),
            late: made.counters("late_answers_total", "2xx of nodes that had been given up.", &["outcome"]),
            registered: made.counters("registrations_total", "Bindings granted.", &["outcome"]),
            bindings_ended: made.counters("bindings_ended_total", "Bindings that ended, by cause.", &["cause"]),
            registration_commits: made
                .counter("registration_commits_total", "Times that registrations were brought to disk."),
            agent_changes: made.counters("agent_changes_total", "Changes of agents' states.", &["state"]),
            reservations: made.counters(
                "agent_reservations_total",
                "Agents who were held for a call, by what became of it.",
                &["outcome"],
            ),
            publications: made.counters(
                "agent_publications_total",
                "States of agents that nodes were told, by the class of their answer.",
                &["answer"],
            ),
            agent_calls: made.counter("agent_calls_total", "Times that a call was offered to an agent's phone."),
            publication: made.histogram(
                "agent_publication_seconds",
                "From a change of an agent's state to the 2xx of a node that was told.",
                &PUBLICATION_BUCKETS,
            ),
            reconcile_checks: made.counters("reconcile_checks_total", "Looks at nodes' channels.", &["result"]),
            reconciled: made.counters(
                "reconciled_calls_total",
                "Calls that edge and node disagreed about, by what was done.",
                &["action"],
            ),
            ringing_after: made.histogram(
                "post_dial_delay_seconds",
                "From the INVITE to the first ringing or progress.",
                &WAIT_BUCKETS,
            ),
            answered_after: made.histogram("answer_seconds", "From the INVITE to its 2xx.", &WAIT_BUCKETS),
            talked: made.histogram("call_duration_seconds", "From a call's 2xx to its end.", &TALK_BUCKETS),
            forwarding: made.histogram(
                "forwarding_seconds",
                "From the receipt of a batch of datagrams to its last send.",
                &EDGE_BUCKETS,
            ),
            reloads: made.counters("config_reloads_total", "Attempts to load the configuration.", &["result"]),
            reload_ok: made.gauge("config_last_reload_successful", "1 when the last attempt to load succeeded."),
            reload_time: made
                .gauge("config_last_reload_timestamp_seconds", "When the serving configuration was loaded."),
            generation: made.gauges("config_generation", "The serving configuration; always 1.", &["generation"]),
            scrape,
            registry: registry.clone(),
        };
        metrics.start_at_zero();
        metrics
    }

    /// Series that an alert looks for are there before their first event.
    fn start_at_zero(&self) {
        for transport in ["udp", "tcp"] {
            for family in [&self.received, &self.sent, &self.unsent] {
                family.with_label_values(&[transport]);
            }
        }
        for cause in EndCause::ALL {
            self.ended.with_label_values(&[cause.as_str()]);
        }
        for result in ["ok", "failed", "unchanged"] {
            self.reloads.with_label_values(&[result]);
        }
        for result in ["answered", "missed", "skipped"] {
            self.scrape.shared_store_questions.with_label_values(&[result]);
        }
        for direction in ["told", "heard", "unreadable"] {
            self.scrape.edge_entries.with_label_values(&[direction]);
        }
        for outcome in ["added", "refreshed"] {
            self.registered.with_label_values(&[outcome]);
        }
        for state in State::ALL {
            self.agent_changes.with_label_values(&[state.as_str()]);
        }
        for (outcome, _) in Reservations::default().by_outcome() {
            self.reservations.with_label_values(&[outcome]);
        }
        for answer in ["2xx", "4xx", "5xx", "none"] {
            self.publications.with_label_values(&[answer]);
        }
        for cause in Ended::ALL {
            self.bindings_ended.with_label_values(&[cause.as_str()]);
        }
        for result in ["ok", "failed"] {
            self.reconcile_checks.with_label_values(&[result]);
        }
        for action in ["ended", "adopted", "hung_up"] {
            self.reconciled.with_label_values(&[action]);
        }
        for outcome in ["forwarded", "ended"] {
            self.late.with_label_values(&[outcome]);
        }
    }

    /// Takes up a new farm: new nodes get their series, those that are gone lose them.
    pub fn apply(&self, farm: &Farm, keep: impl Fn(NodeId) -> Option<Arc<str>>) {
        let _rebuilding = self.rebuilding.lock();
        let old = self.by_node.load();
        let len = farm.nodes.len().max(old.len());
        let mut list: Vec<Option<Arc<NodeMetrics>>> = Vec::with_capacity(len);
        for id in 0..len as u32 {
            // All agents together are no node.
            let node = farm.node(NodeId(id)).filter(|node| node.kind != Kind::Agents);
            let name = node.map(|node| Arc::clone(&node.name)).or_else(|| keep(NodeId(id)));
            let had = old.get(id as usize).and_then(Option::as_ref);
            list.push(match (name, had) {
                (Some(_), Some(had)) => Some(Arc::clone(had)),
                (Some(name), None) => Some(Arc::new(self.families.node(&name))),
                (None, Some(had)) => {
                    self.families.forget(&had.name);
                    None
                }
                (None, None) => None,
            });
        }
        self.by_node.store(Arc::new(list));
        self.generation.reset();
        self.generation.with_label_values(&[&farm.generation.to_string()]).set(1);
    }

    /// One node's handles.
    pub fn node(&self, id: NodeId) -> Option<Arc<NodeMetrics>> {
        self.by_node.load().get(id.0 as usize).cloned().flatten()
    }

    /// Counts what happened.
    pub fn record(&self, events: &[Event]) {
        if events.is_empty() {
            return;
        }
        let nodes = self.by_node.load();
        let node = |id: NodeId| nodes.get(id.0 as usize).and_then(Option::as_ref);
        for event in events {
            match *event {
                Event::Dropped(reason) => self.dropped.with_label_values(&[reason.as_str()]).inc(),
                Event::Rejected(reason) => {
                    self.rejected.with_label_values(&[reason.as_str(), &reason.code().to_string()]).inc();
                }
                Event::RequestForwarded(method, side) => {
                    let labels = &[method.as_str(), side.as_str()];
                    let known = &self.known.requests[method as usize][side as usize];
                    known.get_or_init(|| self.requests.with_label_values(labels)).inc();
                }
                Event::ResponseForwarded(_) => self.responses.inc(),
                Event::NodeAnswered { node: id, code } => {
                    let class = usize::from((code / 100).clamp(2, 6)) - 2;
                    node(id).inspect(|node| node.answers[class].inc());
                }
                Event::CallLeased { choice: Choice::Location, .. } => self.agent_calls.inc(),
                Event::CallLeased { node: id, .. } => {
                    node(id).inspect(|node| node.leased.inc());
                }
                Event::CallAdopted(_) => self.adopted.inc(),
                Event::CallRinging(after) => self.ringing_after.observe(after.as_secs_f64()),
                Event::CallAnswered { node: id, after } => {
                    self.answered_after.observe(after.as_secs_f64());
                    node(id).inspect(|node| node.answered.inc());
                }
                Event::TryAbandoned { node: id, cause } => {
                    node(id).inspect(|node| node.abandoned[cause as usize].inc());
                }
                Event::LateAnswer { forwarded, .. } => {
                    self.late.with_label_values(&[if forwarded { "forwarded" } else { "ended" }]).inc();
                }
                Event::LeaseEnded { cause, talked, .. } => {
                    let known = &self.known.ended[cause as usize];
                    known.get_or_init(|| self.ended.with_label_values(&[cause.as_str()])).inc();
                    talked.inspect(|talked: &Duration| self.talked.observe(talked.as_secs_f64()));
                }
                Event::Registered(changes) => self.count_registration(changes),
                Event::Resent => self.resent.inc(),
                // The publisher counts these.
                Event::Published { .. } | Event::StatesAsked(_) => {}
                // The prober counts what it makes of these.
                Event::Health { .. } => {}
            }
        }
    }

    fn count_registration(&self, changes: Changes) {
        let outcomes = [("added", changes.added), ("refreshed", changes.refreshed)];
        for (outcome, count) in outcomes.into_iter().filter(|(_, count)| *count > 0) {
            self.registered.with_label_values(&[outcome]).inc_by(count as u64);
        }
        for (cause, count) in changes.ended().into_iter().filter(|(_, count)| *count > 0) {
            self.bindings_ended.with_label_values(&[cause.as_str()]).inc_by(count as u64);
        }
    }

    /// How long calls have lasted on average, once enough of them have ended to say so.
    pub fn mean_call_secs(&self) -> Option<f64> {
        let count = self.talked.get_sample_count();
        (count >= 3).then(|| self.talked.get_sample_sum() / count as f64)
    }

    /// The text that Prometheus reads.
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        if TextEncoder::new().encode(&self.registry.gather(), &mut text).is_err() {
            return String::new();
        }
        String::from_utf8(text).unwrap_or_default()
    }

    /// Names of all families, for the comparison with the documentation.
    pub fn names(&self) -> Vec<String> {
        let nodes = Arc::new(self.families.node("any"));
        drop(nodes);
        self.requests.with_label_values(&["INVITE", "node"]);
        self.dropped.with_label_values(&["any"]);
        self.rejected.with_label_values(&["any", "0"]);
        self.generation.with_label_values(&["any"]);
        self.scrape.leases.with_label_values(&["up"]);
        self.scrape.agents.with_label_values(&["ready"]);
        self.registry.gather().iter().map(|family| family.name().to_owned()).collect()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Makes families and registers them. Every name is a constant here and unique, so nothing of this can fail at run
/// time; a test makes them all.
struct Maker<'a> {
    registry: &'a Registry,
}

impl Maker<'_> {
    fn take<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let collector = made.expect("metric names and labels are constants and legal");
        self.registry.register(Box::new(collector.clone())).expect("metric names are constants and unique");
        collector
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.take(IntCounter::with_opts(options(name, help)))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.take(IntCounterVec::new(options(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.take(IntGauge::with_opts(options(name, help)))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.take(IntGaugeVec::new(options(name, help), labels))
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.take(Histogram::with_opts(histogram(name, help, buckets)))
    }

    fn histograms(&self, name: &str, help: &str, buckets: &[f64], labels: &[&str]) -> HistogramVec {
        self.take(HistogramVec::new(histogram(name, help, buckets), labels))
    }
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(format!("cordboard_{name}"), help)
}

fn histogram(name: &str, help: &str, buckets: &[f64]) -> HistogramOpts {
    HistogramOpts::new(format!("cordboard_{name}"), help).buckets(buckets.to_vec())
}

impl Scrape {
    fn new(made: &Maker<'_>) -> Self {
        Scrape {
            leases: made.gauges("leases", "Calls that take a place on a node, by phase.", &["phase"]),
            leases_max: made.gauge("leases_max", "Leases that the edge may hold, remembered ones included."),
            agents: made.gauges("agents", "Agents of whom something is known, by state.", &["state"]),
            bindings: made.gauge("bindings", "Registered phones."),
            edges: made.gauge("edges", "Edges that are there, this one included."),
            shared_store_up: made
                .gauge("shared_store_up", "0 while the store that edges share is away or there is none."),
            shared_store_questions: made.counters(
                "shared_store_questions_total",
                "Requests to the store that edges share, by result.",
                &["result"],
            ),
            edge_entries: made.counters(
                "edge_entries_total",
                "What this edge told others and heard from them.",
                &["direction"],
            ),
            resyncs: made.counter("edge_resyncs_total", "Times that this edge told all it knows anew."),
            calls_taken_over: made.counter("calls_taken_over_total", "Calls that came over from another edge."),
            peer_calls: made.gauge("peer_calls", "Calls that other edges have."),
            connections: made.gauge("tcp_connections", "TCP connections that are open."),
            store_changes: made.counter("store_lease_changes_total", "Changes of leases given to the store."),
            store_lost: made.counter("store_lease_changes_lost_total", "Changes of leases that the store lost."),
            store_failures: made.counter("store_failures_total", "Commits of the store that failed."),
            event_watchers: made.gauge("event_watchers", "Connections that watch events."),
            store_up: made.gauge("store_up", "0 while the store cannot write."),
            uptime: made.gauge("uptime_seconds", "Seconds since the edge started."),
            stopping: made.gauge("stopping", "1 while the edge is stopping."),
            connections_refused: made
                .counter("tcp_connections_refused_total", "TCP connections turned away for a limit."),
            connections_broken: made
                .counter("tcp_connections_broken_total", "TCP connections closed for what they did."),
        }
    }
}

impl Families {
    fn new(made: &Maker<'_>) -> Self {
        let node = &["node"][..];
        Families {
            leased: made.counters("node_calls_total", "Calls given to the node.", node),
            answered: made.counters("node_calls_answered_total", "Calls that the node answered.", node),
            answers: made.counters("node_answers_total", "Final answers to INVITE.", &["node", "class"]),
            abandoned: made.counters("node_failovers_total", "Calls taken away from the node.", &["node", "cause"]),
            probes: made.counters("node_probes_total", "Probes by result.", &["node", "result"]),
            probe_seconds: made.histograms("node_probe_seconds", "Round trip of probes.", &PROBE_BUCKETS, node),
            changes: made.counters("node_changes_total", "Changes between up and down.", node),
            leases: made.gauges("node_leases", "Calls on the node.", node),
            capacity: made.gauges("node_capacity", "Calls that the node may have; -1 without a limit.", node),
            weight: made.gauges("node_weight", "Configured weight; the largest, for a node of several pools.", node),
            share: made.gauges("node_share_percent", "Part of its weight that the node has now.", node),
            up: made.gauges("node_up", "1 when health checks find the node alive.", node),
            closed: made.gauges("node_closed", "1 when the node says that it takes no calls.", node),
            admin: made.gauges("node_admin", "What the operator wants: 0 enabled, 1 draining, 2 disabled.", node),
            takes_calls: made.gauges("node_takes_calls", "1 when the node may take a new call.", node),
            probe_age: made.gauges("node_probe_age_seconds", "Since a probe was answered; -1 for never.", node),
            calls_missing: made.gauges("node_calls_missing", "Calls of the edge that the node does not have.", node),
            calls_surplus: made.gauges("node_calls_surplus", "Calls of the node that the edge does not have.", node),
            complaints: made.gauges("node_complaint", "1 while something does not work.", &["node", "about"]),
        }
    }

    fn node(&self, name: &str) -> NodeMetrics {
        let answers = ANSWER_CLASSES.map(|class| self.answers.with_label_values(&[name, class]));
        let abandoned = Cause::ALL.map(|cause| self.abandoned.with_label_values(&[name, cause.as_str()]));
        let gauge = |family: &IntGaugeVec| family.with_label_values(&[name]);
        NodeMetrics {
            name: name.into(),
            leased: self.leased.with_label_values(&[name]),
            answered: self.answered.with_label_values(&[name]),
            answers,
            abandoned,
            probes_answered: self.probes.with_label_values(&[name, "answered"]),
            probes_failed: self.probes.with_label_values(&[name, "failed"]),
            probe_seconds: self.probe_seconds.with_label_values(&[name]),
            changes: self.changes.with_label_values(&[name]),
            leases: gauge(&self.leases),
            capacity: gauge(&self.capacity),
            weight: gauge(&self.weight),
            share: gauge(&self.share),
            up: gauge(&self.up),
            closed: gauge(&self.closed),
            admin: gauge(&self.admin),
            takes_calls: gauge(&self.takes_calls),
            probe_age: gauge(&self.probe_age),
            calls_missing: gauge(&self.calls_missing),
            calls_surplus: gauge(&self.calls_surplus),
            complaints: COMPLAINTS.map(|about| self.complaints.with_label_values(&[name, about])),
        }
    }

    /// Drops every series of a node.
    fn forget(&self, name: &str) {
        for family in [&self.leased, &self.answered, &self.changes] {
            let _ = family.remove_label_values(&[name]);
        }
        for class in ANSWER_CLASSES {
            let _ = self.answers.remove_label_values(&[name, class]);
        }
        for cause in Cause::ALL {
            let _ = self.abandoned.remove_label_values(&[name, cause.as_str()]);
        }
        for result in ["answered", "failed"] {
            let _ = self.probes.remove_label_values(&[name, result]);
        }
        for about in COMPLAINTS {
            let _ = self.complaints.remove_label_values(&[name, about]);
        }
        let _ = self.probe_seconds.remove_label_values(&[name]);
        let gauges = [
            &self.leases,
            &self.capacity,
            &self.weight,
            &self.share,
            &self.up,
            &self.closed,
            &self.admin,
            &self.takes_calls,
            &self.probe_age,
            &self.calls_missing,
            &self.calls_surplus,
        ];
        for family in gauges {
            let _ = family.remove_label_values(&[name]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_can_be_made_and_is_named_in_our_way() {
        let names = Metrics::new().names();
        assert!(names.len() > 30, "{names:?}");
        assert!(names.iter().all(|name| name.starts_with("cordboard_")), "{names:?}");
    }
}
