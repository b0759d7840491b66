//! The edge ends, by force and by request, and comes back with its calls.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::farm::Farm;
use crate::process::{secs, until};
use crate::sipp::{Load, Sipp};

fn two_nodes(net: u8, more: &str) -> Farm {
    Farm::new(net).player("weight: 10", "answer", &[]).player("weight: 10", "answer", &[]).with(more).start()
}

fn calls_up(farm: &mut Farm, count: u32, hold: Duration) -> Sipp {
    let gateway = farm.load(&Load::of("tell").calls(count, 20).hold(hold));
    gateway.until_logged("answered", count as usize, secs(10));
    gateway
}

/// Call-ID and node of the calls that are up.
fn calls_of(farm: &Farm) -> BTreeMap<String, (String, String)> {
    farm.edge().calls().into_iter().map(|call| (call.call_id, (call.node, call.phase))).collect()
}

fn count(gateway: &Sipp, word: &str) -> usize {
    gateway.log().lines().filter(|line| line.contains(word)).count()
}

fn kill(farm: &mut Farm) {
    farm.edge_mut().process.end("KILL", secs(5));
}

#[test]
fn an_edge_that_is_killed_under_load_comes_back_with_its_calls() {
    let mut farm = Farm::new(50).node("weight: 10").node("weight: 10").node("weight: 10").with_asterisk();
    assert_eq!(farm.cli(&["drain", "ast-3"]).code, 0);
    let mut long_calls = calls_up(&mut farm, 6, secs(11));
    let known = calls_of(&farm);
    assert_eq!(known.len(), 6);
    let mut load = farm.load(&Load::of("tell").calls(120, 15).hold(secs(2)));
    load.until_logged("answered", 45, secs(10));
    kill(&mut farm);
    farm.start_edge();

    let now = calls_of(&farm);
    for (call_id, of) in &known {
        assert_eq!(now.get(call_id), Some(of), "{call_id} is known again");
    }
    assert_eq!(farm.edge().node("ast-3").admin, "draining");
    farm.until_known(&["ast-1", "ast-2"]);
    let per_node: u64 = farm.edge().nodes().iter().map(|node| u64::from(node.calls)).sum();
    assert!(per_node >= 6, "{per_node} places are taken");
    long_calls.succeeds();
    load.succeeds();
    assert_eq!((count(&long_calls, "ended"), count(&load, "ended")), (6, 120), "every call ended as the caller wanted");
    assert_eq!(farm.lab().channels("ast-3"), 0, "the node that drains got none");
    farm.edge().until_no_calls(secs(40));
    until("no call is left on a node", secs(40), || {
        ["ast-1", "ast-2"].iter().all(|node| farm.lab().channels(node) == 0)
    });
    farm.ends_well();
}

#[test]
fn a_bye_finds_its_node_though_nothing_was_kept() {
    let mut farm = two_nodes(51, "store: memory");
    let mut gateway = calls_up(&mut farm, 6, secs(4));
    kill(&mut farm);
    farm.start_edge();
    assert_eq!(farm.edge().open_calls(), 0);
    gateway.succeeds();
    assert_eq!(count(&gateway, "ended"), 6);
    farm.ends_well();
}

#[test]
fn a_damaged_store_is_moved_aside_and_reported_and_calls_go_on() {
    let mut farm = two_nodes(52, "");
    let mut gateway = calls_up(&mut farm, 4, secs(5));
    kill(&mut farm);
    std::fs::write(farm.path("state/cordboard.redb"), vec![0x5a; 40_000]).unwrap();
    farm.start_edge();
    let log = farm.edge_log();
    assert!(log.contains("a file of the store was damaged") && log.contains("cordboard.redb.damaged-1"), "{log}");
    assert!(farm.path("state/cordboard.redb.damaged-1").is_file());
    farm.until_all_up();
    farm.carries(&Load::of("call").calls(4, 20));
    gateway.succeeds();
    assert_eq!(count(&gateway, "ended"), 4);
    assert_eq!(farm.cli(&["drain", "ast-1"]).code, 0, "the new store takes words");
    farm.ends_well();
}

#[test]
fn a_damaged_journal_is_moved_aside_and_reported_and_calls_go_on() {
    let mut farm = two_nodes(53, "");
    assert_eq!(farm.cli(&["drain", "ast-2"]).code, 0);
    let mut gateway = calls_up(&mut farm, 4, secs(5));
    kill(&mut farm);
    let journal = farm.path("state/leases.journal");
    let length = std::fs::metadata(&journal).unwrap().len() as usize;
    std::fs::write(&journal, vec![0xa5; length]).unwrap();
    farm.start_edge();
    assert!(farm.edge_log().contains("leases.journal.damaged-1"), "{}", farm.edge_log());
    assert!(farm.path("state/leases.journal.damaged-1").is_file());
    assert_eq!(farm.edge().node("ast-2").admin, "draining", "the operator's word is not in the journal");
    farm.until_known(&["ast-1"]);
    farm.carries(&Load::of("call").calls(4, 20));
    gateway.succeeds();
    assert_eq!(count(&gateway, "ended"), 4);
    farm.ends_well();
}

#[test]
fn an_edge_that_is_told_to_stop_refuses_new_calls_and_ends_with_the_last_one() {
    let mut farm = two_nodes(54, "");
    let mut calls = calls_up(&mut farm, 4, secs(4));
    let mut talk = farm.load(&Load::of("reinvite").hold(secs(2)));
    until("all calls are up", secs(5), || farm.edge().status().calls.up == 5);
    farm.edge().process.signal("TERM");
    until("it is stopping", secs(5), || farm.edge().status().state == "stopping");
    assert_eq!(farm.cli(&["healthcheck"]).code, 6);
    assert_eq!(farm.edge().metric("cordboard_stopping", &[]), 1.0);
    farm.carries(&Load::of("options").with(&["-set", "code", "503"]));
    farm.carries(&Load::of("unavailable"));
    talk.succeeds();
    calls.succeeds();
    assert_eq!(count(&calls, "ended"), 4);
    assert_eq!(farm.edge_mut().process.wait(secs(10)), 0);
    assert!(farm.edge_log().contains("ended; 0 calls go on"), "{}", farm.edge_log());
    farm.start_edge();
    farm.ends_well();
}

#[test]
fn an_edge_that_is_told_to_stop_ends_at_its_deadline_and_knows_the_calls_again() {
    let mut farm = two_nodes(55, "stop: { wait: 1s }");
    let mut gateway = calls_up(&mut farm, 4, secs(6));
    let known = calls_of(&farm);
    let began = Instant::now();
    assert_eq!(farm.edge_mut().process.end("TERM", secs(5)), 0);
    assert!(began.elapsed() >= secs(1), "it waited");
    assert!(farm.edge_log().contains("ended; 4 calls go on"), "{}", farm.edge_log());
    farm.start_edge();
    assert_eq!(calls_of(&farm), known);
    gateway.succeeds();
    assert_eq!(count(&gateway, "ended"), 4);
    farm.ends_well();
}
