//! Calls through an edge, and what they cost it: what `benches/calls` measures with.
//!
//! `gateway calls edge=IP:PORT from=IP:PORT nodes=IP:PORT,… window=N rate=N hold=MS warmup=SECONDS seconds=SECONDS pids=PID,… [beside=PID]` plays a
//! gateway and its nodes: so many calls at a time, or with a rate other than 0 so many a second. A call is INVITE, 100, 180, 200, ACK, BYE, 200. Prints calls a
//! second, CPU microseconds of the processes for each call, calls that were lost, messages that were not what they should be, the
//! median, 99th and 99.9th percentile of the INVITE's way through the edge in microseconds, calls that were refused, the 99th percentile
//! of the time from a BYE to its 200, and CPU microseconds of what runs beside for each call.
//!
//! `gateway open … calls=N` opens so many calls, says `open`, waits for a line, and hangs them all up.
//!
//! `gateway relay listen=IP:PORT gateway=IP:PORT node=IP:PORT` passes datagrams on and reads none of them: the floor.
//!
//! `gateway plot results=FILE` and `gateway curve results=FILE` draw what `benches/calls` found, as SVG.

#![allow(clippy::unwrap_used)]

#[path = "parts/calls.rs"]
mod calls;
#[path = "parts/cpu.rs"]
mod cpu;
#[path = "parts/curve.rs"]
mod curve;
#[path = "parts/datagrams.rs"]
mod datagrams;
#[path = "parts/plot.rs"]
mod plot;
#[path = "parts/traffic.rs"]
mod traffic;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use calls::{Calls, Counts};
use cordboard::transport::udp::{ReceiveBatch, SendBatch, UdpSocket};
use cpu::cpu_nanos;

/// Calls that are opened in a second when many are.
const OPENED_EACH_SECOND: f64 = 4_000.0;

/// What was said on the command line.
struct Options(BTreeMap<String, String>);

impl Options {
    fn text(&self, key: &str) -> &str {
        self.0.get(key).unwrap_or_else(|| panic!("{key}= is missing"))
    }

    fn number(&self, key: &str) -> f64 {
        self.text(key).parse().unwrap_or_else(|_| panic!("{key}= is no number"))
    }

    fn address(&self, key: &str) -> SocketAddr {
        self.text(key).parse().unwrap_or_else(|_| panic!("{key}= is no address and port"))
    }

    fn seconds(&self, key: &str) -> Duration {
        Duration::from_secs_f64(self.number(key))
    }

    fn calls(&self, window: usize, hold: Duration) -> Calls {
        let nodes: Vec<SocketAddr> = self.text("nodes").split(',').map(|node| node.parse().unwrap()).collect();
        Calls::new(self.address("edge"), self.address("from"), &nodes, window, hold)
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let command = arguments.next().unwrap_or_default();
    let pair = |option: String| option.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    let options = Options(arguments.filter_map(pair).collect());
    match command.as_str() {
        "calls" => measure(&options),
        "open" => open(&options),
        "relay" => relay(&options),
        "plot" => print!("{}", plot::bars(&std::fs::read_to_string(options.text("results")).unwrap())),
        "curve" => print!("{}", curve::curve(&std::fs::read_to_string(options.text("results")).unwrap())),
        other => println!("gateway calls|open|relay|plot|curve KEY=VALUE …, not {other:?}"),
    }
}

/// Spans of time in their order.
struct Spans(Vec<Duration>);

impl Spans {
    fn of(mut spans: Vec<Duration>) -> Self {
        spans.sort();
        Spans(spans)
    }

    /// The one that so many of a thousand do not exceed.
    fn micros(&self, part: usize) -> f64 {
        self.0.get(self.0.len() * part / 1_000).map_or(0.0, |span| span.as_secs_f64() * 1e6)
    }
}

fn measure(options: &Options) {
    let pids: Vec<u32> = options.text("pids").split(',').map(|pid| pid.parse().unwrap()).collect();
    let beside: Vec<u32> = options.0.get("beside").iter().map(|pid| pid.parse().unwrap()).collect();
    let rate = Some(options.number("rate")).filter(|rate| *rate > 0.0);
    let hold = Duration::from_millis(options.number("hold") as u64);
    let mut calls = options.calls(options.number("window") as usize, hold);
    let settled = Instant::now() + options.seconds("warmup");
    calls.carry(rate, |_| Instant::now() >= settled);

    calls.counts = Counts::default();
    let (cpu, cpu_beside) = (cpu_nanos(&pids), cpu_nanos(&beside));
    let (began, seconds) = (Instant::now(), options.seconds("seconds"));
    calls.carry(rate, |_| began.elapsed() >= seconds);
    let (cpu, cpu_beside, took) = (cpu_nanos(&pids) - cpu, cpu_nanos(&beside) - cpu_beside, began.elapsed());
    // What is under way has its chance.
    let patience = Instant::now() + Duration::from_secs(3) + hold;
    let measured = std::mem::take(&mut calls.counts);
    calls.carry(Some(0.0), |calls| calls.open() == 0 || Instant::now() >= patience);

    let Counts { done, delays, hangups, .. } = measured;
    let (delays, hangups) = (Spans::of(delays), Spans::of(hangups));
    println!(
        "{:.0} {:.2} {} {} {:.0} {:.0} {:.0} {} {:.0} {:.2}",
        done as f64 / took.as_secs_f64(),
        cpu as f64 / 1e3 / done.max(1) as f64,
        measured.lost + calls.counts.lost + calls.open() as u64,
        measured.invalid + calls.counts.invalid,
        delays.micros(500),
        delays.micros(990),
        delays.micros(999),
        measured.refused,
        hangups.micros(990),
        cpu_beside as f64 / 1e3 / done.max(1) as f64
    );
    if calls.unsent() > 0 {
        eprintln!("gateway: the kernel did not take {} datagrams", calls.unsent());
    }
}

fn open(options: &Options) {
    let wanted = options.number("calls") as usize;
    let forever = Duration::from_secs(3_600);
    let mut calls = options.calls(wanted, forever);
    // One that is lost on the way is made up for.
    calls.carry(Some(OPENED_EACH_SECOND), |calls| calls.up() == wanted);
    println!("open {} lost {} invalid {}", calls.up(), calls.counts.lost, calls.counts.invalid);
    let mut line = String::new();
    let _ = std::io::stdin().read_line(&mut line);
}

fn relay(options: &Options) {
    let (gateway, node) = (options.address("gateway"), options.address("node"));
    let socket = UdpSocket::bind(options.address("listen")).unwrap();
    let (mut batch, mut out, mut text) = (ReceiveBatch::new(), SendBatch::default(), Vec::new());
    loop {
        if socket.receive(&mut batch).unwrap_or(0) == 0 {
            continue;
        }
        text.clear();
        for (from, octets) in batch.datagrams() {
            let begin = text.len();
            text.extend_from_slice(octets);
            out.push(if from == gateway { node } else { gateway }, begin..text.len());
        }
        socket.send_batch(&mut out, &text, |_, _| ());
        out.clear();
    }
}
