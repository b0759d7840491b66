//! An edge without sockets and clocks, with a gateway and nodes that are a few lines of text.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cordboard::agents::Book;
use cordboard::agents::book::Offer;
use cordboard::agents::ends::Ends;
use cordboard::asterisk::channels::{Channel, Direction};
use cordboard::calls::lease::Way;
use cordboard::calls::{CallKey, Lease, NodeId, Phase, PoolId, Seat, Shard};
use cordboard::dispatch::board::{Algorithm, Assessment, MemberPlan, NodePlan, PoolPlan, Rank};
use cordboard::dispatch::farm::{CallPolicy, Generation, KeyedBy, Listener, Pool, SecurityPolicy};
use cordboard::dispatch::health::Verdict;
use cordboard::dispatch::node::{Admin, Kind, Node, NodeUri};
use cordboard::dispatch::rules::{Action, From, Rule, Sources};
use cordboard::dispatch::{Board, Farm, NoSeat, Pick, Picked};
use cordboard::keys::Keys;
use cordboard::moment::{Moment, Reading};
use cordboard::proxy::contract::{Destination, Offered, Registry, TryId};
use cordboard::proxy::{Core, Event, Outbox, Scratch, World};
use cordboard::registrar::auth::Use;
use cordboard::registrar::digest::Algorithm as Digest;
use cordboard::registrar::replays::Replays;
use cordboard::registrar::users::{Secrets, Users};
use cordboard::registrar::{AgentPolicy, Aor, Authority, Permanent, Permanents, Service, Table, Terms};
use cordboard::sip::Index;
use cordboard::store::contract::LEASE_LEN_MAX;
use cordboard::store::{SavedLease, saving};
use cordboard::transport::flow::{ConnectionId, Flow, ListenerId, Protocol, Target};

/// The edge's address.
pub const EDGE: &str = "127.0.0.10:5060";
/// The gateway's address.
pub const GATEWAY: &str = "127.0.0.2:5060";
/// An address that nobody knows.
pub const STRANGER: &str = "192.0.2.66:5060";

const UDP: ListenerId = ListenerId(1);
const TCP: ListenerId = ListenerId(2);
const INBOUND: PoolId = PoolId(0);
const OUTBOUND: PoolId = PoolId(1);
const GATEWAY_ID: NodeId = NodeId(100);
const AGENTS_ID: NodeId = NodeId(101);

/// What all workers share, without locks.
pub struct Shared {
    shard: RefCell<Shard>,
    board: RefCell<Board>,
    registry: Registered,
}

/// What the registrar shares.
#[derive(Default)]
pub struct Registered {
    table: RefCell<Table>,
    replays: RefCell<Replays>,
    book: RefCell<Book>,
    /// Seconds of Unix time.
    pub unix_secs: Cell<u64>,
    /// Set while nothing more can be stored.
    pub is_full: Cell<bool>,
}

impl Registered {
    /// Acts on the agents' book.
    pub fn with_book<R>(&self, act: impl FnOnce(&mut Book) -> R) -> R {
        act(&mut self.book.borrow_mut())
    }

    /// Notes in the book what a call means for the agents at its ends.
    fn note(&self, lease: &Lease, now: Moment) {
        let policy = AgentPolicy::default();
        for (aor, note) in Ends::of(lease, AGENTS_ID).notes() {
            self.book.borrow_mut().note(&aor, note, &policy, now);
        }
    }
}

impl Registry for Registered {
    fn with_table(&self, _: &Aor, act: &mut dyn FnMut(&mut Table)) {
        act(&mut self.table.borrow_mut());
    }

    fn is_first_use(&self, proof: Use) -> bool {
        self.replays.borrow_mut().admit(proof.nonce, proof.made_secs, proof.count, self.unix_secs.get())
    }

    fn unix_secs(&self) -> u64 {
        self.unix_secs.get()
    }

    fn offer(&self, offer: Offer<'_>, now: Moment) -> Offered {
        if self.book.borrow_mut().offer(offer, now) { Offered::LetThrough } else { Offered::Refused }
    }

    fn calls_of(&self, agent: &[u8]) -> Vec<CallKey> {
        let book = self.book.borrow();
        book.find(agent).map_or_else(Vec::new, |agent| agent.calls().iter().map(|call| call.key).collect())
    }

