//! A call from its INVITE to its BYE.

use std::time::Duration;

use cordboard::calls::history::{Choice, EndCause};
use cordboard::proxy::Event;

use crate::harness::*;

#[test]
fn a_forwarded_invite_differs_only_where_the_rfc_says_so() {
    let mut edge = Edge::with_nodes(1);
    let received = Caller::new("c1").invite();
    let sent = only(edge.receive(GATEWAY, &received));
    assert_eq!(sent.to, node(1));
    let (branch, token) = (sent.branch().to_owned(), sent.header("Record-Route").unwrap().to_owned());
    assert!(branch.starts_with("z9hG4bKcb") && token.starts_with("<sip:127.0.0.10:5060;lr;cb="), "{branch} {token}");
    let expected = received
        .replacen("Via:", &format!("Via: SIP/2.0/UDP {EDGE};branch={branch}\r\nRecord-Route: {token}\r\nVia:"), 1)
        .replace("Max-Forwards: 70", "Max-Forwards: 69")
        .replace(";rport;branch=z9hG4bK-c1-1", ";rport=5060;branch=z9hG4bK-c1-1;received=127.0.0.2");
    assert_eq!(sent.text, expected);
}

#[test]
fn a_response_loses_the_edges_via_and_nothing_else() {
    let mut edge = Edge::with_nodes(1);
    let invite = only(edge.receive(GATEWAY, &Caller::new("c1").invite()));
    let reply = invite.reply(180, "X-Any: thing\r\n");
    let sent = only(edge.receive(&invite.to, &reply));
    assert_eq!(sent.to, GATEWAY);
    let own = format!("Via: {}\r\n", invite.header("Via").unwrap());
    assert_eq!(sent.text, reply.replacen(&own, "", 1));
}

#[test]
fn a_call_takes_one_place_from_invite_to_the_answer_to_bye() {
    let mut edge = Edge::with_nodes(1);
    let (caller, at, _) = established(&mut edge, "c1");
    assert_eq!((edge.leases(1), edge.phase()), (vec![1], Some("up")));
    let bye = only(edge.receive(GATEWAY, &caller.in_dialog("BYE", 2)));
    assert_eq!((bye.to.as_str(), bye.header("Route")), (at.as_str(), None));
    assert_eq!((edge.leases(1), edge.phase()), (vec![1], Some("ending")));
    let ok = only(edge.receive(&at, &bye.reply(200, "")));
    assert_eq!(ok.to, GATEWAY);
    assert_eq!((edge.leases(1), edge.phase()), (vec![0], Some("ended")));
    edge.advance(Duration::from_secs(33));
    assert_eq!(edge.remembered(), 0);
}

#[test]
fn the_node_may_hang_up_too() {
    let mut edge = Edge::with_nodes(1);
    let (caller, at, _) = established(&mut edge, "c1");
    let bye = only(edge.receive(&at, &caller.said_by(&at, "BYE", 9)));
    assert_eq!((bye.to.as_str(), bye.header("Route")), (GATEWAY, None));
    let ok = only(edge.receive(GATEWAY, &bye.reply(200, "")));
    assert_eq!(ok.to, at);
    assert_eq!(edge.leases(1), [0]);
}

#[test]
fn calls_spread_evenly_over_equal_nodes() {
    let mut edge = Edge::with_nodes(3);
    for call in 0..30 {
        established(&mut edge, &format!("c{call}"));
    }
    assert_eq!(edge.leases(3), [10, 10, 10]);
}

#[test]
fn a_repeated_invite_reaches_the_same_node_with_the_same_branch_and_takes_no_second_place() {
    let mut edge = Edge::with_nodes(5);
    let caller = Caller::new("c1");
    let first = only(edge.receive(GATEWAY, &caller.invite()));
    for _ in 0..3 {
        let again = only(edge.receive(GATEWAY, &caller.invite()));
        assert_eq!((&again.to, again.branch()), (&first.to, first.branch()));
    }
    assert_eq!(edge.leases(5).iter().sum::<u32>(), 1);
}

#[test]
fn a_forwarded_failure_ends_the_call_and_its_ack_finds_the_node() {
    let mut edge = Edge::with_nodes(3);
    let caller = Caller::new("c1");
    let invite = only(edge.receive(GATEWAY, &caller.invite()));
    let busy = only(edge.receive(&invite.to, &invite.reply(486, "")));
    assert_eq!((busy.to.as_str(), busy.first_line()), (GATEWAY, "SIP/2.0 486 Whatever"));
    assert_eq!(edge.leases(3), [0, 0, 0]);
    let ack = only(edge.receive(GATEWAY, &caller.ack_failure(&busy)));
    assert_eq!((&ack.to, ack.branch()), (&invite.to, invite.branch()));
}

