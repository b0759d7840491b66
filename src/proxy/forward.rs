//! Writing the forwarded copy of a request (RFC 3261 sections 16.6 and 16.11, double Record-Route: RFC 5658).
//!
//! The only edits are: the edge's own Routes go, the Request-URI changes where a rule says so, Max-Forwards counts down,
//! the top Via notes the source, Record-Route and Via come on top, and headers that only nodes may send are
//! stripped from what others send.

use crate::calls::CallKey;
use crate::calls::lease::Way;
use crate::dispatch::Farm;
use crate::dispatch::farm::Listener;
use crate::dispatch::node::Kind;
use crate::dispatch::rules::Source;
use crate::sip::edit::{self, Edits, number};
use crate::sip::message::Message;
use crate::sip::reply::{Rport, source_edits};
use crate::sip::scan::Span;
use crate::sip::{HeaderName, Method, Request};
use crate::transport::flow::Protocol;

use super::branch::{Branch, turn, write_flow};
use super::contract::{Destination, DropReason, Event, Side, TryId, World};
use super::core::{Core, Inbound};
use super::route::Routing;
use super::token::{PARAM, Token};

/// Max-Forwards of a request that has none (section 16.6 step 3).
const MAX_FORWARDS: u8 = 70;

/// How a request is forwarded.
#[derive(Clone, Copy, Debug)]
pub struct Forwarding<'a> {
    /// Where it goes.
    pub to: &'a Destination,
    /// Which way that is.
    pub side: Side,
    /// Identity of the transaction.
    pub transaction: u64,
    /// Number of the try.
    pub attempt: u8,
    /// The Request-URI to put in.
    pub uri: Option<&'a [u8]>,
    /// Routes to put in (RFC 3327); empty for none.
    pub routes: &'a [u8],
    /// The token to record; only requests that open a dialog carry one.
    pub record: Option<&'a Token>,
    /// The try that fails when it cannot be sent.
    pub try_of: Option<TryId>,
}

impl<W: World> Core<'_, W> {
    /// Forwards a request. False when no listener reaches the destination.
    pub fn forward(&mut self, inbound: Inbound<'_>, routing: &Routing<'_>, forwarding: Forwarding<'_>) -> bool {
        let Inbound { request, flow, source, key, .. } = inbound;
        let way = match forwarding.to {
            Destination::Way(way) | Destination::Name { fallback: way, .. } => *way,
        };
        let Some(listener) = self.farm.listener_for(way.target(), way.listener()) else {
            self.drop(DropReason::NoListener);
            return false;
        };
        let keys = &self.farm.keys;
        let edits = &mut self.scratch.edits;
        edits.clear();
        edit_start_line(request, routing, forwarding.uri, edits);
        let branch = Branch::new(keys, forwarding.transaction, forwarding.attempt, turn(keys, request, key, routing));
        edits.insert(edit::headers_start(request), |out| {
            out.extend_from_slice(b"Via: ");
            out.extend_from_slice(&listener.via);
            branch.write(out);
            // The answer leaves by the listener that this came in by, and by its connection.
            if flow.listener != listener.id || flow.connection.is_some() {
                write_flow(keys, flow, out);
            }
            out.extend_from_slice(b"\r\n");
            if let Some(token) = forwarding.record {
                write_record_route(listener, token, key, keys, out);
                if let Some(arrival) = self.farm.listener(flow.listener).filter(|arrival| arrival.id != listener.id) {
                    write_record_route(arrival, token, key, keys, out);
                }
            }
        });
        edit_top_via(request, flow.remote, source, edits);
        routing.edit(request, edits);
        if !forwarding.routes.is_empty() {
            edits.insert(edit::headers_start(request), |out| {
                [b"Route: ", forwarding.routes, b"\r\n"].iter().for_each(|part| out.extend_from_slice(part));
            });
        }
        if let Some(agent) = inbound.agent {
            vouch(request, agent, self.farm, edits);
        }
        let strip = stripped(self.farm, source, way);
        edit_headers(request, strip, edits);
        if listener.protocol != Protocol::Udp && request.content_length().is_none() {
            edits.insert(edit::headers_end(request), |out| {
                out.extend_from_slice(b"Content-Length: ");
                number(out, request.body().len() as u64);
                out.extend_from_slice(b"\r\n");
            });
        }
        let to = match forwarding.to.clone() {
            Destination::Way(Way::Target { target, .. }) => {
                Destination::Way(Way::Target { listener: listener.id, target })
            }
            other => other,
        };
        self.out.send(to, forwarding.try_of, |out| edits.write(request, out));
        self.out.events.push(Event::RequestForwarded(request.method(), forwarding.side));
        true
    }
}

