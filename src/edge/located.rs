//! What can be seen of registrations from outside.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::agents::Intent;
use crate::moment::Moment;
use crate::registrar::{Aor, Binding};
use crate::store::StoreError;

use super::view::{Viewer, shown};

/// A user and his phones.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AgentView {
    /// The user.
    pub user: String,
    /// What he is doing: `unavailable`, `ready`, `ringing`, `in_use`, `wrapup` or `not_ready`.
    pub state: String,
    /// Seconds since that began, if that is known.
    pub for_secs: Option<u64>,
    /// Why he is not ready, by his own or a supervisor's word.
    pub reason: Option<String>,
    /// Calls that he has.
    pub calls: usize,
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
    /// Seconds until it has to register again.
    pub expires_secs: u64,
    /// Seconds since it last did.
    pub registered_secs_ago: u64,
    /// The device, if it said which it is.
    pub instance: Option<String>,
}

impl Viewer {
    /// Users with at least one phone, by name; at most `limit`.
    pub fn registrations(&self, limit: usize) -> Vec<AgentView> {
        let (now, mut list) = (self.engine.clock.now(), Vec::new());
        self.engine.registrations.each(|aor, bindings| {
            let view = self.agent_view(aor, bindings, now);
            if !view.contacts.is_empty() {
                list.push(view);
            }
        });
        list.sort_by(|a: &AgentView, b| a.user.cmp(&b.user));
        list.truncate(limit);
        list
    }

    /// One user's phones; `None` for somebody who is not a user.
    pub fn location(&self, user: &str) -> Option<AgentView> {
        let aor = Aor::from_user(user.as_bytes())?;
        let farm = self.engine.farm.load();
        let is_user = farm.registrar.as_ref().is_some_and(|service| service.knows(aor.as_bytes()));
        let view = self.agent_view(&aor, &self.engine.registrations.of(&aor), self.engine.clock.now());
        (is_user || !view.contacts.is_empty()).then_some(view)
    }

    /// All users, and what they are doing, by name; at most `limit`.
    pub fn agents(&self, limit: usize) -> Vec<AgentView> {
        let (now, farm) = (self.engine.clock.now(), self.engine.farm.load());
        let view = |aor: &Aor| self.agent_view(aor, &self.engine.registrations.of(aor), now);
        self.engine.registrations.everybody(&farm).iter().take(limit).map(view).collect()
    }

    /// Notes what an agent or a supervisor says; on disk when this returns. `None` for somebody who is no user.
    pub fn set_intent(&self, user: &str, intent: Intent) -> Option<Result<AgentView, StoreError>> {
        self.location(user)?;
        let aor = Aor::from_user(user.as_bytes())?;
        let reason = match &intent {
            Intent::Ready => None,
            Intent::NotReady(reason) => Some(&**reason),
        };
        if let Err(error) = self.engine.store.not_ready(aor.as_bytes(), reason) {
            return Some(Err(error));
        }
        self.engine.registrations.with_book(|book| book.set_intent(&aor, intent, self.engine.clock.now()));
        self.location(user).map(Ok)
    }

    fn agent_view(&self, aor: &Aor, bindings: &[Binding], now: Moment) -> AgentView {
        let live = bindings.iter().filter(|binding| binding.expires > now);
        let agent = self.engine.registrations.with_book(|book| book.find(aor.as_bytes()).cloned()).unwrap_or_default();
        AgentView {
            user: shown(aor.as_bytes()),
            state: agent.state(now).as_str().to_owned(),
            for_secs: (agent.since() > Moment::ZERO).then(|| now.since(agent.since()).as_secs()),
            reason: match agent.intent() {
                Intent::NotReady(reason) => Some(reason.to_string()),
                Intent::Ready => None,
            },
            calls: agent.calls().len(),
            contacts: live.map(|binding| contact_view(binding, now)).collect(),
        }
    }
}

fn contact_view(binding: &Binding, now: Moment) -> ContactView {
    ContactView {
        uri: shown(binding.contact()),
        reached_at: binding.flow.target().to_string(),
        q: f64::from(binding.preference) / 1_000.0,
        expires_secs: binding.expires.since(now).as_secs(),
        registered_secs_ago: now.since(binding.updated).as_secs(),
        instance: binding.instance().map(shown),
    }
}
