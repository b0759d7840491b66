//! Queues of several real nodes that share their agents: who is rung, who waits and for how long, and what a dialplan hears of
//! an edge that is away.

use std::time::{Duration, Instant};

use crate::farm::Farm;
use crate::phone::Phone;
use crate::process::{secs, until};
use crate::sipp::{Load, Sipp};

/// How long a dialplan may be held up by an edge that is away.
const AT_ONCE: Duration = Duration::from_secs(4);

/// So many nodes with the queue 700, whose members are these users.
fn farm(net: u8, nodes: usize, users: &[&str], agents: &str) -> Farm {
    let users: Vec<String> = users.iter().map(|user| (*user).to_owned()).collect();
    let farm = (0..nodes).fold(Farm::new(net), |farm, _| farm.node("weight: 10")).pool("algorithm: round_robin");
    farm.registrar(&users, "").with(&format!("agents: {agents}")).with_asterisk()
}

/// What the queue of a node says of a member.
fn says(farm: &Farm, node: &str, user: &str) -> String {
    let text = farm.lab().does(&["cli", node, "queue", "show", "q700"]);
    let member = text.lines().find(|line| line.contains(&format!("Custom:{user})"))).unwrap_or(&text);
    let known = ["Not in use", "In use", "Ringing", "Busy", "Unavailable", "Unknown"];
    let state = known.iter().find(|state| member.contains(&format!("({state})")));
    (*state.unwrap_or_else(|| panic!("{member}"))).to_owned()
}

fn until_says(farm: &Farm, nodes: &[&str], user: &str, state: &str) {
    for node in nodes {
        until(&format!("the queue of {node} says of {user}: {state}"), secs(10), || says(farm, node, user) == state);
    }
}

/// Callers who wait in the queue of a node.
fn waiting(farm: &Farm, node: &str) -> usize {
    let text = farm.lab().does(&["cli", node, "queue", "show", "q700"]);
    text.lines().skip_while(|line| !line.contains("Callers:")).skip(1).filter(|line| line.contains("(wait:")).count()
}

fn rings(farm: &Farm) -> u64 {
    farm.edge().metric("cordboard_agent_calls_total", &[]) as u64
}

/// Calls that the gate kept from an agent.
fn kept_away(farm: &Farm) -> u64 {
    farm.edge().metric("cordboard_requests_rejected_total", &["\"agent_busy\""]) as u64
}

/// Callers of the queue, at the same moment; they hold so long.
fn callers(farm: &mut Farm, count: u32, hold: Duration) -> Sipp {
    farm.load(&Load::of("call").called("700").calls(count, 1_000).hold(hold))
}

/// Another section `agents:`, in the running edge.
fn reload(farm: &Farm, from: &str, to: &str) {
    let text = farm.yaml();
    assert!(text.contains(from), "{from} is not in {text}");
    farm.write(&text.replace(from, to));
    assert_eq!(farm.cli(&["reload"]).code, 0);
}

#[test]
fn a_call_that_comes_a_second_later_waits_because_its_node_was_told_that_the_agent_has_one() {
    let mut farm = farm(190, 2, &["1001"], "{ publish: true }");
    farm.phones(5060, &["1001".to_owned()], "answer", &[]);
    until_says(&farm, &["ast-1", "ast-2"], "1001", "Not in use");
    let mut callers = farm.load(&Load::of("call").called("700").calls(2, 1).hold(secs(5)));
    until_says(&farm, &["ast-2"], "1001", "In use");
    until("the second caller waits", secs(5), || waiting(&farm, "ast-2") == 1);
    assert_eq!(rings(&farm), 1);
    callers.succeeds();
    assert_eq!(rings(&farm), 2, "the second caller was served when the first had hung up");
    assert_eq!(kept_away(&farm), 0, "no queue tried in vain");
    farm.ends_well();
}

#[test]
fn calls_of_the_same_moment_ring_a_phone_twice_without_the_gate_and_once_with_it() {
    let mut farm = farm(191, 2, &["1001"], "{ publish: true, gate: off }");
    farm.phones(5060, &["1001".to_owned()], "answer-slow", &["-d", "500"]);
    let rounds = |farm: &mut Farm, count: usize| -> Vec<u64> {
        let round = |_| {
            until_says(farm, &["ast-1", "ast-2"], "1001", "Not in use");
            let before = rings(farm);
            callers(farm, 2, secs(2)).succeeds();
            farm.edge().until_no_calls(secs(10));
            rings(farm) - before
        };
        (0..count).map(round).collect()
    };
    // News of a state needs some milliseconds; that is when both queues see him free.
    let without = rounds(&mut farm, 4);
    assert!(without.contains(&2), "rings without the gate: {without:?}");
    reload(&farm, "gate: off", "gate: queue");
    assert_eq!(rounds(&mut farm, 4), [1; 4], "rings with the gate");
    farm.ends_well();
}

