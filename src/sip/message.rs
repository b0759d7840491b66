//! What can be asked of a received message. Views: they borrow the bytes and the index, and are `Copy`.

use super::address::{self, Address};
use super::headers::HeaderName;
use super::method::Method;
use super::parse::{CSeq, Field, Index, StartLine};
use super::scan::{Cursor, Span};
use super::status::Status;
use super::uri::{self, Uri};
use super::via::{self, Via};

/// A request: everything a proxy needs is there and well formed, unless it came with a fault.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    bytes: &'a [u8],
    index: &'a Index,
}

/// A response: status, top Via, From, To, Call-ID and CSeq are there and well formed.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    bytes: &'a [u8],
    index: &'a Index,
}

/// What requests and responses have in common. Names are those of the headers, `from` among them.
#[allow(clippy::wrong_self_convention)]
pub trait Message<'a>: Copy {
    /// The received bytes, all of them.
    fn bytes(self) -> &'a [u8];
    /// The table of offsets.
    fn index(self) -> &'a Index;

    /// The text of a span.
    fn text(self, span: Span) -> &'a [u8] {
        span.of(self.bytes())
    }

    /// All header lines in their order.
    fn fields(self) -> &'a [Field] {
        self.index().fields()
    }

    /// The header lines with this name in their order.
    fn fields_named(self, name: HeaderName) -> impl Iterator<Item = &'a Field> {
        self.index().since_first(name).iter().filter(move |field| field.name == name)
    }

    /// The values of every line with this name.
    fn values(self, name: HeaderName) -> impl Iterator<Item = &'a [u8]> {
        self.fields_named(name).map(move |field| self.text(field.value))
    }

    /// Every value of a comma list, over all its lines. A line that breaks the grammar ends the list.
    fn addresses(self, name: HeaderName) -> impl Iterator<Item = (Field, Address)> {
        self.fields_named(name).flat_map(move |field| {
            let mut cursor = Cursor::new(self.bytes(), field.value);
            let mut first = true;
            std::iter::from_fn(move || {
                if !first && !cursor.eat_separator(b',') {
                    return None;
                }
                first = false;
                address::parse(self.bytes(), &mut cursor).ok().map(|address| (*field, address))
            })
        })
    }

    /// Every Via value from the top. A line that breaks the grammar is left out from there on.
    fn vias(self) -> impl Iterator<Item = (Field, Via)> {
        self.fields_named(HeaderName::Via).flat_map(move |field| {
            let mut cursor = Cursor::new(self.bytes(), field.value);
            let mut first = true;
            std::iter::from_fn(move || {
                if !first && !cursor.eat_separator(b',') {
                    return None;
                }
                first = false;
                via::parse(self.bytes(), &mut cursor).ok().map(|via| (*field, via))
            })
        })
    }

    /// Call-ID; empty when the message came with a fault in it.
    fn call_id(self) -> &'a [u8] {
        self.index().call_id.map_or(&[], |span| self.text(span))
    }

    /// The From tag, empty when there is none (RFC 2543 callers).
    fn from_tag(self) -> &'a [u8] {
        self.index().from.and_then(|from| from.tag).map_or(&[], |span| self.text(span))
    }

    /// The To tag.
    fn to_tag(self) -> Option<&'a [u8]> {
        self.index().to.and_then(|to| to.tag).map(|span| self.text(span)).filter(|tag| !tag.is_empty())
    }

    /// The URI in From.
    fn from_uri(self) -> Option<Uri<'a>> {
        self.index().from.and_then(|from| uri::parse(self.text(from.uri)))
    }

    /// The URI in To.
    fn to_uri(self) -> Option<Uri<'a>> {
        self.index().to.and_then(|to| uri::parse(self.text(to.uri)))
    }

    /// The URI in To as it came.
    fn to_uri_text(self) -> &'a [u8] {
        self.index().to.map_or(&[], |to| self.text(to.uri))
    }

    /// CSeq, unless the message came with a fault in it.
    fn cseq(self) -> Option<CSeq> {
        self.index().cseq
    }

    /// The top Via.
    fn via(self) -> Option<Via> {
        self.index().via
    }

    /// The body.
    fn body(self) -> &'a [u8] {
        self.text(self.index().body)
    }

    /// Content-Length as it was said.
    fn content_length(self) -> Option<u32> {
        self.index().content_length
    }
}

impl<'a> Message<'a> for Request<'a> {
    fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    fn index(self) -> &'a Index {
        self.index
    }
}

impl<'a> Message<'a> for Response<'a> {
    fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    fn index(self) -> &'a Index {
        self.index
    }
}

impl<'a> Request<'a> {
    pub(super) fn new(bytes: &'a [u8], index: &'a Index) -> Self {
        Request { bytes, index }
    }

    /// The method.
    pub fn method(self) -> Method {
        match self.index.start {
            StartLine::Request { method, .. } => method,
            _ => Method::Other,
        }
    }

    /// The method's name as it came.
    pub fn method_name(self) -> &'a [u8] {
        match self.index.start {
            StartLine::Request { name, .. } => self.text(name),
            _ => &[],
        }
    }

    /// The Request-URI as it came.
    pub fn uri_text(self) -> &'a [u8] {
        match self.index.start {
            StartLine::Request { uri, .. } => self.text(uri),
            _ => &[],
        }
    }

    /// The Request-URI; `None` only for a request that came with a fault in it.
    pub fn uri(self) -> Option<Uri<'a>> {
        self.index.uri.map(|parts| parts.view(self.uri_text()))
    }

    /// Max-Forwards, if it was said.
    pub fn max_forwards(self) -> Option<u8> {
        self.index.max_forwards
    }
}

impl<'a> Response<'a> {
    pub(super) fn new(bytes: &'a [u8], index: &'a Index) -> Self {
        Response { bytes, index }
    }

    /// The status code.
    pub fn status(self) -> Status {
        match self.index.start {
            StartLine::Response { status } => status,
            // A response is only made from a status line.
            _ => unreachable!("a response has a status line"),
        }
    }

    /// The Via below the top one: where the response goes next.
    pub fn next_via(self) -> Option<Via> {
        let mut lines = self.fields_named(HeaderName::Via);
        // The parser has read the top one already.
        let (first, top) = (lines.next()?, self.via()?);
        let mut behind = Cursor::new(self.bytes, Span { start: top.whole.end, end: first.value.end });
        if behind.eat_separator(b',')
            && let Ok(via) = via::parse(self.bytes, &mut behind)
        {
            return Some(via);
        }
        lines.find_map(|line| via::parse(self.bytes, &mut Cursor::new(self.bytes, line.value)).ok())
    }
}
