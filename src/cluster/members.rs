//! Which edges there are, from their heartbeats.
//!
//! An edge is there as long as its heartbeat is younger than a limit, by the reader's own clock: a peer's clock may be an hour off.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::moment::{Moment, Reading};

/// Edges of one farm at most; more are not taken in.
const EDGES_MAX: usize = 64;

/// Edges whose clocks are remembered.
const CLOCKS_MAX: usize = 256;

/// What an edge says of itself with every heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Rises by one with each heartbeat of one run.
    pub beat: u64,
    /// Tells one run of the process from the next.
    pub run: u64,
    /// The generation of its configuration, without what differs from edge to edge.
    pub generation: String,
    /// Its version.
    pub version: String,
    /// Where other edges reach it: protocol, address and port.
    pub address: String,
    /// Its clock, in milliseconds of Unix time.
    pub clock: u64,
    /// Calls that it has.
    pub calls: u64,
    /// True while it takes no new calls because it is stopping.
    pub is_stopping: bool,
    /// Nodes that it takes for dead.
    pub down: Vec<String>,
}

/// Another edge.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its last heartbeat.
    pub heartbeat: Heartbeat,
    /// When a new one was last seen.
    pub seen: Moment,
    /// How far its clock is ahead of ours, in milliseconds, as of that heartbeat; the way it took is in it.
    pub clock_ahead_millis: i64,
}

/// What changed with the heartbeats that were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An edge came, or came back.
    Came(Arc<str>),
    /// An edge started anew: what it had before is over, unless it says otherwise.
    Restarted(Arc<str>),
    /// An edge's heartbeat has stopped.
    Gone(Arc<str>),
}

/// All edges but the own one.
#[derive(Debug, Default)]
pub struct Members {
    list: BTreeMap<Arc<str>, Member>,
    /// How far clocks were ahead of the own one that never goes back, in milliseconds, also of edges that are gone: what they told is still
    /// held by others.
    clocks: BTreeMap<Arc<str>, i64>,
}

impl Members {
    /// Takes in what was read: the newest heartbeat of each edge. Those that did not beat within `gone_after` are gone.
    pub fn read<'a>(
        &mut self,
        heartbeats: impl Iterator<Item = (&'a str, Heartbeat)>,
        own_clock: u64,
        now: Moment,
        gone_after: Duration,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for (edge, heartbeat) in heartbeats {
            self.take_in(edge, heartbeat, own_clock, now, &mut changes);
        }
        self.list.retain(|edge, member| {
            let is_here = now.since(member.seen) < gone_after;
            if !is_here {
                changes.push(Change::Gone(Arc::clone(edge)));
            }
            is_here
        });
        changes
    }

    /// For a while no heartbeat could be read: nobody is gone for that.
    pub fn forgive(&mut self, now: Moment) {
        self.list.values_mut().for_each(|member| member.seen = now);
    }

    fn take_in(&mut self, edge: &str, heartbeat: Heartbeat, own_clock: u64, now: Moment, changes: &mut Vec<Change>) {
        let clock_ahead_millis = heartbeat.clock as i64 - own_clock as i64;
        let has_room = self.list.len() < EDGES_MAX;
        let is_new = self.list.get(edge).is_none_or(|member| {
            let last = (member.heartbeat.run, member.heartbeat.beat);
            last != (heartbeat.run, heartbeat.beat)
        });
        let is_known = self.clocks.contains_key(edge);
        if (is_new || !is_known) && (is_known || self.clocks.len() < CLOCKS_MAX) {
            self.clocks.insert(edge.into(), heartbeat.clock as i64 - millis(now));
        }
        match self.list.get_mut(edge) {
            // The same heartbeat as before is no sign of life.
            Some(member) if (member.heartbeat.run, member.heartbeat.beat) == (heartbeat.run, heartbeat.beat) => {}
            Some(member) => {
                if member.heartbeat.run != heartbeat.run {
                    changes.push(Change::Restarted(edge.into()));
                }
                *member = Member { heartbeat, seen: now, clock_ahead_millis };
            }
            None if has_room => {
                changes.push(Change::Came(edge.into()));
                self.list.insert(edge.into(), Member { heartbeat, seen: now, clock_ahead_millis });
            }
            None => {}
        }
    }

    /// How far an edge's clock is ahead, in milliseconds, or was when it was last there; 0 when it never was.
    pub fn clock_ahead(&self, edge: &str, own: Reading) -> i64 {
        self.clocks.get(edge).map_or(0, |ahead| ahead - (own.unix_millis as i64 - millis(own.now)))
    }

    /// True while the edge is there.
    pub fn is_here(&self, edge: &str) -> bool {
        self.list.contains_key(edge)
    }

    /// One edge.
    pub fn find(&self, edge: &str) -> Option<&Member> {
        self.list.get(edge)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Member)> {
        self.list.iter().map(|(edge, member)| (&**edge, member))
    }

    /// Whether a node is dead: as most edges say, this one among them. Of as many as say so as do not, the own word holds.
    pub fn is_down(&self, node: &str, own: bool) -> bool {
        let says_so = |member: &&Member| member.heartbeat.down.iter().any(|down| down == node);
        let (votes, edges) = (self.list.values().filter(says_so).count() + usize::from(own), self.list.len() + 1);
        votes * 2 > edges || (votes * 2 == edges && own)
    }

    /// Whether the edge of this name speaks for all: the first by name of those that are there.
    pub fn is_first(&self, own: &str) -> bool {
        self.list.keys().next().is_none_or(|first| own < &**first)
    }

