//! The smallest pieces of reading: spans, character classes and a cursor (RFC 3261 section 25.1).
//!
//! Everything works on bytes; nothing here assumes UTF-8, allocates, or can run past its end.

use super::sixteen;

/// Where a piece of a message stands: a half-open range of octets within the received bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First octet.
    pub start: u32,
    /// One past the last octet.
    pub end: u32,
}

impl Span {
    /// A span from two offsets. Messages are bounded far below 4 GiB, so `u32` is enough.
    pub fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && end <= u32::MAX as usize);
        Span { start: start as u32, end: end as u32 }
    }

    /// The octets that the span covers.
    #[inline]
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }

    /// Number of octets.
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// True for a span of no octets.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

pub(super) const TOKEN: u8 = 1;
const LWS: u8 = 2;
pub(super) const HOST: u8 = 4;
const VALUE: u8 = 8;
const BRACKETED: u8 = 16;
const BARE: u8 = 32;
/// Octets of a URI that stand between no parts of it.
pub(super) const URI_PLAIN: u8 = 64;

/// Character classes of RFC 3261 section 25.1, one bit each: one look tells whether an octet belongs to a piece.
const CLASSES: [u8; 256] = {
    let mut table = [0u8; 256];
    let mut byte = 0usize;
    while byte < 256 {
        let b = byte as u8;
        if b.is_ascii_alphanumeric()
            || matches!(b, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~')
        {
            table[byte] |= TOKEN;
        }
        if matches!(b, b' ' | b'\t' | b'\r' | b'\n') {
            table[byte] |= LWS;
        }
        // An underscore is no legal host character, but names with one are in daily use.
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_') {
            table[byte] |= HOST;
        }
        // What a parameter's value without quotes may be made of, a URI in angle brackets, and what stands before one.
        if !matches!(b, b' ' | b'\t' | b'\r' | b'\n' | b';' | b',' | b'"' | b'<' | b'>') {
            table[byte] |= VALUE;
        }
        if !matches!(b, b' ' | b'\t' | b'\r' | b'\n' | b'<' | b'>') {
            table[byte] |= BRACKETED;
        }
        if !matches!(b, b'<' | b';' | b',' | b'"') {
            table[byte] |= BARE;
        }
        if b > b' ' && !matches!(b, 0x7f | b'<' | b'>' | b'"' | b'@' | b';' | b'?') {
            table[byte] |= URI_PLAIN;
        }
        byte += 1;
    }
    table
};

/// How many octets at the start belong to the class. Four at a time: this is where the time of reading goes.
#[inline]
pub(super) fn run(bytes: &[u8], class: u8) -> usize {
    let of = |byte: u8| CLASSES[byte as usize];
    let mut len = 0;
    for [a, b, c, d] in bytes.as_chunks::<4>().0 {
        if of(*a) & of(*b) & of(*c) & of(*d) & class == 0 {
            break;
        }
        len += 4;
    }
    while bytes.get(len).is_some_and(|byte| of(*byte) & class != 0) {
        len += 1;
    }
    len
}

/// The same for a class whose octets are all but these and some up to the blank, sixteen at a time: for what is long.
#[inline]
fn long_run<const N: usize>(bytes: &[u8], class: u8, stops: [u8; N]) -> usize {
    let mut len = 0;
    while let Some(octets) = bytes.get(len..).and_then(|rest| rest.first_chunk()) {
        let found = sixteen::stops(octets, stops);
        if found == 0 {
            len += 16;
            continue;
        }
        len += found.trailing_zeros() as usize;
        if CLASSES[bytes[len] as usize] & class == 0 {
            return len;
        }
        // A control of that class.
        len += 1;
    }
    len + run(&bytes[len..], class)
}

/// How long the value of a parameter is that begins here.
#[inline]
fn value_len(bytes: &[u8]) -> usize {
    long_run(bytes, VALUE, *b";,\"<>")
}

/// How many octets at the start stand between the parts of a URI.
#[inline]
pub(super) fn uri_plain_len(bytes: &[u8]) -> usize {
    long_run(bytes, URI_PLAIN, *b"@;?<>\"\x7f")
}

