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

/// What is being sent for one call. Most calls have nothing, and it takes a word of their memory.
#[derive(Debug, Default)]
pub struct Errands(Option<Box<List>>);

#[derive(Debug, Default)]
struct List(Vec<Errand>);

impl Errands {
    /// Adds one.
    pub fn push(&mut self, errand: Errand) {
        self.0.get_or_insert_default().0.push(errand);
    }

    /// Forgets those that are not to be kept.
    pub fn retain(&mut self, keep: impl FnMut(&Errand) -> bool) {
        let Some(list) = &mut self.0 else { return };
        list.0.retain(keep);
        if list.0.is_empty() {
            self.0 = None;
        }
    }

    /// All of them, in the order they came.
    pub fn iter(&self) -> impl Iterator<Item = &Errand> {
        self.0.iter().flat_map(|list| &list.0)
    }

    /// The same, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Errand> {
        self.0.iter_mut().flat_map(|list| &mut list.0)
    }

    /// True without one.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

/// A target as the edge reaches it from a listener of its own.
pub fn way_to(listener: ListenerId, target: Target) -> Way {
    Way::Target { listener, target }
}
