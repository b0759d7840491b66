//! The clocks of the process.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::moment::{Moment, Reading};

/// A clock that never goes back, and the time of day beside it.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    /// A clock that starts now. Its first moment is an hour from zero, so that earlier moments can be told.
    pub fn new() -> Self {
        Clock { start: Instant::now() }
    }

    /// This moment.
    pub fn now(&self) -> Moment {
        Moment::from_micros(HEAD_START_MICROS + self.start.elapsed().as_micros() as u64)
    }

    /// Both clocks at this moment.
    pub fn reading(&self) -> Reading {
        Reading { now: self.now(), unix_millis: wall_millis() }
    }

    /// When a moment was or will be, in milliseconds of Unix time.
    pub fn unix_millis(&self, at: Moment) -> u64 {
        self.reading().unix_millis(at)
    }

    /// How long the process has run.
    pub fn uptime(&self) -> std::time::Duration {
        self.start.elapsed()
    }
}

const HEAD_START_MICROS: u64 = 3_600 * 1_000_000;

/// The time of day in milliseconds of Unix time.
pub fn wall_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
