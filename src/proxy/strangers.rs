//! How much is read from unknown addresses: so many messages a second from each, whatever they contain.
//!
//! Judged before a message is parsed, so that a flood costs next to nothing. The table is bounded: when it is full of
//! addresses that were heard lately, all of them begin anew, which lets a flood from a million addresses through at its
//! own cost and never grows.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::moment::Moment;

/// Addresses that are remembered.
const SOURCES_MAX: usize = 4_096;

/// Buckets of unknown addresses.
#[derive(Debug, Default)]
pub struct Strangers {
    buckets: HashMap<IpAddr, Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Messages that may still come, in thousandths.
    left: u64,
    filled: Moment,
}

impl Strangers {
    /// Whether one more message of this address is read. A second's worth may come at once.
    pub fn admit(&mut self, source: IpAddr, rate: u32, now: Moment) -> bool {
        if rate == 0 {
            return true;
        }
        let full = u64::from(rate) * 1_000;
        if self.buckets.len() >= SOURCES_MAX && !self.buckets.contains_key(&source) {
            self.buckets.clear();
        }
        let bucket = self.buckets.entry(source).or_insert(Bucket { left: full, filled: now });
        let earned = now.since(bucket.filled).as_micros() as u64 * u64::from(rate) / 1_000;
        if earned > 0 {
            bucket.left = (bucket.left + earned).min(full);
            bucket.filled = now;
        }
        let admitted = bucket.left >= 1_000;
        if admitted {
            bucket.left -= 1_000;
        }
        admitted
    }

    /// A message that was admitted turned out to be a known one's, and does not count.
    pub fn give_back(&mut self, source: IpAddr, rate: u32) {
        if let Some(bucket) = self.buckets.get_mut(&source) {
            bucket.left = (bucket.left + 1_000).min(u64::from(rate) * 1_000);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_micros(millis * 1_000)
    }

    #[test]
    fn a_flood_is_cut_to_its_rate_and_nobody_else_is_hurt() {
        let (mut strangers, flooder, other) = (Strangers::default(), [6, 6, 6, 6].into(), [7, 7, 7, 7].into());
        let admitted = (0..20_000u64).filter(|n| strangers.admit(flooder, 20, at(n / 20))).count();
        assert!((39..=41).contains(&admitted), "{admitted} in one second: a full bucket, and a second's worth");
        assert!(strangers.admit(other, 20, at(1_000)));
        assert!((0..1_000).all(|_| strangers.admit(flooder, 0, at(1_000))), "no limit");
    }

    #[test]
    fn what_was_given_back_does_not_count_and_is_never_more_than_a_second_s_worth() {
        let (mut strangers, phone) = (Strangers::default(), IpAddr::from([7, 7, 7, 7]));
        for _ in 0..1_000 {
            assert!(strangers.admit(phone, 20, at(0)));
            strangers.give_back(phone, 20);
        }
        (0..1_000).for_each(|_| strangers.give_back(phone, 20));
        assert_eq!((0..1_000).filter(|_| strangers.admit(phone, 20, at(0))).count(), 20);
    }

    #[test]
    fn the_table_never_grows_beyond_its_bound() {
        let mut strangers = Strangers::default();
        for n in 0..20_000u32 {
            strangers.admit(n.to_be_bytes().into(), 20, at(1));
        }
        assert!(strangers.buckets.len() <= SOURCES_MAX);
    }
}
