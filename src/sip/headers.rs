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
    /// Finds the name, a token, whatever its case (RFC 3261 section 7.3.1).
    pub fn from_bytes(name: &[u8]) -> Self {
        let mut line = [b':'; 16];
        match line.get_mut(..name.len()) {
            Some(place) if name.len() < 16 => place.copy_from_slice(name),
            _ if name.eq_ignore_ascii_case(b"proxy-authorization") => return HeaderName::ProxyAuthorization,
            _ => return HeaderName::Other,
        }
        Self::before_colon(&line).map_or(HeaderName::Other, |(name, _)| name)
    }

    /// The name at the start of a line, with its colon directly behind it, and its length; none for a name that is not known or
    /// is longer than 15 octets. Every octet of the name has been compared, save that a carriage return passes for a hyphen.
    #[inline(always)]
    pub(super) fn before_colon(line: &[u8; 16]) -> Option<(Self, usize)> {
        let (head, tail) = (word_of(line, 0), word_of(line, 8));
        let mut len = colon(head);
        if len == 8 {
            len += colon(tail);
            if len == 16 {
                return None;
            }
        }
        let head = small(if len < 8 { head & !(u64::MAX << (8 * len)) } else { head });
        let tail = if len > 8 { small(word_of(line, len - 8)) } else { 0 };
        let name = Self::of_ends(len, head, tail)?;
        Some((name, len))
    }

    /// The name of so many octets, up to 15, whose first and last eight these are in small letters.
    #[inline(always)]
    fn of_ends(len: usize, head: u64, tail: u64) -> Option<Self> {
        let name = match (len, head) {
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
            (5, ALLOW) | (6, SERVER) => HeaderName::Other,
            (5, ROUTE) => HeaderName::Route,
            (6, MIN_SE) => HeaderName::MinSe,
            (6, REASON) => HeaderName::Reason,
            (7, CALL_ID) => HeaderName::CallId,
            (7, CONTACT) => HeaderName::Contact,
            (7, EXPIRES) => HeaderName::Expires,
            (9, SUPPORTE) if tail == const { short(b"upported") } => HeaderName::Supported,
            (10, USER_AGE) if tail == const { short(b"er-agent") } => HeaderName::Other,
            (11, RETRY_AF) if tail == const { short(b"ry-after") } => HeaderName::RetryAfter,
            (12, MAX_FORW) if tail == const { short(b"forwards") } => HeaderName::MaxForwards,
            (12, RECORD_R) if tail == const { short(b"rd-route") } => HeaderName::RecordRoute,
            (12, CONTENT_) if tail == const { short(b"ent-type") } => HeaderName::Other,
            (13, AUTHORIZ) if tail == const { short(b"rization") } => HeaderName::Authorization,
            (13, PROXY_RE) if tail == const { short(b"-require") } => HeaderName::ProxyRequire,
            (14, CONTENT_) if tail == const { short(b"t-length") } => HeaderName::ContentLength,
            (15, SESSION_) if tail == const { short(b"-expires") } => HeaderName::SessionExpires,
            _ => return None,
        };
        Some(name)
    }

    /// How many names there are.
    pub(super) const COUNT: usize = HeaderName::Other as usize + 1;

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
const ALLOW: u64 = short(b"allow");
const SERVER: u64 = short(b"server");
const USER_AGE: u64 = short(b"user-age");

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

/// Number of the first of eight octets that is a colon; eight for none.
#[inline(always)]
fn colon(octets: u64) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let differing = octets ^ (ONES * b':' as u64);
    // The subtraction carries into octets behind a colon, so that of these marks the first is certain.
    let marks = differing.wrapping_sub(ONES) & !differing & (ONES << 7);
    marks.trailing_zeros() as usize / 8
}

/// Eight octets of the sixteen.
#[inline(always)]
fn word_of(line: &[u8; 16], from: usize) -> u64 {
    line.get(from..).and_then(|rest| rest.first_chunk()).map_or(0, |octets| u64::from_le_bytes(*octets))
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
