//! What the shell of an edge does: starting, dealing with messages, and the four tasks that have to do with the shared store. Follows
//! `edge/start.rs`, `edge/hands.rs`, `edge/registrations.rs` and `edge/cluster` step by step.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use cordboard::agents::{Book, Cause, Intent};
use cordboard::calls::lease::Way;
use cordboard::calls::{CallKey, Shard};
use cordboard::cluster::asking::{self, Answer, Question};
use cordboard::cluster::following::Next;
use cordboard::cluster::members::Heartbeat;
use cordboard::cluster::{Entry, Here, Homes, Others, Peers, Untold};
use cordboard::config::build::{Built, Inputs, Names, build};
use cordboard::config::{self, Config};
use cordboard::dispatch::Board;
use cordboard::dispatch::board::Assessment;
use cordboard::dispatch::health::Verdict;
use cordboard::dispatch::node::Admin;
use cordboard::edge::start::first_farm;
use cordboard::keys::Keys;
use cordboard::proxy::contract::{Destination, Registry};
use cordboard::proxy::{Core, World};
use cordboard::registrar::register::TakenBack;
use cordboard::registrar::{Aor, Table};
use cordboard::store::redis::Stored;
use cordboard::store::{SavedBinding, SavedLease, saving};
use cordboard::transport::flow::{Flow, Protocol, Target};

use crate::edge::{Clocks, Disk, Process, SHARDS};
use crate::random::Random;
use crate::redis::{Late, Reach, Redis};
use crate::settings::Settings;

/// How long an edge may be silent.
pub const GONE_AFTER: Duration = Duration::from_secs(3);
/// The pause between two heartbeats.
pub const BEAT: Duration = Duration::from_millis(600);
const SWEEP_EVERY: u64 = 50;

/// A datagram that an edge sends.
pub struct Out {
    pub to: SocketAddr,
    pub octets: Vec<u8>,
}

/// The farm's one secret.
pub fn keys() -> Keys {
    Keys::derive(b"a secret of the simulated farm")
}

fn configured(settings: &Settings, number: u8) -> Config {
    let text = settings.file(number);
    match config::check(&text, &BTreeMap::<String, String>::new()) {
        Ok(checked) => checked.config,
        Err(problems) => panic!("the simulation wrote a bad file: {problems:?}\n{text}"),
    }
}

impl Process {
    /// The process starts: what is on disk is read back, and what the others know is heard before it serves.
    pub fn start(
        settings: &Settings,
        (number, run): (u8, u32),
        clocks: Clocks,
        disk: &Rc<RefCell<Disk>>,
        redis: &Redis,
        random: Random,
    ) -> Self {
        disk.borrow_mut().settle(clocks.now.get());
        let mut random = random;
        let config = configured(settings, number);
        let mut names = Names::default();
        let saved: Vec<(u128, Vec<u8>)> = disk.borrow().leases.iter().map(|(k, v)| (*k, v.clone())).collect();
        let now = clocks.reading().now;
        let process = Process {
            name: format!("edge-{number}"),
            number,
            run,
            clocks,
            disk: Rc::clone(disk),
            is_strict: settings.is_strict,
            farm: RefCell::new(first_farm(&config, &keys(), &saved, &mut names)),
            config,
            names: RefCell::new(names),
            shards: (0..SHARDS).map(|_| RefCell::new(Shard::new(now, 100_000, 8))).collect(),
            board: RefCell::new(Board::new(random.number())),
            table: RefCell::new(Table::new(100_000)),
            book: RefCell::new(Book::default()),
            peers: RefCell::new(Peers::new(100_000)),
            homes: RefCell::new(Homes::new(100_000)),
            members: RefCell::default(),
            words: RefCell::default(),
            doubts: RefCell::default(),
            untold: RefCell::default(),
            pulse: RefCell::default(),
            orders: RefCell::default(),
            changed: RefCell::default(),
            misses: Cell::new(u32::MAX / 2),
            following: RefCell::default(),
            follows: Cell::new(None),
            beats: Cell::new(0),
            is_first: Cell::new(false),
            outbox: RefCell::default(),
            scratch: RefCell::default(),
            index: RefCell::default(),
            random: RefCell::new(random),
        };
        process.restore(&saved);
        process.restore_bindings();
        process.take_up();
        process.beat(redis);
        process.find_place(redis);
        process.note_all_agents();
        process
    }

