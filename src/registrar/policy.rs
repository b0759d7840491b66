//! How agents are treated.

use std::collections::BTreeMap;
use std::time::Duration;

use super::aor::Aor;
use super::queue::{Queue, Realtime};

/// Which calls have to find an agent free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gate {
    /// Those that a queue sends: no queue rings an agent whom another node has.
    #[default]
    Queue,
    /// All of them: nobody is called while he is on the phone.
    All,
    /// None.
    Off,
}

impl Gate {
    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Gate::Queue => "queue",
            Gate::All => "all",
            Gate::Off => "off",
        }
    }
}

/// What is particular to one agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// What he is good for; each once.
    pub skills: Vec<Box<str>>,
    /// How long he is left alone after a call from a queue, whichever it is.
    pub wrapup: Option<Duration>,
}

/// How agents are treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentPolicy {
    /// Which calls have to find an agent free.
    pub gate: Gate,
    /// How long he is left alone after a call from a queue.
    pub wrapup: Duration,
    /// The queues of which something is said.
    pub queues: BTreeMap<Box<str>, Queue>,
    /// How nodes learn who is in them.
    pub realtime: Realtime,
    /// Users of whom something particular is said.
    pub people: BTreeMap<Aor, Person>,
    /// Why agents may be not ready; empty for whatever they say.
    pub reasons: Vec<Box<str>>,
    /// Whether the nodes' queues are told of every change.
    pub publish: bool,
    /// Whether an agent's call goes to the node that has another call of his.
    pub affinity: bool,
}

impl Default for AgentPolicy {
    fn default() -> Self {
        AgentPolicy {
            gate: Gate::default(),
            wrapup: Duration::ZERO,
            queues: BTreeMap::new(),
            realtime: Realtime::default(),
            people: BTreeMap::new(),
            reasons: Vec::new(),
            publish: false,
            affinity: true,
        }
    }
}

impl AgentPolicy {
    /// How long he is left alone after a call from this queue: as it is said of him, else of the queue, else of all.
    pub fn wrapup_of(&self, user: &Aor, queue: &str) -> Duration {
        let own = self.people.get(user).and_then(|person| person.wrapup);
        own.or_else(|| self.queues.get(queue)?.wrapup).unwrap_or(self.wrapup)
    }

    /// Who has which skills.
    pub fn skills(&self) -> BTreeMap<Aor, Vec<Box<str>>> {
        let known = self.people.iter().filter(|(_, person)| !person.skills.is_empty());
        known.map(|(user, person)| (user.clone(), person.skills.clone())).collect()
    }

    /// Whether somebody may be not ready for this reason.
    pub fn allows_reason(&self, reason: &str) -> bool {
        self.reasons.is_empty() || self.reasons.iter().any(|known| **known == *reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_user_stands_before_his_queue_and_that_before_all() {
        let secs = Duration::from_secs;
        let aor = |name: &str| Aor::from_user(name.as_bytes()).unwrap();
        let queue = |wrapup| Queue { wrapup, ..Queue::default() };
        let queues = [("q700", Some(secs(20))), ("q701", Some(Duration::ZERO)), ("q703", None)];
        let policy = AgentPolicy {
            wrapup: secs(8),
            queues: queues.map(|(name, wrapup)| (name.into(), queue(wrapup))).into(),
            people: [(aor("anna"), Person { wrapup: Some(secs(30)), ..Person::default() })].into(),
            ..AgentPolicy::default()
        };
        let spans =
            [("anna", "q700"), ("bert", "q700"), ("bert", "q701"), ("bert", "q702"), ("bert", "q703"), ("bert", "")];
        let found = spans.map(|(user, queue)| policy.wrapup_of(&aor(user), queue).as_secs());
        assert_eq!(found, [30, 20, 0, 8, 8, 8]);
    }

    #[test]
    fn without_a_list_every_reason_will_do() {
        let mut policy = AgentPolicy::default();
        assert!(policy.allows_reason("") && policy.allows_reason("lunch"));
        policy.reasons = vec!["lunch".into()];
        assert!(policy.allows_reason("lunch") && !policy.allows_reason("Lunch") && !policy.allows_reason(""));
    }
}
