//! Calls as their ends see them: gateways and nodes that call, nodes and phones that are called. A few lines of text, independent of the
//! edge's own parser; whoever says something repeats it until he is heard, and after a while to another edge.

use std::collections::BTreeMap;
use std::time::Duration;

use cordboard::moment::Moment;

use crate::message::Message;
use crate::net::{Event, Net, Who};

/// How often something is repeated before its sender gives up.
const TRIES_MAX: u32 = 24;
/// After so many tries the sender goes to another edge.
const TRIES_AT_ONE: u32 = 3;

/// How far an end of a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// It calls, or rings.
    Early,
    Up,
    /// It ended, or was refused.
    Over,
}

/// One end of a call.
#[derive(Clone, Debug)]
pub struct Leg {
    pub end: End,
    pub since: Moment,
    /// From or To with this end's tag, and the other's.
    own: String,
    other: String,
    target: String,
    routes: Vec<String>,
    cseq: u32,
    /// What is being said until it is heard.
    saying: Option<Saying>,
    /// Of somebody called: his last answer to the INVITE, and whether he knows that it was heard.
    answer: Vec<u8>,
    is_acked: bool,
    invite: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Saying {
    method: &'static str,
    branch: String,
    tries: u32,
    next: Moment,
    is_provisional: bool,
}

/// A call.
#[derive(Clone, Debug)]
pub struct Call {
    pub id: usize,
    pub call_id: String,
    pub caller: Who,
    /// The agent who is called, if one is.
    pub agent: Option<u8>,
    /// The edge that the caller uses.
    pub edge: u8,
    pub edges: u8,
    pub begun: Moment,
    pub talk: Duration,
    /// The caller's end, and those of the ones who were called.
    pub client: Leg,
    pub servers: BTreeMap<Who, Leg>,
    /// Who answered, as the caller knows it.
    pub answered_by: Option<Who>,
    pub code: u16,
}

fn leg(now: Moment) -> Leg {
    Leg {
        end: End::Early,
        since: now,
        own: String::new(),
        other: String::new(),
        target: String::new(),
        routes: Vec::new(),
        cseq: 1,
        saying: None,
        answer: Vec::new(),
        is_acked: false,
        invite: Vec::new(),
    }
}

impl Call {
    pub fn new(id: usize, caller: Who, agent: Option<u8>, (edge, edges): (u8, u8), talk: Duration) -> Self {
        Call {
            id,
            call_id: format!("call-{id}"),
            caller,
            agent,
            edge,
            edges,
            begun: Moment::ZERO,
            talk,
            client: leg(Moment::ZERO),
            servers: BTreeMap::new(),
            answered_by: None,
            code: 0,
        }
    }

    /// Both ends are up, and this is the other one.
    pub fn up_at(&self) -> Option<Who> {
        let who = self.answered_by?;
        (self.client.end == End::Up && self.servers.get(&who)?.end == End::Up).then_some(who)
    }

    /// Nobody has to do with it any more since then.
    pub fn over_since(&self) -> Option<Moment> {
        let ends = || std::iter::once(&self.client).chain(self.servers.values());
        ends().all(|leg| leg.end == End::Over).then(|| ends().map(|leg| leg.since).max()).flatten()
    }

    /// The moment of the last change at either end.
    pub fn changed(&self) -> Moment {
        std::iter::once(&self.client).chain(self.servers.values()).map(|leg| leg.since).max().unwrap_or_default()
    }

    pub fn begin(&mut self, net: &mut Net) {
        let (caller, now) = (self.caller, net.now());
        (self.begun, self.client.since) = (now, now);
        let called = self.agent.map_or_else(|| "100".to_owned(), |agent| format!("{}", 1_000 + u32::from(agent)));
        let host = if self.agent.is_some() { "pbx.example.com".to_owned() } else { format!("10.0.0.{}", self.edge) };
        self.client.own = format!("<sip:+49{}@example.com>;tag=c{}", self.id, self.id);
        self.client.other = format!("<sip:{called}@{host}>");
        self.client.target = format!("sip:{called}@{host}");
        self.say("INVITE", caller, net);
    }

