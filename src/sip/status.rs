//! Status codes and their phrases (RFC 3261 section 21).

/// A SIP status code, 100 to 699.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(u16);

impl Status {
    /// The code, if it is in the range of RFC 3261 section 7.2.
    pub fn new(code: u16) -> Option<Self> {
        (100..700).contains(&code).then_some(Status(code))
    }

    /// The number.
    pub fn code(self) -> u16 {
        self.0
    }

    /// First digit: 1 to 6.
    pub fn class(self) -> u8 {
        (self.0 / 100) as u8
    }

    /// True below 200.
    pub fn is_provisional(self) -> bool {
        self.0 < 200
    }

    /// True for 2xx.
    pub fn is_success(self) -> bool {
        self.class() == 2
    }

    /// True for 3xx to 6xx.
    pub fn is_failure(self) -> bool {
        self.0 >= 300
    }
}

/// The phrase of RFC 3261 section 21 for the codes that the edge says itself.
pub fn phrase(code: u16) -> &'static str {
    match code {
        100 => "Trying",
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        413 => "Request Entity Too Large",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        423 => "Interval Too Brief",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        486 => "Busy Here",
        487 => "Request Terminated",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        603 => "Decline",
        _ => "Unspecified",
    }
}
