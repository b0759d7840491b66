//! All leases of one shard.
//!
//! A plain structure without a lock; the shell keeps one behind each of its short locks. Leases are found by the key of
//! their Call-ID and brought up by their deadlines.

use std::collections::VecDeque;

use hashbrown::HashTable;

use crate::moment::Moment;

use super::history::History;
use super::key::CallKey;
use super::lease::{Lease, Phase};
use super::wheel::{Entry, Wheel, end_of};

/// A lease's place in its shard, good until the lease is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(u32);

/// One part of the lease table.
#[derive(Debug)]
pub struct Shard {
    table: HashTable<u32>,
    slots: Vec<Place>,
    free: Vec<u32>,
    wheel: Wheel,
    due: Vec<Entry>,
    leases_max: usize,
    /// Slots of the leases whose INVITE is unanswered: whom a refused transport or a dead node concerns.
    trying: Vec<u32>,
    /// Calls that are over and only remembered, longest over first, with their generations. Some are gone already.
    over: VecDeque<(u32, u32)>,
    /// Why recent calls went where they went.
    pub history: History,
    /// Calls whose lease changed in a way that must survive a restart.
    unsaved: Vec<CallKey>,
}

#[derive(Debug)]
struct Place {
    generation: u32,
    /// The tick at which the wheel will bring the lease up next, or [`NEVER`].
    scheduled: u32,
    lease: Option<Box<Lease>>,
    /// Place in [`Shard::trying`], or [`NOWHERE`].
    trying_at: u32,
    /// Listed in [`Shard::over`].
    is_over: bool,
}

const NOWHERE: u32 = u32::MAX;
const NEVER: u32 = u32::MAX;

/// Calls that are over but have something to do yet, and are passed over at a time when room is made.
const BUSY_MAX: usize = 8;

impl Shard {
    /// An empty shard that holds at most `leases_max` leases and `history_max` explanations.
    pub fn new(now: Moment, leases_max: usize, history_max: usize) -> Self {
        Shard {
            table: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            wheel: Wheel::new(now),
            due: Vec::new(),
            leases_max,
            trying: Vec::new(),
            over: VecDeque::new(),
            history: History::new(history_max),
            unsaved: Vec::new(),
        }
    }

    /// The lease of a call.
    pub fn find(&self, key: CallKey) -> Option<Slot> {
        let same = |index: &u32| self.slots[*index as usize].lease.as_ref().is_some_and(|l| l.key == key);
        self.table.find(key.table_hash(), same).map(|index| Slot(*index))
    }

    /// A lease by its place.
    pub fn lease(&self, slot: Slot) -> &Lease {
        // A slot is handed out for a lease that is there and dies with it.
        self.slots[slot.0 as usize].lease.as_ref().expect("a slot has a lease")
    }

    /// A lease by its place, to be changed. [`Shard::changed`] must follow.
    pub fn lease_mut(&mut self, slot: Slot) -> &mut Lease {
        self.slots[slot.0 as usize].lease.as_mut().expect("a slot has a lease")
    }

