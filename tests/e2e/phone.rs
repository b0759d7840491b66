//! A phone in the test's own hands: one socket, and SIP as text. Its calls are in [`dialog`].

pub mod dialog;

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use cordboard::registrar::digest::{Algorithm, ha1};

use crate::sipp::password_of;

/// How long the edge may take to say something.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How often nothing may come until the other side hangs up.
const HUNG_UP_WITHIN: usize = 6;

/// The user's realm.
const REALM: &str = "pbx.example.com";

/// A message that came.
#[derive(Clone, Debug)]
pub struct Message(String);

impl Message {
    pub fn read(bytes: &[u8]) -> Self {
        Message(String::from_utf8_lossy(bytes).into_owned())
    }

    pub fn first_line(&self) -> &str {
        self.0.lines().next().unwrap_or_default()
    }

    /// The status code; 0 for a request.
    pub fn code(&self) -> u16 {
        let code = self.first_line().strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3));
        code.map_or(0, |code| code.parse().unwrap())
    }

    /// The values of a header.
    pub fn headers<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let name = name.to_owned();
        let lines = self.0.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(':'));
        lines.filter(move |(own, _)| own.eq_ignore_ascii_case(&name)).map(|(_, value)| value.trim())
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).next()
    }

    /// What follows the headers.
    pub fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    /// A response to this request, with these lines more.
    pub fn reply(&self, status: &str, lines: &str) -> String {
        let mut text = format!("SIP/2.0 {status}\r\n");
        for name in ["Via", "Record-Route", "From", "To", "Call-ID", "CSeq"] {
            for value in self.headers(name) {
                let tag = if name == "To" && !value.contains(";tag=") { ";tag=phone" } else { "" };
                text += &format!("{name}: {value}{tag}\r\n");
            }
        }
        text + lines + if lines.contains("Content-Length") { "" } else { "Content-Length: 0\r\n\r\n" }
    }
}

enum Socket {
    Udp(UdpSocket, SocketAddr),
    Tcp(TcpStream, Vec<u8>),
}

/// The phone.
pub struct Phone {
    pub user: String,
    pub password: String,
    pub algorithm: Algorithm,
    socket: Socket,
    at: SocketAddr,
    edge: String,
    cseq: u32,
    count: u32,
    /// The socket of its audio.
    audio: UdpSocket,
    /// What came while something else was waited for.
    held: VecDeque<Message>,
}

impl Phone {
    /// A phone on UDP at this address.
    pub fn on_udp(user: &str, at: &str, edge: &str) -> Self {
        let socket = UdpSocket::bind(at).unwrap();
        socket.set_read_timeout(Some(ANSWER_WITHIN)).unwrap();
        let at = socket.local_addr().unwrap();
        Self::new(user, Socket::Udp(socket, edge.parse().unwrap()), at, edge)
    }

    /// A phone on TCP, which listens nowhere: it is reached by its own connection, or not at all.
    pub fn on_tcp(user: &str, edge: &str) -> Self {
        let socket = TcpStream::connect(edge).unwrap();
        socket.set_read_timeout(Some(ANSWER_WITHIN)).unwrap();
        let at = socket.local_addr().unwrap();
        Self::new(user, Socket::Tcp(socket, vec![]), at, edge)
    }

    fn new(user: &str, socket: Socket, at: SocketAddr, edge: &str) -> Self {
        Phone {
            user: user.to_owned(),
            password: password_of(user),
            algorithm: Algorithm::Sha256,
            socket,
            at,
            edge: edge.to_owned(),
            cseq: 0,
            count: 0,
            audio: UdpSocket::bind((at.ip(), 0)).unwrap(),
            held: VecDeque::new(),
        }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.at
    }