    fn take_back(&self, aor: &Aor, key: CallKey, now: Moment) {
        self.book.borrow_mut().take_back(aor, key, now);
    }

    fn set_registered(&self, aor: &Aor, is_registered: bool, now: Moment) {
        self.book.borrow_mut().set_registered(aor, is_registered, now);
    }

    fn has_room(&self) -> bool {
        !self.is_full.get()
    }
}

impl World for Shared {
    fn with_shard<R>(&self, _: CallKey, act: impl FnOnce(&mut Shard) -> R) -> R {
        act(&mut self.shard.borrow_mut())
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

    fn registry(&self) -> Option<&dyn Registry> {
        Some(&self.registry)
    }
}

/// A message that the edge sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Where to.
    pub to: String,
    /// The message.
    pub text: String,
}

impl Sent {
    /// The first line.
    pub fn first_line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    /// The value of the first header with this name.
    pub fn header<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.headers(name).next()
    }

    /// The values of all headers with this name.
    pub fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let head = self.text.split("\r\n\r\n").next().unwrap_or_default();
        head.lines().skip(1).filter_map(move |line| {
            let (found, value) = line.split_once(':')?;
            found.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The branch of the top Via.
    pub fn branch(&self) -> &str {
        let via = self.header("Via").expect("a Via");
        via.split("branch=").nth(1).and_then(|rest| rest.split([';', ',']).next()).expect("a branch")
    }

    /// The answer that a server gives to this request.
    pub fn reply(&self, code: u16, extra: &str) -> String {
        let mut text = format!("SIP/2.0 {code} Whatever\r\n");
        for name in ["Via", "Record-Route", "From", "Call-ID", "CSeq"] {
            for value in self.headers(name) {
                text += &format!("{name}: {value}\r\n");
            }
        }
        let to = self.header("To").expect("a To");
        let tag = if to.contains("tag=") || code == 100 { "" } else { ";tag=node" };
        let contact = if code < 300 { format!("Contact: <sip:node@{}>\r\n", self.to) } else { String::new() };
        text + &format!("To: {to}{tag}\r\n{contact}{extra}Content-Length: 0\r\n\r\n")
    }
}

/// The edge.
pub struct Edge {
    pub farm: Farm,
    pub shared: Shared,
    pub now: Moment,
    pub stopping: bool,
    pub overloaded: bool,
    pub events: Vec<Event>,
    outbox: Outbox,
    scratch: Scratch,
    index: Index,
}

/// Address of a node.
pub fn node(number: u32) -> String {
    format!("127.0.0.{}:5060", 10 + number)
}

fn udp(address: &str) -> Target {
    Target { protocol: Protocol::Udp, address: address.parse().unwrap() }
}

impl Edge {
    /// An edge with so many nodes of equal weight, `node(1)` and on, all up.
    pub fn with_nodes(count: u32) -> Self {
        Self::with_policy(count, CallPolicy::default())
    }

    /// The same with a policy.
    pub fn with_policy(count: u32, calls: CallPolicy) -> Self {
        Self::made(count, calls, 1_000, 100)
    }

    /// The same with room for so many calls and explanations.
    pub fn with_room(count: u32, calls: usize, explanations: usize) -> Self {
        Self::made(count, CallPolicy::default(), calls, explanations)
    }

    fn made(count: u32, calls: CallPolicy, leases_max: usize, history_max: usize) -> Self {
        let now = Moment::from_micros(1_000_000_000);
        let mut edge = Edge {
            farm: farm(count, calls),
            shared: Shared {
                shard: RefCell::new(Shard::new(now, leases_max, history_max)),
                board: RefCell::new(Board::new(7)),
                registry: Registered { table: RefCell::new(Table::new(100)), ..Registered::default() },
            },
            now,
            stopping: false,
            overloaded: false,
            events: Vec::new(),
            outbox: Outbox::default(),
            scratch: Scratch::default(),
            index: Index::new(),
        };
        edge.plan(count, None);
        edge
    }

    /// An edge with two nodes that is the registrar of the users 1001 and 1002, whose password is `pw`.
    pub fn with_registrar() -> Self {
        let mut edge = Self::with_nodes(2);
        edge.farm.nodes.resize(102, None);
        edge.farm.nodes[101] = Some(farm_node(AGENTS_ID.0, "agents", Kind::Agents, EDGE));
        let user = |name: &str| {
            let secrets = Secrets::of_password(name.as_bytes(), b"pbx", b"pw");
            (Aor::from_user(name.as_bytes()).unwrap(), secrets)
        };
        let authority = Authority {
            realm: "pbx".into(),
            algorithms: vec![Digest::Sha256, Digest::Md5],
            users: Users::new([user("1001"), user("1002")]),
        };
        edge.farm.registrar = Some(Arc::new(Service {
            authority: Some(authority),
            permanents: Permanents::default(),
            terms: Terms::default(),
            not_registered: 480,
            keep_alive: Duration::ZERO,
            domain: b"pbx.example.com"[..].into(),
            agents: AGENTS_ID,
            policy: AgentPolicy::default(),
        }));
        let agents = Rule {
            name: "agents".into(),
            from: From::Agents,
            to_user: None,
            from_user: None,
            to_host: None,
            methods: vec![],
            action: Action::Pool(INBOUND),
        };
        edge.farm.rules.push(agents);
        edge.shared.registry.unix_secs.set(1_795_000_000);
        edge
    }

    /// Changes what is configured of the registrar.
    pub fn change_registrar(&mut self, change: impl FnOnce(&mut Service)) {
        change(Arc::make_mut(self.farm.registrar.as_mut().unwrap()));
    }

    /// This user has a phone at this address that cannot register.
    pub fn has_permanent(&mut self, user: &str, address: &str, preference: u16) {
        let way = Way::Target { listener: UDP, target: udp(address) };
        let contact = Permanent { contact: format!("sip:{user}@{address}").into_bytes().into(), way, preference };
        let aor = Aor::from_user(user.as_bytes()).unwrap();
        self.change_registrar(|service| service.permanents = Permanents::new([(aor.clone(), contact)]));
        self.shared.registry.set_registered(&aor, true, self.now);
    }

    /// What the registrar shares.
    pub fn registered(&self) -> &Registered {
        &self.shared.registry
    }

    /// Contacts of a user.
    pub fn contacts_of(&self, user: &str) -> Vec<String> {
        let table = self.shared.registry.table.borrow();
        table.find(user.as_bytes()).iter().map(|b| String::from_utf8_lossy(b.contact()).into_owned()).collect()
    }

    /// Calls to agents.
    pub fn agent_leases(&self) -> u32 {
        self.leases_on(AGENTS_ID.0)
    }

    /// The answers that wait for the disk.
    pub fn held_answers(&self) -> Vec<Sent> {
        let held = self.outbox.registrations.iter();
        held.map(|one| Sent {
            to: one.to.target().address.to_string(),
            text: String::from_utf8_lossy(&self.outbox.text[one.granted.clone()]).into_owned(),
        })
        .collect()
    }

    /// Tells the board about nodes and pools.
    pub fn plan(&mut self, count: u32, max_calls: Option<u32>) {
        let member =
            |id: u32| MemberPlan { node: NodeId(id), weight: 10, rank: Rank::default(), name_hash: u64::from(id) };
        let inbound = pool_plan(INBOUND, (1..=count).map(member).collect());
        let pools = vec![inbound, pool_plan(OUTBOUND, vec![member(GATEWAY_ID.0)])];
        let ids = (1..=count).chain([GATEWAY_ID.0]);
        let nodes: Vec<NodePlan> = ids.clone().map(|id| NodePlan { id: NodeId(id), max_calls }).collect();
        self.shared.board.borrow_mut().apply(&nodes, pools, self.now);
        ids.for_each(|id| self.assess(id, Verdict::Up));
    }

    /// Health checks say this of a node.
    pub fn assess(&mut self, id: u32, verdict: Verdict) {
        let address = if id == GATEWAY_ID.0 { GATEWAY.to_owned() } else { node(id) };
        let way = Way::Target { listener: UDP, target: udp(&address) };
        let assessment = Assessment { verdict, speed_64ths: 64, way: Some(way), ..Assessment::default() };
        self.shared.board.borrow_mut().assess(NodeId(id), assessment, self.now);
        self.farm.node(NodeId(id)).unwrap().live.set_down(verdict == Verdict::Down);
    }

    /// The operator says this of a node.
    pub fn set_admin(&mut self, id: u32, admin: Admin) {
        self.shared.board.borrow_mut().set_admin(NodeId(id), admin);
    }

    /// A node was found dead: the board knows, and calls that wait there hear of it.
    pub fn node_down(&mut self, id: u32) -> Vec<Sent> {
        self.assess(id, Verdict::Down);
        self.run(|core, shared| {
            let mut shard = shared.shard.borrow_mut();
            core.node_down(&mut shard, NodeId(id));
        })
    }

    /// The transport refused what was sent to an address.
    pub fn refused(&mut self, address: &str) -> Vec<Sent> {
        let target = udp(address);
        self.run(|core, shared| {
            let mut shard = shared.shard.borrow_mut();
            core.target_refused(&mut shard, target);
        })
    }

    /// The process is killed and starts again: of leases there is what the store keeps.
    pub fn restart(&mut self, count: u32) {
        let clocks = Reading { now: self.now, unix_millis: 1_800_000_000_000 };
        let saved: Vec<(CallKey, Vec<u8>)> = self.with_shard(|shard| {
            let open = shard.iter().filter(|lease| lease.is_open());
            let octets =
                |lease| saving::saved(lease, &self.farm, clocks).write(&mut [0; LEASE_LEN_MAX]).unwrap().to_vec();
            open.map(|lease| (lease.key, octets(lease))).collect()
        });
        self.forget(count);
        for (key, octets) in saved {
            let saved = SavedLease::read(&octets).unwrap();
            let node = self.farm.nodes.iter().flatten().find(|node| *node.name == *saved.node).unwrap().id;
            let lease = saving::restored(key, &saved, node, INBOUND, clocks, || self.shared.take_on(node));
            self.shared.shard.borrow_mut().open(lease.unwrap()).unwrap();
        }
        *self.shared.registry.book.borrow_mut() = Book::default();
        self.with_shard(|shard| shard.iter().for_each(|lease| self.shared.registry.note(lease, self.now)));
    }

    /// The process starts again, and what it had written is lost.
    pub fn forget(&mut self, count: u32) {
        *self.shared.shard.borrow_mut() = Shard::new(self.now, 1_000, 100);
        *self.shared.board.borrow_mut() = Board::new(7);
        self.plan(count, None);
    }

    /// A node tells of a call that it has up; true when that made a lease.
    pub fn node_tells(&mut self, id: u32, call_id: &str, direction: Direction, number: &str) -> bool {
        let channel = Channel {
            id: "1.1".to_owned(),
            call_id: call_id.to_owned(),
            is_up: true,
            is_of_edge: true,
            direction,
            number: number.to_owned(),
            exten: "100".to_owned(),
        };
        let way = Way::Target { listener: UDP, target: udp(&node(id)) };
        let (key, mut is_new) = (CallKey::of(&self.farm.keys, call_id.as_bytes()), false);
        let sent = self.run(|core, shared| {
            is_new = core.node_has(&mut shared.shard.borrow_mut(), key, NodeId(id), way, &channel);
        });
        assert_eq!(lines(&sent), [""; 0]);
        is_new
    }

    /// A node was asked and does not have a call that has been up since this moment; true when that ended the lease.
    pub fn node_has_not(&mut self, call_id: &str, answered: Moment) -> bool {
        let (key, mut is_ended) = (CallKey::of(&self.farm.keys, call_id.as_bytes()), false);
        let sent = self.run(|core, shared| {
            is_ended = core.node_has_not(&mut shared.shard.borrow_mut(), key, answered);
        });
        assert_eq!(lines(&sent), [""; 0]);
        is_ended
    }

    /// The first try of the only call could not be sent.
    pub fn send_failed(&mut self) -> Vec<Sent> {
        let id = self.with_shard(|shard| TryId { key: shard.iter().next().unwrap().key, attempt: 0 });
        self.run(|core, shared| {
            let mut shard = shared.shard.borrow_mut();
            core.send_failed(&mut shard, id);
        })
    }

    /// A datagram arrives.
    pub fn receive(&mut self, from: &str, text: &str) -> Vec<Sent> {
        self.receive_bytes(from, text.as_bytes())
    }

    /// The same with any octets.
    pub fn receive_bytes(&mut self, from: &str, bytes: &[u8]) -> Vec<Sent> {
        let flow = Flow { listener: UDP, protocol: Protocol::Udp, remote: from.parse().unwrap(), connection: None };
        self.receive_by(flow, bytes)
    }

    /// The same, with what was sent as octets.
    pub fn receive_raw(&mut self, from: &str, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.receive_bytes(from, bytes);
        self.outbox.sends.iter().map(|send| self.outbox.text[send.range.clone()].to_vec()).collect()
    }

    /// A message arrives on connection number 7.
    pub fn receive_tcp(&mut self, from: &str, text: &str) -> Vec<Sent> {
        let connection = std::num::NonZeroU32::new(7).map(ConnectionId);
        let flow = Flow { listener: TCP, protocol: Protocol::Tcp, remote: from.parse().unwrap(), connection };
        self.receive_by(flow, text.as_bytes())
    }

    fn receive_by(&mut self, flow: Flow, bytes: &[u8]) -> Vec<Sent> {
        let mut index = std::mem::take(&mut self.index);
        let sent = self.run(|core, _| core.receive(bytes, flow, &mut index));
        self.index = index;
        sent
    }

    /// Time passes, in steps as the ticker makes them.
    pub fn advance(&mut self, span: Duration) -> Vec<Sent> {
        let (end, mut sent) = (self.now + span, Vec::new());
        while self.now < end {
            self.now = (self.now + Duration::from_millis(10)).min(end);
            sent.extend(self.run(|core, shared| {
                let mut shard = shared.shard.borrow_mut();
                core.tick(&mut shard);
            }));
        }
        sent
    }

    /// A datagram arrives and is dealt with, and nobody looks at what comes of it. For measuring.
    pub fn receive_unseen(&mut self, from: SocketAddr, bytes: &[u8]) {
        let flow = Flow { listener: UDP, protocol: Protocol::Udp, remote: from, connection: None };
        self.outbox.clear();
        let mut core = Core {
            farm: &self.farm,
            world: &self.shared,
            now: self.now,
            stopping: false,
            overloaded: false,
            out: &mut self.outbox,
            scratch: &mut self.scratch,
        };
        core.receive(bytes, flow, &mut self.index);
        self.shared.shard.borrow_mut().drain_unsaved(|_, _| ());
    }

    /// The messages that [`Edge::receive_unseen`] left behind.
    pub fn unseen(&self) -> Vec<Sent> {
        self.outbox.sends.iter().map(|send| self.sent(send)).collect()
    }

    /// A long time passes, in steps of a second.
    pub fn advance_coarsely(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.now = self.now + Duration::from_secs(1);
            self.run(|core, shared| core.tick(&mut shared.shard.borrow_mut()));
        }
    }

    fn run(&mut self, act: impl FnOnce(&mut Core<'_, Shared>, &Shared)) -> Vec<Sent> {
        self.outbox.clear();
        let mut core = Core {
            farm: &self.farm,
            world: &self.shared,
            now: self.now,
            stopping: self.stopping,
            overloaded: self.overloaded,
            out: &mut self.outbox,
            scratch: &mut self.scratch,
        };
        act(&mut core, &self.shared);
        let (registry, now) = (&self.shared.registry, self.now);
        self.shared.shard.borrow_mut().drain_unsaved(|_, lease| {
            lease.inspect(|lease| registry.note(lease, now));
        });
        self.shared.shard.borrow().check_invariants();
        self.shared.board.borrow().check_invariants();
        self.events.append(&mut self.outbox.events);
        self.unseen()
    }

    fn sent(&self, send: &cordboard::proxy::contract::Send) -> Sent {
        let to = match &send.to {
            Destination::Way(Way::Flow(Flow { connection: Some(id), .. })) => format!("connection {}", id.0),
            Destination::Way(way) if way.protocol() == Protocol::Tcp => format!("tcp:{}", way.target().address),
            Destination::Way(way) => way.target().address.to_string(),
            Destination::Name { host, port, .. } => format!("name {host} {port:?}"),
        };
        Sent { to, text: String::from_utf8_lossy(&self.outbox.text[send.range.clone()]).into_owned() }
    }

    /// Leases that take a place, by node.
    pub fn leases(&self, count: u32) -> Vec<u32> {
        (1..=count).map(|id| self.leases_on(id)).collect()
    }

    /// Leases of one node.
    pub fn leases_on(&self, id: u32) -> u32 {
        self.shared.board.borrow().view(NodeId(id)).map_or(0, |view| view.leases)
    }

    /// Leases of the gateway.
    pub fn gateway_leases(&self) -> u32 {
        self.leases_on(GATEWAY_ID.0)
    }

    /// The phase of the only lease.
    pub fn phase(&self) -> Option<&'static str> {
        self.shared.shard.borrow().iter().next().map(|lease| Phase::as_str(&lease.phase))
    }

    /// Leases in memory, remembered ones included.
    pub fn remembered(&self) -> usize {
        self.shared.shard.borrow().len()
    }

    /// Looks at the shard.
    pub fn with_shard<T>(&self, look: impl FnOnce(&Shard) -> T) -> T {
        look(&self.shared.shard.borrow())
    }
}

