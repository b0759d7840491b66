//! What goes wrong, and when.

use std::time::Duration;

use crate::net::{Event, Net};
use crate::settings::Settings;

/// Something goes wrong, or is mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Kill {
        edge: u8,
        power_cut: bool,
        moves: bool,
    },
    Start(u8),
    /// An edge's address moves to another one.
    Move(u8),
    Cut(u8),
    Mend(u8),
    RedisDies,
    /// Empty, or with what it wrote to disk last.
    RedisStarts {
        is_empty: bool,
    },
    RedisSaves,
    Hang,
    GoOn,
    Flush,
    Clock {
        edge: u8,
        millis: i64,
    },
    Order {
        edge: u8,
        node: u16,
        drains: bool,
    },
}

/// When calls are made and things go wrong.
pub const ACTIVE: Duration = Duration::from_secs(60);

/// Draws what goes wrong.
pub fn plan(settings: &Settings, net: &mut Net) {
    let plagues = settings.plagues;
    let edge = |net: &mut Net| 1 + net.random.below(u64::from(settings.edges)) as u8;
    let when = |net: &mut Net| net.random.between(Duration::from_secs(4), ACTIVE);
    let span = |net: &mut Net| match net.random.below(3) {
        0 => net.random.between(Duration::from_millis(100), Duration::from_secs(2)),
        _ => net.random.between(Duration::from_secs(2), Duration::from_secs(20)),
    };
    let both = |net: &mut Net, one: Fault, other: Fault| {
        let (begins, lasts) = (when(net), span(net));
        net.after(begins, Event::Fault(one));
        net.after(begins + lasts, Event::Fault(other));
    };
    for at in 0..plagues.kills + plagues.power_cuts {
        let (edge, moves) = (edge(net), net.random.chance(500));
        let power_cut = at >= plagues.kills;
        both(net, Fault::Kill { edge, power_cut, moves }, Fault::Start(edge));
    }
    for _ in 0..plagues.partitions {
        let edge = edge(net);
        both(net, Fault::Cut(edge), Fault::Mend(edge));
    }
    for _ in 0..plagues.redis_deaths {
        let (saves, is_empty) = (net.random.between(Duration::ZERO, ACTIVE), net.random.chance(500));
        net.after(saves, Event::Fault(Fault::RedisSaves));
        both(net, Fault::RedisDies, Fault::RedisStarts { is_empty });
    }
    (0..plagues.hangs).for_each(|_| both(net, Fault::Hang, Fault::GoOn));
    for _ in 0..plagues.flushes {
        let at = when(net);
        net.after(at, Event::Fault(Fault::Flush));
    }
    for _ in 0..plagues.clock_jumps {
        let (at, edge) = (when(net), edge(net));
        let millis = net.random.one_of(&[3_600_000, -3_600_000, 500, -2_000, 45_000]);
        net.after(at, Event::Fault(Fault::Clock { edge, millis }));
    }
    for _ in 0..plagues.orders {
        let (at, edge) = (when(net), edge(net));
        let (node, drains) = (net.random.below(u64::from(settings.nodes)) as u16, net.random.chance(600));
        net.after(at, Event::Fault(Fault::Order { edge, node, drains }));
    }
}
