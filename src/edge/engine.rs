//! What all threads share.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};
use prometheus::IntCounter;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::agents::ends::Ends;
use crate::calls::lease::Way;
use crate::calls::{CallKey, Lease, NodeId, PoolId, Seat, Shard};
use crate::cluster::{Others, choosing};
use crate::dispatch::health::Signal;
use crate::dispatch::{Board, Farm, NoSeat, Pick, Picked};
use crate::metrics::Metrics;
use crate::moment::Moment;
use crate::proxy::World;
use crate::proxy::contract::Registry;
use crate::resolve::Resolver;
use crate::store::{Store, saving};
use crate::telemetry::Redacted;
use crate::transport::flow::{ListenerId, Target};
use crate::transport::stream::Streams;
use crate::transport::udp::UdpSocket;

use super::clock::Clock;
use super::cluster::Cluster;
use super::complaints::Complaints;
use super::events::Events;
use super::registrations::Registrations;

/// Parts of the lease table. More than any machine has cores, so that two workers seldom want the same one.
pub const SHARDS: usize = 64;

/// News that may wait for the prober. Beyond it the oldest news are still waiting and newer ones say the same.
pub const HEALTH_QUEUE: usize = 4_096;

/// What all threads share.
pub struct Engine {
    /// The clocks.
    pub clock: Clock,
    /// The farm as it is configured.
    pub farm: ArcSwap<Farm>,
    /// The numbers.
    pub metrics: Metrics,
    /// What survives a restart.
    pub store: Arc<dyn Store>,
    /// TCP.
    pub streams: Streams,
    /// The runtime of everything that waits.
    pub runtime: Handle,
    /// Looks up names that a message leads to.
    pub resolver: ArcSwap<Resolver>,
    /// Who is registered where.
    pub registrations: Registrations,
    /// What happens, for whoever watches.
    pub events: Events,
    /// What it has for being one of several edges.
    pub cluster: Option<Arc<Cluster>>,
    /// What does not work with nodes, beside calls.
    pub complaints: Complaints,
    shards: Box<[Mutex<Shard>]>,
    board: Mutex<Board>,
    sockets: ArcSwap<Vec<(ListenerId, Arc<UdpSocket>)>>,
    health: mpsc::Sender<HealthNews>,
    stopping: AtomicBool,
    redact: AtomicBool,
    /// Counters of the busiest kind, resolved once.
    pub counters: Counters,
}

/// Counters of the busiest kind.
pub struct Counters {
    /// Datagrams received.
    pub udp_received: IntCounter,
    /// Datagrams sent.
    pub udp_sent: IntCounter,
    /// Datagrams that could not be sent.
    pub udp_unsent: IntCounter,
    /// Stream messages received.
    pub tcp_received: IntCounter,
    /// Stream messages handed to a connection.
    pub tcp_sent: IntCounter,
    /// Stream messages that could not be sent.
    pub tcp_unsent: IntCounter,
}

/// Something that tells of a node's life.
#[derive(Clone, Copy, Debug)]
pub struct HealthNews {
    /// The node.
    pub node: NodeId,
    /// Its address.
    pub target: Target,
    /// What happened.
    pub signal: Signal,
    /// When.
    pub at: Moment,
}

/// Sizes of tables.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Leases, remembered ones included.
    pub leases: usize,
    /// Explanations.
    pub explanations: usize,
    /// Bindings.
    pub bindings: usize,
}

/// What an engine is made of.
pub struct Parts {
    /// The clocks.
    pub clock: Clock,
    /// The first farm.
    pub farm: Farm,
    /// The first board.
    pub board: Board,
    /// What survives a restart.
    pub store: Arc<dyn Store>,
    /// TCP.
    pub streams: Streams,
    /// The runtime of everything that waits.
    pub runtime: Handle,
    /// Looks up names.
    pub resolver: Resolver,
    /// Sizes of tables.
    pub sizes: Sizes,
    /// What it has for being one of several edges.
    pub cluster: Option<Arc<Cluster>>,
}

