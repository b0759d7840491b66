//! A node that does not do its work is followed by the next one, and whatever it still does is dealt with.

use std::time::Duration;

use cordboard::calls::tries::Cause;
use cordboard::proxy::Event;

use crate::harness::*;

const SECOND: Duration = Duration::from_millis(1_050);

fn abandoned(edge: &Edge, cause: Cause) -> usize {
    edge.events.iter().filter(|e| matches!(e, Event::TryAbandoned { cause: c, .. } if *c == cause)).count()
}

/// An INVITE whose first node stays silent: the edge, the caller, the first and the second INVITE, the CANCEL.
fn silent_first(count: u32) -> (Edge, Caller, Sent, Sent, Sent) {
    let mut edge = Edge::with_nodes(count);
    let caller = Caller::new("c1");
    let first = only(edge.receive(GATEWAY, &caller.invite()));
    let mut sent = edge.advance(SECOND);
    assert_eq!(sent.len(), 2, "{:?}", lines(&sent));
    let second = sent.pop().unwrap();
    let cancel = sent.pop().unwrap();
    assert!(cancel.first_line().starts_with("CANCEL") && cancel.to == first.to, "{}", cancel.first_line());
    (edge, caller, first, second, cancel)
}

#[test]
fn a_silent_node_is_followed_by_another_after_a_second() {
    let (mut edge, caller, first, second, _) = silent_first(2);
    assert!(second.first_line().starts_with("INVITE") && second.to != first.to);
    assert_ne!(second.branch(), first.branch());
    let answer = only(edge.receive(&second.to, &second.reply(200, "")));
    assert_eq!(answer.to, GATEWAY);
    assert_eq!(edge.leases(2).iter().sum::<u32>(), 1);
    let mut caller = caller;
    caller.enter(&answer);
    assert_eq!(only(edge.receive(GATEWAY, &caller.in_dialog("ACK", 1))).to, second.to);
    assert_eq!(abandoned(&edge, Cause::Silence), 1);
}

#[test]
fn a_provisional_answer_of_any_kind_stops_the_clock() {
    let mut edge = Edge::with_nodes(2);
    let invite = only(edge.receive(GATEWAY, &Caller::new("c1").invite()));
    only(edge.receive(&invite.to, &invite.reply(100, "")));
    assert_eq!(edge.advance(Duration::from_secs(60)), []);
}

#[test]
fn a_refused_transport_is_followed_at_once() {
    let mut edge = Edge::with_nodes(2);
    let first = only(edge.receive(GATEWAY, &Caller::new("c1").invite()));
    let second = only(edge.refused(&first.to));
    assert!(second.first_line().starts_with("INVITE") && second.to != first.to);
    assert_eq!(abandoned(&edge, Cause::Refused), 1);
    assert_eq!(edge.leases(2).iter().sum::<u32>(), 1);
}

#[test]
fn a_connection_that_cannot_be_opened_is_followed_at_once() {
    let mut edge = Edge::with_nodes(2);
    let first = only(edge.receive(GATEWAY, &Caller::new("c1").invite()));
    let second = only(edge.send_failed());
    assert!(second.first_line().starts_with("INVITE") && second.to != first.to);
    let alone = only(Edge::with_nodes(1).receive(GATEWAY, &Caller::new("c1").invite()));
    let mut lonely = Edge::with_nodes(1);
    lonely.receive(GATEWAY, &Caller::new("c1").invite());
    let answer = only(lonely.refused(&alone.to));
    assert_eq!((answer.first_line(), answer.header("Retry-After")), ("SIP/2.0 503 Service Unavailable", Some("5")));
}

#[test]
fn a_503_that_means_not_started_goes_to_the_next_node_and_is_acknowledged_by_the_edge() {
    for reason in ["", "Reason: Q.850;cause=42\r\n"] {
        let mut edge = Edge::with_nodes(2);
        let caller = Caller::new("c1");
        let first = only(edge.receive(GATEWAY, &caller.invite()));
        only(edge.receive(&first.to, &first.reply(100, "")));
        let sent = edge.receive(&first.to, &first.reply(503, reason));
        assert_eq!(sent.len(), 2, "{:?}", lines(&sent));
        assert!(sent[0].first_line().starts_with("INVITE") && sent[0].to != first.to);
        assert!(sent[1].first_line().starts_with("ACK sip:100@pbx.example.com ") && sent[1].to == first.to);
        assert_eq!(sent[1].branch(), first.branch());
        assert_eq!(sent[1].header("To").unwrap(), "<sip:100@pbx.example.com>;tag=node");
        // The repeated 503 is acknowledged again and goes no further.
        let again = only(edge.receive(&first.to, &first.reply(503, reason)));
        assert_eq!((again.first_line(), &again.to), (sent[1].first_line(), &first.to));
    }
}

