//! The file as it is written: every section and key, with what may stand there.
//!
//! The comments on the fields are what an editor shows, so they speak to the operator. Values are checked one by one
//! here; what several of them have to do with each other is for the `checks`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::dispatch::node::{NodeUri, Weight};
use crate::sip::Method;

use super::addresses::{Advertised, ApiAddress, AriWord, ContactUri, DnsServer, ListenUri, SourceNet};
use super::checked::{Affinity, LogFormat, LogLevel, Surplus};
use super::codes::{Codes, RejectCode, RetryOn};
use super::keys::{AlgorithmWord, FromWord, HashKey, Off, PathText, StickyKey, StoreWord};
use super::names::{HeaderField, Host, Name, PatternText, Realm, ReasonText, SentinelAt, UserName};
use super::numbers::{MaxCalls, Percent, Preference, Time, Whole};
use super::queue_options::{OptionName, OptionValue};
use super::secret::SecretText;
use super::words::{Given, TextOr};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The configuration of a Cordboard edge.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "dispatcher.yaml")]
pub struct RawConfig {
    /// The edge itself.
    pub edge: Option<RawEdge>,
    /// Where the edge listens for SIP; at least one place.
    pub listen: Option<Vec<TextOr<ListenUri, RawListener>>>,
    /// What keeps leases and the operator's words over a restart: embedded, memory, or a mapping with `redis` for what
    /// several edges share, beside the embedded one. Default: embedded.
    pub store: Option<TextOr<StoreWord, RawStore>>,
    /// Who sends calls from outside, and who takes calls to the outside.
    pub gateways: Option<Vec<RawGateway>>,
    /// Named sets of Asterisk nodes; at least one.
    pub pools: Option<BTreeMap<Given<Name>, RawPool>>,
    /// Which pool serves whom; the first rule that fits decides. Default: calls of gateways go to the pool `inbound`
    /// (or the only pool), calls of agents too, calls of nodes to the gateways.
    pub routes: Option<Vec<RawRoute>>,
    /// How nodes are judged alive.
    pub health: Option<RawHealth>,
    /// When a node is given up for a call and the next one is asked.
    pub failover: Option<RawFailover>,
    /// How calls are treated.
    pub calls: Option<RawCalls>,
    /// Bounds that keep the edge within its memory, whatever arrives.
    pub limits: Option<RawLimits>,
    /// What is let in.
    pub security: Option<RawSecurity>,
    /// How agents are treated.
    pub agents: Option<RawAgents>,
    /// Who may register here. Absent: nobody, and REGISTER is answered 405.
    pub registrar: Option<RawRegistrar>,
    /// Comparing calls with the channels that nodes have, by ARI. Absent: they are not compared.
    pub ari: Option<RawAri>,
    /// How names are looked up.
    pub dns: Option<RawDns>,
    /// How the edge stops.
    pub stop: Option<RawStop>,
    /// The HTTP API, the dashboard and the metrics; `off` for none.
    pub api: Option<TextOr<Off, RawApi>>,
    /// What is logged, and how.
    pub log: Option<RawLog>,
}

/// The edge itself.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Edge")]
pub struct RawEdge {
    /// Name of this edge in logs, metrics and leases; different for each edge of a farm. Default: edge-1.
    pub name: Option<Given<Name>>,
    /// Names that are the edge's own in a Request-URI or a Route, beside its addresses.
    pub domains: Option<Vec<Given<Host>>>,
    /// Directory of what outlives a restart. Default: ./state.
    pub state_dir: Option<Given<PathText>>,
    /// The secret of the farm, the same for all its edges, at least 16 octets: text, ${NAME} or file:/path. Absent:
    /// made once and kept in state_dir.
    pub secret: Option<Given<SecretText>>,
    /// Where it stands. Nodes of the same site are used before those of others. Default: none, and all nodes are alike.
    pub site: Option<Given<Name>>,
    /// UDP threads for each listener, 1 to 64. Default: as many as there are cores, at most 4.
    pub workers: Option<Given<Whole<1, 64>>>,
}

/// A store that several edges share.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Store")]
pub struct RawStore {
    /// Where edges meet.
    pub redis: RawRedis,
}

