//! A ring of records in a memory-mapped file: what was written is there after `kill -9`, and writing waits for nothing.
//!
//! Many threads append, one reads. A record counts once its first word carries its own position, which is written
//! last; a process that dies half-way leaves a record that is not there. The kernel writes the pages to disk in its own
//! time, so the death of the machine may cost the last moments, which the reader's commits bound.

#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::MmapRaw;

/// Octets of the ring: a minute of the busiest farm, in case the reader stalls.
pub const CAPACITY: u64 = 16 << 20;

const PAGE: u64 = 4_096;
const MAGIC: u64 = u64::from_le_bytes(*b"cbjrnl01");

/// Words of the first page.
const MAGIC_AT: usize = 0;
const EPOCH_AT: usize = 1;
const TAIL_AT: usize = 2;

/// The part of the ring, one in so many, that is filled before an empty ring begins again at its front.
const FILLED_PART: u64 = 16;

/// A record's head: its mark, then length and checksum.
const HEAD: u64 = 16;

/// A journal that is open.
#[derive(Debug)]
pub struct Journal {
    map: MmapRaw,
    capacity: u64,
    /// Where the next record goes.
    head: AtomicU64,
    /// Marks of other runs do not count.
    epoch: u64,
}

/// There is no room: the reader does not keep up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalFull;

impl Journal {
    /// Opens a journal, making it where there is none, and hands out the records that the last run left unread.
    pub fn open(path: &Path, each: impl FnMut(&[u8])) -> io::Result<Self> {
        Self::open_sized(path, CAPACITY, each)
    }