    fn restore(&self, saved: &[(u128, Vec<u8>)]) {
        let clocks = self.clocks.reading();
        for (key, octets) in saved {
            let key = CallKey(*key);
            let lease = SavedLease::read(octets).expect("what was written can be read");
            let node = self.names.borrow_mut().node(lease.node);
            let pool = self.names.borrow_mut().pool(lease.pool);
            match saving::restored(key, &lease, node, pool, clocks, || self.take_on(node)) {
                Some(lease) => assert!(self.with_shard(key, |shard| shard.open(lease).is_ok())),
                None => self.forget_call(key),
            }
        }
    }

    fn restore_bindings(&self) {
        let (clocks, disk) = (self.clocks.reading(), self.disk.borrow());
        for (user, reason) in &disk.not_ready {
            let intent = Intent::NotReady(reason.as_str().into());
            let aor = Aor::from_user(user).expect("a name");
            self.book.borrow_mut().set_intent(&aor, intent, Cause::Restart, clocks.now);
        }
        for (user, octets) in &disk.bindings {
            let aor = Aor::from_user(user).expect("a name");
            let saved = SavedBinding::read(octets).expect("what was written can be read");
            let restored = saved.iter().map(|one| saving::restored_binding(one, clocks));
            let live: Vec<_> = restored.filter(|binding| binding.expires > clocks.now).collect();
            self.set_registered(&aor, !live.is_empty(), clocks.now);
            if live.is_empty() {
                self.changed.borrow_mut().push(aor.clone());
            }
            self.table.borrow_mut().put(&aor, live);
        }
    }

    /// Makes the configuration the one that serves.
    fn take_up(&self) {
        let mut names = self.names.borrow().clone();
        let mut addresses = BTreeMap::new();
        let at = |host: &str| Target {
            protocol: Protocol::Udp,
            address: format!("{host}:5060").parse().expect("an address"),
        };
        for node in &self.config.nodes {
            addresses.insert(names.node(&node.name), vec![at(&node.uri.host.to_string())]);
        }
        for gateway in &self.config.gateways {
            let Some(uri) = &gateway.uri else { continue };
            addresses.insert(names.node(&gateway.name), vec![at(&uri.host.to_string())]);
        }
        let previous = self.farm.borrow();
        let inputs = Inputs {
            config: &self.config,
            keys: &keys(),
            previous: Some(&previous),
            addresses: &addresses,
            workers: 1,
            has_calls: &|node| self.board.borrow().view(node).is_some_and(|view| view.leases > 0),
        };
        let Built { farm, nodes, pools } = build(&inputs, &mut names);
        drop(previous);
        let (now, listener) = (self.now(), farm.listeners[0].id);
        let mut board = self.board.borrow_mut();
        board.apply(&nodes, pools, now);
        for node in farm.nodes.iter().flatten() {
            let said = self.disk.borrow().admin.get(&*node.name).and_then(|saved| Admin::from_word(&saved.state));
            board.set_admin(node.id, said.unwrap_or_default());
            if let Some(target) = addresses.get(&node.id).map(|list| list[0]) {
                let way = Some(Way::Target { listener, target });
                board.assess(node.id, Assessment { way, verdict: Verdict::Up, ..Assessment::unknown() }, now);
            }
        }
        drop(board);
        *self.farm.borrow_mut() = farm;
        *self.names.borrow_mut() = names;
        self.among().count_all_others();
    }

