//! Which node has a call, and so which node has an agent's calls.
//!
//! A node can join two calls of an agent's (attended transfer, RFC 5589 section 7), pick one up or park it only where it has
//! them. So a call of his goes where he has one already. Nothing is remembered for it: the agents' book knows his
//! calls, and their leases know the node, also after a restart.

use crate::calls::{CallKey, Lease, NodeId};
use crate::dispatch::node::Kind;
use crate::dispatch::rules::Source;
use crate::moment::Moment;

use super::contract::World;
use super::core::Core;

impl<W: World> Core<'_, W> {
    /// The node that has another call of an agent's. Of several the one that was answered last: what only rings is not what he
    /// is going to join his new call to.
    pub(super) fn node_beside(&self, agent: &[u8], key: CallKey) -> Option<NodeId> {
        self.farm.registrar.as_ref().filter(|service| service.policy.affinity)?;
        // The keys are copied out: a shard is never entered while the book is held.
        let calls = self.world.registry()?.calls_of(agent);
        let places = calls.into_iter().filter(|other| *other != key).filter_map(|other| self.node_of_call(other));
        places.max_by_key(|(answered, _)| *answered).map(|(_, node)| node)
    }

    /// When a call was answered, and its node.
    fn node_of_call(&self, key: CallKey) -> Option<(Option<Moment>, NodeId)> {
        self.world.with_shard(key, |shard| {
            let lease = shard.lease(shard.find(key)?);
            self.node_of(lease).map(|node| (lease.answered(), node))
        })
    }

    /// The Asterisk node at one end of a call that is not over. A call to an agent takes its place among the agents, and
    /// its node is the one that sent it.
    pub(super) fn node_of(&self, lease: &Lease) -> Option<NodeId> {
        if !lease.is_open() {
            return None;
        }
        match (self.farm.node(lease.node)?.kind, self.farm.sources.classify(lease.caller)) {
            (Kind::Node, _) => Some(lease.node),
            (Kind::Agents, Source::Node(node)) => Some(node),
            _ => None,
        }
    }
}
