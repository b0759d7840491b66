//! Who has the fewest calls for its weight, at a cost that does not grow with the number of nodes.
//!
//! Nodes of equal weight form a class. Within a class the nodes with the same number of leases share a bucket, and the buckets
//! are a list in order of that number, so one lease more or less moves a node to the neighbouring bucket. The classes
//! stand in a small tournament tree that is ordered by (leases + 1) / weight; a farm has a handful of weights, however
//! many nodes. Equals are counted all the way up, so that each of them is drawn with the same chance.

use std::cmp::Ordering;
use std::collections::HashMap;

/// Nodes that may take a call, known by small numbers of the caller's choice.
#[derive(Debug, Default)]
pub struct LeastCalls {
    classes: Vec<Class>,
    by_weight: HashMap<u32, u32>,
    /// A complete binary tree, the root at 1, the classes' leaves in its second half.
    tree: Vec<Best>,
    /// By member: where it stands.
    places: Vec<Option<Place>>,
    buckets: Vec<Bucket>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Class {
    weight: u32,
    /// Bucket with the fewest leases.
    first: u32,
}

#[derive(Debug)]
struct Bucket {
    leases: u32,
    members: Vec<u32>,
    before: u32,
    after: u32,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    class: u32,
    bucket: u32,
    at: u32,
}

/// The best that a part of the tree has to offer, and how many nodes offer just that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Best {
    leases: u32,
    weight: u32,
    ties: u32,
    /// The class that all of them are in; [`NONE`] when several classes are tied.
    class: u32,
}

const NONE: u32 = u32::MAX;

impl LeastCalls {
    /// Adds a member, or moves it when it is there. `weight` must not be zero.
    pub fn put(&mut self, member: u32, leases: u32, weight: u32) {
        debug_assert!(weight > 0);
        if let Some(place) = self.place(member) {
            let (class, bucket) = (&self.classes[place.class as usize], &self.buckets[place.bucket as usize]);
            if class.weight == weight && bucket.leases == leases {
                return;
            }
            if class.weight == weight && bucket.leases.abs_diff(leases) == 1 {
                self.step(member, place, leases);
                return;
            }
            self.take_out(member);
        }
        let class = self.class_of(weight);
        let (before, after) = self.gap(class, leases);
        self.enter(member, class, leases, before, after);
        self.climb(class);
    }

    /// Takes a member out, if it is in; returns the leases and the weight it had.
    pub fn take_out(&mut self, member: u32) -> Option<(u32, u32)> {
        let place = self.place(member)?;
        let had = (self.buckets[place.bucket as usize].leases, self.classes[place.class as usize].weight);
        self.leave(member, place);
        self.climb(place.class);
        Some(had)
    }

    /// One of those with the fewest calls for their weight; `random` decides among equals.
    pub fn choose(&self, random: u32) -> Option<u32> {
        let root = self.tree.get(1).filter(|best| best.ties > 0)?;
        let mut draw = ((u64::from(random) * u64::from(root.ties)) >> 32) as u32;
        if root.class != NONE {
            return self.member(root.class, draw);
        }
        let mut at = 1;
        while at < self.tree.len() / 2 {
            let (left, right) = (self.tree[2 * at], self.tree[2 * at + 1]);
            at = match compare(left, right) {
                Ordering::Less => 2 * at,
                Ordering::Greater => 2 * at + 1,
                Ordering::Equal if draw < left.ties => 2 * at,
                Ordering::Equal => {
                    draw -= left.ties;
                    2 * at + 1
                }
            };
        }
        self.member((at - self.tree.len() / 2) as u32, draw)
    }

    /// One of a class's best.
    fn member(&self, class: u32, draw: u32) -> Option<u32> {
        let first = self.classes[class as usize].first;
        self.buckets.get(first as usize)?.members.get(draw as usize).copied()
    }

    /// True when nobody may take a call.
    pub fn is_empty(&self) -> bool {
        self.tree.get(1).is_none_or(|best| best.ties == 0)
    }

    fn place(&self, member: u32) -> Option<Place> {
        self.places.get(member as usize).copied().flatten()
    }

