//! What this edge knows first hand goes into the log: in order, in batches, and all of it anew when entries were lost or the
//! store was found empty.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::edge::engine::Engine;
use crate::store::redis::Told;

use super::Cluster;

/// Entries of one batch.
const BATCH_MAX: usize = 256;
/// Pause after a batch that could not be told.
const PAUSE: Duration = Duration::from_millis(200);

/// Runs until it is aborted.
pub async fn run(engine: Arc<Engine>, cluster: Arc<Cluster>) {
    loop {
        if cluster.owes_all.swap(false, Ordering::Relaxed) {
            cluster.counts.resyncs.fetch_add(1, Ordering::Relaxed);
            cluster.waiting.lock().clear();
            engine.tell_all();
        }
        let batch = take(&cluster);
        if batch.is_empty() {
            cluster.wake.notified().await;
            continue;
        }
        match cluster.shared.tell(&cluster.edge, &batch).await {
            Ok(()) => {
                cluster.counts.told.fetch_add(batch.len() as u64, Ordering::Relaxed);
            }
            Err(error) => {
                tracing::debug!("the shared store did not take {} entries: {error}", batch.len());
                put_back(&cluster, batch);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn take(cluster: &Cluster) -> Vec<Told> {
    let mut waiting = cluster.waiting.lock();
    let most = waiting.len().min(BATCH_MAX);
    waiting.drain(..most).collect()
}

/// In front of what came meanwhile.
fn put_back(cluster: &Cluster, batch: Vec<Told>) {
    let mut waiting = cluster.waiting.lock();
    batch.into_iter().rev().for_each(|told| waiting.push_front(told));
}
