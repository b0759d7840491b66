//! What goes wrong, when, and what may be blamed on it.

use std::time::Duration;

use cordboard::dispatch::node::Admin;
use cordboard::moment::Moment;

use crate::context::{Context, Event};
use crate::random::Random;

/// Something that goes wrong, or that an operator does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The edge's process is killed; at once, or in the middle of its work.
    Kill {
        down: Duration,
        in_work: bool,
    },
    /// The edge's machine loses its power, and what it wrote in the last moments.
    PowerCut {
        down: Duration,
        lost: Duration,
    },
    EdgeStarts,
    NodeDies {
        node: u8,
        icmp: bool,
        down: Duration,
    },
    NodeBack {
        node: u8,
    },
    NodeFreezes {
        node: u8,
        time: Duration,
    },
    NodeThaws {
        node: u8,
    },
    /// Nothing passes between edge and node, or only one way.
    Cut {
        node: u8,
        to_node: bool,
        from_node: bool,
        time: Duration,
    },
    Healed {
        node: u8,
    },
    /// A node takes no more calls, and some time later it is gone.
    ShutsDown {
        node: u8,
        time: Duration,
    },
    Reload {
        what: u64,
    },
    Order {
        node: u8,
        admin: Admin,
    },
    ClockJump {
        millis: i64,
    },
    /// Everything that an operator has changed is as it was.
    Normal,
}

impl Fault {
    /// Its name in the final table.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Kill { .. } => "edge killed",
            Fault::PowerCut { .. } => "power cut",
            Fault::EdgeStarts => "edge started",
            Fault::NodeDies { .. } => "node dead",
            Fault::NodeBack { .. } => "node back",
            Fault::NodeFreezes { .. } => "node frozen",
            Fault::NodeThaws { .. } => "node thawed",
            Fault::Cut { .. } => "partition",
            Fault::Healed { .. } => "healed",
            Fault::ShutsDown { .. } => "node shut down",
            Fault::Reload { .. } => "reload",
            Fault::Order { .. } => "operator's word",
            Fault::ClockJump { .. } => "clock set",
            Fault::Normal => "normal again",
        }
    }
}

/// A time in which something was wrong, and what.
#[derive(Clone, Copy, Debug)]
pub struct Trouble {
    pub from: Moment,
    pub until: Moment,
    pub what: &'static str,
    pub node: Option<u8>,
}

/// Draws the faults of a run and plans them, spread over the time in which calls begin.
pub fn plan(ctx: &mut Context, random: &mut Random, over: Duration) {
    let (plagues, nodes) = (ctx.settings.plagues, u64::from(ctx.settings.nodes));
    let at = |random: &mut Random| random.between(Duration::from_secs(2), over);
    let a_node = |random: &mut Random| 1 + random.below(nodes) as u8;
    let mut planned: Vec<(Duration, Fault)> = Vec::new();
    for _ in 0..plagues.kills {
        let down = random.between(Duration::from_millis(50), Duration::from_secs(3));
        planned.push((at(random), Fault::Kill { down, in_work: random.chance(500) }));
    }
    for _ in 0..plagues.power_cuts {
        let down = random.between(Duration::from_secs(5), Duration::from_secs(40));
        let lost = random.between(Duration::ZERO, Duration::from_millis(500));
        planned.push((at(random), Fault::PowerCut { down, lost }));
    }
    for _ in 0..plagues.node_deaths {
        let down = random.between(Duration::from_millis(500), Duration::from_secs(30));
        planned.push((at(random), Fault::NodeDies { node: a_node(random), icmp: random.chance(500), down }));
    }
    for _ in 0..plagues.freezes {
        let time = random.between(Duration::from_millis(200), Duration::from_secs(15));
        planned.push((at(random), Fault::NodeFreezes { node: a_node(random), time }));
    }
    for _ in 0..plagues.partitions {
        let time = random.between(Duration::from_millis(500), Duration::from_secs(20));
        let (to_node, from_node) = random.one_of(&[(true, true), (true, false), (false, true)]);
        planned.push((at(random), Fault::Cut { node: a_node(random), to_node, from_node, time }));
    }
    for _ in 0..plagues.shutdowns {
        let time = random.between(Duration::from_secs(2), Duration::from_secs(20));
        planned.push((at(random), Fault::ShutsDown { node: a_node(random), time }));
    }
    for _ in 0..plagues.reloads {
        planned.push((at(random), Fault::Reload { what: random.number() }));
    }
    for _ in 0..plagues.orders {
        let (admin, node) = (random.one_of(&[Admin::Draining, Admin::Disabled]), a_node(random));
        let (at, time) = (at(random), random.between(Duration::from_millis(10), Duration::from_secs(30)));
        planned.push((at, Fault::Order { node, admin }));
        planned.push((at + time, Fault::Order { node, admin: Admin::Enabled }));
    }
    for _ in 0..plagues.clock_jumps {
        let seconds = random.between(Duration::ZERO, Duration::from_secs(120)).as_millis() as i64 - 60_000;
        planned.push((at(random), Fault::ClockJump { millis: seconds }));
    }
    planned.push((over, Fault::Normal));
    for (after, fault) in planned {
        ctx.after(after, Event::Fault(fault));
    }
}

/// A node that is well can be taken for dead where probes get lost or calls fail there, and only there.
pub fn note_verdict(ctx: &mut Context, node: Option<u8>, is_down: bool) {
    let can_err = ctx.settings.weather.loss > 0 || ctx.settings.manners.faulty > 0;
    let (what, now) = ("taken for dead", ctx.now);
    if node.is_none() || !can_err {
        return;
    }
    if is_down {
        ctx.troubles.push(Trouble { from: now, until: Moment::NEVER, what, node });
    } else {
        let open = |t: &&mut Trouble| t.what == what && t.node == node && t.until == Moment::NEVER;
        ctx.troubles.iter_mut().filter(open).for_each(|trouble| trouble.until = now);
    }
}
