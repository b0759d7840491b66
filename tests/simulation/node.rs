//! A node: answers like Asterisk, with the timers of RFC 3261, and may refuse, freeze, die and come back without its calls.

use std::collections::HashMap;
use std::time::Duration;

use crate::client::{Client, Due, T1, T2, T64};
use crate::context::{Context, Event, Who};
use crate::gateway::node_of_tag;
use crate::message::{Message, Octets, octets};
use crate::random::Random;
use crate::settings::Manners;

/// A timer of a node's, with the number of the call.
#[derive(Clone, Copy, Debug)]
pub enum Timer {
    Ring(u32),
    Answer(u32),
    Refuse(u32),
    /// The dialplan has rung for long enough.
    Unanswered(u32),
    /// A final answer without its ACK is sent again.
    Final(u32, u32),
    Client(u32, u32, &'static str),
    HangUp(u32),
    /// The session timer is refreshed.
    Refresh(u32),
    Forget(u32),
}

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Well,
    /// Hears everything and does nothing until it thaws.
    Frozen,
    /// The process is gone; the machine says so by ICMP or, when it is gone too, does not.
    Dead {
        icmp: bool,
    },
}

/// One node.
pub struct Node {
    pub number: u8,
    pub life: Life,
    /// Shutting down: no new calls, and 503 to probes.
    pub stopping: bool,
    /// Counts its lives.
    pub incarnation: u32,
    legs: HashMap<u32, Leg>,
    /// What happened while it was frozen.
    backlog: Vec<Event>,
    manners: Manners,
    random: Random,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No final answer yet.
    Trying,
    /// 2xx was sent.
    Up,
    /// BYE was sent.
    Leaving,
    /// Refused, or over; repetitions are still recognised.
    Over,
}

/// One call on this node.
struct Leg {
    stage: Stage,
    tag: String,
    branch: String,
    invite: Octets,
    /// The last answer to the INVITE.
    last: Option<Octets>,
    /// Final answers to INVITEs that are not acknowledged yet.
    finals: Vec<Final>,
    clients: Vec<Client>,
    cseq: u32,
    conduct: Conduct,
}

struct Final {
    cseq: u32,
    octets: Octets,
    pause: Duration,
    sent: cordboard::moment::Moment,
}

/// What it does with a call.
#[derive(Clone, Copy, Debug)]
enum Conduct {
    Answer {
        after: Duration,
        session: bool,
    },
    Refuse {
        code: u16,
        reason: &'static str,
        after: Duration,
    },
    /// Rings, and then says 503 as if nothing had run.
    BreakOff {
        after: Duration,
    },
    /// Rings for ever.
    Ring,
}

/// The dialplan's own end of an unanswered call, and of one from which nothing is heard any more (`rtp_timeout`).
const DIALPLAN_MAX: Duration = Duration::from_secs(150);
const SILENCE_MAX: Duration = Duration::from_secs(200);

/// Datagrams that a frozen node's socket holds.
const BACKLOG_MAX: usize = 2_000;

impl Node {
    pub fn new(number: u8, manners: Manners, random: Random) -> Self {
        Node {
            number,
            life: Life::Well,
            stopping: false,
            incarnation: 1,
            legs: HashMap::new(),
            backlog: Vec::new(),
            manners,
            random,
        }
    }

    fn who(&self) -> Who {
        Who::Node(self.number)
    }

    fn after(&self, ctx: &mut Context, pause: Duration, timer: Timer) {
        ctx.after(pause, Event::Node(self.number, self.incarnation, timer));
    }

    /// The process ends with all its calls.
    pub fn die(&mut self, ctx: &mut Context, icmp: bool) {
        self.life = Life::Dead { icmp };
        self.incarnation += 1;
        self.backlog.clear();
        self.stopping = false;
        // In order, since the truth about calls is part of what two runs must have in common.
        let mut calls: Vec<u32> = self.legs.drain().map(|(call, _)| call).collect();
        calls.sort_unstable();
        for call in calls {
            ctx.records[call as usize].leave_node(self.number, ctx.now);
        }
    }

    /// The process is there again, without calls.
    pub fn come_back(&mut self) {
        self.life = Life::Well;
    }

