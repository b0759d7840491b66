//! What a node says of its calls, brought into the leases: calls that it does not have end, calls that nobody knew are taken up.

use crate::asterisk::channels::{Channel, Direction};
use crate::calls::history::EndCause;
use crate::calls::lease::{Lease, Names, Way};
use crate::calls::{CallKey, NodeId, Phase, Shard};
use crate::dispatch::node::Kind;
use crate::moment::Moment;
use crate::registrar::Aor;
use crate::transport::flow::{Flow, Target};

use super::contract::World;
use super::core::Core;

/// Where a call's lease is, and whose it is.
struct Place {
    node: NodeId,
    way: Way,
    caller: Flow,
    agent: Option<Box<[u8]>>,
}

impl<W: World> Core<'_, W> {
    /// The node does not have the call, which has been up since `answered`. True when the lease ended.
    pub fn node_has_not(&mut self, shard: &mut Shard, key: CallKey, answered: Moment) -> bool {
        let Some(slot) = shard.find(key) else { return false };
        let is_that_call = matches!(shard.lease(slot).phase, Phase::Up { answered: at, .. } if at == answered);
        if is_that_call {
            self.end_call(shard, slot, EndCause::Reconciled, None);
        }
        is_that_call
    }

    /// The node has the call, which is answered, and the edge has no lease for it: it gets one. What the node cannot know - the
    /// caller's address and tag - the next message of the call tells. False when there is no room, or no telling where it belongs.
    pub fn node_has(&mut self, shard: &mut Shard, key: CallKey, on: NodeId, way: Way, channel: &Channel) -> bool {
        if let Some(slot) = shard.find(key) {
            if shard.lease(slot).is_open() {
                return false;
            }
            shard.remove(slot);
        }
        let Some(place) = self.place_of(on, way, channel).filter(|_| shard.has_room()) else { return false };
        let lease = self.hearsay(key, place, channel);
        self.take_up(shard, lease).is_some()
    }

    fn place_of(&self, on: NodeId, way: Way, channel: &Channel) -> Option<Place> {
        let target = way.target();
        let of_node =
            Flow { listener: way.listener(), protocol: target.protocol, remote: target.address, connection: None };
        let nowhere = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
        let is_agent = self.is_agent(channel.number.as_bytes());
        match (channel.direction, &self.farm.registrar) {
            (Direction::ToNode, _) => {
                let agent = is_agent.then(|| channel.number.as_bytes().into());
                Some(Place { node: on, way, caller: Flow { remote: nowhere, ..of_node }, agent })
            }
            (Direction::FromNode, Some(service)) if is_agent => {
                let nobody = Way::Target { listener: way.listener(), target: Target { address: nowhere, ..target } };
                let phone = self.first_phone(channel.number.as_bytes()).unwrap_or(nobody);
                Some(Place { node: service.agents, way: phone, caller: of_node, agent: None })
            }
            (Direction::FromNode, _) => {
                let nobody = Way::Target { listener: way.listener(), target: Target { address: nowhere, ..target } };
                Some(Place { node: self.only_gateway()?, way: nobody, caller: of_node, agent: None })
            }
        }
    }

    fn first_phone(&self, user: &[u8]) -> Option<Way> {
        let (aor, mut first) = (Aor::from_user(user)?, None);
        self.world.registry()?.with_table(&aor, &mut |table| {
            first = table.find(aor.as_bytes()).iter().find(|binding| binding.expires > self.now).map(|b| b.flow);
        });
        first.map(Way::Flow)
    }

    /// Of several gateways nobody can tell which one has the call.
    fn only_gateway(&self) -> Option<NodeId> {
        let mut gateways = self.farm.nodes.iter().flatten().filter(|n| n.kind == Kind::Gateway && n.uri.is_some());
        gateways.next().filter(|_| gateways.next().is_none()).map(|node| node.id)
    }

    fn hearsay(&self, key: CallKey, place: Place, channel: &Channel) -> Lease {
        let (now, number) = (self.now, channel.number.as_bytes());
        let (caller, called) = match channel.direction {
            Direction::ToNode => (number, channel.exten.as_bytes()),
            Direction::FromNode => (&b""[..], number),
        };
        let names = Names::new(channel.call_id.as_bytes(), caller, called);
        let (seat, ends) = (self.world.take_on(place.node), now + self.farm.calls.max_duration);
        Lease { agent: place.agent, ..Lease::found_up(key, names, place.caller, place.way, seat, now, ends) }
    }
}
