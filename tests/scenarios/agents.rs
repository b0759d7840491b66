//! Calls to agents and from agents.

use std::time::Duration;

use cordboard::agents::reservation::Wanted;

use crate::harness::*;
use crate::registrar::{PHONE, Phone};

pub const DESK: &str = "198.51.100.77:5062";

/// An INVITE of a node for this user, as Asterisk sends it.
pub fn dial(user: &str, call_id: &str) -> String {
    let at = node(1);
    format!(
        "INVITE sip:{user}@pbx.example.com SIP/2.0\r\nVia: SIP/2.0/UDP {at};rport;branch=z9hG4bKPj{call_id}\r\n\
         Max-Forwards: 70\r\nFrom: \"PSTN Caller\" <sip:+15551234@pbx.example.com>;tag=n1\r\nTo: <sip:{user}@pbx.example.com>\r\n\
         Contact: <sip:node1@{at}>\r\nCall-ID: {call_id}\r\nCSeq: 25201 INVITE\r\nRoute: <sip:{EDGE};lr>\r\n\
         X-Edge-Queue: q700\r\nContent-Length: 0\r\n\r\n"
    )
}

pub fn registered(users: &[&'static str]) -> Edge {
    let mut edge = Edge::with_registrar();
    for user in users {
        let at = if *user == "1001" { PHONE } else { DESK };
        Phone::new(user, at).is_registered(&mut edge);
    }
    edge
}

#[test]
fn a_node_that_asks_for_an_agent_reaches_his_phone_where_it_registered_from() {
    let mut edge = registered(&["1001"]);
    let invite = only(edge.receive(&node(1), &dial("1001", "c1")));
    assert_eq!((invite.to.as_str(), invite.first_line()), (PHONE, "INVITE sip:1001@10.0.0.1:5060 SIP/2.0"));
    assert_eq!(invite.header("Route"), None);
    assert_eq!(edge.agent_leases(), 1);
    let ringing = only(edge.receive(PHONE, &invite.reply(180, "")));
    assert_eq!((ringing.to.as_str(), ringing.first_line()), (node(1).as_str(), "SIP/2.0 180 Whatever"));
    let ok = only(edge.receive(PHONE, &invite.reply(200, "")));
    assert_eq!(ok.to, node(1));
    let route = ok.header("Record-Route").unwrap().to_owned();
    let in_dialog = |method: &str, uri: &str, from: &str, to: &str, at: &str| {
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {at};rport;branch=z9hG4bK-{method}-{from}\r\nMax-Forwards: 70\r\n\
             From: <sip:x@pbx.example.com>;tag={from}\r\nTo: <sip:y@pbx.example.com>;tag={to}\r\nCall-ID: c1\r\nCSeq: 25202 {method}\r\n\
             Route: {route}\r\nContent-Length: 0\r\n\r\n"
        )
    };
    // Both ways: the node to the phone's flow, the phone to the node.
    let ack = only(edge.receive(&node(1), &in_dialog("ACK", "sip:1001@10.0.0.1:5060", "n1", "node", &node(1))));
    assert_eq!(ack.to, PHONE);
    let hold =
        only(edge.receive(PHONE, &in_dialog("INVITE", "sip:node1@127.0.0.11:5060", "node", "n1", "10.0.0.1:5060")));
    assert_eq!(hold.to, node(1));
    let bye = only(edge.receive(PHONE, &in_dialog("BYE", "sip:node1@127.0.0.11:5060", "node", "n1", "10.0.0.1:5060")));
    assert_eq!(bye.to, node(1));
    edge.receive(&node(1), &bye.reply(200, ""));
    assert_eq!(edge.agent_leases(), 0);
}

#[test]
fn an_agent_who_is_registered_nowhere_is_480_and_a_strangers_number_goes_to_the_gateways() {
    let mut edge = registered(&[]);
    let answer = only(edge.receive(&node(1), &dial("1001", "c1")));
    assert_eq!((answer.to.as_str(), answer.first_line()), (node(1).as_str(), "SIP/2.0 480 Temporarily Unavailable"));
    let out = only(edge.receive(&node(1), &dial("0301234", "c2")));
    assert_eq!(out.to, GATEWAY);
    assert_eq!(edge.agent_leases(), 0);
}

