//! One thread's working memory, and carrying out what the core wants.

use std::cell::RefCell;
use std::sync::Arc;

use crate::calls::lease::Way;
use crate::cluster::asking;
use crate::dispatch::health::Signal;
use crate::moment::Moment;
use crate::proxy::contract::{Destination, TryId};
use crate::proxy::{Core, Event, Outbox, Scratch};
use crate::sip::Index;
use crate::transport::flow::{Flow, ListenerId, Protocol};
use crate::transport::stream::{StreamReceiver, Ticket};
use crate::transport::udp::SendBatch;

use super::cluster::lane;
use super::ended::log_changes;
use super::engine::{Engine, HealthNews};
use super::registrations::{Answer, KEEPER, Told, Waiting};

/// Times that a failed send may lead to another send within one batch: a call has no more tries than this.
const ROUNDS_MAX: usize = crate::calls::tries::TRIES_MAX as usize;

/// Everything that one thread keeps from message to message.
#[derive(Default)]
pub struct Hands {
    outbox: Outbox,
    scratch: Scratch,
    index: Index,
    batches: Vec<(ListenerId, SendBatch)>,
    failed: Vec<TryId>,
    /// More comes than can be carried, so that new work is refused.
    pub is_overloaded: bool,
}

impl Hands {
    /// Empty hands.
    pub fn new() -> Self {
        Hands::default()
    }

