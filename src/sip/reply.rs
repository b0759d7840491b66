//! Answers that the edge gives itself (RFC 3261 section 8.2.6, rport RFC 3581).

use std::net::SocketAddr;

use super::edit::{address, number};
use super::headers::HeaderName;
use super::message::{Message, Request};
use super::via::Via;

/// What an answer says.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// Status code.
    pub code: u16,
    /// Reason phrase.
    pub phrase: &'a str,
    /// The To tag, put in when the request has none.
    pub to_tag: &'a [u8],
    /// Further header lines, each with its line end.
    pub headers: &'a [u8],
}

/// Whether a top Via without `rport` is given one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rport {
    /// Fill it in only where it was asked for (RFC 3581 section 4).
    AsAsked,
    /// Always: an unknown peer is answered at the port it sent from and nowhere else.
    Always,
}

/// Appends the answer to `out`. Headers that the request lacks are left out: a request with a fault is
/// answered with what could be read of it.
pub fn write(out: &mut Vec<u8>, request: Request<'_>, source: SocketAddr, rport: Rport, reply: Reply<'_>) {
    out.extend_from_slice(b"SIP/2.0 ");
    number(out, reply.code);
    out.push(b' ');
    out.extend_from_slice(reply.phrase.as_bytes());
    out.extend_from_slice(b"\r\n");
    write_vias(out, request, source, rport);
    for field in request.fields() {
        if matches!(field.name, HeaderName::From | HeaderName::CallId | HeaderName::CSeq) {
            write_line(out, request.text(field.line));
        }
    }
    if let Some(to) = request.fields().iter().find(|f| f.name == HeaderName::To) {
        out.extend_from_slice(b"To: ");
        out.extend_from_slice(request.text(to.value));
        if request.to_tag().is_none() && request.index().to.is_some() {
            out.extend_from_slice(b";tag=");
            out.extend_from_slice(reply.to_tag);
        }
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(reply.headers);
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
}

/// All Vias in their order, the top one marked with the packet's source.
fn write_vias(out: &mut Vec<u8>, request: Request<'_>, source: SocketAddr, rport: Rport) {
    let mut top = request.via();
    for field in request.fields().iter().filter(|f| f.name == HeaderName::Via) {
        let Some(via) = top.take() else {
            write_line(out, request.text(field.line));
            continue;
        };
        out.extend_from_slice(b"Via: ");
        let bytes = request.bytes();
        let mut at = via.whole.start as usize;
        for edit in source_edits(via, rport).into_iter().flatten() {
            out.extend_from_slice(&bytes[at..edit.start]);
            edit.write(out, source);
            at = edit.end;
        }
        out.extend_from_slice(&bytes[at..field.value.end as usize]);
        out.extend_from_slice(b"\r\n");
    }
}

fn write_line(out: &mut Vec<u8>, line: &[u8]) {
    let bare = line.strip_suffix(b"\n").unwrap_or(line);
    out.extend_from_slice(bare.strip_suffix(b"\r").unwrap_or(bare));
    out.extend_from_slice(b"\r\n");
}

/// One change to the top Via.
#[derive(Clone, Copy, Debug)]
pub struct ViaEdit {
    /// First octet that goes away.
    pub start: usize,
    /// One past the last octet that goes away.
    pub end: usize,
    what: ViaParam,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ViaParam {
    Received,
    Rport,
    Both,
}

impl ViaEdit {
    /// Writes what stands there instead.
    pub fn write(&self, out: &mut Vec<u8>, source: SocketAddr) {
        if self.what != ViaParam::Rport {
            out.extend_from_slice(b";received=");
            // IPv6 without brackets (RFC 5118 section 4.5).
            address(out, source.ip());
        }
        if self.what != ViaParam::Received {
            out.extend_from_slice(b";rport=");
            number(out, source.port());
        }
    }
}

/// The changes that note the source in the top Via: `received` always (RFC 3581 section 4), `rport` where
/// it was asked for or the policy says so. In the order of their offsets.
pub fn source_edits(via: Via, rport: Rport) -> [Option<ViaEdit>; 2] {
    let at_end = via.whole.end as usize;
    let place = |param: Option<super::via::Param>, what| {
        let (start, end) = param.map_or((at_end, at_end), |p| (p.whole.start as usize, p.whole.end as usize));
        ViaEdit { start, end, what }
    };
    let received = place(via.received, ViaParam::Received);
    let wanted = via.rport.is_some() || rport == Rport::Always;
    let rport = wanted.then(|| place(via.rport, ViaParam::Rport));
    match rport {
        None => [Some(received), None],
        Some(rport) if rport.start == received.start => [Some(ViaEdit { what: ViaParam::Both, ..received }), None],
        Some(rport) if rport.start < received.start => [Some(rport), Some(received)],
        Some(rport) => [Some(received), Some(rport)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::parse::{Framing, Index, Outcome, parse};

    fn answered(via: &str, source: &str, rport: Rport) -> String {
        let text = format!(
            "OPTIONS sip:a SIP/2.0\r\nv: {via}\r\nVia: SIP/2.0/UDP second;branch=x\r\nFrom: <sip:a>\r\n ;tag=1\r\nt: <sip:b>\r\n\
             Call-ID: c\r\nCSeq: 1 OPTIONS\r\nX-Long: not copied\r\n\r\n"
        );
        let mut index = Index::new();
        let Outcome::Request(request) = parse(text.as_bytes(), Framing::Datagram, &mut index) else { panic!() };
        let mut out = Vec::new();
        let reply = Reply { code: 200, phrase: "OK", to_tag: b"edge", headers: b"Allow: OPTIONS\r\n" };
        write(&mut out, request, source.parse().unwrap(), rport, reply);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_answer_carries_the_headers_that_the_rfc_names_and_no_more() {
        let text = answered("SIP/2.0/UDP gw;rport;branch=z9hG4bKa", "192.0.2.1:5070", Rport::AsAsked);
        assert_eq!(
            text,
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP gw;rport=5070;branch=z9hG4bKa;received=192.0.2.1\r\n\
             Via: SIP/2.0/UDP second;branch=x\r\nFrom: <sip:a>\r\n ;tag=1\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\
             To: <sip:b>;tag=edge\r\nAllow: OPTIONS\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn what_a_via_claims_of_its_source_is_replaced_by_the_truth() {
        let via = |text, rport| {
            let answer = answered(text, "[2001:db8::9]:5070", rport);
            answer.lines().nth(1).unwrap().to_owned()
        };
        assert_eq!(
            via("SIP/2.0/UDP gw;received=6.6.6.6;branch=b;rport=1, SIP/2.0/UDP z", Rport::AsAsked),
            "Via: SIP/2.0/UDP gw;received=2001:db8::9;branch=b;rport=5070, SIP/2.0/UDP z"
        );
        assert_eq!(via("SIP/2.0/UDP gw;branch=b", Rport::AsAsked), "Via: SIP/2.0/UDP gw;branch=b;received=2001:db8::9");
        assert_eq!(
            via("SIP/2.0/UDP gw;branch=b", Rport::Always),
            "Via: SIP/2.0/UDP gw;branch=b;received=2001:db8::9;rport=5070"
        );
    }
}
