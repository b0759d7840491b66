//! Nodes and pools: one name means one node, and every pool has nodes.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::config::checked::{AriWord, GATEWAY_POOL, GatewayConfig, MemberConfig, NodeConfig, PoolConfig};
use crate::config::names::Name;
use crate::config::place::Path;
use crate::config::raw::{RawAlgorithm, RawConfig, RawNode, RawPool};
use crate::config::suggest;
use crate::config::words::{Given, TextOr};
use crate::dispatch::board::Algorithm;
use crate::dispatch::farm::KeyedBy;
use crate::dispatch::node::{NodeUri, Weight};

use super::{Check, Placed};

/// The weight of a node that was given none: there is room below it and above.
const WEIGHT_DEFAULT: u16 = 10;

/// What was found of nodes and pools.
pub(super) struct Farm {
    pub(super) nodes: Vec<Placed<NodeConfig>>,
    /// In the order of the file.
    pub(super) pools: Vec<PoolConfig>,
    /// Names of all nodes and gateways.
    pub(super) names: HashSet<String>,
    /// Names of all pools, those that are lost and that of the gateways too.
    pub(super) pool_names: HashSet<String>,
    /// True when there may be names that are not among them.
    pub(super) names_are_lost: bool,
}

/// A node where it is defined.
struct Definition {
    path: Path,
    uri: Option<NodeUri>,
    max_calls: Option<u32>,
    site: Option<String>,
    ari: Option<AriWord>,
    weight: Weight,
    priority: u8,
}

