//! From a valid configuration to the next farm.
//!
//! Pure. A node's number belongs to its name for as long as the edge runs, and what is known of the node hangs on that number;
//! so a changed weight or address forgets nothing.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::calls::lease::Way;
use crate::calls::{NodeId, PoolId};
use crate::dispatch::board::{MemberPlan, NodePlan, PoolPlan, Rank};
use crate::dispatch::farm::{Farm, Listener, Pool, SecurityPolicy};
use crate::dispatch::node::{Kind, Node, NodeLive, NodeUri};
use crate::dispatch::rules::{Action, From, Pattern, Rule, Sources};
use crate::keys::Keys;
use crate::registrar::{Aor, Authority, Permanent, Permanents, Service};
use crate::transport::flow::{ListenerId, Protocol, Target};

use super::checked::{AGENTS, Config, ContactConfig, ListenConfig, PoolConfig, RouteAction, RouteConfig, RouteFrom};

/// Numbers of names, given once and kept.
#[derive(Clone, Debug, Default)]
pub struct Names {
    nodes: BTreeMap<String, u32>,
    pools: BTreeMap<String, u32>,
}

impl Names {
    /// The number of a node or gateway.
    pub fn node(&mut self, name: &str) -> NodeId {
        let next = self.nodes.len() as u32;
        NodeId(*self.nodes.entry(name.to_owned()).or_insert(next))
    }

    /// The number of a pool.
    pub fn pool(&mut self, name: &str) -> PoolId {
        let next = self.pools.len() as u32;
        PoolId(*self.pools.entry(name.to_owned()).or_insert(next))
    }

    /// The number of a node or gateway, if its name was ever used.
    pub fn find_node(&self, name: &str) -> Option<NodeId> {
        self.nodes.get(name).map(|number| NodeId(*number))
    }
}

/// What a farm is built from.
pub struct Inputs<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The farm's keyed hashes.
    pub keys: &'a Keys,
    /// The farm that serves now.
    pub previous: Option<&'a Farm>,
    /// The addresses behind every node, as far as they are known.
    pub addresses: &'a BTreeMap<NodeId, Vec<Target>>,
    /// Threads that read from one listener.
    pub workers: u32,
    /// Whether a node that is no longer configured still has calls.
    pub has_calls: &'a dyn Fn(NodeId) -> bool,
}

/// The next farm, and what the board has to know of it.
#[derive(Debug)]
pub struct Built {
    /// The farm.
    pub farm: Farm,
    /// Its nodes.
    pub nodes: Vec<NodePlan>,
    /// Its pools.
    pub pools: Vec<PoolPlan>,
}

/// Builds the next farm.
pub fn build(inputs: &Inputs<'_>, names: &mut Names) -> Built {
    let config = inputs.config;
    let listeners = listeners(&config.listen);
    let nodes = nodes(inputs, names, &listeners);
    let pools: Vec<Option<Pool>> = pools(config, names);
    let rules = rules(config, names);
    let farm = Farm {
        generation: config.generation(),
        edge: config.edge.name.as_str().into(),
        keys: inputs.keys.clone(),
        domains: config.edge.domains.iter().map(|domain| domain.clone().into_bytes()).collect(),
        sources: sources(inputs, names, &nodes),
        rules,
        calls: config.calls.clone(),
        security: SecurityPolicy {
            stranger_rate: config.limits.stranger_rate.div_ceil(inputs.workers.max(1)),
            ..config.security.clone()
        },
        registrar: registrar(config, names, &listeners),
        listeners,
        nodes,
        pools,
    };
    let node_plan = |node: &Arc<Node>| NodePlan { id: node.id, max_calls: node.max_calls };
    let nodes = farm.nodes.iter().flatten().map(node_plan).collect();
    let pools = farm.pools.iter().flatten().map(|pool| pool.plan.clone()).collect();
    Built { farm, nodes, pools }
}

