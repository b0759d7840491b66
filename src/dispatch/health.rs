//! Whether a node is alive, closed, or slow: one machine for probes and for what calls tell.
//!
//! Pure: it is asked what to do at a moment and told what happened. Thresholds both ways, a local time-out is never
//! a reply, a node that keeps falling waits longer each time before it is believed again.

use std::time::Duration;

use crate::moment::Moment;

/// How nodes are judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthPolicy {
    /// Pause between probes of a node that is well.
    pub interval: Duration,
    /// How long a probe may go unanswered.
    pub timeout: Duration,
    /// Failures in a row until a node is down.
    pub fall: u32,
    /// Successes in a row until it is up again.
    pub rise: u32,
    /// Part of the interval by which probes are spread, in percent.
    pub jitter_percent: u8,
    /// A node that goes down again within this time of coming up is flapping: each relapse doubles the wait.
    pub flap_window: Duration,
    /// Longest wait of a flapping node.
    pub flap_wait_max: Duration,
    /// Probe answers that do not count as life, as ranges of codes. A 503 is always life: alive, but closed.
    pub dead_codes: Vec<std::ops::RangeInclusive<u16>>,
    /// Round trip above which a node's share is lowered.
    pub slow_after: Duration,
    /// How long a node that said it is full gets no new calls.
    pub full_pause: Duration,
}

impl Default for HealthPolicy {
    fn default() -> Self {
        HealthPolicy {
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            fall: 3,
            rise: 2,
            jitter_percent: 10,
            flap_window: Duration::from_secs(60),
            flap_wait_max: Duration::from_secs(120),
            dead_codes: vec![408..=408, 500..=599],
            slow_after: Duration::from_millis(100),
            full_pause: Duration::from_secs(1),
        }
    }
}

impl HealthPolicy {
    /// The longest that a silent node can stay unnoticed when no call meets it.
    pub fn detection_max(&self) -> Duration {
        let spread = self.interval * u32::from(self.jitter_percent) / 100;
        self.interval + spread + self.timeout * self.fall
    }
}

/// What is known of a node's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Not heard of yet; it may take calls, since refusing all of them at every start would be worse.
    #[default]
    Unknown,
    /// Alive.
    Up,
    /// Dead.
    Down,
}

impl Verdict {
    /// The word of CLI, API and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Unknown => "unknown",
            Verdict::Up => "up",
            Verdict::Down => "down",
        }
    }
}

/// Why a node that is alive takes no calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClosedWhy {
    /// It answers probes with 503: it is shutting down.
    Probe503,
    /// It refused an INVITE with 503 and no Reason: it is shutting down.
    Invite503,
    /// It refused an INVITE with 503 and Retry-After.
    RetryAfter,
    /// It refused an INVITE because it is full.
    Full,
}

impl ClosedWhy {
    /// The word of CLI, API and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            ClosedWhy::Probe503 => "answers probes with 503",
            ClosedWhy::Invite503 => "refused a call with 503",
            ClosedWhy::RetryAfter => "asked for a pause with Retry-After",
            ClosedWhy::Full => "said that it is full",
        }
    }
}

/// A node's own word that it takes no calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Why.
    pub why: ClosedWhy,
    /// Until when, if it said so; else until a probe is answered without 503.
    pub until: Option<Moment>,
}

/// Something that tells of a node's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// A probe was answered.
    ProbeAnswered {
        /// Which.
        probe: u32,
        /// With which code.
        code: u16,
    },
    /// The transport refused something sent to it.
    Refused,
    /// An INVITE met silence.
    CallSilent,
    /// An INVITE got an answer that only a living node gives.
    CallAnswered,
    /// An INVITE got a 5xx of the stack itself, without a Q.850 cause from a dialplan.
    CallFailed,
    /// An INVITE was refused with 503: it was not started there.
    CallUnavailable {
        /// Retry-After in seconds.
        retry_after_secs: Option<u32>,
        /// True when the node is full, false when it is shutting down.
        full: bool,
    },
}

/// What failed last, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// A probe was not answered in time.
    ProbeTimeout,
    /// A probe was answered with a code that does not count as life.
    ProbeCode(u16),
    /// The transport refused: nobody listens there.
    Refused,
    /// An INVITE met silence.
    CallSilent,
    /// An INVITE got a 5xx of the stack itself.
    CallFailed,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::ProbeTimeout => f.write_str("a probe was not answered"),
            Failure::ProbeCode(code) => write!(f, "a probe was answered with {code}"),
            Failure::Refused => f.write_str("the transport refused"),
            Failure::CallSilent => f.write_str("a call met silence"),
            Failure::CallFailed => f.write_str("a call got a server error"),
        }
    }
}

/// What one address of a node is known to be.
#[derive(Clone, Debug)]
pub struct Health {
    verdict: Verdict,
    fails: u32,
    successes: u32,
    closed: Option<Closed>,
    /// Smoothed round trip of probes.
    round_trip: Option<Duration>,
    last_round_trip: Option<Duration>,
    last_failure: Option<Failure>,
    last_answer: Option<Moment>,
    last_passive: Moment,
    /// Times it went down again soon after coming up.
    relapses: u32,
    up_since: Moment,
    down_since: Moment,
    next_probe: Moment,
    pending: Option<Pending>,
    probes: u32,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    probe: u32,
    sent: Moment,
}