    /// The class of a weight, made when it is not there yet.
    fn class_of(&mut self, weight: u32) -> u32 {
        if let Some(class) = self.by_weight.get(&weight) {
            return *class;
        }
        // A class that lost its last member serves the next weight that comes along.
        let class = match self.classes.iter().position(|c| c.first == NONE) {
            Some(unused) => {
                self.by_weight.remove(&self.classes[unused].weight);
                self.classes[unused].weight = weight;
                unused as u32
            }
            None => {
                self.classes.push(Class { weight, first: NONE });
                self.classes.len() as u32 - 1
            }
        };
        self.by_weight.insert(weight, class);
        if self.classes.len() > self.tree.len() / 2 {
            self.grow();
        }
        class
    }

    fn grow(&mut self) {
        let leaves = self.classes.len().next_power_of_two();
        self.tree = vec![Best::default(); 2 * leaves];
        for class in 0..self.classes.len() as u32 {
            self.climb(class);
        }
    }

    /// The buckets between which one for so many leases belongs, or that bucket itself as `before`.
    fn gap(&self, class: u32, leases: u32) -> (u32, u32) {
        let (mut before, mut after) = (NONE, self.classes[class as usize].first);
        while after != NONE && self.buckets[after as usize].leases <= leases {
            before = after;
            after = self.buckets[after as usize].after;
        }
        (before, after)
    }

    /// Moves a member to the neighbouring bucket.
    fn step(&mut self, member: u32, place: Place, leases: u32) {
        let bucket = &self.buckets[place.bucket as usize];
        let (mut before, mut after) =
            if leases > bucket.leases { (place.bucket, bucket.after) } else { (bucket.before, place.bucket) };
        if leases > self.buckets[place.bucket as usize].leases
            && after != NONE
            && self.buckets[after as usize].leases == leases
        {
            before = after;
        }
        // Leaving may dissolve the old bucket; the gap is then between its neighbours.
        let dissolves = self.buckets[place.bucket as usize].members.len() == 1;
        if dissolves && before == place.bucket {
            before = self.buckets[place.bucket as usize].before;
        }
        if dissolves && after == place.bucket {
            after = self.buckets[place.bucket as usize].after;
        }
        self.leave(member, place);
        self.enter(member, place.class, leases, before, after);
        self.climb(place.class);
    }

    fn enter(&mut self, member: u32, class: u32, leases: u32, before: u32, after: u32) {
        let bucket = if before != NONE && self.buckets[before as usize].leases == leases {
            before
        } else {
            self.insert_bucket(class, leases, before, after)
        };
        let members = &mut self.buckets[bucket as usize].members;
        members.push(member);
        let place = Place { class, bucket, at: members.len() as u32 - 1 };
        if self.places.len() <= member as usize {
            self.places.resize(member as usize + 1, None);
        }
        self.places[member as usize] = Some(place);
    }

    fn insert_bucket(&mut self, class: u32, leases: u32, before: u32, after: u32) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.buckets.push(Bucket { leases, members: Vec::new(), before, after });
            self.buckets.len() as u32 - 1
        });
        let bucket = &mut self.buckets[index as usize];
        (bucket.leases, bucket.before, bucket.after) = (leases, before, after);
        match before {
            NONE => self.classes[class as usize].first = index,
            before => self.buckets[before as usize].after = index,
        }
        if after != NONE {
            self.buckets[after as usize].before = index;
        }
        index
    }

    fn leave(&mut self, member: u32, place: Place) {
        let members = &mut self.buckets[place.bucket as usize].members;
        members.swap_remove(place.at as usize);
        if let Some(moved) = members.get(place.at as usize) {
            self.places[*moved as usize] = Some(place);
        }
        self.places[member as usize] = None;
        if !self.buckets[place.bucket as usize].members.is_empty() {
            return;
        }
        let Bucket { before, after, .. } = self.buckets[place.bucket as usize];
        match before {
            NONE => self.classes[place.class as usize].first = after,
            before => self.buckets[before as usize].after = after,
        }
        if after != NONE {
            self.buckets[after as usize].before = before;
        }
        self.free.push(place.bucket);
    }

    /// Carries a class's new best up, as far as it makes a difference.
    fn climb(&mut self, class: u32) {
        let Class { weight, first } = self.classes[class as usize];
        let mut at = self.tree.len() / 2 + class as usize;
        self.tree[at] = match first {
            NONE => Best::default(),
            first => {
                let bucket = &self.buckets[first as usize];
                Best { leases: bucket.leases, weight, ties: bucket.members.len() as u32, class }
            }
        };
        while at > 1 {
            at /= 2;
            let (left, right) = (self.tree[2 * at], self.tree[2 * at + 1]);
            let best = match compare(left, right) {
                Ordering::Less => left,
                Ordering::Greater => right,
                Ordering::Equal => Best { ties: left.ties + right.ties, class: NONE, ..left },
            };
            if std::mem::replace(&mut self.tree[at], best) == best {
                return;
            }
        }
    }
}

