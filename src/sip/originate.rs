//! Requests that the edge sends on its own account: OPTIONS, CANCEL, ACK and BYE (RFC 3261 sections 9.1,
//! 11, 13.2.2.4, 15.1.1 and 17.1.1.3).
//!
//! The message is put together and printed by the `rsip` crate; nothing that came from the network is parsed
//! by it. Its headers are `String`s while SIP is octets, so text from the wire goes through Latin-1: every octet
//! is one character up to U+00FF and turns back into the same octet afterwards.

use rsip::headers::UntypedHeader as _;

use super::headers::HeaderName;
use super::message::{Message, Request, Response};
use super::scan::Span;

/// An OPTIONS that asks a node whether it is alive.
#[derive(Clone, Copy, Debug)]
pub struct Probe<'a> {
    /// Request-URI, without a user part: a dialplan must not turn a probe into a 404.
    pub uri: &'a str,
    /// The edge's Via value.
    pub via: &'a str,
    /// From value with its tag.
    pub from: &'a str,
    /// Call-ID.
    pub call_id: &'a str,
    /// CSeq number.
    pub cseq: u32,
}

/// An OPTIONS request (section 11.1).
pub fn options(probe: Probe<'_>) -> Vec<u8> {
    let to = format!("<{}>", probe.uri);
    print(Draft {
        method: rsip::Method::Options,
        uri: probe.uri.as_bytes(),
        via: probe.via.as_bytes(),
        from: probe.from.as_bytes(),
        to: to.as_bytes(),
        call_id: probe.call_id.as_bytes(),
        cseq: probe.cseq,
    })
}

/// A PUBLISH that tells an event's state (RFC 3903).
#[derive(Clone, Copy, Debug)]
pub struct Publication<'a> {
    /// Request-URI.
    pub uri: &'a str,
    /// The edge's Via value.
    pub via: &'a str,
    /// From value with its tag.
    pub from: &'a str,
    /// Call-ID.
    pub call_id: &'a str,
    /// CSeq number.
    pub cseq: u32,
    /// The event package.
    pub event: &'a str,
    /// How long it holds.
    pub expires_secs: u32,
    /// What the body is.
    pub content_type: &'a str,
    /// The body.
    pub body: &'a [u8],
}

/// A PUBLISH request (RFC 3903 section 4).
pub fn publish(publication: Publication<'_>) -> Vec<u8> {
    use rsip::headers::{ContentType, Event, Expires};
    let to = format!("<{}>", publication.uri);
    let draft = Draft {
        method: rsip::Method::Publish,
        uri: publication.uri.as_bytes(),
        via: publication.via.as_bytes(),
        from: publication.from.as_bytes(),
        to: to.as_bytes(),
        call_id: publication.call_id.as_bytes(),
        cseq: publication.cseq,
    };
    let about = vec![
        Event::new(publication.event).into(),
        Expires::new(publication.expires_secs.to_string()).into(),
        ContentType::new(publication.content_type).into(),
    ];
    print_with(draft, about, publication.body)
}

/// The CANCEL of an INVITE that the edge forwarded: the same Request-URI, From, To, Call-ID and CSeq number, and
/// the very Via that the INVITE went out with (section 9.1).
pub fn cancel(uri: &[u8], invite: Request<'_>, via: &[u8]) -> Vec<u8> {
    print(from_message(rsip::Method::Cancel, uri, via, invite, 0))
}

/// The ACK to a failure that the edge swallowed (section 17.1.1.3): To is the failure's, with its tag.
pub fn ack_failure(invite_uri: &[u8], failure: Response<'_>, via: &[u8]) -> Vec<u8> {
    print(from_message(rsip::Method::Ack, invite_uri, via, failure, 0))
}

/// The ACK to a 2xx that nobody else will acknowledge (section 13.2.2.4). `None` when it names no usable Contact.
pub fn ack_success(success: Response<'_>, via: &[u8]) -> Option<Vec<u8>> {
    let contact = contact_uri(success)?;
    Some(print(from_message(rsip::Method::Ack, success.text(contact), via, success, 0)))
}

/// The BYE that follows such an ACK (section 15.1.1).
pub fn bye(success: Response<'_>, via: &[u8]) -> Option<Vec<u8>> {
    let contact = contact_uri(success)?;
    Some(print(from_message(rsip::Method::Bye, success.text(contact), via, success, 1)))
}

fn contact_uri(response: Response<'_>) -> Option<Span> {
    response.addresses(HeaderName::Contact).next().map(|(_, address)| address.uri)
}

struct Draft<'a> {
    method: rsip::Method,
    uri: &'a [u8],
    via: &'a [u8],
    from: &'a [u8],
    to: &'a [u8],
    call_id: &'a [u8],
    cseq: u32,
}

/// Takes the dialog's or transaction's identifiers from a message of it.
fn from_message<'a>(
    method: rsip::Method,
    uri: &'a [u8],
    via: &'a [u8],
    message: impl Message<'a>,
    cseq_step: u32,
) -> Draft<'a> {
    let value = |name| message.values(name).next().unwrap_or_default();
    Draft {
        method,
        uri,
        via,
        from: value(HeaderName::From),
        to: value(HeaderName::To),
        call_id: message.call_id(),
        cseq: message.cseq().map_or(0, |cseq| cseq.number) + cseq_step,
    }
}

