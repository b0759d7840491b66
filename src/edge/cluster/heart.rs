//! The heartbeat: says that this edge is there, and hears who else is.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rand::RngExt;

use crate::cluster::members::{Change, Heartbeat};
use crate::cluster::pulse::{Heard, Pulse};
use crate::edge::clock::wall_millis;
use crate::edge::engine::Engine;
use crate::store::redis::Beaten;

use super::Cluster;

/// Heartbeats within the time that an edge may be silent.
const BEATS: u32 = 5;
/// Every so many heartbeats the first edge looks for places of calls that nobody has.
const SWEEP_EVERY: u64 = 50;

/// The task.
pub struct Heart {
    engine: Arc<Engine>,
    cluster: Arc<Cluster>,
    beat: u64,
    pulse: Pulse,
    is_away: bool,
}

impl Heart {
    /// For this edge.
    pub fn new(engine: Arc<Engine>, cluster: Arc<Cluster>) -> Self {
        Heart { engine, cluster, beat: 0, pulse: Pulse::default(), is_away: false }
    }

    /// Runs until it is aborted.
    pub async fn run(mut self) {
        loop {
            self.beat().await;
            tokio::time::sleep(self.cluster.gone_after / BEATS).await;
        }
    }

    /// One heartbeat.
    pub async fn beat(&mut self) {
        self.beat += 1;
        let octets = serde_json::to_vec(&self.heartbeat()).unwrap_or_default();
        let new_epoch = format!("{:032x}", rand::rng().random::<u128>());
        match self.cluster.shared.beat(&self.cluster.edge, &octets, &new_epoch).await {
            Ok(beaten) => {
                if std::mem::replace(&mut self.is_away, false) {
                    tracing::info!("the shared store answers again");
                }
                for gone in self.hear(&beaten) {
                    self.forget(&gone).await;
                }
                if self.beat.is_multiple_of(SWEEP_EVERY) {
                    self.engine.among(&self.cluster).end_phones();
                    if self.cluster.is_first() {
                        self.sweep().await;
                    }
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_away, true) {
                    tracing::warn!("the shared store is away: {error}; calls go by what this edge knows itself");
                }
            }
        }
    }

    fn heartbeat(&self) -> Heartbeat {
        let farm = self.engine.farm.load();
        let mut calls = 0;
        self.engine.look_at_shards(|shard| calls += shard.iter().filter(|lease| lease.is_open()).count() as u64);
        let down = farm.nodes.iter().flatten().filter(|node| node.live.is_unreachable());
        Heartbeat {
            beat: self.beat,
            run: self.cluster.run,
            generation: self.cluster.shared_generation(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            address: farm.listeners.first().map_or_else(String::new, |listener| {
                // What it says to others of itself may be an address that another edge has by now.
                let bind = (!listener.bind.ip().is_unspecified()).then(|| listener.bind.to_string());
                let address = bind.unwrap_or_else(|| String::from_utf8_lossy(&listener.sent_by).into_owned());
                format!("{}://{address}", listener.protocol.lower())
            }),
            clock: wall_millis(),
            calls,
            is_stopping: self.engine.is_stopping(),
            down: down.map(|node| node.name.to_string()).collect(),
        }
    }

    /// Takes in who is there; returns who is gone.
    fn hear(&mut self, beaten: &Beaten) -> Vec<Arc<str>> {
        let heard = self.pulse.hear(&self.engine.among(&self.cluster), beaten, self.cluster.gone_after);
        self.cluster.is_first.store(heard.is_first, Ordering::Relaxed);
        self.say(&heard, &beaten.damaged);
        for (edge, calls) in &heard.inherited {
            self.cluster.counts.taken_over.fetch_add(*calls as u64, Ordering::Relaxed);
            tracing::warn!(edge = &**edge, "edge {edge} is gone; {calls} of its calls are this edge's now");
        }
        heard.inherited.into_iter().map(|(edge, _)| edge).collect()
    }

    fn say(&self, heard: &Heard, damaged: &[String]) {
        if heard.was_emptied {
            tracing::warn!(
                "the shared store was emptied, or is another one; everything that this edge knows is told again"
            );
        }
        for key in damaged {
            tracing::warn!("{key} in the shared store is none of the farm's; it was moved aside to {key}:damaged");
        }
        for edge in &heard.unreadable {
            tracing::warn!("the heartbeat of {edge:?} cannot be read: it is of another version, or not the farm's");
        }
        let unreadable = (damaged.len() + heard.unreadable.len()) as u64;
        self.cluster.counts.unreadable.fetch_add(unreadable, Ordering::Relaxed);
        for change in &heard.changes {
            match change {
                Change::Came(edge) => tracing::info!(edge = &**edge, "edge {edge} is here"),
                Change::Restarted(edge) => tracing::info!(edge = &**edge, "edge {edge} has started anew"),
                // What it left behind is said beside it.
                Change::Gone(_) => {}
            }
        }
    }

    /// The heartbeat of an edge that is gone is nobody's any more.
    async fn forget(&self, edge: &str) {
        if self.cluster.is_first()
            && let Err(error) = self.cluster.shared.forget(edge).await
        {
            tracing::debug!(edge, "its heartbeat could not be forgotten: {error}");
        }
    }

    /// Gives back places in the shared store that belong to no call.
    async fn sweep(&mut self) {
        let Ok(places) = self.cluster.shared.seats().await else { return };
        self.pulse.sweep(&self.engine.among(&self.cluster), places.iter().map(|(key, ..)| *key));
    }
}
