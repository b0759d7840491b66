//! What operators read when a file changes.

use std::collections::BTreeMap;

use super::*;
use crate::config::check;

const OLD: &str = "\
edge: { secret: sixteen octets and more }
listen: [udp://127.0.0.10, tcp://127.0.0.10]
gateways:
  - { name: pri-1, uri: \"sip:127.0.0.2:5060\" }
  - { name: pri-2, source: [127.0.0.3] }
pools:
  inbound:
    nodes:
      - { name: ast-1, uri: \"sip:127.0.0.11\" }
      - { name: ast-2, uri: \"sip:127.0.0.12\", weight: 10 }
      - { name: ast-3, uri: \"sip:127.0.0.13\", max_calls: 100 }
  night:
    nodes: [ast-2, ast-3]
routes:
  - { from: gateways, to_user: \"1*\", pool: night }
  - { name: premium, from: gateways, to_user: \"0900*\", reject: 403 }
  - { name: in, from: gateways, pool: inbound }
";

fn lines(old: &str, new: &str) -> Vec<String> {
    let config = |text| check(text, &BTreeMap::new()).unwrap().config;
    diff(&config(old), &config(new)).iter().map(ToString::to_string).collect()
}

fn change(edits: &[(&str, &str)]) -> Vec<String> {
    let mut new = OLD.to_owned();
    for (from, to) in edits {
        assert!(new.contains(from), "{from}");
        new = new.replacen(from, to, 1);
    }
    lines(OLD, &new)
}

#[test]
fn the_same_meaning_is_no_change() {
    assert_eq!(lines(OLD, OLD), [""; 0]);
    assert_eq!(change(&[("weight: 10", "weight: 10, priority: 0"), ("pools:", "# a comment\npools:")]), [""; 0]);
    assert_eq!(change(&[("udp://127.0.0.10,", "\"udp://127.0.0.10:5060\",")]), [""; 0]);
}

#[test]
fn settings_are_told_with_both_values() {
    let new = "pools:\n  x: { nodes: [ast-1] }\n";
    assert_eq!(
        change(&[("pools:\n", new), ("listen:", "health: { interval: 5s }\nlisten:")]),
        ["health.interval 2s -> 5s", "pool x added (weighted_least_calls)", "node ast-1 added to pool x (weight 10)",]
    );
    assert_eq!(
        change(&[("listen:", "api: off\ndns: { servers: [127.0.0.1] }\ncalls: { retry_after: 9s }\nlisten:")]),
        [
            "calls.retry_after 5s -> 9s",
            "dns.servers none -> 127.0.0.1:53",
            "api.listen 127.0.0.1:8080 -> off (after a restart)"
        ]
    );
}

#[test]
fn a_change_that_needs_a_restart_says_so_and_a_secret_is_not_shown() {
    let changes = change(&[
        (
            "edge: { secret: sixteen octets and more }",
            "edge: { secret: seventeen octets and more, state_dir: /s, workers: 3 }",
        ),
        ("listen:", "store: memory\nlog: { format: json }\napi: { token: \"0123456789abcdef\" }\nlisten:"),
    ]);
    assert_eq!(
        changes,
        [
            "edge.state_dir ./state -> /s (after a restart)",
            "edge.secret changed (after a restart)",
            "edge.workers by cores -> 3 (after a restart)",
            "store embedded -> memory (after a restart)",
            "api.token set (after a restart)",
            "log.format text -> json (after a restart)",
        ]
    );
}

#[test]
fn comparing_calls_is_told_of_without_its_password() {
    assert_eq!(
        change(&[
            ("listen:", "ari: { password: hush, surplus: report }\nlisten:"),
            ("max_calls: 100", "max_calls: 100, ari: off")
        ]),
        [
            "ari.user none -> edge",
            "ari.password set",
            "ari.port none -> 8088",
            "ari.interval none -> 30s",
            "ari.grace none -> 10s",
            "ari.surplus none -> report",
            "node ast-3 ari none -> off",
        ]
    );
}

#[test]
fn listeners_come_go_and_are_told_of() {
    assert_eq!(
        change(&[("udp://127.0.0.10", "udp://127.0.0.9")]),
        ["listener udp://127.0.0.10:5060 removed", "listener udp://127.0.0.9:5060 added",]
    );
    let advertised = "{ uri: udp://127.0.0.10, advertise: edge.example.com }";
    assert_eq!(
        change(&[("udp://127.0.0.10", advertised)]),
        ["listener udp://127.0.0.10:5060 advertise 127.0.0.10:5060 -> edge.example.com:5060",]
    );
    assert_eq!(
        change(&[("udp://127.0.0.10, tcp://127.0.0.10", "tcp://127.0.0.10, udp://127.0.0.10")]),
        ["listeners reordered: tcp://127.0.0.10:5060, udp://127.0.0.10:5060",]
    );
}

#[test]
fn gateways_come_change_and_drain() {
    assert_eq!(
        change(&[
            ("{ name: pri-2, source: [127.0.0.3] }", "{ name: pri-3, source: [10.0.0.0/8, 127.0.0.3] }"),
            ("uri: \"sip:127.0.0.2:5060\"", "source: [127.0.0.2, 127.0.0.4], max_calls: 60"),
        ]),
        [
            "gateway pri-2 removed: drains until its last call ends",
            "gateway pri-1 source 127.0.0.2 -> 127.0.0.2, 127.0.0.4",
            "gateway pri-1 uri sip:127.0.0.2:5060 -> none",
            "gateway pri-1 max_calls none -> 60",
            "gateway pri-3 added (source 10.0.0.0/8, 127.0.0.3)",
        ]
    );
}

#[test]
fn nodes_come_change_move_and_drain() {
    assert_eq!(
        change(&[("weight: 10", "weight: 20")]),
        ["pool inbound: node ast-2 weight 10 -> 20", "pool night: node ast-2 weight 10 -> 20",]
    );
    assert_eq!(
        change(&[
            (
                "{ name: ast-1, uri: \"sip:127.0.0.11\" }",
                "{ name: ast-4, uri: \"sip:127.0.0.14\", max_calls: 9, priority: 1 }"
            ),
            ("127.0.0.12", "127.0.0.22;transport=tcp"),
            ("max_calls: 100", "max_calls: 200"),
            ("[ast-2, ast-3]", "[ast-3, ast-4]"),
        ]),
        [
            "node ast-1 removed: drains until its last call ends",
            "node ast-2 uri sip:127.0.0.12 -> sip:127.0.0.22;transport=tcp",
            "node ast-3 max_calls 100 -> 200",
            "node ast-4 added to pool inbound (sip:127.0.0.14; max_calls 9; weight 10; priority 1)",
            "node ast-2 removed from pool night",
            "node ast-4 added to pool night (sip:127.0.0.14; max_calls 9; weight 10; priority 1)",
        ]
    );
}

#[test]
fn pools_come_change_and_go() {
    let without_night =
        OLD.replace("  night:\n    nodes: [ast-2, ast-3]\n", "").replace("pool: night", "pool: inbound");
    assert_eq!(
        lines(OLD, &without_night),
        ["pool night removed", "route 1 removed", "route 1 added: from gateways, to_user 1*: pool inbound",]
    );
    let settings = "\
inbound:
    algorithm: hash
    hash: header:X-Tenant
    slow_start: 0s
    panic: false
    overflow: night
";
    assert_eq!(
        change(&[("inbound:\n", settings)]),
        [
            "pool inbound: algorithm weighted_least_calls -> hash",
            "pool inbound: key call_id -> header:x-tenant",
            "pool inbound: slow_start 30s -> 0s",
            "pool inbound: panic true -> false",
            "pool inbound: overflow none -> night",
        ]
    );
}

#[test]
fn rules_come_change_move_and_go() {
    let premium = "  - { name: premium, from: gateways, to_user: \"0900*\", reject: 403 }\n";
    let first = "  - { from: gateways, to_user: \"1*\", pool: night }\n";
    assert_eq!(change(&[(premium, "")]), ["route 2 (premium) removed"]);
    assert_eq!(
        change(&[("reject: 403", "reject: 603")]),
        ["route 2 (premium): from gateways, to_user 0900*: reject 403 -> from gateways, to_user 0900*: reject 603",]
    );
    assert_eq!(
        change(&[(premium, ""), (first, &format!("{premium}{first}"))]),
        ["routes reordered: premium, route-2, in",]
    );
    assert_eq!(
        change(&[(premium, &format!("{premium}  - {{ from: ast-1, methods: [INVITE, BYE], reject: 404 }}\n"))]),
        ["route 3 added: from ast-1, methods BYE INVITE: reject 404",]
    );
    let defaults = &OLD[..OLD.find("routes:").unwrap()];
    assert_eq!(lines(OLD, defaults).last().unwrap(), "route 2 (default-out) added: from nodes: pool gateways");
}

#[test]
fn a_queue_that_changes_is_told_with_its_members_counted() {
    let agents = |queue: &str, more: &str| {
        format!(
            "{OLD}registrar: {{ users: [{{ name: 1, password: a }}, {{ name: 2, password: b }}] }}\n\
             agents: {{ publish: true, {more} queues: [{{ name: q1, {queue} }}] }}\n"
        )
    };
    let (one, both) = (agents("wrapup: 5s, members: [1]", ""), agents("wrapup: 5s, members: [1, 2]", ""));
    let told = lines(&one, &both);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("q1 5s 1 members (") && told[0].contains("q1 5s 2 members ("), "{told:?}");
    let told = lines(&both, &agents("wrapup: 5s, members: [1, 2], options: { timeout: 20 }", "realtime: members,"));
    assert!(told.iter().any(|line| line.contains("timeout=20")), "{told:?}");
    assert!(told.iter().any(|line| line.contains("agents.realtime") && line.contains("members")), "{told:?}");
}

#[test]
fn there_and_back_is_no_change_and_a_change_is_one_generation() {
    let config = |text: &str| check(text, &BTreeMap::new()).unwrap().config;
    let (old, new) = (config(OLD), config(&OLD.replace("weight: 10", "weight: 11")));
    assert_eq!(diff(&old, &new).len(), diff(&new, &old).len());
    assert_ne!(old.generation(), new.generation());
    let json = serde_json::to_string(&diff(&old, &new)[0]).unwrap();
    assert_eq!(json, r#"{"what":"pool inbound: node ast-2 weight 10 -> 11","holds":"at_once"}"#);
}
