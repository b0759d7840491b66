//! What the other edges told, and what it means here: where calls are, how many a node has, what agents are doing.

use std::sync::Arc;

use crate::agents::ends::{Ends, Stage};
use crate::agents::reservation::Held;
use crate::agents::{Cause, Intent};
use crate::calls::ledger::Slot;
use crate::calls::{CallKey, Lease, NodeId, Phase, PoolId, Shard};
use crate::config::checked::AGENTS;
use crate::dispatch::Farm;
use crate::dispatch::node::Admin;
use crate::registrar::binding::same_uri;
use crate::registrar::register::TakenBack;
use crate::registrar::{Aor, Binding};
use crate::store::contract::{LEASE_LEN_MAX, by_clock};
use crate::store::{SavedAdmin, SavedBinding, SavedLease, saving};

use super::Entry;
use super::among::{Among, Here, Others};
use super::doubts::Doubt;
use super::entry::Reached;
use super::homes::Phone;
use super::peers::PeerCall;

impl<H: Here, O: Others> Among<'_, H, O> {
    /// Takes in what an edge told. What this edge told itself comes back in its place among what the others told: whoever told of a
    /// call last has it.
    pub fn hear(&self, edge: &str, entry: Entry<'_>) {
        let is_own = edge == self.others.edge();
        if entry.call().is_some_and(|key| self.is_said_before(key, is_own.then_some(&entry))) {
            return;
        }
        match entry {
            Entry::Call { key, lease } if is_own => self.hear_own(CallKey(key), &lease),
            Entry::Over { key, .. } if is_own => self.hear_own_end(CallKey(key)),
            Entry::Admin { node, wanted } if is_own => {
                // What was said here before this edge started anew.
                if self.is_later(&Entry::Admin { node, wanted: wanted.clone() }, wanted.since) {
                    self.hear_admin(node, wanted);
                }
            }
            Entry::NotReady { user, since, reason } if is_own => {
                if self.is_later(&Entry::NotReady { user, since, reason }, since) {
                    self.hear_not_ready(user, since, reason);
                }
            }
            _ if is_own => {}
            Entry::Call { key, lease } => {
                self.hear_call(edge, CallKey(key), &lease.by_clock(self.others.clock_ahead(edge, self.here.clocks())));
            }
            Entry::Over { key, was_here } => self.hear_end_at(CallKey(key), was_here),
            Entry::Admin { node, wanted } => self.hear_admin(node, wanted),
            Entry::NotReady { user, since, reason } => self.hear_not_ready(user, since, reason),
            Entry::Bindings { aor, list, taken_back } => {
                let ahead = self.others.clock_ahead(edge, self.here.clocks());
                let list: Vec<SavedBinding<'_>> = list.into_iter().map(|saved| saved.by_clock(ahead)).collect();
                self.hear_bindings(edge, aor, &list, &taken_back);
            }
            Entry::Held { user, token, until, queue } => self.hear_held(edge, user, token, until, queue),
            Entry::Everything { begins: true } => self.doubt(edge),
            Entry::Everything { begins: false } => self.end_doubt(edge),
        }
    }

    /// Whether this edge has said something of a call since, which comes later in the log: then that holds, whatever was said before.
    fn is_said_before(&self, key: CallKey, own: Option<&Entry<'_>>) -> bool {
        self.others.with_untold(|untold| {
            if let Some(own) = own {
                untold.heard(key, &own.write(self.others.edge()));
            }
            untold.is_unheard(key)
        })
    }

    /// This edge said that it has a call, and another one had said so before: what that one knew holds, unless this one knew more.
    fn hear_own(&self, key: CallKey, lease: &SavedLease<'_>) {
        if self.others.with_untold(|untold| untold.is_said_over(key)) {
            return;
        }
        let known = self.others.with_peers(|peers| peers.find(key).map(|call| call.lease.clone()));
        let Some(known) = known.as_deref().and_then(SavedLease::read) else { return };
        if known.answered.is_some() || lease.answered.is_none() {
            self.take_over(key);
        } else if let Some(call) = self.others.with_peers(|peers| peers.take(key)) {
            self.count_others(&call.node);
            self.here.with_shard(key, |shard| self.open_here(shard, key, lease));
        }
    }

    /// This edge said that a call is over after another one had said that it has it: one that took this edge for gone and inherited it.
    fn hear_own_end(&self, key: CallKey) {
        if self.others.with_peers(|peers| peers.find(key).is_some()) {
            self.hear_end(key);
        }
    }

    /// An edge that started anew or lost something tells everything: what it had is in doubt until it has told it.
    fn doubt(&self, edge: &str) {
        let (name, calls) = self.others.with_peers(|peers| (peers.name(edge), peers.of_edge(edge)));
        let users = self.others.with_homes(|homes| homes.users_at(edge).cloned().collect());
        let doubt = Doubt { calls: calls.into_iter().collect(), users };
        self.others.with_doubts(|doubts| doubts.begin(name, doubt));
    }

    /// What it has not told is over, unless another edge has it by now.
    fn end_doubt(&self, edge: &str) {
        let Doubt { calls, users } = self.others.with_doubts(|doubts| doubts.end(edge));
        let is_its_own =
            |key: &CallKey| self.others.with_peers(|peers| peers.find(*key).is_some_and(|call| *call.edge == *edge));
        calls.into_iter().filter(is_its_own).for_each(|key| self.hear_end(key));
        for aor in users {
            self.others.with_homes(|homes| homes.put(&aor, edge, Vec::new()));
            self.note_registered(&aor);
        }
    }

    fn hear_call(&self, edge: &str, key: CallKey, lease: &SavedLease<'_>) {
        self.others.with_doubts(|doubts| doubts.heard_call(edge, key));
        if self.is_ending(key) {
            // Its end is told from here in a moment.
            return;
        }
        if lease.answered.is_none() && self.tell_answered(key) {
            return;
        }
        self.let_go(key);
        let mut buffer = [0; LEASE_LEN_MAX];
        let Some(octets) = lease.write(&mut buffer) else { return };
        let node: Arc<str> = lease.node.into();
        let before = self.others.with_peers(|peers| {
            peers.heed(self.here.clocks());
            let edge = peers.name(edge);
            peers.put(key, PeerCall { edge, node: Arc::clone(&node), lease: octets.into() })
        });
        self.count_others(&node);
        if let Some(before) = before.filter(|before| before.node != node) {
            self.count_others(&before.node);
        }
        self.note_peer_call(key, lease, true);
    }

    /// A call is over at another edge.
    fn hear_end_at(&self, key: CallKey, was_here: Option<Reached>) {
        // That it was there goes before its end, as if it had been told before.
        match was_here {
            Some(Reached::Trying) if self.tell_answered(key) => return,
            Some(_) => self.forget_open(key),
            None => {}
        }
        self.hear_end(key);
    }

    pub(super) fn hear_end(&self, key: CallKey) {
        let Some(call) = self.others.with_peers(|peers| peers.take(key)) else { return self.hear_end_of_own(key) };
        self.count_others(&call.node);
        if let Some(lease) = SavedLease::read(&call.lease) {
            self.note_peer_call(key, &lease, false);
        }
    }

    /// Another edge says that a call is over which is here. One that was inherited from an edge that was not gone, but cut off, ended there. Of any
    /// other one this edge knows better, and says so.
    fn hear_end_of_own(&self, key: CallKey) {
        if self.others.with_peers(|peers| peers.touch(key)) {
            return self.forget_open(key);
        }
        self.here.with_shard(key, |shard| {
            let open = shard.find(key).filter(|slot| shard.lease(*slot).is_open());
            open.into_iter().for_each(|slot| shard.save(slot));
        });
    }

    /// A call that is here is over, as others know.
    pub(super) fn forget_open(&self, key: CallKey) {
        let Some(lease) = self.take_open(key) else { return };
        let now = self.here.clocks().now;
        if let Some(service) = self.here.with_farm(|farm| farm.registrar.clone()) {
            for (aor, note) in (Ends { stage: Stage::Over, ..Ends::of(&lease, service.agents) }).notes() {
                self.here.with_book(|book| book.note(&aor, note, &service.policy, now));
            }
        }
        self.here.forget_call(key);
        lease.seat.into_iter().for_each(|seat| self.here.give_back(seat));
    }

    /// Takes a call that is open out of what is here.
    fn take_open(&self, key: CallKey) -> Option<Lease> {
        self.here.with_shard(key, |shard| {
            let slot = shard.find(key).filter(|slot| shard.lease(*slot).is_open())?;
            Some(shard.remove(slot))
        })
    }

    /// Whether a word is later than any that is remembered.
    fn is_later(&self, word: &Entry<'_>, since: u64) -> bool {
        self.others.with_words(|words| words.said(&word.name(self.others.edge()))) < since
    }

    fn hear_admin(&self, node: &str, wanted: SavedAdmin) {
        let word = Entry::Admin { node, wanted: wanted.clone() };
        if self.others.is_last_word(&word, wanted.since) {
            return self.here.operator_said(node, wanted);
        }
        // Whoever said it was away when the later word was said, and the store has lost that: he hears it again. What is not remembered is
        // enabled.
        let known = self.here.operators_words().into_iter().find(|(name, _)| name == node).map(|(_, known)| known);
        let since = self.others.with_words(|words| words.said(&word.name(self.others.edge())));
        let enabled = SavedAdmin { state: Admin::Enabled.as_str().to_owned(), since };
        self.others.tell(&Entry::Admin { node, wanted: known.filter(|known| known.since == since).unwrap_or(enabled) });
    }

    /// Another edge answers for these phones from now on: those of them that registered here have moved.
    fn hear_bindings(&self, edge: &str, user: &[u8], list: &[SavedBinding<'_>], taken_back: &TakenBack) {
        let Some(aor) = Aor::from_user(user) else { return };
        self.others.with_doubts(|doubts| doubts.heard_phones(edge, &aor));
        let name = self.others.with_peers(|peers| peers.name(edge));
        self.others.with_homes(|homes| homes.heed(self.here.clocks()));
        let (clocks, own) = (self.here.clocks(), self.here.phones(&aor));
        // One that has come here since is here, whatever an edge says that was away.
        let has_come = |phone: &Phone| {
            let is_same = |own: &Binding| phone.is_same_as(own.contact(), own.instance(), own.reg_id);
            own.iter().any(|own| is_same(own) && clocks.unix_millis(own.updated) > phone.updated)
        };
        let phones = list.iter().map(|saved| Phone::of(&name, saved)).filter(|phone| !has_come(phone));
        let phones: Vec<Phone> = phones.collect();
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
        let is_older = own.iter().any(|binding| clocks.unix_millis(binding.updated) > updated);
        if is_moving && !is_older {
            self.here.end_moved(&aor, has_moved);
        }
        self.others.with_homes(|homes| homes.put(&aor, edge, phones));
        self.note_registered(&aor);
    }

    /// Brings the agents' book up to date with where a user's phones are.
    pub(super) fn note_registered(&self, aor: &Aor) {
        let (is_registered, now) = (!self.here.phones(aor).is_empty(), self.here.clocks().now);
        self.here.registry().inspect(|registry| registry.set_registered(aor, is_registered, now));
    }

    fn hear_held(&self, edge: &str, user: &[u8], token: u64, until: Option<u64>, queue: Option<&str>) {
        let Some(aor) = Aor::from_user(user) else { return };
        let (clocks, ahead) = (self.here.clocks(), self.others.clock_ahead(edge, self.here.clocks()));
        let ends = until.map(|until| clocks.moment_of(by_clock(until, ahead)));
        self.here.with_book(|book| match ends {
            Some(ends) if ends > clocks.now => book.hear_reservation(&aor, Held { token, ends, queue }, clocks.now),
            Some(_) => {}
            None => book.hear_used(&aor, token, clocks.now),
        });
    }

    fn hear_not_ready(&self, user: &[u8], since: u64, reason: Option<&str>) {
        let word = Entry::NotReady { user, since, reason };
        let Some(aor) = Aor::from_user(user).filter(|_| self.others.is_last_word(&word, since)) else { return };
        self.here.keep_not_ready(user, reason);
        let (intent, now) =
            (reason.map_or(Intent::Ready, |reason| Intent::NotReady(reason.into())), self.here.clocks().now);
        self.here.with_book(|book| book.set_intent(&aor, intent, Cause::AnotherEdge, now));
    }

    /// What a call of another edge means for the agents at its ends.
    fn note_peer_call(&self, key: CallKey, lease: &SavedLease<'_>, is_open: bool) {
        let now = self.here.clocks().now;
        let Some(service) = self.here.with_farm(|farm| farm.registrar.clone()) else { return };
        for (aor, note) in ends(key, lease, is_open).notes() {
            self.here.with_book(|book| book.note(&aor, note, &service.policy, now));
        }
    }

    /// Whether a call is here and was answered: who believes that it still rings has missed that, and is told.
    fn tell_answered(&self, key: CallKey) -> bool {
        if self.others.with_peers(|peers| peers.is_inherited(key)) {
            return false;
        }
        self.here.with_shard(key, |shard| {
            let is_up = |slot: &Slot| matches!(shard.lease(*slot).phase, Phase::Up { .. } | Phase::Ending { .. });
            let slot = shard.find(key).filter(is_up);
            slot.into_iter().for_each(|slot| shard.save(slot));
            slot.is_some()
        })
    }

    /// True while a BYE that passed here is not answered.
    fn is_ending(&self, key: CallKey) -> bool {
        let is_ending = |shard: &Shard, slot| matches!(shard.lease(slot).phase, Phase::Ending { .. });
        self.here.with_shard(key, |shard| shard.find(key).is_some_and(|slot| is_ending(shard, slot)))
    }

    /// A call that another edge has is no longer here. Nothing about it is over.
    fn let_go(&self, key: CallKey) {
        if let Some(lease) = self.take_open(key) {
            lease.seat.into_iter().for_each(|seat| self.here.give_back(seat));
            self.here.forget_call(key);
        }
    }

    /// A call that another edge has is here from now on; false when none has it.
    pub fn take_over(&self, key: CallKey) -> bool {
        let call = self.others.with_peers(|peers| {
            peers.heed(self.here.clocks());
            peers.touch(key);
            peers.take(key)
        });
        let Some(call) = call else { return false };
        self.count_others(&call.node);
        if let Some(lease) = SavedLease::read(&call.lease) {
            self.here.with_shard(key, |shard| self.open_here(shard, key, &lease));
        }
        true
    }

    /// The same when an answer came to the INVITE that its edge sent.
    pub fn take_over_answered(&self, key: CallKey, transaction: u64) -> bool {
        let is_its_own = self.others.with_peers(|peers| {
            let lease = peers.find(key).and_then(|call| SavedLease::read(&call.lease));
            lease.is_some_and(|lease| lease.answered.is_none() && lease.transaction == transaction)
        });
        is_its_own && self.take_over(key)
    }

    pub(super) fn open_here(&self, shard: &mut Shard, key: CallKey, lease: &SavedLease<'_>) {
        match shard.find(key) {
            Some(slot) if shard.lease(slot).is_open() => return,
            // An earlier try of the caller's, which ended here: the call has gone on elsewhere.
            Some(slot) => drop(shard.remove(slot)),
            None => {}
        }
        let places = self.here.with_farm(|farm| {
            let pool = farm.pools.iter().flatten().find(|pool| *pool.name == *lease.pool).map(|pool| pool.plan.id);
            Some((node_named(farm, lease.node)?, pool.unwrap_or(PoolId::NONE)))
        });
        let Some((node, pool)) = places else { return };
        let restored = saving::restored(key, lease, node, pool, self.here.clocks(), || self.here.take_on(node));
        match restored.map(|lease| shard.open(lease)) {
            Some(Ok(slot)) => shard.save(slot),
            Some(Err(lease)) => lease.seat.into_iter().for_each(|seat| self.here.give_back(seat)),
            None => {}
        }
    }

    /// Tells the board how many calls other edges have on a node.
    fn count_others(&self, node: &str) {
        if let Some(id) = self.here.with_farm(|farm| node_named(farm, node)) {
            let others = self.others.with_peers(|peers| peers.on_node(node));
            self.here.with_board(|board| board.set_others(id, others));
        }
    }

    /// The same for all nodes, after the farm has changed: a node that is new here may have calls of other edges.
    pub fn count_all_others(&self) {
        let counts: Vec<(NodeId, u32)> = self.here.with_farm(|farm| {
            let nodes = farm.nodes.iter().flatten();
            self.others.with_peers(|peers| nodes.map(|node| (node.id, peers.on_node(&node.name))).collect())
        });
        self.here.with_board(|board| counts.iter().for_each(|(node, others)| board.set_others(*node, *others)));
    }
}

/// The ends of a call as its edge told of it.
fn ends<'a>(key: CallKey, lease: &SavedLease<'a>, is_open: bool) -> Ends<'a> {
    Ends {
        key,
        called: (lease.node == AGENTS).then_some(lease.called),
        calling: lease.agent,
        queue: lease.queue,
        stage: match lease.answered {
            _ if !is_open => Stage::Over,
            None => Stage::Trying,
            Some(_) => Stage::Up { is_held: lease.is_held },
        },
    }
}

pub(super) fn node_named(farm: &Farm, name: &str) -> Option<NodeId> {
    farm.nodes.iter().flatten().find(|node| *node.name == *name).map(|node| node.id)
}
