//! One run: a world is made from its settings, events happen in order, and the invariants are looked at.

use std::time::Duration;

use cordboard::dispatch::node::Admin;
use cordboard::moment::Moment;

use crate::context::{Context, Event, Violation, Who};
use crate::edge::{Configured, EDGE_TICK, Edge};
use crate::faults::{self, Fault, Trouble};
use crate::gateway::{self, Gateway};
use crate::invariants;
use crate::network::Network;
use crate::node::Node;
use crate::random::Random;
use crate::record::{Plan, Record, Tally};
use crate::settings::Settings;
use crate::trace::{Keep, Trace};

/// What came of a run.
pub struct Run {
    pub tally: Tally,
    /// Hash of everything that was on the wire.
    pub hash: u64,
    pub violation: Option<Violation>,
    /// The last lines of what happened, where they were kept.
    pub lines: Vec<String>,
}

/// Runs.
pub fn run(settings: &Settings, keep: Keep) -> Run {
    let mut world = World::new(settings.clone(), keep);
    world.run();
    world.finish()
}

struct World {
    ctx: Context,
    gateways: Vec<Gateway>,
    nodes: Vec<Node>,
    edge: Edge,
    random: Random,
    last_start: Moment,
}

impl World {
    fn new(settings: Settings, keep: Keep) -> Self {
        let mut random = Random::new(settings.seed);
        let network = Network::new(settings.weather, random.fork());
        let configured = (1..=settings.nodes).map(|number| Configured {
            number,
            weight: 10 * (1 + random.below(3) as u32),
            max_calls: settings.max_calls,
        });
        let edge = Edge::new(configured.collect(), random.fork());
        let nodes = (1..=settings.nodes).map(|number| Node::new(number, settings.manners, random.fork())).collect();
        let gateways = (1..=settings.gateways).map(Gateway::new).collect();
        let ctx = Context::new(settings, network, Trace::new(keep));
        let mut world = World { last_start: ctx.now, ctx, gateways, nodes, edge, random };
        world.edge.start(&mut world.ctx);
        world.plan_calls();
        let over = world.last_start.since(world.ctx.now);
        let mut random = world.random.fork();
        faults::plan(&mut world.ctx, &mut random, over.max(Duration::from_secs(3)));
        world
    }

    fn plan_calls(&mut self) {
        // The health machines hear of every node before the first call.
        let mut at = Duration::from_secs(1);
        for call in 0..self.ctx.settings.calls {
            at += self.random.between(Duration::ZERO, self.ctx.settings.pause * 2);
            let plan = self.draw_plan();
            self.ctx.records.push(Record::new(plan, self.ctx.now + at));
            self.ctx.after(at, Event::Gateway(plan.gateway, gateway::Timer::Start(call)));
        }
        self.last_start = self.ctx.now + at;
    }

    fn draw_plan(&mut self) -> Plan {
        let (callers, gateways) = (self.ctx.settings.callers, u64::from(self.ctx.settings.gateways));
        let random = &mut self.random;
        let mut sometimes = |per_mille: u64, from: u64, to: u64| {
            let time = random.between(Duration::from_millis(from), Duration::from_millis(to));
            random.chance(per_mille).then_some(time)
        };
        let (gives_up, vanishes) = (sometimes(callers.impatient, 0, 15_000), sometimes(callers.vanishing, 0, 40_000));
        let (info, reinvite) = (sometimes(100, 10, 20_000), sometimes(100, 10, 20_000));
        let long = sometimes(30, 60_000, 200_000);
        Plan {
            gateway: 1 + random.below(gateways) as u8,
            // A gateway does not let anybody wait for ever.
            gives_up: gives_up.or(Some(Duration::from_secs(120))),
            vanishes,
            talks: long.unwrap_or_else(|| random.between(Duration::from_millis(1), Duration::from_secs(40))),
            node_hangs_up: random.chance(400),
            info,
            reinvite,
        }
    }

