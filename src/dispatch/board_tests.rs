//! The board's promises.

use super::*;
use crate::transport::flow::{ListenerId, Protocol, Target};

const POOL: PoolId = PoolId(0);
const OTHER: PoolId = PoolId(1);

fn at(secs: u64) -> Moment {
    Moment::from_micros(1_000_000 * (secs + 1_000))
}

fn way(node: u32) -> Way {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 5_000 + node as u16));
    Way::Target { listener: ListenerId(1), target: Target { protocol: Protocol::Udp, address } }
}

fn healthy(node: u32) -> Assessment {
    Assessment { verdict: Verdict::Up, speed_64ths: 64, way: Some(way(node)), ..Assessment::default() }
}

fn plan(id: PoolId, nodes: &[(u32, u32)]) -> PoolPlan {
    let member = |(node, weight): &(u32, u32)| MemberPlan {
        node: NodeId(*node),
        weight: *weight,
        rank: Rank::default(),
        name_hash: u64::from(*node) * 7_919,
    };
    PoolPlan {
        id,
        algorithm: Algorithm::WeightedLeastCalls,
        members: nodes.iter().map(member).collect(),
        overflow: None,
        sticky_until_percent: None,
        slow_start: Duration::ZERO,
        panic: true,
    }
}

fn board(pools: Vec<PoolPlan>, max_calls: Option<u32>) -> Board {
    let mut board = Board::new(1);
    let mut ids: Vec<u32> = pools.iter().flat_map(|p| p.members.iter().map(|m| m.node.0)).collect();
    ids.sort_unstable();
    ids.dedup();
    let nodes: Vec<NodePlan> = ids.iter().map(|id| NodePlan { id: NodeId(*id), max_calls }).collect();
    board.apply(&nodes, pools, at(0));
    for id in ids {
        board.assess(NodeId(id), healthy(id), at(0));
    }
    board
}

fn pick(key: u128) -> Pick<'static> {
    Pick { pool: POOL, key: CallKey(key), sticky: None, prefer: None, beside: None, avoid: &[] }
}

fn leases(board: &Board, node: u32) -> u32 {
    board.view(NodeId(node)).unwrap().leases
}

#[test]
fn calls_spread_by_weight_and_every_place_comes_back() {
    let mut board = board(vec![plan(POOL, &[(0, 10), (1, 20), (2, 70)])], None);
    let seats: Vec<Seat> = (0..1_000).map(|key| board.take(pick(key)).unwrap().seat).collect();
    assert_eq!([leases(&board, 0), leases(&board, 1), leases(&board, 2)], [100, 200, 700]);
    seats.into_iter().for_each(|seat| board.give_back(seat));
    assert_eq!([leases(&board, 0), leases(&board, 1), leases(&board, 2)], [0, 0, 0]);
}

#[test]
fn a_node_takes_no_more_than_max_calls_and_full_is_not_dead() {
    let mut board = board(vec![plan(POOL, &[(0, 1), (1, 1)])], Some(2));
    let mut seats: Vec<Seat> = (0..4).map(|key| board.take(pick(key)).unwrap().seat).collect();
    board.check_invariants();
    assert_eq!(board.take(pick(9)).unwrap_err().why, NoSeatWhy::Full);
    board.give_back(seats.pop().unwrap());
    assert!(board.take(pick(9)).is_ok());
    for node in 0..2 {
        board.assess(NodeId(node), Assessment { verdict: Verdict::Down, ..healthy(node) }, at(1));
    }
    assert_eq!(board.take(pick(10)).unwrap_err().why, NoSeatWhy::NoneAlive, "full nodes are no refuge in a panic");
}

#[test]
fn operator_health_and_the_nodes_own_word_each_keep_calls_away() {
    let mut board = board(vec![plan(POOL, &[(0, 1), (1, 1), (2, 1), (3, 1)])], None);
    board.set_admin(NodeId(0), Admin::Draining);
    board.assess(NodeId(1), Assessment { verdict: Verdict::Down, ..healthy(1) }, at(1));
    board.assess(NodeId(2), Assessment { closed: Some(ClosedWhy::Probe503), ..healthy(2) }, at(1));
    for key in 0..20 {
        assert_eq!(board.take(pick(key)).unwrap().seat.node(), NodeId(3));
    }
    let barred = [0, 1, 2, 3].map(|id| board.view(NodeId(id)).unwrap().barred);
    assert_eq!(barred, [Some(Barred::Admin), Some(Barred::Down), Some(Barred::Closed), None]);
}

