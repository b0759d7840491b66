//! The calls that other edges have.
//!
//! Each is held as it was told, with the edge that has it. A message for it may arrive here at any time - the address moved, a node
//! answered to another edge - and then the call is here, and its edge hears of it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::calls::CallKey;
use crate::moment::{Reading, TimeOfDay};
use crate::store::SavedLease;
use crate::store::contract::LEASE_LEN_MAX;

/// Calls of other edges.
#[derive(Debug)]
pub struct Peers {
    calls: HashMap<CallKey, PeerCall>,
    by_node: HashMap<Arc<str>, u32>,
    edges: Vec<Arc<str>>,
    /// Calls of edges that are gone, which this edge has and has not heard anything of since.
    inherited: HashSet<CallKey>,
    calls_max: usize,
    time_of_day: TimeOfDay,
}

/// A call that another edge has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCall {
    /// The edge.
    pub edge: Arc<str>,
    /// The node that the call is on, by name.
    pub node: Arc<str>,
    /// What is known of it, as it was told.
    pub lease: Box<[u8]>,
}

impl Peers {
    /// None yet, and at most so many.
    pub fn new(calls_max: usize) -> Self {
        Peers {
            calls: HashMap::new(),
            by_node: HashMap::new(),
            edges: Vec::new(),
            inherited: HashSet::new(),
            calls_max,
            time_of_day: TimeOfDay::default(),
        }
    }

    /// Notes a call; returns what was known of it before. Beyond the bound it is not noted.
    pub fn put(&mut self, key: CallKey, call: PeerCall) -> Option<PeerCall> {
        if self.calls.len() >= self.calls_max && !self.calls.contains_key(&key) {
            return None;
        }
        *self.by_node.entry(Arc::clone(&call.node)).or_insert(0) += 1;
        let before = self.calls.insert(key, call);
        before.iter().for_each(|before| self.leave(&before.node));
        before
    }

    fn leave(&mut self, node: &Arc<str>) {
        if let Some(count) = self.by_node.get_mut(node) {
            *count -= 1;
            if *count == 0 {
                self.by_node.remove(node);
            }
        }
    }

    /// How many of them are on a node.
    pub fn on_node(&self, node: &str) -> u32 {
        self.by_node.get(node).copied().unwrap_or(0)
    }

    /// The one name of an edge, so that a hundred thousand calls do not carry as many copies of it.
    pub fn name(&mut self, edge: &str) -> Arc<str> {
        match self.edges.iter().find(|known| ***known == *edge) {
            Some(known) => Arc::clone(known),
            None => {
                let name: Arc<str> = edge.into();
                self.edges.push(Arc::clone(&name));
                name
            }
        }
    }

    /// One call.
    pub fn find(&self, key: CallKey) -> Option<&PeerCall> {
        self.calls.get(&key)
    }

    /// Forgets a call and hands it out.
    pub fn take(&mut self, key: CallKey) -> Option<PeerCall> {
        let call = self.calls.remove(&key)?;
        self.leave(&call.node);
        Some(call)
    }

    /// Heeds that the time of day was set, and with it all times; before anything else is noted.
    pub fn heed(&mut self, clocks: Reading) {
        let ahead = self.time_of_day.set_ahead(clocks);
        if ahead == 0 {
            return;
        }
        let mut buffer = [0; LEASE_LEN_MAX];
        for call in self.calls.values_mut() {
            let lease = SavedLease::read(&call.lease).map(|lease| lease.by_clock(-ahead));
            let octets = lease.and_then(|lease| lease.write(&mut buffer).map(Box::from));
            call.lease = octets.unwrap_or_else(|| std::mem::take(&mut call.lease));
        }
    }

    /// Notes that a call was inherited: what is said of it at the edge that had it goes before what is known of it here.
    pub fn inherit(&mut self, key: CallKey) {
        if self.inherited.len() < self.calls_max {
            self.inherited.insert(key);
        }
    }

    /// Calls that were inherited.
    pub fn inherited(&self) -> Vec<CallKey> {
        self.inherited.iter().copied().collect()
    }

    /// Whether a call was inherited, and nothing was heard of it since.
    pub fn is_inherited(&self, key: CallKey) -> bool {
        self.inherited.contains(&key)
    }

    /// Notes that something was heard of a call; true when it was inherited and this is the first.
    pub fn touch(&mut self, key: CallKey) -> bool {
        self.inherited.remove(&key)
    }

    /// The calls of one edge, in the order of their keys.
    pub fn of_edge(&self, edge: &str) -> Vec<CallKey> {
        let of_edge = self.calls.iter().filter(|(_, call)| *call.edge == *edge);
        let mut keys: Vec<CallKey> = of_edge.map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys
    }

    /// All calls.
    pub fn iter(&self) -> impl Iterator<Item = (CallKey, &PeerCall)> {
        self.calls.iter().map(|(key, call)| (*key, call))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(peers: &mut Peers, edge: &str) -> PeerCall {
        PeerCall { edge: peers.name(edge), node: "ast-1".into(), lease: Box::default() }
    }

    #[test]
    fn a_call_is_at_the_edge_that_told_of_it_last() {
        let mut peers = Peers::new(10);
        let (one, other) = (call(&mut peers, "a"), call(&mut peers, "b"));
        assert_eq!(peers.put(CallKey(1), one.clone()), None);
        assert_eq!(peers.put(CallKey(1), other.clone()), Some(one));
        assert_eq!((peers.of_edge("a"), peers.of_edge("b")), (Vec::new(), vec![CallKey(1)]));
        assert_eq!(peers.on_node("ast-1"), 1);
        assert_eq!(peers.take(CallKey(1)), Some(other));
        assert!(peers.is_empty());
        assert_eq!(peers.on_node("ast-1"), 0);
    }

    #[test]
    fn the_table_is_bounded_and_what_is_in_it_can_change() {
        let mut peers = Peers::new(1);
        let (one, other) = (call(&mut peers, "a"), call(&mut peers, "b"));
        peers.put(CallKey(1), one.clone());
        peers.put(CallKey(2), one);
        peers.put(CallKey(1), other);
        assert_eq!((peers.len(), &*peers.find(CallKey(1)).unwrap().edge), (1, "b"));
    }
}
