//! The messages of a call, as a gateway and an Asterisk node write them, and reading what the edge made of them.

use std::fmt::Write;
use std::net::SocketAddr;

/// A call: its place in the list of calls, and a number that no other call has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallId {
    pub place: usize,
    pub serial: u32,
}

/// What a gateway offers and a node answers, of usual length.
pub fn sdp() -> String {
    let mut sdp = String::from("v=0\r\no=- 1791 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n");
    sdp += "m=audio 18430 RTP/AVP 8 0 9 18 101\r\n";
    for (payload, codec) in [(8, "PCMA/8000"), (0, "PCMU/8000"), (9, "G722/8000"), (18, "G729/8000")] {
        let _ = write!(sdp, "a=rtpmap:{payload} {codec}\r\n");
    }
    sdp +=
        "a=fmtp:18 annexb=no\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n";
    for candidate in 1..=5 {
        let _ =
            write!(sdp, "a=candidate:{candidate} 1 UDP 2130706431 192.0.2.{candidate} 18430 typ host generation 0\r\n");
    }
    sdp += "a=ice-ufrag:3kd9\r\na=ice-pwd:7s8dFkq1Lw0zPmX2c4Vb6NhT\r\n";
    sdp
}

/// The gateway at an address.
pub struct Gateway {
    at: SocketAddr,
    edge: SocketAddr,
    run: u32,
    sdp: String,
}

impl Gateway {
    pub fn new(at: SocketAddr, edge: SocketAddr) -> Self {
        Gateway { at, edge, run: std::process::id(), sdp: sdp() }
    }

    /// The lines that all requests of a call have.
    fn lines(&self, call: CallId, method: &str, cseq: u32, to_tag: &str) -> String {
        let (Gateway { at, edge, run, .. }, CallId { place, serial }) = (self, call);
        format!(
            "Via: SIP/2.0/UDP {at};branch=z9hG4bK-{method}-{place}-{serial};rport\r\nMax-Forwards: 70\r\n\
             From: \"Anna Müller\" <sip:+49891234{place:06}@gw-01.example.net>;tag=gw{serial}\r\n\
             To: <sip:+498000700@{edge}>{to_tag}\r\nCall-ID: {place}-{serial}@{run}.gw-01.example.net\r\nCSeq: {cseq} {method}\r\n"
        )
    }

    pub fn invite(&self, call: CallId) -> Vec<u8> {
        let Gateway { at, edge, sdp, .. } = self;
        let lines = self.lines(call, "INVITE", 1, "");
        let length = sdp.len();
        // The gateway stands behind a box that left a Via of its own.
        format!(
            "INVITE sip:+498000700@{edge};user=phone SIP/2.0\r\n{lines}\
             Via: SIP/2.0/UDP 192.0.2.77:5060;branch=z9hG4bK0a1b2c3d4e5f;received=192.0.2.77\r\n\
             Contact: <sip:gw-01@{at};transport=udp>\r\nUser-Agent: PRI gateway of usual length 7.4.1\r\n\
             Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, SUBSCRIBE, NOTIFY, INFO, UPDATE, PRACK, MESSAGE\r\n\
             Supported: 100rel, timer, replaces, norefersub\r\nSession-Expires: 1800;refresher=uac\r\nMin-SE: 90\r\n\
             P-Asserted-Identity: <sip:+49891234000@gw-01.example.net;user=phone>\r\nPrivacy: none\r\n\
             Accept: application/sdp, application/dtmf-relay\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\n\
             Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{sdp}"
        )
        .into_bytes()
    }

    /// The ACK to a failure, which is of the INVITE's transaction.
    pub fn ack_failure(&self, call: CallId, tag: &str) -> Vec<u8> {
        let lines = self.lines(call, "INVITE", 1, &format!(";tag={tag}")).replace("1 INVITE\r\n", "1 ACK\r\n");
        format!("ACK sip:+498000700@{};user=phone SIP/2.0\r\n{lines}Content-Length: 0\r\n\r\n", self.edge).into_bytes()
    }

    /// A request in the dialog that an answer opened.
    pub fn in_dialog(&self, call: CallId, method: &str, cseq: u32, dialog: &Dialog) -> Vec<u8> {
        let lines = self.lines(call, method, cseq, &format!(";tag={}", dialog.tag));
        let Dialog { target, route, .. } = dialog;
        format!("{method} {target} SIP/2.0\r\n{lines}{route}Content-Length: 0\r\n\r\n").into_bytes()
    }
}

/// What the caller knows of an answered call.
#[derive(Clone, Debug, Default)]
pub struct Dialog {
    pub tag: String,
    pub target: String,
    pub route: String,
}

impl Dialog {
    /// Reads the answer.
    pub fn of(text: &str) -> Option<Self> {
        let tag = field(text, "To")?.split(";tag=").nth(1)?.to_owned();
        let target = field(text, "Contact")?.split(['<', '>']).nth(1)?.to_owned();
        let mut routes: Vec<&str> = lines(text).filter_map(|line| line.strip_prefix("Record-Route: ")).collect();
        routes.reverse();
        let route = routes.iter().fold(String::new(), |all, one| all + "Route: " + one + "\r\n");
        Some(Dialog { tag, target, route })
    }
}

/// An Asterisk node's answers to a request: status, and whether a body goes with it.
pub fn answer(text: &str, status: &str, at: SocketAddr, tag: usize, body: &str) -> Vec<u8> {
    let mut out = format!("SIP/2.0 {status}\r\n");
    for line in lines(text) {
        let is_copied =
            ["Via:", "Record-Route:", "From:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name));
        if is_copied {
            out.extend([line, "\r\n"]);
        } else if line.starts_with("To:") {
            let own = if line.contains(";tag=") || status.starts_with("100") {
                String::new()
            } else {
                format!(";tag=n{tag}")
            };
            out.extend([line, &own, "\r\n"]);
        }
    }
    let _ = write!(
        out,
        "Server: Asterisk PBX 22.10.1\r\nAllow: OPTIONS, REGISTER, SUBSCRIBE, NOTIFY, PUBLISH, INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, INFO, \
         MESSAGE, REFER\r\nSupported: 100rel, timer, replaces, norefersub\r\n"
    );
    if !status.starts_with("100") {
        let _ = write!(out, "Contact: <sip:{at}>\r\n");
    }
    if !body.is_empty() {
        out += "Content-Type: application/sdp\r\n";
    }
    let _ = write!(out, "Content-Length: {}\r\n\r\n{body}", body.len());
    out.into_bytes()
}

/// The header lines.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split("\r\n").skip(1).take_while(|line| !line.is_empty())
}

/// The first header of a name.
pub fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    lines(text).find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Which call a message is of.
pub fn call_of(text: &str) -> Option<CallId> {
    let (place, rest) = field(text, "Call-ID")?.split_once('-')?;
    Some(CallId { place: place.parse().ok()?, serial: rest.split('@').next()?.parse().ok()? })
}
