//! What the edge sends for a call on its own account until it is answered: CANCEL, BYE, and its own final answer to a
//! caller who waits silently (RFC 3261 sections 9.1, 15.1, 17.1.2.2 and 17.2.1).

use std::time::Duration;

use crate::moment::Moment;
use crate::transport::flow::{ListenerId, Target};

use super::lease::Way;

/// First pause before sending again (RFC 3261 section 17.1.1.1).
pub const T1: Duration = Duration::from_millis(500);
/// Longest pause.
pub const T2: Duration = Duration::from_secs(4);
/// How long anything is sent again, and how long an end is remembered: 64 times T1.
pub const T64: Duration = Duration::from_secs(32);

/// What is being sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrandKind {
    /// CANCEL of the try with this number.
    Cancel(u8),
    /// BYE to a 2xx that came too late, from the try with this number.
    Bye(u8),
    /// The edge's own final answer, until the ACK comes.
    Final,
}

/// A message that is sent again until it is answered or [`T64`] is over.
#[derive(Debug)]
pub struct Errand {
    /// What it is.
    pub kind: ErrandKind,
    /// The message.
    pub bytes: Box<[u8]>,
    /// Where it goes.
    pub way: Way,
    /// When it is sent next.
    pub next: Moment,
    /// The pause after that.
    pub pause: Duration,
    /// When it is given up.
    pub until: Moment,
}

impl Errand {
    /// An errand that has been sent once at `now`.
    pub fn sent(kind: ErrandKind, bytes: Box<[u8]>, way: Way, now: Moment) -> Self {
        // A stream does not lose anything: there is nothing to send again, only an answer to wait for.
        let next = if way.protocol().is_unreliable() { now + T1 } else { now + T64 };
        Errand { kind, bytes, way, next, pause: T1 * 2, until: now + T64 }
    }

    /// Notes that it was sent again at `now`.
    pub fn sent_again(&mut self, now: Moment) {
        self.next = now + self.pause;
        self.pause = (self.pause * 2).min(T2);
    }
}

/// A target as the edge reaches it from a listener of its own.
pub fn way_to(listener: ListenerId, target: Target) -> Way {
    Way::Target { listener, target }
}
