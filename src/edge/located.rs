//! What can be seen of registrations from outside.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::moment::Moment;
use crate::registrar::{Aor, Binding};

use super::view::Viewer;

/// A user and his phones.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AgentView {
    /// The user.
    pub user: String,
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
            let view = agent_view(aor, bindings, now);
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
        let view = agent_view(&aor, &self.engine.registrations.of(&aor), self.engine.clock.now());
        (is_user || !view.contacts.is_empty()).then_some(view)
    }
}

fn agent_view(aor: &Aor, bindings: &[Binding], now: Moment) -> AgentView {
    let live = bindings.iter().filter(|binding| binding.expires > now);
    AgentView { user: shown(aor.as_bytes()), contacts: live.map(|binding| contact_view(binding, now)).collect() }
}

fn contact_view(binding: &Binding, now: Moment) -> ContactView {
    ContactView {
        uri: shown(&binding.contact),
        reached_at: binding.flow.target().to_string(),
        q: f64::from(binding.preference) / 1_000.0,
        expires_secs: binding.expires.since(now).as_secs(),
        registered_secs_ago: now.since(binding.updated).as_secs(),
        instance: binding.instance.as_deref().map(shown),
    }
}

/// Text of the network's, with what is not printable escaped.
fn shown(octets: &[u8]) -> String {
    match std::str::from_utf8(octets) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => octets.escape_ascii().to_string(),
    }
}
