//! Who is registered where, and bringing it to disk before anybody is told.
//!
//! Answers to REGISTER wait here for the thread that writes: it takes all that wait, commits them in one go, and sends
//! their answers. While the disk is busy the next lot gathers, so the more come, the fewer commits each of them costs.

use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use crate::agents::Book;
use crate::agents::book::Offer;
use crate::calls::lease::Way;
use crate::calls::{CallKey, NodeId};
use crate::cluster::{Entry, Others, asking, choosing};
use crate::dispatch::Farm;
use crate::moment::{Moment, Reading};
use crate::proxy::contract::{Offered, PhoneElsewhere, Registry};
use crate::registrar::auth::Use;
use crate::registrar::register::TakenBack;
use crate::registrar::replays::Replays;
use crate::registrar::{Aor, Binding, Ended, Service, Table};
use crate::store::contract::{BindingBatch, SavedBinding};
use crate::store::saving;
use crate::transport::flow::{ConnectionId, ListenerId, Protocol};
use crate::transport::udp::SendBatch;

use super::clock::wall_millis;
use super::cluster::Cluster;
use super::ended::{end_lost, note_ended};
use super::engine::Engine;
use super::hands::{batch_of, send_batches, send_to};

/// Parts of the table.
const TABLES: usize = 64;
/// Answers that may wait for the disk. Beyond it a REGISTER is answered 503 at once.
const WAITING_MAX: usize = 8_192;
/// Registrations of one commit.
const COMMIT_MAX: usize = 2_048;
/// Addresses of record whose ends are dealt with at one time, for each part of the table.
const ENDS_MAX: usize = 256;
/// Stands for no node in the branch of a question to a phone.
pub const KEEPER: NodeId = NodeId(u32::MAX);
/// Answers of nodes that may wait to be looked at.
const TOLD_MAX: usize = 16_384;
/// Answers of phones that may wait to be looked at.
const KEPT_MAX: usize = 262_144;
/// Closed connections that may wait to be looked at.
const LOST_MAX: usize = 65_536;
/// How long the thread waits when there is nothing to do.
const PAUSE: Duration = Duration::from_millis(500);
/// Least time between the beginnings of two commits. A lone REGISTER waits for nothing; of those that come one after the other several
/// share one write, and nobody notices that his phone is registered some milliseconds later.
const GATHER: Duration = Duration::from_millis(5);
/// So many are worth a commit of their own: then nobody waits for more.
const ENOUGH: usize = 64;
/// How often is looked for bindings that ran out.
const LOOK_FOR_ENDS: Duration = Duration::from_millis(100);

/// All bindings, and what waits to be stored.
pub struct Registrations {
    tables: Box<[Mutex<Table>]>,
    count: AtomicUsize,
    bindings_max: usize,
    hasher: RandomState,
    replays: Mutex<Replays>,
    waiting: Mutex<Vec<Waiting>>,
    wake: Condvar,
    book: Mutex<Book>,
    told: Mutex<Vec<Told>>,
    kept: Mutex<Vec<u32>>,
    lost: Mutex<Vec<ConnectionId>>,
    changed: Notify,
    cluster: Option<Arc<Cluster>>,
}

/// What a node said about the states of agents.
#[derive(Clone, Copy, Debug)]
pub enum Told {
    /// It wants all of them.
    Asked(NodeId),
    /// It answered a message.
    Answered {
        /// The node.
        node: NodeId,
        /// The message.
        cseq: u32,
        /// The answer.
        code: u16,
    },
}

/// An address of record whose bindings are to be stored.
pub struct Waiting {
    /// Which.
    pub aor: Aor,
    /// Who is told then; none when a binding just ran out.
    pub answer: Option<Answer>,
}

/// An answer that waits for the disk.
pub struct Answer {
    /// Where it goes.
    pub to: Way,
    /// For when the bindings are stored.
    pub granted: Vec<u8>,
    /// For when they cannot be.
    pub failed: Vec<u8>,
}

impl Registrations {
    /// An empty table for so many bindings, at one of several edges or not.
    pub fn new(bindings_max: usize, cluster: Option<Arc<Cluster>>) -> Self {
        Registrations {
            tables: std::iter::repeat_with(Mutex::default).take(TABLES).collect(),
            count: AtomicUsize::new(0),
            bindings_max,
            hasher: RandomState::new(),
            replays: Mutex::default(),
            waiting: Mutex::default(),
            wake: Condvar::new(),
            book: Mutex::default(),
            told: Mutex::default(),
            kept: Mutex::default(),
            lost: Mutex::default(),
            changed: Notify::new(),
            cluster,
        }
    }

