//! The one writer of the farm: reloads, operators' words and DNS answers become the next snapshot.
//!
//! A reload reads, checks, compares, binds what is new, builds, and swaps once. Whatever fails on the way changes
//! nothing: the edge goes on with what it had and says why.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::calls::NodeId;
use crate::calls::lease::Way;
use crate::cluster::{Entry, Others};
use crate::config::build::{Built, Inputs, Names, build};
use crate::config::{self, Change, Checked, Config, ConfigProblems, Environment, Problem, diff};
use crate::dispatch::board::Assessment;
use crate::dispatch::farm::Generation;
use crate::dispatch::node::{Admin, Kind, Node, NodeUri};
use crate::keys::Keys;
use crate::resolve::{Address, Answer, ResolvePolicy, Resolver, literal};
use crate::store::SavedAdmin;
use crate::telemetry::LogHandle;
use crate::transport::stream::StreamLimits;

use super::clock::wall_millis;
use super::ended::{end_removed_users, note_permanents};
use super::engine::Engine;
use super::listeners::Listeners;
use super::prober::{ProbePlan, ProbedNode, ProberHandle};

/// How long workers may still hold the farm before this one; its pools stay on the board for so long.
const GRACE: Duration = Duration::from_secs(1);

/// How often nodes that are gone are looked after, until their last call has ended.
const SWEEP_PAUSE: Duration = Duration::from_secs(5);

/// Shortest and longest pause after a name could not be looked up.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// An order to the writer.
pub enum Order {
    /// Load the file again.
    Reload {
        /// Who asked: a word for the log.
        because: &'static str,
        /// Where the report goes.
        reply: Option<oneshot::Sender<ReloadReport>>,
    },
    /// A name was looked up.
    Found {
        /// The node behind it.
        node: NodeId,
        /// What was found.
        answer: Answer,
    },
    /// An operator wants something of a node.
    Admin {
        /// The node's name.
        node: String,
        /// What.
        state: Admin,
        /// Where the result goes.
        reply: oneshot::Sender<Result<(), AdminError>>,
    },
    /// At another edge an operator wanted something of a node.
    PeerAdmin {
        /// The node's name.
        node: String,
        /// What, and when.
        wanted: SavedAdmin,
    },
    /// Look after what is left over.
    Sweep,
}

/// What came of a reload.
#[derive(Clone, Debug)]
pub struct ReloadReport {
    /// True when the file serves now, changed or not.
    pub is_ok: bool,
    /// What changed.
    pub changes: Vec<Change>,
    /// What is wrong with the file.
    pub problems: Vec<Problem>,
    /// What went wrong otherwise.
    pub error: Option<String>,
    /// The generation that serves.
    pub generation: Generation,
}

/// Why an operator's word was not taken.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// There is no such node.
    #[error("there is no node {0}")]
    UnknownNode(String),
    /// It could not be kept, so it was not taken either.
    #[error("not done, because it could not be kept: {0}")]
    Store(#[from] crate::store::StoreError),
}

/// What operators can read about the configuration.
#[derive(Clone, Debug)]
pub struct ConfigStatus {
    /// The configuration that serves.
    pub config: Arc<Config>,
    /// Its generation.
    pub generation: Generation,
    /// When it was taken up, in milliseconds of Unix time.
    pub loaded_at: u64,
    /// The last attempt.
    pub last: ReloadReport,
    /// When that was, in milliseconds of Unix time.
    pub last_at: u64,
    /// Changes in the file that only a restart brings about.
    pub needs_restart: Vec<String>,
    /// What is legal and looks wrong.
    pub warnings: Vec<Problem>,
}

/// How to give orders, and where to read.
#[derive(Clone)]
pub struct WriterHandle {
    orders: mpsc::Sender<Order>,
    /// What operators can read.
    pub status: Arc<ArcSwap<ConfigStatus>>,
    /// Operators' words.
    pub admin: Arc<ArcSwap<BTreeMap<String, SavedAdmin>>>,
    /// The files to watch: that of the configuration, and those that it names.
    pub files: watch::Receiver<Vec<PathBuf>>,
}

