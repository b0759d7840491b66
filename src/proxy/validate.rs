//! Whether a request may be forwarded at all (RFC 3261 section 16.3, loops: RFC 5393).

use crate::calls::CallKey;
use crate::dispatch::Farm;
use crate::sip::message::Message;
use crate::sip::values::option_tags;
use crate::sip::{HeaderName, Method, Request};

use super::branch::{Branch, MAGIC, turn};
use super::contract::RejectReason;
use super::route::Routing;

/// Checks a request, in the order of the section. The grammar was checked by the parser; the Request-URI's scheme is
/// not: whichever it is, the rules decide about it.
pub fn check(request: Request<'_>, key: CallKey, routing: &Routing<'_>, farm: &Farm) -> Result<(), RejectReason> {
    // Step 3. OPTIONS and REGISTER are no exception: the section says that they may be, and a counter is easier to trust.
    if request.max_forwards() == Some(0) {
        return Err(RejectReason::TooManyHops);
    }
    // Step 4.
    if is_looping(request, key, routing, farm) {
        return Err(RejectReason::Loop);
    }
    // Step 5. ACK and CANCEL are not judged by extensions (section 8.2.2.3).
    let judged = !matches!(request.method(), Method::Ack | Method::Cancel);
    if judged && option_tags(request, HeaderName::ProxyRequire).next().is_some() {
        return Err(RejectReason::BadExtension);
    }
    Ok(())
}

/// True when one of the Vias is the edge's own and was written for this very request: same Request-URI, same dialog, same
/// Routes. A request that comes by again with another target is a spiral, and welcome.
fn is_looping(request: Request<'_>, key: CallKey, routing: &Routing<'_>, farm: &Farm) -> bool {
    let mut own_turn = None;
    for value in request.values(HeaderName::Via) {
        if !may_be_own(value) {
            continue;
        }
        let own_turn = *own_turn.get_or_insert_with(|| turn(&farm.keys, request, key, routing));
        let branches = request.vias().filter_map(|(_, via)| Branch::read(request.text(via.branch?)));
        if branches.into_iter().any(|branch| branch.turn == own_turn) {
            return true;
        }
    }
    false
}

/// True when a Via line has the edge's mark in it. Of its letters `K` is the one that branches have least of.
fn may_be_own(value: &[u8]) -> bool {
    let rare = MAGIC.len() - 3;
    debug_assert_eq!(MAGIC[rare], b'K');
    memchr::memchr_iter(MAGIC[rare], value).any(|at| at >= rare && value[at - rare..].starts_with(MAGIC))
}
