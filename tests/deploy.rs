//! What stands in `deploy/`, held against what it speaks of: metrics, files, times. `deploy/check` runs it through the
//! programs that will read it; this needs none of them.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Longest that an edge takes to stop with the default configuration, and what may be added for writing its store.
const STOP_WAIT_SECS: u64 = 60;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_yaml::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every metric of `docs/metrics.md`, and what its last cell says to watch.
fn documented() -> Vec<(String, String)> {
    let rows = text("docs/metrics.md");
    let rows = rows.lines().filter(|line| line.starts_with("| `cordboard_"));
    let cells = rows.map(|row| row.trim_matches('|').split('|').map(str::trim).map(str::to_owned).collect::<Vec<_>>());
    cells.map(|cells| (cells[0].trim_matches('`').to_owned(), cells[cells.len() - 1].clone())).collect()
}

/// The names of series that a text speaks of, as metrics: without what a histogram puts behind its name.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let names = words.filter(|word| word.starts_with("cordboard_"));
    let family = |name: &str| {
        let end = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        end.unwrap_or(name).to_owned()
    };
    names.map(family).collect()
}

fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| match value.as_str() {
            Some(text) if ["expr", "query"].contains(&key.as_str()) => found.push(text.to_owned()),
            _ => expressions(value, found),
        }),
        Value::Array(list) => list.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

fn expressions_of(path: &str) -> Vec<String> {
    let mut found = Vec::new();
    expressions(&yaml(path), &mut found);
    assert!(!found.is_empty(), "{path} asks for nothing");
    found
}

fn alerts(path: &str) -> Vec<String> {
    let names = text(path);
    names.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).map(str::to_owned).collect()
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_there_are() {
    let known: BTreeSet<String> = documented().into_iter().map(|(name, _)| name).collect();
    let mut files = vec!["deploy/prometheus/alerts.yaml", "deploy/grafana/cordboard.json"];
    // The alerts of several edges go with an edge that knows others.
    if known.contains("cordboard_edges") {
        files.push("deploy/prometheus/alerts_edges.yaml");
    }
    for file in files {
        let asked: BTreeSet<String> = expressions_of(file).iter().flat_map(|text| metrics_in(text)).collect();
        let unknown: Vec<_> = asked.difference(&known).collect();
        assert!(unknown.is_empty(), "{file} asks for what docs/metrics.md does not have: {unknown:?}");
    }
}

/// The values of labels that an expression asks for: `reason=~"full|none_alive"` for two.
fn label_values_in(expression: &str) -> Vec<&str> {
    let labels = ["action", "answer", "cause", "direction", "outcome", "phase", "reason", "result"];
    let quoted = expression.split('"').collect::<Vec<_>>();
    let pairs = quoted.chunks_exact(2).filter(|pair| {
        let label = pair[0].trim_end_matches(['=', '~', '!']);
        labels.iter().any(|name| label.ends_with(name))
    });
    pairs.flat_map(|pair| pair[1].split('|')).collect()
}

