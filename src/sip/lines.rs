//! Cutting the header section into its lines (RFC 3261 section 7.3).
//!
//! Nearly every message is read the quick way. One with an octet in it that makes its lines doubtful is read again the careful way, which
//! says what is wrong first.

#[cfg(not(target_arch = "x86_64"))]
use memchr::arch::all::memchr::One;
#[cfg(target_arch = "x86_64")]
use memchr::arch::x86_64::sse2::memchr::One;

use super::headers::HeaderName;
use super::parse::{Fault, Field, Index, note};
use super::scan::{Span, TOKEN, is_lws, run, trim};

/// Cuts the header section into lines and finds its end. Nearly every message has no octet in it that makes its lines
/// doubtful; which fault comes first matters only in the others.
pub(super) fn read_lines(bytes: &[u8], start: usize, index: &mut Index, fault: &mut Option<Fault>) {
    let mut found = *fault;
    if read_clean_lines(bytes, start, index, &mut found) {
        *fault = found;
        return;
    }
    index.forget_fields();
    read_doubtful_lines(bytes, start, index, fault);
}

/// Reads lines that end with LF or CRLF; false when there is a carriage return or a NUL anywhere else.
fn read_clean_lines(bytes: &[u8], start: usize, index: &mut Index, fault: &mut Option<Fault>) -> bool {
    // A line feed has been read before `start`, so there is an octet before whatever ends at or behind it.
    let ends_with_crlf = |line_feed: usize| line_feed > 0 && bytes[line_feed - 1] == b'\r';
    let mut carriage_returns = usize::from(ends_with_crlf(start - 1));
    let mut at = start;
    for line_feed in line_feeds().iter(&bytes[start..]) {
        let next = start + line_feed + 1;
        let has_crlf = next > at + 1 && ends_with_crlf(next - 1);
        let end = next - 1 - usize::from(has_crlf);
        if end == at {
            index.head_end = at as u32;
            index.body = Span::new(next, bytes.len());
            let head = &bytes[..at];
            return memchr::memchr_iter(b'\r', head).count() == carriage_returns && memchr::memchr(0, head).is_none();
        }
        carriage_returns += usize::from(has_crlf);
        read_plain_line(bytes, at, end, next, index, fault);
        at = next;
    }
    false
}

/// What finds line feeds. Lines are short: what may be written out in place beats what is quicker with long ones.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn line_feeds() -> One {
    // Every processor of this kind has what it needs.
    One::new(b'\n').expect("SSE2 is part of x86-64")
}

#[cfg(not(target_arch = "x86_64"))]
fn line_feeds() -> One {
    One::new(b'\n')
}

/// Takes up a line as nearly all are: a name that is known and no longer than 15 octets, and its colon at once.
#[inline(always)]
fn read_plain_line(bytes: &[u8], start: usize, end: usize, next: usize, index: &mut Index, fault: &mut Option<Fault>) {
    let Some(octets) = bytes[start..].first_chunk::<16>() else {
        return read_line(bytes, start, end, next, index, fault);
    };
    let Some((name, len)) = HeaderName::before_colon(octets) else {
        return read_line(bytes, start, end, next, index, fault);
    };
    let field = Field {
        name,
        spelling: Span { start: start as u32, end: (start + len) as u32 },
        value: trimmed(bytes, start + len + 1, end),
        line: Span { start: start as u32, end: next as u32 },
    };
    index.take_up(field, fault);
}

fn read_doubtful_lines(bytes: &[u8], start: usize, index: &mut Index, fault: &mut Option<Fault>) {
    let mut at = start;
    loop {
        let Some(content_end) = line_end(bytes, at, fault) else {
            note(fault, Fault::Unfinished);
            index.head_end = bytes.len() as u32;
            index.body = Span::new(bytes.len(), bytes.len());
            return;
        };
        let next = content_end + if bytes[content_end] == b'\r' { 2 } else { 1 };
        if content_end == at {
            index.head_end = at as u32;
            index.body = Span::new(next, bytes.len());
            break;
        }
        read_line(bytes, at, content_end, next, index, fault);
        at = next;
    }
    check_nul(&bytes[..index.head_end as usize], fault);
}

