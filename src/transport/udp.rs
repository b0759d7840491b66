//! UDP in batches: one system call for many datagrams, in and out.
//!
//! `unsafe`, because `recvmmsg`, `sendmmsg` and the error queue have no safe wrapper that keeps its buffers from call to
//! call. Every block says why it is sound.

#![allow(unsafe_code)]

use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Datagrams of one batch.
pub const BATCH: usize = 32;

/// Room for the largest datagram. Pages that no datagram reaches are never touched.
const DATAGRAM: usize = 65_536;

/// How long a receiver waits before it looks whether it should stop.
const RECEIVE_WAIT: Duration = Duration::from_millis(100);

/// Wanted size of the kernel's buffers: a quarter of a second of a busy farm.
const KERNEL_BUFFER: usize = 4 << 20;

/// What waits in a socket, in octets as the kernel counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// What waits.
    pub held: u32,
    /// What may wait; beyond it datagrams are thrown away.
    pub room: u32,
}

/// A bound socket that any number of threads may receive from and send by.
#[derive(Debug)]
pub struct UdpSocket {
    socket: Socket,
    local: SocketAddr,
}

impl UdpSocket {
    /// Binds an address.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // The system may allow less; then less it is.
        let _ = socket.set_recv_buffer_size(KERNEL_BUFFER);
        let _ = socket.set_send_buffer_size(KERNEL_BUFFER);
        socket.set_read_timeout(Some(RECEIVE_WAIT))?;
        socket.bind(&SockAddr::from(address))?;
        enable_error_queue(&socket, address.is_ipv6())?;
        let local = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(UdpSocket { socket, local })
    }

    /// The address it is bound to.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Waits a moment for datagrams and takes as many as are there. No datagram is no error; an ICMP error is
    /// [`io::ErrorKind::ConnectionRefused`] or its like, and [`UdpSocket::take_refusals`] knows more.
    pub fn receive(&self, batch: &mut ReceiveBatch) -> io::Result<usize> {
        batch.prepare();
        let fd = self.fd();
        // SAFETY: every header of the batch points to buffers that the batch owns and that outlive this call; the
        // length given is the number of headers.
        let count = unsafe {
            let headers = batch.headers.as_mut_ptr();
            libc::recvmmsg(fd, headers, BATCH as u32, libc::MSG_WAITFORONE, std::ptr::null_mut())
        };
        if count >= 0 {
            batch.count = count as usize;
            return Ok(batch.count);
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::TimedOut => Ok(0),
            _ => Err(error),
        }
    }

    /// What waits to be received; none where the kernel does not tell.
    pub fn backlog(&self) -> Option<Backlog> {
        let mut told = [0u32; 9];
        let mut length = size_of::<[u32; 9]>() as libc::socklen_t;
        // SAFETY: the value is written to a local of the length that is given, and lives through the call.
        let result = unsafe {
            let value = told.as_mut_ptr().cast();
            libc::getsockopt(self.fd(), libc::SOL_SOCKET, libc::SO_MEMINFO, value, &raw mut length)
        };
        // SK_MEMINFO_RMEM_ALLOC and SK_MEMINFO_RCVBUF come first.
        (result == 0).then_some(Backlog { held: told[0], room: told[1] })
    }

    /// Sends one datagram without waiting.
    pub fn send(&self, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        self.socket.send_to_with_flags(bytes, &SockAddr::from(to), libc::MSG_DONTWAIT).map(drop)
    }

    /// Sends what the batch holds, without waiting, and empties it. Whatever cannot be sent is handed to `failed` with its
    /// number in the batch.
    pub fn send_batch(&self, batch: &mut SendBatch, text: &[u8], mut failed: impl FnMut(usize, io::Error)) {
        batch.point_into(text);
        let total = batch.ranges.len();
        let (mut at, mut refusals) = (0, 0);
        while at < total {
            let fd = self.fd();
            // SAFETY: `point_into` made the headers at..total point into `text` and into the batch's own addresses,
            // which both outlive this call; the kernel does not write to them but for the sent lengths.
            let sent = unsafe {
                let headers = batch.headers.as_mut_ptr().add(at);
                libc::sendmmsg(fd, headers, (total - at) as u32, libc::MSG_DONTWAIT)
            };
            if sent > 0 {
                at += sent as usize;
                continue;
            }
            let error = io::Error::last_os_error();
            // A refusal is about something sent earlier: it is reported by the error queue, and this one is tried again.
            if error.kind() == io::ErrorKind::ConnectionRefused && refusals < total {
                refusals += 1;
                continue;
            }
            if error.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            failed(at, error);
            at += 1;
        }
        batch.clear();
    }

    /// Hands out the addresses that the network refused to deliver to since the last call.
    pub fn take_refusals(&self, mut refused: impl FnMut(SocketAddr)) {
        // Bounded: whoever floods the queue does not hold up the worker.
        for _ in 0..256 {
            match self.next_refusal() {
                Ok(Some(address)) => refused(address),
                Ok(None) => {}
                Err(_) => break,
            }
        }
    }

    /// One entry of the error queue: the address that the failed datagram was for.
    fn next_refusal(&self) -> io::Result<Option<SocketAddr>> {
        let mut control = [0u64; 64];
        let mut byte = 0u8;
        let fd = self.fd();
        // SAFETY: an all-zero msghdr is valid; the pointers are set to locals that outlive the call, with their true
        // lengths, and the address is only read when the kernel says that it wrote one.
        let (result, address, flags) = unsafe {
            let mut slice = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
            SockAddr::try_init(|storage, length| {
                let mut header: libc::msghdr = zeroed();
                header.msg_name = storage.cast();
                header.msg_namelen = *length;
                header.msg_iov = &raw mut slice;
                header.msg_iovlen = 1;
                header.msg_control = control.as_mut_ptr().cast();
                header.msg_controllen = size_of::<[u64; 64]>();
                let received = libc::recvmsg(fd, &raw mut header, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT);
                if received < 0 {
                    return Err(io::Error::last_os_error());
                }
                *length = header.msg_namelen;
                Ok(header.msg_flags)
            })
            .map_or_else(|error| (Err(error), None, 0), |(flags, address)| (Ok(()), Some(address), flags))
        };
        result?;
        debug_assert!(flags & libc::MSG_ERRQUEUE != 0);
        Ok(address.and_then(|address| address.as_socket()))
    }

    fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Asks the kernel to report ICMP errors of an unconnected socket.
