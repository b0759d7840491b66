//! REGISTER, and who a phone's user is (RFC 3261 sections 10.3 and 22).

use crate::dispatch::rules::Source;
use crate::moment::Moment;
use crate::registrar::elsewhere::Elsewhere;
use crate::registrar::register::{Arrival, Changes, TakenBack, plan, repeated, taken_back, write_answer};
use crate::registrar::{Aor, Binding, Doubt, Service};
use crate::sip::edit::number;
use crate::sip::message::Message;
use crate::sip::uri::Uri;
use crate::sip::{HeaderName, Method, Request, status};
use crate::transport::flow::Flow;

use super::contract::{Destination, Event, PhoneElsewhere, Registration, Registry, RejectReason, World};
use super::core::{Core, Inbound};
use super::route::Routing;
use super::target::{Decision, by_rules};

impl<W: World> Core<'_, W> {
    /// A REGISTER. Its 200 leaves once the bindings are on disk.
    pub(super) fn register(&mut self, inbound: Inbound<'_>) {
        let Inbound { request, flow, source, .. } = inbound;
        let (Some(service), Some(registry)) = (self.farm.registrar.clone(), self.world.registry()) else {
            return self.reject(request, flow, source, RejectReason::Method);
        };
        match self.registrant(inbound, &service, registry) {
            Ok((aor, obeyed)) => {
                if service.authority.is_some() {
                    self.is_no_stranger(flow);
                }
                let inbound = Inbound { source: Source::Agent, ..inbound };
                match obeyed {
                    Some(at) => self.answer_again(inbound, &service, registry, &aor, at),
                    None => self.bind(inbound, &service, registry, &aor),
                }
            }
            Err(reason) => self.reject(request, flow, source, reason),
        }
    }

    /// Whose bindings are meant: the user's own, or those of a user whom he may register (RFC 3261 section 10.2). Of a repetition, also
    /// when it was obeyed: its proof was used, and that is no fault of the phone's.
    fn registrant(
        &self,
        inbound: Inbound<'_>,
        service: &Service,
        registry: &dyn Registry,
    ) -> Result<(Aor, Option<Moment>), RejectReason> {
        let request = inbound.request;
        let to = request.to_uri().filter(|uri| self.farm.is_own(uri)).ok_or(RejectReason::ForeignDomain)?;
        let aor = Aor::of(&to).ok_or(RejectReason::ForeignDomain)?;
        if service.authority.is_none() {
            return Ok((aor, None));
        }
        let user = self.user(request, HeaderName::Authorization, service, registry);
        match user.map_err(RejectReason::RegisterUnproven)? {
            (user, false) if user == aor => {
                let mut obeyed = None;
                registry.with_table(&aor, &mut |table| {
                    let arrival = Arrival { flow: inbound.flow, now: self.now };
                    obeyed = repeated(request, arrival, &self.farm.keys, table.find(aor.as_bytes()));
                });
                obeyed.map(|at| (aor, Some(at))).ok_or(RejectReason::RegisterUnproven(Doubt::Stale))
            }
            (_, false) => Err(RejectReason::RegisterUnproven(Doubt::Stale)),
            (user, true) if user == aor => Ok((aor, None)),
            (user, true) if !service.may_register(&user, &aor) => Err(RejectReason::ThirdParty),
            _ if service.knows(aor.as_bytes()) => Ok((aor, None)),
            _ => Err(RejectReason::UnknownUser),
        }
    }

    /// The answer to a REGISTER that was obeyed at this moment, once more. Nothing changes by it, and it too leaves when the
    /// bindings are on disk.
    fn answer_again(
        &mut self,
        inbound: Inbound<'_>,
        service: &Service,
        registry: &dyn Registry,
        aor: &Aor,
        at: Moment,
    ) {
        let Inbound { request, flow, source, .. } = inbound;
        if !registry.has_room() {
            return self.reject(request, flow, source, RejectReason::RegistrarBusy);
        }
        let mut headers = Vec::new();
        let mut elsewhere = bindings_elsewhere(registry, aor);
        registry.with_table(aor, &mut |table| {
            let live = |binding: &&Binding| binding.expires > self.now;
            let mut bindings: Vec<Binding> = table.find(aor.as_bytes()).iter().filter(live).cloned().collect();
            bindings.append(&mut Elsewhere::beside(std::mem::take(&mut elsewhere), &bindings).bindings);
            write_answer(&mut headers, request, &bindings, at, Some(&service.domain));
        });
        self.out.events.push(Event::Registered(Changes::default()));
        self.answer(request, flow, source, 200, "OK", &headers);
        self.hold_answer(inbound, aor, Changes::default());
    }

    /// Who proves himself by a request, and whether his proof is used for the first time.
    fn user(
        &self,
        request: Request<'_>,
        header: HeaderName,
        service: &Service,
        registry: &dyn Registry,
    ) -> Result<(Aor, bool), Doubt> {
        let authority = service.authority.as_ref().ok_or(Doubt::Unproven)?;
        let is_own = |uri: &Uri<'_>| self.farm.is_own(uri);
        let (user, proof) = authority.judge(request, header, &self.farm.keys, registry.unix_secs(), is_own)?;
        Ok((user, registry.is_first_use(proof)))
    }

    fn bind(&mut self, inbound: Inbound<'_>, service: &Service, registry: &dyn Registry, aor: &Aor) {
        let Inbound { request, flow, source, .. } = inbound;
        if !registry.has_room() {
            return self.reject(request, flow, source, RejectReason::RegistrarBusy);
        }
        let arrival = Arrival { flow, now: self.now };
        let (mut headers, mut outcome) = (Vec::new(), Err(RejectReason::RegistrarBusy));
        let mut elsewhere = bindings_elsewhere(registry, aor);
        let mut taken = if elsewhere.is_empty() { TakenBack::Nothing } else { taken_back(request) };
        let mut is_registered = false;
        registry.with_table(aor, &mut |table| {
            let planned = plan(request, arrival, &service.terms, &self.farm.keys, table.find(aor.as_bytes()));
            outcome = planned.map_err(RejectReason::Register).and_then(|mut plan| {
                let (there, taken_back) = (std::mem::take(&mut elsewhere), std::mem::take(&mut taken));
                let others = Elsewhere::after(&mut plan, there, taken_back, &service.terms);
                if plan.changes.added > 0 && !table.has_room() {
                    return Err(RejectReason::RegistrarBusy);
                }
                // Most users have no phones elsewhere, and nothing is copied for them.
                let all = (!others.bindings.is_empty()).then(|| [&plan.bindings[..], &others.bindings].concat());
                let all = all.as_deref().unwrap_or(&plan.bindings);
                write_answer(&mut headers, request, all, self.now, Some(&service.domain));
                taken = others.taken_back;
                is_registered = !plan.bindings.is_empty();
                if !plan.changes.is_none() {
                    table.put(aor, plan.bindings);
                }
                Ok(plan.changes)
            });
        });
        match outcome {
            Err(reason) => self.reject(request, flow, source, reason),
            Ok(changes) => {
                let is_reachable = is_registered || !service.permanents.of(aor.as_bytes()).is_empty();
                registry.set_registered(aor, is_reachable, self.now);
                registry.take_back_elsewhere(aor, taken);
                self.out.events.push(Event::Registered(changes));
                self.answer(request, flow, source, 200, "OK", &headers);
                if !changes.is_none() {
                    self.hold_answer(inbound, aor, changes);
                }
            }
        }
    }

    /// Keeps back the answer that was just written until the bindings are stored, with another one for when they cannot be.
    fn hold_answer(&mut self, inbound: Inbound<'_>, aor: &Aor, changes: Changes) {
        let Inbound { request, flow, source, .. } = inbound;
        let granted = self.out.sends.pop();
        self.answer(request, flow, source, 500, status::phrase(500), b"");
        let failed = self.out.sends.pop();
        if let (Some(granted), Some(failed)) = (granted, failed)
            && let Destination::Way(to) = granted.to
        {
            let registration =
                Registration { aor: aor.clone(), to, granted: granted.range, failed: failed.range, changes };
            self.out.registrations.push(registration);
        }
    }

    /// A request from a phone: its user proves who he is, and then the rules for agents serve him.
    pub(super) fn call_of_phone(&mut self, inbound: Inbound<'_>, routing: &Routing<'_>) {
        let Inbound { request, flow, source, .. } = inbound;
        let (Some(service), Some(registry)) = (self.farm.registrar.clone(), self.world.registry()) else {
            return self.reject(request, flow, source, RejectReason::Stranger);
        };
        let user = match self.caller(inbound, &service, registry) {
            Ok(user) => user,
            Err(reason) => return self.reject(request, flow, source, reason),
        };
        if service.authority.is_some() {
            self.is_no_stranger(flow);
        }
        if routing.next.is_some() {
            return self.reject(request, flow, source, RejectReason::ForeignRoute);
        }
        if request.method() == Method::Invite && self.stopping {
            return self.reject(request, flow, source, RejectReason::Stopping);
        }
        let inbound = Inbound { source: Source::Agent, agent: Some(user.as_bytes()), ..inbound };
        match by_rules(request, Source::Agent, self.farm) {
            Decision::NewCall(rule, pool) => self.new_call(inbound, routing, rule, pool),
            Decision::NewRequest(pool) => self.new_request(inbound, routing, pool),
            Decision::Reject(reason) => self.reject(request, flow, source, reason),
            _ => self.reject(request, flow, source, RejectReason::NoRule),
        }
    }

    fn caller(&self, inbound: Inbound<'_>, service: &Service, registry: &dyn Registry) -> Result<Aor, RejectReason> {
        let request = inbound.request;
        if service.authority.is_some() {
            // An INVITE is repeated as it is, and its proof with it: what counts is that the call is known by then.
            let (user, is_first) = self
                .user(request, HeaderName::ProxyAuthorization, service, registry)
                .map_err(RejectReason::RequestUnproven)?;
            let is_good = is_first || self.is_repetition(inbound);
            return if is_good { Ok(user) } else { Err(RejectReason::RequestUnproven(Doubt::Stale)) };
        }
        // Without proofs whoever is registered by this flow is believed.
        let from = request.from_uri().and_then(|uri| Aor::of(&uri)).ok_or(RejectReason::Stranger)?;
        let mut is_here = false;
        registry.with_table(&from, &mut |table| {
            let live = table.find(from.as_bytes()).iter().filter(|binding| binding.expires > self.now);
            is_here = live.into_iter().any(|binding| binding.flow == inbound.flow);
        });
        if is_here { Ok(from) } else { Err(RejectReason::Stranger) }
    }

    /// True when this very transaction is under way.
    fn is_repetition(&self, inbound: Inbound<'_>) -> bool {
        let Inbound { request, key, .. } = inbound;
        let Some(via) = request.via() else { return false };
        let transaction = super::branch::transaction(&self.farm.keys, request, key, via);
        self.world
            .with_shard(key, |shard| shard.find(key).is_some_and(|slot| shard.lease(slot).transaction == transaction))
    }

    /// Asks for a proof.
    pub(super) fn write_challenge(&self, headers: &mut Vec<u8>, request: Request<'_>, flow: Flow, doubt: Doubt) {
        let authority = self.farm.registrar.as_ref().and_then(|service| service.authority.as_ref());
        if let (Some(authority), Some(registry)) = (authority, self.world.registry()) {
            authority.write_challenge(headers, request, flow, doubt, &self.farm.keys, registry.unix_secs());
        }
    }

    /// Says what the least is (RFC 3261 section 20.23).
    pub(super) fn write_min_expires(&self, headers: &mut Vec<u8>) {
        let Some(service) = &self.farm.registrar else { return };
        headers.extend_from_slice(b"Min-Expires: ");
        number(headers, service.terms.expires_min.as_secs());
        headers.extend_from_slice(b"\r\n");
    }
}

fn bindings_elsewhere(registry: &dyn Registry, aor: &Aor) -> Vec<Binding> {
    registry.elsewhere(aor).iter().map(PhoneElsewhere::binding).collect()
}
