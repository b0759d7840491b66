//! TCP: connections by flow, framing, limits (RFC 3261 sections 18.2.1, 18.3 and 18.4, reuse RFC 5923).
//!
//! Messages that come in are handed to a [`StreamReceiver`]; messages that go out are queued without waiting. A connection
//! that is needed and not there is opened; what is queued until then is sent, or reported as failed.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use crate::sip::framing::{Frame, Framer};

use super::flow::{ConnectionId, Flow, ListenerId, Protocol};

/// Bounds on streams, each against a kind of abuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// Connections at once.
    pub connections: usize,
    /// Connections of one address.
    pub connections_per_source: usize,
    /// Octets of one message.
    pub message_len: usize,
    /// How long a connection may take to come up.
    pub connect_timeout: Duration,
    /// How long a message may take from its first octet to its last, in either direction.
    pub message_timeout: Duration,
    /// How long a connection may be silent.
    pub idle_timeout: Duration,
}

impl Default for StreamLimits {
    fn default() -> Self {
        StreamLimits {
            connections: 4_000,
            connections_per_source: 200,
            message_len: 65_535,
            connect_timeout: Duration::from_secs(2),
            message_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(600),
        }
    }
}

/// Messages that may wait for one connection. A peer that reads slower than this is not keeping up.
const QUEUE: usize = 256;

/// Names what fails when a message cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The call.
    pub call: u128,
    /// The try.
    pub attempt: u8,
}

/// Who deals with what streams bring.
pub trait StreamReceiver: Send + Sync + 'static {
    /// A whole message arrived, or the part of a broken one that may still be answered.
    fn message(&self, flow: Flow, bytes: &[u8]);
    /// A message could not be sent.
    fn failed(&self, ticket: Ticket);
    /// A connection is gone.
    fn closed(&self, flow: Flow);
}

/// What can be counted.
#[derive(Debug, Default)]
pub struct StreamCounters {
    /// Connections that were taken or opened.
    pub opened: AtomicU64,
    /// Connections that were turned away for a limit.
    pub refused: AtomicU64,
    /// Connections that were closed for being too slow, or for a stream that could not be followed.
    pub broken: AtomicU64,
    /// Messages that were not sent.
    pub unsent: AtomicU64,
}

/// All streams of the edge.
#[derive(Clone)]
pub struct Streams {
    inner: Arc<Inner>,
}

struct Inner {
    runtime: Handle,
    receiver: Mutex<Option<Arc<dyn StreamReceiver>>>,
    limits: Mutex<StreamLimits>,
    table: Mutex<Table>,
    next_id: AtomicU32,
    counters: StreamCounters,
}

#[derive(Default)]
struct Table {
    connections: HashMap<ConnectionId, Connection>,
    /// The connection that serves an address; the newest.
    by_remote: HashMap<SocketAddr, ConnectionId>,
    per_source: HashMap<IpAddr, usize>,
}

struct Connection {
    flow: Flow,
    queue: mpsc::Sender<Outgoing>,
}

struct Outgoing {
    bytes: Vec<u8>,
    ticket: Option<Ticket>,
}

impl Streams {
    /// No connections yet.
    pub fn new(runtime: Handle, limits: StreamLimits) -> Self {
        let inner = Inner {
            runtime,
            receiver: Mutex::new(None),
            limits: Mutex::new(limits),
            table: Mutex::default(),
            next_id: AtomicU32::new(1),
            counters: StreamCounters::default(),
        };
        Streams { inner: Arc::new(inner) }
    }

    /// Names who deals with what arrives.
    pub fn set_receiver(&self, receiver: Arc<dyn StreamReceiver>) {
        *self.inner.receiver.lock() = Some(receiver);
    }

    /// Changes the limits for what comes from now on.
    pub fn set_limits(&self, limits: StreamLimits) {
        *self.inner.limits.lock() = limits;
    }

    /// What has been counted.
    pub fn counters(&self) -> &StreamCounters {
        &self.inner.counters
    }

    /// Connections that are open or opening.
    pub fn open(&self) -> usize {
        self.inner.table.lock().connections.len()
    }

