//! Queues on several nodes and one agent: he is rung once, and every queue knows what he is doing.

use std::time::Duration;

use crate::farm::Farm;
use crate::phone::Phone;
use crate::process::{secs, until};
use crate::sipp::{Load, Sipp};

pub const AGENT: &str = "1001";

/// Two nodes with the queue 700, whose members are these users.
pub fn farm(net: u8, users: &[&str], agents: &str) -> Farm {
    let users: Vec<String> = users.iter().map(|user| (*user).to_owned()).collect();
    let farm = Farm::new(net).node("weight: 10").node("weight: 10").pool("algorithm: round_robin");
    farm.registrar(&users, "").with(&format!("agents: {agents}")).with_asterisk()
}

/// What a node's dialplan gets for an expression.
pub fn evaluated(farm: &Farm, node: &str, expression: &str) -> String {
    let text = farm.lab().does(&["cli", node, "dialplan", "eval", "function", expression]);
    let result = text.lines().find_map(|line| line.strip_prefix("Result: ")).unwrap_or_default();
    result.trim().to_owned()
}

/// What the queue of a node says of a member.
fn queue_says(farm: &Farm, node: &str, user: &str) -> String {
    let text = farm.lab().does(&["cli", node, "queue", "show", "q700"]);
    let member = text.lines().find(|line| line.contains(&format!("Custom:{user})")));
    let member = member.unwrap_or_else(|| panic!("{user} is no member: {text}"));
    let known = ["Not in use", "In use", "On Hold", "Ringing", "Busy", "Unavailable", "Unknown"];
    let state = known.iter().find(|state| member.contains(&format!("({state})")));
    state.unwrap_or_else(|| panic!("{member}")).to_string()
}

pub fn until_queues_say(farm: &Farm, state: &str) {
    for node in ["ast-1", "ast-2"] {
        until(&format!("the queue of {node} says {state}"), secs(10), || queue_says(farm, node, AGENT) == state);
    }
}

pub fn agent_says(farm: &Farm, state: &str) {
    let agents = farm.cli(&["agents"]).stdout;
    let line = agents.lines().find(|line| line.contains(AGENT)).unwrap_or_default();
    assert!(line.split_whitespace().any(|word| word == state), "{agents}");
}

pub fn rings(farm: &Farm) -> u64 {
    farm.edge().metric("cordboard_agent_calls_total", &[]) as u64
}

