//! RFC 4475, RFC 5118 and our own hostile messages: each ends in the outcome that its row of `tests/torture/table.tsv` allows.
//!
//! `cargo test --test scenarios torture -- --nocapture` prints the table with what the edge did.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cordboard::proxy::Event;
use cordboard::proxy::contract::DropReason;
use cordboard::sip::parse::Fault;

use crate::harness::*;

struct Row {
    file: String,
    section: String,
    source: String,
    outcomes: Vec<String>,
    reason: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture")
}

fn rows() -> Vec<Row> {
    let table = std::fs::read_to_string(folder().join("table.tsv")).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('\t').collect();
        let [file, section, source, outcome, reason] = cells[..] else { panic!("five cells: {line}") };
        Row {
            file: file.to_owned(),
            section: section.to_owned(),
            source: source.to_owned(),
            outcomes: outcome.split('|').map(str::to_owned).collect(),
            reason: reason.to_owned(),
        }
    };
    table.lines().skip(1).map(row).collect()
}

/// What an edge that knows no call does with a message.
fn outcome(source: &str, bytes: &[u8]) -> String {
    let mut edge = Edge::with_nodes(1);
    let sent = edge.receive_bytes(if source == "stranger" { STRANGER } else { GATEWAY }, bytes);
    match sent.as_slice() {
        [one] if one.text.starts_with("SIP/2.0 ") => format!("answer:{}", &one.text[8..11]),
        [one] if one.to == node(1) => "forward".to_owned(),
        [] => dropped(&edge.events, bytes),
        other => format!("{:?}", lines(other)),
    }
}

fn dropped(events: &[Event], bytes: &[u8]) -> String {
    let is_response = bytes.starts_with(b"SIP/");
    let why = match events {
        [] | [Event::Dropped(DropReason::Garbage(Fault::KeepAlive))] => "keep-alive",
        [Event::Dropped(DropReason::StrayResponse)] => "stray-response",
        [Event::Dropped(DropReason::Garbage(_))] if is_response => "stray-response",
        [Event::Dropped(DropReason::Garbage(_))] => "garbage",
        [Event::Dropped(DropReason::StrayAck | DropReason::BadAck)] => "stray-ack",
        [Event::Dropped(DropReason::Amplification)] => "stranger",
        other => panic!("{other:?}"),
    };
    format!("drop:{why}")
}

#[test]
fn every_torture_message_ends_in_an_outcome_that_the_rfcs_allow() {
    let mut wrong = Vec::new();
    for row in rows() {
        let bytes = std::fs::read(folder().join(&row.file)).unwrap();
        let found = outcome(&row.source, &bytes);
        // Until the registrar is there, REGISTER is refused as a method that is not served.
        let said = if found == "answer:405" { "answer:register".to_owned() } else { found.clone() };
        let fits = row.outcomes.contains(&said);
        println!("{:<38} {:<22} {:<20} {}", row.file, row.section, found, row.reason);
        if !fits {
            wrong.push(format!("{}: {found}, not {:?}: {}", row.file, row.outcomes, row.reason));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_torture_message_has_its_row() {
    let listed: BTreeSet<String> = rows().into_iter().map(|row| row.file).collect();
    let mut found = BTreeSet::new();
    for sub in ["rfc4475", "rfc5118", "hostile"] {
        for entry in std::fs::read_dir(folder().join(sub)).unwrap() {
            found.insert(format!("{sub}/{}", entry.unwrap().file_name().to_string_lossy()));
        }
    }
    assert_eq!(listed, found);
}
