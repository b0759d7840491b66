//! Gateways, nodes, a network and the edge in virtual time, from a seed: `docs/simulation.md`.

#![allow(clippy::unwrap_used)]

mod client;
mod context;
mod edge;
mod faults;
mod gateway;
mod invariants;
mod message;
mod network;
mod node;
mod random;
mod record;
mod settings;
mod simulation;
mod trace;

use context::Violation;
use record::Tally;
use settings::Settings;
use simulation::run;
use trace::Keep;

/// Runs of the great test, and calls in each.
const SEEDS: u64 = 100;
const CALLS: u32 = 1_000;

/// Names the seed when a run ends in a panic.
struct SeedOfPanic<'a> {
    test: &'a str,
    seed: u64,
}

impl Drop for SeedOfPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            repeat_by(self.test, self.seed);
        }
    }
}

fn repeat_by(test: &str, seed: u64) {
    let calls = number("CORDBOARD_SIM_CALLS").map(|calls| format!("CORDBOARD_SIM_CALLS={calls} ")).unwrap_or_default();
    eprintln!("seed {seed}; to repeat it:");
    eprintln!("  {calls}CORDBOARD_SIM_SEED={seed} cargo test --test simulation {test} -- --exact --nocapture");
}

/// Runs a violation again, prints the last lines of the call that it concerns, and fails.
fn explain(test: &str, settings: &Settings, violation: &Violation) -> ! {
    let again = run(settings, Keep::Call(violation.call.unwrap_or(u32::MAX)));
    eprintln!("{settings:#?}");
    again.lines.iter().for_each(|line| eprintln!("{line}"));
    repeat_by(test, settings.seed);
    let whom = violation.call.map_or("the farm".to_owned(), |call| format!("call {call}"));
    panic!("{whom}: {}", violation.what);
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text}: a number is wanted")))
}

/// Every seed of a test, or the one that was asked for. All are run before one that failed is shown.
fn each_seed(test: &str, seeds: u64, calls: u32, settings: impl Fn(u64, u32) -> Settings) -> Tally {
    let calls = number("CORDBOARD_SIM_CALLS").map_or(calls, |calls| calls as u32);
    let (mut sum, mut failed) = (Tally::default(), Vec::new());
    let (list, keep) = match number("CORDBOARD_SIM_SEED") {
        Some(seed) => (seed..seed + 1, Keep::Print),
        None => (0..seeds, Keep::Hash),
    };
    for seed in list {
        let _guard = SeedOfPanic { test, seed };
        let settings = settings(seed, calls);
        let run = run(&settings, keep);
        sum.add(&run.tally);
        if let Some(violation) = run.violation {
            eprintln!("seed {seed}: {}", violation.what);
            failed.push((settings, violation));
        }
    }
    if let Some((settings, violation)) = failed.first() {
        explain(test, settings, violation);
    }
    sum
}

#[test]
fn without_faults_every_call_is_answered_and_ends() {
    let sum = each_seed("without_faults_every_call_is_answered_and_ends", 4, 1_000, Settings::calm);
    assert_eq!(sum.outcomes.keys().collect::<Vec<_>>(), ["answered"], "{sum}");
    assert_eq!(sum.leases, sum.calls, "one lease a call: {sum}");
    eprintln!("{sum}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..3 {
        let settings = Settings::drawn(seed, 300);
        assert_eq!(run(&settings, Keep::Hash).hash, run(&settings, Keep::Hash).hash, "seed {seed}");
        assert_ne!(run(&settings, Keep::Hash).hash, run(&Settings::drawn(seed + 100, 300), Keep::Hash).hash);
    }
}

#[test]
fn a_hundred_thousand_calls_with_faults_end_at_zero_leases() {
    let test = "a_hundred_thousand_calls_with_faults_end_at_zero_leases";
    let (seeds, calls) = (number("CORDBOARD_SIM_SEEDS").unwrap_or(SEEDS), CALLS);
    let sum = each_seed(test, seeds, calls, Settings::drawn);
    eprintln!("{sum}");
}
