//! Edge and nodes disagree about calls, with real Asterisk: who is believed, and what becomes of the calls.

use std::time::Duration;

use crate::farm::Farm;
use crate::process::{secs, until};
use crate::sipp::{Load, Sipp};

const AGENT: &str = "1001";
const NODES: [&str; 2] = ["ast-1", "ast-2"];

/// Two nodes that are looked at often, with one agent.
fn farm(net: u8) -> Farm {
    let farm = Farm::new(net).node("weight: 10").node("weight: 10").pool("algorithm: round_robin");
    let ari = "ari: { password: hush, interval: 5s, grace: 1s }";
    farm.registrar(&[AGENT.to_owned()], "").with("agents: { publish: true }").with(ari).with_asterisk()
}

fn ended(farm: &Farm, cause: &str) -> f64 {
    farm.edge().metric("cordboard_calls_ended_total", &[cause])
}

fn reconciled(farm: &Farm, action: &str) -> f64 {
    farm.edge().metric("cordboard_reconciled_calls_total", &[action])
}

fn calls_on(farm: &Farm) -> Vec<u32> {
    NODES.iter().map(|node| farm.edge().node(node).calls).collect()
}

fn queue_says(farm: &Farm, node: &str, state: &str) -> bool {
    farm.lab().does(&["cli", node, "queue", "show", "q700"]).contains(&format!("({state})"))
}

fn agent_says(farm: &Farm, state: &str) -> bool {
    let agents = farm.cli(&["agents"]).stdout;
    agents.lines().any(|line| line.contains(AGENT) && line.split_whitespace().any(|word| word == state))
}

fn until_published(farm: &Farm) {
    let told = || farm.edge().metric("cordboard_agent_publications_total", &["2xx"]) >= 2.0;
    until("both nodes were told", secs(10), told);
}

fn up(farm: &mut Farm, load: &Load, calls: u64) -> Sipp {
    let gateway = farm.load(load);
    until("the calls are up", secs(10), || farm.edge().status().calls.up >= calls);
    gateway
}

#[test]
fn an_edge_that_lost_its_store_knows_its_calls_from_the_nodes_before_it_tells_anybody_of_agents() {
    let mut farm = farm(220);
    farm.phones(5060, &[AGENT.to_owned()], "answer", &[]);
    until("the agent is free", secs(10), || NODES.iter().all(|node| queue_says(&farm, node, "Not in use")));
    let mut caller = farm.load(&Load::of("call").called("700").hold(secs(12)));
    until("the agent talks", secs(10), || agent_says(&farm, "in_use"));
    let mut others = up(&mut farm, &Load::of("call").calls(5, 20).hold(secs(11)), 7);
    let before = calls_on(&farm);
    assert_eq!(before.iter().sum::<u32>(), 6, "five, and the caller in the queue");

    farm.edge_mut().process.end("KILL", secs(5));
    // The farm's secret stays: without it no token of a call that is up would be good.
    for file in std::fs::read_dir(farm.path("state")).unwrap().map(Result::unwrap) {
        if file.file_name() != "secret" {
            std::fs::remove_file(file.path()).unwrap();
        }
    }
    farm.start_edge();
    until_published(&farm);
    assert_eq!(calls_on(&farm), before);
    assert_eq!(farm.edge().metric("cordboard_calls_adopted_total", &[]), 7.0, "the agent's own leg is one of them");
    assert!(agent_says(&farm, "in_use"), "{}", farm.cli(&["agents"]).stdout);
    assert!(NODES.iter().all(|node| queue_says(&farm, node, "In use")), "what nodes were told first was right");

    others.succeeds();
    caller.succeeds();
    farm.edge().until_no_calls(secs(40));
    assert!(ended(&farm, "bye") >= 6.0, "each ended by its own BYE");
    assert_eq!(reconciled(&farm, "hung_up"), 0.0);
    until("the agent is free of the call", secs(5), || agent_says(&farm, "unavailable"));
    farm.ends_well();
}

#[test]
fn calls_that_died_with_their_node_end_soon_after_it_is_back() {
    let mut farm = farm(221);
    farm.phones(5060, &[AGENT.to_owned()], "answer", &[]);
    until("the agent is free", secs(10), || NODES.iter().all(|node| queue_says(&farm, node, "Not in use")));
    assert_eq!(farm.cli(&["drain", "ast-2"]).code, 0);
    let caller = farm.load(&Load::of("call").called("700").hold(secs(50)));
    until("the agent talks", secs(10), || agent_says(&farm, "in_use"));
    let others = up(&mut farm, &Load::of("call").calls(3, 20).hold(secs(50)), 5);
    let call_id = format!("1-{}@{}", others.process.pid(), farm.ip(20));
    farm.lab().does(&["kill", "ast-1"]);
    farm.lab().does(&["start", "ast-1"]);
    until("the leases are ended", secs(30), || ended(&farm, "reconciled") == 5.0);
    assert_eq!(reconciled(&farm, "ended"), 5.0);
    assert_eq!(farm.edge().explain(&call_id).end.map(|end| end.cause).as_deref(), Some("reconciled"));
    assert_eq!(calls_on(&farm), [0, 0]);
    until("the agent is free", secs(5), || agent_says(&farm, "ready"));
    drop((caller, others));
    farm.ends_well();
}

#[test]
fn a_call_that_everybody_but_its_node_knows_to_be_over_is_hung_up_there() {
    let mut farm = farm(222);
    let mut gateway = farm.load(&Load::of("bye-unknown").hold(Duration::from_millis(500)));
    gateway.succeeds();
    let channels = |farm: &Farm| NODES.iter().map(|node| farm.lab().channels(node)).sum::<u32>();
    assert_eq!(channels(&farm), 1, "the node still has it");
    until("the node has it no more", secs(20), || channels(&farm) == 0);
    until("it is counted", secs(5), || reconciled(&farm, "hung_up") == 1.0);
    assert_eq!((reconciled(&farm, "adopted"), reconciled(&farm, "ended")), (0.0, 0.0));
    assert!(farm.edge_log().contains("1 hung up"), "{}", farm.edge_log());
    farm.ends_well();
}

#[test]
fn a_node_that_lets_nobody_look_is_complained_of_once_and_serves_its_calls() {
    let mut farm = farm(223);
    let complaints = |farm: &Farm| farm.edge().node("ast-1").complaints.join("; ");
    let gauge = |farm: &Farm| farm.edge().metric("cordboard_node_complaint", &["\"ast-1\"", "channels"]);
    let ok = |farm: &Farm| farm.edge().metric("cordboard_reconcile_checks_total", &["ok"]);
    until("the nodes are looked at", secs(10), || ok(&farm) >= 4.0);
    assert_eq!((complaints(&farm).as_str(), gauge(&farm)), ("", 0.0));
    farm.write(&farm.yaml().replace("password: hush", "password: wrong"));
    until("it is complained of", secs(10), || complaints(&farm).contains("401"));
    assert_eq!(gauge(&farm), 1.0);
    assert!(farm.cli(&["status"]).stdout.contains("channels cannot be read: it answers 401"));
    farm.carries(&Load::of("call").calls(4, 20));
    until("it was asked again", secs(20), || {
        farm.edge().metric("cordboard_reconcile_checks_total", &["failed"]) >= 4.0
    });
    let said = farm.edge_log().matches("channels of node ast-1 cannot be read").count();
    assert_eq!(said, 1, "{}", farm.edge_log());
    farm.write(&farm.yaml());
    until("all is well", secs(10), || complaints(&farm).is_empty());
    assert!(farm.edge_log().contains("channels of node ast-1 can be read again"));
    farm.ends_well();
}
