//! What the other edges told is taken in, in the order of the log.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::calls::CallKey;
use crate::cluster::Entry;
use crate::edge::engine::Engine;
use crate::store::redis::{Away, Follower, Snapshot, Stored};

use super::Cluster;

/// Pause after the log could not be read.
const PAUSE: Duration = Duration::from_millis(200);

/// The task.
pub struct Reader {
    engine: Arc<Engine>,
    cluster: Arc<Cluster>,
    after: Option<String>,
    /// The epoch in which all that was known was read last.
    epoch: Option<String>,
}

impl Reader {
    /// For this edge.
    pub fn new(engine: Arc<Engine>, cluster: Arc<Cluster>) -> Self {
        Reader { engine, cluster, after: None, epoch: None }
    }

    /// Takes in all that is known, before the edge serves. `false` when the store does not answer: then it is taken in later.
    pub async fn join(&mut self) -> bool {
        let joined = self.catch_up().await;
        if let Err(error) = &joined {
            tracing::debug!("the shared store could not be read: {error}");
        }
        joined.is_ok()
    }

    async fn catch_up(&mut self) -> Result<(), Away> {
        let snapshot = self.cluster.shared.snapshot().await?;
        if snapshot.epoch.is_some() && snapshot.epoch == self.epoch {
            self.end_missing(&snapshot);
        }
        snapshot.entries.iter().for_each(|stored| self.take_in(stored));
        // In a new epoch the others have told, perhaps by now, what they have, and so what is over.
        let is_new = self.epoch.is_some() && snapshot.epoch != self.epoch;
        let began = snapshot.epoch_began().filter(|_| is_new).map(str::to_owned);
        (self.after, self.epoch) = (Some(began.unwrap_or(snapshot.after)), snapshot.epoch);
        Ok(())
    }

    /// Calls that ended while this edge could not read the log, and whose end has left it.
    fn end_missing(&self, snapshot: &Snapshot) {
        let there: HashSet<&str> = snapshot.entries.iter().map(|stored| stored.at.as_str()).collect();
        let calls = self.cluster.with_peers(|peers| peers.keys());
        let name = |key: &CallKey| Entry::Call { key: key.0, lease: None }.name("");
        let is_there = |key: &CallKey| there.contains(&*String::from_utf8_lossy(&name(key)));
        calls.into_iter().filter(|key| !is_there(key)).for_each(|key| self.engine.hear_end(&self.cluster, key));
    }

    /// Runs until it is aborted.
    pub async fn run(mut self) {
        loop {
            if let Err(error) = self.follow().await {
                tracing::debug!("the log of the shared store cannot be followed: {error}");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Follows the log until the connection breaks, or another server is the one to follow.
    async fn follow(&mut self) -> Result<(), Away> {
        let mut follower = self.cluster.shared.follower().await?;
        // What was missed meanwhile may have left the log.
        self.catch_up().await?;
        while self.read_on(&mut follower).await? {}
        Ok(())
    }

    async fn read_on(&mut self, follower: &mut Follower) -> Result<bool, Away> {
        let after = self.after.clone().unwrap_or_else(|| "0".to_owned());
        let (last, entries) = follower.read(&after).await?;
        if !self.cluster.shared.is_followed_by(follower) {
            // The others tell at another server.
            return Ok(false);
        }
        entries.iter().for_each(|stored| self.take_in(stored));
        self.after = Some(last);
        Ok(true)
    }

    fn take_in(&self, stored: &Stored) {
        match Entry::read(&stored.octets) {
            Some((edge, entry)) => {
                self.cluster.counts.heard.fetch_add(1, Ordering::Relaxed);
                self.engine.hear(edge, entry);
            }
            None if self.cluster.counts.unreadable.fetch_add(1, Ordering::Relaxed) == 0 => {
                tracing::warn!(
                    "the shared store holds what cannot be read, at {:?}: it is of another version, or not the farm's",
                    stored.at
                );
            }
            None => {}
        }
    }
}
