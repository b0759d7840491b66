//! A gateway: callers who call, wait, talk, hang up, give up or vanish, with the timers of RFC 3261.

use std::collections::HashMap;
use std::time::Duration;

use crate::client::{Client, Due, T1, T64};
use crate::context::{Context, Event, Who};
use crate::message::{Message, Octets, octets};
use crate::record::{By, Ending, Outcome};

/// A timer of a gateway's, with the number of the call.
#[derive(Clone, Copy, Debug)]
pub enum Timer {
    /// The caller picks up the receiver.
    Start(u32),
    /// A request may have to be sent again.
    Client(u32, u32, &'static str),
    /// The caller waits no longer.
    GiveUp(u32),
    /// A CANCEL was sent and no final answer came.
    Abandon(u32),
    /// The caller is gone without a word.
    Vanish(u32),
    /// The caller has said everything.
    HangUp(u32),
    Info(u32),
    Reinvite(u32),
    /// Nothing about the call can come any more.
    Forget(u32),
}

/// One gateway.
pub struct Gateway {
    number: u8,
    calls: HashMap<u32, Caller>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The INVITE is out.
    Calling,
    /// Answered.
    Up,
    /// BYE is out.
    Leaving,
    /// Nothing more but repetitions.
    Over,
    /// The caller is gone, and so is everything that was known of the call.
    Vanished,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cancel {
    No,
    /// To be sent once the other side has said something (section 9.1).
    Wanted,
    Sent,
}

struct Caller {
    stage: Stage,
    cancel: Cancel,
    clients: Vec<Client>,
    /// ACKs to 2xx, by the other side's tag and the number of the INVITE.
    acks: Vec<(String, u32, Octets)>,
    dialog: Option<Dialog>,
    cseq: u32,
}

/// The caller's half of a dialog.
#[derive(Clone)]
struct Dialog {
    to: String,
    tag: String,
    /// Route lines.
    routes: String,
    target: String,
}

impl Gateway {
    pub fn new(number: u8) -> Self {
        Gateway { number, calls: HashMap::new() }
    }

    fn who(&self) -> Who {
        Who::Gateway(self.number)
    }

    fn after(&self, ctx: &mut Context, pause: Duration, timer: Timer) {
        ctx.after(pause, Event::Gateway(self.number, timer));
    }

    /// Time has passed.
    pub fn timer(&mut self, ctx: &mut Context, timer: Timer) {
        match timer {
            Timer::Start(call) => self.start(ctx, call),
            Timer::Client(call, cseq, method) => self.client_due(ctx, call, cseq, method),
            Timer::GiveUp(call) => self.give_up(ctx, call),
            Timer::Abandon(call) => {
                if self.stage(call) == Some(Stage::Calling) {
                    ctx.records[call as usize].decide(Outcome::GaveUp, ctx.now);
                    self.over(ctx, call);
                }
            }
            Timer::Vanish(call) => self.vanish(ctx, call),
            Timer::HangUp(call) => self.hang_up(ctx, call),
            Timer::Info(call) => self.say(ctx, call, "INFO"),
            Timer::Reinvite(call) => self.say(ctx, call, "INVITE"),
            Timer::Forget(call) => {
                self.calls.remove(&call);
            }
        }
    }

    fn stage(&self, call: u32) -> Option<Stage> {
        self.calls.get(&call).map(|caller| caller.stage)
    }

    fn start(&mut self, ctx: &mut Context, call: u32) {
        let plan = ctx.records[call as usize].plan;
        ctx.records[call as usize].started = ctx.now;
        let invite = self.opening("INVITE", call, "");
        self.calls.insert(
            call,
            Caller { stage: Stage::Calling, cancel: Cancel::No, clients: vec![], acks: vec![], dialog: None, cseq: 1 },
        );
        self.send_request(ctx, call, "INVITE", 1, invite);
        if let Some(pause) = plan.gives_up {
            self.after(ctx, pause, Timer::GiveUp(call));
        }
        if let Some(pause) = plan.vanishes {
            self.after(ctx, pause, Timer::Vanish(call));
        }
    }

