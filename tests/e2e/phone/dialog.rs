//! Calls of a phone: both ends of them, holding, transfers, and whether somebody is heard.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Message, Phone, REALM};

/// How long the other side may take.
const WITHIN: Duration = Duration::from_secs(20);

/// How long somebody who talks may take until he is heard.
const HEARD_WITHIN: Duration = Duration::from_secs(10);

/// The tag of all calls that come; see [`Message::reply`].
const TAG: &str = "phone";

/// A call that was dialled and is not answered yet.
pub struct Dialled {
    uri: String,
    call_id: String,
}

/// A call that is up.
pub struct Dialog {
    pub call_id: String,
    /// The INVITE that came; for a call of one's own the answer to it.
    pub invite: Message,
    local: String,
    remote: String,
    /// Where the other end is, by its own word.
    pub target: String,
    routes: Vec<String>,
    cseq: u32,
    audio: Option<SocketAddr>,
}

impl Dialog {
    /// What a transfer to this call refers to (RFC 5589 section 7.3): a URI, and the call at the other end of it.
    pub fn replaced_at(&self, uri: &str) -> String {
        let (call_id, to, from) = (self.call_id.replace('@', "%40"), tag(&self.remote), tag(&self.local));
        format!("<{uri}?Replaces={call_id}%3Bto-tag%3D{to}%3Bfrom-tag%3D{from}>")
    }
}

impl Phone {
    /// Dials a number, and says who it is when it is asked.
    pub fn dials(&mut self, number: &str) -> Dialled {
        self.cseq += 1;
        let dialled = Dialled {
            uri: format!("sip:{number}@{}", self.edge),
            call_id: format!("out-{}-{}-{}", self.user, self.at.port(), self.cseq),
        };
        let invite = self.opening(&dialled, "");
        self.send(&invite);
        let first =
            self.until("a word about the call", |message| message.code() > 0 && message.is_of(&dialled.call_id));
        if first.code() == 407 {
            self.proves(&dialled, &first);
        } else {
            self.held.push_front(first);
        }
        dialled
    }

    fn proves(&mut self, dialled: &Dialled, challenge: &Message) {
        self.acknowledges(dialled, challenge);
        let credentials = self.credentials(challenge, "Proxy-Authenticate", "INVITE", &dialled.uri);
        self.cseq += 1;
        let invite = self.opening(dialled, &format!("Proxy-Authorization: {credentials}\r\n"));
        self.send(&invite);
    }

    /// The ACK to a failure.
    fn acknowledges(&mut self, dialled: &Dialled, failure: &Message) {
        let mine = format!("To: <{}>\r\n", dialled.uri);
        let theirs = format!("To: {}\r\n", failure.header("To").unwrap());
        let ack = self.opening(dialled, "").replace("INVITE", "ACK").replace(&mine, &theirs);
        self.send(&without_body(&ack));
    }

    /// Waits until what was dialled is refused, and returns the code.
    pub fn refused(&mut self, dialled: Dialled) -> u16 {
        let answer = self.final_answer(&dialled.call_id, "INVITE");
        self.acknowledges(&dialled, &answer);
        answer.code()
    }

    /// Does nothing for so long but answer whoever asks whether it is there. Returns how often it was asked.
    pub fn idles(&mut self, span: Duration) -> u32 {
        let (began, mut asked) = (Instant::now(), 0);
        while began.elapsed() < span {
            let Some(message) = self.receive() else { continue };
            // An answer that comes once more asks for nothing.
            if message.code() > 0 {
                continue;
            }
            assert!(message.is_request("OPTIONS"), "{message:?}");
            self.send(&message.reply("200 OK", ""));
            asked += 1;
        }
        asked
    }

    /// Waits until what was dialled is answered.
    pub fn connected(&mut self, dialled: Dialled) -> Dialog {
        let answer = self.final_answer(&dialled.call_id, "INVITE");
        assert_eq!(answer.code(), 200, "{answer:?}");
        self.enters(dialled, answer)
    }

    fn opening(&self, dialled: &Dialled, lines: &str) -> String {
        let Dialled { uri, call_id } = dialled;
        let (user, at, cseq, transport, contact) = (&self.user, self.at, self.cseq, self.transport(), self.contact());
        format!(
            "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/{transport} {at};branch=z9hG4bK-{call_id}-{cseq};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{user}@{REALM}>;tag={TAG}\r\nTo: <{uri}>\r\nCall-ID: {call_id}\r\n\
             CSeq: {cseq} INVITE\r\nContact: <{contact}>\r\n{lines}{}",
            self.session("sendrecv", cseq)
        )
    }

    fn enters(&mut self, dialled: Dialled, answer: Message) -> Dialog {
        let mut routes: Vec<String> = answer.headers("Record-Route").map(str::to_owned).collect();
        routes.reverse();
        let mut dialog = Dialog {
            call_id: dialled.call_id,
            local: answer.header("From").unwrap().to_owned(),
            remote: answer.header("To").unwrap().to_owned(),
            target: uri(answer.header("Contact").unwrap()),
            routes,
            cseq: self.cseq,
            audio: audio_of(&answer),
            invite: answer,
        };
        let ack = self.inside(&mut dialog, "ACK", "");
        self.send(&ack);
        dialog
    }

