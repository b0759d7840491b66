//! What nodes say of their calls, after a restart that lost everything and when a call is gone.

use cordboard::asterisk::channels::Direction;
use cordboard::calls::history::EndCause;
use cordboard::proxy::Event;

use crate::harness::*;

fn ends(edge: &Edge) -> Vec<EndCause> {
    let cause = |event: &Event| match event {
        Event::LeaseEnded { cause, .. } => Some(*cause),
        _ => None,
    };
    edge.events.iter().filter_map(cause).collect()
}

#[test]
fn a_call_that_only_its_node_knew_takes_its_place_and_ends_by_its_own_bye() {
    let mut edge = Edge::with_nodes(2);
    let (caller, at, _) = established(&mut edge, "c1");
    edge.forget(2);
    let id = if at == node(1) { 1 } else { 2 };
    assert!(edge.node_tells(id, "c1", Direction::ToNode, "+15551234"));
    assert!(!edge.node_tells(id, "c1", Direction::ToNode, "+15551234"), "it has its lease");
    assert_eq!((edge.leases_on(id), edge.phase()), (1, Some("up")));
    let bye = only(edge.receive(GATEWAY, &caller.in_dialog("BYE", 2)));
    assert_eq!(bye.to, at);
    assert_eq!(edge.phase(), Some("ending"));
    only(edge.receive(&at, &bye.reply(200, "")));
    assert_eq!((edge.leases(2), ends(&edge)), (vec![0, 0], vec![EndCause::Bye]));
}

#[test]
fn what_the_node_could_not_know_is_learnt_from_the_next_message_and_serves_one_without_route() {
    let mut edge = Edge::with_nodes(1);
    let (caller, at, _) = established(&mut edge, "c1");
    edge.forget(1);
    assert!(edge.node_tells(1, "c1", Direction::ToNode, "+15551234"));
    let bare = |cseq| {
        let text = caller.in_dialog("INFO", cseq);
        text.lines().filter(|line| !line.starts_with("Route:")).map(|line| format!("{line}\r\n")).collect::<String>()
    };
    let refused = only(edge.receive(GATEWAY, &bare(2)));
    assert_eq!(
        (refused.to.as_str(), &refused.first_line()[..11]),
        (GATEWAY, "SIP/2.0 481"),
        "nobody knows its way yet"
    );
    assert_eq!(only(edge.receive(&at, &caller.said_by(&at, "INFO", 7))).to, GATEWAY);
    assert_eq!(only(edge.receive(GATEWAY, &bare(3))).to, at);
}

#[test]
fn a_nodes_call_to_an_agent_is_the_agents_and_one_to_the_outside_the_gateways() {
    let mut edge = Edge::with_registrar();
    assert!(edge.node_tells(1, "c1", Direction::FromNode, "1001"));
    assert!(edge.node_tells(2, "c2", Direction::FromNode, "0301234"));
    assert!(edge.node_tells(2, "c3", Direction::ToNode, "1002"));
    assert_eq!((edge.agent_leases(), edge.gateway_leases(), edge.leases(2)), (1, 1, vec![0, 1]));
    let callers = edge.with_shard(|shard| {
        let mut list: Vec<_> = shard.iter().map(|l| (l.names.call_id().to_vec(), l.agent.clone())).collect();
        list.sort();
        list.into_iter()
            .map(|(_, agent)| agent.map(|agent| String::from_utf8_lossy(&agent).into_owned()))
            .collect::<Vec<_>>()
    });
    assert_eq!(callers, [None, None, Some("1002".to_owned())]);
}

#[test]
fn a_call_that_its_node_has_not_ends_and_another_one_of_its_call_id_does_not() {
    let mut edge = Edge::with_nodes(1);
    established(&mut edge, "c1");
    let answered = edge.with_shard(|shard| shard.iter().next().unwrap().answered().unwrap());
    assert!(!edge.node_has_not("c1", cordboard::moment::Moment::ZERO));
    assert!(!edge.node_has_not("c2", answered));
    assert!(edge.node_has_not("c1", answered));
    assert!(!edge.node_has_not("c1", answered), "once");
    assert_eq!((edge.leases(1), ends(&edge)), (vec![0], vec![EndCause::Reconciled]));
}

#[test]
fn a_call_in_set_up_is_left_to_its_own_time_outs() {
    let mut edge = Edge::with_nodes(1);
    only(edge.receive(GATEWAY, &Caller::new("c1").invite()));
    let opened = edge.with_shard(|shard| shard.iter().next().unwrap().opened);
    assert!(!edge.node_has_not("c1", opened));
    assert!(!edge.node_tells(1, "c1", Direction::ToNode, "+15551234"));
    assert_eq!((edge.leases(1), edge.phase()), (vec![1], Some("trying")));
}