    /// A request of the INVITE's own transaction: INVITE, CANCEL, and the ACK to a failure.
    fn opening(&self, method: &str, call: u32, to_tag: &str) -> Octets {
        let address = self.who().address();
        octets(format!(
            "{method} sip:100@10.0.0.1 SIP/2.0\r\n\
             Via: SIP/2.0/UDP {address};rport;branch=z9hG4bK-g{call}-1\r\n\
             Max-Forwards: 70\r\nFrom: <sip:+1555{call:06}@{address}>;tag=g{call}\r\nTo: <sip:100@10.0.0.1>{to_tag}\r\n\
             Call-ID: c{call}@sim\r\nCSeq: 1 {method}\r\nContact: <sip:gw@{address}>\r\nContent-Length: 0\r\n\r\n"
        ))
    }

    fn within(&self, method: &str, call: u32, cseq: u32, dialog: &Dialog) -> Octets {
        let (address, Dialog { to, tag, routes, target }) = (self.who().address(), dialog);
        octets(format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {address};rport;branch=z9hG4bK-g{call}-{cseq}-{method}-{tag}\r\n\
             Max-Forwards: 70\r\n{routes}From: <sip:+1555{call:06}@{address}>;tag=g{call}\r\nTo: {to}\r\n\
             Call-ID: c{call}@sim\r\nCSeq: {cseq} {method}\r\nContact: <sip:gw@{address}>\r\nContent-Length: 0\r\n\r\n"
        ))
    }

    fn send_request(&mut self, ctx: &mut Context, call: u32, method: &'static str, cseq: u32, request: Octets) {
        ctx.send(self.who(), Who::Edge, &request);
        if let Some(caller) = self.calls.get_mut(&call) {
            caller.clients.push(Client::sent(method, cseq, request, ctx.now));
        }
        self.after(ctx, T1, Timer::Client(call, cseq, method));
    }

    fn client_due(&mut self, ctx: &mut Context, call: u32, cseq: u32, method: &'static str) {
        let who = self.who();
        let Some(caller) = self.calls.get_mut(&call) else { return };
        let Some(at) = caller.clients.iter().position(|c| c.cseq == cseq && c.method == method) else { return };
        match caller.clients[at].due(ctx.now) {
            Due::Nothing => {}
            Due::Again(pause) => {
                let request = caller.clients[at].octets.clone();
                ctx.send(who, Who::Edge, &request);
                self.after(ctx, pause, Timer::Client(call, cseq, method));
            }
            Due::TimedOut => {
                caller.clients.remove(at);
                match (method, cseq) {
                    ("INVITE", 1) => {
                        let outcome = if caller.cancel == Cancel::No { Outcome::TimedOut } else { Outcome::GaveUp };
                        ctx.records[call as usize].decide(outcome, ctx.now);
                        self.over(ctx, call);
                    }
                    ("BYE", _) => {
                        ctx.records[call as usize].ending.get_or_insert(Ending::Unanswered);
                        self.over(ctx, call);
                    }
                    ("CANCEL", _) => {}
                    _ => self.hang_up(ctx, call),
                }
            }
        }
    }

    fn give_up(&mut self, ctx: &mut Context, call: u32) {
        let Some(caller) = self.calls.get_mut(&call).filter(|caller| caller.stage == Stage::Calling) else { return };
        caller.cancel = Cancel::Wanted;
        if caller.clients.iter().any(|client| client.method == "INVITE" && client.has_provisional) {
            self.send_cancel(ctx, call);
        }
    }

    fn send_cancel(&mut self, ctx: &mut Context, call: u32) {
        let Some(caller) = self.calls.get_mut(&call) else { return };
        caller.cancel = Cancel::Sent;
        let cancel = self.opening("CANCEL", call, "");
        self.send_request(ctx, call, "CANCEL", 1, cancel);
        self.after(ctx, T64, Timer::Abandon(call));
    }

