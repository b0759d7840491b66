//! The command line, as an operator uses it.

use std::path::Path;

use crate::edge::{CORDBOARD, cli};
use crate::farm::Farm;
use crate::process::{Output, Process, secs, until};
use crate::sipp::{Load, Sipp};
use crate::told::told;

fn two_nodes(net: u8) -> Farm {
    Farm::new(net).player("weight: 10", "answer", &[]).player("weight: 10", "answer", &[]).start()
}

fn calls_up(farm: &mut Farm, count: u32, hold: u64) -> Sipp {
    let gateway = farm.load(&Load::of("tell").calls(count, 20).hold(secs(hold)));
    gateway.until_logged("answered", count as usize, secs(10));
    gateway
}

fn done(output: Output, parts: &[&str]) -> Output {
    ends(output, 0, parts)
}

/// A command ended with a code, and said these things.
fn ends(output: Output, code: i32, parts: &[&str]) -> Output {
    let said = format!("{}{}", output.stdout, output.stderr);
    assert_eq!(output.code, code, "{said}");
    for part in parts {
        assert!(said.contains(part), "no {part:?} in:\n{said}");
    }
    output
}

#[test]
fn drain_waits_for_the_last_call_and_says_how_many_are_left_and_how_long_that_takes() {
    let mut farm = two_nodes(130);
    farm.carries(&Load::of("call").calls(4, 20).hold(secs(1)));
    let mut calls = calls_up(&mut farm, 6, 4);
    let given = |farm: &Farm| farm.edge().metric("cordboard_node_calls_total", &["\"ast-1\""]);
    let before = given(&farm);
    done(farm.cli(&["drain", "ast-1"]), &["ast-1 drains: 3 calls left, about"]);
    ends(farm.cli(&["drain", "ast-1", "--wait", "--timeout", "100ms"]), 6, &["3 calls are left", "goes on draining"]);
    let mut load = farm.load(&Load::of("call").calls(15, 5));
    let output = done(farm.cli(&["drain", "ast-1", "--wait"]), &["ast-1 is drained: no calls left"]);
    assert!(output.stdout.lines().count() >= 2, "it says what is left meanwhile: {}", output.stdout);
    load.succeeds();
    calls.succeeds();
    assert_eq!(given(&farm), before, "no new calls while it drains");
    assert_eq!(farm.edge().node("ast-1").state, "drained");

    done(farm.cli(&["enable", "ast-1"]), &["ast-1 is enabled"]);
    farm.carries(&Load::of("call").calls(6, 20).hold(secs(1)));
    assert!(given(&farm) > before, "it takes calls again");
    farm.ends_well();
}

#[test]
fn a_node_that_is_disabled_keeps_its_calls_and_is_not_probed() {
    let mut farm = two_nodes(131);
    let mut calls = calls_up(&mut farm, 4, 5);
    done(farm.cli(&["disable", "ast-1"]), &["ast-1 is disabled"]);
    let probes = || farm.edge().metric("cordboard_node_probes_total", &["\"ast-1\""]);
    let others = || farm.edge().metric("cordboard_node_probes_total", &["\"ast-2\""]);
    let (before, others_before) = (probes(), others());
    until("the other node was probed again", secs(10), || others() >= others_before + 2.0);
    assert!(probes() <= before + 1.0, "one may have been under way");
    assert_eq!(farm.edge().node("ast-1").calls, 2);
    calls.succeeds();
    done(farm.cli(&["enable", "ast-1"]), &["ast-1 is enabled"]);
    farm.edge().until_node("ast-1", "up", secs(10));
    ends(farm.cli(&["disable", "ast-7"]), 1, &["there is no node ast-7", "there are ast-1, ast-2"]);
    farm.ends_well();
}

