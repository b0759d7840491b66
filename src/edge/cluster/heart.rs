//! The heartbeat: says that this edge is there, hears who else is, and takes over what one who is gone left behind.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rand::RngExt;

use crate::calls::CallKey;
use crate::cluster::members::{Change, Heartbeat};
use crate::edge::clock::wall_millis;
use crate::edge::engine::Engine;
use crate::proxy::contract::Registry;
use crate::store::redis::Beaten;

use super::Cluster;

/// Heartbeats within the time that an edge may be silent.
const BEATS: u32 = 5;
/// Every so many heartbeats the first edge looks for places of calls that nobody has.
const SWEEP_EVERY: u64 = 50;
/// Names whose heartbeats cannot be read, of which it is remembered that they were said.
const UNREADABLE_MAX: usize = 64;

/// The task.
pub struct Heart {
    engine: Arc<Engine>,
    cluster: Arc<Cluster>,
    beat: u64,
    epoch: Option<String>,
    is_away: bool,
    /// Places of which no edge knew a call when they were last looked at.
    doubtful: BTreeSet<u128>,
    /// Names whose heartbeats cannot be read: each is said once.
    unreadable: BTreeSet<Vec<u8>>,
}

impl Heart {
    /// For this edge.
    pub fn new(engine: Arc<Engine>, cluster: Arc<Cluster>) -> Self {
        Heart {
            engine,
            cluster,
            beat: 0,
            epoch: None,
            is_away: false,
            doubtful: BTreeSet::new(),
            unreadable: BTreeSet::new(),
        }
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
                    self.cluster.members.lock().excuse(self.engine.clock.now());
                }
                for gone in self.hear(beaten) {
                    self.forget(&gone).await;
                }
                if self.beat.is_multiple_of(SWEEP_EVERY) {
                    self.end_phones();
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
    fn hear(&mut self, beaten: Beaten) -> Vec<Arc<str>> {
        if self.epoch.as_ref() != Some(&beaten.epoch) {
            if self.epoch.is_some() {
                tracing::warn!(
                    "the shared store was emptied, or is another one; everything that this edge knows is told again"
                );
                self.cluster.owes_all.store(true, Ordering::Relaxed);
                self.cluster.wake.notify_one();
            }
            self.epoch = Some(beaten.epoch);
        }
        for key in &beaten.damaged {
            tracing::warn!("{key} in the shared store is none of the farm's; it was moved aside to {key}:damaged");
            self.cluster.counts.unreadable.fetch_add(1, Ordering::Relaxed);
        }
        let own = Arc::clone(&self.cluster.edge);
        let heartbeats = beaten.edges.iter().filter(|(edge, _)| **edge != *own.as_bytes());
        let heartbeats: Vec<_> = heartbeats.filter_map(|(edge, octets)| self.read(edge, octets)).collect();
        let now = self.engine.clock.now();
        let (changes, is_first) = {
            let mut members = self.cluster.members.lock();
            let changes = members.read(heartbeats.into_iter(), wall_millis(), now, self.cluster.gone_after);
            (changes, members.is_first(&own))
        };
        self.cluster.is_first.store(is_first, Ordering::Relaxed);
        changes.into_iter().filter_map(|change| self.act_on(change)).collect()
    }

    /// Another edge's name and heartbeat.
    fn read<'a>(&mut self, edge: &'a [u8], octets: &[u8]) -> Option<(&'a str, Heartbeat)> {
        let read = std::str::from_utf8(edge).ok().zip(serde_json::from_slice(octets).ok());
        if read.is_none() && self.unreadable.len() < UNREADABLE_MAX && self.unreadable.insert(edge.to_vec()) {
            let edge = String::from_utf8_lossy(edge);
            tracing::warn!("the heartbeat of {edge:?} cannot be read: it is of another version, or not the farm's");
            self.cluster.counts.unreadable.fetch_add(1, Ordering::Relaxed);
        }
        read
    }

    /// The heartbeat of an edge that is gone is nobody's any more.
    async fn forget(&self, edge: &str) {
        if self.cluster.is_first()
            && let Err(error) = self.cluster.shared.forget(edge).await
        {
            tracing::debug!(edge, "its heartbeat could not be forgotten: {error}");
        }
    }

    fn act_on(&self, change: Change) -> Option<Arc<str>> {
        match change {
            Change::Came(edge) => {
                tracing::info!(edge = &*edge, "edge {edge} is here");
                None
            }
            Change::Restarted(edge) => {
                tracing::info!(edge = &*edge, "edge {edge} has started anew");
                None
            }
            Change::Gone(edge) => {
                let inherited = self.inherit(&edge);
                tracing::warn!(edge = &*edge, "edge {edge} is gone; {inherited} of its calls are this edge's now");
                Some(edge)
            }
        }
    }

    /// Takes over this edge's part of what another one left behind.
    fn inherit(&self, edge: &str) -> usize {
        let keys = self.cluster.with_peers(|peers| peers.of_edge(edge));
        let own = Arc::clone(&self.cluster.edge);
        let is_heir = |key: u128| self.cluster.with_members(|members| members.heir(&own, key as u64) == &*own);
        let keys = keys.into_iter().filter(|key| is_heir(key.0));
        let inherited = keys.filter(|key| self.engine.take_over(&self.cluster, *key)).map(|key| (key, edge.into()));
        let inherited: Vec<(CallKey, Arc<str>)> = inherited.collect();
        let count = inherited.len();
        let mut known = self.cluster.inherited.lock();
        known.retain(|key, _| self.engine.has_call(*key));
        known.extend(inherited);
        count
    }

    /// Phones of other edges whose time is over.
    fn end_phones(&self) {
        let over = self.cluster.with_homes(|homes| homes.expire(wall_millis()));
        let now = self.engine.clock.now();
        for aor in over {
            let is_registered = !self.engine.registrations.of(&aor).is_empty();
            self.engine.registrations.set_registered(&aor, is_registered, now);
        }
    }

    /// Gives back places in the shared store that belong to no call: an edge died between taking one and telling of the call.
    async fn sweep(&mut self) {
        let Ok(seats) = self.cluster.shared.seats().await else { return };
        let is_known = |key: u128| {
            let key = crate::calls::CallKey(key);
            self.cluster.with_peers(|peers| peers.find(key).is_some()) || self.engine.has_call(key)
        };
        let unknown: BTreeSet<u128> = seats.iter().map(|(key, ..)| *key).filter(|key| !is_known(*key)).collect();
        for key in unknown.intersection(&self.doubtful) {
            self.cluster.tell_call(crate::calls::CallKey(*key), None);
        }
        self.doubtful = unknown;
    }
}
