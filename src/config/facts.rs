//! What a configuration says, one short fact after the other: what generations are hashed from and settings compared
//! by.

use sha2::{Digest, Sha256};

use crate::calls::tries::FailoverPolicy;
use crate::dispatch::farm::Generation;
use crate::dispatch::health::HealthPolicy;
use crate::registrar::{Member, Queue, Realtime, Terms, Users};

use super::checked::{
    AriConfig, Config, ContactConfig, GatewayConfig, MemberConfig, NodeConfig, PoolConfig, RedisAt, RegistrarConfig,
    RouteAction, RouteConfig, Secret,
};
use super::codes::{show_codes, show_rule};
use super::keys::show_key;
use super::numbers::show_time;

/// The key of a setting, as in the file, and its value.
pub type Fact = (&'static str, String);

/// What stands where nothing was given.
pub const NONE: &str = "none";

/// All settings that are no lists of things: the same keys in the same order for every configuration. Secrets are
/// fingerprints.
pub fn settings(config: &Config) -> Vec<Fact> {
    let mut facts = edge(config);
    facts.extend(health(&config.health));
    facts.extend(failover(&config.calls.failover));
    facts.extend(redis(config));
    facts.extend(calls(config));
    facts.extend(limits(config));
    facts.extend(registrar(config));
    facts.extend(ari(config.ari.as_ref()));
    facts.extend(rest(config));
    facts
}

fn edge(config: &Config) -> Vec<Fact> {
    let edge = &config.edge;
    vec![
        ("edge.name", edge.name.clone()),
        ("edge.domains", list(&edge.domains)),
        ("edge.state_dir", edge.state_dir.display().to_string()),
        ("edge.secret", fingerprint(edge.secret.as_ref())),
        ("edge.site", or_none(edge.site.as_ref())),
        ("edge.workers", edge.workers.map_or_else(|| "by cores".to_owned(), |workers| workers.to_string())),
        ("store", config.store.as_str().to_owned()),
    ]
}

fn redis(config: &Config) -> Vec<Fact> {
    let redis = config.redis.as_ref();
    let (url, sentinels, master) = match redis.map(|redis| &redis.at) {
        Some(RedisAt::Url(url)) => (Some(url), None, None),
        Some(RedisAt::Sentinels { sentinels, master }) => {
            (None, Some(list(sentinels.iter().map(|(host, port)| format!("{host}:{port}")))), Some(master))
        }
        None => (None, None, None),
    };
    vec![
        ("store.redis.url", fingerprint(url)),
        ("store.redis.sentinels", or_none(sentinels)),
        ("store.redis.master", or_none(master)),
        ("store.redis.user", or_none(redis.and_then(|redis| redis.user.as_ref()))),
        ("store.redis.password", fingerprint(redis.and_then(|redis| redis.password.as_ref()))),
        ("store.redis.ca", or_none(redis.and_then(|redis| redis.ca.as_ref()).map(|file| file.display()))),
        ("store.redis.namespace", or_none(redis.map(|redis| &redis.namespace))),
        ("store.redis.affinity", or_none(redis.map(|redis| redis.affinity.as_str()))),
        ("store.redis.deadline", or_none(redis.map(|redis| show_time(redis.deadline)))),
        ("store.redis.gone_after", or_none(redis.map(|redis| show_time(redis.gone_after)))),
    ]
}

fn health(policy: &HealthPolicy) -> Vec<Fact> {
    vec![
        ("health.interval", show_time(policy.interval)),
        ("health.timeout", show_time(policy.timeout)),
        ("health.fall", policy.fall.to_string()),
        ("health.rise", policy.rise.to_string()),
        ("health.jitter", format!("{}%", policy.jitter_percent)),
        ("health.dead_codes", list(policy.dead_codes.iter().map(show_codes))),
        ("health.slow_after", show_time(policy.slow_after)),
        ("health.full_pause", show_time(policy.full_pause)),
        ("health.flap_window", show_time(policy.flap_window)),
        ("health.flap_wait_max", show_time(policy.flap_wait_max)),
    ]
}

fn failover(policy: &FailoverPolicy) -> Vec<Fact> {
    let causes = [("silence", policy.on_silence), ("refused", policy.on_refused), ("node_down", policy.on_node_down)];
    let causes = causes.into_iter().filter(|(_, on)| *on).map(|(word, _)| word.to_owned());
    vec![
        ("failover.no_response", show_time(policy.no_response)),
        ("failover.max_tries", policy.tries_max.to_string()),
        ("failover.budget", show_time(policy.budget)),
        ("failover.retry_on", list(causes.chain(policy.on_status.iter().map(show_rule)))),
    ]
}

fn calls(config: &Config) -> Vec<Fact> {
    let calls = &config.calls;
    let forward_503 = if calls.forward_503_as_is { "as_is" } else { "as_500" };
    vec![
        ("failover.forward_503", forward_503.to_owned()),
        ("calls.ring_timeout", show_time(calls.ring_timeout)),
        ("calls.max_duration", show_time(calls.max_duration)),
        ("calls.retry_after", format!("{}s", calls.retry_after_secs)),
        ("calls.record_route", calls.record_route.to_string()),
    ]
}

fn limits(config: &Config) -> Vec<Fact> {
    let limits = &config.limits;
    vec![
        ("limits.bindings", limits.bindings.to_string()),
        ("limits.calls", limits.calls.to_string()),
        ("limits.message_bytes", limits.message_bytes.to_string()),
        ("limits.connections", limits.connections.to_string()),
        ("limits.connections_per_source", limits.connections_per_source.to_string()),
        ("limits.explain", limits.explain.to_string()),
        ("limits.connect_timeout", show_time(limits.connect_timeout)),
        ("limits.message_timeout", show_time(limits.message_timeout)),
        ("limits.idle_timeout", show_time(limits.idle_timeout)),
        ("limits.stranger_rate", limits.stranger_rate.to_string()),
    ]
}

fn registrar(config: &Config) -> Vec<Fact> {
    let registrar = config.registrar.as_ref();
    let auth = registrar.and_then(|registrar| registrar.auth.as_ref());
    let word = match (registrar, auth) {
        (None, _) => NONE,
        (Some(_), None) => "none",
        (Some(_), Some(_)) => "digest",
    };
    let terms = registrar.map(|registrar| &registrar.terms);
    let span = |pick: fn(&Terms) -> std::time::Duration| or_none(terms.map(|terms| show_time(pick(terms))));
    vec![
        ("registrar.auth", word.to_owned()),
        ("registrar.realm", or_none(auth.map(|auth| auth.realm.clone()))),
        ("registrar.algorithms", list(auth.iter().flat_map(|auth| auth.algorithms.iter().map(|a| a.as_str())))),
        ("registrar.users", or_none(auth.map(|auth| users(&auth.users)))),
        ("registrar.users_file", or_none(auth.and_then(|auth| auth.users_file.as_ref()).map(|file| file.display()))),
        ("registrar.contacts", list(registrar.iter().flat_map(|registrar| registrar.contacts.iter().map(contact)))),
        ("registrar.min_expires", span(|terms| terms.expires_min)),
        ("registrar.default_expires", span(|terms| terms.expires_default)),
        ("registrar.max_expires", span(|terms| terms.expires_max)),
        ("registrar.max_contacts", or_none(terms.map(|terms| terms.contacts_max))),
        ("registrar.keep_alive", or_none(registrar.map(|registrar| show_time(registrar.keep_alive)))),
        ("agents.agi", or_none(registrar.and_then(|registrar| registrar.agi))),
        ("agents.gate", or_none(registrar.map(|registrar| registrar.agents.gate.as_str()))),
        ("agents.wrapup", or_none(registrar.map(|registrar| show_time(registrar.agents.wrapup)))),
        ("agents.queues", list(registrar.iter().flat_map(|registrar| queues(registrar)))),
        ("agents.realtime", realtime(registrar)),
        ("agents.reasons", list(registrar.iter().flat_map(|registrar| &registrar.agents.reasons))),
        ("registrar.users.skills", registrar.map_or_else(|| NONE.to_owned(), people)),
        ("agents.publish", or_none(registrar.map(|registrar| registrar.agents.publish))),
        ("agents.affinity", or_none(registrar.map(|registrar| registrar.agents.affinity))),
        ("registrar.not_registered", or_none(registrar.map(|registrar| registrar.not_registered))),
    ]
}

fn ari(ari: Option<&AriConfig>) -> Vec<Fact> {
    vec![
        ("ari.user", or_none(ari.map(|ari| ari.user.clone()))),
        ("ari.password", fingerprint(ari.map(|ari| &ari.password))),
        ("ari.port", or_none(ari.map(|ari| ari.port))),
        ("ari.interval", or_none(ari.map(|ari| show_time(ari.interval)))),
        ("ari.grace", or_none(ari.map(|ari| show_time(ari.grace)))),
        ("ari.surplus", or_none(ari.map(|ari| ari.surplus.as_str()))),
    ]
}

/// How many there are, and a hash over all of them that tells no secret.
fn users(users: &Users) -> String {
    let hash: String = users.fingerprint()[..8].iter().map(|octet| format!("{octet:02x}")).collect();
    format!("{} ({hash})", users.len())
}

fn contact(contact: &ContactConfig) -> String {
    format!("{} at {} q={}.{:03}", contact.user, contact.uri, contact.preference / 1_000, contact.preference % 1_000)
}

fn queues(registrar: &RegistrarConfig) -> Vec<String> {
    registrar.agents.queues.iter().map(|(name, known)| queue(name, known)).collect()
}

/// `q700 20s 2 members (0123abcd) strategy=rrmemory`, without what is not said of it.
fn queue(name: &str, queue: &Queue) -> String {
    let mut words = vec![name.to_owned()];
    words.extend(queue.wrapup.map(show_time));
    if !queue.members.is_empty() {
        words.push(format!("{} members ({})", queue.members.len(), members(&queue.members)));
    }
    words.extend(queue.options.iter().map(|(name, value)| format!("{name}={value}")));
    words.join(" ")
}

fn members(members: &[Member]) -> String {
    let mut digest = Sha256::new().chain_update("cordboard members");
    for member in members {
        let user = member.user.as_bytes();
        digest.update((user.len() as u64).to_be_bytes());
        digest.update(user);
        digest.update(member.penalty.to_be_bytes());
    }
    digest.finalize()[..4].iter().map(|octet| format!("{octet:02x}")).collect()
}

/// How nodes learn who is in a queue; a file that does not say it keeps its generation.
fn realtime(registrar: Option<&RegistrarConfig>) -> String {
    let said = registrar.map(|registrar| registrar.agents.realtime).filter(|realtime| *realtime != Realtime::Off);
    or_none(said.map(Realtime::as_str))
}

/// Of how many users something particular is said, and a hash over it.
fn people(registrar: &RegistrarConfig) -> String {
    let people = &registrar.agents.people;
    if people.is_empty() {
        return NONE.to_owned();
    }
    let mut digest = Sha256::new().chain_update("cordboard people");
    for (user, person) in people {
        let wrapup = person.wrapup.map_or_else(String::new, show_time);
        for text in [user.as_bytes(), wrapup.as_bytes()].into_iter().chain(person.skills.iter().map(|s| s.as_bytes())) {
            digest.update((text.len() as u64).to_be_bytes());
            digest.update(text);
        }
        digest.update(u64::MAX.to_be_bytes());
    }
    let octets = digest.finalize();
    let hash: String = octets[..4].iter().map(|octet| format!("{octet:02x}")).collect();
    format!("{} ({hash})", people.len())
}

fn rest(config: &Config) -> Vec<Fact> {
    let (security, dns, log) = (&config.security, &config.dns, &config.log);
    let api = config.api.as_ref();
    vec![
        ("security.options_from_strangers", security.options_from_strangers.to_string()),
        ("security.strip", list(security.strip.iter().map(|name| String::from_utf8_lossy(name)))),
        ("dns.servers", list(dns.servers.iter().map(ToString::to_string))),
        ("dns.timeout", show_time(dns.timeout)),
        ("dns.min_ttl", show_time(dns.min_ttl)),
        ("dns.max_ttl", show_time(dns.max_ttl)),
        ("stop.wait", show_time(config.stop_wait)),
        ("api.listen", api.map_or_else(|| "off".to_owned(), |api| api.listen.to_string())),
        ("api.token", fingerprint(api.and_then(|api| api.token.as_ref()))),
        ("log.level", log.level.as_str().to_owned()),
        ("log.format", log.format.as_str().to_owned()),
        ("log.redact", log.redact.to_string()),
    ]
}

/// The settings of a pool.
pub fn pool(pool: &PoolConfig) -> Vec<Fact> {
    let until = pool.sticky_until_percent.map(|percent| format!("{percent}%"));
    vec![
        ("algorithm", pool.algorithm.as_str().to_owned()),
        ("key", show_key(&pool.key)),
        ("sticky_until", or_none(until)),
        ("slow_start", show_time(pool.slow_start)),
        ("panic", pool.panic.to_string()),
        ("overflow", or_none(pool.overflow.clone())),
    ]
}

/// A node's part in a pool.
pub fn member(member: &MemberConfig) -> Vec<Fact> {
    vec![("weight", member.weight.get().to_string()), ("priority", member.priority.to_string())]
}

/// The settings of a node.
pub fn node(node: &NodeConfig) -> Vec<Fact> {
    vec![
        ("uri", node.uri.to_string()),
        ("max_calls", or_none(node.max_calls)),
        ("site", or_none(node.site.as_ref())),
        ("ari", or_none(node.ari.as_ref())),
    ]
}

/// The settings of a gateway.
pub fn gateway(gateway: &GatewayConfig) -> Vec<Fact> {
    let mut sources: Vec<String> = gateway.sources.iter().map(ToString::to_string).collect();
    sources.sort();
    vec![("source", list(sources)), ("uri", or_none(gateway.uri.as_ref())), ("max_calls", or_none(gateway.max_calls))]
}

/// A rule without its name: `from gateways, to_user 0900*: reject 403`.
pub fn route(route: &RouteConfig) -> String {
    let mut text = format!("from {}", route.from);
    let patterns = [("to_user", &route.to_user), ("from_user", &route.from_user), ("to_host", &route.to_host)];
    for (key, pattern) in patterns {
        if let Some(pattern) = pattern {
            text += &format!(", {key} {pattern}");
        }
    }
    if !route.methods.is_empty() {
        let mut methods: Vec<&str> = route.methods.iter().map(|method| method.as_str()).collect();
        methods.sort_unstable();
        methods.dedup();
        text += &format!(", methods {}", methods.join(" "));
    }
    match &route.action {
        RouteAction::Pool(pool) => text + &format!(": pool {pool}"),
        RouteAction::Reject(code) => text + &format!(": reject {code}"),
    }
}

/// A hash over all facts. What is not set does not count, so that a release that knows more changes nothing.
pub fn generation(config: &Config) -> Generation {
    hash_of(config, |_| true)
}

/// The same without what differs from edge to edge: their names, addresses and files.
pub fn shared_generation(config: &Config) -> Generation {
    const OWN: [&str; 8] =
        ["edge.name", "edge.state_dir", "edge.site", "edge.workers", "listen/", "agents.agi", "api.", "log."];
    hash_of(config, |key| !OWN.iter().any(|own| key.starts_with(own)))
}

fn hash_of(config: &Config, counts: impl Fn(&str) -> bool) -> Generation {
    let mut facts: Vec<(String, String)> = settings(config)
        .into_iter()
        .filter(|(_, value)| value != NONE)
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    let mut note = |prefix: String, list: Vec<Fact>| {
        facts.extend(list.into_iter().map(|(key, value)| (format!("{prefix}/{key}"), value)));
    };
    for (position, listener) in config.listen.iter().enumerate() {
        note(format!("listen/{position}"), vec![("", format!("{} {}", listener.uri, listener.sent_by))]);
    }
    for item in &config.gateways {
        note(format!("gateways/{}", item.name), gateway(item));
    }
    for item in &config.nodes {
        // A key that came later counts once it is set, so that a file without it keeps its generation.
        let is_set = |(key, value): &Fact| !matches!(*key, "ari" | "site") || value != NONE;
        note(format!("nodes/{}", item.name), node(item).into_iter().filter(is_set).collect());
    }
    for item in &config.pools {
        note(format!("pools/{}", item.name), pool(item));
        for part in &item.members {
            note(format!("pools/{}/nodes/{}", item.name, part.node), member(part));
        }
    }
    for (position, item) in config.routes.iter().enumerate() {
        note(format!("routes/{position}"), vec![("name", or_none(item.name.as_ref())), ("rule", route(item))]);
    }
    facts.retain(|(key, _)| counts(key));
    facts.sort();
    hash(&facts)
}

/// Each piece is closed off by its length, so that two lists of pieces never run together.
fn hash(facts: &[(String, String)]) -> Generation {
    let mut digest = Sha256::new().chain_update("cordboard configuration 1");
    for piece in facts.iter().flat_map(|(key, value)| [key, value]) {
        digest.update((piece.len() as u64).to_be_bytes());
        digest.update(piece);
    }
    let octets = digest.finalize();
    Generation(octets[..8].iter().fold(0, |number, octet| number << 8 | u64::from(*octet)))
}

fn or_none(value: Option<impl ToString>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| value.to_string())
}

fn list(values: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let texts: Vec<String> = values.into_iter().map(|value| value.as_ref().to_owned()).collect();
    if texts.is_empty() { NONE.to_owned() } else { texts.join(", ") }
}

fn fingerprint(secret: Option<&Secret>) -> String {
    or_none(secret.map(Secret::fingerprint))
}