fn print(draft: Draft<'_>) -> Vec<u8> {
    print_with(draft, Vec::new(), b"")
}

/// The same with more headers and a body.
fn print_with(draft: Draft<'_>, more: Vec<rsip::Header>, body: &[u8]) -> Vec<u8> {
    use rsip::headers::{CSeq, CallId, ContentLength, From, MaxForwards, To, Via};
    let cseq = rsip::typed::CSeq { seq: draft.cseq, method: draft.method };
    let mut headers: Vec<rsip::Header> = vec![
        Via::new(latin1(draft.via)).into(),
        MaxForwards::new("70").into(),
        From::new(latin1(&unfolded(draft.from))).into(),
        To::new(latin1(&unfolded(draft.to))).into(),
        CallId::new(latin1(draft.call_id)).into(),
        CSeq::from(cseq).into(),
    ];
    headers.extend(more);
    headers.push(ContentLength::new(body.len().to_string()).into());
    let request = rsip::Request {
        method: draft.method,
        uri: uri(draft.uri),
        version: rsip::Version::V2,
        headers: headers.into(),
        body: Vec::new(),
    };
    [&octets(&request.to_string()), body].concat()
}

/// rsip prints a URI's host as it is given when it is a domain, so the whole text goes there: its own URI type
/// knows neither IPv6 nor `tel:`.
fn uri(text: &[u8]) -> rsip::Uri {
    rsip::Uri {
        scheme: None,
        auth: None,
        host_with_port: rsip::HostWithPort { host: rsip::Host::Domain(latin1(text).into()), port: None },
        params: Vec::new(),
        headers: Vec::new(),
    }
}

/// A folded value on one line (section 7.3.1).
fn unfolded(value: &[u8]) -> Vec<u8> {
    value.iter().map(|b| if matches!(b, b'\r' | b'\n') { b' ' } else { *b }).collect()
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(*b)).collect()
}

fn octets(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::Method;
    use crate::sip::parse::{Framing, Index, Outcome, parse};

    const SUCCESS: &[u8] = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP e;branch=z9hG4bKx\r\nFrom: \"J\xe9r\" <sip:a@b>\r\n ;tag=1\r\n\
        To: <sip:100@[::1]>;tag=2\r\nCall-ID: c\xff@x\r\nCSeq: 7 INVITE\r\nContact: <sip:node@[::1]:5060;x=y>;q=1\r\nContent-Length: 0\r\n\r\n";

    fn with_success<T>(check: impl Fn(Response<'_>) -> T) -> T {
        let mut index = Index::new();
        let Outcome::Response(response) = parse(SUCCESS, Framing::Datagram, &mut index) else { panic!() };
        check(response)
    }

    #[track_caller]
    fn reparsed(bytes: &[u8], check: impl Fn(Request<'_>)) {
        let mut index = Index::new();
        match parse(bytes, Framing::Stream, &mut index) {
            Outcome::Request(request) => check(request),
            other => panic!("{other:?} {}", String::from_utf8_lossy(bytes)),
        }
    }

    #[test]
    fn octets_of_the_dialog_survive_the_string_based_builder() {
        let bye = with_success(|r| bye(r, b"SIP/2.0/UDP e;branch=z9hG4bKy").unwrap());
        reparsed(&bye, |request| {
            assert_eq!(request.method(), Method::Bye);
            assert_eq!(request.uri_text(), b"sip:node@[::1]:5060;x=y");
            assert_eq!(request.call_id(), b"c\xff@x");
            assert_eq!(request.cseq().map(|c| c.number), Some(8));
            assert!(request.values(HeaderName::From).next().unwrap().starts_with(b"\"J\xe9r\" <sip:a@b>"));
            assert_eq!((request.from_tag(), request.to_tag()), (&b"1"[..], Some(&b"2"[..])));
        });
    }

    #[test]
    fn an_ack_to_a_failure_has_the_invites_uri_and_number() {
        let ack = with_success(|r| ack_failure(b"tel:+123", r, b"SIP/2.0/UDP e;branch=z9hG4bKx"));
        reparsed(&ack, |request| {
            assert_eq!(request.method(), Method::Ack);
            assert_eq!(request.uri_text(), b"tel:+123");
            assert_eq!(request.cseq().map(|c| c.number), Some(7));
        });
    }

    #[test]
    fn a_probe_is_a_whole_request_without_a_user_in_its_uri() {
        let probe = Probe {
            uri: "sip:[2001:db8::1]:5060",
            via: "SIP/2.0/UDP [2001:db8::2]:5060;branch=z9hG4bKp;rport",
            from: "<sip:edge@[2001:db8::2]>;tag=t",
            call_id: "p1",
            cseq: 3,
        };
        reparsed(&options(probe), |request| {
            assert_eq!(request.method(), Method::Options);
            assert_eq!(request.uri().and_then(|uri| uri.user), None);
            assert_eq!(request.max_forwards(), Some(70));
        });
    }
}
