//! Whatever arrives, the edge goes on and the next call works.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::farm::Farm;
use crate::process::{repository, secs, until};
use crate::sipp::Load;

/// Every torture message of the repository.
fn torture() -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<PathBuf> = ["rfc4475", "rfc5118", "hostile"]
        .iter()
        .flat_map(|sub| std::fs::read_dir(repository("tests/torture").join(sub)).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() > 150, "{}", files.len());
    files.into_iter().map(|path| (path.display().to_string(), std::fs::read(path).unwrap())).collect()
}

fn address(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

/// A connection from an address of the farm's.
fn connect(farm: &Farm, from: &str) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&address(from, 0).into()).unwrap();
    socket.connect(&farm.edge_at().parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.into()
}

/// The edge lives, a fresh node comes up and calls go through.
fn goes_on(farm: &mut Farm) {
    assert!(farm.edge_mut().process.is_running(), "{}", farm.edge_log());
    assert!(!farm.edge_log().contains("panicked"), "{}", farm.edge_log());
    farm.lose(1);
    farm.play(1, "answer", &[]);
    farm.edge().until_node("ast-1", "up", secs(40));
    farm.carries(&Load::of("call").calls(3, 10));
    farm.carries(&Load::of("call").calls(3, 10).with(&["-t", "t1"]));
    assert!(!farm.edge_log().contains("panicked"), "{}", farm.edge_log());
}

/// Calls that torture messages opened are still waiting for nobody.
fn ends(mut farm: Farm) {
    farm.played(1).node_ends_well();
    assert_eq!(farm.edge_mut().process.end("TERM", secs(20)), 0);
}

/// A node that takes whatever comes and answers nothing but probes; the edge stops without waiting.
fn tortured(net: u8, more: &str) -> Farm {
    Farm::new(net).player("weight: 10", "silent", &[]).with("stop: { wait: 1s }").with(more).start()
}

fn received(farm: &Farm, transport: &str) -> f64 {
    farm.edge().metric("cordboard_messages_received_total", &[transport])
}

#[test]
fn torture_messages_over_udp_harm_nothing() {
    let mut farm = tortured(150, "");
    let gateway = UdpSocket::bind(address(&farm.ip(20), 5080)).unwrap();
    let (messages, before) = (torture(), received(&farm, "udp"));
    for (name, message) in &messages {
        gateway.send_to(message, farm.edge_at()).unwrap();
        assert!(farm.edge().http("/healthz").is_some(), "after {name}");
    }
    until("all have been read", secs(10), || received(&farm, "udp") >= before + messages.len() as f64);
    goes_on(&mut farm);
    ends(farm);
}

#[test]
fn torture_messages_over_tcp_harm_nothing() {
    let mut farm = tortured(151, "limits: { message_timeout: 1s }");
    for (name, message) in torture() {
        let mut stream = connect(&farm, &farm.ip(20));
        // The edge may have closed the connection before it was all written.
        let _ = stream.write_all(&message);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        assert!(farm.edge().http("/healthz").is_some(), "after {name}");
    }
    let open = || farm.edge().metric("cordboard_tcp_connections", &[]);
    until("no connection is left", secs(20), || open() == 0.0);
    goes_on(&mut farm);
    ends(farm);
}

#[test]
fn who_sends_an_octet_now_and_then_is_let_go_and_takes_no_place_of_others() {
    let mut farm = tortured(152, "limits: { message_timeout: 1s, connections_per_source: 10 }");
    let lazy = farm.ip(30);
    let mut streams: Vec<TcpStream> = (0..15).map(|_| connect(&farm, &lazy)).collect();
    let mut line = b"INVITE sip:100@127.0.152.10 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.152.30".iter().cycle();
    let refused = || farm.edge().metric("cordboard_tcp_connections_refused_total", &[]);
    until("those beyond the limit are turned away", secs(10), || refused() >= 5.0);
    let open = || farm.edge().metric("cordboard_tcp_connections", &[]);
    until("those who dawdle are let go", secs(20), || {
        let octet = [*line.next().unwrap()];
        streams.iter_mut().for_each(|stream| drop(stream.write(&octet)));
        open() == 0.0
    });
    assert!(farm.edge().metric("cordboard_tcp_connections_broken_total", &[]) >= 10.0);
    for stream in &mut streams {
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(stream.read(&mut [0; 64]).unwrap_or(0), 0, "closed without an answer");
    }
    goes_on(&mut farm);
    ends(farm);
}

#[test]
fn garbage_and_floods_of_strangers_harm_nothing() {
    let mut farm = tortured(153, "");
    let stranger = UdpSocket::bind(address(&farm.ip(66), 5080)).unwrap();
    let gateway = UdpSocket::bind(address(&farm.ip(20), 5080)).unwrap();
    let mut noise = Noise(0x5eed);
    for round in 0..2_000 {
        let text = noise.octets(round % 600);
        stranger.send_to(&text, farm.edge_at()).unwrap();
        gateway.send_to(&text, farm.edge_at()).unwrap();
    }
    let mut stream = connect(&farm, &farm.ip(66));
    for _ in 0..64 {
        if stream.write_all(&noise.octets(16_384)).is_err() {
            break;
        }
    }
    drop(stream);
    let dropped = |reason: &str| farm.edge().metric("cordboard_messages_dropped_total", &[reason]);
    assert!(dropped("rate_limited") > 1_000.0, "a stranger's flood is dropped unread");
    goes_on(&mut farm);
    ends(farm);
}

/// Octets that are the same in every run (xorshift).
struct Noise(u64);

impl Noise {
    fn octets(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next()).collect()
    }

    fn next(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 24) as u8
    }
}
