//! The edge: the real core, leases, board, health machines, configuration and store format, in a shell without threads,
//! sockets and clocks. What the shell does beside that - reports, sends, news to the health machines, swaps - follows
//! `edge/hands.rs`, `edge/prober.rs`, `edge/farm_writer.rs` and `edge/start.rs` step by step.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cordboard::calls::history::Barred;
use cordboard::calls::lease::Way;
use cordboard::calls::wheel::TICK;
use cordboard::calls::{CallKey, NodeId, PoolId, Seat, Shard};
use cordboard::config::build::{Built, Inputs, Names, build};
use cordboard::config::{self, Config};
use cordboard::dispatch::board::{Assessment, NodeView};
use cordboard::dispatch::health::{Health, Signal, Verdict};
use cordboard::dispatch::node::{Admin, Kind, Node};
use cordboard::dispatch::{Board, Farm, NoSeat, Pick, Picked};
use cordboard::edge::start::first_farm;
use cordboard::keys::Keys;
use cordboard::moment::{Moment, Reading};
use cordboard::proxy::branch::ProbeBranch;
use cordboard::proxy::contract::Destination;
use cordboard::proxy::{Core, Event, Outbox, Scratch, World};
use cordboard::sip::Index;
use cordboard::sip::originate::{Probe, options};
use cordboard::store::contract::LEASE_LEN_MAX;
use cordboard::store::{SavedLease, saving};
use cordboard::transport::flow::{Flow, Protocol, Target};

use crate::context::{Context, Who};
use crate::invariants;
use crate::message::octets;
use crate::random::Random;
use crate::settings::{MAX_DURATION, RING_TIMEOUT};

/// Shards of the simulated edge: several, so that nothing depends on there being one.
const SHARDS: usize = 4;

/// How often warming nodes move on, and how often nodes that are gone are looked after.
const WARM_UP_PAUSE: Duration = Duration::from_millis(250);
const SWEEP_PAUSE: Duration = Duration::from_secs(5);

/// A node as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    pub number: u8,
    pub weight: u32,
    pub max_calls: Option<u32>,
}

/// What is on disk.
#[derive(Default)]
pub struct Disk {
    /// Leases as the database has them.
    leases: BTreeMap<u128, Vec<u8>>,
    /// Changes that would be lost with the machine's power, with the moment of each.
    tail: Vec<(Moment, u128, Option<Vec<u8>>)>,
    /// Operators' words by node.
    pub admin: BTreeMap<String, Admin>,
}

impl Disk {
    fn write(&mut self, now: Moment, key: CallKey, octets: Option<Vec<u8>>) {
        self.tail.push((now, key.0, octets));
        if self.tail.len() >= 4_096 {
            self.settle(now.before(Duration::from_secs(1)));
        }
    }

    /// What is older than this is safe.
    fn settle(&mut self, before: Moment) {
        let safe = self.tail.iter().take_while(|(at, ..)| *at <= before).count();
        for (_, key, octets) in self.tail.drain(..safe) {
            match octets {
                Some(octets) => drop(self.leases.insert(key, octets)),
                None => drop(self.leases.remove(&key)),
            }
        }
    }

    /// The machine lost its power: what was written after this moment is gone.
    pub fn lose_since(&mut self, since: Moment) {
        self.settle(since);
        self.tail.clear();
    }
}

/// What all workers share, without locks.
pub struct Shared {
    shards: [RefCell<Shard>; SHARDS],
    board: RefCell<Board>,
}

impl World for Shared {
    fn with_shard<R>(&self, key: CallKey, act: impl FnOnce(&mut Shard) -> R) -> R {
        act(&mut self.shards[key.shard(SHARDS)].borrow_mut())
    }

    fn take(&self, pick: Pick<'_>) -> Result<Picked, NoSeat> {
        self.board.borrow_mut().take(pick)
    }

    fn take_on(&self, node: NodeId) -> Seat {
        self.board.borrow_mut().take_on(node)
    }

    fn give_back(&self, seat: Seat) {
        self.board.borrow_mut().give_back(seat);
    }

    fn home_of(&self, pool: PoolId, key: u64) -> Option<(NodeId, Way)> {
        self.board.borrow().home_of(pool, key)
    }

