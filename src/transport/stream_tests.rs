//! Streams over real loopback connections.

use super::*;

const MESSAGE: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/TCP b;branch=z9hG4bKc\r\nFrom: <sip:a>;tag=1\r\n\
    To: <sip:a>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";

enum Heard {
    Message(Flow, Vec<u8>),
    Failed(Ticket),
}

struct Ear(mpsc::UnboundedSender<Heard>);

impl StreamReceiver for Ear {
    fn message(&self, flow: Flow, bytes: &[u8]) {
        let _ = self.0.send(Heard::Message(flow, bytes.to_vec()));
    }

    fn closed(&self, _: Flow) {}

    fn failed(&self, ticket: Ticket) {
        let _ = self.0.send(Heard::Failed(ticket));
    }
}

struct Rig {
    streams: Streams,
    heard: mpsc::UnboundedReceiver<Heard>,
    address: SocketAddr,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn rig(limits: StreamLimits) -> Rig {
    let streams = Streams::new(Handle::current(), limits);
    let (ear, heard) = mpsc::unbounded_channel();
    streams.set_receiver(Arc::new(Ear(ear)));
    let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = tokio::spawn(streams.clone().accept(listener, ListenerId(5)));
    Rig { streams, heard, address, accepting }
}

impl Rig {
    async fn message(&mut self) -> (Flow, Vec<u8>) {
        match timeout(Duration::from_secs(5), self.heard.recv()).await {
            Ok(Some(Heard::Message(flow, bytes))) => (flow, bytes),
            _ => panic!("no message"),
        }
    }
}

async fn closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await.is_ok()
}

#[tokio::test]
async fn answers_go_back_by_the_connection_that_the_request_came_by() {
    let mut rig = rig(StreamLimits::default());
    let mut peer = TcpStream::connect(rig.address).await.unwrap();
    peer.write_all(&[MESSAGE, MESSAGE].concat()).await.unwrap();
    let (flow, bytes) = rig.message().await;
    assert_eq!((flow.listener, flow.remote, bytes.as_slice()), (ListenerId(5), peer.local_addr().unwrap(), MESSAGE));
    assert_eq!(rig.message().await.0, flow);
    rig.streams.send_flow(flow, rig.address.ip(), b"answer".to_vec(), None);
    let mut read = [0; 6];
    peer.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"answer");
}

#[tokio::test]
async fn a_ping_is_answered_and_line_ends_are_no_message() {
    let rig = rig(StreamLimits::default());
    let mut peer = TcpStream::connect(rig.address).await.unwrap();
    peer.write_all(b"\r\n\r\n").await.unwrap();
    let mut read = [0; 2];
    timeout(Duration::from_secs(5), peer.read_exact(&mut read)).await.unwrap().unwrap();
    assert_eq!(&read, b"\r\n");
}

#[tokio::test]
async fn one_connection_serves_an_address_and_is_opened_when_needed() {
    let rig = rig(StreamLimits::default());
    let node = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let remote = node.local_addr().unwrap();
    for text in [&b"one"[..], b"two"] {
        rig.streams.send(remote, ListenerId(5), "127.0.0.1".parse().unwrap(), text.to_vec(), None);
    }
    let (mut stream, _) = node.accept().await.unwrap();
    let mut read = [0; 6];
    stream.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"onetwo");
    assert_eq!(rig.streams.open(), 1);
}

#[tokio::test]
async fn what_cannot_be_sent_is_reported_with_its_ticket() {
    let mut rig = rig(StreamLimits::default());
    let gone = { std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap() };
    let ticket = Ticket { call: 9, attempt: 1 };
    rig.streams.send(gone, ListenerId(5), "127.0.0.1".parse().unwrap(), b"x".to_vec(), Some(ticket));
    match timeout(Duration::from_secs(5), rig.heard.recv()).await {
        Ok(Some(Heard::Failed(failed))) => assert_eq!(failed, ticket),
        _ => panic!("no report"),
    }
    assert_eq!(rig.streams.open(), 0);
}

#[tokio::test]
async fn a_message_must_be_whole_in_time_however_slowly_it_drips() {
    let limits = StreamLimits { message_timeout: Duration::from_millis(300), ..StreamLimits::default() };
    let rig = rig(limits);
    let mut peer = TcpStream::connect(rig.address).await.unwrap();
    let began = Instant::now();
    let drip = async {
        for byte in MESSAGE {
            if peer.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let _ = timeout(Duration::from_millis(600), drip).await;
    assert!(closed(&mut peer).await);
    assert!(began.elapsed() < Duration::from_secs(3));
    assert_eq!(rig.streams.counters().broken.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_stream_that_lies_about_its_length_is_answered_and_closed() {
    let mut rig = rig(StreamLimits::default());
    let mut peer = TcpStream::connect(rig.address).await.unwrap();
    let text = String::from_utf8(MESSAGE.to_vec()).unwrap().replace("Content-Length: 0", "Content-Length: -1");
    peer.write_all(text.as_bytes()).await.unwrap();
    assert_eq!(rig.message().await.1, text.as_bytes());
    assert!(closed(&mut peer).await);
}

#[tokio::test]
async fn connections_beyond_a_limit_are_turned_away() {
    let limits = StreamLimits { connections_per_source: 2, ..StreamLimits::default() };
    let mut rig = rig(limits);
    let mut peers = Vec::new();
    for _ in 0..2 {
        let mut peer = TcpStream::connect(rig.address).await.unwrap();
        peer.write_all(MESSAGE).await.unwrap();
        rig.message().await;
        peers.push(peer);
    }
    let mut third = TcpStream::connect(rig.address).await.unwrap();
    assert!(closed(&mut third).await);
    drop(peers);
    timeout(Duration::from_secs(5), async {
        while rig.streams.open() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    let mut fourth = TcpStream::connect(rig.address).await.unwrap();
    fourth.write_all(MESSAGE).await.unwrap();
    rig.message().await;
}
