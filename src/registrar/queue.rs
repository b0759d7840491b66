//! Queues of the nodes, as far as the edge knows them.

use std::time::Duration;

use super::aor::Aor;

/// A queue: what is the same of it on every node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// How long an agent is left alone after a call from it; none where it is as with the others.
    pub wrapup: Option<Duration>,
    /// Who is in it; each once.
    pub members: Vec<Member>,
    /// What its nodes are told of it beside that: keys of `queues.conf`, each once.
    pub options: Vec<(Box<str>, Box<str>)>,
}

/// A member of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub user: Aor,
    /// Whom of the members the queue asks first: the smallest.
    pub penalty: u32,
}

/// How nodes learn who is in a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Realtime {
    /// By their files: with the next `queue reload`.
    #[default]
    Off,
    /// They know the queue by their files, and ask the edge for its members at each call.
    Members,
    /// They ask the edge for the queue too.
    Queues,
}

impl Realtime {
    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Realtime::Off => "off",
            Realtime::Members => "members",
            Realtime::Queues => "queues",
        }
    }
}