    fn act(&self, act: impl FnOnce(&mut Core<'_, Process>)) -> Vec<Out> {
        let (farm, now) = (self.farm.borrow(), self.now());
        let (mut outbox, mut scratch) = (self.outbox.borrow_mut(), self.scratch.borrow_mut());
        let mut core = Core {
            farm: &farm,
            world: self,
            now,
            stopping: false,
            overloaded: false,
            out: &mut outbox,
            scratch: &mut scratch,
        };
        act(&mut core);
        let mut outs: Vec<Out> = Vec::new();
        for send in &outbox.sends {
            let Destination::Way(way) = &send.to else { panic!("the edge sends to a name") };
            outs.push(Out { to: way.target().address, octets: outbox.text[send.range.clone()].to_vec() });
        }
        // The thread that stores bindings answers when they are on disk: at once here.
        for registration in &outbox.registrations {
            self.store_bindings(&registration.aor);
            let octets = outbox.text[registration.granted.clone()].to_vec();
            outs.push(Out { to: registration.to.target().address, octets });
        }
        outbox.clear();
        outs
    }

    /// A datagram arrives. It may have to wait for an answer.
    pub fn receive(&self, octets: &[u8], remote: SocketAddr) -> (Vec<Out>, Option<Question>) {
        let outs = self.deal_with(octets, remote);
        (outs, asking::take_question())
    }

    fn deal_with(&self, octets: &[u8], remote: SocketAddr) -> Vec<Out> {
        let listener = self.farm.borrow().listeners[0].id;
        let flow = Flow { listener, protocol: Protocol::Udp, remote, connection: None };
        self.act(|core| core.receive(octets, flow, &mut self.index.borrow_mut()))
    }

    /// Deals with a datagram whose answer is there.
    pub fn receive_again(&self, answer: Answer, octets: &[u8], remote: SocketAddr) -> Vec<Out> {
        match answer {
            Answer::Away => self.missed(),
            _ => self.misses.set(0),
        }
        let mut outs = Vec::new();
        asking::with_answer(answer, || outs = self.deal_with(octets, remote));
        outs
    }

    /// Time has passed.
    pub fn tick(&self) -> Vec<Out> {
        let mut outs = Vec::new();
        for shard in 0..SHARDS {
            outs.extend(self.act(|core| {
                // Any key of the shard leads to it.
                let key = (0u128..).map(|n| CallKey(n << 64 | n)).find(|key| key.shard(SHARDS) == shard).expect("one");
                self.with_shard(key, |shard| core.tick(shard));
            }));
        }
        self.book.borrow_mut().tick(self.now());
        self.expire();
        self.store_changed();
        self.carry_out_orders();
        outs
    }

    fn store_changed(&self) {
        let changed: BTreeSet<Aor> = self.changed.take().into_iter().collect();
        changed.iter().for_each(|aor| self.store_bindings(aor));
    }

    /// Tells the others what they have not been told; false when the store did not take it.
    pub fn tell_all(&self, redis: &mut Redis) -> bool {
        let owes_all = self.with_untold(Untold::take_debt);
        if owes_all {
            let (among, clocks) = (self.among(), self.clocks.reading());
            self.tell(&Entry::Everything { begins: true });
            among.tell_words();
            self.shards.iter().for_each(|shard| among.tell_calls(&shard.borrow()));
            let held: BTreeMap<Aor, Vec<_>> =
                self.table.borrow().iter().map(|(aor, held)| (aor.clone(), held.to_vec())).collect();
            held.iter().for_each(|(aor, held)| self.tell_phones(aor, held, TakenBack::Nothing, clocks));
            self.tell(&Entry::Everything { begins: false });
        }
        loop {
            let batch = self.with_untold(Untold::take);
            if batch.is_empty() {
                return true;
            }
            let reach = redis.reach(self.number);
            // What is said to one who hangs is done when he goes on, and of what is cut off the answer alone may be lost.
            match reach {
                Reach::Answers => redis.tell(&self.name, &batch),
                Reach::Hangs => redis.late.push((self.number, Late::Told(batch.clone()))),
                Reach::Nothing if redis.is_up && !redis.is_hung && self.random.borrow_mut().chance(100) => {
                    redis.tell(&self.name, &batch);
                }
                Reach::Nothing => {}
            }
            if reach != Reach::Answers {
                self.missed();
                self.with_untold(|untold| {
                    untold.put_back(batch);
                    if owes_all {
                        untold.owe_all();
                    }
                });
                return false;
            }
            self.misses.set(0);
        }
    }

    /// Takes in what the others told; false when the store does not answer.
    pub fn read_on(&self, redis: &Redis) -> bool {
        if redis.reach(self.number) != Reach::Answers {
            self.follows.set(None);
            return false;
        }
        if self.follows.get() != Some(redis.connections) && !self.find_place(redis) {
            return false;
        }
        self.follows.set(Some(redis.connections));
        loop {
            let (last, entries) = redis.read(self.following.borrow().after());
            if entries.len() >= redis.page && self.following.borrow().has_missed(&redis.log_held()) {
                if !self.catch_up(redis, Next::EndMissing) {
                    self.follows.set(None);
                    return false;
                }
                continue;
            }
            entries.iter().for_each(|stored| self.take_in(stored));
            self.following.borrow_mut().read_to(last, self.untold.borrow().epoch());
            if entries.len() < redis.page {
                break;
            }
        }
        let epoch = self.untold.borrow().epoch().map(str::to_owned);
        self.with_untold(|untold| untold.has_listened(epoch.as_deref()));
        self.store_changed();
        self.carry_out_orders();
        true
    }

    /// Makes up for what was missed; false when it cannot yet.
    fn find_place(&self, redis: &Redis) -> bool {
        if redis.reach(self.number) != Reach::Answers {
            return false;
        }
        let next = self.following.borrow().next(&redis.log_held(), self.untold.borrow().epoch());
        match next {
            Next::GoOn => true,
            Next::Wait => false,
            next => self.catch_up(redis, next),
        }
    }

    fn catch_up(&self, redis: &Redis, next: Next) -> bool {
        let (snapshot, own) = (redis.snapshot(), self.own_calls());
        if snapshot.epoch.as_deref() != self.untold.borrow().epoch() {
            return false;
        }
        self.among().make_up_for(next, &own, &snapshot.entries);
        snapshot.entries.iter().for_each(|stored| self.take_in(stored));
        self.following.borrow_mut().caught_up(&snapshot, next);
        self.store_changed();
        self.carry_out_orders();
        if next == Next::Start {
            let unconfirmed = self.among().unconfirmed(&own, &snapshot.entries);
            self.among().forget_ended(&unconfirmed, &redis.whole_log());
        }
        true
    }

    fn take_in(&self, stored: &Stored) {
        let (edge, entry) = Entry::read(&stored.octets).expect("an entry can be read");
        self.among().hear(edge, entry);
    }

    /// One heartbeat.
    pub fn beat(&self, redis: &Redis) {
        self.beats.set(self.beats.get() + 1);
        let heartbeat = Heartbeat {
            beat: self.beats.get(),
            run: u64::from(self.run),
            address: format!("udp://10.0.0.{}:5060", self.number),
            clock: self.clocks.reading().unix_millis,
            calls: self.own_calls().len() as u64,
            ..Heartbeat::default()
        };
        if redis.reach(self.number) != Reach::Answers {
            return self.missed();
        }
        let octets = serde_json::to_vec(&heartbeat).expect("a heartbeat is JSON");
        let new_epoch = format!("{:016x}", self.random.borrow_mut().number());
        let beaten = redis.beat(&self.name, &octets, &new_epoch);
        self.misses.set(0);
        let heard = self.pulse.borrow_mut().hear(&self.among(), &beaten, GONE_AFTER);
        self.is_first.set(heard.is_first);
        for (gone, _) in &heard.inherited {
            if heard.is_first {
                redis.forget(gone);
            }
        }
        if self.beats.get().is_multiple_of(SWEEP_EVERY) {
            self.among().end_phones();
            if heard.is_first {
                self.pulse.borrow_mut().sweep(&self.among(), redis.places().into_iter());
            }
        }
    }
}
