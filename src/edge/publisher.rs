//! Tells the queues of all nodes what every agent is doing (PUBLISH, RFC 3903, with Asterisk's event `asterisk-devicestate`).
//!
//! For each node a list of agents that it has to hear of, those who changed before those who are only told again; their state is read when
//! it is sent, so of many changes the last one goes out. One Call-ID and rising CSeq for each node, one message on its way for each agent: a node deals with them in
//! their order. Everything is told again when the node asks for it, when it comes back, and once a minute, since a node forgets
//! all of it when it restarts and nothing of it ever runs out there.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use tokio::sync::oneshot;

use crate::agents::State;
use crate::agents::agent::Agent;
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

use super::complaints::About;
use super::engine::Engine;
use super::hands::send_to;
use super::registrations::Told;

/// Messages on their way to one node at a time.
const WINDOW: usize = 64;
/// How often everything is told again.
const RESYNC: Duration = Duration::from_secs(60);
/// Part of that by which nodes are spread, so that they are not all told at once.
const RESYNC_SPREAD: f64 = 0.2;
/// How long the first message waits for calls to be compared with the nodes' channels: nobody who talks may be told to be free.
const FIRST_LOOK: Duration = Duration::from_secs(3);
/// How long a node that refuses is left alone; then one message shows whether it still does.
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
    /// Whose state changed, and when.
    changed: BTreeMap<Aor, Moment>,
    /// Who is told again.
    owed: BTreeSet<Aor>,
    on_the_way: Vec<Message>,
    cseq: u32,
    was_up: bool,
    tell_all_at: Moment,
    left_alone_until: Moment,
    refuses: bool,
}

/// One PUBLISH that is not answered yet.
struct Message {
    cseq: u32,
    aor: Aor,
    bytes: Vec<u8>,
    /// When the state changed, if that is why it is sent.
    changed: Option<Moment>,
    sent: Moment,
    again: Moment,
    pause: Duration,
}

impl Publisher {
    /// A task for this edge.
    pub fn new(engine: Arc<Engine>) -> Self {
        Publisher { engine, nodes: BTreeMap::new(), run: rand::rng().random() }
    }

    /// Runs until it is aborted. Nobody is told anything before `first_look` has ended, or its deadline is over.
    pub async fn run(mut self, first_look: oneshot::Receiver<()>) {
        // Its sender says nothing; it goes.
        let _ = tokio::time::timeout(FIRST_LOOK, first_look).await;
        loop {
            let busy = self.nodes.values().any(Listener::is_busy);
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
            let changes = book.take_changes();
            let since = |aor: &Aor| book.find(aor.as_bytes()).map_or(now, Agent::since);
            changes.into_iter().map(|change| (since(&change.aor), change)).collect::<Vec<_>>()
        });
        for (_, change) in &changes {
            engine.metrics.agent_changes.with_label_values(&[change.to.as_str()]).inc();
            engine.events.agent(change);
        }
        let told = engine.registrations.take_told();
        // One edge speaks for all: two would contradict each other for a moment with every change.
        let speaks = engine.cluster.as_ref().is_none_or(|cluster| cluster.is_first());
        if !speaks || !farm.registrar.as_ref().is_some_and(|service| service.policy.publish) {
            for id in std::mem::take(&mut self.nodes).into_keys() {
                engine.complaints.settle(id, About::States);
            }
            return;
        }
        self.take_up(&farm, now);
        for node in self.nodes.values_mut() {
            for (since, change) in &changes {
                node.owed.remove(&change.aor);
                node.changed.entry(change.aor.clone()).or_insert(*since);
            }
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
        let resync = || RESYNC.mul_f64(1.0 - RESYNC_SPREAD * rand::rng().random::<f64>());
        for id in nodes {
            let view = self.engine.with_board(|board| board.view(id));
            let is_up =
                view.is_some_and(|view| view.assessment.verdict == Verdict::Up && view.admin != Admin::Disabled);
            let node = self.nodes.entry(id).or_insert_with(|| Listener::new(rand::rng().random()));
            let is_back = is_up && !node.was_up;
            node.was_up = is_up;
            if !is_up {
                node.owed.clear();
                node.changed.clear();
                node.on_the_way.clear();
            } else if is_back || node.tell_all_at <= now {
                node.tell_all_at = now + resync();
                node.owe(self.engine.registrations.everybody(farm));
            }
        }
    }

    /// A node answered, or asks for everything.
    fn hear(&mut self, farm: &Farm, told: Told, now: Moment) {
        match told {
            Told::Asked(id) => {
                let Some(node) = self.nodes.get_mut(&id) else { return };
                (node.tell_all_at, node.left_alone_until) = (now + RESYNC, Moment::ZERO);
                node.owe(self.engine.registrations.everybody(farm));
                tracing::info!(node = &*name(farm, id), "node {} asks for the states of all agents", name(farm, id));
            }
            Told::Answered { node: id, cseq, code } => {
                let Some(node) = self.nodes.get_mut(&id) else { return };
                let Some(at) = node.on_the_way.iter().position(|message| message.cseq == cseq) else { return };
                let message = node.on_the_way.swap_remove(at);
                let class = format!("{}xx", code / 100);
                self.engine.metrics.publications.with_label_values(&[&class]).inc();
                if code < 300 {
                    node.refuses = false;
                    let delay = message.changed.map(|changed| now.since(changed));
                    delay.inspect(|delay| self.engine.metrics.publication.observe(delay.as_secs_f64()));
                    self.is_content(farm, id);
                } else {
                    node.refuse(message, now);
                    self.complain(farm, id, &format!("it answers {code}"));
                }
            }
        }
    }