impl Check<'_> {
    pub(super) fn pools(&mut self, raw: &RawConfig, gateways: &[Placed<GatewayConfig>]) -> Farm {
        let path = Path::to("pools");
        if self.tree.entries(&path).is_empty() && !self.tree.is_lost(&path) {
            let hint = "pools: { inbound: { nodes: [{ name: ast-1, uri: \"sip:192.0.2.11:5060\" }] } }";
            self.refuse(&path, "there is no pool, so calls have nowhere to go", Some(hint));
        }
        let site = raw.edge.as_ref().and_then(|edge| edge.site.as_ref()).map(|site| site.0.0.as_str());
        let raw = self.pools_in_order(raw);
        let names_are_lost = self.names_are_lost(&raw);
        let definitions = self.definitions(&raw, gateways);
        site.inspect(|site| self.nodes_of_site(site, &definitions));
        let mut pools = Vec::with_capacity(raw.len());
        for (path, name, raw) in &raw {
            let members = self.members(path, raw, &definitions, names_are_lost);
            pools.push(self.pool(path, name, raw, members, &definitions));
        }
        let pool_names = self.pool_names(gateways);
        self.overflows(&pools, &pool_names);
        let gateway_names = gateways.iter().map(|gateway| gateway.value.name.clone());
        Farm {
            names: definitions.keys().cloned().chain(gateway_names).collect(),
            nodes: definitions.into_iter().filter_map(|(name, definition)| node(name, definition)).collect(),
            pools,
            pool_names,
            names_are_lost,
        }
    }

    fn nodes_of_site(&mut self, site: &str, nodes: &BTreeMap<String, Definition>) {
        if !nodes.values().any(|node| node.site.as_deref() == Some(site)) {
            let what = format!("no node stands at {site}, so none comes before those of other sites");
            self.warn(&Path::to("edge").key("site"), what, &format!("give the nodes that do `site: {site}`"));
        }
    }

    /// The pools in the order of the file, so that the second of two is the one that is complained of.
    fn pools_in_order<'r>(&self, raw: &'r RawConfig) -> Vec<(Path, &'r str, &'r RawPool)> {
        let path = Path::to("pools");
        let find = |key: &str| raw.pools.as_ref()?.get_key_value(&Given(Name(key.to_owned())));
        let found = self.tree.entries(&path).iter().filter_map(|entry| find(&entry.key));
        found.map(|(name, pool)| (path.key(&name.0.0), name.0.0.as_str(), pool)).collect()
    }

    fn pool_names(&self, gateways: &[Placed<GatewayConfig>]) -> HashSet<String> {
        let can_be_called = |gateway: &Placed<GatewayConfig>| {
            gateway.value.uri.is_some() || self.tree.is_lost(&gateway.path.key("uri"))
        };
        let gateways = gateways.iter().any(can_be_called).then(|| GATEWAY_POOL.to_owned());
        self.tree.entries(&Path::to("pools")).iter().map(|entry| entry.key.to_string()).chain(gateways).collect()
    }

    fn names_are_lost(&self, pools: &[(Path, &str, &RawPool)]) -> bool {
        let path = Path::to("pools");
        self.tree.is_lost(&path)
            || self.tree.entries(&path).len() > pools.len()
            || pools.iter().any(|(path, ..)| self.has_lost_items(&path.key("nodes")))
            || self.has_lost_items(&Path::to("gateways"))
    }

    /// The nodes by name, each where it is defined.
    fn definitions(
        &mut self,
        pools: &[(Path, &str, &RawPool)],
        gateways: &[Placed<GatewayConfig>],
    ) -> BTreeMap<String, Definition> {
        let gateways: HashMap<&str, &Path> = gateways.iter().map(|g| (g.value.name.as_str(), &g.path)).collect();
        let mut definitions: BTreeMap<String, Definition> = BTreeMap::new();
        for (pool, _, raw) in pools {
            for Placed { path, value } in self.placed(&pool.key("nodes"), raw.nodes.as_deref().unwrap_or_default()) {
                let TextOr::Map(raw) = value else { continue };
                if raw.uri.is_none() && !self.tree.is_lost(&path.key("uri")) {
                    continue;
                }
                let (name, at) = (&raw.name.0.0, path.key("name"));
                self.reserved_name(&at, name);
                if let Some(gateway) = gateways.get(name.as_str()) {
                    let what = format!("a gateway of the name {name} stands at {}", self.place(gateway));
                    self.refuse(&at, what, Some("a name means one node or one gateway"));
                }
                if let Some(first) = definitions.get(name) {
                    let what = format!("node {name} is defined at {} already", self.place(&first.path));
                    self.refuse(
                        &at,
                        what,
                        Some("a node that is in several pools stands in the others by its plain name"),
                    );
                    continue;
                }
                definitions.insert(name.clone(), definition(path, raw));
            }
        }
        definitions
    }

    /// The nodes of one pool.
    fn members(
        &mut self,
        pool: &Path,
        raw: &RawPool,
        definitions: &BTreeMap<String, Definition>,
        names_are_lost: bool,
    ) -> Vec<MemberConfig> {
        let list = pool.key("nodes");
        let items = raw.nodes.as_deref().unwrap_or_default();
        if items.is_empty() && !self.has_lost_items(&list) {
            let hint = "nodes: [{ name: ast-1, uri: \"sip:192.0.2.11:5060\" }]";
            self.refuse(&list, "a pool without nodes takes no calls", Some(hint));
        }
        let mut known: HashMap<&str, Path> = HashMap::new();
        let mut members = Vec::new();
        for Placed { path, value } in self.placed(&list, items) {
            let (name, raw) = match value {
                TextOr::Text(name) => (name.0.as_str(), None),
                TextOr::Map(raw) => (raw.name.0.0.as_str(), Some(raw)),
            };
            let Some(definition) = definitions.get(name) else {
                if !names_are_lost {
                    self.unknown_node(&path, name, raw, definitions);
                }
                continue;
            };
            if let Some(first) = known.get(name) {
                // Two definitions were complained of as such.
                if definition.path == path || raw.is_none_or(|raw| raw.uri.is_none()) {
                    let what = format!("node {name} is in this pool already, see {}", self.place(first));
                    self.refuse(&path, what, None);
                }
                continue;
            }
            let of_node = raw.filter(|_| definition.path != path);
            let given = [
                ("max_calls", of_node.is_some_and(|raw| raw.max_calls.is_some())),
                ("site", of_node.is_some_and(|raw| raw.site.is_some())),
                ("ari", of_node.is_some_and(|raw| raw.ari.is_some())),
            ];
            for (key, _) in given.into_iter().filter(|(_, is_given)| *is_given) {
                let hint = format!(
                    "it holds over all pools and stands where the node is defined, at {}",
                    self.place(&definition.path)
                );
                self.refuse(&path.key(key), "not for this pool alone", Some(&hint));
            }
            known.insert(name, path);
            members.push(member(name, raw, definition));
        }
        members
    }

    fn unknown_node(&mut self, path: &Path, name: &str, raw: Option<&RawNode>, known: &BTreeMap<String, Definition>) {
        let near = suggest::near(name, known.keys().map(String::as_str));
        let hint = near.unwrap_or_else(|| format!("{{ name: {name}, uri: \"sip:192.0.2.11:5060\" }} defines a node"));
        match raw {
            Some(_) => self.refuse(path, "`uri` is missing, and no other pool defines this node", Some(&hint)),
            None => self.refuse(path, format!("no pool defines a node {name}"), Some(&hint)),
        }
    }

    fn pool(
        &mut self,
        path: &Path,
        name: &str,
        raw: &RawPool,
        members: Vec<MemberConfig>,
        definitions: &BTreeMap<String, Definition>,
    ) -> PoolConfig {
        if name == GATEWAY_POOL {
            let place = self.tree.key_place(path);
            let what = "this name is taken: all gateways with a uri are the pool `gateways`";
            self.problems.push(crate::config::problem::Problem::new(place, path, what));
        }
        let algorithm = raw.algorithm.map_or(Algorithm::default(), algorithm);
        self.hash_and_sticky(path, raw, algorithm);
        if raw.sticky.is_some() {
            self.sticky_nodes(path, &members, definitions);
        }
        let sticky = raw.sticky.as_ref().map(|key| key.0.0.clone());
        let until = raw.sticky_until.map_or(PoolConfig::STICKY_UNTIL_PERCENT, |percent| percent.0.0);
        PoolConfig {
            algorithm,
            sticky_until_percent: sticky.as_ref().map(|_| until),
            key: sticky.or_else(|| raw.hash.as_ref().map(|key| key.0.0.clone())).unwrap_or(KeyedBy::CallId),
            slow_start: raw.slow_start.map_or(PoolConfig::SLOW_START, |time| time.0.0),
            panic: raw.panic.unwrap_or(true),
            overflow: raw.overflow.as_ref().map(|name| name.0.0.clone()),
            members,
            ..PoolConfig::named(name)
        }
    }

    fn hash_and_sticky(&mut self, path: &Path, raw: &RawPool, algorithm: Algorithm) {
        let is_hash = algorithm == Algorithm::Hash;
        if raw.hash.is_some() && !is_hash && !self.tree.is_lost(&path.key("algorithm")) {
            self.refuse(&path.key("hash"), "only the algorithm `hash` goes by a key", Some("algorithm: hash"));
        }
        if raw.sticky.is_some() && is_hash {
            let what = "the algorithm `hash` keeps calls together by itself";
            self.refuse(&path.key("sticky"), what, Some("leave out one of `sticky` and `algorithm: hash`"));
        }
        if raw.sticky_until.is_some() && raw.sticky.is_none() && !self.tree.is_lost(&path.key("sticky")) {
            self.refuse(&path.key("sticky_until"), "means nothing without `sticky`", Some("sticky: to_user"));
        }
    }

    fn sticky_nodes(&mut self, path: &Path, members: &[MemberConfig], definitions: &BTreeMap<String, Definition>) {
        let is_open = |name: &&str| {
            definitions
                .get(*name)
                .is_some_and(|d| d.max_calls.is_none() && !self.tree.is_lost(&d.path.key("max_calls")))
        };
        let open: Vec<&str> = members.iter().map(|member| member.node.as_str()).filter(is_open).collect();
        if !open.is_empty() {
            let what = format!("calls never move on from nodes without max_calls: {}", some_of(&open));
            self.warn(&path.key("sticky"), what, "give them max_calls");
        }
    }
}

