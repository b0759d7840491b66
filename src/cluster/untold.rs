//! What this edge has to tell the others and has not told yet, in order.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::calls::CallKey;
use crate::store::SavedLease;
use crate::store::redis::Told;

use super::Entry;
use super::entry::Reached;

/// Entries that may wait for the shared store. Beyond it all of them are thrown away, and everything is told anew later.
const WAITING_MAX: usize = 65_536;
/// Calls that are over of which that is remembered.
const OVER_MAX: usize = 65_536;
/// Entries of one batch.
const BATCH_MAX: usize = 256;

/// Entries on their way to the log.
#[derive(Debug)]
pub struct Untold {
    waiting: VecDeque<Told>,
    owes_all: bool,
    /// The epoch of the store that the last heartbeat brought.
    epoch: Option<String>,
    /// This edge has heard what the others know, and may speak: what it kept on disk may have ended since.
    has_listened: bool,
    /// The last word about each call that has not come back in the log: whatever comes from there before was said before.
    unheard: HashMap<CallKey, Unheard>,
    /// Calls of which this edge's last word was that they are over, and the order in which that was said.
    over: HashSet<CallKey>,
    over_in_order: VecDeque<CallKey>,
}

/// A word about a call that has not come back in the log.
#[derive(Clone, Copy, Debug)]
struct Unheard {
    hash: u64,
    is_over: bool,
    /// How far the call was, as far as that has not come back either.
    was_here: Option<Reached>,
}

impl Default for Untold {
    fn default() -> Self {
        // Nobody has heard anything of an edge that starts.
        Untold {
            waiting: VecDeque::new(),
            owes_all: true,
            epoch: None,
            has_listened: false,
            unheard: HashMap::new(),
            over: HashSet::new(),
            over_in_order: VecDeque::new(),
        }
    }
}

impl Untold {
    /// Adds how far a call is that the edge of this name has.
    pub fn put_call(&mut self, edge: &str, key: CallKey, lease: Option<&SavedLease<'_>>) {
        let node = lease.map_or("", |lease| lease.node).to_owned();
        let was_here = lease.map(Reached::of).or_else(|| self.unheard.get(&key).and_then(|unheard| unheard.was_here));
        let entry = match lease {
            Some(lease) => Entry::Call { key: key.0, lease: Box::new(lease.clone()) },
            None => Entry::Over { key: key.0, was_here },
        };
        let hash = self.push(edge, &entry, Some((key.0, node)));
        self.unheard.insert(key, Unheard { hash, is_over: lease.is_none(), was_here });
    }

    /// Adds something that is not about a call.
    pub fn put(&mut self, edge: &str, entry: &Entry<'_>) {
        self.push(edge, entry, None);
    }

