//! A gateway and its nodes in one thread: calls that go through an edge, each message of them looked at.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::datagrams::Datagrams;
use super::traffic::{CallId, Dialog, Gateway, answer, call_of, field, sdp};

/// A call whose INVITE or BYE takes longer is lost.
const LOST_AFTER: Duration = Duration::from_secs(2);

/// Calls that are begun before it is listened again.
const BURST: u64 = 16;

#[derive(Default)]
struct Call {
    serial: u32,
    is_open: bool,
    hung_up: Option<Instant>,
    invited: Option<Instant>,
    node: Option<usize>,
    dialog: Option<Dialog>,
}

/// What came of it.
#[derive(Default)]
pub struct Counts {
    /// Calls that ended well.
    pub done: u64,
    /// Calls that did not end in time.
    pub lost: u64,
    /// Calls that were answered 503.
    pub refused: u64,
    /// Messages that are not what they should be.
    pub invalid: u64,
    /// From an INVITE's sending to its arrival at the node.
    pub delays: Vec<Duration>,
    /// From a BYE's sending to its 200.
    pub hangups: Vec<Duration>,
}

/// The gateway and the nodes.
pub struct Calls {
    gateway: Gateway,
    outside: Datagrams,
    nodes: Vec<Datagrams>,
    list: Vec<Call>,
    free: Vec<usize>,
    next_serial: u32,
    hold: Duration,
    holding: VecDeque<(Instant, CallId)>,
    /// Calls whose INVITE, or BYE, is to be answered by then.
    waiting: VecDeque<(Instant, CallId)>,
    body: String,
    pub counts: Counts,
}

impl Calls {
    /// At most so many calls at a time; each is held for a while before the caller hangs up.
    pub fn new(edge: SocketAddr, from: SocketAddr, nodes: &[SocketAddr], window: usize, hold: Duration) -> Self {
        let outside = Datagrams::between(from, edge);
        Calls {
            gateway: Gateway::new(outside.at(), edge),
            outside,
            nodes: nodes.iter().map(|node| Datagrams::between(*node, edge)).collect(),
            list: (0..window).map(|_| Call::default()).collect(),
            free: (0..window).rev().collect(),
            next_serial: 0,
            hold,
            holding: VecDeque::new(),
            waiting: VecDeque::new(),
            body: sdp(),
            counts: Counts::default(),
        }
    }

    /// Datagrams that the kernel did not take.
    pub fn unsent(&self) -> u64 {
        self.outside.unsent + self.nodes.iter().map(|node| node.unsent).sum::<u64>()
    }

    /// Calls that are answered.
    pub fn up(&self) -> usize {
        self.holding.len()
    }

    /// Calls that are under way.
    pub fn open(&self) -> usize {
        self.list.len() - self.free.len()
    }

    /// Carries calls until it is over: as many as fit, or so many a second. It polls, for whoever measures must not be measured by
    /// how he is woken.
    pub fn carry(&mut self, rate: Option<f64>, mut is_over: impl FnMut(&Calls) -> bool) {
        let (start, mut begun) = (Instant::now(), 0_u64);
        while !is_over(self) {
            let due = rate.map_or(u64::MAX, |rate| (start.elapsed().as_secs_f64() * rate) as u64);
            // Whoever is late does not make up for it all at once, and hears in between.
            for _ in 0..BURST.min(due.saturating_sub(begun)) {
                begun += u64::from(self.begin());
            }
            self.outside.flush();
            self.hear();
            self.hang_up();
            self.give_up();
        }
    }

    fn begin(&mut self) -> bool {
        let Some(place) = self.free.pop() else { return false };
        self.next_serial += 1;
        let (id, now) = (CallId { place, serial: self.next_serial }, Instant::now());
        self.list[place] = Call { serial: id.serial, is_open: true, invited: Some(now), ..Call::default() };
        self.waiting.push_back((now + LOST_AFTER, id));
        self.outside.put(self.gateway.invite(id));
        true
    }

    fn hear(&mut self) {
        let mut requests = Vec::new();
        for number in 0..self.nodes.len() {
            self.nodes[number].receive(|octets| requests.push(String::from_utf8_lossy(octets).into_owned()));
            let now = Instant::now();
            for text in requests.drain(..) {
                self.at_node(number, &text, now);
            }
            self.nodes[number].flush();
        }
        let mut answers = Vec::new();
        self.outside.receive(|octets| answers.push(String::from_utf8_lossy(octets).into_owned()));
        answers.iter().for_each(|text| self.at_gateway(text));
        self.outside.flush();
    }

