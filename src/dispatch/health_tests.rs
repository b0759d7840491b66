//! The health machine's promises, in virtual time.

use super::*;

struct Node {
    health: Health,
    policy: HealthPolicy,
    now: Moment,
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

impl Node {
    fn new() -> Self {
        let now = Moment::from_micros(1_000_000);
        Node { health: Health::new(now), policy: HealthPolicy { jitter_percent: 0, ..HealthPolicy::default() }, now }
    }

    /// A node that has answered its first probe.
    fn up() -> Self {
        let mut node = Node::new();
        assert_eq!(node.probe(200), Some(Change::Up));
        node
    }

    fn wait(&mut self, span: Duration) {
        self.now = self.now + span;
    }

    /// Goes to the next probe and answers it.
    fn probe(&mut self, code: u16) -> Option<Change> {
        loop {
            self.now = self.now.max(self.health.wake_at(&self.policy));
            let (probe, change) = self.health.poll(self.now, &self.policy, 0);
            if let Some(probe) = probe {
                self.wait(millis(1));
                return self.signal(Signal::ProbeAnswered { probe, code });
            }
            if change.is_some() {
                return change;
            }
        }
    }

    fn signal(&mut self, signal: Signal) -> Option<Change> {
        self.health.signal(signal, self.now, &self.policy)
    }

    /// Lets all probes go unanswered until something changes; returns how long it took.
    fn silence_until_change(&mut self) -> (Duration, Change) {
        let start = self.now;
        for _ in 0..1_000 {
            self.now = self.now.max(self.health.wake_at(&self.policy));
            if let (_, Some(change)) = self.health.poll(self.now, &self.policy, 0) {
                return (self.now.since(start), change);
            }
        }
        panic!("nothing changed");
    }

