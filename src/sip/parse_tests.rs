//! The parser's promises, one sentence each.

use super::*;
use crate::sip::message::Message;

const GOOD: &str = "INVITE sip:100@pbx SIP/2.0\r\nVia: SIP/2.0/UDP gw:5062;branch=z9hG4bKa;rport\r\nMax-Forwards: 70\r\n\
                    From: \"x\" <sip:+1@gw>;tag=f\r\nTo: <sip:100@pbx>\r\nCall-ID: c@gw\r\nCSeq: 1 INVITE\r\nContent-Length: 4\r\n\r\nbody";

enum Read {
    Message,
    Refused(Fault),
    Garbage(Fault),
}

impl std::fmt::Debug for Read {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Read::Message => write!(f, "message"),
            Read::Refused(fault) => write!(f, "refused {}", fault.as_str()),
            Read::Garbage(fault) => write!(f, "garbage {}", fault.as_str()),
        }
    }
}

fn read(bytes: &[u8]) -> Read {
    match parse(bytes, Framing::Datagram, &mut Index::new()) {
        Outcome::Request(_) | Outcome::Response(_) => Read::Message,
        Outcome::Refused(_, fault) => Read::Refused(fault),
        Outcome::Garbage(fault) => Read::Garbage(fault),
    }
}

fn with(from: &str, to: &str) -> Vec<u8> {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1).into_bytes()
}

#[track_caller]
fn refused(bytes: &[u8], fault: Fault) {
    let read = read(bytes);
    assert!(matches!(read, Read::Refused(found) if found == fault), "{read:?} instead of refused {}", fault.as_str());
}

#[track_caller]
fn accepted(bytes: &[u8]) {
    let read = read(bytes);
    assert!(matches!(read, Read::Message), "{read:?}");
}

#[test]
fn routing_headers_are_found_whatever_their_form() {
    let text = "INVITE tel:+123 SIP/2.0\r\nv: SIP/2.0/UDP gw\r\n ;branch=z9hG4bKa , SIP/2.0/TCP b\r\nf: sip:a@b;tag=1\r\n\
                t : <sip:x>\r\ni:c\r\nCSEQ: 00007\r\n\tINVITE\r\nl: 0\r\n\r\n";
    let mut index = Index::new();
    let Outcome::Request(request) = parse(text.as_bytes(), Framing::Datagram, &mut index) else {
        panic!("not a request")
    };
    assert_eq!(request.method(), Method::Invite);
    assert_eq!(request.call_id(), b"c");
    assert_eq!(request.from_tag(), b"1");
    assert_eq!(request.to_tag(), None);
    assert_eq!(request.cseq().map(|c| c.number), Some(7));
    assert_eq!(request.vias().count(), 2);
    assert_eq!(request.via().and_then(|v| v.branch).map(|b| request.text(b)), Some(&b"z9hG4bKa"[..]));
}

#[test]
fn line_feeds_alone_and_line_ends_before_the_start_are_accepted() {
    accepted(GOOD.as_bytes());
    accepted(GOOD.replace("\r\n", "\n").as_bytes());
    accepted(format!("\r\n\r\n{GOOD}").as_bytes());
}

#[test]
fn bytes_of_any_charset_are_proper_input_in_headers_and_bodies() {
    let mut bytes = with("\"x\"", "\"J\u{e9}r\"");
    bytes.extend_from_slice(b"\0\xff\xfe");
    let at = bytes.windows(4).position(|w| w == b"body").unwrap();
    bytes[at] = 0;
    accepted(&bytes);
}

#[test]
fn a_header_name_is_a_token_and_then_only_blanks_before_the_colon() {
    accepted(&with("To:", "To \t:"));
    for name in ["To\u{1}:", "To\u{a0}:", "T o:", ":", "To", "To\\:", "\"To\":"] {
        refused(&with("To:", name), Fault::HeaderName);
    }
}

#[test]
fn a_carriage_return_alone_or_a_nul_is_never_let_through() {
    refused(&with("c@gw", "c@gw\rRoute: <sip:evil>"), Fault::BareCr);
    refused(&with("c@gw", "c@\0gw"), Fault::Nul);
    accepted(&with("\"x\"", "\"NUL:\\\0\""));
    for phrase in ["O\0K", &"O\0K".repeat(40)] {
        let text = format!(
            "SIP/2.0 200 {phrase}\r\nVia: SIP/2.0/UDP a\r\nFrom: <sip:a>\r\nTo: <sip:b>\r\nCall-ID: c\r\nCSeq: 1 BYE\r\n\r\n"
        );
        let read = read(text.as_bytes());
        assert!(matches!(read, Read::Garbage(Fault::Nul)), "{read:?}");
    }
}

