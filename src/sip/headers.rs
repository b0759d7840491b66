//! Header field names that the edge reads (RFC 3261 section 20, compact forms section 7.3.3).

/// A header field name, known in its long and its compact form alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderName {
    /// `Authorization`
    Authorization,
    /// `Call-ID`, `i`
    CallId,
    /// `Contact`, `m`
    Contact,
    /// `Content-Length`, `l`
    ContentLength,
    /// `CSeq`
    CSeq,
    /// `Expires`
    Expires,
    /// `From`, `f`
    From,
    /// `Max-Forwards`
    MaxForwards,
    /// `Min-SE` (RFC 4028)
    MinSe,
    /// `Path` (RFC 3327)
    Path,
    /// `Proxy-Authorization`
    ProxyAuthorization,
    /// `Proxy-Require`
    ProxyRequire,
    /// `Reason` (RFC 3326)
    Reason,
    /// `Record-Route`
    RecordRoute,
    /// `Retry-After`
    RetryAfter,
    /// `Route`
    Route,
    /// `Session-Expires`, `x` (RFC 4028)
    SessionExpires,
    /// `Supported`, `k`
    Supported,
    /// `To`, `t`
    To,
    /// `Via`, `v`
    Via,
    /// Any other name; it is forwarded untouched.
    Other,
}

impl HeaderName {
    /// Finds the name, whatever its case (RFC 3261 section 7.3.1).
    pub fn from_bytes(name: &[u8]) -> Self {
        let Some(first) = name.first() else { return HeaderName::Other };
        let is = |text: &[u8]| name.eq_ignore_ascii_case(text);
        match (name.len(), first | 0x20) {
            (1, b'f') => HeaderName::From,
            (1, b'i') => HeaderName::CallId,
            (1, b'k') => HeaderName::Supported,
            (1, b'l') => HeaderName::ContentLength,
            (1, b'm') => HeaderName::Contact,
            (1, b't') => HeaderName::To,
            (1, b'v') => HeaderName::Via,
            (1, b'x') => HeaderName::SessionExpires,
            (2, b't') if is(b"to") => HeaderName::To,
            (3, b'v') if is(b"via") => HeaderName::Via,
            (4, b'c') if is(b"cseq") => HeaderName::CSeq,
            (4, b'p') if is(b"path") => HeaderName::Path,
            (4, b'f') if is(b"from") => HeaderName::From,
            (5, b'r') if is(b"route") => HeaderName::Route,
            (6, b'm') if is(b"min-se") => HeaderName::MinSe,
            (6, b'r') if is(b"reason") => HeaderName::Reason,
            (7, b'c') if is(b"call-id") => HeaderName::CallId,
            (7, b'c') if is(b"contact") => HeaderName::Contact,
            (7, b'e') if is(b"expires") => HeaderName::Expires,
            (9, b's') if is(b"supported") => HeaderName::Supported,
            (11, b'r') if is(b"retry-after") => HeaderName::RetryAfter,
            (12, b'm') if is(b"max-forwards") => HeaderName::MaxForwards,
            (12, b'r') if is(b"record-route") => HeaderName::RecordRoute,
            (13, b'a') if is(b"authorization") => HeaderName::Authorization,
            (13, b'p') if is(b"proxy-require") => HeaderName::ProxyRequire,
            (14, b'c') if is(b"content-length") => HeaderName::ContentLength,
            (15, b's') if is(b"session-expires") => HeaderName::SessionExpires,
            (19, b'p') if is(b"proxy-authorization") => HeaderName::ProxyAuthorization,
            _ => HeaderName::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_compact_names_are_the_same_name_in_any_case() {
        for (name, expected) in [
            ("VIA", HeaderName::Via),
            ("v", HeaderName::Via),
            ("call-ID", HeaderName::CallId),
            ("I", HeaderName::CallId),
            ("l", HeaderName::ContentLength),
            ("Session-expires", HeaderName::SessionExpires),
            ("x", HeaderName::SessionExpires),
            ("Via2", HeaderName::Other),
            ("", HeaderName::Other),
        ] {
            assert_eq!(HeaderName::from_bytes(name.as_bytes()), expected, "{name}");
        }
    }
}
