//! The configuration is read again under load, and no call notices.

use std::time::{Duration, Instant};

use crate::farm::Farm;
use crate::process::{secs, until};
use crate::sipp::{Load, Sipp};
use crate::told::{Ending, told};

const RELOADS: u32 = 200;
const PACE: Duration = Duration::from_millis(100);

fn two_nodes(net: u8) -> Farm {
    Farm::new(net).player("weight: 10", "answer", &[]).player("weight: 10", "answer", &[]).start()
}

/// Calls that stay up meanwhile.
fn calls_up(farm: &mut Farm, count: u32, hold: Duration) -> Sipp {
    let gateway = farm.load(&Load::of("tell").calls(count, 20).hold(hold));
    gateway.until_logged("answered", count as usize, secs(10));
    gateway
}

fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
}

#[test]
fn two_hundred_reloads_in_twenty_seconds_of_load_lose_no_call() {
    let mut farm = two_nodes(40);
    let (good, long) = (farm.yaml(), secs(26));
    let mut long_calls = calls_up(&mut farm, 6, long);
    let mut load = farm.load(&Load::of("tell").calls(300, 15).hold(secs(1)));
    let began = Instant::now();
    let mut failed = 0;
    for number in 0..RELOADS {
        let is_broken = number % 3 == 2;
        let weight = if is_broken { "wieght: 10".to_owned() } else { format!("weight: {}", 10 + number % 7) };
        farm.write(&good.replacen("weight: 10", &weight, 1));
        let (code, text) = farm.edge().send("POST", "/api/v1/config/reload", "{}");
        assert_eq!(code, if is_broken { 422 } else { 200 }, "{text}");
        failed += u32::from(is_broken);
        for node in farm.edge().nodes() {
            assert_eq!((node.state.as_str(), node.health.as_str()), ("up", "up"), "{node:?}");
            assert!(node.calls >= 3, "the long calls are there: {node:?}");
        }
        until("it is time for the next", secs(2), || began.elapsed() >= PACE * (number + 1));
    }
    assert!(began.elapsed() < secs(40), "{RELOADS} reloads took {:?}", began.elapsed());
    assert!(farm.edge().metric("cordboard_config_reloads_total", &["failed"]) >= f64::from(failed));
    assert!(farm.edge().metric("cordboard_config_reloads_total", &["\"ok\""]) >= 60.0);
    assert_eq!(farm.edge().metric("cordboard_node_changes_total", &[]), 0.0, "no node changed");
    load.succeeds();
    long_calls.succeeds();
    for gateway in [&load, &long_calls] {
        assert!(told(gateway, farm.edge()).iter().all(|call| call.ending == Ending::Ended));
    }
    farm.write(&good);
    farm.edge().cli(&["reload"]);
    assert_eq!(farm.edge().status().state, "serving");
    farm.ends_well();
}

#[test]
fn a_file_with_a_mistake_changes_nothing_and_says_where_why_and_what_would_be_right() {
    let mut farm = two_nodes(41);
    let (good, generation) = (farm.yaml(), farm.edge().status().config.generation);
    let mut gateway = calls_up(&mut farm, 4, secs(3));
    let bad = good.replacen("weight: 10", "wieght: 10", 1).replacen("weight: 10", "weight: 0", 1);
    let lines = || bad.lines().enumerate().filter(|(_, line)| line.contains("ast-")).map(|(at, _)| at + 1);
    let places: Vec<String> = lines().map(|line| format!("{line}:")).collect();
    farm.write(&bad);
    until("the edge has read the file by itself", secs(5), || !farm.edge().status().config.last_load_ok);

    let status = farm.edge().status();
    assert_eq!((status.config.generation, status.state.as_str()), (generation.clone(), "degraded"));
    let said = status.config.problems.join("\n");
    has(&said, &["pools.inbound.nodes[0].wieght", "pools.inbound.nodes[1].weight", "did you mean `weight`?"]);
    places.iter().for_each(|place| has(&said, &[place]));
    has(&farm.cli(&["status", "--api", &api(&farm)]).stdout, &["has problems", "nodes[0].wieght", "did you mean"]);
    let reload = farm.cli(&["reload", "--api", &api(&farm)]);
    assert_eq!(reload.code, 3);
    has(&reload.stdout, &["nodes[0].wieght", "did you mean", "refused", &generation]);
    let file = farm.file().display().to_string();
    has(&farm.edge_log(), &[&format!("{file}:{}", places[0]), "did you mean", "refused"]);
    assert_eq!(farm.edge().metric("cordboard_config_last_reload_successful", &[]), 0.0);
    assert_eq!(farm.cli(&["healthcheck", "--api", &api(&farm)]).code, 0, "it takes calls all the same");

    farm.write(&good);
    until("the edge has read the good file by itself", secs(5), || farm.edge().status().config.last_load_ok);
    assert_eq!(farm.edge().metric("cordboard_config_last_reload_successful", &[]), 1.0);
    assert_eq!(farm.edge().status().state, "serving");
    gateway.succeeds();
    farm.ends_well();
}