fn farm(count: u32, calls: CallPolicy) -> Farm {
    let mut sources = Sources::default();
    let mut nodes: Vec<Option<Arc<Node>>> = vec![None; 101];
    for id in 1..=count {
        sources.add_node(NodeId(id), udp(&node(id)));
        nodes[id as usize] = Some(farm_node(id, &format!("ast-{id}"), Kind::Node, &node(id)));
    }
    sources.add_gateway(GATEWAY_ID, "127.0.0.2/32".parse().unwrap(), None);
    sources.add_gateway(GATEWAY_ID, "2001:db8::2/128".parse().unwrap(), None);
    sources.add_target(GATEWAY_ID, udp(GATEWAY));
    nodes[100] = Some(farm_node(100, "pri-1", Kind::Gateway, GATEWAY));
    let pool = |id, name: &str| Some(Pool { name: name.into(), key: KeyedBy::CallId, plan: pool_plan(id, vec![]) });
    let rule = |name: &str, from, to_user: Option<&str>, action| Rule {
        name: name.into(),
        from,
        to_user: to_user.map(cordboard::dispatch::rules::Pattern::new),
        from_user: None,
        to_host: None,
        methods: vec![],
        action,
    };
    let bind: SocketAddr = EDGE.parse().unwrap();
    Farm {
        generation: Generation(1),
        edge: "edge-1".into(),
        keys: Keys::derive(b"a secret of the test farm"),
        listeners: vec![
            Listener::new(UDP, Protocol::Udp, bind, EDGE),
            Listener::new(TCP, Protocol::Tcp, bind, EDGE),
            Listener::new(ListenerId(3), Protocol::Udp, "[2001:db8::10]:5060".parse().unwrap(), "[2001:db8::10]:5060"),
        ],
        domains: [b"pbx.example.com".to_vec()].into(),
        nodes,
        pools: vec![pool(INBOUND, "inbound"), pool(OUTBOUND, "gateways")],
        sources,
        rules: vec![
            rule("premium", From::Gateways, Some("0900*"), Action::Reject(403)),
            rule("in", From::Gateways, None, Action::Pool(INBOUND)),
            rule("out", From::Nodes, None, Action::Pool(OUTBOUND)),
        ],
        calls,
        security: SecurityPolicy::default(),
        registrar: None,
    }
}

