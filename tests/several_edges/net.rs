//! Time, what is still to happen, and who is where.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use cordboard::cluster::asking::{Answer, Question};
use cordboard::moment::Moment;

use crate::faults::Fault;
use crate::random::Random;
use crate::settings::Settings;

/// Somebody with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    Edge(u8),
    Gateway(u8),
    Node(u16),
    Phone(u8),
}

impl Who {
    pub fn address(self) -> SocketAddr {
        let ip = match self {
            Who::Edge(number) => [10, 0, 0, number],
            Who::Gateway(number) => [10, 0, 1, number],
            Who::Phone(number) => [10, 0, 3, number],
            Who::Node(number) => Settings::node_host(number),
        };
        SocketAddr::new(IpAddr::from(ip), 5060)
    }

    pub fn at(address: SocketAddr) -> Who {
        let IpAddr::V4(ip) = address.ip() else { panic!("{address}: nobody is there") };
        match ip.octets() {
            [10, 0, 0, number] => Who::Edge(number),
            [10, 0, 1, number] => Who::Gateway(number),
            [10, 0, 3, number] => Who::Phone(number),
            [10, 0, block, number] if block >= 100 => Who::Node(u16::from(block - 100) * 250 + u16::from(number) - 1),
            _ => panic!("{address}: nobody is there"),
        }
    }
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Who::Edge(number) => write!(f, "edge-{number}"),
            Who::Gateway(number) => write!(f, "gw-{number}"),
            Who::Node(number) => write!(f, "ast-{number}"),
            Who::Phone(number) => write!(f, "phone-{number}"),
        }
    }
}

/// A task of an edge's that has to do with the shared store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    Tick,
    Beat,
    Tell,
    Read,
    /// Reads every now and then, whether or not there is something.
    Retry,
}

/// Something that happens at a moment.
#[derive(Clone, Debug)]
pub enum Event {
    Datagram {
        from: Who,
        to: Who,
        octets: Rc<[u8]>,
    },
    /// A task of one run of an edge.
    Task(u8, u32, Task),
    /// A question reaches Redis; the edge waits no longer than until then.
    Ask {
        edge: u8,
        run: u32,
        question: Question,
        octets: Rc<[u8]>,
        from: Who,
        until: Moment,
    },
    Answer {
        edge: u8,
        run: u32,
        answer: Answer,
        octets: Rc<[u8]>,
        from: Who,
    },
    /// A call is made.
    Begin(usize),
    /// A caller or somebody called looks at his timers.
    Look(usize, Who),
    /// Somebody called says something of himself.
    Progress(usize, Who, u16),
    /// A phone registers.
    Register(u8),
    Fault(Fault),
}

struct Scheduled {
    at: Moment,
    order: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
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

/// Lines that are kept for a run that fails.
const LINES_MAX: usize = 4_000;

/// Time, chance and the network.
pub struct Net {
    pub now: Rc<Cell<Moment>>,
    pub random: Random,
    queue: BinaryHeap<Reverse<Scheduled>>,
    order: u64,
    /// Which edge is at an edge's address.
    pub serves: Vec<u8>,
    weather: [u64; 3],
    /// The last that happened.
    pub lines: VecDeque<String>,
    pub prints: bool,
}

impl Net {
    pub fn new(settings: &Settings, prints: bool) -> Self {
        Net {
            now: Rc::new(Cell::new(Moment::from_micros(1_000_000))),
            random: Random::new(settings.seed),
            queue: BinaryHeap::new(),
            order: 0,
            serves: (0..=settings.edges).collect(),
            weather: [settings.loss, settings.doubles, settings.late],
            lines: VecDeque::new(),
            prints,
        }
    }

    pub fn now(&self) -> Moment {
        self.now.get()
    }

    pub fn after(&mut self, span: Duration, event: Event) {
        self.at(self.now() + span, event);
    }

    pub fn at(&mut self, at: Moment, event: Event) {
        self.order += 1;
        self.queue.push(Reverse(Scheduled { at, order: self.order, event }));
    }

    /// The next that happens before a moment.
    pub fn next(&mut self, before: Moment) -> Option<Event> {
        if self.queue.peek().is_none_or(|Reverse(next)| next.at > before) {
            self.now.set(before);
            return None;
        }
        let Reverse(next) = self.queue.pop()?;
        self.now.set(next.at);
        Some(next.event)
    }

    /// Sends a datagram on its way, or several, or none.
    pub fn send(&mut self, from: Who, to: Who, octets: &[u8]) {
        let [loss, doubles, late] = self.weather;
        let copies = match self.random.below(1_000) {
            draw if draw < loss => 0,
            draw if draw < loss + doubles => 2,
            _ => 1,
        };
        let octets: Rc<[u8]> = octets.into();
        if self.prints {
            let text = String::from_utf8_lossy(&octets).into_owned();
            let header = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
            let (start, call, cseq) = (header(""), header("Call-ID"), header("CSeq"));
            self.line(|| format!("{from} -> {to} x{copies} {start} | {call} {cseq}"));
        }
        for _ in 0..copies {
            let most = if self.random.chance(late) { 400 } else { 8 };
            let span = self.random.between(Duration::from_micros(300), Duration::from_millis(most));
            self.after(span, Event::Datagram { from, to, octets: Rc::clone(&octets) });
        }
    }

    /// Notes what happens.
    pub fn line(&mut self, text: impl FnOnce() -> String) {
        if self.prints {
            let micros = self.now().micros();
            self.lines.push_back(format!("{:>4}.{:06} {}", micros / 1_000_000, micros % 1_000_000, text()));
            if self.lines.len() > LINES_MAX {
                self.lines.pop_front();
            }
        }
    }
}
