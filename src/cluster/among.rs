//! An edge among others: what it has itself, what it holds of them, and what it does with the two.
//!
//! [`Here`] and [`Others`] are all that the deciding parts ([`hearing`](super::hearing), [`telling`](super::telling),
//! [`pulse`](super::pulse), [`choosing`](super::choosing)) know of the program. The shell puts locks behind them, a simulation does without.

use crate::agents::Book;
use crate::calls::CallKey;
use crate::dispatch::{Board, Farm};
use crate::moment::{CLOCKS_DIFFER_MILLIS, Reading};
use crate::proxy::World;
use crate::proxy::contract::PhoneElsewhere;
use crate::registrar::register::TakenBack;
use crate::registrar::{Aor, Binding};
use crate::store::{SavedAdmin, SavedLease, saving};
use crate::transport::flow::{Protocol, Target};

use super::homes::Phone;
use super::members::Member;
use super::{Doubts, Entry, Homes, Members, Peers, Untold, Words};

/// What an edge has itself. Its calls are behind [`World`], which tells the others of every change that it saves.
pub trait Here: World {
    /// Its clocks.
    fn clocks(&self) -> Reading;
    /// Looks at its farm.
    fn with_farm<R>(&self, look: impl FnOnce(&Farm) -> R) -> R;
    /// Acts on its board.
    fn with_board<R>(&self, act: impl FnOnce(&mut Board) -> R) -> R;
    /// Acts on its agents' book.
    fn with_book<R>(&self, act: impl FnOnce(&mut Book) -> R) -> R;
    /// Forgets a call that is at another edge, on disk too.
    fn forget_call(&self, key: CallKey);
    /// The phones of a user that registered here.
    fn phones(&self, aor: &Aor) -> Vec<Binding>;
    /// Takes up phones of a user that this edge told of before its disk was lost; none when they have ended since.
    fn restore_phones(&self, aor: &Aor, phones: Vec<Binding>);
    /// Writes everything to disk again, and so tells it again: the time of day was set, which is in all of it.
    fn keep_again(&self);
    /// Ends registrations of a user's phones that have moved to another edge.
    fn end_moved(&self, aor: &Aor, has_moved: impl Fn(&Binding) -> bool);
    /// Keeps on disk what was said of an agent: why he is not ready, or that he is.
    fn keep_not_ready(&self, user: &[u8], reason: Option<&str>);
    /// Takes up what an operator said at another edge.
    fn operator_said(&self, node: &str, wanted: SavedAdmin);
    /// Operators' words that were said here, or that this edge remembers.
    fn operators_words(&self) -> Vec<(String, SavedAdmin)>;
}

/// What an edge holds of the others. Nothing of it is reached for while another part of it is held.
pub trait Others {
    /// The edge's own name.
    fn edge(&self) -> &str;
    /// Acts on the others' calls.
    fn with_peers<R>(&self, act: impl FnOnce(&mut Peers) -> R) -> R;
    /// Acts on where their phones are.
    fn with_homes<R>(&self, act: impl FnOnce(&mut Homes) -> R) -> R;
    /// Acts on who is there.
    fn with_members<R>(&self, act: impl FnOnce(&mut Members) -> R) -> R;
    /// Acts on when something was last said.
    fn with_words<R>(&self, act: impl FnOnce(&mut Words) -> R) -> R;
    /// Acts on what is in doubt of those who tell everything.
    fn with_doubts<R>(&self, act: impl FnOnce(&mut Doubts) -> R) -> R;
    /// Acts on what they have not been told yet.
    fn with_untold<R>(&self, act: impl FnOnce(&mut Untold) -> R) -> R;

    /// How far another edge's clock is ahead of this one's, in milliseconds, when it is off by more than clocks and ways are anyhow.
    fn clock_ahead(&self, edge: &str, own: Reading) -> i64 {
        let ahead = self.with_members(|members| members.clock_ahead(edge, own));
        if ahead.abs() > CLOCKS_DIFFER_MILLIS { ahead } else { 0 }
    }

    /// Tells how far a call is that this edge has. Called under the short lock of a shard.
    fn tell_call(&self, key: CallKey, lease: Option<&SavedLease<'_>>) {
        self.with_untold(|untold| untold.put_call(self.edge(), key, lease));
    }

    /// Tells something that is neither a call nor anybody's word.
    fn tell(&self, entry: &Entry<'_>) {
        self.with_untold(|untold| untold.put(self.edge(), entry));
    }

    /// Tells where the phones of a user are that registered here, and what he took back here wherever it registered. Called under the
    /// short lock of his part of the table.
    fn tell_phones(&self, aor: &Aor, held: &[Binding], taken_back: TakenBack, clocks: Reading) {
        let list = held.iter().map(|binding| saving::saved_binding(binding, clocks)).collect();
        self.tell(&Entry::Bindings { aor: aor.as_bytes(), list, taken_back });
    }

    /// Tells what somebody said at this edge, unless a later word about the same is known.
    fn tell_word(&self, entry: &Entry<'_>, since: u64) {
        if self.is_last_word(entry, since) {
            self.tell(entry);
        }
    }

    /// Whether a word is at least as new as any that was heard about the same; it is remembered.
    fn is_last_word(&self, entry: &Entry<'_>, since: u64) -> bool {
        self.with_words(|words| words.is_last(&entry.name(self.edge()), since))
    }

    /// Whether a user has a phone at another edge.
    fn has_phone(&self, aor: &Aor, clocks: Reading) -> bool {
        !self.live_phones(aor, clocks).is_empty()
    }

    /// A user's phones at other edges, and the way to each.
    fn phones_elsewhere(&self, aor: &Aor, clocks: Reading) -> Vec<PhoneElsewhere> {
        let phones = self.live_phones(aor, clocks);
        let way = |members: &Members, phone: Phone| {
            let edge = members.find(&phone.edge);
            elsewhere(&phone, edge, clocks)
        };
        self.with_members(|members| phones.into_iter().map(|phone| way(members, phone)).collect())
    }

    /// A user's phones at other edges whose time is not over.
    fn live_phones(&self, aor: &Aor, clocks: Reading) -> Vec<Phone> {
        self.with_homes(|homes| {
            homes.heed(clocks);
            homes.of(aor.as_bytes()).iter().filter(|phone| phone.expires > clocks.unix_millis).cloned().collect()
        })
    }
}

/// The way to a phone that registered at another edge: through that edge while it is there.
fn elsewhere(phone: &Phone, edge: Option<&Member>, clocks: Reading) -> PhoneElsewhere {
    let at = |member: &Member| {
        let (protocol, address) = member.heartbeat.address.split_once("://")?;
        Some(Target { protocol: Protocol::from_bytes(protocol.as_bytes())?, address: address.parse().ok()? })
    };
    PhoneElsewhere {
        edge: edge.and_then(at),
        flow: phone.flow.flow(),
        contact: phone.contact.clone(),
        instance: phone.instance.clone(),
        reg_id: phone.reg_id,
        preference: phone.preference,
        path: phone.path.clone(),
        expires: clocks.moment_of(phone.expires),
        updated: clocks.moment_of(phone.updated),
    }
}

/// An edge among others.
pub struct Among<'a, H, O> {
    /// What it has itself.
    pub here: &'a H,
    /// What it holds of the others.
    pub others: &'a O,
}
