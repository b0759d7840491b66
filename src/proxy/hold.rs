//! Whether an agent holds his call (RFC 3264 section 8.4): what his phone offers inside the dialog, once the node has taken it.
//!
//! Only the agent's side counts: that the node holds him does not make him free or less busy. What a phone says in the ACK or the
//! 2xx to an INVITE without an offer is not read.

use crate::calls::Lease;
use crate::calls::lease::{Hold, HoldAsked};
use crate::sip::message::Message;
use crate::sip::{Method, Request, Response, sdp};

use super::contract::{Side, World};
use super::core::Core;
use super::token::tag_hash;

impl<W: World> Core<'_, W> {
    /// A request inside a call on its way to this side: perhaps the agent at the other one holds, or goes on.
    pub(super) fn note_hold_asked(&self, lease: &mut Lease, request: Request<'_>, side: Side) {
        if !matches!(request.method(), Method::Invite | Method::Update) || self.way_of_agent(lease) != Some(side) {
            return;
        }
        if let (Some(cseq), Some(direction)) = (request.cseq(), sdp::direction(request.body())) {
            lease.hold.asked = Some(HoldAsked { cseq: cseq.number, is_held: direction.is_hold() });
        }
    }

    /// A 2xx inside a call: what the agent asked for holds.
    pub(super) fn note_hold_answered(&self, lease: &mut Lease, response: Response<'_>) {
        let Some(asked) = lease.hold.asked else { return };
        let from_caller = tag_hash(&self.farm.keys, response.from_tag()) == lease.caller_tag;
        let side = if from_caller { Side::Node } else { Side::Caller };
        let is_answer = response.cseq().is_some_and(|cseq| cseq.number == asked.cseq);
        if is_answer && self.way_of_agent(lease) == Some(side) {
            lease.hold = Hold { is_held: asked.is_held, asked: None };
        }
    }

    /// The way that requests of the agent's go in this call, if there is one: he is the caller, or who is called.
    fn way_of_agent(&self, lease: &Lease) -> Option<Side> {
        let agents = self.farm.registrar.as_ref()?.agents;
        match (lease.agent.is_some(), lease.node == agents) {
            (true, _) => Some(Side::Node),
            (false, true) => Some(Side::Caller),
            (false, false) => None,
        }
    }
}