    pub fn freeze(&mut self) {
        self.life = Life::Frozen;
    }

    /// Everything that was held up happens now.
    pub fn thaw(&mut self, ctx: &mut Context) {
        self.life = Life::Well;
        for event in std::mem::take(&mut self.backlog) {
            ctx.after(Duration::ZERO, event);
        }
    }

    /// Time has passed.
    pub fn timer(&mut self, ctx: &mut Context, incarnation: u32, timer: Timer) {
        if incarnation != self.incarnation {
            return;
        }
        match self.life {
            Life::Dead { .. } => return,
            Life::Frozen => return self.backlog.push(Event::Node(self.number, incarnation, timer)),
            Life::Well => {}
        }
        match timer {
            Timer::Ring(call) => self.provisional(ctx, call, 180),
            Timer::Answer(call) => self.answer(ctx, call),
            Timer::Refuse(call) => self.refuse_by_conduct(ctx, call),
            Timer::Unanswered(call) => {
                if self.legs.get(&call).is_some_and(|leg| leg.stage == Stage::Trying) {
                    self.refuse(ctx, call, 480, "Reason: Q.850;cause=19\r\n");
                }
            }
            Timer::Final(call, cseq) => self.final_due(ctx, call, cseq),
            Timer::Client(call, cseq, method) => self.client_due(ctx, call, cseq, method),
            Timer::HangUp(call) => self.hang_up(ctx, call),
            Timer::Refresh(call) => {
                if self.legs.get(&call).is_some_and(|leg| leg.stage == Stage::Up) {
                    self.say(ctx, call, "UPDATE");
                    self.after(ctx, Duration::from_secs(45), Timer::Refresh(call));
                }
            }
            Timer::Forget(call) => {
                self.legs.remove(&call);
            }
        }
    }

    /// A datagram arrives.
    pub fn receive(&mut self, ctx: &mut Context, octets: &Octets) {
        match self.life {
            Life::Dead { icmp } => {
                if icmp {
                    ctx.after(Duration::from_millis(1), Event::Refused(self.who()));
                }
                return;
            }
            Life::Frozen => {
                if self.backlog.len() < BACKLOG_MAX {
                    let event = Event::Deliver { from: Who::Edge, to: self.who(), octets: octets.clone() };
                    self.backlog.push(event);
                }
                return;
            }
            Life::Well => {}
        }
        let Some(message) = Message::read(octets) else {
            return ctx.violate(None, format!("no message: {}", octets.escape_ascii()));
        };
        match (message.code(), message.method(), message.call()) {
            (Some(code), _, Some(call)) => self.response(ctx, call, code, &message),
            (None, "OPTIONS", _) => {
                let code = if self.stopping { 503 } else { 200 };
                ctx.send(self.who(), Who::Edge, &message.reply(code, "probe", ""));
            }
            (None, "INVITE", Some(call)) if message.to_tag().is_none() => self.invite(ctx, call, &message, octets),
            (None, method, Some(call)) => self.request(ctx, call, method, &message),
            _ => {}
        }
    }

    fn reply(&self, ctx: &mut Context, request: &Message<'_>, code: u16, headers: &str) -> Octets {
        let tag = format!("n{}-{}-stray", self.number, self.incarnation);
        let answer = request.reply(code, &tag, headers);
        ctx.send(self.who(), Who::Edge, &answer);
        answer
    }