impl WriterHandle {
    /// Loads the file again and waits for the report. `None` when the edge is ending.
    pub async fn reload(&self, because: &'static str) -> Option<ReloadReport> {
        let (reply, report) = oneshot::channel();
        self.orders.send(Order::Reload { because, reply: Some(reply) }).await.ok()?;
        report.await.ok()
    }

    /// Asks for a reload without waiting. A queue that is full has one in it.
    pub fn ask_reload(&self, because: &'static str) {
        let _ = self.orders.try_send(Order::Reload { because, reply: None });
    }

    /// Passes on what an operator said at another edge. What finds the queue full is heard again with all the rest.
    pub fn peer_said(&self, node: &str, wanted: SavedAdmin) {
        let _ = self.orders.try_send(Order::PeerAdmin { node: node.to_owned(), wanted });
    }

    /// Says what is wanted of a node. On disk when this returns `Ok`.
    pub async fn set_admin(&self, node: &str, state: Admin) -> Option<Result<(), AdminError>> {
        let (reply, result) = oneshot::channel();
        self.orders.send(Order::Admin { node: node.to_owned(), state, reply }).await.ok()?;
        result.await.ok()
    }
}

/// What a writer is made of.
pub struct WriterParts {
    /// What all threads share.
    pub engine: Arc<Engine>,
    /// How the prober is told.
    pub prober: ProberHandle,
    /// The configuration that serves from the start.
    pub checked: Checked,
    /// Its file.
    pub path: PathBuf,
    /// Where secrets come from.
    pub environment: Arc<dyn Environment + Send + Sync>,
    /// The farm's keyed hashes.
    pub keys: Keys,
    /// Numbers of names.
    pub names: Names,
    /// Operators' words that were kept.
    pub admin: BTreeMap<String, SavedAdmin>,
    /// How the log's level is set.
    pub log: LogHandle,
}

/// The writer.
pub struct FarmWriter {
    engine: Arc<Engine>,
    prober: ProberHandle,
    path: PathBuf,
    environment: Arc<dyn Environment + Send + Sync>,
    keys: Keys,
    names: Names,
    config: Arc<Config>,
    listeners: Listeners,
    addresses: BTreeMap<NodeId, Vec<Address>>,
    lookups: BTreeMap<NodeId, Lookup>,
    admin: BTreeMap<String, SavedAdmin>,
    log: LogHandle,
    orders: mpsc::Receiver<Order>,
    sender: mpsc::Sender<Order>,
    handle: WriterHandle,
    files: watch::Sender<Vec<PathBuf>>,
    /// True while the board holds pools of an earlier farm.
    has_leftovers: bool,
    /// True until the registrations of those who are gone were looked through a second time.
    may_have_removed_users: bool,
}

/// A name that is being kept up to date.
struct Lookup {
    uri: NodeUri,
    task: JoinHandle<()>,
}

impl Drop for Lookup {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FarmWriter {
    /// A writer whose configuration serves nothing yet; [`FarmWriter::open`] does that.
    pub fn new(parts: WriterParts) -> (Self, WriterHandle) {
        let (sender, orders) = mpsc::channel(256);
        let Checked { config, warnings } = parts.checked;
        let generation = config.generation();
        let config = Arc::new(config);
        let first = ReloadReport { is_ok: true, changes: vec![], problems: vec![], error: None, generation };
        let status = ConfigStatus {
            config: Arc::clone(&config),
            generation,
            loaded_at: wall_millis(),
            last: first,
            last_at: wall_millis(),
            needs_restart: vec![],
            warnings,
        };
        let (files, named) = watch::channel(files_of(&parts.path, &config, &[]));
        let handle = WriterHandle {
            orders: sender.clone(),
            status: Arc::new(ArcSwap::from_pointee(status)),
            admin: Arc::new(ArcSwap::from_pointee(parts.admin.clone())),
            files: named,
        };
        let listeners = Listeners::new(Arc::clone(&parts.engine), workers(&config) as usize);
        let writer = FarmWriter {
            engine: parts.engine,
            prober: parts.prober,
            path: parts.path,
            environment: parts.environment,
            keys: parts.keys,
            names: parts.names,
            config,
            listeners,
            addresses: BTreeMap::new(),
            lookups: BTreeMap::new(),
            admin: parts.admin,
            log: parts.log,
            orders,
            sender,
            handle: handle.clone(),
            files,
            has_leftovers: false,
            may_have_removed_users: false,
        };
        (writer, handle)
    }

