//! What values have to do with each other: from the file as it is written to a configuration that holds.
//!
//! Every check goes on after a problem, so that all are told at once. A value that was lost while decoding was
//! complained of there; what follows from its absence is not told again.

mod agents;
mod ari;
mod gateways;
mod listeners;
mod overflow;
mod policies;
mod pools;
mod queues;
mod reach;
mod registrar;
mod routes;
mod store;
mod users;
mod users_file;

use std::collections::BTreeMap;

use crate::registrar::{Aor, Person};

use super::checked::{Checked, Config, EdgeConfig, Secret};
use super::place::{Path, Place};
use super::problem::Problem;
use super::raw::{RawConfig, RawEdge};
use super::secret::{Environment, SecretText};
use super::tree::{Node, Value};
use super::words::Given;

/// Entries of one file. The largest farm that was thought of has a thousand nodes; what is looked through for every
/// message is kept short.
const LISTENERS_MAX: usize = 64;
const GATEWAYS_MAX: usize = 10_000;
const POOLS_MAX: usize = 1_000;
const NODES_MAX: usize = 20_000;
const ROUTES_MAX: usize = 1_000;
const USERS_MAX: usize = 1_000_000;
const CONTACTS_MAX: usize = 10_000;
const MAY_REGISTER_MAX: usize = 64;
const STRIP_MAX: usize = 64;
const QUEUES_MAX: usize = 10_000;
/// Members of all queues together: nodes ask for all of them when they start.
const MEMBERS_MAX: usize = 100_000;
const REASONS_MAX: usize = 64;
const CODES_MAX: usize = 64;

/// Fewest octets of the farm's secret: what an attacker cannot try out.
const SECRET_OCTETS_MIN: usize = 16;

/// Something with the way to where it stands.
#[derive(Clone, Debug)]
struct Placed<T> {
    path: Path,
    value: T,
}

/// A check in progress.
struct Check<'a> {
    tree: &'a Node,
    environment: &'a dyn Environment,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    /// What is particular to single users of the users' file.
    people_in_file: BTreeMap<Aor, Person>,
}

/// Checks what was decoded; `problems` are those that decoding found.
pub fn check(
    raw: &RawConfig,
    tree: &Node,
    environment: &dyn Environment,
    problems: Vec<Problem>,
) -> Result<Checked, Vec<Problem>> {
    let mut check = Check::new(tree, environment, problems);
    if check.is_too_large(raw) {
        return Err(check.problems);
    }
    let config = check.config(raw);
    if check.problems.is_empty() { Ok(Checked { config, warnings: check.warnings }) } else { Err(check.problems) }
}

impl<'a> Check<'a> {
    fn new(tree: &'a Node, environment: &'a dyn Environment, problems: Vec<Problem>) -> Self {
        Check { tree, environment, problems, warnings: Vec::new(), people_in_file: BTreeMap::new() }
    }
}

