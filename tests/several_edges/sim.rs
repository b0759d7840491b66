//! The world: edges, Redis, gateways, nodes and phones, and what happens to them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use cordboard::calls::CallKey;
use cordboard::cluster::asking::{Answer, Question};
use cordboard::cluster::{Entry, Others};
use cordboard::dispatch::node::Admin;
use cordboard::keys::Keys;
use cordboard::store::SavedAdmin;

use crate::calls::Call;
use crate::edge::{Clocks, Disk, Process};
use crate::faults::{ACTIVE, Fault, plan};
use crate::message::Message;
use crate::net::{Event, Net, Task, Who};
use crate::phones::Phone;
use crate::redis::{Late, Reach, Redis};
use crate::settings::{AGENTS, GATEWAYS, Settings};
use crate::shell::{BEAT, Out, keys};
use crate::truth::Truth;

/// How long an edge waits for the answer to a question.
const DEADLINE: Duration = Duration::from_millis(50);
const TICK: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_millis(200);

/// An edge, whether it runs or not.
pub struct Edge {
    pub process: Option<Process>,
    pub disk: Rc<RefCell<Disk>>,
    pub run: u32,
    pub off: Rc<Cell<i64>>,
    /// A task that tells, or one that reads, is on its way.
    tells: bool,
}

/// The world.
pub struct Sim {
    pub settings: Settings,
    pub net: Net,
    pub redis: Redis,
    pub edges: Vec<Edge>,
    pub calls: Vec<Call>,
    pub phones: Vec<Phone>,
    pub truth: Truth,
    pub keys: Keys,
    /// What operators want of nodes, by the last word.
    pub words: std::collections::BTreeMap<u16, (u64, bool)>,
}

impl Sim {
    pub fn new(settings: &Settings, prints: bool) -> Self {
        let net = Net::new(settings, prints);
        let edge = || Edge { process: None, disk: Rc::default(), run: 0, off: Rc::default(), tells: false };
        let mut sim = Sim {
            settings: settings.clone(),
            net,
            redis: Redis::new(settings.log_len),
            edges: (0..=settings.edges).map(|_| edge()).collect(),
            calls: Vec::new(),
            phones: (0..AGENTS).map(|number| Phone::new(number, settings.edges)).collect(),
            truth: Truth::new(settings),
            keys: keys(),
            words: Default::default(),
        };
        for number in 1..=settings.edges {
            sim.start(number);
        }
        sim.draw_calls();
        plan(settings, &mut sim.net);
        sim
    }

    fn draw_calls(&mut self) {
        let edges = self.settings.edges;
        for number in 0..AGENTS {
            self.net.after(Duration::from_millis(50), Event::Register(number));
        }
        let mut id = 0;
        while id < self.settings.calls as usize {
            let at = self.net.random.between(Duration::from_secs(3), ACTIVE);
            let talk = self.net.random.between(Duration::from_secs(1), Duration::from_secs(80));
            // Two queues want one agent at the same moment, at two edges.
            let is_pair = self.net.random.chance(350);
            let agent = is_pair.then(|| self.net.random.below(u64::from(AGENTS)) as u8);
            let first = self.net.random.below(u64::from(edges)) as u8;
            for turn in 0..if is_pair { 2 } else { 1 } {
                let edge = 1 + (first + turn) % edges;
                let caller = match agent {
                    Some(_) => Who::Node((self.net.random.below(u64::from(self.settings.nodes))) as u16),
                    None => Who::Gateway(1 + self.net.random.below(u64::from(GATEWAYS)) as u8),
                };
                let apart = Duration::from_micros(self.net.random.below(3_000));
                let talk = if is_pair { talk.min(Duration::from_secs(15)) } else { talk };
                self.calls.push(Call::new(id, caller, agent, (edge, edges), talk));
                self.net.after(at + apart, Event::Begin(id));
                id += 1;
            }
        }
    }

    /// Lets time pass.
    pub fn run_for(&mut self, span: Duration) {
        let until = self.net.now() + span;
        while let Some(event) = self.net.next(until) {
            self.happen(event);
        }
    }