    fn invite(&mut self, ctx: &mut Context, call: u32, request: &Message<'_>, octets: &Octets) {
        if let Some(leg) = self.legs.get(&call) {
            if leg.branch != request.branch() {
                self.reply(ctx, request, 482, "");
            } else if let Some(last) = leg.last.clone() {
                ctx.send(self.who(), Who::Edge, &last);
            }
            return;
        }
        let conduct = self.conduct();
        let leg = Leg {
            stage: Stage::Trying,
            tag: format!("n{}-{}-{call}", self.number, self.incarnation),
            branch: request.branch().to_owned(),
            invite: octets.clone(),
            last: None,
            finals: Vec::new(),
            clients: Vec::new(),
            cseq: 100,
            conduct,
        };
        self.legs.insert(call, leg);
        ctx.records[call as usize].enter_node(self.number);
        let at_once = matches!(conduct, Conduct::Refuse { after: Duration::ZERO, .. });
        if at_once {
            return self.refuse_by_conduct(ctx, call);
        }
        self.provisional(ctx, call, 100);
        let ring = self.random.between(Duration::from_millis(5), Duration::from_millis(200));
        match conduct {
            Conduct::Answer { after, .. } => {
                self.after(ctx, ring, Timer::Ring(call));
                self.after(ctx, ring + after, Timer::Answer(call));
            }
            Conduct::Refuse { after, .. } => self.after(ctx, after, Timer::Refuse(call)),
            Conduct::BreakOff { after } => {
                self.after(ctx, ring, Timer::Ring(call));
                self.after(ctx, ring + after, Timer::Refuse(call));
            }
            Conduct::Ring => {
                self.after(ctx, ring, Timer::Ring(call));
                self.after(ctx, DIALPLAN_MAX, Timer::Unanswered(call));
            }
        }
    }

    fn conduct(&mut self) -> Conduct {
        if self.stopping {
            return Conduct::Refuse { code: 503, reason: "", after: Duration::ZERO };
        }
        let Manners { busy, stopping, full, congested, faulty, breaking_off, rings_on, sessions } = self.manners;
        let after = self.random.between(Duration::from_millis(20), Duration::from_secs(2));
        let at_once = Duration::ZERO;
        let mut dice = self.random.below(1_000);
        for (share, conduct) in [
            (busy, Conduct::Refuse { code: 486, reason: "Reason: Q.850;cause=17\r\n", after }),
            (stopping, Conduct::Refuse { code: 503, reason: "", after: at_once }),
            (full, Conduct::Refuse { code: 503, reason: "Reason: Q.850;cause=42\r\n", after: at_once }),
            (congested, Conduct::Refuse { code: 503, reason: "Reason: Q.850;cause=34\r\n", after }),
            (faulty, Conduct::Refuse { code: 500, reason: "", after }),
            (breaking_off, Conduct::BreakOff { after }),
            (rings_on, Conduct::Ring),
        ] {
            if dice < share {
                return conduct;
            }
            dice -= share;
        }
        let after = self.random.between(Duration::from_millis(50), Duration::from_secs(12));
        Conduct::Answer { after, session: self.random.chance(sessions) }
    }

    fn provisional(&mut self, ctx: &mut Context, call: u32, code: u16) {
        let who = self.who();
        let Some(leg) = self.legs.get_mut(&call).filter(|leg| leg.stage == Stage::Trying) else { return };
        let Some(request) = Message::read(&leg.invite) else { return };
        let contact = if code > 100 { format!("Contact: <sip:node@{}>\r\n", who.address()) } else { String::new() };
        let answer = request.reply(code, &leg.tag, &contact);
        leg.last = Some(answer.clone());
        ctx.send(who, Who::Edge, &answer);
    }

    fn answer(&mut self, ctx: &mut Context, call: u32) {
        let who = self.who();
        let Some(leg) = self.legs.get_mut(&call).filter(|leg| leg.stage == Stage::Trying) else { return };
        let session = matches!(leg.conduct, Conduct::Answer { session: true, .. });
        let headers = format!("Contact: <sip:node@{}>\r\n{}", who.address(), session_header(session));
        leg.stage = Stage::Up;
        self.finish(ctx, call, 200, &headers);
        let plan = ctx.records[call as usize].plan;
        let until = if plan.node_hangs_up { plan.talks } else { SILENCE_MAX };
        self.after(ctx, until, Timer::HangUp(call));
        if session {
            self.after(ctx, Duration::from_secs(45), Timer::Refresh(call));
        }
    }

    fn refuse_by_conduct(&mut self, ctx: &mut Context, call: u32) {
        let Some(leg) = self.legs.get(&call).filter(|leg| leg.stage == Stage::Trying) else { return };
        let (code, reason) = match leg.conduct {
            Conduct::Refuse { code, reason, .. } => (code, reason),
            Conduct::BreakOff { .. } => (503, ""),
            Conduct::Answer { .. } | Conduct::Ring => return,
        };
        self.refuse(ctx, call, code, reason);
    }

