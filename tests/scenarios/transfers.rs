//! Calls that belong together: the next call of an agent who has one, and one node's call that replaces another node's.

use std::sync::Arc;
use std::time::Duration;

use cordboard::calls::history::Choice;
use cordboard::dispatch::health::Verdict;
use cordboard::dispatch::node::Admin;
use cordboard::proxy::Event;

use crate::agents::{DESK, call_out, dial, registered};
use crate::harness::*;
use crate::registrar::{PHONE, Phone};

/// Calls user 1001 from this node, directly, and lets his phone answer. Returns the route set of the phone.
fn answered_call_from(edge: &mut Edge, number: u32, call_id: &str) -> String {
    let invite = only(edge.receive(&node(number), &dial_from(number, "1001", call_id)));
    only(edge.receive(PHONE, &invite.reply(200, ""))).header("Record-Route").unwrap().to_owned()
}

fn dial_from(number: u32, user: &str, call_id: &str) -> String {
    dial(user, call_id).replace("X-Edge-Queue: q700\r\n", "").replace(&node(1), &node(number))
}

/// A call of this phone's with its proof.
fn proven(edge: &mut Edge, phone: &mut Phone, call_id: &str) -> Sent {
    phone.cseq += 2;
    let named = |text: String| text.replace("Call-ID: out", &format!("Call-ID: {call_id}"));
    let challenge = only(edge.receive(PHONE, &named(call_out(phone, phone.cseq, ""))));
    let proof = phone.proof(&challenge, "INVITE", "sip:700@pbx.example.com");
    only(edge.receive(PHONE, &named(call_out(phone, phone.cseq + 1, &proof))))
}

/// What the last choice went by.
fn choice(edge: &Edge) -> Choice {
    let leased = |event: &Event| match event {
        Event::CallLeased { choice, .. } => Some(*choice),
        _ => None,
    };
    edge.events.iter().rev().find_map(leased).expect("a call was leased")
}

fn agent_1001() -> (Edge, Phone) {
    (registered(&["1001"]), Phone::new("1001", PHONE))
}

#[test]
fn an_agents_next_call_goes_to_the_node_that_has_one_of_his() {
    for number in [1, 2] {
        let (mut edge, mut phone) = agent_1001();
        answered_call_from(&mut edge, number, "in");
        for count in 1..6 {
            let invite = proven(&mut edge, &mut phone, &format!("consult{count}"));
            assert_eq!((invite.to, choice(&edge)), (node(number), Choice::AgentAffinity), "call {count}");
            assert_eq!(edge.leases_on(number), count);
        }
    }
}

#[test]
fn the_call_that_he_made_himself_counts_and_the_answered_one_comes_before_the_ringing_one() {
    let (mut edge, mut phone) = agent_1001();
    edge.set_admin(1, Admin::Draining);
    let first = proven(&mut edge, &mut phone, "first");
    assert_eq!(first.to, node(2));
    edge.set_admin(1, Admin::Enabled);
    edge.receive(&node(2), &first.reply(200, ""));
    // Somebody else's call waits, and rings from another node.
    only(edge.receive(&node(1), &dial_from(1, "1001", "waiting")));
    assert_eq!(proven(&mut edge, &mut phone, "second").to, node(2));
}

#[test]
fn an_agent_whose_call_is_over_is_anybodys() {
    let (mut edge, mut phone) = agent_1001();
    let route = answered_call_from(&mut edge, 2, "in");
    let bye = format!(
        "BYE sip:1001@10.0.0.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP {at};rport;branch=z9hG4bK-bye\r\nMax-Forwards: 70\r\n\
         From: <sip:x@pbx.example.com>;tag=n1\r\nTo: <sip:y@pbx.example.com>;tag=node\r\nCall-ID: in\r\nCSeq: 25203 BYE\r\n\
         Route: {route}\r\nContent-Length: 0\r\n\r\n",
        at = node(2)
    );
    let bye = only(edge.receive(&node(2), &bye));
    edge.receive(PHONE, &bye.reply(200, ""));
    proven(&mut edge, &mut phone, "next");
    assert_eq!(choice(&edge), Choice::LeastCalls);
}

#[test]
fn a_draining_node_gets_the_call_and_a_dead_disabled_or_full_one_does_not() {
    let (mut edge, mut phone) = agent_1001();
    answered_call_from(&mut edge, 2, "in");
    edge.set_admin(2, Admin::Draining);
    assert_eq!(proven(&mut edge, &mut phone, "draining").to, node(2));
    edge.set_admin(2, Admin::Disabled);
    assert_eq!(proven(&mut edge, &mut phone, "disabled").to, node(1));

    let (mut edge, mut phone) = agent_1001();
    answered_call_from(&mut edge, 2, "in");
    edge.assess(2, Verdict::Down);
    assert_eq!(proven(&mut edge, &mut phone, "down").to, node(1));

    let (mut edge, mut phone) = agent_1001();
    answered_call_from(&mut edge, 2, "in");
    edge.plan(2, Some(1));
    assert_eq!(proven(&mut edge, &mut phone, "room").to, node(2));
    assert_eq!(proven(&mut edge, &mut phone, "full").to, node(1));
    assert_eq!(edge.leases(2), [1, 1]);
}

