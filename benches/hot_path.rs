//! One operation, so many times: what `benches/run` counts instructions of.
//!
//! `hot_path OPERATION COUNT`. Without arguments it names the operations; those of a call, whose name begins with `call-`, come with what
//! they should cost, and have to be counted inside [`whole_call::counted`] alone. Of the others two runs of different length under an instruction counter tell what one operation costs, whatever
//! starting up costs.

#![allow(clippy::unwrap_used)]

#[path = "../tests/scenarios/crowd.rs"]
#[allow(dead_code)]
mod crowd;
#[path = "../tests/scenarios/harness.rs"]
#[allow(dead_code)]
mod harness;
#[path = "parts/whole_call.rs"]
mod whole_call;

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use cordboard::calls::lease::Way;
use cordboard::calls::{CallKey, NodeId, PoolId, Seat};
use cordboard::dispatch::board::{Algorithm, Assessment, MemberPlan, NodePlan, PoolPlan, Rank};
use cordboard::dispatch::health::Verdict;
use cordboard::dispatch::{Board, Pick};
use cordboard::moment::Moment;
use cordboard::sip::parse::{Framing, Index, parse};
use cordboard::transport::flow::{ListenerId, Protocol, Target};

use cordboard::registrar::Aor;

use crowd::Crowd;
use harness::*;

/// Operations and what they are.
const OPERATIONS: [(&str, &str); 15] = [
    ("parse-invite", "reading an INVITE of 1.2 kB"),
    ("invite", "a new INVITE: read, choose, lease, forward"),
    ("180", "a 180: read, prove, forward"),
    ("200", "the 200 to INVITE, repeated"),
    ("ack", "an ACK by its token"),
    ("info", "an INFO by its token"),
    ("bye", "a BYE by its token"),
    ("take-5-equal", "choose, take and give back among 5 nodes of one weight"),
    ("take-1000-equal", "the same among 1,000"),
    ("take-5-ten", "the same among 5 nodes of 5 weights"),
    ("take-1000-ten", "the same among 1,000 nodes of ten weights"),
    ("take-5-all", "the same among 5 nodes, all weights different"),
    ("take-1000-all", "the same among 1,000 nodes, all weights different"),
    ("locate-1000", "where a user's phone is, among 1,000 users"),
    ("locate-1000000", "the same among 1,000,000"),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let [operation, count] = arguments.as_slice() else {
        OPERATIONS.iter().for_each(|(name, what)| println!("{name}\t{what}"));
        whole_call::MESSAGES.iter().for_each(|(name, what, target)| println!("{name}\t{what}\t{target}"));
        return;
    };
    run(operation, count.parse().expect("a count"));
}

fn run(operation: &str, count: usize) {
    match operation {
        "parse-invite" => parsing(count),
        "invite" => invites(count),
        "take-5-equal" => taking(5, 1, count),
        "take-1000-equal" => taking(1_000, 1, count),
        "take-5-ten" => taking(5, 10, count),
        "take-1000-ten" => taking(1_000, 10, count),
        "take-5-all" => taking(5, 1_000, count),
        "take-1000-all" => taking(1_000, 1_000, count),
        "locate-1000" => locating(1_000, count),
        "locate-1000000" => locating(1_000_000, count),
        message if message.starts_with("call-") => whole_call::run(message, count),
        other => forwarding(other, count),
    }
}

fn locating(users: usize, count: usize) {
    let mut crowd = Crowd::new(users);
    (0..users).for_each(|number| crowd.place(number));
    // Users from all over the table.
    let step = users / 1_000;
    let asked: Vec<Aor> =
        (0..1_000).map(|n| Aor::from_user(Crowd::user(n * step).as_bytes()).expect("a name")).collect();
    for turn in 0..count {
        black_box(crowd.locate(black_box(&asked[turn % 1_000])));
    }
}

