//! URIs as far as an edge has to understand them (RFC 3261 section 19.1, `tel:` RFC 3966).
//!
//! A URI of another scheme is proper input: it has a scheme and text, nothing more is asked of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::scan::{decimal, is_host};

/// The scheme of a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:`
    Tel,
    /// Any other.
    Other,
}

/// A view into the text of a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    /// The scheme.
    pub scheme: Scheme,
    /// The user part with its own parameters, escapes as they came; the number of a `tel:` URI.
    pub user: Option<&'a [u8]>,
    /// The host, an IPv6 address with its brackets. Empty unless the scheme is `sip` or `sips`.
    pub host: &'a [u8],
    /// The port.
    pub port: Option<u16>,
    /// The parameters behind the first `;`.
    pub params: &'a [u8],
    /// The header part behind `?`.
    pub headers: &'a [u8],
}

/// Reads a URI; `None` when it breaks the grammar in a part that the edge uses.
pub fn parse(text: &[u8]) -> Option<Uri<'_>> {
    if text.iter().any(|b| *b <= b' ' || *b == 0x7f || matches!(b, b'<' | b'>' | b'"')) {
        return None;
    }
    let colon = memchr::memchr(b':', text)?;
    let (name, rest) = (&text[..colon], &text[colon + 1..]);
    let legal = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    if !name.first().is_some_and(u8::is_ascii_alphabetic) || !name.iter().all(legal) || rest.is_empty() {
        return None;
    }
    if name.eq_ignore_ascii_case(b"sip") {
        return parse_sip(Scheme::Sip, rest);
    }
    if name.eq_ignore_ascii_case(b"sips") {
        return parse_sip(Scheme::Sips, rest);
    }
    let mut uri = Uri { scheme: Scheme::Other, user: None, host: b"", port: None, params: b"", headers: b"" };
    if name.eq_ignore_ascii_case(b"tel") {
        let (number, params) = split(rest, b';');
        uri = Uri { scheme: Scheme::Tel, user: Some(number), params, ..uri };
    }
    Some(uri)
}

fn parse_sip(scheme: Scheme, rest: &[u8]) -> Option<Uri<'_>> {
    let (user, rest) = match memchr::memchr(b'@', rest) {
        Some(0) => return None,
        Some(at) => (Some(&rest[..at]), &rest[at + 1..]),
        None => (None, rest),
    };
    // A second `@` is where two readers of one URI part ways; it has to be escaped (section 25.1).
    if memchr::memchr(b'@', rest).is_some() {
        return None;
    }
    let (rest, headers) = split(rest, b'?');
    let (hostport, params) = split(rest, b';');
    let (host, port) = parse_hostport(hostport)?;
    Some(Uri { scheme, user, host, port, params, headers })
}

/// Splits `host[:port]`; an IPv6 address keeps its brackets.
pub fn parse_hostport(text: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let host_end = if text.first() == Some(&b'[') {
        memchr::memchr(b']', text)? + 1
    } else {
        memchr::memchr(b':', text).unwrap_or(text.len())
    };
    let (host, tail) = text.split_at(host_end);
    // Inside the brackets the characters are judged and not the address: RFC 3261's own grammar lets three colons
    // through (RFC 5118 section 4.5), and a host that is no address is simply nobody's.
    let legal = match host {
        [b'[', inside @ .., b']'] => inside.iter().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.')),
        name => name.iter().all(|b| is_host(*b)),
    };
    if host.len() < 1 + 2 * usize::from(host.starts_with(b"[")) || !legal {
        return None;
    }
    let port = match tail {
        [] => None,
        [b':', digits @ ..] => Some(decimal(digits, u64::from(u16::MAX)).filter(|port| *port > 0)? as u16),
        _ => return None,
    };
    Some((host, port))
}

fn split(text: &[u8], at: u8) -> (&[u8], &[u8]) {
    match memchr::memchr(at, text) {
        Some(position) => (&text[..position], &text[position + 1..]),
        None => (text, b""),
    }
}

/// The address that a host text is, with or without brackets; `None` for a name.
pub fn ip(host: &[u8]) -> Option<IpAddr> {
    let bare = match host {
        [b'[', inside @ .., b']'] => inside,
        other => other,
    };
    let text = std::str::from_utf8(bare).ok()?;
    if bare.contains(&b':') {
        return text.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    text.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
}

impl<'a> Uri<'a> {
    /// True for `sip` and `sips`.
    pub fn is_sip(&self) -> bool {
        matches!(self.scheme, Scheme::Sip | Scheme::Sips)
    }

    /// The value of a URI parameter, empty for one without a value.
    pub fn param(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.params.split(|b| *b == b';').find_map(|param| {
            let (key, value) = split(param, b'=');
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// The user part up to its first parameter: what an operator calls the number.
    pub fn number(&self) -> Option<&'a [u8]> {
        self.user.map(|user| split(split(user, b';').0, b':').0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_host_port_and_parameters_are_told_apart() {
        let uri = parse(b"sips:1234;phone-context=+1@[2001:db8::10]:5070;lr;transport=tcp?Subject=x").unwrap();
        assert_eq!(uri.scheme, Scheme::Sips);
        assert_eq!(uri.user, Some(&b"1234;phone-context=+1"[..]));
        assert_eq!(uri.number(), Some(&b"1234"[..]));
        assert_eq!(uri.host, b"[2001:db8::10]");
        assert_eq!(uri.port, Some(5070));
        assert_eq!(uri.param(b"LR"), Some(&b""[..]));
        assert_eq!(uri.param(b"transport"), Some(&b"tcp"[..]));
        assert_eq!(uri.headers, b"Subject=x");
        assert_eq!(ip(uri.host), Some("2001:db8::10".parse().unwrap()));
    }

    #[test]
    fn unusual_users_and_other_schemes_are_proper_input() {
        for text in ["sip:*72#@pbx", "sip:a%20b%40c@pbx", "sip:null-%00-null@pbx", "SIP:Example.com", "sip:a:b@pbx"] {
            assert!(parse(text.as_bytes()).is_some_and(|u| u.is_sip()), "{text}");
        }
        assert_eq!(parse(b"tel:+123;phone-context=x").unwrap().number(), Some(&b"+123"[..]));
        assert_eq!(parse(b"urn:service:sos").unwrap().scheme, Scheme::Other);
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for text in [
            "sip:",
            "sip:@pbx",
            "sip:a@b@c",
            "sip:a@",
            "sip:a@b:0",
            "sip:a@b:70000",
            "sip:a@b:x",
            "sip:a@[::1",
            "sip:a b@c",
            "sip:a@[zz]",
            "sip:a@2001:db8::10",
            "<sip:a@b>",
            "1sip:a@b",
            ":a",
            "sip",
            "sip:a@b:5060:1",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
