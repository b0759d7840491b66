//! What every part of the simulated world shares: the time, what is still to happen, the network, and the truth.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use cordboard::moment::Moment;

use crate::faults::{Fault, Trouble};
use crate::gateway;
use crate::message::Octets;
use crate::network::Network;
use crate::node;
use crate::record::{Record, Tally};
use crate::settings::Settings;
use crate::trace::Trace;

/// Somebody with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    Edge,
    Gateway(u8),
    Node(u8),
}

impl Who {
    /// Where he is.
    pub fn address(self) -> SocketAddr {
        let ip = match self {
            Who::Edge => [10, 0, 0, 1],
            Who::Gateway(number) => [10, 0, 1, number],
            Who::Node(number) => [10, 0, 2, number],
        };
        SocketAddr::new(IpAddr::from(ip), 5060)
    }

    /// Who is there.
    pub fn at(address: SocketAddr) -> Option<Who> {
        let IpAddr::V4(ip) = address.ip() else { return None };
        match ip.octets() {
            _ if address.port() != 5060 => None,
            [10, 0, 0, 1] => Some(Who::Edge),
            [10, 0, 1, number] => Some(Who::Gateway(number)),
            [10, 0, 2, number] => Some(Who::Node(number)),
            _ => None,
        }
    }
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Who::Edge => f.pad("edge"),
            Who::Gateway(number) => f.pad(&format!("gw-{number}")),
            Who::Node(number) => f.pad(&format!("ast-{number}")),
        }
    }
}

/// Something that happens at a moment.
#[derive(Clone, Debug)]
pub enum Event {
    /// A datagram arrives.
    Deliver { from: Who, to: Who, octets: Octets },
    /// ICMP tells the edge that nobody listens there.
    Refused(Who),
    /// A gateway's timer.
    Gateway(u8, gateway::Timer),
    /// A node's timer, of one of its lives.
    Node(u8, u32, node::Timer),
    /// Something goes wrong, or an operator acts.
    Fault(Fault),
}

#[derive(Debug)]
struct Scheduled {
    at: Moment,
    /// Among events of one moment the one that was planned first comes first.
    order: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// Something that must never happen did.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The call that it concerns.
    pub call: Option<u32>,
    /// What.
    pub what: String,
}

/// What every part shares.
pub struct Context {
    pub settings: Settings,
    pub now: Moment,
    /// How far the time of day is from the clock that never goes back, in milliseconds.
    pub wall_offset: i64,
    pub network: Network,
    /// What was wrong, and when.
    pub troubles: Vec<Trouble>,
    /// When the edge's process ended.
    pub restarts: Vec<Moment>,
    /// When the edge lost what it had written.
    pub amnesia: Vec<Moment>,
    /// What clock jumps add to every bound.
    pub grace: Duration,
    pub records: Vec<Record>,
    pub tally: Tally,
    pub trace: Trace,
    /// The first thing that went wrong with the edge.
    pub violation: Option<Violation>,
    queue: BinaryHeap<Reverse<Scheduled>>,
    order: u64,
}

impl Context {
    pub fn new(settings: Settings, network: Network, trace: Trace) -> Self {
        Context {
            settings,
            now: Moment::from_micros(1_000_000),
            wall_offset: 1_800_000_000_000,
            network,
            troubles: Vec::new(),
            restarts: Vec::new(),
            amnesia: Vec::new(),
            grace: Duration::ZERO,
            records: Vec::new(),
            tally: Tally::default(),
            trace,
            violation: None,
            queue: BinaryHeap::new(),
            order: 0,
        }
    }

    /// Plans something.
    pub fn after(&mut self, pause: Duration, event: Event) {
        self.order += 1;
        self.queue.push(Reverse(Scheduled { at: self.now + pause, order: self.order, event }));
    }

    /// When something happens next.
    pub fn next_at(&self) -> Moment {
        self.queue.peek().map_or(Moment::NEVER, |Reverse(scheduled)| scheduled.at)
    }

    /// What happens next, and the time becomes its moment.
    pub fn next(&mut self) -> Option<Event> {
        let Reverse(scheduled) = self.queue.pop()?;
        self.now = scheduled.at;
        Some(scheduled.event)
    }

    /// Puts a datagram on the wire.
    pub fn send(&mut self, from: Who, to: Who, octets: &Octets) {
        for pause in self.network.carry(from, to).into_iter().flatten() {
            self.after(pause, Event::Deliver { from, to, octets: octets.clone() });
        }
    }

    /// Notes that the edge did what it must never do. The first such thing counts.
    pub fn violate(&mut self, call: Option<u32>, what: impl Into<String>) {
        self.violation.get_or_insert_with(|| Violation { call, what: what.into() });
    }

    /// The time of day in milliseconds.
    pub fn wall_millis(&self) -> u64 {
        ((self.now.micros() / 1_000) as i64 + self.wall_offset) as u64
    }
}