/// A door phone.
const DOOR: &str = "192.0.2.50:5060";

#[test]
fn a_phone_that_cannot_register_is_called_where_the_configuration_says_and_hangs_up() {
    let mut edge = Edge::with_registrar();
    edge.has_permanent("1999", DOOR, 500);
    let invite = only(edge.receive(&node(1), &dial("1999", "c1")));
    assert_eq!((invite.to.as_str(), invite.first_line()), (DOOR, "INVITE sip:1999@192.0.2.50:5060 SIP/2.0"));
    let ok = only(edge.receive(DOOR, &invite.reply(200, "")));
    let route = ok.header("Record-Route").unwrap();
    let bye = format!(
        "BYE sip:node1@127.0.0.11:5060 SIP/2.0\r\nVia: SIP/2.0/UDP {DOOR};branch=z9hG4bK-bye\r\nMax-Forwards: 70\r\n\
         From: <sip:1999@pbx.example.com>;tag=node\r\nTo: <sip:+15551234@pbx.example.com>;tag=n1\r\nCall-ID: c1\r\n\
         CSeq: 1 BYE\r\nRoute: {route}\r\nContent-Length: 0\r\n\r\n"
    );
    let bye = only(edge.receive(DOOR, &bye));
    assert_eq!(bye.to, node(1));
    edge.receive(&node(1), &bye.reply(200, ""));
    assert_eq!(edge.agent_leases(), 0);
}

#[test]
fn a_permanent_contact_stands_among_registered_ones_by_its_preference() {
    for (preference, first) in [(500, PHONE), (1_000, PHONE)] {
        let mut edge = registered(&["1001"]);
        edge.has_permanent("1001", DOOR, preference);
        assert_eq!(only(edge.receive(&node(1), &dial("1001", "c1"))).to, first, "{preference}");
    }
    let mut edge = Edge::with_registrar();
    let mut phone = Phone::new("1001", PHONE);
    phone.registers(&mut edge, "Contact: <sip:1001@10.0.0.1:5060>;q=0.5\r\nExpires: 600\r\n");
    edge.has_permanent("1001", DOOR, 600);
    assert_eq!(only(edge.receive(&node(1), &dial("1001", "c1"))).to, DOOR);
    phone.registers(&mut edge, "Contact: *\r\nExpires: 0\r\n");
    assert_eq!(only(edge.receive(&node(1), &dial("1001", "c2").replace("X-Edge-Queue: q700\r\n", ""))).to, DOOR);
}

#[test]
fn a_device_is_reached_by_its_gruu_alone() {
    let mut edge = Edge::with_registrar();
    let mut phone = Phone::new("1001", PHONE);
    let device = |number: u8| {
        format!(
            "Contact: <sip:1001@10.0.0.{number}>;+sip.instance=\"<urn:uuid:{number}>\"\r\nSupported: gruu\r\nExpires: 600\r\n"
        )
    };
    for number in [1, 2] {
        let granted = phone.registers(&mut edge, &device(number));
        let gruu = format!(";pub-gruu=\"sip:1001@pbx.example.com;gr=urn:uuid:{number}\"");
        assert!(granted.headers("Contact").any(|contact| contact.contains(&gruu)), "{}", granted.text);
    }
    let to = |call: &str, uri: &str| {
        dial("1001", call).replace("INVITE sip:1001@pbx.example.com ", &format!("INVITE {uri} "))
    };
    let invite = only(edge.receive(&node(1), &to("c1", "sip:1001@pbx.example.com;gr=urn:uuid:1")));
    assert_eq!(invite.first_line(), "INVITE sip:1001@10.0.0.1 SIP/2.0");
    let answer = only(edge.receive(&node(1), &to("c2", "sip:1001@pbx.example.com;gr=urn:uuid:3")));
    assert_eq!(answer.first_line(), "SIP/2.0 480 Temporarily Unavailable");
}

