//! How calls are spread over the nodes of a pool.

use std::collections::{BTreeMap, BTreeSet};

use crate::farm::Farm;
use crate::process::{secs, until};
use crate::sipp::{Load, Sipp};
use crate::told::told;

/// Calls that each node was given.
fn given(farm: &Farm, nodes: usize) -> Vec<u32> {
    let of = |k| farm.edge().metric("cordboard_node_calls_total", &[&format!("\"ast-{k}\"")]) as u32;
    (1..=nodes).map(of).collect()
}

/// Calls that stay up while something is looked at.
fn calls_up(farm: &mut Farm, count: u32) -> Sipp {
    let gateway = farm.load(&Load::of("tell").calls(count, 10).hold(secs(3)));
    gateway.until_logged("answered", count as usize, secs(10));
    gateway
}

fn answering(net: u8, keys: &[&str]) -> Farm {
    keys.iter().fold(Farm::new(net), |farm, keys| farm.player(keys, "answer", &[]))
}

#[test]
fn the_shares_fit_the_weights() {
    let mut farm = answering(100, &["weight: 10", "weight: 10", "weight: 20"]).start();
    farm.carries(&Load::of("call").calls(120, 20).hold(secs(2)));
    let shares: Vec<f64> = given(&farm, 3).iter().map(|&calls| f64::from(calls) / 120.0).collect();
    for (share, right) in shares.iter().zip([0.25, 0.25, 0.5]) {
        assert!((share - right).abs() <= 0.08, "{shares:?}");
    }
    farm.ends_well();
}

#[test]
fn no_node_gets_more_than_max_calls_and_beyond_that_callers_are_told_when_to_come_again() {
    let mut farm = answering(101, &["weight: 10, max_calls: 2", "weight: 10, max_calls: 3"]).start();
    let mut calls = calls_up(&mut farm, 5);
    let on = |farm: &Farm| farm.edge().nodes().iter().map(|node| (node.calls, node.state.clone())).collect::<Vec<_>>();
    assert_eq!(on(&farm), [(2, "full".to_owned()), (3, "full".to_owned())]);
    farm.carries(&Load::of("unavailable").calls(3, 10));
    assert_eq!(on(&farm), [(2, "full".to_owned()), (3, "full".to_owned())]);
    assert_eq!(farm.edge().metric("cordboard_requests_rejected_total", &["\"full\"", "\"503\""]), 3.0);
    calls.succeeds();
    farm.edge().until_no_calls(secs(5));
    farm.carries(&Load::of("call").calls(5, 20).hold(secs(1)));
    farm.ends_well();
}

#[test]
fn a_tier_is_used_when_the_one_before_it_is_full() {
    let mut farm = answering(102, &["weight: 10, max_calls: 2", "weight: 10, priority: 1"]).start();
    calls_up(&mut farm, 5).succeeds();
    assert_eq!(given(&farm, 2), [2, 3]);
    farm.ends_well();
}

#[test]
fn what_finds_no_place_goes_to_the_overflow_pool() {
    let farm = Farm::new(103).pool("overflow: night");
    let uri = farm.at(2);
    let night = format!("  night:\n    nodes:\n      - {{ name: ast-2, uri: \"sip:{uri}\", weight: 10 }}\n");
    let mut farm = farm.more_pools(&night).player("weight: 10, max_calls: 2", "answer", &[]);
    farm.play(2, "answer", &[]);
    let mut farm = farm.start();
    farm.until_known(&["ast-2"]);
    let mut calls = calls_up(&mut farm, 5);
    calls.succeeds();
    assert_eq!(given(&farm, 2), [2, 3]);
    let pool_of = |node: &str| {
        let call = told(&calls, farm.edge()).into_iter().find(|call| call.node == node).unwrap();
        farm.edge().explain(&call.call_id).pool
    };
    assert_eq!((pool_of("ast-1").as_str(), pool_of("ast-2").as_str()), ("inbound", "night"));
    farm.ends_well();
}

/// Calls five numbers three times each; every number has to have one node, and not all of them the same.
fn has_a_home_for_each_number(mut farm: Farm) {
    let mut homes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for number in ["201", "202", "203", "204", "205", "206", "207"] {
        let gateway = farm.carries(&Load::of("tell").calls(3, 20).called(number));
        homes.entry(number.to_owned()).or_default().extend(told(&gateway, farm.edge()).into_iter().map(|c| c.node));
    }
    assert!(homes.values().all(|nodes| nodes.len() == 1), "{homes:?}");
    let used: BTreeSet<&String> = homes.values().flatten().collect();
    assert!(used.len() >= 2, "{homes:?}");
    farm.ends_well();
}

#[test]
fn sticky_numbers_have_one_home_each() {
    let keys = ["weight: 10, max_calls: 50", "weight: 10, max_calls: 50", "weight: 10, max_calls: 50"];
    has_a_home_for_each_number(answering(104, &keys).pool("sticky: to_user").start());
}

#[test]
fn a_hash_has_one_home_for_each_number() {
    let keys = ["weight: 10", "weight: 10", "weight: 10"];
    has_a_home_for_each_number(answering(105, &keys).pool("algorithm: hash").pool("hash: to_user").start());
}

#[test]
fn round_robin_goes_round_by_weight() {
    let mut farm = answering(106, &["weight: 10", "weight: 20"]).pool("algorithm: round_robin").start();
    farm.carries(&Load::of("call").calls(30, 20));
    assert_eq!(given(&farm, 2), [10, 20]);
    farm.ends_well();
}

#[test]
fn random_fits_the_weights_roughly() {
    let mut farm = answering(107, &["weight: 10", "weight: 30"]).pool("algorithm: random").start();
    farm.carries(&Load::of("call").calls(80, 20));
    let share = f64::from(given(&farm, 2)[0]) / 80.0;
    // Beyond four standard deviations.
    assert!((0.05..=0.45).contains(&share), "{share}");
    farm.ends_well();
}

#[test]
fn a_farm_of_real_asterisk_nodes_shares_by_weight() {
    let mut farm = Farm::new(108).node("weight: 10").node("weight: 30").with_asterisk();
    farm.carries(&Load::of("call").calls(80, 20).hold(secs(2)));
    let share = f64::from(given(&farm, 2)[0]) / 80.0;
    assert!((0.17..=0.33).contains(&share), "{share}");
    until("no call is left on a node", secs(10), || {
        ["ast-1", "ast-2"].iter().all(|node| farm.lab().channels(node) == 0)
    });
    farm.ends_well();
}