    /// Returns the hash of what is told.
    fn push(&mut self, edge: &str, entry: &Entry<'_>, call: Option<(u128, String)>) -> u64 {
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.clear();
            self.unheard.clear();
            self.owes_all = true;
        }
        let told = Told { name: entry.name(edge), octets: entry.write(edge), is_over: entry.is_over(), call };
        let hash = hash(&told.octets);
        self.note_over(&told);
        self.waiting.push_back(told);
        hash
    }

    fn note_over(&mut self, told: &Told) {
        let Some((key, _)) = &told.call else { return };
        if !told.is_over {
            self.over.remove(&CallKey(*key));
        } else if self.over.insert(CallKey(*key)) {
            self.over_in_order.push_back(CallKey(*key));
        }
        if self.over_in_order.len() > OVER_MAX
            && let Some(oldest) = self.over_in_order.pop_front()
        {
            self.over.remove(&oldest);
        }
    }

    /// Whether the others have heard all that this edge has to say of a call.
    pub fn is_told(&self, key: CallKey) -> bool {
        !self.owes_all && !self.is_unheard(key)
    }

    /// Whether this edge's last word about a call was that it is over, not long ago.
    pub fn is_said_over(&self, key: CallKey) -> bool {
        self.over.contains(&key)
    }

    /// The epoch of the store that the last heartbeat brought; none before the first one.
    pub fn epoch(&self) -> Option<&str> {
        self.epoch.as_deref()
    }

    /// Notes the epoch that a heartbeat brought. True when it is another one than before: the store was found empty, and everything that is
    /// known has to be told, after what the others tell was heard.
    pub fn heed_epoch(&mut self, epoch: &str) -> bool {
        if self.epoch.as_deref() == Some(epoch) {
            return false;
        }
        let was_emptied = self.epoch.replace(epoch.to_owned()).is_some();
        if was_emptied {
            (self.owes_all, self.has_listened) = (true, false);
        }
        was_emptied
    }

    /// From now on what waits is told: this edge has heard what the others know, as of an epoch that is not over.
    pub fn has_listened(&mut self, epoch: Option<&str>) {
        self.has_listened |= self.epoch() == epoch;
    }

    /// Notes that everything that is known has to be told: the store was found empty, or entries were lost.
    pub fn owe_all(&mut self) {
        self.owes_all = true;
    }

    /// Whether everything has to be told; whoever asks does it. What waits is part of it, but for what is over and what somebody said, which
    /// may not be told again.
    pub fn take_debt(&mut self) -> bool {
        if !self.has_listened {
            return false;
        }
        if self.owes_all {
            self.waiting
                .retain(|told| (told.is_over && !Entry::is_of_everything(&told.name)) || Entry::is_word(&told.name));
            self.forget_earlier();
            // A log that was lost brings no end back. That a call is here is told again.
            let waiting: HashSet<u128> = self.waiting.iter().filter_map(|told| Some(told.call.as_ref()?.0)).collect();
            self.unheard.retain(|key, unheard| !unheard.is_over || waiting.contains(&key.0));
        }
        std::mem::take(&mut self.owes_all)
    }

    /// Of several entries about one thing the last is enough.
    fn forget_earlier(&mut self) {
        let mut seen = HashSet::new();
        let mut last: VecDeque<Told> = VecDeque::new();
        for told in std::mem::take(&mut self.waiting).into_iter().rev() {
            if seen.insert(told.name.clone()) {
                last.push_front(told);
            }
        }
        self.waiting = last;
    }

    /// Notes that a word about a call came back in its place in the log. The same word may come back twice, and earlier ones after it, when the store
    /// took what it could not confirm.
    pub fn heard(&mut self, key: CallKey, octets: &[u8]) {
        if self.unheard.get(&key).is_some_and(|unheard| unheard.hash == hash(octets)) {
            self.unheard.remove(&key);
        }
    }

    /// Whether this edge has said something of a call that has not come back: it is later than all that was heard.
    pub fn is_unheard(&self, key: CallKey) -> bool {
        self.unheard.contains_key(&key)
    }

    /// The next entries to tell. Of several about one call the last is enough.
    pub fn take(&mut self) -> Vec<Told> {
        let most = if self.has_listened { self.waiting.len().min(BATCH_MAX) } else { 0 };
        let (mut batch, mut seen) = (self.waiting.drain(..most).collect::<Vec<Told>>(), HashSet::new());
        batch.reverse();
        batch.retain(|told| told.call.as_ref().is_none_or(|(key, _)| seen.insert(*key)));
        batch.reverse();
        batch
    }

    /// Entries that could not be told, in front of what came meanwhile.
    pub fn put_back(&mut self, batch: Vec<Told>) {
        batch.into_iter().rev().for_each(|told| self.waiting.push_front(told));
    }

    /// True when there is nothing to tell, or not yet.
    pub fn is_empty(&self) -> bool {
        !self.has_listened || (self.waiting.is_empty() && !self.owes_all)
    }
}

