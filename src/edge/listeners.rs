//! Listeners come and go with the configuration.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::dispatch::farm::Listener;
use crate::transport::flow::{ListenerId, Protocol};
use crate::transport::stream;
use crate::transport::udp::UdpSocket;

use super::engine::Engine;
use super::worker::Workers;

/// An address that cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("{}://{address}: {source}{}", .protocol.lower(), hint(.source))]
pub struct ListenError {
    protocol: Protocol,
    address: SocketAddr,
    source: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another program listens there (see `ss -lunpt`)",
        io::ErrorKind::AddrNotAvailable => "; the machine has no such address",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE",
        _ => "",
    }
}

/// Sockets that are bound and not served yet.
pub struct Bound(Vec<(ListenerId, Socket)>);

enum Socket {
    Udp(Arc<UdpSocket>),
    Tcp(TcpListener),
}

enum Running {
    Udp { socket: Arc<UdpSocket>, _workers: Workers },
    Tcp(JoinHandle<()>),
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Running::Tcp(task) = self {
            task.abort();
        }
    }
}

/// All listeners that are served.
pub struct Listeners {
    engine: Arc<Engine>,
    workers: usize,
    running: BTreeMap<ListenerId, Running>,
}

impl Listeners {
    /// None yet. Each UDP listener will have so many threads.
    pub fn new(engine: Arc<Engine>, workers: usize) -> Self {
        Listeners { engine, workers, running: BTreeMap::new() }
    }

    /// Binds what is wanted and not there. On an error nothing has changed.
    pub fn bind(&self, wanted: &[Listener]) -> Result<Bound, ListenError> {
        let new = wanted.iter().filter(|listener| !self.running.contains_key(&listener.id));
        new.map(|listener| bind(listener).map(|socket| (listener.id, socket))).collect::<Result<_, _>>().map(Bound)
    }

    /// Serves what was bound and ends what is no longer wanted.
    pub fn apply(&mut self, bound: Bound, wanted: &[Listener]) -> io::Result<()> {
        for (id, socket) in bound.0 {
            let running = match socket {
                Socket::Udp(socket) => {
                    let workers = Workers::start(&self.engine, id, &socket, self.workers)?;
                    Running::Udp { socket, _workers: workers }
                }
                Socket::Tcp(listener) => {
                    let streams = self.engine.streams.clone();
                    Running::Tcp(self.engine.runtime.spawn(streams.accept(listener, id)))
                }
            };
            self.running.insert(id, running);
        }
        let gone: Vec<ListenerId> =
            self.running.keys().copied().filter(|id| !wanted.iter().any(|listener| listener.id == *id)).collect();
        let ended: Vec<Running> = gone.iter().filter_map(|id| self.running.remove(id)).collect();
        self.publish();
        // Ending a worker waits for its current batch.
        drop(ended);
        Ok(())
    }

    fn publish(&self) {
        let sockets = self.running.iter().filter_map(|(id, running)| match running {
            Running::Udp { socket, .. } => Some((*id, Arc::clone(socket))),
            Running::Tcp(_) => None,
        });
        self.engine.set_sockets(sockets.collect());
    }

    /// Ends all of them.
    pub fn end(&mut self) {
        self.running.clear();
        self.publish();
    }
}

fn bind(listener: &Listener) -> Result<Socket, ListenError> {
    let failed = |source| ListenError { protocol: listener.protocol, address: listener.bind, source };
    match listener.protocol {
        Protocol::Udp => UdpSocket::bind(listener.bind).map(|socket| Socket::Udp(Arc::new(socket))).map_err(failed),
        Protocol::Tcp => stream::listen(listener.bind).map(Socket::Tcp).map_err(failed),
    }
}
