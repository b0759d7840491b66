//! Whether more comes than can be carried, from how full the kernel's buffer of a socket is.
//!
//! Beyond that the kernel would throw messages away, whichever comes: the BYE of a call that is up as soon as the INVITE of a new one, and both come again
//! and make it worse. So new work is refused before the buffer is full, which costs little, and what is under way goes on.

use std::time::Duration;

use crate::moment::Moment;
use crate::transport::udp::Backlog;

/// How long the buffer has to be nearly full. A burst is no overload.
const LASTING: Duration = Duration::from_millis(5);

/// What may wait at most before it counts as pressure, in octets as the kernel counts them: some five hundred messages, which take a few
/// milliseconds. In a longer queue they grow cold in the processor's caches, and each costs half as much again, the ones of calls that are up too.
const WAITING_MAX: u64 = 1 << 20;

/// One socket's pressure, as one thread sees it.
#[derive(Debug, Default)]
pub struct Pressure {
    high_since: Option<Moment>,
    is_overloaded: bool,
}

impl Pressure {
    /// Takes in what waits behind a batch; nothing does when `backlog` is none. True while new work is to be refused: from three
    /// quarters of the buffer, or [`WAITING_MAX`], until a third of that.
    pub fn note(&mut self, backlog: Option<Backlog>, now: Moment) -> bool {
        let Some(Backlog { held, room }) = backlog else {
            *self = Pressure::default();
            return false;
        };
        let (held, high) = (u64::from(held), (u64::from(room) * 3 / 4).min(WAITING_MAX));
        if held * 3 < high {
            *self = Pressure::default();
        } else if held >= high {
            let since = *self.high_since.get_or_insert(now);
            self.is_overloaded |= now.since(since) >= LASTING;
        } else if !self.is_overloaded {
            self.high_since = None;
        }
        self.is_overloaded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::ZERO + Duration::from_millis(millis)
    }

    fn filled(percent: u32) -> Option<Backlog> {
        Some(Backlog { held: percent, room: 100 })
    }

    #[test]
    fn a_burst_is_no_overload_and_a_buffer_that_stays_full_is() {
        let mut pressure = Pressure::default();
        assert!(!pressure.note(filled(90), at(0)));
        assert!(!pressure.note(filled(95), at(4)));
        assert!(!pressure.note(filled(50), at(5)), "it is carried");
        assert!(!pressure.note(filled(90), at(6)));
        assert!(!pressure.note(filled(90), at(10)));
        assert!(pressure.note(filled(90), at(11)));
    }

    #[test]
    fn it_is_over_when_little_waits_or_nothing() {
        let overloaded = || {
            let mut pressure = Pressure::default();
            pressure.note(filled(90), at(0));
            assert!(pressure.note(filled(90), at(5)));
            pressure
        };
        let mut pressure = overloaded();
        assert!(pressure.note(filled(50), at(6)), "not at half");
        assert!(!pressure.note(filled(24), at(7)));
        assert!(!pressure.note(filled(90), at(8)), "and begins anew");
        assert!(!overloaded().note(None, at(9)));
    }

    #[test]
    fn a_large_buffer_is_no_reason_to_let_more_wait() {
        let waiting = |held| Some(Backlog { held, room: 8 << 20 });
        let mut pressure = Pressure::default();
        pressure.note(waiting(1 << 20), at(0));
        assert!(pressure.note(waiting(1 << 20), at(5)));
        assert!(!pressure.note(waiting(300 << 10), at(6)));
    }
}
