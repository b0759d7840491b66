//! Rules: what they name exists, each of them can be reached, and every pool is.

use std::collections::{HashMap, HashSet};

use crate::config::checked::{GATEWAY_POOL, GatewayConfig, PoolConfig, RouteAction, RouteConfig};
use crate::config::keys::RouteFrom;
use crate::config::names::PatternText;
use crate::config::place::Path;
use crate::config::raw::{RawConfig, RawRoute};
use crate::config::suggest;
use crate::config::words::Given;

use super::pools::Farm;
use super::{Check, Placed};

/// The pool that gateways' calls go to when there are no rules.
const INBOUND: &str = "inbound";

impl Check<'_> {
    pub(super) fn routes(
        &mut self,
        raw: &RawConfig,
        gateways: &[Placed<GatewayConfig>],
        farm: &Farm,
    ) -> Vec<RouteConfig> {
        let path = Path::to("routes");
        let items = raw.routes.as_deref().unwrap_or_default();
        let given = self.placed(&path, items);
        let routes = if given.is_empty() && !self.has_lost_items(&path) {
            self.default_routes(raw, &path, farm)
        } else {
            self.unique_names(&given);
            let routes: Vec<Placed<RouteConfig>> =
                given.iter().filter_map(|item| self.route(&item.path, item.value, farm)).collect();
            self.unreached_rules(&routes);
            routes.into_iter().map(|route| route.value).collect()
        };
        if !self.has_lost_items(&path) {
            self.unreached_pools(&routes, &farm.pools);
            self.callers(&routes, gateways);
        }
        routes
    }

    /// Calls of gateways go in, calls of nodes go out.
    fn default_routes(&mut self, raw: &RawConfig, path: &Path, farm: &Farm) -> Vec<RouteConfig> {
        let to = |name: &str, from, pool: &str| RouteConfig {
            name: Some(name.to_owned()),
            from,
            to_user: None,
            from_user: None,
            to_host: None,
            methods: Vec::new(),
            action: RouteAction::Pool(pool.to_owned()),
        };
        let inbound = match farm.pools.as_slice() {
            [only] => Some(only.name.as_str()),
            pools => pools.iter().map(|pool| pool.name.as_str()).find(|name| *name == INBOUND),
        };
        if inbound.is_none() && !farm.names_are_lost && farm.pools.len() > 1 {
            let what = "which pool gets the calls of gateways? There are several, and none is named inbound";
            self.refuse(path, what, Some("routes: [{ from: gateways, pool: NAME }, { from: nodes, pool: gateways }]"));
        }
        let mut routes: Vec<RouteConfig> = Vec::new();
        routes.extend(inbound.map(|pool| to("default-in", RouteFrom::Gateways, pool)));
        if raw.registrar.is_some() {
            routes.extend(inbound.map(|pool| to("default-agents", RouteFrom::Agents, pool)));
        }
        if farm.pool_names.contains(GATEWAY_POOL) {
            routes.push(to("default-out", RouteFrom::Nodes, GATEWAY_POOL));
        }
        routes
    }

    fn unique_names(&mut self, routes: &[Placed<&RawRoute>]) {
        let mut known: HashMap<&str, Path> = HashMap::new();
        for Placed { path, value } in routes {
            let (Some(name), at) = (&value.name, path.key("name")) else { continue };
            if let Some(first) = known.get(name.0.0.as_str()) {
                let what = format!("a rule of the name {} stands at {} already", name.0.0, self.place(first));
                self.refuse(&at, what, None);
                continue;
            }
            known.insert(&name.0.0, at);
        }
    }

    fn route(&mut self, path: &Path, raw: &RawRoute, farm: &Farm) -> Option<Placed<RouteConfig>> {
        if let RouteFrom::Named(name) = &raw.from.0.0
            && !farm.names.contains(name)
            && !farm.names_are_lost
        {
            let groups = RouteFrom::GROUPS.into_iter();
            let hint = suggest::near(name, groups.chain(farm.names.iter().map(String::as_str)))
                .unwrap_or_else(|| "gateways, nodes, agents, anyone, or the name of a gateway or node".to_owned());
            self.refuse(&path.key("from"), format!("there is no gateway and no node {name}"), Some(&hint));
        }
        let action = self.action(path, raw, farm)?;
        let text = |pattern: &Option<Given<PatternText>>| pattern.as_ref().map(|pattern| pattern.0.0.clone());
        let value = RouteConfig {
            name: raw.name.as_ref().map(|name| name.0.0.clone()),
            from: raw.from.0.0.clone(),
            to_user: text(&raw.to_user),
            from_user: text(&raw.from_user),
            to_host: text(&raw.to_host),
            methods: raw.methods.iter().flatten().map(|method| method.0).collect(),
            action,
        };
        Some(Placed { path: path.clone(), value })
    }

    fn action(&mut self, path: &Path, raw: &RawRoute, farm: &Farm) -> Option<RouteAction> {
        match (&raw.pool, raw.reject) {
            (Some(pool), None) => {
                if !farm.pool_names.contains(&pool.0.0) {
                    self.unknown_pool(&path.key("pool"), &pool.0.0, &farm.pool_names);
                }
                Some(RouteAction::Pool(pool.0.0.clone()))
            }
            (None, Some(code)) => Some(RouteAction::Reject(code.0.0)),
            (Some(_), Some(_)) => {
                self.refuse(&path.key("reject"), "a rule has either `pool` or `reject`", None);
                None
            }
            (None, None) => {
                let is_lost = ["pool", "reject"].iter().any(|key| self.tree.is_lost(&path.key(key)));
                if !is_lost {
                    self.refuse(path, "`pool` or `reject` is missing", Some("pool: inbound, or reject: 403"));
                }
                None
            }
        }
    }

    fn unreached_rules(&mut self, routes: &[Placed<RouteConfig>]) {
        for (position, later) in routes.iter().enumerate() {
            let earlier = routes[..position].iter().find(|earlier| covers(&earlier.value, &later.value));
            if let Some(earlier) = earlier {
                let what = format!("never reached: the rule at {} takes all of this", self.place(&earlier.path));
                self.warn(&later.path, what, "the first rule that fits decides; put this one before it");
            }
        }
    }

    fn unreached_pools(&mut self, routes: &[RouteConfig], pools: &[PoolConfig]) {
        let overflow: HashMap<&str, &str> =
            pools.iter().filter_map(|pool| Some((pool.name.as_str(), pool.overflow.as_deref()?))).collect();
        let mut reached: HashSet<&str> = HashSet::new();
        for route in routes {
            let RouteAction::Pool(pool) = &route.action else { continue };
            let mut at = Some(pool.as_str());
            while let Some(pool) = at.filter(|pool| reached.insert(pool)) {
                at = overflow.get(pool).copied();
            }
        }
        for pool in pools.iter().filter(|pool| !reached.contains(pool.name.as_str()) && !routes.is_empty()) {
            let what = "no rule leads to this pool";
            self.warn(
                &Path::to("pools").key(&pool.name),
                what,
                "name it in `routes`, or as the `overflow` of another pool",
            );
        }
    }

    fn callers(&mut self, routes: &[RouteConfig], gateways: &[Placed<GatewayConfig>]) {
        let mut open = routes.iter().enumerate().filter(|(_, route)| route.from == RouteFrom::Anyone);
        let lets_in = open.find_map(|(position, route)| match &route.action {
            RouteAction::Pool(pool) => Some((position, pool.clone())),
            RouteAction::Reject(_) => None,
        });
        if let Some((position, pool)) = &lets_in {
            let what = format!("lets everybody on the network call pool {pool}");
            self.warn(
                &Path::to("routes").item(*position).key("from"),
                what,
                "name the gateways instead, if they are known",
            );
        }
        let path = Path::to("gateways");
        let no_gateway = gateways.is_empty() && !self.has_lost_items(&path);
        if no_gateway && !routes.iter().any(|route| route.from == RouteFrom::Anyone) {
            let hint = "gateways: [{ name: pri-1, source: [192.0.2.2] }]";
            self.warn(&path, "no gateway is known, so nobody outside can call", hint);
        }
    }
}

/// True when whatever fits the later rule fits the earlier one too.
fn covers(earlier: &RouteConfig, later: &RouteConfig) -> bool {
    let from = earlier.from == RouteFrom::Anyone || earlier.from == later.from;
    let wide = |earlier: &Option<String>, later: &Option<String>| earlier.is_none() || earlier == later;
    let methods = earlier.methods.is_empty()
        || (!later.methods.is_empty() && later.methods.iter().all(|method| earlier.methods.contains(method)));
    from && methods
        && wide(&earlier.to_user, &later.to_user)
        && wide(&earlier.from_user, &later.from_user)
        && wide(&earlier.to_host, &later.to_host)
}
