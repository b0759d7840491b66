//! What follows from heartbeats: who is there, who inherits the calls of one who is gone, and whether the shared store was emptied.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::calls::CallKey;
use crate::moment::{CLOCKS_DIFFER_MILLIS, Moment, TimeOfDay};
use crate::store::redis::Beaten;

use super::among::{Among, Here, Others};
use super::members::{Change, Heartbeat};

/// After so many heartbeats everybody has heard of one.
const BEATS_UNTIL_HEARD: u32 = 4;
/// Names whose heartbeats cannot be read, of which it is remembered that they were said.
const UNREADABLE_MAX: usize = 64;

/// What is kept from one heartbeat to the next.
#[derive(Debug, Default)]
pub struct Pulse {
    /// When the last one came back.
    heard: Moment,
    time_of_day: TimeOfDay,
    /// Heartbeats until everything is kept again.
    again_in: u32,
    /// Places of which no edge knew a call when they were last looked at.
    doubtful: BTreeSet<u128>,
    /// Names whose heartbeats cannot be read: each is said once.
    unreadable: BTreeSet<Vec<u8>>,
}

/// What a heartbeat brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The store was emptied since the last one: everything is told again.
    pub was_emptied: bool,
    /// Whether this edge speaks for all.
    pub is_first: bool,
    /// Names whose heartbeats cannot be read, and which were not said yet.
    pub unreadable: Vec<String>,
    /// Who came and went.
    pub changes: Vec<Change>,
    /// Calls of those who are gone that are this edge's now, by edge.
    pub inherited: Vec<(Arc<str>, usize)>,
}

impl Pulse {
    /// Takes in what a heartbeat brought back. Who did not beat for so long is gone.
    pub fn hear<H: Here, O: Others>(
        &mut self,
        among: &Among<'_, H, O>,
        beaten: &Beaten,
        gone_after: Duration,
    ) -> Heard {
        let was_emptied = among.others.with_untold(|untold| untold.heed_epoch(&beaten.epoch));
        self.heed_time_of_day(among);
        let is_first_one = self.heard == Moment::ZERO;
        let own = among.others.edge();
        let (heartbeats, unreadable) = self.read(beaten, own);
        let clocks = among.here.clocks();
        // Others could not be heard either: each would inherit all calls of all others.
        let was_away = clocks.now.since(self.heard) >= gone_after / 2;
        self.heard = clocks.now;
        let (changes, is_first) = among.others.with_members(|members| {
            if was_away {
                members.forgive(clocks.now);
            }
            (members.read(heartbeats.into_iter(), clocks.unix_millis, clocks.now, gone_after), members.is_first(own))
        });
        // What this edge tells as it starts is heard before its clock is known.
        let is_off = |among: &Among<'_, H, O>| {
            among
                .others
                .with_members(|members| members.iter().any(|(_, m)| m.clock_ahead_millis.abs() > CLOCKS_DIFFER_MILLIS))
        };
        if is_first_one && is_off(among) {
            self.again_in = BEATS_UNTIL_HEARD;
        }
        let gone = changes.iter().filter_map(|change| match change {
            Change::Gone(edge) => Some((Arc::clone(edge), among.inherit(edge))),
            Change::Came(_) | Change::Restarted(_) => None,
        });
        Heard { was_emptied, is_first, inherited: gone.collect(), unreadable, changes }
    }

    /// The heartbeats of the others, and the names of those that cannot be read and were not said yet.
    fn read<'a>(&mut self, beaten: &'a Beaten, own: &str) -> (Vec<(&'a str, Heartbeat)>, Vec<String>) {
        let (mut heartbeats, mut unreadable) = (Vec::new(), Vec::new());
        for (edge, octets) in beaten.edges.iter().filter(|(edge, _)| *edge != own.as_bytes()) {
            let read = std::str::from_utf8(edge).ok().zip(serde_json::from_slice(octets).ok());
            if read.is_none() && self.unreadable.len() < UNREADABLE_MAX && self.unreadable.insert(edge.clone()) {
                unreadable.push(String::from_utf8_lossy(edge).into_owned());
            }
            heartbeats.extend(read);
        }
        (heartbeats, unreadable)
    }

    /// The time of day was set: whatever is held is by the clock before. The others hear of the new one with heartbeats, and only then of
    /// what is told by it.
    fn heed_time_of_day<H: Here, O: Others>(&mut self, among: &Among<'_, H, O>) {
        let clocks = among.here.clocks();
        if self.time_of_day.set_ahead(clocks) != 0 {
            among.others.with_peers(|peers| peers.heed(clocks));
            among.others.with_homes(|homes| homes.heed(clocks));
            self.again_in = BEATS_UNTIL_HEARD;
        }
        if self.again_in > 0 {
            self.again_in -= 1;
            if self.again_in == 0 {
                among.here.keep_again();
            }
        }
    }

    /// Gives back places in the shared store that belong to no call: an edge died between taking one and telling of the call. Each is looked
    /// at twice, for what a place was taken for a moment ago may not have been told yet.
    pub fn sweep<H: Here, O: Others>(&mut self, among: &Among<'_, H, O>, places: impl Iterator<Item = u128>) {
        let unknown: BTreeSet<u128> = places.filter(|key| !among.knows(CallKey(*key))).collect();
        for key in unknown.intersection(&self.doubtful) {
            among.others.tell_call(CallKey(*key), None);
        }
        self.doubtful = unknown;
    }
}

impl<H: Here, O: Others> Among<'_, H, O> {
    /// Takes over this edge's part of what another one left behind.
    fn inherit(&self, edge: &str) -> usize {
        self.forget_inherited();
        let (own, keys) = (self.others.edge(), self.others.with_peers(|peers| peers.of_edge(edge)));
        let is_heir = |key: &CallKey| self.others.with_members(|members| members.heir(own, key.0 as u64) == own);
        let mut count = 0;
        for key in keys.into_iter().filter(is_heir) {
            if self.take_over(key) {
                self.others.with_peers(|peers| peers.inherit(key));
                count += 1;
            }
        }
        count
    }

    /// Calls that were inherited and are not here any more.
    fn forget_inherited(&self) {
        let gone = self.others.with_peers(|peers| peers.inherited()).into_iter().filter(|key| !self.has(*key));
        let gone: Vec<CallKey> = gone.collect();
        self.others.with_peers(|peers| {
            for key in gone {
                peers.touch(key);
            }
        });
    }

    /// True when this edge knows the call, as its own or another edge's.
    pub(super) fn knows(&self, key: CallKey) -> bool {
        self.others.with_peers(|peers| peers.find(key).is_some()) || self.has(key)
    }

    /// True when the call is here.
    fn has(&self, key: CallKey) -> bool {
        self.here.with_shard(key, |shard| shard.find(key).is_some_and(|slot| shard.lease(slot).is_open()))
    }

    /// Ends phones of other edges whose time is over.
    pub fn end_phones(&self) {
        let unix_millis = self.here.clocks().unix_millis;
        let over = self.others.with_homes(|homes| homes.expire(unix_millis));
        over.iter().for_each(|aor| self.note_registered(aor));
    }
}
