//! Agents: every queue once, and what is particular to single users.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::config::place::Path;
use crate::config::raw::{RawAgents, RawConfig, RawGate, RawQueue, RawUser};
use crate::registrar::{AgentPolicy, Aor, Gate, Person};

use super::policies::time;
use super::{Check, Placed};

impl Check<'_> {
    pub(super) fn agents(&mut self, raw: &RawConfig) -> AgentPolicy {
        let users = raw.registrar.as_ref().and_then(|registrar| registrar.users.as_deref()).unwrap_or_default();
        let mut policy = AgentPolicy { people: people(users), ..AgentPolicy::default() };
        policy.people.append(&mut self.people_in_file);
        let Some(raw) = raw.agents.as_ref() else { return policy };
        policy.gate = gate(raw);
        time(&mut policy.wrapup, raw.wrapup);
        policy.queues = self.queues(raw.queues.as_deref().unwrap_or_default());
        policy.reasons = each_once(raw.reasons.iter().flatten().map(|reason| reason.0.0.as_str()));
        policy.publish = raw.publish.unwrap_or(false);
        policy.affinity = raw.affinity.unwrap_or(true);
        policy
    }

    fn queues(&mut self, raw: &[RawQueue]) -> BTreeMap<Box<str>, Duration> {
        let path = Path::to("agents").key("queues");
        let mut known: HashMap<&str, Path> = HashMap::new();
        let mut queues = BTreeMap::new();
        for Placed { path, value } in self.placed(&path, raw) {
            let name = value.name.0.0.as_str();
            if let Some(first) = known.get(name) {
                let what = format!("the queue {name} stands at {} already", self.place(first));
                self.refuse(&path.key("name"), what, None);
                continue;
            }
            known.insert(name, path.key("name"));
            let mut wrapup = Duration::ZERO;
            time(&mut wrapup, Some(value.wrapup));
            queues.insert(name.into(), wrapup);
        }
        queues
    }
}

fn gate(raw: &RawAgents) -> Gate {
    match raw.gate {
        None | Some(RawGate::Queue) => Gate::Queue,
        Some(RawGate::All) => Gate::All,
        Some(RawGate::Off) => Gate::Off,
    }
}

/// Users of whom something particular is said.
pub(super) fn people(users: &[RawUser]) -> BTreeMap<Aor, Person> {
    let person = |user: &RawUser| {
        let mut wrapup = Duration::ZERO;
        time(&mut wrapup, user.wrapup);
        let skills = each_once(user.skills.iter().flatten().map(|skill| skill.0.0.as_str()));
        Person { skills, wrapup: user.wrapup.map(|_| wrapup) }
    };
    let named = |user: &RawUser| Some((Aor::from_user(user.name.0.0.as_bytes())?, person(user)));
    users.iter().filter_map(named).filter(|(_, person)| *person != Person::default()).collect()
}

fn each_once<'r>(texts: impl Iterator<Item = &'r str>) -> Vec<Box<str>> {
    let mut list: Vec<Box<str>> = Vec::new();
    for text in texts {
        if !list.iter().any(|known| **known == *text) {
            list.push(text.into());
        }
    }
    list
}
