//! From received bytes to a request, a response, an answerable fault, or garbage (RFC 3261 section 7).
//!
//! Strict where smuggling starts and lenient elsewhere: a header name is a token with nothing but
//! blanks before its colon, a line ends at LF or CRLF and a lone CR ends the message's life, a field that must
//! be single may stand twice only with the same value. What a proxy does not read (Contact, Date, bodies,
//! unknown headers) is not judged.
//!
//! Nothing is copied: [`Index`] is a table of offsets that a worker keeps and reuses, so parsing allocates
//! only while that table still grows.

use super::address::{self, Address};
use super::headers::HeaderName;
use super::lines::read_lines;
use super::message::{Request, Response};
use super::method::Method;
use super::scan::{Cursor, Span, TOKEN, decimal, is_lws, is_token, run};
use super::status::Status;
use super::uri;
use super::via::{self, Via};

/// Header lines that one message may have. Real messages have 15 to 40; the bound keeps the work for a
/// hostile one small.
pub const HEADERS_MAX: usize = 256;

/// Largest body that is believed, the size of a UDP datagram.
pub const BODY_LEN_MAX: u64 = 65_535;

/// Where the bytes came from, which decides how a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One message a datagram: the body ends with Content-Length or with the datagram (section 18.3).
    Datagram,
    /// Cut out of a stream by [`framing`](super::framing): Content-Length has been obeyed.
    Stream,
}

