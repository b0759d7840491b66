//! Exact outcomes of REGISTER requests.

use super::*;
use crate::sip::parse::{Framing, Index, Outcome, parse};
use crate::transport::flow::{ListenerId, Protocol};

const PHONE: &str = "192.0.2.31:5060";

fn at(secs: u64) -> Moment {
    Moment::from_micros(secs * 1_000_000)
}

fn arrival(remote: &str, secs: u64) -> Arrival {
    let flow =
        Flow { listener: ListenerId(1), protocol: Protocol::Udp, remote: remote.parse().unwrap(), connection: None };
    Arrival { flow, now: at(secs) }
}

/// One REGISTER with these lines.
struct Say<'a> {
    lines: &'a str,
    call_id: &'a str,
    cseq: u32,
    secs: u64,
}

fn say(lines: &str) -> Say<'_> {
    Say { lines, call_id: "reg", cseq: 1, secs: 100 }
}

impl Say<'_> {
    fn with<T>(&self, act: impl FnOnce(Request<'_>) -> T) -> T {
        let text = format!(
            "REGISTER sip:pbx SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa\r\nFrom: <sip:1001@pbx>;tag=1\r\n\
             To: <sip:1001@pbx>\r\nCall-ID: {}\r\nCSeq: {} REGISTER\r\n{}\r\n",
            self.call_id, self.cseq, self.lines
        );
        let mut index = Index::new();
        match parse(text.as_bytes(), Framing::Datagram, &mut index) {
            Outcome::Request(request) => act(request),
            other => panic!("{other:?}"),
        }
    }

    fn to(&self, held: &[Binding]) -> Result<Plan, Refusal> {
        let keys = Keys::derive(b"farm");
        self.with(|request| plan(request, arrival(PHONE, self.secs), &Terms::default(), &keys, held))
    }
}

fn bindings(lines: &str) -> Vec<Binding> {
    say(lines).to(&[]).unwrap().bindings
}

fn contacts(bindings: &[Binding]) -> Vec<String> {
    bindings.iter().map(|b| String::from_utf8_lossy(b.contact()).into_owned()).collect()
}

fn secs_left(binding: &Binding, now: u64) -> u64 {
    binding.expires.since(at(now)).as_secs()
}

#[test]
fn a_contact_is_held_where_the_request_came_from_for_as_long_as_was_agreed() {
    let held = bindings("Contact: <sip:1001@10.0.0.1:5060>;expires=600\r\n");
    assert_eq!(contacts(&held), ["sip:1001@10.0.0.1:5060"]);
    assert_eq!(held[0].flow.remote.to_string(), PHONE);
    assert!((540..=600).contains(&secs_left(&held[0], 100)));
}

#[test]
fn the_time_is_the_contacts_then_the_headers_then_the_default() {
    let terms = Terms::default();
    for (lines, most) in [
        ("Contact: <sip:a@b>;expires=120\r\nExpires: 900\r\n", 120),
        ("Contact: <sip:a@b>\r\nExpires: 900\r\n", 900),
        ("Contact: <sip:a@b>;expires=soon\r\nExpires: 900\r\n", 900),
        ("Contact: <sip:a@b>\r\nExpires: soon\r\n", terms.expires_default.as_secs()),
        ("Contact: <sip:a@b>\r\n", terms.expires_default.as_secs()),
        ("Contact: <sip:a@b>;expires=99999999999999999999\r\n", 300),
        ("Contact: <sip:a@b>;expires=4294967295\r\n", terms.expires_max.as_secs()),
    ] {
        let left = secs_left(&bindings(lines)[0], 100);
        assert!(left <= most && left >= most - most / 10, "{lines} {left}");
    }
}

#[test]
fn less_than_the_least_is_refused_and_the_least_is_granted_in_full() {
    assert_eq!(say("Contact: <sip:a@b>;expires=59\r\n").to(&[]), Err(Refusal::TooBrief));
    assert_eq!(secs_left(&bindings("Contact: <sip:a@b>;expires=60\r\n")[0], 100), 60);
}

#[test]
fn the_grant_is_spread_and_a_repetition_gets_the_same() {
    let grant = |cseq| {
        let said = Say { cseq, ..say("Contact: <sip:a@b>;expires=1000\r\n") };
        secs_left(&said.to(&[]).unwrap().bindings[0], 100)
    };
    let grants: std::collections::BTreeSet<u64> = (1..200).map(grant).collect();
    assert!(grants.len() > 60, "{grants:?}");
    assert_eq!(grant(7), grant(7));
}

#[test]
fn a_refresh_replaces_and_zero_removes() {
    let first = bindings("Contact: <sip:a@b>, <sip:c@d>;q=0.5\r\n");
    assert_eq!(contacts(&first), ["sip:a@b", "sip:c@d"]);
    let again = Say { cseq: 2, secs: 150, ..say("Contact: <sip:a@B>\r\n") }.to(&first).unwrap();
    assert_eq!(again.changes, Changes { refreshed: 1, ..Changes::default() });
    assert_eq!(contacts(&again.bindings), ["sip:a@B", "sip:c@d"]);
    let gone = Say { cseq: 3, ..say("Contact: <sip:a@b>;expires=0\r\n") }.to(&again.bindings).unwrap();
    assert_eq!(contacts(&gone.bindings), ["sip:c@d"]);
    let none = Say { cseq: 4, ..say("Contact: *\r\nExpires: 0\r\n") }.to(&gone.bindings).unwrap();
    assert_eq!((none.bindings.len(), none.changes.removed), (0, 1));
}