#[test]
fn a_silent_phone_is_followed_by_the_next_one() {
    let mut edge = Edge::with_registrar();
    let mut phone = Phone::new("1001", PHONE);
    phone.registers(&mut edge, "Contact: <sip:mobile@10.0.0.5>;q=0.5\r\nExpires: 600\r\n");
    phone.at = DESK;
    phone.registers(&mut edge, "Contact: <sip:desk@10.0.0.6>;q=1.0\r\nExpires: 600\r\n");
    let first = only(edge.receive(&node(1), &dial("1001", "c1")));
    assert_eq!((first.to.as_str(), first.first_line()), (DESK, "INVITE sip:desk@10.0.0.6 SIP/2.0"));
    let sent = edge.advance(Duration::from_millis(1_100));
    let second = sent.iter().find(|sent| sent.to == PHONE).expect("the next phone");
    assert_eq!(second.first_line(), "INVITE sip:mobile@10.0.0.5 SIP/2.0");
    assert_eq!(edge.agent_leases(), 1);
    let cancelled = sent.iter().any(|sent| sent.to == DESK && sent.first_line() == "CANCEL sip:desk@10.0.0.6 SIP/2.0");
    assert!(cancelled, "{sent:?}");
    let ok = edge.receive(PHONE, &second.reply(200, ""));
    assert!(ok.iter().any(|sent| sent.to == node(1) && sent.first_line().starts_with("SIP/2.0 200")));
}

#[test]
fn a_phone_that_nobody_listens_at_any_more_is_no_reason_to_wait() {
    let mut edge = registered(&["1001"]);
    only(edge.receive(&node(1), &dial("1001", "c1")));
    let answer = only(edge.refused(PHONE));
    assert_eq!(answer.to, node(1));
    assert_eq!(answer.first_line(), "SIP/2.0 480 Temporarily Unavailable");
    assert_eq!(edge.agent_leases(), 0);
}

#[test]
fn a_repeated_invite_goes_to_the_same_phone_with_the_same_branch() {
    let mut edge = registered(&["1001"]);
    let first = only(edge.receive(&node(1), &dial("1001", "c1")));
    let again = only(edge.receive(&node(1), &dial("1001", "c1")));
    assert_eq!(first, again);
    assert_eq!(edge.agent_leases(), 1);
}

#[test]
fn an_invite_of_another_transaction_for_a_call_that_is_open_opens_no_second_one() {
    for is_answered in [false, true] {
        let mut edge = registered(&["1001"]);
        let first = only(edge.receive(&node(1), &dial("1001", "c1")));
        edge.receive(PHONE, &first.reply(180, ""));
        if is_answered {
            edge.receive(PHONE, &first.reply(200, ""));
        }
        let others = dial("1001", "c1").replace("z9hG4bKPjc1", "z9hG4bKother").replace("25201 INVITE", "25202 INVITE");
        let second = only(edge.receive(&node(1), &others));
        assert_eq!((second.to.as_str(), edge.agent_leases()), (PHONE, 1), "the phone judges it, and it takes no place");
        assert_ne!(second.branch(), first.branch());
        edge.receive(PHONE, &second.reply(482, ""));
        assert_eq!(edge.agent_leases(), 1, "what becomes of it is nothing to the call");
        let busy = dial("1001", "c2").replace(&node(1), &node(2));
        assert_eq!(only(edge.receive(&node(2), &busy)).first_line(), "SIP/2.0 486 Busy Here");

        // The call goes on and ends as it would have.
        let ok = only(edge.receive(PHONE, &first.reply(200, "")));
        let route = ok.header("Record-Route").unwrap();
        let bye = only(edge.receive(PHONE, &offers(&first, route, "BYE", 2, "")));
        edge.receive(&node(1), &bye.reply(200, ""));
        assert_eq!(edge.agent_leases(), 0);
        assert_eq!(only(edge.receive(&node(1), &dial("1001", "c3"))).to, PHONE, "he is free");
    }
}

