//! One edge's process: the real core, leases, board, bindings, agents' book, journal's form and all that decides among several edges, without
//! threads, sockets and locks. What `src/edge` does beside that is done here step by step, and in `shell.rs`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use cordboard::agents::Book;
use cordboard::agents::book::Offer;
use cordboard::agents::ends::Ends;
use cordboard::calls::lease::Way;
use cordboard::calls::{CallKey, NodeId, PoolId, Seat, Shard};
use cordboard::cluster::following::Following;
use cordboard::cluster::{Among, Doubts, Here, Homes, Members, Others, Peers, Pulse, Untold, Words, choosing};
use cordboard::config::Config;
use cordboard::config::build::Names;
use cordboard::dispatch::node::Admin;
use cordboard::dispatch::{Board, Farm, NoSeat, Pick, Picked};
use cordboard::moment::{Moment, Reading};
use cordboard::proxy::contract::{Offered, PhoneElsewhere, Registry};
use cordboard::proxy::{Outbox, Scratch, World};
use cordboard::registrar::auth::Use;
use cordboard::registrar::register::TakenBack;
use cordboard::registrar::{Aor, Binding, Table};
use cordboard::sip::Index;
use cordboard::store::contract::LEASE_LEN_MAX;
use cordboard::store::{SavedAdmin, SavedBinding, SavedLease, saving};

use crate::random::Random;

/// Shards of a simulated edge: several, so that nothing depends on there being one.
pub const SHARDS: usize = 4;
/// After so many misses nothing is asked until a heartbeat gets through.
const MISSES_MAX: u32 = 5;

/// What is on disk.
#[derive(Default)]
pub struct Disk {
    pub leases: BTreeMap<u128, Vec<u8>>,
    /// Changes that would be lost with the machine's power, with the moment of each.
    pub tail: Vec<(Moment, u128, Option<Vec<u8>>)>,
    pub bindings: BTreeMap<Vec<u8>, Vec<u8>>,
    pub not_ready: BTreeMap<Vec<u8>, String>,
    pub admin: BTreeMap<String, SavedAdmin>,
}

