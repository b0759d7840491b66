//! Joining calls that are on two nodes: one node's INVITE with Replaces for another one (RFC 3891, RFC 5589 section 7.3).
//!
//! An agent transfers a call that one node has to a call that another node has. The first node then calls the second, and names
//! the call that it takes the place of. Where the phone gave the second node's own address, as RFC 5589 wants it, the
//! Request-URI says where that is; where it gave its partner's number, the ledger does.

use std::net::SocketAddr;

use crate::calls::history::{Candidates, Choice};
use crate::calls::lease::Way;
use crate::calls::{CallKey, Lease, NodeId, PoolId, Shard};
use crate::dispatch::Picked;
use crate::dispatch::node::{Kind, NodeUri};
use crate::sip::message::Message;
use crate::sip::{Request, uri};
use crate::transport::flow::Target;

use super::contract::{RejectReason, World};
use super::core::{Core, Inbound};
use super::invite::Opening;
use super::route::Routing;

/// The node that has the call which is to be replaced, and the way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// The node.
    pub node: NodeId,
    /// The way.
    pub way: Way,
}

impl<W: World> Core<'_, W> {
    /// The other node that an INVITE of a node's is for; none when it replaces nothing, or nothing that another node has.
    pub(super) fn replaced_elsewhere(&self, from: NodeId, request: Request<'_>) -> Option<Elsewhere> {
        let replaced = replaced_call_id(request)?;
        let named = self.named_node(request).or_else(|| self.node_with(replaced, request));
        named.filter(|elsewhere| elsewhere.node != from)
    }

    /// The node whose address is the Request-URI's host.
    fn named_node(&self, request: Request<'_>) -> Option<Elsewhere> {
        let uri = request.uri()?;
        let address = SocketAddr::new(uri::ip(uri.host)?, uri.port.unwrap_or(NodeUri::DEFAULT_PORT));
        let node = self.farm.node(self.farm.sources.listening_at(address)?)?;
        let protocol = node.uri.as_ref()?.protocol;
        let way = Way::Target { listener: node.listener, target: Target { protocol, address } };
        Some(Elsewhere { node: node.id, way })
    }

    /// The node that has a call, for an INVITE to a number of the farm's.
    fn node_with(&self, call_id: &[u8], request: Request<'_>) -> Option<Elsewhere> {
        let uri = request.uri().filter(|uri| self.farm.is_own(uri))?;
        let key = CallKey::of(&self.farm.keys, call_id);
        self.world.with_shard(key, |shard| {
            let lease = shard.lease(shard.find(key)?);
            let node = self.node_of(lease)?;
            let way = if node == lease.node { lease.way } else { Way::Flow(lease.caller) };
            // Whoever is asked for by his own number has the other end of that call at his phone.
            let is_at_phone = uri.number().is_some_and(|user| self.has_phone_in(lease, user));
            (!is_at_phone).then_some(Elsewhere { node, way })
        })
    }

    fn has_phone_in(&self, lease: &Lease, user: &[u8]) -> bool {
        let is_called = self.farm.node(lease.node).is_some_and(|node| node.kind == Kind::Agents);
        (is_called && lease.names.called() == user) || lease.agent.as_deref() == Some(user)
    }

    /// Takes an INVITE from one node to the other, where it is a call like any other.
    pub(super) fn join_nodes(&mut self, inbound: Inbound<'_>, routing: &Routing<'_>, elsewhere: Elsewhere) {
        self.repeat_or_open(inbound, routing, "replaces", |core, shard, opening| {
            core.open_join(shard, inbound, routing, opening, elsewhere);
        });
    }

    fn open_join(
        &mut self,
        shard: &mut Shard,
        inbound: Inbound<'_>,
        routing: &Routing<'_>,
        opening: Opening<'_>,
        elsewhere: Elsewhere,
    ) {
        let Inbound { request, flow, source, .. } = inbound;
        let Elsewhere { node, way } = elsewhere;
        if !shard.has_room() {
            return self.reject(request, flow, source, RejectReason::TooManyCalls);
        }
        if self.farm.node(node).is_some_and(|node| node.live.is_down()) {
            return self.reject(request, flow, source, RejectReason::NodeDown);
        }
        self.explain(shard, inbound, opening, PoolId::NONE, Choice::Replaces, Candidates::default());
        // It takes a place whatever the node's limit: it comes for a call that is there, and that one ends.
        let (seat, candidates) = (self.world.take_on(node), Candidates::default());
        let picked = Picked { seat, way, choice: Choice::Replaces, pool: PoolId::NONE, candidates };
        let lease = self.new_lease(inbound, opening, None, &picked);
        self.open_lease(shard, lease, inbound, routing, picked);
    }
}

/// The Call-ID in a Replaces header (RFC 3891 section 6.1).
fn replaced_call_id(request: Request<'_>) -> Option<&[u8]> {
    let mut fields = request.fields().iter();
    let field = fields.find(|field| request.text(field.spelling()).eq_ignore_ascii_case(b"replaces"))?;
    request.text(field.value).split(|octet| *octet == b';').next().map(<[u8]>::trim_ascii)
}
