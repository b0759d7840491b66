//! Calls over a restart of the edge, which leaves of a lease what the store keeps.

use std::time::Duration;

use cordboard::dispatch::node::Admin;

use crate::harness::*;

/// A call whose first node said nothing, and which the second one has now, after a restart.
fn restarted_on_the_second_node() -> (Edge, Caller, Sent, Sent) {
    let mut edge = Edge::with_nodes(2);
    let caller = Caller::new("c1");
    let first = only(edge.receive(GATEWAY, &caller.invite()));
    let second = edge.advance(Duration::from_millis(1_020)).remove(1);
    edge.restart(2);
    (edge, caller, first, second)
}

/// The store keeps the node that has a call and the number of its try, and nothing of the tries before. The
/// acknowledgement of an earlier node's late failure went to the node that has the call.
#[test]
fn a_late_failure_of_an_earlier_node_is_acknowledged_to_that_node() {
    let (mut edge, _, first, second) = restarted_on_the_second_node();
    let ack = only(edge.receive(&first.to, &first.reply(487, "")));
    assert_eq!((ack.first_line().split(' ').next(), &ack.to, ack.branch()), (Some("ACK"), &first.to, first.branch()));
    let ringing = only(edge.receive(&second.to, &second.reply(180, "")));
    assert_eq!(ringing.to, GATEWAY);
    assert_eq!((edge.leases(2).iter().sum::<u32>(), edge.phase()), (1, Some("trying")));
}

/// In the same way the place was taken on the wrong node when the earlier one answered after all.
#[test]
fn a_late_2xx_of_an_earlier_node_takes_the_call_to_that_node() {
    let (mut edge, mut caller, first, second) = restarted_on_the_second_node();
    let answer = only(edge.receive(&first.to, &first.reply(200, "")));
    assert_eq!(answer.to, GATEWAY);
    let leases = [node(1), node(2)].map(|node| u32::from(node == first.to));
    assert_eq!(edge.leases(2), leases);
    caller.enter(&answer);
    assert_eq!(only(edge.receive(GATEWAY, &caller.in_dialog("ACK", 1))).to, first.to);
    // Whom the INVITE can no longer be taken back from is told when it answers.
    let sent = edge.receive(&second.to, &second.reply(200, ""));
    assert_eq!(lines(&sent).len(), 2, "{:?}", lines(&sent));
    assert!(sent.iter().all(|sent| sent.to == second.to), "{:?}", lines(&sent));
    assert_eq!(edge.leases(2), leases);
}

/// A caller can get a second 2xx, of a node that is no longer configured, and ends that dialog himself. His BYE ended the
/// lease of the call that went on.
#[test]
fn a_bye_to_another_node_does_not_end_the_call() {
    let (mut edge, mut caller, first, second) = restarted_on_the_second_node();
    let answer = only(edge.receive(&second.to, &second.reply(200, "")));
    caller.enter(&answer);
    only(edge.receive(GATEWAY, &caller.in_dialog("ACK", 1)));
    let mut fork = Caller::new("c1");
    fork.enter(&Sent { to: GATEWAY.to_owned(), text: first.reply(200, "") });
    let bye = only(edge.receive(GATEWAY, &fork.in_dialog("BYE", 2)));
    assert_eq!(bye.to, first.to);
    only(edge.receive(&first.to, &bye.reply(200, "")));
    assert_eq!((edge.leases(2).iter().sum::<u32>(), edge.phase()), (1, Some("up")));
    let bye = only(edge.receive(GATEWAY, &caller.in_dialog("BYE", 3)));
    only(edge.receive(&second.to, &bye.reply(200, "")));
    assert_eq!(edge.leases(2), [0, 0]);
}

/// A call whose first try was forgotten with the edge's power, and whose repeated INVITE has gone to the other node: under
/// the same number of the try, so with the same branch.
fn offered_anew_to_the_second_node() -> (Edge, Caller, Sent, Sent) {
    let mut edge = Edge::with_nodes(2);
    let caller = Caller::new("c1");
    let first = only(edge.receive(GATEWAY, &caller.invite()));
    edge.forget(2);
    edge.set_admin((1..=2).find(|id| node(*id) == first.to).unwrap(), Admin::Draining);
    let second = only(edge.receive(GATEWAY, &caller.invite()));
    assert!(second.to != first.to && second.branch() == first.branch());
    (edge, caller, first, second)
}

/// Its answers were taken for those of the node that has the call: acknowledged there, and the call counted there.
#[test]
fn answers_of_a_forgotten_node_are_not_taken_for_those_of_the_node_that_has_the_call() {
    let (mut edge, _, first, second) = offered_anew_to_the_second_node();
    assert_eq!(edge.receive(&first.to, &first.reply(180, "")), []);
    let ack = only(edge.receive(&first.to, &first.reply(486, "")));
    assert_eq!((ack.first_line().split(' ').next(), &ack.to), (Some("ACK"), &first.to));
    assert_eq!(only(edge.receive(&second.to, &second.reply(180, ""))).to, GATEWAY);

    let (mut edge, mut caller, first, second) = offered_anew_to_the_second_node();
    only(edge.receive(&second.to, &second.reply(180, "")));
    let mut sent = edge.receive(&first.to, &first.reply(200, ""));
    let answer = sent.pop().unwrap();
    assert_eq!((&answer.to[..], only(sent).to), (GATEWAY, second.to.clone()));
    caller.enter(&answer);
    assert_eq!(only(edge.receive(GATEWAY, &caller.in_dialog("ACK", 1))).to, first.to);
    assert_eq!(edge.leases(2), [node(1), node(2)].map(|node| u32::from(node == first.to)));
    let ack = only(edge.receive(&second.to, &second.reply(487, "")));
    assert_eq!((ack.first_line().split(' ').next(), &ack.to), (Some("ACK"), &second.to));
}