/// What the bytes are.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// A request that can be acted upon.
    Request(Request<'a>),
    /// A response that can be acted upon.
    Response(Response<'a>),
    /// A request that must be refused, with enough of it read to be answered.
    Refused(Request<'a>, Fault),
    /// Nothing that could be answered.
    Garbage(Fault),
}

/// What is wrong with a message. The word is metric label, log field and test expectation alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Nothing but line ends: a keep-alive (RFC 5626 section 3.5.1).
    KeepAlive,
    /// The first line is neither a request line nor a status line.
    NotSip,
    /// The request line has other than single blanks between method, URI and version.
    RequestLine,
    /// Another version than SIP/2.0.
    Version,
    /// The Request-URI breaks the grammar.
    RequestUri,
    /// The Request-URI carries headers, which must not be sent (section 19.1.5).
    RequestUriHeaders,
    /// The status line breaks the grammar.
    StatusLine,
    /// A NUL outside a quoted pair.
    Nul,
    /// A carriage return without its line feed.
    BareCr,
    /// A header line whose name is no token directly followed by a colon.
    HeaderName,
    /// More header lines than [`HEADERS_MAX`].
    TooManyHeaders,
    /// No empty line behind the headers.
    Unfinished,
    /// No Via.
    ViaMissing,
    /// The top Via breaks the grammar.
    Via,
    /// No From.
    FromMissing,
    /// From breaks the grammar.
    From,
    /// No To.
    ToMissing,
    /// To breaks the grammar.
    To,
    /// No Call-ID.
    CallIdMissing,
    /// Call-ID is empty or has blanks in it.
    CallId,
    /// No CSeq.
    CSeqMissing,
    /// CSeq breaks the grammar or reaches 2^31.
    CSeq,
    /// CSeq names another method than the request line.
    CSeqMethod,
    /// Max-Forwards is no number up to 255.
    MaxForwards,
    /// Content-Length is no number up to [`BODY_LEN_MAX`].
    ContentLength,
    /// The datagram ends before the body does.
    BodyCut,
    /// From, To, Call-ID, CSeq, Max-Forwards or Content-Length twice, with different values.
    Contradiction,
    /// A stream message without Content-Length (section 18.3).
    ContentLengthMissing,
}

impl Fault {
    /// One word for labels, logs and tests.
    pub fn as_str(self) -> &'static str {
        match self {
            Fault::KeepAlive => "keep_alive",
            Fault::NotSip => "not_sip",
            Fault::RequestLine => "request_line",
            Fault::Version => "version",
            Fault::RequestUri => "request_uri",
            Fault::RequestUriHeaders => "request_uri_headers",
            Fault::StatusLine => "status_line",
            Fault::Nul => "nul",
            Fault::BareCr => "bare_cr",
            Fault::HeaderName => "header_name",
            Fault::TooManyHeaders => "too_many_headers",
            Fault::Unfinished => "unfinished",
            Fault::ViaMissing => "via_missing",
            Fault::Via => "via",
            Fault::FromMissing => "from_missing",
            Fault::From => "from",
            Fault::ToMissing => "to_missing",
            Fault::To => "to",
            Fault::CallIdMissing => "call_id_missing",
            Fault::CallId => "call_id",
            Fault::CSeqMissing => "cseq_missing",
            Fault::CSeq => "cseq",
            Fault::CSeqMethod => "cseq_method",
            Fault::MaxForwards => "max_forwards",
            Fault::ContentLength => "content_length",
            Fault::BodyCut => "body_cut",
            Fault::Contradiction => "contradiction",
            Fault::ContentLengthMissing => "content_length_missing",
        }
    }

    /// The reason phrase of the answer: it names the fault and echoes nothing (section 21.4.1).
    pub fn phrase(self) -> &'static str {
        match self {
            Fault::KeepAlive | Fault::NotSip | Fault::StatusLine => "Bad Request",
            Fault::RequestLine => "Bad Request-Line",
            Fault::Version => "Version Not Supported",
            Fault::RequestUri => "Bad Request-URI",
            Fault::RequestUriHeaders => "Headers In Request-URI",
            Fault::Nul => "NUL In Header",
            Fault::BareCr => "CR Without LF",
            Fault::HeaderName => "Bad Header Name",
            Fault::TooManyHeaders => "Too Many Headers",
            Fault::Unfinished => "Unfinished Headers",
            Fault::ViaMissing => "Missing Via",
            Fault::Via => "Bad Via",
            Fault::FromMissing => "Missing From",
            Fault::From => "Bad From",
            Fault::ToMissing => "Missing To",
            Fault::To => "Bad To",
            Fault::CallIdMissing => "Missing Call-ID",
            Fault::CallId => "Bad Call-ID",
            Fault::CSeqMissing => "Missing CSeq",
            Fault::CSeq => "Bad CSeq",
            Fault::CSeqMethod => "CSeq Method Mismatch",
            Fault::MaxForwards => "Bad Max-Forwards",
            Fault::ContentLength => "Bad Content-Length",
            Fault::BodyCut => "Body Shorter Than Content-Length",
            Fault::Contradiction => "Contradicting Headers",
            Fault::ContentLengthMissing => "Missing Content-Length",
        }
    }

    /// The status code of the answer.
    pub fn code(self) -> u16 {
        if self == Fault::Version { 505 } else { 400 }
    }
}

/// The first line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartLine {
    /// Not read yet.
    #[default]
    Nothing,
    /// `METHOD uri SIP/2.0`
    Request {
        /// The method.
        method: Method,
        /// Its name as it came.
        name: Span,
        /// The Request-URI.
        uri: Span,
    },
    /// `SIP/2.0 code phrase`
    Response {
        /// The status code.
        status: Status,
    },
}

/// One header line, folded lines included.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Which header it is.
    pub name: HeaderName,
    /// Octets of the name, with which the line begins.
    pub(super) name_len: u32,
    /// The value without white space at its ends.
    pub value: Span,
    /// All of it, name and line end included.
    pub line: Span,
}

impl Field {
    /// What a place holds that no line has been read into.
    const NONE: Field = Field {
        name: HeaderName::Other,
        name_len: 0,
        value: Span { start: 0, end: 0 },
        line: Span { start: 0, end: 0 },
    };

    /// The name as it came.
    pub fn spelling(&self) -> Span {
        Span { start: self.line.start, end: self.line.start + self.name_len }
    }
}

