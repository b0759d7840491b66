//! What changes from one configuration to the next, one readable line a change.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use serde::Serialize;

use super::checked::{Config, ListenConfig, MemberConfig, NodeConfig, PoolConfig, RouteConfig};
use super::facts::{self, Fact, NONE};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The change: `pool inbound: node ast-2 weight 10 -> 20`.
    pub what: String,
    /// When it holds.
    pub holds: Holds,
}

/// When a change holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    /// From the reload on.
    AtOnce,
    /// From the next start on; until then the edge goes on as it is.
    AfterRestart,
}

impl Change {
    /// True when the edge goes on as it is until its next start.
    pub fn needs_restart(&self) -> bool {
        self.holds == Holds::AfterRestart
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match self.holds {
            Holds::AtOnce => Ok(()),
            Holds::AfterRestart => f.write_str(" (after a restart)"),
        }
    }
}

/// Settings that an edge reads only when it starts: its files are open, its tables made and its threads run. The secret
/// is among them since with another one no call that is up would be known by its route tokens.
const AFTER_RESTART: [&str; 21] = [
    "edge.state_dir",
    "edge.secret",
    "edge.workers",
    "store",
    "store.redis.url",
    "store.redis.sentinels",
    "store.redis.master",
    "store.redis.user",
    "store.redis.password",
    "store.redis.ca",
    "store.redis.namespace",
    "store.redis.affinity",
    "store.redis.deadline",
    "store.redis.gone_after",
    "limits.bindings",
    "limits.calls",
    "limits.explain",
    "agents.agi",
    "api.listen",
    "api.token",
    "log.format",
];

/// The setting whose change is told in numbers.
const USERS: &str = "registrar.users";

/// Settings whose values are not shown.
const HIDDEN: [&str; 5] = ["edge.secret", "api.token", "ari.password", "store.redis.url", "store.redis.password"];

/// Every change from `old` to `new`, in the order of the file. None at all when both mean the same.
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = settings(old, new);
    let mut note = |lines: Vec<String>| {
        changes.extend(lines.into_iter().map(|what| Change { what, holds: Holds::AtOnce }));
    };
    note(listeners(&old.listen, &new.listen));
    note(gateways(old, new));
    note(nodes(old, new));
    note(pools(old, new));
    note(routes(&old.routes, &new.routes));
    changes
}

fn settings(old: &Config, new: &Config) -> Vec<Change> {
    let people = people(old, new);
    let (old, new) = (facts::settings(old), facts::settings(new));
    let changed = old.into_iter().zip(new).filter(|(old, new)| old != new);
    let change = |((key, old), (_, new)): (Fact, Fact)| {
        let holds = if AFTER_RESTART.contains(&key) { Holds::AfterRestart } else { Holds::AtOnce };
        let what = match (HIDDEN.contains(&key), old.as_str(), new.as_str()) {
            _ if key == USERS && people.is_some() => people.clone().unwrap_or_default(),
            (false, ..) => format!("{key} {old} -> {new}"),
            (true, NONE, _) => format!("{key} set"),
            (true, _, NONE) => format!("{key} removed"),
            (true, ..) => format!("{key} changed"),
        };
        Change { what, holds }
    };
    changed.map(change).collect()
}

/// How many users came, went and changed. Who they are is not for every log.
fn people(old: &Config, new: &Config) -> Option<String> {
    let users = |config: &Config| Some(config.registrar.as_ref()?.auth.as_ref()?.users.clone());
    let changes = users(old)?.changes_to(&users(new)?);
    let parts = [(changes.added, "added"), (changes.removed, "removed"), (changes.changed, "changed")];
    let told = parts.into_iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}"));
    Some(format!("{USERS}: {}", told.collect::<Vec<_>>().join(", ")))
}

