//! Tells the queues of all nodes what every agent is doing (PUBLISH, RFC 3903, with Asterisk's event `asterisk-devicestate`).
//!
//! For each node a list of agents that it has to hear of; their state is read when it is sent, so of many changes the last one goes
//! out. One Call-ID and rising CSeq for each node, one message on its way for each agent: a node deals with them in
//! their order. Everything is told again when the node asks for it, when it comes back, and once a minute, since a node forgets
//! all of it when it restarts and nothing of it ever runs out there.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;

use crate::agents::State;
use crate::calls::NodeId;
use crate::calls::errand::T1;
use crate::calls::lease::Way;
use crate::dispatch::Farm;
use crate::dispatch::health::Verdict;
use crate::dispatch::node::{Admin, Kind};
use crate::moment::Moment;
use crate::proxy::branch::ProbeBranch;
use crate::registrar::Aor;
use crate::sip::originate::{Publication, publish};

use super::engine::Engine;
use super::hands::send_to;
use super::registrations::Told;

/// Messages on their way to one node at a time.
const WINDOW: usize = 64;
/// How often everything is told again.
const RESYNC: Duration = Duration::from_secs(60);
/// How long a node that refuses is left alone.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);
/// After this a message is given up, and the node hears all of it again later.
const GIVE_UP: Duration = Duration::from_secs(32);
/// Longest pause between two copies of a message (T2 of RFC 3261 section 17.1.2.2).
const PAUSE_MAX: Duration = Duration::from_secs(4);
/// How long the task sleeps while messages are on their way, and otherwise.
const TICK_BUSY: Duration = Duration::from_millis(20);
const TICK_IDLE: Duration = Duration::from_millis(250);

/// The task.
pub struct Publisher {
    engine: Arc<Engine>,
    nodes: BTreeMap<NodeId, Listener>,
    /// Tells this run's Call-IDs and tags from those of the last one.
    run: u64,
}

/// One node that listens.
struct Listener {
    owed: BTreeSet<Aor>,
    on_the_way: Vec<Message>,
    cseq: u32,
    was_up: bool,
    told_all: Moment,
    left_alone_until: Moment,
}

/// One PUBLISH that is not answered yet.
struct Message {
    cseq: u32,
    aor: Aor,
    bytes: Vec<u8>,
    sent: Moment,
    again: Moment,
    pause: Duration,
}

impl Publisher {
    /// A task for this edge.
    pub fn new(engine: Arc<Engine>) -> Self {
        Publisher { engine, nodes: BTreeMap::new(), run: rand::rng().random() }
    }

    /// Runs until it is aborted.
    pub async fn run(mut self) {
        loop {
            let busy = self.nodes.values().any(|node| !node.on_the_way.is_empty() || !node.owed.is_empty());
            let tick = if busy { TICK_BUSY } else { TICK_IDLE };
            let engine = Arc::clone(&self.engine);
            tokio::select! {
                () = engine.registrations.changed() => {}
                () = tokio::time::sleep(tick) => {}
            }
            self.turn();
        }
    }

    fn turn(&mut self) {
        let (engine, now) = (Arc::clone(&self.engine), self.engine.clock.now());
        let farm = engine.farm.load_full();
        let changes = engine.registrations.with_book(|book| {
            book.tick(now);
            book.take_changes()
        });
        for change in &changes {
            engine.metrics.agent_changes.with_label_values(&[change.to.as_str()]).inc();
            engine.events.agent(change);
        }
        let told = engine.registrations.take_told();
        if !farm.registrar.as_ref().is_some_and(|service| service.policy.publish) {
            return self.nodes.clear();
        }
        self.take_up(&farm, now);
        for node in self.nodes.values_mut() {
            node.owed.extend(changes.iter().map(|change| change.aor.clone()));
        }
        told.into_iter().for_each(|told| self.hear(&farm, told, now));
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        ids.into_iter().for_each(|id| self.tell(&farm, id, now));
    }

    /// Nodes come and go; whoever came, came back, or has not heard everything for a while hears everything.
    fn take_up(&mut self, farm: &Farm, now: Moment) {
        let nodes: HashSet<NodeId> =
            farm.nodes.iter().flatten().filter(|node| node.kind == Kind::Node).map(|node| node.id).collect();
        self.nodes.retain(|id, _| nodes.contains(id));
        for id in nodes {
            let view = self.engine.with_board(|board| board.view(id));
            let is_up =
                view.is_some_and(|view| view.assessment.verdict == Verdict::Up && view.admin != Admin::Disabled);
            let node = self.nodes.entry(id).or_insert_with(|| Listener::new(rand::rng().random()));
            let is_back = is_up && !node.was_up;
            node.was_up = is_up;
            if !is_up {
                node.owed.clear();
                node.on_the_way.clear();
            } else if is_back || now.since(node.told_all) >= RESYNC {
                node.told_all = now;
                node.owed.extend(self.engine.registrations.everybody(farm));
            }
        }
    }

