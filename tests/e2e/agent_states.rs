//! What agents do and say beyond taking calls: they hold, they are reserved, and they dial feature codes.

use std::time::Duration;

use crate::agents::{AGENT, agent_says, evaluated, farm, rings, until_queues_say};
use crate::farm::Farm;
use crate::phone::Phone;
use crate::process::{secs, until};
use crate::sipp::Load;

/// A farm whose agents have skills, and whose nodes may ask by FastAGI.
fn farm_with_skills(net: u8, users: &[(&str, &str)], agents: &str) -> Farm {
    let user = |(name, more): &(&str, &str)| {
        format!("    - {{ name: \"{name}\", password: \"{}\", {more} }}\n", crate::sipp::password_of(name))
    };
    let users: String = users.iter().map(user).collect();
    let registrar = format!("registrar:\n  realm: pbx.example.com\n  algorithms: [md5, sha-256]\n  users:\n{users}");
    let farm = Farm::new(net).node("weight: 10").node("weight: 10").pool("algorithm: round_robin");
    let agi = format!("agi: \"{}:4573\"", farm.ip(10));
    farm.with(&registrar).with(&format!("agents: {{ publish: true, {agi}, {agents} }}")).with_asterisk()
}

fn reservations(farm: &Farm, outcome: &str) -> u64 {
    farm.edge().metric("cordboard_agent_reservations_total", &[&format!("\"{outcome}\"")]) as u64
}

#[test]
fn every_queue_tells_that_an_agent_holds_his_call_also_after_the_edge_was_killed() {
    let mut farm = farm(240, &[AGENT], "{ publish: true }");
    let mut phone = Phone::on_udp(AGENT, &farm.phone_at(5060), &farm.edge_at());
    let lines = phone.binding(600);
    assert_eq!(phone.registers(&lines).code(), 200);
    until_queues_say(&farm, "Not in use");
    let mut caller = farm.load(&Load::of("call").called("700").hold(secs(14)));
    let invite = phone.answers_a_call();
    until_queues_say(&farm, "In use");
    phone.offers(&invite, "sendonly");
    until_queues_say(&farm, "On Hold");
    agent_says(&farm, "on_hold");

    farm.edge_mut().process.end("KILL", secs(5));
    farm.start_edge();
    agent_says(&farm, "on_hold");
    farm.until_known(&["ast-1", "ast-2"]);
    until_queues_say(&farm, "On Hold");

    phone.offers(&invite, "sendrecv");
    until_queues_say(&farm, "In use");
    agent_says(&farm, "in_use");
    phone.is_hung_up_on();
    caller.succeeds();
    until_queues_say(&farm, "Not in use");
    farm.ends_well();
}

#[test]
fn of_two_dialplans_on_two_nodes_that_reserve_an_agent_by_fastagi_at_the_same_moment_one_gets_him() {
    let users = [(AGENT, "skills: [sales, english]"), ("1002", "skills: [english]")];
    let mut farm = farm_with_skills(241, &users, "wrapup: 0s");
    farm.phones(5060, &[AGENT.to_owned()], "answer", &[]);
    until_queues_say(&farm, "Not in use");

    // As the generated dialplan does it.
    farm.carries(&Load::of("call").called("710").hold(Duration::from_millis(300)));
    assert_eq!((rings(&farm), reservations(&farm, "used")), (1, 1));
    until_queues_say(&farm, "Not in use");

    // And one that asks again until somebody is free.
    let edge = format!("agi://{}:4573", farm.ip(10));
    for node in ["ast-1", "ast-2"] {
        for line in [
            "*2,1,AGI(EDGE/reserve,sales&english,5)",
            "*2,2,GotoIf($[${LEN(${RESERVED_AGENT})}=0]?3:5)",
            "*2,3,Wait(1)",
            "*2,4,Goto(1)",
            "*2,5,Dial(${RESERVED_DIAL},30,b(tell-edge^s^1))",
            "*2,6,Hangup(1)",
        ] {
            let line = line.replace("EDGE", &edge);
            farm.lab().does(&["cli", node, "dialplan", "add", "extension", &line, "into", "from-edge", "replace"]);
        }
    }
    let hold = Duration::from_millis(1_500);
    farm.carries(&Load::of("call").called("*2").calls(2, 1_000).hold(hold));
    assert_eq!((rings(&farm), reservations(&farm, "used"), reservations(&farm, "expired")), (3, 3, 0));
    assert!(reservations(&farm, "refused") >= 1, "one of them had to wait");
    let per_node = |node| farm.edge().metric("cordboard_node_calls_total", &[&format!("\"{node}\"")]);
    assert_eq!(per_node("ast-1") + per_node("ast-2"), 3.0);
    assert!(per_node("ast-1") >= 1.0 && per_node("ast-2") >= 1.0, "one caller on each node");
    let story = farm.cli(&["agents", AGENT]).stdout;
    assert!(story.contains("skills: sales, english") && story.contains("reserved"), "{story}");
    farm.ends_well();
}