fn enable_error_queue(socket: &Socket, is_v6: bool) -> io::Result<()> {
    let (level, option) = if is_v6 { (libc::SOL_IPV6, libc::IPV6_RECVERR) } else { (libc::SOL_IP, libc::IP_RECVERR) };
    let on: libc::c_int = 1;
    // SAFETY: the option value is a c_int that lives through the call, and its size is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Buffers for one batch of received datagrams; kept and used again.
pub struct ReceiveBatch {
    buffers: Box<[[u8; DATAGRAM]]>,
    addresses: Box<[MaybeUninit<libc::sockaddr_storage>]>,
    slices: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    count: usize,
    /// Headers before this one have never been pointed anywhere.
    fresh_from: usize,
}

// SAFETY: the raw pointers in `slices` and `headers` point into the boxes of the same value, which do not move with it.
unsafe impl Send for ReceiveBatch {}

impl Default for ReceiveBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl ReceiveBatch {
    /// Empty buffers.
    pub fn new() -> Self {
        let mut buffers = vec![[0u8; DATAGRAM]; BATCH].into_boxed_slice();
        let addresses = vec![MaybeUninit::zeroed(); BATCH].into_boxed_slice();
        let slice =
            |buffer: &mut [u8; DATAGRAM]| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: DATAGRAM };
        let slices: Box<[libc::iovec]> = buffers.iter_mut().map(slice).collect();
        // SAFETY: an all-zero mmsghdr is a valid one that points to nothing.
        let headers = vec![unsafe { zeroed::<libc::mmsghdr>() }; BATCH].into_boxed_slice();
        ReceiveBatch { buffers, addresses, slices, headers, count: 0, fresh_from: BATCH }
    }

    /// Points every header that the kernel may have written to since to its buffer and its place for the address.
    fn prepare(&mut self) {
        // One more than were received: the receive may have failed at it.
        let stale = std::mem::replace(&mut self.fresh_from, 0).max(self.count + 1);
        self.count = 0;
        for (at, header) in self.headers.iter_mut().enumerate().take(stale) {
            let header = &mut header.msg_hdr;
            header.msg_name = self.addresses[at].as_mut_ptr().cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = &raw mut self.slices[at];
            header.msg_iovlen = 1;
        }
    }

    /// The datagrams of the last receive with their senders.
    pub fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        (0..self.count).filter_map(|at| {
            let header = &self.headers[at];
            let length = (header.msg_len as usize).min(DATAGRAM);
            // SAFETY: the storage was zeroed when it was made and is only ever written by the kernel, so it is initialised.
            let storage = unsafe { self.addresses[at].assume_init_ref() };
            Some((socket_address(storage)?, &self.buffers[at][..length]))
        })
    }
}