#[test]
fn a_503_whose_dialplan_ran_is_never_tried_elsewhere_and_reaches_the_caller_as_500() {
    let mut edge = Edge::with_nodes(3);
    let caller = Caller::new("c1");
    let first = only(edge.receive(GATEWAY, &caller.invite()));
    let answer = only(edge.receive(&first.to, &first.reply(503, "Reason: Q.850;cause=34\r\n")));
    assert_eq!((answer.to.as_str(), answer.first_line()), (GATEWAY, "SIP/2.0 500 Server Internal Error"));
    assert_eq!(answer.header("Reason"), Some("Q.850;cause=34"));
    assert_eq!(edge.leases(3), [0, 0, 0]);
    let ack = only(edge.receive(GATEWAY, &caller.ack_failure(&answer)));
    assert_eq!((&ack.to, ack.branch()), (&first.to, first.branch()));
}

#[test]
fn a_503_after_ringing_is_not_tried_elsewhere() {
    let mut edge = Edge::with_nodes(2);
    let first = only(edge.receive(GATEWAY, &Caller::new("c1").invite()));
    only(edge.receive(&first.to, &first.reply(180, "")));
    let answer = only(edge.receive(&first.to, &first.reply(503, "")));
    assert_eq!(answer.to, GATEWAY);
}

#[test]
fn when_every_node_refuses_the_caller_gets_one_clean_500_and_its_ack_reaches_the_last_node() {
    let mut edge = Edge::with_nodes(2);
    let caller = Caller::new("c1");
    let first = only(edge.receive(GATEWAY, &caller.invite()));
    let second = edge.receive(&first.to, &first.reply(503, "")).remove(0);
    let answer = only(edge.receive(&second.to, &second.reply(503, "")));
    assert_eq!((answer.to.as_str(), answer.first_line()), (GATEWAY, "SIP/2.0 500 Server Internal Error"));
    let ack = only(edge.receive(GATEWAY, &caller.ack_failure(&answer)));
    assert_eq!((&ack.to, ack.branch()), (&second.to, second.branch()));
    assert_eq!(edge.leases(2), [0, 0]);
}

#[test]
fn no_more_nodes_are_asked_than_max_tries_and_then_the_caller_is_told() {
    let mut edge = Edge::with_nodes(9);
    let caller = Caller::new("c1");
    let first = only(edge.receive(GATEWAY, &caller.invite()));
    let mut asked = vec![first.to.clone()];
    let sent = edge.advance(Duration::from_millis(3_900));
    asked.extend(sent.iter().filter(|s| s.first_line().starts_with("INVITE")).map(|s| s.to.clone()));
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), 3, "{:?}", lines(&sent));
    assert!(!sent.iter().any(|s| s.to == GATEWAY));
    let sent = edge.advance(Duration::from_millis(200));
    let answer = sent.iter().find(|s| s.to == GATEWAY).expect("an answer at the end of the budget");
    assert_eq!(answer.first_line(), "SIP/2.0 408 Request Timeout");
    assert_eq!(edge.leases(9).iter().sum::<u32>(), 0);
    assert_eq!(edge.receive(GATEWAY, &caller.ack_failure(answer)), []);
    let again = only(edge.receive(GATEWAY, &caller.invite()));
    assert_eq!(again.first_line(), "SIP/2.0 408 Request Timeout", "the same answer to a repetition");
}

#[test]
fn a_lone_node_gets_the_whole_budget() {
    let mut edge = Edge::with_nodes(1);
    let caller = Caller::new("c1");
    let invite = only(edge.receive(GATEWAY, &caller.invite()));
    assert_eq!(edge.advance(Duration::from_millis(3_500)), []);
    let ringing = only(edge.receive(&invite.to, &invite.reply(180, "")));
    assert_eq!(ringing.to, GATEWAY);
}

