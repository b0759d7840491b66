//! Datagrams in batches, on a socket that talks to one address and never waits.

use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg, sendmmsg, setsockopt, sockopt};

/// Datagrams of one batch.
const BATCH: usize = 64;
/// Batches that are taken at one time.
const BATCHES: usize = 16;
/// Octets of the longest.
const LONGEST: usize = 8_192;
/// Room that the kernel keeps for each direction.
const KERNEL_BUFFER: usize = 4 << 20;

/// The socket, and what waits to be sent.
pub struct Datagrams {
    socket: UdpSocket,
    headers: MultiHeaders<()>,
    buffers: Vec<Vec<u8>>,
    waiting: Vec<Vec<u8>>,
    /// Datagrams that the kernel did not take.
    pub unsent: u64,
}

impl Datagrams {
    /// Binds an address, to talk to another one.
    pub fn between(here: SocketAddr, there: SocketAddr) -> Self {
        let socket = UdpSocket::bind(here).unwrap();
        socket.connect(there).unwrap();
        // As much as the system allows.
        let _ = setsockopt(&socket, sockopt::RcvBuf, &KERNEL_BUFFER);
        let _ = setsockopt(&socket, sockopt::SndBuf, &KERNEL_BUFFER);
        let headers = MultiHeaders::preallocate(BATCH, None);
        Datagrams { socket, headers, buffers: vec![vec![0; LONGEST]; BATCH], waiting: Vec::new(), unsent: 0 }
    }

    /// Its own address.
    pub fn at(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// Hands out what has come, a few batches at most.
    pub fn receive(&mut self, mut hear: impl FnMut(&[u8])) {
        for _ in 0..BATCHES {
            if self.receive_batch(&mut hear) < BATCH {
                return;
            }
        }
    }

    fn receive_batch(&mut self, hear: &mut impl FnMut(&[u8])) -> usize {
        let mut slices: Vec<_> = self.buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let flags = MsgFlags::MSG_DONTWAIT;
        let received = recvmmsg(self.socket.as_raw_fd(), &mut self.headers, slices.iter_mut(), flags, None);
        // Nothing there, or nobody listens yet.
        let Ok(received) = received else { return 0 };
        let lengths: Vec<usize> = received.map(|message| message.bytes).collect();
        lengths.iter().zip(&self.buffers).for_each(|(length, buffer)| hear(&buffer[..*length]));
        lengths.len()
    }

    /// Keeps a datagram until the next [`flush`](Self::flush).
    pub fn put(&mut self, octets: Vec<u8>) {
        self.waiting.push(octets);
    }

    /// Sends what waits. What the kernel does not take is lost, as it would be on the wire.
    pub fn flush(&mut self) {
        for lot in self.waiting.chunks(BATCH) {
            let slices: Vec<_> = lot.iter().map(|octets| [IoSlice::new(octets)]).collect();
            let nowhere = vec![None; lot.len()];
            let flags = MsgFlags::MSG_DONTWAIT;
            let sent = sendmmsg(self.socket.as_raw_fd(), &mut self.headers, slices.iter(), nowhere, [], flags);
            self.unsent += (lot.len() - sent.map_or(0, Iterator::count)) as u64;
        }
        self.waiting.clear();
    }
}