#[test]
fn the_gate_alone_keeps_an_agent_from_a_second_ring_but_lets_queues_ask_again_and_again() {
    let mut farm = farm(192, 2, &["1001"], "{ publish: true }");
    // Nodes that start anew, and are told nothing: the edge that made their files is another one.
    farm.edge_mut().process.end("TERM", secs(10));
    farm.write(&farm.yaml().replace("publish: true", "publish: false"));
    for node in ["ast-1", "ast-2"] {
        farm.lab().does(&["stop", node]);
        farm.lab().does(&["start", node]);
    }
    farm.start_edge();
    farm.until_known(&["ast-1", "ast-2"]);
    farm.phones(5060, &["1001".to_owned()], "answer", &[]);
    until_says(&farm, &["ast-1", "ast-2"], "1001", "Unknown");
    let mut callers = farm.load(&Load::of("call").called("700").calls(2, 1).hold(secs(6)));
    until("the second caller's queue asks again and again", secs(10), || kept_away(&farm) >= 3);
    assert_eq!(rings(&farm), 1);
    callers.succeeds();
    assert_eq!(rings(&farm), 2, "the second caller was served when the first had hung up");
    farm.ends_well();
}

#[test]
fn of_three_callers_on_three_nodes_at_once_two_get_the_two_agents_and_the_third_is_served_on_hangup() {
    let (nodes, users) = (["ast-1", "ast-2", "ast-3"], ["1001", "1002"]);
    let mut farm = farm(193, 3, &users, "{ publish: true }");
    let mut phones: Vec<Phone> = users
        .iter()
        .zip([5060, 5061])
        .map(|(user, port)| Phone::on_udp(user, &farm.phone_at(port), &farm.edge_at()))
        .collect();
    for phone in &mut phones {
        let lines = phone.binding(600);
        assert_eq!(phone.registers(&lines).code(), 200);
    }
    users.iter().for_each(|user| until_says(&farm, &nodes, user, "Not in use"));
    let mut callers = callers(&mut farm, 3, secs(4));
    let mut invites: Vec<_> = phones.iter_mut().map(|phone| phone.until_request("INVITE")).collect();
    assert_eq!(rings(&farm), 2, "each agent is rung once");
    for (phone, invite) in phones.iter_mut().zip(&invites) {
        phone.answers_invite(invite);
    }
    users.iter().for_each(|user| until_says(&farm, &nodes, user, "In use"));
    assert_eq!(nodes.iter().map(|node| waiting(&farm, node)).sum::<usize>(), 1, "the third caller waits");
    assert_eq!(rings(&farm), 2);
    let first: Vec<String> =
        invites.drain(..).filter_map(|invite| invite.header("Call-ID").map(str::to_owned)).collect();
    assert_ne!(first[0], first[1]);
    phones.iter_mut().for_each(Phone::is_hung_up_on);
    callers.succeeds();
    farm.ends_well();
}

#[test]
fn who_waits_for_an_agent_has_him_within_a_second_of_the_hangup() {
    let mut farm = farm(194, 2, &["1001"], "{ publish: true }");
    let mut phone = Phone::on_udp("1001", &farm.phone_at(5060), &farm.edge_at());
    let lines = phone.binding(600);
    assert_eq!(phone.registers(&lines).code(), 200);
    until_says(&farm, &["ast-1", "ast-2"], "1001", "Not in use");
    let mut waits: Vec<Duration> = (0..7).map(|repetition| wait_for(&mut farm, &mut phone, repetition * 140)).collect();
    waits.sort();
    println!("from a hangup to the next ring: {waits:?}");
    assert_eq!(rings(&farm), 14, "one ring a caller");
    assert!(waits[waits.len() / 2] <= secs(1), "{waits:?}");
    farm.ends_well();
}

/// Somebody talks to the agent, somebody else waits on the other node: how long after the hangup the phone rings again. A queue looks
/// once a second whether an agent is free; the milliseconds move the hangup within that second.
fn wait_for(farm: &mut Farm, phone: &mut Phone, millis: u64) -> Duration {
    let mut first = callers(farm, 1, Duration::from_millis(1_500 + millis));
    let invite = phone.until_request("INVITE");
    phone.answers_invite(&invite);
    let mut second = callers(farm, 1, Duration::from_millis(3_500 + millis));
    phone.is_hung_up_on();
    let hung_up = Instant::now();
    let invite = phone.until_request("INVITE");
    let wait = hung_up.elapsed();
    phone.answers_invite(&invite);
    phone.is_hung_up_on();
    first.succeeds();
    second.succeeds();
    until_says(farm, &["ast-1", "ast-2"], "1001", "Not in use");
    wait
}

/// A line of a node's dialplan. The console takes quotes away and dislikes spaces, so it has none.
fn extension(farm: &Farm, line: &str) {
    farm.lab().does(&["cli", "ast-1", "dialplan", "add", "extension", line, "into", "from-edge", "replace"]);
}