    fn looks_dead(&self, pool: PoolId) -> bool {
        self.board.borrow().looks_dead(pool)
    }
}

/// One address and its health.
struct Watched {
    target: Target,
    health: Health,
    is_probed: bool,
}

/// The edge's process while it runs.
pub struct Process {
    /// The moment of the world at which this process' clock was at its zero.
    born: Moment,
    pub farm: Farm,
    pub shared: Shared,
    names: Names,
    config: Config,
    addresses: BTreeMap<NodeId, Vec<Target>>,
    watched: BTreeMap<NodeId, Watched>,
    outbox: Outbox,
    scratch: Scratch,
    index: Index,
    random: Random,
    warmed: Moment,
    swept: Moment,
}

/// The edge, whether it runs or not.
pub struct Edge {
    pub process: Option<Process>,
    pub disk: Disk,
    /// The file.
    pub configured: Vec<Configured>,
    /// The process dies after the next message, before what that led to was sent.
    pub dies_at_next_message: bool,
    random: Random,
}

impl Edge {
    pub fn new(configured: Vec<Configured>, random: Random) -> Self {
        Edge { process: None, disk: Disk::default(), configured, dies_at_next_message: false, random }
    }

    /// The process ends. Nobody had time for anything.
    pub fn kill(&mut self, ctx: &mut Context) {
        self.process = None;
        ctx.restarts.push(ctx.now);
        self.dies_at_next_message = false;
    }

    /// The process starts: leases are read back, then the configuration is taken up.
    pub fn start(&mut self, ctx: &mut Context) {
        if self.process.is_some() {
            return;
        }
        self.disk.settle(ctx.now);
        let config = self.file(ctx);
        let keys = Keys::derive(b"a secret of the simulated farm");
        let mut names = Names::default();
        // The clock of a new process begins anew, an hour from its zero.
        let born = ctx.now;
        let now = Moment::from_micros(HEAD_START_MICROS);
        let saved: Vec<(u128, Vec<u8>)> = self.disk.leases.iter().map(|(k, v)| (*k, v.clone())).collect();
        let shard = || RefCell::new(Shard::new(now, 100_000, 8));
        let mut process = Process {
            born,
            farm: first_farm(&config, &keys, &saved, &mut names),
            shared: Shared {
                shards: [shard(), shard(), shard(), shard()],
                board: RefCell::new(Board::new(self.random.number())),
            },
            names,
            config,
            addresses: BTreeMap::new(),
            watched: BTreeMap::new(),
            outbox: Outbox::default(),
            scratch: Scratch::default(),
            index: Index::new(),
            random: self.random.fork(),
            warmed: now,
            swept: now,
        };
        process.restore(ctx, &mut self.disk, &saved);
        process.take_up(ctx, process.config.clone(), &self.disk.admin);
        self.process = Some(process);
    }

    /// The configuration as the file says it.
    fn file(&self, ctx: &Context) -> Config {
        let text = file(&self.configured, ctx);
        match config::check(&text, &BTreeMap::<String, String>::new()) {
            Ok(checked) => checked.config,
            Err(problems) => panic!("the simulation wrote a bad file: {problems:?}\n{text}"),
        }
    }

    /// The file has changed and is taken up.
    pub fn reload(&mut self, ctx: &mut Context) {
        let config = self.file(ctx);
        if let Some(process) = &mut self.process {
            process.take_up(ctx, config, &self.disk.admin);
        }
    }

    /// An operator wants something of a node.
    pub fn order(&mut self, ctx: &mut Context, node: u8, admin: Admin) {
        let name = format!("ast-{node}");
        // The word is on disk before it is acknowledged, and only an edge that runs takes words.
        let Some(process) = &mut self.process else { return };
        let Some(id) = process.farm.nodes.iter().flatten().find(|n| *n.name == *name).map(|n| n.id) else { return };
        self.disk.admin.insert(name, admin);
        process.shared.board.borrow_mut().set_admin(id, admin);
        process.plan_probes(ctx, &self.disk.admin);
    }

    /// What the operator wants of a node.
    pub fn admin(&self, node: u8) -> Admin {
        self.disk.admin.get(&format!("ast-{node}")).copied().unwrap_or_default()
    }