#[test]
fn of_two_dialplans_on_two_nodes_that_reserve_an_agent_by_http_at_the_same_moment_one_gets_him() {
    let mut farm = farm_with_skills(242, &[(AGENT, "skills: [sales]"), ("1002", "skills: [sales]")], "wrapup: 0s");
    for node in ["ast-1", "ast-2"] {
        for module in ["res_curl.so", "func_curl.so"] {
            farm.lab().does(&["cli", node, "module", "load", module]);
        }
    }
    farm.phones(5060, &[AGENT.to_owned()], "answer", &[]);
    until_queues_say(&farm, "Not in use");
    let ask = format!("CURL(http://{}:8080/api/v1/agents/reserve/dial,skills=sales&hold_secs=8)", farm.ip(10));
    let mut answers = std::thread::scope(|scope| {
        let asked = ["ast-1", "ast-2"].map(|node| scope.spawn(|| evaluated(&farm, node, &ask)));
        asked.map(|thread| thread.join().unwrap())
    });
    answers.sort();
    assert_eq!(answers[1].rsplit_once(',').unwrap().0, "1001,PJSIP/1001@edge", "{answers:?}");
    assert_eq!((answers[0].as_str(), reservations(&farm, "made"), reservations(&farm, "refused")), (",,", 1, 1));
    until_queues_say(&farm, "Ringing");
    until_queues_say(&farm, "Not in use");
    assert_eq!(reservations(&farm, "expired"), 1);

    let (code, text) = farm.edge().send("POST", "/api/v1/agents/reserve", "{\"skills\":[\"sails\"]}");
    assert!(code == 400 && text.contains("known are: sales"), "{code} {text}");
    let (code, text) = farm.edge().send("POST", "/api/v1/agents/reserve", "{\"hold_secs\":61}");
    assert!(code == 400 && text.contains("1 to 60 seconds"), "{code} {text}");
    let (code, text) = farm.edge().send("POST", "/api/v1/agents/reserve", "{\"hold_secs\":1}");
    assert!(code == 200 && text.contains("\"agent\":\"1001\""), "{code} {text}");
    let page = farm.edge().form("/api/v1/agents/reserve/dial", "skills=sales", "https://shop.example");
    assert_eq!(page, 415, "a page that an operator looks at reserves nobody");
    farm.ends_well();
}

#[test]
fn an_agent_says_by_feature_codes_whether_he_takes_calls_and_nobody_outside_says_it_for_him() {
    let users = [(AGENT, "skills: [sales]"), ("1002", "wrapup: 5s")];
    let mut farm = farm_with_skills(243, &users, "reasons: [lunch, training]");
    farm.phones(5060, &[AGENT.to_owned()], "answer", &[]);
    until_queues_say(&farm, "Not in use");
    let dials = |farm: &mut Farm, code: &str| {
        let target = format!("{code}@{}", farm.edge_at());
        let phone = Load::of_phones("call", &[AGENT.to_owned()]).called(code).with(&["-auth_uri", &target]);
        let from = farm.phone_at(5071);
        farm.carries(&phone.from(&from).hold(Duration::from_millis(200)));
    };
    let until_agent_says = |farm: &Farm, word: &str| {
        until(&format!("the agent is {word}"), secs(5), || {
            farm.cli(&["agents"]).stdout.lines().any(|line| line.contains(AGENT) && line.contains(word))
        });
    };
    dials(&mut farm, "*71");
    until_agent_says(&farm, "not_ready");
    until_agent_says(&farm, "lunch");
    until_queues_say(&farm, "Unavailable");
    dials(&mut farm, "*712");
    until_agent_says(&farm, "training");
    dials(&mut farm, "*70");
    until_agent_says(&farm, " ready");
    until_queues_say(&farm, "Not in use");

    farm.carries(&Load::of("refused").called("*71").with(&["-set", "code", "403"]));
    agent_says(&farm, "ready");
    let refused = farm.cli(&["not-ready", AGENT, "sleep"]);
    assert!(refused.code != 0 && refused.stderr.contains("lunch, training"), "{refused:?}");
    assert_eq!(farm.cli(&["not-ready", AGENT, "lunch"]).code, 0);
    let story = farm.cli(&["agents", AGENT]).stdout;
    let lines: Vec<Vec<&str>> = story.lines().map(|line| line.split_whitespace().skip(1).collect()).collect();
    for line in [
        "unavailable ready registered",
        "ready in_use own_call",
        "in_use not_ready call_ended lunch",
        "in_use not_ready call_ended training",
        "in_use ready call_ended",
        "ready not_ready supervisors_word lunch",
    ] {
        assert!(lines.contains(&line.split(' ').collect()), "{line}: {story}");
    }
    farm.ends_well();
}
