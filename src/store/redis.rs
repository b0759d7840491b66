//! What several edges share, in Redis (6.2 and newer, or Valkey).
//!
//! Redis is a meeting place and no treasure: all that is in it is known to some edge first hand, and is put back when it is found
//! empty. So nothing here waits for long: every question has a deadline, and after a few misses none is asked until a
//! heartbeat gets through again. All keys of a farm carry one hash tag, so they stand in one slot of a cluster, and all of them
//! run out when no edge is left.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, FromRedisValue, Pipeline, RedisError, Script, ScriptInvocation};

use super::way::Way;

/// How long anything may take that no message waits for.
const PATIENCE: Duration = Duration::from_millis(500);
/// After so many misses in a row nothing is asked until a heartbeat gets through.
const MISSES_MAX: u32 = 5;
/// Everything is gone after so long without any edge.
const KEEP: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Entries that the log holds: what an edge may miss and still follow.
const LOG_LEN: usize = 100_000;
/// Entries that are read at one time.
pub const READ_MAX: usize = 1_000;
/// How long a reader waits for the next entry before it asks again.
const READ_WAIT: Duration = Duration::from_millis(200);
/// Sentinels are asked with every so many heartbeats, and with each one after a question that was not answered.
const FIND_EVERY: u32 = 5;

/// The shared store.
pub struct SharedStore {
    way: Way,
    /// The server that is asked; none before a sentinel named one.
    server: ArcSwapOption<Server>,
    beats: AtomicU32,
    deadline: Duration,
    keys: Keys,
    scripts: Scripts,
    misses: AtomicU32,
    /// Why the last question was not answered.
    complaint: Mutex<String>,
    /// What can be counted.
    pub counts: Counts,
}

struct Server {
    /// Where sentinels say that it is; none where it stands in the configuration.
    address: Option<(String, u16)>,
    client: Client,
    manager: ConnectionManager,
}

/// What can be counted.
#[derive(Debug, Default)]
pub struct Counts {
    /// Questions that were answered.
    pub answered: AtomicU64,
    /// Questions that were not, or not in time.
    pub missed: AtomicU64,
    /// Questions that were not asked, because the store is away.
    pub skipped: AtomicU64,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Away {
    /// No sentinel named a server.
    #[error("no sentinel says where the master is")]
    NoMaster,
    /// It may have forgotten something: a heartbeat finds out.
    #[error("no heartbeat has got through since it may have forgotten something")]
    NoHeartbeat,
    /// It did not answer in time.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// It missed several times, and was not asked.
    #[error("it has missed {MISSES_MAX} times and is not asked until a heartbeat gets through")]
    NotAsked,
    /// It said something, or the connection broke.
    #[error("{0}")]
    Redis(#[from] RedisError),
}

/// A node that may take a call, for [`SharedStore::seat`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seatable {
    /// Its name.
    pub node: String,
    /// Its weight.
    pub weight: u32,
    /// The most calls that it may have; 0 for no limit.
    pub calls_max: u32,
    /// Lower tiers are used first.
    pub tier: u32,
}

/// One entry for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What it is about.
    pub name: Vec<u8>,
    /// The entry.
    pub octets: Vec<u8>,
    /// Nothing is left to know.
    pub is_over: bool,
    /// The call that it is about, and its node.
    pub call: Option<(u128, String)>,
}

/// What a heartbeat brings back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beaten {
    /// Another one than before: the store was emptied, or is another server, and has to be filled.
    pub epoch: String,
    /// The last heartbeat of each edge. Names are octets: anybody may have written there.
    pub edges: Pairs,
    /// Keys that somebody else wrote, which were moved aside.
    pub damaged: Vec<String>,
}

/// An entry as it stands in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Where: what it is about, or its place in the log.
    pub at: String,
    /// What.
    pub octets: Vec<u8>,
}

/// All that is known, and the place in the log from which to follow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Where to go on.
    pub after: String,
    /// The last entry about each thing.
    pub entries: Vec<Stored>,
    /// As of when these are all: what was known in this epoch and is not among them is over.
    pub epoch: Option<String>,
}

/// What the log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogHeld {
    /// The places of its first and its last entry; none when it is empty.
    pub ends: Option<(String, String)>,
    /// It has as many as it may have, so it has lost earlier ones.
    pub is_full: bool,
    /// The epoch in which all of them are told anew.
    pub epoch: Option<String>,
}

struct Keys {
    log: String,
    state: String,
    seats: String,
    totals: String,
    gates: String,
    edges: String,
    epoch: String,
}

struct Scripts {
    seat: Script,
    gate: Script,
    hold: Script,
    tell: Script,
    beat: Script,
}