    /// Bindings in all.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Looks at every address of record, one part of the table after the other.
    pub fn each(&self, mut look: impl FnMut(&Aor, &[Binding])) {
        for table in &self.tables {
            table.lock().iter().for_each(|(aor, bindings)| look(aor, bindings));
        }
    }

    /// What is held for one.
    pub fn of(&self, aor: &Aor) -> Vec<Binding> {
        self.table(aor).lock().find(aor.as_bytes()).to_vec()
    }

    /// Puts back what was stored before a restart; true when something of it is still alive.
    pub fn restore(&self, aor: &Aor, saved: Vec<SavedBinding<'_>>, clocks: Reading) -> bool {
        let now = clocks.now;
        let bindings: Vec<Binding> = saved
            .iter()
            .map(|one| saving::restored_binding(one, clocks))
            .filter(|binding| binding.expires > now)
            .collect();
        let is_alive = !bindings.is_empty();
        self.set_registered(aor, is_alive, now);
        self.act(aor, |table| table.put(aor, bindings));
        is_alive
    }

    /// Puts in all that is held of a user.
    pub fn put(&self, aor: &Aor, bindings: Vec<Binding>) {
        self.act(aor, |table| table.put(aor, bindings));
    }

    /// All users, registered or not, and whoever else something is known of; by name.
    pub fn everybody(&self, farm: &Farm) -> BTreeSet<Aor> {
        let users = |service: &Service| service.authority.iter().flat_map(|own| own.users.names()).cloned().collect();
        let mut all: BTreeSet<Aor> = farm.registrar.as_deref().map(users).unwrap_or_default();
        all.extend(farm.registrar.iter().flat_map(|service| service.permanents.names()).cloned());
        self.with_book(|book| all.extend(book.iter().map(|(aor, _)| aor.clone())));
        all
    }

    /// Acts on the agents' book.
    pub fn with_book<R>(&self, act: impl FnOnce(&mut Book) -> R) -> R {
        let mut book = self.book.lock();
        let result = act(&mut book);
        if book.has_changes() {
            self.changed.notify_one();
        }
        result
    }

    /// Waits until something about an agent changed, or a node said something.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Notes what a node said. Beyond the bound it is forgotten, and the node is told once more.
    pub fn tell(&self, told: Told) {
        let mut list = self.told.lock();
        if list.len() < TOLD_MAX {
            list.push(told);
            self.changed.notify_one();
        }
    }

    /// Notes that a phone answered.
    pub fn keep(&self, number: u32) {
        let mut list = self.kept.lock();
        if list.len() < KEPT_MAX {
            list.push(number);
        }
    }

    /// Takes the numbers of the questions that phones answered.
    pub fn take_kept(&self) -> Vec<u32> {
        std::mem::take(&mut self.kept.lock())
    }

    /// Ends bindings of one address of record; returns how many, and whether any is left.
    pub fn end(&self, aor: &Aor, is_over: impl Fn(&Binding) -> bool) -> (usize, bool) {
        self.act(aor, |table| {
            let ended = table.retain(aor, |binding| !is_over(binding));
            (ended, !table.find(aor.as_bytes()).is_empty())
        })
    }

    /// Notes that a connection was closed. Beyond the bound its phones stay registered until their time is over.
    pub fn lose(&self, connection: ConnectionId) {
        let mut list = self.lost.lock();
        if list.len() < LOST_MAX {
            list.push(connection);
        }
    }