#[test]
fn a_late_2xx_from_a_node_that_was_given_up_wins_when_nobody_has_answered_yet() {
    let (mut edge, mut caller, first, second, cancel) = silent_first(2);
    edge.receive(&first.to, &cancel.reply(200, ""));
    only(edge.receive(&second.to, &second.reply(180, "")));
    let sent = edge.receive(&first.to, &first.reply(200, ""));
    assert_eq!(
        lines(&sent),
        [
            format!("{} <- CANCEL sip:100@pbx.example.com SIP/2.0", second.to),
            format!("{GATEWAY} <- SIP/2.0 200 Whatever"),
        ]
    );
    caller.enter(&sent[1]);
    assert_eq!(only(edge.receive(GATEWAY, &caller.in_dialog("ACK", 1))).to, first.to);
    edge.receive(&second.to, &sent[0].reply(200, ""));
    let ack = only(edge.receive(&second.to, &second.reply(487, "")));
    assert!(ack.first_line().starts_with("ACK") && ack.to == second.to);
    assert_eq!(edge.leases(2).iter().sum::<u32>(), 1);
    assert_eq!(only(edge.receive(GATEWAY, &caller.in_dialog("BYE", 2))).to, first.to);
    assert!(edge.events.iter().any(|e| matches!(e, Event::LateAnswer { forwarded: true, .. })));
}

#[test]
fn a_second_late_2xx_is_acknowledged_and_ended_by_the_edge() {
    let (mut edge, mut caller, first, second, cancel) = silent_first(2);
    edge.receive(&first.to, &cancel.reply(481, ""));
    let answer = only(edge.receive(&second.to, &second.reply(200, "")));
    caller.enter(&answer);
    edge.events.clear();
    let sent = edge.receive(&first.to, &first.reply(200, ""));
    assert_eq!(sent.len(), 2, "{:?} {:?}", lines(&sent), edge.events);
    assert!(sent[0].first_line().starts_with("ACK sip:node@") && sent[0].to == first.to);
    assert!(sent[1].first_line().starts_with("BYE sip:node@") && sent[1].to == first.to);
    assert_eq!(sent[1].header("CSeq"), Some("2 BYE"));
    assert_eq!(sent[1].header("To").unwrap(), "<sip:100@pbx.example.com>;tag=node");
    assert_eq!(edge.receive(&first.to, &sent[1].reply(200, "")), []);
    assert_eq!(edge.advance(Duration::from_secs(40)), []);
    assert_eq!(edge.leases(2).iter().sum::<u32>(), 1);
    assert!(edge.events.iter().any(|e| matches!(e, Event::LateAnswer { forwarded: false, .. })));
}

#[test]
fn a_late_2xx_after_the_edges_own_final_answer_is_ended_too() {
    let mut edge = Edge::with_nodes(1);
    let caller = Caller::new("c1");
    let invite = only(edge.receive(GATEWAY, &caller.invite()));
    let sent = edge.advance(Duration::from_millis(4_100));
    assert!(sent.iter().any(|s| s.to == GATEWAY && s.first_line() == "SIP/2.0 408 Request Timeout"));
    let sent = edge.receive(&invite.to, &invite.reply(200, ""));
    let methods: Vec<&str> = sent.iter().map(|s| s.first_line().split(' ').next().unwrap()).collect();
    assert_eq!(methods, ["ACK", "BYE"], "{:?}", lines(&sent));
    assert_eq!(edge.leases(1), [0]);
}

#[test]
fn a_late_2xx_after_the_call_has_ended_elsewhere_is_ended_by_the_edge() {
    let (mut edge, mut caller, first, second, _) = silent_first(2);
    caller.enter(&only(edge.receive(&second.to, &second.reply(200, ""))));
    let bye = only(edge.receive(GATEWAY, &caller.in_dialog("BYE", 2)));
    only(edge.receive(&bye.to, &bye.reply(200, "")));
    let sent = edge.receive(&first.to, &first.reply(200, ""));
    let [ack, bye] = &sent[..] else { panic!("{:?}", lines(&sent)) };
    assert!(ack.first_line().starts_with("ACK") && ack.to == first.to, "{}", ack.first_line());
    assert!(bye.first_line().starts_with("BYE") && bye.to == first.to, "{}", bye.first_line());
}

#[test]
fn a_late_ringing_from_a_node_that_was_given_up_is_cancelled_and_never_shown() {
    let (mut edge, _, first, second, cancel) = silent_first(2);
    edge.receive(&first.to, &cancel.reply(481, ""));
    let again = only(edge.receive(&first.to, &first.reply(180, "")));
    assert_eq!((again.first_line(), &again.to), (cancel.first_line(), &first.to));
    edge.receive(&first.to, &again.reply(200, ""));
    let ack = only(edge.receive(&first.to, &first.reply(487, "")));
    assert!(ack.first_line().starts_with("ACK") && ack.branch() == first.branch());
    let ringing = only(edge.receive(&second.to, &second.reply(180, "")));
    assert_eq!(ringing.to, GATEWAY);
}

