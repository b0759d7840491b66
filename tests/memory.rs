//! What a call and a registration cost in memory, counted by the allocator.
//!
//! One binary with one test, so that nobody else allocates meanwhile.

#![allow(clippy::unwrap_used, unsafe_code)]

#[path = "scenarios/crowd.rs"]
#[allow(dead_code)]
mod crowd;
#[path = "scenarios/harness.rs"]
#[allow(dead_code)]
mod harness;

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::time::Duration;

use cordboard::moment::Moment;
use cordboard::proxy::contract::Registry;
use cordboard::registrar::binding::Texts;
use cordboard::registrar::{Aor, Binding};
use cordboard::transport::flow::{Flow, ListenerId, Protocol};

use crowd::Crowd;
use harness::*;

/// Counts what the system's allocator does.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static LIVE: AtomicIsize = AtomicIsize::new(0);
static TAKEN: AtomicIsize = AtomicIsize::new(0);

/// What glibc takes from the machine for an allocation: eight octets more, in steps of 16, at least 32.
fn chunk(size: usize) -> isize {
    (size + 8).next_multiple_of(16).max(32) as isize
}

// SAFETY: every call is handed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        LIVE.fetch_add(layout.size() as isize, Ordering::Relaxed);
        TAKEN.fetch_add(chunk(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        TAKEN.fetch_sub(chunk(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Open calls of the large measurement.
const CALLS: usize = 100_000;
/// Registrations of the large measurement.
const PHONES: usize = 1_000_000;

fn allocations(act: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    act();
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

/// The same message at other addresses, as often as it takes for every buffer to have grown.
fn settled(edge: &mut Edge, from: SocketAddr, text: &str) -> usize {
    for _ in 0..4 {
        edge.receive_unseen(from, text.as_bytes());
    }
    allocations(|| edge.receive_unseen(from, text.as_bytes()))
}

fn forwarded_messages_allocate_nothing() {
    let mut edge = Edge::with_nodes(3);
    let (caller, at, invite) = established(&mut edge, "c1");
    let (gateway, node): (SocketAddr, SocketAddr) = (GATEWAY.parse().unwrap(), at.parse().unwrap());
    let info = only(edge.receive(GATEWAY, &caller.in_dialog("INFO", 2)));
    let reinvite = only(edge.receive(GATEWAY, &caller.in_dialog("INVITE", 3)));
    for (what, from, text) in [
        ("an INFO to the node", gateway, caller.in_dialog("INFO", 2)),
        ("a re-INVITE to the node", gateway, caller.in_dialog("INVITE", 3)),
        ("an ACK", gateway, caller.in_dialog("ACK", 1)),
        ("an UPDATE to the caller", node, caller.said_by(&at, "UPDATE", 4)),
        ("the 200 to INFO", node, info.reply(200, "")),
        ("the 200 to re-INVITE", node, reinvite.reply(200, "Session-Expires: 1800\r\n")),
        ("the 200 to INVITE, repeated", node, invite.reply(200, "")),
        ("a BYE", gateway, caller.in_dialog("BYE", 9)),
    ] {
        let count = settled(&mut edge, from, &text);
        println!("{what}: {count} allocations");
        assert_eq!(count, 0, "{what}");
    }
    let mut edge = Edge::with_nodes(3);
    let invite = only(edge.receive(GATEWAY, &Caller::new("c2").invite()));
    let count = settled(&mut edge, invite.to.parse().unwrap(), &invite.reply(180, ""));
    println!("a 180: {count} allocations");
    assert_eq!(count, 0, "a 180");
}

/// The phone of user 1001 is registered.
fn register_phone(edge: &mut Edge) {
    let (aor, remote) = (Aor::from_user(b"1001").unwrap(), STRANGER.parse().unwrap());
    let binding = Binding {
        texts: Texts::new(b"sip:1001@192.0.2.66:5060", None, b""),
        flow: Flow { listener: ListenerId(1), protocol: Protocol::Udp, remote, connection: None },
        preference: 1_000,
        expires: Moment::NEVER,
        updated: edge.now,
        call_id: 1,
        cseq: 1,
        reg_id: 0,
    };
    edge.registered().with_table(&aor, &mut |table| table.put(&aor, vec![binding.clone()]));
    edge.registered().set_registered(&aor, true, edge.now);
    edge.farm.security.stranger_rate = 1_000;
}

fn that_an_agent_holds_his_call_allocates_nothing() {
    let mut edge = Edge::with_registrar();
    register_phone(&mut edge);
    let (at, phone) = (node(1), STRANGER.parse().unwrap());
    let dial = format!(
        "INVITE sip:1001@pbx.example.com SIP/2.0\r\nVia: SIP/2.0/UDP {at};rport;branch=z9hG4bKPj1\r\nMax-Forwards: 70\r\n\
         From: <sip:+15551234@pbx.example.com>;tag=n1\r\nTo: <sip:1001@pbx.example.com>\r\nContact: <sip:node1@{at}>\r\n\
         Call-ID: c1\r\nCSeq: 25201 INVITE\r\nRoute: <sip:{EDGE};lr>\r\nX-Edge-Queue: q700\r\nContent-Length: 0\r\n\r\n"
    );
    let invite = only(edge.receive(&at, &dial));
    let route = only(edge.receive(STRANGER, &invite.reply(200, ""))).header("Record-Route").unwrap().to_owned();
    let offer = |method: &str, cseq: u32, direction: &str| {
        let body = format!("v=0\r\nc=IN IP4 192.0.2.66\r\nm=audio 4000 RTP/AVP 8\r\na={direction}\r\n");
        format!(
            "{method} sip:node1@{at} SIP/2.0\r\nVia: SIP/2.0/UDP {STRANGER};rport;branch=z9hG4bK-{cseq}\r\nMax-Forwards: 70\r\n\
             From: <sip:1001@pbx.example.com>;tag=node\r\nTo: <sip:+15551234@pbx.example.com>;tag=n1\r\nCall-ID: c1\r\n\
             CSeq: {cseq} {method}\r\nRoute: {route}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let held = offer("UPDATE", 7, "sendonly");
    let forwarded = only(edge.receive(STRANGER, &held));
    let node: SocketAddr = forwarded.to.parse().unwrap();
    for (what, from, text) in [
        ("an agent's UPDATE that holds", phone, held),
        ("the 200 to it", node, forwarded.reply(200, "")),
        ("an agent's re-INVITE that holds", phone, offer("INVITE", 8, "inactive")),
    ] {
        let count = settled(&mut edge, from, &text);
        println!("{what}: {count} allocations");
        assert_eq!(count, 0, "{what}");
    }
    assert!(edge.with_shard(|shard| shard.iter().any(|lease| lease.hold.is_held)));
}

fn a_new_invite_allocates_a_handful() {
    let mut edge = Edge::with_nodes(3);
    let gateway = GATEWAY.parse().unwrap();
    let texts: Vec<String> = (0..200).map(|n| Caller::new(&format!("call-{n}")).invite()).collect();
    texts[..199].iter().for_each(|text| edge.receive_unseen(gateway, text.as_bytes()));
    let count = allocations(|| edge.receive_unseen(gateway, texts[199].as_bytes()));
    println!("a new INVITE: {count} allocations");
    assert!(count <= 10, "{count}");
}

/// With everything that a call makes grow: the table, its places and the wheel, whose buckets are all used in the time it takes. And
/// the allocator's own share.
fn an_open_call_takes_at_most_440_octets() {
    let mut edge = Edge::with_room(3, CALLS + 1_000, 0);
    let gateway: SocketAddr = GATEWAY.parse().unwrap();
    let (before, before_taken) = (LIVE.load(Ordering::Relaxed), TAKEN.load(Ordering::Relaxed));
    for call in 0..CALLS {
        // A Call-ID as gateways make them.
        let caller = Caller::new(&format!("{call:08x}-7f2c4b1e9d3a5068@gw-01.example.net"));
        edge.receive_unseen(gateway, caller.invite().as_bytes());
        let invite = only(edge.unseen());
        let node: SocketAddr = invite.to.parse().unwrap();
        edge.receive_unseen(node, invite.reply(200, "Session-Expires: 1800;refresher=uas\r\n").as_bytes());
        edge.now = edge.now + Duration::from_micros(500);
        if call % 2_000 == 0 {
            edge.advance_coarsely(Duration::from_secs(1));
            edge.events = Vec::new();
        }
    }
    let each = |total: isize| total as f64 / CALLS as f64;
    let asked = each(LIVE.load(Ordering::Relaxed) - before);
    let taken = each(TAKEN.load(Ordering::Relaxed) - before_taken);
    println!("{CALLS} open calls: {asked:.0} octets each, {taken:.0} with the allocator's share");
    assert_eq!(edge.leases(3).iter().sum::<u32>() as usize, CALLS);
    assert!(taken <= 440.0, "{taken:.0} octets");
}

/// With everything that a registration makes grow: the table, its order of ends, and the agents' book. A phone that says much of
/// itself, and the allocator's own share.
fn a_registration_takes_at_most_700_octets_and_finding_it_costs_the_same_among_a_million() {
    let mut crowd = Crowd::new(PHONES);
    let (before, before_taken) = (LIVE.load(Ordering::Relaxed), TAKEN.load(Ordering::Relaxed));
    let aor = Aor::from_user(Crowd::user(500).as_bytes()).unwrap();
    let mut located = vec![];
    for number in 0..PHONES {
        crowd.register(number);
        if number == 999 || number == PHONES - 1 {
            located.push(allocations(|| assert!(crowd.locate(&aor) > 0)));
        }
    }
    let each = |total: isize| total as f64 / PHONES as f64;
    let asked = each(LIVE.load(Ordering::Relaxed) - before);
    let taken = each(TAKEN.load(Ordering::Relaxed) - before_taken);
    println!("{PHONES} registrations: {asked:.0} octets each, {taken:.0} with the allocator's share");
    println!("a location answer: {located:?} allocations");
    assert_eq!(crowd.registrations.count(), PHONES);
    assert!(taken <= 700.0, "{taken:.0} octets");
    assert_eq!(located, [1, 1]);
}

#[test]
fn calls_and_registrations_cost_what_was_promised() {
    forwarded_messages_allocate_nothing();
    that_an_agent_holds_his_call_allocates_nothing();
    a_new_invite_allocates_a_handful();
    an_open_call_takes_at_most_440_octets();
    a_registration_takes_at_most_700_octets_and_finding_it_costs_the_same_among_a_million();
}