    fn at_node(&mut self, number: usize, text: &str, now: Instant) {
        let (at, method) = (self.nodes[number].at(), text.split(' ').next().unwrap_or_default());
        if method == "OPTIONS" {
            return self.nodes[number].put(answer(text, "200 OK", at, number, ""));
        }
        let has_body = text.ends_with(&self.body);
        let Some((_, call)) = find(&mut self.list, text) else { return };
        match (method, call.node) {
            ("INVITE", None) if has_body && field(text, "Route").is_none() => {
                call.node = Some(number);
                if let Some(invited) = call.invited {
                    self.counts.delays.push(now - invited);
                }
                for (status, body) in [("100 Trying", ""), ("180 Ringing", ""), ("200 OK", &*self.body)] {
                    self.nodes[number].put(answer(text, status, at, number, body));
                }
            }
            ("ACK", Some(node)) if node == number => {}
            ("BYE", Some(node)) if node == number => self.nodes[number].put(answer(text, "200 OK", at, number, "")),
            _ => self.counts.invalid += 1,
        }
    }

    fn at_gateway(&mut self, text: &str) {
        let own = format!("SIP/2.0/UDP {}", self.outside.at());
        let is_ours = field(text, "Via").is_some_and(|via| via.starts_with(&own));
        let (status, cseq) = (text.get(8..11).unwrap_or_default(), field(text, "CSeq").unwrap_or_default());
        let has_body = text.ends_with(&self.body);
        let Some((id, call)) = find(&mut self.list, text) else { return };
        match (status, cseq) {
            _ if !is_ours => self.counts.invalid += 1,
            ("100" | "180", "1 INVITE") => {}
            ("200", "1 INVITE") if has_body && call.dialog.is_none() => match Dialog::of(text) {
                Some(dialog) => {
                    self.outside.put(self.gateway.in_dialog(id, "ACK", 1, &dialog));
                    call.dialog = Some(dialog);
                    self.holding.push_back((Instant::now() + self.hold, id));
                }
                None => self.counts.invalid += 1,
            },
            ("200", "2 BYE") => {
                self.counts.hangups.extend(call.hung_up.map(|when| when.elapsed()));
                self.counts.done += 1;
                self.end(id);
            }
            ("503", "1 INVITE") => {
                self.counts.refused += 1;
                let tag = field(text, "To").and_then(|to| to.split(";tag=").nth(1)).unwrap_or_default();
                self.outside.put(self.gateway.ack_failure(id, tag));
                self.end(id);
            }
            _ => self.counts.invalid += 1,
        }
    }

    fn end(&mut self, id: CallId) {
        self.list[id.place].is_open = false;
        self.free.push(id.place);
    }

    fn hang_up(&mut self) {
        let now = Instant::now();
        while let Some(id) = next_due(&mut self.holding, now) {
            let call = &self.list[id.place];
            if let Some(dialog) = call.dialog.as_ref().filter(|_| call.is_open && call.serial == id.serial) {
                self.outside.put(self.gateway.in_dialog(id, "BYE", 2, dialog));
                self.list[id.place].hung_up = Some(now);
                self.waiting.push_back((now + LOST_AFTER, id));
            }
        }
        self.outside.flush();
    }

    fn give_up(&mut self) {
        let now = Instant::now();
        while let Some(id) = next_due(&mut self.waiting, now) {
            let call = &self.list[id.place];
            let is_answered = call.dialog.is_some() && call.hung_up.is_none();
            if call.is_open && call.serial == id.serial && !is_answered {
                self.counts.lost += 1;
                self.end(id);
            }
        }
    }
}

/// The call that a message is of, if it is under way.
fn find<'a>(list: &'a mut [Call], text: &str) -> Option<(CallId, &'a mut Call)> {
    let id = call_of(text)?;
    let call = list.get_mut(id.place).filter(|call| call.is_open && call.serial == id.serial)?;
    Some((id, call))
}

/// Takes the first of a list in order of time, when its time has come.
fn next_due(list: &mut VecDeque<(Instant, CallId)>, now: Instant) -> Option<CallId> {
    let (due, id) = *list.front()?;
    (due <= now).then(|| {
        list.pop_front();
        id
    })
}
