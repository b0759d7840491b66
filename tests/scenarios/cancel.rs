//! CANCEL, whenever it comes.

use std::time::Duration;

use crate::harness::*;

#[test]
fn a_cancelled_call_ends_with_the_nodes_487() {
    let mut edge = Edge::with_nodes(1);
    let caller = Caller::new("c1");
    let invite = only(edge.receive(GATEWAY, &caller.invite()));
    only(edge.receive(&invite.to, &invite.reply(180, "")));
    let sent = edge.receive(GATEWAY, &caller.cancel());
    assert_eq!(
        lines(&sent),
        [format!("{GATEWAY} <- SIP/2.0 200 OK"), format!("{} <- CANCEL sip:100@pbx.example.com SIP/2.0", node(1)),]
    );
    let cancel = &sent[1];
    assert_eq!(cancel.headers("Via").collect::<Vec<_>>(), [invite.header("Via").unwrap()]);
    assert_eq!(edge.receive(&invite.to, &cancel.reply(200, "")), []);
    let terminated = only(edge.receive(&invite.to, &invite.reply(487, "")));
    assert_eq!(terminated.to, GATEWAY);
    let ack = only(edge.receive(GATEWAY, &caller.ack_failure(&terminated)));
    assert_eq!((&ack.to, ack.branch()), (&invite.to, invite.branch()));
    assert_eq!(edge.leases(1), [0]);
    assert_eq!(edge.advance(Duration::from_secs(40)), []);
}

#[test]
fn a_cancel_waits_for_the_nodes_first_word() {
    let mut edge = Edge::with_nodes(1);
    let caller = Caller::new("c1");
    let invite = only(edge.receive(GATEWAY, &caller.invite()));
    assert_eq!(lines(&edge.receive(GATEWAY, &caller.cancel())), [format!("{GATEWAY} <- SIP/2.0 200 OK")]);
    let sent = edge.receive(&invite.to, &invite.reply(100, ""));
    assert_eq!(
        lines(&sent),
        [
            format!("{} <- CANCEL sip:100@pbx.example.com SIP/2.0", node(1)),
            format!("{GATEWAY} <- SIP/2.0 100 Whatever"),
        ]
    );
}

#[test]
fn a_cancel_to_a_silent_node_ends_with_the_edges_487_and_no_other_node_is_asked() {
    let mut edge = Edge::with_nodes(3);
    let caller = Caller::new("c1");
    let invite = only(edge.receive(GATEWAY, &caller.invite()));
    only(edge.receive(GATEWAY, &caller.cancel()));
    let sent = edge.advance(Duration::from_millis(1_050));
    assert_eq!(
        lines(&sent),
        [
            format!("{} <- CANCEL sip:100@pbx.example.com SIP/2.0", invite.to),
            format!("{GATEWAY} <- SIP/2.0 487 Request Terminated"),
        ]
    );
    assert_eq!(edge.receive(GATEWAY, &caller.ack_failure(&sent[1])), []);
    assert_eq!(edge.leases(3), [0, 0, 0]);
}

#[test]
fn a_lost_cancel_is_sent_again_until_it_is_answered() {
    let mut edge = Edge::with_nodes(1);
    let caller = Caller::new("c1");
    let invite = only(edge.receive(GATEWAY, &caller.invite()));
    only(edge.receive(&invite.to, &invite.reply(180, "")));
    let cancel = edge.receive(GATEWAY, &caller.cancel()).remove(1);
    assert_eq!(only(edge.advance(Duration::from_millis(600))), cancel);
    assert_eq!(only(edge.advance(Duration::from_millis(1_000))), cancel);
    edge.receive(&invite.to, &cancel.reply(200, ""));
    assert_eq!(edge.advance(Duration::from_secs(10)), []);
}

#[test]
fn a_repeated_cancel_is_answered_again_and_forwarded_once() {
    let mut edge = Edge::with_nodes(1);
    let caller = Caller::new("c1");
    let invite = only(edge.receive(GATEWAY, &caller.invite()));
    only(edge.receive(&invite.to, &invite.reply(180, "")));
    assert_eq!(edge.receive(GATEWAY, &caller.cancel()).len(), 2);
    assert_eq!(lines(&edge.receive(GATEWAY, &caller.cancel())), [format!("{GATEWAY} <- SIP/2.0 200 OK")]);
}

#[test]
fn a_cancel_that_crosses_the_answer_changes_nothing() {
    let mut edge = Edge::with_nodes(1);
    let (caller, ..) = established(&mut edge, "c1");
    assert_eq!(lines(&edge.receive(GATEWAY, &caller.cancel())), [format!("{GATEWAY} <- SIP/2.0 200 OK")]);
    assert_eq!((edge.leases(1), edge.phase()), (vec![1], Some("up")));
}

#[test]
fn a_cancel_of_nothing_is_answered_481() {
    let mut edge = Edge::with_nodes(1);
    let answer = only(edge.receive(GATEWAY, &Caller::new("c1").cancel()));
    assert_eq!(answer.first_line(), "SIP/2.0 481 Call/Transaction Does Not Exist");
}

#[test]
fn a_node_that_answers_neither_cancel_nor_invite_is_given_up_after_32_seconds() {
    let mut edge = Edge::with_nodes(1);
    let caller = Caller::new("c1");
    let invite = only(edge.receive(GATEWAY, &caller.invite()));
    only(edge.receive(&invite.to, &invite.reply(180, "")));
    edge.receive(GATEWAY, &caller.cancel());
    let sent = edge.advance(Duration::from_secs(33));
    let to_caller: Vec<&Sent> = sent.iter().filter(|s| s.to == GATEWAY).collect();
    assert_eq!(to_caller[0].first_line(), "SIP/2.0 487 Request Terminated");
    assert_eq!(edge.leases(1), [0]);
    edge.receive(GATEWAY, &caller.ack_failure(to_caller[0]));
    assert_eq!(edge.advance(Duration::from_secs(40)), []);
    assert_eq!(edge.remembered(), 0);
}
