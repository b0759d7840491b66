//! What one run is about: how many calls, what nodes do with them, and what goes wrong.

use std::time::Duration;

use crate::network::Weather;
use crate::random::Random;

/// How often nodes do something else than answer, in thousandths of all calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manners {
    /// 486.
    pub busy: u64,
    /// 503 without Reason.
    pub stopping: u64,
    /// 503 with cause 42.
    pub full: u64,
    /// 503 with cause 34: the dialplan ran.
    pub congested: u64,
    /// 500 without Reason.
    pub faulty: u64,
    /// Rings, and then 503 without Reason: the dialplan ran, whatever the node says.
    pub breaking_off: u64,
    /// Rings for ever.
    pub rings_on: u64,
    /// Answers with a session timer.
    pub sessions: u64,
}

/// How often callers do something else than call, wait, talk and hang up, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub struct Callers {
    /// Give up before an answer.
    pub impatient: u64,
    /// Go away without a word.
    pub vanishing: u64,
}

/// Which faults happen. Each is a number of times over the run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plagues {
    /// The edge's process is killed.
    pub kills: u64,
    /// The edge's machine loses power: the last moments of the journal are lost.
    pub power_cuts: u64,
    pub node_deaths: u64,
    pub freezes: u64,
    pub partitions: u64,
    /// A node shuts down gracefully: 503 to everything new, then it is gone.
    pub shutdowns: u64,
    pub reloads: u64,
    /// Drain, disable and enable.
    pub orders: u64,
    /// The time of day is set.
    pub clock_jumps: u64,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Settings {
    pub seed: u64,
    pub calls: u32,
    /// Pause between two calls on the average.
    pub pause: Duration,
    pub nodes: u8,
    pub gateways: u8,
    /// `max_calls` of every node.
    pub max_calls: Option<u32>,
    pub slow_start: bool,
    pub weather: Weather,
    pub manners: Manners,
    pub callers: Callers,
    pub plagues: Plagues,
}

/// Longest wait for a final answer, as configured.
pub const RING_TIMEOUT: Duration = Duration::from_secs(40);
/// Longest call, as configured.
pub const MAX_DURATION: Duration = Duration::from_secs(240);

impl Settings {
    /// Nothing goes wrong, and everybody answers.
    pub fn calm(seed: u64, calls: u32) -> Self {
        Settings {
            seed,
            calls,
            pause: Duration::from_millis(100),
            nodes: 3,
            gateways: 2,
            max_calls: None,
            slow_start: false,
            weather: Weather::default(),
            manners: Manners { sessions: 300, ..Manners::default() },
            callers: Callers::default(),
            plagues: Plagues::default(),
        }
    }

    /// A farm with faults, which differ from seed to seed.
    pub fn drawn(seed: u64, calls: u32) -> Self {
        let mut random = Random::new(seed ^ 0x5e77_1465);
        let mut some = |most: u64| if random.chance(500) { random.below(most + 1) } else { 0 };
        let weather = Weather { loss: some(100), doubles: some(50), late: some(100) };
        let manners = Manners {
            busy: some(100),
            stopping: some(2),
            full: some(10),
            congested: some(30),
            faulty: some(10),
            breaking_off: some(5),
            rings_on: some(30),
            sessions: some(1_000),
        };
        let callers = Callers { impatient: some(200), vanishing: some(40) };
        let plagues = Plagues {
            kills: some(4),
            power_cuts: some(2),
            node_deaths: some(4),
            freezes: some(4),
            partitions: some(4),
            shutdowns: some(2),
            reloads: some(6),
            orders: some(6),
            clock_jumps: some(3),
        };
        let max_calls = random.chance(200).then(|| 30 + random.below(120) as u32);
        Settings {
            seed,
            calls,
            pause: random.between(Duration::from_millis(20), Duration::from_millis(200)),
            nodes: if random.chance(150) { 1 + random.below(2) as u8 } else { 3 + random.below(5) as u8 },
            gateways: 1 + random.below(3) as u8,
            max_calls,
            slow_start: random.chance(300),
            weather,
            manners,
            callers,
            plagues,
        }
    }
}
