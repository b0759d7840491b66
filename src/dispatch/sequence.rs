//! Round robin and random by weight: a list in which every node stands as often as its weight says, evenly spread.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Longest list. With more weight than this in total the weights are rounded to fit.
const LEN_MAX: u64 = 65_536;

/// The list and where round robin stands in it.
#[derive(Debug, Default)]
pub struct Sequence {
    members: Vec<u32>,
    next: usize,
}

impl Sequence {
    /// Spreads `(member, weight)` evenly; no weight may be zero.
    pub fn new(weights: &[(u32, u32)]) -> Self {
        let total: u64 = weights.iter().map(|(_, w)| u64::from(*w)).sum();
        let divisor = weights.iter().fold(0, |d, (_, w)| gcd(d, *w)).max(1);
        let len = (total / u64::from(divisor)).min(LEN_MAX).max(weights.len() as u64);
        if weights.is_empty() {
            return Sequence::default();
        }
        // Each member is due again after total / weight steps; whoever is due first comes next.
        let mut due: BinaryHeap<Reverse<(u64, u32, u64)>> = weights
            .iter()
            .map(|(member, weight)| (*member, (total << 16) / u64::from(*weight)))
            .map(|(member, stride)| Reverse((stride / 2, member, stride)))
            .collect();
        let mut members = Vec::with_capacity(len as usize);
        while (members.len() as u64) < len {
            // The heap has one entry a member and every entry goes back in.
            let Some(Reverse((at, member, stride))) = due.pop() else { break };
            members.push(member);
            due.push(Reverse((at + stride, member, stride)));
        }
        Sequence { members, next: 0 }
    }

    /// The next one in turn that `may` take the call.
    pub fn next(&mut self, may: impl Fn(u32) -> bool) -> Option<u32> {
        for step in 0..self.members.len() {
            let at = (self.next + step) % self.members.len();
            if may(self.members[at]) {
                self.next = (at + 1) % self.members.len();
                return Some(self.members[at]);
            }
        }
        None
    }

    /// One at random that `may` take the call.
    pub fn random(&self, random: u32, may: impl Fn(u32) -> bool) -> Option<u32> {
        let len = self.members.len();
        let start = ((u64::from(random) * len as u64) >> 32) as usize;
        (0..len).map(|step| self.members[(start + step) % len]).find(|member| may(*member))
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_gives_every_node_its_share_evenly_spread() {
        let mut sequence = Sequence::new(&[(0, 30), (1, 20), (2, 10)]);
        let round: Vec<u32> = (0..6).map(|_| sequence.next(|_| true).unwrap()).collect();
        for (member, share) in [(0, 3), (1, 2), (2, 1)] {
            assert_eq!(round.iter().filter(|m| **m == member).count(), share, "{round:?}");
        }
        assert!(!round.windows(3).any(|w| w == [0, 0, 0]), "{round:?}");
    }

    #[test]
    fn who_may_not_take_the_call_is_passed_over() {
        let mut sequence = Sequence::new(&[(0, 1), (1, 1), (2, 1)]);
        assert_eq!((0..3).map(|_| sequence.next(|m| m == 1)).collect::<Vec<_>>(), [Some(1); 3]);
        assert_eq!(sequence.random(u32::MAX, |m| m != 2).map(|m| m < 2), Some(true));
        assert_eq!(sequence.next(|_| false), None);
        assert_eq!(Sequence::new(&[]).random(5, |_| true), None);
    }

    #[test]
    fn random_choices_follow_the_weights() {
        let sequence = Sequence::new(&[(0, 1), (1, 3)]);
        let hits =
            (0..4_000u32).filter(|s| sequence.random(s.wrapping_mul(2_654_435_761), |_| true) == Some(1)).count();
        assert!((2_900..3_100).contains(&hits), "{hits}");
    }
}