/// Where edges meet: Redis 6.2 or newer, or Valkey.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Redis")]
pub struct RawRedis {
    /// redis://[user:password@]host:port/database, or rediss:// for TLS; text, ${NAME} or file:/path.
    pub url: Option<Given<SecretText>>,
    /// In place of `url`: up to 16 sentinels as HOST or HOST:PORT, which say where the master is. Port: 26379.
    pub sentinels: Option<Vec<Given<SentinelAt>>>,
    /// The name that the sentinels know the master by.
    pub master: Option<Given<Name>>,
    /// A user of Redis (ACL). Default: the one of the URL, or Redis' default user.
    pub user: Option<Given<Name>>,
    /// The password: text, ${NAME} or file:/path. Default: the one of the URL, or none.
    pub password: Option<Given<SecretText>>,
    /// File of the authorities (PEM) whose certificates are believed. Default: those of the machine. With `sentinels` it means that they
    /// and Redis are reached by TLS.
    pub ca: Option<Given<PathText>>,
    /// What all keys of this farm begin with. Default: cordboard.
    pub namespace: Option<Given<Name>>,
    /// How nodes are chosen: strict asks Redis for each new call, so that all edges count as one; local goes by what the edges have
    /// told each other a moment ago. Default: strict.
    pub affinity: Option<Affinity>,
    /// How long a call waits for an answer before it goes by what the edge knows itself, 1ms to 1s. Default: 20ms.
    pub deadline: Option<Given<Time<1, SECOND>>>,
    /// How long an edge may be silent before the others take over its calls, 1s to 1m. Default: 3s.
    pub gone_after: Option<Given<Time<SECOND, MINUTE>>>,
}

/// A listener with more than its address.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Listener")]
pub struct RawListener {
    /// Protocol, address and port: udp://192.0.2.1:5060, tcp://[2001:db8::1]:5060.
    pub uri: Given<ListenUri>,
    /// Host and port that others reach it by, where that is another than the address: behind NAT, or with 0.0.0.0.
    pub advertise: Option<Given<Advertised>>,
}

/// A gateway or carrier.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Gateway")]
pub struct RawGateway {
    /// Its name.
    pub name: Given<Name>,
    /// Where it sends from: addresses, networks, or addresses with a port. Default: the address of `uri`.
    pub source: Option<Vec<Given<SourceNet>>>,
    /// Where calls to the outside are sent: sip:HOST[:PORT][;transport=tcp]. Absent: it only sends.
    pub uri: Option<Given<NodeUri>>,
    /// Calls that it takes at once, 1 to 1000000. Default: no limit.
    pub max_calls: Option<Given<MaxCalls>>,
}

/// A set of nodes and how calls are spread over it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Pool")]
pub struct RawPool {
    /// How calls are spread. Default: weighted_least_calls.
    pub algorithm: Option<RawAlgorithm>,
    /// What the algorithm `hash` goes by: call_id, from_user, to_user or header:NAME. Default: call_id.
    pub hash: Option<Given<HashKey>>,
    /// What keeps calls together on one node while it has room: from_user, to_user or header:NAME. Default: nothing
    /// does.
    pub sticky: Option<Given<StickyKey>>,
    /// The part of max_calls up to which a node takes calls because of `sticky`, 1% to 100%. Default: 80%.
    pub sticky_until: Option<Given<Percent<1, 100>>>,
    /// How long a node that came back takes less than its share, at most 1h; 0s for not at all. Default: 30s.
    pub slow_start: Option<Given<Time<0, HOUR>>>,
    /// Whether the least suspicious node is tried when all look dead, since a wrong verdict must not become an
    /// outage. Default: true.
    pub panic: Option<bool>,
    /// The pool that takes the calls for which there is no place here. Default: none.
    pub overflow: Option<Given<Name>>,
    /// The nodes: each defined here, or the plain name of one that another pool defines.
    pub nodes: Option<Vec<TextOr<Name, RawNode>>>,
}

/// How calls are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Algorithm")]
pub enum RawAlgorithm {
    /// Fewest calls for its weight; equals are drawn.
    WeightedLeastCalls,
    /// In turn, by weight.
    RoundRobin,
    /// Drawn, by weight.
    Random,
    /// By a key of the call, by weight; losing a node moves only its calls.
    Hash,
}