#[test]
fn status_nodes_and_calls_show_what_is_there() {
    let mut farm = two_nodes(132);
    let mut calls = calls_up(&mut farm, 4, 3);
    done(farm.cli(&["status"]), &["e2e", "serving", "calls: 4 up", "ast-1", "ast-2", "generation"]);
    done(farm.cli(&["nodes"]), &["NODE", "ast-1  up", "ast-2  up"]);
    let json = done(farm.cli(&["nodes", "--json"]), &[]).stdout;
    assert!(serde_json::from_str::<serde_json::Value>(&json).unwrap().is_array());
    let listed = done(farm.cli(&["calls", "--node", "ast-1"]), &["CALL-ID", "ast-1", "up"]).stdout;
    assert_eq!(listed.lines().count(), 3, "{listed}");
    assert!(!listed.contains("ast-2"), "{listed}");
    assert_eq!(done(farm.cli(&["calls", "--limit", "1"]), &[]).stdout.lines().count(), 2);
    calls.succeeds();
    farm.ends_well();
}

#[test]
fn explain_tells_why_a_call_went_where_it_went() {
    let farm = Farm::new(133).player("weight: 1000", "503-shutdown", &[]).player("weight: 1", "answer", &[]);
    let mut farm = farm.start();
    let gateway = farm.carries(&Load::of("tell").called("100"));
    let call = told(&gateway, farm.edge()).remove(0);
    let explain = farm.edge().explain(&call.call_id);
    assert_eq!((explain.from.as_str(), explain.called.as_str(), explain.pool.as_str()), ("pri-1", "100", "inbound"));
    assert_eq!((explain.choice.as_str(), explain.pool_size), ("weighted_least_calls", 2));
    let standing = |name: &str| explain.candidates.iter().find(|c| c.node == name).unwrap();
    assert_eq!((standing("ast-1").calls, standing("ast-2").calls), (0, 0));
    assert!(standing("ast-1").load < standing("ast-2").load, "{explain:?}");
    let tries: Vec<(&str, &str)> = explain.tries.iter().map(|t| (t.node.as_str(), t.result.as_str())).collect();
    assert_eq!(tries, [("ast-1", "given up: unavailable (503)"), ("ast-2", "answered 200")]);
    assert_eq!(explain.end.map(|end| end.cause).as_deref(), Some("bye"));
    let shown = ["rule default-in", "pool inbound (2 nodes)", "given up: unavailable (503)", "answered 200", "ended"];
    done(farm.cli(&["explain", &call.call_id]), &shown);
    ends(farm.cli(&["explain", "nobody@nowhere"]), 1, &["nobody@nowhere"]);
    farm.ends_well();
}

#[test]
fn files_are_checked_compared_and_made_without_an_edge() {
    let farm = Farm::new(134).node("weight: 10").node("weight: 30");
    farm.write(&farm.yaml());
    done(farm.cli(&["check"]), &["ok: e2e", "ast-1 25%, ast-2 75%", "a dead node is noticed after"]);
    let bad = farm.path("etc/bad.yaml");
    let bad_name = bad.to_str().unwrap();
    std::fs::write(&bad, farm.yaml().replacen("weight: 10", "wieght: 10", 1).replacen("listen:", "lisen:", 1)).unwrap();
    ends(farm.cli(&["check", bad_name]), 3, &["nodes[0].wieght", "did you mean `weight`?", "did you mean `listen`?"]);
    let json = ends(farm.cli(&["check", bad_name, "--json"]), 3, &[]).stdout;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["ok"], false);

    let other = farm.path("etc/other.yaml");
    std::fs::write(&other, farm.yaml().replacen("weight: 10", "weight: 20", 1)).unwrap();
    let against = farm.file().display().to_string();
    done(farm.cli(&["diff", other.to_str().unwrap(), "--against", &against]), &["ast-1", "10", "20"]);
    done(farm.cli(&["diff", &against, "--against", &against]), &["no change"]);

    let new = farm.path("etc/new.yaml");
    let node = ["--node", "ast-1=sip:127.0.134.11:5060", "--gateway", "pri-1=sip:127.0.134.2:5060"];
    let listen = ["--listen", "udp://127.0.134.10:5060"];
    done(cli(&new, &[&["init"], &listen[..], &node[..]].concat()), &[]);
    done(cli(&new, &["check"]), &["ok: edge-1", "ast-1 100%", "pri-1"]);
    ends(cli(&new, &["init"]), 1, &["new.yaml"]);

    let schema = done(farm.cli(&["schema"]), &[]).stdout;
    assert!(serde_json::from_str::<serde_json::Value>(&schema).unwrap()["properties"]["pools"].is_object());
    done(farm.cli(&["asterisk-config", "ast-2"]), &["pjsip.conf", &farm.ip(12), &farm.ip(10)]);
    ends(farm.cli(&["asterisk-config", "ast-9"]), 1, &["ast-9"]);
}