fn pool_plan(id: PoolId, members: Vec<MemberPlan>) -> PoolPlan {
    PoolPlan {
        id,
        algorithm: Algorithm::WeightedLeastCalls,
        members,
        overflow: None,
        sticky_until_percent: None,
        slow_start: Duration::ZERO,
        panic: true,
    }
}

fn farm_node(id: u32, name: &str, kind: Kind, address: &str) -> Arc<Node> {
    let (host, port) = address.rsplit_once(':').unwrap();
    Arc::new(Node {
        id: NodeId(id),
        name: name.into(),
        kind,
        uri: Some(NodeUri { host: host.to_owned(), port: port.parse().ok(), protocol: Protocol::Udp }),
        listener: UDP,
        max_calls: None,
        live: Arc::default(),
    })
}

/// A caller at the gateway.
pub struct Caller {
    /// Call-ID.
    pub call_id: String,
    /// The number of the INVITE's transaction.
    pub cseq: u32,
    /// The dialog's To header and route set, once there is one.
    dialog: Option<(String, Vec<String>, String)>,
}

impl Caller {
    /// A caller who has not said anything yet.
    pub fn new(call_id: &str) -> Self {
        Caller { call_id: call_id.to_owned(), cseq: 1, dialog: None }
    }

    /// The INVITE.
    pub fn invite(&self) -> String {
        self.opening("INVITE", self.cseq)
    }

