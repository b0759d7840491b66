//! What the edge answers itself, and what it does not answer at all.

use cordboard::dispatch::health::Verdict;

use crate::harness::*;

fn code(edge: &mut Edge, from: &str, text: &str) -> String {
    let sent = edge.receive(from, text);
    match sent.as_slice() {
        [] => "nothing".to_owned(),
        [one] if one.text.starts_with("SIP/2.0 ") => one.text[8..11].to_owned(),
        other => format!("{:?}", lines(other)),
    }
}

fn invite() -> String {
    Caller::new("c1").invite()
}

#[test]
fn each_refusal_has_its_code() {
    let replaced = |from: &str, to: &str| invite().replacen(from, to, 1);
    for (what, text, expected) in [
        ("no hops left", replaced("Max-Forwards: 70", "Max-Forwards: 0"), "483"),
        ("unknown extension", replaced("Max-Forwards", "Proxy-Require: foo, bar\r\nMax-Forwards"), "420"),
        ("malformed", replaced("To:", "To\u{1}:"), "400"),
        ("other version", replaced("SIP/2.0\r\n", "SIP/3.0\r\n"), "505"),
        ("a rule", replaced("sip:100@", "sip:09001234@"), "403"),
        ("foreign route", replaced("Max-Forwards", "Route: <sip:6.6.6.6;lr>\r\nMax-Forwards"), "403"),
        ("unknown dialog", replaced("To: <sip:100@pbx.example.com>", "To: <sip:100@x>;tag=z"), "481"),
    ] {
        assert_eq!(code(&mut Edge::with_nodes(1), GATEWAY, &text), expected, "{what}");
    }
}

#[test]
fn unsupported_extensions_are_named() {
    let text = invite().replacen("Max-Forwards", "Proxy-Require: foo, bar\r\nMax-Forwards", 1);
    let answer = only(Edge::with_nodes(1).receive(GATEWAY, &text));
    assert_eq!(answer.header("Unsupported"), Some("foo, bar"));
}

#[test]
fn a_400_names_the_fault() {
    let answer = only(Edge::with_nodes(1).receive(GATEWAY, &invite().replace("CSeq: 1 INVITE", "CSeq: x INVITE")));
    assert_eq!(answer.first_line(), "SIP/2.0 400 Bad CSeq");
}

#[test]
fn full_and_dead_are_told_apart_and_both_say_when_to_come_again() {
    let mut edge = Edge::with_nodes(2);
    edge.plan(2, Some(1));
    established(&mut edge, "a");
    established(&mut edge, "b");
    let full = only(edge.receive(GATEWAY, &invite()));
    assert_eq!((full.first_line(), full.header("Retry-After")), ("SIP/2.0 503 Service Unavailable", Some("5")));
    edge.assess(1, Verdict::Down);
    edge.assess(2, Verdict::Down);
    let dead = only(edge.receive(GATEWAY, &Caller::new("c2").invite()));
    assert_eq!(dead.header("Retry-After"), Some("5"));
    use cordboard::proxy::Event::Rejected;
    use cordboard::proxy::contract::RejectReason;
    let reasons: Vec<_> = edge.events.iter().filter(|e| matches!(e, Rejected(_))).collect();
    assert_eq!(reasons, [&Rejected(RejectReason::Full), &Rejected(RejectReason::NoneAlive)]);
}

#[test]
fn strangers_get_nothing_but_a_refusal_and_never_more_than_they_sent() {
    let mut edge = Edge::with_nodes(1);
    assert_eq!(code(&mut edge, STRANGER, &invite()), "403");
    let options = invite().replace("INVITE", "OPTIONS");
    assert_eq!(code(&mut edge, STRANGER, &options), "403");
    let tiny = "INVITE sip:a SIP/2.0\r\nv:SIP/2.0/UDP b;branch=z\r\nf:<sip:a>;tag=1\r\nt:<sip:b>\r\ni:c\r\nCSeq:1 INVITE\r\n\r\n";
    assert_eq!(code(&mut edge, STRANGER, tiny), "nothing");
    assert_eq!(edge.leases(1), [0]);
}

#[test]
fn an_answer_goes_to_the_source_whatever_the_via_claims() {
    let text = invite()
        .replace("SIP/2.0/UDP 127.0.0.2:5060;rport;", "SIP/2.0/UDP 6.6.6.6:1;received=7.7.7.7;maddr=224.0.0.1;rport=9;")
        .replacen("Max-Forwards: 70", "Max-Forwards: 0", 1);
    let answer = only(Edge::with_nodes(1).receive("127.0.0.2:5099", &text));
    assert_eq!(answer.to, "127.0.0.2:5099");
    let via = answer.header("Via").unwrap();
    assert!(via.contains("received=127.0.0.2") && via.contains("rport=5099") && !via.contains("7.7.7.7"), "{via}");
}

#[test]
fn without_rport_a_gateway_is_answered_at_the_port_of_its_via() {
    let text = invite().replace(";rport;", ";").replacen("Max-Forwards: 70", "Max-Forwards: 0", 1);
    let answer = only(Edge::with_nodes(1).receive("127.0.0.2:40000", &text));
    assert_eq!(answer.to, GATEWAY);
}

