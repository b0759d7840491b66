//! Names behind nodes: SRV, then A and AAAA (RFC 3263 section 4.2, RFC 2782), by hickory.
//!
//! Never on the road of a message: a task looks names up before their time to live ends and publishes what it found, and
//! the last good answer serves while DNS fails.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::{Resolver as HickoryResolver, TokioResolver};

use crate::dispatch::node::NodeUri;
use crate::transport::flow::{Protocol, Target};

/// Addresses of one name that are used at most; a node has a handful.
const ADDRESSES_MAX: usize = 16;

/// Time to live of an address that is written out.
const FOREVER: Duration = Duration::from_secs(u64::MAX / 4);

/// How names are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvePolicy {
    /// Servers to ask; none means the system's.
    pub servers: Vec<SocketAddr>,
    /// How long one server may take.
    pub timeout: Duration,
    /// Shortest time that an answer is used for.
    pub min_ttl: Duration,
    /// Longest time that an answer is used for.
    pub max_ttl: Duration,
}

impl Default for ResolvePolicy {
    fn default() -> Self {
        ResolvePolicy {
            servers: Vec::new(),
            timeout: Duration::from_millis(500),
            min_ttl: Duration::from_secs(5),
            max_ttl: Duration::from_secs(300),
        }
    }
}

/// One address behind a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub target: Target,
    /// SRV priority: lower ones are used first.
    pub priority: u16,
    /// SRV weight: heavier ones are used first.
    pub weight: u16,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its addresses, the preferred one first.
    pub addresses: Vec<Address>,
    /// How long this may be used.
    pub ttl: Duration,
}

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// There is no such name, or it has no address.
    #[error("{0} has no address")]
    NoAddress(String),
    /// DNS did not answer.
    #[error("{name}: {what}")]
    Failed {
        /// The name.
        name: String,
        /// What went wrong.
        what: String,
    },
}

/// Looks names up.
pub struct Resolver {
    hickory: TokioResolver,
    policy: ResolvePolicy,
}