/// Number of the first line of a name that is not there.
const NOWHERE: u16 = u16::MAX;

/// CSeq (section 20.16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq {
    /// The sequence number, below 2^31.
    pub number: u32,
    /// The method name.
    pub method: Method,
    /// The method name as it came.
    pub name: Span,
}

/// Where everything stands in one message. Kept by a worker and used again for each message.
#[derive(Debug)]
pub struct Index {
    pub(super) start: StartLine,
    /// The parts of the Request-URI.
    pub(super) uri: Option<uri::Parts>,
    /// Offset behind the first line.
    pub(super) start_end: u32,
    /// Room for as many header lines as there may be, and how many there are.
    fields: Box<[Field; HEADERS_MAX]>,
    count: usize,
    /// Which names stand more than once.
    pub(super) repeated: u32,
    /// Number of the first line of each name.
    pub(super) first: [u16; HeaderName::COUNT],
    /// Offset of the empty line.
    pub(super) head_end: u32,
    pub(super) body: Span,
    pub(super) via: Option<Via>,
    pub(super) from: Option<Address>,
    pub(super) to: Option<Address>,
    pub(super) call_id: Option<Span>,
    pub(super) cseq: Option<CSeq>,
    pub(super) max_forwards: Option<u8>,
    pub(super) content_length: Option<u32>,
}

impl Default for Index {
    fn default() -> Self {
        Index::new()
    }
}

impl Index {
    /// An empty index.
    pub fn new() -> Self {
        Index {
            start: StartLine::Nothing,
            uri: None,
            start_end: 0,
            fields: Box::new([Field::NONE; HEADERS_MAX]),
            count: 0,
            repeated: 0,
            first: [NOWHERE; HeaderName::COUNT],
            head_end: 0,
            body: Span::default(),
            via: None,
            from: None,
            to: None,
            call_id: None,
            cseq: None,
            max_forwards: None,
            content_length: None,
        }
    }

    fn clear(&mut self) {
        self.forget_fields();
        self.start = StartLine::Nothing;
        (self.start_end, self.head_end, self.body) = (0, 0, Span::default());
        (self.uri, self.via, self.from, self.to) = (None, None, None, None);
        (self.call_id, self.cseq, self.max_forwards, self.content_length) = (None, None, None, None);
    }

    pub(super) fn forget_fields(&mut self) {
        (self.count, self.repeated, self.first) = (0, 0, [NOWHERE; HeaderName::COUNT]);
    }

    /// Adds a header line, while there is room.
    #[inline(always)]
    pub(super) fn take_up(&mut self, field: Field, fault: &mut Option<Fault>) {
        let Some(place) = self.fields.get_mut(self.count) else { return note(fault, Fault::TooManyHeaders) };
        let first = &mut self.first[field.name as usize];
        if *first == NOWHERE {
            *first = self.count as u16;
        } else {
            self.repeated |= field.name.bit();
        }
        *place = field;
        self.count += 1;
    }

    /// All header lines in their order.
    pub(super) fn fields(&self) -> &[Field] {
        &self.fields[..self.count]
    }

    /// The line that was taken up last.
    pub(super) fn last_mut(&mut self) -> Option<&mut Field> {
        self.fields[..self.count].last_mut()
    }

    /// The first header line of this name.
    #[inline]
    pub(super) fn first(&self, name: HeaderName) -> Option<&Field> {
        self.fields.get(usize::from(self.first[name as usize]))
    }

    /// The first header line of this name and all behind it; none when there is none.
    pub(super) fn since_first(&self, name: HeaderName) -> &[Field] {
        self.fields().get(usize::from(self.first[name as usize])..).unwrap_or_default()
    }
}

