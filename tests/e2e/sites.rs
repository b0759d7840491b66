//! Two sites: each has an edge and a node, and each is the other one's reserve.

use std::time::Duration;

use crate::edge::Edge;
use crate::farm::Farm;
use crate::process::{secs, until};
use crate::sipp::Load;

/// Calls that both nodes got through an edge.
fn given(edge: &Edge) -> [f64; 2] {
    ["\"ast-1\"", "\"ast-2\""].map(|node| edge.metric("cordboard_node_calls_total", &[node]))
}

#[test]
fn each_site_serves_its_own_calls_and_those_of_the_other_when_that_is_full_or_dead() {
    let farm = Farm::new(146).player("weight: 10, site: north, max_calls: 4", "answer", &[]);
    let farm = farm.player("weight: 10, site: south", "answer", &[]).of_two("affinity: strict");
    let farm = farm.at_sites(["north", "south"]);
    let mut redis = farm.redis();
    let mut farm = farm.start();
    let mut other = farm.other_edge();
    until("both edges know each other", secs(10), || {
        [farm.edge(), &other].iter().all(|edge| edge.status().edges.len() == 1)
    });
    ["ast-1", "ast-2"].iter().for_each(|node| other.until_node(node, "up", secs(20)));
    assert!(farm.edge().status().edges[0].has_same_configuration, "sites differ from edge to edge");

    let brief = Duration::from_millis(100);
    let there = farm.other_at();
    farm.load(&Load::of("call").calls(6, 10).hold(brief)).succeeds();
    farm.load(&Load::of("call").calls(6, 10).hold(brief).to(&there)).succeeds();
    assert_eq!((given(farm.edge()), given(&other)), ([6.0, 0.0], [0.0, 6.0]));

    // The node of the north takes four at once; the others go south.
    let mut calls = farm.load(&Load::of("call").calls(7, 20).hold(secs(3)));
    until("all are up", secs(5), || farm.edge().open_calls() == 7);
    assert_eq!(given(farm.edge()), [10.0, 3.0]);
    calls.succeeds();

    // Cut off from each other, each serves; and so does the north when its node is dead.
    redis.end_or_kill("KILL", secs(5));
    farm.load(&Load::of("call").calls(4, 10).hold(brief)).succeeds();
    farm.load(&Load::of("call").calls(4, 10).hold(brief).to(&there)).succeeds();
    assert_eq!((given(farm.edge()), given(&other)), ([14.0, 3.0], [0.0, 10.0]));
    farm.lose(1);
    farm.edge().until_node("ast-1", "down", secs(20));
    farm.load(&Load::of("call").calls(4, 10).hold(brief)).succeeds();
    assert_eq!(given(farm.edge()), [14.0, 7.0]);

    other.until_no_calls(secs(10));
    assert_eq!(other.process.end("TERM", secs(10)), 0);
    farm.edge().until_no_calls(secs(10));
    farm.played(2).node_ends_well();
    assert_eq!(farm.edge_mut().process.end("TERM", secs(10)), 0);
}
