//! Calls to agents: a node asks for a user, his phones get the INVITE one after the other (RFC 3261 sections 16.5 and 16.6).

use crate::agents::book::Offer;
use crate::agents::reservation::read_token;
use crate::calls::history::{Candidates, Choice, End, EndCause};
use crate::calls::lease::{Contact, Way};
use crate::calls::{CallKey, NodeId, PoolId, Shard};
use crate::dispatch::Picked;
use crate::dispatch::rules::Source;
use crate::registrar::{Aor, Binding, Permanent, Service};
use crate::sip::message::Message;
use crate::sip::scan::trim;
use crate::sip::{Method, Request};
use crate::transport::flow::Flow;

use super::branch::transaction;
use super::contract::{Destination, Event, Offered, PhoneElsewhere, RejectReason, Side, World};
use super::core::{Core, Inbound};
use super::forward::{Forwarding, opens_dialog};
use super::invite::Opening;
use super::route::Routing;
use super::token::{PARAM, ToCaller, Token, tag_hash};

/// Phones that one call is offered to: no more than a call has tries.
const CONTACTS_MAX: usize = crate::calls::tries::TRIES_MAX as usize;

impl<W: World> Core<'_, W> {
    /// True for a user of the farm's: one who may register, one with a permanent contact, or one who is registered where
    /// everybody may.
    pub(super) fn is_agent(&self, user: &[u8]) -> bool {
        let (Some(service), Some(registry), Some(aor)) =
            (&self.farm.registrar, self.world.registry(), Aor::from_user(user))
        else {
            return false;
        };
        let mut is_registered = false;
        if service.authority.is_none() {
            registry.with_table(&aor, &mut |table| is_registered = !table.find(aor.as_bytes()).is_empty());
            is_registered |= !registry.elsewhere(&aor).is_empty();
        }
        is_registered || service.knows(aor.as_bytes())
    }

    /// A node that started asks for all states: it is granted, and they follow as messages of their own (RFC 3903 section 6).
    pub(super) fn answer_refresh(&mut self, inbound: Inbound<'_>) {
        let Inbound { request, flow, source, .. } = inbound;
        self.answer(request, flow, source, 200, "OK", b"SIP-ETag: cordboard\r\nExpires: 600\r\n");
        if let Source::Node(node) = source {
            self.out.events.push(Event::StatesAsked(node));
        }
    }

    /// A request of a node's for an agent.
    pub(super) fn call_agent(&mut self, inbound: Inbound<'_>, routing: &Routing<'_>, user: &[u8]) {
        let (Some(service), Some(aor)) = (self.farm.registrar.clone(), Aor::from_user(user)) else { return };
        let contacts = self.contacts(inbound.request, &aor);
        if inbound.request.method() == Method::Invite {
            self.invite_agent(inbound, routing, Wanted { service: &service, aor: &aor, contacts });
        } else {
            self.ask_agent(inbound, routing, &service, contacts.first());
        }
    }

    /// Where the user's phones are, the most wanted first; only that one which the URI names by its GRUU (RFC 5627).
    fn contacts(&self, request: Request<'_>, aor: &Aor) -> Vec<Contact> {
        let wanted = request.uri().and_then(|uri| uri.param(b"gr")).filter(|gr| !gr.is_empty());
        let is_wanted = |binding: &&Binding| wanted.is_none_or(|gr| is_instance(binding, gr));
        let mut list: Vec<(u16, Contact)> = Vec::new();
        if let Some(registry) = self.world.registry() {
            registry.with_table(aor, &mut |table| {
                let live = table.find(aor.as_bytes()).iter().filter(|binding| binding.expires > self.now);
                list = live.filter(is_wanted).map(|binding| (binding.preference, contact(binding))).collect();
            });
        }
        list.extend(self.contacts_elsewhere(request, aor, wanted));
        if let (None, Some(service)) = (wanted, &self.farm.registrar) {
            list.extend(service.permanents.of(aor.as_bytes()).iter().map(|one| (one.preference, permanent(one))));
        }
        // Stable: among equals a phone that registered comes before one that only stands in the configuration.
        list.sort_by_key(|(preference, _)| std::cmp::Reverse(*preference));
        list.into_iter().take(CONTACTS_MAX).map(|(_, contact)| contact).collect()
    }

    /// Phones that registered at other edges: through their edge while it is there, which has the connection and the way through NAT.
    /// When it is gone, those on UDP may be reached all the same.
    fn contacts_elsewhere(&self, request: Request<'_>, aor: &Aor, wanted: Option<&[u8]>) -> Vec<(u16, Contact)> {
        let Some(registry) = self.world.registry() else { return Vec::new() };
        let is_wanted = |phone: &PhoneElsewhere| wanted.is_none_or(|gr| is_device(phone.instance.as_deref(), gr));
        let phones = registry.elsewhere(aor).into_iter().filter(is_wanted);
        phones.filter_map(|phone| Some((phone.preference, self.contact_elsewhere(request, phone)?))).collect()
    }

    fn contact_elsewhere(&self, request: Request<'_>, phone: PhoneElsewhere) -> Option<Contact> {
        let Some(edge) = phone.edge else {
            let way = Way::Target { listener: phone.flow.listener, target: phone.flow.target() };
            let is_reachable = phone.flow.protocol.is_unreliable();
            return is_reachable.then_some(Contact { way, uri: phone.contact, routes: phone.path });
        };
        let own = self.farm.listener_for(edge, phone.flow.listener)?;
        let here = Flow { listener: phone.flow.listener, protocol: edge.protocol, remote: own.bind, connection: None };
        // Authentic for that edge too, since the farm has one secret: from here to the phone, and back here.
        let token = Token {
            caller: here,
            to_caller: ToCaller::Edge,
            caller_tag: tag_hash(&self.farm.keys, request.from_tag()),
            node_listener: phone.flow.listener,
            node: phone.flow.target(),
        };
        let mut routes = format!("<sip:{};transport={};lr;", edge.address, edge.protocol.lower()).into_bytes();
        routes.extend_from_slice(PARAM);
        routes.push(b'=');
        token.write(&self.farm.keys, CallKey::of(&self.farm.keys, request.call_id()), &mut routes);
        routes.push(b'>');
        if !phone.path.is_empty() {
            routes.extend_from_slice(b", ");
            routes.extend_from_slice(&phone.path);
        }
        let way = Way::Target { listener: own.id, target: edge };
        Some(Contact { way, uri: phone.contact, routes: routes.into() })
    }

    fn invite_agent(&mut self, inbound: Inbound<'_>, routing: &Routing<'_>, wanted: Wanted<'_>) {
        self.repeat_or_open(inbound, routing, "agents", |core, shard, opening| {
            core.open_agent_call(shard, inbound, routing, opening, wanted);
        });
    }

    fn open_agent_call(
        &mut self,
        shard: &mut Shard,
        inbound: Inbound<'_>,
        routing: &Routing<'_>,
        opening: Opening<'_>,
        wanted: Wanted<'_>,
    ) {
        let Inbound { request, flow, source, .. } = inbound;
        let admitted = self.admit(shard, inbound, opening, &wanted);
        if matches!(admitted, Err(None)) {
            return;
        }
        self.explain(shard, inbound, opening, PoolId::NONE, Choice::Location, Candidates::default());
        let picked = match admitted {
            Ok(picked) => picked,
            Err(reason) => {
                let reason = reason.unwrap_or(RejectReason::AgentBusy);
                let end = End { cause: EndCause::Failed, at: self.now, code: Some(reason.code()) };
                shard.history.note_end(opening.key, end);
                return self.reject(request, flow, source, reason);
            }
        };
        let mut lease = self.new_lease(inbound, opening, None, &picked);
        lease.queue = header(request, QUEUE_HEADER).map(|queue| queue[..queue.len().min(QUEUE_LEN_MAX)].into());
        if let Some(invite) = lease.phase.invite_mut() {
            invite.contacts = wanted.contacts.into();
        }
        if !self.open_lease(shard, lease, inbound, routing, picked) {
            self.world.registry().inspect(|registry| registry.take_back(wanted.aor, opening.key, self.now));
        }
    }

    /// Whether the agent can be called and is free for this call: of two at the same moment, one. No reason why not while that is being
    /// asked.
    fn admit(
        &self,
        shard: &Shard,
        inbound: Inbound<'_>,
        opening: Opening<'_>,
        wanted: &Wanted<'_>,
    ) -> Result<Picked, Option<RejectReason>> {
        let Wanted { service, aor, contacts } = wanted;
        let nowhere = RejectReason::NotRegistered(service.not_registered);
        let (Some(first), Some(registry)) = (contacts.first(), self.world.registry()) else {
            return Err(Some(nowhere));
        };
        if !shard.has_room() {
            return Err(Some(RejectReason::TooManyCalls));
        }
        let queue = header(inbound.request, QUEUE_HEADER);
        let reservation = header(inbound.request, RESERVATION_HEADER).and_then(read_token);
        let offer = Offer { aor, key: opening.key, queue, reservation, gate: service.policy.gate };
        match registry.offer(offer, self.now) {
            Offered::LetThrough => Ok(self.picked_contact(service.agents, first.way)),
            Offered::Refused => Err(Some(RejectReason::AgentBusy)),
            Offered::Asked => Err(None),
        }
    }

    /// A place for a call to an agent.
    pub(super) fn picked_contact(&self, agents: NodeId, way: Way) -> Picked {
        let seat = self.world.take_on(agents);
        Picked { seat, way, choice: Choice::Location, pool: PoolId::NONE, candidates: Candidates::default() }
    }

    /// A request that opens no call: the best phone gets it.
    fn ask_agent(&mut self, inbound: Inbound<'_>, routing: &Routing<'_>, service: &Service, contact: Option<&Contact>) {
        let Inbound { request, flow, source, .. } = inbound;
        let Some(via) = request.via() else { return };
        let Some(contact) = contact else {
            return self.reject(request, flow, source, RejectReason::NotRegistered(service.not_registered));
        };
        let transaction = transaction(&self.farm.keys, request, inbound.key, via);
        let token = self.token(inbound, contact.way).filter(|_| opens_dialog(request.method()));
        let forwarding = Forwarding {
            to: &Destination::Way(contact.way),
            side: Side::Node,
            transaction,
            attempt: 0,
            uri: Some(&contact.uri),
            routes: &contact.routes,
            record: token.as_ref(),
            try_of: None,
        };
        self.forward(inbound, routing, forwarding);
    }
}

