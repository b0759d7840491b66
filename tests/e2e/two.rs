//! Two edges over two nodes that SIPp plays, and the Redis in which they meet.

use std::time::Duration;

use crate::edge::Edge;
use crate::farm::Farm;
use crate::process::{Process, secs, until};
use crate::sipp::{Load, Sipp};

/// Two edges over two nodes that SIPp plays, and Redis.
pub struct Two {
    pub farm: Farm,
    pub other: Edge,
    pub redis: Process,
    /// Which address Redis has.
    pub redis_ip: u8,
}

impl Two {
    /// On 127.0.NET.x, with keys of `store.redis`.
    pub fn start(net: u8, redis: &str) -> Self {
        let farm = Two::farm(net, redis);
        let redis = farm.redis();
        Two::of(farm, redis)
    }

    /// The nodes, before anything else runs.
    pub fn farm(net: u8, redis: &str) -> Farm {
        let farm = Farm::new(net).player("weight: 10, max_calls: 20", "answer", &[]);
        farm.player("weight: 30", "answer", &[]).of_two(redis)
    }

    /// The edges, with a Redis that runs.
    pub fn of(farm: Farm, redis: Process) -> Self {
        let farm = farm.start();
        let other = farm.other_edge();
        let two = Two { farm, other, redis, redis_ip: 40 };
        for edge in [two.farm.edge(), &two.other] {
            until("both edges know each other", secs(10), || edge.status().edges.len() == 1);
            ["ast-1", "ast-2"].iter().for_each(|node| edge.until_node(node, "up", secs(20)));
        }
        two
    }

    /// Calls that come to both edges, half of them each.
    pub fn calls(&mut self, each: u32, rate: u32, hold: Duration) -> [Sipp; 2] {
        let load = || Load::of("call").calls(each, rate).hold(hold);
        [self.farm.load(&load()), self.farm.load(&load().to(&self.farm.other_at()))]
    }

    /// Calls on a node, as both edges see it.
    pub fn on(&self, node: &str) -> [u32; 2] {
        [self.farm.edge(), &self.other].map(|edge| {
            let node = edge.node(node);
            node.calls + node.other_calls
        })
    }

    /// The end of a good test: no call is left, and both edges end by themselves.
    pub fn ends_well(mut self) {
        self.other.until_no_calls(secs(40));
        assert_eq!(self.other.process.end("TERM", secs(10)), 0);
        self.farm.ends_well();
        self.redis.end_or_kill("TERM", secs(5));
    }
}