#[test]
fn an_invite_that_comes_again_after_a_challenge_goes_to_the_node_that_asked() {
    let mut edge = Edge::with_nodes(5);
    let mut caller = Caller::new("c1");
    let invite = only(edge.receive(GATEWAY, &caller.invite()));
    let challenge = only(edge.receive(&invite.to, &invite.reply(407, "Proxy-Authenticate: Digest x\r\n")));
    only(edge.receive(GATEWAY, &caller.ack_failure(&challenge)));
    for other in 0..7 {
        established(&mut edge, &format!("other-{other}"));
    }
    caller.cseq = 2;
    let again = only(edge.receive(GATEWAY, &caller.invite()));
    assert_eq!(again.to, invite.to);
    assert_ne!(again.branch(), invite.branch());
    assert!(edge.events.iter().any(|e| matches!(e, Event::CallLeased { choice: Choice::Affinity, .. })));
}

#[test]
fn a_challenged_bye_leaves_the_call_up() {
    let mut edge = Edge::with_nodes(1);
    let (caller, at, _) = established(&mut edge, "c1");
    let bye = only(edge.receive(GATEWAY, &caller.in_dialog("BYE", 2)));
    only(edge.receive(&at, &bye.reply(401, "WWW-Authenticate: Digest x\r\n")));
    assert_eq!((edge.leases(1), edge.phase()), (vec![1], Some("up")));
}

#[test]
fn a_bye_that_nobody_answers_ends_the_call_after_32_seconds() {
    let mut edge = Edge::with_nodes(1);
    let (caller, _, _) = established(&mut edge, "c1");
    only(edge.receive(GATEWAY, &caller.in_dialog("BYE", 2)));
    edge.advance(Duration::from_millis(31_900));
    assert_eq!(edge.leases(1), [1]);
    edge.advance(Duration::from_millis(200));
    assert_eq!(edge.leases(1), [0]);
    assert!(edge.events.iter().any(|e| matches!(e, Event::LeaseEnded { cause: EndCause::ByeUnanswered, .. })));
}

#[test]
fn a_lost_bye_is_healed_by_the_longest_duration() {
    let mut edge = Edge::with_nodes(1);
    established(&mut edge, "c1");
    edge.advance(Duration::from_secs(4 * 3_600 - 10));
    assert_eq!(edge.leases(1), [1]);
    edge.advance(Duration::from_secs(20));
    assert_eq!(edge.leases(1), [0]);
}

#[test]
fn a_session_timer_ends_a_dead_call_and_a_refresh_keeps_it() {
    let mut edge = Edge::with_nodes(1);
    let mut caller = Caller::new("c1");
    let invite = only(edge.receive(GATEWAY, &caller.invite()));
    let answer = only(edge.receive(&invite.to, &invite.reply(200, "Session-Expires: 600;refresher=uas\r\n")));
    caller.enter(&answer);
    edge.advance(Duration::from_secs(500));
    let refresh = only(edge.receive(&invite.to, &caller.said_by(&invite.to, "UPDATE", 5)));
    only(edge.receive(GATEWAY, &refresh.reply(200, "Session-Expires: 600;refresher=uac\r\n")));
    edge.advance(Duration::from_secs(620));
    assert_eq!(edge.leases(1), [1]);
    edge.advance(Duration::from_secs(20));
    assert_eq!(edge.leases(1), [0]);
    assert!(edge.events.iter().any(|e| matches!(e, Event::LeaseEnded { cause: EndCause::SessionTimer, .. })));
}

#[test]
fn an_unanswered_call_is_taken_back_after_the_ring_timeout() {
    let mut edge = Edge::with_nodes(1);
    let caller = Caller::new("c1");
    let invite = only(edge.receive(GATEWAY, &caller.invite()));
    only(edge.receive(&invite.to, &invite.reply(180, "")));
    let cancel = only(edge.advance(Duration::from_millis(180_100)));
    assert_eq!((cancel.to.as_str(), cancel.branch()), (invite.to.as_str(), invite.branch()));
    assert!(cancel.first_line().starts_with("CANCEL sip:100@pbx.example.com "), "{}", cancel.first_line());
    assert_eq!(edge.receive(&invite.to, &cancel.reply(200, "")), []);
    let terminated = only(edge.receive(&invite.to, &invite.reply(487, "")));
    assert_eq!(terminated.to, GATEWAY);
    assert_eq!(edge.leases(1), [0]);
    assert!(edge.events.iter().any(|e| matches!(e, Event::LeaseEnded { cause: EndCause::RingTimeout, .. })));
}

