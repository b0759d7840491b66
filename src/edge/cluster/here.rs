//! What the edge has itself, for those who decide what the others' words mean here.

use std::sync::Arc;

use crate::agents::Book;
use crate::calls::CallKey;
use crate::cluster::{Among, Here};
use crate::dispatch::{Board, Farm};
use crate::edge::ended::end_bindings;
use crate::edge::engine::Engine;
use crate::edge::registrations::Waiting;
use crate::moment::Reading;
use crate::proxy::World;
use crate::registrar::{Aor, Binding, Ended};
use crate::store::SavedAdmin;

use super::Cluster;

impl Engine {
    /// This edge among the others.
    pub fn among<'a>(&'a self, cluster: &'a Arc<Cluster>) -> Among<'a, Engine, Cluster> {
        Among { here: self, others: cluster }
    }
}

impl Here for Engine {
    fn clocks(&self) -> Reading {
        self.clock.reading()
    }

    fn with_farm<R>(&self, look: impl FnOnce(&Farm) -> R) -> R {
        look(&self.farm.load())
    }

    fn with_board<R>(&self, act: impl FnOnce(&mut Board) -> R) -> R {
        Engine::with_board(self, act)
    }

    fn with_book<R>(&self, act: impl FnOnce(&mut Book) -> R) -> R {
        self.registrations.with_book(act)
    }

    fn forget_call(&self, key: CallKey) {
        self.store.lease(key.0, None);
    }

    fn phones(&self, aor: &Aor) -> Vec<Binding> {
        self.registrations.of(aor)
    }

    fn restore_phones(&self, aor: &Aor, phones: Vec<Binding>) {
        self.registrations.put(aor, phones);
        self.registrations.save(Waiting { aor: aor.clone(), answer: None });
    }

    fn keep_again(&self) {
        tracing::warn!("the time of day was set; everything that it is in is kept again");
        for key in self.open_calls() {
            self.with_shard(key, |shard| shard.find(key).into_iter().for_each(|slot| shard.save(slot)));
        }
        let mut users = Vec::new();
        self.registrations.each(|aor, _| users.push(aor.clone()));
        users.into_iter().for_each(|aor| self.registrations.save(Waiting { aor, answer: None }));
    }

    fn end_moved(&self, aor: &Aor, has_moved: impl Fn(&Binding) -> bool) {
        end_bindings(self, aor, Ended::Moved, self.clock.now(), has_moved);
    }

    fn keep_not_ready(&self, user: &[u8], reason: Option<&str>) {
        if let Err(error) = self.store.not_ready(user, reason) {
            tracing::error!("what another edge said of an agent cannot be kept: {error}");
        }
    }

    fn operator_said(&self, node: &str, wanted: SavedAdmin) {
        if let Some(writer) = self.cluster.as_ref().and_then(|cluster| cluster.writer.get()) {
            writer.peer_said(node, wanted);
        }
    }

    fn operators_words(&self) -> Vec<(String, SavedAdmin)> {
        let writer = self.cluster.as_ref().and_then(|cluster| cluster.writer.get());
        let words = |writer: &crate::edge::farm_writer::WriterHandle| {
            writer.admin.load().iter().map(|(node, wanted)| (node.clone(), wanted.clone())).collect()
        };
        writer.map_or_else(Vec::new, words)
    }
}
