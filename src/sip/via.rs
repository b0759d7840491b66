//! One Via value (RFC 3261 sections 18.2 and 20.42, rport: RFC 3581).

use super::scan::{Cursor, Malformed, Span};

/// The parts of a `via-parm`. Spans point into the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Via {
    /// All of this value, without the comma that may follow.
    pub whole: Span,
    /// `UDP`, `TCP`, `TLS`, ... as it came.
    pub transport: Span,
    /// Host of the sent-by, an IPv6 address with its brackets.
    pub host: Span,
    /// Port of the sent-by, if it was given.
    pub port: Option<u16>,
    /// The `branch` value.
    pub branch: Option<Span>,
    /// The `received` parameter.
    pub received: Option<Param>,
    /// The `rport` parameter.
    pub rport: Option<Param>,
    /// The edge's own `flow` parameter, which it puts on the Vias it writes.
    pub flow: Option<Span>,
}

/// A parameter that a proxy replaces: where it stands, and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// All of it, with its `;`.
    pub whole: Span,
    /// The value; empty when there is none.
    pub value: Span,
}

/// Reads the Via value at the cursor and stops at the comma behind it or at the end.
pub fn parse(bytes: &[u8], cursor: &mut Cursor<'_>) -> Result<Via, Malformed> {
    let mut via = sent_by(bytes, cursor)?;
    params(bytes, cursor, &mut via)?;
    Ok(via)
}

/// The first part of a Via value, up to its parameters.
pub(super) fn sent_by(bytes: &[u8], cursor: &mut Cursor<'_>) -> Result<Via, Malformed> {
    if let Some(via) = plain_sent_by(cursor) {
        return Ok(via);
    }
    cursor.skip_lws();
    let start = cursor.at();
    let transport = transport(bytes, cursor)?;
    let host = host(cursor)?;
    let port = port(bytes, cursor)?;
    Ok(Via { whole: Span::new(start, cursor.at()), transport, host, port, ..Via::default() })
}

/// The same as nearly everybody writes it: no blanks, and a name or an IPv4 address. Nothing is consumed by any other.
#[inline(always)]
fn plain_sent_by(cursor: &mut Cursor<'_>) -> Option<Via> {
    let (start, mut ahead) = (cursor.at(), *cursor);
    if !ahead.eat_text(b"SIP/2.0/UDP ") {
        return None;
    }
    let host = ahead.host();
    let mut port = None;
    if ahead.eat(b':') {
        port = Some(ahead.plain_port()?);
    }
    if host.is_empty() || !matches!(ahead.peek(), None | Some(b';' | b',')) {
        return None;
    }
    *cursor = ahead;
    let whole = Span { start: start as u32, end: cursor.at() as u32 };
    Some(Via { whole, transport: Span { start: whole.start + 8, end: whole.start + 11 }, host, port, ..Via::default() })
}

/// The protocol with its transport, and the white space behind it.
fn transport(bytes: &[u8], cursor: &mut Cursor<'_>) -> Result<Span, Malformed> {
    protocol(bytes, cursor)?;
    let transport = cursor.token().ok_or(Malformed)?;
    let before = cursor.at();
    cursor.skip_lws();
    if cursor.at() == before { Err(Malformed) } else { Ok(transport) }
}

/// The parameters behind it. When they are malformed some of them may have been taken in.
pub(super) fn params(bytes: &[u8], cursor: &mut Cursor<'_>, via: &mut Via) -> Result<(), Malformed> {
    let mut end = cursor.at();
    loop {
        if !via.note_plain(cursor) {
            let Some(param) = cursor.param()? else { break };
            if param.name.is_empty() {
                return Err(Malformed);
            }
            via.note(bytes, param);
        }
        end = cursor.at();
    }
    cursor.skip_lws();
    if !matches!(cursor.peek(), None | Some(b',')) {
        return Err(Malformed);
    }
    via.whole.end = end as u32;
    Ok(())
}

/// `SIP / 2.0 /`
fn protocol(bytes: &[u8], cursor: &mut Cursor<'_>) -> Result<(), Malformed> {
    let name = cursor.token().ok_or(Malformed)?;
    if !name.of(bytes).eq_ignore_ascii_case(b"SIP") || !cursor.eat_separator(b'/') {
        return Err(Malformed);
    }
    // The version is a token like any other (section 25.1): a request of another version can be answered by its Via.
    cursor.token().ok_or(Malformed)?;
    if cursor.eat_separator(b'/') { Ok(()) } else { Err(Malformed) }
}