#[test]
fn a_silent_node_is_followed_by_another_one_though_it_has_his_call() {
    let (mut edge, mut phone) = agent_1001();
    answered_call_from(&mut edge, 2, "in");
    assert_eq!(proven(&mut edge, &mut phone, "consult").to, node(2));
    let next = edge.advance(Duration::from_millis(1_100));
    assert!(next.iter().any(|sent| sent.to == node(1) && sent.first_line().starts_with("INVITE")), "{next:?}");
}

#[test]
fn without_affinity_and_for_another_pool_the_algorithm_decides() {
    let (mut edge, mut phone) = agent_1001();
    answered_call_from(&mut edge, 2, "in");
    edge.farm.registrar = edge.farm.registrar.take().map(|service| {
        let mut service = Arc::unwrap_or_clone(service);
        service.policy.affinity = false;
        Arc::new(service)
    });
    let to = [proven(&mut edge, &mut phone, "a").to, proven(&mut edge, &mut phone, "b").to];
    assert_ne!(to[0], to[1]);

    let (mut edge, mut phone) = agent_1001();
    answered_call_from(&mut edge, 2, "in");
    edge.farm.rules.retain(|rule| &*rule.name != "agents");
    let mut outside = edge.farm.rules.iter().find(|rule| &*rule.name == "out").unwrap().clone();
    outside.from = cordboard::dispatch::rules::From::Agents;
    edge.farm.rules.push(outside);
    assert_eq!(proven(&mut edge, &mut phone, "outside").to, GATEWAY);
}

#[test]
fn a_restart_forgets_no_agents_call() {
    let (mut edge, mut phone) = agent_1001();
    answered_call_from(&mut edge, 2, "in");
    edge.restart(2);
    assert_eq!(proven(&mut edge, &mut phone, "consult").to, node(2));
    assert_eq!(choice(&edge), Choice::AgentAffinity);
}

/// A node's INVITE to a URI, as `Dial(PJSIP/edge/${SIPREFERTOHDR})` sends it.
fn external(number: u32, uri: &str, call_id: &str, lines: &str) -> String {
    let at = node(number);
    format!(
        "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {at};rport;branch=z9hG4bKPj{call_id}\r\nMax-Forwards: 70\r\n\
         From: \"Anna\" <sip:+15551234@pbx.example.com>;tag=n{number}\r\nTo: <{uri}>\r\nContact: <sip:node@{at}>\r\n\
         Call-ID: {call_id}\r\nCSeq: 7 INVITE\r\nRoute: <sip:{EDGE};lr>\r\nX-Edge-ALeg: a1\r\n{lines}Content-Length: 0\r\n\r\n"
    )
}

const REPLACES: &str = "Replaces: consult;to-tag=node;from-tag=p\r\n";

#[test]
fn a_node_reaches_the_node_whose_call_it_replaces_and_the_call_counts_there() {
    let mut edge = registered(&[]);
    let text = external(1, &format!("sip:{}", node(2)), "join", REPLACES);
    let invite = only(edge.receive(&node(1), &text));
    assert_eq!((invite.to.clone(), invite.first_line()), (node(2), "INVITE sip:127.0.0.12:5060 SIP/2.0"));
    assert_eq!(invite.header("Replaces"), Some("consult;to-tag=node;from-tag=p"));
    assert_eq!(invite.header("X-Edge-ALeg"), Some("a1"));
    assert_eq!((edge.leases(2), choice(&edge)), (vec![0, 1], Choice::Replaces));
    assert_eq!(only(edge.receive(&node(1), &text)), invite, "a repetition is the same call");
    let ok = only(edge.receive(&node(2), &invite.reply(200, "")));
    assert_eq!(ok.to, node(1));
    let route = ok.header("Record-Route").unwrap().to_owned();
    let said = |from: u32, to: u32, method: &str| {
        let tag = |number| if number == 1 { "n1" } else { "node" };
        format!(
            "{method} sip:node@{uri} SIP/2.0\r\nVia: SIP/2.0/UDP {at};rport;branch=z9hG4bK-{method}{from}\r\n\
             Max-Forwards: 70\r\nRoute: {route}\r\nFrom: <sip:a@pbx.example.com>;tag={}\r\nTo: <sip:b@pbx.example.com>;tag={}\r\n\
             Call-ID: join\r\nCSeq: 9 {method}\r\nContent-Length: 0\r\n\r\n",
            tag(from),
            tag(to),
            at = node(from),
            uri = node(to)
        )
    };
    assert_eq!(only(edge.receive(&node(1), &said(1, 2, "ACK"))).to, node(2));
    assert_eq!(only(edge.receive(&node(1), &said(1, 2, "INVITE"))).to, node(2));
    assert_eq!(only(edge.receive(&node(2), &said(2, 1, "UPDATE"))).to, node(1));
    let bye = only(edge.receive(&node(2), &said(2, 1, "BYE")));
    assert_eq!(bye.to, node(1));
    edge.receive(&node(1), &bye.reply(200, ""));
    assert_eq!(edge.leases(2), [0, 0]);
}

