//! The default file keeps its word: what it shows as default is the default, and every example passes the check.

use std::collections::BTreeMap;

use super::*;

fn environment() -> BTreeMap<String, String> {
    ["CORDBOARD_SECRET", "CORDBOARD_TOKEN", "ARI_PASSWORD"]
        .map(|name| (name.to_owned(), format!("{name} of some length")))
        .into()
}

fn config(text: &str) -> Config {
    match check(text, &environment()) {
        Ok(checked) => checked.config,
        Err(problems) => panic!("{problems}\n{text}"),
    }
}

/// True for a line that is a setting behind a `#`, and not prose.
fn is_switched_off(line: &str) -> bool {
    line.trim_start()
        .strip_prefix('#')
        .is_some_and(|rest| rest.starts_with(|c: char| !c.is_whitespace()) || is_nested(rest))
}

/// A line inside a section that is switched off as a whole: `#  - a` or `#  key: value`.
fn is_nested(rest: &str) -> bool {
    rest.starts_with("  ") && !rest.starts_with("   cordboard")
}

fn switched_on(line: &str) -> String {
    line.replacen('#', "", 1)
}

/// Runs of lines that are switched off, as ranges, and whether they are announced as an example.
fn blocks() -> Vec<(std::ops::Range<usize>, bool)> {
    let lines: Vec<&str> = DEFAULT_FILE.lines().collect();
    let mut blocks = Vec::new();
    let mut start = None;
    for at in 0..=lines.len() {
        let off = lines.get(at).is_some_and(|line| is_switched_off(line));
        match (start, off) {
            (None, true) => start = Some(at),
            (Some(first), false) => {
                let is_example = lines[first - 1].trim_start().starts_with('#') && lines[first - 1].contains("Example");
                blocks.push((first..at, is_example));
                start = None;
            }
            _ => {}
        }
    }
    blocks
}

fn with(block: &std::ops::Range<usize>) -> String {
    // Edges that share a store need a secret.
    let is_shared = DEFAULT_FILE.lines().skip(block.start).take(block.len()).any(|line| line.contains("redis:"));
    let is_wanted = |at: &usize, line: &str| block.contains(at) || (is_shared && line.starts_with("  #secret:"));
    let line = |(at, line): (usize, &str)| if is_wanted(&at, line) { switched_on(line) } else { line.to_owned() };
    DEFAULT_FILE.lines().enumerate().map(|numbered| line(numbered) + "\n").collect()
}

#[test]
fn the_default_file_is_what_an_edge_starts_with() {
    let checked = check(DEFAULT_FILE, &BTreeMap::new()).unwrap();
    let config = checked.config;
    assert_eq!(config.edge.name, "edge-1");
    let listen: Vec<String> = config.listen.iter().map(|listener| listener.uri.to_string()).collect();
    assert_eq!(listen, ["udp://127.0.0.10:5060", "tcp://127.0.0.10:5060"]);
    let nodes: Vec<String> = config.nodes.iter().map(|node| node.uri.to_string()).collect();
    assert_eq!(nodes, ["sip:127.0.0.11:5060", "sip:127.0.0.12:5060", "sip:127.0.0.13:5060"]);
    let weights: Vec<u32> = config.pools[0].members.iter().map(|member| member.weight.get()).collect();
    assert_eq!((config.pools[0].name.as_str(), weights), ("inbound", vec![10, 10, 20]));
    let gateway = &config.gateways[0];
    assert_eq!((gateway.name.as_str(), gateway.sources[0].to_string().as_str()), ("pri-1", "127.0.0.2"));
    assert_eq!(gateway.uri.as_ref().unwrap().to_string(), "sip:127.0.0.2:5060");
    assert_eq!(config.api.unwrap().listen.to_string(), "127.0.0.1:8080");
    let warnings: Vec<&str> = checked.warnings.iter().map(|warning| warning.path.as_str()).collect();
    assert_eq!(warnings, ["edge.secret"]);
}

#[test]
fn what_the_default_file_leaves_out_is_at_its_default() {
    let config = config(DEFAULT_FILE);
    assert_eq!(config.health, crate::dispatch::health::HealthPolicy::default());
    assert_eq!(config.calls, crate::dispatch::farm::CallPolicy::default());
    assert_eq!(config.security, crate::dispatch::farm::SecurityPolicy::default());
    assert_eq!(config.limits, checked::Limits::default());
    assert_eq!(config.dns, checked::DnsConfig::default());
    assert_eq!(config.log, checked::LogConfig::default());
}

#[test]
fn a_line_that_is_switched_on_says_the_default() {
    let default = config(DEFAULT_FILE);
    let defaults: Vec<_> = blocks().into_iter().filter(|(_, is_example)| !is_example).collect();
    assert!(defaults.len() > 25, "{defaults:?}");
    for (block, _) in defaults {
        assert_eq!(config(&with(&block)), default, "{block:?}");
    }
}

#[test]
fn every_example_passes_the_check_and_changes_something() {
    let default = config(DEFAULT_FILE);
    let examples: Vec<_> = blocks().into_iter().filter(|(_, is_example)| *is_example).collect();
    assert!(examples.len() >= 10, "{examples:?}");
    for (block, _) in examples {
        assert!(!diff(&default, &config(&with(&block))).is_empty(), "{}", with(&block));
    }
}

#[test]
fn the_file_names_every_key_that_there_is() {
    let schema: serde_json::Value = serde_json::from_str(&schema()).unwrap();
    let mut missing = Vec::new();
    for definition in schema["$defs"].as_object().unwrap().values().chain([&schema]) {
        let keys = definition["properties"].as_object().into_iter().flat_map(serde_json::Map::keys);
        missing.extend(keys.filter(|key| !DEFAULT_FILE.contains(&format!("{key}:"))));
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_promised_detection_time_is_the_one_of_the_defaults() {
    let seconds = crate::dispatch::health::HealthPolicy::default().detection_max().as_secs_f64();
    assert!(DEFAULT_FILE.contains(&format!("noticed after {seconds} s at worst")), "{seconds}");
}

#[test]
fn the_schema_is_stable_and_describes_every_key() {
    let text = schema();
    assert_eq!(text, schema());
    let schema: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["title"], "dispatcher.yaml");
    let definitions = schema["$defs"].as_object().unwrap();
    for (name, definition) in definitions.iter().filter(|(_, definition)| definition["properties"].is_object()) {
        assert_eq!(definition["additionalProperties"], false, "{name}");
        for (key, property) in definition["properties"].as_object().unwrap() {
            assert!(property["description"].is_string(), "{name}.{key}");
        }
    }
    assert_eq!(definitions["Node"]["properties"]["weight"]["maximum"], 1_000);
    assert_eq!(definitions["Node"]["required"], serde_json::json!(["name"]));
}
