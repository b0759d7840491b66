//! The fuzz targets' bodies over seeded mutations of the corpora: a fuzzer's work in small, in every test run.
//!
//! `CORDBOARD_MUTATIONS=N` runs N mutations of each target instead of the default.

#![allow(clippy::unwrap_used)]

#[path = "../fuzz/bodies.rs"]
mod bodies;
#[path = "scenarios/harness.rs"]
#[allow(dead_code)]
mod harness;

use std::path::{Path, PathBuf};

use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};

fn files(folder: &str) -> Vec<Vec<u8>> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    let mut paths: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { paths.push(path) }
        }
    }
    paths.sort();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "dat"));
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Changes a few octets, cuts, doubles, or splices two inputs.
fn mutated(random: &mut SmallRng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let pick = |random: &mut SmallRng| corpus[random.random_range(0..corpus.len())].clone();
    let mut bytes = pick(random);
    for _ in 0..random.random_range(1..6) {
        let len = bytes.len().max(1);
        let at = random.random_range(0..len).min(bytes.len());
        match random.random_range(0..7) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] = random.random(),
            2 => bytes.insert(at, [b'\r', b'\n', b' ', 0, b':', b'<', b'"', b';', b','][random.random_range(0..9)]),
            3 if at < bytes.len() => drop(bytes.remove(at)),
            4 => {
                let other = pick(random);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[other.len().min(at)..]);
            }
            5 => {
                let end = (at + random.random_range(0..200)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {}
        }
    }
    bytes
}

fn run(name: &str, default: u64, corpus: &[Vec<u8>], body: impl Fn(&[u8])) {
    let count = std::env::var("CORDBOARD_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    corpus.iter().for_each(|bytes| body(bytes));
    for seed in 0..count {
        let bytes = mutated(&mut SmallRng::seed_from_u64(seed), corpus);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(&bytes)));
        assert!(result.is_ok(), "{name}, seed {seed}: {}", bytes.escape_ascii());
    }
}

#[test]
fn any_bytes_are_parsed_without_harm() {
    run("parsing", 30_000, &files("tests/torture"), bodies::parsing);
}

#[test]
fn whatever_arrives_only_legal_messages_leave() {
    run("forwarding", 4_000, &files("tests/torture"), bodies::forwarding);
}

#[test]
fn a_stream_is_cut_in_the_same_places_however_it_comes() {
    run("framing", 3_000, &files("tests/torture"), bodies::framing);
}

#[test]
fn any_text_is_a_configuration_or_a_list_of_problems() {
    let file = include_bytes!("../dispatcher.yaml").to_vec();
    run("configuring", 300, &[file], bodies::configuring);
}

#[test]
fn any_sequence_of_events_keeps_the_books_in_order() {
    let mut random = SmallRng::seed_from_u64(1);
    let corpus: Vec<Vec<u8>> = (0..20)
        .map(|_| {
            let mut bytes = vec![0; 200];
            random.fill_bytes(&mut bytes);
            bytes
        })
        .collect();
    run("operations", 40, &corpus, bodies::operations);
}
