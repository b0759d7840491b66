//! The bindings of one shard, found by address of record.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use crate::moment::Moment;

use super::aor::Aor;
use super::binding::Binding;

/// Ends that may be waited for beyond two for each address of record.
const ENDS_SPARE: usize = 64;

/// Bindings by address of record, with their ends in order.
#[derive(Debug, Default)]
pub struct Table {
    held: HashMap<Aor, Box<[Binding]>>,
    /// When to look at an address of record again. An entry may be early: the binding was refreshed since.
    ends: BinaryHeap<Reverse<(Moment, Aor)>>,
    count: usize,
    bindings_max: usize,
}

impl Table {
    /// All bindings of an address of record, some of which may have run out.
    pub fn find(&self, aor: &[u8]) -> &[Binding] {
        self.held.get(aor).map_or(&[], |bindings| bindings)
    }

    /// A table for so many bindings.
    pub fn new(bindings_max: usize) -> Self {
        Table { bindings_max, ..Table::default() }
    }

    /// Says how many more bindings can be held. Tables that share one bound are told before they are acted upon.
    pub fn set_room(&mut self, more: usize) {
        self.bindings_max = self.count.saturating_add(more);
    }

    /// True while one more binding can be held.
    pub fn has_room(&self) -> bool {
        self.count < self.bindings_max
    }

    /// Bindings in all.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Puts in what a plan made.
    pub fn put(&mut self, aor: &Aor, bindings: Vec<Binding>) {
        self.count = self.count + bindings.len() - self.find(aor.as_bytes()).len();
        let Some(end) = first_end(&bindings) else {
            self.held.remove(aor.as_bytes());
            return;
        };
        let bindings = bindings.into_boxed_slice();
        let earlier = match self.held.get_mut(aor.as_bytes()) {
            Some(place) => first_end(&std::mem::replace(place, bindings)),
            None => self.held.insert(aor.clone(), bindings).and(None),
        };
        // One entry for each is enough, unless it would come too late.
        if earlier.is_none_or(|earlier| end < earlier) {
            self.ends.push(Reverse((end, aor.clone())));
        }
        // Whoever comes and goes all the time leaves ends behind that nothing has.
        if self.ends.len() > 2 * self.held.len() + ENDS_SPARE {
            let ends = self.held.iter().filter_map(|(aor, held)| Some(Reverse((first_end(held)?, aor.clone()))));
            self.ends = ends.collect();
        }
    }

    /// Takes out what has run out, and says whose it was. At most so many addresses of record at a time, so that the end of a
    /// hundred thousand registrations in one second holds nobody up.
    pub fn expire(&mut self, now: Moment, most: usize, mut ended: impl FnMut(&Aor, Binding)) {
        for _ in 0..most {
            let Some(Reverse((end, _))) = self.ends.peek() else { return };
            if *end > now {
                return;
            }
            let Some(Reverse((_, aor))) = self.ends.pop() else { return };
            let Some(bindings) = self.held.get_mut(aor.as_bytes()) else { continue };
            let (over, left): (Vec<Binding>, Vec<Binding>) =
                std::mem::take(bindings).into_iter().partition(|binding| binding.expires <= now);
            self.count -= over.len();
            match first_end(&left) {
                Some(next) => {
                    *bindings = left.into();
                    self.ends.push(Reverse((next, aor.clone())));
                }
                None => drop(self.held.remove(aor.as_bytes())),
            }
            over.into_iter().for_each(|binding| ended(&aor, binding));
        }
    }

    /// All addresses of record with what is held for them.
    pub fn iter(&self) -> impl Iterator<Item = (&Aor, &[Binding])> {
        self.held.iter().map(|(aor, bindings)| (aor, &bindings[..]))
    }

