//! Phones that register, as many as a registrar can take, and a store that is full of them: what `benches/register` measures with.
//!
//! `phones register edge=IP:PORT from=IP:PORT users=N window=N rate=N seconds=N pids=PID,PID` registers all users once, and then
//! refreshes them for so many seconds: REGISTER, 401, REGISTER with its proof, 200. So many at a time, or with a rate other than 0 so many a
//! second. Prints pairs a second, CPU microseconds of the processes for each pair, pairs without an end, and the median and
//! 99th percentile of the time from the first REGISTER to the 200, in milliseconds.
//!
//! `phones store folder=FOLDER users=N` fills a `state_dir` with that many registrations.

#![allow(clippy::unwrap_used)]

#[path = "parts/cpu.rs"]
mod cpu;

use std::collections::{BTreeMap, VecDeque};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cordboard::registrar::digest::{Algorithm, Hex, ha1};
use cordboard::store::contract::SavedFlow;
use cordboard::store::embedded::Embedded;
use cordboard::store::{BindingBatch, SavedBinding, Store};
use cpu::cpu_nanos;

/// The users' realm and domain, and the password of all of them.
const DOMAIN: &str = "pbx.example.com";
const PASSWORD: &str = "secret";
/// A pair that takes longer is counted as lost.
const LOST_AFTER: Duration = Duration::from_secs(3);
/// Registrations that are stored at a time.
const LOT: usize = 2_000;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let command = arguments.next().unwrap_or_default();
    let options: BTreeMap<String, String> =
        arguments.filter_map(|option| option.split_once('=').map(|(key, value)| (key.into(), value.into()))).collect();
    let text = |key: &str| options.get(key).unwrap_or_else(|| panic!("{key}= is missing"));
    let number = |key: &str| text(key).parse::<usize>().unwrap_or_else(|_| panic!("{key}= is no number"));
    match command.as_str() {
        "store" => fill(Path::new(text("folder")), number("users")),
        "register" => {
            let pids = text("pids").split(',').map(|pid| pid.parse().unwrap()).collect();
            let (edge, from) = (text("edge").parse().unwrap(), text("from").parse().unwrap());
            let mut load = Load::new(edge, from, number("users"), pids);
            let seconds = Duration::from_secs(number("seconds") as u64);
            println!("{}", load.measure(number("window"), number("rate"), seconds));
        }
        other => println!("phones register|store KEY=VALUE …, not {other:?}"),
    }
}

/// One user's phone.
#[derive(Clone, Copy)]
struct Phone {
    secret: Hex,
    cseq: u32,
    /// When the pair began that is under way.
    began: Option<Instant>,
}

struct Load {
    socket: UdpSocket,
    at: SocketAddr,
    phones: Vec<Phone>,
    pids: Vec<u32>,
    /// Whose turn it is.
    next: usize,
    under_way: usize,
    began: VecDeque<(usize, Instant)>,
    done: usize,
    lost: usize,
    spans: Vec<Duration>,
}

impl Load {
    fn new(edge: SocketAddr, from: SocketAddr, users: usize, pids: Vec<u32>) -> Self {
        let socket = UdpSocket::bind(from).unwrap();
        socket.connect(edge).unwrap();
        socket.set_nonblocking(true).unwrap();
        let secret = |number| ha1(Algorithm::Md5, user(number).as_bytes(), DOMAIN.as_bytes(), PASSWORD.as_bytes());
        let phones = (0..users).map(|number| Phone { secret: secret(number), cseq: 0, began: None }).collect();
        let at = socket.local_addr().unwrap();
        let (began, spans) = (VecDeque::new(), vec![]);
        Load { socket, at, phones, pids, next: 0, under_way: 0, began, done: 0, lost: 0, spans }
    }

    fn measure(&mut self, window: usize, rate: usize, seconds: Duration) -> String {
        // All of them once; then, with the rate that is measured, until things have settled.
        let users = self.phones.len();
        self.carry(window.min(32), 0, |load| load.done >= users);
        let settled = Instant::now() + Duration::from_secs(1);
        self.carry(window, rate, |_| Instant::now() >= settled);
        (self.done, self.lost) = (0, 0);
        self.spans.clear();
        let (cpu, began) = (cpu_nanos(&self.pids), Instant::now());
        self.carry(window, rate, |_| began.elapsed() >= seconds);
        let (cpu, took) = (cpu_nanos(&self.pids) - cpu, began.elapsed());
        self.spans.sort();
        let at =
            |part: usize| self.spans.get(self.spans.len() * part / 100).map_or(0.0, |span| span.as_secs_f64() * 1e3);
        format!(
            "{:.0} {:.2} {} {:.2} {:.2}",
            self.done as f64 / took.as_secs_f64(),
            cpu as f64 / 1e3 / self.done.max(1) as f64,
            self.lost,
            at(50),
            at(99)
        )
    }

