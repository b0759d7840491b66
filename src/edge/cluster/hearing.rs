//! What the other edges told, and what it means here: where calls are, how many a node has, what agents are doing.

use std::collections::HashSet;
use std::sync::Arc;

use crate::agents::agent::Doing;
use crate::agents::book::Note;
use crate::agents::{Agent, Cause, Intent};
use crate::calls::{CallKey, NodeId, Phase, PoolId, Shard};
use crate::cluster::Entry;
use crate::cluster::entry::TakenBack;
use crate::cluster::homes::Phone;
use crate::cluster::peers::PeerCall;
use crate::config::checked::AGENTS;
use crate::dispatch::board::NoSeatWhy;
use crate::dispatch::{Farm, NoSeat, Pick, Picked};
use crate::edge::asking::{self, Answer, Question};
use crate::edge::ended::end_bindings;
use crate::edge::engine::{Engine, SHARDS};
use crate::edge::saving;
use crate::proxy::World;
use crate::proxy::contract::Registry;
use crate::registrar::binding::same_uri;
use crate::registrar::register;
use crate::registrar::{Aor, Binding, Ended};
use crate::store::contract::LEASE_LEN_MAX;
use crate::store::redis::Seatable;
use crate::store::{SavedAdmin, SavedBinding, SavedLease};

use super::Cluster;

/// Nodes that a choice over all edges is made from: the best by what this edge knows.
const NODES_MAX: usize = 64;

impl Engine {
    /// Takes in what an edge told. What this edge told itself comes back in its place among what the others told: whoever told of a
    /// call last has it.
    pub fn hear(&self, edge: &str, entry: Entry<'_>) {
        let Some(cluster) = &self.cluster else { return };
        match entry {
            Entry::Call { key, lease: Some(lease) } if *edge == *cluster.edge => {
                self.hear_own(cluster, CallKey(key), &lease);
            }
            // What another edge told of it before is over as well.
            Entry::Call { key, lease: None } if *edge == *cluster.edge => self.hear_end(cluster, CallKey(key)),
            _ if *edge == *cluster.edge => {}
            Entry::Call { key, lease: Some(lease) } => self.hear_call(cluster, edge, CallKey(key), &lease),
            Entry::Call { key, lease: None } => {
                self.end_inherited(cluster, edge, CallKey(key));
                self.hear_end(cluster, CallKey(key));
            }
            Entry::Open { part, parts, keys } => self.hear_open(cluster, edge, (part, parts), &keys),
            Entry::Admin { node, wanted } => cluster.hear_admin(node, wanted),
            Entry::NotReady { user, since, reason } => self.hear_not_ready(cluster, user, since, reason),
            Entry::Bindings { aor, list, taken_back } => self.hear_bindings(cluster, edge, aor, &list, &taken_back),
        }
    }

    /// Another edge thought for a moment that it had the call, and told so before.
    fn hear_own(&self, cluster: &Cluster, key: CallKey, lease: &SavedLease<'_>) {
        if let Some(call) = cluster.with_peers(|peers| peers.take(key)) {
            self.count_others(cluster, &call.node);
            let mut shard = self.shard(key);
            self.open_here(&mut shard, key, lease);
            self.save(&mut shard);
        }
    }

    fn hear_call(&self, cluster: &Cluster, edge: &str, key: CallKey, lease: &SavedLease<'_>) {
        if self.is_ending(key) {
            // Its end is told from here in a moment.
            return;
        }
        self.let_go(key);
        let mut buffer = [0; LEASE_LEN_MAX];
        let Some(octets) = lease.write(&mut buffer) else { return };
        let node: Arc<str> = lease.node.into();
        let before = cluster.with_peers(|peers| {
            let edge = peers.name(edge);
            peers.put(key, PeerCall { edge, node: Arc::clone(&node), lease: octets.into() })
        });
        self.count_others(cluster, &node);
        if let Some(before) = before.filter(|before| before.node != node) {
            self.count_others(cluster, &before.node);
        }
        self.note_peer_call(key, lease, true);
    }

