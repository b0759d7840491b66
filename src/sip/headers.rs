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
    /// Finds the name, a token, whatever its case (RFC 3261 section 7.3.1). The first eight octets decide together with the
    /// length, and the last eight confirm a longer name.
    pub fn from_bytes(name: &[u8]) -> Self {
        Self::at_start(name, name.len())
    }

    /// The same for a line that starts with a name of so many octets.
    #[inline(always)]
    pub(super) fn at_start(line: &[u8], len: usize) -> Self {
        let name = &line[..len];
        let head = match line.first_chunk::<8>() {
            Some(octets) => small(u64::from_le_bytes(*octets) & (u64::MAX >> (64 - 8 * len.clamp(1, 8)))),
            None => short(name),
        };
        let tail = name.last_chunk::<8>().map_or(0, |octets| small(u64::from_le_bytes(*octets)));
        match (len, head) {
            (1, F) => HeaderName::From,
            (1, I) => HeaderName::CallId,
            (1, K) => HeaderName::Supported,
            (1, L) => HeaderName::ContentLength,
            (1, M) => HeaderName::Contact,
            (1, T) => HeaderName::To,
            (1, V) => HeaderName::Via,
            (1, X) => HeaderName::SessionExpires,
            (2, TO) => HeaderName::To,
            (3, VIA) => HeaderName::Via,
            (4, CSEQ) => HeaderName::CSeq,
            (4, PATH) => HeaderName::Path,
            (4, FROM) => HeaderName::From,
            (5, ROUTE) => HeaderName::Route,
            (6, MIN_SE) => HeaderName::MinSe,
            (6, REASON) => HeaderName::Reason,
            (7, CALL_ID) => HeaderName::CallId,
            (7, CONTACT) => HeaderName::Contact,
            (7, EXPIRES) => HeaderName::Expires,
            (9, SUPPORTE) if tail == short(b"upported") => HeaderName::Supported,
            (11, RETRY_AF) if tail == short(b"ry-after") => HeaderName::RetryAfter,
            (12, MAX_FORW) if tail == short(b"forwards") => HeaderName::MaxForwards,
            (12, RECORD_R) if tail == short(b"rd-route") => HeaderName::RecordRoute,
            (13, AUTHORIZ) if tail == short(b"rization") => HeaderName::Authorization,
            (13, PROXY_RE) if tail == short(b"-require") => HeaderName::ProxyRequire,
            (14, CONTENT_) if tail == short(b"t-length") => HeaderName::ContentLength,
            (15, SESSION_) if tail == short(b"-expires") => HeaderName::SessionExpires,
            (19, PROXY_AU) if name.eq_ignore_ascii_case(b"proxy-authorization") => HeaderName::ProxyAuthorization,
            _ => HeaderName::Other,
        }
    }

    /// Its bit in a set of names.
    pub(super) fn bit(self) -> u32 {
        1 << self as u32
    }
}

const F: u64 = short(b"f");
const I: u64 = short(b"i");
const K: u64 = short(b"k");
const L: u64 = short(b"l");
const M: u64 = short(b"m");
const T: u64 = short(b"t");
const V: u64 = short(b"v");
const X: u64 = short(b"x");
const TO: u64 = short(b"to");
const VIA: u64 = short(b"via");
const CSEQ: u64 = short(b"cseq");
const PATH: u64 = short(b"path");
const FROM: u64 = short(b"from");
const ROUTE: u64 = short(b"route");
const MIN_SE: u64 = short(b"min-se");
const REASON: u64 = short(b"reason");
const CALL_ID: u64 = short(b"call-id");
const CONTACT: u64 = short(b"contact");
const EXPIRES: u64 = short(b"expires");
const SUPPORTE: u64 = short(b"supporte");
const RETRY_AF: u64 = short(b"retry-af");
const MAX_FORW: u64 = short(b"max-forw");
const RECORD_R: u64 = short(b"record-r");
const AUTHORIZ: u64 = short(b"authoriz");
const PROXY_RE: u64 = short(b"proxy-re");
const CONTENT_: u64 = short(b"content-");
const SESSION_: u64 = short(b"session-");
const PROXY_AU: u64 = short(b"proxy-au");

/// Eight octets in small letters. Of the octets of tokens only letters and the underscore change by it, and the underscore
/// becomes what no token has.
const fn small(octets: u64) -> u64 {
    octets | 0x2020_2020_2020_2020
}

/// Up to eight octets in small letters, as [`small`] makes them of a longer name.
const fn short(name: &[u8]) -> u64 {
    let (mut octets, mut at) = (0u64, name.len());
    while at > 0 {
        at -= 1;
        octets = octets << 8 | name[at] as u64;
    }
    small(octets)
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
            ("proxy-AUTHORIZATION", HeaderName::ProxyAuthorization),
            ("Via2", HeaderName::Other),
            ("Record_Route", HeaderName::Other),
            ("Content-Lengths", HeaderName::Other),
            ("Proxy-Authorisation", HeaderName::Other),
            ("", HeaderName::Other),
        ] {
            assert_eq!(HeaderName::from_bytes(name.as_bytes()), expected, "{name}");
        }
    }
}
