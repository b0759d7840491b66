//! Tells the queues of all nodes what every agent is doing (PUBLISH, RFC 3903, with Asterisk's event `asterisk-devicestate`).
//!
//! What a node has still to hear is its [`Listener`]; an agent's state is read when it is sent, so of many changes the last one
//! goes out. One Call-ID and rising CSeq for each node. Everything is told again when the node asks for it, when it comes back, and
//! once a minute, since a node forgets all of it when it restarts and nothing of it ever runs out there.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use tokio::sync::oneshot;

use crate::agents::State;
use crate::agents::agent::Agent;
use crate::agents::listener::{Answer, Listener, Next};
use crate::calls::NodeId;
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

/// How often everything is told again.
const RESYNC: Duration = Duration::from_secs(60);
/// Part of that by which nodes are spread, so that they are not all told at once.
const RESYNC_SPREAD: f64 = 0.2;
/// How long the first message waits for calls to be compared with the nodes' channels: nobody who talks may be told to be free.
const FIRST_LOOK: Duration = Duration::from_secs(3);
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
            changes.iter().for_each(|(since, change)| node.change(&change.aor, *since));
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
            if node.look(is_up, now) {
                node.owe(self.engine.registrations.everybody(farm), now + resync());
            }
        }
    }

    /// A node answered, or asks for everything.
    fn hear(&mut self, farm: &Farm, told: Told, now: Moment) {
        match told {
            Told::Asked(id) => {
                let Some(node) = self.nodes.get_mut(&id) else { return };
                node.ask(now);
                node.owe(self.engine.registrations.everybody(farm), now + RESYNC);
                tracing::info!(node = &*name(farm, id), "node {} asks for the states of all agents", name(farm, id));
            }
            Told::Answered { node: id, cseq, code } => {
                let Some(node) = self.nodes.get_mut(&id) else { return };
                let Some(answer) = node.answer(cseq, code, now) else { return };
                let class = format!("{}xx", code / 100);
                self.engine.metrics.publications.with_label_values(&[&class]).inc();
                match answer {
                    Answer::Taken(changed) => {
                        let delay = changed.map(|changed| now.since(changed));
                        delay.inspect(|delay| self.engine.metrics.publication.observe(delay.as_secs_f64()));
                        self.is_content(farm, id);
                    }
                    Answer::Refused { is_lasting: false } => {}
                    Answer::Refused { .. } => self.complain(farm, id, &format!("it answers {code}")),
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
        let given_up = node.give_up(now);
        // Streams lose nothing.
        if way.protocol().is_unreliable() {
            node.repeat(now).for_each(|octets| send_to(&engine, way, octets.to_vec()));
        }
        for next in node.next(now) {
            let state = engine.registrations.with_book(|book| book.state(next.aor.as_bytes(), now));
            let Some(octets) = written(farm, run, id, way, &next, state) else { continue };
            send_to(&engine, way, octets.clone());
            node.sent(next, octets, now);
        }
        if given_up > 0 {
            engine.metrics.publications.with_label_values(&["none"]).inc_by(given_up as u64);
            self.complain(farm, id, "it does not answer");
        }
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
fn written(farm: &Farm, run: u64, id: NodeId, way: Way, next: &Next, state: State) -> Option<Vec<u8>> {
    let user = std::str::from_utf8(next.aor.as_bytes()).ok()?;
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
        via: &ProbeBranch { node: id.0, probe: next.cseq }.via(&farm.keys, listener),
        from: &format!("<sip:{}@{sent_by}>;tag=s{run:x}", farm.edge),
        call_id: &format!("states-{run:x}-{}@{sent_by}", id.0),
        cseq: next.cseq,
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