    /// Lets the core act. What it wants done is kept until [`Hands::flush`].
    pub fn with_core<R>(
        &mut self,
        engine: &Engine,
        now: Moment,
        act: impl FnOnce(&mut Core<'_, Engine>, &mut Index) -> R,
    ) -> R {
        let farm = engine.farm.load();
        let mut core = Core {
            farm: &farm,
            world: engine,
            now,
            stopping: engine.is_stopping(),
            overloaded: self.is_overloaded,
            out: &mut self.outbox,
            scratch: &mut self.scratch,
        };
        act(&mut core, &mut self.index)
    }

    /// Sends what is to be sent and counts what happened. A send that fails at once gives its call to the next node.
    pub fn flush(&mut self, engine: &Arc<Engine>, now: Moment) {
        for _ in 0..ROUNDS_MAX {
            self.report(engine, now);
            self.send(engine);
            self.hand_in(engine);
            self.outbox.clear();
            if self.failed.is_empty() {
                return;
            }
            for id in std::mem::take(&mut self.failed) {
                self.fail(engine, now, id);
            }
        }
        self.report(engine, now);
        self.outbox.clear();
        self.failed.clear();
    }

    fn fail(&mut self, engine: &Engine, now: Moment, id: TryId) {
        use crate::proxy::World;
        let world = engine;
        self.with_core(engine, now, |core, _| world.with_shard(id.key, |shard| core.send_failed(shard, id)));
    }

    fn report(&self, engine: &Engine, now: Moment) {
        engine.metrics.record(&self.outbox.events);
        for event in &self.outbox.events {
            match *event {
                Event::Health { node: KEEPER, signal: Signal::ProbeAnswered { probe, .. }, .. } => {
                    engine.registrations.keep(probe);
                }
                Event::Health { node, target, signal } => {
                    engine.tell(HealthNews { node, target, signal, at: now });
                }
                Event::Published { node, number, code } => {
                    engine.registrations.tell(Told::Answered { node, cseq: number, code });
                }
                Event::StatesAsked(node) => engine.registrations.tell(Told::Asked(node)),
                Event::Rejected(reason) => {
                    tracing::debug!(reason = reason.as_str(), code = reason.code(), "request refused");
                }
                Event::TryAbandoned { node, cause } => {
                    tracing::debug!(node = node.0, cause = cause.as_str(), "node given up for a call");
                }
                _ => {}
            }
        }
    }

    /// Registrations go to the thread that stores them.
    fn hand_in(&self, engine: &Engine) {
        for registration in &self.outbox.registrations {
            let text = |range: &std::ops::Range<usize>| self.outbox.text[range.clone()].to_vec();
            let (granted, failed) = (text(&registration.granted), text(&registration.failed));
            log_changes(engine, &registration.aor, registration.changes);
            let answer = Some(Answer { to: registration.to, granted, failed });
            engine.registrations.save(Waiting { aor: registration.aor.clone(), answer });
        }
    }

    fn send(&mut self, engine: &Arc<Engine>) {
        for send in &self.outbox.sends {
            let bytes = &self.outbox.text[send.range.clone()];
            match &send.to {
                Destination::Way(way) if way.protocol() == Protocol::Udp => {
                    batch_of(&mut self.batches, way.listener()).push(way.target().address, send.range.clone());
                }
                Destination::Way(way) => send_stream(engine, *way, bytes.to_vec(), send.try_of),
                Destination::Name { host, port, fallback } => {
                    send_to_name(engine, host.clone().into(), *port, *fallback, bytes.to_vec());
                }
            }
        }
        let (sends, failed) = (&self.outbox.sends, &mut self.failed);
        send_batches(engine, &mut self.batches, &self.outbox.text, |listener, at| {
            let of_listener = |way: &Destination| matches!(way, Destination::Way(way) if way.protocol() == Protocol::Udp && way.listener() == listener);
            let send = sends.iter().filter(|send| of_listener(&send.to)).nth(at);
            failed.extend(send.and_then(|send| send.try_of));
        });
    }
}

/// Sends what each listener has to send. Whatever cannot be sent is handed to `failed` with its listener and its number there.
pub fn send_batches(
    engine: &Engine,
    batches: &mut [(ListenerId, SendBatch)],
    text: &[u8],
    mut failed: impl FnMut(ListenerId, usize),
) {
    for (listener, batch) in batches.iter_mut().filter(|(_, batch)| !batch.is_empty()) {
        let count = batch.len();
        let Some(socket) = batch.first().and_then(|to| engine.socket(*listener, to)) else {
            engine.counters.udp_unsent.inc_by(count as u64);
            batch.clear();
            continue;
        };
        let mut unsent = 0;
        socket.send_batch(batch, text, |at, _| {
            unsent += 1;
            failed(*listener, at);
        });
        engine.counters.udp_sent.inc_by(count as u64 - unsent);
        engine.counters.udp_unsent.inc_by(unsent);
    }
}

/// Sends one message from anywhere.
pub fn send_to(engine: &Engine, way: Way, bytes: Vec<u8>) {
    match way.protocol() {
        Protocol::Tcp => send_stream(engine, way, bytes, None),
        Protocol::Udp => send_datagram(engine, way, &bytes),
    }
}

/// What a listener has to send.
pub fn batch_of(batches: &mut Vec<(ListenerId, SendBatch)>, listener: ListenerId) -> &mut SendBatch {
    let at = batches.iter().position(|(id, _)| *id == listener).unwrap_or_else(|| {
        batches.push((listener, SendBatch::default()));
        batches.len() - 1
    });
    &mut batches[at].1
}

fn send_stream(engine: &Engine, way: Way, bytes: Vec<u8>, try_of: Option<TryId>) {
    let ticket = try_of.map(|id| Ticket { call: id.key.0, attempt: id.attempt });
    let local = engine.local_ip(way.listener());
    engine.counters.tcp_sent.inc();
    match way {
        Way::Flow(flow) => engine.streams.send_flow(flow, local, bytes, ticket),
        Way::Target { listener, target } => engine.streams.send(target.address, listener, local, bytes, ticket),
    }
}

/// A gateway's Contact may be a name. It is looked up off the road of messages.
fn send_to_name(engine: &Arc<Engine>, host: String, port: Option<u16>, fallback: Way, bytes: Vec<u8>) {
    let task_engine = Arc::clone(engine);
    engine.runtime.spawn(async move {
        let engine = task_engine;
        let protocol = fallback.protocol();
        let resolver = engine.resolver.load_full();
        let address = resolver.host(&host, port, protocol).await.unwrap_or(fallback.target().address);
        let target = crate::transport::flow::Target { protocol, address };
        let way = Way::Target { listener: fallback.listener(), target };
        send_to(&engine, way, bytes);
    });
}

/// Sends one datagram from anywhere.
pub fn send_datagram(engine: &Engine, way: Way, bytes: &[u8]) {
    let to = way.target().address;
    match engine.socket(way.listener(), to).map(|socket| socket.send(to, bytes)) {
        Some(Ok(())) => engine.counters.udp_sent.inc(),
        _ => engine.counters.udp_unsent.inc(),
    }
}

thread_local! {
    /// Hands of the runtime's threads, which take turns at whatever streams bring.
    static HANDS: RefCell<Hands> = RefCell::new(Hands::new());
}

/// Lets the core act on a thread of the runtime, and carries out what it wants.
pub fn on_this_thread(engine: &Arc<Engine>, act: impl FnOnce(&mut Core<'_, Engine>, &mut Index)) {
    HANDS.with_borrow_mut(|hands| {
        let now = engine.clock.now();
        hands.with_core(engine, now, act);
        hands.flush(engine, now);
    });
}

/// Gives a received message to the core. One that has to wait for an answer of the shared store is put aside.
pub fn receive(engine: &Arc<Engine>, core: &mut Core<'_, Engine>, bytes: &[u8], flow: Flow, index: &mut Index) {
    core.receive(bytes, flow, index);
    if let Some(cluster) = &engine.cluster
        && let Some(question) = asking::take_question()
    {
        lane::put_aside(engine, cluster, question, bytes, flow);
    }
}

/// What streams bring, given to the core.
pub struct FromStreams(pub Arc<Engine>);

impl StreamReceiver for FromStreams {
    fn message(&self, flow: Flow, bytes: &[u8]) {
        self.0.counters.tcp_received.inc();
        on_this_thread(&self.0, |core, index| receive(&self.0, core, bytes, flow, index));
    }

    fn closed(&self, flow: Flow) {
        flow.connection.into_iter().for_each(|connection| self.0.registrations.lose(connection));
    }

    fn failed(&self, ticket: Ticket) {
        use crate::proxy::World;
        self.0.counters.tcp_unsent.inc();
        let id = TryId { key: crate::calls::CallKey(ticket.call), attempt: ticket.attempt };
        let engine = Arc::clone(&self.0);
        on_this_thread(&self.0, |core, _| engine.with_shard(id.key, |shard| core.send_failed(shard, id)));
    }
}