    /// Who takes over something that an edge left behind: one of those that are there, the same one wherever it is asked.
    pub fn heir<'a>(&'a self, own: &'a str, key: u64) -> &'a str {
        let score = |edge: &str| {
            let hash = edge.bytes().fold(key ^ 0xcbf2_9ce4_8422_2325, |hash, octet| {
                (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3)
            });
            (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        };
        self.list.keys().map(|edge| &**edge).chain([own]).max_by_key(|edge| (score(edge), *edge)).unwrap_or(own)
    }
}

fn millis(now: Moment) -> i64 {
    (now.micros() / 1_000) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const GONE: Duration = Duration::from_secs(3);

    fn at(secs: u64) -> Moment {
        Moment::from_micros(secs * 1_000_000)
    }

    fn beat(run: u64, beat: u64) -> Heartbeat {
        Heartbeat { run, beat, clock: 10_000, ..Heartbeat::default() }
    }

    fn read(members: &mut Members, beats: &[(&'static str, Heartbeat)], secs: u64) -> Vec<Change> {
        members.read(beats.iter().map(|(edge, beat)| (*edge, beat.clone())), 4_000, at(secs), GONE)
    }

    #[test]
    fn an_edge_is_gone_when_its_heartbeat_stands_still() {
        let mut members = Members::default();
        assert_eq!(read(&mut members, &[("b", beat(1, 1))], 10), [Change::Came("b".into())]);
        assert_eq!(members.find("b").unwrap().clock_ahead_millis, 6_000);
        assert_eq!(read(&mut members, &[("b", beat(1, 2))], 12), []);
        assert_eq!(read(&mut members, &[("b", beat(1, 2))], 14), [], "an old heartbeat is no sign of life");
        assert_eq!(read(&mut members, &[("b", beat(1, 2))], 15), [Change::Gone("b".into())]);
        assert!(!members.is_here("b"));
        // Its second heartbeat came at 12 s, when the own clock said 4 s of Unix time.
        let ahead = |edge, own| members.clock_ahead(edge, Reading { now: at(12), unix_millis: own });
        assert_eq!(
            (ahead("b", 4_000), ahead("b", 5_000), ahead("c", 4_000)),
            (6_000, 5_000, 0),
            "also when it is gone"
        );
    }

    #[test]
    fn a_node_is_dead_when_most_edges_say_so_and_the_own_word_decides_between_halves() {
        let mut members = Members::default();
        assert!(members.is_down("ast-1", true) && !members.is_down("ast-1", false), "alone");
        let dead = Heartbeat { down: vec!["ast-1".to_owned()], ..beat(1, 1) };
        read(&mut members, &[("b", dead.clone())], 10);
        assert!(members.is_down("ast-1", true) && !members.is_down("ast-1", false), "one of two");
        read(&mut members, &[("c", beat(1, 1))], 10);
        assert!(members.is_down("ast-1", true) && !members.is_down("ast-1", false), "one of the others");
        assert!(!members.is_down("ast-2", true), "this edge alone of three");
        read(&mut members, &[("c", Heartbeat { beat: 2, ..dead })], 10);
        assert!(members.is_down("ast-1", false), "both of the others");
    }

    #[test]
    fn an_edge_is_not_gone_because_no_heartbeat_could_be_read() {
        let mut members = Members::default();
        read(&mut members, &[("b", beat(1, 1))], 10);
        members.forgive(at(60));
        assert_eq!(read(&mut members, &[("b", beat(1, 1))], 60), []);
        assert_eq!(read(&mut members, &[("b", beat(1, 1))], 63), [Change::Gone("b".into())]);
    }

    #[test]
    fn an_edge_that_started_anew_is_told_from_one_that_went_on() {
        let mut members = Members::default();
        read(&mut members, &[("b", beat(1, 7))], 10);
        assert_eq!(read(&mut members, &[("b", beat(2, 1))], 11), [Change::Restarted("b".into())]);
    }

    #[test]
    fn one_edge_speaks_for_all() {
        let mut members = Members::default();
        assert!(members.is_first("b"));
        read(&mut members, &[("a", beat(1, 1)), ("c", beat(1, 1))], 10);
        assert!(!members.is_first("b"));
        read(&mut members, &[("c", beat(1, 2))], 14);
        assert!(members.is_first("b"));
    }

    #[test]
    fn all_edges_agree_on_the_heir_and_everybody_inherits_something() {
        let edges = ["a", "b", "c"];
        let members = |own: &str| {
            let mut members = Members::default();
            let others = edges.iter().filter(|edge| **edge != own);
            members.read(others.map(|edge| (*edge, beat(1, 1))), 0, at(1), GONE);
            members
        };
        let mut inherited = BTreeMap::new();
        for key in 0..300 {
            let heirs: Vec<String> = edges.iter().map(|own| members(own).heir(own, key).to_owned()).collect();
            assert!(heirs.iter().all(|heir| *heir == heirs[0]), "{heirs:?}");
            *inherited.entry(heirs[0].clone()).or_insert(0) += 1;
        }
        assert!(inherited.values().all(|count| *count > 60), "{inherited:?}");
    }

    #[test]
    fn there_are_only_so_many_edges() {
        let mut members = Members::default();
        let names: Vec<String> = (0..100).map(|number| format!("edge-{number}")).collect();
        members.read(names.iter().map(|name| (name.as_str(), beat(1, 1))), 0, at(1), GONE);
        assert_eq!(members.iter().count(), EDGES_MAX);
    }
}
