//! From a configuration to an edge that runs, and to its end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::agents::{Cause, Intent};
use crate::calls::CallKey;
use crate::config::build::Names;
use crate::config::checked::{AGENTS, StoreKind};
use crate::config::{Checked, Config, Environment, reload};
use crate::dispatch::farm::{CallPolicy, Generation, SecurityPolicy};
use crate::dispatch::node::{Kind, Node};
use crate::dispatch::rules::Sources;
use crate::dispatch::{Board, Farm};
use crate::keys::Keys;
use crate::proxy::World;
use crate::registrar::Aor;
use crate::resolve::{ResolveError, Resolver};
use crate::store::contract::Memory;
use crate::store::embedded::Embedded;
use crate::store::{Saved, SavedBinding, SavedLease, Store, StoreError, saving};
use crate::telemetry::LogHandle;
use crate::transport::stream::Streams;

use super::clock::Clock;
use super::cluster::Cluster;
use super::cluster::heart::Heart;
use super::cluster::reader::Reader;
use super::cluster::teller::Teller;
use super::engine::{Engine, Parts, Sizes};
use super::farm_writer::{FarmWriter, WriterHandle, WriterParts, resolve_policy, stream_limits};
use super::hands::FromStreams;
use super::keeper::Keeper;
use super::prober::{ProberHandle, prober};
use super::publisher::Publisher;
use super::reconciler::Reconciler;
use super::registrations::{Registrar, Waiting};
use super::secret;
use super::ticker::Ticker;
use super::view::Viewer;

/// Why an edge did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store or the folder it lives in.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A listener, or something else of the system.
    #[error("{0}")]
    Listen(String),
    /// DNS.
    #[error("{0}")]
    Resolve(#[from] ResolveError),
}

/// An edge that runs.
pub struct Edge {
    /// What all threads share.
    pub engine: Arc<Engine>,
    /// The one writer of the farm.
    pub writer: WriterHandle,
    /// The health machines.
    pub prober: ProberHandle,
    tasks: Vec<JoinHandle<()>>,
    _ticker: Ticker,
    _registrar: Registrar,
}

/// What an edge is started with.
pub struct Start {
    /// The configuration.
    pub checked: Checked,
    /// Its file, which is watched.
    pub path: PathBuf,
    /// Where secrets come from.
    pub environment: Arc<dyn Environment + Send + Sync>,
    /// How the log's level is set.
    pub log: LogHandle,
}

impl Edge {
    /// Starts an edge on the runtime that this is called on.
    pub async fn start(start: Start) -> Result<Self, StartError> {
        let config = start.checked.config.clone();
        let (store, mut saved) = open_store(&config)?;
        let keys = Keys::derive(&farm_secret(&config)?);
        let mut names = Names::default();
        let clock = Clock::new();
        let sizes = Sizes {
            leases: config.limits.calls as usize,
            explanations: config.limits.explain as usize,
            bindings: config.limits.bindings as usize,
        };
        let cluster = cluster(&config, sizes, clock)?;
        let streams = Streams::new(Handle::current(), stream_limits(&config));
        let parts = Parts {
            clock,
            farm: first_farm(&config, &keys, &saved.leases, &mut names),
            board: Board::new(rand::rng().random()),
            store,
            streams: streams.clone(),
            runtime: Handle::current(),
            resolver: Resolver::new(resolve_policy(&config))?,
            sizes,
            cluster: cluster.clone(),
        };
        let (engine, news) = Engine::new(parts);
        streams.set_receiver(Arc::new(FromStreams(Arc::clone(&engine))));
        restore(&engine, &saved, &mut names);
        restore_bindings(&engine, &mut saved);
        let (prober_task, prober) = prober(Arc::clone(&engine), news);
        let (mut writer_task, writer) = FarmWriter::new(WriterParts {
            engine: Arc::clone(&engine),
            prober: prober.clone(),
            checked: start.checked,
            path: start.path.clone(),
            environment: start.environment,
            keys,
            names,
            admin: saved.admin.into_iter().collect::<BTreeMap<_, _>>(),
            log: start.log,
        });
        let mut tasks = vec![tokio::spawn(prober_task.run())];
        writer_task.open().await.map_err(StartError::Listen)?;
        if let Some(cluster) = &cluster {
            cluster.set_writer(writer.clone());
        }
        tasks.extend(join(&engine, cluster.as_ref()).await);
        engine.note_all_agents();
        tasks.push(tokio::spawn(Keeper::new(Arc::clone(&engine)).run()));
        let (reconciler, first_look) = Reconciler::new(Arc::clone(&engine), writer.clone());
        tasks.push(tokio::spawn(reconciler.run()));
        tasks.push(tokio::spawn(Publisher::new(Arc::clone(&engine)).run(first_look)));
        tasks.push(tokio::spawn(writer_task.run()));
        tasks.extend(watch(&start.path, &writer));
        let ticker = Ticker::start(&engine).map_err(|error| StartError::Listen(error.to_string()))?;
        let registrar = Registrar::start(&engine).map_err(|error| StartError::Listen(error.to_string()))?;
        announce(&engine, &config);
        Ok(Edge { engine, writer, prober, tasks, _ticker: ticker, _registrar: registrar })
    }

