//! Deadlines in order: a hashed wheel that does its work late.
//!
//! A lease stands in the wheel once, no later than its deadline. When its turn comes and the deadline has moved on, the
//! ledger puts it back in; so moving a deadline later costs nothing, and a million far-off deadlines cost one look
//! each turn of the wheel.

use std::time::Duration;

use crate::moment::Moment;

/// Width of a bucket.
pub const TICK: Duration = Duration::from_millis(10);

/// Buckets; one turn takes 41 seconds, longer than any of SIP's transaction timers.
const BUCKETS: u64 = 4_096;

/// Entries by due time. All of them are in one piece of memory, and a bucket is a ring of them: a bucket that was full once
/// keeps nothing.
#[derive(Debug)]
pub struct Wheel {
    /// The place of each bucket's last entry, or [`NOWHERE`].
    buckets: Vec<u32>,
    places: Vec<Place>,
    /// The first place that is free, or [`NOWHERE`]; each one names the next.
    free: u32,
    /// The tick up to which everything was taken out.
    done: u64,
}

/// An entry and the place of the one behind it; behind a bucket's last one is its first.
#[derive(Clone, Copy, Debug)]
struct Place {
    entry: Entry,
    next: u32,
}

const NOWHERE: u32 = u32::MAX;

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The ledger's slot.
    pub slot: u32,
    /// The slot's generation.
    pub generation: u32,
    /// When it comes out, in ticks; set by [`Wheel::insert`].
    pub tick: u32,
}

/// The moment at which a tick is over.
pub fn end_of(tick: u32) -> Moment {
    Moment::from_micros(u64::from(tick) * tick_micros())
}

impl Wheel {
    /// An empty wheel that starts turning at `now`.
    pub fn new(now: Moment) -> Self {
        Wheel { buckets: vec![NOWHERE; BUCKETS as usize], places: Vec::new(), free: NOWHERE, done: tick(now) }
    }

    /// Puts an entry in. It comes out at `at` or up to a tick later; a time beyond one turn comes out after one turn.
    /// Returns the tick by whose end it will have come out.
    pub fn insert(&mut self, entry: Entry, at: Moment) -> u32 {
        let due = (tick(at).saturating_add(1)).clamp(self.done + 1, self.done + BUCKETS - 1);
        // Ticks of 10 ms fill 32 bits after 497 days; the wheel's clock starts with the process.
        let entry = Entry { tick: due as u32, ..entry };
        let place = self.put(entry);
        let last = std::mem::replace(&mut self.buckets[(due % BUCKETS) as usize], place);
        if last != NOWHERE {
            let first = std::mem::replace(&mut self.places[last as usize].next, place);
            self.places[place as usize].next = first;
        }
        entry.tick
    }

    /// Puts an entry into a free place, alone in its ring.
    fn put(&mut self, entry: Entry) -> u32 {
        let place = self.free;
        let Some(free) = self.places.get_mut(place as usize) else {
            let place = self.places.len() as u32;
            self.places.push(Place { entry, next: place });
            return place;
        };
        self.free = free.next;
        *free = Place { entry, next: place };
        place
    }

    /// Moves everything that is due into `out`.
    pub fn take_due(&mut self, now: Moment, out: &mut Vec<Entry>) {
        let until = tick(now);
        // After a long pause one turn visits every bucket.
        let from = (self.done + 1).max(until.saturating_sub(BUCKETS - 1));
        for due in from..=until {
            self.empty((due % BUCKETS) as usize, out);
        }
        self.done = self.done.max(until);
    }

    /// Moves what is in a bucket into `out`, first come first, and makes its places free.
    fn empty(&mut self, bucket: usize, out: &mut Vec<Entry>) {
        let last = std::mem::replace(&mut self.buckets[bucket], NOWHERE);
        if last == NOWHERE {
            return;
        }
        let first = std::mem::replace(&mut self.places[last as usize].next, self.free);
        self.free = first;
        let mut at = first;
        loop {
            let place = self.places[at as usize];
            out.push(place.entry);
            if at == last {
                return;
            }
            at = place.next;
        }
    }
}

fn tick_micros() -> u64 {
    TICK.as_micros() as u64
}

fn tick(at: Moment) -> u64 {
    at.micros() / tick_micros()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_micros(millis * 1_000)
    }

    fn due(wheel: &mut Wheel, millis: u64) -> Vec<u32> {
        let mut out = Vec::new();
        wheel.take_due(at(millis), &mut out);
        let mut slots: Vec<u32> = out.iter().map(|e| e.slot).collect();
        slots.sort_unstable();
        slots
    }

    fn entry(slot: u32) -> Entry {
        Entry { slot, generation: 0, tick: 0 }
    }

    #[test]
    fn an_entry_never_comes_out_early_and_at_most_a_tick_late() {
        for millis in [0, 1, 9, 10, 11, 500, 999, 32_000] {
            let mut wheel = Wheel::new(at(5_000));
            wheel.insert(entry(1), at(5_000 + millis));
            for now in 0..40_000u64 {
                if due(&mut wheel, 5_000 + now) == [1] {
                    assert!(now >= millis && now <= millis + 20, "due in {millis}, came after {now}");
                    break;
                }
                assert!(now < 39_999, "never came");
            }
        }
    }

    #[test]
    fn a_time_beyond_one_turn_comes_out_early_enough_to_be_put_back() {
        let mut wheel = Wheel::new(at(0));
        wheel.insert(entry(7), at(3_600_000));
        assert!(due(&mut wheel, 40_000).is_empty());
        assert_eq!(due(&mut wheel, 41_000), [7]);
    }

    #[test]
    fn entries_of_one_bucket_come_out_in_the_order_they_came_and_their_places_are_used_again() {
        let mut wheel = Wheel::new(at(0));
        for turn in 1..200u64 {
            let (near, far) = (turn * 100, turn * 100 + 40);
            for slot in 0..5 {
                wheel.insert(entry(slot), at(if slot % 2 == 0 { near } else { far }));
            }
            let mut out = Vec::new();
            wheel.take_due(at(near + 20), &mut out);
            assert_eq!(out.iter().map(|entry| entry.slot).collect::<Vec<_>>(), [0, 2, 4], "turn {turn}");
            assert_eq!(due(&mut wheel, far + 20), [1, 3], "turn {turn}");
        }
        assert_eq!(wheel.places.len(), 5);
    }

    #[test]
    fn nothing_is_forgotten_over_a_pause_longer_than_a_turn() {
        let mut wheel = Wheel::new(at(0));
        for slot in 0..100 {
            wheel.insert(entry(slot), at(u64::from(slot) * 300));
        }
        assert_eq!(due(&mut wheel, 10_000_000).len(), 100);
        wheel.insert(entry(1), at(3));
        assert_eq!(due(&mut wheel, 10_000_020), [1]);
    }
}