fn socket_address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let pointer: *const libc::sockaddr_storage = storage;
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that this is a sockaddr_in, which is smaller than the storage and less aligned.
            let v4 = unsafe { &*pointer.cast::<libc::sockaddr_in>() };
            Some(SocketAddr::from((v4.sin_addr.s_addr.to_ne_bytes(), u16::from_be(v4.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that this is a sockaddr_in6, which is smaller than the storage and less aligned.
            let v6 = unsafe { &*pointer.cast::<libc::sockaddr_in6>() };
            Some(SocketAddr::from((v6.sin6_addr.s6_addr, u16::from_be(v6.sin6_port))))
        }
        _ => None,
    }
}

/// Datagrams that wait to be sent together; kept and used again.
#[derive(Default)]
pub struct SendBatch {
    ranges: Vec<std::ops::Range<usize>>,
    addresses: Vec<SockAddr>,
    slices: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

// SAFETY: the raw pointers are only set and used within one `send_batch` call, by one thread.
unsafe impl Send for SendBatch {}

impl SendBatch {
    /// Adds a datagram: a piece of the text that `send_batch` will be given.
    pub fn push(&mut self, to: SocketAddr, range: std::ops::Range<usize>) {
        self.ranges.push(range);
        self.addresses.push(SockAddr::from(to));
    }

    /// Where the first datagram goes.
    pub fn first(&self) -> Option<SocketAddr> {
        self.addresses.first().and_then(SockAddr::as_socket)
    }

    /// Number of datagrams.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.ranges.clear();
        self.addresses.clear();
        self.slices.clear();
        self.headers.clear();
    }

    fn point_into(&mut self, text: &[u8]) {
        self.slices.clear();
        self.headers.clear();
        for range in &self.ranges {
            let piece = &text[range.clone()];
            self.slices.push(libc::iovec { iov_base: piece.as_ptr().cast_mut().cast(), iov_len: piece.len() });
        }
        for (at, address) in self.addresses.iter().enumerate() {
            // SAFETY: an all-zero mmsghdr is a valid one that points to nothing.
            let mut header = unsafe { zeroed::<libc::mmsghdr>() };
            header.msg_hdr.msg_name = address.as_ptr().cast_mut().cast();
            header.msg_hdr.msg_namelen = address.len();
            header.msg_hdr.msg_iov = &raw mut self.slices[at];
            header.msg_hdr.msg_iovlen = 1;
            self.headers.push(header);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (UdpSocket, UdpSocket) {
        let bind = || UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        (bind(), bind())
    }

    fn receive_all(socket: &UdpSocket, count: usize) -> Vec<(SocketAddr, Vec<u8>)> {
        let (mut batch, mut seen) = (ReceiveBatch::new(), Vec::new());
        for _ in 0..50 {
            if socket.receive(&mut batch).is_ok() {
                seen.extend(batch.datagrams().map(|(from, bytes)| (from, bytes.to_vec())));
            }
            if seen.len() >= count {
                break;
            }
        }
        seen
    }

    #[test]
    fn a_batch_arrives_whole_with_its_senders() {
        let (a, b) = pair();
        let text: Vec<u8> = (0..100u8).collect();
        let mut batch = SendBatch::default();
        for at in 0..50 {
            batch.push(b.local(), at..at + 50);
        }
        a.send_batch(&mut batch, &text, |at, error| panic!("{at}: {error}"));
        assert!(batch.is_empty());
        let seen = receive_all(&b, 50);
        assert_eq!(seen.len(), 50);
        assert!(seen.iter().enumerate().all(|(at, (from, bytes))| *from == a.local() && *bytes == text[at..at + 50]));
    }

    #[test]
    fn the_largest_datagram_and_an_empty_one_arrive() {
        let (a, b) = pair();
        a.send(b.local(), &[7; 65_507]).unwrap();
        a.send(b.local(), &[]).unwrap();
        let lengths: Vec<usize> = receive_all(&b, 2).iter().map(|(_, bytes)| bytes.len()).collect();
        assert_eq!(lengths, [65_507, 0]);
    }

    #[test]
    fn a_refusal_names_the_address_and_stops_nobody_else() {
        let (a, b) = pair();
        let nobody = { UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap().local() };
        a.send(nobody, b"x").unwrap();
        let mut batch = ReceiveBatch::new();
        let mut refused = Vec::new();
        for _ in 0..20 {
            let _ = a.receive(&mut batch);
            a.take_refusals(|address| refused.push(address));
            if !refused.is_empty() {
                break;
            }
        }
        assert_eq!(refused, [nobody]);
        let mut sends = SendBatch::default();
        sends.push(nobody, 0..1);
        sends.push(b.local(), 0..1);
        sends.push(nobody, 0..1);
        sends.push(b.local(), 0..1);
        a.send_batch(&mut sends, b"y", |_, error| assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused));
        assert_eq!(receive_all(&b, 2).len(), 2);
    }
}