/// Offset of the CRLF or LF that ends the line at `at`.
fn line_end(bytes: &[u8], at: usize, fault: &mut Option<Fault>) -> Option<usize> {
    let mut from = at;
    loop {
        let found = memchr::memchr2(b'\r', b'\n', &bytes[from..])? + from;
        if bytes[found] == b'\n' || bytes.get(found + 1) == Some(&b'\n') {
            return Some(found);
        }
        // Some readers end a line here and others do not, so nobody gets to see it.
        note(fault, Fault::BareCr);
        from = found + 1;
    }
}

/// Takes up the line from `start` to `end`; the next one begins at `next`.
#[inline(never)]
fn read_line(bytes: &[u8], start: usize, end: usize, next: usize, index: &mut Index, fault: &mut Option<Fault>) {
    let line = &bytes[start..end];
    let name_len = run(line, TOKEN);
    let mut colon = name_len;
    if name_len == 0 || line.get(name_len) != Some(&b':') {
        match unusual_colon(line, name_len) {
            Some(at) => colon = at,
            None => return read_no_header(bytes, start, end, next, index, fault),
        }
    }
    let field = Field {
        name: HeaderName::from_bytes(&line[..name_len]),
        spelling: Span::new(start, start + name_len),
        value: trimmed(bytes, start + colon + 1, end),
        line: Span::new(start, next),
    };
    index.take_up(field, fault);
}

/// Offset of a colon that has blanks between itself and the name.
#[cold]
fn unusual_colon(line: &[u8], name_len: usize) -> Option<usize> {
    let blanks = line[name_len..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    let colon = name_len + blanks;
    (name_len > 0 && line.get(colon) == Some(&b':')).then_some(colon)
}

/// A folded line, or one that no header could be.
#[cold]
fn read_no_header(bytes: &[u8], start: usize, end: usize, next: usize, index: &mut Index, fault: &mut Option<Fault>) {
    let is_folded = matches!(bytes[start], b' ' | b'\t');
    match index.fields.last_mut().filter(|_| is_folded) {
        // It belongs to the header above it (section 7.3.1).
        Some(field) => {
            field.line.end = next as u32;
            field.value = trimmed(bytes, field.value.start as usize, end);
        }
        None => note(fault, Fault::HeaderName),
    }
}

#[inline(always)]
fn trimmed(bytes: &[u8], start: usize, end: usize) -> Span {
    match &bytes[start..end] {
        // As nearly everybody writes it; what is above the blank is no white space.
        [b' ', first, .., last] if *first > b' ' && *last > b' ' => Span { start: start as u32 + 1, end: end as u32 },
        value => {
            let blanks = value.iter().take_while(|b| is_lws(**b)).count();
            Span::new(start + blanks, start + blanks + trim(value).len())
        }
    }
}

/// NUL is legal only behind a backslash in a quoted string (section 25.1).
fn check_nul(head: &[u8], fault: &mut Option<Fault>) {
    if memchr::memchr_iter(0, head).any(|at| at == 0 || head[at - 1] != b'\\') {
        note(fault, Fault::Nul);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// Whatever the quick reading of lines accepts the careful one reads alike.
        #[test]
        fn the_quick_reading_of_lines_finds_what_the_careful_one_finds(
            pieces in proptest::collection::vec("(\r\n|\n|\r|\t| |:|;|,|\u{0}|\\\\|[Vv]ia: |To:|Call-ID|Content-Length: |Proxy-Authorization:|x_y|[a-z]{1,5}|[a-z -]{20,70})", 0..60)
        ) {
            let text = format!("BYE sip:a SIP/2.0\r\n{}\r\n\r\n", pieces.concat());
            let start = "BYE sip:a SIP/2.0\r\n".len();
            let (mut quick, mut careful) = (Index::new(), Index::new());
            let (mut quick_fault, mut careful_fault) = (None, None);
            read_doubtful_lines(text.as_bytes(), start, &mut careful, &mut careful_fault);
            if read_clean_lines(text.as_bytes(), start, &mut quick, &mut quick_fault) {
                proptest::prop_assert_eq!(quick_fault, careful_fault);
                proptest::prop_assert_eq!(quick.head_end, careful.head_end);
                proptest::prop_assert_eq!(quick.body, careful.body);
                proptest::prop_assert_eq!(format!("{:?}", quick.fields), format!("{:?}", careful.fields));
                proptest::prop_assert_eq!((quick.names, quick.repeated), (careful.names, careful.repeated));
            } else {
                let is_stray = matches!(careful_fault, Some(Fault::BareCr | Fault::Nul)) || text.contains(['\r', '\0']);
                proptest::prop_assert!(is_stray);
            }
        }
    }
}
