//! Requests inside a call, from either side.

use cordboard::dispatch::health::Verdict;
use cordboard::dispatch::node::Admin;
use cordboard::proxy::Event;

use crate::harness::*;

#[test]
fn requests_in_a_call_reach_its_node_also_while_it_drains() {
    let mut edge = Edge::with_nodes(2);
    let (caller, at, _) = established(&mut edge, "c1");
    let id = if at == node(1) { 1 } else { 2 };
    edge.set_admin(id, Admin::Draining);
    for method in ["INVITE", "INFO", "UPDATE", "REFER", "MESSAGE", "FOO"] {
        let request = only(edge.receive(GATEWAY, &caller.in_dialog(method, 5)));
        assert_eq!(request.to, at, "{method}");
        assert_eq!(only(edge.receive(&at, &request.reply(200, ""))).to, GATEWAY);
        let back = only(edge.receive(&at, &caller.said_by(&at, method, 6)));
        assert_eq!(back.to, GATEWAY, "{method}");
        assert_eq!(only(edge.receive(GATEWAY, &back.reply(200, ""))).to, at);
    }
}

#[test]
fn the_message_alone_is_enough_and_a_lost_lease_is_made_anew() {
    let mut edge = Edge::with_nodes(3);
    let (caller, at, _) = established(&mut edge, "c1");
    let mut restarted = Edge::with_nodes(3);
    let request = only(restarted.receive(GATEWAY, &caller.in_dialog("INFO", 2)));
    assert_eq!(request.to, at);
    assert_eq!(restarted.leases(3).iter().sum::<u32>(), 1);
    let bye = only(restarted.receive(GATEWAY, &caller.in_dialog("BYE", 3)));
    only(restarted.receive(&at, &bye.reply(200, "")));
    assert_eq!(restarted.leases(3), [0, 0, 0]);
}

#[test]
fn a_bye_of_an_unknown_call_passes_and_takes_no_place() {
    let mut edge = Edge::with_nodes(3);
    let (caller, at, _) = established(&mut edge, "c1");
    let mut restarted = Edge::with_nodes(3);
    let bye = only(restarted.receive(GATEWAY, &caller.in_dialog("BYE", 3)));
    assert_eq!((bye.to, restarted.leases(3)), (at, vec![0, 0, 0]));
}

/// The NOTIFYs to a phone's lamps once held a place on the node for as long as a call may last, and a drain waited for them.
#[test]
fn a_subscription_passes_both_ways_and_takes_no_place() {
    let mut edge = Edge::with_nodes(3);
    let (caller, at, _) = established(&mut edge, "c1");
    let mut restarted = Edge::with_nodes(3);
    let refresh = only(restarted.receive(GATEWAY, &caller.in_dialog("SUBSCRIBE", 2)));
    let notice = only(restarted.receive(&at, &caller.said_by(&at, "NOTIFY", 2)));
    assert_eq!((refresh.to, notice.to.as_str()), (at, GATEWAY));
    assert_eq!(restarted.leases(3), [0, 0, 0]);
}

#[test]
fn a_request_without_the_edges_route_finds_its_node_by_call_id_if_it_is_trusted() {
    let mut edge = Edge::with_nodes(3);
    let (caller, at, _) = established(&mut edge, "c1");
    let without =
        |text: String| text.split("\r\n").filter(|line| !line.starts_with("Route:")).collect::<Vec<_>>().join("\r\n");
    assert_eq!(only(edge.receive(GATEWAY, &without(caller.in_dialog("INFO", 2)))).to, at);
    assert_eq!(only(edge.receive(&at, &without(caller.said_by(&at, "INFO", 2)))).to, GATEWAY);
    let refused = only(edge.receive(STRANGER, &without(caller.in_dialog("INFO", 3))));
    assert_eq!(refused.first_line(), "SIP/2.0 403 Forbidden");
}

#[test]
fn a_token_opens_the_way_to_its_node_and_to_nowhere_else() {
    let mut edge = Edge::with_nodes(3);
    let (caller, at, _) = established(&mut edge, "c1");
    let elsewhere = caller.in_dialog("INFO", 2).replacen("INFO sip:node@", "INFO sip:evil@6.6.6.6;x=", 1);
    assert_eq!(only(edge.receive(STRANGER, &elsewhere)).to, at, "the Request-URI of a stranger decides nothing");
    let other_call = caller.in_dialog("INFO", 2).replace("Call-ID: c1", "Call-ID: c2");
    assert_eq!(only(edge.receive(STRANGER, &other_call)).first_line(), "SIP/2.0 403 Forbidden");
    let forged = caller.in_dialog("INFO", 2).replace(";cb=", ";cb=0");
    assert_eq!(only(edge.receive(STRANGER, &forged)).first_line(), "SIP/2.0 403 Forbidden");
}

