//! The configuration once it is valid. Whoever holds a [`Config`] need not check anything again.
//!
//! It holds the types of `dispatch` and `calls` where those exist. Nodes, pools and gateways stand here by name;
//! numbers are given to them when the farm is built, since a number belongs to a name for as long as the edge runs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::dispatch::board::Algorithm;
use crate::dispatch::farm::{CallPolicy, Generation, KeyedBy, SecurityPolicy};
use crate::dispatch::health::HealthPolicy;
use crate::dispatch::node::{NodeUri, Weight};
use crate::registrar::digest::Algorithm as DigestAlgorithm;
use crate::registrar::{AgentPolicy, Terms, Users};
use crate::sip::Method;
use crate::transport::flow::{Protocol, Target};

pub use super::addresses::{AriWord, ListenUri, SourceNet};
pub use super::keys::RouteFrom;
use super::problem::Problem;
pub use super::secret::Secret;

/// A valid file, and what an operator should know about it all the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The configuration.
    pub config: Config,
    /// What is legal and looks wrong, in the order of the file.
    pub warnings: Vec<Problem>,
}

/// The configuration of an edge.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The edge itself.
    pub edge: EdgeConfig,
    /// Where it listens; at least one place. The first that fits a protocol and an address family is the one that
    /// requests leave by.
    pub listen: Vec<ListenConfig>,
    /// What survives a restart.
    pub store: StoreKind,
    /// What it shares with other edges, if there are any.
    pub redis: Option<RedisConfig>,
    /// All gateways, in the order of the file. No two share a name, and none has that of a node.
    pub gateways: Vec<GatewayConfig>,
    /// All nodes of all pools, each once, by name.
    pub nodes: Vec<NodeConfig>,
    /// The pools of the file, by name. That of the gateways is not among them; see [`Config::all_pools`].
    pub pools: Vec<PoolConfig>,
    /// The rules, in order; the default ones where the file has none.
    pub routes: Vec<RouteConfig>,
    /// How nodes are judged.
    pub health: HealthPolicy,
    /// How calls are treated, failover among it.
    pub calls: CallPolicy,
    /// What is let in. Compact forms of stripped names are listed too.
    pub security: SecurityPolicy,
    /// The bounds.
    pub limits: Limits,
    /// The registrar, if there is one.
    pub registrar: Option<RegistrarConfig>,
    /// How calls are compared with the nodes' channels, if they are.
    pub ari: Option<AriConfig>,
    /// How names are looked up.
    pub dns: DnsConfig,
    /// How long a stopping edge waits for its calls.
    pub stop_wait: Duration,
    /// The HTTP API, if it is on.
    pub api: Option<ApiConfig>,
    /// What is logged.
    pub log: LogConfig,
}

/// The edge itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeConfig {
    /// Its name.
    pub name: String,
    /// Its own host names, in lower case and sorted; IPv6 addresses with brackets.
    pub domains: Vec<String>,
    /// Where it keeps what outlives a restart.
    pub state_dir: PathBuf,
    /// The farm's secret; none means the one that is kept in `state_dir`.
    pub secret: Option<Secret>,
    /// Where it stands.
    pub site: Option<String>,
    /// UDP threads for each listener; none means one for each core, at most 4.
    pub workers: Option<u16>,
}

/// One place where the edge listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenConfig {
    /// Protocol and address. No two listeners share it.
    pub uri: ListenUri,
    /// Host and port that others reach it by, IPv6 with brackets: what `dispatch::farm::Listener` calls `sent_by`.
    pub sent_by: String,
}

/// What keeps leases and the operator's words over a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// One file under state_dir.
    Embedded,
    /// Nothing survives a restart.
    Memory,
}