    /// A datagram arrives.
    pub fn receive(&mut self, ctx: &mut Context, from: Who, bytes: &[u8]) {
        let Some(process) = &mut self.process else { return };
        invariants::arriving(ctx, from, bytes);
        let listener = process.farm.listeners[0].id;
        let flow = Flow { listener, protocol: Protocol::Udp, remote: from.address(), connection: None };
        let mut index = std::mem::take(&mut process.index);
        process.act(ctx, |core, _| core.receive(bytes, flow, &mut index));
        process.index = index;
        self.flush(ctx);
    }

    /// ICMP says that nobody listens at an address.
    pub fn refused(&mut self, ctx: &mut Context, node: Who) {
        let Some(process) = &mut self.process else { return };
        let target = Target { protocol: Protocol::Udp, address: node.address() };
        process.act(ctx, |core, shared| {
            core.note_refused(target);
            shared.shards.iter().for_each(|shard| core.target_refused(&mut shard.borrow_mut(), target));
        });
        self.flush(ctx);
    }

    /// Time has passed: what `ticker`, `prober` and `farm_writer` do by themselves.
    pub fn tick(&mut self, ctx: &mut Context) {
        let Some(process) = &mut self.process else { return };
        process.act(ctx, |core, shared| shared.shards.iter().for_each(|shard| core.tick(&mut shard.borrow_mut())));
        self.flush(ctx);
        let Some(process) = &mut self.process else { return };
        let now = process.clock(ctx);
        if now.since(process.warmed) >= WARM_UP_PAUSE {
            process.warmed = now;
            process.shared.board.borrow_mut().warm_up(now);
        }
        if now.since(process.swept) >= SWEEP_PAUSE {
            process.swept = now;
            process.sweep(ctx, &self.disk.admin);
        }
        let down = process.probe(ctx);
        for node in down {
            self.node_down(ctx, node);
        }
    }

    /// Saves, reports and sends what the core left behind, and whatever that leads to.
    fn flush(&mut self, ctx: &mut Context) {
        let Some(process) = &mut self.process else { return };
        process.save(ctx, &mut self.disk);
        if self.dies_at_next_message && !process.outbox.sends.is_empty() {
            ctx.trace.line(ctx.now, None, || "the edge dies in the middle of its work".to_owned());
            return self.kill(ctx);
        }
        invariants::reported(ctx, process, &process.outbox.events, &self.configured, &self.disk);
        process.send(ctx);
        let down = process.hear_all(ctx);
        process.outbox.clear();
        for node in down {
            self.node_down(ctx, node);
        }
    }

    /// Calls that still wait for an answer of a dead node are taken elsewhere.
    fn node_down(&mut self, ctx: &mut Context, node: NodeId) {
        let Some(process) = &mut self.process else { return };
        process.outbox.clear();
        process.act(ctx, |core, shared| {
            shared.shards.iter().for_each(|shard| core.node_down(&mut shard.borrow_mut(), node));
        });
        self.flush(ctx);
    }
}

impl Process {
    /// This process' clock.
    pub fn clock(&self, ctx: &Context) -> Moment {
        Moment::from_micros(HEAD_START_MICROS) + ctx.now.since(self.born)
    }

    fn reading(&self, ctx: &Context) -> Reading {
        Reading { now: self.clock(ctx), unix_millis: ctx.wall_millis() }
    }