    fn refuse(&mut self, ctx: &mut Context, call: u32, code: u16, headers: &str) {
        if let Some(leg) = self.legs.get_mut(&call) {
            leg.stage = Stage::Over;
        }
        self.finish(ctx, call, code, headers);
        ctx.records[call as usize].leave_node(self.number, ctx.now);
        self.after(ctx, T64 * 2, Timer::Forget(call));
    }

    /// Sends the final answer to the first INVITE, and again until its ACK (sections 13.3.1.4 and 17.2.1).
    fn finish(&mut self, ctx: &mut Context, call: u32, code: u16, headers: &str) {
        let who = self.who();
        let Some(leg) = self.legs.get_mut(&call) else { return };
        let Some(request) = Message::read(&leg.invite) else { return };
        let answer = request.reply(code, &leg.tag, headers);
        leg.last = Some(answer.clone());
        leg.finals.push(Final { cseq: request.cseq.0, octets: answer.clone(), pause: T1, sent: ctx.now });
        let cseq = request.cseq.0;
        ctx.send(who, Who::Edge, &answer);
        self.after(ctx, T1, Timer::Final(call, cseq));
    }

    fn final_due(&mut self, ctx: &mut Context, call: u32, cseq: u32) {
        let who = self.who();
        let Some(leg) = self.legs.get_mut(&call) else { return };
        let Some(at) = leg.finals.iter().position(|answer| answer.cseq == cseq) else { return };
        let answer = &mut leg.finals[at];
        if ctx.now.since(answer.sent) >= T64 {
            leg.finals.remove(at);
            // Nobody acknowledges: the call is taken down (section 13.3.1.4).
            return self.hang_up(ctx, call);
        }
        answer.pause = (answer.pause * 2).min(T2);
        let (again, pause) = (answer.octets.clone(), answer.pause);
        ctx.send(who, Who::Edge, &again);
        self.after(ctx, pause, Timer::Final(call, cseq));
    }

    fn request(&mut self, ctx: &mut Context, call: u32, method: &str, request: &Message<'_>) {
        let own = request.to_tag().and_then(node_of_tag);
        match (method, self.legs.contains_key(&call)) {
            ("ACK", true) => self.acknowledged(call, request),
            ("ACK", false) => {}
            ("CANCEL", _) => self.cancel(ctx, call, request),
            (_, false) => drop(self.reply(ctx, request, 481, "")),
            _ if own != Some((self.number, self.incarnation)) => drop(self.reply(ctx, request, 481, "")),
            ("BYE", true) => {
                let is_known = self.legs.get(&call).is_some_and(|leg| leg.last.is_some());
                drop(self.reply(ctx, request, if is_known { 200 } else { 481 }, ""));
                self.over(ctx, call);
            }
            ("INVITE", true) => self.reinvite(ctx, call, request),
            (_, true) => {
                let is_up = self.legs.get(&call).is_some_and(|leg| leg.stage == Stage::Up);
                drop(self.reply(ctx, request, if is_up { 200 } else { 481 }, ""));
            }
        }
    }

    fn acknowledged(&mut self, call: u32, ack: &Message<'_>) {
        if let Some(leg) = self.legs.get_mut(&call) {
            leg.finals.retain(|answer| answer.cseq != ack.cseq.0);
        }
    }

    fn cancel(&mut self, ctx: &mut Context, call: u32, request: &Message<'_>) {
        let Some(leg) = self.legs.get(&call).filter(|leg| leg.branch == request.branch()) else {
            return drop(self.reply(ctx, request, 481, ""));
        };
        let is_trying = leg.stage == Stage::Trying;
        self.reply(ctx, request, 200, "");
        if is_trying {
            self.refuse(ctx, call, 487, "");
        }
    }

