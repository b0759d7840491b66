//! One of several edges.
//!
//! - [`teller`]: what this edge knows first hand goes into the log
//! - [`reader`]: what the others told is read, and [`hearing`] what it means here
//! - [`heart`]: who is there, and who inherits the calls of one who is gone
//! - [`lane`]: messages that wait for an answer
//! - [`seen`]: what can be seen of it from outside
//!
//! A call is at the edge that carried its last message. Every edge holds what is known of every call, so a message that comes
//! to another edge finds its node without asking anybody; the call is that edge's from then on.

pub mod hearing;
pub mod heart;
pub mod lane;
pub mod reader;
pub mod seen;
pub mod teller;

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use rand::RngExt;
use tokio::sync::{Notify, Semaphore};

use crate::calls::CallKey;
use crate::cluster::homes::Phone;
use crate::cluster::members::Member;
use crate::cluster::peers::PeerCall;
use crate::cluster::{Entry, Homes, Members, Peers};
use crate::config::checked::{Affinity, RedisAt, RedisConfig, Secret};
use crate::edge::clock::{Clock, wall_millis};
use crate::edge::engine::Sizes;
use crate::edge::farm_writer::WriterHandle;
use crate::proxy::contract::PhoneElsewhere;
use crate::registrar::Aor;
use crate::store::SavedLease;
use crate::store::redis::{SharedStore, Told};
use crate::store::way::{At, Way};
use crate::transport::flow::{ListenerId, Protocol, Target};

/// Entries that may wait for the shared store. Beyond it all of them are thrown away, and everything is told anew later.
const WAITING_MAX: usize = 65_536;
/// Words about nodes and agents of which it is remembered when they were said.
const WORDS_MAX: usize = 1_000_000;
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
    /// Calls that are this edge's because their edge was gone, with that edge: it may not have been.
    inherited: Mutex<HashMap<CallKey, Arc<str>>>,
    /// The edge's clocks.
    pub clock: Clock,
    members: Mutex<Members>,
    waiting: Mutex<VecDeque<Told>>,
    wake: Notify,
    /// When the last word about a node or an agent was said.
    words: Mutex<HashMap<Vec<u8>, u64>>,
    /// How operators' words get through to the farm.
    writer: OnceLock<WriterHandle>,
    /// Everything that is known has to be told: the store was found empty, or entries were lost.
    owes_all: AtomicBool,
    is_first: AtomicBool,
    asking: Arc<Semaphore>,
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
    /// When the way to the shared store is none.
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
            inherited: Mutex::default(),
            clock,
            members: Mutex::default(),
            waiting: Mutex::default(),
            wake: Notify::new(),
            words: Mutex::default(),
            writer: OnceLock::new(),
            owes_all: AtomicBool::new(true),
            is_first: AtomicBool::new(false),
            asking: Arc::new(Semaphore::new(ASKING_MAX)),
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

    /// Tells how far a call is that this edge has. Called under the short lock of a shard.
    pub fn tell_call(&self, key: CallKey, lease: Option<&SavedLease<'_>>) {
        let node = lease.map_or("", |lease| lease.node).to_owned();
        let entry = Entry::Call { key: key.0, lease: lease.cloned().map(Box::new) };
        self.tell(&entry, Some((key.0, node)));
    }

    /// Tells what somebody said at this edge, unless a later word about the same is known.
    pub fn tell_word(&self, entry: &Entry<'_>, since: u64) {
        if self.is_last_word(&entry.name(&self.edge), since) {
            self.tell(entry, None);
        }
    }

    /// Whether a word is at least as new as any that was heard about the same; it is remembered.
    pub fn is_last_word(&self, name: &[u8], since: u64) -> bool {
        let mut words = self.words.lock();
        let is_last = words.get(name).is_none_or(|known| *known <= since);
        if is_last && (words.len() < WORDS_MAX || words.contains_key(name)) {
            words.insert(name.to_vec(), since);
        }
        is_last
    }

    /// When the last word about something was said, in milliseconds of Unix time; 0 when that is not known.
    pub fn said(&self, name: &[u8]) -> u64 {
        self.words.lock().get(name).copied().unwrap_or(0)
    }

    /// How operators' words that were said elsewhere get through to the farm.
    pub fn set_writer(&self, writer: WriterHandle) {
        // It is set once, when the edge starts.
        let _ = self.writer.set(writer);
    }

    fn tell(&self, entry: &Entry<'_>, call: Option<(u128, String)>) {
        let told =
            Told { name: entry.name(&self.edge), octets: entry.write(&self.edge), is_over: entry.is_over(), call };
        let mut waiting = self.waiting.lock();
        if waiting.len() >= WAITING_MAX {
            waiting.clear();
            self.owes_all.store(true, Ordering::Relaxed);
        }
        waiting.push_back(told);
        drop(waiting);
        self.wake.notify_one();
    }

    /// A call that another edge has, which is this edge's from here on.
    pub fn take_over(&self, key: CallKey) -> Option<PeerCall> {
        let call = self.peers.lock().take(key)?;
        self.counts.taken_over.fetch_add(1, Ordering::Relaxed);
        Some(call)
    }

    /// Tells something that is neither a call nor anybody's word.
    pub fn tell_other(&self, entry: &Entry<'_>) {
        self.tell(entry, None);
    }

    /// Whether a node is dead, by what most edges say. One that is cut off judges alone.
    pub fn is_down(&self, node: &str, own: bool) -> bool {
        if self.shared.is_up() { self.members.lock().is_down(node, own) } else { own }
    }

    /// Acts on where the other edges' phones are.
    pub fn with_homes<R>(&self, act: impl FnOnce(&mut Homes) -> R) -> R {
        act(&mut self.homes.lock())
    }

    /// Whether a user has a phone at another edge.
    pub fn has_phone(&self, aor: &Aor) -> bool {
        let now = wall_millis();
        self.homes.lock().of(aor.as_bytes()).iter().any(|phone| phone.expires > now)
    }

    /// A user's phones at other edges, and the way to each.
    pub fn phones_elsewhere(&self, aor: &Aor) -> Vec<PhoneElsewhere> {
        let (now, members) = (wall_millis(), self.members.lock());
        let homes = self.homes.lock();
        let live = homes.of(aor.as_bytes()).iter().filter(|phone| phone.expires > now);
        live.map(|phone| elsewhere(phone, members.find(&phone.edge))).collect()
    }

    /// Acts on the other edges' calls.
    pub fn with_peers<R>(&self, act: impl FnOnce(&mut Peers) -> R) -> R {
        act(&mut self.peers.lock())
    }

    /// Looks at who is there.
    pub fn with_members<R>(&self, look: impl FnOnce(&Members) -> R) -> R {
        look(&self.members.lock())
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

/// The way to a phone that registered at another edge: through that edge while it is there.
fn elsewhere(phone: &Phone, edge: Option<&Member>) -> PhoneElsewhere {
    let protocol = if phone.flow.is_tcp { Protocol::Tcp } else { Protocol::Udp };
    let at = |member: &Member| {
        let (protocol, address) = member.heartbeat.address.split_once("://")?;
        Some(Target { protocol: Protocol::from_bytes(protocol.as_bytes())?, address: address.parse().ok()? })
    };
    PhoneElsewhere {
        edge: edge.and_then(at),
        listener: ListenerId(phone.flow.listener),
        target: Target { protocol, address: phone.flow.remote },
        contact: phone.contact.clone(),
        instance: phone.instance.clone(),
        preference: phone.preference,
        path: phone.path.clone(),
    }
}