    fn act(&mut self, ctx: &Context, act: impl FnOnce(&mut Core<'_, Shared>, &Shared)) {
        let now = self.clock(ctx);
        let mut core = Core {
            farm: &self.farm,
            world: &self.shared,
            now,
            stopping: false,
            overloaded: false,
            out: &mut self.outbox,
            scratch: &mut self.scratch,
        };
        act(&mut core, &self.shared);
    }

    fn save(&mut self, ctx: &Context, disk: &mut Disk) {
        let clocks = self.reading(ctx);
        for shard in &self.shared.shards {
            shard.borrow_mut().drain_unsaved(|key, lease| {
                let octets = lease.filter(|lease| lease.is_open()).map(|lease| {
                    let mut buffer = [0; LEASE_LEN_MAX];
                    let saved = saving::saved(lease, &self.farm, clocks);
                    saved.write(&mut buffer).expect("every lease fits").to_vec()
                });
                disk.write(ctx.now, key, octets);
            });
        }
    }

    fn send(&mut self, ctx: &mut Context) {
        for send in &self.outbox.sends {
            let bytes = &self.outbox.text[send.range.clone()];
            let way = match &send.to {
                Destination::Way(way) => *way,
                Destination::Name { .. } => {
                    ctx.violate(None, format!("sent to a name: {}", bytes.escape_ascii()));
                    continue;
                }
            };
            let Some(to) = Who::at(way.target().address) else {
                ctx.violate(None, format!("sent to {}: {}", way.target().address, bytes.escape_ascii()));
                continue;
            };
            invariants::leaving(ctx, self, to, bytes);
            ctx.send(Who::Edge, to, &bytes.into());
        }
    }

    /// News of nodes' lives. Returns who was found dead.
    fn hear_all(&mut self, ctx: &mut Context) -> Vec<NodeId> {
        let now = self.clock(ctx);
        let mut concerned = Vec::new();
        for event in &self.outbox.events {
            let Event::Health { node, target, signal } = *event else { continue };
            let is_suspect = self.farm.node(node).is_some_and(|node| node.live.is_suspect());
            if signal == Signal::CallAnswered && !is_suspect {
                continue;
            }
            if let Some(watched) = self.watched.get_mut(&node).filter(|w| w.target.address == target.address) {
                watched.health.signal(signal, now, &self.config.health);
                concerned.push(node);
            }
        }
        concerned.into_iter().filter(|node| self.publish(ctx, *node)).collect()
    }

    /// Sends the probes that are due. Returns who was found dead.
    fn probe(&mut self, ctx: &mut Context) -> Vec<NodeId> {
        let now = self.clock(ctx);
        let (mut sends, mut concerned) = (Vec::new(), Vec::new());
        for (node, watched) in self.watched.iter_mut().filter(|(_, watched)| watched.is_probed) {
            if watched.health.wake_at(&self.config.health) > now {
                continue;
            }
            let fails = watched.health.fails();
            let (probe, change) = watched.health.poll(now, &self.config.health, self.random.number() as u32);
            sends.extend(probe.map(|probe| (*node, watched.target, probe)));
            if change.is_some() || watched.health.fails() > fails {
                concerned.push(*node);
            }
        }
        let down = concerned.into_iter().filter(|node| self.publish(ctx, *node)).collect();
        for (node, target, probe) in sends {
            self.send_probe(ctx, node, target, probe);
        }
        down
    }

    fn send_probe(&self, ctx: &mut Context, node: NodeId, target: Target, probe: u32) {
        let listener = &self.farm.listeners[0];
        let mut via = listener.via.to_vec();
        ProbeBranch { node: node.0, probe }.write(&self.farm.keys, &mut via);
        via.extend_from_slice(b";rport");
        let bytes = options(Probe {
            uri: &format!("sip:{}", target.address),
            via: &String::from_utf8_lossy(&via),
            from: &format!("<sip:{}@10.0.0.1>;tag=p{probe:x}", self.farm.edge),
            call_id: &format!("probe-{}-{probe}@10.0.0.1", node.0),
            cseq: 1,
        });
        ctx.tally.probes += 1;
        if let Some(to) = Who::at(target.address) {
            ctx.send(Who::Edge, to, &octets(String::from_utf8_lossy(&bytes).into_owned()));
        }
    }

    /// Carries what is known of a node to everybody whom it concerns; true when it was found dead just now.
    fn publish(&mut self, ctx: &mut Context, id: NodeId) -> bool {
        let now = self.clock(ctx);
        let (assessment, is_suspect) = match self.watched.get(&id) {
            Some(watched) => (self.assess(watched), watched.health.fails() > 0),
            None => (Assessment { verdict: Verdict::Down, speed_64ths: 64, ..Assessment::default() }, false),
        };
        self.shared.board.borrow_mut().assess(id, assessment, now);
        let Some(node) = self.farm.node(id) else { return false };
        let (was_down, is_down) = (node.live.is_down(), assessment.verdict == Verdict::Down);
        node.live.set_down(is_down);
        node.live.set_suspect(is_suspect);
        if was_down != is_down {
            let (name, word) = (Arc::clone(&node.name), if is_down { "down" } else { "up" });
            ctx.trace.line(ctx.now, None, || format!("the edge finds {name} {word}"));
            let number = self.number_of(id);
            crate::faults::note_verdict(ctx, number, is_down);
        }
        is_down && !was_down
    }

    fn assess(&self, watched: &Watched) -> Assessment {
        let health = &watched.health;
        let listener = self.farm.listeners[0].id;
        Assessment {
            verdict: health.verdict(),
            closed: health.closed().map(|closed| closed.why),
            speed_64ths: health.speed_64ths(&self.config.health),
            up_since: if health.is_new() { Moment::ZERO } else { health.up_since() },
            last_good: health.last_answer().unwrap_or(Moment::ZERO),
            way: Some(Way::Target { listener, target: watched.target }),
        }
    }

    fn restore(&mut self, ctx: &mut Context, disk: &mut Disk, saved: &[(u128, Vec<u8>)]) {
        let clocks = self.reading(ctx);
        for (key, octets) in saved {
            let key = CallKey(*key);
            let lease = SavedLease::read(octets).expect("what was written can be read");
            let (node, pool) = (self.names.node(lease.node), self.names.pool(lease.pool));
            let take = || self.shared.board.borrow_mut().take_on(node);
            match saving::restored(key, &lease, node, pool, clocks, take) {
                Some(lease) => {
                    let opened = self.shared.with_shard(key, |shard| shard.open(lease).is_ok());
                    assert!(opened, "a shard has room for what it had");
                }
                None => disk.write(ctx.now, key, None),
            }
        }
    }

    /// Makes a configuration the one that serves.
    fn take_up(&mut self, ctx: &mut Context, config: Config, admin: &BTreeMap<String, Admin>) {
        let mut addresses = BTreeMap::new();
        for node in &config.nodes {
            let address = format!("{}:{}", node.uri.host, node.uri.port.unwrap_or(5060));
            let address = address.parse().expect("nodes are named by their addresses");
            addresses.insert(self.names.node(&node.name), vec![Target { protocol: Protocol::Udp, address }]);
        }
        for gateway in &config.gateways {
            let Some(uri) = &gateway.uri else { continue };
            let address = format!("{}:5060", uri.host).parse().expect("gateways are named by their addresses");
            addresses.insert(self.names.node(&gateway.name), vec![Target { protocol: Protocol::Udp, address }]);
        }
        for (id, list) in &self.addresses {
            if self.has_calls(*id) {
                addresses.entry(*id).or_insert_with(|| list.clone());
            }
        }
        (self.config, self.addresses) = (config, addresses);
        self.rebuild(ctx, admin);
    }

    fn has_calls(&self, node: NodeId) -> bool {
        self.shared.board.borrow().view(node).is_some_and(|view| view.leases > 0)
    }

    fn rebuild(&mut self, ctx: &mut Context, admin: &BTreeMap<String, Admin>) {
        let mut names = self.names.clone();
        let inputs = Inputs {
            config: &self.config,
            keys: &self.farm.keys,
            previous: Some(&self.farm),
            addresses: &self.addresses,
            workers: 1,
            has_calls: &|node| self.has_calls(node),
        };
        let Built { farm, nodes, pools } = build(&inputs, &mut names);
        let now = self.clock(ctx);
        let mut board = self.shared.board.borrow_mut();
        board.apply(&nodes, pools, now);
        for node in farm.nodes.iter().flatten() {
            board.set_admin(node.id, admin.get(&*node.name).copied().unwrap_or_default());
        }
        drop(board);
        (self.farm, self.names) = (farm, names);
        self.plan_probes(ctx, admin);
    }

    /// Drops nodes that are gone and have no calls left.
    fn sweep(&mut self, ctx: &mut Context, admin: &BTreeMap<String, Admin>) {
        let is_configured = |name: &str| {
            self.config.nodes.iter().any(|n| n.name == name) || self.config.gateways.iter().any(|g| g.name == name)
        };
        let is_done = |node: &Arc<Node>| !is_configured(&node.name) && !self.has_calls(node.id);
        if self.farm.nodes.iter().flatten().any(is_done) {
            self.rebuild(ctx, admin);
        }
    }

    fn plan_probes(&mut self, ctx: &mut Context, admin: &BTreeMap<String, Admin>) {
        let now = self.clock(ctx);
        let mut old = std::mem::take(&mut self.watched);
        let names = self.config.nodes.iter().map(|n| &n.name);
        let names = names.chain(self.config.gateways.iter().filter(|g| g.uri.is_some()).map(|g| &g.name));
        for name in names {
            let Some(id) = self.names.find_node(name) else { continue };
            let Some(target) = self.addresses.get(&id).and_then(|list| list.first()).copied() else { continue };
            let is_probed = admin.get(name) != Some(&Admin::Disabled);
            let known = old.remove(&id).filter(|watched| watched.target == target && watched.is_probed);
            let health = known.map_or_else(|| Health::new(now), |watched| watched.health);
            self.watched.insert(id, Watched { target, health, is_probed });
        }
        let planned: Vec<NodeId> = self.watched.keys().copied().collect();
        for id in planned {
            self.publish(ctx, id);
        }
    }

    /// The number of a simulated node.
    pub fn id_of(&self, node: u8) -> Option<NodeId> {
        self.names.find_node(&format!("ast-{node}"))
    }

    /// The simulated node behind a number.
    pub fn number_of(&self, id: NodeId) -> Option<u8> {
        self.farm.node(id)?.name.strip_prefix("ast-")?.parse().ok()
    }

    /// What the board knows of a node.
    pub fn view(&self, id: NodeId) -> Option<NodeView> {
        self.shared.board.borrow().view(id)
    }

    /// True when the edge takes the node for dead.
    pub fn finds_down(&self, node: u8) -> bool {
        let id = self.id_of(node);
        id.and_then(|id| self.farm.node(id)).is_some_and(|node| node.live.is_down())
    }

    /// Why nodes take no calls now, for the trace.
    pub fn barred(&self) -> Vec<(Arc<str>, Option<Barred>)> {
        let nodes = self.farm.nodes.iter().flatten().filter(|node| node.kind == Kind::Node);
        nodes.map(|node| (Arc::clone(&node.name), self.view(node.id).and_then(|view| view.barred))).collect()
    }

    /// Looks at every shard.
    pub fn each_shard(&self, look: impl FnMut(&Shard)) {
        let mut look = look;
        self.shared.shards.iter().for_each(|shard| look(&shard.borrow()));
    }

    /// Looks at the board.
    pub fn with_board<R>(&self, look: impl FnOnce(&Board) -> R) -> R {
        look(&self.shared.board.borrow())
    }

    /// Every node's number, also those that are gone.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> {
        (0..64).map(NodeId)
    }
}