fn host(cursor: &mut Cursor<'_>) -> Result<Span, Malformed> {
    let start = cursor.at();
    if cursor.eat(b'[') {
        let inside = cursor.take_while(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'));
        if inside.is_empty() || !cursor.eat(b']') {
            return Err(Malformed);
        }
        return Ok(Span::new(start, cursor.at()));
    }
    let name = cursor.host();
    if name.is_empty() { Err(Malformed) } else { Ok(name) }
}

fn port(bytes: &[u8], cursor: &mut Cursor<'_>) -> Result<Option<u16>, Malformed> {
    if !cursor.eat_separator(b':') {
        return Ok(None);
    }
    let digits = cursor.take_while(|b| b.is_ascii_digit()).of(bytes);
    match super::scan::decimal(digits, u64::from(u16::MAX)) {
        Some(number) if number > 0 => Ok(Some(number as u16)),
        _ => Err(Malformed),
    }
}

impl Via {
    /// Takes up a parameter as nearly everybody writes it.
    #[inline(always)]
    fn note_plain(&mut self, cursor: &mut Cursor<'_>) -> bool {
        let start = cursor.at();
        if let Some(value) = cursor.plain_value(b";branch=") {
            self.branch.get_or_insert(value);
        } else if let Some(value) = cursor.plain_value(b";received=") {
            self.received.get_or_insert(Param { whole: Span::new(start, cursor.at()), value });
        } else if let Some(value) = cursor.plain_value(b";rport=") {
            self.rport.get_or_insert(Param { whole: Span::new(start, cursor.at()), value });
        } else {
            return false;
        }
        true
    }

    fn note(&mut self, bytes: &[u8], param: super::scan::Param) {
        let name = param.name.of(bytes);
        let value = param.value.unwrap_or(Span::new(param.name.end as usize, param.name.end as usize));
        let slot = Param { whole: param.whole, value };
        match name.len() {
            6 if name.eq_ignore_ascii_case(b"branch") => drop(self.branch.get_or_insert(value)),
            8 if name.eq_ignore_ascii_case(b"received") => drop(self.received.get_or_insert(slot)),
            5 if name.eq_ignore_ascii_case(b"rport") => drop(self.rport.get_or_insert(slot)),
            4 if name.eq_ignore_ascii_case(b"flow") => drop(self.flow.get_or_insert(value)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Via, Malformed> {
        parse(text.as_bytes(), &mut Cursor::new(text.as_bytes(), Span::new(0, text.len())))
    }

    #[test]
    fn blanks_around_every_separator_are_allowed() {
        let text = "SIP / 2.0 / UDP first.example.com : 4000 ; ttl = 16 ; maddr=224.2.0.1 ;branch = z9hG4bKa7.1 , SIP/2.0/TCP b";
        let via = read(text).unwrap();
        assert_eq!(via.host.of(text.as_bytes()), b"first.example.com");
        assert_eq!(via.port, Some(4000));
        assert_eq!(via.branch.unwrap().of(text.as_bytes()), b"z9hG4bKa7.1");
        let text = "SIP/2.0/ \r\n TCP b";
        assert_eq!(read(text).unwrap().transport.of(text.as_bytes()), b"TCP");
    }

    #[test]
    fn an_ipv6_sent_by_keeps_its_brackets() {
        let text = "SIP/2.0/UDP [2001:db8::9:1]:5070;received=2001:db8::9:255;rport;branch=z9hG4bKas3";
        let via = read(text).unwrap();
        assert_eq!(via.host.of(text.as_bytes()), b"[2001:db8::9:1]");
        assert_eq!(via.port, Some(5070));
        assert_eq!(via.received.unwrap().value.of(text.as_bytes()), b"2001:db8::9:255");
        assert_eq!(via.rport.unwrap().whole.of(text.as_bytes()), b";rport");
    }

    #[test]
    fn what_is_no_via_is_refused() {
        for text in [
            "",
            "SIP/2.0/UDP",
            "SIP/2.0/UDP a;;b",
            "SIP//UDP a",
            "SIP/2.0/UDP a:b:c",
            "SIP/2.0/UDP :::::::",
            "SIP/2.0/UDP a:0",
            "SIP/2.0/UDP a:65536",
            "SIP/2.0/UDP a b",
            "SIP/2.0/UDP [2001:db8::1;branch=x",
            "SIP/2.0/UDP a;branch=\"x",
            "HTTP/2.0/UDP a",
        ] {
            assert_eq!(read(text), Err(Malformed), "{text}");
        }
    }
}
