//! Whether more comes than can be carried, from how full the kernel's buffer of a socket is.
//!
//! Beyond that the kernel would throw messages away, whichever comes: the BYE of a call that is up as soon as the INVITE of a new one, and both come again
//! and make it worse. So new work is refused before the buffer is full, which costs little, and what is under way goes on.

use std::time::Duration;

use crate::moment::Moment;
use crate::transport::udp::Backlog;

/// How long the buffer has to be nearly full. A burst is no overload.
const LASTING: Duration = Duration::from_millis(5);

/// One socket's pressure, as one thread sees it.
#[derive(Debug, Default)]
pub struct Pressure {
    high_since: Option<Moment>,
    is_overloaded: bool,
}

impl Pressure {
    /// Takes in what waits behind a batch; nothing does when `backlog` is none. True while new work is to be refused: from three
    /// quarters of the buffer until one quarter.
    pub fn note(&mut self, backlog: Option<Backlog>, now: Moment) -> bool {
        let Some(Backlog { held, room }) = backlog else {
            *self = Pressure::default();
            return false;
        };
        let (held, room) = (u64::from(held), u64::from(room));
        if held * 4 < room {
            *self = Pressure::default();
        } else if held * 4 >= room * 3 {
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
}
