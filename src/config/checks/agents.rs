//! Agents: how they are treated, and what is particular to single users.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::config::raw::{RawAgents, RawConfig, RawGate, RawRegistrar, RawUser};
use crate::registrar::{AgentPolicy, Aor, Gate, Person, Users};

use super::Check;
use super::policies::time;
use super::queues::{Known, Others};

impl Check<'_> {
    /// The policy; `users` are those who have to show a password, if anybody has to.
    pub(super) fn agents(&mut self, raw: &RawConfig, registrar: &RawRegistrar, users: Option<&Users>) -> AgentPolicy {
        let given = registrar.users.as_deref().unwrap_or_default();
        let mut policy = AgentPolicy { people: people(given), ..AgentPolicy::default() };
        policy.people.append(&mut self.people_in_file);
        let Some(raw_agents) = raw.agents.as_ref() else { return policy };
        policy.gate = gate(raw_agents);
        time(&mut policy.wrapup, raw_agents.wrapup);
        policy.reasons = each_once(raw_agents.reasons.iter().flatten().map(|reason| reason.0.0.as_str()));
        policy.publish = raw_agents.publish.unwrap_or(false);
        policy.affinity = raw_agents.affinity.unwrap_or(true);
        let known = Known { users: names(registrar, users), people: &policy.people, others: others(registrar, users) };
        policy.queues = self.queues(raw_agents.queues.as_deref().unwrap_or_default(), &known);
        policy.realtime = self.realtime(raw, policy.queues.len(), policy.publish);
        policy
    }
}

/// Everybody who can be called: users, and those who have a permanent contact.
fn names(registrar: &RawRegistrar, users: Option<&Users>) -> BTreeSet<Aor> {
    let named = registrar.users.iter().flatten().map(|user| user.name.0.0.as_str());
    let contacts = registrar.contacts.iter().flatten().map(|contact| contact.user.0.0.as_str());
    let given = named.chain(contacts).filter_map(|name| Aor::from_user(name.as_bytes()));
    given.chain(users.iter().flat_map(|users| users.names().cloned())).collect()
}

fn others(registrar: &RawRegistrar, users: Option<&Users>) -> Others {
    match users {
        None => Others::Anybody,
        Some(_) if registrar.users_file.is_some() => Others::InFile,
        Some(_) => Others::Nobody,
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
