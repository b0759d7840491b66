//! What Prometheus reads: legal, and written down.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

use cordboard::metrics::Metrics;

use crate::farm::Farm;
use crate::process::{need, repository, secs};
use crate::sipp::Load;

/// A row of `docs/metrics.md`: type and labels.
type Described = BTreeMap<String, (String, BTreeSet<String>)>;

fn documented() -> Described {
    let text = std::fs::read_to_string(repository("docs/metrics.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `cordboard_"));
    let read = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, _, _] = cells[..] else { panic!("five cells: {line}") };
        let labels = labels.split(", ").map(|label| label.trim_matches('`').to_owned());
        (name.trim_matches('`').to_owned(), (kind.to_owned(), labels.filter(|label| !label.is_empty()).collect()))
    };
    let rows: Vec<_> = rows.map(read).collect();
    let described: Described = rows.iter().cloned().collect();
    assert_eq!(described.len(), rows.len(), "no metric is described twice");
    described
}

/// What a scrape shows: the type of every family, and the labels of its series.
fn exposed(text: &str) -> Described {
    let mut found = Described::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            found.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
        } else if let Some((series, rest)) = line.split_once('{').filter(|_| !line.starts_with('#')) {
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| series.strip_suffix(end));
            let family = family.filter(|name| found.contains_key(*name)).unwrap_or(series);
            let labels = rest.rsplit_once('}').unwrap().0.split("\",").filter_map(|pair| pair.split_once('='));
            let labels = labels.map(|(label, _)| label.to_owned()).filter(|label| label != "le");
            found.get_mut(family).unwrap().1.extend(labels);
        }
    }
    found
}

/// A scrape after calls of several kinds.
fn scraped(farm: &mut Farm) -> String {
    farm.carries(&Load::of("call").calls(5, 10).hold(secs(1)));
    farm.carries(&Load::of("call").calls(2, 10).with(&["-t", "t1"]));
    farm.carries(&Load::of("options"));
    farm.edge().metrics()
}

#[test]
fn every_metric_is_documented_with_its_type_and_labels_and_nothing_else_is() {
    let documented = documented();
    let made: BTreeSet<String> = Metrics::new().names().into_iter().collect();
    let written: BTreeSet<String> = documented.keys().cloned().collect();
    assert_eq!(made, written, "Metrics::names() and docs/metrics.md");

    let mut farm =
        Farm::new(140).player("weight: 1000", "503-shutdown", &[]).player("weight: 1", "answer", &[]).start();
    for (name, described) in exposed(&scraped(&mut farm)) {
        assert_eq!(documented.get(&name), Some(&described), "{name} in docs/metrics.md");
    }
    farm.ends_well();
}

#[test]
fn promtool_accepts_what_is_scraped() {
    need("promtool");
    let mut farm = Farm::new(141).player("weight: 10", "answer", &[]).start();
    let text = scraped(&mut farm);
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = command.spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{}: {said}", output.status);
    farm.ends_well();
}

#[test]
fn the_numbers_are_those_of_the_calls() {
    let mut farm = Farm::new(142).player("weight: 10", "answer", &[]).start();
    farm.carries(&Load::of("call").calls(7, 10).hold(secs(1)));
    farm.edge().until_no_calls(secs(5));
    let edge = farm.edge();
    assert_eq!(edge.metric("cordboard_node_calls_total", &["\"ast-1\""]), 7.0);
    assert_eq!(edge.metric("cordboard_node_calls_answered_total", &["\"ast-1\""]), 7.0);
    assert_eq!(edge.metric("cordboard_calls_ended_total", &["\"bye\""]), 7.0);
    assert_eq!(edge.metric("cordboard_answer_seconds_count", &[]), 7.0);
    assert_eq!(edge.metric("cordboard_call_duration_seconds_count", &[]), 7.0);
    assert_eq!(edge.metric("cordboard_node_leases", &["\"ast-1\""]), 0.0);
    assert_eq!(edge.metric("cordboard_node_up", &["\"ast-1\""]), 1.0);
    farm.ends_well();
}
