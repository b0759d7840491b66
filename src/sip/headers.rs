//! Header field names that the edge reads (RFC 3261 section 20, compact forms section 7.3.3).

use super::sixteen::{are_same, first_of};

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

    /// The name at the start of a line, with its colon directly behind it, and its length; none for a name that is not in the table or
    /// is longer than 15 octets. Every octet of the name has been compared, save that a carriage return passes for a hyphen.
    #[inline(always)]
    pub(super) fn before_colon(line: &[u8; 16]) -> Option<(Self, usize)> {
        let len = first_of(line, b':');
        let octets = (u128::from_le_bytes(*line) | SMALL) & UP_TO.get(len)?;
        let mut place = place_of(octets);
        loop {
            let known = &KNOWN[place % PLACES];
            if are_same(&known.octets, &octets.to_le_bytes()) {
                return Some((known.name, len));
            }
            if known.octets[0] == 0 {
                return None;
            }
            place += 1;
        }
    }

    /// How many names there are.
    pub(super) const COUNT: usize = HeaderName::Other as usize + 1;

    /// Its bit in a set of names.
    pub(super) fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// Names of up to 15 octets that the edge reads, and others that are often there: they need no further look.
const NAMES: [(&str, HeaderName); 53] = [
    ("accept", HeaderName::Other),
    ("allow", HeaderName::Other),
    ("allow-events", HeaderName::Other),
    ("authorization", HeaderName::Authorization),
    ("call-id", HeaderName::CallId),
    ("contact", HeaderName::Contact),
    ("content-length", HeaderName::ContentLength),
    ("content-type", HeaderName::Other),
    ("cseq", HeaderName::CSeq),
    ("c", HeaderName::Other),
    ("date", HeaderName::Other),
    ("diversion", HeaderName::Other),
    ("event", HeaderName::Other),
    ("expires", HeaderName::Expires),
    ("f", HeaderName::From),
    ("from", HeaderName::From),
    ("history-info", HeaderName::Other),
    ("i", HeaderName::CallId),
    ("in-reply-to", HeaderName::Other),
    ("k", HeaderName::Supported),
    ("l", HeaderName::ContentLength),
    ("m", HeaderName::Contact),
    ("max-forwards", HeaderName::MaxForwards),
    ("min-expires", HeaderName::Other),
    ("min-se", HeaderName::MinSe),
    ("organization", HeaderName::Other),
    ("path", HeaderName::Path),
    ("privacy", HeaderName::Other),
    ("proxy-require", HeaderName::ProxyRequire),
    ("rack", HeaderName::Other),
    ("reason", HeaderName::Reason),
    ("record-route", HeaderName::RecordRoute),
    ("refer-to", HeaderName::Other),
    ("referred-by", HeaderName::Other),
    ("remote-party-id", HeaderName::Other),
    ("replaces", HeaderName::Other),
    ("require", HeaderName::Other),
    ("retry-after", HeaderName::RetryAfter),
    ("route", HeaderName::Route),
    ("rseq", HeaderName::Other),
    ("server", HeaderName::Other),
    ("session-expires", HeaderName::SessionExpires),
    ("subject", HeaderName::Other),
    ("supported", HeaderName::Supported),
    ("t", HeaderName::To),
    ("timestamp", HeaderName::Other),
    ("to", HeaderName::To),
    ("unsupported", HeaderName::Other),
    ("user-agent", HeaderName::Other),
    ("v", HeaderName::Via),
    ("via", HeaderName::Via),
    ("warning", HeaderName::Other),
    ("x", HeaderName::SessionExpires),
];

/// A name in small letters, nulls behind it; nothing but nulls where no name is.
#[derive(Clone, Copy)]
struct Known {
    octets: [u8; 16],
    name: HeaderName,
}

/// A power of two, more than twice the names.
const PLACES: usize = 128;

/// The names by where [`place_of`] looks for them, or in the next place that was free.
static KNOWN: [Known; PLACES] = {
    let mut table = [Known { octets: [0; 16], name: HeaderName::Other }; PLACES];
    let mut number = 0;
    while number < NAMES.len() {
        let (text, name) = NAMES[number];
        let octets = octets_of(text.as_bytes());
        let mut place = place_of(octets);
        while table[place].octets[0] != 0 {
            place = (place + 1) % PLACES;
        }
        table[place] = Known { octets: octets.to_le_bytes(), name };
        number += 1;
    }
    table
};

/// Of the octets of tokens only letters and the underscore change by it; the underscore becomes what no token has.
const SMALL: u128 = 0x2020_2020_2020_2020_2020_2020_2020_2020;

/// The first so many octets of sixteen.
const UP_TO: [u128; 16] = {
    // A line that begins with a colon has no name: with that colon it is not in the table.
    let mut masks = [u128::MAX; 16];
    let mut len = 1;
    while len < 16 {
        masks[len] = u128::MAX >> (128 - 8 * len);
        len += 1;
    }
    masks
};

/// The octets of a name, nulls behind them.
const fn octets_of(name: &[u8]) -> u128 {
    let (mut octets, mut at) = (0, name.len());
    while at > 0 {
        at -= 1;
        octets = octets << 8 | name[at] as u128;
    }
    octets
}

/// Where a name stands in the table.
const fn place_of(octets: u128) -> usize {
    // By the first eight octets; any odd number would do, with more looks.
    const FACTOR: u64 = 0x3647_ac95_94ac_089f;
    ((octets as u64).wrapping_mul(FACTOR) >> (u64::BITS - PLACES.ilog2())) as usize
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
            ("Content\rLength\n", HeaderName::Other),
            ("Proxy-Authorisation", HeaderName::Other),
            ("", HeaderName::Other),
        ] {
            assert_eq!(HeaderName::from_bytes(name.as_bytes()), expected, "{name}");
        }
    }
}