    /// Serves the configuration that the writer was made with.
    pub async fn open(&mut self) -> Result<(), String> {
        let config = Arc::clone(&self.config);
        self.take_up(config).await
    }

    /// Carries out orders until the runtime ends.
    pub async fn run(mut self) {
        let mut sweep = tokio::time::interval(SWEEP_PAUSE);
        loop {
            tokio::select! {
                Some(order) = self.orders.recv() => self.carry_out(order).await,
                _ = sweep.tick() => self.carry_out(Order::Sweep).await,
            }
        }
    }

    async fn carry_out(&mut self, order: Order) {
        match order {
            Order::Reload { because, reply } => {
                let report = self.reload(because).await;
                if let Some(reply) = reply {
                    let _ = reply.send(report);
                }
            }
            Order::Found { node, answer } => self.found(node, answer).await,
            Order::Admin { node, state, reply } => {
                let _ = reply.send(self.set_admin(&node, state).await);
            }
            Order::PeerAdmin { node, wanted } => {
                let known = self.admin.get(&node).map_or(0, |saved| saved.since);
                if let Some(state) = Admin::from_word(&wanted.state).filter(|_| wanted.since > known)
                    && let Err(error) = self.take_word(&node, state, wanted.since).await
                {
                    tracing::debug!(node, "what another edge said of it: {error}");
                }
            }
            Order::Sweep => self.sweep().await,
        }
    }

    async fn reload(&mut self, because: &'static str) -> ReloadReport {
        let (report, checked) = self.try_reload().await;
        self.report(because, &report, checked);
        report
    }

    async fn try_reload(&mut self) -> (ReloadReport, Option<Checked>) {
        let generation = self.config.generation();
        let mut report = ReloadReport { is_ok: false, changes: vec![], problems: vec![], error: None, generation };
        let checked = match self.read().await {
            Ok(Ok(checked)) => checked,
            Ok(Err(problems)) => {
                report.problems = problems.0;
                return (report, None);
            }
            Err(error) => {
                report.error = Some(format!("{}: {error}", self.path.display()));
                return (report, None);
            }
        };
        report.changes = diff(&self.config, &checked.config);
        if report.changes.is_empty() {
            report.is_ok = true;
            return (report, Some(checked));
        }
        match self.take_up(Arc::new(checked.config.clone())).await {
            Ok(()) => {
                report.is_ok = true;
                report.generation = checked.config.generation();
                (report, Some(checked))
            }
            Err(error) => {
                report.changes.clear();
                report.error = Some(error);
                (report, None)
            }
        }
    }

    /// Reads and checks the file, off the threads that carry messages: there may be a hundred thousand users in it.
    async fn read(&self) -> std::io::Result<Result<Checked, ConfigProblems>> {
        let (path, environment) = (self.path.clone(), Arc::clone(&self.environment));
        let read = move || std::fs::read_to_string(path).map(|text| config::check(&text, &*environment));
        tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other)?
    }