impl SharedStore {
    /// The store that is reached in this way. Nothing is connected yet.
    ///
    /// # Errors
    /// When the URL is none, or the authorities cannot be read.
    pub fn new(way: Way, namespace: &str, deadline: Duration) -> Result<Self, RedisError> {
        let server = way.client()?.map(|client| Server::new(client, None)).transpose()?;
        let key = |name: &str| format!("{{{namespace}}}:{name}");
        Ok(SharedStore {
            way,
            server: ArcSwapOption::new(server.map(Arc::new)),
            beats: AtomicU32::new(0),
            deadline,
            keys: Keys {
                log: key("log"),
                state: key("state"),
                seats: key("seats"),
                totals: key("totals"),
                gates: key("gates"),
                edges: key("edges"),
                epoch: key("epoch"),
            },
            scripts: Scripts {
                seat: Script::new(include_str!("scripts/seat.lua")),
                gate: Script::new(include_str!("scripts/gate.lua")),
                hold: Script::new(include_str!("scripts/hold.lua")),
                tell: Script::new(include_str!("scripts/tell.lua")),
                beat: Script::new(include_str!("scripts/beat.lua")),
            },
            misses: AtomicU32::new(MISSES_MAX),
            complaint: Mutex::default(),
            counts: Counts::default(),
        })
    }

    /// True while questions are asked.
    pub fn is_up(&self) -> bool {
        self.misses.load(Ordering::Relaxed) < MISSES_MAX
    }

    /// Why it is away.
    pub fn complaint(&self) -> String {
        let complaint = self.complaint.lock().clone();
        if complaint.is_empty() { "it has not answered yet".to_owned() } else { complaint }
    }

    /// Chooses among nodes and takes a place for a call, or finds the one that it has: the edge and the node. `None` when all are full.
    pub async fn seat(&self, call: u128, edge: &str, nodes: &[Seatable]) -> Result<Option<(String, String)>, Away> {
        let mut invocation = self.scripts.seat.key(&self.keys.seats);
        invocation.key(&self.keys.totals).arg(call_text(call)).arg(edge);
        for one in nodes {
            invocation.arg(&one.node).arg(one.weight).arg(one.calls_max).arg(one.tier);
        }
        let seat: Option<String> = self.ask(&invocation).await?;
        Ok(seat.and_then(|seat| seat.split_once('\t').map(|(edge, node)| (edge.to_owned(), node.to_owned()))))
    }

    /// Lets a call, which has or takes a place of an edge on a node, through to an agent, or not.
    pub async fn gate(
        &self,
        user: &[u8],
        (call, edge, node): (u128, &str, &str),
        must_be_free: bool,
        token: Option<u64>,
    ) -> Result<bool, Away> {
        let mut invocation = self.scripts.gate.key(&self.keys.gates);
        invocation.key(&self.keys.seats).key(&self.keys.totals);
        invocation.arg(user).arg(call_text(call)).arg(edge).arg(node).arg(if must_be_free { "1" } else { "0" });
        invocation.arg(token.map_or_else(String::new, token_text));
        self.ask(&invocation).await
    }

    /// Holds an agent for the call that will show this token, or not; the entry that says so goes into the log in the same step.
    pub async fn hold(&self, user: &[u8], token: u64, entry: &[u8]) -> Result<bool, Away> {
        let mut invocation = self.scripts.hold.key(&self.keys.gates);
        invocation.key(&self.keys.seats).key(&self.keys.log);
        invocation.arg(user).arg(token_text(token)).arg(entry).arg(LOG_LEN);
        self.ask(&invocation).await
    }

    /// Tells entries, in their order.
    pub async fn tell(&self, edge: &str, entries: &[Told]) -> Result<(), Away> {
        let mut invocation = self.scripts.tell.key(&self.keys.log);
        invocation.key(&self.keys.state).key(&self.keys.seats).key(&self.keys.totals);
        invocation.arg(edge).arg(LOG_LEN);
        for entry in entries {
            let (call, node) = match &entry.call {
                Some((call, node)) => (call_text(*call), node.as_str()),
                None => (String::new(), ""),
            };
            invocation.arg(&entry.name).arg(&entry.octets).arg(if entry.is_over { "1" } else { "0" });
            invocation.arg(call).arg(node);
        }
        let _: u64 = self.patiently(&invocation).await?;
        Ok(())
    }

