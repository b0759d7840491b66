//! The edge's own answers.

use crate::calls::lease::{Invite, Way};
use crate::dispatch::rules::Source;
use crate::keys::{Keys, fill_base32};
use crate::registrar::Refusal;
use crate::sip::edit::number;
use crate::sip::message::Message;
use crate::sip::parse::{Fault, Framing, Outcome, parse};
use crate::sip::reply::{self, Reply, Rport};
use crate::sip::values::option_tags;
use crate::sip::{HeaderName, Method, Request};
use crate::transport::flow::{Flow, Protocol};

use super::contract::{Destination, DropReason, Event, RejectReason, World};
use super::core::Core;

/// The To tag of the edge's own answers in a call. It is a keyed hash, so every repetition gets the same one at every
/// edge, and an ACK that carries it is known to be for the edge.
pub fn own_tag<'a>(keys: &Keys, message: impl Message<'a>) -> [u8; 14] {
    let hash = keys.tag.hash().piece(message.call_id()).piece(message.from_tag()).finish64();
    let mut tag = *b"cb............";
    fill_base32(&mut tag[2..], hash);
    tag
}

impl<W: World> Core<'_, W> {
    /// Refuses a request and notes why. An ACK is never answered (RFC 3261 section 17).
    pub fn reject(&mut self, request: Request<'_>, flow: Flow, source: Source, reason: RejectReason) {
        if request.method() == Method::Ack {
            return self.drop(DropReason::BadAck);
        }
        let mut headers = std::mem::take(&mut self.scratch.headers);
        headers.clear();
        if reason.has_retry_after() {
            headers.extend_from_slice(b"Retry-After: ");
            number(&mut headers, self.retry_after_secs(request, reason));
            headers.extend_from_slice(b"\r\n");
        }
        match reason {
            RejectReason::BadExtension => write_unsupported(&mut headers, request),
            RejectReason::Method => headers.extend_from_slice(ALLOW),
            RejectReason::RegisterUnproven(doubt) | RejectReason::RequestUnproven(doubt) => {
                self.write_challenge(&mut headers, request, flow, doubt);
            }
            RejectReason::Register(Refusal::TooBrief) => self.write_min_expires(&mut headers),
            _ => {}
        }
        let sent = self.answer(request, flow, source, reason.code(), reason.phrase(), &headers);
        self.scratch.headers = headers;
        self.out.events.push(if sent { Event::Rejected(reason) } else { Event::Dropped(DropReason::Amplification) });
    }

    /// When to come again. Those that an overload sent away must not all come back at once: up to twice as late, and some soon.
    fn retry_after_secs(&self, request: Request<'_>, reason: RejectReason) -> u32 {
        let usual = self.farm.calls.retry_after_secs;
        match reason {
            RejectReason::Overloaded => 1 + (self.key(request).0 % u128::from(usual.max(1) * 2)) as u32,
            _ => usual,
        }
    }

    /// Refuses a request that could not be read to its end.
    pub fn reject_fault(&mut self, request: Request<'_>, flow: Flow, source: Source, fault: Fault) {
        self.reject(request, flow, source, RejectReason::Malformed(fault));
    }

    /// Answers a request. False when the answer was withheld: an unknown sender over UDP, whose address may be forged, never
    /// gets back more than was sent.
    pub fn answer(
        &mut self,
        request: Request<'_>,
        flow: Flow,
        source: Source,
        code: u16,
        phrase: &str,
        headers: &[u8],
    ) -> bool {
        let start = self.out.text.len();
        let tag = own_tag(&self.farm.keys, request);
        let rport = if source.is_trusted() { Rport::AsAsked } else { Rport::Always };
        let reply = Reply { code, phrase, to_tag: &tag, headers };
        reply::write(&mut self.out.text, request, flow.remote, rport, reply);
        // A challenge has to fit: twice the request is little to gain for who forges an address.
        let most = request.bytes().len() * if matches!(code, 401 | 407) { 2 } else { 1 };
        let grows = self.out.text.len() - start > most;
        if grows && source == Source::Stranger && flow.protocol == Protocol::Udp {
            self.out.text.truncate(start);
            return false;
        }
        let range = start..self.out.text.len();
        let to = Destination::Way(self.way_back(request, flow, rport));
        self.out.sends.push(super::contract::Send { to, range, try_of: None });
        true
    }

    /// Where the answer to a request goes: to the packet's source, at the port that the Via asks for (section 18.2.2).
    pub fn way_back(&self, request: Request<'_>, flow: Flow, rport: Rport) -> Way {
        let Some(via) = request.via() else { return Way::Flow(flow) };
        if flow.protocol != Protocol::Udp || via.rport.is_some() || rport == Rport::Always {
            return Way::Flow(flow);
        }
        let mut remote = flow.remote;
        remote.set_port(via.port.unwrap_or(5060));
        Way::Flow(Flow { remote, ..flow })
    }

    /// The edge's final answer to an INVITE that it holds, as octets.
    pub fn own_final(&mut self, invite: &Invite, reason: RejectReason) -> Option<(Box<[u8]>, Way)> {
        let mut index = self.scratch.second.take().unwrap_or_default();
        let mut out = Vec::new();
        let mut way = None;
        if let Outcome::Request(request) = parse(&invite.bytes, framing(invite.flow), &mut index) {
            let mut headers = Vec::new();
            if reason.has_retry_after() {
                headers.extend_from_slice(b"Retry-After: ");
                number(&mut headers, self.farm.calls.retry_after_secs);
                headers.extend_from_slice(b"\r\n");
            }
            let tag = own_tag(&self.farm.keys, request);
            let source = self.farm.sources.classify(invite.flow);
            let rport = if source.is_trusted() { Rport::AsAsked } else { Rport::Always };
            let reply = Reply { code: reason.code(), phrase: reason.phrase(), to_tag: &tag, headers: &headers };
            reply::write(&mut out, request, invite.flow.remote, rport, reply);
            way = Some(self.way_back(request, invite.flow, rport));
        }
        self.scratch.second = Some(index);
        way.map(|way| (out.into_boxed_slice(), way))
    }

    /// Notes a message that goes no further.
    pub fn drop(&mut self, reason: DropReason) {
        self.out.events.push(Event::Dropped(reason));
    }
}

/// How a message that came by this flow was cut out.
pub fn framing(flow: Flow) -> Framing {
    if flow.protocol == Protocol::Udp { Framing::Datagram } else { Framing::Stream }
}

/// What the edge serves when it is asked itself.
pub const ALLOW: &[u8] =
    b"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, MESSAGE, NOTIFY, PRACK, PUBLISH, REFER, SUBSCRIBE, UPDATE\r\n";

/// Names the extensions that the edge does not know (section 16.3 step 5).
fn write_unsupported(headers: &mut Vec<u8>, request: Request<'_>) {
    headers.extend_from_slice(b"Unsupported: ");
    for (position, tag) in option_tags(request, HeaderName::ProxyRequire).enumerate() {
        if position > 0 {
            headers.extend_from_slice(b", ");
        }
        headers.extend_from_slice(tag);
    }
    headers.extend_from_slice(b"\r\n");
}