    fn vanish(&mut self, ctx: &mut Context, call: u32) {
        let Some(caller) = self.calls.get_mut(&call) else { return };
        if caller.stage == Stage::Over {
            return;
        }
        caller.stage = Stage::Vanished;
        caller.clients.clear();
        let record = &mut ctx.records[call as usize];
        record.decide(Outcome::Vanished, ctx.now);
        record.caller_over = Some(ctx.now);
        ctx.trace.line(ctx.now, Some(call), || "the caller vanishes".to_owned());
    }

    fn hang_up(&mut self, ctx: &mut Context, call: u32) {
        let Some(caller) = self.calls.get_mut(&call).filter(|caller| caller.stage == Stage::Up) else { return };
        caller.stage = Stage::Leaving;
        caller.clients.clear();
        self.say(ctx, call, "BYE");
    }

    fn say(&mut self, ctx: &mut Context, call: u32, method: &'static str) {
        let Some(caller) = self.calls.get_mut(&call) else { return };
        let Some(dialog) = caller.dialog.clone() else { return };
        let is_open = caller.stage == Stage::Up || (caller.stage == Stage::Leaving && method == "BYE");
        // One INVITE at a time (section 14.1).
        if !is_open || (method == "INVITE" && caller.clients.iter().any(|client| client.method == "INVITE")) {
            return;
        }
        caller.cseq += 1;
        let cseq = caller.cseq;
        let request = self.within(method, call, cseq, &dialog);
        self.send_request(ctx, call, method, cseq, request);
    }

    fn over(&mut self, ctx: &mut Context, call: u32) {
        let Some(caller) = self.calls.get_mut(&call) else { return };
        if matches!(caller.stage, Stage::Over | Stage::Vanished) {
            return;
        }
        caller.stage = Stage::Over;
        caller.clients.retain(|client| client.method == "CANCEL");
        ctx.records[call as usize].caller_over = Some(ctx.now);
        self.after(ctx, T64 + Duration::from_secs(8), Timer::Forget(call));
    }

    /// A datagram arrives.
    pub fn receive(&mut self, ctx: &mut Context, octets: &[u8]) {
        let Some(message) = Message::read(octets) else {
            return ctx.violate(None, format!("no message: {}", octets.escape_ascii()));
        };
        match message.code() {
            Some(code) => self.response(ctx, code, &message),
            None => self.request(ctx, &message),
        }
    }

    fn request(&mut self, ctx: &mut Context, request: &Message<'_>) {
        if request.method() == "OPTIONS" {
            return self.reply(ctx, request, 200, "");
        }
        let (method, Some(call)) = (request.method(), request.call()) else { return };
        let Some(caller) = self.calls.get_mut(&call) else {
            if method != "ACK" {
                self.reply(ctx, request, 481, "");
            }
            return;
        };
        if caller.stage == Stage::Vanished || method == "ACK" {
            return;
        }
        if request.sender_tag() != caller.dialog.as_ref().map(|dialog| &*dialog.tag) {
            return self.reply(ctx, request, 481, "");
        }
        if method == "BYE" {
            self.reply(ctx, request, 200, "");
            ctx.records[call as usize].ending.get_or_insert(Ending::Clean);
            return self.over(ctx, call);
        }
        if caller.stage == Stage::Over {
            return self.reply(ctx, request, 481, "");
        }
        let session = if method == "UPDATE" { "Session-Expires: 90;refresher=uac\r\n" } else { "" };
        self.reply(ctx, request, 200, session);
    }

    fn reply(&self, ctx: &mut Context, request: &Message<'_>, code: u16, headers: &str) {
        let answer = request.reply(code, "never", headers);
        ctx.send(self.who(), Who::Edge, &answer);
    }

