//! Weighted rendezvous hashing: each key has an order of preference over the nodes, and losing a node moves only
//! that node's keys.
//!
//! The order is worked out once for a few thousand slots when the pool is built; a choice then looks up its
//! slot, so its cost does not depend on the number of nodes.

/// First choices of every slot.
#[derive(Debug, Default)]
pub struct Rendezvous {
    slots: Vec<[u32; DEPTH]>,
    /// All members with their weights, for the rare key whose first choices are all out.
    members: Vec<Member>,
}

/// A member: number, weight, and a hash of its name, so that the order depends on names alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The caller's number for it.
    pub number: u32,
    /// Its weight.
    pub weight: u32,
    /// A hash of its name.
    pub name_hash: u64,
}

/// Choices that are kept for a slot.
const DEPTH: usize = 3;
const NOBODY: u32 = u32::MAX;

impl Rendezvous {
    /// Works out the order of every slot.
    pub fn new(members: Vec<Member>) -> Self {
        let count = (members.len() * 64).next_power_of_two().clamp(4_096, 65_536);
        let slots = (0..count as u64).map(|slot| first_choices(&members, slot)).collect();
        Rendezvous { slots, members }
    }

    /// The first in the key's order that `may` take the call.
    pub fn choose(&self, key: u64, may: impl Fn(u32) -> bool) -> Option<u32> {
        if self.members.is_empty() {
            return None;
        }
        let slot = mix(key) % self.slots.len() as u64;
        let choices = self.slots[slot as usize];
        if let Some(choice) = choices.into_iter().find(|number| *number != NOBODY && may(*number)) {
            return Some(choice);
        }
        let scored = self.members.iter().filter(|m| may(m.number)).map(|m| (score(m, slot), m.number));
        scored.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, number)| number)
    }
}

fn first_choices(members: &[Member], slot: u64) -> [u32; DEPTH] {
    let mut best = [(f64::NEG_INFINITY, NOBODY); DEPTH];
    for member in members {
        let mut candidate = (score(member, slot), member.number);
        for place in &mut best {
            if candidate.0 > place.0 {
                std::mem::swap(&mut candidate, place);
            }
        }
    }
    best.map(|(_, number)| number)
}

/// The score of highest random weight: -weight / ln(u), u uniform in (0, 1).
fn score(member: &Member, slot: u64) -> f64 {
    let hash = mix(member.name_hash ^ mix(slot));
    let uniform = ((hash >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -f64::from(member.weight) / uniform.ln()
}

/// A bit mixer (the finaliser of SplitMix64).
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(weights: &[u32]) -> Vec<Member> {
        let member = |(i, w): (usize, &u32)| Member { number: i as u32, weight: *w, name_hash: mix(i as u64 + 100) };
        weights.iter().enumerate().map(member).collect()
    }

    #[test]
    fn losing_a_node_moves_only_that_nodes_keys() {
        let table = Rendezvous::new(members(&[10, 10, 10, 10, 10, 10]));
        for lost in 0..6 {
            for key in 0..3_000u64 {
                let before = table.choose(key, |_| true).unwrap();
                let after = table.choose(key, |m| m != lost).unwrap();
                assert!(before == lost || before == after, "key {key} moved from {before} to {after} when {lost} went");
            }
        }
    }

    #[test]
    fn the_keys_of_a_lost_node_spread_over_all_others() {
        let table = Rendezvous::new(members(&[10; 6]));
        let mut counts = [0u32; 6];
        for key in 0..60_000u64 {
            if table.choose(key, |_| true) == Some(2) {
                counts[table.choose(key, |m| m != 2).unwrap() as usize] += 1;
            }
        }
        counts[2] = 2_000;
        assert!(counts.iter().all(|n| (1_600..2_400).contains(n)), "{counts:?}");
    }

    #[test]
    fn shares_follow_the_weights() {
        let table = Rendezvous::new(members(&[10, 20, 70]));
        let mut counts = [0u32; 3];
        for key in 0..100_000u64 {
            counts[table.choose(key, |_| true).unwrap() as usize] += 1;
        }
        for (count, share) in counts.iter().zip([10_000u32, 20_000, 70_000]) {
            assert!(count.abs_diff(share) < share / 10, "{counts:?}");
        }
    }

    #[test]
    fn somebody_is_found_even_when_all_first_choices_are_out() {
        let table = Rendezvous::new(members(&[1; 50]));
        for key in 0..500 {
            assert_eq!(table.choose(key, |m| m == 49), Some(49));
        }
        assert_eq!(table.choose(1, |_| false), None);
        assert_eq!(Rendezvous::new(vec![]).choose(1, |_| true), None);
    }
}