#[test]
fn requests_for_a_dead_node_are_answered_at_once_and_the_call_ends() {
    let mut edge = Edge::with_nodes(2);
    let (caller, at, _) = established(&mut edge, "c1");
    let (other, other_at, _) = established(&mut edge, "c2");
    let id = if at == node(1) { 1 } else { 2 };
    edge.assess(id, Verdict::Down);
    let sent = edge.receive(GATEWAY, &caller.in_dialog("BYE", 2));
    let [bye, answer] = &sent[..] else { panic!("{:?}", lines(&sent)) };
    assert_eq!((answer.to.as_str(), answer.first_line()), (GATEWAY, "SIP/2.0 481 Call/Transaction Does Not Exist"));
    assert_eq!(bye.to, at, "a node that only froze ends the call when it wakes");
    assert_eq!(edge.leases_on(id), 0);
    assert_eq!(only(edge.receive(GATEWAY, &other.in_dialog("INFO", 2))).to, other_at, "the other node's call goes on");
}

#[test]
fn a_bye_that_is_repeated_after_its_node_was_found_dead_ends_the_call() {
    let mut edge = Edge::with_nodes(2);
    let (caller, at, _) = established(&mut edge, "c1");
    let id = if at == node(1) { 1 } else { 2 };
    only(edge.receive(GATEWAY, &caller.in_dialog("BYE", 2)));
    edge.assess(id, Verdict::Down);
    let sent = edge.receive(GATEWAY, &caller.in_dialog("BYE", 2));
    let [_, answer] = &sent[..] else { panic!("{:?}", lines(&sent)) };
    assert_eq!(answer.first_line(), "SIP/2.0 481 Call/Transaction Does Not Exist");
    assert_eq!(edge.leases_on(id), 0);
}

#[test]
fn while_every_node_looks_dead_requests_are_tried_all_the_same() {
    let mut edge = Edge::with_nodes(1);
    let (caller, at, _) = established(&mut edge, "c1");
    edge.assess(1, Verdict::Down);
    assert_eq!(only(edge.receive(GATEWAY, &caller.in_dialog("BYE", 2))).to, at);
}

#[test]
fn an_in_dialog_481_ends_the_call() {
    let mut edge = Edge::with_nodes(1);
    let (caller, at, _) = established(&mut edge, "c1");
    let info = only(edge.receive(GATEWAY, &caller.in_dialog("INFO", 2)));
    only(edge.receive(&at, &info.reply(481, "")));
    assert_eq!(edge.leases(1), [0]);
}

#[test]
fn a_strict_router_ahead_is_understood() {
    let mut edge = Edge::with_nodes(1);
    let (caller, at, _) = established(&mut edge, "c1");
    let loose = caller.in_dialog("INFO", 2);
    let route = loose.lines().find(|l| l.starts_with("Route:")).unwrap().to_owned();
    let uri = route.trim_start_matches("Route: <").trim_end_matches('>').to_owned();
    let contact = loose.split(' ').nth(1).unwrap().to_owned();
    let strict = loose.replacen(&contact, &uri, 1).replace(&route, &format!("Route: <{contact}>"));
    let request = only(edge.receive(GATEWAY, &strict));
    assert_eq!((request.to.as_str(), request.header("Route")), (at.as_str(), None));
    assert_eq!(request.first_line(), format!("INFO {contact} SIP/2.0"));
}

#[test]
fn a_forged_response_goes_nowhere() {
    let mut edge = Edge::with_nodes(1);
    let invite = only(edge.receive(GATEWAY, &Caller::new("c1").invite()));
    let branch = invite.branch().to_owned();
    let mut forged = branch.clone().into_bytes();
    forged[12] = if forged[12] == b'0' { b'1' } else { b'0' };
    let reply = invite.reply(200, "").replace(&branch, &String::from_utf8(forged).unwrap());
    assert_eq!(edge.receive(STRANGER, &reply), []);
    assert_eq!(edge.receive(STRANGER, &invite.reply(200, "").replace("z9hG4bKcb", "z9hG4bKxx")), []);
    assert_eq!(edge.phase(), Some("trying"));
    assert!(edge.events.iter().any(|e| matches!(e, Event::Dropped(_))));
}

#[test]
fn the_gateways_contact_is_followed_when_it_is_a_name() {
    let mut edge = Edge::with_nodes(1);
    let (caller, at, _) = established(&mut edge, "c1");
    let request = caller.said_by(&at, "INFO", 2).replacen(GATEWAY, "gw.example.net:5070", 1);
    assert_eq!(only(edge.receive(&at, &request)).to, "name gw.example.net Some(5070)");
}
