//! What can be seen of registrations from outside.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::agents::history;
use crate::agents::reservation::{Wanted, write_token};
use crate::agents::{Agent, Book, Cause, Intent};
use crate::cluster::homes::Phone;
use crate::cluster::{Entry, Others};
use crate::dispatch::Farm;
use crate::moment::Moment;
use crate::registrar::{AgentPolicy, Aor, Binding, Permanent, Permanents};
use crate::store::StoreError;

use super::clock::wall_millis;
use super::view::{Viewer, shown};

/// Agents whom other edges may be quicker to hold before nobody is.
const TRIES_MAX: usize = 8;

/// A user and his phones.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AgentView {
    /// The user.
    pub user: String,
    /// What he is doing: `unavailable`, `ready`, `ringing`, `in_use`, `on_hold`, `wrapup` or `not_ready`.
    pub state: String,
    /// Seconds since that began, if that is known.
    pub for_secs: Option<u64>,
    /// Why he is not ready, by his own or a supervisor's word.
    pub reason: Option<String>,
    /// Calls that he has.
    pub calls: usize,
    /// Seconds for which he is still held for a call that is on its way, if he is: then his state is `ringing`, with or without a call.
    pub reserved_secs: Option<u64>,
    /// What he is good for.
    pub skills: Vec<String>,
    /// His phones, the one that is called first at the top.
    pub contacts: Vec<ContactView>,
}

/// One phone.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ContactView {
    /// The URI that it gave.
    pub uri: String,
    /// Where it is reached: protocol, address and port.
    pub reached_at: String,
    /// Preference, 0 to 1.
    pub q: f64,
    /// True for one that stands in the configuration, since its phone cannot register.
    #[serde(default)]
    pub permanent: bool,
    /// Seconds until it has to register again; none for a permanent one.
    pub expires_secs: Option<u64>,
    /// Seconds since it last did; none for a permanent one.
    pub registered_secs_ago: Option<u64>,
    /// The device, if it said which it is.
    pub instance: Option<String>,
    /// The edge that it registered at, if that is another one.
    #[serde(default)]
    pub edge: Option<String>,
}

/// One change of an agent's state.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ChangeView {
    /// When, in seconds of Unix time.
    pub at: u64,
    /// How many seconds ago.
    pub secs_ago: u64,
    /// The state before.
    pub from: String,
    /// And after; the same when only the reason was another one.
    pub to: String,
    /// Why: `registered`, `registration_ended`, `queue_call`, `direct_call`, `own_call`, `answered`, `held`, `resumed`, `call_ended`,
    /// `wrapup_ended`, `reserved`, `reservation_ended`, `own_word`, `supervisors_word` or `restart`.
    pub cause: String,
    /// The queue that called or reserved him, or why he is not ready.
    pub text: Option<String>,
}

/// An agent who is held for a call, or nobody.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ReservedView {
    /// Who; none when nobody who is wanted is free.
    pub agent: Option<String>,
    /// What a node's dialplan dials for him.
    pub dial: Option<String>,
    /// What the call has to show in `X-Edge-Reservation`.
    pub token: Option<String>,
}

/// Why something was not said of an agent.
#[derive(Debug)]
pub enum Unsaid {
    /// He is no user.
    Unknown,
    /// These reasons are allowed, and his is none of them.
    Reason(Vec<String>),
    /// It could not be stored.
    Store(StoreError),
}

impl Viewer {
    /// Users with at least one phone, permanent ones too, by name; at most `limit`.
    pub fn registrations(&self, limit: usize) -> Vec<AgentView> {
        let (now, farm, mut list) = (self.engine.clock.now(), self.engine.farm.load(), Vec::new());
        let mut has_permanent: BTreeSet<&Aor> = permanents(&farm).flat_map(Permanents::names).collect();
        self.engine.registrations.each(|aor, bindings| {
            let view = self.agent_view(aor, bindings, &farm, now);
            if !view.contacts.is_empty() {
                has_permanent.remove(aor);
                list.push(view);
            }
        });
        list.extend(has_permanent.into_iter().map(|aor| self.agent_view(aor, &[], &farm, now)));
        if let Some(cluster) = &self.engine.cluster {
            let mut elsewhere: BTreeSet<Aor> = cluster.with_homes(|homes| homes.users().cloned().collect());
            list.iter().for_each(|view| _ = elsewhere.remove(view.user.as_bytes()));
            list.extend(elsewhere.iter().map(|aor| self.agent_view(aor, &[], &farm, now)));
        }
        list.sort_by(|a: &AgentView, b| a.user.cmp(&b.user));
        list.truncate(limit);
        list
    }