    fn reinvite(&mut self, ctx: &mut Context, call: u32, request: &Message<'_>) {
        let (who, cseq) = (self.who(), request.cseq.0);
        let Some(leg) = self.legs.get_mut(&call) else { return };
        if leg.stage != Stage::Up {
            return drop(self.reply(ctx, request, 481, ""));
        }
        if let Some(known) = leg.finals.iter().find(|answer| answer.cseq == cseq) {
            return ctx.send(who, Who::Edge, &known.octets.clone());
        }
        let session = matches!(leg.conduct, Conduct::Answer { session: true, .. });
        let headers = format!("Contact: <sip:node@{}>\r\n{}", who.address(), session_header(session));
        let answer = request.reply(200, &leg.tag, &headers);
        leg.finals.push(Final { cseq, octets: answer.clone(), pause: T1, sent: ctx.now });
        ctx.send(who, Who::Edge, &answer);
        self.after(ctx, T1, Timer::Final(call, cseq));
    }

    fn hang_up(&mut self, ctx: &mut Context, call: u32) {
        let Some(leg) = self.legs.get_mut(&call).filter(|leg| leg.stage == Stage::Up) else { return };
        if leg.finals.iter().any(|answer| answer.cseq == 1) {
            // Not before the ACK to the 2xx has come or is given up (section 15).
            return self.after(ctx, Duration::from_millis(100), Timer::HangUp(call));
        }
        leg.stage = Stage::Leaving;
        leg.finals.clear();
        leg.clients.clear();
        self.say(ctx, call, "BYE");
    }

    /// A request inside the dialog, from the node's side.
    fn say(&mut self, ctx: &mut Context, call: u32, method: &'static str) {
        let who = self.who();
        let Some(leg) = self.legs.get_mut(&call) else { return };
        leg.cseq += 1;
        let (cseq, tag) = (leg.cseq, leg.tag.clone());
        let Some(invite) = Message::read(&leg.invite) else { return };
        let routes: String = invite.record_routes.iter().map(|route| format!("Route: {route}\r\n")).collect();
        let (target, address) = (invite.contact_uri(), who.address());
        let session = if method == "UPDATE" { session_header(true) } else { "" };
        let request = octets(format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {address};rport;branch=z9hG4bK-{tag}-{cseq}\r\n\
             Max-Forwards: 70\r\n{routes}From: {};tag={tag}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:node@{address}>\r\n{session}Content-Length: 0\r\n\r\n",
            invite.to, invite.from, invite.call_id
        ));
        leg.clients.push(Client::sent(method, cseq, request.clone(), ctx.now));
        ctx.send(who, Who::Edge, &request);
        self.after(ctx, T1, Timer::Client(call, cseq, method));
    }

    fn client_due(&mut self, ctx: &mut Context, call: u32, cseq: u32, method: &'static str) {
        let who = self.who();
        let Some(leg) = self.legs.get_mut(&call) else { return };
        let Some(at) = leg.clients.iter().position(|c| c.cseq == cseq && c.method == method) else { return };
        match leg.clients[at].due(ctx.now) {
            Due::Nothing => {}
            Due::Again(pause) => {
                let request = leg.clients[at].octets.clone();
                ctx.send(who, Who::Edge, &request);
                self.after(ctx, pause, Timer::Client(call, cseq, method));
            }
            Due::TimedOut => {
                leg.clients.remove(at);
                if method == "BYE" { self.over(ctx, call) } else { self.hang_up(ctx, call) }
            }
        }
    }

    fn response(&mut self, ctx: &mut Context, call: u32, code: u16, response: &Message<'_>) {
        let (cseq, method) = response.cseq;
        let Some(leg) = self.legs.get_mut(&call) else { return };
        let Some(at) = leg.clients.iter().position(|c| c.cseq == cseq && c.method == method) else { return };
        if code < 200 {
            return;
        }
        leg.clients.remove(at);
        match method {
            "BYE" => self.over(ctx, call),
            _ if matches!(code, 408 | 481) => self.hang_up(ctx, call),
            _ => {}
        }
    }

    fn over(&mut self, ctx: &mut Context, call: u32) {
        let Some(leg) = self.legs.get_mut(&call).filter(|leg| leg.stage != Stage::Over) else { return };
        leg.stage = Stage::Over;
        leg.finals.clear();
        leg.clients.clear();
        ctx.records[call as usize].leave_node(self.number, ctx.now);
        self.after(ctx, T64 * 2, Timer::Forget(call));
    }
}

fn session_header(session: bool) -> &'static str {
    if session { "Session-Expires: 90;refresher=uas\r\n" } else { "" }
}