    /// Logs, counts and publishes what came of a reload.
    fn report(&self, because: &str, report: &ReloadReport, checked: Option<Checked>) {
        let metrics = &self.engine.metrics;
        let result = match (report.is_ok, report.changes.is_empty()) {
            (false, _) => "failed",
            (true, true) => "unchanged",
            (true, false) => "ok",
        };
        metrics.reloads.with_label_values(&[result]).inc();
        metrics.reload_ok.set(i64::from(report.is_ok));
        for problem in &report.problems {
            let own = if problem.file.is_none() { format!("{}:", self.path.display()) } else { String::new() };
            tracing::error!("{own}{problem}");
        }
        let files = files_of(&self.path, &self.config, &report.problems);
        self.files.send_if_modified(|watched| (*watched != files).then(|| *watched = files).is_some());
        if let Some(error) = &report.error {
            tracing::error!("reload: {error}");
        }
        if !report.is_ok {
            let generation = self.config.generation();
            tracing::error!(%generation, "reload ({because}): refused; generation {generation} goes on");
        }
        for change in &report.changes {
            tracing::info!("reload ({because}): {change}");
        }
        let old = self.handle.status.load();
        let mut needs_restart = old.needs_restart.clone();
        for change in report.changes.iter().filter(|change| change.needs_restart()) {
            let line = change.to_string();
            tracing::warn!("takes effect at the next start: {line}");
            needs_restart.push(line);
        }
        let now = wall_millis();
        let has_changed = !report.changes.is_empty();
        if has_changed {
            metrics.reload_time.set((now / 1_000) as i64);
        }
        self.handle.status.store(Arc::new(ConfigStatus {
            config: Arc::clone(&self.config),
            generation: self.config.generation(),
            loaded_at: if has_changed { now } else { old.loaded_at },
            last: report.clone(),
            last_at: now,
            needs_restart,
            warnings: checked.map_or_else(|| old.warnings.clone(), |checked| checked.warnings),
        }));
    }

    /// Makes a configuration the one that serves. On an error nothing has changed.
    async fn take_up(&mut self, config: Arc<Config>) -> Result<(), String> {
        let resolver = Resolver::new(resolve_policy(&config)).map_err(|error| error.to_string())?;
        let mut names = self.names.clone();
        let addresses = self.addresses_for(&config, &mut names);
        let built = self.build_with(&config, &mut names, &addresses);
        let bound = self.listeners.bind(&built.farm.listeners).map_err(|error| error.to_string())?;
        (self.names, self.addresses, self.config) = (names, addresses, config);
        self.engine.resolver.store(Arc::new(resolver));
        self.engine.streams.set_limits(stream_limits(&self.config));
        self.log.set_level(self.config.log.level.as_str());
        self.engine.set_redact(self.config.log.redact);
        let listeners = built.farm.listeners.clone();
        self.swap(built);
        self.note_addresses();
        self.listeners.apply(bound, &listeners).map_err(|error| error.to_string())?;
        self.watch_names();
        self.plan_probes().await;
        Ok(())
    }

    /// Addresses that are written out at once, and those of names as far as they are known already.
    fn addresses_for(&self, config: &Config, names: &mut Names) -> BTreeMap<NodeId, Vec<Address>> {
        let mut all = BTreeMap::new();
        for (name, uri) in named_uris(config) {
            let id = names.node(name);
            let known = || {
                let same_name = self.lookups.get(&id).is_some_and(|lookup| lookup.uri == *uri);
                same_name.then(|| self.addresses.get(&id).cloned()).flatten()
            };
            if let Some(addresses) = literal(uri).map(|answer| answer.addresses).or_else(known) {
                all.insert(id, addresses);
            }
        }
        // A node that is gone keeps its addresses while it has calls.
        for (id, addresses) in &self.addresses {
            if self.has_calls(*id) {
                all.entry(*id).or_insert_with(|| addresses.clone());
            }
        }
        all
    }

    fn has_calls(&self, node: NodeId) -> bool {
        self.engine.with_board(|board| board.view(node).is_some_and(|view| view.leases > 0))
    }

