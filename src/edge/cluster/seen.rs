//! What can be seen of several edges from outside.

use std::sync::atomic::{AtomicU64, Ordering};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cluster::Others;
use crate::edge::view::Viewer;
use crate::metrics::raise;

/// Another edge, as its last heartbeat says.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EdgeView {
    /// Its name.
    pub edge: String,
    /// Where other edges reach it.
    pub address: String,
    /// Whether it has the same configuration, but for what differs from edge to edge.
    pub has_same_configuration: bool,
    /// The version that it runs.
    pub version: String,
    /// Whether it is ending, and takes no new calls.
    pub is_stopping: bool,
    /// Calls that it has.
    pub calls: u64,
    /// Milliseconds since its last heartbeat.
    pub heard_millis_ago: u64,
    /// How far its clock is ahead of this edge's, in milliseconds.
    pub clock_ahead_millis: i64,
    /// Nodes that it takes for dead.
    pub down: Vec<String>,
}

impl Viewer {
    /// The other edges, by name.
    pub fn edges(&self) -> Vec<EdgeView> {
        let Some(cluster) = &self.engine.cluster else { return Vec::new() };
        let (now, generation) = (self.engine.clock.now(), cluster.shared_generation());
        cluster.with_members(|members| {
            let view = members.iter().map(|(edge, member)| EdgeView {
                edge: edge.to_owned(),
                address: member.heartbeat.address.clone(),
                has_same_configuration: member.heartbeat.generation == generation,
                version: member.heartbeat.version.clone(),
                is_stopping: member.heartbeat.is_stopping,
                calls: member.heartbeat.calls,
                heard_millis_ago: now.since(member.seen).as_millis() as u64,
                clock_ahead_millis: member.clock_ahead_millis,
                down: member.heartbeat.down.clone(),
            });
            view.collect()
        })
    }

    /// Brings the numbers of several edges up to date, for a scrape.
    pub fn measure_edges(&self) {
        let scrape = &self.engine.metrics.scrape;
        let Some(cluster) = &self.engine.cluster else { return scrape.edges.set(1) };
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        scrape.edges.set(1 + cluster.with_members(|members| members.iter().count() as i64));
        scrape.shared_store_up.set(i64::from(cluster.shared.is_up()));
        scrape.peer_calls.set(cluster.with_peers(|peers| peers.len() as i64));
        let questions = &cluster.shared.counts;
        for (result, count) in
            [("answered", &questions.answered), ("missed", &questions.missed), ("skipped", &questions.skipped)]
        {
            raise(&scrape.shared_store_questions.with_label_values(&[result]), read(count));
        }
        let counts = &cluster.counts;
        for (direction, count) in [("told", &counts.told), ("heard", &counts.heard), ("unreadable", &counts.unreadable)]
        {
            raise(&scrape.edge_entries.with_label_values(&[direction]), read(count));
        }
        raise(&scrape.resyncs, read(&counts.resyncs));
        raise(&scrape.calls_taken_over, read(&counts.taken_over));
    }
}
