//! The thread on which time passes: time-outs of calls, and nodes that warm up.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::calls::wheel::TICK;
use crate::moment::Moment;

use super::engine::Engine;
use super::hands::Hands;

/// At each tick one of so many parts of all calls is looked at, so that what is due is done within this many ticks. SIP's shortest timer is
/// ten times as long (RFC 3261 section 17.1.1.1), and looking costs the same whether anything is due or not.
const PARTS: usize = 4;

/// How often warming nodes move on.
const WARM_UP_PAUSE: Duration = Duration::from_millis(250);

/// The thread. It ends when this is dropped.
pub struct Ticker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Starts it.
    pub fn start(engine: &Arc<Engine>) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (engine, stopped) = (Arc::clone(engine), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("ticker".to_owned()).spawn(move || run(&engine, &stopped))?;
        Ok(Ticker { stop, thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(engine: &Arc<Engine>, stop: &AtomicBool) {
    let (mut hands, mut warmed) = (Hands::new(), Moment::ZERO);
    let mut parts = (0..PARTS).cycle();
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(TICK);
        let now = engine.clock.now();
        let part = parts.next().unwrap_or_default();
        hands.with_core(engine, now, |core, _| engine.each_shard_of(part, PARTS, |shard| core.tick(shard)));
        hands.flush(engine, now);
        if now.since(warmed) >= WARM_UP_PAUSE {
            warmed = now;
            engine.with_board(|board| board.warm_up(now));
        }
    }
}