    /// Takes the next call: rings and answers.
    pub fn answers(&mut self) -> Dialog {
        let invite = self.until("an INVITE", |message| message.is_request("INVITE") && !message.is_inside());
        self.send(&invite.reply("180 Ringing", &format!("Contact: <{}>\r\n", self.contact())));
        self.accept(&invite, "sendrecv");
        Dialog {
            call_id: invite.header("Call-ID").unwrap().to_owned(),
            local: format!("{};tag={TAG}", invite.header("To").unwrap()),
            remote: invite.header("From").unwrap().to_owned(),
            target: uri(invite.header("Contact").unwrap()),
            routes: invite.headers("Record-Route").map(str::to_owned).collect(),
            cseq: 0,
            audio: audio_of(&invite),
            invite,
        }
    }

    /// Answers an INVITE and waits for the ACK.
    fn accept(&mut self, invite: &Message, direction: &str) {
        let number = invite.header("CSeq").unwrap().split(' ').next().unwrap().to_owned();
        let session = self.session(direction, number.parse().unwrap());
        self.send(&invite.reply("200 OK", &format!("Contact: <{}>\r\n{session}", self.contact())));
        let call_id = invite.header("Call-ID").unwrap();
        let is_ack = |message: &Message| message.header("CSeq") == Some(&format!("{number} ACK"));
        self.until("the ACK", |message| message.is_of(call_id) && is_ack(message));
    }

    /// Asks for another direction of the audio, such as `sendonly` to hold. Returns the direction that the other side answered.
    pub fn reinvites(&mut self, dialog: &mut Dialog, direction: &str) -> String {
        let began = Instant::now();
        loop {
            let lines = format!("Contact: <{}>\r\n{}", self.contact(), self.session(direction, dialog.cseq + 2));
            let answer = self.asks(dialog, "INVITE", &lines);
            let ack = self.inside(dialog, "ACK", "");
            self.send(&ack);
            if answer.code() == 200 {
                return direction_of(&answer);
            }
            // Another INVITE is not over there yet (RFC 3261 section 14.2).
            assert!(matches!(answer.code(), 491 | 500) && began.elapsed() < WITHIN, "{answer:?}");
        }
    }

    /// Takes a re-INVITE of the other side's. Returns the direction that it asks for.
    pub fn takes_reinvite(&mut self, dialog: &Dialog) -> String {
        let is_it = |message: &Message| message.is_request("INVITE") && message.is_of(&dialog.call_id);
        let invite = self.until("a re-INVITE", |message| is_it(message) && message.is_inside());
        let asked = direction_of(&invite);
        let reverse = match asked.as_str() {
            "sendonly" => "recvonly",
            "recvonly" => "sendonly",
            other => other,
        };
        self.accept(&invite, reverse);
        asked
    }

    /// Transfers the other side to what `refer_to` says, and is told that this is being done. It is for this phone to hang up once
    /// it [is told that it is done](Phone::until_transferred).
    pub fn refers(&mut self, dialog: &mut Dialog, refer_to: &str) {
        let lines = format!(
            "Contact: <{}>\r\nRefer-To: {refer_to}\r\nReferred-By: <sip:{}@{REALM}>\r\nContent-Length: 0\r\n\r\n",
            self.contact(),
            self.user
        );
        let answer = self.asks(dialog, "REFER", &lines);
        assert_eq!(answer.code(), 202, "{answer:?}");
    }

    /// Waits until it hears that a transfer is done, and hangs up.
    pub fn until_transferred(&mut self, dialog: &mut Dialog) {
        let is_it = |message: &Message| message.is_request("NOTIFY") && message.is_of(&dialog.call_id);
        loop {
            let notify = self.until("word of the transfer", is_it);
            self.send(&notify.reply("200 OK", ""));
            if notify.body().starts_with("SIP/2.0 200") {
                return self.hangs_up(dialog);
            }
            assert!(notify.body().starts_with("SIP/2.0 1"), "{notify:?}");
        }
    }

    /// Hangs up.
    pub fn hangs_up(&mut self, dialog: &mut Dialog) {
        let answer = self.asks(dialog, "BYE", "");
        assert_eq!(answer.code(), 200, "{answer:?}");
    }

    /// Waits until the other sides have hung up all of these.
    pub fn until_hung_up(&mut self, dialogs: &[&Dialog]) {
        for dialog in dialogs {
            let is_it = |message: &Message| message.is_request("BYE") && message.is_of(&dialog.call_id);
            let bye = self.until(&format!("a BYE for {}", dialog.call_id), is_it);
            self.send(&bye.reply("200 OK", ""));
        }
    }