    /// The edge that runs, if it does.
    pub fn process(&self, number: u8) -> Option<&Process> {
        self.edges[usize::from(number)].process.as_ref()
    }

    pub fn key_of(&self, call: &Call) -> CallKey {
        CallKey::of(&self.keys, call.call_id.as_bytes())
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Datagram { from, to, octets } => self.deliver(from, to, &octets),
            Event::Task(edge, run, task) => self.task(edge, run, task),
            Event::Ask { edge, run, question, octets, from, until } => {
                let answer = self.ask(edge, run, &question);
                let answered = match answer {
                    Answer::Away => until,
                    _ => self.net.now() + self.net.random.between(Duration::from_micros(200), Duration::from_millis(5)),
                };
                let (at, answer) = if answered > until { (until, Answer::Away) } else { (answered, answer) };
                self.net.at(at, Event::Answer { edge, run, answer, octets, from });
            }
            Event::Answer { edge, run, answer, octets, from } => {
                self.net.line(|| format!("edge-{edge} is answered {answer:?}"));
                let Some(process) = self.running(edge, run) else { return };
                let outs = process.receive_again(answer, &octets, from.address());
                self.send(edge, outs);
            }
            Event::Begin(id) => {
                self.calls[id].begin(&mut self.net);
            }
            Event::Look(id, who) => self.look(id, who),
            Event::Progress(id, who, code) => {
                self.calls[id].progress(who, code, &mut self.net);
                self.truth.look(&self.calls, id, &mut self.net);
            }
            Event::Register(number) => {
                let phone = &mut self.phones[usize::from(number)];
                phone.register(&mut self.net);
            }
            Event::Fault(fault) => self.fault(fault),
        }
    }

    fn look(&mut self, id: usize, who: Who) {
        let call = &mut self.calls[id];
        if who != call.caller && !call.servers.contains_key(&who) {
            return;
        }
        let is_long =
            who == call.caller && call.up_at().is_some() && self.net.now().since(call.client.since) >= call.talk;
        if is_long {
            call.hang_up(who, &mut self.net);
        } else {
            call.look(who, &mut self.net);
        }
    }

    fn running(&self, edge: u8, run: u32) -> Option<&Process> {
        self.edges[usize::from(edge)].process.as_ref().filter(|process| process.run == run)
    }

    fn deliver(&mut self, from: Who, to: Who, octets: &Rc<[u8]>) {
        if let Who::Edge(address) = to {
            let edge = self.net.serves[usize::from(address)];
            let Some(process) = self.process(edge) else { return };
            let (outs, question) = process.receive(octets, from.address());
            let run = process.run;
            if let Some(question) = question {
                self.net.line(|| format!("edge-{edge} asks {question:?}"));
                let span = self.net.random.between(Duration::from_micros(200), Duration::from_millis(5));
                let until = self.net.now() + DEADLINE;
                let octets = Rc::clone(octets);
                self.net.after(span, Event::Ask { edge, run, question, octets, from, until });
            }
            return self.send(edge, outs);
        }
        let text = String::from_utf8_lossy(octets).into_owned();
        let Some(message) = Message::read(text.as_bytes()) else { panic!("the edge sent what is no message:\n{text}") };
        if message.cseq.1 == "REGISTER" {
            let Who::Phone(number) = to else { panic!("{to} registers nowhere") };
            let now = self.net.now();
            return self.phones[usize::from(number)].answered(&message, now, &mut self.net);
        }
        let Some(id) = message.call_id.strip_prefix("call-").and_then(|id| id.parse::<usize>().ok()) else { return };
        self.truth.arrives(&self.calls[id], from, to, &message, &mut self.net);
        let call = &mut self.calls[id];
        let was_up = call.up_at().is_some();
        if message.code().is_some() {
            call.respond(to, &message, &mut self.net);
        } else {
            call.request(to, from, octets, &message, &mut self.net);
        }
        if !was_up && call.up_at().is_some() {
            let (talk, caller) = (call.talk, call.caller);
            self.net.after(talk, Event::Look(id, caller));
        }
        self.truth.look(&self.calls, id, &mut self.net);
    }

    fn send(&mut self, edge: u8, outs: Vec<Out>) {
        for Out { to, octets } in outs {
            self.net.send(Who::Edge(edge), Who::at(to), &octets);
        }
        self.plan_to_tell(edge);
    }

    fn plan_to_tell(&mut self, number: u8) {
        let edge = &mut self.edges[usize::from(number)];
        let Some(process) = &edge.process else { return };
        if !edge.tells && !process.with_untold(|untold| untold.is_empty()) {
            edge.tells = true;
            let (run, span) = (edge.run, self.net.random.between(Duration::from_micros(300), Duration::from_millis(6)));
            self.net.after(span, Event::Task(number, run, Task::Tell));
        }
    }

    /// What happens to a question that reaches Redis, or does not.
    fn ask(&mut self, edge: u8, run: u32, question: &Question) -> Answer {
        let Some(process) = self.running(edge, run) else { return Answer::Away };
        let name = process.name.clone();
        match self.redis.reach(edge) {
            Reach::Answers => self.redis.answer(&name, question),
            Reach::Hangs => {
                self.redis.late.push((edge, Late::Question(question.clone())));
                Answer::Away
            }
            Reach::Nothing => Answer::Away,
        }
    }

    fn task(&mut self, edge: u8, run: u32, task: Task) {
        if self.running(edge, run).is_none() {
            return;
        }
        match task {
            Task::Tick => {
                let outs = self.process(edge).map(Process::tick).unwrap_or_default();
                self.send(edge, outs);
                self.net.after(TICK, Event::Task(edge, run, Task::Tick));
            }
            Task::Beat => {
                self.edges[usize::from(edge)].process.iter().for_each(|process| process.beat(&self.redis));
                self.net.after(BEAT, Event::Task(edge, run, Task::Beat));
            }
            Task::Tell => {
                let Edge { process: Some(process), tells, .. } = &mut self.edges[usize::from(edge)] else { return };
                let before = self.redis.snapshot().after;
                let is_told = process.tell_all(&mut self.redis);
                *tells = !is_told;
                self.note_told(&before);
                if is_told {
                    self.wake_readers();
                } else {
                    self.net.after(PAUSE, Event::Task(edge, run, Task::Tell));
                }
            }
            Task::Read | Task::Retry => {
                self.edges[usize::from(edge)].process.iter().for_each(|process| _ = process.read_on(&self.redis));
                if task == Task::Retry {
                    self.net.after(PAUSE, Event::Task(edge, run, Task::Retry));
                }
            }
        }
        self.plan_to_tell(edge);
    }

    /// Notes what was told, for a run that is printed.
    fn note_told(&mut self, before: &str) {
        if !self.net.prints {
            return;
        }
        for stored in self.redis.read(before).1 {
            let Some((edge, entry)) = Entry::read(&stored.octets) else { continue };
            let name = |key| {
                let call = self.calls.iter().find(|call| self.key_of(call).0 == key);
                call.map_or("?", |call| &call.call_id).to_owned()
            };
            let what = match entry {
                Entry::Call { key, lease } => {
                    format!("{} is here on {}", name(key), lease.node)
                }
                Entry::Over { key, was_here } => format!("{} is over, was here: {was_here:?}", name(key)),
                Entry::Bindings { aor, list, .. } => {
                    format!("{} : {} phones", String::from_utf8_lossy(aor), list.len())
                }
                other => format!("{other:?}"),
            };
            let edge = edge.to_owned();
            self.net.line(|| format!("{edge} tells {what}"));
        }
    }

    fn wake_readers(&mut self) {
        for number in 1..=self.settings.edges {
            if let Some(run) = self.process(number).map(|process| process.run) {
                let span = self.net.random.between(Duration::from_micros(200), Duration::from_millis(12));
                self.net.after(span, Event::Task(number, run, Task::Read));
            }
        }
    }

    fn start(&mut self, number: u8) {
        let random = self.net.random.fork();
        let edge = &mut self.edges[usize::from(number)];
        if edge.process.is_some() {
            return;
        }
        edge.run += 1;
        edge.tells = false;
        let clocks = Clocks { now: Rc::clone(&self.net.now), off: Rc::clone(&edge.off), born: self.net.now() };
        let run = edge.run;
        let process = Process::start(&self.settings, (number, run), clocks, &edge.disk, &self.redis, random);
        edge.process = Some(process);
        self.net.serves[usize::from(number)] = number;
        for (task, span) in [(Task::Tick, TICK), (Task::Beat, BEAT), (Task::Retry, PAUSE)] {
            let begins = self.net.random.between(Duration::ZERO, span);
            self.net.after(begins, Event::Task(number, run, task));
        }
        self.plan_to_tell(number);
    }

    /// Something goes wrong, or is mended.
    pub fn fault(&mut self, fault: Fault) {
        self.net.line(|| format!("{fault:?}"));
        let now = self.net.now();
        self.truth.fault(fault, now);
        match fault {
            Fault::Kill { edge, power_cut, moves } => {
                let killed = &mut self.edges[usize::from(edge)];
                if killed.process.take().is_some() && power_cut {
                    killed.disk.borrow_mut().lose_since(now.before(Duration::from_secs(1)));
                }
                if moves {
                    self.net.after(Duration::from_secs(1), Event::Fault(Fault::Move(edge)));
                }
            }
            Fault::Start(edge) => self.start(edge),
            Fault::Move(edge) => {
                let others: Vec<u8> =
                    (1..=self.settings.edges).filter(|other| self.process(*other).is_some()).collect();
                if self.process(edge).is_none() && !others.is_empty() {
                    self.net.serves[usize::from(edge)] = self.net.random.one_of(&others);
                }
            }
            Fault::Cut(edge) => _ = self.redis.cut.insert(edge),
            Fault::Mend(edge) => _ = self.redis.cut.remove(&edge),
            Fault::RedisDies => self.redis.is_up = false,
            Fault::RedisStarts { .. } if self.redis.is_up => {}
            Fault::RedisStarts { is_empty } => {
                self.redis.start_again(is_empty);
                (self.redis.is_up, self.redis.connections) = (true, self.redis.connections + 1);
                self.redis.late.clear();
            }
            Fault::Hang => self.redis.is_hung = true,
            Fault::GoOn => self.go_on(),
            Fault::RedisSaves => self.redis.save(),
            Fault::Flush => self.redis.flush(),
            Fault::Clock { edge, millis } => self.edges[usize::from(edge)].off.set(millis),
            Fault::Order { edge, node, drains } => self.order(edge, node, drains),
        }
    }

    /// Redis goes on, and does what it was told meanwhile: nobody waits for the answers any more.
    fn go_on(&mut self) {
        self.redis.is_hung = false;
        for (edge, late) in std::mem::take(&mut self.redis.late) {
            let name = format!("edge-{edge}");
            match late {
                Late::Question(question) => drop(self.redis.answer(&name, &question)),
                Late::Told(batch) => self.redis.tell(&name, &batch),
            }
        }
        self.wake_readers();
    }

    /// An operator says something of a node at an edge.
    fn order(&mut self, edge: u8, node: u16, drains: bool) {
        let Some(process) = self.process(edge) else { return };
        let (state, since) =
            (if drains { Admin::Draining } else { Admin::Enabled }, process.clocks.reading().unix_millis);
        let name = format!("ast-{node}");
        process.take_word(&name, state, since);
        let wanted = SavedAdmin { state: state.as_str().to_owned(), since };
        process.tell_word(&Entry::Admin { node: &name, wanted }, since);
        let last = self.words.entry(node).or_insert((0, false));
        if since >= last.0 {
            *last = (since, drains);
        }
        self.plan_to_tell(edge);
    }

    /// Everything works from here on.
    pub fn mend_everything(&mut self) {
        self.redis.cut.clear();
        if self.redis.is_hung {
            self.fault(Fault::GoOn);
        }
        if !self.redis.is_up {
            self.fault(Fault::RedisStarts { is_empty: true });
        }
        (1..=self.settings.edges).for_each(|edge| self.fault(Fault::Start(edge)));
    }
}