    fn transport(&self) -> &'static str {
        if matches!(self.socket, Socket::Udp(..)) { "UDP" } else { "TCP" }
    }

    /// The URI that it is reached by.
    pub fn contact(&self) -> String {
        format!("sip:{}@{};transport={}", self.user, self.at, self.transport().to_lowercase())
    }

    /// The URI that it registers at.
    pub fn registrar(&self) -> String {
        format!("sip:{}", self.edge)
    }

    /// A REGISTER with these lines.
    pub fn register(&mut self, lines: &str) -> String {
        self.cseq += 1;
        let (user, at, cseq, transport, registrar) =
            (&self.user, self.at, self.cseq, self.transport(), self.registrar());
        format!(
            "REGISTER {registrar} SIP/2.0\r\nVia: SIP/2.0/{transport} {at};branch=z9hG4bK-{user}-{}-{cseq};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{user}@{REALM}>;tag=phone\r\nTo: <sip:{user}@{REALM}>\r\n\
             Call-ID: reg-{user}-{}\r\nCSeq: {cseq} REGISTER\r\n{lines}User-Agent: a phone with a long name 1.2.3\r\n\
             Content-Length: 0\r\n\r\n",
            at.port(),
            at.port()
        )
    }

    /// The lines of a REGISTER that asks for so many seconds.
    pub fn binding(&self, secs: u32) -> String {
        format!("Contact: <{}>\r\nExpires: {secs}\r\n", self.contact())
    }

    /// The line that answers a challenge to a REGISTER.
    pub fn proof(&mut self, challenge: &Message) -> String {
        format!("Authorization: {}\r\n", self.credentials(challenge, "WWW-Authenticate", "REGISTER", &self.registrar()))
    }

    /// What a phone says to a challenge.
    fn credentials(&mut self, challenge: &Message, header: &str, method: &str, uri: &str) -> String {
        self.count += 1;
        let own = format!("algorithm={}", self.algorithm.as_str());
        let asked = challenge.headers(header).find(|value| value.contains(&own));
        let asked = asked.unwrap_or_else(|| panic!("{own} is not offered: {challenge:?}"));
        let nonce = asked.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        let nc = format!("{:08x}", self.count);
        let secret = ha1(self.algorithm, self.user.as_bytes(), REALM.as_bytes(), self.password.as_bytes());
        let request = self.algorithm.of(&[method.as_bytes(), uri.as_bytes()]);
        let pieces = [secret.digits(), nonce.as_bytes(), nc.as_bytes(), b"cn", b"auth", request.digits()];
        let response = self.algorithm.of(&pieces);
        format!(
            "Digest username=\"{}\", realm=\"{REALM}\", nonce=\"{nonce}\", uri=\"{uri}\", {own}, qop=auth, \
             nc={nc}, cnonce=\"cn\", response=\"{}\"",
            self.user,
            String::from_utf8_lossy(response.digits())
        )
    }

    /// Registers with these lines, and returns the answer to its credentials.
    pub fn registers(&mut self, lines: &str) -> Message {
        let first = self.register(lines);
        let challenge = self.ask(&first);
        assert_eq!(challenge.code(), 401, "{challenge:?}");
        let proof = self.proof(&challenge);
        let second = self.register(&format!("{lines}{proof}"));
        self.ask(&second)
    }

    /// Sends a request and returns what comes next.
    pub fn ask(&mut self, text: &str) -> Message {
        self.send(text);
        self.receive().unwrap_or_else(|| panic!("no answer to {text}"))
    }

    pub fn send(&mut self, text: &str) {
        match &mut self.socket {
            Socket::Udp(socket, edge) => assert_eq!(socket.send_to(text.as_bytes(), *edge).unwrap(), text.len()),
            Socket::Tcp(socket, _) => socket.write_all(text.as_bytes()).unwrap(),
        }
    }

    /// The next message; `None` when none comes.
    pub fn receive(&mut self) -> Option<Message> {
        let mut octets = [0; 65_536];
        let (socket, held) = match &mut self.socket {
            Socket::Udp(socket, _) => {
                let len = socket.recv(&mut octets).ok()?;
                return Some(Message(String::from_utf8_lossy(&octets[..len]).into_owned()));
            }
            Socket::Tcp(socket, held) => (socket, held),
        };
        loop {
            if let Some(len) = whole(held) {
                let message: Vec<u8> = held.drain(..len).collect();
                return Some(Message(String::from_utf8_lossy(&message).into_owned()));
            }
            let len = socket.read(&mut octets).ok().filter(|len| *len > 0)?;
            held.extend_from_slice(&octets[..len]);
        }
    }

    /// Takes a call as it comes: rings, answers, and waits until the other side has hung up. Returns the INVITE.
    pub fn takes_a_call(&mut self) -> Message {
        let dialog = self.answers();
        self.until_hung_up(&[&dialog]);
        dialog.invite
    }

    /// Rings and answers. Returns the INVITE.
    pub fn answers_a_call(&mut self) -> Message {
        let invite = self.until_request("INVITE");
        self.answers_invite(&invite);
        invite
    }

    /// Rings, and answers.
    pub fn answers_invite(&mut self, invite: &Message) {
        self.send(&invite.reply("180 Ringing", &format!("Contact: <{}>\r\n", self.contact())));
        let body = self.description("sendrecv");
        self.send(&invite.reply("200 OK", &body));
        self.until_request("ACK");
    }

    /// Waits until the other side hangs up.
    pub fn is_hung_up_on(&mut self) {
        let mut heard = std::iter::repeat_with(|| self.receive()).take(HUNG_UP_WITHIN).flatten();
        let bye = heard.find(|message| message.first_line().starts_with("BYE")).expect("a BYE comes");
        drop(heard);
        self.send(&bye.reply("200 OK", ""));
    }

    /// Offers media this way in the call that `invite` began: `sendonly` holds it, `sendrecv` takes it back. The other side agrees.
    pub fn offers(&mut self, invite: &Message, direction: &str) {
        self.cseq += 1;
        let (at, cseq, transport) = (self.at, self.cseq, self.transport());
        let value = |name: &str| invite.header(name).unwrap_or_else(|| panic!("no {name} in {invite:?}")).to_owned();
        let uri = value("Contact").trim_matches(['<', '>']).to_owned();
        let routes: String = invite.headers("Record-Route").map(|route| format!("Route: {route}\r\n")).collect();
        let head = |method: &str| {
            format!(
                "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{transport} {at};branch=z9hG4bK-{method}-{cseq};rport\r\n\
                 Max-Forwards: 70\r\n{routes}From: {};tag=phone\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n",
                value("To"),
                value("From"),
                value("Call-ID")
            )
        };
        let offer = head("INVITE") + &self.description(direction);
        self.send(&offer);
        let answer = self.until("an answer", |message| message.code() >= 200);
        assert_eq!(answer.code(), 200, "{answer:?}");
        self.send(&(head("ACK") + "Content-Length: 0\r\n\r\n"));
    }

    /// Contact and a session description, which end a message.
    fn description(&self, direction: &str) -> String {
        let (ip, version) = (self.at.ip(), self.cseq);
        let sdp = format!(
            "v=0\r\no=phone 1 {version} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\n\
             a=rtpmap:8 PCMA/8000\r\na={direction}\r\n"
        );
        let contact = self.contact();
        let (kind, length) = ("Content-Type: application/sdp", sdp.len());
        format!("Contact: <{contact}>\r\n{kind}\r\nContent-Length: {length}\r\n\r\n{sdp}")
    }

    /// The next request of this method; what else comes is passed over.
    pub fn until_request(&mut self, method: &str) -> Message {
        self.until(method, |message| message.first_line().starts_with(method))
    }
}

/// Octets of the first message of a stream, once it is whole.
fn whole(held: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(held);
    let head = text.find("\r\n\r\n")? + 4;
    let length = text[..head].lines().find_map(|line| line.strip_prefix("Content-Length:"));
    let len = head + length.map_or(0, |length| length.trim().parse::<usize>().unwrap());
    (held.len() >= len).then_some(len)
}