impl Engine {
    /// An engine, and the news that the prober reads.
    pub fn new(parts: Parts) -> (Arc<Self>, mpsc::Receiver<HealthNews>) {
        let now = parts.clock.now();
        let per_shard = |total: usize| total.div_ceil(SHARDS);
        let shard = || Mutex::new(Shard::new(now, per_shard(parts.sizes.leases), per_shard(parts.sizes.explanations)));
        let (health, news) = mpsc::channel(HEALTH_QUEUE);
        let metrics = Metrics::new();
        let engine = Engine {
            clock: parts.clock,
            farm: ArcSwap::from_pointee(parts.farm),
            counters: Counters::new(&metrics),
            metrics,
            store: parts.store,
            streams: parts.streams,
            runtime: parts.runtime,
            resolver: ArcSwap::from_pointee(parts.resolver),
            registrations: Registrations::new(parts.sizes.bindings, parts.cluster.clone()),
            events: Events::default(),
            cluster: parts.cluster,
            complaints: Complaints::default(),
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            board: Mutex::new(parts.board),
            sockets: ArcSwap::default(),
            health,
            stopping: AtomicBool::new(false),
            redact: AtomicBool::new(false),
        };
        (Arc::new(engine), news)
    }

    /// True once the edge takes no new calls.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// From now on the edge takes no new calls.
    pub fn stop_taking_calls(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Passes on news of a node's life. Good news of a node that nobody suspects is no news.
    pub fn tell(&self, news: HealthNews) {
        if news.signal == Signal::CallAnswered {
            let farm = self.farm.load();
            if !farm.node(news.node).is_some_and(|node| node.live.is_suspect()) {
                return;
            }
        }
        // A full queue is full of the same news.
        let _ = self.health.try_send(news);
    }

    /// Acts on the board.
    pub fn with_board<R>(&self, act: impl FnOnce(&mut Board) -> R) -> R {
        act(&mut self.board.lock())
    }

    /// Acts on every shard, one after the other, and saves what changed.
    pub fn each_shard(&self, act: impl FnMut(&mut Shard)) {
        self.each_shard_of(0, 1, act);
    }

    /// Acts on one of so many parts of all shards, and saves what changed.
    pub fn each_shard_of(&self, part: usize, parts: usize, mut act: impl FnMut(&mut Shard)) {
        for shard in self.shards.iter().skip(part).step_by(parts) {
            let mut shard = shard.lock();
            act(&mut shard);
            self.save(&mut shard);
        }
    }

    /// Looks at every shard, one after the other.
    pub fn look_at_shards(&self, mut look: impl FnMut(&Shard)) {
        self.shards.iter().for_each(|shard| look(&shard.lock()));
    }

    /// The calls that this edge has.
    pub fn open_calls(&self) -> Vec<CallKey> {
        let mut keys = Vec::new();
        self.look_at_shards(|shard| {
            keys.extend(shard.iter().filter(|lease| lease.is_open()).map(|lease| lease.key));
        });
        keys
    }

    /// Looks at one shard.
    pub fn look_at_shard(&self, number: usize, look: impl FnOnce(&Shard)) {
        if let Some(shard) = self.shards.get(number) {
            look(&shard.lock());
        }
    }

    /// The shard of a call, without anything coming over from another edge.
    fn shard(&self, key: CallKey) -> MutexGuard<'_, Shard> {
        self.shards[key.shard(SHARDS)].lock()
    }

    fn save(&self, shard: &mut Shard) {
        if !shard.has_unsaved() {
            return;
        }
        let (farm, clocks) = (self.farm.load(), self.clock.reading());
        shard.drain_unsaved(|key, lease| {
            let saved = lease.filter(|lease| lease.is_open()).map(|lease| saving::saved(lease, &farm, clocks));
            if let Some(lease) = lease {
                self.log_call(lease, &farm);
                self.events.call(lease, &farm);
                self.note_agents(lease, &farm);
            }
            if let Some(cluster) = &self.cluster {
                cluster.tell_call(key, saved.as_ref());
            }
            self.store.lease(key.0, saved.as_ref());
        });
    }

    /// Tells the agents' book of every call that is known: after a start, before any node hears of agents.
    pub fn note_all_agents(&self) {
        let farm = self.farm.load();
        self.look_at_shards(|shard| shard.iter().for_each(|lease| self.note_agents(lease, &farm)));
    }

    /// What a call means for the agents at its ends.
    fn note_agents(&self, lease: &Lease, farm: &Farm) {
        let Some(service) = &farm.registrar else { return };
        for (aor, note) in Ends::of(lease, service.agents).notes() {
            let now = self.clock.now();
            self.registrations.with_book(|book| book.note(&aor, note, &service.policy, now));
        }
    }