    fn build_with(&self, config: &Config, names: &mut Names, addresses: &BTreeMap<NodeId, Vec<Address>>) -> Built {
        let targets = addresses.iter().map(|(id, list)| (*id, list.iter().map(|a| a.target).collect())).collect();
        let previous = self.engine.farm.load();
        let inputs = Inputs {
            config,
            keys: &self.keys,
            previous: Some(&previous),
            addresses: &targets,
            workers: workers(config),
            has_calls: &|node| self.has_calls(node),
        };
        build(&inputs, names)
    }

    /// The one swap. Workers that still hold the farm before find its pools on the board until the sweep.
    fn swap(&mut self, built: Built) {
        let now = self.engine.clock.now();
        let old = self.engine.farm.load_full();
        let mut pools = built.pools.clone();
        let leftover = old.pools.iter().flatten().filter(|pool| !pools.iter().any(|new| new.id == pool.plan.id));
        let leftover: Vec<_> = leftover.map(|pool| pool.plan.clone()).collect();
        self.has_leftovers = !leftover.is_empty();
        pools.extend(leftover);
        self.engine.with_board(|board| {
            board.apply(&built.nodes, pools, now);
            for node in built.farm.nodes.iter().flatten() {
                let said = self.admin.get(&*node.name).and_then(|saved| Admin::from_word(&saved.state));
                board.set_admin(node.id, said.unwrap_or_default());
            }
        });
        self.engine.metrics.apply(&built.farm, |_| None);
        let skills = built.farm.registrar.as_ref().map(|service| service.policy.skills()).unwrap_or_default();
        let new = Arc::new(built.farm);
        self.engine.farm.store(Arc::clone(&new));
        note_permanents(&self.engine, &old, &new, now);
        if let Some(cluster) = &self.engine.cluster {
            self.engine.among(cluster).count_all_others();
        }
        // A worker that still holds the farm before may register somebody who is gone: he ends at the sweep.
        self.end_removed_users();
        self.may_have_removed_users = true;
        self.engine.registrations.with_book(|book| book.set_skills(skills));
        if self.has_leftovers {
            let orders = self.sender.clone();
            self.engine.runtime.spawn(async move {
                tokio::time::sleep(GRACE).await;
                let _ = orders.send(Order::Sweep).await;
            });
        }
    }

    /// Tells the board where nodes are that nothing is known of yet: a call may come before the first probe, and the one that is
    /// repeated while an edge starts anew comes with the first datagram.
    fn note_addresses(&self) {
        let (farm, now) = (self.engine.farm.load_full(), self.engine.clock.now());
        self.engine.with_board(|board| {
            for (id, addresses) in &self.addresses {
                let is_new = board.view(*id).is_some_and(|view| view.assessment == Assessment::unknown());
                let (Some(node), Some(address)) = (farm.node(*id), addresses.first()) else { continue };
                let listener = farm.listener_for(address.target, node.listener).filter(|_| is_new);
                let way = listener.map(|listener| Way::Target { listener: listener.id, target: address.target });
                if way.is_some() {
                    board.assess(*id, Assessment { way, ..Assessment::unknown() }, now);
                }
            }
        });
    }

    /// Ends the registrations of those who are users no more.
    fn end_removed_users(&self) {
        let count = end_removed_users(&self.engine, &self.engine.farm.load(), self.engine.clock.now());
        if count > 0 {
            tracing::info!("{count} users are gone: their registrations have ended");
        }
    }