    fn response(&mut self, ctx: &mut Context, code: u16, response: &Message<'_>) {
        let Some(call) = response.call() else { return };
        // Repetitions to somebody who has forgotten everything.
        let Some(stage) = self.stage(call).filter(|stage| *stage != Stage::Vanished) else { return };
        match response.cseq {
            (1, "INVITE") if stage == Stage::Calling => self.answer(ctx, call, code, response),
            (1, "INVITE") if (200..300).contains(&code) => self.repeated_2xx(ctx, call, response),
            (1, "INVITE") if code >= 300 => self.ack_failure(ctx, call, response),
            (1, "INVITE") => {}
            _ => self.client_response(ctx, call, code, response),
        }
    }

    fn answer(&mut self, ctx: &mut Context, call: u32, code: u16, response: &Message<'_>) {
        let now = ctx.now;
        let Some(caller) = self.calls.get_mut(&call) else { return };
        let cancelled = caller.cancel;
        match code {
            100..200 => {
                caller.clients.iter_mut().for_each(|client| client.has_provisional |= client.method == "INVITE");
                if cancelled == Cancel::Wanted {
                    self.send_cancel(ctx, call);
                }
            }
            200..300 => {
                caller.clients.retain(|client| client.method != "INVITE");
                caller.stage = Stage::Up;
                let dialog = dialog_of(response);
                caller.dialog = Some(dialog.clone());
                self.acknowledge(ctx, call, 1, dialog);
                self.enter(ctx, call, response, cancelled);
            }
            _ => {
                let by = if response.to_tag().is_some_and(|tag| tag.starts_with("cb")) { By::Edge } else { By::Node };
                let outcome = if cancelled == Cancel::No { Outcome::Refused(code, by) } else { Outcome::GaveUp };
                ctx.records[call as usize].decide(outcome, now);
                self.ack_failure(ctx, call, response);
                self.over(ctx, call);
            }
        }
    }

    /// The call is up, unless the caller had given up just before.
    fn enter(&mut self, ctx: &mut Context, call: u32, response: &Message<'_>, cancelled: Cancel) {
        let (now, plan) = (ctx.now, ctx.records[call as usize].plan);
        let record = &mut ctx.records[call as usize];
        record.up_on = response.to_tag().and_then(node_of_tag).map(|(node, _)| node);
        record.up_since = Some(now);
        record.has_session = response.session_expires.is_some();
        if cancelled != Cancel::No {
            record.decide(Outcome::GaveUp, now);
            return self.hang_up(ctx, call);
        }
        record.decide(Outcome::Answered, now);
        if !plan.node_hangs_up {
            self.after(ctx, plan.talks, Timer::HangUp(call));
        }
        for (pause, timer) in [(plan.info, Timer::Info(call)), (plan.reinvite, Timer::Reinvite(call))] {
            if let Some(pause) = pause {
                self.after(ctx, pause, timer);
            }
        }
    }

    fn acknowledge(&mut self, ctx: &mut Context, call: u32, cseq: u32, dialog: Dialog) {
        let ack = self.within("ACK", call, cseq, &dialog);
        ctx.send(self.who(), Who::Edge, &ack);
        if let Some(caller) = self.calls.get_mut(&call) {
            caller.acks.push((dialog.tag, cseq, ack));
        }
    }

    /// A 2xx again, or one of another node, or one that comes after a failure: acknowledged, and ended when unwanted
    /// (section 13.2.2.4).
    fn repeated_2xx(&mut self, ctx: &mut Context, call: u32, response: &Message<'_>) {
        let Some(caller) = self.calls.get(&call) else { return };
        let tag = response.to_tag().unwrap_or_default();
        if let Some((.., ack)) = caller.acks.iter().find(|(known, cseq, _)| known == tag && *cseq == 1) {
            return ctx.send(self.who(), Who::Edge, &ack.clone());
        }
        let dialog = dialog_of(response);
        self.acknowledge(ctx, call, 1, dialog.clone());
        let bye = self.within("BYE", call, 2, &dialog);
        ctx.send(self.who(), Who::Edge, &bye);
        if let Some(caller) = self.calls.get_mut(&call) {
            caller.clients.push(Client::sent("BYE of another", 2, bye, ctx.now));
        }
        self.after(ctx, T1, Timer::Client(call, 2, "BYE of another"));
    }