#[test]
fn a_cancelled_call_is_cancelled_at_the_phone() {
    let mut edge = registered(&["1001"]);
    let invite = only(edge.receive(&node(1), &dial("1001", "c1")));
    edge.receive(PHONE, &invite.reply(180, ""));
    let cancel = dial("1001", "c1").replace("INVITE sip", "CANCEL sip").replace("25201 INVITE", "25201 CANCEL");
    let sent = edge.receive(&node(1), &cancel);
    let own = sent.iter().find(|sent| sent.to == PHONE).expect("a CANCEL for the phone");
    assert_eq!(own.first_line(), "CANCEL sip:1001@10.0.0.1:5060 SIP/2.0");
    assert_eq!(own.branch(), invite.branch());
}

/// An INVITE of a phone.
pub fn call_out(phone: &Phone, cseq: u32, lines: &str) -> String {
    let user = phone.user;
    format!(
        "INVITE sip:700@pbx.example.com SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;rport;branch=z9hG4bK-out-{cseq}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:{user}@pbx.example.com>;tag=p\r\nTo: <sip:700@pbx.example.com>\r\nCall-ID: out\r\n\
         CSeq: {cseq} INVITE\r\nContact: <{}>\r\nP-Asserted-Identity: <sip:boss@pbx.example.com>\r\n\
         P-Preferred-Identity: <sip:boss@pbx.example.com>\r\nX-Edge-Agent: boss\r\nUser-Agent: a phone with a name of usual length 1.2.3\r\n\
         {lines}Content-Length: 0\r\n\r\n",
        phone.contact()
    )
}

#[test]
fn an_agents_own_call_is_proven_and_the_node_hears_who_he_is() {
    let mut edge = registered(&["1001"]);
    let mut phone = Phone::new("1001", PHONE);
    let challenge = only(edge.receive(PHONE, &call_out(&phone, 1, "")));
    assert_eq!(challenge.first_line(), "SIP/2.0 407 Proxy Authentication Required");
    let proof = phone.proof(&challenge, "INVITE", "sip:700@pbx.example.com");
    let text = call_out(&phone, 2, &proof);
    let invite = only(edge.receive(PHONE, &text));
    assert!(invite.to == node(1) || invite.to == node(2));
    let said: Vec<&str> = invite.headers("P-Asserted-Identity").collect();
    assert_eq!(said, ["<sip:1001@pbx.example.com>"]);
    assert_eq!((invite.header("P-Preferred-Identity"), invite.header("Proxy-Authorization")), (None, None));
    assert_eq!(invite.headers("X-Edge-Agent").collect::<Vec<_>>(), ["1001"], "whatever the phone says of itself");
    // The phone repeats it: the same call, no second challenge.
    assert_eq!(only(edge.receive(PHONE, &text)), invite);
    // The node it was given to says nothing: the next one hears the same of the caller.
    let at = invite.to.clone();
    let next = edge.advance(Duration::from_millis(1_100)).into_iter().find(|sent| sent.to != at && sent.to != PHONE);
    let next = next.expect("the other node");
    let said: Vec<&str> = next.headers("P-Asserted-Identity").collect();
    assert_eq!(said, ["<sip:1001@pbx.example.com>"]);
    assert_eq!(next.header("Proxy-Authorization"), None);
}

#[test]
fn a_phone_with_a_wrong_password_calls_nobody() {
    let mut edge = registered(&["1001"]);
    let mut phone = Phone { password: "guess", ..Phone::new("1001", PHONE) };
    let challenge = only(edge.receive(PHONE, &call_out(&phone, 1, "")));
    let proof = phone.proof(&challenge, "INVITE", "sip:700@pbx.example.com");
    let answer = only(edge.receive(PHONE, &call_out(&phone, 2, &proof)));
    assert_eq!(answer.first_line(), "SIP/2.0 407 Proxy Authentication Required");
    assert_eq!(edge.leases(2), [0, 0]);
}