    /// Waits until this one hears the other one talk.
    pub fn hears(&self, own: &Dialog, other: &Phone, others: &Dialog) {
        let word = [0x11 ^ u8::try_from(self.at.port() & 0x7f).unwrap(); 160];
        let to = others.audio.expect("an address for audio");
        let back = own.audio.expect("an address for audio");
        self.audio.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let (began, mut octets) = (Instant::now(), [0; 2_000]);
        for number in 0_u16.. {
            assert!(began.elapsed() < HEARD_WITHIN, "{} does not hear {}", self.user, other.user);
            other.audio.send_to(&packet(number, &word), to).unwrap();
            // Behind symmetric RTP the way opens when both sides talk.
            self.audio.send_to(&packet(number, &[0xd5; 160]), back).unwrap();
            let len = self.audio.recv(&mut octets).unwrap_or(0);
            if octets[..len].ends_with(&word) {
                return;
            }
        }
    }

    /// A request inside the call, and its final answer.
    fn asks(&mut self, dialog: &mut Dialog, method: &str, lines: &str) -> Message {
        let request = self.inside(dialog, method, lines);
        self.send(&request);
        self.final_answer(&dialog.call_id, method)
    }

    fn final_answer(&mut self, call_id: &str, method: &str) -> Message {
        let cseq = format!(" {method}");
        let is_it = |message: &Message| message.code() >= 200 && message.is_of(call_id);
        self.until(&format!("an answer to {method}"), |message| {
            is_it(message) && message.header("CSeq").is_some_and(|own| own.ends_with(&cseq))
        })
    }

    fn inside(&self, dialog: &mut Dialog, method: &str, lines: &str) -> String {
        if method != "ACK" {
            dialog.cseq += 1;
        }
        let Dialog { call_id, local, remote, target, cseq, .. } = dialog;
        let routes: String = dialog.routes.iter().map(|route| format!("Route: {route}\r\n")).collect();
        let (at, transport, token) = (self.at, self.transport(), call_id.replace('@', "."));
        let end = if lines.is_empty() { "Content-Length: 0\r\n\r\n" } else { lines };
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/{transport} {at};branch=z9hG4bK-{method}-{token}-{cseq};rport\r\n\
             Max-Forwards: 70\r\n{routes}From: {local}\r\nTo: {remote}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n{end}"
        )
    }

    fn session(&self, direction: &str, version: u32) -> String {
        let (ip, port) = (self.at.ip(), self.audio.local_addr().unwrap().port());
        let sdp = format!(
            "v=0\r\no=phone 1 {version} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\n\
             a=rtpmap:8 PCMA/8000\r\na={direction}\r\n"
        );
        format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len())
    }

    /// The next message that is this; what else comes is kept, and what nobody waits for is answered.
    pub fn until(&mut self, what: &str, is_it: impl Fn(&Message) -> bool) -> Message {
        if let Some(at) = self.held.iter().position(&is_it) {
            return self.held.remove(at).unwrap();
        }
        let began = Instant::now();
        while began.elapsed() < WITHIN {
            let Some(message) = self.receive() else { continue };
            if is_it(&message) {
                return message;
            }
            if message.is_request("OPTIONS") {
                self.send(&message.reply("200 OK", ""));
            } else {
                self.held.push_back(message);
            }
        }
        panic!("{} waits for {what}; what came: {:#?}", self.user, self.held);
    }
}

impl Message {
    fn is_request(&self, method: &str) -> bool {
        self.first_line().split(' ').next() == Some(method)
    }

    fn is_of(&self, call_id: &str) -> bool {
        self.header("Call-ID") == Some(call_id)
    }

    fn is_inside(&self) -> bool {
        self.header("To").is_some_and(|to| to.contains(";tag="))
    }
}

fn tag(value: &str) -> &str {
    let rest = value.split(";tag=").nth(1).unwrap_or_else(|| panic!("no tag in {value}"));
    rest.split(';').next().unwrap()
}

fn uri(value: &str) -> String {
    value.split(['<', '>']).nth(1).unwrap_or(value).to_owned()
}

fn direction_of(message: &Message) -> String {
    let known = ["sendonly", "recvonly", "inactive"];
    let said = known.into_iter().find(|direction| message.body().contains(&format!("a={direction}\r\n")));
    said.unwrap_or("sendrecv").to_owned()
}

fn audio_of(message: &Message) -> Option<SocketAddr> {
    let line = |start: &str| message.body().lines().find_map(|line| line.strip_prefix(start));
    let ip = line("c=IN IP4 ")?.trim();
    let port = line("m=audio ")?.split(' ').next()?;
    format!("{ip}:{port}").parse().ok()
}

/// The request without what follows its headers.
fn without_body(text: &str) -> String {
    let head = text.split("Content-Type:").next().unwrap();
    format!("{head}Content-Length: 0\r\n\r\n")
}

/// 20 ms of sound in A-law (RFC 3550 section 5.1, RFC 3551).
fn packet(number: u16, sound: &[u8; 160]) -> Vec<u8> {
    let mut packet = vec![0x80, 8];
    packet.extend(number.to_be_bytes());
    packet.extend((u32::from(number) * 160).to_be_bytes());
    packet.extend([0, 0, 0, 1]);
    packet.extend(sound);
    packet
}