/// Reads one message. Never panics, never allocates beyond the reused index.
pub fn parse<'a>(bytes: &'a [u8], framing: Framing, index: &'a mut Index) -> Outcome<'a> {
    index.clear();
    let mut fault = None;
    let start = match read_start_line(bytes, index, &mut fault) {
        Ok(end) => end,
        Err(garbage) => return Outcome::Garbage(garbage),
    };
    index.start_end = start as u32;
    read_lines(bytes, start, index, &mut fault);
    read_fields(bytes, index, &mut fault);
    read_body(bytes, framing, index, &mut fault);
    let index = &*index;
    match (index.start, fault) {
        (StartLine::Response { .. }, None) => Outcome::Response(Response::new(bytes, index)),
        (StartLine::Request { .. }, None) => Outcome::Request(Request::new(bytes, index)),
        (StartLine::Request { .. }, Some(fault)) if index.via.is_some() => {
            Outcome::Refused(Request::new(bytes, index), fault)
        }
        (StartLine::Request { .. }, Some(Fault::RequestLine)) => Outcome::Garbage(Fault::NotSip),
        (_, fault) => Outcome::Garbage(fault.unwrap_or(Fault::NotSip)),
    }
}

/// The Content-Length of a header section alone, for cutting messages out of a stream. Only faults that
/// make the length doubtful count here; everything else is judged when the whole message is parsed.
pub fn head_content_length(head: &[u8], index: &mut Index) -> Result<u32, Fault> {
    index.clear();
    let mut fault = None;
    let start = read_start_line(head, index, &mut fault)?;
    read_lines(head, start, index, &mut fault);
    read_fields(head, index, &mut fault);
    let doubtful = [
        Fault::BareCr,
        Fault::ContentLength,
        Fault::Contradiction,
        Fault::HeaderName,
        Fault::Nul,
        Fault::TooManyHeaders,
        Fault::Unfinished,
    ];
    match fault {
        Some(fault) if doubtful.contains(&fault) => Err(fault),
        _ if index.first(HeaderName::ContentLength).is_none() => Err(Fault::ContentLengthMissing),
        fault => index.content_length.ok_or(fault.unwrap_or(Fault::ContentLength)),
    }
}

/// Notes the first fault; later ones are consequences more often than not.
pub(super) fn note(fault: &mut Option<Fault>, found: Fault) {
    fault.get_or_insert(found);
}

/// Reads the first line and returns the offset behind it.
fn read_start_line(bytes: &[u8], index: &mut Index, fault: &mut Option<Fault>) -> Result<usize, Fault> {
    // Line ends before the start line are ignored (section 7.5).
    let start = bytes.iter().position(|b| !matches!(b, b'\r' | b'\n')).ok_or(Fault::KeepAlive)?;
    let line_feed = memchr::memchr(b'\n', &bytes[start..]).ok_or(Fault::NotSip)? + start;
    let end = if bytes[line_feed - 1] == b'\r' { line_feed - 1 } else { line_feed };
    let line = &bytes[start..end];
    if read_request_line(bytes, start, line, index) {
        return Ok(line_feed + 1);
    }
    if line.len() >= 4 && line[..4].eq_ignore_ascii_case(b"SIP/") {
        index.start = StartLine::Response { status: status_line(line).ok_or(Fault::StatusLine)? };
        return Ok(line_feed + 1);
    }
    let version = line.trim_ascii_end().rsplit(|b| matches!(b, b' ' | b'\t')).next().unwrap_or_default();
    let has_version = version.len() >= 4 && version[..4].eq_ignore_ascii_case(b"SIP/");
    let name = line.iter().position(|b| !is_token(*b)).unwrap_or(0);
    if (name == 0 || line[name] != b' ') && !has_version {
        return Err(Fault::NotSip);
    }
    let uri_end = line.len().saturating_sub(version.len() + 1);
    let well_formed = name > 0 && line[name] == b' ' && line.ends_with(version) && line[uri_end] == b' ';
    let uri =
        if well_formed && name < uri_end { Span::new(start + name + 1, start + uri_end) } else { Span::default() };
    let name = Span::new(start, start + name);
    index.start = StartLine::Request { method: Method::from_bytes(name.of(bytes)), name, uri };
    if !has_version {
        note(fault, Fault::RequestLine);
    } else if !version.eq_ignore_ascii_case(b"SIP/2.0") {
        note(fault, Fault::Version);
    } else if uri.is_empty() || uri.of(bytes).iter().any(|b| is_lws(*b)) {
        note(fault, Fault::RequestLine);
    } else {
        index.uri = uri::Parts::of(uri.of(bytes));
        match index.uri {
            None => note(fault, Fault::RequestUri),
            Some(parts) if parts.has_headers() => note(fault, Fault::RequestUriHeaders),
            Some(_) => {}
        }
    }
    Ok(line_feed + 1)
}