    pub(super) fn hear_end(&self, cluster: &Cluster, key: CallKey) {
        let Some(call) = cluster.with_peers(|peers| peers.take(key)) else { return };
        self.count_others(cluster, &call.node);
        if let Some(lease) = SavedLease::read(&call.lease) {
            self.note_peer_call(key, &lease, false);
        }
    }

    /// Calls of an edge that it does not have any more: their ends were lost.
    fn hear_open(&self, cluster: &Cluster, edge: &str, (part, parts): (u16, u16), keys: &[u128]) {
        let open: HashSet<u128> = keys.iter().copied().collect();
        let is_of_part = |key: &CallKey| key.shard(usize::from(parts.max(1))) == usize::from(part);
        let known = cluster.with_peers(|peers| peers.of_edge(edge));
        let over = known.iter().filter(|key| is_of_part(key) && !open.contains(&key.0));
        over.for_each(|key| self.hear_end(cluster, *key));
    }

    /// Another edge answers for these phones from now on: those of them that registered here have moved.
    fn hear_bindings(
        &self,
        cluster: &Cluster,
        edge: &str,
        user: &[u8],
        list: &[SavedBinding<'_>],
        taken_back: &TakenBack<'_>,
    ) {
        let Some(aor) = Aor::from_user(user) else { return };
        let name = cluster.with_peers(|peers| peers.name(edge));
        let phones: Vec<Phone> = list.iter().map(|saved| Phone::of(&name, saved)).collect();
        let (now, own) = (self.clock.now(), self.registrations.of(&aor));
        let has_moved = |binding: &Binding| {
            let is_there = |phone: &Phone| phone.is_same_as(binding.contact(), binding.instance(), binding.reg_id);
            match taken_back {
                TakenBack::All => true,
                TakenBack::Contacts(contacts) if contacts.iter().any(|uri| same_uri(uri, binding.contact())) => true,
                _ => phones.iter().any(is_there),
            }
        };
        let is_moving = own.iter().any(has_moved);
        let updated = list.iter().map(|saved| saved.updated).max().unwrap_or(u64::MAX);
        // What is told anew after a while may be older than what has happened here since.
        let is_older = own.iter().any(|binding| self.clock.unix_millis(binding.updated) > updated);
        if is_moving && !is_older {
            end_bindings(self, &aor, Ended::Moved, now, has_moved);
        }
        cluster.with_homes(|homes| homes.put(&aor, edge, phones.clone()));
        let is_registered = !self.registrations.of(&aor).is_empty();
        self.registrations.set_registered(&aor, is_registered, now);
    }

    fn hear_not_ready(&self, cluster: &Cluster, user: &[u8], since: u64, reason: Option<&str>) {
        let name = Entry::NotReady { user, since, reason }.name(&cluster.edge);
        let Some(aor) = Aor::from_user(user).filter(|_| cluster.is_last_word(&name, since)) else { return };
        if let Err(error) = self.store.not_ready(user, reason) {
            tracing::error!("what another edge said of an agent cannot be kept: {error}");
        }
        let intent = reason.map_or(Intent::Ready, |reason| Intent::NotReady(reason.into()));
        self.registrations.with_book(|book| book.set_intent(&aor, intent, Cause::AnotherEdge, self.clock.now()));
    }

    /// What a call of another edge means for the agents at its ends.
    fn note_peer_call(&self, key: CallKey, lease: &SavedLease<'_>, is_open: bool) {
        let (now, farm) = (self.clock.now(), self.farm.load());
        let Some(service) = &farm.registrar else { return };
        let doing = |while_trying| match lease.answered {
            _ if !is_open => None,
            None => Some(while_trying),
            Some(_) if lease.is_held => Some(Doing::Holding),
            Some(_) => Some(Doing::Talking),
        };
        let called = (lease.node == AGENTS).then(|| Aor::from_user(lease.called)).flatten();
        let calling = lease.agent.and_then(Aor::from_user);
        for (aor, doing, is_own) in [(called, doing(Doing::Ringing), false), (calling, doing(Doing::Talking), true)] {
            let Some(aor) = aor else { continue };
            let note = Note { key, doing, queue: lease.queue, is_own };
            self.registrations.with_book(|book| book.note(&aor, note, &service.policy, now));
        }
    }

    /// A call that another edge has is no longer here. Nothing about it is over.
    fn let_go(&self, key: CallKey) {
        let mut shard = self.shard(key);
        let Some(slot) = shard.find(key).filter(|slot| shard.lease(*slot).is_open()) else { return };
        let lease = shard.remove(slot);
        drop(shard);
        lease.seat.into_iter().for_each(|seat| self.give_back(seat));
        self.store.lease(key.0, None);
    }

    /// A call that is here because its edge was gone: that edge stood still, or was cut off, and has ended it.
    fn end_inherited(&self, cluster: &Cluster, edge: &str, key: CallKey) {
        {
            let mut inherited = cluster.inherited.lock();
            if inherited.get(&key).is_none_or(|from| **from != *edge) {
                return;
            }
            inherited.remove(&key);
        }
        let mut shard = self.shard(key);
        let Some(slot) = shard.find(key).filter(|slot| shard.lease(*slot).is_open()) else { return };
        let mut lease = shard.remove(slot);
        drop(shard);
        lease.seat.take().into_iter().for_each(|seat| self.give_back(seat));
        self.store.lease(key.0, None);
        let farm = self.farm.load();
        self.note_peer_call(key, &saving::saved(&lease, &farm, self.clock.reading()), false);
    }

    /// True while a BYE that passed here is not answered.
    fn is_ending(&self, key: CallKey) -> bool {
        let shard = self.shard(key);
        shard.find(key).is_some_and(|slot| matches!(shard.lease(slot).phase, Phase::Ending { .. }))
    }

    /// True when the call has its place here.
    pub fn has_call(&self, key: CallKey) -> bool {
        let shard = self.shard(key);
        shard.find(key).is_some_and(|slot| shard.lease(slot).is_open())
    }

    /// A call that another edge has is here from now on; false when none has it.
    pub(in crate::edge) fn take_over(&self, cluster: &Cluster, key: CallKey) -> bool {
        let Some(call) = cluster.take_over(key) else { return false };
        self.count_others(cluster, &call.node);
        if let Some(lease) = SavedLease::read(&call.lease) {
            let mut shard = self.shard(key);
            self.open_here(&mut shard, key, &lease);
            self.save(&mut shard);
        }
        true
    }

    fn open_here(&self, shard: &mut Shard, key: CallKey, lease: &SavedLease<'_>) {
        if shard.find(key).is_some() {
            return;
        }
        let farm = self.farm.load();
        let Some(node) = node_named(&farm, lease.node) else { return };
        let pool = farm.pools.iter().flatten().find(|pool| *pool.name == *lease.pool).map(|pool| pool.plan.id);
        let pool = pool.unwrap_or(PoolId::NONE);
        let restored = saving::restored(key, lease, node, pool, self.clock.reading(), || self.take_on(node));
        match restored.map(|lease| shard.open(lease)) {
            Some(Ok(slot)) => shard.save(slot),
            Some(Err(lease)) => lease.seat.into_iter().for_each(|seat| self.give_back(seat)),
            None => {}
        }
    }

    /// Chooses over the calls of all edges: by asking, or by the answer when it is there.
    pub(in crate::edge) fn take_of_all(&self, cluster: &Cluster, pick: Pick<'_>) -> Result<Picked, NoSeat> {
        match asking::take_answer() {
            Some(Answer::Node(name)) => {
                let node = node_named(&self.farm.load(), &name);
                self.with_board(|board| match node {
                    Some(node) => board.take_chosen(node, pick),
                    None => board.take(pick),
                })
            }
            Some(Answer::Full) => Err(self.with_board(|board| board.no_seat(pick, NoSeatWhy::Full))),
            None if self.may_ask(cluster, pick) => self.ask_for_seat(pick),
            _ => self.with_board(|board| board.take(pick)),
        }
    }

    /// Only a new call is worth a question; a second try goes by what is known.
    fn may_ask(&self, cluster: &Cluster, pick: Pick<'_>) -> bool {
        !asking::is_again() && pick.prefer.is_none() && pick.avoid.is_empty() && cluster.shared.is_up()
    }

    fn ask_for_seat(&self, pick: Pick<'_>) -> Result<Picked, NoSeat> {
        let farm = self.farm.load();
        self.with_board(|board| {
            let nodes = board.seatables(pick, NODES_MAX);
            let named = nodes.iter().filter_map(|one| {
                Some(Seatable {
                    node: farm.node(one.node)?.name.to_string(),
                    weight: one.weight_64ths,
                    calls_max: one.max_calls.unwrap_or(0),
                    tier: one.tier,
                })
            });
            let nodes: Vec<Seatable> = named.collect();
            if nodes.is_empty() {
                return board.take(pick);
            }
            asking::ask(Question::Seat { key: pick.key, nodes });
            Err(board.no_seat(pick, NoSeatWhy::Asked))
        })
    }

    /// Tells the board how many calls other edges have on a node.
    fn count_others(&self, cluster: &Cluster, node: &str) {
        if let Some(id) = node_named(&self.farm.load(), node) {
            let others = cluster.with_peers(|peers| peers.on_node(node));
            self.with_board(|board| board.set_others(id, others));
        }
    }

    /// The same for all nodes, after the farm has changed: a node that is new here may have calls of other edges.
    pub fn count_all_others(&self) {
        let Some(cluster) = &self.cluster else { return };
        let farm = self.farm.load();
        let nodes = farm.nodes.iter().flatten();
        let counts: Vec<_> =
            cluster.with_peers(|peers| nodes.map(|node| (node.id, peers.on_node(&node.name))).collect());
        self.with_board(|board| counts.iter().for_each(|(node, others)| board.set_others(*node, *others)));
    }

    fn tell_who_is_not_ready(&self, cluster: &Cluster) {
        let reason = |agent: &Agent| agent.intent().reason().map(str::to_owned);
        let list: Vec<(Aor, String)> = self
            .registrations
            .with_book(|book| book.iter().filter_map(|(aor, agent)| Some((aor.clone(), reason(agent)?))).collect());
        for (aor, reason) in list {
            let entry = |since| Entry::NotReady { user: aor.as_bytes(), since, reason: Some(&reason) };
            // When it was said is not kept over a restart: whatever was said at another edge goes before it.
            let since = cluster.said(&entry(0).name(&cluster.edge));
            cluster.tell_word(&entry(since), since);
        }
    }

    /// Tells what operators and agents said here, as far as nothing later is known.
    pub fn tell_words(&self, cluster: &Cluster) {
        cluster.tell_admin();
        self.tell_who_is_not_ready(cluster);
    }

    /// Tells the calls of one shard, and that these are all.
    pub fn tell_calls(&self, cluster: &Cluster, shard_index: usize) {
        let (farm, clocks) = (self.farm.load(), self.clock.reading());
        self.look_at_shard(shard_index, |shard| {
            for lease in shard.iter().filter(|lease| lease.is_open()) {
                let saved = saving::saved(lease, &farm, clocks);
                cluster.tell_call(lease.key, Some(&saved));
            }
            let keys = shard.iter().filter(|lease| lease.is_open()).map(|lease| lease.key.0).collect();
            cluster.tell_other(&Entry::Open { part: shard_index as u16, parts: SHARDS as u16, keys });
        });
    }

    /// Tells where the phones of these users are.
    pub fn tell_phones(&self, cluster: &Cluster, users: &[Aor]) {
        let clocks = self.clock.reading();
        for aor in users {
            self.registrations.tell_bindings(cluster, aor, &register::TakenBack::Nothing, clocks);
        }
    }
}

impl Cluster {
    fn hear_admin(&self, node: &str, wanted: SavedAdmin) {
        let name = Entry::Admin { node, wanted: wanted.clone() }.name(&self.edge);
        if self.is_last_word(&name, wanted.since)
            && let Some(writer) = self.writer.get()
        {
            writer.peer_said(node, wanted);
        }
    }

    /// Tells operators' words that were said here, or that this edge remembers.
    fn tell_admin(&self) {
        let Some(writer) = self.writer.get() else { return };
        for (node, wanted) in writer.admin.load().iter() {
            self.tell_word(&Entry::Admin { node, wanted: wanted.clone() }, wanted.since);
        }
    }
}

fn node_named(farm: &Farm, name: &str) -> Option<NodeId> {
    farm.nodes.iter().flatten().find(|node| *node.name == *name).map(|node| node.id)
}