fn hash(octets: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    octets.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registrar::register::TakenBack;

    fn names(batch: &[Told]) -> Vec<String> {
        batch.iter().map(|told| String::from_utf8_lossy(&told.name).into_owned()).collect()
    }

    fn listening() -> Untold {
        Untold { has_listened: true, ..Untold::default() }
    }

    #[test]
    fn an_edge_listens_before_it_speaks() {
        let mut untold = Untold::default();
        word(&mut untold, "1");
        assert!(untold.is_empty() && !untold.take_debt() && untold.take().is_empty());
        untold.has_listened(None);
        assert!(!untold.is_empty() && untold.take_debt());
        assert_eq!(names(&untold.take()), ["n:1"]);
    }

    #[test]
    fn an_edge_listens_again_when_the_store_was_emptied() {
        let mut untold = Untold::default();
        assert!(!untold.heed_epoch("a") && !untold.heed_epoch("a"));
        untold.has_listened(Some("a"));
        assert!(untold.take_debt() && untold.is_empty());
        assert!(untold.heed_epoch("b"));
        untold.has_listened(Some("a"));
        assert!(untold.is_empty() && !untold.take_debt(), "what it heard was told in an epoch that is over");
        untold.has_listened(Some("b"));
        assert!(untold.take_debt());
    }

    fn word(untold: &mut Untold, user: &str) {
        untold.put("edge-1", &Entry::NotReady { user: user.as_bytes(), since: 1, reason: None });
    }

    #[test]
    fn what_could_not_be_told_stays_in_its_place() {
        let mut untold = listening();
        assert!(untold.take_debt() && !untold.take_debt() && untold.is_empty());
        ["1", "2"].iter().for_each(|user| word(&mut untold, user));
        let batch = untold.take();
        word(&mut untold, "3");
        untold.put_back(batch);
        assert_eq!(names(&untold.take()), ["n:1", "n:2", "n:3"]);
    }

    #[test]
    fn of_what_gathered_about_one_call_the_last_word_is_told_and_with_its_end_that_it_was_here() {
        let mut untold = listening();
        let lease = SavedLease::of_tests(b"a-call");
        let call = |key: u128| format!("c:{key:032x}");
        untold.put_call("edge-1", CallKey(7), Some(&lease));
        untold.put_call("edge-1", CallKey(8), Some(&lease));
        untold.put_call("edge-1", CallKey(7), Some(&lease));
        word(&mut untold, "1");
        assert_eq!(names(&untold.take()), [call(8), call(7), "n:1".to_owned()]);
        untold.put_call("edge-1", CallKey(7), Some(&lease));
        untold.put_call("edge-1", CallKey(7), None);
        untold.put_call("edge-1", CallKey(7), None);
        assert_eq!(ends(&untold.take()), [(7, Some(Reached::of(&lease)))]);
    }

    /// The calls that are over among these, and how far the others have to believe that they were here.
    fn ends(batch: &[Told]) -> Vec<(u128, Option<Reached>)> {
        let end = |told: &Told| match Entry::read(&told.octets)?.1 {
            Entry::Over { key, was_here } => Some((key, was_here)),
            _ => None,
        };
        batch.iter().filter_map(end).collect()
    }

    #[test]
    fn an_end_says_that_the_call_was_here_unless_the_log_has_brought_that_back() {
        let mut untold = listening();
        untold.take_debt();
        let lease = SavedLease::of_tests(b"a-call");
        (7..=9).for_each(|key| untold.put_call("edge-1", CallKey(key), Some(&lease)));
        let told = untold.take();
        untold.heard(CallKey(7), &told[0].octets);
        untold.put_call("edge-1", CallKey(7), None);
        untold.put_call("edge-1", CallKey(8), None);
        // Of calls that were never here an end is told when places are given back.
        untold.put_call("edge-1", CallKey(1), None);
        // The store was emptied before it told anybody.
        untold.owe_all();
        assert!(untold.take_debt());
        untold.put_call("edge-1", CallKey(9), None);
        let was_here = Some(Reached::of(&lease));
        assert_eq!(ends(&untold.take()), [(7, None), (8, was_here), (1, None), (9, was_here)]);
    }

    #[test]
    fn what_is_over_is_told_when_everything_is() {
        let mut untold = listening();
        untold.put_call("edge-1", CallKey(7), None);
        let taken_back = TakenBack::Nothing;
        untold.put("edge-1", &Entry::Bindings { aor: b"1", list: Vec::new(), taken_back });
        untold.put("edge-1", &Entry::Everything { begins: false });
        (0..3).for_each(|_| word(&mut untold, "1"));
        assert!(untold.take_debt());
        assert_eq!(names(&untold.take()), [format!("c:{:032x}", 7), "b:edge-1:1".to_owned(), "n:1".to_owned()]);
    }

    #[test]
    fn a_word_is_unheard_until_it_comes_back_in_the_log() {
        let mut untold = listening();
        untold.take_debt();
        untold.put_call("edge-1", CallKey(7), None);
        untold.heard(CallKey(7), b"an earlier one");
        assert!(untold.is_unheard(CallKey(7)));
        let octets = untold.take().remove(0).octets;
        untold.heard(CallKey(7), &octets);
        assert!(!untold.is_unheard(CallKey(7)));
        let _ = untold.take_debt();
        untold.put_call("edge-1", CallKey(8), None);
        untold.take();
        untold.owe_all();
        untold.take_debt();
        assert!(!untold.is_unheard(CallKey(8)), "a log that was lost brings nothing back");
    }

    #[test]
    fn the_last_word_about_a_call_is_remembered_for_a_while() {
        let mut untold = listening();
        untold.put_call("edge-1", CallKey(0), None);
        assert!(untold.is_said_over(CallKey(0)) && !untold.is_said_over(CallKey(1)));
        (1..=OVER_MAX as u128).for_each(|key| untold.put_call("edge-1", CallKey(key), None));
        assert!(!untold.is_said_over(CallKey(0)) && untold.is_said_over(CallKey(1)));
    }

    #[test]
    fn more_than_can_wait_is_told_from_the_beginning() {
        let mut untold = listening();
        untold.take_debt();
        (0..WAITING_MAX).for_each(|_| word(&mut untold, "1"));
        assert!(!untold.owes_all);
        word(&mut untold, "2");
        assert!(untold.owes_all && untold.waiting.len() == 1);
    }
}
