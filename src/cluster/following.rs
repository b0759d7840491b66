//! How far an edge has read the log, and how it goes on.

use crate::store::redis::{LogHeld, Snapshot};

/// How far an edge has read the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Following {
    /// The last place that was read; none before anything was.
    after: Option<String>,
    /// The epoch in which that was written.
    epoch: Option<String>,
}

/// How to go on when a connection is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// By all that the store holds, as at the start.
    Start,
    /// What was missed still stands in the log: it is heard in its order, ends and all.
    GoOn,
    /// The log has lost what was missed: what the store does not hold is over.
    EndMissing,
    /// Another log has begun, in which all that is known is told anew.
    Afresh,
    /// The store does not know yet that it has forgotten something: a heartbeat tells it so.
    Wait,
}

impl Following {
    /// The place behind which to read.
    pub fn after(&self) -> &str {
        self.after.as_deref().unwrap_or("0")
    }

    /// How to go on, by what the log holds and the epoch that the last heartbeat brought.
    pub fn next(&self, held: &LogHeld, beaten: Option<&str>) -> Next {
        if held.epoch.is_none() || held.epoch.as_deref() != beaten {
            return Next::Wait;
        }
        let Some(after) = self.after.as_deref().map(place) else { return Next::Start };
        let (first, last) = held.ends.as_ref().map_or(((0, 0), (0, 0)), |(first, last)| (place(first), place(last)));
        match () {
            () if first <= after && after <= last => Next::GoOn,
            // A server that was started with what it knew a while ago.
            () if after > last && self.epoch == held.epoch => Next::Wait,
            () if held.is_full => Next::EndMissing,
            () if after == (0, 0) => Next::GoOn,
            () => Next::Afresh,
        }
    }

    /// True when the log has lost entries behind the last place that was read.
    pub fn has_missed(&self, held: &LogHeld) -> bool {
        let first = held.ends.as_ref().map(|(first, _)| place(first));
        held.is_full && first.is_some_and(|first| place(self.after()) < first)
    }

    /// Notes that the log was read up to a place.
    pub fn read_to(&mut self, last: String, beaten: Option<&str>) {
        let began = beaten.and_then(began).map(place);
        if self.epoch.as_deref() != beaten && began.is_some_and(|began| began <= place(&last)) {
            self.epoch = beaten.map(str::to_owned);
        }
        self.after = Some(last);
    }

    /// Notes that all that the store holds was taken in.
    pub fn caught_up(&mut self, snapshot: &Snapshot, next: Next) {
        let began = snapshot.epoch.as_deref().and_then(began).filter(|_| next == Next::Afresh);
        self.after = Some(began.unwrap_or(&snapshot.after).to_owned());
        self.epoch.clone_from(&snapshot.epoch);
    }
}

/// The place of the log behind which an epoch began.
fn began(epoch: &str) -> Option<&str> {
    epoch.split_once('/')?.1.split('@').next()
}

/// A place in the log: milliseconds, and a number among the entries of one. What is none is its beginning.
fn place(id: &str) -> (u64, u64) {
    let read = |(millis, number): (&str, &str)| Some((millis.parse().ok()?, number.parse().ok()?));
    id.split_once('-').and_then(read).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(ends: Option<(&str, &str)>, epoch: &str, is_full: bool) -> LogHeld {
        let ends = ends.map(|(first, last)| (first.to_owned(), last.to_owned()));
        LogHeld { ends, epoch: Some(epoch.to_owned()), is_full }
    }

    fn following(after: &str, epoch: &str) -> Following {
        Following { after: Some(after.to_owned()), epoch: Some(epoch.to_owned()) }
    }

    #[test]
    fn places_in_the_log_are_numbers_and_no_text() {
        assert!(place("999-2") < place("1000-1") && place("1000-9") < place("1000-10"));
        assert_eq!(place("0"), (0, 0));
    }

    #[test]
    fn what_still_stands_in_the_log_is_read_on() {
        let log = held(Some(("20-0", "30-1")), "a/0-0@1", false);
        for after in ["20-0", "30-1"] {
            assert_eq!(following(after, "a/0-0@1").next(&log, Some("a/0-0@1")), Next::GoOn);
        }
        assert_eq!(following("0", "a/0-0@1").next(&log, Some("a/0-0@1")), Next::GoOn, "from its beginning");
        assert_eq!(Following::default().next(&log, Some("a/0-0@1")), Next::Start);
    }

    #[test]
    fn what_has_left_a_log_that_was_full_is_over() {
        let log = held(Some(("20-0", "30-1")), "a/0-0@1", true);
        assert_eq!(following("19-9", "a/0-0@1").next(&log, Some("a/0-0@1")), Next::EndMissing);
        assert!(following("19-9", "a/0-0@1").has_missed(&log));
        assert!(!following("20-0", "a/0-0@1").has_missed(&log));
    }

    #[test]
    fn a_log_that_was_emptied_is_read_from_where_its_epoch_began() {
        let mut following = following("19-9", "a/0-0@1");
        let log = held(Some(("20-0", "30-1")), "b/0-0@1", false);
        assert_eq!(following.next(&log, Some("b/0-0@1")), Next::Afresh);
        let snapshot = Snapshot { after: "30-1".into(), entries: Vec::new(), epoch: Some("b/0-0@1".into()) };
        following.caught_up(&snapshot, Next::Afresh);
        assert_eq!(following.after(), "0-0");
    }

    #[test]
    fn a_store_that_has_forgotten_and_does_not_know_it_is_not_read() {
        let log = held(Some(("20-0", "30-1")), "a/0-0@1", false);
        let following = following("30-2", "a/0-0@1");
        assert_eq!(following.next(&log, Some("a/0-0@1")), Next::Wait, "no heartbeat has come since");
        let renewed = held(Some(("20-0", "30-1")), "b/30-1@2", false);
        assert_eq!(following.next(&renewed, Some("a/0-0@1")), Next::Wait, "somebody else's heartbeat has");
        assert_eq!(following.next(&renewed, Some("b/30-1@2")), Next::Afresh);
        assert_eq!(following.next(&LogHeld::default(), Some("a/0-0@1")), Next::Wait, "emptied just now");
    }

    #[test]
    fn whoever_reads_on_beyond_the_beginning_of_an_epoch_is_in_it() {
        let mut following = following("20-0", "a/0-0@1");
        following.read_to("25-0".into(), Some("b/30-0@1"));
        assert_eq!(following, self::following("25-0", "a/0-0@1"));
        following.read_to("31-0".into(), Some("b/30-0@1"));
        assert_eq!(following, self::following("31-0", "b/30-0@1"));
    }
}