#[test]
fn a_fetch_changes_nothing() {
    let held = bindings("Contact: <sip:a@b>\r\n");
    let fetched = say("").to(&held).unwrap();
    assert!(fetched.changes.is_none());
    assert_eq!(fetched.bindings, held);
}

#[test]
fn an_older_request_of_the_same_series_changes_nothing_and_a_repetition_is_welcome() {
    let held = Say { cseq: 5, ..say("Contact: <sip:a@b>\r\n") }.to(&[]).unwrap().bindings;
    for lines in ["Contact: <sip:a@b>;expires=0\r\n", "Contact: *\r\nExpires: 0\r\n"] {
        assert_eq!(Say { cseq: 4, ..say(lines) }.to(&held), Err(Refusal::OutOfOrder), "{lines}");
    }
    assert_eq!(Say { cseq: 5, ..say("Contact: <sip:a@b>\r\n") }.to(&held).unwrap().bindings, held);
    // Another series, after a restart of the phone.
    assert!(Say { cseq: 1, call_id: "new", ..say("Contact: <sip:a@b>\r\n") }.to(&held).is_ok());
}

#[test]
fn a_wildcard_stands_alone_and_says_zero() {
    for lines in [
        "Contact: *\r\n",
        "Contact: *\r\nExpires: 60\r\n",
        "Contact: *\r\nContact: <sip:a@b>\r\nExpires: 0\r\n",
        "Contact: *\r\nExpires: soon\r\n",
    ] {
        assert_eq!(say(lines).to(&[]), Err(Refusal::BadWildcard), "{lines}");
    }
}

#[test]
fn contacts_that_could_do_harm_are_refused() {
    for lines in [
        "Contact: <sip:a@b?Route=x>\r\n",
        "Contact: <sip:a@b?>\r\n",
        "Contact: <tel:+123>\r\n",
        "Contact: <http://b/>\r\n",
        "Contact: <sip:a@b>;q=2\r\n",
        "Contact: <sip:a@b>, <sip:\r\n",
        "Contact: <sip:a@b> x\r\n",
        "Contact: <sip:a@b>,\r\n",
        "Contact: <sip:a@b>\r\nPath: nonsense\r\n",
        "Contact: <sip:a@b>\r\nPath: <sip:p;lr>,\r\n",
    ] {
        assert_eq!(say(lines).to(&[]), Err(Refusal::Malformed), "{lines}");
    }
    let long = format!("Contact: <sip:{}@b>\r\n", "a".repeat(CONTACT_LEN_MAX));
    assert_eq!(say(&long).to(&[]), Err(Refusal::Malformed));
    let many = (0..17).map(|n| format!("Contact: <sip:a{n}@b>\r\n")).collect::<String>();
    assert_eq!(say(&many).to(&[]), Err(Refusal::TooManyContacts));
}

#[test]
fn a_phone_that_changes_its_port_for_ever_keeps_to_its_bound() {
    let mut held = Vec::new();
    for n in 0..20 {
        let lines = format!("Contact: <sip:a@b:{}>\r\n", 5_000 + n);
        let said = Say { cseq: n, secs: 100 + u64::from(n), ..say(&lines) };
        held = said.to(&held).unwrap().bindings;
    }
    assert_eq!(contacts(&held), [19, 18, 17, 16, 15].map(|n| format!("sip:a@b:{}", 5_000 + n)));
}

#[test]
fn a_device_is_known_by_its_instance_and_flow_number() {
    const LINE: &str = "Contact: <sip:a@b:1>;+sip.instance=\"<urn:uuid:1>\";reg-id=1\r\n";
    let held = bindings(LINE);
    let moved = Say { cseq: 2, ..say(&LINE.replace("b:1", "b:2")) }.to(&held).unwrap();
    assert_eq!(contacts(&moved.bindings), ["sip:a@b:2"]);
    let second = LINE.replace("b:1", "b:3").replace("reg-id=1", "reg-id=2");
    let both = Say { cseq: 3, ..say(&second) }.to(&moved.bindings).unwrap();
    assert_eq!(both.bindings.len(), 2);
}

#[test]
fn what_has_run_out_is_not_there_any_more() {
    let held = bindings("Contact: <sip:a@b>;expires=60\r\n");
    assert_eq!(Say { secs: 161, cseq: 2, ..say("") }.to(&held).unwrap().bindings, []);
}

#[test]
fn the_answer_names_every_binding_with_what_is_left_of_it() {
    const LINES: &str = "Contact: <sip:a@b>;expires=60;+sip.instance=\"<urn:uuid:1>\";reg-id=1\r\n\
        Contact: <sip:c@d>;expires=60;q=0.25\r\nSupported: gruu, outbound, path\r\nPath: <sip:p1;lr>\r\nPath: <sip:p2;lr>\r\n";
    let held = bindings(LINES);
    let mut text = Vec::new();
    say(LINES).with(|request| write_answer(&mut text, request, &held, at(100), Some(b"pbx.example")));
    assert_eq!(
        String::from_utf8(text).unwrap(),
        "Contact: <sip:a@b>;expires=60;+sip.instance=\"<urn:uuid:1>\";reg-id=1;pub-gruu=\"sip:1001@pbx.example;gr=urn:uuid:1\"\r\n\
         Contact: <sip:c@d>;expires=60;q=0.250\r\n\
         Path: <sip:p1;lr>, <sip:p2;lr>\r\nRequire: outbound\r\nSupported: path, outbound, gruu\r\n"
    );
}
