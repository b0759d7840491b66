//! Where edge and node disagree about a call, and what follows. Pure.
//!
//! A disagreement is a doubt at first: messages are on their way, and a list that took a while to come is old. It is acted upon when a
//! later check finds it again and the grace has passed. What the edge saw end while the node still has it is a zombie and is
//! hung up; what the edge never heard of is a call all the same, and is adopted unless the operator wants it otherwise. Calls that
//! are being set up are left to their own time-outs, on both sides.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::calls::CallKey;
use crate::config::checked::Surplus;
use crate::moment::Moment;

/// Doubts about one node at a time. Beyond it the rest waits for the next check.
const DOUBTS_MAX: usize = 20_000;

/// What the edge knows of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has a lease, in whatever phase.
    Open,
    /// It saw the call end.
    Over,
    /// Nothing.
    Unknown,
}

/// A call that the edge has up on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Up {
    /// Which.
    pub key: CallKey,
    /// Since when.
    pub answered: Moment,
}

/// A call that the node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub key: CallKey,
    /// Whether it is answered.
    pub is_up: bool,
    /// Whether its other end is the edge.
    pub is_of_edge: bool,
    /// What the edge knows of it.
    pub standing: Standing,
}

/// One look at a node.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// When the node was asked.
    pub asked: Moment,
    /// Whether this run of the edge has not looked at the node before.
    pub is_first: bool,
    /// The calls that the edge has up there.
    pub up: &'a [Up],
    /// The calls that the node has.
    pub found: &'a [Found],
}

/// How disagreements are settled.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// How old a doubt must be.
    pub grace: Duration,
    /// What becomes of calls that the edge never heard of.
    pub surplus: Surplus,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The lease ends: the node has no such call. Only if the call has been up since this moment.
    End(CallKey, Moment),
    /// The call gets a lease: its place in [`Look::found`].
    Adopt(usize),
    /// The call is hung up: its place in [`Look::found`].
    HangUp(usize),
}

/// What was found, and what is to be done about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order of the calls.
    pub steps: Vec<Step>,
    /// Calls of the edge that the node does not have.
    pub missing: usize,
    /// Calls of the node that the edge does not have.
    pub surplus: usize,
}

/// What earlier looks at a node left open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doubts {
    missing: BTreeMap<CallKey, Moment>,
    surplus: BTreeMap<CallKey, Surplusage>,
}

/// A call that the node has and the edge has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Surplusage {
    since: Moment,
    /// The edge forgets after a while that a call is over; the doubt does not.
    is_zombie: bool,
}

impl Doubts {
    /// True when nothing is open.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.surplus.is_empty()
    }
}

/// What follows from a look at a node; `doubts` are those of the earlier looks, and become those of this one.
pub fn plan(look: &Look<'_>, policy: Policy, doubts: &mut Doubts) -> Plan {
    let before = std::mem::take(doubts);
    let mut plan = Plan::default();
    missing(look, policy, &before, doubts, &mut plan);
    surplus(look, policy, &before, doubts, &mut plan);
    plan
}

fn missing(look: &Look<'_>, policy: Policy, before: &Doubts, doubts: &mut Doubts, plan: &mut Plan) {
    let there: std::collections::HashSet<CallKey> = look.found.iter().map(|found| found.key).collect();
    // A call that was answered after the question may be missing in the answer.
    for up in look.up.iter().filter(|up| up.answered < look.asked && !there.contains(&up.key)) {
        plan.missing += 1;
        let since = before.missing.get(&up.key).copied();
        if since.is_some_and(|since| look.asked.since(since) >= policy.grace) {
            plan.steps.push(Step::End(up.key, up.answered));
        } else if doubts.missing.len() < DOUBTS_MAX {
            doubts.missing.insert(up.key, since.unwrap_or(look.asked));
        }
    }
}