/// The number of a listener, made from its protocol and address; where two would share one, the later takes the next.
fn listeners(list: &[ListenConfig]) -> Vec<Listener> {
    let mut taken = HashSet::new();
    let mut numbered = Vec::new();
    for listen in list {
        let mut number = number_of(listen.uri.protocol, listen.uri.bind);
        while !taken.insert(number) {
            number = number.wrapping_add(1);
        }
        numbered.push(Listener::new(ListenerId(number), listen.uri.protocol, listen.uri.bind, &listen.sent_by));
    }
    numbered
}

/// FNV-1a, folded to 16 bits.
fn number_of(protocol: Protocol, bind: SocketAddr) -> u16 {
    let text = format!("{}://{bind}", protocol.lower());
    let hash = text.bytes().fold(0x811c_9dc5u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash >> 16) as u16 ^ hash as u16
}

fn nodes(inputs: &Inputs<'_>, names: &mut Names, listeners: &[Listener]) -> Vec<Option<Arc<Node>>> {
    let config = inputs.config;
    let mut list: Vec<Option<Arc<Node>>> = Vec::new();
    let mut put = |node: Arc<Node>| {
        let at = node.id.0 as usize;
        if list.len() <= at {
            list.resize(at + 1, None);
        }
        list[at] = Some(node);
    };
    let live = |id: NodeId| -> Arc<NodeLive> {
        inputs.previous.and_then(|farm| farm.node(id)).map(|node| Arc::clone(&node.live)).unwrap_or_default()
    };
    let mut make = |name: &str, kind, uri: Option<&NodeUri>, max_calls| {
        let id = names.node(name);
        let listener = listener_to(uri, inputs.addresses.get(&id), listeners);
        Arc::new(Node { id, name: name.into(), kind, uri: uri.cloned(), listener, max_calls, live: live(id) })
    };
    for node in &config.nodes {
        put(make(&node.name, Kind::Node, Some(&node.uri), node.max_calls));
    }
    for gateway in &config.gateways {
        put(make(&gateway.name, Kind::Gateway, gateway.uri.as_ref(), gateway.max_calls));
    }
    if config.registrar.is_some() {
        put(make(AGENTS, Kind::Agents, None, None));
    }
    // Whoever is no longer configured stays known until the last of its calls has ended.
    let is_there = |id: NodeId| names.nodes.iter().any(|(name, number)| *number == id.0 && is_configured(config, name));
    let gone = inputs.previous.into_iter().flat_map(|farm| farm.nodes.iter().flatten());
    for node in gone.filter(|node| !is_there(node.id) && (inputs.has_calls)(node.id)) {
        put(Arc::clone(node));
    }
    list
}

/// The service as it is configured, with the number that calls to agents are counted under.
fn registrar(config: &Config, names: &mut Names, listeners: &[Listener]) -> Option<Arc<Service>> {
    let registrar = config.registrar.as_ref()?;
    let authority = registrar.auth.as_ref().map(|auth| Authority {
        realm: auth.realm.as_str().into(),
        algorithms: auth.algorithms.clone(),
        users: auth.users.clone(),
    });
    Some(Arc::new(Service {
        authority,
        permanents: permanents(&registrar.contacts, listeners),
        terms: registrar.terms.clone(),
        not_registered: registrar.not_registered,
        keep_alive: registrar.keep_alive,
        domain: config.domain().as_bytes().into(),
        agents: names.node(AGENTS),
        policy: registrar.agents.clone(),
    }))
}

/// Phones that cannot register, each with the listener that reaches it.
fn permanents(contacts: &[ContactConfig], listeners: &[Listener]) -> Permanents {
    let built = contacts.iter().filter_map(|contact| {
        let listener = listener_for(contact.target.protocol, Some(contact.target), listeners);
        let way = Way::Target { listener, target: contact.target };
        let permanent = Permanent { contact: contact.uri.as_bytes().into(), way, preference: contact.preference };
        Some((Aor::from_user(contact.user.as_bytes())?, permanent))
    });
    Permanents::new(built)
}

fn is_configured(config: &Config, name: &str) -> bool {
    if name == AGENTS {
        return config.registrar.is_some();
    }
    config.nodes.iter().any(|node| node.name == name) || config.gateways.iter().any(|gateway| gateway.name == name)
}