    /// Takes away the bindings of an address of record that are not to be kept; returns how many those were.
    pub fn retain(&mut self, aor: &Aor, keep: impl Fn(&Binding) -> bool) -> usize {
        let left: Vec<Binding> = self.find(aor.as_bytes()).iter().filter(|b| keep(b)).cloned().collect();
        let gone = self.find(aor.as_bytes()).len() - left.len();
        if gone > 0 {
            self.put(aor, left);
        }
        gone
    }
}

/// When the first of them ends.
fn first_end(bindings: &[Binding]) -> Option<Moment> {
    bindings.iter().map(|binding| binding.expires).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registrar::binding::Texts;
    use crate::transport::flow::{Flow, ListenerId, Protocol};

    fn at(secs: u64) -> Moment {
        Moment::from_micros(secs * 1_000_000)
    }

    fn aor(user: &str) -> Aor {
        Aor::from_user(user.as_bytes()).unwrap()
    }

    fn binding(contact: &str, until: u64) -> Binding {
        let remote = "127.0.0.31:5060".parse().unwrap();
        let flow = Flow { listener: ListenerId(1), protocol: Protocol::Udp, remote, connection: None };
        Binding {
            texts: Texts::new(contact.as_bytes(), None, b""),
            flow,
            preference: 1_000,
            expires: at(until),
            updated: at(0),
            call_id: 0,
            cseq: 1,
            reg_id: 0,
        }
    }

    #[test]
    fn bindings_end_in_their_order_and_refreshed_ones_later() {
        let mut table = Table::default();
        table.put(&aor("1"), vec![binding("sip:a", 10), binding("sip:b", 30)]);
        table.put(&aor("2"), vec![binding("sip:c", 20)]);
        table.put(&aor("2"), vec![binding("sip:c", 40)]);
        assert_eq!(table.len(), 3);
        let mut ended = Vec::new();
        for second in 0..=40 {
            table.expire(at(second), 100, |aor, binding| {
                ended.push((second, aor.to_string(), String::from_utf8_lossy(binding.contact()).into_owned()));
            });
        }
        let expected = [(10, "1", "sip:a"), (30, "1", "sip:b"), (40, "2", "sip:c")];
        assert_eq!(ended, expected.map(|(second, aor, contact)| (second, aor.to_owned(), contact.to_owned())));
        assert!(table.is_empty() && table.held.is_empty() && table.ends.is_empty());
    }

    #[test]
    fn refreshing_for_years_leaves_one_end_each() {
        let mut table = Table::default();
        for second in 0..100_000 {
            table.put(&aor("1"), vec![binding("sip:a", second + 300)]);
            table.expire(at(second), 10, |_, _| panic!("it was refreshed"));
        }
        assert!(table.ends.len() <= 2, "{}", table.ends.len());
    }

    #[test]
    fn coming_and_going_for_years_leaves_few_ends() {
        let mut table = Table::default();
        for second in 0..100_000 {
            table.put(&aor("1"), vec![binding("sip:a", second + 1_000_000)]);
            table.put(&aor("1"), vec![]);
        }
        table.put(&aor("2"), vec![binding("sip:a", 7)]);
        assert!(table.ends.len() <= 2 + ENDS_SPARE, "{}", table.ends.len());
        let mut ended = 0;
        table.expire(at(7), 10, |_, _| ended += 1);
        assert_eq!((ended, table.len()), (1, 0));
    }

    #[test]
    fn tables_that_share_a_bound_are_told_their_room() {
        let mut table = Table::new(1);
        table.put(&aor("1"), vec![binding("sip:a", 10)]);
        assert!(!table.has_room());
        table.set_room(1);
        assert!(table.has_room());
        table.put(&aor("2"), vec![binding("sip:a", 10)]);
        assert!(!table.has_room());
    }

    #[test]
    fn many_ends_at_once_are_taken_in_portions() {
        let mut table = Table::default();
        (0..1_000).for_each(|n| table.put(&aor(&n.to_string()), vec![binding("sip:a", 5)]));
        let mut ended = 0;
        table.expire(at(5), 100, |_, _| ended += 1);
        assert_eq!((ended, table.len()), (100, 900));
    }
}