    fn open_sized(path: &Path, capacity: u64, mut each: impl FnMut(&[u8])) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        if !is_whole(&mut file, capacity)? {
            make(&mut file, capacity)?;
        }
        let map = MmapRaw::map_raw(&file)?;
        let mut journal = Journal { map, capacity, head: AtomicU64::new(0), epoch: 0 };
        journal.epoch = journal.word(EPOCH_AT).load(Ordering::Relaxed);
        journal.read(&mut each);
        journal.read_at_front(each);
        // What this run writes cannot be mistaken for what an earlier one left behind.
        journal.epoch = journal.epoch.wrapping_add(1);
        journal.word(EPOCH_AT).store(journal.epoch, Ordering::Relaxed);
        let tail = journal.word(TAIL_AT).load(Ordering::Relaxed);
        journal.head.store(tail, Ordering::Relaxed);
        Ok(journal)
    }

    /// Appends a record.
    pub fn append(&self, record: &[u8]) -> Result<(), JournalFull> {
        let need = HEAD + (record.len() as u64).next_multiple_of(8);
        let at = self.reserve(need)?;
        // SAFETY: `reserve` gave the octets at..at+need of the ring to this call alone, in one piece, and the reader does
        // not look at them before their mark is stored below.
        unsafe {
            let place = self.at(at);
            place.add(8).cast::<u32>().write(record.len() as u32);
            place.add(12).cast::<u32>().write(checksum(record));
            std::ptr::copy_nonoverlapping(record.as_ptr(), place.add(HEAD as usize), record.len());
        }
        self.mark_at(at).store(self.mark(at), Ordering::Release);
        Ok(())
    }

    /// Hands every record that is there to `each`, in order, and frees its room. To be called by one thread at a time.
    pub fn read(&self, mut each: impl FnMut(&[u8])) {
        let mut tail = self.word(TAIL_AT).load(Ordering::Relaxed);
        while let Some((length, next)) = self.record_at(tail) {
            if let Some(length) = length {
                // SAFETY: the mark says that the record is whole, and its octets are not written again before the
                // tail has passed them, which this thread alone moves.
                let record = unsafe { std::slice::from_raw_parts(self.at(tail).add(HEAD as usize), length) };
                each(record);
            }
            tail = next;
            self.word(TAIL_AT).store(tail, Ordering::Release);
        }
        self.begin_again(tail);
    }

    /// Goes back to the front of a ring that is empty: what is written between two readings stays in the same few pages, and only these
    /// take memory. What is behind the tail already is room for those who append before they see the tail move.
    fn begin_again(&self, tail: u64) {
        if tail % self.capacity < self.capacity / FILLED_PART {
            return;
        }
        let front = tail.next_multiple_of(self.capacity);
        if self.head.compare_exchange(tail, front, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.word(TAIL_AT).store(front, Ordering::Release);
        }
    }

    /// Reads what the last run wrote at the front of the ring, when it ended just as it went back there and had not noted it yet.
    fn read_at_front(&self, each: impl FnMut(&[u8])) {
        let front = self.word(TAIL_AT).load(Ordering::Relaxed).next_multiple_of(self.capacity);
        if self.record_at(front).is_some() {
            self.word(TAIL_AT).store(front, Ordering::Relaxed);
            self.read(each);
        }
    }

    /// Gives `need` octets in one piece to the caller; what is left before the end of the ring is passed over.
    fn reserve(&self, need: u64) -> Result<u64, JournalFull> {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            let left = self.capacity - head % self.capacity;
            let skip = if left < need { left } else { 0 };
            let tail = self.word(TAIL_AT).load(Ordering::Acquire);
            if head + skip + need - tail > self.capacity {
                return Err(JournalFull);
            }
            match self.head.compare_exchange_weak(head, head + skip + need, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    if skip > 0 {
                        self.fill(head);
                    }
                    return Ok(head + skip);
                }
                Err(other) => head = other,
            }
        }
    }

    /// Marks the rest of the ring as passed over.
    fn fill(&self, at: u64) {
        // SAFETY: these octets were reserved for the caller alone; every reservation is a multiple of 8 and at least a
        // mark fits. The length word is only written where it fits.
        if self.capacity - at % self.capacity >= HEAD {
            unsafe { self.at(at).add(8).cast::<u32>().write(FILLER) };
        }
        self.mark_at(at).store(self.mark(at), Ordering::Release);
    }

    /// The record at a position: its length (none for a filler) and where the next one is.
    fn record_at(&self, at: u64) -> Option<(Option<usize>, u64)> {
        if self.mark_at(at).load(Ordering::Acquire) != self.mark(at) {
            return None;
        }
        let left = self.capacity - at % self.capacity;
        if left < HEAD {
            return Some((None, at + left));
        }
        // SAFETY: the mark says that the head was written before it.
        let (length, said) =
            unsafe { (self.at(at).add(8).cast::<u32>().read(), self.at(at).add(12).cast::<u32>().read()) };
        if length == FILLER {
            return Some((None, at + left));
        }
        let whole = HEAD + u64::from(length).next_multiple_of(8);
        if whole > left {
            return None;
        }
        // SAFETY: as in `read`; the length was checked against the end of the ring.
        let record = unsafe { std::slice::from_raw_parts(self.at(at).add(HEAD as usize), length as usize) };
        (checksum(record) == said).then_some((Some(length as usize), at + whole))
    }

    /// The mark of a whole record, made of its position and the epoch of the run. Never zero.
    fn mark(&self, at: u64) -> u64 {
        let mixed = (at ^ self.epoch.rotate_right(16)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ (mixed >> 29)) | 1
    }

    fn at(&self, position: u64) -> *mut u8 {
        let offset = PAGE + position % self.capacity;
        // SAFETY: the map has a page and `capacity` octets behind it.
        unsafe { self.map.as_mut_ptr().add(offset as usize) }
    }

    fn mark_at(&self, position: u64) -> &AtomicU64 {
        debug_assert!(position.is_multiple_of(8));
        // SAFETY: positions are multiples of 8, the map is page-aligned, and the word lies inside it.
        unsafe { AtomicU64::from_ptr(self.at(position).cast()) }
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        // SAFETY: the first page is part of the map, page-aligned, and only used through these words.
        unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().cast::<u64>().add(index)) }
    }
}

