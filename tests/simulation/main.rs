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

use std::time::Instant;

use context::Violation;
use network::Weather;
use record::Tally;
use settings::{Callers, Manners, Plagues, Settings};
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
    let (mut sum, mut failed, began) = (Tally::default(), Vec::new(), Instant::now());
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
        if sum.runs.is_multiple_of((seeds / 10).max(10)) {
            eprintln!("{} of {seeds} runs, {} calls, {:.1} s", sum.runs, sum.calls, began.elapsed().as_secs_f64());
        }
    }
    if let Some((settings, violation)) = failed.first() {
        eprintln!("{} of {} runs failed", failed.len(), sum.runs);
        explain(test, settings, violation);
    }
    sum
}

/// Calls failed for no other reasons than these.
#[track_caller]
fn blames_only(sum: &Tally, names: &[&str]) {
    let others: Vec<_> = sum.excuses.iter().filter(|(name, _)| !names.contains(name)).collect();
    assert!(others.is_empty(), "{others:?}\n{sum}");
}

#[test]
fn a_hundred_thousand_calls_with_faults_end_at_zero_leases() {
    let test = "a_hundred_thousand_calls_with_faults_end_at_zero_leases";
    let seeds = number("CORDBOARD_SIM_SEEDS").unwrap_or(SEEDS);
    let sum = each_seed(test, seeds, CALLS, Settings::drawn);
    eprintln!("{sum}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..4 {
        let hash = |seed| run(&Settings::drawn(seed, 300), Keep::Hash).hash;
        assert_eq!(hash(seed), hash(seed), "seed {seed}");
        assert_ne!(hash(seed), hash(seed + 100));
    }
}

#[test]
fn without_faults_every_call_is_answered_and_ends() {
    let sum = each_seed("without_faults_every_call_is_answered_and_ends", 4, 500, Settings::calm);
    assert_eq!(sum.outcomes.keys().collect::<Vec<_>>(), ["answered"], "{sum}");
    assert_eq!(sum.leases, sum.calls, "one lease a call: {sum}");
}

#[test]
fn a_network_that_loses_doubles_and_reorders_one_in_twenty_loses_no_call() {
    let test = "a_network_that_loses_doubles_and_reorders_one_in_twenty_loses_no_call";
    let weather = Weather { loss: 50, doubles: 50, late: 50 };
    let sum = each_seed(test, 4, 500, |seed, calls| Settings { weather, nodes: 4, ..Settings::calm(seed, calls) });
    blames_only(&sum, &["taken for dead"]);
}

#[test]
fn an_edge_that_is_killed_keeps_every_call_that_is_up() {
    let test = "an_edge_that_is_killed_keeps_every_call_that_is_up";
    let plagues = Plagues { kills: 6, ..Plagues::default() };
    let sum = each_seed(test, 4, 500, |seed, calls| Settings { plagues, ..Settings::calm(seed, calls) });
    assert_eq!(sum.outcomes.keys().collect::<Vec<_>>(), ["answered"], "{sum}");
}

#[test]
fn a_power_cut_leaves_no_lease_for_ever() {
    let plagues = Plagues { power_cuts: 3, ..Plagues::default() };
    let settings = |seed, calls| Settings { plagues, ..Settings::calm(seed, calls) };
    let sum = each_seed("a_power_cut_leaves_no_lease_for_ever", 4, 500, settings);
    blames_only(&sum, &["power cut"]);
}

#[test]
fn nodes_that_die_take_only_their_own_calls_with_them() {
    let test = "nodes_that_die_take_only_their_own_calls_with_them";
    let plagues = Plagues { node_deaths: 4, freezes: 2, partitions: 2, ..Plagues::default() };
    let sum = each_seed(test, 6, 500, |seed, calls| Settings { plagues, nodes: 5, ..Settings::calm(seed, calls) });
    blames_only(&sum, &["node dead", "node frozen", "partition"]);
}

#[test]
fn reloads_drains_and_a_clock_that_is_set_cost_no_call() {
    let test = "reloads_drains_and_a_clock_that_is_set_cost_no_call";
    let plagues = Plagues { reloads: 5, orders: 3, clock_jumps: 3, ..Plagues::default() };
    let sum = each_seed(test, 6, 500, |seed, calls| Settings { plagues, nodes: 6, ..Settings::calm(seed, calls) });
    assert_eq!(sum.outcomes.keys().collect::<Vec<_>>(), ["answered"], "{sum}");
}

#[test]
fn callers_who_give_up_or_vanish_leave_nothing_behind() {
    let test = "callers_who_give_up_or_vanish_leave_nothing_behind";
    let callers = Callers { impatient: 600, vanishing: 200 };
    let weather = Weather { loss: 20, doubles: 20, late: 20 };
    let sum = each_seed(test, 4, 500, |seed, calls| Settings { callers, weather, ..Settings::calm(seed, calls) });
    blames_only(&sum, &["taken for dead"]);
}

#[test]
fn nodes_that_refuse_are_followed_by_others_only_when_nothing_ran() {
    let test = "nodes_that_refuse_are_followed_by_others_only_when_nothing_ran";
    let manners = Manners {
        busy: 50,
        stopping: 5,
        full: 50,
        congested: 50,
        faulty: 5,
        breaking_off: 20,
        rings_on: 20,
        sessions: 300,
    };
    let sum = each_seed(test, 4, 500, |seed, calls| Settings { manners, nodes: 6, ..Settings::calm(seed, calls) });
    assert!(sum.failovers.contains_key("unavailable"), "{sum}");
}