#[test]
fn two_queues_that_want_one_agent_at_the_same_moment_ring_him_once() {
    let mut edge = registered(&["1001"]);
    let first = only(edge.receive(&node(1), &dial("1001", "c1")));
    assert_eq!(first.to, PHONE);
    let other = dial("1001", "c2").replace(&node(1), &node(2));
    let refused = only(edge.receive(&node(2), &other));
    assert_eq!((refused.to.as_str(), refused.first_line()), (node(2).as_str(), "SIP/2.0 486 Busy Here"));
    assert_eq!(edge.agent_leases(), 1);
    // Somebody who calls him himself may wait for him.
    let direct = dial("1001", "c3").replace("X-Edge-Queue: q700\r\n", "");
    assert_eq!(only(edge.receive(&node(1), &direct)).to, PHONE);
}

/// A request of the agent's inside the call that `invite` began, with this body.
fn offers(invite: &Sent, route: &str, method: &str, cseq: u32, body: &str) -> String {
    let (from, to) = (invite.header("To").unwrap(), invite.header("From").unwrap());
    format!(
        "{method} sip:node1@127.0.0.11:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;rport;branch=z9hG4bK-{method}{cseq}\r\n\
         Max-Forwards: 70\r\nFrom: {from};tag=node\r\nTo: {to}\r\nCall-ID: c1\r\nCSeq: {cseq} {method}\r\nRoute: {route}\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

const TALK: &str = "v=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 4000 RTP/AVP 8\r\na=sendrecv\r\n";

fn holds(edge: &Edge) -> bool {
    edge.with_shard(|shard| shard.iter().any(|lease| lease.hold.is_held))
}

#[test]
fn an_agent_holds_his_call_once_the_node_has_taken_it_and_until_he_takes_it_back() {
    let mut edge = registered(&["1001"]);
    let invite = only(edge.receive(&node(1), &dial("1001", "c1")));
    let ok = only(edge.receive(PHONE, &invite.reply(200, "")));
    let route = ok.header("Record-Route").unwrap().to_owned();
    let held = [TALK.replace("sendrecv", "sendonly"), TALK.replace("10.0.0.1", "0.0.0.0")];
    for (number, (method, body)) in ["INVITE", "UPDATE"].into_iter().zip(&held).enumerate() {
        let cseq = 10 * number as u32;
        let hold = only(edge.receive(PHONE, &offers(&invite, &route, method, cseq + 1, body)));
        assert_eq!(hold.to, node(1));
        edge.receive(&node(1), &hold.reply(180, ""));
        assert!(!holds(&edge), "{method} is not answered");
        edge.receive(&node(1), &hold.reply(488, ""));
        assert!(!holds(&edge), "{method} was refused");
        let hold = only(edge.receive(PHONE, &offers(&invite, &route, method, cseq + 2, body)));
        edge.receive(&node(1), &hold.reply(200, ""));
        assert!(holds(&edge), "{method}");
        // A refresh without a description changes nothing, and what answers an earlier offer neither.
        let refresh = only(edge.receive(PHONE, &offers(&invite, &route, method, cseq + 3, "")));
        edge.receive(&node(1), &refresh.reply(200, ""));
        let back = only(edge.receive(PHONE, &offers(&invite, &route, method, cseq + 4, TALK)));
        edge.receive(&node(1), &hold.reply(200, ""));
        assert!(holds(&edge), "{method}");
        edge.receive(&node(1), &back.reply(200, ""));
        assert!(!holds(&edge), "{method}");
    }
}

#[test]
fn that_the_other_side_holds_an_agent_does_not_put_him_on_hold_and_what_he_holds_survives_a_restart() {
    let mut edge = registered(&["1001"]);
    let invite = only(edge.receive(&node(1), &dial("1001", "c1")));
    let ok = only(edge.receive(PHONE, &invite.reply(200, "")));
    let route = ok.header("Record-Route").unwrap().to_owned();
    let body = TALK.replace("sendrecv", "inactive");
    let own = offers(&invite, &route, "INVITE", 2, &body);
    let (from, to) = (invite.header("From").unwrap(), invite.header("To").unwrap());
    let others = own
        .replace(&format!("From: {to};tag=node"), &format!("From: {from}"))
        .replace(&format!("\r\nTo: {from}"), &format!("\r\nTo: {to};tag=node"));
    let others = only(edge.receive(&node(1), &others));
    assert_eq!(others.to, PHONE);
    edge.receive(PHONE, &others.reply(200, ""));
    assert!(!holds(&edge));
    let hold = only(edge.receive(PHONE, &own));
    // The node's own re-INVITE has the same number, and its answer is another one.
    edge.receive(PHONE, &others.reply(200, ""));
    assert!(!holds(&edge));
    edge.receive(&node(1), &hold.reply(200, ""));
    assert!(holds(&edge));
    edge.restart(2);
    assert!(holds(&edge));
    let queue = edge.with_shard(|shard| shard.iter().next().unwrap().queue.clone());
    assert_eq!(queue.as_deref(), Some(&b"q700"[..]), "and which queue he wraps up after");
}

#[test]
fn an_agent_who_is_reserved_is_rung_by_the_call_that_shows_it_and_by_no_other_queues() {
    let mut edge = registered(&["1001"]);
    let wanted = Wanted { skills: &[], queue: None, hold: Duration::from_secs(10), token: 0xbeef };
    let now = edge.now;
    let reserved = edge.registered().with_book(|book| book.reserve(wanted, now));
    assert_eq!(reserved.unwrap().as_bytes(), b"1001");
    let refused = only(edge.receive(&node(2), &dial("1001", "c1").replace(&node(1), &node(2))));
    assert_eq!(refused.first_line(), "SIP/2.0 486 Busy Here");
    let shown = "X-Edge-Reservation: 000000000000beef\r\n";
    let wrong = dial("1001", "c2").replace("X-Edge-Queue", &format!("{}X-Edge-Queue", shown.replace('b', "a")));
    assert_eq!(only(edge.receive(&node(1), &wrong)).first_line(), "SIP/2.0 486 Busy Here");
    let right = dial("1001", "c3").replace("X-Edge-Queue: q700\r\n", shown);
    let invite = only(edge.receive(&node(1), &right));
    assert_eq!((invite.to.as_str(), invite.header("X-Edge-Reservation")), (PHONE, None));
    assert_eq!(
        only(edge.receive(&node(1), &right.replace("c3", "c4").replace("X-Edge-R", "X-Edge-Queue: q\r\nX-Edge-R")))
            .first_line(),
        "SIP/2.0 486 Busy Here",
        "it holds once"
    );
}

#[test]
fn the_phones_of_an_office_are_heard_though_they_come_from_one_unknown_address() {
    let mut edge = registered(&["1001"]);
    edge.farm.security.stranger_rate = 5;
    let calls: Vec<String> = (0..20).map(|number| format!("c{number}")).collect();
    let mut answered = 0;
    for call in &calls {
        let direct = dial("1001", call).replace("X-Edge-Queue: q700\r\n", "");
        let invite = only(edge.receive(&node(1), &direct));
        edge.receive(PHONE, &invite.reply(180, ""));
        answered += edge.receive(PHONE, &invite.reply(200, "")).len();
    }
    assert_eq!(answered, calls.len());

    let mut phone = Phone::new("1001", PHONE);
    for number in 0..20 {
        let challenge = only(edge.receive(PHONE, &call_out(&phone, 2 * number + 1, "")));
        let proof = phone.proof(&challenge, "INVITE", "sip:700@pbx.example.com");
        let text = call_out(&phone, 2 * number + 2, &proof).replace("Call-ID: out", &format!("Call-ID: out{number}"));
        assert_eq!(edge.receive(PHONE, &text).len(), 1, "call {number}");
        edge.advance(Duration::from_millis(200));
    }
    let heard = (100..200).filter(|number| !edge.receive(PHONE, &call_out(&phone, *number, "")).is_empty()).count();
    assert!(heard <= 5, "what is not proven counts: {heard}");
}