fn surplus(look: &Look<'_>, policy: Policy, before: &Doubts, doubts: &mut Doubts, plan: &mut Plan) {
    let is_surplus = |found: &Found| found.is_up && found.is_of_edge && found.standing != Standing::Open;
    for (at, found) in look.found.iter().enumerate().filter(|(_, found)| is_surplus(found)) {
        plan.surplus += 1;
        let doubt = before.surplus.get(&found.key);
        let is_zombie = found.standing == Standing::Over || doubt.is_some_and(|doubt| doubt.is_zombie);
        let since = doubt.map_or(look.asked, |doubt| doubt.since);
        let is_certain = doubt.is_some() && look.asked.since(since) >= policy.grace;
        // Nothing is known yet of what happened before the start, and counts must be right before anybody is told of agents.
        let is_from_before = look.is_first && !is_zombie;
        match policy.surplus {
            Surplus::Adopt if !is_zombie && (is_certain || is_from_before) => plan.steps.push(Step::Adopt(at)),
            Surplus::Adopt | Surplus::Hangup if is_certain => plan.steps.push(Step::HangUp(at)),
            _ if doubts.surplus.len() < DOUBTS_MAX => {
                doubts.surplus.insert(found.key, Surplusage { since, is_zombie });
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADOPT: Policy = Policy { grace: Duration::from_secs(10), surplus: Surplus::Adopt };
    const HANGUP: Policy = Policy { surplus: Surplus::Hangup, ..ADOPT };
    const REPORT: Policy = Policy { surplus: Surplus::Report, ..ADOPT };

    fn at(secs: u64) -> Moment {
        Moment::from_micros(secs * 1_000_000)
    }

    fn up(key: u128, answered: u64) -> Up {
        Up { key: CallKey(key), answered: at(answered) }
    }

    fn found(key: u128, standing: Standing) -> Found {
        Found { key: CallKey(key), is_up: true, is_of_edge: true, standing }
    }

    fn look<'a>(asked: u64, up: &'a [Up], found: &'a [Found]) -> Look<'a> {
        Look { asked: at(asked), is_first: false, up, found }
    }

    #[test]
    fn a_call_that_both_have_is_no_doubt() {
        let mut doubts = Doubts::default();
        let plan = plan(&look(100, &[up(1, 5)], &[found(1, Standing::Open)]), ADOPT, &mut doubts);
        assert_eq!((plan, doubts), (Plan::default(), Doubts::default()));
    }

    #[test]
    fn a_lease_whose_call_the_node_has_not_ends_at_the_second_look_after_the_grace() {
        let mut doubts = Doubts::default();
        let lost = [up(1, 5)];
        let doubt = Plan { missing: 1, ..Plan::default() };
        assert_eq!(plan(&look(100, &lost, &[]), ADOPT, &mut doubts), doubt);
        assert_eq!(plan(&look(109, &lost, &[]), ADOPT, &mut doubts), doubt, "the grace has not passed");
        let end = Plan { steps: vec![Step::End(CallKey(1), at(5))], ..doubt };
        assert_eq!(plan(&look(110, &lost, &[]), ADOPT, &mut doubts), end);
        assert!(doubts.is_empty());
    }

    #[test]
    fn a_doubt_that_was_dispelled_begins_anew() {
        let mut doubts = Doubts::default();
        plan(&look(100, &[up(1, 5)], &[]), ADOPT, &mut doubts);
        plan(&look(110, &[up(1, 5)], &[found(1, Standing::Open)]), ADOPT, &mut doubts);
        assert_eq!(plan(&look(120, &[up(1, 5)], &[]), ADOPT, &mut doubts).steps, []);
    }

    #[test]
    fn a_call_that_was_answered_after_the_question_is_not_missed() {
        let mut doubts = Doubts::default();
        assert_eq!(plan(&look(100, &[up(1, 100)], &[]), ADOPT, &mut doubts), Plan::default());
        assert!(doubts.is_empty());
    }

    #[test]
    fn a_call_that_rings_on_the_node_is_there_and_is_no_surplus() {
        let mut doubts = Doubts::default();
        let rings = |key, standing| Found { is_up: false, ..found(key, standing) };
        let on_node = [rings(1, Standing::Open), rings(2, Standing::Unknown), rings(3, Standing::Over)];
        for secs in [100, 200] {
            assert_eq!(plan(&look(secs, &[up(1, 5)], &on_node), ADOPT, &mut doubts), Plan::default());
        }
    }

    #[test]
    fn a_call_of_another_endpoint_is_not_the_edges_business_and_still_shows_that_a_lease_is_right() {
        let mut doubts = Doubts::default();
        let desk = |key, standing| Found { is_of_edge: false, ..found(key, standing) };
        let on_node = [desk(1, Standing::Open), desk(2, Standing::Unknown)];
        for secs in [100, 200] {
            assert_eq!(plan(&look(secs, &[up(1, 5)], &on_node), HANGUP, &mut doubts), Plan::default());
        }
    }

    #[test]
    fn an_unknown_call_is_adopted_at_the_second_look_after_the_grace() {
        let mut doubts = Doubts::default();
        let on_node = [found(7, Standing::Open), found(8, Standing::Unknown)];
        let doubt = Plan { surplus: 1, ..Plan::default() };
        assert_eq!(plan(&look(100, &[], &on_node), ADOPT, &mut doubts), doubt);
        let adopt = Plan { steps: vec![Step::Adopt(1)], ..doubt };
        assert_eq!(plan(&look(130, &[], &on_node), ADOPT, &mut doubts), adopt);
    }

    #[test]
    fn after_a_start_unknown_calls_are_adopted_at_once_and_nothing_is_ended_at_once() {
        let mut doubts = Doubts::default();
        let on_node = [found(1, Standing::Unknown), found(2, Standing::Over)];
        let lost = [up(3, 5)];
        let first = Look { is_first: true, ..look(100, &lost, &on_node) };
        let expected = Plan { steps: vec![Step::Adopt(0)], missing: 1, surplus: 2 };
        assert_eq!(plan(&first, ADOPT, &mut doubts), expected);
        for policy in [HANGUP, REPORT] {
            assert_eq!(plan(&first, policy, &mut Doubts::default()).steps, []);
        }
    }

    #[test]
    fn a_call_that_the_edge_saw_end_is_hung_up_even_when_the_edge_has_forgotten_it_meanwhile() {
        let mut doubts = Doubts::default();
        assert_eq!(plan(&look(100, &[], &[found(1, Standing::Over)]), ADOPT, &mut doubts).steps, []);
        assert_eq!(plan(&look(110, &[], &[found(1, Standing::Unknown)]), ADOPT, &mut doubts).steps, [Step::HangUp(0)]);
    }

    #[test]
    fn the_operators_word_decides_about_unknown_calls_and_report_touches_nothing() {
        let on_node = [found(1, Standing::Unknown), found(2, Standing::Over)];
        for (policy, steps) in [(HANGUP, vec![Step::HangUp(0), Step::HangUp(1)]), (REPORT, vec![])] {
            let mut doubts = Doubts::default();
            plan(&look(100, &[], &on_node), policy, &mut doubts);
            assert_eq!(plan(&look(110, &[], &on_node), policy, &mut doubts), Plan { steps, missing: 0, surplus: 2 });
        }
    }
}