    /// Takes connections on a bound listener until the task is aborted.
    pub async fn accept(self, listener: TcpListener, id: ListenerId) {
        loop {
            match listener.accept().await {
                Ok((stream, remote)) => self.admit(stream, remote, id),
                // Out of descriptors, or the peer is gone already: a pause instead of a busy loop.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn admit(&self, stream: TcpStream, remote: SocketAddr, listener: ListenerId) {
        let Some((flow, queue)) = self.register(remote, listener) else {
            self.inner.counters.refused.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let streams = self.clone();
        self.inner.runtime.spawn(async move { streams.run(stream, flow, queue).await });
    }

    /// Sends along a flow; when its connection is gone, a new one is opened to the same address.
    pub fn send_flow(&self, flow: Flow, local: IpAddr, bytes: Vec<u8>, ticket: Option<Ticket>) {
        let queue = flow.connection.and_then(|id| {
            let table = self.inner.table.lock();
            table.connections.get(&id).map(|connection| connection.queue.clone())
        });
        match queue {
            Some(queue) => self.enqueue(&queue, Outgoing { bytes, ticket }),
            None => self.send(flow.remote, flow.listener, local, bytes, ticket),
        }
    }

    /// Sends to an address over the connection that serves it, opening one from `local` if there is none.
    pub fn send(
        &self,
        remote: SocketAddr,
        listener: ListenerId,
        local: IpAddr,
        bytes: Vec<u8>,
        ticket: Option<Ticket>,
    ) {
        let outgoing = Outgoing { bytes, ticket };
        let queue = {
            let table = self.inner.table.lock();
            let id = table.by_remote.get(&remote);
            id.and_then(|id| table.connections.get(id)).map(|connection| connection.queue.clone())
        };
        if let Some(queue) = queue {
            return self.enqueue(&queue, outgoing);
        }
        let Some((flow, receiver)) = self.register(remote, listener) else {
            self.inner.counters.refused.fetch_add(1, Ordering::Relaxed);
            return self.unsent(ticket);
        };
        let queue = {
            let table = self.inner.table.lock();
            flow.connection.and_then(|id| table.connections.get(&id)).map(|connection| connection.queue.clone())
        };
        if let Some(queue) = queue {
            self.enqueue(&queue, outgoing);
        }
        let streams = self.clone();
        self.inner.runtime.spawn(async move { streams.connect(flow, local, receiver).await });
    }

    fn enqueue(&self, queue: &mpsc::Sender<Outgoing>, outgoing: Outgoing) {
        if let Err(error) = queue.try_send(outgoing) {
            self.unsent(error.into_inner().ticket);
        }
    }

    fn unsent(&self, ticket: Option<Ticket>) {
        self.inner.counters.unsent.fetch_add(1, Ordering::Relaxed);
        let receiver = self.inner.receiver.lock().clone();
        if let (Some(ticket), Some(receiver)) = (ticket, receiver) {
            // On a task of its own: the caller may hold the very locks that the receiver takes.
            self.inner.runtime.spawn(async move { receiver.failed(ticket) });
        }
    }

    /// Takes up a connection, unless a limit forbids it.
    fn register(&self, remote: SocketAddr, listener: ListenerId) -> Option<(Flow, mpsc::Receiver<Outgoing>)> {
        let (connections_max, per_source_max) = {
            let limits = self.inner.limits.lock();
            (limits.connections, limits.connections_per_source)
        };
        let mut table = self.inner.table.lock();
        let from_source = table.per_source.get(&remote.ip()).copied().unwrap_or(0);
        if table.connections.len() >= connections_max || from_source >= per_source_max {
            return None;
        }
        let id = ConnectionId(NonZeroU32::new(self.inner.next_id.fetch_add(1, Ordering::Relaxed))?);
        let flow = Flow { listener, protocol: Protocol::Tcp, remote, connection: Some(id) };
        let (queue, outgoing) = mpsc::channel(QUEUE);
        table.connections.insert(id, Connection { flow, queue });
        table.by_remote.insert(remote, id);
        *table.per_source.entry(remote.ip()).or_default() += 1;
        self.inner.counters.opened.fetch_add(1, Ordering::Relaxed);
        Some((flow, outgoing))
    }

    fn forget(&self, flow: Flow) {
        let Some(id) = flow.connection else { return };
        let mut table = self.inner.table.lock();
        let Some(connection) = table.connections.remove(&id) else { return };
        let remote = connection.flow.remote;
        if table.by_remote.get(&remote) == Some(&id) {
            table.by_remote.remove(&remote);
        }
        if let Some(count) = table.per_source.get_mut(&remote.ip()) {
            *count -= 1;
            if *count == 0 {
                table.per_source.remove(&remote.ip());
            }
        }
    }

    async fn connect(&self, flow: Flow, local: IpAddr, mut queue: mpsc::Receiver<Outgoing>) {
        let limit = self.inner.limits.lock().connect_timeout;
        match timeout(limit, open(flow.remote, local)).await {
            Ok(Ok(stream)) => self.run(stream, flow, queue).await,
            Ok(Err(_)) | Err(_) => {
                self.forget(flow);
                queue.close();
                while let Some(outgoing) = queue.recv().await {
                    self.unsent(outgoing.ticket);
                }
            }
        }
    }

    /// Reads and writes one connection until it ends.
    async fn run(&self, stream: TcpStream, flow: Flow, mut queue: mpsc::Receiver<Outgoing>) {
        let _ = stream.set_nodelay(true);
        let limits = self.inner.limits.lock().clone();
        let (mut reader, mut writer) = stream.into_split();
        let write = async {
            while let Some(outgoing) = queue.recv().await {
                let written = timeout(limits.message_timeout, writer.write_all(&outgoing.bytes)).await;
                if !matches!(written, Ok(Ok(()))) {
                    self.unsent(outgoing.ticket);
                    return;
                }
            }
        };
        tokio::select! {
            () = self.read(&mut reader, flow, &limits) => {}
            () = write => {}
        }
        self.forget(flow);
        let receiver = self.inner.receiver.lock().clone();
        receiver.inspect(|receiver| receiver.closed(flow));
        queue.close();
        while let Ok(outgoing) = queue.try_recv() {
            self.unsent(outgoing.ticket);
        }
    }

    async fn read(&self, reader: &mut (impl AsyncReadExt + Unpin), flow: Flow, limits: &StreamLimits) {
        let mut framer = Framer::default();
        let mut buffer: Vec<u8> = Vec::with_capacity(4_096);
        let mut deadline = Instant::now() + limits.idle_timeout;
        let mut message_began = false;
        loop {
            match timeout_at(deadline, reader.read_buf(&mut buffer)).await {
                Ok(Ok(0) | Err(_)) => return,
                Ok(Ok(_)) => {}
                Err(_) => {
                    if message_began {
                        self.inner.counters.broken.fetch_add(1, Ordering::Relaxed);
                    }
                    return;
                }
            }
            let before = buffer.len();
            if !self.take_frames(&mut framer, &mut buffer, flow, limits.message_len) {
                self.inner.counters.broken.fetch_add(1, Ordering::Relaxed);
                // Let the answer leave before the connection goes.
                tokio::time::sleep(Duration::from_millis(20)).await;
                return;
            }
            let progressed = buffer.len() < before;
            let begun = buffer.iter().any(|b| !matches!(b, b'\r' | b'\n'));
            if !begun {
                deadline = Instant::now() + limits.idle_timeout;
            } else if progressed || !message_began {
                // The clock of a message starts with its first octet; more octets do not wind it up again.
                deadline = Instant::now() + limits.message_timeout;
            }
            message_began = begun;
        }
    }

    /// Deals with everything that is whole. False when the stream cannot be followed any further.
    fn take_frames(&self, framer: &mut Framer, buffer: &mut Vec<u8>, flow: Flow, message_len: usize) -> bool {
        let receiver = self.inner.receiver.lock().clone();
        let mut at = 0;
        let followed = loop {
            if at == buffer.len() {
                break true;
            }
            match framer.next(&buffer[at..], message_len) {
                Frame::NeedMore => break true,
                Frame::KeepAlive { len, ping } => {
                    at += len;
                    if ping {
                        self.send_flow(flow, flow.remote.ip(), b"\r\n".to_vec(), None);
                    }
                }
                Frame::Message(len) => {
                    if let Some(receiver) = &receiver {
                        receiver.message(flow, &buffer[at..at + len]);
                    }
                    at += len;
                }
                Frame::Broken(len, _) => {
                    if let Some(receiver) = &receiver {
                        receiver.message(flow, &buffer[at..at + len]);
                    }
                    at += len;
                    break false;
                }
            }
        };
        buffer.drain(..at);
        followed
    }
}

/// Opens a connection from the edge's own address, so that the other end knows who calls.
async fn open(remote: SocketAddr, local: IpAddr) -> io::Result<TcpStream> {
    let socket = if remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if !local.is_unspecified() && local.is_ipv4() == remote.is_ipv4() {
        socket.bind(SocketAddr::new(local, 0))?;
    }
    socket.connect(remote).await
}

/// Binds a TCP listener.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1_024)
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
