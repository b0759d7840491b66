//! The seven messages of a call, each as it is met in a call of its own: what `benches/run` counts instructions of.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use super::harness::*;

/// Calls until each bucket of the wheel of deadlines has been used.
const WARM_UP: usize = 1_100;

/// Octets of the INVITE.
const INVITE_LEN: usize = 857;

/// The messages in their order: operation, what it is, and the instructions that it should take at most. For all but the
/// INVITE that is what their median should be.
pub const MESSAGES: [(&str, &str, u32); 7] = [
    ("call-invite", "INVITE of 857 octets with SDP: read, choose, lease, forward", 11_000),
    ("call-100", "100", 7_500),
    ("call-180", "180", 7_500),
    ("call-200", "200 with SDP", 7_500),
    ("call-ack", "ACK", 7_500),
    ("call-bye", "BYE", 7_500),
    ("call-bye-200", "200 to BYE", 7_500),
];

/// What a node says of itself in its answers.
const ABOUT: &str = "Server: Asterisk PBX 22.5.2\r\nAllow: OPTIONS, REGISTER, SUBSCRIBE, NOTIFY, PUBLISH, INVITE, ACK, BYE, \
                     CANCEL, UPDATE, PRACK, INFO, MESSAGE, REFER\r\nSupported: 100rel, timer, replaces, norefersub\r\n";

/// The work that is counted: the counter looks for this function by its name.
#[inline(never)]
pub fn counted(edge: &mut Edge, from: SocketAddr, bytes: &[u8]) {
    edge.receive_unseen(from, black_box(bytes));
}

/// Carries so many calls through, and has the work of one kind of message counted.
pub fn run(message: &str, count: usize) {
    let wanted = MESSAGES.iter().position(|(name, ..)| *name == message).expect("one of the messages");
    let mut edge = Edge::with_room(5, 10_000, 1_000);
    // Calls that nobody counts go first, until every table and bucket has grown as in a long life.
    for call in 0..WARM_UP + count {
        let wanted = (call >= WARM_UP).then_some(wanted);
        carry(&mut edge, &format!("call-{call:08}@gw-01.example.net"), wanted);
        edge.advance_coarsely(Duration::from_secs(1));
    }
}

fn carry(edge: &mut Edge, call_id: &str, wanted: Option<usize>) {
    let gateway: SocketAddr = GATEWAY.parse().unwrap();
    let mut step = 0;
    let mut pass = |from: SocketAddr, text: &str| {
        if Some(step) == wanted {
            counted(edge, from, text.as_bytes());
        } else {
            edge.receive_unseen(from, text.as_bytes());
        }
        step += 1;
        only(edge.unseen())
    };
    let mut caller = Caller::new(call_id);
    let invite = pass(gateway, &invite(&caller));
    let node: SocketAddr = invite.to.parse().unwrap();
    pass(node, &invite.reply(100, "Server: Asterisk PBX 22.5.2\r\n"));
    pass(node, &invite.reply(180, ABOUT));
    let answer = pass(node, &with_body(&invite.reply(200, ABOUT)));
    caller.enter(&answer);
    pass(gateway, &caller.in_dialog("ACK", 1));
    let bye = pass(gateway, &caller.in_dialog("BYE", 2));
    pass(node, &bye.reply(200, ABOUT));
}

/// An INVITE as gateways send it.
pub fn invite(caller: &Caller) -> String {
    let more = "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO\r\nSupported: timer, replaces\r\n\
                User-Agent: Gateway/9.1\r\nContent-Type: application/sdp\r\nContent-Length: 0\r\n\r\n";
    let mut text = with_body(&caller.invite().replace("Content-Length: 0\r\n\r\n", more));
    let short = INVITE_LEN.checked_sub(text.len()).expect("an INVITE that is no longer than this");
    text.insert_str(text.find("Gateway/").expect("a User-Agent"), &"x".repeat(short));
    text
}

fn with_body(message: &str) -> String {
    let sdp = "v=0\r\no=gateway 3885342 1 IN IP4 198.51.100.7\r\ns=call\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n\
               m=audio 31044 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
               a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n";
    message.replace("Content-Length: 0\r\n\r\n", &format!("Content-Length: {}\r\n\r\n{sdp}", sdp.len()))
}