#[test]
fn a_field_that_stands_twice_must_say_the_same_twice() {
    for (name, other) in [
        ("To: <sip:100@pbx>", "t: <sip:101@pbx>"),
        ("From: \"x\" <sip:+1@gw>;tag=f", "f: <sip:+1@gw>;tag=g"),
        ("Call-ID: c@gw", "i: d"),
        ("CSeq: 1 INVITE", "cseq: 2 INVITE"),
        ("Max-Forwards: 70", "Max-Forwards: 69"),
        ("Content-Length: 4", "l: 3"),
    ] {
        accepted(&with(name, &format!("{name}\r\n{name}")));
        refused(&with(name, &format!("{name}\r\n{other}")), Fault::Contradiction);
    }
}

#[test]
fn numbers_beyond_their_range_are_refused_and_never_wrap() {
    for length in ["-1", "4294967328", "18446744073709551617", "0x4", "", "+4", "4 4", "65536"] {
        refused(&with("Length: 4", &format!("Length: {length}")), Fault::ContentLength);
    }
    refused(&with("Length: 4", "Length: 5"), Fault::BodyCut);
    for hops in ["256", "-1", "abc", ""] {
        refused(&with("Forwards: 70", &format!("Forwards: {hops}")), Fault::MaxForwards);
    }
    accepted(&with("CSeq: 1 ", "CSeq: 2147483647 "));
    for cseq in
        ["2147483648 INVITE", "36893488147419103232 INVITE", "INVITE", "x INVITE", "1 INVITE x", "1", "-1 INVITE"]
    {
        refused(&with("CSeq: 1 INVITE", &format!("CSeq: {cseq}")), Fault::CSeq);
    }
    refused(&with("CSeq: 1 INVITE", "CSeq: 1 BYE"), Fault::CSeqMethod);
}

#[test]
fn the_body_ends_where_content_length_says() {
    let mut index = Index::new();
    let longer = format!("{GOOD}trailing");
    let Outcome::Request(request) = parse(longer.as_bytes(), Framing::Datagram, &mut index) else { panic!() };
    assert_eq!(request.body(), b"body");
    let unsaid = GOOD.replace("Content-Length: 4\r\n", "");
    let Outcome::Request(request) = parse(unsaid.as_bytes(), Framing::Datagram, &mut index) else { panic!() };
    assert_eq!(request.body(), b"body");
    assert!(matches!(
        parse(unsaid.as_bytes(), Framing::Stream, &mut index),
        Outcome::Refused(_, Fault::ContentLengthMissing)
    ));
}

#[test]
fn a_request_line_has_single_blanks_and_a_plain_uri() {
    for line in [
        "INVITE  sip:100@pbx SIP/2.0",
        "INVITE sip:100@pbx  SIP/2.0",
        "INVITE sip:100@pbx SIP/2.0  ",
        "INVITE\tsip:100@pbx SIP/2.0",
        "INVITE sip:100@pbx; lr SIP/2.0",
        "INVITE SIP/2.0",
        "INV ITE sip:100@pbx SIP/2.0",
    ] {
        refused(&with("INVITE sip:100@pbx SIP/2.0", line), Fault::RequestLine);
    }
    refused(&with("sip:100@pbx", "<sip:100@pbx>"), Fault::RequestUri);
    refused(&with("sip:100@pbx", "sip:100@pbx?Route=%3Csip:x%3E"), Fault::RequestUriHeaders);
    refused(&with("SIP/2.0", "SIP/7.0"), Fault::Version);
    accepted(&with("SIP/2.0", "sip/2.0"));
}

#[test]
fn what_cannot_be_answered_is_garbage() {
    for text in [
        "",
        "\r\n\r\n",
        "\r",
        "x",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "SIP/2.0 99 x\r\n\r\n",
        "SIP/2.0 700 x\r\n\r\n",
        "SIP/2.0 200\r\n\r\n",
        " SIP/2.0\r\n\r\n",
    ] {
        let read = read(text.as_bytes());
        assert!(matches!(read, Read::Garbage(_)), "{text:?}: {read:?}");
    }
    assert!(matches!(
        read(&with("Via: SIP/2.0/UDP gw:5062;branch=z9hG4bKa;rport\r\n", "")),
        Read::Garbage(Fault::ViaMissing)
    ));
    assert!(matches!(read(&with("UDP gw:5062", "UDP ::::::")), Read::Garbage(Fault::Via)));
}

#[test]
fn a_message_without_its_empty_line_or_with_too_many_headers_is_refused() {
    refused(&with("Content-Length: 4\r\n\r\nbody", "Content-Length: 0\r\n"), Fault::Unfinished);
    refused(&with("Max-Forwards: 70\r\n", &"X: y\r\n".repeat(HEADERS_MAX)), Fault::TooManyHeaders);
}
