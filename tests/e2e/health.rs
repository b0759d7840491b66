//! How nodes are judged, by probes and by calls, and what that means for the next call.

use std::time::Instant;

use crate::farm::Farm;
use crate::process::{secs, until};
use crate::sipp::Load;

/// The node that is asked first, and one that takes the calls which the first one does not.
fn first_and_second(net: u8, first: &str, more: &str) -> Farm {
    Farm::new(net).player("weight: 1000", first, &[]).player("weight: 1", "answer", &[]).with(more).start()
}

fn given_up(farm: &Farm, cause: &str) -> f64 {
    farm.edge().metric("cordboard_node_failovers_total", &["\"ast-1\"", cause])
}

#[test]
fn a_node_that_falls_silent_is_noticed_without_a_call_and_is_back_after_rise() {
    let mut farm = first_and_second(110, "answer", "");
    farm.played(1).process.signal("STOP");
    let began = Instant::now();
    // The defaults promise 5.2 s; the rest is for a busy machine.
    farm.edge().until_node("ast-1", "down", secs(10));
    assert!(farm.edge().node("ast-1").why.unwrap().contains("probe"), "{:?}", began.elapsed());
    farm.carries(&Load::of("call").calls(3, 10));
    assert_eq!(given_up(&farm, ""), 0.0, "nobody was sent there");
    farm.played(1).process.signal("CONT");
    farm.edge().until_node("ast-1", "up", secs(20));
    assert_eq!(farm.edge().metric("cordboard_node_changes_total", &["\"ast-1\""]), 2.0);
    farm.ends_well();
}

#[test]
fn calls_that_meet_silence_go_elsewhere_after_a_second() {
    let mut farm = first_and_second(111, "silent", "");
    farm.carries(&Load::of("call").calls(2, 10));
    assert_eq!(given_up(&farm, "silence"), 2.0);
    farm.lose(1);
    farm.ends_well();
}

#[test]
fn a_node_that_answers_probes_with_503_is_closed_and_gets_no_calls() {
    let mut farm = Farm::new(112);
    farm = farm.player("weight: 1000", "options-503", &[]).player("weight: 1", "answer", &[]).start_unheard();
    farm.edge().until_node("ast-1", "closed", secs(10));
    farm.until_known(&["ast-2"]);
    farm.carries(&Load::of("call").calls(5, 10));
    assert_eq!(farm.edge().node("ast-1").health, "up", "alive, but closed");
    assert_eq!(farm.edge().metric("cordboard_node_closed", &["\"ast-1\""]), 1.0);
    farm.played(1).node_ends_well();
    assert_eq!(farm.played(1).count("invites(C)"), 0);
    farm.lose(1);
    farm.ends_well();
}

#[test]
fn a_node_that_is_shutting_down_passes_its_calls_on() {
    let mut farm = first_and_second(113, "503-shutdown", "");
    farm.carries(&Load::of("call").calls(5, 10));
    assert!(given_up(&farm, "unavailable") >= 1.0);
    farm.ends_well();
}

#[test]
fn a_node_that_is_full_passes_its_calls_on() {
    let mut farm = first_and_second(114, "503-full", "");
    farm.carries(&Load::of("call").calls(5, 10));
    assert!(given_up(&farm, "unavailable") >= 1.0);
    farm.ends_well();
}

#[test]
fn a_call_whose_dialplan_ran_is_never_tried_again() {
    let mut farm = first_and_second(115, "503-congestion", "");
    farm.carries(&Load::of("refused").calls(5, 10).with(&["-set", "code", "500"]));
    assert_eq!(given_up(&farm, ""), 0.0);
    farm.edge().until_no_calls(secs(5));
    for (k, invites) in [(1, 5), (2, 0)] {
        farm.played(k).node_ends_well();
        assert_eq!(farm.played(k).count("invites(C)"), invites, "ast-{k}");
        farm.lose(k);
    }
    farm.ends_well();
}

#[test]
fn a_503_of_a_node_goes_on_as_it_is_where_that_is_wanted() {
    let mut farm = first_and_second(116, "503-congestion", "failover: { forward_503: as_is }");
    farm.carries(&Load::of("refused").calls(3, 10).with(&["-set", "code", "503"]));
    farm.ends_well();
}

#[test]
fn a_node_that_asks_for_a_pause_gets_it() {
    let mut farm = first_and_second(117, "503-retry-after", "");
    farm.carries(&Load::of("call").calls(6, 10));
    let node = farm.edge().node("ast-1");
    assert_eq!(node.state, "closed", "{node:?}");
    assert!(given_up(&farm, "unavailable") <= 2.0, "it was asked once, and perhaps by the next call at the same time");
    farm.edge().until_node("ast-1", "up", secs(15));
    farm.ends_well();
}

/// Its probes are answered too late, so it looks dead; it takes calls all the same.
fn wrongly_judged(farm: Farm) -> Farm {
    let farm = farm.player("weight: 10", "options-slow", &["-d", "900"]);
    let farm = farm.with("health: { interval: 500ms, timeout: 300ms, fall: 2 }").start_unheard();
    farm.edge().until_node("ast-1", "down", secs(10));
    farm
}

#[test]
fn when_every_node_looks_dead_the_least_suspicious_is_tried() {
    let mut farm = wrongly_judged(Farm::new(118));
    let gateway = farm.carries(&Load::of("tell").calls(3, 10));
    for call in crate::told::told(&gateway, farm.edge()) {
        assert_eq!(farm.edge().explain(&call.call_id).choice, "panic");
    }
    farm.ends_well();
}

#[test]
fn without_panic_a_farm_that_looks_dead_says_503_with_retry_after() {
    let mut farm = wrongly_judged(Farm::new(119).pool("panic: false"));
    assert_eq!(farm.edge().status().state, "degraded");
    farm.carries(&Load::of("unavailable").calls(3, 10));
    assert_eq!(farm.edge().metric("cordboard_requests_rejected_total", &["\"none_alive\""]), 3.0);
    farm.ends_well();
}

#[test]
fn a_node_that_is_gone_is_noticed_at_once_and_its_calls_go_elsewhere() {
    let mut farm = first_and_second(120, "answer", "");
    farm.lose(1);
    farm.carries(&Load::of("call").calls(5, 10));
    until("it is known to be down", secs(10), || farm.edge().node("ast-1").state == "down");
    farm.play(1, "answer", &[]);
    farm.edge().until_node("ast-1", "up", secs(20));
    farm.ends_well();
}