    fn leg_mut(&mut self, who: Who) -> &mut Leg {
        if who == self.caller { &mut self.client } else { self.servers.get_mut(&who).expect("somebody called") }
    }

    fn set(&mut self, who: Who, end: End, net: &mut Net) {
        let id = self.id;
        let leg = self.leg_mut(who);
        if leg.end != end {
            (leg.end, leg.since) = (end, net.now());
            net.line(|| format!("{who}: call-{id} is {end:?}"));
        }
    }

    /// Begins to say something until it is heard.
    fn say(&mut self, method: &'static str, who: Who, net: &mut Net) {
        let (id, now) = (self.id, net.now());
        let leg = self.leg_mut(who);
        leg.cseq += u32::from(method == "BYE");
        let branch = format!("z9hG4bK-{id}-{}-{method}-{}", who.address().ip(), leg.cseq);
        leg.saying = Some(Saying { method, branch, tries: 0, next: now, is_provisional: false });
        self.look(who, net);
    }

    /// Repeats what was not heard.
    pub fn look(&mut self, who: Who, net: &mut Net) {
        let (id, now, edges, is_called) = (self.id, net.now(), self.edges, who != self.caller);
        let leg = self.leg_mut(who);
        if !leg.is_acked && leg.end == End::Up && is_called {
            return self.look_for_ack(who, net);
        }
        let Some(saying) = leg.saying.as_mut().filter(|saying| saying.next <= now) else { return };
        if saying.is_provisional && saying.method == "INVITE" {
            return self.give_up_if_late(who, net);
        }
        saying.tries += 1;
        let (tries, method) = (saying.tries, saying.method);
        if tries > TRIES_MAX {
            leg.saying = None;
            return self.set(who, End::Over, net);
        }
        saying.next = now + Duration::from_millis((500 << tries.min(3)).min(4_000));
        let next = saying.next;
        if tries > TRIES_AT_ONE && net.random.chance(500) {
            self.edge = 1 + net.random.below(u64::from(edges)) as u8;
        }
        self.send_said(who, net);
        net.at(next, Event::Look(id, who));
        if method == "INVITE" {
            self.give_up_if_late(who, net);
        }
    }

    /// A caller waits for so long, and takes it back.
    fn give_up_if_late(&mut self, who: Who, net: &mut Net) {
        let late = self.begun + Duration::from_secs(25);
        if net.now() < late {
            return net.at(late, Event::Look(self.id, who));
        }
        self.set(who, End::Over, net);
        self.client.saying = None;
        self.say("CANCEL", who, net);
    }

    /// Who answered with 200 says so until it is acknowledged; when nobody does he hangs up (RFC 3261 section 13.3.1.4).
    fn look_for_ack(&mut self, who: Who, net: &mut Net) {
        let (id, call_edge, now) = (self.id, self.edge, net.now());
        let leg = self.leg_mut(who);
        if now.since(leg.since) > Duration::from_secs(32) {
            leg.is_acked = true;
            self.set(who, End::Over, net);
            return self.say("BYE", who, net);
        }
        // To the edge that asked, or wherever its address has moved.
        let (answer, invite) = (leg.answer.clone(), String::from_utf8_lossy(&leg.invite).into_owned());
        let asked_by = Message::read(invite.as_bytes()).map(|invite| edge_at(invite.vias[0]));
        net.send(who, asked_by.unwrap_or(Who::Edge(call_edge)), &answer);
        net.after(Duration::from_secs(1), Event::Look(id, who));
    }

