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

use cordboard::registrar::Aor;

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
    a_new_invite_allocates_a_handful();
    an_open_call_takes_at_most_600_octets();
    a_registration_takes_at_most_700_octets_and_finding_it_costs_the_same_among_a_million();
}
