//! Two edges that act as one.

use std::time::Duration;

use crate::edge::Edge;
use crate::farm::Farm;
use crate::process::{Process, secs, until};
use crate::sipp::{Load, Sipp};

/// Two edges over two nodes that SIPp plays, and Redis.
struct Two {
    farm: Farm,
    other: Edge,
    redis: Process,
}

impl Two {
    fn start(net: u8, redis: &str) -> Self {
        let farm = Farm::new(net).player("weight: 10, max_calls: 20", "answer", &[]);
        let farm = farm.player("weight: 30", "answer", &[]).of_two(redis);
        let redis = farm.redis();
        let farm = farm.start();
        let other = farm.other_edge();
        let two = Two { farm, other, redis };
        for edge in [two.farm.edge(), &two.other] {
            until("both edges know each other", secs(10), || edge.status().edges.len() == 1);
            ["ast-1", "ast-2"].iter().for_each(|node| edge.until_node(node, "up", secs(20)));
        }
        two
    }

    /// Calls that come to both edges, half of them each.
    fn calls(&mut self, each: u32, rate: u32, hold: Duration) -> [Sipp; 2] {
        let load = || Load::of("call").calls(each, rate).hold(hold);
        [self.farm.load(&load()), self.farm.load(&load().to(&self.farm.other_at()))]
    }

    /// Calls on a node, as both edges see it.
    fn on(&self, node: &str) -> [u32; 2] {
        [self.farm.edge(), &self.other].map(|edge| {
            let node = edge.node(node);
            node.calls + node.other_calls
        })
    }

    fn ends_well(mut self) {
        self.other.until_no_calls(secs(40));
        assert_eq!(self.other.process.end("TERM", secs(10)), 0);
        self.farm.ends_well();
        self.redis.end_or_kill("TERM", secs(5));
    }
}

#[test]
fn two_edges_count_as_one() {
    let mut two = Two::start(150, "affinity: strict");
    let mut loads = two.calls(20, 20, secs(6));
    until("all calls are up", secs(10), || two.on("ast-1")[0] + two.on("ast-2")[0] == 40);
    for node in ["ast-1", "ast-2"] {
        until("both edges see the same", secs(2), || two.on(node)[0] == two.on(node)[1]);
    }
    assert_eq!((two.on("ast-1")[0], two.on("ast-2")[0]), (10, 30), "by weight, over both edges");
    loads.iter_mut().for_each(Sipp::succeeds);
    for node in ["ast-1", "ast-2"] {
        until("nothing is left", secs(5), || two.on(node) == [0, 0]);
    }
    let missed = two.farm.edge().metric("cordboard_shared_store_questions_total", &["missed"]);
    assert!(missed <= 2.0, "{missed} questions were missed");
    two.ends_well();
}

#[test]
fn calls_of_an_edge_that_is_killed_go_on_at_the_other_and_are_counted_once() {
    let mut two = Two::start(151, "gone_after: 1s");
    let mut loads = two.calls(10, 20, secs(8));
    until("all calls are up", secs(10), || two.on("ast-1")[0] + two.on("ast-2")[0] == 20);
    two.other.process.end("KILL", secs(5));
    let edge = two.farm.edge();
    until("the other edge is gone", secs(5), || edge.status().edges.is_empty());
    until("its calls are here", secs(5), || edge.open_calls() == 20);
    assert_eq!(edge.node("ast-1").other_calls + edge.node("ast-2").other_calls, 0);
    loads[0].succeeds();
    // The gateway of the other edge has nobody to say BYE to.
    loads[1].process.end_or_kill("KILL", secs(5));
    let other = two.farm.other_edge();
    until("it is here again", secs(10), || other.status().edges.len() == 1);
    two.other = other;
}

#[test]
fn while_redis_is_away_calls_go_by_what_each_edge_knows() {
    let mut two = Two::start(152, "affinity: strict");
    two.redis.signal("STOP");
    let mut loads = two.calls(15, 15, secs(1));
    loads.iter_mut().for_each(Sipp::succeeds);
    until("it is said", secs(5), || {
        two.farm.edge().http("/readyz").is_some_and(|(_, text)| text.contains("shared store is away"))
    });
    two.redis.signal("CONT");
    until("Redis is asked again", secs(10), || two.farm.edge().metric("cordboard_shared_store_up", &[]) == 1.0);

    // Started again, and empty: what both know is told again.
    let mut loads = two.calls(6, 20, secs(6));
    until("all calls are up", secs(10), || two.on("ast-1")[0] + two.on("ast-2")[0] == 12);
    two.redis.end_or_kill("KILL", secs(5));
    two.redis = two.farm.redis();
    until("both know each other again", secs(10), || {
        [two.farm.edge(), &two.other].iter().all(|edge| edge.status().edges.len() == 1)
    });
    until("the counts are right again", secs(5), || {
        let [here, there] = [0, 1].map(|at| two.on("ast-1")[at] + two.on("ast-2")[at]);
        here == 12 && there == 12
    });
    loads.iter_mut().for_each(Sipp::succeeds);
    two.ends_well();
}

#[test]
fn a_drain_that_is_said_at_one_edge_holds_at_all_also_after_they_started_anew() {
    let mut two = Two::start(153, "affinity: strict");
    assert_eq!(two.farm.cli(&["drain", "ast-1"]).code, 0);
    until("it drains at the other edge", secs(5), || two.other.node("ast-1").admin == "draining");
    two.calls(8, 20, Duration::from_millis(200)).iter_mut().for_each(Sipp::succeeds);
    assert_eq!(two.other.metric("cordboard_node_calls_total", &["\"ast-1\""]), 0.0);

    // One is away when it is taken back, and comes back with what it knew.
    two.other.process.end("TERM", secs(10));
    assert_eq!(two.farm.cli(&["enable", "ast-1"]).code, 0);
    two.other = two.farm.other_edge();
    until("the other one hears of it", secs(5), || two.other.node("ast-1").admin == "enabled");

    assert_eq!(two.other.cli(&["drain", "ast-2"]).code, 0);
    until("it drains here", secs(5), || two.farm.edge().node("ast-2").admin == "draining");
    two.other.process.end("TERM", secs(10));
    two.farm.edge_mut().process.end("TERM", secs(10));
    two.farm.start_edge();
    two.other = two.farm.other_edge();
    assert_eq!(two.farm.edge().node("ast-2").admin, "draining");
    assert_eq!(two.other.node("ast-2").admin, "draining");
    assert_eq!(two.other.cli(&["enable", "ast-2"]).code, 0);
    until("it is enabled everywhere", secs(5), || two.farm.edge().node("ast-2").admin == "enabled");
    two.ends_well();
}