    /// A CANCEL of it.
    pub fn cancel(&self) -> String {
        self.opening("CANCEL", self.cseq)
    }

    fn opening(&self, method: &str, cseq: u32) -> String {
        let Caller { call_id, .. } = self;
        format!(
            "{method} sip:100@pbx.example.com SIP/2.0\r\n\
             Via: SIP/2.0/UDP {GATEWAY};rport;branch=z9hG4bK-{call_id}-{cseq}\r\n\
             Max-Forwards: 70\r\n\
             From: \"PSTN\" <sip:+15551234@gw.example>;tag=caller\r\n\
             To: <sip:100@pbx.example.com>\r\n\
             Call-ID: {call_id}\r\n\
             CSeq: {cseq} {method}\r\n\
             Contact: <sip:gw@{GATEWAY}>\r\n\
             Content-Length: 0\r\n\r\n"
        )
    }

    /// The ACK to a failure: hop by hop, with the INVITE's branch.
    pub fn ack_failure(&self, answer: &Sent) -> String {
        let to = answer.header("To").expect("a To");
        self.opening("ACK", self.cseq).replacen("To: <sip:100@pbx.example.com>", &format!("To: {to}"), 1)
    }

    /// Takes up the dialog that a 2xx opens.
    pub fn enter(&mut self, answer: &Sent) {
        let uri = |value: &str| value.trim_start_matches('<').split('>').next().unwrap_or_default().to_owned();
        let routes = answer.headers("Record-Route").map(str::to_owned).collect::<Vec<_>>();
        let contact = uri(answer.header("Contact").expect("a Contact"));
        let routes = routes.into_iter().rev().collect();
        self.dialog = Some((answer.header("To").expect("a To").to_owned(), routes, contact));
    }