    /// Takes the connections that were closed.
    pub fn take_lost(&self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.lost.lock())
    }

    /// Takes what nodes said.
    pub fn take_told(&self) -> Vec<Told> {
        std::mem::take(&mut self.told.lock())
    }

    /// Hands in an address of record whose bindings changed.
    pub fn save(&self, waiting: Waiting) {
        let mut list = self.waiting.lock();
        list.push(waiting);
        // Waking the thread for each would cost more than storing it.
        if list.len() == 1 || list.len() == ENOUGH {
            self.wake.notify_one();
        }
    }

    /// Tells the other edges where a user's phones are that registered here.
    pub fn tell_bindings(&self, cluster: &Cluster, aor: &Aor, taken_back: TakenBack, clocks: Reading) {
        let table = self.table(aor).lock();
        cluster.tell_phones(aor, table.find(aor.as_bytes()), taken_back, clocks);
    }

    /// Adds what is held of an address of record to what is to be stored.
    fn write(&self, aor: &Aor, clocks: Reading, batch: &mut BindingBatch) {
        let table = self.table(aor).lock();
        let bindings = table.find(aor.as_bytes());
        batch.push(aor.as_bytes(), |out| {
            if !bindings.is_empty() {
                SavedBinding::write(out, bindings.iter().map(|binding| saving::saved_binding(binding, clocks)));
            }
        });
    }

    fn table(&self, aor: &Aor) -> &Mutex<Table> {
        &self.tables[self.hasher.hash_one(aor) as usize % TABLES]
    }

    /// Acts on the part of the table that an address of record belongs to.
    fn act<R>(&self, aor: &Aor, act: impl FnOnce(&mut Table) -> R) -> R {
        self.counted(&mut self.table(aor).lock(), act)
    }

    /// Acts on a part of the table, with what room all of them have left.
    fn counted<R>(&self, table: &mut Table, act: impl FnOnce(&mut Table) -> R) -> R {
        let before = table.len();
        table.set_room(self.bindings_max.saturating_sub(self.count()));
        let result = act(table);
        // Wraps around where the table shrank, and so takes away.
        self.count.fetch_add(table.len().wrapping_sub(before), Ordering::Relaxed);
        result
    }

    /// Takes out what has run out.
    fn expire(&self, now: Moment, mut ended: impl FnMut(&Aor, bool)) {
        for table in &self.tables {
            let mut over = Vec::new();
            self.counted(&mut table.lock(), |table| table.expire(now, ENDS_MAX, |aor, _| over.push(aor.clone())));
            for aor in over {
                let is_left = !table.lock().find(aor.as_bytes()).is_empty();
                ended(&aor, is_left);
            }
        }
    }

    /// Waits until something is to be stored.
    fn wait(&self) {
        let mut waiting = self.waiting.lock();
        if waiting.is_empty() {
            self.wake.wait_for(&mut waiting, PAUSE);
        }
    }

    /// Waits for more, until there is enough.
    fn wait_for_more(&self, within: Duration) {
        let mut waiting = self.waiting.lock();
        self.wake.wait_while_for(&mut waiting, |waiting| waiting.len() < ENOUGH, within);
    }

    fn take_waiting(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting.lock();
        let most = waiting.len().min(COMMIT_MAX);
        waiting.drain(..most).collect()
    }
}

impl Registry for Registrations {
    fn with_table(&self, aor: &Aor, act: &mut dyn FnMut(&mut Table)) {
        self.act(aor, |table| act(table));
    }

    fn is_first_use(&self, proof: Use) -> bool {
        if asking::is_again() {
            return true;
        }
        self.replays.lock().admit(proof.nonce, proof.made_secs, proof.count, self.unix_secs())
    }

    fn unix_secs(&self) -> u64 {
        wall_millis() / 1_000
    }

    fn offer(&self, offer: Offer<'_>, now: Moment) -> Offered {
        let can_ask = self.cluster.as_ref().is_some_and(|cluster| cluster.shared.is_up());
        let offered = self.with_book(|book| choosing::offered(book, offer, now, can_ask));
        if let (Offered::LetThrough, Some(cluster), Some(token)) = (&offered, &self.cluster, offer.reservation) {
            cluster.tell(&Entry::Held { user: offer.aor.as_bytes(), token, until: None, queue: None });
        }
        offered
    }

    fn elsewhere(&self, aor: &Aor) -> Vec<PhoneElsewhere> {
        self.cluster.as_ref().map_or_else(Vec::new, |cluster| cluster.phones_elsewhere(aor, cluster.clock.reading()))
    }

    fn take_back_elsewhere(&self, aor: &Aor, taken_back: TakenBack) {
        let Some(cluster) = &self.cluster else { return };
        if taken_back != TakenBack::Nothing {
            self.tell_bindings(cluster, aor, taken_back, cluster.clock.reading());
        }
    }

    fn calls_of(&self, agent: &[u8]) -> Vec<CallKey> {
        let book = self.book.lock();
        book.find(agent).map_or_else(Vec::new, |agent| agent.calls().iter().map(|call| call.key).collect())
    }

    fn take_back(&self, aor: &Aor, key: CallKey, now: Moment) {
        self.with_book(|book| book.take_back(aor, key, now));
    }