    /// Says that an edge is there, and asks who else is. An answer ends the time in which nothing is asked.
    pub async fn beat(&self, edge: &str, heartbeat: &[u8], new_epoch: &str) -> Result<Beaten, Away> {
        let is_time = self.beats.fetch_add(1, Ordering::Relaxed).is_multiple_of(FIND_EVERY);
        if is_time || self.misses.load(Ordering::Relaxed) > 0 {
            self.find().await?;
        }
        let keys = &self.keys;
        let mut invocation = self.scripts.beat.key(&keys.edges);
        invocation.key(&keys.epoch);
        for key in [&keys.log, &keys.state, &keys.seats, &keys.totals, &keys.gates] {
            invocation.key(key);
        }
        invocation.arg(edge).arg(heartbeat).arg(new_epoch).arg(KEEP.as_secs());
        let (epoch, edges, damaged) = self.patiently(&invocation).await?;
        self.misses.store(0, Ordering::Relaxed);
        Ok(Beaten { epoch, edges, damaged })
    }

    /// Asks sentinels, where there are any, which server is the master.
    async fn find(&self) -> Result<(), Away> {
        let Some(address) = self.way.master().await else { return Ok(()) };
        if self.server.load().as_ref().is_some_and(|server| server.address.as_ref() == Some(&address)) {
            return Ok(());
        }
        let client = self.way.client_at(&address.0, address.1, true)?;
        tracing::info!("the master of the shared store is {}:{}", address.0, address.1);
        self.server.store(Some(Arc::new(Server::new(client, Some(address))?)));
        Ok(())
    }

    fn server(&self) -> Result<Arc<Server>, Away> {
        self.server.load_full().ok_or(Away::NoMaster)
    }

    /// Forgets the heartbeat of an edge that is gone.
    pub async fn forget(&self, edge: &str) -> Result<(), Away> {
        let mut manager = self.server()?.manager.clone();
        let mut command = redis::cmd("HDEL");
        command.arg(&self.keys.edges).arg(edge);
        Ok(command.query_async(&mut manager).await?)
    }

    /// All places that calls have: call, edge and node.
    pub async fn seats(&self) -> Result<Vec<(u128, String, String)>, Away> {
        let all = self.scan(&self.keys.seats).await?;
        let read = |place: Stored| {
            let (call, seat) = (place.at, String::from_utf8(place.octets).ok()?);
            let (edge, node) = seat.split_once('\t')?;
            Some((u128::from_str_radix(&call, 16).ok()?, edge.to_owned(), node.to_owned()))
        };
        Ok(all.into_iter().filter_map(read).collect())
    }

    /// All that is known, and where to follow from. The place in the log is asked first: what is told meanwhile is read twice.
    pub async fn snapshot(&self) -> Result<Snapshot, Away> {
        if self.server.load().is_none() {
            self.find().await?;
        }
        let mut manager = self.server()?.manager.clone();
        let mut pipeline = Pipeline::new();
        pipeline.cmd("XREVRANGE").arg(&self.keys.log).arg("+").arg("-").arg("COUNT").arg(1);
        let (last,): (LogEntries,) = pipeline.query_async(&mut manager).await?;
        let after = last.into_iter().next().map_or_else(|| "0".to_owned(), |(id, _)| id);
        let entries = self.scan(&self.keys.state).await?;
        // Asked last: a store that was emptied meanwhile has another one.
        let epoch = redis::cmd("GET").arg(&self.keys.epoch).query_async(&mut manager).await?;
        Ok(Snapshot { after, entries, epoch })
    }

    /// What the log holds.
    pub async fn log_held(&self) -> Result<LogHeld, Away> {
        let mut manager = self.server()?.manager.clone();
        let mut pipeline = Pipeline::new();
        pipeline.cmd("XRANGE").arg(&self.keys.log).arg("-").arg("+").arg("COUNT").arg(1);
        pipeline.cmd("XREVRANGE").arg(&self.keys.log).arg("+").arg("-").arg("COUNT").arg(1);
        pipeline.cmd("XLEN").arg(&self.keys.log);
        pipeline.cmd("GET").arg(&self.keys.epoch);
        let (first, last, len, epoch): (LogEntries, LogEntries, usize, _) = pipeline.query_async(&mut manager).await?;
        let place = |entries: LogEntries| entries.into_iter().next().map(|(id, _)| id);
        Ok(LogHeld { ends: place(first).zip(place(last)), is_full: len >= LOG_LEN, epoch })
    }

    /// All entries that the log still holds, in their order.
    pub async fn whole_log(&self) -> Result<Vec<Stored>, Away> {
        let (mut manager, mut from, mut all) = (self.server()?.manager.clone(), "-".to_owned(), Vec::new());
        loop {
            let mut command = redis::cmd("XRANGE");
            command.arg(&self.keys.log).arg(&from).arg("+").arg("COUNT").arg(READ_MAX);
            let page: LogEntries = command.query_async(&mut manager).await?;
            let Some((last, _)) = page.last() else { return Ok(all) };
            from = format!("({last}");
            all.extend(page.into_iter().flat_map(of_the_log));
        }
    }