/// A node in a pool.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Node")]
pub struct RawNode {
    /// Its name: what it is known by over reloads, whatever else changes.
    pub name: Given<Name>,
    /// Where it is: sip:HOST[:PORT][;transport=tcp]. Absent: another pool defines the node, and weight and priority
    /// are those in this pool.
    pub uri: Option<Given<NodeUri>>,
    /// Its share of the calls against the other nodes, 1 to 1000. Default: 10, so that there is room below.
    pub weight: Option<Given<Weight>>,
    /// Calls that it may have at once, over all pools, 1 to 1000000. Default: no limit.
    pub max_calls: Option<Given<MaxCalls>>,
    /// Nodes of a higher number are used when those of a lower one take no more, 0 to 255. Default: 0.
    pub priority: Option<Given<Whole<0, 255>>>,
    /// Where it stands. Edges of another site use it when the nodes of their own take no more. Default: none, at home everywhere.
    pub site: Option<Given<Name>>,
    /// Where its ARI is: http://HOST:PORT/ari, or `off`. Default: the node's host, at the port of the section `ari`.
    pub ari: Option<Given<AriWord>>,
}

/// A rule: who asks, for what, and what then.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Route")]
pub struct RawRoute {
    /// Its name in explanations and changes. Default: its number.
    pub name: Option<Given<Name>>,
    /// Who sends: gateways, nodes, agents, anyone, or the name of one gateway or node.
    pub from: Given<FromWord>,
    /// Pattern of the called number: `*` is any run of characters, `?` any one. Default: any.
    pub to_user: Option<Given<PatternText>>,
    /// Pattern of the caller's number. Default: any.
    pub from_user: Option<Given<PatternText>>,
    /// Pattern of the host in the Request-URI. Default: any.
    pub to_host: Option<Given<PatternText>>,
    /// The methods. Default: all.
    pub methods: Option<Vec<Given<Method>>>,
    /// The pool whose nodes get the call; `gateways` for the gateways that have a uri.
    pub pool: Option<Given<Name>>,
    /// The code that the edge refuses with, 400 to 699, instead of a pool.
    pub reject: Option<Given<RejectCode>>,
}

/// How nodes are judged alive.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Health")]
pub struct RawHealth {
    /// Pause between probes of a node that is well, 100ms to 1h. Default: 2s.
    pub interval: Option<Given<Time<100, HOUR>>>,
    /// How long a probe may go unanswered, 50ms to 1m. Default: 1s.
    pub timeout: Option<Given<Time<50, MINUTE>>>,
    /// Failures in a row until a node is down, 1 to 100. Default: 3.
    pub fall: Option<Given<Whole<1, 100>>>,
    /// Successes in a row until it is up again, 1 to 100. Default: 2.
    pub rise: Option<Given<Whole<1, 100>>>,
    /// Part of the interval by which probes are spread, so that they do not all go out at once, 0% to 50%. Default:
    /// 10%.
    pub jitter: Option<Given<Percent<0, 50>>>,
    /// Answers to a probe that do not count as life. A 503 always does: alive, but closed. Default: 408 and 5xx.
    pub dead_codes: Option<Vec<Given<Codes>>>,
    /// Round trip of a probe above which a node gets less than its share, 1ms to 1m. Default: 100ms.
    pub slow_after: Option<Given<Time<1, MINUTE>>>,
    /// How long a node that said it is full gets no new calls, 0s to 1h. Default: 1s.
    pub full_pause: Option<Given<Time<0, HOUR>>>,
    /// A node that goes down again within this time of coming up is flapping, and waits longer each time, 0s to 1d.
    /// Default: 1m.
    pub flap_window: Option<Given<Time<0, DAY>>>,
    /// Longest wait of a flapping node, 0s to 1d. Default: 2m.
    pub flap_wait_max: Option<Given<Time<0, DAY>>>,
}

/// When a node is given up for a call and the next one is asked.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Failover")]
pub struct RawFailover {
    /// How long a node may say nothing at all to an INVITE, 50ms to 32s. Default: 1s.
    pub no_response: Option<Given<Time<50, { 32 * SECOND }>>>,
    /// Nodes that one call may be offered to, 1 to 8. Default: 3.
    pub max_tries: Option<Given<Whole<1, 8>>>,
    /// How long after the INVITE a further node may still be asked, 0s to 1m. Default: 4s.
    pub budget: Option<Given<Time<0, MINUTE>>>,
    /// What leads to the next node: silence, refused, node_down, and answers such as `503`, `503 without reason` or
    /// `503 cause 42`. Default: silence, refused, node_down, 503 without reason, 503 cause 42.
    pub retry_on: Option<Vec<Given<RetryOn>>>,
    /// What the caller sees of a node's own 503. Default: as_500, since a 503 would close the whole edge for him.
    pub forward_503: Option<RawForward503>,
}

