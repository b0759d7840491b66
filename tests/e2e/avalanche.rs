//! All phones of a building come back at once while calls go on.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::farm::Farm;
use crate::process::secs;
use crate::sipp::{Load, Sipp};

/// Phones, and how many begin in a second.
const PHONES: u32 = 2_000;
/// The longest that one call in a hundred may wait from its INVITE to its 200, on a busy machine.
const SETUP_MAX: Duration = Duration::from_millis(200);

fn users() -> Vec<String> {
    (3_000..3_000 + PHONES).map(|number| number.to_string()).collect()
}

fn registered(farm: &Farm) -> BTreeSet<String> {
    farm.edge().registrations().into_iter().map(|agent| agent.user).collect()
}

/// The users whose 200 came.
fn granted(phones: &Sipp) -> BTreeSet<String> {
    let log = phones.log();
    let granted = log.lines().filter_map(|line| line.strip_suffix(" registered"));
    granted.map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect()
}

/// Time from each INVITE to its 200 through the edge and a node that answers at once, the shortest first.
fn setups(farm: &Farm, gateway: &Sipp) -> Vec<Duration> {
    let file = farm.path(&format!("call_{}_rtt.csv", gateway.process.pid()));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let millis = text.lines().filter(|line| line.contains("setup")).map(|line| line.split(';').nth(1).unwrap());
    let mut spans: Vec<Duration> = millis.map(|ms| Duration::from_secs_f64(ms.parse::<f64>().unwrap() / 1e3)).collect();
    spans.sort();
    spans
}

#[test]
fn thousands_of_phones_come_back_at_once_after_a_restart_and_no_call_waits_for_them() {
    let farm = Farm::new(230).player("weight: 10", "answer", &[]).player("weight: 10", "answer", &[]);
    let mut farm = farm.with("limits: { stranger_rate: 100000 }").registrar(&users(), "").start();
    farm.carries(&Load::of_phones("register", &users()[..100]).from(&farm.phone_at(5060)));
    farm.edge_mut().process.end("KILL", secs(5));
    farm.start_edge();
    farm.until_all_up();

    let trace = ["-trace_rtt", "-rtt_freq", "1"];
    let mut calls = farm.load(&Load::of("call").calls(100, 20).hold(secs(1)).with(&trace));
    let avalanche = Load::of_phones("register", &users()).calls(PHONES, PHONES).from(&farm.phone_at(5061));
    let began = Instant::now();
    let mut phones = farm.load(&avalanche);
    phones.until_logged("registered", PHONES as usize, secs(30));
    let took = began.elapsed();
    phones.succeeds();
    calls.succeeds();
    let spans = setups(&farm, &calls);
    let p99 = spans[spans.len() * 99 / 100];
    println!("{PHONES} phones in {took:?}; calls' p99 from INVITE to 200: {p99:?}, the longest {:?}", spans.last());
    assert_eq!(spans.len(), 100);
    assert!(p99 < SETUP_MAX, "{p99:?}");

    // Whoever was told so is registered, also when the edge dies again.
    farm.edge_mut().process.end("KILL", secs(5));
    farm.start_edge();
    let (all, told, known) = (users().into_iter().collect(), granted(&phones), registered(&farm));
    assert_eq!((told.len(), known.len()), (PHONES as usize, PHONES as usize));
    assert!(told == all && known == all);
    farm.ends_well();
}