    /// Drops pools of earlier farms, and nodes that are gone and have no calls left.
    async fn sweep(&mut self) {
        if std::mem::take(&mut self.may_have_removed_users) {
            self.end_removed_users();
        }
        let farm = self.engine.farm.load_full();
        let configured: Vec<NodeId> =
            named_uris(&self.config).filter_map(|(name, _)| self.names.find_node(name)).collect();
        let is_done = |node: &Node| {
            let stays = configured.contains(&node.id) || self.is_gateway(node.id) || node.kind == Kind::Agents;
            !stays && !self.has_calls(node.id)
        };
        let done = farm.nodes.iter().flatten().any(|node| is_done(node.as_ref()));
        if !done && !self.has_leftovers {
            return;
        }
        for node in farm.nodes.iter().flatten().filter(|node| is_done(node)) {
            tracing::info!(node = &*node.name, "node {} is gone: its last call has ended", node.name);
        }
        self.rebuild().await;
        if self.has_leftovers {
            let plans = self.engine.farm.load().pools.iter().flatten().map(|pool| pool.plan.clone()).collect();
            let nodes: Vec<_> = self.engine.farm.load().nodes.iter().flatten().map(|n| node_plan(n)).collect();
            let now = self.engine.clock.now();
            self.engine.with_board(|board| board.apply(&nodes, plans, now));
            self.has_leftovers = false;
        }
    }

    fn is_gateway(&self, id: NodeId) -> bool {
        self.config.gateways.iter().any(|gateway| self.names.find_node(&gateway.name) == Some(id))
    }

    /// The same configuration with other addresses or fewer leftovers.
    async fn rebuild(&mut self) {
        let mut names = self.names.clone();
        let (config, addresses) = (Arc::clone(&self.config), self.addresses.clone());
        let built = self.build_with(&config, &mut names, &addresses);
        self.names = names;
        self.swap(built);
        self.plan_probes().await;
    }

    async fn plan_probes(&self) {
        let farm = self.engine.farm.load_full();
        let callable = named_uris(&self.config).filter_map(|(name, _)| self.names.find_node(name));
        let probed = callable.filter_map(|id| {
            let name = &farm.node(id)?.name;
            let disabled = self.admin.get(&**name).is_some_and(|saved| saved.state == Admin::Disabled.as_str());
            let addresses = self.addresses.get(&id).cloned().unwrap_or_default();
            Some(ProbedNode { node: id, addresses, is_probed: !disabled })
        });
        let plan = ProbePlan { policy: self.config.health.clone(), nodes: probed.collect() };
        self.prober.plan(plan).await;
    }

    async fn found(&mut self, node: NodeId, answer: Answer) {
        if self.addresses.get(&node) == Some(&answer.addresses) {
            return;
        }
        let farm = self.engine.farm.load_full();
        if let Some(known) = farm.node(node) {
            let list: Vec<String> = answer.addresses.iter().map(|a| a.target.to_string()).collect();
            tracing::info!(node = &*known.name, "node {} is at {}", known.name, list.join(", "));
        }
        self.addresses.insert(node, answer.addresses);
        self.rebuild().await;
    }

    async fn set_admin(&mut self, name: &str, state: Admin) -> Result<(), AdminError> {
        let since = wall_millis();
        self.take_word(name, state, since).await?;
        if let Some(cluster) = &self.engine.cluster {
            let wanted = SavedAdmin { state: state.as_str().to_owned(), since };
            cluster.tell_word(&Entry::Admin { node: name, wanted }, since);
        }
        Ok(())
    }

    /// Takes an operator's word, said here or at another edge.
    async fn take_word(&mut self, name: &str, state: Admin, since: u64) -> Result<(), AdminError> {
        let farm = self.engine.farm.load_full();
        let node = farm.nodes.iter().flatten().find(|node| &*node.name == name);
        let id = node.map(|node| node.id).ok_or_else(|| AdminError::UnknownNode(name.to_owned()))?;
        let saved = SavedAdmin { state: state.as_str().to_owned(), since };
        if state == Admin::Enabled {
            self.engine.store.admin(name, None)?;
            self.admin.remove(name);
        } else {
            self.engine.store.admin(name, Some(&saved))?;
            self.admin.insert(name.to_owned(), saved);
        }
        self.handle.admin.store(Arc::new(self.admin.clone()));
        self.engine.with_board(|board| board.set_admin(id, state));
        tracing::info!(node = name, "node {name} is {} now", state.as_str());
        self.engine.events.node(name, state.as_str());
        self.plan_probes().await;
        Ok(())
    }