impl Disk {
    /// What is older than this is safe.
    pub fn settle(&mut self, before: Moment) {
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

/// The clocks of the world, which an edge's own are made from.
pub struct Clocks {
    /// The moment of the world.
    pub now: Rc<Cell<Moment>>,
    /// How far this machine's time of day is off, in milliseconds.
    pub off: Rc<Cell<i64>>,
    /// When the process was born.
    pub born: Moment,
}

/// The time of day at the beginning of the world.
const EPOCH_MILLIS: u64 = 1_790_000_000_000;
const HEAD_START_MICROS: u64 = 3_600 * 1_000_000;

impl Clocks {
    pub fn reading(&self) -> Reading {
        let unix_millis = (EPOCH_MILLIS + self.now.get().micros() / 1_000).saturating_add_signed(self.off.get());
        Reading { now: Moment::from_micros(HEAD_START_MICROS) + self.now.get().since(self.born), unix_millis }
    }
}

/// What an edge has and holds.
pub struct Process {
    pub name: String,
    pub number: u8,
    pub run: u32,
    pub clocks: Clocks,
    pub disk: Rc<RefCell<Disk>>,
    pub is_strict: bool,
    pub farm: RefCell<Farm>,
    pub config: Config,
    pub names: RefCell<Names>,
    pub shards: Vec<RefCell<Shard>>,
    pub board: RefCell<Board>,
    pub table: RefCell<Table>,
    pub book: RefCell<Book>,
    pub peers: RefCell<Peers>,
    pub homes: RefCell<Homes>,
    pub members: RefCell<Members>,
    pub words: RefCell<Words>,
    pub doubts: RefCell<Doubts>,
    pub untold: RefCell<Untold>,
    pub pulse: RefCell<Pulse>,
    /// Operators' words from other edges that the writer has not taken up yet.
    pub orders: RefCell<Vec<(String, SavedAdmin)>>,
    /// Users whose bindings are to be stored.
    pub changed: RefCell<Vec<Aor>>,
    pub misses: Cell<u32>,
    pub following: RefCell<Following>,
    /// The connection that the log is followed by.
    pub follows: Cell<Option<u32>>,
    pub beats: Cell<u64>,
    pub is_first: Cell<bool>,
    pub outbox: RefCell<Outbox>,
    pub scratch: RefCell<Scratch>,
    pub index: RefCell<Index>,
    pub random: RefCell<Random>,
}

impl Process {
    /// This edge among the others.
    pub fn among(&self) -> Among<'_, Process, Process> {
        Among { here: self, others: self }
    }

    pub fn now(&self) -> Moment {
        self.clocks.reading().now
    }

    pub fn is_up(&self) -> bool {
        self.misses.get() < MISSES_MAX
    }

    pub fn missed(&self) {
        self.misses.set(self.misses.get() + 1);
    }

    fn save(&self, shard: &mut Shard) {
        let (farm, clocks) = (self.farm.borrow(), self.clocks.reading());
        shard.drain_unsaved(|key, lease| {
            let saved = lease.filter(|lease| lease.is_open()).map(|lease| saving::saved(lease, &farm, clocks));
            if let (Some(lease), Some(service)) = (lease, &farm.registrar) {
                for (aor, note) in Ends::of(lease, service.agents).notes() {
                    self.book.borrow_mut().note(&aor, note, &service.policy, clocks.now);
                }
            }
            self.tell_call(key, saved.as_ref());
            self.write(key, saved.as_ref());
        });
    }

    fn write(&self, key: CallKey, saved: Option<&SavedLease<'_>>) {
        let octets = saved.map(|lease| lease.write(&mut [0; LEASE_LEN_MAX]).expect("every lease fits").to_vec());
        let mut disk = self.disk.borrow_mut();
        disk.tail.push((self.clocks.now.get(), key.0, octets));
        if disk.tail.len() > 1_000 {
            disk.settle(self.clocks.now.get().before(std::time::Duration::from_secs(2)));
        }
    }

    /// Brings what is held of a user to disk, and tells the others of it: on disk when this returns.
    pub fn store_bindings(&self, aor: &Aor) {
        let (table, clocks) = (self.table.borrow(), self.clocks.reading());
        let held = table.find(aor.as_bytes());
        let mut octets = Vec::new();
        SavedBinding::write(&mut octets, held.iter().map(|binding| saving::saved_binding(binding, clocks)));
        match held.is_empty() {
            true => self.disk.borrow_mut().bindings.remove(aor.as_bytes()),
            false => self.disk.borrow_mut().bindings.insert(aor.as_bytes().to_vec(), octets),
        };
        self.tell_phones(aor, held, TakenBack::Nothing, clocks);
    }

    /// Notes what became of all calls in the agents' book, as at the end of a start.
    pub fn note_all_agents(&self) {
        let farm = self.farm.borrow();
        let Some(service) = &farm.registrar else { return };
        for shard in &self.shards {
            for (aor, note) in shard.borrow().iter().flat_map(|lease| Ends::of(lease, service.agents).notes()) {
                self.book.borrow_mut().note(&aor, note, &service.policy, self.now());
            }
        }
    }

    /// Takes up what operators said at other edges, as `farm_writer` does.
    pub fn carry_out_orders(&self) {
        for (node, wanted) in self.orders.take() {
            let known = self.disk.borrow().admin.get(&node).map_or(0, |saved| saved.since);
            if let Some(state) = Admin::from_word(&wanted.state).filter(|_| wanted.since > known) {
                self.take_word(&node, state, wanted.since);
            }
        }
    }

    /// Takes an operator's word, said here or at another edge; false when there is no such node.
    pub fn take_word(&self, name: &str, state: Admin, since: u64) -> bool {
        let Some(id) = self.names.borrow().find_node(name) else { return false };
        let saved = SavedAdmin { state: state.as_str().to_owned(), since };
        if state == Admin::Enabled {
            self.disk.borrow_mut().admin.remove(name);
        } else {
            self.disk.borrow_mut().admin.insert(name.to_owned(), saved);
        }
        self.board.borrow_mut().set_admin(id, state);
        true
    }

    /// Keys of the calls that this edge has.
    pub fn own_calls(&self) -> Vec<CallKey> {
        let keys = |shard: &RefCell<Shard>| -> Vec<CallKey> {
            shard.borrow().iter().filter(|lease| lease.is_open()).map(|lease| lease.key).collect()
        };
        self.shards.iter().flat_map(keys).collect()
    }
}

impl World for Process {
    fn with_shard<R>(&self, key: CallKey, act: impl FnOnce(&mut Shard) -> R) -> R {
        let mut shard = self.shards[key.shard(SHARDS)].borrow_mut();
        let result = act(&mut shard);
        self.save(&mut shard);
        result
    }

    fn claim(&self, key: CallKey) {
        self.among().take_over(key);
    }

    fn claim_answered(&self, key: CallKey, transaction: u64) {
        self.among().take_over_answered(key, transaction);
    }

    fn take(&self, pick: Pick<'_>) -> Result<Picked, NoSeat> {
        if self.is_strict {
            choosing::take_of_all(self, pick, self.is_up())
        } else {
            self.board.borrow_mut().take(pick)
        }
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
        Some(self)
    }
}

impl Registry for Process {
    fn with_table(&self, _: &Aor, act: &mut dyn FnMut(&mut Table)) {
        act(&mut self.table.borrow_mut());
    }

    fn is_first_use(&self, _: Use) -> bool {
        true
    }

    fn unix_secs(&self) -> u64 {
        self.clocks.reading().unix_millis / 1_000
    }

    fn offer(&self, offer: Offer<'_>, now: Moment) -> Offered {
        let can_ask = self.is_up();
        choosing::offered(&mut self.book.borrow_mut(), offer, now, can_ask)
    }