/// Length that stands for a filler.
const FILLER: u32 = u32::MAX;

/// True when a file is there that was a journal, or is none at all. One that was not finished is not damaged: its magic
/// is written last.
pub fn is_damaged(path: &Path) -> io::Result<bool> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut magic = [0; 8];
    let is_unfinished = file.read_exact(&mut magic).is_err() || magic == [0; 8];
    Ok(!is_unfinished && !is_whole(&mut file, CAPACITY)?)
}

fn is_whole(file: &mut File, capacity: u64) -> io::Result<bool> {
    if file.metadata()?.len() != PAGE + capacity {
        return Ok(false);
    }
    let mut words = [[0; 8]; 3];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(words.as_flattened_mut())?;
    let words = words.map(u64::from_le_bytes);
    // A tail that no record can begin at would be read at an address that no word can have.
    Ok(words[MAGIC_AT] == MAGIC && words[TAIL_AT].is_multiple_of(8) && words[TAIL_AT] < u64::MAX / 2)
}

/// Writes the file out in full, so that its blocks are there: a disk that fills up later does no harm.
fn make(file: &mut File, capacity: u64) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    let zeros = vec![0u8; 1 << 16];
    let mut left = PAGE + capacity;
    while left > 0 {
        let part = left.min(zeros.len() as u64);
        file.write_all(&zeros[..part as usize])?;
        left -= part;
    }
    file.seek(SeekFrom::Start(MAGIC_AT as u64))?;
    file.write_all(&MAGIC.to_le_bytes())?;
    file.sync_all()
}