    /// Starts looking up names that are new and stops with those that are gone.
    fn watch_names(&mut self) {
        let mut wanted: BTreeMap<NodeId, NodeUri> = BTreeMap::new();
        for (name, uri) in named_uris(&self.config) {
            if literal(uri).is_none()
                && let Some(id) = self.names.find_node(name)
            {
                wanted.insert(id, uri.clone());
            }
        }
        self.lookups.retain(|id, lookup| wanted.get(id) == Some(&lookup.uri));
        for (id, uri) in wanted {
            let (engine, orders) = (Arc::clone(&self.engine), self.sender.clone());
            self.lookups.entry(id).or_insert_with(|| {
                let task = self.engine.runtime.spawn(keep_looking_up(engine, id, uri.clone(), orders));
                Lookup { uri, task }
            });
        }
    }
}

fn node_plan(node: &crate::dispatch::node::Node) -> crate::dispatch::board::NodePlan {
    crate::dispatch::board::NodePlan { id: node.id, max_calls: node.max_calls }
}

/// The files whose changes are to be noticed; one with problems too, so that mending it is enough.
fn files_of(path: &Path, config: &Config, problems: &[Problem]) -> Vec<PathBuf> {
    let auth = config.registrar.as_ref().and_then(|registrar| registrar.auth.as_ref());
    let users = auth.and_then(|auth| auth.users_file.clone());
    let broken = problems.iter().filter_map(|problem| problem.file.as_deref().map(PathBuf::from));
    let mut files: Vec<PathBuf> = std::iter::once(path.to_path_buf()).chain(users).chain(broken).collect();
    files.dedup();
    files
}

/// Everybody whom calls can be sent to.
fn named_uris(config: &Config) -> impl Iterator<Item = (&str, &NodeUri)> {
    let nodes = config.nodes.iter().map(|node| (node.name.as_str(), &node.uri));
    let gateways = config.gateways.iter().filter_map(|g| g.uri.as_ref().map(|uri| (g.name.as_str(), uri)));
    nodes.chain(gateways)
}

/// Looks a name up before its time to live ends, for ever. The last good answer serves while DNS fails.
async fn keep_looking_up(engine: Arc<Engine>, node: NodeId, uri: NodeUri, orders: mpsc::Sender<Order>) {
    let (mut retry, mut has_failed) = (RETRY_MIN, false);
    loop {
        let resolver = engine.resolver.load_full();
        let pause = match resolver.resolve(&uri).await {
            Ok(answer) => {
                if has_failed {
                    tracing::info!("{} is known again", uri.host);
                }
                (retry, has_failed) = (RETRY_MIN, false);
                let ttl = answer.ttl;
                if orders.send(Order::Found { node, answer }).await.is_err() {
                    return;
                }
                ttl.mul_f64(0.8)
            }
            Err(error) => {
                if !has_failed {
                    tracing::warn!("{uri}: {error}; the last good answer serves on, if there was one");
                }
                has_failed = true;
                let pause = retry;
                retry = (retry * 2).min(RETRY_MAX);
                pause
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// How names are looked up.
pub fn resolve_policy(config: &Config) -> ResolvePolicy {
    let dns = &config.dns;
    ResolvePolicy { servers: dns.servers.clone(), timeout: dns.timeout, min_ttl: dns.min_ttl, max_ttl: dns.max_ttl }
}

/// Bounds on streams.
pub fn stream_limits(config: &Config) -> StreamLimits {
    let limits = &config.limits;
    StreamLimits {
        connections: limits.connections as usize,
        connections_per_source: limits.connections_per_source as usize,
        message_len: limits.message_bytes as usize,
        connect_timeout: limits.connect_timeout,
        message_timeout: limits.message_timeout,
        idle_timeout: limits.idle_timeout,
    }
}

/// UDP threads for each listener: one for each core, up to four, unless it is configured.
fn workers(config: &Config) -> u32 {
    let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4) as u16);
    u32::from(config.edge.workers.unwrap_or_else(cores))
}