#[test]
fn alerts_ask_for_values_of_labels_that_there_are() {
    assert_eq!(label_values_in(r#"a{b="1",reason=~"full|wrong"} > b{cause!="bye"}"#), ["full", "wrong", "bye"]);
    let documented = text("docs/metrics.md");
    for file in ["deploy/prometheus/alerts.yaml", "deploy/grafana/cordboard.json"] {
        for expression in expressions_of(file) {
            for value in label_values_in(&expression) {
                assert!(documented.contains(&format!("`{value}`")), "{file}: {value} in {expression}");
            }
        }
    }
}

#[test]
fn whatever_is_to_be_alerted_on_has_an_alert() {
    let mut asked: BTreeSet<String> = BTreeSet::new();
    for file in ["deploy/prometheus/alerts.yaml", "deploy/prometheus/alerts_edges.yaml"] {
        asked.extend(expressions_of(file).iter().flat_map(|text| metrics_in(text)));
    }
    let wanted = documented().into_iter().filter(|(_, watch)| watch.contains("**alert"));
    let missing: Vec<_> = wanted.filter(|(name, _)| !asked.contains(name)).collect();
    assert!(missing.is_empty(), "docs/metrics.md wants alerts on {missing:?}");
}

#[test]
fn every_alert_is_tested_and_says_what_it_is_about() {
    let tests: String = ["alerts_test", "alerts_days_test", "alerts_edges_test"]
        .map(|name| text(&format!("deploy/prometheus/{name}.yaml")))
        .concat();
    for file in ["deploy/prometheus/alerts.yaml", "deploy/prometheus/alerts_edges.yaml"] {
        for alert in alerts(file) {
            assert!(tests.contains(&format!("alertname=\"{alert}\"")), "{alert} has no test");
        }
        for group in yaml(file)["groups"].as_array().unwrap() {
            for rule in group["rules"].as_array().unwrap() {
                let severity = rule["labels"]["severity"].as_str();
                assert!(matches!(severity, Some("critical" | "warning")), "{rule}");
                assert!(rule["annotations"]["summary"].is_string(), "{rule}");
            }
        }
    }
}

#[test]
fn no_panel_of_the_dashboard_covers_another_one() {
    let dashboard: Value = serde_json::from_str(&text("deploy/grafana/cordboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    let mut covered = BTreeSet::new();
    for panel in panels {
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{} is too far right", panel["title"]);
        for cell in (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y))) {
            assert!(covered.insert(cell), "{} covers another panel", panel["title"]);
        }
    }
}

#[test]
fn files_that_are_spoken_of_are_there() {
    let mut named: Vec<String> = Vec::new();
    let compose = yaml("deploy/compose/compose.yaml");
    for service in compose["services"].as_object().unwrap().values() {
        let volumes = service["volumes"].as_array().cloned().unwrap_or_default();
        let paths = volumes.iter().map(|volume| volume.as_str().unwrap().split(':').next().unwrap().to_owned());
        named.extend(paths.filter(|path| path.starts_with('.')).map(|path| format!("deploy/compose/{path}")));
    }
    let build = &compose["x-edge"]["build"];
    named.push(format!(
        "deploy/compose/{}/{}",
        build["context"].as_str().unwrap(),
        build["dockerfile"].as_str().unwrap()
    ));
    let containerfile = text("deploy/container/Containerfile");
    let copied = containerfile.lines().filter(|line| line.starts_with("COPY ") && !line.contains("--from"));
    for line in copied {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        let (_, sources) = words.split_last().unwrap();
        for source in sources {
            assert!(text(".dockerignore").lines().any(|line| line == format!("!{source}")), ".dockerignore: {source}");
            named.push((*source).to_owned());
        }
    }
    for folder in ["", "edge/", "edge-1/", "edge-2/"] {
        let kustomization = yaml(&format!("deploy/kubernetes/{folder}kustomization.yaml"));
        let resources = kustomization["resources"].as_array().unwrap().iter();
        let files = kustomization["configMapGenerator"].as_array().into_iter().flatten();
        let files = files.flat_map(|map| map["files"].as_array().unwrap());
        named
            .extend(resources.chain(files).map(|path| format!("deploy/kubernetes/{folder}{}", path.as_str().unwrap())));
    }
    for folder in ["prometheus", "compose"] {
        let rules = yaml(&format!("deploy/{folder}/prometheus.yaml"))["rule_files"].clone();
        named.extend(
            rules.as_array().unwrap().iter().map(|file| format!("deploy/prometheus/{}", file.as_str().unwrap())),
        );
    }
    for part in text("deploy/README.md").split("](").skip(1) {
        named.push(format!("deploy/{}", part.split(')').next().unwrap()));
    }
    let missing: Vec<_> = named.iter().filter(|path| !repository(path).exists()).collect();
    assert!(named.len() > 20 && missing.is_empty(), "{missing:?} of {}", named.len());
}

#[test]
fn whoever_stops_an_edge_leaves_it_the_time_that_it_takes() {
    let secs = |text: &str| text.trim_end_matches('s').parse::<u64>().unwrap();
    assert!(text("dispatcher.yaml").contains(&format!("#wait: {STOP_WAIT_SECS}s")));
    let unit = text("deploy/systemd/cordboard.service");
    let unit = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap().to_owned();
    let compose = yaml("deploy/compose/compose.yaml")["x-edge"]["stop_grace_period"].as_str().unwrap().to_owned();
    let pod = yaml("deploy/kubernetes/edge/edge.yaml")["spec"]["template"]["spec"].clone();
    let pod = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    for given in [secs(&unit), secs(&compose), pod] {
        assert!(given > STOP_WAIT_SECS + 10, "{given} s");
    }
}

#[test]
fn the_pod_asks_for_what_the_others_give() {
    let edge = yaml("deploy/kubernetes/edge/edge.yaml");
    let pod = &edge["spec"]["template"];
    assert_eq!(edge["spec"]["selector"]["matchLabels"], pod["metadata"]["labels"]);
    let container = &pod["spec"]["containers"][0];
    for (probe, path) in [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
        assert_eq!(container[probe]["httpGet"]["path"], path);
        assert!(text("src/api/routes.rs").contains(&format!("\"{path}\"")), "{path} is served");
    }
    let mounts = container["volumeMounts"].as_array().unwrap();
    let volumes = pod["spec"]["volumes"].as_array().unwrap().iter().map(|volume| &volume["name"]);
    let claims =
        edge["spec"]["volumeClaimTemplates"].as_array().unwrap().iter().map(|claim| &claim["metadata"]["name"]);
    let given: Vec<_> = volumes.chain(claims).collect();
    assert!(mounts.iter().all(|mount| given.contains(&&mount["name"])), "{given:?}");
    let variables: Vec<_> =
        container["env"].as_array().unwrap().iter().map(|env| env["name"].as_str().unwrap()).collect();
    for edge in ["edge-1", "edge-2"] {
        let configuration = text(&format!("deploy/kubernetes/{edge}/dispatcher.yaml"));
        assert!(configuration.contains(&format!("name: {edge}\n")));
        for variable in configuration.split("${").skip(1).map(|rest| rest.split('}').next().unwrap()) {
            assert!(variables.contains(&variable), "{edge}: ${{{variable}}}");
        }
    }
}
