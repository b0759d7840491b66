//! Overflow: every pool hands its calls on to one that exists, and never in a circle.

use std::collections::{HashMap, HashSet};

use crate::config::checked::{GATEWAY_POOL, PoolConfig};
use crate::config::place::Path;
use crate::config::suggest;

use super::Check;

/// Pools that a call is handed on through: the board looks no further.
const OVERFLOW_POOLS_MAX: usize = 4;

impl Check<'_> {
    pub(super) fn overflows(&mut self, pools: &[PoolConfig], names: &HashSet<String>) {
        let next: HashMap<&str, &str> =
            pools.iter().filter_map(|pool| Some((pool.name.as_str(), pool.overflow.as_deref()?))).collect();
        let mut in_circles: HashSet<&str> = HashSet::new();
        for (name, overflow) in pools.iter().filter_map(|pool| Some((pool.name.as_str(), pool.overflow.as_deref()?))) {
            let path = Path::to("pools").key(name).key("overflow");
            if !names.contains(overflow) {
                self.unknown_pool(&path, overflow, names);
            }
            let chain = chain(name, &next);
            if chain.last() == Some(&name) && chain.len() > 1 {
                if in_circles.insert(name) {
                    in_circles.extend(&chain);
                    self.refuse(&path, format!("runs in a circle: {}", chain.join(" -> ")), None);
                }
            } else if chain.len() > OVERFLOW_POOLS_MAX {
                let what =
                    format!("a call is handed on through {OVERFLOW_POOLS_MAX} pools at most: {}", chain.join(" -> "));
                self.warn(&path, what, "shorten the chain");
            }
        }
    }

    pub(super) fn unknown_pool(&mut self, path: &Path, name: &str, known: &HashSet<String>) {
        if name == GATEWAY_POOL {
            if !self.has_lost_items(&Path::to("gateways")) {
                self.refuse(path, "no gateway has a uri to be called by", Some("give a gateway its `uri`"));
            }
            return;
        }
        let mut known: Vec<&str> = known.iter().map(String::as_str).collect();
        known.sort_unstable();
        let hint = suggest::hint(name, known);
        self.refuse(path, format!("there is no pool {name}"), hint.as_deref());
    }
}

/// The pools that calls are handed on through, from one on, until the end or until one comes a second time.
fn chain<'p>(first: &'p str, next: &HashMap<&'p str, &'p str>) -> Vec<&'p str> {
    let (mut chain, mut seen) = (vec![first], HashSet::from([first]));
    let mut at = first;
    while let Some(overflow) = next.get(at) {
        chain.push(overflow);
        if !seen.insert(overflow) {
            break;
        }
        at = overflow;
    }
    chain
}