#[test]
fn options_for_the_edge_are_answered_also_with_two_routes_and_for_its_domain() {
    let mut edge = Edge::with_nodes(1);
    for uri in ["sip:127.0.0.10:5060", "sip:127.0.0.10", "sip:PBX.example.com", "sip:x@pbx.example.com;a=b"] {
        let text = invite()
            .replace("INVITE", "OPTIONS")
            .replace("sip:100@pbx.example.com SIP", &format!("{uri} SIP"))
            .replace(
                "Max-Forwards",
                "Route: <sip:127.0.0.10:5060;lr>\r\nRoute: <sip:127.0.0.10:5060;lr>\r\nMax-Forwards",
            );
        assert_eq!(code(&mut edge, &node(1), &text.replace(GATEWAY, &node(1))), "200", "{uri}");
    }
    edge.stopping = true;
    assert_eq!(code(&mut edge, GATEWAY, &invite().replace("INVITE", "OPTIONS")), "503");
}

#[test]
fn a_stopping_edge_refuses_new_calls_and_carries_the_others_on() {
    let mut edge = Edge::with_nodes(1);
    let (caller, at, _) = established(&mut edge, "c1");
    edge.stopping = true;
    let refused = only(edge.receive(GATEWAY, &Caller::new("c2").invite()));
    assert_eq!((&refused.text[8..11], refused.header("Retry-After")), ("503", Some("5")));
    assert_eq!(only(edge.receive(GATEWAY, &caller.in_dialog("INFO", 2))).to, at);
}

#[test]
fn a_request_that_comes_round_is_a_loop_and_one_with_a_new_target_is_not() {
    let mut edge = Edge::with_nodes(1);
    let sent = only(edge.receive(GATEWAY, &invite()));
    assert_eq!(code(&mut edge, GATEWAY, &sent.text), "482");
    let spiral = sent.text.replace("sip:100@pbx", "sip:101@pbx");
    assert_eq!(edge.receive(GATEWAY, &spiral).len(), 1);
}

#[test]
fn private_headers_of_the_farm_are_stripped_from_what_others_send() {
    let mut edge = Edge::with_nodes(1);
    edge.farm.security.strip = vec![b"p-asserted-identity"[..].into()];
    let text = invite().replace(
        "Max-Forwards",
        "X-Edge-Queue: q\r\nx-EDGE-x : y\r\n folded\r\nP-ASSERTED-IDENTITY: <sip:ceo@x>\r\nX-Other: stays\r\nMax-Forwards",
    );
    let sent = only(edge.receive(GATEWAY, &text));
    let low = sent.text.to_ascii_lowercase();
    assert!(!low.contains("x-edge") && !low.contains("folded") && !low.contains("asserted"), "{}", sent.text);
    assert_eq!(sent.header("X-Other"), Some("stays"));
    let from_node = text.replace(GATEWAY, &node(1)).replace("sip:100@", "sip:+49@");
    assert!(only(edge.receive(&node(1), &from_node)).text.contains("X-Edge-Queue: q"));
}

#[test]
fn acks_are_never_answered() {
    let mut edge = Edge::with_nodes(1);
    let ack = invite().replace("INVITE", "ACK");
    for text in [
        ack.clone(),
        ack.replace("Max-Forwards: 70", "Max-Forwards: 0"),
        ack.replace("To:", "To\u{1}:"),
        ack.replace("To: <sip:100@pbx.example.com>", "To: <sip:100@pbx.example.com>;tag=x"),
    ] {
        assert_eq!(edge.receive(GATEWAY, &text), [], "{text}");
        assert_eq!(edge.receive(STRANGER, &text), [], "{text}");
    }
}

#[test]
fn missing_max_forwards_is_put_in() {
    let sent = only(Edge::with_nodes(1).receive(GATEWAY, &invite().replace("Max-Forwards: 70\r\n", "")));
    assert_eq!(sent.header("Max-Forwards"), Some("70"));
}

#[test]
fn a_request_outside_calls_finds_one_node_and_its_repetition_the_same() {
    let mut edge = Edge::with_nodes(5);
    let message = invite().replace("INVITE", "MESSAGE");
    let first = only(edge.receive(GATEWAY, &message));
    let again = only(edge.receive(GATEWAY, &message));
    assert_eq!((&first.to, first.branch()), (&again.to, again.branch()));
    assert_eq!(only(edge.receive(&first.to, &first.reply(202, ""))).to, GATEWAY);
    assert_eq!(edge.leases(5).iter().sum::<u32>(), 0);
}

#[test]
fn an_overloaded_edge_refuses_what_is_new_and_carries_what_is_under_way() {
    let mut edge = Edge::with_nodes(1);
    let ringing = Caller::new("c1");
    let invite = only(edge.receive(GATEWAY, &ringing.invite()));
    let (talking, at, _) = established(&mut edge, "c2");
    edge.overloaded = true;

    let mut waits = std::collections::BTreeSet::new();
    for call in 0..50 {
        let refused = only(edge.receive(GATEWAY, &Caller::new(&format!("n{call}")).invite()));
        assert_eq!(refused.first_line(), "SIP/2.0 503 Service Unavailable");
        waits.insert(refused.header("Retry-After").unwrap().parse::<u32>().unwrap());
    }
    assert!(waits.len() > 5 && *waits.first().unwrap() >= 1 && *waits.last().unwrap() <= 10, "{waits:?}");
    assert_eq!(edge.leases(1), [2]);

    assert_eq!(only(edge.receive(GATEWAY, &ringing.invite())).to, invite.to, "a repetition is nothing new");
    assert_eq!(only(edge.receive(&invite.to, &invite.reply(180, ""))).to, GATEWAY);
    assert_eq!(only(edge.receive(GATEWAY, &talking.in_dialog("INVITE", 2))).to, at);
    assert_eq!(only(edge.receive(GATEWAY, &talking.in_dialog("BYE", 3))).to, at);
}
