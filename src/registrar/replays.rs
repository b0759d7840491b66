//! Which counts of which nonces were used: a recorded answer is worth nothing a second time (RFC 7616 section 5.5).

use std::collections::HashMap;

use super::nonce::LIFE_SECS;

/// Nonces that are remembered in each of two halves.
const HALF_MAX: usize = 65_536;

/// Highest count of every nonce that is still alive.
///
/// Two halves that take turns: the younger one is filled, the older one is dropped as a whole once all in it have
/// run out. When the younger one is full before its time, the older one goes early, and nonces that were made before then
/// are answered as stale: a client asks once more, and no replay slips through.
#[derive(Debug, Default)]
pub struct Replays {
    young: HashMap<u64, u32>,
    old: HashMap<u64, u32>,
    turned_secs: u64,
    /// Nonces from before this second are not known any more.
    forgotten_before_secs: u64,
}

impl Replays {
    /// Whether a nonce with this count is used for the first time, and notes that it is. Counts of one nonce rise.
    pub fn admit(&mut self, nonce: u64, made_secs: u64, count: u32, now_secs: u64) -> bool {
        self.turn(now_secs);
        if made_secs < self.forgotten_before_secs {
            return false;
        }
        let known = self.young.get(&nonce).or_else(|| self.old.get(&nonce));
        if known.is_some_and(|highest| count <= *highest) {
            return false;
        }
        if self.young.len() >= HALF_MAX && !self.young.contains_key(&nonce) {
            // The older half goes, and with it nonces that were used before the younger one was begun.
            self.forgotten_before_secs = self.turned_secs + 1;
            self.rotate(now_secs);
            if made_secs < self.forgotten_before_secs {
                return false;
            }
        }
        self.young.insert(nonce, count);
        true
    }

    /// Nonces that are remembered.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// True when none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn turn(&mut self, now_secs: u64) {
        // A nonce lives for LIFE_SECS, and so do two clocks' differences: what was put in before then has run out.
        if now_secs.abs_diff(self.turned_secs) > LIFE_SECS + 60 {
            self.rotate(now_secs);
        }
    }

    fn rotate(&mut self, now_secs: u64) {
        self.old = std::mem::take(&mut self.young);
        self.turned_secs = now_secs;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_good_once_and_counts_rise() {
        let mut replays = Replays::default();
        assert!(replays.admit(1, 1_000, 1, 1_000));
        assert!(!replays.admit(1, 1_000, 1, 1_000), "a replay");
        assert!(replays.admit(1, 1_000, 3, 1_100));
        assert!(!replays.admit(1, 1_000, 2, 1_100), "an older one");
        assert!(replays.admit(2, 1_000, 1, 1_100));
    }

    #[test]
    fn a_nonce_is_remembered_for_as_long_as_it_can_be_answered() {
        let mut replays = Replays::default();
        for second in 0..3 * LIFE_SECS {
            assert!(replays.admit(second, second, 1, second));
            let oldest = second.saturating_sub(LIFE_SECS);
            assert!(!replays.admit(oldest, oldest, 1, second), "{oldest} at {second}");
        }
        assert!(replays.len() <= 3 * LIFE_SECS as usize);
    }

    #[test]
    fn a_flood_makes_the_table_forget_and_old_nonces_stale() {
        let mut replays = Replays::default();
        assert!(replays.admit(1, 1_000, 1, 1_000));
        for nonce in 2..3 * HALF_MAX as u64 {
            replays.admit(nonce, 1_001, 1, 1_001);
        }
        assert!(replays.len() <= 2 * HALF_MAX);
        assert!(!replays.admit(1, 1_000, 1, 1_001), "forgotten, so not believed");
        assert!(replays.admit(u64::MAX, 1_002, 1, 1_002), "new ones are");
    }
}