    fn set_registered(&self, aor: &Aor, is_registered: bool, now: Moment) {
        let is_registered = is_registered
            || self.cluster.as_ref().is_some_and(|cluster| cluster.has_phone(aor, cluster.clock.reading()));
        self.with_book(|book| book.set_registered(aor, is_registered, now));
    }

    fn has_room(&self) -> bool {
        self.waiting.lock().len() < WAITING_MAX
    }
}

/// The thread that brings registrations to disk. It ends when this is dropped.
pub struct Registrar {
    engine: Arc<Engine>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Registrar {
    /// Starts it.
    pub fn start(engine: &Arc<Engine>) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (own, stopped) = (Arc::clone(engine), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("registrar".to_owned()).spawn(move || {
            let mut writer = Writer::new(&own);
            let mut looked = Moment::ZERO;
            while !stopped.load(Ordering::Relaxed) {
                writer.gather();
                writer.store(own.registrations.take_waiting());
                let now = own.clock.now();
                if now.since(looked) >= LOOK_FOR_ENDS {
                    looked = now;
                    expire(&own);
                    end_lost(&own, now);
                }
            }
            writer.store(own.registrations.take_waiting());
        })?;
        Ok(Registrar { engine: Arc::clone(engine), stop, thread: Some(thread) })
    }
}

impl Drop for Registrar {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.engine.registrations.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

/// What the thread keeps from commit to commit.
struct Writer<'a> {
    engine: &'a Arc<Engine>,
    batch: BindingBatch,
    began: Moment,
    text: Vec<u8>,
    sends: Vec<(ListenerId, SendBatch)>,
}

impl<'a> Writer<'a> {
    fn new(engine: &'a Arc<Engine>) -> Self {
        let batch = BindingBatch::default();
        Writer { engine, batch, began: Moment::ZERO, text: Vec::new(), sends: Vec::new() }
    }

    /// Waits for something to store, and for more of it when there was some a moment ago.
    fn gather(&mut self) {
        self.engine.registrations.wait();
        let since = self.engine.clock.now().since(self.began);
        if since < GATHER {
            self.engine.registrations.wait_for_more(GATHER - since);
        }
    }

    /// One commit, and the answers that waited for it.
    fn store(&mut self, lot: Vec<Waiting>) {
        if lot.is_empty() {
            return;
        }
        let (engine, clocks) = (self.engine, self.engine.clock.reading());
        self.began = clocks.now;
        self.batch.clear();
        let mut seen = HashSet::with_capacity(lot.len());
        for waiting in lot.iter().filter(|waiting| seen.insert(&waiting.aor)) {
            // What is held now is at least as new as what is waited for.
            engine.registrations.write(&waiting.aor, clocks, &mut self.batch);
        }
        let stored = engine.store.bindings(&self.batch);
        if let Err(error) = &stored {
            tracing::error!("registrations cannot be stored, phones are answered 500: {error}");
        }
        engine.metrics.registration_commits.inc();
        if let (Ok(()), Some(cluster)) = (&stored, &engine.cluster) {
            seen.iter().for_each(|aor| {
                engine.registrations.tell_bindings(cluster, aor, TakenBack::Nothing, clocks);
            });
        }
        if stored.is_ok() && engine.events.watchers() > 0 {
            seen.iter().for_each(|aor| engine.events.registration(aor, engine.registrations.of(aor).len()));
        }
        self.answer(lot.into_iter().filter_map(|waiting| waiting.answer), stored.is_ok());
    }

    /// Answers by datagram go together.
    fn answer(&mut self, answers: impl Iterator<Item = Answer>, is_stored: bool) {
        self.text.clear();
        for answer in answers {
            let bytes = if is_stored { answer.granted } else { answer.failed };
            if answer.to.protocol() == Protocol::Tcp {
                send_to(self.engine, answer.to, bytes);
                continue;
            }
            let from = self.text.len();
            self.text.extend_from_slice(&bytes);
            batch_of(&mut self.sends, answer.to.listener()).push(answer.to.target().address, from..self.text.len());
        }
        send_batches(self.engine, &mut self.sends, &self.text, |_, _| ());
    }
}

/// Bindings that ran out go, from the disk too.
fn expire(engine: &Engine) {
    let now = engine.clock.now();
    engine.registrations.expire(now, |aor, is_left| note_ended(engine, aor, Ended::Expired, 1, is_left, now));
}
