//! Choosing what to do with a request (RFC 3261 section 16.5).
//!
//! Reads the request, its Routes and the farm, and returns a [`Decision`]. The order of the checks is the policy: read
//! it top to bottom.

use crate::calls::{NodeId, PoolId};
use crate::dispatch::Farm;
use crate::dispatch::rules::{Action, Rule, Source, Subject, first_match};
use crate::sip::message::Message;
use crate::sip::{Method, Request};

use super::contract::{DropReason, RejectReason};
use super::core::Inbound;
use super::replaces::Elsewhere;
use super::route::Routing;
use super::token::Token;

/// What to do with a request.
#[derive(Clone, Copy, Debug)]
pub enum Decision<'f, 'r> {
    /// Inside a dialog: the token says where it goes.
    Dialog(Token),
    /// Inside a dialog, without a token: the Call-ID may be known.
    DialogByCallId,
    /// An ACK without a token.
    Ack,
    /// A CANCEL.
    Cancel,
    /// An INVITE that opens a call.
    NewCall(&'f Rule, PoolId),
    /// Another request outside calls.
    NewRequest(PoolId),
    /// For a user of the farm's: his phones get it.
    Agent(&'r [u8]),
    /// From one node to another one, whose call it replaces.
    Replaces(Elsewhere),
    /// A REGISTER for the farm.
    Register,
    /// A node wants to be told of all agents.
    Refresh,
    /// From a phone, which has to prove whose it is.
    Prove,
    /// OPTIONS for the edge itself.
    Probe,
    /// Refused.
    Reject(RejectReason),
    /// Dropped.
    Drop(DropReason),
}

/// Decides.
pub fn decide<'f, 'r>(
    inbound: Inbound<'r>,
    routing: &Routing<'_>,
    farm: &'f Farm,
    stopping: bool,
    is_agent: impl Fn(&[u8]) -> bool,
    elsewhere: impl Fn(NodeId, Request<'r>) -> Option<Elsewhere>,
) -> Decision<'f, 'r> {
    let Inbound { request, source, .. } = inbound;
    let method = request.method();
    if let Some(token) = routing.token {
        return Decision::Dialog(token);
    }
    if method == Method::Ack {
        return Decision::Ack;
    }
    if method == Method::Cancel {
        return Decision::Cancel;
    }
    if request.to_tag().is_some() {
        return Decision::DialogByCallId;
    }
    if method == Method::Options && is_for_edge(request, farm) {
        return if source.is_trusted() || farm.security.options_from_strangers {
            Decision::Probe
        } else {
            Decision::Reject(RejectReason::Stranger)
        };
    }
    if method == Method::Register && farm.registrar.is_some() {
        return Decision::Register;
    }
    if source == Source::Stranger && farm.registrar.is_some() {
        return Decision::Prove;
    }
    if source == Source::Stranger && !any_rule_for_strangers(farm) {
        return Decision::Reject(RejectReason::Stranger);
    }
    if method == Method::Register {
        return Decision::Reject(RejectReason::Method);
    }
    if routing.next.is_some() {
        // A Route that was loaded beforehand and leads elsewhere would make the edge a relay.
        return Decision::Reject(RejectReason::ForeignRoute);
    }
    if method == Method::Invite && stopping {
        return Decision::Reject(RejectReason::Stopping);
    }
    if method == Method::Publish && matches!(source, Source::Node(_)) && farm.publishes() && is_for_edge(request, farm)
    {
        return Decision::Refresh;
    }
    // A transfer may join two calls that are on different nodes.
    if let (Method::Invite, Source::Node(node)) = (method, source)
        && let Some(elsewhere) = elsewhere(node, request)
    {
        return Decision::Replaces(elsewhere);
    }
    // Nodes ask for agents by the farm's name; what is nobody's number goes on to the rules, and so to the gateways.
    let called = request.uri().filter(|uri| matches!(source, Source::Node(_)) && farm.is_own(uri));
    match called.and_then(|uri| uri.number()).filter(|user| is_agent(user)) {
        Some(user) => Decision::Agent(user),
        None => by_rules(request, source, farm),
    }
}

/// What the rules say of a request that opens something.
pub fn by_rules<'f, 'r>(request: Request<'r>, source: Source, farm: &'f Farm) -> Decision<'f, 'r> {
    let uri = request.uri();
    let asks_for_caller = farm.rules.iter().any(|rule| rule.from_user.is_some());
    let subject = Subject {
        source,
        method: request.method(),
        to_user: uri.and_then(|uri| uri.number()).unwrap_or_default(),
        to_host: uri.map_or(&[], |uri| uri.host),
        from_user: if asks_for_caller { caller_number(request) } else { b"" },
    };
    match first_match(&farm.rules, subject) {
        None if source == Source::Stranger => Decision::Reject(RejectReason::Stranger),
        None => Decision::Reject(RejectReason::NoRule),
        Some(Rule { action: Action::Reject(code), .. }) => Decision::Reject(RejectReason::Rule(*code)),
        Some(rule @ Rule { action: Action::Pool(pool), .. }) if request.method() == Method::Invite => {
            Decision::NewCall(rule, *pool)
        }
        Some(Rule { action: Action::Pool(pool), .. }) => Decision::NewRequest(*pool),
    }
}

fn caller_number(request: Request<'_>) -> &[u8] {
    request.from_uri().and_then(|uri| uri.number()).unwrap_or_default()
}

fn any_rule_for_strangers(farm: &Farm) -> bool {
    farm.rules.iter().any(|rule| rule.from == crate::dispatch::rules::From::Anyone)
}

/// True when OPTIONS asks the edge and not somebody behind it.
fn is_for_edge(request: Request<'_>, farm: &Farm) -> bool {
    request.uri().is_some_and(|uri| farm.is_own(&uri))
}