/// The agent that a call is for.
struct Wanted<'a> {
    service: &'a Service,
    aor: &'a Aor,
    contacts: Vec<Contact>,
}

/// A node's dialplan says by it that a queue is calling; nobody but a node can.
const QUEUE_HEADER: &[u8] = b"x-edge-queue";

/// Octets of a queue's name that are kept with a call.
const QUEUE_LEN_MAX: usize = 64;

/// And by this that the agent is reserved for the call.
const RESERVATION_HEADER: &[u8] = b"x-edge-reservation";

/// What a node says by a header of the edge's own.
fn header<'a>(request: Request<'a>, name: &[u8]) -> Option<&'a [u8]> {
    let field = request.fields().iter().find(|field| request.text(field.spelling()).eq_ignore_ascii_case(name))?;
    Some(trim(request.text(field.value)))
}

fn contact(binding: &Binding) -> Contact {
    Contact { way: Way::Flow(binding.flow), uri: binding.contact().into(), routes: binding.path().into() }
}

fn permanent(permanent: &Permanent) -> Contact {
    Contact { way: permanent.way, uri: permanent.contact.clone(), routes: Box::default() }
}

/// True when a GRUU's `gr` names the phone.
fn is_instance(binding: &Binding, gr: &[u8]) -> bool {
    is_device(binding.instance(), gr)
}

fn is_device(instance: Option<&[u8]>, gr: &[u8]) -> bool {
    matches!(instance, Some([b'<', urn @ .., b'>']) if urn.eq_ignore_ascii_case(gr))
}