/// True for an octet of a `token`.
#[inline]
pub fn is_token(byte: u8) -> bool {
    CLASSES[byte as usize] & TOKEN != 0
}

/// True for white space inside a header value: blanks, and the CRLF of a folded line.
#[inline]
pub fn is_lws(byte: u8) -> bool {
    CLASSES[byte as usize] & LWS != 0
}

/// True for an octet of a host name or an IPv4 address.
#[inline]
pub fn is_host(byte: u8) -> bool {
    CLASSES[byte as usize] & HOST != 0
}

/// The value without white space at either end.
pub fn trim(mut value: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = value {
        if !is_lws(*first) {
            break;
        }
        value = rest;
    }
    while let [rest @ .., last] = value {
        if !is_lws(*last) {
            break;
        }
        value = rest;
    }
    value
}

/// A decimal number of digits alone, at most `max`. No sign, no blanks, no empty text.
pub fn decimal(digits: &[u8], max: u64) -> Option<u64> {
    let mut rest = digits;
    if digits.len() > DIGITS_MAX {
        // Zeros before it do not make it larger.
        let (zeros, others) = digits.split_at(digits.len() - DIGITS_MAX);
        if zeros.iter().any(|zero| *zero != b'0') {
            return None;
        }
        rest = others;
    }
    if rest.is_empty() {
        return None;
    }
    let mut number = 0u64;
    for digit in rest {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + u64::from(digit);
    }
    (number <= max).then_some(number)
}

/// Digits of the largest power of ten that 64 bits hold.
const DIGITS_MAX: usize = 19;

