//! What really happened to each call, noted by those who took part, and the sums.

use std::collections::BTreeMap;
use std::time::Duration;

use cordboard::moment::Moment;

/// What a caller means to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The gateway that the call comes by.
    pub gateway: u8,
    /// He hangs up when nobody has answered by then.
    pub gives_up: Option<Duration>,
    /// He is gone without a word so long after the beginning.
    pub vanishes: Option<Duration>,
    /// How long the call lasts.
    pub talks: Duration,
    /// Whether the node ends it.
    pub node_hangs_up: bool,
    /// When he says INFO, counted from the answer.
    pub info: Option<Duration>,
    /// When he sends INVITE inside the dialog.
    pub reinvite: Option<Duration>,
}

/// How a call went for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Nothing final yet.
    Pending,
    Answered,
    /// Refused with this code, by the edge itself or by a node.
    Refused(u16, By),
    /// The INVITE was never answered.
    TimedOut,
    /// He took it back.
    GaveUp,
    /// He went away before anything final.
    Vanished,
}

/// Who refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    Edge,
    Node,
}

/// How an established dialog ended for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// BYE and its 200, either way.
    Clean,
    /// The BYE was answered with this code instead.
    Code(u16),
    /// The BYE was not answered.
    Unanswered,
}

/// What the edge has heard of the call from a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Heard {
    Nothing,
    Trying,
    /// A final answer that says that nothing ran there.
    NotStarted,
    /// 101 to 199: the dialplan runs.
    Progress,
    /// Any other failure.
    Refused,
    Answered,
}

/// A node that the edge has offered the call to.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    pub node: u8,
    pub heard: Heard,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Record {
    pub plan: Plan,
    pub started: Moment,
    pub outcome: Outcome,
    /// When the outcome was known.
    pub decided: Option<Moment>,
    pub ending: Option<Ending>,
    /// When nothing was left of it at the caller.
    pub caller_over: Option<Moment>,
    /// Nodes at which something is left of it.
    pub on_nodes: Vec<u8>,
    /// Since when nothing is left of it at any node.
    pub nodes_over: Option<Moment>,
    /// The node whose 2xx the caller took.
    pub up_on: Option<u8>,
    /// Since when the caller has the dialog.
    pub up_since: Option<Moment>,
    /// True once a 2xx negotiated a session timer.
    pub has_session: bool,
    /// Every node that the edge has offered it to, in order.
    pub offers: Vec<Offer>,
    /// Where the edge had its lease at the last look, and since when that has been wrong.
    pub lease_on: Option<u8>,
    pub without_lease: Option<Moment>,
    /// Messages of the call that the edge received and sent.
    pub received: u32,
    pub sent: u32,
}

impl Record {
    pub fn new(plan: Plan, started: Moment) -> Self {
        Record {
            plan,
            started,
            outcome: Outcome::Pending,
            decided: None,
            ending: None,
            caller_over: None,
            on_nodes: Vec::new(),
            nodes_over: None,
            up_on: None,
            up_since: None,
            has_session: false,
            offers: Vec::new(),
            lease_on: None,
            without_lease: None,
            received: 0,
            sent: 0,
        }
    }

    /// Notes the outcome; the first one counts.
    pub fn decide(&mut self, outcome: Outcome, now: Moment) {
        if self.outcome == Outcome::Pending {
            (self.outcome, self.decided) = (outcome, Some(now));
        }
    }

    /// Since when nothing is left of the call anywhere but at the edge.
    pub fn over_since(&self) -> Option<Moment> {
        let caller = self.caller_over?;
        let nodes = if self.on_nodes.is_empty() { self.nodes_over.unwrap_or(caller) } else { return None };
        Some(caller.max(nodes))
    }

    /// Notes that a node has something of the call.
    pub fn enter_node(&mut self, node: u8) {
        if !self.on_nodes.contains(&node) {
            self.on_nodes.push(node);
        }
    }

    /// Notes that nothing is left of it at a node.
    pub fn leave_node(&mut self, node: u8, now: Moment) {
        if self.on_nodes.contains(&node) {
            self.on_nodes.retain(|on| *on != node);
            self.nodes_over = Some(now);
        }
    }
}

/// Sums over a run, or over many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub runs: u64,
    pub calls: u64,
    /// Calls by how they went.
    pub outcomes: BTreeMap<String, u64>,
    /// Faults by name.
    pub faults: BTreeMap<&'static str, u64>,
    /// Calls that failed for the sake of a fault, by its name.
    pub excuses: BTreeMap<&'static str, u64>,
    /// What the edge said of itself.
    pub refused: BTreeMap<&'static str, u64>,
    pub failovers: BTreeMap<&'static str, u64>,
    pub late_answers: u64,
    pub adopted: u64,
    pub leases: u64,
    pub ends: BTreeMap<&'static str, u64>,
    /// Messages at the edge.
    pub received: u64,
    pub sent: u64,
    pub resent: u64,
    pub probes: u64,
    pub virtual_secs: u64,
}

impl Tally {
    /// Takes in another one.
    pub fn add(&mut self, other: &Tally) {
        let numbers = [
            (&mut self.runs, other.runs),
            (&mut self.calls, other.calls),
            (&mut self.late_answers, other.late_answers),
            (&mut self.adopted, other.adopted),
            (&mut self.leases, other.leases),
            (&mut self.received, other.received),
            (&mut self.sent, other.sent),
            (&mut self.resent, other.resent),
            (&mut self.probes, other.probes),
            (&mut self.virtual_secs, other.virtual_secs),
        ];
        numbers.into_iter().for_each(|(sum, more)| *sum += more);
        for (name, more) in &other.outcomes {
            *self.outcomes.entry(name.clone()).or_default() += more;
        }
        let maps = [
            (&mut self.faults, &other.faults),
            (&mut self.excuses, &other.excuses),
            (&mut self.refused, &other.refused),
            (&mut self.failovers, &other.failovers),
            (&mut self.ends, &other.ends),
        ];
        for (sums, more) in maps {
            more.iter().for_each(|(name, count)| *sums.entry(name).or_default() += count);
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hours = self.virtual_secs as f64 / 3_600.0;
        writeln!(f, "  runs {}, calls {}, {hours:.1} hours of virtual time", self.runs, self.calls)?;
        let line = |f: &mut std::fmt::Formatter<'_>, name: &str, map: &BTreeMap<&'static str, u64>| {
            let list: Vec<String> = map.iter().map(|(word, count)| format!("{word} {count}")).collect();
            writeln!(f, "  {name:<18} {}", if list.is_empty() { "-".to_owned() } else { list.join(", ") })
        };
        let outcomes: Vec<String> = self.outcomes.iter().map(|(word, count)| format!("{word} {count}")).collect();
        writeln!(f, "  {:<18} {}", "callers saw", outcomes.join(", "))?;
        line(f, "failed because of", &self.excuses)?;
        line(f, "the edge refused", &self.refused)?;
        line(f, "nodes given up", &self.failovers)?;
        line(f, "leases ended by", &self.ends)?;
        line(f, "faults", &self.faults)?;
        writeln!(
            f,
            "  {:<18} {}, adopted {}, late answers {}",
            "leases", self.leases, self.adopted, self.late_answers
        )?;
        writeln!(
            f,
            "  {:<18} received {}, sent {}, of these again {}, probes {}",
            "edge's messages", self.received, self.sent, self.resent, self.probes
        )
    }
}