/// How several edges share what they know.
#[derive(Clone, Debug, PartialEq)]
pub struct RedisConfig {
    /// Where it is.
    pub at: RedisAt,
    /// The user, if it does not stand in the URL.
    pub user: Option<String>,
    /// The password, if it does not stand in the URL.
    pub password: Option<Secret>,
    /// Authorities whose certificates are believed, in PEM; none for those of the machine.
    pub ca: Option<PathBuf>,
    /// What all keys of the farm begin with.
    pub namespace: String,
    /// How nodes are chosen.
    pub affinity: Affinity,
    /// How long a message waits for it.
    pub deadline: Duration,
    /// How long an edge may be silent before its calls are taken over.
    pub gone_after: Duration,
}

/// Where Redis is.
#[derive(Clone, Debug, PartialEq)]
pub enum RedisAt {
    /// At a URL, with the password if there is one.
    Url(Secret),
    /// Where sentinels say.
    Sentinels {
        /// Hosts and ports.
        sentinels: Vec<(String, u16)>,
        /// The name that they know the master by.
        master: String,
    },
}

/// How a node is chosen when there are several edges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Affinity {
    /// In one step over the calls of all edges.
    #[default]
    Strict,
    /// By what is known of the other edges' calls.
    Local,
}

impl Affinity {
    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Affinity::Strict => "strict",
            Affinity::Local => "local",
        }
    }
}

impl StoreKind {
    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            StoreKind::Embedded => "embedded",
            StoreKind::Memory => "memory",
        }
    }
}

/// A gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayConfig {
    /// Its name.
    pub name: String,
    /// Where it sends from; at least one.
    pub sources: Vec<SourceNet>,
    /// Where calls to the outside go; none for a gateway that only sends.
    pub uri: Option<NodeUri>,
    /// Calls that it takes at once; none means no limit.
    pub max_calls: Option<u32>,
}

/// An Asterisk node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub uri: NodeUri,
    /// Calls that it may have at once, over all pools; none means no limit.
    pub max_calls: Option<u32>,
    /// Where it stands; none is at home everywhere.
    pub site: Option<String>,
    /// Where its ARI is; none means its host at the port that all nodes share.
    pub ari: Option<AriWord>,
}

/// A pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// Its name.
    pub name: String,
    /// How calls are spread.
    pub algorithm: Algorithm,
    /// What the hash or stickiness goes by; the Call-ID where there is neither.
    pub key: KeyedBy,
    /// The part of `max_calls` up to which stickiness holds, in percent; none without stickiness.
    pub sticky_until_percent: Option<u8>,
    /// How long a node that came back takes less than its share.
    pub slow_start: Duration,
    /// Whether the least suspicious node is tried when all look dead.
    pub panic: bool,
    /// The pool that takes what finds no place here. Overflow never runs in a circle.
    pub overflow: Option<String>,
    /// Its nodes; at least one, none twice.
    pub members: Vec<MemberConfig>,
}

/// A node's part in a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberConfig {
    /// Name of the node, or of the gateway in the pool of the gateways.
    pub node: String,
    /// Its share.
    pub weight: Weight,
    /// Lower tiers are used first.
    pub priority: u8,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteConfig {
    /// Its name, if it was given one.
    pub name: Option<String>,
    /// Who sends.
    pub from: RouteFrom,
    /// Pattern of the called number.
    pub to_user: Option<String>,
    /// Pattern of the caller's number.
    pub from_user: Option<String>,
    /// Pattern of the host in the Request-URI.
    pub to_host: Option<String>,
    /// The methods; none means all.
    pub methods: Vec<Method>,
    /// What then.
    pub action: RouteAction,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteAction {
    /// A node of this pool gets the request. It exists.
    Pool(String),
    /// The edge refuses with this code.
    Reject(u16),
}

/// Bounds that keep the edge within its memory, whatever arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Registered phones at once.
    pub bindings: u32,
    /// Calls at once.
    pub calls: u32,
    /// Octets of a message.
    pub message_bytes: u32,
    /// Stream connections at once.
    pub connections: u32,
    /// Stream connections from one address.
    pub connections_per_source: u32,
    /// Recent calls that can be explained.
    pub explain: u32,
    /// How long a connection may take to come up.
    pub connect_timeout: Duration,
    /// How long a message that began on a stream may take to end.
    pub message_timeout: Duration,
    /// How long a connection may be silent.
    pub idle_timeout: Duration,
    /// Messages a second from one unknown address.
    pub stranger_rate: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            bindings: 100_000,
            calls: 200_000,
            message_bytes: 65_535,
            connections: 4_000,
            connections_per_source: 200,
            explain: 20_000,
            connect_timeout: Duration::from_secs(2),
            message_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(600),
            stranger_rate: 20,
        }
    }
}