#[test]
fn two_queues_that_want_one_agent_at_the_same_moment_ring_him_once() {
    let mut farm = farm(180, &[AGENT], "{ publish: true, wrapup: 1s }");
    farm.phones(5060, &[AGENT.to_owned()], "answer-slow", &["-d", "300"]);
    let repetitions = std::env::var("CORDBOARD_E2E_REPETITIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(8);
    for repetition in 1..=repetitions {
        until_queues_say(&farm, "Not in use");
        // Both callers hold until both hang up, one on each node; the second one waits in its queue.
        let mut callers = farm.load(&Load::of("call").called("700").calls(2, 1_000).hold(Duration::from_millis(1_500)));
        until("the agent's phone rings", secs(5), || rings(&farm) > repetition - 1);
        callers.succeeds();
        assert_eq!(rings(&farm), repetition, "it rang once for two callers");
    }
    let per_node = |node| farm.edge().metric("cordboard_node_calls_total", &[&format!("\"{node}\"")]);
    let each = repetitions as f64;
    assert_eq!((per_node("ast-1"), per_node("ast-2")), (each, each), "one caller on each node");
    farm.ends_well();
}

#[test]
fn the_caller_who_waits_is_served_when_the_agent_is_free_again() {
    let mut farm = farm(181, &[AGENT], "{ publish: true }");
    farm.phones(5060, &[AGENT.to_owned()], "answer", &[]);
    until_queues_say(&farm, "Not in use");
    let mut first = farm.load(&Load::of("call").called("700").hold(secs(6)));
    until_queues_say(&farm, "In use");
    let mut second = farm.load(&Load::of("call").called("700").hold(secs(14)));
    first.succeeds();
    until("the second caller has the agent", secs(5), || rings(&farm) == 2);
    second.succeeds();
    assert_eq!(rings(&farm), 2);
    farm.ends_well();
}

#[test]
fn every_queue_tells_what_an_agent_is_doing_also_after_a_node_or_the_edge_was_killed() {
    let mut farm = farm(182, &[AGENT, "1002"], "{ publish: true, wrapup: 2s }");
    until_queues_say(&farm, "Unavailable");
    farm.phones(5060, &[AGENT.to_owned()], "answer-slow", &["-d", "5000"]);
    until_queues_say(&farm, "Not in use");
    let mut caller = farm.load(&Load::of("call").called("700").hold(secs(14)));
    until_queues_say(&farm, "Ringing");
    agent_says(&farm, "ringing");
    until_queues_say(&farm, "In use");
    agent_says(&farm, "in_use");

    // The edge forgets nothing of it.
    farm.edge_mut().process.end("KILL", secs(5));
    farm.start_edge();
    agent_says(&farm, "in_use");
    farm.until_known(&["ast-1", "ast-2"]);
    until_queues_say(&farm, "In use");
    caller.succeeds();
    until_queues_say(&farm, "Not in use");

    // A node that starts again knows nothing and asks.
    assert_eq!(farm.cli(&["not-ready", AGENT, "lunch"]).code, 0);
    until_queues_say(&farm, "Unavailable");
    farm.lab().does(&["kill", "ast-2"]);
    assert_eq!(farm.cli(&["ready", AGENT]).code, 0);
    farm.lab().does(&["start", "ast-2"]);
    until_queues_say(&farm, "Not in use");
    until("the node knows all agents again", secs(5), || queue_says(&farm, "ast-2", "1002") == "Unavailable");
    farm.ends_well();
}

#[test]
fn a_queues_call_is_wrapped_up_and_a_phone_that_leaves_is_unavailable() {
    let mut farm = farm(183, &[AGENT], "{ publish: true, wrapup: 6s }");
    let mut phone = Phone::on_udp(AGENT, &farm.phone_at(5060), &farm.edge_at());
    let lines = phone.binding(600);
    assert_eq!(phone.registers(&lines).code(), 200);
    until_queues_say(&farm, "Not in use");
    let mut caller: Sipp = farm.load(&Load::of("call").called("700").hold(secs(1)));
    let invite = phone.takes_a_call();
    assert!(invite.header("X-Edge-Queue").is_none(), "what nodes say to the edge is not the phone's business");
    caller.succeeds();
    until_queues_say(&farm, "Busy");
    agent_says(&farm, "wrapup");
    until_queues_say(&farm, "Not in use");
    assert_eq!(phone.registers("Contact: *\r\nExpires: 0\r\n").code(), 200);
    until_queues_say(&farm, "Unavailable");
    farm.ends_well();
}

#[test]
fn a_dialplan_asks_by_http_who_is_free_and_an_edge_that_is_away_keeps_nobody_waiting() {
    let mut farm = farm(185, &[AGENT, "1002"], "{ publish: true }");
    for module in ["res_curl.so", "func_curl.so"] {
        farm.lab().does(&["cli", "ast-1", "module", "load", module]);
    }
    farm.phones(5060, &[AGENT.to_owned()], "answer", &[]);
    let lookup = |user: &str| format!("CURL(http://{}:8080/api/v1/location/{user}/dial)", farm.ip(10));
    assert_eq!(evaluated(&farm, "ast-1", &lookup(AGENT)), "ready,PJSIP/1001@edge");
    assert_eq!(evaluated(&farm, "ast-1", &lookup("1002")), "unavailable,");
    let (asked, began) = (lookup(AGENT), std::time::Instant::now());
    farm.edge_mut().process.end("KILL", secs(5));
    assert_eq!(evaluated(&farm, "ast-1", &asked), "");
    assert!(began.elapsed() < secs(3));
    farm.start_edge();
    farm.ends_well();
}

#[test]
fn a_dialplan_asks_and_says_by_fastagi() {
    let agents = "{ publish: true, agi: \"127.0.186.10:4573\" }";
    let mut farm = farm(186, &[AGENT, "1002"], agents);
    farm.phones(5060, &[AGENT.to_owned()], "answer", &[]);
    assert_eq!(farm.cli(&["drain", "ast-2"]).code, 0);
    let edge = format!("agi://{}:4573", farm.ip(10));
    let ask = |farm: &Farm, line: &str| {
        let context = ["dialplan", "add", "extension"];
        let words = [&["cli", "ast-1"][..], &context, &[line, "into", "from-edge", "replace"]].concat();
        farm.lab().does(&words);
    };
    ask(&farm, "*1,1,AGI(EDGE/locate,1001)".replace("EDGE", &edge).as_str());
    // The console takes quotes away, so nothing in an expression needs any.
    ask(&farm, "*1,2,GotoIf($[${LOC_STATE}${LEN(${LOC_DIAL})}=ready15]?3:9)");
    ask(&farm, "*1,3,AGI(EDGE/set,1001,not_ready,lunch)".replace("EDGE", &edge).as_str());
    ask(&farm, "*1,4,AGI(EDGE/state,1001)".replace("EDGE", &edge).as_str());
    ask(&farm, "*1,5,GotoIf($[${AGENT_STATE}${AGENT_REASON}=not_readylunch]?6:9)");
    ask(&farm, "*1,6,Answer()");
    ask(&farm, "*1,7,Wait(5)");
    ask(&farm, "*1,9,Hangup(1)");
    farm.carries(&Load::of("call").called("*1").hold(Duration::from_millis(300)));
    agent_says(&farm, "not_ready");
    until_queues_say(&farm, "Unavailable");
    farm.ends_well();
}