    /// A request inside the dialog.
    pub fn in_dialog(&self, method: &str, cseq: u32) -> String {
        let (to, routes, contact) = self.dialog.as_ref().expect("a dialog");
        let Caller { call_id, .. } = self;
        let routes: String = routes.iter().map(|route| format!("Route: {route}\r\n")).collect();
        format!(
            "{method} {contact} SIP/2.0\r\nVia: SIP/2.0/UDP {GATEWAY};rport;branch=z9hG4bK-{call_id}-{method}{cseq}\r\n\
             Max-Forwards: 70\r\n{routes}From: \"PSTN\" <sip:+15551234@gw.example>;tag=caller\r\nTo: {to}\r\n\
             Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n"
        )
    }

    /// The same from the node's side.
    pub fn said_by(&self, node: &str, method: &str, cseq: u32) -> String {
        let (to, routes, _) = self.dialog.as_ref().expect("a dialog");
        let Caller { call_id, .. } = self;
        // The node's route set is the other way round (RFC 3261 section 12.1.1).
        let routes: String = routes.iter().rev().map(|route| format!("Route: {route}\r\n")).collect();
        format!(
            "{method} sip:gw@{GATEWAY} SIP/2.0\r\nVia: SIP/2.0/UDP {node};rport;branch=z9hG4bK-n-{call_id}-{method}{cseq}\r\n\
             Max-Forwards: 70\r\n{routes}From: {to}\r\nTo: \"PSTN\" <sip:+15551234@gw.example>;tag=caller\r\n\
             Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n"
        )
    }
}

