//! What an edge missed while it was away, from what the shared store holds: calls and phones of its own, and what has ended since.

use std::collections::{BTreeSet, HashSet};

use crate::calls::{CallKey, Phase};
use crate::registrar::{Aor, Binding};
use crate::store::redis::Stored;
use crate::store::{SavedLease, saving};

use super::Entry;
use super::among::{Among, Here, Others};
use super::following::Next;

impl<H: Here, O: Others> Among<'_, H, O> {
    /// Makes up for what was missed, before what the store holds is taken in; `own` are the calls that this edge has.
    pub fn make_up_for(&self, next: Next, own: &[CallKey], entries: &[Stored]) {
        match next {
            // What this edge had first: what the others told since goes before it.
            Next::Start => self.hear_own_at_start(entries),
            Next::EndMissing => self.end_missing(own, entries),
            Next::GoOn | Next::Afresh | Next::Wait => {}
        }
    }

    /// Takes in what this edge told before it started anew. A call that its disk does not know has ended, or was lost with the machine's power:
    /// then its next message makes it known again. Phones that its disk does not know were on another disk.
    fn hear_own_at_start(&self, entries: &[Stored]) {
        let clocks = self.here.clocks();
        let own = entries
            .iter()
            .filter_map(|stored| Entry::read(&stored.octets))
            .filter(|(edge, _)| *edge == self.others.edge());
        for (_, entry) in own {
            match entry {
                Entry::Call { key, .. } if !self.knows(CallKey(key)) => self.others.tell_call(CallKey(key), None),
                Entry::Call { key, lease } if lease.answered.is_some() => {
                    self.know_answered(CallKey(key), &lease);
                }
                Entry::Bindings { aor, list, .. } => {
                    let Some(aor) = Aor::from_user(aor).filter(|aor| self.here.phones(aor).is_empty()) else {
                        continue;
                    };
                    let restored = list.iter().map(|saved| saving::restored_binding(saved, clocks));
                    let live: Vec<Binding> = restored.filter(|binding| binding.expires > clocks.now).collect();
                    self.here.restore_phones(&aor, live);
                    self.note_registered(&aor);
                }
                _ => {}
            }
        }
    }

    /// A call was answered just before the machine lost its power: the others heard of it, the disk did not.
    fn know_answered(&self, key: CallKey, lease: &SavedLease<'_>) {
        let trying = self.here.with_shard(key, |shard| {
            let slot = shard.find(key).filter(|slot| matches!(shard.lease(*slot).phase, Phase::Trying(_)))?;
            Some(shard.remove(slot))
        });
        if let Some(trying) = trying {
            trying.seat.into_iter().for_each(|seat| self.here.give_back(seat));
            self.here.with_shard(key, |shard| self.open_here(shard, key, lease));
        }
    }

    /// Calls that were kept on disk and that the store does not hold: they ended at another edge while this one was away, or the others never
    /// heard of them.
    pub fn unconfirmed(&self, own: &[CallKey], entries: &[Stored]) -> HashSet<CallKey> {
        let there = calls_among(entries);
        own.iter().copied().filter(|key| !there.contains(key)).collect()
    }

    /// Forgets those of these calls whose end stands in the log, which is given in its order; returns how many.
    pub fn forget_ended(&self, unconfirmed: &HashSet<CallKey>, log: &[Stored]) -> usize {
        let mut over = HashSet::new();
        for stored in log {
            match Entry::read(&stored.octets) {
                Some((_, Entry::Over { key, .. })) => over.insert(CallKey(key)),
                Some((_, Entry::Call { key, .. })) => over.remove(&CallKey(key)),
                _ => continue,
            };
        }
        let over: BTreeSet<CallKey> = unconfirmed.intersection(&over).copied().collect();
        over.iter().for_each(|key| self.forget_open(*key));
        over.len()
    }

    /// Ends what is over and whose end has left the log before this edge could read it: what the store does not hold, of the others'
    /// calls and phones, and of its own calls those that the others were told all about.
    fn end_missing(&self, own: &[CallKey], entries: &[Stored]) {
        let there = calls_among(entries);
        let of_others: Vec<CallKey> = self.others.with_peers(|peers| peers.iter().map(|(key, _)| key).collect());
        of_others.into_iter().filter(|key| !there.contains(key)).for_each(|key| self.hear_end(key));
        let is_told = |key: &&CallKey| self.others.with_untold(|untold| untold.is_told(**key));
        own.iter().filter(|key| !there.contains(key)).filter(is_told).for_each(|key| self.forget_open(*key));
        self.end_missing_phones(entries);
    }

    fn end_missing_phones(&self, entries: &[Stored]) {
        let user = |stored| match Entry::read(stored)? {
            (edge, Entry::Bindings { aor, .. }) => Some((edge, aor)),
            _ => None,
        };
        let there: HashSet<(&str, &[u8])> = entries.iter().filter_map(|stored| user(&stored.octets)).collect();
        let known = self.others.with_homes(|homes| homes.users_and_edges());
        for (aor, edge) in known.into_iter().filter(|(aor, edge)| !there.contains(&(&**edge, aor.as_bytes()))) {
            self.others.with_homes(|homes| homes.put(&aor, &edge, Vec::new()));
            self.note_registered(&aor);
        }
    }
}

/// The calls that stand among what the store holds.
fn calls_among(entries: &[Stored]) -> HashSet<CallKey> {
    let call = |stored: &Stored| match Entry::read(&stored.octets)? {
        (_, Entry::Call { key, .. }) => Some(CallKey(key)),
        _ => None,
    };
    entries.iter().filter_map(call).collect()
}