/// Orders by (leases + 1) / weight, exactly; who has nobody to offer comes last.
fn compare(left: Best, right: Best) -> Ordering {
    match (left.ties, right.ties) {
        (0, 0) => Ordering::Less,
        (0, _) => Ordering::Greater,
        (_, 0) => Ordering::Less,
        _ => {
            let ours = (u64::from(left.leases) + 1) * u64::from(right.weight);
            ours.cmp(&((u64::from(right.leases) + 1) * u64::from(left.weight)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_least_loaded_for_its_weight_is_chosen() {
        let mut least = LeastCalls::default();
        least.put(0, 4, 10);
        least.put(1, 8, 20);
        least.put(2, 0, 1);
        assert_eq!(least.choose(0), Some(1), "9/20 is below 5/10 and 1/1");
        least.put(1, 9, 20);
        let drawn: Vec<_> = [0, u32::MAX].map(|r| least.choose(r)).to_vec();
        assert_eq!(drawn, [Some(0), Some(1)], "5/10 equals 10/20");
        least.take_out(0);
        least.take_out(1);
        assert_eq!(least.choose(7), Some(2));
        least.take_out(2);
        assert_eq!(least.choose(7), None);
        assert!(least.is_empty());
    }

    #[test]
    fn equals_are_drawn_with_equal_chance() {
        let mut least = LeastCalls::default();
        for member in 0..10 {
            least.put(member, 1, 2 + member % 2 * 2);
            least.put(member, (member % 2) * 2 + 1, 2 + member % 2 * 2);
        }
        let mut counts = [0; 10];
        for step in 0..10_000u32 {
            counts[least.choose(step.wrapping_mul(2_654_435_761)).unwrap() as usize] += 1;
        }
        assert!(counts.iter().all(|n| (900..1_100).contains(n)), "{counts:?}");
    }

    #[test]
    fn over_many_calls_the_shares_fit_the_weights() {
        let weights = [1u32, 2, 3, 10, 100];
        let mut least = LeastCalls::default();
        let mut leases = [0u32; 5];
        for (member, weight) in weights.iter().enumerate() {
            least.put(member as u32, 0, *weight);
        }
        for step in 0..11_600u32 {
            let chosen = least.choose(step.wrapping_mul(2_654_435_761)).unwrap() as usize;
            leases[chosen] += 1;
            least.put(chosen as u32, leases[chosen], weights[chosen]);
        }
        for (leases, weight) in leases.iter().zip(weights) {
            assert!(leases.abs_diff(weight * 100) <= 1, "{leases} for weight {weight}");
        }
    }

    proptest! {
        #[test]
        fn every_choice_is_among_the_best_after_any_changes(
            changes in prop::collection::vec((0u32..12, prop::option::of((0u32..6, 1u32..5))), 1..200),
            random: u32,
        ) {
            let mut least = LeastCalls::default();
            let mut model = std::collections::BTreeMap::new();
            for (member, change) in changes {
                match change {
                    Some((leases, weight)) => {
                        least.put(member, leases, weight);
                        model.insert(member, (leases, weight));
                    }
                    None => {
                        least.take_out(member);
                        model.remove(&member);
                    }
                }
                let best = |a: &(u32, u32), b: &(u32, u32)| ((a.0 + 1) * b.1).cmp(&((b.0 + 1) * a.1));
                let expected: Vec<u32> = match model.values().min_by(|a, b| best(a, b)) {
                    None => vec![],
                    Some(top) => model.iter().filter(|(_, v)| best(v, top).is_eq()).map(|(m, _)| *m).collect(),
                };
                prop_assert_eq!(least.is_empty(), expected.is_empty());
                if let Some(chosen) = least.choose(random) {
                    prop_assert!(expected.contains(&chosen), "{} is not among {:?}", chosen, expected);
                }
            }
        }
    }
}