#[test]
fn a_reload_forgets_neither_counts_nor_states() {
    let mut board = board(vec![plan(POOL, &[(0, 1), (1, 1)])], None);
    let seats: Vec<Seat> = (0..10).map(|key| board.take(pick(key)).unwrap().seat).collect();
    board.set_admin(NodeId(1), Admin::Disabled);
    let nodes = [NodePlan { id: NodeId(0), max_calls: Some(9) }, NodePlan { id: NodeId(2), max_calls: None }];
    board.apply(&nodes, vec![plan(POOL, &[(0, 5), (2, 1)])], at(5));
    assert_eq!(leases(&board, 0) + leases(&board, 1), 10, "a node that is gone keeps its calls");
    board.assess(NodeId(2), healthy(2), at(5));
    board.apply(&nodes, vec![plan(POOL, &[(0, 5), (1, 1), (2, 1)])], at(6));
    assert_eq!(board.view(NodeId(1)).unwrap().admin, Admin::Disabled);
    seats.into_iter().for_each(|seat| board.give_back(seat));
    assert_eq!(leases(&board, 0) + leases(&board, 1), 0);
}

#[test]
fn who_was_tried_is_not_chosen_again_and_stays_in_the_running_for_others() {
    let mut board = board(vec![plan(POOL, &[(0, 100), (1, 1), (2, 1)])], None);
    for key in 0..10 {
        let tried = [NodeId(0), NodeId(1)];
        let picked = board.take(Pick { avoid: &tried, ..pick(key) }).unwrap();
        assert_eq!(picked.seat.node(), NodeId(2));
        board.give_back(picked.seat);
    }
    assert_eq!(board.take(pick(0)).unwrap().seat.node(), NodeId(0));
    let all = [NodeId(0), NodeId(1), NodeId(2)];
    assert_eq!(board.take(Pick { avoid: &all, ..pick(1) }).unwrap_err().why, NoSeatWhy::NoneAlive);
}

#[test]
fn when_all_look_dead_the_last_good_one_is_tried_unless_panic_is_off() {
    let mut board = board(vec![plan(POOL, &[(0, 1), (1, 1), (2, 1)])], None);
    for node in 0..3 {
        let dead = Assessment { verdict: Verdict::Down, last_good: at(u64::from(node) % 2 * 10), ..healthy(node) };
        board.assess(NodeId(node), dead, at(20));
    }
    assert!(board.looks_dead(POOL));
    let picked = board.take(pick(0)).unwrap();
    assert_eq!((picked.seat.node(), picked.choice), (NodeId(1), Choice::Panic));
    let calm = PoolPlan { panic: false, ..plan(POOL, &[(0, 1), (1, 1), (2, 1)]) };
    board.apply(&[], vec![calm], at(21));
    assert_eq!(board.take(pick(1)).unwrap_err().why, NoSeatWhy::NoneAlive);
}

#[test]
fn a_closed_pool_is_not_a_dead_one() {
    let mut board = board(vec![plan(POOL, &[(0, 1)])], None);
    board.assess(NodeId(0), Assessment { closed: Some(ClosedWhy::Probe503), ..healthy(0) }, at(1));
    assert_eq!(board.take(pick(0)).unwrap_err().why, NoSeatWhy::NoneAlive);
}

#[test]
fn the_overflow_pool_serves_when_the_first_is_full_or_dead() {
    let first = PoolPlan { overflow: Some(OTHER), ..plan(POOL, &[(0, 1)]) };
    let mut board = board(vec![first, plan(OTHER, &[(5, 1)])], Some(1));
    assert_eq!(board.take(pick(0)).unwrap().seat.node(), NodeId(0));
    let picked = board.take(pick(1)).unwrap();
    assert_eq!((picked.seat.node(), picked.pool), (NodeId(5), OTHER));
    assert_eq!(board.take(pick(2)).unwrap_err().why, NoSeatWhy::Full);
}

#[test]
fn later_tiers_serve_only_when_earlier_ones_cannot() {
    let mut tiers = plan(POOL, &[(0, 1), (1, 100)]);
    tiers.members[1].rank.priority = 5;
    let mut board = board(vec![tiers], Some(3));
    let nodes: Vec<u32> = (0..5).map(|key| board.take(pick(key)).unwrap().seat.node().0).collect();
    assert_eq!(nodes, [0, 0, 0, 1, 1]);
}

#[test]
fn nodes_of_another_site_serve_when_those_of_the_own_one_are_full_or_dead_whatever_their_priority() {
    let mut sites = plan(POOL, &[(0, 1), (1, 1), (2, 100)]);
    sites.members[1].rank.priority = 5;
    sites.members[2].rank.is_far = true;
    let mut board = board(vec![sites], Some(2));
    let nodes: Vec<u32> = (0..6).map(|key| board.take(pick(key)).unwrap().seat.node().0).collect();
    assert_eq!(nodes, [0, 0, 1, 1, 2, 2]);
    assert_eq!(board.take(pick(6)).unwrap_err().why, NoSeatWhy::Full);
}

