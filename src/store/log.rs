//! A file that is only written at its end: what was appended is on disk when [`Log::append`] returns.
//!
//! A lot of records is one write and one sync, however they are spread over the table that they belong to in the end. A process or a machine
//! that dies half-way leaves a record whose checksum does not fit; there the reading ends.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

const MAGIC: &[u8; 8] = b"cbreglog";

/// Octets before the first record: the magic, and the log's number.
const BEGIN: usize = 16;

/// Octets that a file grows by. Where it has been written before, a sync concerns the records alone and not the file's length and
/// place too.
const STEP: u64 = 4 << 20;

/// Length and checksum of a record.
const HEAD: usize = 8;

/// A log that is open.
#[derive(Debug)]
pub struct Log {
    file: File,
    number: u64,
    /// Where the next record goes: behind the last whole one.
    end: u64,
    /// Where the file ends. What is between is zeros, which are no record.
    room: u64,
    buffer: Vec<u8>,
}

impl Log {
    /// Opens a log, making it where there is none.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut log = Log { file, number: 0, end: BEGIN as u64, room: 0, buffer: Vec::new() };
        let mut begin = [0; BEGIN];
        if log.file.read_exact(&mut begin).is_err() {
            log.begin(0)?;
            return Ok(log);
        }
        log.number = begin[MAGIC.len()..].iter().rev().fold(0, |number, octet| number << 8 | u64::from(*octet));
        log.end = log.read(|_| ())?;
        // What stands behind the last whole record would be read again behind the next one.
        log.file.set_len(log.end)?;
        log.file.sync_all()?;
        log.room = log.end;
        Ok(log)
    }

    /// Hands out the records in order; returns where they end.
    pub fn read(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<u64> {
        let (mut octets, mut end) = (Vec::new(), 0);
        self.file.seek(SeekFrom::Start(BEGIN as u64))?;
        self.file.read_to_end(&mut octets)?;
        while let Some(record) = octets.get(end..).and_then(whole) {
            each(record);
            end += HEAD + record.len();
        }
        Ok((BEGIN + end) as u64)
    }

    /// Appends records; all of them are on disk when this returns, or none counts.
    pub fn append<'a>(&mut self, records: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
        self.buffer.clear();
        for record in records {
            self.buffer.extend((record.len() as u32).to_le_bytes());
            self.buffer.extend(checksum(record).to_le_bytes());
            self.buffer.extend(record);
        }
        let written = self.write();
        if written.is_err() {
            // Half a record would hide all that come after it. If even this fails, the next lot is written over it.
            let _ = self.file.set_len(self.end);
            self.room = self.end;
        }
        written
    }

    fn write(&mut self) -> io::Result<()> {
        if self.end + self.buffer.len() as u64 > self.room {
            self.make_room()?;
        }
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(&self.buffer)?;
        self.file.sync_data()?;
        self.end += self.buffer.len() as u64;
        Ok(())
    }

    fn make_room(&mut self) -> io::Result<()> {
        let room = (self.end + self.buffer.len() as u64).next_multiple_of(STEP);
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(&vec![0; (room - self.end) as usize])?;
        self.file.sync_all()?;
        self.room = room;
        Ok(())
    }

    /// Octets of all records.
    pub fn len(&self) -> u64 {
        self.end - BEGIN as u64
    }

    /// True without a record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells logs of one table apart: the higher one is the younger.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Forgets all records, and begins anew with a number.
    pub fn begin(&mut self, number: u64) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&[&MAGIC[..], &number.to_le_bytes()].concat())?;
        self.file.sync_all()?;
        (self.number, self.end, self.room) = (number, BEGIN as u64, BEGIN as u64);
        Ok(())
    }
}

/// True when a file is there that is no log.
pub fn is_damaged(path: &Path) -> io::Result<bool> {
    let mut magic = [0; MAGIC.len()];
    match File::open(path) {
        Ok(mut file) => Ok(file.read_exact(&mut magic).is_ok() && magic != *MAGIC),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The record that these octets begin with, if it is whole.
fn whole(octets: &[u8]) -> Option<&[u8]> {
    let (length, rest) = octets.split_first_chunk::<4>()?;
    let (said, rest) = rest.split_first_chunk::<4>()?;
    let record = rest.get(..u32::from_le_bytes(*length) as usize)?;
    (!record.is_empty() && checksum(record) == u32::from_le_bytes(*said)).then_some(record)
}

/// Eight octets at a time: enough to tell a torn record from a whole one.
fn checksum(record: &[u8]) -> u32 {
    let (words, rest) = record.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let mix = |hash: u64, word: u64| {
        let mixed = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    };
    let hash = words.iter().map(|word| u64::from_le_bytes(*word)).fold(record.len() as u64, mix);
    (mix(hash, u64::from_le_bytes(last)) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> (Log, Vec<Vec<u8>>) {
        let (mut log, mut seen) = (Log::open(path).unwrap(), Vec::new());
        log.read(|record| seen.push(record.to_vec())).unwrap();
        (log, seen)
    }

    fn records(list: &[&'static str]) -> impl Iterator<Item = &'static [u8]> {
        list.iter().map(|record| record.as_bytes()).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn what_was_appended_is_there_again_in_order_until_it_is_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (mut log, seen) = read(&path);
        assert!(seen.is_empty() && log.is_empty());
        log.append(records(&["one", "a second one of more than eight octets"])).unwrap();
        log.append(records(&["three"])).unwrap();
        drop(log);
        let (mut log, seen) = read(&path);
        assert_eq!(seen, [&b"one"[..], b"a second one of more than eight octets", b"three"]);
        log.begin(7).unwrap();
        log.append(records(&["four"])).unwrap();
        let (log, seen) = read(&path);
        assert_eq!((log.number(), seen), (7, vec![b"four".to_vec()]));
    }

    #[test]
    fn a_log_that_was_cut_or_damaged_anywhere_gives_what_came_before_and_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        read(&path).0.append(records(&["first", "second", "third"])).unwrap();
        let good = std::fs::read(&path).unwrap()[..BEGIN + 3 * HEAD + 16].to_vec();
        for at in BEGIN..good.len() {
            let mut flipped = good.clone();
            flipped[at] ^= 0x10;
            for octets in [&good[..at], &flipped] {
                std::fs::write(&path, octets).unwrap();
                let (mut log, seen) = read(&path);
                let ends = [HEAD + 5, 2 * HEAD + 11, 3 * HEAD + 16].map(|end| BEGIN + end);
                assert_eq!(seen.len(), ends.iter().filter(|end| **end <= at).count(), "{at}: {seen:?}");
                log.append(records(&["next"])).unwrap();
                assert_eq!(read(&path).1.last().unwrap(), b"next", "{at}");
            }
        }
    }

    #[test]
    fn a_file_that_is_no_log_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        assert!(!is_damaged(&path).unwrap());
        std::fs::write(&path, b"cb").unwrap();
        assert!(!is_damaged(&path).unwrap(), "it was not finished");
        std::fs::write(&path, b"something else").unwrap();
        assert!(is_damaged(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        drop(read(&path));
        assert!(!is_damaged(&path).unwrap());
    }
}