    /// One user's phones; `None` for somebody who is not a user.
    pub fn location(&self, user: &str) -> Option<AgentView> {
        let aor = Aor::from_user(user.as_bytes())?;
        let farm = self.engine.farm.load();
        let is_user = farm.registrar.as_ref().is_some_and(|service| service.knows(aor.as_bytes()));
        let view = self.agent_view(&aor, &self.engine.registrations.of(&aor), &farm, self.engine.clock.now());
        (is_user || !view.contacts.is_empty()).then_some(view)
    }

    /// All users, and what they are doing, by name; at most `limit`.
    pub fn agents(&self, limit: usize) -> Vec<AgentView> {
        let (now, farm) = (self.engine.clock.now(), self.engine.farm.load());
        let view = |aor: &Aor| self.agent_view(aor, &self.engine.registrations.of(aor), &farm, now);
        self.engine.registrations.everybody(&farm).iter().take(limit).map(view).collect()
    }

    /// What somebody did last, the oldest first; `None` for somebody who is not a user.
    pub fn history(&self, user: &str) -> Option<Vec<ChangeView>> {
        self.location(user)?;
        let (aor, clocks) = (Aor::from_user(user.as_bytes())?, self.engine.clock.reading());
        let view = |entry: &history::Entry| ChangeView {
            at: clocks.unix_millis(entry.at) / 1_000,
            secs_ago: clocks.now.since(entry.at).as_secs(),
            from: entry.from.as_str().to_owned(),
            to: entry.to.as_str().to_owned(),
            cause: entry.cause.as_str().to_owned(),
            text: entry.text.as_deref().map(str::to_owned),
        };
        let entries =
            |book: &mut Book| book.find(aor.as_bytes()).map(|agent| agent.history().iter().map(view).collect());
        Some(self.engine.registrations.with_book(entries).unwrap_or_default())
    }

    /// Notes what an agent or a supervisor says; on disk when this returns.
    ///
    /// # Errors
    /// When there is no such user, when the reason is none of those that are allowed, or when it cannot be stored.
    pub fn set_intent(&self, user: &str, intent: Intent, by: Cause) -> Result<AgentView, Unsaid> {
        self.location(user).ok_or(Unsaid::Unknown)?;
        let aor = Aor::from_user(user.as_bytes()).ok_or(Unsaid::Unknown)?;
        let farm = self.engine.farm.load();
        let policy = farm.registrar.as_ref().map(|service| &service.policy);
        if let Some(policy) =
            policy.filter(|policy| intent.reason().is_some_and(|reason| !policy.allows_reason(reason)))
        {
            return Err(Unsaid::Reason(policy.reasons.iter().map(ToString::to_string).collect()));
        }
        self.engine.store.not_ready(aor.as_bytes(), intent.reason()).map_err(Unsaid::Store)?;
        if let Some(cluster) = &self.engine.cluster {
            let since = wall_millis();
            cluster.tell_word(&Entry::NotReady { user: aor.as_bytes(), since, reason: intent.reason() }, since);
        }
        self.engine.registrations.with_book(|book| book.set_intent(&aor, intent, by, self.engine.clock.now()));
        self.location(user).ok_or(Unsaid::Unknown)
    }

    /// Picks the longest idle agent with these skills and holds him for a call, at all edges.
    ///
    /// # Errors
    /// When no user has one of the skills: those that are known.
    pub async fn reserve(
        &self,
        skills: &[&str],
        queue: Option<&str>,
        hold: Duration,
    ) -> Result<ReservedView, Vec<String>> {
        for _ in 0..TRIES_MAX {
            let (now, token) = (self.engine.clock.now(), rand::rng().random());
            let reserved = self.engine.registrations.with_book(|book| {
                let is_known = |skill: &&str| book.idle().known_skills().any(|known| known == *skill);
                if !skills.iter().all(is_known) {
                    return Err(book.idle().known_skills().map(str::to_owned).collect::<Vec<_>>());
                }
                Ok(book.reserve(Wanted { skills, queue, hold, token }, now))
            })?;
            let Some(aor) = reserved else { break };
            if self.holds_everywhere(&aor, token, queue, hold).await {
                let agent = shown(aor.as_bytes());
                return Ok(ReservedView {
                    dial: Some(dial(&agent)),
                    token: Some(write_token(token)),
                    agent: Some(agent),
                });
            }
            self.engine.registrations.with_book(|book| book.lose_reservation(&aor, now));
        }
        Ok(ReservedView::default())
    }

