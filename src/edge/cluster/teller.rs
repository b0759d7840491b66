//! What this edge knows first hand goes into the log: in order, in batches, and all of it anew when entries were lost or the
//! store was found empty.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::cluster::{Entry, Others, Untold};
use crate::edge::engine::{Engine, SHARDS};
use crate::registrar::Aor;
use crate::registrar::register::TakenBack;

use super::Cluster;

/// Users whose phones are told before these entries are on their way: a million at once would not find room.
const USERS_MAX: usize = 4_096;
/// What comes within this time is told at once: a script and a wake-up of every reader for all of it.
const GATHER: Duration = Duration::from_millis(5);
/// Pause after a batch that could not be told.
const PAUSE: Duration = Duration::from_millis(200);

/// The task.
pub struct Teller {
    engine: Arc<Engine>,
    cluster: Arc<Cluster>,
}

/// The store did not take what it was told.
struct NotTaken;

impl Teller {
    /// For this edge.
    pub fn new(engine: Arc<Engine>, cluster: Arc<Cluster>) -> Self {
        Teller { engine, cluster }
    }

    /// Runs until it is aborted.
    pub async fn run(self) {
        loop {
            let owes_all = self.cluster.with_untold(Untold::take_debt);
            let told = if owes_all { self.tell_everything().await } else { self.tell_waiting().await };
            if told.is_err() {
                if owes_all {
                    self.cluster.with_untold(Untold::owe_all);
                }
                tokio::time::sleep(PAUSE).await;
            } else if !owes_all {
                self.cluster.wake.notified().await;
                tokio::time::sleep(GATHER).await;
            }
        }
    }

    /// Step by step, so that what waits stays within its bound.
    async fn tell_everything(&self) -> Result<(), NotTaken> {
        self.cluster.counts.resyncs.fetch_add(1, Ordering::Relaxed);
        let among = self.engine.among(&self.cluster);
        self.cluster.tell(&Entry::Everything { begins: true });
        among.tell_words();
        for shard in 0..SHARDS {
            self.engine.look_at_shard(shard, |shard| among.tell_calls(shard));
            self.tell_waiting().await?;
        }
        let mut users: Vec<Aor> = Vec::new();
        self.engine.registrations.each(|aor, _| users.push(aor.clone()));
        for some in users.chunks(USERS_MAX) {
            let clocks = self.engine.clock.reading();
            let tell = |aor| self.engine.registrations.tell_bindings(&self.cluster, aor, TakenBack::Nothing, clocks);
            some.iter().for_each(tell);
            self.tell_waiting().await?;
        }
        self.cluster.tell(&Entry::Everything { begins: false });
        self.tell_waiting().await
    }

    /// Until nothing waits.
    async fn tell_waiting(&self) -> Result<(), NotTaken> {
        loop {
            let batch = self.cluster.with_untold(Untold::take);
            if batch.is_empty() {
                return Ok(());
            }
            if let Err(error) = self.cluster.shared.tell(&self.cluster.edge, &batch).await {
                tracing::debug!("the shared store did not take {} entries: {error}", batch.len());
                self.cluster.with_untold(|untold| untold.put_back(batch));
                return Err(NotTaken);
            }
            self.cluster.counts.told.fetch_add(batch.len() as u64, Ordering::Relaxed);
        }
    }
}