/// FNV-1a: enough to tell a torn record from a whole one.
fn checksum(record: &[u8]) -> u32 {
    record.iter().fold(0x811c_9dc5, |hash, octet| (hash ^ u32::from(*octet)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small(path: &Path, each: impl FnMut(&[u8])) -> Journal {
        Journal::open_sized(path, 1_024, each).unwrap()
    }

    fn drain(journal: &Journal) -> Vec<Vec<u8>> {
        let mut seen = Vec::new();
        journal.read(|record| seen.push(record.to_vec()));
        seen
    }

    #[test]
    fn records_come_out_once_in_order_over_many_turns_of_the_ring() {
        let folder = tempfile::tempdir().unwrap();
        let journal = small(&folder.path().join("j"), |_| panic!("new"));
        for turn in 0..500u32 {
            let records: Vec<Vec<u8>> = (0..turn % 7).map(|n| vec![turn as u8; (n * 13 % 90) as usize]).collect();
            for record in &records {
                journal.append(record).unwrap();
            }
            assert_eq!(drain(&journal), records, "turn {turn}");
        }
    }

    #[test]
    fn a_ring_that_is_read_in_time_uses_its_front_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let journal = small(&path, |_| panic!("new"));
        for turn in 0..100u8 {
            let records = vec![vec![turn + 1; 20]; usize::from(turn % 5)];
            records.iter().for_each(|record| journal.append(record).unwrap());
            assert_eq!(drain(&journal), records, "turn {turn}");
        }
        let octets = std::fs::read(&path).unwrap();
        let used = octets.iter().rposition(|octet| *octet != 0).unwrap() as u64 - PAGE;
        assert!(used < 1_024 / FILLED_PART + 4 * (HEAD + 24), "{used}");
    }

    #[test]
    fn what_is_written_at_the_front_before_that_is_noted_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let journal = small(&path, |_| panic!("new"));
        journal.append(&[1; 90]).unwrap();
        let behind_it = HEAD + 96;
        assert_eq!(drain(&journal), [vec![1; 90]]);
        assert_eq!(journal.word(TAIL_AT).load(Ordering::Relaxed), 1_024, "it began again");
        journal.append(&[2; 30]).unwrap();
        journal.append(&[3; 30]).unwrap();
        journal.word(TAIL_AT).store(behind_it, Ordering::Relaxed);
        drop(journal);
        let mut left = Vec::new();
        let journal = small(&path, |record| left.push(record.to_vec()));
        assert_eq!(left, [vec![2; 30], vec![3; 30]]);
        journal.append(&[4; 30]).unwrap();
        assert_eq!(drain(&journal), [vec![4; 30]]);
    }

    #[test]
    fn a_ring_that_began_again_is_filled_over_its_end_and_read_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let mut expected = Vec::new();
        for run in 1..20u8 {
            let mut left = Vec::new();
            let journal = small(&path, |record| left.push(record.to_vec()));
            assert_eq!(left, expected, "run {run}");
            for length in [200, usize::from(run)] {
                journal.append(&vec![run; length]).unwrap();
                assert_eq!(drain(&journal), [vec![run; length]]);
            }
            let fits = (0..100).take_while(|_| journal.append(&[run; 90]).is_ok()).count();
            assert!((7..10).contains(&fits), "{fits}");
            expected = vec![vec![run; 90]; fits];
        }
    }

    #[test]
    fn what_was_not_read_is_there_after_a_restart_and_only_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        for run in 0..20u8 {
            let mut left = Vec::new();
            let journal = small(&path, |record| left.push(record.to_vec()));
            let expected: Vec<Vec<u8>> = if run == 0 { vec![] } else { vec![vec![run - 1; 100], vec![run - 1; 3]] };
            assert_eq!(left, expected);
            journal.append(&[run; 50]).unwrap();
            assert_eq!(drain(&journal), [vec![run; 50]]);
            journal.append(&[run; 100]).unwrap();
            journal.append(&[run; 3]).unwrap();
        }
    }

    #[test]
    fn a_full_ring_says_so_and_goes_on_when_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let journal = small(&folder.path().join("j"), |_| ());
        let written = (0..100).take_while(|_| journal.append(&[1; 40]).is_ok()).count();
        assert!((10..20).contains(&written), "{written}");
        assert_eq!(drain(&journal).len(), written);
        journal.append(&[2; 40]).unwrap();
        assert_eq!(drain(&journal), [vec![2; 40]]);
    }

    #[test]
    fn a_damaged_record_ends_the_reading_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let journal = small(&path, |_| ());
        journal.append(b"first").unwrap();
        journal.append(b"second").unwrap();
        drop(journal);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.windows(6).position(|w| w == b"second").unwrap();
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let mut left = Vec::new();
        let journal = small(&path, |record| left.push(record.to_vec()));
        assert_eq!(left, [b"first".to_vec()]);
        journal.append(b"third").unwrap();
        assert_eq!(drain(&journal), [b"third".to_vec()]);
    }

    #[test]
    fn a_first_page_that_makes_no_sense_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        assert!(!is_damaged(&path).unwrap());
        drop(Journal::open(&path, |_| ()).unwrap());
        assert!(!is_damaged(&path).unwrap());
        let good = std::fs::read(&path).unwrap();
        for at in [MAGIC_AT * 8, TAIL_AT * 8] {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            assert!(is_damaged(&path).unwrap(), "{at}");
            Journal::open(&path, |_| ()).unwrap().append(b"goes on").unwrap();
        }
        std::fs::write(&path, &good[..1_000]).unwrap();
        assert!(is_damaged(&path).unwrap());
        std::fs::write(&path, vec![0; 1_000]).unwrap();
        assert!(!is_damaged(&path).unwrap(), "it was not finished");
    }

    #[test]
    fn many_threads_append_without_loss() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("j"), |_| ()).unwrap();
        let mut seen = 0;
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..4u8)
                .map(|writer| {
                    let journal = &journal;
                    scope.spawn(move || (0..5_000).for_each(|_| journal.append(&[writer; 77]).unwrap()))
                })
                .collect();
            while !writers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                journal.read(|record| seen += usize::from(record.len() == 77));
            }
        });
        journal.read(|_| seen += 1);
        assert_eq!(seen, 20_000);
    }
}
