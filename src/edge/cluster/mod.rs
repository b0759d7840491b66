//! One of several edges.
//!
//! The shell of [`crate::cluster`], which decides.
//!
//! - [`teller`]: what this edge knows first hand goes into the log
//! - [`reader`]: what the others told is read
//! - [`heart`]: says that this edge is there, and hears who else is
//! - [`lane`]: messages that wait for an answer
//! - [`here`]: what the edge has itself, for those who decide
//! - [`seen`]: what can be seen of it from outside
//! - [`thread`]: where all of this happens
//!
//! A call is at the edge that carried its last message. Every edge holds what is known of every call, so a message that comes
//! to another edge finds its node without asking anybody; the call is that edge's from then on.

pub mod heart;
pub mod here;
pub mod lane;
pub mod reader;
pub mod seen;
pub mod teller;
pub mod thread;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use rand::RngExt;
use tokio::sync::{Notify, Semaphore};

use crate::cluster::{Doubts, Homes, Members, Others, Peers, Untold, Words};
use crate::config::checked::{Affinity, RedisAt, RedisConfig, Secret};
use crate::edge::clock::Clock;
use crate::edge::engine::Sizes;
use crate::edge::farm_writer::WriterHandle;
use crate::store::redis::SharedStore;
use crate::store::way::{At, Way};

use self::thread::StoreThread;

/// Messages that may wait for an answer at one time. Beyond it they go by what the edge knows itself.
const ASKING_MAX: usize = 4_096;

/// What an edge has for being one of several.
pub struct Cluster {
    /// Its own name.
    pub edge: Arc<str>,
    /// What edges share.
    pub shared: SharedStore,
    /// Whether a node is chosen in one step over all edges.
    pub is_strict: bool,
    /// How long an edge may be silent.
    pub gone_after: Duration,
    /// Tells this run from others of the same name.
    pub run: u64,
    peers: Mutex<Peers>,
    homes: Mutex<Homes>,
    /// The edge's clocks.
    pub clock: Clock,
    members: Mutex<Members>,
    words: Mutex<Words>,
    doubts: Mutex<Doubts>,
    untold: Mutex<Untold>,
    wake: Notify,
    /// How operators' words get through to the farm.
    writer: OnceLock<WriterHandle>,
    is_first: AtomicBool,
    asking: Arc<Semaphore>,
    /// Where it talks with the shared store.
    pub thread: StoreThread,
    /// What can be counted.
    pub counts: Counts,
}

/// What can be counted.
#[derive(Debug, Default)]
pub struct Counts {
    /// Entries that were told.
    pub told: AtomicU64,
    /// Entries of other edges that were taken in.
    pub heard: AtomicU64,
    /// Entries that could not be read: of another version, or damaged.
    pub unreadable: AtomicU64,
    /// Times that everything was told anew.
    pub resyncs: AtomicU64,
    /// Calls of other edges that came here.
    pub taken_over: AtomicU64,
}

impl Cluster {
    /// For a configuration; nothing is connected yet.
    ///
    /// # Errors
    /// When the way to the shared store is none, or the system has no thread to give.
    pub fn new(edge: &str, config: &RedisConfig, sizes: Sizes, clock: Clock) -> Result<Arc<Self>, String> {
        let shared = SharedStore::new(way(config)?, &config.namespace, config.deadline);
        Ok(Arc::new(Cluster {
            edge: edge.into(),
            shared: shared.map_err(|error| format!("store.redis: {error}"))?,
            is_strict: config.affinity == Affinity::Strict,
            gone_after: config.gone_after,
            run: rand::rng().random(),
            peers: Mutex::new(Peers::new(sizes.leases)),
            homes: Mutex::new(Homes::new(sizes.bindings)),
            clock,
            members: Mutex::default(),
            words: Mutex::default(),
            doubts: Mutex::default(),
            untold: Mutex::default(),
            wake: Notify::new(),
            writer: OnceLock::new(),
            is_first: AtomicBool::new(false),
            asking: Arc::new(Semaphore::new(ASKING_MAX)),
            thread: StoreThread::start().map_err(|error| format!("no thread for the shared store: {error}"))?,
            counts: Counts::default(),
        }))
    }

    /// Generation of the configuration, without what differs from edge to edge.
    pub fn shared_generation(&self) -> String {
        let writer = self.writer.get();
        writer.map_or_else(String::new, |writer| writer.status.load().config.shared_generation().to_string())
    }

    /// Whether this edge speaks for all of them: it tells nodes what agents are doing. One that is cut off speaks for itself.
    pub fn is_first(&self) -> bool {
        self.is_first.load(Ordering::Relaxed) || !self.shared.is_up()
    }

    /// The epoch that the last heartbeat brought: none before one got through.
    pub fn epoch(&self) -> Option<String> {
        self.untold.lock().epoch().map(str::to_owned)
    }

    /// How operators' words that were said elsewhere get through to the farm.
    pub fn set_writer(&self, writer: WriterHandle) {
        // It is set once, when the edge starts.
        let _ = self.writer.set(writer);
    }

    /// Whether a node is dead, by what most edges say. One that is cut off judges alone.
    pub fn is_down(&self, node: &str, own: bool) -> bool {
        if self.shared.is_up() { self.members.lock().is_down(node, own) } else { own }
    }
}

impl Others for Cluster {
    fn edge(&self) -> &str {
        &self.edge
    }

    fn with_peers<R>(&self, act: impl FnOnce(&mut Peers) -> R) -> R {
        act(&mut self.peers.lock())
    }

    fn with_homes<R>(&self, act: impl FnOnce(&mut Homes) -> R) -> R {
        act(&mut self.homes.lock())
    }

    fn with_members<R>(&self, act: impl FnOnce(&mut Members) -> R) -> R {
        act(&mut self.members.lock())
    }

    fn with_words<R>(&self, act: impl FnOnce(&mut Words) -> R) -> R {
        act(&mut self.words.lock())
    }

    fn with_doubts<R>(&self, act: impl FnOnce(&mut Doubts) -> R) -> R {
        act(&mut self.doubts.lock())
    }

    fn with_untold<R>(&self, act: impl FnOnce(&mut Untold) -> R) -> R {
        let mut untold = self.untold.lock();
        let result = act(&mut untold);
        if !untold.is_empty() {
            self.wake.notify_one();
        }
        result
    }
}

/// How the shared store is reached, with the file of authorities read.
fn way(config: &RedisConfig) -> Result<Way, String> {
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|error| format!("store.redis.ca: {} cannot be read: {error}", path.display()))
    };
    let reveal = |secret: &Secret| secret.reveal().to_owned();
    Ok(Way {
        at: match &config.at {
            RedisAt::Url(url) => At::Url(reveal(url)),
            RedisAt::Sentinels { sentinels, master } => {
                At::Sentinels { sentinels: sentinels.clone(), master: master.clone() }
            }
        },
        user: config.user.clone(),
        password: config.password.as_ref().map(reveal),
        authorities: config.ca.as_ref().map(read).transpose()?,
    })
}
