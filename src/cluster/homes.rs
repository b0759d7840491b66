//! The phones that registered at other edges.
//!
//! Each edge answers for the phones that registered with it; what it says of a user takes the place of what it said before. A phone
//! that comes to another edge is that edge's from then on, and the first one lets it go when it hears of it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::moment::{Reading, TimeOfDay};
use crate::registrar::Aor;
use crate::registrar::binding::same_uri;
use crate::store::contract::{SavedBinding, SavedFlow};

/// Phones of other edges, by user.
#[derive(Debug)]
pub struct Homes {
    users: HashMap<Aor, Vec<Phone>>,
    count: usize,
    phones_max: usize,
    time_of_day: TimeOfDay,
}

/// A phone that registered at another edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phone {
    /// The edge that holds it.
    pub edge: Arc<str>,
    /// The URI that it gave.
    pub contact: Box<[u8]>,
    /// The flow that it is reached by, at that edge.
    pub flow: SavedFlow,
    /// Preference in thousandths.
    pub preference: u16,
    /// When its registration ends, in milliseconds of Unix time.
    pub expires: u64,
    /// When it was last refreshed, likewise.
    pub updated: u64,
    /// The device.
    pub instance: Option<Box<[u8]>>,
    /// Which of the device's flows.
    pub reg_id: u32,
    /// The Path.
    pub path: Box<[u8]>,
}

impl Phone {
    /// A phone as its edge told of it.
    pub fn of(edge: &Arc<str>, saved: &SavedBinding<'_>) -> Self {
        Phone {
            edge: Arc::clone(edge),
            contact: saved.contact.into(),
            flow: saved.flow,
            preference: saved.preference,
            expires: saved.expires,
            updated: saved.updated,
            instance: saved.instance.map(Box::from),
            reg_id: saved.reg_id,
            path: saved.path.into(),
        }
    }

    /// True when this is the phone that another edge holds too: it has moved here.
    pub fn is_same_as(&self, contact: &[u8], instance: Option<&[u8]>, reg_id: u32) -> bool {
        match (self.instance.as_deref(), instance) {
            (Some(own), Some(other)) if self.reg_id != 0 && reg_id != 0 => own == other && self.reg_id == reg_id,
            _ => same_uri(&self.contact, contact),
        }
    }
}

impl Homes {
    /// None yet, and at most so many phones.
    pub fn new(phones_max: usize) -> Self {
        Homes { users: HashMap::new(), count: 0, phones_max, time_of_day: TimeOfDay::default() }
    }

    /// Notes all that one edge says of a user's phones, which may be none. A phone that has registered at another edge since stays there. Beyond
    /// the bound new ones are not noted.
    pub fn put(&mut self, aor: &Aor, edge: &str, mut phones: Vec<Phone>) {
        let known = self.users.entry(aor.clone()).or_default();
        let has_moved = |old: &Phone, new: &Phone| {
            *old.edge != *edge
                && old.updated > new.updated
                && new.is_same_as(&old.contact, old.instance.as_deref(), old.reg_id)
        };
        phones.retain(|new| !known.iter().any(|old| has_moved(old, new)));
        let before = known.len();
        // A phone that is told by one edge is at no other one.
        known.retain(|old| {
            *old.edge != *edge
                && !phones.iter().any(|new| new.is_same_as(&old.contact, old.instance.as_deref(), old.reg_id))
        });
        let room = (self.phones_max + before).saturating_sub(self.count + known.len());
        known.extend(phones.into_iter().take(room));
        self.count = self.count + known.len() - before;
        if known.is_empty() {
            self.users.remove(aor.as_bytes());
        }
    }

    /// The phones of a user.
    pub fn of(&self, aor: &[u8]) -> &[Phone] {
        self.users.get(aor).map_or(&[], Vec::as_slice)
    }

    /// Forgets those whose time is over; returns the users who have none of them left.
    pub fn expire(&mut self, unix_millis: u64) -> Vec<Aor> {
        let (mut over, mut count) = (Vec::new(), 0);
        self.users.retain(|aor, phones| {
            phones.retain(|phone| phone.expires > unix_millis);
            count += phones.len();
            if phones.is_empty() {
                over.push(aor.clone());
            }
            !phones.is_empty()
        });
        self.count = count;
        over
    }