/// A request line as it should be. False for anything else, status lines among them.
fn read_request_line(bytes: &[u8], start: usize, line: &[u8], index: &mut Index) -> bool {
    let Some(line) = line.strip_suffix(b" SIP/2.0") else { return false };
    let name = run(line, TOKEN);
    if name == 0 || line.get(name) != Some(&b' ') {
        return false;
    }
    // A URI with a blank in it is none.
    let Some(parts) = uri::Parts::of(&line[name + 1..]).filter(|parts| !parts.has_headers()) else { return false };
    let (uri, name) = (Span::new(start + name + 1, start + line.len()), Span::new(start, start + name));
    index.start = StartLine::Request { method: Method::from_bytes(name.of(bytes)), name, uri };
    index.uri = Some(parts);
    true
}

/// `SIP/2.0 SP code SP [phrase]`. The blank behind the code may be missing: devices forget it.
fn status_line(line: &[u8]) -> Option<Status> {
    let rest = line.get(7..)?;
    if !line[..7].eq_ignore_ascii_case(b"SIP/2.0") || rest.len() < 4 || rest[0] != b' ' {
        return None;
    }
    if rest.len() > 4 && rest[4] != b' ' {
        return None;
    }
    Status::new(decimal(&rest[1..4], 699)? as u16)
}

/// Fields that must say the same wherever they stand more than once.
const SINGLES: [HeaderName; 6] = [
    HeaderName::From,
    HeaderName::To,
    HeaderName::CallId,
    HeaderName::CSeq,
    HeaderName::MaxForwards,
    HeaderName::ContentLength,
];

/// Interprets the headers that routing needs.
fn read_fields(bytes: &[u8], index: &mut Index, fault: &mut Option<Fault>) {
    let singles = SINGLES.iter().fold(0, |set, name| set | name.bit());
    if index.repeated & singles == 0 {
        read_top_via(bytes, index, fault);
    } else {
        read_repeated(bytes, index, fault);
    }
    if index.first(HeaderName::Via).is_none() {
        note(fault, Fault::ViaMissing);
    }
    let singles = SINGLES.map(|name| index.first(name).map(|field| field.value));
    read_singles(bytes, singles, index, fault);
}

fn read_top_via(bytes: &[u8], index: &mut Index, fault: &mut Option<Fault>) {
    let Some(field) = index.first(HeaderName::Via) else { return };
    let mut cursor = Cursor::new(bytes, field.value);
    let Ok(sent_by) = via::sent_by(bytes, &mut cursor) else { return note(fault, Fault::Via) };
    // With a sent-by alone a request that is refused anyway can still be answered.
    let via = index.via.insert(sent_by);
    if via::params(bytes, &mut cursor, via).is_err() {
        *via = sent_by;
        note(fault, Fault::Via);
    }
}

