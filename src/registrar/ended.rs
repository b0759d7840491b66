//! Why bindings end.

/// Why a binding is no longer held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ended {
    /// The connection that it was reached by was closed.
    ConnectionLost,
    /// A newer phone of the user's took its place.
    Displaced,
    /// Its time was over.
    Expired,
    /// The phone registered at another edge, or took it back there.
    Moved,
    /// The phone took it back.
    Removed,
    /// The phone did not answer any more.
    Unreachable,
    /// There is no such user any more.
    UserRemoved,
}

impl Ended {
    /// All of them.
    pub const ALL: [Ended; 7] = [
        Ended::ConnectionLost,
        Ended::Displaced,
        Ended::Expired,
        Ended::Moved,
        Ended::Removed,
        Ended::Unreachable,
        Ended::UserRemoved,
    ];

    /// Metric label, log field and test expectation.
    pub fn as_str(self) -> &'static str {
        match self {
            Ended::ConnectionLost => "connection_lost",
            Ended::Displaced => "displaced",
            Ended::Expired => "expired",
            Ended::Moved => "moved",
            Ended::Removed => "removed",
            Ended::Unreachable => "unreachable",
            Ended::UserRemoved => "user_removed",
        }
    }
}
