//! The embedded store: a database file and a journal in one folder.
//!
//! Operators' words are on disk before they are acknowledged. Leases go into the journal at once and from there into
//! the database a few times a second. Registrations are on disk in a log before they are acknowledged, and are carried into the database
//! when there are many, each once and in order, which costs a fraction of a transaction for each. A file that is damaged is moved
//! aside and reported, and the edge starts.

use std::collections::BTreeMap;
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use redb::{
    Builder, Database, DatabaseError, Key, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageError, Table,
    TableDefinition, Value,
};

use super::changes::{self, Changes, RECORD_LEN_MAX};
use super::contract::{BindingBatch, Saved, SavedAdmin, SavedLease, Store, StoreCounts, StoreError};
use super::journal::{self, Journal};
use super::log::{self, Log};
use super::steps::Steps;

/// Name of the database file.
pub const DATABASE: &str = "cordboard.redb";
/// Name of the journal.
pub const JOURNAL: &str = "leases.journal";

/// Names of the logs of registrations: one is written while the other is carried into the database.
pub const LOGS: [&str; 2] = ["registrations-1.log", "registrations-2.log"];

/// Octets of a log that is carried into the database: some 150,000 registrations.
const LOG_LEN_CARRIED: u64 = 32 << 20;
/// Octets of the longest log. Beyond it who writes waits for the database.
const LOG_LEN_MAX: u64 = 256 << 20;

/// Octets of the database that are kept in memory: all of it is read once, and then it is only written. What is written stays there until
/// it is full, whatever it is good for; the kernel has the same pages, a system call away.
const CACHE_LEN: usize = 4 << 20;

/// Pause between two commits of leases. What a machine that loses power may lose.
const COMMIT_PAUSE: Duration = Duration::from_millis(250);

const LEASES: TableDefinition<u128, &[u8]> = TableDefinition::new("leases");
const BINDINGS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("bindings");
const NOT_READY: TableDefinition<&[u8], &str> = TableDefinition::new("not_ready");
const ADMIN: TableDefinition<&str, &[u8]> = TableDefinition::new("admin");

/// An open store.
pub struct Embedded {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    database: Database,
    journal: Journal,
    /// The journal has one reader at a time.
    reading: Mutex<()>,
    /// The log that registrations are written to, and the one that is empty or being carried into the database.
    log: Mutex<Log>,
    full_log: Mutex<Log>,
    stopping: AtomicBool,
    wake: (Mutex<()>, Condvar),
    taken: AtomicU64,
    lost: AtomicU64,
    failures: AtomicU64,
    is_failing: AtomicBool,
    /// Of registrations, which are written by another thread.
    is_failing_for_bindings: AtomicBool,
}

/// What opening found.
pub struct Opened {
    /// The store.
    pub store: Embedded,
    /// What was kept.
    pub saved: Saved,
    /// Files that were damaged and moved aside.
    pub moved_aside: Vec<PathBuf>,
}

impl Embedded {
    /// Opens the store in a folder, making both where they are missing.
    pub fn open(folder: &Path) -> Result<Opened, StoreError> {
        std::fs::create_dir_all(folder).map_err(|source| unusable(folder, source))?;
        let (path, mut moved_aside) = (folder.join(DATABASE), Vec::new());
        let (database, logs, mut saved) = match open_database(folder, &mut moved_aside)? {
            Some(found) => found,
            None => {
                moved_aside.push(move_aside(&path)?);
                // The journal's changes are changes to what is gone; alone they would tell half the truth.
                let journal = folder.join(JOURNAL);
                if journal.exists() {
                    moved_aside.push(move_aside(&journal)?);
                }
                open_database(folder, &mut moved_aside)?
                    .ok_or_else(|| StoreError::Write("a new database is damaged".to_owned()))?
            }
        };
        let journal_path = folder.join(JOURNAL);
        if journal::is_damaged(&journal_path).map_err(|source| unusable(&journal_path, source))? {
            moved_aside.push(move_aside(&journal_path)?);
        }
        let mut changes = Changes::default();
        let journal = Journal::open(&journal_path, |record| changes.take(record))
            .map_err(|source| unusable(&journal_path, source))?;
        carry_into(&database, LEASES, changes.in_order())?;
        saved.leases = merged(saved.leases, &changes);
        let [log, full_log] = logs.map(Mutex::new);
        let shared = Arc::new(Shared {
            database,
            journal,
            reading: Mutex::new(()),
            log,
            full_log,
            stopping: AtomicBool::new(false),
            wake: Default::default(),
            taken: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            is_failing: AtomicBool::new(false),
            is_failing_for_bindings: AtomicBool::new(false),
        });
        let writer = Arc::clone(&shared);
        let writer = std::thread::Builder::new().name("store".to_owned()).spawn(move || writer.run());
        let writer = writer.map_err(|source| unusable(folder, source))?;
        let store = Embedded { shared, writer: Mutex::new(Some(writer)) };
        Ok(Opened { store, saved, moved_aside })
    }
}