/// Reads forward through one header value or URI.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    /// The message up to the last octet that may be read.
    bytes: &'a [u8],
    /// All of it: what is behind may be looked at, sixteen octets at a time.
    all: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor at the first octet of `span`.
    #[inline]
    pub fn new(bytes: &'a [u8], span: Span) -> Self {
        Cursor { bytes: &bytes[..span.end as usize], all: bytes, at: span.start as usize }
    }

    /// Offset of the next octet.
    #[inline]
    pub fn at(&self) -> usize {
        self.at
    }

    /// True when everything was read.
    #[inline]
    pub fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// The next octet, not consumed.
    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// What is left.
    pub fn rest(&self) -> Span {
        Span::new(self.at, self.bytes.len())
    }

    /// Skips white space.
    #[inline]
    pub fn skip_lws(&mut self) {
        self.at = self.behind_lws();
    }

    #[inline]
    fn behind_lws(&self) -> usize {
        let mut at = self.at;
        while self.bytes.get(at).is_some_and(|b| is_lws(*b)) {
            at += 1;
        }
        at
    }

    /// Consumes `byte` if it is next.
    #[inline]
    pub fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Consumes `byte` with white space around it, as the separators of RFC 3261 section 25.1 allow.
    #[inline]
    pub fn eat_separator(&mut self, byte: u8) -> bool {
        let at = self.behind_lws();
        if self.bytes.get(at) != Some(&byte) {
            return false;
        }
        self.at = at + 1;
        self.skip_lws();
        true
    }

    /// Consumes the octets for which `keep` holds; the span may be empty.
    #[inline]
    pub fn take_while(&mut self, keep: impl Fn(u8) -> bool) -> Span {
        let start = self.at;
        let rest = self.bytes.get(start..).unwrap_or_default();
        self.at += rest.iter().position(|b| !keep(*b)).unwrap_or(rest.len());
        Span::new(start, self.at)
    }

    /// Consumes the octets of a class; the span may be empty.
    #[inline]
    fn run(&mut self, class: u8) -> Span {
        let start = self.at;
        self.at += run(self.bytes.get(start..).unwrap_or_default(), class);
        Span::new(start, self.at)
    }

    /// Length of what begins at an offset, as `measure` finds it, and ends with what may be read.
    #[inline]
    fn len_at(&self, start: usize, measure: impl Fn(&[u8]) -> usize) -> Option<usize> {
        let room = self.bytes.len().checked_sub(start)?;
        Some(measure(&self.all[start..]).min(room))
    }

    /// Consumes a host name or an IPv4 address; the span may be empty.
    pub fn host(&mut self) -> Span {
        self.run(HOST)
    }

    /// Consumes a port of up to five digits; nothing when they are none.
    #[inline(always)]
    pub fn plain_port(&mut self) -> Option<u16> {
        let (mut number, mut at) = (0u32, self.at);
        while let Some(digit) = self.bytes.get(at).map(|octet| octet.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
            number = number * 10 + u32::from(digit);
            at += 1;
            if at > self.at + 5 {
                return None;
            }
        }
        let port = u16::try_from(number).ok().filter(|port| *port > 0)?;
        self.at = at;
        Some(port)
    }

    /// Consumes what a URI in angle brackets may be made of; the span may be empty.
    pub fn bracketed(&mut self) -> Span {
        let start = self.at;
        self.at += self.len_at(start, |rest| long_run(rest, BRACKETED, *b"<>")).unwrap_or(0);
        Span::new(start, self.at)
    }

    /// Consumes what stands before an angle bracket, a quote or a parameter; the span may be empty.
    pub fn bare(&mut self) -> Span {
        self.run(BARE)
    }

    /// Consumes this text if it is next.
    #[inline]
    pub fn eat_text(&mut self, text: &[u8]) -> bool {
        let found = self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(text));
        self.at += if found { text.len() } else { 0 };
        found
    }

    /// Consumes a token, or nothing and `None`.
    #[inline]
    pub fn token(&mut self) -> Option<Span> {
        let span = self.run(TOKEN);
        (!span.is_empty()).then_some(span)
    }

    /// Consumes a quoted string whose opening quote is next; `None` when it is not closed.
    /// The span covers the text between the quotes, escapes as they came.
    pub fn quoted(&mut self) -> Option<Span> {
        if !self.eat(b'"') {
            return None;
        }
        let start = self.at;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    let span = Span::new(start, self.at);
                    self.at += 1;
                    return Some(span);
                }
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at = self.bytes.len();
        None
    }

    /// Consumes up to the next `,` that stands outside quotes and angle brackets, or to the end.
    /// `None` when a quote or a bracket is not closed.
    pub fn list_element(&mut self) -> Option<Span> {
        let start = self.at;
        while let Some(byte) = self.peek() {
            match byte {
                b',' => break,
                b'"' => {
                    self.quoted()?;
                }
                b'<' => {
                    self.take_while(|b| b != b'>');
                    if !self.eat(b'>') {
                        return None;
                    }
                }
                _ => self.at += 1,
            }
        }
        Some(Span::new(start, self.at))
    }

    /// Consumes one `;name[=value]`. `Ok(None)` when no further parameter follows.
    #[inline(always)]
    pub fn param(&mut self) -> Result<Option<Param>, Malformed> {
        match self.peek() {
            None | Some(b',') => Ok(None),
            Some(b';') => match self.plain_param() {
                Some(param) => Ok(Some(param)),
                None => self.any_param(),
            },
            Some(_) => self.any_param(),
        }
    }

    /// One `;name[=value]` without blanks and quotes, which nearly every one is; nothing is consumed by any other.
    #[inline(always)]
    fn plain_param(&mut self) -> Option<Param> {
        let (mark, bytes) = (self.at, self.bytes);
        let name = mark + 1..mark + 1 + run(bytes.get(mark + 1..)?, TOKEN);
        let (mut value, mut end) = (None, name.end);
        if bytes.get(end) == Some(&b'=') {
            let len = self.len_at(end + 1, value_len)?;
            value = Some(Span::new(end + 1, end + 1 + len));
            end += 1 + len;
        }
        let is_ended = matches!(bytes.get(end), None | Some(b';' | b','));
        if !is_ended || name.is_empty() {
            return None;
        }
        self.at = end;
        Some(Param { name: Span::new(name.start, name.end), value, whole: Span::new(mark, end) })
    }

    /// A parameter that begins with just this text, `;name=`: its value, when it has no blanks and quotes. Nothing is consumed by any
    /// other.
    #[inline]
    pub fn plain_value(&mut self, text: &[u8]) -> Option<Span> {
        self.bytes.get(self.at..)?.strip_prefix(text)?;
        let start = self.at + text.len();
        let end = start + self.len_at(start, value_len)?;
        if !matches!(self.bytes.get(end), None | Some(b';' | b',')) {
            return None;
        }
        self.at = end;
        Some(Span::new(start, end))
    }

    #[cold]
    fn any_param(&mut self) -> Result<Option<Param>, Malformed> {
        let mark = self.at;
        if !self.eat_separator(b';') {
            return Ok(None);
        }
        let Some(name) = self.token() else {
            // `;;` and a lone trailing `;` carry nothing, and devices do send them.
            return match self.peek() {
                None | Some(b';' | b',' | b'>') => {
                    Ok(Some(Param { whole: Span::new(mark, self.at), ..Param::default() }))
                }
                Some(_) => Err(Malformed),
            };
        };
        let mut value = None;
        if self.eat_separator(b'=') {
            value = Some(match self.peek() {
                Some(b'"') => self.quoted().ok_or(Malformed)?,
                _ => self.run(VALUE),
            });
        }
        Ok(Some(Param { name, value, whole: Span::new(mark, self.at) }))
    }
}

