//! The registrar: every user once, with something that proves who he is.

use std::collections::HashMap;
use std::time::Duration;

use crate::config::checked::{AuthConfig, RegistrarConfig, UserConfig};
use crate::config::numbers::show_time;
use crate::config::place::Path;
use crate::config::raw::{RawAgents, RawAuth, RawConfig, RawGate, RawRegistrar, RawUser};
use crate::registrar::digest::{Algorithm, Hex, ha1};
use crate::registrar::users::Secrets;
use crate::registrar::{AgentPolicy, Gate, Terms};

use super::policies::time;
use super::{Check, Placed};

/// Shorter than the half minute after which many a NAT forgets a way over UDP.
const KEEP_ALIVE: Duration = Duration::from_secs(25);

/// What is answered to a call for a user who is registered nowhere.
const NOT_REGISTERED: u16 = 480;

impl Check<'_> {
    pub(super) fn registrar(&mut self, raw: &RawConfig) -> Option<RegistrarConfig> {
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
                self.open_to_all(raw, registrar, word);
                None
            }
        };
        let mut keep_alive = KEEP_ALIVE;
        time(&mut keep_alive, registrar.keep_alive);
        Some(RegistrarConfig {
            keep_alive,
            auth,
            terms: self.terms(registrar),
            not_registered: registrar.not_registered.map_or(NOT_REGISTERED, |code| code.0.0),
            agents: agents(raw.agents.as_ref()),
            agi: raw.agents.as_ref().and_then(|agents| agents.agi).map(|address| address.0.0),
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

    fn open_to_all(&mut self, raw: &RawConfig, registrar: &RawRegistrar, word: RawAuth) {
        let path = Path::to("registrar");
        let elsewhere = raw.listen.iter().flatten().any(|listener| {
            let uri = match listener {
                crate::config::words::TextOr::Text(uri) => uri,
                crate::config::words::TextOr::Map(listener) => &listener.uri.0,
            };
            !uri.bind.ip().to_canonical().is_loopback()
        });
        if elsewhere && word == RawAuth::None {
            let what = "everybody who reaches the edge could take any agent's calls";
            self.refuse(&path.key("auth"), what, Some("auth: digest; or `auth: open`, which says that this is meant"));
        }
        if registrar.users.is_some() {
            self.warn(&path.key("users"), "nobody is asked for a password", "auth: digest asks");
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
        let users = self.users(registrar, &realm, &algorithms);
        AuthConfig { realm, algorithms, users }
    }

    fn users(&mut self, raw: &RawRegistrar, realm: &str, algorithms: &[Algorithm]) -> Vec<UserConfig> {
        let path = Path::to("registrar").key("users");
        let given = raw.users.as_deref().unwrap_or_default();
        if given.is_empty() && !self.has_lost_items(&path) && !self.tree.is_lost(&path) {
            self.warn(
                &path,
                "no users, so nobody can register",
                "users: [{ name: 1001, password: \"${PASSWORD_1001}\" }]",
            );
        }
        let mut known: HashMap<&str, Path> = HashMap::new();
        let mut users = Vec::new();
        for Placed { path, value } in self.placed(&path, given) {
            let name = value.name.0.0.as_str();
            if let Some(first) = known.get(name) {
                let what = format!("a user of the name {name} stands at {} already", self.place(first));
                self.refuse(&path.key("name"), what, None);
                continue;
            }
            known.insert(name, path.key("name"));
            if let Some(secrets) = self.secrets(&path, value, realm, algorithms) {
                users.push(UserConfig { name: name.to_owned(), secrets });
            }
        }
        users.sort_by(|a, b| a.name.cmp(&b.name));
        users
    }

    fn secrets(&mut self, path: &Path, raw: &RawUser, realm: &str, algorithms: &[Algorithm]) -> Option<Secrets> {
        let name = raw.name.0.0.as_bytes();
        let password = self.secret(&path.key("password"), raw.password.as_ref());
        let mut hashes = Algorithm::ALL.map(|algorithm| {
            password.as_ref().map(|password| ha1(algorithm, name, realm.as_bytes(), password.reveal().as_bytes()))
        });
        let known = [("sha256", Algorithm::Sha256, &raw.sha256), ("md5", Algorithm::Md5, &raw.md5)];
        for (key, algorithm, given) in known {
            let Some(text) = self.secret(&path.key(key), given.as_ref()) else { continue };
            let at = Algorithm::ALL.iter().position(|own| *own == algorithm).unwrap_or_default();
            match Hex::read(algorithm, text.reveal().as_bytes()) {
                Some(hash) => hashes[at] = Some(hash),
                None => {
                    let what =
                        format!("must be the {} of NAME:REALM:PASSWORD in hexadecimal digits", algorithm.as_str());
                    self.refuse(&path.key(key), what, None);
                }
            }
        }
        let keys = ["password", "sha256", "md5"];
        if hashes.iter().all(Option::is_none) {
            let was_given = raw.password.is_some() || raw.md5.is_some() || raw.sha256.is_some();
            if !was_given && !keys.iter().any(|key| self.tree.is_lost(&path.key(key))) {
                self.refuse(
                    path,
                    "`password` is missing",
                    Some("password: \"${NAME}\", or md5: or sha256: with a hash"),
                );
            }
            return None;
        }
        let secrets = Secrets::of_hashes(hashes);
        if !algorithms.iter().any(|algorithm| secrets.get(*algorithm).is_some()) {
            let what = "has no hash for any of `algorithms`, so this user can never register";
            self.refuse(path, what, Some("give the password, or offer the algorithm of the hash"));
        }
        Some(secrets)
    }
}

fn agents(raw: Option<&RawAgents>) -> AgentPolicy {
    let mut policy = AgentPolicy::default();
    let Some(raw) = raw else { return policy };
    policy.gate = match raw.gate {
        None | Some(RawGate::Queue) => Gate::Queue,
        Some(RawGate::All) => Gate::All,
        Some(RawGate::Off) => Gate::Off,
    };
    time(&mut policy.wrapup, raw.wrapup);
    policy.publish = raw.publish.unwrap_or(false);
    policy.affinity = raw.affinity.unwrap_or(true);
    policy
}
