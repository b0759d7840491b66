//! URIs as far as an edge has to understand them (RFC 3261 section 19.1, `tel:` RFC 3966).
//!
//! A URI of another scheme is proper input: it has a scheme and text, nothing more is asked of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::scan::{HOST, Span, decimal, run, uri_plain_len};

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

/// Where the parts of a URI stand within its text: what a message's index keeps of a URI that is asked for again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    scheme: Scheme,
    user: Option<Span>,
    host: Span,
    port: Option<u16>,
    params: Span,
    headers: Span,
}

/// Reads a URI; `None` when it breaks the grammar in a part that the edge uses.
pub fn parse(text: &[u8]) -> Option<Uri<'_>> {
    Parts::of(text).map(|parts| parts.view(text))
}

impl Parts {
    /// Reads a URI, as [`parse`] does.
    pub fn of(text: &[u8]) -> Option<Self> {
        let has_scheme = |scheme: &[u8]| text.len() > scheme.len() && text[..scheme.len()].eq_ignore_ascii_case(scheme);
        if has_scheme(b"sip:") {
            return sip_parts(Scheme::Sip, text, 4);
        }
        if has_scheme(b"sips:") {
            return sip_parts(Scheme::Sips, text, 5);
        }
        other_parts(text)
    }

    /// True when there is a header part behind `?`.
    pub fn has_headers(self) -> bool {
        !self.headers.is_empty()
    }

    /// The parts of the text that they were read from.
    pub fn view(self, text: &[u8]) -> Uri<'_> {
        Uri {
            scheme: self.scheme,
            user: self.user.map(|user| user.of(text)),
            host: self.host.of(text),
            port: self.port,
            params: self.params.of(text),
            headers: self.headers.of(text),
        }
    }
}

/// One pass over what follows the scheme. Signs before the `@` belong to the user part.
fn sip_parts(scheme: Scheme, text: &[u8], start: usize) -> Option<Parts> {
    let (mut at_sign, mut params, mut headers) = (None, None, None);
    let mut at = start;
    loop {
        at += uri_plain_len(&text[at..]);
        match text.get(at) {
            None => break,
            // A second `@` is where two readers of one URI part ways; it has to be escaped (section 25.1).
            Some(b'@') if at_sign.is_some() || at == start => return None,
            Some(b'@') => (at_sign, params, headers) = (Some(at), None, None),
            Some(b';') if params.is_none() && headers.is_none() => params = Some(at),
            Some(b'?') if headers.is_none() => headers = Some(at),
            Some(b';' | b'?') => {}
            Some(_) => return None,
        }
        at += 1;
    }
    let host_start = at_sign.map_or(start, |at| at + 1);
    let headers_at = headers.unwrap_or(text.len());
    let params_at = params.unwrap_or(headers_at);
    let (host, port) = parse_hostport(&text[host_start..params_at])?;
    Some(Parts {
        scheme,
        user: at_sign.map(|at| Span::new(start, at)),
        host: Span::new(host_start, host_start + host.len()),
        port,
        params: Span::new((params_at + 1).min(headers_at), headers_at),
        headers: Span::new((headers_at + 1).min(text.len()), text.len()),
    })
}

/// What no URI has: controls, blanks, quotes and angle brackets.
fn is_barred(byte: u8) -> bool {
    byte <= b' ' || matches!(byte, 0x7f | b'<' | b'>' | b'"')
}

/// A URI of another scheme; a `tel:` URI has a number and parameters.
fn other_parts(text: &[u8]) -> Option<Parts> {
    if text.iter().any(|b| is_barred(*b)) {
        return None;
    }
    let colon = memchr::memchr(b':', text)?;
    let (name, rest) = (&text[..colon], Span::new(colon + 1, text.len()));
    let legal = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    if !name.first().is_some_and(u8::is_ascii_alphabetic) || !name.iter().all(legal) || rest.is_empty() {
        return None;
    }
    let nothing = Span::default();
    let mut parts =
        Parts { scheme: Scheme::Other, user: None, host: nothing, port: None, params: nothing, headers: nothing };
    if name.eq_ignore_ascii_case(b"tel") {
        let number = memchr::memchr(b';', rest.of(text)).map_or(text.len(), |at| colon + 1 + at);
        let params = Span::new((number + 1).min(text.len()), text.len());
        parts = Parts { scheme: Scheme::Tel, user: Some(Span::new(colon + 1, number)), params, ..parts };
    }
    Some(parts)
}

