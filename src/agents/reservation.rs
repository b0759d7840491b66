//! Holding a free agent for a call that is on its way to him.

use std::time::Duration;

use crate::moment::Moment;

/// How long an agent is held unless something else is asked.
pub const HOLD: Duration = Duration::from_secs(10);

/// The longest that an agent is held for a call that may never come.
pub const HOLD_MAX: Duration = Duration::from_secs(60);

/// How long an agent stays held here whom another edge was quicker to hold, if that edge is not heard.
pub const LOST_HOLD: Duration = Duration::from_secs(1);

/// That an agent is to be held, here or as another edge says.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    /// What the call shows.
    pub token: u64,
    /// When it ends by itself, after [`HOLD_MAX`] at the latest.
    pub ends: Moment,
    /// The queue that his wrap-up goes by.
    pub queue: Option<&'a str>,
}

/// That an agent is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// What the call shows.
    pub token: u64,
    /// When it ends by itself.
    pub ends: Moment,
    /// Since when he had been free: his place among the others when nobody uses it.
    pub(super) idle_since: Moment,
    /// The queue that his wrap-up goes by, when its call does not name one.
    pub(super) queue: Option<Box<str>>,
}

/// Who is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// He has all of these; none for anybody.
    pub skills: &'a [&'a str],
    /// For whom; only shown, and his wrap-up goes by it.
    pub queue: Option<&'a str>,
    /// For how long, at most [`HOLD_MAX`].
    pub hold: Duration,
    /// What the call will show. Nobody must be able to guess it.
    pub token: u64,
}

/// What became of reservations since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reservations {
    /// Somebody was held.
    pub made: u64,
    /// Nobody who was wanted was free.
    pub refused: u64,
    /// The call came.
    pub used: u64,
    /// It did not come in time.
    pub expired: u64,
    /// It did not come, and he said that he takes no calls, or his phone left.
    pub withdrawn: u64,
}

impl Reservations {
    /// Each with its metric label.
    pub fn by_outcome(self) -> [(&'static str, u64); 5] {
        [
            ("made", self.made),
            ("refused", self.refused),
            ("used", self.used),
            ("expired", self.expired),
            ("withdrawn", self.withdrawn),
        ]
    }
}

/// A token as calls carry it: 16 hexadecimal digits.
pub fn write_token(token: u64) -> String {
    format!("{token:016x}")
}

/// Reads it back; `None` for anything else.
pub fn read_token(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() == 16)?;
    text.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_as_it_was_and_nothing_else_is_one() {
        for token in [0, 7, u64::MAX] {
            assert_eq!(read_token(write_token(token).as_bytes()), Some(token));
        }
        for text in ["", "7", "+000000000000001", "00000000000000zz", "00000000000000001", "\u{e9}0000000000000"] {
            assert_eq!(read_token(text.as_bytes()), None, "{text}");
        }
    }
}