/// What the caller sees of a node's own 503.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Forward503")]
pub enum RawForward503 {
    /// A 500 with the node's Reason (RFC 3261 section 16.7).
    #[serde(rename = "as_500")]
    As500,
    /// The 503.
    AsIs,
}

/// How calls are treated.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Calls")]
pub struct RawCalls {
    /// Longest wait for a final answer, 5s to 1h. Default: 3m.
    pub ring_timeout: Option<Given<Time<{ 5 * SECOND }, HOUR>>>,
    /// Longest call; a lease whose BYE was lost ends then, 1m to 7d. Default: 4h.
    pub max_duration: Option<Given<Time<MINUTE, { 7 * DAY }>>>,
    /// Retry-After of the edge's own 503, whole seconds, 1s to 1h. Default: 5s.
    pub retry_after: Option<Given<Time<SECOND, HOUR>>>,
    /// Whether the edge stays on the way of a call. Without it the end of a call is not seen. Default: true.
    pub record_route: Option<bool>,
}

/// Bounds that keep the edge within its memory, whatever arrives.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Limits")]
pub struct RawLimits {
    /// Registered phones at once, 1 to 10000000. More are answered 503. Default: 100000.
    pub bindings: Option<Given<Whole<1, 10_000_000>>>,
    /// Calls at once, 1 to 10000000. More are answered 503: a lease takes about a kilobyte. Default: 200000.
    pub calls: Option<Given<Whole<1, 10_000_000>>>,
    /// Octets of a message, 1500 to 65535. No datagram is larger; on a stream it bounds what is buffered. Default:
    /// 65535.
    pub message_bytes: Option<Given<Whole<1_500, 65_535>>>,
    /// TCP connections at once, 1 to 1000000. Each takes a descriptor of the process. Default: 4000.
    pub connections: Option<Given<Whole<1, 1_000_000>>>,
    /// TCP connections from one address, 1 to 1000000, so that nobody takes them all. Default: 200.
    pub connections_per_source: Option<Given<Whole<1, 1_000_000>>>,
    /// Recent calls that can be explained, 0 to 1000000. Each takes half a kilobyte. Default: 20000.
    pub explain: Option<Given<Whole<0, 1_000_000>>>,
    /// How long a connection to a node may take to come up, 50ms to 1m: a call waits for it. Default: 2s.
    pub connect_timeout: Option<Given<Time<50, MINUTE>>>,
    /// How long a message that began on a stream may take to end, 100ms to 5m, against those who send a byte a
    /// minute. Default: 10s.
    pub message_timeout: Option<Given<Time<100, { 5 * MINUTE }>>>,
    /// How long a connection may be silent, 10s to 1d. Default: 10m.
    pub idle_timeout: Option<Given<Time<{ 10 * SECOND }, DAY>>>,
    /// Messages a second from one unknown address before they are dropped unread, 1 to 100000. Nodes and gateways are
    /// not bounded by it. Default: 20.
    pub stranger_rate: Option<Given<Whole<1, 100_000>>>,
}

/// What is let in.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Security")]
pub struct RawSecurity {
    /// Whether OPTIONS from unknown addresses is answered. Default: false, since scanners ask first.
    pub options_from_strangers: Option<bool>,
    /// Header fields that only nodes may send; from others they are removed, the compact form too. X-Edge-* always
    /// is. Default: none.
    pub strip: Option<Vec<Given<HeaderField>>>,
}