/// How calls are compared with the nodes' channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AriConfig {
    /// The user of ari.conf.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// The port of http.conf.
    pub port: u16,
    /// Pause between two comparisons.
    pub interval: Duration,
    /// How long edge and node may disagree about a call.
    pub grace: Duration,
    /// What becomes of a node's call that the edge never heard of.
    pub surplus: Surplus,
}

impl AriConfig {
    /// The user, unless the file says otherwise.
    pub const USER: &str = "edge";
    /// The port, unless the file says otherwise.
    pub const PORT: u16 = 8_088;
    /// The pause, unless the file says otherwise.
    pub const INTERVAL: Duration = Duration::from_secs(30);
    /// The grace, unless the file says otherwise: BYEs and their repetitions are on their way for some seconds.
    pub const GRACE: Duration = Duration::from_secs(10);

    /// Where the ARI of a node is; none where it is off.
    pub fn url_of(&self, node: &NodeConfig) -> Option<String> {
        match &node.ari {
            Some(AriWord::Off) => None,
            Some(AriWord::Url(url)) => Some(url.clone()),
            None if node.uri.host.contains(':') => Some(format!("http://[{}]:{}/ari", node.uri.host, self.port)),
            None => Some(format!("http://{}:{}/ari", node.uri.host, self.port)),
        }
    }
}

/// What becomes of a node's call that the edge never heard of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Surplus {
    /// It gets a lease: it takes a place on its node whether the edge knows about it or not.
    #[default]
    Adopt,
    /// It is hung up.
    Hangup,
    /// It is counted, and nothing else; so are calls that the edge saw end.
    Report,
}

impl Surplus {
    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Surplus::Adopt => "adopt",
            Surplus::Hangup => "hangup",
            Surplus::Report => "report",
        }
    }
}

/// How names are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsConfig {
    /// The servers, in order; none means those of the system.
    pub servers: Vec<SocketAddr>,
    /// How long one server may take.
    pub timeout: Duration,
    /// Shortest time until a name is looked up again.
    pub min_ttl: Duration,
    /// Longest time until a name is looked up again.
    pub max_ttl: Duration,
}

impl Default for DnsConfig {
    fn default() -> Self {
        DnsConfig {
            servers: Vec::new(),
            timeout: Duration::from_millis(500),
            min_ttl: Duration::from_secs(5),
            max_ttl: Duration::from_secs(300),
        }
    }
}

/// The HTTP API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What callers have to show; never none on other than loopback addresses.
    pub token: Option<Secret>,
}

/// What is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The least that is logged.
    pub level: LogLevel,
    /// How lines look.
    pub format: LogFormat,
    /// Whether addresses and numbers are left out.
    pub redact: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig { level: LogLevel::Info, format: LogFormat::Text, redact: false }
    }
}

/// The least that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// An operator must act.
    Error,
    /// Something is not as it should be.
    Warn,
    /// What changed.
    Info,
    /// Every call.
    Debug,
    /// Every message.
    Trace,
}

impl LogLevel {
    /// The word of the configuration, which is also that of log filters.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl LogFormat {
    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }
    }
}