#[test]
fn diff_shows_what_a_file_would_change_in_the_running_edge_and_changes_nothing() {
    let farm = two_nodes(135);
    let new = farm.path("new.yaml");
    std::fs::write(&new, farm.yaml().replacen("weight: 10", "weight: 20", 1)).unwrap();
    done(farm.cli(&["diff", new.to_str().unwrap()]), &["ast-1", "weight", "20"]);
    std::fs::write(&new, farm.yaml().replacen("weight: 10", "weight: many", 1)).unwrap();
    ends(farm.cli(&["diff", new.to_str().unwrap()]), 3, &["nodes[0].weight"]);
    assert_eq!(farm.edge().node("ast-1").pools[0].weight, 10);
    farm.ends_well();
}

#[test]
fn exit_codes_say_what_is_wrong() {
    let mut farm = two_nodes(136);
    done(farm.cli(&["healthcheck"]), &["serving"]);
    ends(farm.cli(&["no-such-command"]), 2, &["no-such-command"]);
    ends(cli(Path::new("/nowhere/dispatcher.yaml"), &["status"]), 3, &["/nowhere/dispatcher.yaml", "hint:"]);
    ends(cli(Path::new("/nowhere/dispatcher.yaml"), &["run"]), 3, &["/nowhere/dispatcher.yaml", "cordboard init"]);

    // A second edge on the same addresses, with a state of its own.
    let text = farm.yaml().replacen("/state }", "/state-2 }", 1);
    let second = farm.path("etc/second.yaml");
    std::fs::write(&second, text).unwrap();
    let arguments = ["run", "--config", second.to_str().unwrap()].map(str::to_owned);
    let mut process = Process::start("second", CORDBOARD, &arguments, &farm.path(""));
    assert_eq!(process.wait(secs(20)), 4);
    let log = std::fs::read_to_string(farm.path("second.log")).unwrap();
    assert!(log.contains(&farm.edge_at()) && log.contains("hint:"), "{log}");

    assert_eq!(farm.edge_mut().process.end("TERM", secs(10)), 0);
    for command in [&["status"][..], &["nodes"], &["healthcheck"], &["drain", "ast-1"], &["explain", "x"], &["reload"]]
    {
        ends(
            farm.cli(command),
            5,
            &["no edge answers at http://127.0.136.10:8080", "hint: is `cordboard run` running?"],
        );
    }
}

#[test]
fn the_api_wants_its_token_where_there_is_one() {
    let farm = Farm::new(137).player("weight: 10", "answer", &[]);
    let yaml = farm.yaml().replacen(":8080\" }", ":8080\", token: \"a-token-of-the-test\" }", 1);
    let mut farm = farm;
    farm.write(&yaml);
    farm.start_edge();
    let edge = farm.edge();
    assert_eq!(edge.http("/healthz").unwrap().0, 200);
    assert_eq!(edge.http("/api/v1/status").unwrap().0, 401);
    assert_eq!(edge.http("/metrics").unwrap().0, 401);
    done(farm.cli(&["status"]), &["e2e"]);
    ends(farm.cli(&["status", "--token", "another"]), 1, &["token", "hint:"]);
    assert_eq!(farm.edge_mut().process.end("TERM", secs(10)), 0);
}