/// The only message in a list.
#[track_caller]
pub fn only(mut sent: Vec<Sent>) -> Sent {
    assert_eq!(sent.len(), 1, "{sent:#?}");
    sent.remove(0)
}

/// First lines and destinations, for a look at the whole of what was sent.
pub fn lines(sent: &[Sent]) -> Vec<String> {
    sent.iter().map(|s| format!("{} <- {}", s.to, s.first_line())).collect()
}

/// Sets up a call and takes it to its ACK; returns the caller, the node's address and the node's INVITE.
#[track_caller]
pub fn established(edge: &mut Edge, call_id: &str) -> (Caller, String, Sent) {
    let mut caller = Caller::new(call_id);
    let invite = only(edge.receive(GATEWAY, &caller.invite()));
    let at = invite.to.clone();
    only(edge.receive(&at, &invite.reply(100, "")));
    only(edge.receive(&at, &invite.reply(180, "")));
    let answer = only(edge.receive(&at, &invite.reply(200, "")));
    caller.enter(&answer);
    only(edge.receive(GATEWAY, &caller.in_dialog("ACK", 1)));
    (caller, at, invite)
}

/// Calls at random steps, for tests that let bytes decide.
#[derive(Default)]
pub struct Bunch {
    invites: Vec<(Caller, Vec<Sent>)>,
    /// Requests that the edge sent to nodes and that may still be answered.
    open: Vec<Sent>,
}

