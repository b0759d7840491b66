//! Real Asterisk nodes fail under load. New calls do not notice, and calls on other nodes are untouched.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::farm::Farm;
use crate::process::{secs, until};
use crate::sipp::{Load, Sipp};
use crate::told::{Ending, Told, told};

const CALLS: u32 = 150;
const RATE: u32 = 15;
const HOLD: Duration = Duration::from_secs(2);

fn three_nodes(net: u8) -> Farm {
    Farm::new(net).node("weight: 10").node("weight: 10").node("weight: 10").with_asterisk()
}

/// A load, and the moment at which every node has had calls for a while.
fn under_load(farm: &mut Farm) -> Sipp {
    let gateway = farm.load(&Load::of("tell").calls(CALLS, RATE).hold(HOLD));
    gateway.until_logged("answered", 45, secs(20));
    gateway
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// Every call was answered, and those that could not be harmed by what happened to `ast-1` then, ended as they should.
fn no_harm_beyond(gateway: &mut Sipp, farm: &Farm, failed_at: u64) -> Vec<Told> {
    gateway.succeeds();
    let calls = told(gateway, farm.edge());
    assert_eq!(calls.len(), CALLS as usize, "calls that were answered");
    let may_be_cut = |call: &Told| call.node == "ast-1" && call.opened_at_ms <= failed_at;
    let harmed: Vec<&Told> = calls.iter().filter(|call| call.ending != Ending::Ended && !may_be_cut(call)).collect();
    assert!(harmed.is_empty(), "{harmed:#?}");
    assert!(calls.iter().all(|call| call.ending != Ending::Open), "every call came to an end");
    let later = calls.iter().filter(|call| call.opened_at_ms > failed_at).count();
    assert!(later > 50, "only {later} calls came after it");
    calls
}

/// Calls that `ast-1` got after a moment.
fn strays(calls: &[Told], after_ms: u64) -> usize {
    calls.iter().filter(|call| call.node == "ast-1" && call.opened_at_ms > after_ms).count()
}

#[test]
fn a_node_that_is_killed_costs_no_new_call() {
    let mut farm = three_nodes(31);
    let mut gateway = under_load(&mut farm);
    farm.lab().does(&["kill", "ast-1"]);
    let killed_at = now_ms();
    let calls = no_harm_beyond(&mut gateway, &farm, killed_at);
    assert_eq!(strays(&calls, killed_at), 0);
    let cut = calls.iter().filter(|call| call.ending == Ending::Cut).count();
    assert!(cut > 0, "calls that were up there are told so at once");
    assert_eq!(farm.edge().node("ast-1").state, "down");
    farm.lab().does(&["start", "ast-1"]);
    farm.edge().until_node("ast-1", "up", secs(30));
    farm.ends_well();
}

#[test]
fn a_node_that_freezes_costs_no_new_call() {
    let mut farm = three_nodes(32);
    let mut gateway = under_load(&mut farm);
    farm.lab().does(&["freeze", "ast-1"]);
    let frozen_at = now_ms();
    let calls = no_harm_beyond(&mut gateway, &farm, frozen_at);
    assert_eq!(strays(&calls, frozen_at), 0);
    let saved = calls.iter().filter(|call| call.given_up > 0).count();
    assert!(saved > 0, "some calls had been offered to the silent node");
    assert_eq!(farm.edge().node("ast-1").state, "down");

    // It answers all that has piled up: calls that went elsewhere meanwhile are ended there.
    farm.lab().does(&["thaw", "ast-1"]);
    farm.edge().until_node("ast-1", "up", secs(30));
    until("no call is left on the node that froze", secs(40), || farm.lab().channels("ast-1") == 0);
    farm.ends_well();
}

#[test]
fn a_node_that_stops_gracefully_costs_no_call_at_all() {
    let mut farm = three_nodes(33);
    let mut gateway = under_load(&mut farm);
    // It answers when the node is gone, so nobody waits for it.
    let mut stopping = farm.lab().start_command(&["cli", "ast-1", "core", "stop", "gracefully"]);
    let told_at = now_ms();
    gateway.succeeds();
    let calls = told(&gateway, farm.edge());
    assert_eq!(calls.len(), CALLS as usize, "calls that were answered");
    let harmed: Vec<&Told> = calls.iter().filter(|call| call.ending != Ending::Ended).collect();
    assert!(harmed.is_empty(), "{harmed:#?}");
    assert!(strays(&calls, told_at + 500) == 0, "no new calls while it stops");
    farm.edge().until_node("ast-1", "down", secs(20));
    let _ = stopping.wait();
    farm.ends_well();
}