/// Headers to take off: what only nodes may say from everybody else, and what nodes say to the farm from what leaves it.
fn stripped(farm: &Farm, source: Source, way: Way) -> Option<&[Box<[u8]>]> {
    let is_node = |id| farm.node(id).is_some_and(|node| node.kind == Kind::Node);
    match source {
        Source::Node(_) if farm.sources.node_at(way.target()).is_some_and(is_node) => None,
        Source::Node(_) => Some(&[]),
        _ => Some(&farm.security.strip),
    }
}

/// The start line is written anew only when something in it changes; a version in small letters is one such thing
/// (section 7.1).
fn edit_start_line(request: Request<'_>, routing: &Routing<'_>, uri: Option<&[u8]>, edits: &mut Edits) {
    let line = edit::start_line(request);
    let uri = uri.or(routing.strict.map(|strict| strict.uri));
    let text = request.text(line);
    let ends_well = text.ends_with(b" SIP/2.0\r\n");
    if uri.is_none() && ends_well {
        return;
    }
    edits.replace(line, |out| {
        out.extend_from_slice(request.method_name());
        out.push(b' ');
        out.extend_from_slice(uri.unwrap_or(request.uri_text()));
        out.extend_from_slice(b" SIP/2.0\r\n");
    });
}

fn write_record_route(listener: &Listener, token: &Token, key: CallKey, keys: &crate::keys::Keys, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Record-Route: ");
    out.extend_from_slice(&listener.route);
    out.push(b';');
    out.extend_from_slice(PARAM);
    out.push(b'=');
    token.write(keys, key, out);
    out.extend_from_slice(b">\r\n");
}

/// Says to the node who is calling, in place of what the phone says of itself (RFC 3325 section 5). What it proved itself by is the
/// edge's affair alone. A caller from outside may assert any number; `X-Edge-Agent` only the edge says, and of who showed his password.
fn vouch(request: Request<'_>, agent: &[u8], farm: &Farm, edits: &mut Edits) {
    const OWN: [&[u8]; 2] = [b"p-asserted-identity", b"p-preferred-identity"];
    for field in request.fields() {
        let name = request.text(field.spelling());
        if field.name == HeaderName::ProxyAuthorization || OWN.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            edits.remove(field.line);
        }
    }
    let Some(service) = &farm.registrar else { return };
    edits.insert(edit::headers_start(request), |out| {
        out.extend_from_slice(b"P-Asserted-Identity: <sip:");
        write_user(out, agent);
        out.push(b'@');
        out.extend_from_slice(&service.domain);
        out.extend_from_slice(b">\r\nX-Edge-Agent: ");
        write_user(out, agent);
        out.extend_from_slice(b"\r\n");
    });
}

/// A user part with escapes where the grammar wants them (RFC 3261 section 25.1).
fn write_user(out: &mut Vec<u8>, user: &[u8]) {
    for octet in user {
        let plain = octet.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(octet);
        if plain {
            out.push(*octet);
        } else {
            out.extend_from_slice(format!("%{octet:02X}").as_bytes());
        }
    }
}

fn edit_top_via(request: Request<'_>, remote: std::net::SocketAddr, source: Source, edits: &mut Edits) {
    let Some(via) = request.via() else { return };
    let rport = if source.is_trusted() { Rport::AsAsked } else { Rport::Always };
    for change in source_edits(via, rport).into_iter().flatten() {
        edits.replace(Span::new(change.start, change.end), |out| change.write(out, remote));
    }
}

/// Max-Forwards, and what only nodes may say.
fn edit_headers(request: Request<'_>, strip: Option<&[Box<[u8]>]>, edits: &mut Edits) {
    let mut has_max_forwards = false;
    for field in request.fields() {
        if field.name == HeaderName::MaxForwards {
            has_max_forwards = true;
            let hops = request.max_forwards().map_or(MAX_FORWARDS, |hops| hops.saturating_sub(1));
            edits.replace(field.value, |out| number(out, hops));
        } else if let Some(strip) = strip
            && is_stripped(request.text(field.spelling()), strip)
        {
            edits.remove(field.line);
        }
    }
    if !has_max_forwards {
        edits.insert(edit::headers_start(request), |out| {
            out.extend_from_slice(b"Max-Forwards: ");
            number(out, MAX_FORWARDS);
            out.extend_from_slice(b"\r\n");
        });
    }
}

/// `X-Edge-*` is how the farm's own members talk to each other; nobody else may.
fn is_stripped(name: &[u8], strip: &[Box<[u8]>]) -> bool {
    const FAMILY: &[u8] = b"x-edge-";
    let in_family = name.len() >= FAMILY.len() && name[..FAMILY.len()].eq_ignore_ascii_case(FAMILY);
    in_family || strip.iter().any(|stripped| stripped.eq_ignore_ascii_case(name))
}

/// True for the methods whose requests open dialogs and so carry a Record-Route.
pub fn opens_dialog(method: Method) -> bool {
    matches!(method, Method::Invite | Method::Subscribe | Method::Refer)
}