/// Who may register, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Registrar")]
pub struct RawRegistrar {
    /// What a phone has to prove. Default: digest.
    pub auth: Option<RawAuth>,
    /// The realm that passwords belong to. Default: the first of edge.domains, else the edge's name.
    pub realm: Option<Given<Realm>>,
    /// The digests that are offered, the first one first: sha-512-256, sha-256, md5. Default: sha-256, md5.
    pub algorithms: Option<Vec<Given<AlgorithmWord>>>,
    /// The users.
    pub users: Option<Vec<RawUser>>,
    /// A file with more users, which is read again when it changes: a list like `users` when its name ends in .yaml or .yml,
    /// else lines of htdigest, USER:REALM:HASH. Default: none.
    pub users_file: Option<Given<PathText>>,
    /// Phones that cannot register, such as door phones and analogue gateways, with where they are. Default: none.
    pub contacts: Option<Vec<RawContact>>,
    /// Shorter registrations are refused with 423, 1s to 1d. Default: 1m.
    pub min_expires: Option<Given<Time<SECOND, DAY>>>,
    /// What a phone gets that asks for nothing, 1s to 7d. Default: 5m.
    pub default_expires: Option<Given<Time<SECOND, { 7 * DAY }>>>,
    /// Longer registrations are shortened to this, 1s to 7d. Default: 1h.
    pub max_expires: Option<Given<Time<SECOND, { 7 * DAY }>>>,
    /// Phones of one user at once, 1 to 100. The one that was refreshed longest ago makes room. Default: 5.
    pub max_contacts: Option<Given<Whole<1, 100>>>,
    /// Pause between two OPTIONS to a phone behind NAT, which keep its way in open, 0s to 1h; 0s for none. Three without an
    /// answer end its registration. Default: 25s.
    pub keep_alive: Option<Given<Time<0, HOUR>>>,
    /// Answer to a call for a user who is registered nowhere, 400 to 699. Default: 480.
    pub not_registered: Option<Given<RejectCode>>,
}

/// How agents are treated.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Agents")]
pub struct RawAgents {
    /// Which calls are answered 486 while an agent is not free. Default: queue.
    pub gate: Option<RawGate>,
    /// How long an agent is left alone after a call from a queue, 0s to 1h. Default: 0s.
    pub wrapup: Option<Given<Time<0, HOUR>>>,
    /// Queues of the nodes: their wrap-up, their members, and what nodes are told of them.
    pub queues: Option<Vec<RawQueue>>,
    /// How nodes learn who is in a queue: by their files (`off`), by asking the edge for its `members`, or for `queues` as a whole.
    /// Default: off.
    pub realtime: Option<RawRealtime>,
    /// Why agents may be not ready; other reasons are refused. Default: whatever they say.
    pub reasons: Option<Vec<Given<ReasonText>>>,
    /// Address and port for FastAGI questions of nodes, such as 192.0.2.1:4573. Default: none.
    pub agi: Option<Given<ApiAddress>>,
    /// Whether every change of an agent's state is told to the queues of all nodes. Default: false.
    pub publish: Option<bool>,
    /// Whether a call of an agent's goes to the node that has another call of his, which is where he can join the two by an
    /// attended transfer. Default: true.
    pub affinity: Option<bool>,
}

/// How nodes learn who is in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Realtime")]
pub enum RawRealtime {
    /// By their files.
    Off,
    /// The queue by their files, its members from the edge.
    Members,
    /// All of it from the edge.
    Queues,
}

/// A queue, and how its agents are treated.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Queue")]
pub struct RawQueue {
    /// Its name, as its calls carry it in X-Edge-Queue.
    pub name: Given<Name>,
    /// How long an agent is left alone after a call from it, 0s to 1h. What stands with a user goes before it. Default: agents.wrapup.
    pub wrapup: Option<Given<Time<0, HOUR>>>,
    /// Who is in it: users, patterns of users, and those who have a skill. Default: nobody that the edge knows of.
    pub members: Option<Vec<TextOr<PatternText, RawMember>>>,
    /// Options of queues.conf. Default: those that `asterisk-config` writes for every queue.
    pub options: Option<BTreeMap<Given<OptionName>, Given<OptionValue>>>,
}

/// Members of a queue.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Member")]
pub struct RawMember {
    /// A user, or a pattern of users.
    pub user: Option<Given<PatternText>>,
    /// In place of that, all who have this skill.
    pub skill: Option<Given<Name>>,
    /// Members with a smaller one are asked first, 0 to 1000. Default: 0.
    pub penalty: Option<Given<Whole<0, 1000>>>,
}

/// Which calls have to find an agent free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Gate")]
pub enum RawGate {
    /// Those that carry X-Edge-Queue, which a node's dialplan puts on the calls of its queues.
    Queue,
    /// All.
    All,
    /// None.
    Off,
}

