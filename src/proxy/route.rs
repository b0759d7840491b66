//! Route headers: the edge's own go, and the token in them is read (RFC 3261 sections 16.4 and 16.12).

use crate::calls::CallKey;
use crate::dispatch::Farm;
use crate::sip::address::Address;
use crate::sip::edit::{Edits, remove_leading};
use crate::sip::message::Message;
use crate::sip::parse::Field;
use crate::sip::scan::Span;
use crate::sip::uri::{self, Uri};
use crate::sip::{HeaderName, Request};

use super::token::{PARAM, ToCaller, Token};

/// What the Routes of a request say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Routing<'a> {
    /// The edge's token, authentic and for this Call-ID.
    pub token: Option<Token>,
    /// Leading values that are the edge's own. Asterisk's qualify carries two.
    pub own: usize,
    /// The first Route that is not the edge's.
    pub next: Option<Uri<'a>>,
    /// True when there are Routes behind the edge's own.
    pub has_more: bool,
    /// The edge's own Routes, when they all stand on one line: that line, and where they end.
    own_line: Option<(Field, u32)>,
    /// Set when a strict router put the edge's Route into the Request-URI: the real Request-URI, which is the last Route.
    pub strict: Option<StrictTarget<'a>>,
}

/// The last Route of a request that came from a strict router (section 16.4).
#[derive(Clone, Copy, Debug)]
pub struct StrictTarget<'a> {
    /// Its URI.
    pub uri: &'a [u8],
    line: Span,
    value: Span,
    whole: Span,
}

/// Reads the Routes.
pub fn read<'a>(request: Request<'a>, key: CallKey, farm: &Farm) -> Routing<'a> {
    let mut routing = Routing::default();
    if let Some(token) = request.uri().and_then(|uri| token_in(&uri, key, farm)) {
        // A strict router ahead: the edge's Route is the Request-URI, and the target stands last among the Routes.
        routing.token = Some(token);
        routing.strict = request.addresses(HeaderName::Route).last().map(|(field, address)| StrictTarget {
            uri: request.text(address.uri),
            line: field.line,
            value: field.value,
            whole: address.whole,
        });
    }
    let last = routing.strict.map(|strict| strict.whole);
    for (field, address) in request.addresses(HeaderName::Route) {
        // Whatever stops this is a Route that is not the edge's.
        routing.has_more = true;
        let Some(uri) = uri::parse(request.text(address.uri)) else { break };
        if Some(address.whole) == last {
            break;
        }
        let token = token_in(&uri, key, farm);
        if !farm.is_own(&uri) || routing.is_of_another_edge(token) {
            routing.next = Some(uri);
            break;
        }
        routing.has_more = false;
        routing.note_own(field, address);
        routing.token = routing.token.or(token);
    }
    routing
}

fn token_in(uri: &Uri<'_>, key: CallKey, farm: &Farm) -> Option<Token> {
    Token::read(&farm.keys, key, uri.param(PARAM)?)
}

impl Routing<'_> {
    /// Takes the edge's own Routes off, and the one that became the Request-URI.
    pub fn edit(&self, request: Request<'_>, edits: &mut Edits) {
        match self.own_line {
            Some((field, end)) => remove_leading(edits, request.bytes(), field.line, field.value, end),
            None => self.edit_lines(request, edits),
        }
        if let Some(strict) = self.strict {
            self.edit_strict(request, strict, edits);
        }
    }

    /// Whether a Route is meant for another edge, though its address is served here too: of a call that one edge has and another one passes on to
    /// a phone each of them has its own kind of token.
    fn is_of_another_edge(&self, token: Option<Token>) -> bool {
        let passes_on = |token: Token| token.to_caller == ToCaller::Edge;
        self.own > 0 && self.token.zip(token).is_some_and(|(own, other)| passes_on(own) != passes_on(other))
    }

    fn note_own(&mut self, field: Field, address: Address) {
        let is_on_line = match self.own_line {
            Some((first, _)) => first.line == field.line,
            None => self.own == 0,
        };
        self.own += 1;
        self.own_line = is_on_line.then_some((field, address.whole.end));
    }

    fn edit_lines(&self, request: Request<'_>, edits: &mut Edits) {
        let mut routes = request.addresses(HeaderName::Route).take(self.own).peekable();
        while let Some((field, address)) = routes.next() {
            let same_line = routes.peek().is_some_and(|(next, _)| next.line == field.line);
            if !same_line {
                remove_leading(edits, request.bytes(), field.line, field.value, address.whole.end);
            }
        }
    }

    fn edit_strict(&self, request: Request<'_>, strict: StrictTarget<'_>, edits: &mut Edits) {
        if strict.value.start == strict.whole.start {
            edits.remove(strict.line);
            return;
        }
        // From behind the value before it, comma included, to the end of the line's value.
        let before = &request.bytes()[strict.value.start as usize..strict.whole.start as usize];
        let comma = before.iter().rposition(|b| *b == b',').unwrap_or(0);
        edits.remove(Span::new(strict.value.start as usize + comma, strict.whole.end as usize));
    }
}