    /// Heeds that the time of day was set, and with it all times; before anything else is noted.
    pub fn heed(&mut self, clocks: Reading) {
        let ahead = self.time_of_day.set_ahead(clocks);
        if ahead == 0 {
            return;
        }
        for phone in self.users.values_mut().flatten() {
            phone.expires = phone.expires.saturating_add_signed(ahead);
            phone.updated = phone.updated.saturating_add_signed(ahead);
        }
    }

    /// Users with phones at one edge.
    pub fn users_at<'a>(&'a self, edge: &'a str) -> impl Iterator<Item = &'a Aor> {
        let is_there = move |phones: &[Phone]| phones.iter().any(|phone| *phone.edge == *edge);
        self.users.iter().filter(move |(_, phones)| is_there(phones)).map(|(aor, _)| aor)
    }

    /// All users, with each edge that they have phones at.
    pub fn users_and_edges(&self) -> Vec<(Aor, Arc<str>)> {
        let mut list: Vec<(Aor, Arc<str>)> = Vec::new();
        for (aor, phones) in &self.users {
            let edges: BTreeSet<&Arc<str>> = phones.iter().map(|phone| &phone.edge).collect();
            list.extend(edges.into_iter().map(|edge| (aor.clone(), Arc::clone(edge))));
        }
        list.sort_unstable();
        list
    }

    /// All users with such phones.
    pub fn users(&self) -> impl Iterator<Item = &Aor> {
        self.users.keys()
    }

    /// How many phones there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anna() -> Aor {
        Aor::from_user(b"anna").unwrap()
    }

    fn phone(edge: &str, contact: &str, expires: u64) -> Phone {
        let flow = SavedFlow { listener: 1, is_tcp: false, remote: "192.0.2.7:5060".parse().unwrap() };
        Phone {
            edge: edge.into(),
            contact: contact.as_bytes().into(),
            flow,
            preference: 1_000,
            expires,
            updated: 0,
            instance: None,
            reg_id: 0,
            path: Box::default(),
        }
    }

    fn contacts(homes: &Homes) -> Vec<String> {
        homes.of(b"anna").iter().map(|p| format!("{} at {}", String::from_utf8_lossy(&p.contact), p.edge)).collect()
    }

    #[test]
    fn what_an_edge_says_takes_the_place_of_what_it_said_before_and_of_nothing_else() {
        let mut homes = Homes::new(10);
        homes.put(&anna(), "a", vec![phone("a", "sip:one@x", 9)]);
        homes.put(&anna(), "b", vec![phone("b", "sip:two@x", 9)]);
        homes.put(&anna(), "a", vec![phone("a", "sip:three@x", 9)]);
        assert_eq!(contacts(&homes), ["sip:two@x at b", "sip:three@x at a"]);
        homes.put(&anna(), "b", vec![]);
        homes.put(&anna(), "a", vec![]);
        assert!(homes.is_empty() && homes.users().next().is_none());
    }

    #[test]
    fn a_phone_that_moved_is_at_one_edge_only() {
        let mut homes = Homes::new(10);
        homes.put(&anna(), "a", vec![phone("a", "sip:one@x", 9), phone("a", "sip:two@x", 9)]);
        homes.put(&anna(), "b", vec![phone("b", "sip:one@x", 9)]);
        assert_eq!(contacts(&homes), ["sip:two@x at a", "sip:one@x at b"]);
        assert_eq!(homes.len(), 2);
    }

    #[test]
    fn what_an_edge_says_that_was_away_takes_no_phone_from_the_edge_that_it_moved_to() {
        let mut homes = Homes::new(10);
        let at = |edge, updated| Phone { updated, ..phone(edge, "sip:one@x", 9) };
        homes.put(&anna(), "b", vec![at("b", 5)]);
        homes.put(&anna(), "a", vec![at("a", 4)]);
        assert_eq!(contacts(&homes), ["sip:one@x at b"]);
        homes.put(&anna(), "a", vec![at("a", 6)]);
        assert_eq!(contacts(&homes), ["sip:one@x at a"]);
    }

    #[test]
    fn phones_whose_time_is_over_go_and_there_are_only_so_many() {
        let mut homes = Homes::new(2);
        homes.put(
            &anna(),
            "a",
            vec![phone("a", "sip:one@x", 5), phone("a", "sip:two@x", 9), phone("a", "sip:three@x", 9)],
        );
        assert_eq!(homes.len(), 2);
        assert_eq!(homes.expire(5), []);
        assert_eq!((homes.len(), contacts(&homes)), (1, vec!["sip:two@x at a".to_owned()]));
        assert_eq!(homes.expire(9), [anna()]);
    }
}
