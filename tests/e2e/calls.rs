//! Every kind of call, from a SIPp gateway over the edge to a SIPp node. Both have to be content, and no call may
//! keep its place.

use crate::farm::Farm;
use crate::process::secs;
use crate::sipp::Load;

/// One farm with one node, and a few calls.
fn carries(net: u8, gateway: &str, options: &[&str], node: &str, node_options: &[&str]) {
    let mut farm = Farm::new(net).player("weight: 10", node, node_options).start();
    farm.carries(&Load::of(gateway).calls(3, 10).with(options));
    farm.edge().until_no_calls(secs(40));
    farm.ends_well();
}

/// A test for each pair: its farm, the gateway's scenario with its options, the node's with its.
macro_rules! pairs {
    ($($test:ident: $net:literal, $gateway:literal $options:tt, $node:literal $node_options:tt;)*) => {
        $(
            #[test]
            fn $test() {
                carries($net, $gateway, &$options, $node, &$node_options);
            }
        )*
    };
}

pairs! {
    a_call_is_set_up_and_ended: 60, "call" ["-d", "300"], "answer" [];
    a_node_hangs_up: 61, "call-node-bye" [], "answer-then-bye" ["-d", "300"];
    a_caller_gives_up_while_it_rings: 62, "cancel" ["-d", "300"], "ringing-forever" [];
    a_caller_gives_up_at_once: 63, "cancel-early" [], "ringing-forever" [];
    a_cancel_that_crosses_the_answer_ends_the_call: 64, "cancel-crossed" ["-d", "100"], "late-answer" ["-d", "400"];
    a_bye_before_the_answer_ends_the_call: 65, "early-bye" ["-d", "300"], "ringing-forever" [];
    a_caller_holds: 66, "reinvite" ["-d", "200"], "answer" [];
    a_node_holds: 67, "node-reinvite" ["-d", "200"], "reinvite" ["-d", "200"];
    other_requests_pass_within_the_call: 68, "in-dialog-info" ["-d", "200"], "answer" [];
    a_transfer_is_asked_for_and_reported: 69, "refer" ["-d", "300"], "refer" [];
    a_provisional_answer_is_acknowledged: 70, "prack" ["-d", "200"], "prack" [];
    a_session_timer_is_refreshed: 71, "update-timer" ["-d", "300", "-set", "session_expires", "90"], "update-timer" [];
    a_long_call_meets_a_node_that_holds: 72, "long-call" ["-d", "2500"], "reinvite" ["-d", "400"];
    a_challenge_brings_the_call_to_the_same_node: 73, "auth" ["-d", "200", "-au", "100", "-ap", "password"], "challenge" [];
    a_401_is_answered_with_credentials: 74, "auth" ["-d", "200", "-au", "100", "-ap", "password"], "challenge-401" [];
    busy_goes_to_the_caller: 75, "busy" [], "busy" [];
    forbidden_goes_to_the_caller: 76, "refused" ["-set", "code", "403"], "refuse" ["-set", "code", "403"];
    not_found_goes_to_the_caller: 77, "refused" ["-set", "code", "404"], "refuse" ["-set", "code", "404"];
    unavailable_goes_to_the_caller: 78, "refused" ["-set", "code", "480"], "refuse" ["-set", "code", "480"];
    not_acceptable_goes_to_the_caller: 79, "refused" ["-set", "code", "488"], "refuse" ["-set", "code", "488"];
    an_error_goes_to_the_caller: 80, "refused" ["-set", "code", "500"], "refuse" ["-set", "code", "500"];
    a_decline_goes_to_the_caller: 81, "refused" ["-set", "code", "603"], "refuse" ["-set", "code", "603"];
    an_invite_that_is_repeated_is_one_call: 82, "retransmit" ["-d", "300"], "late-answer" ["-d", "150"];
    an_ack_that_was_lost_is_sent_again: 83, "ack-lost" ["-d", "300"], "answer" [];
    a_second_bye_harms_nothing: 84, "bye-twice" ["-d", "300"], "answer" [];
    a_bye_of_a_call_that_the_node_has_lost_is_answered: 86, "lost-call" ["-d", "500"], "restarted" [];
}