const HEAD_START_MICROS: u64 = 3_600 * 1_000_000;

/// The pause between two looks at the clock.
pub const EDGE_TICK: Duration = TICK;

/// The file, as an operator would write it.
fn file(configured: &[Configured], ctx: &Context) -> String {
    let settings = &ctx.settings;
    let gateways = (1..=settings.gateways)
        .map(|n| format!("  - {{ name: gw-{n}, source: [10.0.1.{n}], uri: \"sip:10.0.1.{n}:5060\" }}\n"));
    let nodes = configured.iter().map(|Configured { number, weight, max_calls }| {
        let max_calls = max_calls.map(|max| format!(", max_calls: {max}")).unwrap_or_default();
        format!("      - {{ name: ast-{number}, uri: \"sip:10.0.2.{number}:5060\", weight: {weight}{max_calls} }}\n")
    });
    let slow_start = if settings.slow_start { "30s" } else { "0s" };
    format!(
        "edge: {{ name: edge-1 }}\nlisten: [udp://10.0.0.1:5060]\nstore: memory\napi: off\ngateways:\n{}\
         pools:\n  inbound:\n    slow_start: {slow_start}\n    nodes:\n{}\
         calls: {{ ring_timeout: {}s, max_duration: {}s }}\n",
        gateways.collect::<String>(),
        nodes.collect::<String>(),
        RING_TIMEOUT.as_secs(),
        MAX_DURATION.as_secs(),
    )
}