/// An INVITE as gateways send it, with SDP.
fn with_sdp(invite: &str) -> String {
    let sdp = "v=0\r\no=gateway 3885342 1 IN IP4 198.51.100.7\r\ns=call\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n\
               m=audio 31044 RTP/AVP 8 0 9 18 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:9 G722/8000\r\n\
               a=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n\
               a=ptime:20\r\na=sendrecv\r\n";
    let more = "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, PRACK, INFO, REFER, NOTIFY\r\nSupported: timer, replaces\r\n\
                User-Agent: Gateway/9.1\r\nP-Asserted-Identity: <sip:+15551234@gw.example>\r\nContent-Type: application/sdp\r\n";
    invite.replace("Content-Length: 0\r\n\r\n", &format!("{more}Content-Length: {}\r\n\r\n{sdp}", sdp.len()))
}

fn parsing(count: usize) {
    let text = with_sdp(&Caller::new("call-1@gw-01.example.net").invite());
    let mut index = Index::new();
    for _ in 0..count {
        black_box(parse(black_box(text.as_bytes()), Framing::Datagram, &mut index));
    }
}

fn invites(count: usize) {
    let mut edge = Edge::with_room(5, 2_000_000, 1_000);
    let gateway: SocketAddr = GATEWAY.parse().unwrap();
    let mut text = with_sdp(&Caller::new("call-00000000@gw-01.example.net").invite()).into_bytes();
    let places: Vec<usize> = (0..text.len() - 13).filter(|at| text[*at..].starts_with(b"call-00000000")).collect();
    for call in 0..count {
        let digits = format!("{call:08}");
        places.iter().for_each(|at| text[at + 5..at + 13].copy_from_slice(digits.as_bytes()));
        edge.receive_unseen(gateway, black_box(&text));
    }
}

fn forwarding(operation: &str, count: usize) {
    let mut edge = Edge::with_nodes(5);
    let gateway: SocketAddr = GATEWAY.parse().unwrap();
    let (from, text) = match operation {
        "180" => {
            let invite = only(edge.receive(GATEWAY, &with_sdp(&Caller::new("c").invite())));
            (invite.to.parse().unwrap(), invite.reply(180, ""))
        }
        _ => {
            let (caller, at, invite) = established(&mut edge, "c");
            match operation {
                "200" => (at.parse().unwrap(), invite.reply(200, "")),
                "ack" => (gateway, caller.in_dialog("ACK", 1)),
                "info" => (gateway, caller.in_dialog("INFO", 2)),
                "bye" => (gateway, caller.in_dialog("BYE", 2)),
                other => panic!("no operation {other}"),
            }
        }
    };
    for _ in 0..count {
        edge.receive_unseen(from, black_box(text.as_bytes()));
    }
}

fn taking(nodes: u32, weights: u32, count: usize) {
    let pool = PoolId(0);
    let member = |id: u32| MemberPlan {
        node: NodeId(id),
        // Spread over the range, so that the tree has something to compare.
        weight: 1 + (id % weights) * (1_000 / weights).max(1) % 1_000,
        rank: Rank::default(),
        name_hash: u64::from(id),
    };
    let plan = PoolPlan {
        id: pool,
        algorithm: Algorithm::WeightedLeastCalls,
        members: (0..nodes).map(member).collect(),
        overflow: None,
        sticky_until_percent: None,
        slow_start: Duration::ZERO,
        panic: true,
    };
    let mut board = Board::new(1);
    let plans: Vec<NodePlan> = (0..nodes).map(|id| NodePlan { id: NodeId(id), max_calls: Some(10_000) }).collect();
    board.apply(&plans, vec![plan], Moment::from_micros(1));
    for id in 0..nodes {
        let target = Target { protocol: Protocol::Udp, address: SocketAddr::from(([127, 0, 0, 1], 5_060)) };
        let way = Some(Way::Target { listener: ListenerId(1), target });
        let up = Assessment { verdict: Verdict::Up, speed_64ths: 64, way, ..Assessment::default() };
        board.assess(NodeId(id), up, Moment::from_micros(1));
    }
    let pick = Pick { pool, key: CallKey(1), sticky: None, prefer: None, beside: None, avoid: &[] };
    // As many calls up as make the books look as in real life.
    let mut seats: std::collections::VecDeque<Seat> =
        (0..nodes * 20).map(|_| board.take(pick).expect("a node").seat).collect();
    for _ in 0..count {
        seats.push_back(black_box(&mut board).take(black_box(pick)).expect("a node").seat);
        board.give_back(seats.pop_front().expect("a seat"));
    }
}
