//! Plain threads that carry UDP: a batch in, the core, a batch out.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::moment::Moment;
use crate::transport::flow::{Flow, ListenerId, Protocol, Target};
use crate::transport::udp::{BATCH, ReceiveBatch, UdpSocket};

use super::engine::Engine;
use super::hands::{self, Hands};
use super::pressure::Pressure;

/// How often it is said that too much comes: it begins and ends many times a second.
const SAY_PAUSE: Duration = Duration::from_secs(10);

/// The threads of one UDP listener. They end when this is dropped.
pub struct Workers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts so many threads on a socket.
    pub fn start(
        engine: &Arc<Engine>,
        listener: ListenerId,
        socket: &Arc<UdpSocket>,
        count: usize,
    ) -> io::Result<Self> {
        let mut workers = Workers { stop: Arc::new(AtomicBool::new(false)), threads: Vec::new() };
        for number in 0..count.max(1) {
            let (engine, socket, stop) = (Arc::clone(engine), Arc::clone(socket), Arc::clone(&workers.stop));
            let thread = std::thread::Builder::new()
                .name(format!("udp-{number}"))
                .spawn(move || carry(&engine, listener, &socket, &stop))?;
            workers.threads.push(thread);
        }
        Ok(workers)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

fn carry(engine: &Arc<Engine>, listener: ListenerId, socket: &UdpSocket, stop: &AtomicBool) {
    let (mut hands, mut batch, mut pressure) = (Hands::new(), ReceiveBatch::new(), Pressure::default());
    let mut said = Moment::ZERO;
    while !stop.load(Ordering::Relaxed) {
        let Ok(count) = socket.receive(&mut batch) else {
            take_refusals(engine, socket, &mut hands);
            continue;
        };
        if count == 0 {
            continue;
        }
        let began = Instant::now();
        let now = engine.clock.now();
        // Behind a batch that is not full nothing waits.
        let backlog = (count == BATCH).then(|| socket.backlog()).flatten();
        let was_overloaded = std::mem::replace(&mut hands.is_overloaded, pressure.note(backlog, now));
        if hands.is_overloaded && !was_overloaded && now.since(said) >= SAY_PAUSE {
            said = now;
            tracing::warn!(
                "more comes than this edge can carry; new calls and REGISTERs are answered 503 until less does"
            );
        }
        hands.with_core(engine, now, |core, index| {
            for (remote, bytes) in batch.datagrams() {
                let flow = Flow { listener, protocol: Protocol::Udp, remote, connection: None };
                hands::receive(engine, core, bytes, flow, index);
            }
        });
        hands.flush(engine, now);
        engine.counters.udp_received.inc_by(count as u64);
        engine.metrics.forwarding.observe(began.elapsed().as_secs_f64());
    }
}

/// ICMP said that nobody listens at some addresses: calls that wait there go elsewhere at once.
fn take_refusals(engine: &Arc<Engine>, socket: &UdpSocket, hands: &mut Hands) {
    let mut refused = Vec::new();
    socket.take_refusals(|address| {
        if !refused.contains(&address) {
            refused.push(address);
        }
    });
    let now = engine.clock.now();
    for address in refused {
        let target = Target { protocol: Protocol::Udp, address };
        hands.with_core(engine, now, |core, _| {
            core.note_refused(target);
            engine.each_shard(|shard| core.target_refused(shard, target));
        });
        hands.flush(engine, now);
    }
}
