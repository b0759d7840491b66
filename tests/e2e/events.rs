//! Whoever watches hears what happens, as it happens.

use crate::edge::CORDBOARD;
use crate::farm::Farm;
use crate::phone::Phone;
use crate::process::{Process, secs, until};
use crate::sipp::Load;

/// A watcher, which hears from here on.
fn watches(farm: &Farm, name: &str, arguments: &[&str]) -> Process {
    let before = farm.edge().metric("cordboard_event_watchers", &[]);
    let file = farm.file().display().to_string();
    let arguments: Vec<String> =
        ["events", "--config", &file].iter().chain(arguments).map(ToString::to_string).collect();
    let watcher = Process::start(name, CORDBOARD, &arguments, &farm.path(""));
    until("it watches", secs(5), || farm.edge().metric("cordboard_event_watchers", &[]) > before);
    watcher
}

fn heard(farm: &Farm, name: &str) -> String {
    std::fs::read_to_string(farm.path(&format!("{name}.log"))).unwrap()
}

#[test]
fn calls_agents_registrations_and_nodes_are_told_to_whoever_watches() {
    let farm = Farm::new(188).player("weight: 10", "answer", &[]).registrar(&["1001".to_owned()], "");
    let mut farm = farm.start();
    let mut all = watches(&farm, "all", &[]);
    let mut few = watches(&farm, "few", &["--kind", "agent,node", "--json"]);
    let mut phone = Phone::on_udp("1001", &farm.phone_at(5060), &farm.edge_at());
    let lines = phone.binding(600);
    assert_eq!(phone.registers(&lines).code(), 200);
    farm.carries(&Load::of("call"));
    assert_eq!(farm.cli(&["drain", "ast-1"]).code, 0);
    assert_eq!(farm.cli(&["not-ready", "1001"]).code, 0);

    let wanted = [
        "user 1001 has phones: 1",
        "agent 1001 is ready",
        " on ast-1 is trying",
        " on ast-1 is up",
        " on ast-1 is ended",
    ];
    for sentence in wanted.into_iter().chain(["node ast-1 is draining", "agent 1001 is not_ready"]) {
        until(sentence, secs(5), || heard(&farm, "all").contains(sentence));
    }
    let last = r#"{"event":"agent","user":"1001","state":"not_ready"}"#;
    until(last, secs(5), || heard(&farm, "few").contains(last));
    assert!(heard(&farm, "few").lines().all(|line| line.contains("\"agent\"") || line.contains("\"node\"")));
    let (code, answer) = farm.edge().http("/api/v1/events?kind=weather").unwrap();
    assert_eq!(code, 400, "{answer}");
    assert!(answer.contains("there are agent, call, registration, node"), "{answer}");

    few.end_or_kill("INT", secs(5));
    until("one watcher is left", secs(30), || {
        // A watcher's end is seen with the next news.
        farm.cli(&["ready", "1001"]);
        farm.cli(&["not-ready", "1001"]);
        farm.edge().metric("cordboard_event_watchers", &[]) == 1.0
    });
    all.end_or_kill("INT", secs(5));
    farm.ends_well();
}