    /// Takes up a lease; a shard full of calls hands it back. One that is full of calls that are over forgets the one that has been over
    /// for longest: what comes late for that call finds no memory of it, and the new call finds a place. The key must not be
    /// there yet.
    pub fn open(&mut self, lease: Lease) -> Result<Slot, Box<Lease>> {
        debug_assert!(self.find(lease.key).is_none(), "one lease a call");
        if self.is_full() && !self.forget_one() {
            return Err(Box::new(lease));
        }
        let hash = lease.key.table_hash();
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Place { generation: 0, scheduled: NEVER, lease: None, trying_at: NOWHERE, is_over: false });
            self.slots.len() as u32 - 1
        });
        self.slots[index as usize].lease = Some(Box::new(lease));
        let slots = &self.slots;
        let hash_of = |i: &u32| slots[*i as usize].lease.as_ref().map_or(0, |l| l.key.table_hash());
        self.table.insert_unique(hash, index, hash_of);
        let slot = Slot(index);
        self.changed(slot);
        Ok(slot)
    }

    /// Notes a lease's new deadlines. Must follow every change to a lease.
    pub fn changed(&mut self, slot: Slot) {
        let place = &mut self.slots[slot.0 as usize];
        let Some(lease) = place.lease.as_mut() else { return };
        let due = lease.due();
        if place.scheduled == NEVER || due < end_of(place.scheduled) {
            let entry = Entry { slot: slot.0, generation: place.generation, tick: 0 };
            place.scheduled = self.wheel.insert(entry, due);
        }
        let is_trying = matches!(lease.phase, Phase::Trying(_));
        let is_over = matches!(lease.phase, Phase::Ended { .. });
        self.list_trying(slot.0, is_trying);
        if is_over {
            self.list_over(slot.0);
        }
    }

    fn list_over(&mut self, index: u32) {
        while self.over.front().is_some_and(|listed| !self.is_listed(*listed)) {
            self.over.pop_front();
        }
        let place = &mut self.slots[index as usize];
        if !std::mem::replace(&mut place.is_over, true) {
            self.over.push_back((index, place.generation));
        }
    }

    fn is_listed(&self, (index, generation): (u32, u32)) -> bool {
        self.slots[index as usize].generation == generation
    }

    /// Forgets the call that has been over for longest and has nothing to do. False when there is none.
    fn forget_one(&mut self) -> bool {
        let mut busy = 0;
        while let Some(listed) = self.over.pop_front() {
            if !self.is_listed(listed) {
                continue;
            }
            let slot = Slot(listed.0);
            if self.lease(slot).errands.is_empty() {
                self.remove(slot);
                return true;
            }
            self.over.push_back(listed);
            busy += 1;
            if busy == BUSY_MAX {
                return false;
            }
        }
        false
    }

    /// Keeps the list of unanswered INVITEs.
    fn list_trying(&mut self, index: u32, is_trying: bool) {
        let at = self.slots[index as usize].trying_at;
        if is_trying && at == NOWHERE {
            self.slots[index as usize].trying_at = self.trying.len() as u32;
            self.trying.push(index);
        } else if !is_trying && at != NOWHERE {
            self.trying.swap_remove(at as usize);
            if let Some(moved) = self.trying.get(at as usize) {
                self.slots[*moved as usize].trying_at = at;
            }
            self.slots[index as usize].trying_at = NOWHERE;
        }
    }

    /// Notes that a lease changed in a way that must survive a restart.
    pub fn save(&mut self, slot: Slot) {
        let key = self.lease(slot).key;
        self.unsaved.push(key);
    }

    /// True when [`Shard::drain_unsaved`] has something to hand out.
    pub fn has_unsaved(&self) -> bool {
        !self.unsaved.is_empty()
    }

    /// Hands out every such lease, a forgotten one as `None`.
    pub fn drain_unsaved(&mut self, mut store: impl FnMut(CallKey, Option<&Lease>)) {
        let mut unsaved = std::mem::take(&mut self.unsaved);
        for key in unsaved.drain(..) {
            let lease = self.find(key).map(|slot| self.lease(slot));
            store(key, lease);
        }
        self.unsaved = unsaved;
    }

    /// True when one more lease fits, or a call that is over can make room for it.
    pub fn has_room(&self) -> bool {
        !self.is_full() || self.over.iter().any(|listed| self.is_listed(*listed))
    }

    fn is_full(&self) -> bool {
        self.table.len() >= self.leases_max
    }

    /// Forgets a lease and hands it out.
    pub fn remove(&mut self, slot: Slot) -> Lease {
        let index = slot.0;
        self.list_trying(index, false);
        let place = &mut self.slots[index as usize];
        let lease = place.lease.take().expect("a slot has a lease");
        place.generation = place.generation.wrapping_add(1);
        (place.is_over, place.scheduled) = (false, NEVER);
        if let Ok(found) = self.table.find_entry(lease.key.table_hash(), |i| *i == index) {
            found.remove();
        }
        self.free.push(index);
        *lease
    }

    /// Every lease that has something due at `now`, put to `act` one by one.
    pub fn each_due(&mut self, now: Moment, mut act: impl FnMut(&mut Shard, Slot)) {
        let mut due = std::mem::take(&mut self.due);
        self.wheel.take_due(now, &mut due);
        for entry in due.drain(..) {
            let place = &mut self.slots[entry.slot as usize];
            if place.generation != entry.generation {
                continue;
            }
            let Some(lease) = place.lease.as_ref() else { continue };
            // An entry from before the deadline was drawn nearer comes up as well, and means nothing.
            if place.scheduled != entry.tick {
                continue;
            }
            place.scheduled = NEVER;
            let slot = Slot(entry.slot);
            if lease.due() <= now {
                act(self, slot);
            }
            self.changed(slot);
        }
        self.due = due;
    }

    /// The unanswered calls that `keep` names, to be acted upon one by one.
    pub fn trying_where(&self, keep: impl Fn(&Lease) -> bool) -> Vec<Slot> {
        self.trying.iter().map(|index| Slot(*index)).filter(|slot| keep(self.lease(*slot))).collect()
    }

    /// All leases.
    pub fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.slots.iter().filter_map(|place| place.lease.as_deref())
    }

    /// Leases that it may hold.
    pub fn leases_max(&self) -> usize {
        self.leases_max
    }

    /// Number of leases, the remembered ones included.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Checks what must always hold. For tests and simulations.
    pub fn check_invariants(&self) {
        assert_eq!(self.iter().count(), self.table.len(), "every lease is in the table once");
        let listed = self.over.iter().filter(|listed| self.is_listed(**listed)).count();
        let over = self.iter().filter(|lease| matches!(lease.phase, Phase::Ended { .. })).count();
        assert_eq!(over, listed, "every call that is over is listed");
        let trying = self.iter().filter(|lease| matches!(lease.phase, Phase::Trying(_))).count();
        assert_eq!(trying, self.trying.len(), "every unanswered INVITE is listed");
        for place in &self.slots {
            assert_eq!(place.lease.is_some(), place.scheduled != NEVER, "every lease is in the wheel");
        }
        for lease in self.iter() {
            let over = matches!(lease.phase, Phase::Ended { .. });
            assert_eq!(lease.seat.is_none(), over, "a call takes a place exactly until it is over");
            if let Some(seat) = &lease.seat {
                assert_eq!(seat.node(), lease.node, "the place is on the node that has the call");
            }
        }
    }
}