    fn run(&mut self) {
        let mut next_tick = self.ctx.now + EDGE_TICK;
        let mut next_look = self.ctx.now + Duration::from_secs(1);
        while self.ctx.violation.is_none() {
            if self.ctx.next_at() < next_tick {
                let Some(event) = self.ctx.next() else { return };
                self.happen(event);
                continue;
            }
            self.ctx.now = next_tick;
            next_tick = next_tick + EDGE_TICK;
            self.edge.tick(&mut self.ctx);
            if self.ctx.now >= next_look {
                next_look = next_look + Duration::from_secs(1);
                invariants::once_a_second(&mut self.ctx, &self.edge);
                if self.is_over() {
                    return;
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        let now = self.ctx.now;
        if now < self.last_start + Duration::from_secs(1) {
            return false;
        }
        if now > invariants::hopeless_at(self.last_start, self.ctx.grace) {
            return true;
        }
        let mut left = usize::from(self.edge.process.is_none());
        if let Some(process) = &self.edge.process {
            process.each_shard(|shard| left += shard.len());
        }
        left == 0 && self.ctx.records.iter().all(|record| record.over_since().is_some())
    }

    fn finish(mut self) -> Run {
        if self.ctx.violation.is_none() {
            invariants::at_the_end(&mut self.ctx, &self.edge);
        }
        self.ctx.tally.runs = 1;
        self.ctx.tally.calls = self.ctx.records.len() as u64;
        self.ctx.tally.virtual_secs = self.ctx.now.micros() / 1_000_000;
        Run {
            hash: self.ctx.trace.hash(),
            lines: self.ctx.trace.last(120).to_vec(),
            tally: self.ctx.tally,
            violation: self.ctx.violation,
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { from, to, octets } => {
                self.ctx.trace.mix(self.ctx.now, &octets);
                self.tell(from, to, &octets);
                match to {
                    Who::Edge => self.edge.receive(&mut self.ctx, from, &octets),
                    Who::Gateway(number) => self.gateways[usize::from(number) - 1].receive(&mut self.ctx, &octets),
                    Who::Node(number) => self.nodes[usize::from(number) - 1].receive(&mut self.ctx, &octets),
                }
            }
            Event::Refused(node) => self.edge.refused(&mut self.ctx, node),
            Event::Gateway(number, timer) => self.gateways[usize::from(number) - 1].timer(&mut self.ctx, timer),
            Event::Node(number, life, timer) => self.nodes[usize::from(number) - 1].timer(&mut self.ctx, life, timer),
            Event::Fault(fault) => self.fault(fault),
        }
    }

    fn tell(&mut self, from: Who, to: Who, octets: &[u8]) {
        let call = || crate::message::Message::read(octets).and_then(|message| message.call());
        if self.ctx.trace.is_quiet() {
            return;
        }
        self.ctx.trace.line(self.ctx.now, call(), || {
            let message = crate::message::Message::read(octets).unwrap_or_default();
            let tag = message.to_tag().unwrap_or("-");
            format!("{from:>6} -> {to:<6} {} [{} {}, to tag {tag}]", message.start, message.cseq.0, message.cseq.1)
        });
    }

    fn trouble(&mut self, what: &'static str, node: Option<u8>, time: Duration) {
        let from = self.ctx.now;
        self.ctx.troubles.push(Trouble { from, until: from + time, what, node });
    }

    fn fault(&mut self, fault: Fault) {
        self.ctx.trace.line(self.ctx.now, None, || format!("{fault:?}"));
        *self.ctx.tally.faults.entry(fault.name()).or_default() += 1;
        match fault {
            Fault::Kill { down, in_work } => {
                self.trouble("edge killed", None, down + Duration::from_secs(1));
                if in_work {
                    self.edge.dies_at_next_message = true;
                } else {
                    self.edge.kill(&mut self.ctx);
                }
                self.later(down, Fault::EdgeStarts);
            }
            Fault::PowerCut { down, lost } => {
                self.trouble("power cut", None, down);
                self.edge.disk.lose_since(self.ctx.now.before(lost));
                self.edge.kill(&mut self.ctx);
                self.ctx.amnesia.push(self.ctx.now);
                self.later(down, Fault::EdgeStarts);
            }
            Fault::EdgeStarts => {
                self.edge.dies_at_next_message = false;
                self.edge.start(&mut self.ctx);
            }
            Fault::NodeDies { node, icmp, down } => {
                self.trouble("node dead", Some(node), down);
                self.node(node, |node, ctx| node.die(ctx, icmp));
                self.later(down, Fault::NodeBack { node });
            }
            Fault::NodeBack { node } => self.node(node, |node, _| node.come_back()),
            Fault::NodeFreezes { node, time } => {
                self.trouble("node frozen", Some(node), time);
                self.node(node, |node, _| node.freeze());
                self.later(time, Fault::NodeThaws { node });
            }
            Fault::NodeThaws { node } => self.node(node, Node::thaw),
            Fault::Cut { node, to_node, from_node, time } => {
                self.trouble("partition", Some(node), time);
                let ways = [(Who::Edge, Who::Node(node)), (Who::Node(node), Who::Edge)];
                let cut = ways.into_iter().zip([to_node, from_node]).filter(|(_, is_cut)| *is_cut);
                self.ctx.network.cut.extend(cut.map(|(way, _)| way));
                self.later(time, Fault::Healed { node });
            }
            Fault::Healed { node } => {
                self.ctx.network.cut.retain(|(a, b)| *a != Who::Node(node) && *b != Who::Node(node));
            }
            Fault::ShutsDown { node, time } => {
                self.trouble("node shut down", Some(node), time * 2);
                self.node(node, |node, _| node.stopping = true);
                self.later(time, Fault::NodeDies { node, icmp: true, down: time });
            }
            Fault::Reload { what } => {
                self.trouble("reload", None, Duration::ZERO);
                self.rewrite(&mut Random::new(what));
                self.edge.reload(&mut self.ctx);
            }
            Fault::Order { node, admin } => {
                self.trouble("operator's word", Some(node), Duration::ZERO);
                self.edge.order(&mut self.ctx, node, admin);
            }
            Fault::ClockJump { millis } => {
                self.ctx.wall_offset += millis;
                self.ctx.grace += Duration::from_millis(millis.unsigned_abs());
            }
            Fault::Normal => self.normal(),
        }
    }

    fn later(&mut self, pause: Duration, fault: Fault) {
        self.ctx.after(pause, Event::Fault(fault));
    }

    fn node(&mut self, number: u8, act: impl FnOnce(&mut Node, &mut Context)) {
        let node = &mut self.nodes[usize::from(number) - 1];
        act(node, &mut self.ctx);
    }

    /// An operator edits the file: weights, bounds, a node that goes or comes back.
    fn rewrite(&mut self, random: &mut Random) {
        let (nodes, max_calls) = (self.ctx.settings.nodes, self.ctx.settings.max_calls);
        match random.below(4) {
            0 if self.edge.configured.len() > 1 => {
                let gone = random.below(self.edge.configured.len() as u64) as usize;
                self.edge.configured.remove(gone);
            }
            1 => {
                let is_there = |number: &u8| self.edge.configured.iter().any(|node| node.number == *number);
                if let Some(number) = (1..=nodes).find(|number| !is_there(number)) {
                    self.edge.configured.push(Configured { number, weight: 10, max_calls });
                }
            }
            2 => {
                let bound = random.chance(500).then(|| 1 + random.below(30) as u32);
                let at = random.below(self.edge.configured.len() as u64) as usize;
                self.edge.configured[at].max_calls = bound.or(max_calls);
            }
            _ => {
                for node in &mut self.edge.configured {
                    node.weight = 1 + random.below(100) as u32;
                }
            }
        }
    }

    /// The end of all faults: nodes are well, the edge runs, nothing is drained.
    fn normal(&mut self) {
        for number in 1..=self.ctx.settings.nodes {
            if self.edge.admin(number) != Admin::Enabled {
                self.edge.order(&mut self.ctx, number, Admin::Enabled);
            }
        }
    }
}
