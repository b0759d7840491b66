//! What a call costs in memory, counted by the allocator.
//!
//! One binary with one test, so that nobody else allocates meanwhile.

#![allow(clippy::unwrap_used, unsafe_code)]

#[path = "scenarios/harness.rs"]
#[allow(dead_code)]
mod harness;

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};

use harness::*;

/// Counts what the system's allocator does.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static LIVE: AtomicIsize = AtomicIsize::new(0);

// SAFETY: every call is handed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        LIVE.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Open calls of the large measurement.
const CALLS: usize = 100_000;

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

fn a_new_invite_allocates_a_handful() {
    let mut edge = Edge::with_nodes(3);
    let gateway = GATEWAY.parse().unwrap();
    let texts: Vec<String> = (0..200).map(|n| Caller::new(&format!("call-{n}")).invite()).collect();
    texts[..199].iter().for_each(|text| edge.receive_unseen(gateway, text.as_bytes()));
    let count = allocations(|| edge.receive_unseen(gateway, texts[199].as_bytes()));
    println!("a new INVITE: {count} allocations");
    assert!(count <= 10, "{count}");
}

fn an_open_call_takes_at_most_600_octets() {
    let mut edge = Edge::with_room(3, CALLS + 1_000, 0);
    let gateway: SocketAddr = GATEWAY.parse().unwrap();
    let before = LIVE.load(Ordering::Relaxed);
    for call in 0..CALLS {
        // A Call-ID as gateways make them.
        let caller = Caller::new(&format!("{call:08x}-7f2c4b1e9d3a5068@gw-01.example.net"));
        edge.receive_unseen(gateway, caller.invite().as_bytes());
        let invite = only(edge.unseen());
        let node: SocketAddr = invite.to.parse().unwrap();
        edge.receive_unseen(node, invite.reply(200, "Session-Expires: 1800;refresher=uas\r\n").as_bytes());
    }
    let taken = LIVE.load(Ordering::Relaxed) - before;
    let each = taken as f64 / CALLS as f64;
    println!("{CALLS} open calls: {each:.0} octets each");
    assert_eq!(edge.leases(3).iter().sum::<u32>() as usize, CALLS);
    assert!(each <= 600.0, "{each:.0} octets");
}

#[test]
fn a_call_costs_what_was_promised() {
    forwarded_messages_allocate_nothing();
    a_new_invite_allocates_a_handful();
    an_open_call_takes_at_most_600_octets();
}