/// Runs an extension on a node, without a call from outside, and returns what it noted as `OUTCOME`, and after how long.
fn outcome(farm: &Farm, number: &str) -> (String, Duration) {
    let value = || {
        let text = farm.lab().does(&["cli", "ast-1", "dialplan", "eval", "function", "GLOBAL(OUTCOME)"]);
        text.lines().find_map(|line| line.strip_prefix("Result: ")).unwrap_or_default().trim().to_owned()
    };
    farm.lab().does(&["cli", "ast-1", "dialplan", "set", "global", "OUTCOME", "none"]);
    let began = Instant::now();
    let channel = format!("Local/{number}@from-edge");
    farm.lab().does(&["cli", "ast-1", "channel", "originate", &channel, "application", "Wait", "5"]);
    until(&format!("{number} has an outcome"), secs(20), || value() != "none");
    (value(), began.elapsed())
}

#[test]
fn a_dialplan_finds_an_agent_by_sip_by_curl_and_by_fastagi_and_an_edge_that_is_away_holds_up_none_of_them() {
    let mut farm = farm(195, 1, &["1001", "1002"], "{ publish: true, agi: \"127.0.195.10:4573\" }");
    for module in ["res_curl.so", "func_curl.so", "res_clioriginate.so"] {
        farm.lab().does(&["cli", "ast-1", "module", "load", module]);
    }
    let edge = farm.ip(10);
    let location = format!("http://{edge}:8080/api/v1/location/1001/dial");
    let lines = [
        // By SIP: the edge is dialled, and knows where he is.
        "21,1,Dial(PJSIP/1001@edge,10,g)".to_owned(),
        "21,2,Set(GLOBAL(OUTCOME)=${DIALSTATUS}-${HANGUPCAUSE})".to_owned(),
        "22,1,Dial(PJSIP/1002@edge,10)".to_owned(),
        "22,2,Set(GLOBAL(OUTCOME)=${DIALSTATUS}-${HANGUPCAUSE})".to_owned(),
        // By HTTP: what the edge says is dialled.
        "23,1,Set(CURLOPT(conntimeout)=1)".to_owned(),
        "23,2,Set(CURLOPT(httptimeout)=2)".to_owned(),
        format!("23,3,Set(ARRAY(LOC_STATE,LOC_DIAL)=${{CURL({location})}})"),
        "23,4,GotoIf($[${LEN(${LOC_DIAL})}=0]?8)".to_owned(),
        "23,5,Dial(${LOC_DIAL},10,g)".to_owned(),
        "23,6,Set(GLOBAL(OUTCOME)=${LOC_STATE}-${DIALSTATUS})".to_owned(),
        "23,7,Hangup()".to_owned(),
        "23,8,Set(GLOBAL(OUTCOME)=nobody)".to_owned(),
        format!("25,1,Set(ARRAY(LOC_STATE,LOC_DIAL)=${{CURL({})}})", location.replace("1001", "1009")),
        "25,2,Set(GLOBAL(OUTCOME)=${LOC_STATE}-${LOC_DIAL})".to_owned(),
        // By FastAGI: the same.
        format!("24,1,AGI(agi://{edge}:4573/locate,1001)"),
        "24,2,GotoIf($[${AGISTATUS}=SUCCESS]?3:6)".to_owned(),
        "24,3,Dial(${LOC_DIAL},10,g)".to_owned(),
        "24,4,Set(GLOBAL(OUTCOME)=${LOC_STATE}-${DIALSTATUS})".to_owned(),
        "24,5,Hangup()".to_owned(),
        "24,6,Set(GLOBAL(OUTCOME)=${AGISTATUS})".to_owned(),
    ];
    lines.iter().for_each(|line| extension(&farm, line));
    farm.phones(5060, &["1001".to_owned()], "answer-then-bye", &["-d", "200"]);
    let heard = |farm: &Farm, number: &str| outcome(farm, number).0;
    assert_eq!(heard(&farm, "21"), "ANSWER-16");
    assert_eq!(heard(&farm, "22"), "NOANSWER-19", "who is registered nowhere");
    assert_eq!(heard(&farm, "23"), "ready-ANSWER");
    assert_eq!(heard(&farm, "25"), "unknown-", "who is no user");
    assert_eq!(heard(&farm, "24"), "ready-ANSWER");
    farm.edge().until_no_calls(secs(10));

    farm.edge_mut().process.end("KILL", secs(5));
    let contacts = || farm.lab().does(&["cli", "ast-1", "pjsip", "show", "contacts"]);
    until("the node has noticed that the edge is away", secs(15), || contacts().contains("Unavail"));
    for (number, expected) in [("21", "CHANUNAVAIL-3"), ("23", "nobody"), ("24", "FAILURE")] {
        let (heard, after) = outcome(&farm, number);
        assert_eq!(heard, expected, "{number}");
        assert!(after < AT_ONCE, "{number}: {after:?}");
    }
    farm.start_edge();
    farm.until_known(&["ast-1"]);
    farm.ends_well();
}