impl Resolver {
    /// A resolver. Fails when the system's configuration cannot be read and no servers are given.
    pub fn new(policy: ResolvePolicy) -> Result<Self, ResolveError> {
        let failed = |error: NetError| ResolveError::Failed { name: "DNS".to_owned(), what: error.to_string() };
        let mut builder = if policy.servers.is_empty() {
            TokioResolver::builder_tokio().map_err(failed)?
        } else {
            let servers = policy.servers.iter().map(|server| name_server(*server)).collect();
            let config = ResolverConfig::from_name_servers(servers);
            HickoryResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options: &mut ResolverOpts = builder.options_mut();
        options.timeout = policy.timeout;
        options.attempts = 2;
        // Freshness is kept here, where the last good answer is; a second cache would only age it.
        options.cache_size = 0;
        let hickory = builder.build().map_err(failed)?;
        Ok(Resolver { hickory, policy })
    }

    /// The addresses of a node.
    pub async fn resolve(&self, uri: &NodeUri) -> Result<Answer, ResolveError> {
        if let Some(answer) = literal(uri) {
            return Ok(answer);
        }
        let mut answer = match uri.port {
            Some(port) => self.addresses(uri, &uri.host, port).await?,
            None => match self.services(uri).await? {
                Some(answer) => answer,
                None => self.addresses(uri, &uri.host, NodeUri::DEFAULT_PORT).await?,
            },
        };
        put_in_order(&mut answer.addresses);
        answer.ttl = answer.ttl.clamp(self.policy.min_ttl, self.policy.max_ttl);
        Ok(answer)
    }

    /// The addresses behind SRV records; `None` when there are no such records.
    async fn services(&self, uri: &NodeUri) -> Result<Option<Answer>, ResolveError> {
        let name = format!("_sip._{}.{}", uri.protocol.lower(), uri.host);
        let Some(lookup) = self.lookup(&name, RecordType::SRV).await? else { return Ok(None) };
        let mut answer = Answer { addresses: Vec::new(), ttl: ttl(&lookup) };
        for record in lookup.answers() {
            let RData::SRV(service) = &record.data else { continue };
            let host = service.target.to_utf8();
            // A target whose addresses cannot be found must not hide the others.
            let Ok(found) = self.addresses(uri, host.trim_end_matches('.'), service.port).await else { continue };
            answer.ttl = answer.ttl.min(found.ttl);
            let placed = |a: Address| Address { priority: service.priority, weight: service.weight, ..a };
            answer.addresses.extend(found.addresses.into_iter().map(placed));
        }
        if answer.addresses.is_empty() { Err(ResolveError::NoAddress(name)) } else { Ok(Some(answer)) }
    }

    async fn addresses(&self, uri: &NodeUri, host: &str, port: u16) -> Result<Answer, ResolveError> {
        let mut answer = Answer { addresses: Vec::new(), ttl: self.policy.max_ttl };
        if let Ok(ip) = host.parse::<IpAddr>() {
            answer.addresses.push(address(uri.protocol, ip, port));
            return Ok(answer);
        }
        for kind in [RecordType::A, RecordType::AAAA] {
            let Some(lookup) = self.lookup(host, kind).await? else { continue };
            answer.ttl = answer.ttl.min(ttl(&lookup));
            for record in lookup.answers() {
                match &record.data {
                    RData::A(a) => answer.addresses.push(address(uri.protocol, IpAddr::V4(a.0), port)),
                    RData::AAAA(a) => answer.addresses.push(address(uri.protocol, IpAddr::V6(a.0), port)),
                    _ => {}
                }
            }
        }
        if answer.addresses.is_empty() { Err(ResolveError::NoAddress(host.to_owned())) } else { Ok(answer) }
    }

    /// One question; `None` when the name is there but has no such record, or is not there.
    async fn lookup(&self, name: &str, kind: RecordType) -> Result<Option<Lookup>, ResolveError> {
        match self.hickory.lookup(name, kind).await {
            Ok(lookup) => Ok(Some(lookup)),
            Err(error) if error.is_no_records_found() => Ok(None),
            Err(error) => Err(ResolveError::Failed { name: name.to_owned(), what: error.to_string() }),
        }
    }

    /// The first address of a host name, for a request that a gateway's Contact sends there.
    pub async fn host(&self, host: &str, port: Option<u16>, protocol: Protocol) -> Result<SocketAddr, ResolveError> {
        let uri = NodeUri { host: host.to_owned(), port, protocol };
        let answer = self.resolve(&uri).await?;
        let first = answer.addresses.first().map(|address| address.target.address);
        first.ok_or_else(|| ResolveError::NoAddress(host.to_owned()))
    }
}

/// The answer for an address that is written out.
pub fn literal(uri: &NodeUri) -> Option<Answer> {
    let ip = uri.host.parse::<IpAddr>().ok()?;
    let port = uri.port.unwrap_or(NodeUri::DEFAULT_PORT);
    Some(Answer { addresses: vec![address(uri.protocol, ip, port)], ttl: FOREVER })
}

fn address(protocol: Protocol, ip: IpAddr, port: u16) -> Address {
    Address { target: Target { protocol, address: SocketAddr::new(ip, port) }, priority: 0, weight: 0 }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let at = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    NameServerConfig::new(address.ip(), true, vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())])
}

fn ttl(lookup: &Lookup) -> Duration {
    lookup.valid_until().saturating_duration_since(std::time::Instant::now())
}

/// By priority, then the heavier first; the address itself settles the rest, so that every edge has the same order.
fn put_in_order(addresses: &mut Vec<Address>) {
    addresses.sort_by_key(|a| (a.priority, std::cmp::Reverse(a.weight), a.target));
    addresses.dedup_by_key(|a| a.target);
    addresses.truncate(ADDRESSES_MAX);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_used_by_priority_then_weight_then_number() {
        let at = |host: &str, priority, weight| {
            let ip = host.parse().unwrap();
            Address { priority, weight, ..address(Protocol::Udp, ip, 5060) }
        };
        let mut list = vec![
            at("10.0.0.4", 20, 100),
            at("10.0.0.3", 10, 5),
            at("10.0.0.2", 10, 50),
            at("10.0.0.1", 10, 5),
            at("10.0.0.1", 10, 5),
        ];
        put_in_order(&mut list);
        let hosts: Vec<String> = list.iter().map(|a| a.target.address.ip().to_string()).collect();
        assert_eq!(hosts, ["10.0.0.2", "10.0.0.1", "10.0.0.3", "10.0.0.4"]);
    }

    #[test]
    fn an_address_that_is_written_out_needs_no_dns() {
        let uri = |host: &str, port| NodeUri { host: host.to_owned(), port, protocol: Protocol::Tcp };
        let first = |uri: &NodeUri| literal(uri).map(|answer| answer.addresses[0].target.to_string());
        assert_eq!(first(&uri("2001:db8::1", None)).as_deref(), Some("tcp:[2001:db8::1]:5060"));
        assert_eq!(first(&uri("10.0.0.1", Some(5080))).as_deref(), Some("tcp:10.0.0.1:5080"));
        assert_eq!(first(&uri("ast.example.com", None)), None);
    }
}