#[test]
fn the_second_node_gets_the_invite_again_when_the_caller_no_longer_repeats_it() {
    let mut edge = Edge::with_nodes(2);
    let first = only(edge.receive(GATEWAY, &Caller::new("c1").invite()));
    only(edge.receive(&first.to, &first.reply(100, "")));
    let second = edge.receive(&first.to, &first.reply(503, "")).remove(0);
    let again = only(edge.advance(Duration::from_millis(600)));
    assert_eq!((&again.to, &again.text), (&second.to, &second.text));
}

#[test]
fn the_edges_final_answer_is_repeated_to_a_caller_who_was_told_trying() {
    let mut edge = Edge::with_nodes(1);
    let caller = Caller::new("c1");
    let first = only(edge.receive(GATEWAY, &caller.invite()));
    only(edge.receive(&first.to, &first.reply(180, "")));
    edge.receive(GATEWAY, &caller.cancel());
    let sent = edge.advance(Duration::from_millis(33_600));
    let answers: Vec<&Sent> = sent.iter().filter(|s| s.to == GATEWAY).collect();
    assert!(answers.len() >= 2, "{:?}", lines(&sent));
    edge.receive(GATEWAY, &caller.ack_failure(answers[0]));
    assert!(!edge.advance(Duration::from_secs(30)).iter().any(|s| s.to == GATEWAY));
}

#[test]
fn calls_that_wait_on_a_node_that_is_found_dead_are_taken_to_another_even_when_they_ring() {
    let mut edge = Edge::with_nodes(2);
    let caller = Caller::new("c1");
    let first = only(edge.receive(GATEWAY, &caller.invite()));
    only(edge.receive(&first.to, &first.reply(180, "")));
    edge.advance(Duration::from_secs(20));
    let dead = if first.to == node(1) { 1 } else { 2 };
    let sent = edge.node_down(dead);
    assert_eq!(sent.len(), 2, "{:?}", lines(&sent));
    assert!(sent[1].first_line().starts_with("INVITE") && sent[1].to != first.to);
    assert_eq!(abandoned(&edge, Cause::NodeDown), 1);
    let answer = only(edge.receive(&sent[1].to, &sent[1].reply(200, "")));
    assert_eq!(answer.to, GATEWAY);
}

/// A call rang on a node that died, and the node that it was taken to has not started it: it is taken further. It was given
/// up with a 503 or 408 of the edge's while other nodes were well, because its caller had been told of the ringing.
#[test]
fn a_call_that_rang_on_a_dead_node_is_taken_on_until_a_node_has_it() {
    type Mishap = fn(&mut Edge, &Sent) -> Vec<Sent>;
    let mishaps: [Mishap; 3] = [
        |edge, second| edge.refused(&second.to),
        |edge, _| edge.advance(Duration::from_millis(1_020)),
        |edge, second| edge.receive(&second.to, &second.reply(503, "")),
    ];
    for mishap in mishaps {
        let mut edge = Edge::with_nodes(3);
        let first = only(edge.receive(GATEWAY, &Caller::new("c1").invite()));
        only(edge.receive(&first.to, &first.reply(180, "")));
        edge.advance(Duration::from_secs(20));
        let second = edge.node_down((1..=3).find(|id| node(*id) == first.to).unwrap()).remove(1);
        let sent = mishap(&mut edge, &second);
        let third = sent.iter().find(|s| s.first_line().starts_with("INVITE") && s.to != second.to);
        let third = third.unwrap_or_else(|| panic!("{:?}", lines(&sent))).clone();
        assert!(third.to != first.to && !sent.iter().any(|s| s.to == GATEWAY), "{:?}", lines(&sent));
        // Once the dialplan runs there, nobody else is asked.
        only(edge.receive(&third.to, &third.reply(180, "")));
        assert_eq!(only(edge.receive(&third.to, &third.reply(503, ""))).to, GATEWAY);
    }
}

#[test]
fn explain_knows_every_try_and_its_result() {
    let (mut edge, _, _, second, _) = silent_first(2);
    only(edge.receive(&second.to, &second.reply(200, "")));
    edge.with_shard(|shard| {
        let key = shard.iter().next().unwrap().key;
        let explanation = shard.history.find(key).unwrap();
        let results: Vec<_> = explanation.tries.iter().map(|t| t.result.map(|(result, _)| result)).collect();
        use cordboard::calls::history::TryResult;
        assert_eq!(results, [Some(TryResult::Abandoned(Cause::Silence, None)), Some(TryResult::Answered(200))]);
        assert_eq!((&*explanation.from, &*explanation.rule), ("pri-1", "in"));
        assert_eq!(explanation.candidates.iter().count(), 2);
    });
}
