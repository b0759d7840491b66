//! How agents are treated.

use std::time::Duration;

/// Which calls have to find an agent free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gate {
    /// Those that a queue sends: no queue rings an agent whom another node has.
    #[default]
    Queue,
    /// All of them: nobody is called while he is on the phone.
    All,
    /// None.
    Off,
}

impl Gate {
    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Gate::Queue => "queue",
            Gate::All => "all",
            Gate::Off => "off",
        }
    }
}

/// How agents are treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentPolicy {
    /// Which calls have to find an agent free.
    pub gate: Gate,
    /// How long he is left alone after a call from a queue.
    pub wrapup: Duration,
    /// Whether the nodes' queues are told of every change.
    pub publish: bool,
    /// Whether an agent's call goes to the node that has another call of his.
    pub affinity: bool,
}

impl Default for AgentPolicy {
    fn default() -> Self {
        AgentPolicy { gate: Gate::default(), wrapup: Duration::ZERO, publish: false, affinity: true }
    }
}