    /// Answers all probes until something changes; returns how long it took.
    fn answers_until_change(&mut self) -> (Duration, Change) {
        let start = self.now;
        for _ in 0..1_000 {
            if let Some(change) = self.probe(200) {
                return (self.now.since(start), change);
            }
        }
        panic!("nothing changed");
    }
}

#[test]
fn a_silent_node_is_down_after_fall_probes_and_within_the_promised_time() {
    let mut node = Node::up();
    let (took, change) = node.silence_until_change();
    assert_eq!(change, Change::Down(Failure::ProbeTimeout));
    assert!(took <= node.policy.detection_max(), "{took:?}");
    assert_eq!(took, millis(5_000 - 1), "two seconds to the next probe, then three time-outs in a row");
}

#[test]
fn fewer_failures_than_fall_change_nothing() {
    let mut node = Node::up();
    for _ in 0..20 {
        assert_eq!(node.probe(500), None);
        assert_eq!(node.probe(500), None);
        assert_eq!(node.probe(200), None);
    }
    assert_eq!(node.health.verdict(), Verdict::Up);
}

#[test]
fn a_node_comes_back_after_rise_answers_and_not_before() {
    let mut node = Node::up();
    node.wait(millis(120_000));
    node.silence_until_change();
    assert_eq!(node.probe(200), None);
    assert_eq!(node.probe(500), None);
    assert_eq!(node.probe(200), None);
    assert_eq!(node.probe(200), Some(Change::Up));
}

#[test]
fn refused_transport_is_found_within_a_second_by_calls_alone() {
    let mut node = Node::up();
    let mut change = None;
    for _ in 0..5 {
        node.wait(millis(200));
        change = change.or(node.signal(Signal::Refused));
    }
    assert_eq!(change, Some(Change::Down(Failure::Refused)));
}

#[test]
fn a_burst_of_failed_calls_counts_as_one_failure() {
    let mut node = Node::up();
    for _ in 0..100 {
        node.wait(Duration::from_micros(500));
        assert_eq!(node.signal(Signal::CallSilent), None);
    }
    assert_eq!(node.health.verdict(), Verdict::Up);
    assert_eq!(node.signal(Signal::CallAnswered), None);
    assert_eq!(node.health.fails(), 0);
}

#[test]
fn each_relapse_doubles_the_wait_and_a_quiet_time_forgives() {
    let mut node = Node::up();
    node.wait(millis(120_000));
    node.silence_until_change();
    let (first, _) = node.answers_until_change();
    let mut waits = vec![first];
    for _ in 0..4 {
        node.silence_until_change();
        waits.push(node.answers_until_change().0);
    }
    for pair in waits[1..].windows(2) {
        assert!(pair[1] > pair[0] * 3 / 2, "{waits:?}");
    }
    node.wait(millis(61_000));
    assert_eq!(node.probe(200), None);
    node.silence_until_change();
    let (forgiven, _) = node.answers_until_change();
    assert_eq!(forgiven, first);
}

#[test]
fn a_503_to_a_probe_means_alive_but_closed_until_another_answer() {
    let mut node = Node::up();
    assert_eq!(node.probe(503), Some(Change::Closed(ClosedWhy::Probe503)));
    assert_eq!(node.probe(503), None, "said once");
    assert_eq!(node.health.verdict(), Verdict::Up);
    assert_eq!(node.probe(200), Some(Change::Opened));
    assert_eq!(node.health.closed(), None);
}

#[test]
fn a_pause_that_a_node_asks_for_is_kept_whatever_its_probes_say() {
    let mut node = Node::up();
    let pause = Signal::CallUnavailable { retry_after_secs: Some(5), full: false };
    assert_eq!(node.signal(pause), Some(Change::Closed(ClosedWhy::RetryAfter)));
    let closed_at = node.now;
    assert_eq!(node.probe(200), None);
    assert!(node.health.closed().is_some());
    let (_, change) = node.answers_until_change();
    assert_eq!(change, Change::Opened);
    assert!(node.now.since(closed_at) >= millis(5_000), "{:?}", node.now.since(closed_at));
}

#[test]
fn a_full_node_rests_for_a_moment_and_is_not_reported_again_and_again() {
    let mut node = Node::up();
    let full = Signal::CallUnavailable { retry_after_secs: None, full: true };
    assert_eq!(node.signal(full), Some(Change::Closed(ClosedWhy::Full)));
    assert_eq!(node.signal(full), None);
    node.wait(millis(1_000));
    assert_eq!(node.health.poll(node.now, &node.policy, 0).1, Some(Change::Opened));
}

#[test]
fn an_answer_to_an_old_probe_means_nothing() {
    let mut node = Node::up();
    let (_, change) = node.silence_until_change();
    assert!(matches!(change, Change::Down(_)));
    for probe in 0..10 {
        assert_eq!(node.signal(Signal::ProbeAnswered { probe: probe * 7 + 1_000, code: 200 }), None);
    }
    assert_eq!(node.health.verdict(), Verdict::Down);
}

#[test]
fn a_node_that_answers_slower_and_slower_loses_share_well_before_it_is_down() {
    let mut node = Node::up();
    let mut shares = Vec::new();
    for round_trip in [1u64, 9, 29, 173, 251, 417, 821, 821, 821, 821] {
        node.now = node.health.wake_at(&node.policy);
        let (Some(probe), _) = node.health.poll(node.now, &node.policy, 0) else { panic!("no probe") };
        node.wait(millis(round_trip));
        node.signal(Signal::ProbeAnswered { probe, code: 200 });
        shares.push(node.health.speed_64ths(&node.policy));
    }
    assert_eq!(shares[0], 64);
    assert!(shares.windows(2).all(|w| w[1] <= w[0]) && shares[9] == 8, "{shares:?}");
    assert_eq!(node.health.verdict(), Verdict::Up);
}

#[test]
fn a_returning_node_warms_up_in_steps() {
    let shares: Vec<u32> = (0..=10).map(|s| warm_64ths(Duration::from_secs(s * 3), Duration::from_secs(30))).collect();
    assert_eq!(shares, [8, 8, 16, 24, 32, 40, 40, 48, 56, 64, 64]);
    assert_eq!(warm_64ths(Duration::ZERO, Duration::ZERO), 64);
}