    async fn scan(&self, key: &str) -> Result<Vec<Stored>, Away> {
        let (mut manager, mut cursor, mut all) = (self.server()?.manager.clone(), 0u64, Vec::new());
        loop {
            let mut command = redis::cmd("HSCAN");
            command.arg(key).arg(cursor).arg("COUNT").arg(READ_MAX);
            let (next, page): (u64, Pairs) = command.query_async(&mut manager).await?;
            all.extend(page.into_iter().map(|(name, octets)| Stored { at: text(&name), octets }));
            if next == 0 {
                return Ok(all);
            }
            cursor = next;
        }
    }

    /// A connection of its own for the one who follows the log: it waits, and nobody may wait behind it.
    pub async fn follower(&self) -> Result<Follower, Away> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(READ_WAIT + PATIENCE));
        let server = self.server()?;
        let connection = server.client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Follower { server, connection, log: self.keys.log.clone() })
    }

    /// True while the one who follows the log does so at the server that is asked.
    pub fn is_followed_by(&self, follower: &Follower) -> bool {
        self.server.load().as_ref().is_some_and(|server| Arc::ptr_eq(server, &follower.server))
    }

    /// Within the deadline of a message, or not at all.
    async fn ask<T: FromRedisValue>(&self, invocation: &ScriptInvocation<'_>) -> Result<T, Away> {
        if !self.is_up() {
            self.counts.skipped.fetch_add(1, Ordering::Relaxed);
            return Err(Away::NotAsked);
        }
        let mut manager = self.server()?.manager.clone();
        let asked = tokio::time::timeout(self.deadline, invocation.invoke_async(&mut manager)).await;
        self.counted(match asked {
            Ok(answer) => answer.map_err(Away::from),
            Err(_) => Err(Away::Late(self.deadline)),
        })
    }

    async fn patiently<T: FromRedisValue>(&self, invocation: &ScriptInvocation<'_>) -> Result<T, Away> {
        let server = match self.server() {
            Ok(server) => server,
            Err(away) => return self.counted(Err(away)),
        };
        let mut manager = server.manager.clone();
        self.counted(invocation.invoke_async(&mut manager).await.map_err(Away::from))
    }

    fn counted<T>(&self, answer: Result<T, Away>) -> Result<T, Away> {
        match &answer {
            Ok(_) => {
                self.misses.store(0, Ordering::Relaxed);
                self.counts.answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                *self.complaint.lock() = error.to_string();
                self.misses.fetch_add(1, Ordering::Relaxed);
                self.counts.missed.fetch_add(1, Ordering::Relaxed);
            }
        }
        answer
    }
}

impl Server {
    fn new(client: Client, address: Option<(String, u16)>) -> Result<Self, RedisError> {
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(50))
            .set_max_delay(Duration::from_millis(250))
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let manager = ConnectionManager::new_lazy_with_config(client.clone(), config)?;
        Ok(Server { address, client, manager })
    }
}

/// Reads the log.
pub struct Follower {
    server: Arc<Server>,
    connection: MultiplexedConnection,
    log: String,
}

impl Follower {
    /// The entries behind a place in the log, and the place of the last one. Waits for a while when there are none.
    pub async fn read(&mut self, after: &str) -> Result<(String, Vec<Stored>), Away> {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(READ_MAX).arg("BLOCK").arg(READ_WAIT.as_millis() as u64);
        command.arg("STREAMS").arg(&self.log).arg(after);
        let answer: Option<Vec<(String, LogEntries)>> = command.query_async(&mut self.connection).await?;
        let entries: LogEntries = answer.unwrap_or_default().into_iter().flat_map(|(_, entries)| entries).collect();
        let last = entries.last().map_or_else(|| after.to_owned(), |(id, _)| id.clone());
        Ok((last, entries.into_iter().flat_map(of_the_log).collect()))
    }
}

/// Entries of the log with their places: each has one field.
type LogEntries = Vec<(String, Pairs)>;

fn of_the_log((id, fields): (String, Pairs)) -> impl Iterator<Item = Stored> {
    fields.into_iter().map(move |(_, octets)| Stored { at: format!("{id} of the log"), octets })
}

/// Names and values. Both are octets: anybody may have written them.
pub type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// A name in a hash, which need not be text, for somebody to read.
fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

fn token_text(token: u64) -> String {
    format!("{token:016x}")
}

fn call_text(call: u128) -> String {
    format!("{call:032x}")
}