#[test]
fn a_caller_on_tcp_reaches_a_node_on_tcp() {
    let farm = Farm::new(90);
    let uri = format!("uri: \"sip:{};transport=tcp\", weight: 10", farm.at(1));
    let mut farm = farm.player(&uri, "answer", &["-t", "t1"]).start();
    for scenario in ["call", "reinvite", "in-dialog-info"] {
        farm.carries(&Load::of(scenario).calls(3, 10).hold(secs(1)).with(&["-t", "t1"]));
    }
    farm.ends_well();
}

#[test]
fn a_caller_on_tcp_reaches_a_node_on_udp() {
    let mut farm = Farm::new(91).player("weight: 10", "answer", &[]).start();
    for scenario in ["call", "reinvite", "in-dialog-info"] {
        farm.carries(&Load::of(scenario).calls(3, 10).hold(secs(1)).with(&["-t", "t1"]));
    }
    farm.ends_well();
}

#[test]
fn a_caller_on_tcp_gives_up_while_a_node_on_udp_rings() {
    let mut farm = Farm::new(92).player("weight: 10", "ringing-forever", &[]).start();
    farm.carries(&Load::of("cancel").calls(3, 10).with(&["-t", "t1", "-d", "300"]));
    farm.ends_well();
}

#[test]
fn a_node_on_tcp_that_hangs_up_reaches_the_caller_on_tcp() {
    let farm = Farm::new(93);
    let uri = format!("uri: \"sip:{};transport=tcp\", weight: 10", farm.at(1));
    let mut farm = farm.player(&uri, "answer-then-bye", &["-t", "t1", "-d", "300"]).start();
    farm.carries(&Load::of("call-node-bye").calls(3, 10).with(&["-t", "t1"]));
    farm.ends_well();
}

#[test]
fn callers_and_nodes_on_ipv6_and_ipv4_reach_each_other() {
    let farm = Farm::new(94).listen("udp://[::1]:26060").gateway("name: six, source: [\"::1\"]");
    let mut farm = farm.node("uri: \"sip:[::1]:26061\", weight: 10");
    farm.play_at(1, "[::1]:26061", "answer", &[]);
    let mut farm = farm.player("weight: 10", "answer", &[]).start();
    for scenario in ["call", "reinvite", "in-dialog-info"] {
        let load = Load::of(scenario).calls(4, 20).with(&["-d", "300"]);
        farm.carries(&load.clone().from("[::1]:26062").to("[::1]:26060"));
        farm.carries(&load);
    }
    let given = |node| farm.edge().metric("cordboard_node_calls_total", &[node]);
    assert!(given("ast-1") > 0.0 && given("ast-2") > 0.0, "both nodes had calls of both callers");
    farm.ends_well();
}

/// Three calls whose end nobody tells, on a farm of their own.
fn forsaken(net: u8, load: &Load, node: &str, more: &str) -> Farm {
    let mut farm = Farm::new(net).player("weight: 10", node, &[]).with(more).start();
    farm.carries(&load.clone().calls(3, 10));
    assert_eq!(farm.edge().open_calls(), 3, "{node}: nobody has ended them");
    farm
}

/// The three wait for half a minute each (64 times T1), and so they wait together.
#[test]
fn calls_that_nobody_ends_refreshes_or_answers_give_their_places_back() {
    let bye = Load::of("bye-unanswered").with(&["-d", "300"]);
    let vanish = Load::of("vanish").with(&["-set", "session_expires", "5"]);
    let unanswered = Load::of("unanswered").with(&["-d", "1000"]);
    let farms = [
        (forsaken(97, &vanish, "update-timer", ""), "session_timer"),
        (forsaken(98, &unanswered, "trying-then-silent", "calls: { ring_timeout: 5s }"), "ring_timeout"),
        (forsaken(96, &bye, "no-bye-answer", ""), "bye_unanswered"),
    ];
    for (farm, cause) in farms {
        farm.edge().until_no_calls(secs(50));
        let cause = format!("\"{cause}\"");
        assert_eq!(farm.edge().metric("cordboard_calls_ended_total", &[&cause]), 3.0, "{cause}");
        farm.ends_well();
    }
}