    fn complain(&self, farm: &Farm, id: NodeId, why: &str) {
        let what = format!("it is not told of agents: {why}");
        if self.engine.complaints.note(id, About::States, what) {
            let name = name(farm, id);
            tracing::warn!(
                node = &*name,
                "node {name} does not take agents' states, {why}; is its pjsip.conf that of `cordboard asterisk-config \
                 {name}`? Calls go on; asked again every minute"
            );
        }
    }

    fn is_content(&self, farm: &Farm, id: NodeId) {
        if self.engine.complaints.settle(id, About::States) {
            tracing::info!(node = &*name(farm, id), "node {} takes agents' states again", name(farm, id));
        }
    }

    /// Sends what one node is owed, and again what it did not answer.
    fn tell(&mut self, farm: &Farm, id: NodeId, now: Moment) {
        let engine = Arc::clone(&self.engine);
        let Some(way) = engine.with_board(|board| board.view(id)).and_then(|view| view.assessment.way) else { return };
        let run = self.run;
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if node.send_again(&engine, way, now) > 0 {
            return self.complain(farm, id, "it does not answer");
        }
        if node.left_alone_until > now {
            return;
        }
        for (aor, changed) in node.next() {
            node.cseq += 1;
            let state = engine.registrations.with_book(|book| book.state(aor.as_bytes(), now));
            let Some(bytes) = written(farm, run, id, way, node.cseq, &aor, state) else { continue };
            send_to(&engine, way, bytes.clone());
            let message = Message { cseq: node.cseq, aor, bytes, changed, sent: now, again: now + T1, pause: T1 * 2 };
            node.on_the_way.push(message);
        }
    }
}

impl Listener {
    /// A number for the first message: branches are made from it, and a node takes one that it saw within half a minute, from an
    /// edge that was killed since, for a repetition.
    fn new(first: u32) -> Self {
        Listener {
            changed: BTreeMap::new(),
            owed: BTreeSet::new(),
            on_the_way: Vec::new(),
            // CSeq stays below 2^31 (RFC 3261 section 8.1.1.5), for a billion messages more.
            cseq: first >> 2,
            was_up: false,
            tell_all_at: Moment::ZERO,
            left_alone_until: Moment::ZERO,
            refuses: false,
        }
    }

    fn is_busy(&self) -> bool {
        !self.on_the_way.is_empty() || !self.owed.is_empty() || !self.changed.is_empty()
    }

    /// Everybody is to be told again; of those who changed it is known already.
    fn owe(&mut self, everybody: BTreeSet<Aor>) {
        self.owed.extend(everybody.into_iter().filter(|aor| !self.changed.contains_key(aor)));
    }

    /// Whom to tell of next, and since when there is something to tell. A node that refused gets one message to show whether it still does.
    fn next(&mut self) -> Vec<(Aor, Option<Moment>)> {
        let window = if self.refuses { 1 } else { WINDOW };
        let room = window.saturating_sub(self.on_the_way.len());
        let changed = self.changed.iter().map(|(aor, since)| (aor, Some(*since)));
        let all = changed.chain(self.owed.iter().map(|aor| (aor, None)));
        let free = all.filter(|(aor, _)| !self.is_on_the_way(aor));
        let next: Vec<_> = free.take(room).map(|(aor, since)| (aor.clone(), since)).collect();
        for (aor, _) in &next {
            self.changed.remove(aor);
            self.owed.remove(aor);
        }
        next
    }

    /// It will hear of it again, but not soon.
    fn refuse(&mut self, message: Message, now: Moment) {
        (self.refuses, self.left_alone_until) = (true, now + REFUSED_PAUSE);
        if !self.changed.contains_key(&message.aor) {
            self.owed.insert(message.aor);
        }
    }

    fn is_on_the_way(&self, aor: &Aor) -> bool {
        self.on_the_way.iter().any(|message| message.aor == *aor)
    }

    /// Sends again what is due. Returns the number of messages that were given up; they are owed again.
    fn send_again(&mut self, engine: &Arc<Engine>, way: Way, now: Moment) -> usize {
        let is_over = |message: &Message| now.since(message.sent) >= GIVE_UP;
        let (over, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.on_the_way).into_iter().partition(is_over);
        self.on_the_way = kept;
        let given_up = over.len();
        engine.metrics.publications.with_label_values(&["none"]).inc_by(given_up as u64);
        over.into_iter().for_each(|message| self.refuse(message, now));
        // Streams lose nothing.
        if !way.protocol().is_unreliable() {
            return given_up;
        }
        for message in self.on_the_way.iter_mut().filter(|message| message.again <= now) {
            (message.again, message.pause) = (now + message.pause, (message.pause * 2).min(PAUSE_MAX));
            send_to(engine, way, message.bytes.clone());
        }
        given_up
    }
}

fn name(farm: &Farm, id: NodeId) -> Arc<str> {
    farm.node(id).map_or_else(|| "?".into(), |node| Arc::clone(&node.name))
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
