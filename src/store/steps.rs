//! Giving way in long work.
//!
//! What changed is carried into the database by a thread that nobody waits for. On a small machine it shares a processor with who carries messages, and
//! a busy quarter of a second is some milliseconds of work.

use std::thread::yield_now;

/// After so many steps whoever waits for this processor gets it: some 50 µs of work.
const STEPS: usize = 32;

/// Counts the steps of one piece of work.
#[derive(Debug, Default)]
pub struct Steps(usize);

impl Steps {
    /// One more step was done.
    pub fn step(&mut self) {
        self.0 += 1;
        if self.0.is_multiple_of(STEPS) {
            yield_now();
        }
    }
}
