//! The clocks of the process.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::moment::Moment;

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

    /// When a moment was or will be, in milliseconds of Unix time.
    pub fn unix_millis(&self, at: Moment) -> u64 {
        let (now, wall) = (self.now(), wall_millis());
        if at >= now {
            wall.saturating_add(at.since(now).as_millis() as u64)
        } else {
            wall.saturating_sub(now.since(at).as_millis() as u64)
        }
    }

    /// The moment of a Unix time in milliseconds.
    pub fn moment_of(&self, unix_millis: u64) -> Moment {
        let (now, wall) = (self.now(), wall_millis());
        if unix_millis >= wall {
            now + std::time::Duration::from_millis(unix_millis - wall)
        } else {
            now.before(std::time::Duration::from_millis(wall - unix_millis))
        }
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