    fn elsewhere(&self, aor: &Aor) -> Vec<PhoneElsewhere> {
        self.phones_elsewhere(aor, self.clocks.reading())
    }

    fn take_back_elsewhere(&self, aor: &Aor, taken_back: TakenBack) {
        if taken_back != TakenBack::Nothing {
            self.tell_phones(aor, self.table.borrow().find(aor.as_bytes()), taken_back, self.clocks.reading());
        }
    }

    fn calls_of(&self, agent: &[u8]) -> Vec<CallKey> {
        let book = self.book.borrow();
        book.find(agent).map_or_else(Vec::new, |agent| agent.calls().iter().map(|call| call.key).collect())
    }

    fn take_back(&self, aor: &Aor, key: CallKey, now: Moment) {
        self.book.borrow_mut().take_back(aor, key, now);
    }

    fn set_registered(&self, aor: &Aor, is_registered: bool, now: Moment) {
        let is_registered = is_registered || self.has_phone(aor, self.clocks.reading());
        self.book.borrow_mut().set_registered(aor, is_registered, now);
    }

    fn has_room(&self) -> bool {
        true
    }
}

impl Here for Process {
    fn clocks(&self) -> Reading {
        self.clocks.reading()
    }

    fn with_farm<R>(&self, look: impl FnOnce(&Farm) -> R) -> R {
        look(&self.farm.borrow())
    }

    fn with_board<R>(&self, act: impl FnOnce(&mut Board) -> R) -> R {
        act(&mut self.board.borrow_mut())
    }

    fn with_book<R>(&self, act: impl FnOnce(&mut Book) -> R) -> R {
        act(&mut self.book.borrow_mut())
    }

    fn forget_call(&self, key: CallKey) {
        self.write(key, None);
    }

    fn phones(&self, aor: &Aor) -> Vec<Binding> {
        self.table.borrow().find(aor.as_bytes()).to_vec()
    }

    fn restore_phones(&self, aor: &Aor, phones: Vec<Binding>) {
        self.table.borrow_mut().put(aor, phones);
        self.changed.borrow_mut().push(aor.clone());
    }

    fn keep_again(&self) {
        for key in self.own_calls() {
            self.with_shard(key, |shard| shard.find(key).into_iter().for_each(|slot| shard.save(slot)));
        }
        let users: std::collections::BTreeSet<Aor> = self.table.borrow().iter().map(|(aor, _)| aor.clone()).collect();
        self.changed.borrow_mut().extend(users);
    }

    fn end_moved(&self, aor: &Aor, has_moved: impl Fn(&Binding) -> bool) {
        if self.table.borrow_mut().retain(aor, |binding| !has_moved(binding)) > 0 {
            self.note_ended(aor);
        }
    }

    fn keep_not_ready(&self, user: &[u8], reason: Option<&str>) {
        match reason {
            Some(reason) => drop(self.disk.borrow_mut().not_ready.insert(user.to_vec(), reason.to_owned())),
            None => drop(self.disk.borrow_mut().not_ready.remove(user)),
        }
    }

    fn operator_said(&self, node: &str, wanted: SavedAdmin) {
        self.orders.borrow_mut().push((node.to_owned(), wanted));
    }

    fn operators_words(&self) -> Vec<(String, SavedAdmin)> {
        self.disk.borrow().admin.iter().map(|(node, wanted)| (node.clone(), wanted.clone())).collect()
    }
}

impl Process {
    fn note_ended(&self, aor: &Aor) {
        let is_left = !self.table.borrow().find(aor.as_bytes()).is_empty();
        self.set_registered(aor, is_left, self.now());
        self.changed.borrow_mut().push(aor.clone());
    }

    /// Ends what has run out.
    pub fn expire(&self) {
        let mut over = Vec::new();
        self.table.borrow_mut().expire(self.now(), 256, |aor, _| over.push(aor.clone()));
        over.iter().for_each(|aor| self.note_ended(aor));
    }
}

impl Others for Process {
    fn edge(&self) -> &str {
        &self.name
    }

    fn with_peers<R>(&self, act: impl FnOnce(&mut Peers) -> R) -> R {
        act(&mut self.peers.borrow_mut())
    }

    fn with_homes<R>(&self, act: impl FnOnce(&mut Homes) -> R) -> R {
        act(&mut self.homes.borrow_mut())
    }

    fn with_members<R>(&self, act: impl FnOnce(&mut Members) -> R) -> R {
        act(&mut self.members.borrow_mut())
    }

    fn with_words<R>(&self, act: impl FnOnce(&mut Words) -> R) -> R {
        act(&mut self.words.borrow_mut())
    }

    fn with_doubts<R>(&self, act: impl FnOnce(&mut Doubts) -> R) -> R {
        act(&mut self.doubts.borrow_mut())
    }

    fn with_untold<R>(&self, act: impl FnOnce(&mut Untold) -> R) -> R {
        act(&mut self.untold.borrow_mut())
    }
}