/// A change that an operator wants to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is up now.
    Up,
    /// It is down now, for this failure last.
    Down(Failure),
    /// It takes no calls by its own word.
    Closed(ClosedWhy),
    /// It takes calls again.
    Opened,
}

/// Calls can fail in bursts; within this time they count as one failure.
const PASSIVE_GAP: Duration = Duration::from_millis(200);

impl Health {
    /// A node that nothing is known of; its first probe is due at `first_probe`.
    pub fn new(first_probe: Moment) -> Self {
        Health {
            verdict: Verdict::Unknown,
            fails: 0,
            successes: 0,
            closed: None,
            round_trip: None,
            last_round_trip: None,
            last_failure: None,
            last_answer: None,
            last_passive: Moment::ZERO,
            relapses: 0,
            up_since: Moment::ZERO,
            down_since: Moment::ZERO,
            next_probe: first_probe,
            pending: None,
            probes: 0,
        }
    }

    /// When [`Health::poll`] has something to do next.
    pub fn wake_at(&self, policy: &HealthPolicy) -> Moment {
        let probe = match self.pending {
            Some(pending) => pending.sent + policy.timeout,
            None => self.next_probe,
        };
        match self.closed.and_then(|closed| closed.until) {
            Some(until) => probe.min(until),
            None => probe,
        }
    }

    /// What is due at `now`: a time-out may change the verdict, and a probe may have to be sent, whose number is
    /// returned. `random` spreads the probes.
    pub fn poll(&mut self, now: Moment, policy: &HealthPolicy, random: u32) -> (Option<u32>, Option<Change>) {
        let mut change = None;
        if self.closed.is_some_and(|closed| closed.until.is_some_and(|until| until <= now)) {
            self.closed = None;
            change = Some(Change::Opened);
        }
        if let Some(pending) = self.pending
            && pending.sent + policy.timeout <= now
        {
            self.pending = None;
            change = self.fail(Failure::ProbeTimeout, now, policy).or(change);
        }
        if self.pending.is_none() && self.next_probe <= now {
            self.probes = self.probes.wrapping_add(1);
            self.pending = Some(Pending { probe: self.probes, sent: now });
            self.next_probe = now + spread(policy, random);
            return (Some(self.probes), change);
        }
        (None, change)
    }

    /// Takes in what happened.
    pub fn signal(&mut self, signal: Signal, now: Moment, policy: &HealthPolicy) -> Option<Change> {
        match signal {
            Signal::ProbeAnswered { probe, code } => {
                let pending = self.pending.take_if(|pending| pending.probe == probe)?;
                self.probe_answered(now.since(pending.sent), code, now, policy)
            }
            Signal::Refused => {
                self.pending = None;
                self.passive_failure(Failure::Refused, now, policy)
            }
            Signal::CallSilent => self.passive_failure(Failure::CallSilent, now, policy),
            Signal::CallFailed => self.passive_failure(Failure::CallFailed, now, policy),
            Signal::CallAnswered => {
                self.fails = 0;
                None
            }
            Signal::CallUnavailable { retry_after_secs, full } => {
                self.fails = 0;
                let pause = retry_after_secs.map(|secs| Duration::from_secs(u64::from(secs.min(3_600))));
                let closed = match (pause, full) {
                    (Some(pause), _) => Closed { why: ClosedWhy::RetryAfter, until: Some(now + pause) },
                    (None, true) => Closed { why: ClosedWhy::Full, until: Some(now + policy.full_pause) },
                    (None, false) => Closed { why: ClosedWhy::Invite503, until: None },
                };
                self.next_probe = self.next_probe.min(now + policy.interval);
                self.close(closed)
            }
        }
    }

    fn probe_answered(
        &mut self,
        round_trip: Duration,
        code: u16,
        now: Moment,
        policy: &HealthPolicy,
    ) -> Option<Change> {
        self.last_answer = Some(now);
        self.last_round_trip = Some(round_trip);
        if code != 503 && policy.dead_codes.iter().any(|range| range.contains(&code)) {
            return self.fail(Failure::ProbeCode(code), now, policy);
        }
        // A quarter of the news at a time: one slow answer does not move calls about.
        self.round_trip = Some(self.round_trip.map_or(round_trip, |old| (old * 3 + round_trip) / 4));
        let up = self.succeed(now, policy);
        if code == 503 {
            // Whatever its Retry-After: the next probe knows better than a guess (Asterisk's maintenance mode says 300
            // seconds and may be over in two).
            return self.close(Closed { why: ClosedWhy::Probe503, until: None }).or(up);
        }
        up.or_else(|| self.open_by_probe())
    }

    fn close(&mut self, closed: Closed) -> Option<Change> {
        let news = self.closed.is_none_or(|old| old.why != closed.why && closed.why != ClosedWhy::Full);
        let later = self.closed.is_some_and(|old| old.until.is_none() || old.until > closed.until);
        // A shutdown without an end outweighs a short pause.
        if !(later && closed.why == ClosedWhy::Full) {
            self.closed = Some(closed);
        }
        news.then_some(Change::Closed(closed.why))
    }

