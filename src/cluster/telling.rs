//! Everything that an edge knows first hand, for the others: when it starts, and whenever the shared store has lost it.

use std::collections::BTreeMap;

use crate::agents::Agent;
use crate::calls::Shard;
use crate::registrar::Aor;
use crate::store::saving;

use super::Entry;
use super::among::{Among, Here, Others};

impl<H: Here, O: Others> Among<'_, H, O> {
    /// Tells what operators and agents said here, as far as nothing later is known.
    pub fn tell_words(&self) {
        for (node, wanted) in self.here.operators_words() {
            let since = wanted.since;
            self.others.tell_word(&Entry::Admin { node: &node, wanted }, since);
        }
        self.tell_who_is_not_ready();
    }

    fn tell_who_is_not_ready(&self) {
        let reason = |agent: &Agent| agent.intent().reason().map(str::to_owned);
        let list: BTreeMap<Aor, String> = self
            .here
            .with_book(|book| book.iter().filter_map(|(aor, agent)| Some((aor.clone(), reason(agent)?))).collect());
        for (aor, reason) in list {
            let entry = |since| Entry::NotReady { user: aor.as_bytes(), since, reason: Some(&reason) };
            // When it was said is not kept over a restart: whatever was said at another edge goes before it.
            let since = self.others.with_words(|words| words.said(&entry(0).name(self.others.edge())));
            self.others.tell_word(&entry(since), since);
        }
    }

    /// Tells the calls of one shard.
    pub fn tell_calls(&self, shard: &Shard) {
        let clocks = self.here.clocks();
        self.here.with_farm(|farm| {
            for lease in shard.iter().filter(|lease| lease.is_open()) {
                self.others.tell_call(lease.key, Some(&saving::saved(lease, farm, clocks)));
            }
        });
    }
}
