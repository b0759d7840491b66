//! Whatever the text is, a check ends soon, never panics, and says the same each time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::*;

fn outcome(text: &str) -> Result<Checked, ConfigProblems> {
    check(text, &BTreeMap::new())
}

/// Every problem has a place in the file.
fn assert_places(text: &str, outcome: &Result<Checked, ConfigProblems>) {
    let problems = match outcome {
        Ok(checked) => &checked.warnings,
        Err(problems) => &problems.0,
    };
    let lines = text.lines().count().max(1) as u32;
    assert!(outcome.is_ok() || !problems.is_empty());
    for problem in problems {
        assert!(problem.line >= 1 && problem.line <= lines + 1 && problem.column >= 1, "{problem:?} in {text:?}");
    }
}

/// Pieces of YAML in any order.
const YAML_LIKE: &str = concat!(
    "([a-z_]{1,12}: ?|- |  |\\{|\\}|\\[|\\]|\"|'|[&*]a ?|, |\\n",
    "|[0-9.:/]{1,9}|udp://|sip:|<<: |\\|\n|~|#){0,60}"
);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text_is_checked_without_panic_and_always_the_same(text in "\\PC{0,400}") {
        let first = outcome(&text);
        assert_places(&text, &first);
        prop_assert_eq!(outcome(&text), first);
    }

    #[test]
    fn any_text_that_looks_like_yaml_is_too(text in YAML_LIKE) {
        let first = outcome(&text);
        assert_places(&text, &first);
        prop_assert_eq!(outcome(&text), first);
    }

    #[test]
    fn any_value_of_any_key_is_told_or_taken(key in 0usize..40, value in "\\PC{0,30}") {
        let keys: Vec<&str> = DEFAULT_FILE.lines().filter(|line| line.contains(": ")).collect();
        let line = keys[key % keys.len()];
        let name = line.split(": ").next().unwrap_or_default();
        let text = DEFAULT_FILE.replacen(line, &format!("{name}: {value}"), 1);
        assert_places(&text, &outcome(&text));
    }
}

/// Pieces that a slip, a bad merge or an enemy could put into a file.
const PIECES: [&str; 24] = [
    "",
    " ",
    "\n",
    "  ",
    "\t",
    ":",
    ": ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "#",
    "&a ",
    "*a",
    "<<: *a",
    "-1",
    "0",
    "null",
    "\u{0}",
    "ä",
    "999999999999999999999",
];

fn mutated(text: &str, random: &mut SmallRng) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..chars.len());
        let len = random.random_range(0..8).min(chars.len() - at);
        let piece = PIECES.choose(random).unwrap();
        chars.splice(at..at + len, piece.chars());
        if random.random_range(0..4) == 0 {
            let lines: Vec<String> = chars.iter().collect::<String>().lines().map(str::to_owned).collect();
            let line = lines.choose(random).cloned().unwrap_or_default();
            let at = random.random_range(0..chars.len());
            chars.splice(at..at, format!("\n{line}\n").chars());
        }
    }
    chars.into_iter().collect()
}

/// The default file with everything that can be switched on at once, so that mutations meet every key.
fn full_file() -> String {
    let uncomment = |line: &str| {
        let is_setting =
            line.trim_start().strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| !c.is_whitespace()));
        if is_setting { line.replacen('#', "", 1) } else { line.to_owned() }
    };
    DEFAULT_FILE.lines().map(|line| uncomment(line) + "\n").collect()
}

#[test]
fn two_thousand_damaged_files_are_told_or_taken_in_bounded_time() {
    let seed = 0x5eed_c0de;
    let mut random = SmallRng::seed_from_u64(seed);
    let files = [DEFAULT_FILE.to_owned(), full_file()];
    let mut longest = Duration::ZERO;
    let mut accepted = 0;
    for _ in 0..2_000 {
        let text = mutated(files.choose(&mut random).unwrap(), &mut random);
        let start = Instant::now();
        let outcome = outcome(&text);
        longest = longest.max(start.elapsed());
        assert_places(&text, &outcome);
        accepted += u32::from(outcome.is_ok());
    }
    assert!(longest < Duration::from_secs(5), "{longest:?}");
    assert!((1..1_999).contains(&accepted), "seed {seed:#x}: {accepted} accepted");
}

#[test]
fn the_largest_files_are_told_in_bounded_time() {
    let many = |line: &str, count: usize| line.repeat(count);
    for text in [
        many("- a\n", 1_000_000),
        format!("pools:\n{}", (0..20_000).map(|i| format!("  p{i}: {{}}\n")).collect::<String>()),
        format!("pools:\n{}", (0..20_000).map(|i| format!("  {i}:\n")).collect::<String>()),
        format!("routes:\n{}", many("- { from: x, pool: y }\n", 10_000)),
        format!("x: {}", "y".repeat(4_000_000)),
        many("[", 3_000_000),
        many("{a: ", 500_000),
        format!("{}: 1", "k".repeat(2_000_000)),
    ] {
        let start = Instant::now();
        assert!(outcome(&text).is_err());
        assert!(start.elapsed() < Duration::from_secs(20), "{:?} {}", start.elapsed(), &text[..40]);
    }
}

#[test]
fn the_generation_knows_the_meaning_and_nothing_else() {
    let generation = |text: &str| outcome(text).unwrap().config.generation();
    let base = "listen: [udp://127.0.0.10]
pools:
  a: { nodes: [{ name: x, uri: \"sip:x\" }, { name: y, uri: \"sip:y\", weight: 20 }] }
";
    let same = "# a comment
health: { interval: 2000ms }
pools: { a: { panic: true, nodes: [{ uri: sip:Y, weight: 20, name: y }, { name: x, weight: 10, uri: \"sip:x\" }] } }
listen: [\"udp://127.0.0.10:5060\"]
";
    assert_eq!(generation(same), generation(base));
    let mut seen = vec![generation(base)];
    for (from, to) in [
        ("weight: 20", "weight: 21"),
        ("sip:x", "sip:z"),
        ("name: x", "name: z"),
        ("127.0.0.10", "127.0.0.9"),
        ("pools:", "health: { fall: 4 }\npools:"),
        ("pools:", "edge: { secret: sixteen octets here }\npools:"),
        ("pools:", "edge: { secret: sixteen octets there }\npools:"),
        ("pools:", "gateways: [{ name: g, source: [127.0.0.2] }]\npools:"),
        ("pools:", "routes: [{ from: nodes, reject: 403 }]\npools:"),
        ("pools:", "api: off\npools:"),
    ] {
        let changed = generation(&base.replacen(from, to, 1));
        assert!(!seen.contains(&changed), "{from} -> {to}");
        seen.push(changed);
    }
}

#[test]
fn the_generation_is_the_same_from_one_release_to_the_next() {
    let config =
        outcome("listen: [udp://127.0.0.10]\npools: { a: { nodes: [{ name: x, uri: \"sip:x\" }] } }\n").unwrap().config;
    assert_eq!(config.generation().to_string(), "c7c1edb1bb17");
}