    /// A probe that is answered without 503 opens what a 503 closed; a pause that the node asked for is kept.
    fn open_by_probe(&mut self) -> Option<Change> {
        self.closed.take_if(|closed| closed.until.is_none()).map(|_| Change::Opened)
    }

    fn succeed(&mut self, now: Moment, policy: &HealthPolicy) -> Option<Change> {
        self.fails = 0;
        self.successes = self.successes.saturating_add(1);
        match self.verdict {
            Verdict::Up => {
                if now.since(self.up_since) > policy.flap_window {
                    self.relapses = 0;
                }
                None
            }
            Verdict::Unknown => {
                self.verdict = Verdict::Up;
                self.up_since = now;
                Some(Change::Up)
            }
            Verdict::Down if self.successes >= policy.rise && now >= self.down_since + self.flap_wait(policy) => {
                self.verdict = Verdict::Up;
                self.up_since = now;
                Some(Change::Up)
            }
            Verdict::Down => None,
        }
    }

    /// The wait that a flapping node serves, doubled with each relapse.
    fn flap_wait(&self, policy: &HealthPolicy) -> Duration {
        if self.relapses == 0 {
            return Duration::ZERO;
        }
        let base = policy.interval * policy.rise * 2;
        (base * 2u32.saturating_pow(self.relapses.min(16) - 1)).min(policy.flap_wait_max)
    }

    fn passive_failure(&mut self, failure: Failure, now: Moment, policy: &HealthPolicy) -> Option<Change> {
        if now.since(self.last_passive) < PASSIVE_GAP && self.fails > 0 {
            return None;
        }
        self.last_passive = now;
        self.fail(failure, now, policy)
    }

    fn fail(&mut self, failure: Failure, now: Moment, policy: &HealthPolicy) -> Option<Change> {
        self.successes = 0;
        self.fails = self.fails.saturating_add(1);
        self.last_failure = Some(failure);
        if self.verdict == Verdict::Down {
            return None;
        }
        if self.fails < policy.fall {
            // In doubt the next probe goes out at once instead of after the interval.
            self.next_probe = self.next_probe.min(now + PASSIVE_GAP.min(policy.interval));
            if failure == Failure::ProbeTimeout {
                self.next_probe = now;
            }
            return None;
        }
        if self.verdict == Verdict::Up && now.since(self.up_since) < policy.flap_window {
            self.relapses = self.relapses.saturating_add(1);
        }
        self.verdict = Verdict::Down;
        self.down_since = now;
        self.round_trip = None;
        Some(Change::Down(failure))
    }

    /// The verdict.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Its own word that it takes no calls.
    pub fn closed(&self) -> Option<Closed> {
        self.closed
    }

    /// Smoothed round trip of probes.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Round trip of the last probe that was answered.
    pub fn last_round_trip(&self) -> Option<Duration> {
        self.last_round_trip
    }

    /// True when it has never come back from being down: there is nothing to warm up from.
    pub fn is_new(&self) -> bool {
        self.down_since == Moment::ZERO
    }

    /// What failed last.
    pub fn last_failure(&self) -> Option<Failure> {
        self.last_failure
    }

    /// When a probe was answered last.
    pub fn last_answer(&self) -> Option<Moment> {
        self.last_answer
    }

    /// Failures in a row.
    pub fn fails(&self) -> u32 {
        self.fails
    }

    /// When it came up last; the slow start counts from there.
    pub fn up_since(&self) -> Moment {
        self.up_since
    }

    /// How long it still has to wait for having flapped.
    pub fn flap_wait_left(&self, now: Moment, policy: &HealthPolicy) -> Duration {
        if self.verdict != Verdict::Down {
            return Duration::ZERO;
        }
        (self.down_since + self.flap_wait(policy)).since(now)
    }

    /// The part of its weight that a node gets for how fast it answers probes, in 64ths: 64, 32, 16 or 8.
    pub fn speed_64ths(&self, policy: &HealthPolicy) -> u32 {
        let Some(round_trip) = self.round_trip else { return 64 };
        let mut share = 64;
        let mut bound = policy.slow_after;
        while round_trip > bound && share > 8 {
            share /= 2;
            bound *= 2;
        }
        share
    }
}

/// The interval, moved by up to the jitter either way.
fn spread(policy: &HealthPolicy, random: u32) -> Duration {
    let width = policy.interval * u32::from(policy.jitter_percent) / 100;
    let offset = width.mul_f64(2.0 * f64::from(random) / f64::from(u32::MAX));
    policy.interval.saturating_sub(width) + offset
}

/// The part of its weight that a node gets while it warms up after coming back, in 64ths, in eight steps.
pub fn warm_64ths(up_for: Duration, slow_start: Duration) -> u32 {
    if slow_start.is_zero() || up_for >= slow_start {
        return 64;
    }
    let step = (up_for.as_micros() * 8 / slow_start.as_micros().max(1)) as u32;
    (step + 1) * 8
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