impl Store for Embedded {
    fn lease(&self, key: u128, lease: Option<&SavedLease<'_>>) {
        let mut record = [0; RECORD_LEN_MAX];
        let Some(record) = changes::record(key, lease, &mut record) else { return };
        self.shared.taken.fetch_add(1, Ordering::Relaxed);
        if self.shared.journal.append(record).is_err() {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn admin(&self, node: &str, admin: Option<&SavedAdmin>) -> Result<(), StoreError> {
        commit(&self.shared.database, ADMIN, |table| {
            match admin.and_then(|admin| postcard::to_stdvec(admin).ok()) {
                Some(octets) => drop(table.insert(node, octets.as_slice())?),
                None => drop(table.remove(node)?),
            }
            Ok(())
        })
    }

    fn bindings(&self, batch: &BindingBatch) -> Result<(), StoreError> {
        let result = self.shared.append(batch).map_err(|error| StoreError::Write(error.to_string()));
        self.shared.is_failing_for_bindings.store(result.is_err(), Ordering::Relaxed);
        self.shared.failures.fetch_add(u64::from(result.is_err()), Ordering::Relaxed);
        result
    }

    fn not_ready(&self, user: &[u8], reason: Option<&str>) -> Result<(), StoreError> {
        commit(&self.shared.database, NOT_READY, |table| {
            match reason {
                Some(reason) => drop(table.insert(user, reason)?),
                None => drop(table.remove(user)?),
            }
            Ok(())
        })
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.shared.commit()
    }

    fn counts(&self) -> StoreCounts {
        StoreCounts {
            leases_taken: self.shared.taken.load(Ordering::Relaxed),
            leases_lost: self.shared.lost.load(Ordering::Relaxed),
            failures: self.shared.failures.load(Ordering::Relaxed),
            is_failing: self.shared.is_failing.load(Ordering::Relaxed)
                || self.shared.is_failing_for_bindings.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.shared.wake.1.notify_all();
        if let Some(writer) = self.writer.lock().take() {
            // A writer that panicked has left everything in the journal.
            let _ = writer.join();
        }
    }
}

impl Shared {
    /// The writer: carries the journal into the database until the store is dropped.
    fn run(&self) {
        while !self.stopping.load(Ordering::Relaxed) {
            let mut lock = self.wake.0.lock();
            self.wake.1.wait_for(&mut lock, COMMIT_PAUSE);
            drop(lock);
            // The failure is counted; the changes that it concerns come again with the next change of their lease.
            let _ = self.commit();
            // The same; the log is kept, and it is carried at the next time or after a restart.
            let _ = self.carry();
        }
        let _ = self.commit();
    }

    /// Adds registrations to the log.
    fn append(&self, batch: &BindingBatch) -> io::Result<()> {
        let mut log = self.log.lock();
        if log.len() >= LOG_LEN_CARRIED {
            self.turn(&mut log)?;
        }
        log.append(batch.records())
    }

    /// Begins with the other log, unless that is still being carried: then this one grows.
    fn turn(&self, log: &mut Log) -> io::Result<()> {
        let other = if log.len() < LOG_LEN_MAX { self.full_log.try_lock() } else { Some(self.full_log.lock()) };
        let Some(mut other) = other.filter(|other| other.is_empty()) else { return Ok(()) };
        other.begin(log.number() + 1)?;
        std::mem::swap(log, &mut *other);
        Ok(())
    }

    /// Carries the full log into the database.
    fn carry(&self) -> Result<(), StoreError> {
        let mut log = self.full_log.lock();
        if log.is_empty() {
            return Ok(());
        }
        let mut carried = || -> Result<(), StoreError> {
            let written = |error: io::Error| StoreError::Write(error.to_string());
            Registrations::of(std::slice::from_mut(&mut *log)).map_err(written)?.commit(&self.database)?;
            let number = log.number();
            log.begin(number).map_err(written)
        };
        self.counted(carried())
    }

    /// Counts a failure, and notes whether there is one.
    fn counted(&self, result: Result<(), StoreError>) -> Result<(), StoreError> {
        self.is_failing.store(result.is_err(), Ordering::Relaxed);
        if result.is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    fn commit(&self) -> Result<(), StoreError> {
        let _reading = self.reading.lock();
        let mut changes = Changes::default();
        self.journal.read(|record| changes.take(record));
        self.counted(carry_into(&self.database, LEASES, changes.in_order()))
    }
}

/// What leases were when the database was written, and what they became since.
fn merged(leases: Vec<(u128, Vec<u8>)>, changes: &Changes) -> Vec<(u128, Vec<u8>)> {
    let mut merged: BTreeMap<u128, Vec<u8>> = leases.into_iter().collect();
    for (key, lease) in changes.in_order() {
        match lease {
            Some(octets) => drop(merged.insert(key, octets.to_vec())),
            None => drop(merged.remove(&key)),
        }
    }
    merged.into_iter().collect()
}

/// The newest state of every address of record that logs tell of.
#[derive(Default)]
struct Registrations(BTreeMap<Vec<u8>, Option<Vec<u8>>>);

impl Registrations {
    /// From logs, the oldest first.
    fn of(logs: &mut [Log]) -> io::Result<Self> {
        logs.sort_by_key(Log::number);
        let (mut all, mut steps) = (Registrations::default(), Steps::default());
        for log in logs {
            log.read(|record| {
                steps.step();
                if let Some((aor, bindings)) = BindingBatch::read(record) {
                    all.0.insert(aor.to_vec(), bindings.map(<[u8]>::to_vec));
                }
            })?;
        }
        Ok(all)
    }

    fn commit(&self, database: &Database) -> Result<(), StoreError> {
        carry_into(database, BINDINGS, self.0.iter().map(|(aor, bindings)| (&aor[..], bindings.as_deref())))
    }
}

/// Opens both logs and carries into the database what they tell of; those that are none are moved aside.
fn open_logs(folder: &Path, database: &Database, moved_aside: &mut Vec<PathBuf>) -> Result<[Log; 2], StoreError> {
    let mut open = |name: &str| -> Result<Log, StoreError> {
        let path = folder.join(name);
        if log::is_damaged(&path).map_err(|source| unusable(&path, source))? {
            moved_aside.push(move_aside(&path)?);
        }
        Log::open(&path).map_err(|source| unusable(&path, source))
    };
    let mut logs = [open(LOGS[0])?, open(LOGS[1])?];
    let of_folder = |source| unusable(folder, source);
    // The files' names are on disk too.
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(of_folder)?;
    Registrations::of(&mut logs).map_err(of_folder)?.commit(database)?;
    for (number, log) in logs.iter_mut().enumerate().filter(|(_, log)| !log.is_empty()) {
        log.begin(number as u64).map_err(of_folder)?;
    }
    Ok(logs)
}

/// Changes one table in a transaction of its own; what is changed is on disk when this returns.
fn commit<K: Key + 'static, V: Value + 'static>(
    database: &Database,
    definition: TableDefinition<K, V>,
    change: impl FnOnce(&mut Table<'_, K, V>) -> Result<(), StorageError>,
) -> Result<(), StoreError> {
    let write = || -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        change(&mut transaction.open_table(definition)?)?;
        transaction.commit()?;
        Ok(())
    };
    write().map_err(|error| StoreError::Write(error.to_string()))
}

/// Carries what changed into one table, in one transaction: what has a value is there then, and what has none is not. Nothing is written when
/// nothing changed.
fn carry_into<'k, 'v, K: Key + 'static, V: Value + 'static>(
    database: &Database,
    definition: TableDefinition<K, V>,
    changes: impl Iterator<Item = (K::SelfType<'k>, Option<V::SelfType<'v>>)>,
) -> Result<(), StoreError> {
    let (mut changes, mut steps) = (changes.peekable(), Steps::default());
    if changes.peek().is_none() {
        return Ok(());
    }
    commit(database, definition, |table| {
        for (key, value) in changes {
            match value {
                Some(value) => drop(table.insert(key, value)?),
                None => drop(table.remove(key)?),
            }
            steps.step();
        }
        Ok(())
    })
}

type Parts = (Database, [Log; 2], Saved);

/// Opens the database and reads it; `None` when it is damaged. The logs are opened behind it: it keeps other processes away.
fn open_database(folder: &Path, moved_aside: &mut Vec<PathBuf>) -> Result<Option<Parts>, StoreError> {
    let path = folder.join(DATABASE);
    // A damaged file can make the database library panic instead of reporting it.
    let opened =
        std::panic::catch_unwind(AssertUnwindSafe(|| match Builder::new().set_cache_size(CACHE_LEN).create(&path) {
            Ok(database) => {
                let Ok(mut saved) = read_all(&database) else { return Ok(None) };
                let logs = open_logs(folder, &database, moved_aside)?;
                Ok(read_bindings(&database, &mut saved).ok().map(|()| (database, logs, saved)))
            }
            Err(DatabaseError::DatabaseAlreadyOpen) => Err(StoreError::InUse(path.display().to_string())),
            Err(DatabaseError::Storage(redb::StorageError::Io(error))) if is_systems_fault(&error) => {
                Err(unusable(&path, error))
            }
            Err(_) => Ok(None),
        }));
    opened.unwrap_or(Ok(None))
}

/// True for errors of the system, which moving the file aside would not mend.
fn is_systems_fault(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};
    !matches!(error.kind(), InvalidData | UnexpectedEof)
}

fn read_all(database: &Database) -> Result<Saved, redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(LEASES)?;
    transaction.open_table(ADMIN)?;
    transaction.open_table(BINDINGS)?;
    transaction.open_table(NOT_READY)?;
    transaction.commit()?;
    let (transaction, mut saved) = (database.begin_read()?, Saved::default());
    for entry in transaction.open_table(LEASES)?.iter()? {
        let (key, lease) = entry?;
        saved.leases.push((key.value(), lease.value().to_vec()));
    }
    for entry in transaction.open_table(ADMIN)?.iter()? {
        let (node, admin) = entry?;
        if let Ok(admin) = postcard::from_bytes(admin.value()) {
            saved.admin.push((node.value().to_owned(), admin));
        }
    }
    for entry in transaction.open_table(NOT_READY)?.iter()? {
        let (user, reason) = entry?;
        saved.not_ready.push((user.value().to_vec(), reason.value().to_owned()));
    }
    Ok(saved)
}

fn read_bindings(database: &Database, saved: &mut Saved) -> Result<(), redb::Error> {
    let table = database.begin_read()?.open_table(BINDINGS)?;
    saved.bindings.reserve(table.len()? as usize);
    for entry in table.iter()? {
        let (aor, bindings) = entry?;
        saved.bindings.push((aor.value().into(), bindings.value().into()));
    }
    Ok(())
}

/// Renames a file to a name that is free.
fn move_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let free = (1..).map(|n| PathBuf::from(format!("{}.damaged-{n}", path.display()))).find(|p| !p.exists());
    // There is always a number that nobody has used.
    let aside = free.unwrap_or_else(|| path.with_extension("damaged"));
    std::fs::rename(path, &aside).map_err(|source| unusable(path, source))?;
    Ok(aside)
}

fn unusable(path: &Path, source: std::io::Error) -> StoreError {
    StoreError::Unusable { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(saved: &Saved) -> Vec<u128> {
        saved.leases.iter().map(|(key, _)| *key).collect()
    }

    #[test]
    fn leases_and_operators_words_are_there_again() {
        let folder = tempfile::tempdir().unwrap();
        let opened = Embedded::open(folder.path()).unwrap();
        assert!(opened.saved.leases.is_empty() && opened.moved_aside.is_empty());
        for key in 0..100u128 {
            opened.store.lease(key, Some(&SavedLease::of_tests(b"call")));
        }
        (0..98).for_each(|key| opened.store.lease(key, None));
        let word = SavedAdmin { state: "draining".to_owned(), since: 5 };
        opened.store.admin("ast-1", Some(&word)).unwrap();
        opened.store.admin("ast-2", Some(&word)).unwrap();
        opened.store.admin("ast-2", None).unwrap();
        drop(opened);
        let saved = Embedded::open(folder.path()).unwrap().saved;
        assert_eq!(keys(&saved), [98, 99]);
        assert_eq!(SavedLease::read(&saved.leases[0].1), Some(SavedLease::of_tests(b"call")));
        assert_eq!(saved.admin, [("ast-1".to_owned(), word)]);
    }

    #[test]
    fn what_the_writer_had_not_committed_is_read_from_the_journal() {
        let folder = tempfile::tempdir().unwrap();
        let copy = tempfile::tempdir().unwrap();
        let opened = Embedded::open(folder.path()).unwrap();
        opened.store.lease(1, Some(&SavedLease::of_tests(b"one")));
        opened.store.flush().unwrap();
        let _reading = opened.store.shared.reading.lock();
        opened.store.lease(2, Some(&SavedLease::of_tests(b"two")));
        opened.store.lease(1, None);
        for name in [DATABASE, JOURNAL] {
            std::fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
        }
        drop(_reading);
        assert_eq!(keys(&Embedded::open(copy.path()).unwrap().saved), [2]);
    }

    #[test]
    fn a_damaged_file_is_moved_aside_and_the_store_opens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(DATABASE);
        let opened = Embedded::open(folder.path()).unwrap();
        opened.store.lease(1, Some(&SavedLease::of_tests(b"one")));
        drop(opened);
        let mut bytes = std::fs::read(&path).unwrap();
        let length = bytes.len();
        bytes[..length / 2].fill(0x5a);
        std::fs::write(&path, &bytes).unwrap();
        for garbage in [bytes, b"not a database at all".to_vec()] {
            std::fs::write(&path, garbage).unwrap();
            let opened = Embedded::open(folder.path()).unwrap();
            assert!(opened.saved.leases.is_empty());
            assert!(opened.moved_aside.iter().any(|p| p.exists()), "{:?}", opened.moved_aside);
        }
    }

    fn bindings(list: &[(&str, &str)]) -> BindingBatch {
        let mut batch = BindingBatch::default();
        for (aor, kept) in list {
            batch.push(aor.as_bytes(), |out| out.extend_from_slice(kept.as_bytes()));
        }
        batch
    }

    fn kept(saved: &Saved) -> Vec<(&str, &str)> {
        let text = |octets| std::str::from_utf8(octets).unwrap();
        saved.bindings.iter().map(|(aor, kept)| (text(aor), text(kept))).collect()
    }

    #[test]
    fn registrations_are_there_again_whether_the_database_has_them_or_a_log() {
        let folder = tempfile::tempdir().unwrap();
        let copy = tempfile::tempdir().unwrap();
        let Opened { store, .. } = Embedded::open(folder.path()).unwrap();
        store.bindings(&bindings(&[("1", "a"), ("2", "a"), ("3", "a")])).unwrap();
        store.shared.turn(&mut store.shared.log.lock()).unwrap();
        store.shared.carry().unwrap();
        store.bindings(&bindings(&[("1", "b"), ("2", "b"), ("4", "b")])).unwrap();
        // The one log is full and the other one is written: the younger one is right about whoever is in both.
        let _writer = store.shared.reading.lock();
        store.shared.turn(&mut store.shared.log.lock()).unwrap();
        let full = store.shared.full_log.lock();
        store.bindings(&bindings(&[("2", ""), ("1", "c")])).unwrap();
        for name in [DATABASE, JOURNAL, LOGS[0], LOGS[1]] {
            std::fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
        }
        drop(full);
        for _ in 0..2 {
            let opened = Embedded::open(copy.path()).unwrap();
            assert_eq!(kept(&opened.saved), [("1", "c"), ("3", "a"), ("4", "b")]);
        }
    }

    #[test]
    fn a_log_that_is_none_is_moved_aside_and_what_the_other_one_has_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let opened = Embedded::open(folder.path()).unwrap();
        opened.store.bindings(&bindings(&[("1", "a")])).unwrap();
        drop(opened);
        std::fs::write(folder.path().join(LOGS[1]), b"something else").unwrap();
        let opened = Embedded::open(folder.path()).unwrap();
        assert_eq!((kept(&opened.saved).len(), opened.moved_aside.len()), (1, 1));
    }

    #[test]
    fn a_second_process_is_told_that_the_store_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let _first = Embedded::open(folder.path()).unwrap();
        assert!(matches!(Embedded::open(folder.path()), Err(StoreError::InUse(_))));
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, b"x").unwrap();
        let Err(error) = Embedded::open(&file.join("state")) else { panic!("opened") };
        assert!(error.to_string().contains("state"), "{error}");
    }
}