impl Bunch {
    /// One step: what happens, and to whom.
    pub fn step(&mut self, edge: &mut Edge, what: u8, whom: u8) {
        let sent = match what % 12 {
            0 | 1 => self.call(edge),
            2..=4 => self.answer(edge, what, whom),
            5 => self.repeat(edge, whom),
            6 => self.with_caller(edge, whom, Caller::cancel),
            7 => self.in_dialog(edge, whom, "BYE"),
            8 => self.in_dialog(edge, whom, "INFO"),
            9 => edge.advance(Duration::from_millis(u64::from(whom) * 20)),
            10 => {
                let id = u32::from(whom % 3) + 1;
                if whom < 128 { edge.node_down(id) } else { self.revive(edge, id) }
            }
            _ => edge.refused(&node(u32::from(whom % 3) + 1)),
        };
        self.take(sent);
    }

    fn take(&mut self, sent: Vec<Sent>) {
        for message in sent {
            if message.text.starts_with("SIP/2.0 2") && message.header("CSeq").is_some_and(|c| c.ends_with(" INVITE")) {
                let call_id = message.header("Call-ID").unwrap_or_default().to_owned();
                for (caller, _) in self.invites.iter_mut().filter(|(caller, _)| caller.call_id == call_id) {
                    caller.enter(&message);
                }
            } else if !message.text.starts_with("SIP/2.0 ") {
                self.open.push(message);
            }
        }
    }

    fn call(&mut self, edge: &mut Edge) -> Vec<Sent> {
        let caller = Caller::new(&format!("bunch-{}", self.invites.len()));
        let sent = edge.receive(GATEWAY, &caller.invite());
        self.invites.push((caller, sent.clone()));
        sent
    }

    fn repeat(&mut self, edge: &mut Edge, whom: u8) -> Vec<Sent> {
        self.with_caller(edge, whom, Caller::invite)
    }

    fn with_caller(&mut self, edge: &mut Edge, whom: u8, say: impl Fn(&Caller) -> String) -> Vec<Sent> {
        let count = self.invites.len().max(1);
        match self.invites.get(usize::from(whom) % count) {
            Some((caller, _)) => edge.receive(GATEWAY, &say(caller)),
            None => vec![],
        }
    }

    fn in_dialog(&mut self, edge: &mut Edge, whom: u8, method: &str) -> Vec<Sent> {
        let established: Vec<usize> =
            (0..self.invites.len()).filter(|at| self.invites[*at].0.dialog.is_some()).collect();
        let Some(at) = established.get(usize::from(whom) % established.len().max(1)) else { return vec![] };
        edge.receive(GATEWAY, &self.invites[*at].0.in_dialog(method, 2 + u32::from(whom)))
    }

    fn answer(&mut self, edge: &mut Edge, what: u8, whom: u8) -> Vec<Sent> {
        let count = self.open.len().max(1);
        let Some(request) = self.open.get(usize::from(whom) % count).cloned() else { return vec![] };
        if request.first_line().starts_with("ACK") || !request.to.starts_with("127.0.0.1") {
            return vec![];
        }
        let (code, extra) = match what % 11 {
            0 => (100, ""),
            1 | 2 => (180, ""),
            3 => (486, ""),
            4 => (503, ""),
            5 => (503, "Reason: Q.850;cause=34\r\n"),
            6 => (481, ""),
            _ => (200, "Session-Expires: 90\r\n"),
        };
        edge.receive(&request.to, &request.reply(code, extra))
    }

    fn revive(&mut self, edge: &mut Edge, id: u32) -> Vec<Sent> {
        edge.assess(id, Verdict::Up);
        vec![]
    }
}