/// The first listener that reaches a node: by its addresses where they are known, else by its protocol.
fn listener_to(uri: Option<&NodeUri>, addresses: Option<&Vec<Target>>, listeners: &[Listener]) -> ListenerId {
    let protocol = uri.map_or(Protocol::Udp, |uri| uri.protocol);
    listener_for(protocol, addresses.and_then(|list| list.first()).copied(), listeners)
}

fn listener_for(protocol: Protocol, known: Option<Target>, listeners: &[Listener]) -> ListenerId {
    let reaches = |listener: &&Listener| {
        listener.protocol == protocol && known.is_none_or(|t| t.address.is_ipv4() == listener.bind.is_ipv4())
    };
    listeners.iter().find(reaches).map_or_else(ListenerId::default, |listener| listener.id)
}

fn pools(config: &Config, names: &mut Names) -> Vec<Option<Pool>> {
    let mut list: Vec<Option<Pool>> = Vec::new();
    for pool in config.all_pools() {
        let plan = plan(config, &pool, names);
        let at = plan.id.0 as usize;
        if list.len() <= at {
            list.resize(at + 1, None);
        }
        list[at] = Some(Pool { name: pool.name.as_str().into(), key: pool.key.clone(), plan });
    }
    list
}

fn plan(config: &Config, pool: &PoolConfig, names: &mut Names) -> PoolPlan {
    let site_of = |name: &str| config.nodes.iter().find(|node| node.name == name).and_then(|node| node.site.as_ref());
    let is_far = |name: &str| match (&config.edge.site, site_of(name)) {
        (Some(own), Some(site)) => own != site,
        _ => false,
    };
    let members = pool.members.iter().map(|member| MemberPlan {
        node: names.node(&member.node),
        weight: member.weight.get(),
        rank: Rank { is_far: is_far(&member.node), priority: member.priority },
        name_hash: name_hash(&member.node),
    });
    PoolPlan {
        members: members.collect(),
        id: names.pool(&pool.name),
        algorithm: pool.algorithm,
        overflow: pool.overflow.as_deref().map(|name| names.pool(name)),
        sticky_until_percent: pool.sticky_until_percent,
        slow_start: pool.slow_start,
        panic: pool.panic,
    }
}

/// A hash of a name that is the same at every edge (FNV-1a).
fn name_hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn sources(inputs: &Inputs<'_>, names: &mut Names, nodes: &[Option<Arc<Node>>]) -> Sources {
    let mut sources = Sources::default();
    let addresses = |id: NodeId| inputs.addresses.get(&id).into_iter().flatten();
    for node in nodes.iter().flatten() {
        for target in addresses(node.id) {
            match node.kind {
                Kind::Node => sources.add_node(node.id, *target),
                Kind::Gateway => sources.add_target(node.id, *target),
                Kind::Agents => {}
            }
        }
    }
    for gateway in &inputs.config.gateways {
        let id = names.node(&gateway.name);
        for source in &gateway.sources {
            sources.add_gateway(id, source.network, source.port);
        }
    }
    sources
}

fn rules(config: &Config, names: &mut Names) -> Vec<Rule> {
    config.routes.iter().enumerate().map(|(position, route)| rule(route, position, names)).collect()
}

fn rule(route: &RouteConfig, position: usize, names: &mut Names) -> Rule {
    let pattern = |text: &Option<String>| text.as_deref().map(Pattern::new);
    Rule {
        name: route.label(position).into(),
        from: match &route.from {
            RouteFrom::Gateways => From::Gateways,
            RouteFrom::Nodes => From::Nodes,
            RouteFrom::Agents => From::Agents,
            RouteFrom::Anyone => From::Anyone,
            RouteFrom::Named(name) => From::Named(names.node(name)),
        },
        to_user: pattern(&route.to_user),
        from_user: pattern(&route.from_user),
        to_host: pattern(&route.to_host),
        methods: route.methods.clone(),
        action: match &route.action {
            RouteAction::Pool(name) => Action::Pool(names.pool(name)),
            RouteAction::Reject(code) => Action::Reject(*code),
        },
    }
}