#[test]
fn a_lost_answer_is_repeated_by_the_node_and_passes_each_time() {
    let mut edge = Edge::with_nodes(1);
    let (_, at, invite) = established(&mut edge, "c1");
    let again = only(edge.receive(&at, &invite.reply(200, "")));
    assert_eq!(again.to, GATEWAY);
    assert_eq!(edge.leases(1), [1]);
}

#[test]
fn a_caller_on_a_stream_is_answered_on_its_connection_and_the_edge_repeats_for_it() {
    let mut edge = Edge::with_nodes(1);
    let caller = Caller::new("c1");
    let received = caller.invite().replace("SIP/2.0/UDP", "SIP/2.0/TCP").replace(GATEWAY, "127.0.0.2:43210");
    let invite = only(edge.receive_tcp("127.0.0.2:43210", &received));
    assert_eq!(invite.headers("Record-Route").count(), 2, "one for each transport (RFC 5658)");
    let again = only(edge.advance(Duration::from_millis(600)));
    assert_eq!((&again.to, &again.text), (&invite.to, &invite.text));
    let trying = only(edge.receive(&invite.to, &invite.reply(100, "")));
    assert_eq!(trying.to, "connection 7");
    assert_eq!(edge.advance(Duration::from_secs(5)), []);
    let answer = only(edge.receive(&invite.to, &invite.reply(200, "")));
    assert_eq!(answer.to, "connection 7");
}

#[test]
fn a_node_calls_the_gateway_at_the_gateways_own_address() {
    let mut edge = Edge::with_nodes(1);
    let request = Caller::new("out-1")
        .invite()
        .replace(GATEWAY, &node(1))
        .replace("sip:100@pbx.example.com", "sip:+4930123@pbx.example.com")
        .replace("Max-Forwards", "Route: <sip:127.0.0.10:5060;lr>\r\nMax-Forwards");
    let invite = only(edge.receive(&node(1), &request));
    assert_eq!((invite.to.as_str(), invite.header("Route")), (GATEWAY, None));
    assert_eq!(invite.first_line(), "INVITE sip:+4930123@127.0.0.2:5060 SIP/2.0");
    assert_eq!((edge.gateway_leases(), edge.leases(1)), (1, vec![0]));
    let ringing = only(edge.receive(GATEWAY, &invite.reply(180, "")));
    assert_eq!(ringing.to, node(1));
}

#[test]
fn calls_that_are_over_make_room_for_new_ones_and_calls_that_are_up_never_do() {
    let mut edge = Edge::with_room(1, 3, 10);
    let hung_up = |edge: &mut Edge, call_id: &str| {
        let (caller, at, _) = established(edge, call_id);
        let bye = only(edge.receive(GATEWAY, &caller.in_dialog("BYE", 2)));
        assert_eq!(only(edge.receive(&at, &bye.reply(200, ""))).to, GATEWAY);
        (caller, at)
    };
    let (oldest, at) = hung_up(&mut edge, "c1");
    (2..=20).for_each(|call| drop(hung_up(&mut edge, &format!("c{call}"))));
    assert_eq!((edge.remembered(), edge.leases(1)), (3, vec![0]));
    // Its BYE comes once more: the token says where to, and the call does not count again.
    assert_eq!(only(edge.receive(GATEWAY, &oldest.in_dialog("BYE", 2))).to, at);
    assert_eq!(edge.leases(1), [0]);

    ["u1", "u2", "u3"].iter().for_each(|call| drop(established(&mut edge, call)));
    assert_eq!(edge.leases(1), [3]);
    let refused = only(edge.receive(GATEWAY, &Caller::new("c21").invite()));
    assert_eq!(refused.first_line(), "SIP/2.0 503 Service Unavailable");
    assert_eq!(edge.leases(1), [3]);
    edge.with_shard(cordboard::calls::Shard::check_invariants);
}

#[test]
fn a_call_that_is_over_is_not_forgotten_while_the_edge_still_hangs_up_on_a_node() {
    let mut edge = Edge::with_room(1, 1, 10);
    let invite = only(edge.receive(GATEWAY, &Caller::new("c1").invite()));
    edge.advance(Duration::from_millis(4_100));
    // The node answers after all, when the caller has long been told that nobody did.
    let sent = edge.receive(&invite.to, &invite.reply(200, ""));
    assert!(sent.iter().any(|sent| sent.first_line().starts_with("BYE")), "{sent:?}");
    assert_eq!(edge.phase(), Some("ended"));

    let refused = only(edge.receive(GATEWAY, &Caller::new("c2").invite()));
    assert_eq!(refused.first_line(), "SIP/2.0 503 Service Unavailable");
    edge.with_shard(cordboard::calls::Shard::check_invariants);
}
