//! Client transactions of gateways and nodes (RFC 3261 section 17.1).

use std::time::Duration;

use cordboard::moment::Moment;

use crate::message::Octets;

pub const T1: Duration = Duration::from_millis(500);
pub const T2: Duration = Duration::from_secs(4);
pub const T64: Duration = Duration::from_secs(32);

/// A request that waits for its final answer.
#[derive(Clone, Debug)]
pub struct Client {
    pub cseq: u32,
    pub method: &'static str,
    pub octets: Octets,
    pub until: Moment,
    pause: Duration,
    /// An INVITE that was answered provisionally is not repeated.
    pub has_provisional: bool,
}

/// What a timer of a transaction asks for.
pub enum Due {
    /// Send again, and come back after this.
    Again(Duration),
    /// Nothing is to be done any more.
    Nothing,
    /// It was never answered.
    TimedOut,
}

impl Client {
    /// A request that was sent at `now` for the first time. The timer is due after [`T1`].
    pub fn sent(method: &'static str, cseq: u32, octets: Octets, now: Moment) -> Self {
        Client { cseq, method, octets, until: now + T64, pause: T1, has_provisional: false }
    }

    /// Timers A and B, E and F.
    pub fn due(&mut self, now: Moment) -> Due {
        let is_invite = self.method == "INVITE";
        if is_invite && self.has_provisional {
            return Due::Nothing;
        }
        if now >= self.until {
            return Due::TimedOut;
        }
        self.pause = if is_invite { self.pause * 2 } else { (self.pause * 2).min(T2) };
        Due::Again(self.pause.min(self.until.since(now)))
    }
}
