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

/// Both clocks at one moment: what turns moments of this run into times that mean something to the next, and back.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// The clock that never goes back.
    pub now: Moment,
    /// The time of day in milliseconds of Unix time.
    pub unix_millis: u64,
}

impl Reading {
    /// When a moment was or will be, in milliseconds of Unix time.
    pub fn unix_millis(self, at: Moment) -> u64 {
        if at >= self.now {
            self.unix_millis.saturating_add(at.since(self.now).as_millis() as u64)
        } else {
            self.unix_millis.saturating_sub(self.now.since(at).as_millis() as u64)
        }
    }

    /// The moment of a Unix time in milliseconds.
    pub fn moment_of(self, unix_millis: u64) -> Moment {
        if unix_millis >= self.unix_millis {
            self.now + Duration::from_millis(unix_millis - self.unix_millis)
        } else {
            self.now.before(Duration::from_millis(self.unix_millis - unix_millis))
        }
    }
}

/// Milliseconds by which clocks may differ before it is heeded.
pub const CLOCKS_DIFFER_MILLIS: i64 = 2_000;

/// How far the time of day is ahead of the clock that never goes back: that changes when somebody sets it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeOfDay(Option<i64>);

impl TimeOfDay {
    /// By how many milliseconds it was set ahead since it was last looked at; 0 when it was not.
    pub fn set_ahead(&mut self, clocks: Reading) -> i64 {
        let ahead = clocks.unix_millis as i64 - (clocks.now.0 / 1_000) as i64;
        let known = self.0.get_or_insert(ahead);
        let by = ahead - *known;
        if by.abs() <= CLOCKS_DIFFER_MILLIS {
            return 0;
        }
        *known = ahead;
        by
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_that_is_set_is_noticed_once() {
        let mut time_of_day = TimeOfDay::default();
        let at = |secs: u64, unix_millis| Reading { now: Moment(secs * 1_000_000), unix_millis };
        assert_eq!(time_of_day.set_ahead(at(10, 50_000)), 0);
        assert_eq!(time_of_day.set_ahead(at(11, 52_500)), 0, "a second and a half is no matter");
        assert_eq!(time_of_day.set_ahead(at(12, 3_652_000)), 3_600_000);
        assert_eq!(time_of_day.set_ahead(at(13, 3_653_000)), 0);
    }
}