fn listeners(old: &[ListenConfig], new: &[ListenConfig]) -> Vec<String> {
    let find = |list: &[ListenConfig], listener: &ListenConfig| list.iter().find(|l| l.uri == listener.uri).cloned();
    let mut lines: Vec<String> =
        old.iter().filter(|l| find(new, l).is_none()).map(|l| format!("listener {} removed", l.uri)).collect();
    for listener in new {
        match find(old, listener) {
            None => lines.push(format!("listener {} added", listener.uri)),
            Some(before) if before.sent_by != listener.sent_by => {
                lines.push(format!("listener {} advertise {} -> {}", listener.uri, before.sent_by, listener.sent_by));
            }
            Some(_) => {}
        }
    }
    let common = |list: &[ListenConfig], other: &[ListenConfig]| -> Vec<String> {
        list.iter().filter(|l| find(other, l).is_some()).map(|l| l.uri.to_string()).collect()
    };
    if common(old, new) != common(new, old) {
        lines.push(format!("listeners reordered: {}", common(new, old).join(", ")));
    }
    lines
}

fn gateways(old: &Config, new: &Config) -> Vec<String> {
    let by_name = |config: &Config| -> BTreeMap<String, Vec<Fact>> {
        config.gateways.iter().map(|gateway| (gateway.name.clone(), facts::gateway(gateway))).collect()
    };
    let (old, new) = (by_name(old), by_name(new));
    let mut lines = Vec::new();
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        lines.push(format!("gateway {name} removed: drains until its last call ends"));
    }
    for (name, facts) in &new {
        match old.get(name) {
            None => lines.push(format!("gateway {name} added ({})", in_brackets(facts))),
            Some(before) => lines.extend(changed(before, facts).map(|change| format!("gateway {name} {change}"))),
        }
    }
    lines
}

fn nodes(old: &Config, new: &Config) -> Vec<String> {
    let (old, new) = (nodes_of(old), nodes_of(new));
    let mut lines = Vec::new();
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        lines.push(format!("node {name} removed: drains until its last call ends"));
    }
    for (name, node) in &new {
        if let Some(before) = old.get(name) {
            let (before, after) = (facts::node(before), facts::node(node));
            lines.extend(changed(&before, &after).map(|change| format!("node {name} {change}")));
        }
    }
    lines
}

fn nodes_of(config: &Config) -> BTreeMap<&str, &NodeConfig> {
    config.nodes.iter().map(|node| (node.name.as_str(), node)).collect()
}

fn pools(old: &Config, new: &Config) -> Vec<String> {
    let pools_of = |config: &Config| -> BTreeMap<String, PoolConfig> {
        config.pools.iter().map(|pool| (pool.name.clone(), pool.clone())).collect()
    };
    let (old_pools, new_pools) = (pools_of(old), pools_of(new));
    let mut lines = Vec::new();
    for name in old_pools.keys().filter(|name| !new_pools.contains_key(*name)) {
        lines.push(format!("pool {name} removed"));
    }
    for (name, pool) in &new_pools {
        let none = Vec::new();
        let before = old_pools.get(name);
        match before {
            None => lines.push(format!("pool {name} added ({})", pool.algorithm.as_str())),
            Some(before) => {
                let (before, after) = (facts::pool(before), facts::pool(pool));
                lines.extend(changed(&before, &after).map(|change| format!("pool {name}: {change}")));
            }
        }
        lines.extend(members(name, before.map_or(&none, |before| &before.members), &pool.members, old, new));
    }
    lines
}