/// The top Via and fields that stand more than once, in their order: what is wrong first counts.
#[cold]
fn read_repeated(bytes: &[u8], index: &mut Index, fault: &mut Option<Fault>) {
    for number in 0..index.count {
        let field = index.fields[number];
        let Some(first) = index.first(field.name) else { continue };
        if field.name == HeaderName::Via && first.line == field.line {
            read_top_via(bytes, index, fault);
        } else if SINGLES.contains(&field.name) && first.value.of(bytes) != field.value.of(bytes) {
            note(fault, Fault::Contradiction);
        }
    }
}

fn read_singles(bytes: &[u8], singles: [Option<Span>; 6], index: &mut Index, fault: &mut Option<Fault>) {
    let [from, to, call_id, cseq, max_forwards, content_length] = singles;
    index.from = read_address(bytes, from, Fault::FromMissing, Fault::From, fault);
    index.to = read_address(bytes, to, Fault::ToMissing, Fault::To, fault);
    match call_id {
        None => note(fault, Fault::CallIdMissing),
        Some(value) if value.is_empty() || has_lws(value.of(bytes)) => note(fault, Fault::CallId),
        Some(value) => index.call_id = Some(value),
    }
    match cseq.map(|value| read_cseq(bytes, value)) {
        None => note(fault, Fault::CSeqMissing),
        Some(None) => note(fault, Fault::CSeq),
        Some(Some(cseq)) => {
            index.cseq = Some(cseq);
            if let StartLine::Request { name, .. } = index.start
                && name.of(bytes) != cseq.name.of(bytes)
            {
                note(fault, Fault::CSeqMethod);
            }
        }
    }
    if let Some(value) = max_forwards {
        match decimal(value.of(bytes), 255) {
            Some(hops) => index.max_forwards = Some(hops as u8),
            None => note(fault, Fault::MaxForwards),
        }
    }
    if let Some(value) = content_length {
        match decimal(value.of(bytes), BODY_LEN_MAX) {
            Some(length) => index.content_length = Some(length as u32),
            None => note(fault, Fault::ContentLength),
        }
    }
}

/// True when there is white space in it. Nearly always a look at all octets at once says that there is none.
fn has_lws(text: &[u8]) -> bool {
    let may_have = text.iter().fold(false, |may, octet| may | (*octet <= b' '));
    may_have && text.iter().any(|octet| is_lws(*octet))
}

fn read_address(
    bytes: &[u8],
    value: Option<Span>,
    missing: Fault,
    broken: Fault,
    fault: &mut Option<Fault>,
) -> Option<Address> {
    let Some(value) = value else {
        note(fault, missing);
        return None;
    };
    let mut cursor = Cursor::new(bytes, value);
    match address::parse(bytes, &mut cursor) {
        Ok(address) if cursor.is_done() => Some(address),
        _ => {
            note(fault, broken);
            None
        }
    }
}

/// `number LWS method`, the number below 2^31 (section 8.1.1.5).
fn read_cseq(bytes: &[u8], value: Span) -> Option<CSeq> {
    let text = value.of(bytes);
    let digits = text.iter().position(|b| !b.is_ascii_digit())?;
    let number = decimal(&text[..digits], (1 << 31) - 1)?;
    let blanks = text[digits..].iter().position(|b| !is_lws(*b)).filter(|blanks| *blanks > 0)?;
    let name = &text[digits + blanks..];
    if run(name, TOKEN) != name.len() {
        return None;
    }
    let span = Span { start: value.end - name.len() as u32, end: value.end };
    Some(CSeq { number: number as u32, method: Method::from_bytes(name), name: span })
}

/// Fits the body to Content-Length (section 18.3).
fn read_body(bytes: &[u8], framing: Framing, index: &mut Index, fault: &mut Option<Fault>) {
    let available = index.body.len() as u32;
    match (framing, index.content_length) {
        (_, Some(length)) if length > available => note(fault, Fault::BodyCut),
        (_, Some(length)) => index.body.end = index.body.start + length,
        (Framing::Stream, None) => note(fault, Fault::ContentLengthMissing),
        (Framing::Datagram, None) => index.body.end = bytes.len() as u32,
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