fn definition(path: Path, raw: &RawNode) -> Definition {
    Definition {
        path,
        uri: raw.uri.as_ref().map(|uri| uri.0.clone()),
        max_calls: raw.max_calls.map(|max| max.0.0),
        site: raw.site.as_ref().map(|site| site.0.0.clone()),
        ari: raw.ari.as_ref().map(|word| word.0.clone()),
        weight: raw.weight.map_or_else(default_weight, |weight| weight.0),
        priority: raw.priority.map_or(0, |priority| priority.0.0 as u8),
    }
}

fn default_weight() -> Weight {
    // The default is in the range of weights.
    Weight::new(WEIGHT_DEFAULT).expect("10 is a weight")
}

fn node(name: String, definition: Definition) -> Option<Placed<NodeConfig>> {
    let Definition { path, uri, max_calls, site, ari, .. } = definition;
    Some(Placed { path, value: NodeConfig { name, uri: uri?, max_calls, site, ari } })
}

/// A node's part in a pool: as it says there, else as where the node is defined.
fn member(name: &str, raw: Option<&RawNode>, definition: &Definition) -> MemberConfig {
    MemberConfig {
        node: name.to_owned(),
        weight: raw.and_then(|raw| raw.weight).map_or(definition.weight, |weight| weight.0),
        priority: raw.and_then(|raw| raw.priority).map_or(definition.priority, |priority| priority.0.0 as u8),
    }
}

fn algorithm(raw: RawAlgorithm) -> Algorithm {
    match raw {
        RawAlgorithm::WeightedLeastCalls => Algorithm::WeightedLeastCalls,
        RawAlgorithm::RoundRobin => Algorithm::RoundRobin,
        RawAlgorithm::Random => Algorithm::Random,
        RawAlgorithm::Hash => Algorithm::Hash,
    }
}

/// A few of many names.
fn some_of(names: &[&str]) -> String {
    match names {
        [a, b, c, rest @ ..] if rest.len() > 1 => format!("{a}, {b}, {c} and {} more", rest.len()),
        all => all.join(", "),
    }
}
