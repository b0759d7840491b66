//! When a node is given up and the next one is asked (RFC 3261 section 16.7; ITU-T Q.850).
//!
//! A retry is safe only while nothing can have run on the first node, or once that node is gone. A 503 means different
//! things: without a Reason the node is shutting down, with Q.850 cause 42 it is full, and in both cases the dialplan never
//! saw the call; with cause 34 the dialplan did run, and a second node would run it again.

use std::time::Duration;

/// Why a try was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Nothing came back in time.
    Silence,
    /// The transport said no: ICMP, a refused or a failed connection.
    Refused,
    /// The node answered that it did not start the call.
    Unavailable,
    /// Health checks found the node dead while the call was waiting there.
    NodeDown,
}

impl Cause {
    /// Metric label, log field and test expectation.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Silence => "silence",
            Cause::Refused => "refused",
            Cause::Unavailable => "unavailable",
            Cause::NodeDown => "node_down",
        }
    }

    /// Every cause.
    pub const ALL: [Cause; 4] = [Cause::Silence, Cause::Refused, Cause::Unavailable, Cause::NodeDown];
}

/// Which Reason a refusal must carry for a rule to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReasonRule {
    /// Whatever it is.
    Any,
    /// No Reason header at all.
    Absent,
    /// Reason with one of these Q.850 causes.
    Q850(Vec<u8>),
}

/// A refusal that may be taken to another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusRule {
    /// The status code.
    pub code: u16,
    /// What its Reason must be.
    pub reason: ReasonRule,
}

/// When to give up a node, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailoverPolicy {
    /// How long a node may say nothing at all.
    pub no_response: Duration,
    /// Nodes that one call may be offered to.
    pub tries_max: u8,
    /// How long after the INVITE a further node may still be asked.
    pub budget: Duration,
    /// Whether silence lets the next node have the call.
    pub on_silence: bool,
    /// Whether a refused transport does.
    pub on_refused: bool,
    /// Whether a node that is found dead loses the calls that it has not answered yet.
    pub on_node_down: bool,
    /// The refusals that do.
    pub on_status: Vec<StatusRule>,
}

/// Tries that a call can have at all, whatever the configuration says.
pub const TRIES_MAX: u8 = 8;

impl Default for FailoverPolicy {
    fn default() -> Self {
        FailoverPolicy {
            no_response: Duration::from_secs(1),
            tries_max: 3,
            budget: Duration::from_secs(4),
            on_silence: true,
            on_refused: true,
            on_node_down: true,
            on_status: vec![
                StatusRule { code: 503, reason: ReasonRule::Absent },
                StatusRule { code: 503, reason: ReasonRule::Q850(vec![42]) },
            ],
        }
    }
}

/// What a failure response says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Status code.
    pub code: u16,
    /// Whether any Reason header came with it.
    pub has_reason: bool,
    /// The Q.850 cause in it.
    pub q850: Option<u8>,
}

impl FailoverPolicy {
    /// True when the refusal says that the call did not start on that node.
    pub fn is_not_started(&self, refusal: Refusal) -> bool {
        self.on_status.iter().any(|rule| {
            rule.code == refusal.code
                && match &rule.reason {
                    ReasonRule::Any => true,
                    ReasonRule::Absent => !refusal.has_reason,
                    ReasonRule::Q850(causes) => refusal.q850.is_some_and(|cause| causes.contains(&cause)),
                }
        })
    }

    /// True when the cause lets the next node have the call.
    pub fn allows(&self, cause: Cause) -> bool {
        match cause {
            Cause::Silence => self.on_silence,
            Cause::Refused => self.on_refused,
            Cause::Unavailable => true,
            Cause::NodeDown => self.on_node_down,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_503_is_retried_only_when_the_dialplan_cannot_have_run() {
        let policy = FailoverPolicy::default();
        let started = |code, has_reason, q850| !policy.is_not_started(Refusal { code, has_reason, q850 });
        assert!(!started(503, false, None), "shutting down");
        assert!(!started(503, true, Some(42)), "full");
        assert!(started(503, true, Some(34)), "the dialplan said Congestion");
        assert!(started(503, true, None), "a Reason that is not Q.850");
        assert!(started(500, false, None) && started(486, true, Some(17)), "any other refusal");
    }
}