/// The registrar.
#[derive(Clone, Debug, PartialEq)]
pub struct RegistrarConfig {
    /// Who has to prove what; none lets everybody register under any name.
    pub auth: Option<AuthConfig>,
    /// How long registrations last.
    pub terms: Terms,
    /// Pause between two questions to a phone behind NAT; none for zero.
    pub keep_alive: Duration,
    /// Answer to a call for a user who is registered nowhere.
    pub not_registered: u16,
    /// How agents are treated.
    pub agents: AgentPolicy,
    /// Where nodes ask by FastAGI, if they may.
    pub agi: Option<SocketAddr>,
    /// Phones that cannot register, in the order of the file.
    pub contacts: Vec<ContactConfig>,
}

/// A phone that cannot register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactConfig {
    /// Whose it is.
    pub user: String,
    /// The URI that it is called by.
    pub uri: String,
    /// Where it is called at. A listener of this protocol and address family exists.
    pub target: Target,
    /// Preference (`q`) in thousandths.
    pub preference: u16,
}

/// What users prove themselves by.
#[derive(Clone, Debug, PartialEq)]
pub struct AuthConfig {
    /// The realm.
    pub realm: String,
    /// What is offered, in this order; at least one.
    pub algorithms: Vec<DigestAlgorithm>,
    /// All users: those of the section and those of `users_file`.
    pub users: Users,
    /// The file that users stand in, if there is one.
    pub users_file: Option<PathBuf>,
}

/// The name that all calls to agents are counted under.
pub const AGENTS: &str = "agents";

/// Name of the pool that all gateways with a URI make up.
pub const GATEWAY_POOL: &str = "gateways";

impl Config {
    /// The farm's name: the first of its domains, else where it listens.
    pub fn domain(&self) -> &str {
        let listener = || self.listen.first().map_or("", |listener| &listener.sent_by);
        self.edge.domains.first().map_or_else(listener, String::as_str)
    }

    /// A hash of what the configuration means: comments, the order of keys and defaults that are spelled out do not
    /// change it.
    pub fn generation(&self) -> Generation {
        super::facts::generation(self)
    }

    /// The same without what differs from edge to edge of one farm.
    pub fn shared_generation(&self) -> Generation {
        super::facts::shared_generation(self)
    }

    /// The pools of the file and, behind them, that of the gateways if there are any to call.
    pub fn all_pools(&self) -> impl Iterator<Item = PoolConfig> + '_ {
        self.pools.iter().cloned().chain(self.gateway_pool())
    }

    /// The pool of all gateways that have a URI: least calls, all of one weight.
    pub fn gateway_pool(&self) -> Option<PoolConfig> {
        let weight = Weight::new(1)?;
        let member = |gateway: &GatewayConfig| MemberConfig { node: gateway.name.clone(), weight, priority: 0 };
        let members: Vec<MemberConfig> = self.gateways.iter().filter(|g| g.uri.is_some()).map(member).collect();
        (!members.is_empty()).then(|| PoolConfig { members, ..PoolConfig::named(GATEWAY_POOL) })
    }
}

impl PoolConfig {
    /// How long a node that came back takes less than its share, unless the file says otherwise.
    pub const SLOW_START: Duration = Duration::from_secs(30);
    /// The part of `max_calls` up to which stickiness holds, unless the file says otherwise.
    pub const STICKY_UNTIL_PERCENT: u8 = 80;

    /// A pool with the defaults and without nodes.
    pub(super) fn named(name: &str) -> Self {
        PoolConfig {
            name: name.to_owned(),
            algorithm: Algorithm::default(),
            key: KeyedBy::CallId,
            sticky_until_percent: None,
            slow_start: Self::SLOW_START,
            panic: true,
            overflow: None,
            members: Vec::new(),
        }
    }
}

impl ListenConfig {
    /// The protocol.
    pub fn protocol(&self) -> Protocol {
        self.uri.protocol
    }
}

impl RouteConfig {
    /// What explanations call it, at its place in the list, counted from 0.
    pub fn label(&self, position: usize) -> String {
        self.name.clone().unwrap_or_else(|| format!("route-{}", position + 1))
    }
}
