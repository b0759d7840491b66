//! What leases became since the last commit, on its way from the journal into the database.

use std::collections::HashMap;
use std::ops::Range;

use super::contract::{LEASE_LEN_MAX, SavedLease};
use super::steps::Steps;

/// Octets of the longest record: the key, and behind it the lease.
pub const RECORD_LEN_MAX: usize = 16 + LEASE_LEN_MAX;

/// The newest state of every lease that changed.
#[derive(Default)]
pub struct Changes {
    octets: Vec<u8>,
    newest: HashMap<u128, Option<Range<usize>>>,
    steps: Steps,
}

/// Writes the journal's record of a lease, or of its end: the key, and behind it the lease. `None` when there is no room for it.
pub fn record<'a>(key: u128, lease: Option<&SavedLease<'_>>, room: &'a mut [u8; RECORD_LEN_MAX]) -> Option<&'a [u8]> {
    let (of_key, of_lease) = room.split_first_chunk_mut()?;
    *of_key = key.to_le_bytes();
    let length = match lease {
        Some(lease) => lease.write(of_lease.first_chunk_mut()?)?.len(),
        None => 0,
    };
    Some(&room[..16 + length])
}

impl Changes {
    /// Takes in a record of the journal: a key, and behind it a lease that is open. One that is none is passed over.
    pub fn take(&mut self, record: &[u8]) {
        let Some((key, lease)) = record.split_first_chunk::<16>() else { return };
        let from = self.octets.len();
        self.octets.extend_from_slice(lease);
        let lease = (!lease.is_empty()).then_some(from..self.octets.len());
        self.newest.insert(u128::from_le_bytes(*key), lease);
        self.steps.step();
    }

    /// Each lease that changed, in the order of their keys; one that is over has no octets.
    pub fn in_order(&self) -> impl Iterator<Item = (u128, Option<&[u8]>)> {
        let mut newest: Vec<_> = self.newest.iter().collect();
        newest.sort_unstable_by_key(|(key, _)| **key);
        newest.into_iter().map(|(key, lease)| (*key, lease.clone().map(|range| &self.octets[range])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_state_of_each_lease_counts_and_what_is_no_record_does_not() {
        let mut changes = Changes::default();
        for (key, lease) in [(2u128, &b"opened"[..]), (1, b"first"), (2, b""), (1, b"second")] {
            changes.take(&[&key.to_le_bytes(), lease].concat());
        }
        changes.take(b"short");
        let all: Vec<_> = changes.in_order().collect();
        assert_eq!(all, [(1, Some(&b"second"[..])), (2, None)]);
    }
}
