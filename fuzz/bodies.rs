//! What the fuzz targets do with their bytes. `tests/mutations.rs` runs the same bodies over mutated corpora, so that
//! they are part of every test run; `make fuzz` lets a coverage-guided fuzzer choose the bytes.

use cordboard::config::check;
use cordboard::sip::framing::{Frame, Framer};
use cordboard::sip::message::Message;
use cordboard::sip::parse::{Framing, Index, Outcome, parse};
use cordboard::sip::{HeaderName, Request, sdp, uri, values};

use super::harness::{self, Edge, GATEWAY, STRANGER};

/// Any bytes are read without harm, and what can be asked of a message can be asked of this one.
pub fn parsing(bytes: &[u8]) {
    for framing in [Framing::Datagram, Framing::Stream] {
        let mut index = Index::new();
        match parse(bytes, framing, &mut index) {
            Outcome::Request(request) => ask(request),
            Outcome::Refused(request, _) => ask(request),
            Outcome::Response(response) => {
                response.vias().count();
                values::retry_after_secs(response);
                values::q850_cause(response);
                values::session_expires_secs(response);
            }
            Outcome::Garbage(_) => {}
        }
    }
}

fn ask(request: Request<'_>) {
    request.vias().count();
    request.addresses(HeaderName::Route).count();
    request.addresses(HeaderName::Contact).count();
    let _ = (request.uri(), request.from_uri(), request.to_uri(), request.cseq(), sdp::direction(request.body()));
    values::option_tags(request, HeaderName::ProxyRequire).count();
    let _ = uri::parse(request.uri_text()).map(|uri| (uri.number(), uri.param(b"transport")));
}

/// Whatever arrives, what leaves is a legal message: one Via more toward the node, the same body, the same Call-ID.
pub fn forwarding(bytes: &[u8]) {
    let mut edge = Edge::with_nodes(2);
    for from in [GATEWAY, STRANGER, &harness::node(1)] {
        for sent in edge.receive_raw(from, bytes) {
            check_sent(bytes, &sent);
        }
    }
}

fn check_sent(received: &[u8], sent: &[u8]) {
    let (mut before, mut after) = (Index::new(), Index::new());
    let outcome = parse(sent, Framing::Datagram, &mut after);
    let shown = || String::from_utf8_lossy(sent).into_owned();
    match (parse(received, Framing::Datagram, &mut before), outcome) {
        (Outcome::Request(old), Outcome::Request(new)) => {
            assert_eq!(new.vias().count(), old.vias().count() + 1, "{}", shown());
            assert_eq!(new.body(), old.body(), "{}", shown());
            assert_eq!(new.call_id(), old.call_id(), "{}", shown());
            assert_eq!(new.method_name(), old.method_name(), "{}", shown());
            assert_eq!(new.max_forwards(), Some(old.max_forwards().map_or(70, |hops| hops - 1)), "{}", shown());
        }
        (_, Outcome::Response(answer)) => assert!(answer.status().code() >= 200, "{}", shown()),
        // What is broken in a part that answers copy leaves in an answer that is broken there too.
        (Outcome::Refused(..), _) => assert!(sent.starts_with(b"SIP/2.0 "), "{}", shown()),
        (_, other) => panic!("{other:?}: {}", shown()),
    }
}

/// A stream is cut in the same places however its bytes come.
pub fn framing(bytes: &[u8]) {
    let whole = frames(bytes, bytes.len().max(1));
    for step in [1, 7] {
        assert_eq!(frames(bytes, step), whole, "in steps of {step}");
    }
}

/// Messages and the end of a stream; keep-alives may be counted differently as they trickle in.
fn frames(stream: &[u8], step: usize) -> Vec<Frame> {
    let (mut framer, mut buffer, mut seen) = (Framer::default(), Vec::new(), Vec::new());
    for chunk in stream.chunks(step) {
        buffer.extend_from_slice(chunk);
        loop {
            let frame = if buffer.is_empty() { Frame::NeedMore } else { framer.next(&buffer, 2_000) };
            match frame {
                Frame::NeedMore => break,
                Frame::KeepAlive { len, .. } => drop(buffer.drain(..len)),
                Frame::Message(len) => {
                    seen.push(frame);
                    buffer.drain(..len);
                }
                Frame::Broken(_, fault) => {
                    // Where a head that never ends is cut depends on when it is looked at.
                    seen.push(Frame::Broken(0, fault));
                    return seen;
                }
            }
        }
    }
    seen
}

/// Any text is a configuration or a list of problems, twice the same.
pub fn configuring(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let environment = std::collections::BTreeMap::from([("SECRET".to_owned(), "a long enough secret".to_owned())]);
    let first = check(text, &environment).map_err(|problems| problems.to_string());
    let second = check(text, &environment).map_err(|problems| problems.to_string());
    assert_eq!(first, second);
}

/// Any sequence of things that happen keeps the books in order, and ends with nothing taken.
pub fn operations(bytes: &[u8]) {
    let mut edge = Edge::with_nodes(3);
    let mut calls = harness::Bunch::default();
    for pair in bytes.chunks_exact(2).take(400) {
        calls.step(&mut edge, pair[0], pair[1]);
    }
    edge.advance(std::time::Duration::from_secs(400));
    // Whatever is up now is up for good as far as the edge can know; only its time limit ends it.
    edge.advance_coarsely(std::time::Duration::from_secs(5 * 3_600));
    assert_eq!(edge.leases(3), [0, 0, 0]);
    assert_eq!(edge.remembered(), 0);
}