fn members(pool: &str, old: &[MemberConfig], new: &[MemberConfig], before: &Config, after: &Config) -> Vec<String> {
    let (old_nodes, new_nodes) = (nodes_of(before), nodes_of(after));
    let old: BTreeMap<&str, &MemberConfig> = old.iter().map(|member| (member.node.as_str(), member)).collect();
    let still: HashSet<&str> = new.iter().map(|member| member.node.as_str()).collect();
    let mut lines = Vec::new();
    // A node that is gone altogether was told of as such.
    for node in old.keys().filter(|node| !still.contains(*node) && new_nodes.contains_key(*node)) {
        lines.push(format!("node {node} removed from pool {pool}"));
    }
    for member in new {
        let node = member.node.as_str();
        let part = facts::member(member);
        match old.get(node) {
            Some(before) => {
                let before = facts::member(before);
                lines.extend(changed(&before, &part).map(|change| format!("pool {pool}: node {node} {change}")));
            }
            None => {
                let is_new = !old_nodes.contains_key(node);
                let about = new_nodes.get(node).filter(|_| is_new).map(|node| facts::node(node)).unwrap_or_default();
                let about: Vec<Fact> = about.into_iter().chain(part).collect();
                lines.push(format!("node {node} added to pool {pool} ({})", in_brackets(&about)));
            }
        }
    }
    lines
}

fn routes(old: &[RouteConfig], new: &[RouteConfig]) -> Vec<String> {
    let (old, new) = (identified(old), identified(new));
    let (old_at, new_at) = (positions(&old), positions(&new));
    let mut lines = Vec::new();
    for (position, (identity, route)) in old.iter().enumerate() {
        if !new_at.contains_key(identity) {
            lines.push(format!("{} removed", label(position, route)));
        }
    }
    for (position, (identity, route)) in new.iter().enumerate() {
        let after = facts::route(route);
        match old_at.get(identity).map(|at| facts::route(old[*at].1)) {
            None => lines.push(format!("{} added: {after}", label(position, route))),
            Some(before) if before != after => lines.push(format!("{}: {before} -> {after}", label(position, route))),
            Some(_) => {}
        }
    }
    let kept = |list: &[(Identity, &RouteConfig)], other: &HashMap<Identity, usize>| -> Vec<Identity> {
        list.iter().filter(|(identity, _)| other.contains_key(identity)).map(|(identity, _)| identity.clone()).collect()
    };
    if kept(&old, &new_at) != kept(&new, &old_at) {
        let order: Vec<String> = new.iter().enumerate().map(|(at, (_, route))| route.label(at)).collect();
        lines.push(format!("routes reordered: {}", order.join(", ")));
    }
    lines
}

/// What a rule is known by: its name, or all that it says; and which of several such it is.
type Identity = (String, usize);

fn identified(routes: &[RouteConfig]) -> Vec<(Identity, &RouteConfig)> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let identity = |route: &RouteConfig| route.name.clone().unwrap_or_else(|| format!(" {}", facts::route(route)));
    let count = |route| {
        let text = identity(route);
        let before = seen.entry(text.clone()).or_default();
        *before += 1;
        ((text, *before), route)
    };
    routes.iter().map(count).collect()
}

fn positions(routes: &[(Identity, &RouteConfig)]) -> HashMap<Identity, usize> {
    routes.iter().enumerate().map(|(position, (identity, _))| (identity.clone(), position)).collect()
}

fn label(position: usize, route: &RouteConfig) -> String {
    match &route.name {
        Some(name) => format!("route {} ({name})", position + 1),
        None => format!("route {}", position + 1),
    }
}

/// `key old -> new` for each setting that differs.
fn changed<'f>(old: &'f [Fact], new: &'f [Fact]) -> impl Iterator<Item = String> + 'f {
    let differ = old.iter().zip(new).filter(|(old, new)| old != new);
    differ.map(|((key, old), (_, new))| format!("{key} {old} -> {new}"))
}

/// What is worth telling of a new thing: `sip:192.0.2.11; weight 10`.
fn in_brackets(facts: &[Fact]) -> String {
    let shown = facts.iter().filter(|(key, value)| value != NONE && !(*key == "priority" && value == "0"));
    let texts: Vec<String> =
        shown.map(|(key, value)| if *key == "uri" { value.clone() } else { format!("{key} {value}") }).collect();
    texts.join("; ")
}

#[cfg(test)]
#[path = "diff_tests.rs"]
mod tests;
