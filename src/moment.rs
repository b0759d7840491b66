//! A point in time, as the pure parts see it.
//!
//! Only the shell reads clocks. It hands one [`Moment`] to everything that belongs to one batch of messages, and a
//! simulation hands out whatever it likes.

use std::time::Duration;

/// Microseconds on a clock that never goes back and has no relation to the time of day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The clock's zero.
    pub const ZERO: Moment = Moment(0);
    /// Later than anything.
    pub const NEVER: Moment = Moment(u64::MAX);

    /// The moment so many microseconds after the clock's zero.
    pub fn from_micros(micros: u64) -> Self {
        Moment(micros)
    }

    /// Microseconds since the clock's zero.
    pub fn micros(self) -> u64 {
        self.0
    }

    /// The time that passed since `earlier`; nothing when that lies ahead.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The moment so much earlier, not before the clock's zero.
    pub fn before(self, span: Duration) -> Self {
        Moment(self.0.saturating_sub(micros(span)))
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, span: Duration) -> Moment {
        Moment(self.0.saturating_add(micros(span)))
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
