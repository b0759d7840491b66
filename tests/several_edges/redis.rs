//! The store that the edges share: what `src/store/redis.rs` asks of Redis, without a connection, by the same scripts.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use cordboard::cluster::asking::{Answer, Question};
use cordboard::config::checked::AGENTS;
use cordboard::store::redis::{Beaten, LogHeld, Snapshot, Stored, Told};
use mlua::Value;

use crate::table::{Hash, Scripts, Table, octets_of, place};

/// Redis, and who reaches it.
pub struct Redis {
    table: Rc<RefCell<Table>>,
    scripts: Scripts,
    /// It runs.
    pub is_up: bool,
    /// It is stopped: whatever it is told waits until it goes on.
    pub is_hung: bool,
    /// Edges that do not reach it.
    pub cut: BTreeSet<u8>,
    /// Rises whenever connections break.
    pub connections: u32,
    /// What waits while it hangs.
    pub late: Vec<(u8, Late)>,
    /// What it wrote to disk last.
    saved: Table,
    log_len: usize,
    /// Entries that are read at one time.
    pub page: usize,
}

/// Something that was said to it while it hung.
pub enum Late {
    Question(Question),
    Told(Vec<Told>),
}

/// What happens to somebody who says something to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    Answers,
    Hangs,
    Nothing,
}

impl Redis {
    pub fn new(log_len: usize) -> Self {
        let table = Rc::new(RefCell::new(Table::default()));
        let scripts = Scripts::new(&table).expect("the scripts are Lua");
        let (cut, late) = (BTreeSet::new(), Vec::new());
        Redis {
            table,
            scripts,
            is_up: true,
            is_hung: false,
            cut,
            connections: 0,
            late,
            saved: Table::default(),
            log_len,
            page: (log_len / 4).min(1_000),
        }
    }

    pub fn reach(&self, edge: u8) -> Reach {
        match (self.is_up && !self.cut.contains(&edge), self.is_hung) {
            (true, false) => Reach::Answers,
            (true, true) => Reach::Hangs,
            (false, _) => Reach::Nothing,
        }
    }

    /// FLUSHALL.
    pub fn flush(&self) {
        self.table.borrow_mut().flush();
    }

    /// Writes what it holds to disk.
    pub fn save(&mut self) {
        self.saved = self.table.borrow().clone();
    }

    /// Starts again: empty, or with what it wrote to disk last.
    pub fn start_again(&self, is_empty: bool) {
        let held = if is_empty { Table::default() } else { self.saved.clone() };
        self.table.borrow_mut().start_again(held);
    }

    /// The answer to a question; `shuffle` puts the nodes in an order by chance, as the shell does.
    pub fn answer(&self, edge: &str, question: &Question) -> Answer {
        match question {
            Question::Seat { key, nodes } => {
                let mut args = vec![call_text(key.0), edge.into()];
                for one in nodes {
                    args.push(one.node.clone().into_bytes());
                    args.extend([one.weight, one.calls_max, one.tier].map(|number| number.to_string().into_bytes()));
                }
                match self.scripts.run(&self.scripts.seat, &["seats", "totals"], &args) {
                    Value::String(seat) => {
                        let seat = seat.to_string_lossy();
                        Answer::Node(seat.split_once('\t').expect("edge and node").1.to_owned())
                    }
                    _ => Answer::Full,
                }
            }
            Question::Gate { user, key, must_be_free, token } => {
                let token = token.map_or_else(Vec::new, |token| format!("{token:016x}").into_bytes());
                let free = if *must_be_free { "1" } else { "0" };
                let args = [user.clone(), call_text(key.0), edge.into(), AGENTS.into(), free.into(), token];
                let value = self.scripts.run(&self.scripts.gate, &["gates", "seats", "totals"], &args);
                Answer::Gate(octets_of(&value) == b"1")
            }
        }
    }