    fn ack_failure(&self, ctx: &mut Context, call: u32, response: &Message<'_>) {
        let tag = response.to_tag().map(|tag| format!(";tag={tag}")).unwrap_or_default();
        let ack = self.opening("ACK", call, &tag);
        ctx.send(self.who(), Who::Edge, &ack);
    }

    fn client_response(&mut self, ctx: &mut Context, call: u32, code: u16, response: &Message<'_>) {
        let ((cseq, method), who) = (response.cseq, self.who());
        let Some(caller) = self.calls.get_mut(&call) else { return };
        if method == "INVITE" && (200..300).contains(&code) {
            let tag = response.to_tag().unwrap_or_default();
            if let Some((.., ack)) = caller.acks.iter().find(|(known, number, _)| known == tag && *number == cseq) {
                return ctx.send(who, Who::Edge, &ack.clone());
            }
        }
        let is_it = |client: &Client| client.cseq == cseq && client.method.starts_with(method);
        let Some(at) = caller.clients.iter().position(is_it) else { return };
        if code < 200 {
            caller.clients[at].has_provisional = true;
            return;
        }
        let client = caller.clients.remove(at);
        match (client.method, code) {
            ("BYE", _) => {
                let ending = if code < 300 { Ending::Clean } else { Ending::Code(code) };
                ctx.records[call as usize].ending.get_or_insert(ending);
                self.over(ctx, call);
            }
            ("INVITE", 200..300) => {
                let Some(dialog) = caller.dialog.clone() else { return };
                ctx.records[call as usize].has_session |= response.session_expires.is_some();
                self.acknowledge(ctx, call, cseq, dialog);
            }
            ("INVITE", _) => {
                let ack = self.ack_in_dialog_failure(call, cseq, response);
                ctx.send(self.who(), Who::Edge, &ack);
                self.after_refusal(ctx, call, code);
            }
            ("INFO", 300..) => self.after_refusal(ctx, call, code),
            _ => {}
        }
    }

    /// RFC 5057: these say that the dialog is gone.
    fn after_refusal(&mut self, ctx: &mut Context, call: u32, code: u16) {
        if matches!(code, 408 | 481) {
            self.hang_up(ctx, call);
        }
    }

    /// The ACK to a failed INVITE inside the dialog: with its branch and its Routes.
    fn ack_in_dialog_failure(&self, call: u32, cseq: u32, response: &Message<'_>) -> Octets {
        let dialog = self.calls.get(&call).and_then(|caller| caller.dialog.clone());
        let dialog = dialog.unwrap_or_else(|| dialog_of(response));
        let invite = self.within("INVITE", call, cseq, &dialog);
        let text = String::from_utf8_lossy(&invite);
        octets(text.replacen("INVITE ", "ACK ", 1).replacen(
            &format!("CSeq: {cseq} INVITE"),
            &format!("CSeq: {cseq} ACK"),
            1,
        ))
    }
}

fn dialog_of(response: &Message<'_>) -> Dialog {
    let routes = response.record_routes.iter().rev().map(|route| format!("Route: {route}\r\n")).collect();
    Dialog {
        to: response.to.to_owned(),
        tag: response.to_tag().unwrap_or_default().to_owned(),
        routes,
        target: response.contact_uri().to_owned(),
    }
}

/// The node that made a tag, and in which of its lives.
pub fn node_of_tag(tag: &str) -> Option<(u8, u32)> {
    let (node, rest) = tag.strip_prefix('n')?.split_once('-')?;
    Some((node.parse().ok()?, rest.split('-').next()?.parse().ok()?))
}