    /// Whether no other edge was quicker; without the shared store it goes by what this edge knows.
    async fn holds_everywhere(&self, aor: &Aor, token: u64, queue: Option<&str>, hold: Duration) -> bool {
        let Some(cluster) = &self.engine.cluster else { return true };
        let until = Some(wall_millis() + hold.as_millis() as u64);
        let entry = Entry::Held { user: aor.as_bytes(), token, until, queue }.write(&cluster.edge);
        cluster.shared.hold(aor.as_bytes(), token, &entry).await.unwrap_or(true)
    }

    /// Something about how agents are treated; `None` where there is no registrar.
    pub fn with_policy<T>(&self, ask: impl FnOnce(&AgentPolicy) -> T) -> Option<T> {
        self.engine.farm.load().registrar.as_ref().map(|service| ask(&service.policy))
    }

    fn agent_view(&self, aor: &Aor, bindings: &[Binding], farm: &Farm, now: Moment) -> AgentView {
        let live = bindings.iter().filter(|binding| binding.expires > now).map(|binding| contact_view(binding, now));
        let permanent = permanents(farm).flat_map(|permanents| permanents.of(aor.as_bytes())).map(permanent_view);
        let mut contacts: Vec<ContactView> = live.chain(permanent).chain(self.views_elsewhere(aor)).collect();
        contacts.sort_by(|a, b| b.q.total_cmp(&a.q));
        self.engine.registrations.with_book(|book| {
            let (nobody, found) = (Agent::default(), book.find(aor.as_bytes()));
            let agent = found.unwrap_or(&nobody);
            AgentView {
                user: shown(aor.as_bytes()),
                state: agent.state(now).as_str().to_owned(),
                for_secs: (agent.since() > Moment::ZERO).then(|| now.since(agent.since()).as_secs()),
                reason: agent.intent().reason().map(str::to_owned),
                calls: agent.calls().len(),
                reserved_secs: agent.reserved_until().filter(|ends| *ends > now).map(|ends| ends.since(now).as_secs()),
                skills: book.idle().skills_of(aor).iter().map(ToString::to_string).collect(),
                contacts,
            }
        })
    }
}

impl Viewer {
    /// A user's phones at other edges.
    fn views_elsewhere(&self, aor: &Aor) -> Vec<ContactView> {
        let (Some(cluster), now) = (&self.engine.cluster, wall_millis()) else { return Vec::new() };
        let view = |phone: &Phone| ContactView {
            uri: shown(&phone.contact),
            reached_at: phone.flow.target().to_string(),
            q: f64::from(phone.preference) / 1_000.0,
            permanent: false,
            expires_secs: Some(phone.expires.saturating_sub(now) / 1_000),
            registered_secs_ago: Some(now.saturating_sub(phone.updated) / 1_000),
            instance: phone.instance.as_deref().map(shown),
            edge: Some(phone.edge.to_string()),
        };
        cluster
            .with_homes(|homes| homes.of(aor.as_bytes()).iter().filter(|phone| phone.expires > now).map(view).collect())
    }
}

/// What a node's dialplan dials for a user.
pub fn dial(user: &str) -> String {
    format!("PJSIP/{user}@edge")
}

fn permanents(farm: &Farm) -> impl Iterator<Item = &Permanents> {
    farm.registrar.iter().map(|service| &service.permanents)
}

fn permanent_view(permanent: &Permanent) -> ContactView {
    ContactView {
        uri: shown(&permanent.contact),
        reached_at: permanent.way.target().to_string(),
        q: f64::from(permanent.preference) / 1_000.0,
        permanent: true,
        expires_secs: None,
        registered_secs_ago: None,
        instance: None,
        edge: None,
    }
}

fn contact_view(binding: &Binding, now: Moment) -> ContactView {
    ContactView {
        uri: shown(binding.contact()),
        reached_at: binding.flow.target().to_string(),
        q: f64::from(binding.preference) / 1_000.0,
        permanent: false,
        expires_secs: Some(binding.expires.since(now).as_secs()),
        registered_secs_ago: Some(now.since(binding.updated).as_secs()),
        instance: binding.instance().map(shown),
        edge: None,
    }
}
