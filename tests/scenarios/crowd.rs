//! Very many phones at the registrar, as the edge keeps them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use cordboard::edge::registrations::Registrations;
use cordboard::keys::Keys;
use cordboard::moment::Moment;
use cordboard::proxy::contract::Registry;
use cordboard::registrar::binding::Texts;
use cordboard::registrar::register::{Arrival, plan};
use cordboard::registrar::{Aor, Binding, Terms};
use cordboard::sip::Index;
use cordboard::sip::message::Message;
use cordboard::sip::parse::{Framing, Outcome, parse};
use cordboard::transport::flow::{Flow, ListenerId, Protocol};

/// Phones of different users, all of them registered.
pub struct Crowd {
    pub registrations: Registrations,
    pub now: Moment,
    keys: Keys,
    index: Index,
}

impl Crowd {
    pub fn new(room: usize) -> Self {
        Crowd {
            registrations: Registrations::new(room, None),
            now: Moment::from_micros(3_600_000_000),
            keys: Keys::derive(b"farm"),
            index: Index::new(),
        }
    }

    /// The name of a user.
    pub fn user(number: usize) -> String {
        format!("{number:08}")
    }

    /// His phone registers, with all that a phone says of itself.
    pub fn register(&mut self, number: usize) {
        let user = Self::user(number);
        let remote = SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + number as u32), 5060));
        let text = format!(
            "REGISTER sip:pbx.example.com SIP/2.0\r\nVia: SIP/2.0/UDP {remote};branch=z9hG4bK-{user};rport\r\n\
             From: <sip:{user}@pbx.example.com>;tag=1\r\nTo: <sip:{user}@pbx.example.com>\r\nCall-ID: {user}@{remote}\r\n\
             CSeq: 1 REGISTER\r\nMax-Forwards: 70\r\n\
             Contact: <sip:{user}@{remote};transport=udp;line=3k4h5g2j>;q=0.5;\
             +sip.instance=\"<urn:uuid:00000000-0000-1000-8000-{number:012x}>\"\r\nExpires: 3600\r\nContent-Length: 0\r\n\r\n"
        );
        let Outcome::Request(request) = parse(text.as_bytes(), Framing::Datagram, &mut self.index) else {
            panic!("not a request: {text}");
        };
        let aor = request.to_uri().and_then(|uri| Aor::of(&uri)).unwrap();
        let flow = Flow { listener: ListenerId(1), protocol: Protocol::Udp, remote, connection: None };
        let (arrival, terms) = (Arrival { flow, now: self.now }, Terms::default());
        self.registrations.with_table(&aor, &mut |table| {
            let plan = plan(request, arrival, &terms, &self.keys, table.find(aor.as_bytes())).unwrap();
            table.put(&aor, plan.bindings);
        });
        self.registrations.set_registered(&aor, true, self.now);
        // What changed is told to the nodes at once.
        self.registrations.with_book(|book| drop(book.take_changes()));
    }

    /// The same without a message and without his states.
    pub fn place(&mut self, number: usize) {
        let remote = SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + number as u32), 5060));
        let flow = Flow { listener: ListenerId(1), protocol: Protocol::Udp, remote, connection: None };
        let binding = Binding {
            texts: Texts::new(b"sip:phone@10.11.12.13:5060;transport=udp;line=3k4h5g2j", None, b""),
            flow,
            preference: 1_000,
            expires: self.now + Duration::from_secs(3_600),
            updated: self.now,
            call_id: 0,
            cseq: 1,
            reg_id: 0,
        };
        let aor = Aor::from_user(Self::user(number).as_bytes()).unwrap();
        self.registrations.with_table(&aor, &mut |table| table.put(&aor, vec![binding.clone()]));
    }

    /// Where a user is: what a call for him asks. Octets of all his contacts.
    pub fn locate(&self, aor: &Aor) -> usize {
        let mut octets = 0;
        self.registrations.with_table(aor, &mut |table| {
            let live = table.find(aor.as_bytes()).iter().filter(|binding| binding.expires > self.now);
            octets = live.map(|binding| Box::<[u8]>::from(binding.contact()).len()).sum();
        });
        octets
    }
}