/// One parameter; the name is empty for a stray `;`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Param {
    /// The name as it came.
    pub name: Span,
    /// The value, without its quotes.
    pub value: Option<Span>,
    /// All of it, the `;` included.
    pub whole: Span,
}

/// The text does not follow the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(text: &[u8]) -> Cursor<'_> {
        Cursor::new(text, Span::new(0, text.len()))
    }

    proptest::proptest! {
        #[test]
        fn a_run_is_as_long_as_it_is_octet_by_octet(
            bytes in proptest::collection::vec(proptest::prop_oneof![8 => 0x2cu8..0x7f, 1 => proptest::num::u8::ANY], 0..60)
        ) {
            for class in [TOKEN, HOST, VALUE, BRACKETED, BARE, URI_PLAIN] {
                let len = bytes.iter().take_while(|byte| CLASSES[**byte as usize] & class != 0).count();
                proptest::prop_assert_eq!(run(&bytes, class), len);
                let long = match class {
                    VALUE => value_len(&bytes),
                    BRACKETED => long_run(&bytes, BRACKETED, *b"<>"),
                    URI_PLAIN => uri_plain_len(&bytes),
                    _ => continue,
                };
                proptest::prop_assert_eq!(long, len);
            }
        }
    }

    #[test]
    fn a_number_is_digits_alone_and_bounded() {
        assert_eq!(decimal(b"0070", 255), Some(70));
        for text in [&b""[..], b"-1", b"+1", b"1 ", b"0x1", b"256", b"99999999999999999999999"] {
            assert_eq!(decimal(text, 255), None, "{text:?}");
        }
    }

    #[test]
    fn a_quote_ends_only_at_its_own_closing_quote() {
        let text = br#""a \" , b",c"#;
        let mut c = cursor(text);
        assert_eq!(c.list_element().map(|s| s.of(text)), Some(&br#""a \" , b""#[..]));
        assert!(c.eat(b','));
        assert_eq!(cursor(br#""open"#).quoted(), None);
        assert_eq!(cursor(br#""ends in escape\"#).quoted(), None);
    }

    #[test]
    fn a_comma_inside_angle_brackets_does_not_split_a_list() {
        let text = b"<sip:a,b@c>;x, <sip:d>";
        let mut c = cursor(text);
        assert_eq!(c.list_element().map(|s| s.of(text)), Some(&b"<sip:a,b@c>;x"[..]));
        assert_eq!(cursor(b"<sip:a").list_element(), None);
    }

    #[test]
    fn parameters_may_have_blanks_quotes_and_no_value() {
        let text = b" ; lr ; a = b;c=\"d;e\";;f";
        let mut c = cursor(text);
        let mut seen = Vec::new();
        while let Some(p) = c.param().unwrap() {
            seen.push((p.name.of(text).to_vec(), p.value.map(|v| v.of(text).to_vec())));
        }
        let word = |w: &str| w.as_bytes().to_vec();
        assert_eq!(
            seen,
            [
                (word("lr"), None),
                (word("a"), Some(word("b"))),
                (word("c"), Some(word("d;e"))),
                (word(""), None),
                (word("f"), None)
            ]
        );
    }
}
