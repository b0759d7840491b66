//! The registrar: what phones have to prove, for how long they register, and those that cannot.

use std::collections::HashMap;
use std::time::Duration;

use crate::config::checked::{AuthConfig, ContactConfig, ListenConfig, RegistrarConfig};
use crate::config::numbers::show_time;
use crate::config::place::Path;
use crate::config::raw::{RawAuth, RawConfig, RawContact, RawRegistrar, RawUser};
use crate::config::words::TextOr;
use crate::registrar::Terms;
use crate::registrar::digest::Algorithm;

use super::policies::time;
use super::users::Proof;
use super::{Check, Placed};

/// Shorter than the half minute after which many a NAT forgets a way over UDP.
const KEEP_ALIVE: Duration = Duration::from_secs(25);

/// What is answered to a call for a user who is registered nowhere.
const NOT_REGISTERED: u16 = 480;

/// Whether others than this machine reach the edge.
pub(super) fn listens_elsewhere(raw: &RawConfig) -> bool {
    raw.listen.iter().flatten().any(|listener| {
        let uri = match listener {
            TextOr::Text(uri) => uri,
            TextOr::Map(listener) => &listener.uri.0,
        };
        !uri.bind.ip().to_canonical().is_loopback()
    })
}

impl Check<'_> {
    pub(super) fn registrar(&mut self, raw: &RawConfig, listen: &[ListenConfig]) -> Option<RegistrarConfig> {
        let Some(registrar) = raw.registrar.as_ref() else {
            if raw.agents.is_some() && !self.tree.is_lost(&Path::to("registrar")) {
                let what = "there is no registrar, so there are no agents";
                self.warn(&Path::to("agents"), what, "a section `registrar` with users");
            }
            return None;
        };
        let auth = match registrar.auth.unwrap_or(RawAuth::Digest) {
            RawAuth::Digest => Some(self.auth(raw, registrar)),
            word => {
                self.open_to_all(raw, word);
                None
            }
        };
        let mut keep_alive = KEEP_ALIVE;
        time(&mut keep_alive, registrar.keep_alive);
        let agents = self.agents(raw, registrar, auth.as_ref().map(|auth| &auth.users));
        Some(RegistrarConfig {
            keep_alive,
            auth,
            terms: self.terms(registrar),
            not_registered: registrar.not_registered.map_or(NOT_REGISTERED, |code| code.0.0),
            agents,
            agi: raw.agents.as_ref().and_then(|agents| agents.agi).map(|address| address.0.0),
            contacts: self.permanent_contacts(registrar.contacts.as_deref().unwrap_or_default(), listen),
        })
    }

    fn terms(&mut self, raw: &RawRegistrar) -> Terms {
        let mut terms = Terms::default();
        time(&mut terms.expires_min, raw.min_expires);
        time(&mut terms.expires_default, raw.default_expires);
        time(&mut terms.expires_max, raw.max_expires);
        terms.contacts_max = raw.max_contacts.map_or(terms.contacts_max, |most| most.0.0 as usize);
        let path = Path::to("registrar");
        let sections = [("min_expires", terms.expires_min), ("default_expires", terms.expires_default)];
        for (key, span) in sections {
            if span > terms.expires_max {
                let what = format!("must not be longer than max_expires, {}", show_time(terms.expires_max));
                self.refuse(&path.key(key), what, None);
            }
        }
        if terms.expires_default < terms.expires_min {
            let what = format!("must not be shorter than min_expires, {}", show_time(terms.expires_min));
            self.refuse(&path.key("default_expires"), what, None);
        }
        terms
    }

    fn open_to_all(&mut self, raw: &RawConfig, word: RawAuth) {
        let path = Path::to("registrar");
        let elsewhere = listens_elsewhere(raw);
        if elsewhere && word == RawAuth::None {
            let what = "everybody who reaches the edge could take any agent's calls";
            self.refuse(&path.key("auth"), what, Some("auth: digest; or `auth: open`, which says that this is meant"));
        }
        // Users without a password have skills, or are members of queues.
        let has_secret = |user: &RawUser| user.password.is_some() || user.md5.is_some() || user.sha256.is_some();
        let has_secrets = raw.registrar.iter().flat_map(|registrar| registrar.users.iter().flatten()).any(has_secret);
        for (key, asks) in [("users", has_secrets), ("users_file", true)] {
            if asks && self.tree.find(&path.key(key)).is_some() {
                self.warn(&path.key(key), "nobody is asked for a password", "auth: digest asks");
            }
        }
    }

    fn auth(&mut self, raw: &RawConfig, registrar: &RawRegistrar) -> AuthConfig {
        let edge = raw.edge.as_ref();
        let domain = edge.and_then(|edge| edge.domains.as_ref()).and_then(|domains| domains.iter().min());
        let name = edge.and_then(|edge| edge.name.as_ref()).map(|name| name.0.0.clone());
        let realm = match (&registrar.realm, domain) {
            (Some(realm), _) => realm.0.0.clone(),
            (None, Some(domain)) => domain.0.0.clone(),
            (None, None) => name.unwrap_or_else(|| "edge-1".to_owned()),
        };
        let mut algorithms: Vec<Algorithm> = Vec::new();
        for word in registrar.algorithms.iter().flatten() {
            if !algorithms.contains(&word.0.0) {
                algorithms.push(word.0.0);
            }
        }
        if algorithms.is_empty() {
            algorithms = vec![Algorithm::Sha256, Algorithm::Md5];
        }
        let proof = Proof { realm: &realm, algorithms: &algorithms };
        let users = self.users(registrar, proof);
        let users_file = registrar.users_file.as_ref().map(|path| path.0.0.clone());
        AuthConfig { users, users_file, realm, algorithms }
    }

    fn permanent_contacts(&mut self, given: &[RawContact], listen: &[ListenConfig]) -> Vec<ContactConfig> {
        let mut known: HashMap<(&str, &str), Path> = HashMap::new();
        let mut contacts = Vec::new();
        for Placed { path, value } in self.placed(&Path::to("registrar").key("contacts"), given) {
            let (user, contact) = (value.user.0.0.as_str(), &value.contact.0);
            if let Some(first) = known.get(&(user, contact.text.as_str())) {
                let what = format!("this contact of {user} stands at {} already", self.place(first));
                self.refuse(&path, what, None);
                continue;
            }
            known.insert((user, &contact.text), path.clone());
            self.has_listener(&path.key("contact"), contact.target, listen);
            contacts.push(ContactConfig {
                user: user.to_owned(),
                uri: contact.text.clone(),
                target: contact.target,
                preference: value.q.map_or(1_000, |q| q.0.0),
            });
        }
        contacts
    }
}