    fn carry(&mut self, window: usize, rate: usize, is_over: impl Fn(&Load) -> bool) {
        let (start, mut sent) = (Instant::now(), 0);
        let mut octets = [0; 4_096];
        while !is_over(self) {
            let due = if rate == 0 { usize::MAX } else { (start.elapsed().as_secs_f64() * rate as f64) as usize };
            while self.under_way < window && sent < due {
                self.begin();
                sent += 1;
            }
            // It polls: who measures must not be measured by how he is woken.
            while let Ok(len) = self.socket.recv(&mut octets) {
                self.hear(std::str::from_utf8(&octets[..len]).unwrap_or_default());
            }
            self.give_up();
        }
    }

    fn begin(&mut self) {
        let number = (0..self.phones.len()).map(|more| (self.next + more) % self.phones.len());
        let Some(number) = number.into_iter().find(|number| self.phones[*number].began.is_none()) else { return };
        self.next = (number + 1) % self.phones.len();
        let now = Instant::now();
        self.phones[number].began = Some(now);
        self.began.push_back((number, now));
        self.under_way += 1;
        self.register(number, "");
    }

    fn give_up(&mut self) {
        while let Some((number, began)) = self.began.front().copied() {
            let is_open = self.phones[number].began == Some(began);
            if is_open && began.elapsed() < LOST_AFTER {
                return;
            }
            if is_open {
                self.phones[number].began = None;
                self.under_way -= 1;
                self.lost += 1;
            }
            self.began.pop_front();
        }
    }

    fn hear(&mut self, text: &str) {
        let field = |name: &str| text.split(name).nth(1).and_then(|rest| rest.split("\r\n").next());
        let number = field("\r\nCall-ID: ").and_then(|call_id| call_id.split('@').next()?.parse::<usize>().ok());
        let cseq = field("\r\nCSeq: ").and_then(|cseq| cseq.split(' ').next()?.parse::<u32>().ok());
        let Some(number) = number.filter(|number| *number < self.phones.len()) else { return };
        let phone = self.phones[number];
        let (Some(began), true) = (phone.began, Some(phone.cseq) == cseq) else { return };
        match text.get(8..11) {
            Some("401") => {
                let nonce = text.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
                let proof = proof(number, &phone.secret, nonce);
                self.register(number, &proof);
            }
            Some("200") => {
                self.phones[number].began = None;
                self.under_way -= 1;
                self.done += 1;
                self.spans.push(began.elapsed());
            }
            _ => panic!("not an answer to a good REGISTER: {text}"),
        }
    }

    fn register(&mut self, number: usize, proof: &str) {
        self.phones[number].cseq += 1;
        let (at, cseq, user, run) = (self.at, self.phones[number].cseq, user(number), std::process::id());
        let text = format!(
            "REGISTER sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-{number}-{cseq};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{user}@{DOMAIN}>;tag=f{number}\r\nTo: <sip:{user}@{DOMAIN}>\r\n\
             Call-ID: {number}@{run}.example\r\nCSeq: {cseq} REGISTER\r\nContact: <sip:{user}@{at}>\r\nExpires: 3600\r\n\
             User-Agent: a phone with a name of usual length 1.2.3\r\n{proof}Content-Length: 0\r\n\r\n"
        );
        // What the kernel does not take is lost, as it would be on the wire.
        let _ = self.socket.send(text.as_bytes());
    }
}

fn user(number: usize) -> String {
    format!("agent{number}")
}

fn proof(number: usize, secret: &Hex, nonce: &str) -> String {
    let uri = format!("sip:{DOMAIN}");
    let request = Algorithm::Md5.of(&[b"REGISTER", uri.as_bytes()]);
    let pieces = [secret.digits(), nonce.as_bytes(), b"00000001", b"cn", b"auth", request.digits()];
    let response = Algorithm::Md5.of(&pieces);
    format!(
        "Authorization: Digest username=\"{}\", realm=\"{DOMAIN}\", nonce=\"{nonce}\", uri=\"{uri}\", algorithm=MD5, qop=auth, \
         nc=00000001, cnonce=\"cn\", response=\"{}\"\r\n",
        user(number),
        String::from_utf8_lossy(response.digits())
    )
}

fn fill(folder: &Path, users: usize) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let store = Embedded::open(folder).unwrap().store;
    let mut batch = BindingBatch::default();
    for number in 0..users {
        let user = user(number);
        let remote = SocketAddr::from((std::net::Ipv4Addr::from(0x0a00_0000 + number as u32), 5060));
        let contact = format!("sip:{user}@{remote};transport=udp;line=3k4h5g2j");
        let instance = format!("<urn:uuid:00000000-0000-1000-8000-{number:012x}>");
        let binding = SavedBinding {
            contact: contact.as_bytes(),
            flow: SavedFlow { listener: 1, is_tcp: false, remote },
            preference: 1_000,
            expires: now + 3_600_000,
            updated: now,
            call_id: number as u64,
            cseq: 1,
            instance: Some(instance.as_bytes()),
            reg_id: 0,
            path: b"",
        };
        batch.push(user.as_bytes(), |out| SavedBinding::write(out, [binding].into_iter()));
        if batch.len() == LOT || number + 1 == users {
            store.bindings(&batch).unwrap();
            batch.clear();
        }
    }
}