    fn send_said(&mut self, who: Who, net: &mut Net) {
        let (call_id, agent, edge) = (self.call_id.clone(), self.agent, self.edge);
        let is_first_try = |saying: &Saying| saying.tries <= TRIES_AT_ONE;
        let leg = self.leg_mut(who);
        let Some(saying) = leg.saying.clone() else { return };
        let at = who.address();
        let via = match saying.method {
            "CANCEL" | "ACK" => saying.branch.replace(saying.method, "INVITE"),
            _ => saying.branch.clone(),
        };
        let mut text = format!(
            "{} {} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch={via};rport\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {call_id}\r\n\
             CSeq: {} {}\r\n",
            saying.method, leg.target, leg.own, leg.other, leg.cseq, saying.method
        );
        if saying.method != "CANCEL" {
            leg.routes.iter().for_each(|route| text += &format!("Route: {route}\r\n"));
        }
        if saying.method == "INVITE" {
            text += &format!("Contact: <sip:{at}>\r\n");
            if agent.is_some() && matches!(who, Who::Node(_)) {
                text += "X-Edge-Queue: q700\r\n";
            }
        }
        text += "Content-Length: 0\r\n\r\n";
        // The first hop is the edge that recorded itself, as long as it answers.
        let routed = leg.routes.first().and_then(|route| edge_in(route)).filter(|_| is_first_try(&saying));
        net.send(who, Who::Edge(routed.unwrap_or(edge)), text.as_bytes());
    }

    /// The caller hears a response.
    pub fn respond(&mut self, who: Who, message: &Message<'_>, net: &mut Net) {
        let (Some(code), method) = (message.code(), message.cseq.1) else { return };
        if method == "INVITE" && who == self.caller {
            return self.invite_response(message, code, net);
        }
        let leg = self.leg_mut(who);
        let is_said = leg.saying.as_ref().is_some_and(|saying| saying.method == method);
        // Somebody who is not there at the moment may be asked again.
        if is_said && code >= 200 && code != 503 && code != 408 && code != 500 {
            leg.saying = None;
            self.set(who, End::Over, net);
        }
    }

    fn invite_response(&mut self, message: &Message<'_>, code: u16, net: &mut Net) {
        let caller = self.caller;
        if code < 200 {
            if let Some(saying) = self.client.saying.as_mut().filter(|saying| saying.method == "INVITE") {
                saying.is_provisional = true;
            }
            return;
        }
        let tag = message.to_tag().unwrap_or_default().to_owned();
        if code >= 300 {
            if self.client.end == End::Early {
                self.code = code;
                self.client.saying = None;
                self.set(caller, End::Over, net);
            }
            if self.client.end == End::Over && self.answered_by.is_none() {
                self.acknowledge(message, &tag, net);
            }
            return;
        }
        if self.answered_by.is_none() {
            self.answered_by = server_of(&tag);
            self.code = code;
            self.client.routes = message.record_routes.iter().rev().map(|&route| route.to_owned()).collect();
            self.client.target = uri_of(message.contact);
            self.client.other = message.to.to_owned();
            let given_up = self.client.end == End::Over;
            self.client.saying = None;
            if given_up {
                self.acknowledge(message, &tag, net);
                return self.say("BYE", caller, net);
            }
            self.set(caller, End::Up, net);
        }
        self.acknowledge(message, &tag, net);
    }

    /// ACK: to a failure in the INVITE's own transaction, to an answer by the route.
    fn acknowledge(&mut self, message: &Message<'_>, tag: &str, net: &mut Net) {
        let (caller, before) = (self.caller, self.client.saying.take());
        let (method, is_failure) = ("ACK", message.code().is_some_and(|code| code >= 300));
        let own = format!("z9hG4bK-{}-{}-INVITE-1", self.id, caller.address().ip());
        let branch = if is_failure { own } else { format!("z9hG4bK-{}-ack-{tag}", self.id) };
        let (cseq, other) = (self.client.cseq, self.client.other.clone());
        (self.client.cseq, self.client.other) = (1, message.to.to_owned());
        self.client.saying = Some(Saying { method, branch, tries: 0, next: net.now(), is_provisional: false });
        self.send_said(caller, net);
        (self.client.cseq, self.client.saying) = (cseq, before);
        if is_failure {
            self.client.other = other;
        }
    }

    /// The caller hangs up, or whoever is left.
    pub fn hang_up(&mut self, who: Who, net: &mut Net) {
        if self.leg_mut(who).end == End::Up {
            self.set(who, End::Over, net);
            self.leg_mut(who).is_acked = true;
            self.say("BYE", who, net);
        }
    }

