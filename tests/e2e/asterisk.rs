//! Calls to real Asterisk nodes: what a stock node says and does passes the edge as it should.

use crate::farm::Farm;
use crate::process::{secs, until};
use crate::sipp::{Load, Sipp};
use crate::told::told;

fn no_channel_is_left(farm: &Farm) {
    until("no call is left on a node", secs(15), || {
        ["ast-1", "ast-2"].iter().all(|node| farm.lab().channels(node) == 0)
    });
}

/// Call-IDs of the calls that the edge gave to nodes; those of one load.
fn call_ids(gateway: &Sipp, farm: &Farm, calls: u32) -> Vec<String> {
    (1..=calls).map(|number| format!("{number}-{}@{}", gateway.process.pid(), farm.ip(20))).collect()
}

#[test]
fn every_kind_of_call_to_a_real_node_ends_as_it_should() {
    let mut farm = Farm::new(160).node("weight: 10").node("weight: 10").with_asterisk();
    let code = |code| ["-set", "code", code];
    let loads = [
        Load::of("call").called("100").hold(secs(1)),
        Load::of("call").called("110").hold(secs(1)),
        Load::of("call-node-bye").called("102"),
        Load::of("busy").called("120"),
        Load::of("refused").called("122").with(&code("403")),
        Load::of("refused").called("123").with(&code("404")),
        Load::of("cancel").called("111").with(&["-d", "300"]),
        Load::of("early-bye").called("111").with(&["-d", "300"]),
        Load::of("reinvite").called("100").with(&["-d", "300"]),
        Load::of("long-call").called("140").with(&["-d", "4000"]),
        Load::of("retransmit").called("110").with(&["-d", "300"]),
    ];
    // Side by side, each from a port of its own.
    let mut gateways: Vec<Sipp> = loads.iter().map(|load| farm.load(&load.clone().calls(4, 4))).collect();
    gateways.iter_mut().for_each(Sipp::succeeds);
    farm.edge().until_no_calls(secs(40));
    no_channel_is_left(&farm);
    farm.ends_well();
}

#[test]
fn a_real_node_whose_dialplan_found_no_way_out_is_the_only_one_that_is_asked() {
    let mut farm = Farm::new(161).node("weight: 10").node("weight: 10").with_asterisk();
    let gateway = farm.carries(&Load::of("refused").called("121").calls(6, 10).with(&["-set", "code", "500"]));
    for call_id in call_ids(&gateway, &farm, 6) {
        let tries: Vec<String> = farm.edge().explain(&call_id).tries.into_iter().map(|t| t.result).collect();
        assert_eq!(tries, ["answered 503"], "{call_id}");
    }
    no_channel_is_left(&farm);
    farm.ends_well();
}

#[test]
fn a_real_node_that_is_full_passes_its_calls_on() {
    let mut farm = Farm::new(162).node("weight: 100").node("weight: 1").with_asterisk();
    farm.lab().does(&["maxcalls", "ast-1", "2"]);
    farm.until_all_up();
    let gateway = farm.carries(&Load::of("tell").calls(8, 10).hold(secs(2)));
    let calls = told(&gateway, farm.edge());
    let on = |node: &str| calls.iter().filter(|call| call.node == node).count();
    assert_eq!((calls.len(), on("ast-1") + on("ast-2")), (8, 8));
    assert!(on("ast-1") >= 1 && on("ast-2") >= 4, "{calls:?}");
    assert!(farm.edge().metric("cordboard_node_failovers_total", &["\"ast-1\"", "unavailable"]) >= 1.0);
    no_channel_is_left(&farm);
    farm.ends_well();
}
