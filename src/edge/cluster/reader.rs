//! What the other edges told is taken in, in the order of the log.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::cluster::Entry;
use crate::edge::engine::Engine;
use crate::store::redis::{Away, Follower};

use super::Cluster;

/// Pause after the log could not be read.
const PAUSE: Duration = Duration::from_millis(200);

/// The task.
pub struct Reader {
    engine: Arc<Engine>,
    cluster: Arc<Cluster>,
    after: Option<String>,
}

impl Reader {
    /// For this edge.
    pub fn new(engine: Arc<Engine>, cluster: Arc<Cluster>) -> Self {
        Reader { engine, cluster, after: None }
    }

    /// Takes in all that is known, before the edge serves. `false` when the store does not answer: then it is taken in later.
    pub async fn catch_up(&mut self) -> bool {
        match self.cluster.shared.snapshot().await {
            Ok(snapshot) => {
                snapshot.entries.iter().for_each(|octets| self.take_in(octets));
                self.after = Some(snapshot.after);
                true
            }
            Err(error) => {
                tracing::debug!("the shared store could not be read: {error}");
                false
            }
        }
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

    /// Follows the log until the connection breaks.
    async fn follow(&mut self) -> Result<(), Away> {
        let mut follower = self.cluster.shared.follower().await?;
        // What was missed meanwhile may have left the log.
        self.catch_up().await;
        loop {
            self.read_on(&mut follower).await?;
        }
    }

    async fn read_on(&mut self, follower: &mut Follower) -> Result<(), Away> {
        let after = self.after.clone().unwrap_or_else(|| "0".to_owned());
        let (last, entries) = follower.read(&after).await?;
        entries.iter().for_each(|octets| self.take_in(octets));
        self.after = Some(last);
        Ok(())
    }

    fn take_in(&self, octets: &[u8]) {
        match Entry::read(octets) {
            Some((edge, entry)) => {
                self.cluster.counts.heard.fetch_add(1, Ordering::Relaxed);
                self.engine.hear(edge, entry);
            }
            None if self.cluster.counts.unreadable.fetch_add(1, Ordering::Relaxed) == 0 => {
                tracing::warn!(
                    "the shared store holds entries that cannot be read: of another version, or not the farm's"
                );
            }
            None => {}
        }
    }
}
