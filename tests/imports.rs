//! The walls of the house: an arrow goes down only, and the pure floors stay pure.
//!
//! A single package has no crate walls, so this test reads the `use` lines instead.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The floors from the bottom. A module may use those on lower floors and itself.
const FLOORS: [&[&str]; 16] = [
    &["moment", "keys"],
    &["sip"],
    &["transport"],
    &["calls"],
    &["registrar"],
    &["agents"],
    &["dispatch"],
    &["resolve", "store"],
    &["config"],
    &["asterisk"],
    &["proxy"],
    &["cluster"],
    &["metrics", "telemetry"],
    &["edge"],
    &["api"],
    &["cli"],
];

/// Modules without sockets, clocks, locks, files, logs or random sources of their own, and the files in them that are
/// allowed to be otherwise.
const PURE: [(&str, &[&str]); 12] = [
    ("moment", &[]),
    ("keys", &[]),
    ("sip", &[]),
    ("calls", &[]),
    ("dispatch", &[]),
    ("registrar", &[]),
    ("agents", &[]),
    ("cluster", &[]),
    ("config", &["reload.rs", "secret.rs"]),
    ("asterisk", &[]),
    ("proxy", &[]),
    ("transport/flow", &[]),
];

/// What a pure module must not name.
const IMPURE: [&str; 18] = [
    "tokio",
    "redb",
    "hickory",
    "prometheus",
    "notify::",
    "axum",
    "ureq",
    "tracing",
    "parking_lot",
    "Instant::now",
    "SystemTime",
    "rand::rng(",
    "std::thread",
    "std::fs",
    "std::env",
    "Mutex",
    "UdpSocket",
    "TcpStream",
];

#[test]
fn arrows_go_down_only() {
    let floor_of: BTreeMap<&str, usize> =
        FLOORS.iter().enumerate().flat_map(|(floor, names)| names.iter().map(move |name| (*name, floor))).collect();
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let own = module_of(&path);
        let Some(own_floor) = floor_of.get(own.as_str()) else { continue };
        for used in used_modules(&text) {
            let Some(floor) = floor_of.get(used.as_str()) else {
                wrong.push(format!("{}: {used} stands on no floor", path.display()));
                continue;
            };
            if used != own && floor >= own_floor {
                wrong.push(format!("{}: {own} uses {used}, which is not below it", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_stands_on_a_floor() {
    let lib = std::fs::read_to_string(root().join("lib.rs")).unwrap();
    for module in lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')) {
        assert!(FLOORS.iter().any(|names| names.contains(&module)), "{module} stands on no floor");
    }
}

#[test]
fn pure_modules_name_nothing_impure() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let relative = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        let in_module =
            |module: &str| relative == format!("{module}.rs") || relative.starts_with(&format!("{module}/"));
        let Some((_, excepted)) = PURE.iter().find(|(module, _)| in_module(module)) else { continue };
        let is_test = relative.ends_with("_tests.rs") || relative.contains("/tests/");
        if is_test || excepted.iter().any(|file| relative.ends_with(file)) {
            continue;
        }
        for (number, line) in code_lines(&text) {
            for word in IMPURE.iter().filter(|word| line.contains(**word)) {
                wrong.push(format!("{relative}:{number}: {word}: {}", line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_sip_folder_knows_rsip() {
    for (path, text) in sources() {
        let knows = code_lines(&text).any(|(_, line)| line.contains("rsip::") || line.contains("use rsip"));
        assert!(!knows || path.starts_with(root().join("sip")), "{} uses rsip", path.display());
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The first part of a file's path below `src`.
fn module_of(path: &Path) -> String {
    let relative = path.strip_prefix(root()).unwrap();
    let first = relative.iter().next().unwrap().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// Names behind `crate::` outside tests.
fn used_modules(text: &str) -> Vec<String> {
    let mut used = Vec::new();
    for (_, line) in code_lines(text) {
        for rest in line.split("crate::").skip(1) {
            let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            if !name.is_empty() {
                used.push(name);
            }
        }
    }
    used
}

/// The lines of a file up to its tests, without comments.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().take_while(|(_, line)| line.trim() != "#[cfg(test)]");
    lines.filter(|(_, line)| !line.trim_start().starts_with("//")).map(|(number, line)| (number + 1, line))
}

fn sources() -> Vec<(PathBuf, String)> {
    let (mut folders, mut files) = (vec![root()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                files.push((path, text));
            }
        }
    }
    files.sort();
    files
}