    pub fn tell(&self, edge: &str, batch: &[Told]) {
        let mut args: Vec<Vec<u8>> = vec![edge.into(), self.log_len.to_string().into_bytes()];
        for told in batch {
            let (call, node) = match &told.call {
                Some((call, node)) => (call_text(*call), node.clone().into_bytes()),
                None => (Vec::new(), Vec::new()),
            };
            let over = if told.is_over { "1" } else { "0" };
            args.extend([told.name.clone(), told.octets.clone(), over.into(), call, node]);
        }
        self.scripts.run(&self.scripts.tell, &["log", "state", "seats", "totals"], &args);
    }

    pub fn beat(&self, edge: &str, heartbeat: &[u8], new_epoch: &str) -> Beaten {
        let keys = ["edges", "epoch", "log", "state", "seats", "totals", "gates"];
        let args = [edge.into(), heartbeat.to_vec(), new_epoch.into(), b"604800".to_vec()];
        let Value::Table(answer) = self.scripts.run(&self.scripts.beat, &keys, &args) else { panic!("a table") };
        let epoch = octets_of(&answer.get(1).expect("an epoch"));
        let Value::Table(list) = answer.get(2).expect("a list") else { panic!("a list of heartbeats") };
        let list: Vec<Vec<u8>> = list.sequence_values().map(|value| octets_of(&value.expect("text"))).collect();
        let edges = list.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        Beaten { epoch: String::from_utf8_lossy(&epoch).into_owned(), edges, damaged: Vec::new() }
    }

    pub fn forget(&self, edge: &str) {
        self.table.borrow_mut().delete("edges", edge);
    }

    /// One of its hashes.
    pub fn hash(&self, key: &str) -> Hash {
        self.table.borrow().hash(key)
    }

    /// Calls that have a place.
    pub fn places(&self) -> Vec<u128> {
        let read = |call: &Vec<u8>| u128::from_str_radix(std::str::from_utf8(call).ok()?, 16).ok();
        self.hash("seats").keys().filter_map(read).collect()
    }

    /// The last entry about each thing, and where to go on in the log.
    pub fn snapshot(&self) -> Snapshot {
        let after = self.last().map_or_else(|| "0".to_owned(), place);
        let entries = self.hash("state").into_iter().map(|(name, octets)| stored(&name, octets)).collect();
        Snapshot { after, entries, epoch: self.epoch() }
    }

    fn epoch(&self) -> Option<String> {
        Some(String::from_utf8_lossy(self.table.borrow().text("epoch")?).into_owned())
    }

    fn last(&self) -> Option<u64> {
        Some(self.table.borrow().log.last()?.0)
    }

    /// What the log holds.
    pub fn log_held(&self) -> LogHeld {
        let (first, len) = (self.table.borrow().log.first().map(|(number, _)| *number), self.table.borrow().log.len());
        let ends = first.zip(self.last()).map(|(first, last)| (place(first), place(last)));
        LogHeld { ends, is_full: len >= self.log_len, epoch: self.epoch() }
    }

    /// The entries behind a place in the log, at most a page, and the place of the last one.
    pub fn read(&self, after: &str) -> (String, Vec<Stored>) {
        let number: u64 = after.split('-').next().and_then(|number| number.parse().ok()).expect("a place");
        let page: Vec<Stored> = self.behind(number).into_iter().take(self.page).collect();
        (page.last().map_or_else(|| after.to_owned(), |stored| stored.at.clone()), page)
    }

    /// All entries that the log still holds.
    pub fn whole_log(&self) -> Vec<Stored> {
        self.behind(0)
    }

    fn behind(&self, number: u64) -> Vec<Stored> {
        let table = self.table.borrow();
        let from = table.log.partition_point(|(other, _)| *other <= number);
        table.log[from..].iter().map(|(number, octets)| stored(place(*number).as_bytes(), octets.clone())).collect()
    }
}

fn stored(at: &[u8], octets: Vec<u8>) -> Stored {
    Stored { at: String::from_utf8_lossy(at).into_owned(), octets }
}

fn call_text(call: u128) -> Vec<u8> {
    format!("{call:032x}").into_bytes()
}
