//! The network: it loses, doubles, delays and reorders datagrams, and may be cut in two.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::context::Who;
use crate::random::Random;

/// How bad the network is, in thousandths of all datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    pub loss: u64,
    pub doubles: u64,
    /// Datagrams that are held up until later ones have passed them.
    pub late: u64,
}

pub struct Network {
    pub weather: Weather,
    /// Directions in which nothing passes.
    pub cut: BTreeSet<(Who, Who)>,
    random: Random,
}

impl Network {
    pub fn new(weather: Weather, random: Random) -> Self {
        Network { weather, cut: BTreeSet::new(), random }
    }

    /// How long each copy of a datagram is under way: none, one or two.
    pub fn carry(&mut self, from: Who, to: Who) -> [Option<Duration>; 2] {
        let Weather { loss, doubles, late } = self.weather;
        let (is_lost, is_double, is_late) =
            (self.random.chance(loss), self.random.chance(doubles), self.random.chance(late));
        if is_lost || self.cut.contains(&(from, to)) {
            return [None, None];
        }
        let first = self.transit(is_late);
        [Some(first), is_double.then(|| self.transit(false))]
    }

    fn transit(&mut self, is_late: bool) -> Duration {
        let usual = self.random.between(Duration::from_micros(200), Duration::from_millis(2));
        if is_late { usual + self.random.between(Duration::from_millis(5), Duration::from_millis(300)) } else { usual }
    }
}