    /// A way to look at the edge.
    pub fn viewer(&self) -> Viewer {
        Viewer { engine: Arc::clone(&self.engine), prober: self.prober.clone(), writer: self.writer.clone() }
    }

    /// Takes no new calls and waits until the last one has ended, or for as long as is configured, or until `hurry`.
    /// Returns the number of calls that were left.
    pub async fn drain(&self, hurry: impl Future<Output = ()>) -> u64 {
        self.engine.stop_taking_calls();
        let viewer = self.viewer();
        let wait = self.writer.status.load().config.stop_wait;
        let empty = async {
            while viewer.call_counts().open() > 0 {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::select! {
            () = empty => {}
            () = tokio::time::sleep(wait) => {}
            () = hurry => {}
        }
        viewer.call_counts().open()
    }

    /// Ends everything and brings the store to disk. Calls that are up go on without the edge, and are known again when
    /// it is back.
    pub async fn end(mut self) -> Result<(), StoreError> {
        for task in self.tasks.drain(..) {
            task.abort();
            // An aborted task ends with an error, and that is what was asked for.
            let _ = task.await;
        }
        self.engine.store.flush()
    }
}

/// What the edge has for being one of several, if it is.
fn cluster(config: &Config, sizes: Sizes, clock: Clock) -> Result<Option<Arc<Cluster>>, StartError> {
    let Some(redis) = &config.redis else { return Ok(None) };
    let cluster = Cluster::new(&config.edge.name, redis, sizes, clock);
    cluster.map(Some).map_err(StartError::Listen)
}

/// Takes its place among the edges: hears what they know before it serves, for as long as they do not keep it waiting.
async fn join(engine: &Arc<Engine>, cluster: Option<&Arc<Cluster>>) -> Vec<JoinHandle<()>> {
    let Some(cluster) = cluster else { return Vec::new() };
    let mut reader = Reader::new(Arc::clone(engine), Arc::clone(cluster));
    let mut heart = Heart::new(Arc::clone(engine), Arc::clone(cluster));
    let joined = cluster.thread.spawn(async move {
        // Heartbeats first: they tell how far the clocks are off that everything else is told by.
        heart.beat().await;
        if !reader.join().await {
            tracing::warn!("the shared store does not answer; this edge serves by what it knows itself");
        }
        (reader, heart)
    });
    // One that panicked has said so already; the edge serves alone.
    let Ok((reader, heart)) = joined.await else { return Vec::new() };
    vec![
        cluster.thread.spawn(reader.run()),
        cluster.thread.spawn(heart.run()),
        cluster.thread.spawn(Teller::new(Arc::clone(engine), Arc::clone(cluster)).run()),
    ]
}

fn open_store(config: &Config) -> Result<(Arc<dyn Store>, Saved), StoreError> {
    if config.store == StoreKind::Memory {
        return Ok((Arc::new(Memory), Saved::default()));
    }
    let opened = Embedded::open(&config.edge.state_dir)?;
    for path in &opened.moved_aside {
        tracing::error!("a file of the store was damaged; it starts anew, and the damaged one is {}", path.display());
    }
    Ok((Arc::new(opened.store), opened.saved))
}

fn farm_secret(config: &Config) -> Result<Vec<u8>, StoreError> {
    match &config.edge.secret {
        Some(secret) => Ok(secret.reveal().as_bytes().to_vec()),
        None => secret::kept(&config.edge.state_dir),
    }
}

/// The farm before the first configuration is taken up. It knows the nodes that saved calls are on, so that they have
/// names even when they are no longer configured.
pub fn first_farm(config: &Config, keys: &Keys, leases: &[(u128, Vec<u8>)], names: &mut Names) -> Farm {
    let mut nodes: Vec<Option<Arc<Node>>> = Vec::new();
    for lease in leases.iter().filter_map(|(_, octets)| SavedLease::read(octets)) {
        let id = names.node(lease.node);
        let at = id.0 as usize;
        if nodes.len() <= at {
            nodes.resize(at + 1, None);
        }
        nodes[at].get_or_insert_with(|| {
            Arc::new(Node {
                id,
                name: lease.node.into(),
                kind: if lease.node == AGENTS { Kind::Agents } else { Kind::Node },
                uri: None,
                listener: Default::default(),
                max_calls: None,
                live: Arc::default(),
            })
        });
    }
    Farm {
        generation: Generation::default(),
        edge: config.edge.name.as_str().into(),
        keys: keys.clone(),
        listeners: Vec::new(),
        domains: Default::default(),
        nodes,
        pools: Vec::new(),
        sources: Sources::default(),
        rules: Vec::new(),
        calls: CallPolicy::default(),
        security: SecurityPolicy::default(),
        registrar: None,
    }
}

/// Brings saved calls back, each with a place on its node.
fn restore(engine: &Arc<Engine>, saved: &Saved, names: &mut Names) {
    let (mut restored, mut over, mut damaged) = (0, 0, 0);
    let clocks = engine.clock.reading();
    for (key, octets) in &saved.leases {
        let key = CallKey(*key);
        let Some(lease) = SavedLease::read(octets) else {
            damaged += 1;
            continue;
        };
        let (node, pool) = (names.node(lease.node), names.pool(lease.pool));
        let lease = saving::restored(key, &lease, node, pool, clocks, || engine.take_on(node));
        let Some(lease) = lease else {
            over += 1;
            engine.store.lease(key.0, None);
            continue;
        };
        engine.with_shard(key, |shard| match shard.open(lease) {
            Ok(_) => restored += 1,
            Err(lease) => lease.seat.into_iter().for_each(|seat| engine.give_back(seat)),
        });
    }
    if restored + over + damaged > 0 {
        tracing::info!("{restored} calls are known again; {over} had ended by now, {damaged} could not be read");
    }
}

/// Brings registrations back.
fn restore_bindings(engine: &Engine, saved: &mut Saved) {
    for (user, reason) in &saved.not_ready {
        if let Some(aor) = Aor::from_user(user) {
            let intent = Intent::NotReady(reason.as_str().into());
            engine.registrations.with_book(|book| book.set_intent(&aor, intent, Cause::Restart, engine.clock.now()));
        }
    }
    let (clocks, mut alive, mut over, mut damaged) = (engine.clock.reading(), 0, 0, 0);
    // Each is let go of once it is read: a million would be twice in memory.
    for (user, octets) in std::mem::take(&mut saved.bindings) {
        let (Some(aor), Some(bindings)) = (Aor::from_user(&user), SavedBinding::read(&octets)) else {
            damaged += 1;
            continue;
        };
        if engine.registrations.restore(&aor, bindings, clocks) {
            alive += 1;
        } else {
            over += 1;
            engine.registrations.save(Waiting { aor, answer: None });
        }
    }
    if alive + over + damaged > 0 {
        tracing::info!(
            "{} registrations of {alive} users are known again; those of {over} had run out, {damaged} could not be read",
            engine.registrations.count()
        );
    }
}

/// Reloads when the file changes, or when the process gets SIGHUP.
fn watch(path: &Path, writer: &WriterHandle) -> Vec<JoinHandle<()>> {
    let mut tasks = Vec::new();
    let on_change = writer.clone();
    match reload::watch(writer.files.clone(), move || on_change.ask_reload("the file changed")) {
        Ok(task) => tasks.push(tokio::spawn(task)),
        Err(error) => tracing::warn!("{}: cannot be watched ({error}); use SIGHUP or the API", path.display()),
    }
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()) {
        Ok(mut hangup) => {
            let writer = writer.clone();
            tasks.push(tokio::spawn(async move {
                while hangup.recv().await.is_some() {
                    writer.ask_reload("SIGHUP");
                }
            }));
        }
        Err(error) => tracing::warn!("SIGHUP cannot be heard: {error}"),
    }
    tasks
}

fn announce(engine: &Engine, config: &Config) {
    let farm = engine.farm.load();
    let listeners: Vec<String> =
        farm.listeners.iter().map(|l| format!("{}://{}", l.protocol.lower(), l.bind)).collect();
    tracing::info!(
        generation = %farm.generation,
        "{} listens on {}; {} nodes, {} gateways; a dead node is noticed after {:?} at the latest",
        farm.edge,
        listeners.join(", "),
        config.nodes.len(),
        config.gateways.len(),
        config.health.detection_max(),
    );
}
