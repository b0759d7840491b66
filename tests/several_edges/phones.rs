//! Phones of agents: they register, at times at another edge, and are called.

use std::time::Duration;

use cordboard::moment::Moment;

use crate::message::Message;
use crate::net::{Event, Net, Who};

/// A phone asks for so long, and comes again before it is over.
const EXPIRES: Duration = Duration::from_secs(120);
const REFRESH: Duration = Duration::from_secs(25);

/// One agent's phone.
pub struct Phone {
    pub number: u8,
    edges: u8,
    /// The edge that it registers at.
    pub edge: u8,
    cseq: u32,
    asked: Option<Moment>,
    next: Moment,
    /// Until when it is registered, and where, as it was told.
    pub registered: Option<(Moment, u8)>,
}

impl Phone {
    pub fn new(number: u8, edges: u8) -> Self {
        Phone { number, edges, edge: 1 + number % edges, cseq: 0, asked: None, next: Moment::ZERO, registered: None }
    }

    /// The agent's name.
    pub fn user(&self) -> String {
        format!("{}", 1_000 + u32::from(self.number))
    }

    pub fn contact(&self) -> String {
        format!("sip:{}@{}", self.user(), Who::Phone(self.number).address())
    }

    /// Registers, or does so again. When nobody answers, or at times, at another edge.
    pub fn register(&mut self, net: &mut Net) {
        let has_no_answer = self.asked.take().is_some();
        if !has_no_answer && net.now() < self.next {
            return net.at(self.next, Event::Register(self.number));
        }
        if has_no_answer || net.random.chance(150) {
            self.edge = 1 + net.random.below(u64::from(self.edges)) as u8;
        }
        self.asked = Some(net.now());
        self.cseq += 1;
        let (user, at, cseq) = (self.user(), Who::Phone(self.number).address(), self.cseq);
        // A series of its own for each edge and time, as after a start of the phone.
        let text = format!(
            "REGISTER sip:pbx.example.com SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-r{cseq}-{user};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:{user}@pbx.example.com>;tag=r{cseq}\r\nTo: <sip:{user}@pbx.example.com>\r\nCall-ID: reg-{user}-{cseq}\r\n\
             CSeq: {cseq} REGISTER\r\nContact: <{}>\r\nExpires: {}\r\nContent-Length: 0\r\n\r\n",
            self.contact(),
            EXPIRES.as_secs(),
        );
        net.send(Who::Phone(self.number), Who::Edge(self.edge), text.as_bytes());
        net.after(Duration::from_secs(2), Event::Register(self.number));
    }

    pub fn answered(&mut self, message: &Message<'_>, now: Moment, net: &mut Net) {
        if message.code() != Some(200) || message.cseq.0 != self.cseq || self.asked.take().is_none() {
            return;
        }
        // An edge grants at least nine tenths of what is asked for.
        self.next = now + REFRESH;
        self.registered = Some((now + EXPIRES.mul_f64(0.88), self.edge));
        let number = self.number;
        net.line(|| format!("phone-{number} is registered"));
    }
}