    /// Somebody called hears a request.
    pub fn request(&mut self, who: Who, from: Who, octets: &[u8], message: &Message<'_>, net: &mut Net) {
        match message.method() {
            "INVITE" => self.ring(who, from, octets, message, net),
            "ACK" => {
                if let Some(leg) = self.servers.get_mut(&who) {
                    leg.is_acked = true;
                }
            }
            "BYE" | "CANCEL" => {
                let is_known = who == self.caller || self.servers.contains_key(&who);
                net.send(who, from, &message.reply(if is_known { 200 } else { 481 }, "", ""));
                if !is_known {
                    return;
                }
                let leg = self.leg_mut(who);
                if message.method() == "BYE" {
                    leg.is_acked = true;
                    leg.saying = None;
                    self.set(who, End::Over, net);
                } else if leg.end == End::Early {
                    let invite = String::from_utf8_lossy(&leg.invite).into_owned();
                    let answer = Message::read(invite.as_bytes()).expect("an INVITE").reply(487, &tag_of(who), "");
                    leg.answer = answer.to_vec();
                    self.set(who, End::Over, net);
                    net.send(who, from, &answer);
                }
            }
            _ => net.send(who, from, &message.reply(200, "", "")),
        }
    }

    fn ring(&mut self, who: Who, from: Who, octets: &[u8], message: &Message<'_>, net: &mut Net) {
        if let Some(leg) = self.servers.get(&who) {
            let answer = leg.answer.clone();
            return net.send(who, from, &answer);
        }
        let mut own = leg(net.now());
        own.own = format!("{};tag={}", message.to, tag_of(who));
        own.other = message.from.to_owned();
        own.target = uri_of(message.contact);
        own.routes = message.record_routes.iter().map(|&route| route.to_owned()).collect();
        own.invite = octets.to_vec();
        own.answer = message.reply(100, "", "").to_vec();
        net.send(who, from, &own.answer.clone());
        let busy = net.random.chance(60) && self.agent.is_none();
        self.servers.insert(who, own);
        let rings = net.random.between(Duration::from_millis(5), Duration::from_millis(60));
        net.after(rings, Event::Progress(self.id, who, 180));
        let answers = net.random.between(Duration::from_millis(100), Duration::from_secs(4));
        net.after(answers, Event::Progress(self.id, who, if busy { 486 } else { 200 }));
    }

    /// Somebody called rings, answers or refuses. What he says goes to the edge that asked him.
    pub fn progress(&mut self, who: Who, code: u16, net: &mut Net) {
        let id = self.id;
        let Some(leg) = self.servers.get_mut(&who).filter(|leg| leg.end == End::Early) else { return };
        let invite = String::from_utf8_lossy(&leg.invite).into_owned();
        let message = Message::read(invite.as_bytes()).expect("an INVITE");
        let contact = format!("Contact: <sip:{}>\r\n", who.address());
        let answer = message.reply(code, &tag_of(who), &contact).to_vec();
        let to = edge_at(message.vias[0]);
        leg.answer.clone_from(&answer);
        match code {
            180 => {}
            200 => {
                self.set(who, End::Up, net);
                net.after(Duration::from_secs(1), Event::Look(id, who));
            }
            _ => self.set(who, End::Over, net),
        }
        net.send(who, to, &answer);
    }
}

/// The tag that somebody called gives himself; it names him.
fn tag_of(who: Who) -> String {
    format!("s-{who}")
}

/// Whom a tag names.
pub fn server_of(tag: &str) -> Option<Who> {
    let (kind, number) = tag.strip_prefix("s-")?.rsplit_once('-')?;
    match kind {
        "ast" => Some(Who::Node(number.parse().ok()?)),
        "phone" => Some(Who::Phone(number.parse().ok()?)),
        _ => None,
    }
}

fn uri_of(contact: &str) -> String {
    contact.trim_start_matches('<').split('>').next().unwrap_or_default().to_owned()
}

fn edge_in(route: &str) -> Option<u8> {
    route.split("10.0.0.").nth(1)?.split([':', ';', '>']).next()?.parse().ok()
}

fn edge_at(via: &str) -> Who {
    Who::Edge(edge_in(via).expect("an edge's Via"))
}