#[test]
fn a_node_that_replaces_nothing_reaches_no_other_node() {
    let mut edge = registered(&[]);
    let uri = format!("sip:{}", node(2));
    let sent = edge.receive(&node(1), &external(1, &uri, "plain", ""));
    assert!(sent.iter().all(|sent| sent.to != node(2)), "{sent:?}");
    for from in [GATEWAY, STRANGER] {
        edge.receive(from, &external(1, &uri, from, REPLACES).replace(&node(1), from));
    }
    let joins = |event: &&Event| matches!(event, Event::CallLeased { choice: Choice::Replaces, .. });
    assert_eq!(edge.events.iter().filter(joins).count(), 0, "nobody but a node replaces a node's call");
}

#[test]
fn a_dead_node_is_not_waited_for_and_a_silent_one_has_no_stand_in() {
    let mut edge = registered(&[]);
    let uri = format!("sip:{}", node(2));
    only(edge.receive(&node(1), &external(1, &uri, "silent", REPLACES)));
    let sent = edge.advance(Duration::from_secs(5));
    assert!(sent.iter().any(|s| s.to == node(1) && s.first_line() == "SIP/2.0 408 Request Timeout"), "{sent:?}");
    assert!(!sent.iter().any(|s| s.to == GATEWAY), "{sent:?}");
    edge.assess(2, Verdict::Down);
    let answer = only(edge.receive(&node(1), &external(1, &uri, "dead", REPLACES)));
    assert_eq!((answer.to.as_str(), answer.first_line()), (node(1).as_str(), "SIP/2.0 408 Request Timeout"));
    assert_eq!(edge.leases(2), [0, 0]);
}

#[test]
fn a_phone_that_gives_its_partners_number_is_understood_too() {
    let mut edge = registered(&["1001", "1002"]);
    let mut phone = Phone::new("1001", PHONE);
    edge.set_admin(1, Admin::Draining);
    let consult = proven(&mut edge, &mut phone, "consult");
    assert_eq!(consult.to, node(2));
    edge.receive(&node(2), &consult.reply(200, ""));
    edge.set_admin(1, Admin::Enabled);
    let invite = only(edge.receive(&node(1), &external(1, "sip:1002@pbx.example.com", "join", REPLACES)));
    assert_eq!((invite.to.clone(), invite.first_line()), (node(2), "INVITE sip:1002@pbx.example.com SIP/2.0"));
    // A call of his that came from the other node.
    answered_call_from(&mut edge, 2, "from-1002");
    let replaces = REPLACES.replace("consult", "from-1002");
    let invite = only(edge.receive(&node(1), &external(1, "sip:1002@pbx.example.com", "join2", &replaces)));
    assert_eq!(invite.to, node(2));
    // What is asked of the phone itself, or of the node that asks, is nobody else's.
    let own = only(edge.receive(&node(1), &external(1, "sip:1001@pbx.example.com", "pickup", &replaces)));
    assert_eq!(own.to, PHONE);
    let same = only(edge.receive(&node(2), &external(2, "sip:1002@pbx.example.com", "same", REPLACES)));
    assert_eq!(same.to, DESK);
    let unknown = REPLACES.replace("consult", "nobodys");
    assert_eq!(only(edge.receive(&node(1), &external(1, "sip:1002@pbx.example.com", "u", &unknown))).to, DESK);
}

#[test]
fn a_transfer_inside_a_call_passes_untouched_whatever_it_refers_to() {
    let mut edge = registered(&["1001"]);
    let route = answered_call_from(&mut edge, 1, "in");
    for (cseq, target) in [
        "<sip:1002@pbx.example.com>",
        "<sip:1002@127.0.0.10:5060?Replaces=c1%40x%3Bto-tag%3Dt%3Bfrom-tag%3Df>",
        "sip:1002@10.0.0.2:5060;transport=udp",
        "<tel:+15551234;phone-context=example.com>",
    ]
    .into_iter()
    .enumerate()
    {
        let lines = format!("Refer-To: {target}\r\nReferred-By: <sip:1001@pbx.example.com>\r\n");
        let refer = format!(
            "REFER sip:node1@127.0.0.11:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;rport;branch=z9hG4bK-refer{cseq}\r\n\
             Max-Forwards: 70\r\nRoute: {route}\r\nFrom: <sip:1001@pbx.example.com>;tag=node\r\nTo: <sip:x@pbx.example.com>;tag=n1\r\n\
             Call-ID: in\r\nCSeq: {cseq} REFER\r\n{lines}Content-Length: 0\r\n\r\n"
        );
        let sent = only(edge.receive(PHONE, &refer));
        assert_eq!((sent.to.clone(), sent.header("Refer-To")), (node(1), Some(target)));
        assert_eq!(sent.header("Referred-By"), Some("<sip:1001@pbx.example.com>"));
        assert_eq!(only(edge.receive(&node(1), &sent.reply(202, ""))).to, PHONE);
    }
}
