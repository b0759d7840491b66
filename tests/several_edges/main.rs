//! Two to ten edges, Redis, gateways, nodes and phones in virtual time, from a seed: `docs/simulation.md`.

#![allow(clippy::unwrap_used)]

mod calls;
mod edge;
mod faults;
#[allow(dead_code)]
#[path = "../simulation/message.rs"]
mod message;
mod net;
mod phones;
#[path = "../simulation/random.rs"]
mod random;
mod redis;
mod settings;
mod shell;
mod sim;
mod table;
mod truth;

use std::time::Duration;

use settings::{Plagues, Settings};
use sim::Sim;
use truth::Tally;

/// Plays one run.
fn play(settings: &Settings, prints: bool) -> Sim {
    let mut sim = Sim::new(settings, prints);
    sim.run_for(faults::ACTIVE + Duration::from_secs(1));
    sim.mend_everything();
    // Edges find each other, and calls that were left half done end.
    sim.run_for(Duration::from_secs(12));
    sim.compare(Duration::from_secs(1));
    sim.look_at_the_rest();
    // The last calls end, and places that belong to none are found.
    sim.run_for(Duration::from_secs(180));
    sim.compare(Duration::from_secs(1));
    sim.look_at_the_rest();
    sim.finish();
    sim
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text}: a number is wanted")))
}

/// Every seed of a test, or the one that was asked for.
fn each_seed(test: &str, seeds: std::ops::Range<u64>, settings: impl Fn(u64, u32) -> Settings) -> Tally {
    let calls = number("CORDBOARD_SIM_CALLS").unwrap_or(30) as u32;
    let (list, prints) = match number("CORDBOARD_SIM_SEED") {
        Some(seed) => (seed..seed + 1, true),
        None => (seeds.start..seeds.start + number("CORDBOARD_SIM_SEEDS").unwrap_or(seeds.end - seeds.start), false),
    };
    let (mut sum, mut failed) = (Tally::default(), Vec::new());
    for seed in list {
        let guard = SeedOfPanic { test, seed };
        let sim = play(&settings(seed, calls), prints);
        sum.add(&sim.truth.tally);
        if let Some(first) = sim.truth.violations.first() {
            eprintln!("seed {seed}: {} violations, the first {first}", sim.truth.violations.len());
            failed.push((seed, sim));
        }
        drop(guard);
    }
    if let Some((seed, sim)) = failed.first() {
        sim.net.lines.iter().for_each(|line| eprintln!("{line}"));
        sim.truth.violations.iter().take(20).for_each(|line| eprintln!("{line}"));
        eprintln!("{:?}", sim.settings);
        repeat_by(test, *seed);
        panic!("{} of {} runs failed", failed.len(), sum.runs);
    }
    eprintln!("{sum:?}");
    sum
}

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
    eprintln!("seed {seed}; to repeat it:");
    eprintln!("  CORDBOARD_SIM_SEED={seed} cargo test --test several_edges {test} -- --exact --nocapture");
}

#[test]
fn without_faults_all_edges_agree_and_nothing_is_left() {
    let sum = each_seed("without_faults_all_edges_agree_and_nothing_is_left", 0..150, Settings::calm);
    assert_eq!((sum.unanswered, sum.excused), (0, 0), "{sum:?}");
    assert!(
        sum.refused_agents * 8 > sum.calls,
        "of two queues that want one agent at the same moment one gets through: {sum:?}"
    );
}

/// A test with one kind of plague.
fn plagued(test: &str, seeds: u64, plagues: Plagues) -> Tally {
    each_seed(test, 0..seeds, |seed, calls| Settings { plagues, ..Settings::calm(seed, calls) })
}

#[test]
fn edges_that_are_killed_lose_no_call_and_no_phone() {
    let plagues = Plagues { kills: 3, ..Plagues::default() };
    plagued("edges_that_are_killed_lose_no_call_and_no_phone", 250, plagues);
}

#[test]
fn a_power_cut_loses_no_call_that_was_on_disk() {
    plagued("a_power_cut_loses_no_call_that_was_on_disk", 200, Plagues { power_cuts: 3, ..Plagues::default() });
}

#[test]
fn edges_that_do_not_reach_redis_agree_again_afterwards() {
    let plagues = Plagues { partitions: 4, ..Plagues::default() };
    let sum = plagued("edges_that_do_not_reach_redis_agree_again_afterwards", 250, plagues);
    assert_eq!(sum.excused, 0, "{sum:?}");
}

#[test]
fn a_redis_that_is_lost_or_emptied_is_filled_again() {
    let plagues = Plagues { redis_deaths: 2, flushes: 2, ..Plagues::default() };
    let sum = plagued("a_redis_that_is_lost_or_emptied_is_filled_again", 250, plagues);
    assert_eq!(sum.excused, 0, "{sum:?}");
}

#[test]
fn a_redis_that_hangs_leaves_no_place_behind() {
    let plagues = Plagues { hangs: 3, ..Plagues::default() };
    let sum = plagued("a_redis_that_hangs_leaves_no_place_behind", 250, plagues);
    assert_eq!(sum.excused, 0, "{sum:?}");
}

#[test]
fn clocks_that_are_an_hour_off_cost_no_call_and_no_phone() {
    let plagues = Plagues { clock_jumps: 4, ..Plagues::default() };
    let sum = plagued("clocks_that_are_an_hour_off_cost_no_call_and_no_phone", 200, plagues);
    assert_eq!(sum.excused, 0, "{sum:?}");
}

#[test]
fn what_operators_say_at_one_edge_holds_at_all_also_after_they_started_anew() {
    let plagues = Plagues { orders: 6, kills: 3, ..Plagues::default() };
    plagued("what_operators_say_at_one_edge_holds_at_all_also_after_they_started_anew", 200, plagues);
}

#[test]
fn a_network_that_loses_doubles_and_reorders_costs_no_call() {
    let test = "a_network_that_loses_doubles_and_reorders_costs_no_call";
    each_seed(test, 0..150, |seed, calls| Settings { loss: 30, doubles: 30, late: 30, ..Settings::calm(seed, calls) });
}

#[test]
fn everything_that_can_happen_to_redis_at_once() {
    let plagues = Plagues { partitions: 2, redis_deaths: 1, hangs: 1, flushes: 1, orders: 3, ..Plagues::default() };
    let test = "everything_that_can_happen_to_redis_at_once";
    each_seed(test, 0..250, |seed, calls| Settings {
        loss: 10,
        doubles: 10,
        late: 10,
        plagues,
        ..Settings::calm(seed, calls)
    });
}

#[test]
fn an_emptied_redis_and_a_killed_edge_at_once() {
    let plagues = Plagues { kills: 2, redis_deaths: 1, flushes: 3, hangs: 1, ..Plagues::default() };
    plagued("an_emptied_redis_and_a_killed_edge_at_once", 200, plagues);
}

#[test]
fn ten_edges_and_a_thousand_nodes_count_alike() {
    let test = "ten_edges_and_a_thousand_nodes_count_alike";
    let sum =
        each_seed(test, 0..1, |seed, calls| Settings { edges: 10, nodes: 1_000, ..Settings::calm(seed, calls * 20) });
    assert_eq!(sum.excused, 0, "{sum:?}");
}