impl Check<'_> {
    fn config(&mut self, raw: &RawConfig) -> Config {
        let listen = self.listeners(raw.listen.as_deref().unwrap_or_default());
        let gateways = self.gateways(raw.gateways.as_deref().unwrap_or_default());
        let farm = self.pools(raw, &gateways);
        self.reach(&listen, &gateways, &farm.nodes);
        let routes = self.routes(raw, &gateways, &farm);
        let registrar = self.registrar(raw, &listen);
        self.ari_of_nodes(raw, &farm.nodes);
        let mut nodes: Vec<_> = farm.nodes.into_iter().map(|node| node.value).collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let mut pools = farm.pools;
        pools.sort_by(|a, b| a.name.cmp(&b.name));
        Config {
            edge: self.edge(raw.edge.as_ref().unwrap_or(&RawEdge::default())),
            listen,
            store: store::kept(raw.store.as_ref()),
            redis: self.redis(raw),
            gateways: gateways.into_iter().map(|gateway| gateway.value).collect(),
            nodes,
            pools,
            routes,
            health: self.health(raw.health.as_ref()),
            calls: self.calls(raw.calls.as_ref(), raw.failover.as_ref()),
            security: self.security(raw.security.as_ref()),
            limits: self.limits(raw.limits.as_ref()),
            registrar,
            ari: self.ari(raw.ari.as_ref()),
            dns: self.dns(raw.dns.as_ref()),
            stop_wait: policies::stop_wait(raw.stop.as_ref()),
            api: self.api(raw.api.as_ref()),
            log: policies::log(raw.log.as_ref()),
        }
    }

    fn is_too_large(&mut self, raw: &RawConfig) -> bool {
        let pools = raw.pools.as_ref();
        let nodes = pools.map_or(0, |pools| pools.values().map(|pool| length(pool.nodes.as_ref())).sum());
        let health = raw.health.as_ref().and_then(|health| health.dead_codes.as_ref());
        let failover = raw.failover.as_ref().and_then(|failover| failover.retry_on.as_ref());
        let strip = raw.security.as_ref().and_then(|security| security.strip.as_ref());
        let users = raw.registrar.as_ref().and_then(|registrar| registrar.users.as_ref());
        let agents = raw.agents.as_ref();
        let queues = agents.and_then(|agents| agents.queues.as_ref());
        let reasons = agents.and_then(|agents| agents.reasons.as_ref());
        let contacts = raw.registrar.as_ref().and_then(|registrar| registrar.contacts.as_ref());
        let before = self.problems.len();
        for (path, count, max) in [
            (Path::to("listen"), length(raw.listen.as_ref()), LISTENERS_MAX),
            (Path::to("gateways"), length(raw.gateways.as_ref()), GATEWAYS_MAX),
            (Path::to("pools"), pools.map_or(0, BTreeMap::len), POOLS_MAX),
            (Path::to("pools"), nodes, NODES_MAX),
            (Path::to("routes"), length(raw.routes.as_ref()), ROUTES_MAX),
            (Path::to("registrar").key("users"), length(users), USERS_MAX),
            (Path::to("registrar").key("contacts"), length(contacts), CONTACTS_MAX),
            (Path::to("health").key("dead_codes"), length(health), CODES_MAX),
            (Path::to("failover").key("retry_on"), length(failover), CODES_MAX),
            (Path::to("agents").key("queues"), length(queues), QUEUES_MAX),
            (Path::to("agents").key("reasons"), length(reasons), REASONS_MAX),
            (Path::to("security").key("strip"), length(strip), STRIP_MAX),
        ] {
            if count > max {
                self.refuse(&path, format!("{count} entries; at most {max} are taken"), None);
            }
        }
        self.problems.len() > before
    }

    fn edge(&mut self, raw: &RawEdge) -> EdgeConfig {
        let mut domains: Vec<String> = raw.domains.iter().flatten().map(|host| host.0.0.clone()).collect();
        domains.sort();
        domains.dedup();
        EdgeConfig {
            name: raw.name.as_ref().map_or_else(|| "edge-1".to_owned(), |name| name.0.0.clone()),
            domains,
            state_dir: raw.state_dir.as_ref().map_or_else(|| "./state".into(), |path| path.0.0.clone()),
            secret: self.farm_secret(raw.secret.as_ref()),
            site: raw.site.as_ref().map(|site| site.0.0.clone()),
            workers: raw.workers.map(|workers| workers.0.0 as u16),
        }
    }

    fn farm_secret(&mut self, given: Option<&Given<SecretText>>) -> Option<Secret> {
        let path = Path::to("edge").key("secret");
        if given.is_none() && !self.tree.is_lost(&path) {
            let hint = "one edge alone needs none; several edges need the same one, such as \"${CORDBOARD_SECRET}\"";
            self.warn(&path, "not set, so it is made once and kept in state_dir", hint);
        }
        let secret = self.secret(&path, given)?;
        if secret.octets() < SECRET_OCTETS_MIN {
            let what = format!("has {} octets; at least {SECRET_OCTETS_MIN} are needed", secret.octets());
            self.refuse(&path, what, Some("`openssl rand -hex 32` makes a good one"));
        }
        Some(secret)
    }

    /// Finds a secret and notes why there is none.
    fn secret(&mut self, path: &Path, given: Option<&Given<SecretText>>) -> Option<Secret> {
        match given?.0.resolve(self.environment) {
            Ok(secret) => Some(secret),
            Err(complaint) => {
                self.refuse(path, complaint.what, complaint.hint.as_deref());
                None
            }
        }
    }

    fn refuse(&mut self, path: &Path, what: impl Into<String>, hint: Option<&str>) {
        let problem = Problem::new(self.tree.place(path), path, what);
        self.problems.push(Problem { hint: hint.map(str::to_owned), ..problem });
    }

    fn warn(&mut self, path: &Path, what: impl Into<String>, hint: &str) {
        let problem = Problem::new(self.tree.place(path), path, what);
        self.warnings.push(Problem { hint: Some(hint.to_owned()), ..problem });
    }

    /// True when a list is lost, or items of it are.
    fn has_lost_items(&self, path: &Path) -> bool {
        match self.tree.find(path).map(|node| &node.value) {
            Some(Value::Lost) => true,
            Some(Value::List(items)) => items.iter().any(|item| item.value == Value::Lost),
            _ => false,
        }
    }

    /// The values of a list, each with the way to it.
    fn placed<'r, T>(&self, path: &Path, values: &'r [T]) -> Vec<Placed<&'r T>> {
        let indices = self.tree.items(path);
        values.iter().zip(indices).map(|(value, index)| Placed { path: path.item(index), value }).collect()
    }

    fn place(&self, path: &Path) -> Shown {
        Shown(self.tree.place(path))
    }
}

fn length<T>(list: Option<&Vec<T>>) -> usize {
    list.map_or(0, Vec::len)
}

/// A place inside a sentence.
struct Shown(Place);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.0.line, self.0.column)
    }
}
