//! Request methods (RFC 3261 section 7.1 and the extensions an edge has to know by name).

/// A request method. Names are case-sensitive (RFC 3261 section 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// Acknowledges a final answer to INVITE.
    Ack,
    /// Ends a dialog.
    Bye,
    /// Takes back a pending INVITE.
    Cancel,
    /// Mid-dialog information (RFC 6086).
    Info,
    /// Opens or changes a dialog.
    Invite,
    /// Page-mode message (RFC 3428).
    Message,
    /// Event notification (RFC 6665).
    Notify,
    /// Capability query and probe.
    Options,
    /// Provisional acknowledgement (RFC 3262).
    Prack,
    /// Event state publication (RFC 3903).
    Publish,
    /// Transfer (RFC 3515).
    Refer,
    /// Binds a contact.
    Register,
    /// Event subscription (RFC 6665).
    Subscribe,
    /// Changes a session without a new INVITE (RFC 3311).
    Update,
    /// Anything else that is a token; forwarded like any other request.
    Other,
}

impl Method {
    /// The method of this exact name.
    pub fn from_bytes(name: &[u8]) -> Self {
        match name {
            b"ACK" => Method::Ack,
            b"BYE" => Method::Bye,
            b"CANCEL" => Method::Cancel,
            b"INFO" => Method::Info,
            b"INVITE" => Method::Invite,
            b"MESSAGE" => Method::Message,
            b"NOTIFY" => Method::Notify,
            b"OPTIONS" => Method::Options,
            b"PRACK" => Method::Prack,
            b"PUBLISH" => Method::Publish,
            b"REFER" => Method::Refer,
            b"REGISTER" => Method::Register,
            b"SUBSCRIBE" => Method::Subscribe,
            b"UPDATE" => Method::Update,
            _ => Method::Other,
        }
    }

    /// The name on the wire; `OTHER` stands for every method without a name here (metric label).
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Ack => "ACK",
            Method::Bye => "BYE",
            Method::Cancel => "CANCEL",
            Method::Info => "INFO",
            Method::Invite => "INVITE",
            Method::Message => "MESSAGE",
            Method::Notify => "NOTIFY",
            Method::Options => "OPTIONS",
            Method::Prack => "PRACK",
            Method::Publish => "PUBLISH",
            Method::Refer => "REFER",
            Method::Register => "REGISTER",
            Method::Subscribe => "SUBSCRIBE",
            Method::Update => "UPDATE",
            Method::Other => "OTHER",
        }
    }

    /// Every method, in the order of the enum.
    pub const ALL: [Method; 15] = [
        Method::Ack,
        Method::Bye,
        Method::Cancel,
        Method::Info,
        Method::Invite,
        Method::Message,
        Method::Notify,
        Method::Options,
        Method::Prack,
        Method::Publish,
        Method::Refer,
        Method::Register,
        Method::Subscribe,
        Method::Update,
        Method::Other,
    ];
}
