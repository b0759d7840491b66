//! Writing the forwarded copy of a message: the received bytes with a few pieces cut out or put in
//! (RFC 3261 sections 16.6 and 16.7).
//!
//! An edit names offsets in the received bytes; whatever no edit names leaves byte for byte as it came.

use std::io::Write;
use std::net::IpAddr;

use super::message::Message;
use super::scan::Span;

/// A list of edits, kept and used again for each message.
#[derive(Debug, Default)]
pub struct Edits {
    splices: Vec<Splice>,
    text: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Splice {
    /// Octets of the message that go away.
    cut: Span,
    /// Octets of `Edits::text` that stand there instead.
    text: Span,
}

impl Edits {
    /// An empty list.
    pub fn new() -> Self {
        Edits { splices: Vec::with_capacity(16), text: Vec::with_capacity(512) }
    }

    /// Forgets all edits.
    pub fn clear(&mut self) {
        self.splices.clear();
        self.text.clear();
    }

    /// Cuts out a piece.
    pub fn remove(&mut self, cut: Span) {
        let end = self.text.len();
        self.splices.push(Splice { cut, text: Span::new(end, end) });
    }

    /// Puts text in the place of a piece. The closure writes it.
    pub fn replace(&mut self, cut: Span, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.text.len();
        write(&mut self.text);
        self.splices.push(Splice { cut, text: Span::new(start, self.text.len()) });
    }

    /// Puts text in before an offset. Several insertions at one offset stand in the order they were made.
    pub fn insert(&mut self, at: u32, write: impl FnOnce(&mut Vec<u8>)) {
        self.replace(Span { start: at, end: at }, write);
    }

    /// Appends the edited message to `out`. Overlapping cuts count once.
    pub fn write<'a>(&mut self, message: impl Message<'a>, out: &mut Vec<u8>) {
        let bytes = message.bytes();
        let start = message_start(bytes);
        let end = message.index().body.end as usize;
        // Few and nearly sorted: an insertion sort keeps equal offsets in order and needs no memory.
        for i in 1..self.splices.len() {
            let mut j = i;
            while j > 0 && self.splices[j - 1].cut.start > self.splices[j].cut.start {
                self.splices.swap(j - 1, j);
                j -= 1;
            }
        }
        let mut at = start;
        for splice in &self.splices {
            let (cut_start, cut_end) = (splice.cut.start as usize, splice.cut.end as usize);
            if cut_start > at {
                out.extend_from_slice(&bytes[at..cut_start]);
            }
            out.extend_from_slice(splice.text.of(&self.text));
            at = at.max(cut_end).max(cut_start);
        }
        out.extend_from_slice(&bytes[at.min(end)..end]);
    }
}

/// Offset of the start line, behind the line ends that may stand before it (section 7.5).
fn message_start(bytes: &[u8]) -> usize {
    bytes.iter().position(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(0)
}

/// The first line with its line end.
pub fn start_line<'a>(message: impl Message<'a>) -> Span {
    Span::new(message_start(message.bytes()), message.index().start_end as usize)
}

/// Offset behind the first line: where a header goes that must stand on top.
pub fn headers_start<'a>(message: impl Message<'a>) -> u32 {
    message.index().start_end
}

/// Offset of the empty line: where a header goes that may stand last.
pub fn headers_end<'a>(message: impl Message<'a>) -> u32 {
    message.index().head_end
}

/// Writes a decimal number.
pub fn number(out: &mut Vec<u8>, value: impl Into<u64>) {
    // 2^64 has twenty digits.
    let (mut digits, mut at, mut value) = ([0u8; 20], 20, value.into());
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Writes an address, IPv6 without brackets.
pub fn address(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            for (at, octet) in ip.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push(b'.');
                }
                number(out, octet);
            }
        }
        // Writing to a Vec cannot fail.
        IpAddr::V6(ip) => drop(write!(out, "{ip}")),
    }
}

/// Cuts values `0..count` off the front of a comma list that may spread over several header lines.
/// `ends` gives, for each value to cut, its line and the offset where the value ends.
pub fn remove_leading(edits: &mut Edits, bytes: &[u8], line: Span, value: Span, value_end: u32) {
    let rest = &bytes[value_end as usize..value.end as usize];
    match rest.iter().position(|b| *b == b',') {
        // The line has no further value: all of it goes.
        None => edits.remove(line),
        Some(comma) => {
            let mut keep = value_end as usize + comma + 1;
            while keep < value.end as usize && super::scan::is_lws(bytes[keep]) {
                keep += 1;
            }
            edits.remove(Span::new(value.start as usize, keep));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::parse::{Framing, Index, Outcome, parse};

    const TEXT: &str = "\r\nBYE sip:a SIP/2.0\r\nRoute: <sip:x;lr>, <sip:y;lr>\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKb\r\n\
                        From: <sip:a>;tag=1\r\nTo: <sip:b>\r\nCall-ID: c\r\nCSeq: 1 BYE\r\nContent-Length: 2\r\n\r\nhitrailing";

    fn edited(change: impl Fn(&mut Edits, crate::sip::Request<'_>)) -> String {
        let mut index = Index::new();
        let Outcome::Request(request) = parse(TEXT.as_bytes(), Framing::Datagram, &mut index) else { panic!() };
        let (mut edits, mut out) = (Edits::new(), Vec::new());
        change(&mut edits, request);
        edits.write(request, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_and_addresses_are_written_as_everybody_writes_them() {
        let mut out = Vec::new();
        for value in [0, 7, 10, 65_535, u64::MAX] {
            number(&mut out, value);
            out.push(b' ');
        }
        for ip in ["0.0.0.0", "255.10.0.7", "2001:db8::9", "::ffff:1.2.3.4"] {
            address(&mut out, ip.parse().unwrap());
            out.push(b' ');
        }
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "0 7 10 65535 18446744073709551615 0.0.0.0 255.10.0.7 2001:db8::9 ::ffff:1.2.3.4 "
        );
    }

    #[test]
    fn without_edits_the_message_leaves_as_it_came_up_to_its_content_length() {
        assert_eq!(edited(|_, _| ()), TEXT.trim_start().trim_end_matches("trailing"));
    }

    #[test]
    fn edits_are_applied_in_the_order_of_their_offsets() {
        let out = edited(|edits, request| {
            let via = request.via().unwrap();
            edits.insert(via.whole.end, |out| out.extend_from_slice(b";received=1.2.3.4"));
            edits.insert(headers_start(request), |out| out.extend_from_slice(b"Via: 1\r\n"));
            edits.insert(headers_start(request), |out| out.extend_from_slice(b"Via: 2\r\n"));
            edits.remove(request.fields()[5].line);
        });
        assert!(out.starts_with("BYE sip:a SIP/2.0\r\nVia: 1\r\nVia: 2\r\nRoute:"), "{out}");
        assert!(out.contains("branch=z9hG4bKb;received=1.2.3.4\r\n"), "{out}");
        assert!(!out.contains("CSeq") && out.ends_with("\r\n\r\nhi"), "{out}");
    }

    #[test]
    fn the_first_value_of_a_list_goes_and_the_rest_stays() {
        let out = edited(|edits, request| {
            let (field, address) = request.addresses(crate::sip::HeaderName::Route).next().unwrap();
            remove_leading(edits, request.bytes(), field.line, field.value, address.whole.end);
        });
        assert!(out.contains("\r\nRoute: <sip:y;lr>\r\n"), "{out}");
    }
}
