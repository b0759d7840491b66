//! What the other edges told is taken in, in the order of the log.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::calls::CallKey;
use crate::cluster::following::{Following, Next};
use crate::cluster::{Entry, Others};
use crate::edge::engine::Engine;
use crate::store::redis::{Away, Follower, READ_MAX, Snapshot, Stored};

use super::Cluster;

/// Pause after the log could not be read.
const PAUSE: Duration = Duration::from_millis(200);

/// After so many entries whatever else waits for this thread has its turn: new calls wait for their node here.
const TAKEN_IN: usize = 16;

/// The task.
pub struct Reader {
    engine: Arc<Engine>,
    cluster: Arc<Cluster>,
    following: Following,
}

impl Reader {
    /// For this edge.
    pub fn new(engine: Arc<Engine>, cluster: Arc<Cluster>) -> Self {
        Reader { engine, cluster, following: Following::default() }
    }

    /// Takes in all that is known, before the edge serves. `false` when the store does not answer: then it is taken in later.
    pub async fn join(&mut self) -> bool {
        let joined = self.find_place().await;
        if let Err(error) = &joined {
            tracing::debug!("the shared store could not be read: {error}");
        }
        joined.is_ok()
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
        self.find_place().await?;
        while self.read_on(&mut follower).await? {}
        Ok(())
    }

    /// Makes up for what was missed, and finds the place in the log to go on from.
    async fn find_place(&mut self) -> Result<(), Away> {
        let held = self.cluster.shared.log_held().await?;
        match self.following.next(&held, self.cluster.epoch().as_deref()) {
            Next::GoOn => Ok(()),
            Next::Wait => Err(Away::NoHeartbeat),
            next => self.catch_up(next).await,
        }
    }

    async fn catch_up(&mut self, next: Next) -> Result<(), Away> {
        let snapshot = self.cluster.shared.snapshot().await?;
        if snapshot.epoch != self.cluster.epoch() {
            return Err(Away::NoHeartbeat);
        }
        let (own, among) = (self.engine.open_calls(), self.engine.among(&self.cluster));
        among.make_up_for(next, &own, &snapshot.entries);
        self.take_in_all(&snapshot.entries).await;
        self.following.caught_up(&snapshot, next);
        if next == Next::Start {
            self.forget_ended(&own, &snapshot).await;
        }
        Ok(())
    }

    /// Calls that were kept on disk may have ended at another edge since.
    async fn forget_ended(&self, own: &[CallKey], snapshot: &Snapshot) {
        let among = self.engine.among(&self.cluster);
        let unconfirmed = among.unconfirmed(own, &snapshot.entries);
        if !unconfirmed.is_empty()
            && let Ok(log) = self.cluster.shared.whole_log().await
        {
            let count = among.forget_ended(&unconfirmed, &log);
            tracing::info!("{count} calls that were kept on disk have ended at other edges");
        }
    }

    async fn read_on(&mut self, follower: &mut Follower) -> Result<bool, Away> {
        let epoch = self.cluster.epoch();
        let (last, entries) = follower.read(self.following.after()).await?;
        if !self.cluster.shared.is_followed_by(follower) {
            // The others tell at another server.
            return Ok(false);
        }
        // Whoever reads as much as there is to read at one time may be too slow for what is told.
        if entries.len() >= READ_MAX && self.following.has_missed(&self.cluster.shared.log_held().await?) {
            self.catch_up(Next::EndMissing).await?;
            return Ok(true);
        }
        self.take_in_all(&entries).await;
        self.following.read_to(last, epoch.as_deref());
        if entries.len() < READ_MAX {
            self.cluster.with_untold(|untold| untold.has_listened(epoch.as_deref()));
        }
        Ok(true)
    }

    async fn take_in_all(&self, entries: &[Stored]) {
        for some in entries.chunks(TAKEN_IN) {
            some.iter().for_each(|stored| self.take_in(stored));
            tokio::task::yield_now().await;
        }
    }

    fn take_in(&self, stored: &Stored) {
        match Entry::read(&stored.octets) {
            Some((edge, entry)) => {
                self.cluster.counts.heard.fetch_add(1, Ordering::Relaxed);
                self.engine.among(&self.cluster).hear(edge, entry);
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