    /// A node answered, or asks for everything.
    fn hear(&mut self, farm: &Farm, told: Told, now: Moment) {
        let name = |id: NodeId| farm.node(id).map_or_else(|| "?".into(), |node| Arc::clone(&node.name));
        match told {
            Told::Asked(id) => {
                if let Some(node) = self.nodes.get_mut(&id) {
                    (node.told_all, node.left_alone_until) = (now, Moment::ZERO);
                    node.owed.extend(self.engine.registrations.everybody(farm));
                    tracing::info!(node = &*name(id), "node {} asks for the states of all agents", name(id));
                }
            }
            Told::Answered { node: id, cseq, code } => {
                let Some(node) = self.nodes.get_mut(&id) else { return };
                let Some(at) = node.on_the_way.iter().position(|message| message.cseq == cseq) else { return };
                let message = node.on_the_way.swap_remove(at);
                let class = format!("{}xx", code / 100);
                self.engine.metrics.publications.with_label_values(&[&class]).inc();
                if code >= 300 {
                    if node.left_alone_until < now {
                        tracing::warn!(
                            node = &*name(id),
                            "node {} refuses agents' states with {code}; is its pjsip.conf that of `cordboard \
                             asterisk-config {}`? Calls go on; asked again in a minute",
                            name(id),
                            name(id)
                        );
                    }
                    node.left_alone_until = now + REFUSED_PAUSE;
                    node.owed.insert(message.aor);
                }
            }
        }
    }

    /// Sends what one node is owed, and again what it did not answer.
    fn tell(&mut self, farm: &Farm, id: NodeId, now: Moment) {
        let engine = Arc::clone(&self.engine);
        let Some(way) = engine.with_board(|board| board.view(id)).and_then(|view| view.assessment.way) else { return };
        let run = self.run;
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.send_again(&engine, way, now);
        if node.left_alone_until > now {
            return;
        }
        let free: Vec<Aor> = node.owed.iter().filter(|aor| !node.is_on_the_way(aor)).cloned().collect();
        for aor in free.into_iter().take(WINDOW.saturating_sub(node.on_the_way.len())) {
            node.owed.remove(&aor);
            node.cseq += 1;
            let state = engine.registrations.with_book(|book| book.state(aor.as_bytes(), now));
            let Some(bytes) = written(farm, run, id, way, node.cseq, &aor, state) else { continue };
            send_to(&engine, way, bytes.clone());
            let message = Message { cseq: node.cseq, aor, bytes, sent: now, again: now + T1, pause: T1 * 2 };
            node.on_the_way.push(message);
        }
    }
}

impl Listener {
    /// A number for the first message: branches are made from it, and a node takes one that it saw within half a minute, from an
    /// edge that was killed since, for a repetition.
    fn new(first: u32) -> Self {
        Listener {
            owed: BTreeSet::new(),
            on_the_way: Vec::new(),
            // CSeq stays below 2^31 (RFC 3261 section 8.1.1.5), for a billion messages more.
            cseq: first >> 2,
            was_up: false,
            told_all: Moment::ZERO,
            left_alone_until: Moment::ZERO,
        }
    }

    fn is_on_the_way(&self, aor: &Aor) -> bool {
        self.on_the_way.iter().any(|message| message.aor == *aor)
    }

    fn send_again(&mut self, engine: &Arc<Engine>, way: Way, now: Moment) {
        let before = self.on_the_way.len();
        self.on_the_way.retain(|message| now.since(message.sent) < GIVE_UP);
        if self.on_the_way.len() < before {
            engine.metrics.publications.with_label_values(&["none"]).inc_by((before - self.on_the_way.len()) as u64);
        }
        // Streams lose nothing.
        if !way.protocol().is_unreliable() {
            return;
        }
        for message in self.on_the_way.iter_mut().filter(|message| message.again <= now) {
            (message.again, message.pause) = (now + message.pause, (message.pause * 2).min(PAUSE_MAX));
            send_to(engine, way, message.bytes.clone());
        }
    }
}

/// The word that Asterisk knows. Wrapping up is `BUSY`, so that `queue show` tells it from talking.
fn device_state(state: State) -> &'static str {
    match state {
        State::Unavailable | State::NotReady => "UNAVAILABLE",
        State::Ready => "NOT_INUSE",
        State::Ringing => "RINGING",
        State::InUse => "INUSE",
        State::OnHold => "ONHOLD",
        State::Wrapup => "BUSY",
    }
}

/// The message; none for a name that no device can have, or a node that no listener reaches.
fn written(farm: &Farm, run: u64, id: NodeId, way: Way, cseq: u32, aor: &Aor, state: State) -> Option<Vec<u8>> {
    let user = std::str::from_utf8(aor.as_bytes()).ok()?;
    if !user.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'+')) {
        return None;
    }
    let target = way.target();
    let listener = farm.listener_for(target, way.listener())?;
    let sent_by = String::from_utf8_lossy(&listener.sent_by);
    let body = serde_json::json!({
        "type": "devicestate",
        "device": format!("Custom:{user}"),
        "state": device_state(state),
        "cachable": 1,
        "eid": entity_id(farm),
    });
    Some(publish(Publication {
        uri: &format!("sip:devstate@{}", target.address),
        via: &ProbeBranch { node: id.0, probe: cseq }.via(&farm.keys, listener),
        from: &format!("<sip:{}@{sent_by}>;tag=s{run:x}", farm.edge),
        call_id: &format!("states-{run:x}-{}@{sent_by}", id.0),
        cseq,
        event: "asterisk-devicestate",
        expires_secs: 60,
        content_type: "application/json",
        body: body.to_string().as_bytes(),
    }))
}

/// The farm's entity: the same at all of its edges, so that what one of them says takes the place of what another one said.
fn entity_id(farm: &Farm) -> String {
    let hash = farm.keys.probe.hash().piece(b"entity").finish64().to_be_bytes();
    format!("02:cb:{:02x}:{:02x}:{:02x}:{:02x}", hash[0], hash[1], hash[2], hash[3])
}