/// Splits `host[:port]`; an IPv6 address keeps its brackets.
pub fn parse_hostport(text: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let host_end = match text.first()? {
        b'[' => bracketed_len(text)?,
        _ => run(text, HOST),
    };
    let (host, tail) = text.split_at(host_end);
    if host.is_empty() {
        return None;
    }
    let port = match tail {
        [] => None,
        [b':', digits @ ..] => Some(decimal(digits, u64::from(u16::MAX)).filter(|port| *port > 0)? as u16),
        _ => return None,
    };
    Some((host, port))
}

/// Inside the brackets the characters are judged and not the address: RFC 3261's own grammar lets three colons
/// through (RFC 5118 section 4.5), and a host that is no address is simply nobody's.
fn bracketed_len(text: &[u8]) -> Option<usize> {
    let end = memchr::memchr(b']', text)?;
    let inside = &text[1..end];
    let legal = inside.iter().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'));
    (legal && !inside.is_empty()).then_some(end + 1)
}

/// The address that a host text is, with or without brackets; `None` for a name.
pub fn ip(host: &[u8]) -> Option<IpAddr> {
    let bare = match host {
        [b'[', inside @ .., b']'] => inside,
        other => other,
    };
    if let Some(address) = ipv4(bare) {
        return Some(IpAddr::V4(address));
    }
    if !bare.contains(&b':') {
        return None;
    }
    std::str::from_utf8(bare).ok()?.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}

/// Four numbers up to 255 with points between them, none with a zero before it.
fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let (mut address, mut parts, mut rest) = (0, 0, text);
    loop {
        // Nearly always one look at what follows tells how many digits there are.
        let (number, len) = match *rest {
            [a, b'.', ..] | [a] => (digit(a)?, 1),
            [a, b, b'.', ..] | [a, b] => (leading(a)? * 10 + digit(b)?, 2),
            [a, b, c, b'.', ..] | [a, b, c] => (leading(a)? * 100 + digit(b)? * 10 + digit(c)?, 3),
            _ => return None,
        };
        (address, parts, rest) = (address << 8 | number, parts + 1, &rest[len..]);
        match rest {
            [] => return (parts == 4 && number < 256).then(|| Ipv4Addr::from_bits(address)),
            _ if parts == 4 || number > 255 => return None,
            _ => rest = &rest[1..],
        }
    }
}

fn digit(octet: u8) -> Option<u32> {
    let digit = octet.wrapping_sub(b'0');
    (digit < 10).then_some(u32::from(digit))
}

/// A digit with others behind it, which is no zero.
fn leading(octet: u8) -> Option<u32> {
    digit(octet).filter(|digit| *digit > 0)
}

impl<'a> Uri<'a> {
    /// True for `sip` and `sips`.
    pub fn is_sip(&self) -> bool {
        matches!(self.scheme, Scheme::Sip | Scheme::Sips)
    }

    /// The value of a URI parameter, empty for one without a value.
    pub fn param(&self, name: &[u8]) -> Option<&'a [u8]> {
        let mut rest = self.params;
        while !rest.is_empty() {
            let end = memchr::memchr(b';', rest).unwrap_or(rest.len());
            let param = &rest[..end];
            let key_len = param.iter().position(|b| *b == b'=').unwrap_or(end);
            if param[..key_len].eq_ignore_ascii_case(name) {
                return Some(param.get(key_len + 1..).unwrap_or_default());
            }
            rest = rest.get(end + 1..).unwrap_or_default();
        }
        None
    }

    /// The user part up to its first parameter: what an operator calls the number.
    pub fn number(&self) -> Option<&'a [u8]> {
        let user = self.user?;
        let end = user.iter().position(|b| matches!(b, b';' | b':'));
        Some(end.map_or(user, |end| &user[..end]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_address_is_one_as_everybody_reads_it(text in "([0-9]{1,3}\\.){2,4}[0-9]{0,3}|[0-9.]{0,16}|[0-9.a: ]{0,9}") {
            let bare = text.trim_start_matches('[').trim_end_matches(']');
            prop_assert_eq!(ip(text.as_bytes()), bare.parse().ok());
        }
    }

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
