//! Bindings that end otherwise than by a REGISTER: counted, logged with their reason, and gone from the disk too.

use std::collections::HashSet;

use crate::dispatch::Farm;
use crate::moment::Moment;
use crate::proxy::contract::Registry;
use crate::registrar::register::Changes;
use crate::registrar::{Aor, Binding, Ended};

use super::engine::Engine;
use super::registrations::Waiting;

/// Ends bindings of one address of record.
pub fn end_bindings(engine: &Engine, aor: &Aor, why: Ended, now: Moment, is_over: impl Fn(&Binding) -> bool) {
    let (count, is_left) = engine.registrations.end(aor, is_over);
    if count > 0 {
        note_ended(engine, aor, why, count, is_left, now);
    }
}

/// Notes that bindings have ended; `is_left` when their user has others.
pub fn note_ended(engine: &Engine, aor: &Aor, why: Ended, count: usize, is_left: bool, now: Moment) {
    let is_reachable = is_left || has_permanent(&engine.farm.load(), aor);
    engine.registrations.set_registered(aor, is_reachable, now);
    engine.metrics.bindings_ended.with_label_values(&[why.as_str()]).inc_by(count as u64);
    log(engine, aor, why, count);
    engine.registrations.save(Waiting { aor: aor.clone(), answer: None });
}

/// Logs what a REGISTER ended; it is counted where its answer is made.
pub fn log_changes(engine: &Engine, aor: &Aor, changes: Changes) {
    let ended = changes.ended().into_iter().filter(|(_, count)| *count > 0);
    ended.for_each(|(why, count)| log(engine, aor, why, count));
}

fn log(engine: &Engine, aor: &Aor, why: Ended, count: usize) {
    let (user, cause) = (engine.redacted(aor), why.as_str());
    tracing::debug!(%user, cause, count, "registration ended");
}

/// Ends what was reached by connections that are gone. A phone that says an address of its own that is true may be reached
/// there all the same.
pub fn end_lost(engine: &Engine, now: Moment) {
    let lost: HashSet<_> = engine.registrations.take_lost().into_iter().collect();
    if lost.is_empty() {
        return;
    }
    let is_over = |binding: &Binding| {
        binding.is_behind_nat() && binding.flow.connection.is_some_and(|connection| lost.contains(&connection))
    };
    let mut whose = Vec::new();
    engine.registrations.each(|aor, bindings| {
        if bindings.iter().any(is_over) {
            whose.push(aor.clone());
        }
    });
    whose.iter().for_each(|aor| end_bindings(engine, aor, Ended::ConnectionLost, now, is_over));
}

/// Ends the bindings of all who are no users any more; returns how many users that were.
pub fn end_removed_users(engine: &Engine, farm: &Farm, now: Moment) -> usize {
    let Some(service) = farm.registrar.as_ref().filter(|service| service.authority.is_some()) else { return 0 };
    let mut whose = Vec::new();
    engine.registrations.each(|aor, _| {
        if !service.knows(aor.as_bytes()) {
            whose.push(aor.clone());
        }
    });
    whose.iter().for_each(|aor| end_bindings(engine, aor, Ended::UserRemoved, now, |_| true));
    whose.len()
}

/// Brings the agents' book up to date with the permanent contacts that came and went.
pub fn note_permanents(engine: &Engine, old: &Farm, new: &Farm, now: Moment) {
    let permanents =
        |farm: &Farm| farm.registrar.as_ref().map(|service| service.permanents.clone()).unwrap_or_default();
    let (before, after) = (permanents(old), permanents(new));
    let both: HashSet<&Aor> = before.names().chain(after.names()).collect();
    for aor in both {
        let is_registered = engine.registrations.of(aor).iter().any(|binding| binding.expires > now);
        engine.registrations.set_registered(aor, is_registered || has_permanent(new, aor), now);
    }
}

fn has_permanent(farm: &Farm, aor: &Aor) -> bool {
    farm.registrar.as_ref().is_some_and(|service| !service.permanents.of(aor.as_bytes()).is_empty())
}