fn api(farm: &Farm) -> String {
    format!("http://{}:8080", farm.ip(10))
}

#[test]
fn a_node_that_leaves_the_file_keeps_its_calls_and_gets_no_new_ones() {
    let mut farm = two_nodes(42);
    let mut gateway = calls_up(&mut farm, 4, secs(4));
    let yaml = farm.yaml();
    let without: Vec<&str> = yaml.lines().filter(|line| !line.contains("name: ast-2")).collect();
    farm.write(&without.join("\n"));
    farm.edge().until_node("ast-2", "leaving", secs(5));
    assert_eq!(farm.edge().node("ast-2").calls, 2);
    farm.carries(&Load::of("call").calls(4, 20).hold(secs(1)));
    gateway.succeeds();
    assert!(told(&gateway, farm.edge()).iter().all(|call| call.ending == Ending::Ended));
    until("the node is gone", secs(15), || !farm.edge().nodes().iter().any(|node| node.name == "ast-2"));
    farm.edge().until_no_calls(secs(5));
    farm.played(2).node_ends_well();
    assert_eq!(farm.played(2).count("invites(C)"), 2);
    farm.lose(2);
    farm.ends_well();
}

#[test]
fn a_weight_that_changes_shows_in_the_shares() {
    let mut farm = two_nodes(43);
    farm.carries(&Load::of("call").calls(40, 20).hold(secs(1)));
    let given = |farm: &Farm, node: &str| farm.edge().metric("cordboard_node_calls_total", &[node]);
    let (one, two) = (given(&farm, "ast-1"), given(&farm, "ast-2"));
    assert!((one - two).abs() <= 6.0, "{one} and {two} calls at equal weights");
    farm.write(&farm.yaml().replacen("weight: 10", "weight: 30", 1));
    until("the weight has changed", secs(5), || farm.edge().node("ast-1").pools[0].weight == 30);
    farm.edge().until_no_calls(secs(5));
    farm.carries(&Load::of("call").calls(60, 20).hold(secs(1)));
    let share = (given(&farm, "ast-1") - one) / 60.0;
    assert!((0.65..=0.85).contains(&share), "{share} at weights 30 and 10");
    farm.ends_well();
}

#[test]
fn a_node_that_moves_keeps_its_calls_at_the_old_address() {
    let mut farm = two_nodes(44);
    let mut gateway = calls_up(&mut farm, 4, secs(4));
    let (old, new) = (farm.at(1), farm.at(3));
    farm.play_at(3, &new, "answer", &[]);
    farm.write(&farm.yaml().replacen(&format!("sip:{old}"), &format!("sip:{new}"), 1));
    let moved = || farm.edge().node("ast-1").addresses.iter().any(|at| at.address.contains(&new) && at.health == "up");
    until("the node is up at its new address", secs(10), moved);
    assert_eq!(farm.edge().node("ast-1").calls, 2, "it is the same node");
    farm.carries(&Load::of("call").calls(4, 20).hold(secs(1)));
    gateway.succeeds();
    assert!(told(&gateway, farm.edge()).iter().all(|call| call.ending == Ending::Ended));
    farm.edge().until_no_calls(secs(5));
    farm.played(1).node_ends_well();
    farm.played(3).node_ends_well();
    assert_eq!(farm.played(1).count("invites(C)"), 2, "calls at the old address");
    assert!(farm.played(3).count("invites(C)") >= 2, "calls at the new address");
    farm.lose(1);
    farm.lose(3);
    farm.ends_well();
}

#[test]
fn sighup_and_the_command_read_the_file_again() {
    let farm = two_nodes(45);
    let unchanged = || farm.edge().metric("cordboard_config_reloads_total", &["unchanged"]);
    let before = unchanged();
    farm.edge().process.signal("HUP");
    until("SIGHUP has been heard", secs(5), || unchanged() == before + 1.0);
    let output = farm.cli(&["reload"]);
    assert_eq!((output.code, unchanged()), (0, before + 2.0), "{output:?}");
    has(&output.stdout, &["nothing changed"]);
    farm.ends_well();
}

#[test]
fn a_configmap_that_swaps_its_symlink_is_read_again() {
    let mut farm = two_nodes(46);
    let folder = farm.path("map");
    let (first, second) = (farm.yaml(), farm.yaml().replacen("weight: 10", "weight: 20", 1));
    for (version, text) in [("..one", first), ("..two", second)] {
        std::fs::create_dir_all(folder.join(version)).unwrap();
        std::fs::write(folder.join(version).join("dispatcher.yaml"), text).unwrap();
    }
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, folder.join(name)).unwrap();
    link("..one", "..data");
    link("..data/dispatcher.yaml", "dispatcher.yaml");
    farm.start_edge_with(&folder.join("dispatcher.yaml"));
    farm.until_all_up();
    let mut gateway = calls_up(&mut farm, 4, secs(2));
    link("..two", "..data_tmp");
    std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    until("the weight has changed", secs(5), || farm.edge().node("ast-1").pools[0].weight == 20);
    gateway.succeeds();
    farm.ends_well();
}