    /// One line for each step of a call, for who asked for that much.
    fn log_call(&self, lease: &Lease, farm: &Farm) {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let number = |octets: &[u8]| self.redacted(octets.escape_ascii().to_string());
        tracing::debug!(
            call_id = %lease.names.call_id().escape_ascii(),
            caller = %number(lease.names.caller()),
            called = %number(lease.names.called()),
            from = %self.redacted(lease.caller.remote),
            node = farm.node(lease.node).map_or("?", |node| &node.name),
            "call is {}",
            lease.phase.as_str()
        );
    }

    /// Somebody's number or address, for the log.
    pub fn redacted<T>(&self, value: T) -> Redacted<T> {
        Redacted::new(value, self.redact.load(Ordering::Relaxed))
    }

    /// Whether numbers and callers' addresses are left out of the log.
    pub fn set_redact(&self, redact: bool) {
        self.redact.store(redact, Ordering::Relaxed);
    }

    /// Takes up a new set of UDP sockets.
    pub fn set_sockets(&self, sockets: Vec<(ListenerId, Arc<UdpSocket>)>) {
        self.sockets.store(Arc::new(sockets));
    }

    /// The UDP socket of a listener; of another one that can reach the address when that listener is gone.
    pub fn socket(&self, listener: ListenerId, to: SocketAddr) -> Option<Arc<UdpSocket>> {
        let sockets = self.sockets.load();
        let own = sockets.iter().find(|(id, _)| *id == listener);
        let any = || sockets.iter().find(|(_, socket)| socket.local().is_ipv4() == to.is_ipv4());
        own.or_else(any).map(|(_, socket)| Arc::clone(socket))
    }

    /// The address that connections of a listener come from.
    pub fn local_ip(&self, listener: ListenerId) -> IpAddr {
        let unspecified = IpAddr::from([0, 0, 0, 0]);
        self.farm.load().listener(listener).map_or(unspecified, |listener| listener.bind.ip())
    }
}

impl Counters {
    fn new(metrics: &Metrics) -> Self {
        let of = |family: &prometheus::IntCounterVec, transport| family.with_label_values(&[transport]);
        Counters {
            udp_received: of(&metrics.received, "udp"),
            udp_sent: of(&metrics.sent, "udp"),
            udp_unsent: of(&metrics.unsent, "udp"),
            tcp_received: of(&metrics.received, "tcp"),
            tcp_sent: of(&metrics.sent, "tcp"),
            tcp_unsent: of(&metrics.unsent, "tcp"),
        }
    }
}

impl World for Engine {
    fn with_shard<R>(&self, key: CallKey, act: impl FnOnce(&mut Shard) -> R) -> R {
        let mut shard = self.shard(key);
        let result = act(&mut shard);
        self.save(&mut shard);
        result
    }

    fn claim(&self, key: CallKey) {
        if let Some(cluster) = &self.cluster {
            let is_here_now = self.among(cluster).take_over(key);
            cluster.counts.taken_over.fetch_add(u64::from(is_here_now), Ordering::Relaxed);
        }
    }

    fn claim_answered(&self, key: CallKey, transaction: u64) {
        if let Some(cluster) = &self.cluster {
            let is_here_now = self.among(cluster).take_over_answered(key, transaction);
            cluster.counts.taken_over.fetch_add(u64::from(is_here_now), Ordering::Relaxed);
        }
    }

    fn take(&self, pick: Pick<'_>) -> Result<Picked, NoSeat> {
        match self.cluster.as_ref().filter(|cluster| cluster.is_strict) {
            Some(cluster) => choosing::take_of_all(self, pick, cluster.shared.is_up()),
            None => self.board.lock().take(pick),
        }
    }

    fn take_on(&self, node: NodeId) -> Seat {
        self.board.lock().take_on(node)
    }

    fn give_back(&self, seat: Seat) {
        self.board.lock().give_back(seat);
    }

    fn home_of(&self, pool: PoolId, key: u64) -> Option<(NodeId, Way)> {
        self.board.lock().home_of(pool, key)
    }

    fn looks_dead(&self, pool: PoolId) -> bool {
        self.board.lock().looks_dead(pool)
    }

    fn registry(&self) -> Option<&dyn Registry> {
        Some(&self.registrations)
    }
}