/// What a phone has to prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Auth")]
pub enum RawAuth {
    /// That it knows the user's password.
    Digest,
    /// Nothing: everybody may register under any name. For labs, on loopback addresses only.
    None,
    /// The same on any address.
    Open,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "User")]
pub struct RawUser {
    /// The name: the user part of the address, mostly a number.
    pub name: Given<UserName>,
    /// The password: text, ${NAME} or file:/path.
    pub password: Option<Given<SecretText>>,
    /// In place of a password, the MD5 of NAME:REALM:PASSWORD in hexadecimal digits, as htdigest makes it.
    pub md5: Option<Given<SecretText>>,
    /// The same by SHA-256.
    pub sha256: Option<Given<SecretText>>,
    /// What he is good for as an agent: `reserve` asks for it. Default: nothing in particular.
    pub skills: Option<Vec<Given<Name>>>,
    /// How long he is left alone after a call from a queue, whichever it is, 0s to 1h. Default: as agents.queues and
    /// agents.wrapup have it.
    pub wrapup: Option<Given<Time<0, HOUR>>>,
    /// Patterns of users whose phones this one may register beside his own. Default: none.
    pub may_register: Option<Vec<Given<PatternText>>>,
}

/// A phone that cannot register.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Contact")]
pub struct RawContact {
    /// The user whose phone it is; one of `users`, or any other name.
    pub user: Given<UserName>,
    /// Where it is: sip:USER@ADDRESS[:PORT][;transport=tcp]. An address and no name.
    pub contact: Given<ContactUri>,
    /// Its preference against the user's other phones, 0 to 1. Default: 1.
    pub q: Option<Given<Preference>>,
}

/// Comparing calls with the channels that nodes have, by ARI.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Ari")]
pub struct RawAri {
    /// The user of the nodes' ari.conf. Default: edge.
    pub user: Option<Given<Name>>,
    /// Its password: text, ${NAME} or file:/path.
    pub password: Given<SecretText>,
    /// The port of the nodes' http.conf, 1 to 65535. Default: 8088.
    pub port: Option<Given<Whole<1, 65_535>>>,
    /// Pause between two comparisons, 5s to 1h. Default: 30s.
    pub interval: Option<Given<Time<{ 5 * SECOND }, HOUR>>>,
    /// How long edge and node may disagree about a call, 1s to 10m: messages are on their way. Default: 10s.
    pub grace: Option<Given<Time<SECOND, { 10 * MINUTE }>>>,
    /// What becomes of a node's call that the edge never heard of: adopt, hangup or report. Default: adopt.
    pub surplus: Option<Surplus>,
}

/// How names are looked up.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Dns")]
pub struct RawDns {
    /// The servers, in order, at most 8. Default: those of the system.
    pub servers: Option<Vec<Given<DnsServer>>>,
    /// How long one server may take, 10ms to 30s. Default: 500ms.
    pub timeout: Option<Given<Time<10, { 30 * SECOND }>>>,
    /// Shortest time until a name is looked up again, whatever its TTL says, 1s to 1d. Default: 5s.
    pub min_ttl: Option<Given<Time<SECOND, DAY>>>,
    /// Longest time until a name is looked up again, 1s to 7d. Default: 5m.
    pub max_ttl: Option<Given<Time<SECOND, { 7 * DAY }>>>,
}

/// How the edge stops.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Stop")]
pub struct RawStop {
    /// How long a stopping edge waits for its calls to end, 0s to 1d. Default: 1m.
    pub wait: Option<Given<Time<0, DAY>>>,
}

/// The HTTP API.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Api")]
pub struct RawApi {
    /// Address and port. Default: 127.0.0.1:8080. On other than loopback addresses a token is needed.
    pub listen: Option<Given<ApiAddress>>,
    /// What callers have to show as a bearer token: text, ${NAME} or file:/path. Default: none.
    pub token: Option<Given<SecretText>>,
}

/// What is logged, and how.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Log")]
pub struct RawLog {
    /// The least that is logged. Default: info.
    pub level: Option<LogLevel>,
    /// How lines look. Default: text.
    pub format: Option<LogFormat>,
    /// Whether addresses and numbers are left out of the log. Default: false.
    pub redact: Option<bool>,
}