#[test]
fn a_called_number_is_at_home_at_the_own_site_if_that_has_a_node() {
    let mut sites = plan(POOL, &[(0, 1), (1, 1), (2, 1), (3, 1)]);
    sites.sticky_until_percent = Some(100);
    sites.members[2..].iter_mut().for_each(|member| member.rank.is_far = true);
    let mut near = board(vec![sites.clone()], Some(9));
    for number in 0..9 {
        let home = near.take(Pick { sticky: Some(number), ..pick(number.into()) }).unwrap().seat.node();
        assert!(home.0 < 2, "{number} is at home on {home:?}");
    }
    sites.members.iter_mut().for_each(|member| member.rank.is_far = true);
    let mut far = board(vec![sites], Some(9));
    assert!(far.take(Pick { sticky: Some(1), ..pick(1) }).is_ok());
}

#[test]
fn a_called_number_stays_at_home_until_home_is_loaded() {
    let sticky = PoolPlan { sticky_until_percent: Some(50), ..plan(POOL, &[(0, 1), (1, 1), (2, 1), (3, 1)]) };
    let mut board = board(vec![sticky], Some(10));
    let called = Pick { sticky: Some(77), ..pick(0) };
    let first: Vec<NodeId> = (0..5).map(|_| board.take(called).unwrap().seat.node()).collect();
    assert!(first.iter().all(|node| *node == first[0]), "{first:?}");
    assert_ne!(board.take(called).unwrap().seat.node(), first[0]);
}

#[test]
fn a_call_that_comes_again_goes_to_the_node_it_had() {
    let mut board = board(vec![plan(POOL, &[(0, 1), (1, 1)])], None);
    for key in 0..10 {
        let picked = board.take(Pick { prefer: Some(NodeId(1)), ..pick(key) }).unwrap();
        assert_eq!((picked.seat.node(), picked.choice), (NodeId(1), Choice::Affinity));
    }
    board.set_admin(NodeId(1), Admin::Draining);
    assert_eq!(board.take(Pick { prefer: Some(NodeId(1)), ..pick(99) }).unwrap().seat.node(), NodeId(0));
}

#[test]
fn a_slow_node_and_a_warming_node_get_less() {
    let slow = PoolPlan { slow_start: Duration::from_secs(30), ..plan(POOL, &[(0, 10), (1, 10)]) };
    let mut board = board(vec![slow], None);
    board.assess(NodeId(1), Assessment { speed_64ths: 16, ..healthy(1) }, at(1));
    (0..100).for_each(|key| drop(board.take(pick(key)).map(|p| p.seat)));
    assert_eq!([leases(&board, 0), leases(&board, 1)], [80, 20]);
    board.assess(NodeId(1), Assessment { up_since: at(100), ..healthy(1) }, at(100));
    assert_eq!(board.view(NodeId(1)).unwrap().share_64ths, 8);
    board.warm_up(at(115));
    assert_eq!(board.view(NodeId(1)).unwrap().share_64ths, 40);
    board.warm_up(at(130));
    assert_eq!(board.view(NodeId(1)).unwrap().share_64ths, 64);
}

#[test]
fn every_algorithm_keeps_calls_away_from_nodes_that_may_not_take_them() {
    for algorithm in [Algorithm::RoundRobin, Algorithm::Random, Algorithm::Hash, Algorithm::WeightedLeastCalls] {
        let plan = PoolPlan { algorithm, ..plan(POOL, &[(0, 1), (1, 2), (2, 3)]) };
        let mut board = board(vec![plan], None);
        board.assess(NodeId(1), Assessment { verdict: Verdict::Down, ..healthy(1) }, at(1));
        for key in 0..200u128 {
            let picked = board.take(pick(key * 0x9e37_79b9_7f4a_7c15)).unwrap();
            assert_ne!(picked.seat.node(), NodeId(1), "{}", algorithm.as_str());
        }
        assert!(leases(&board, 0) > 0 && leases(&board, 2) > leases(&board, 0), "{}", algorithm.as_str());
    }
}

#[test]
fn a_request_outside_calls_finds_the_same_node_each_time() {
    let mut board = board(vec![plan(POOL, &[(0, 1), (1, 1), (2, 1)])], None);
    let homes: Vec<u32> = (0..50).map(|key| board.home_of(POOL, key).unwrap().0.0).collect();
    let again: Vec<u32> = (0..50).map(|key| board.home_of(POOL, key).unwrap().0.0).collect();
    assert_eq!(homes, again);
    assert!((0..3).all(|node| homes.contains(&node)));
    board.set_admin(NodeId(0), Admin::Draining);
    assert!((0..50).all(|key| board.home_of(POOL, key).unwrap().0.0 != 0));
}
