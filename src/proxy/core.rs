//! The one large match: what a message is, and so which function deals with it.

use crate::calls::CallKey;
use crate::dispatch::Farm;
use crate::dispatch::rules::Source;
use crate::moment::Moment;
use crate::sip::edit::Edits;
use crate::sip::message::Message;
use crate::sip::{Index, Method, Outcome, Request, Response, parse};
use crate::transport::flow::Flow;

use super::answer::framing;
use super::contract::{DropReason, Outbox, RejectReason, World};
use super::strangers::Strangers;
use super::target::{Decision, decide};
use super::token::tag_hash;
use super::{route, validate};

/// Working memory of one worker.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(super) edits: Edits,
    pub(super) headers: Vec<u8>,
    /// For an INVITE that is taken out of its lease while another message is at hand; none until there is the first, and while it is lent.
    pub(super) second: Option<Index>,
    /// Unknown addresses that were heard lately.
    pub(super) strangers: Strangers,
}

/// Everything the core needs for one message.
pub struct Core<'a, W: World> {
    /// The farm as it is configured.
    pub farm: &'a Farm,
    /// What all workers share.
    pub world: &'a W,
    /// The moment of the batch.
    pub now: Moment,
    /// True once the edge takes no new calls because it is stopping.
    pub stopping: bool,
    /// More comes than can be carried: what is new is refused, so that what is under way can go on.
    pub overloaded: bool,
    /// What is to be sent and what happened.
    pub out: &'a mut Outbox,
    /// Working memory.
    pub scratch: &'a mut Scratch,
}

/// Octets of the longest datagram that only keeps a way through a NAT open.
const KEEP_ALIVE_LEN_MAX: usize = 4;

/// True for what phones send to keep their way open: line ends (RFC 5626 section 3.5.1 means streams by it, and phones do it
/// over UDP too). It is no fault, and the phones of an office must not use up by it what is read of their one address.
fn is_keep_alive(bytes: &[u8]) -> bool {
    bytes.len() <= KEEP_ALIVE_LEN_MAX && bytes.iter().all(|octet| matches!(octet, b'\r' | b'\n'))
}

/// A request with what is known of where it came from.
#[derive(Clone, Copy, Debug)]
pub struct Inbound<'a> {
    /// The request.
    pub request: Request<'a>,
    /// Where it came from.
    pub flow: Flow,
    /// Who that is.
    pub source: Source,
    /// Its call.
    pub key: CallKey,
    /// Hash of its From tag, as tokens and leases keep it.
    pub tag: u32,
    /// The user, once he has proved who he is.
    pub agent: Option<&'a [u8]>,
}

impl<W: World> Core<'_, W> {
    /// Deals with one received message.
    pub fn receive(&mut self, bytes: &[u8], flow: Flow, index: &mut Index) {
        if is_keep_alive(bytes) {
            return;
        }
        let source = self.farm.sources.classify(flow);
        if source == Source::Stranger && !self.admits(flow) {
            return self.drop(DropReason::RateLimited);
        }
        match parse(bytes, framing(flow), index) {
            Outcome::Request(request) => {
                let key = self.key(request);
                let tag = tag_hash(&self.farm.keys, request.from_tag());
                self.request(Inbound { request, flow, source, key, tag, agent: None });
            }
            Outcome::Response(response) => {
                if source == Source::Stranger && self.is_asked_for(response, flow) {
                    self.is_no_stranger(flow);
                }
                self.response(response, flow);
            }
            Outcome::Refused(request, fault) => self.reject_fault(request, flow, source, fault),
            Outcome::Garbage(fault) => self.drop(DropReason::Garbage(fault)),
        }
    }

    fn admits(&mut self, flow: Flow) -> bool {
        let rate = self.farm.security.stranger_rate;
        self.scratch.strangers.admit(flow.remote.ip(), rate, self.now)
    }

    /// Phones have unknown addresses, and many of them may share one: what proves to be a phone's is not counted.
    pub(super) fn is_no_stranger(&mut self, flow: Flow) {
        self.scratch.strangers.give_back(flow.remote.ip(), self.farm.security.stranger_rate);
    }

    fn request(&mut self, inbound: Inbound<'_>) {
        let Inbound { request, flow, key, .. } = inbound;
        if self.overloaded && self.is_new_work(request, key) {
            return self.reject(request, flow, inbound.source, RejectReason::Overloaded);
        }
        let routing = route::read(request, key, self.farm);
        if let Err(reason) = validate::check(request, key, &routing, self.farm) {
            return self.reject(request, flow, inbound.source, reason);
        }
        let is_agent = |user: &[u8]| self.is_agent(user);
        let elsewhere = |node, request| self.replaced_elsewhere(node, request);
        match decide(inbound, &routing, self.farm, self.stopping, is_agent, elsewhere) {
            Decision::Dialog(token) => {
                if inbound.source == Source::Stranger {
                    self.is_no_stranger(flow);
                }
                self.in_dialog(inbound, &routing, token);
            }
            Decision::DialogByCallId => self.in_dialog_by_call_id(inbound, &routing),
            Decision::Ack => self.ack(inbound, &routing),
            Decision::Cancel => self.cancel(inbound, &routing),
            Decision::NewCall(rule, pool) => self.new_call(inbound, &routing, rule, pool),
            Decision::NewRequest(pool) => self.new_request(inbound, &routing, pool),
            Decision::Agent(user) => self.call_agent(inbound, &routing, user),
            Decision::Replaces(elsewhere) => self.join_nodes(inbound, &routing, elsewhere),
            Decision::Refresh => self.answer_refresh(inbound),
            Decision::Register => self.register(inbound),
            Decision::Prove => self.call_of_phone(inbound, &routing),
            Decision::Probe => self.answer_probe(inbound),
            Decision::Reject(reason) => self.reject(request, flow, inbound.source, reason),
            Decision::Drop(reason) => self.drop(reason),
        }
    }

    /// An INVITE of a call that is not known yet, or a REGISTER.
    fn is_new_work(&self, request: Request<'_>, key: CallKey) -> bool {
        match request.method() {
            Method::Invite if request.to_tag().is_none() => {
                self.world.with_shard(key, |shard| shard.find(key).is_none())
            }
            method => method == Method::Register,
        }
    }

    fn response(&mut self, response: Response<'_>, flow: Flow) {
        let Some((branch, via)) = self.own_branch(response, flow) else {
            return self.probe_response(response, flow);
        };
        match (response.next_via(), response.cseq().map(|cseq| cseq.method)) {
            (None, _) => self.own_request_response(response, branch),
            (Some(next), Some(Method::Invite)) => self.invite_response(response, branch, via, next),
            (Some(next), Some(Method::Bye)) => self.bye_response(response, branch, via, next),
            (Some(next), _) => self.other_response(response, branch, via, next),
        }
    }

    /// The key of a message's call.
    pub(super) fn key<'m>(&self, message: impl Message<'m>) -> CallKey {
        CallKey::of(&self.farm.keys, message.call_id())
    }
}
