//! Cutting the header section into its lines (RFC 3261 section 7.3).
//!
//! Nearly every message is read the quick way. One with another control in it than those of its line ends is read again the careful way,
//! which knows what is allowed and says what is wrong first.

use super::headers::HeaderName;
use super::parse::{Fault, Field, Index, note};
use super::scan::{Span, TOKEN, is_lws, run, trim};
use super::sixteen::up_to;

/// Cuts the header section into lines and finds its end. Which fault comes first matters only in messages that are not read the quick way.
pub(super) fn read_lines(bytes: &[u8], start: usize, index: &mut Index, fault: &mut Option<Fault>) {
    let mut found = *fault;
    if read_clean_lines(bytes, start, index, &mut found) {
        *fault = found;
        return;
    }
    index.forget_fields();
    read_doubtful_lines(bytes, start, index, fault);
}

/// Reads lines that all end with CRLF; false when there is another control in them or in the first line, or no end.
fn read_clean_lines(bytes: &[u8], start: usize, index: &mut Index, fault: &mut Option<Fault>) -> bool {
    let (mut at, mut from, mut seen, mut line_end) = (start, start, 0, 0);
    if (2..64).contains(&start) {
        (from, seen, line_end) = (0, (1 << start) - 1, 0b11 << (start - 2));
    } else if bytes[..start].contains(&0) {
        return false;
    }
    while from < bytes.len() {
        let found = controls(bytes, from);
        if found & seen != line_end {
            return false;
        }
        let mut unread = found & !seen;
        seen = 0;
        while unread != 0 {
            let bit = unread.trailing_zeros();
            let end = from + bit as usize;
            let (Some(b"\r\n"), Some(line)) = (bytes.get(end..end + 2), bytes.get(at..end)) else { return false };
            if line.is_empty() {
                index.head_end = at as u32;
                index.body = Span::new(end + 2, bytes.len());
                return true;
            }
            read_plain_line(bytes, at, line, index, fault);
            at = end + 2;
            // Both halves of the line end were seen; the second may stand among the next octets.
            unread &= unread - 1;
            unread &= unread.wrapping_sub(1);
            seen = u64::from(bit == 63);
        }
        line_end = seen;
        from += 64;
    }
    false
}

/// Which of 64 octets from an offset on may end a line or make it doubtful, those up to the carriage return: the lowest bit is the first.
#[inline(always)]
fn controls(bytes: &[u8], from: usize) -> u64 {
    if let Some(octets) = bytes[from..].first_chunk() {
        return up_to(octets, b'\r');
    }
    let mut octets = [b' '; 64];
    octets[..bytes.len() - from].copy_from_slice(&bytes[from..]);
    up_to(&octets, b'\r')
}

/// Takes up a line as nearly all are: a name of the table, its colon at once, a blank, and a value with no blanks around it.
#[inline(always)]
fn read_plain_line(bytes: &[u8], start: usize, line: &[u8], index: &mut Index, fault: &mut Option<Fault>) {
    if let Some(octets) = bytes[start..].first_chunk()
        && let Some((name, len)) = HeaderName::before_colon(octets)
        && let Some([b' ', first]) = line.get(len + 1..len + 3)
        && let [.., last] = line
        && *first > b' '
        && *last > b' '
    {
        let (start, end) = (start as u32, (start + line.len()) as u32);
        let name_end = start + len as u32;
        index.take_up(
            Field {
                name,
                name_len: len as u32,
                value: Span { start: name_end + 2, end },
                line: Span { start, end: end + 2 },
            },
            fault,
        );
        return;
    }
    read_line(bytes, start, start + line.len(), start + line.len() + 2, index, fault);
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
        name_len: name_len as u32,
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
    match index.last_mut().filter(|_| is_folded) {
        // It belongs to the header above it (section 7.3.1).
        Some(field) => {
            field.line.end = next as u32;
            field.value = trimmed(bytes, field.value.start as usize, end);
        }
        None => note(fault, Fault::HeaderName),
    }
}

fn trimmed(bytes: &[u8], start: usize, end: usize) -> Span {
    let value = &bytes[start..end];
    let blanks = value.iter().take_while(|b| is_lws(**b)).count();
    Span::new(start + blanks, start + blanks + trim(value).len())
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
            pieces in proptest::collection::vec("(\r\n|\n|\r|\t| |:|;|,|\u{0}|\\\\|[Vv]ia: |To:|Call-ID|Content-Length: |Proxy-Authorization:|x_y|[a-z]{1,5}|[a-z -]{20,70})", 0..60),
            user in "[a-z]{1,60}"
        ) {
            let first = format!("BYE sip:{user} SIP/2.0\r\n");
            let (text, start) = (format!("{first}{}\r\n\r\n", pieces.concat()), first.len());
            let (mut quick, mut careful) = (Index::new(), Index::new());
            let (mut quick_fault, mut careful_fault) = (None, None);
            read_doubtful_lines(text.as_bytes(), start, &mut careful, &mut careful_fault);
            if read_clean_lines(text.as_bytes(), start, &mut quick, &mut quick_fault) {
                proptest::prop_assert_eq!(quick_fault, careful_fault);
                proptest::prop_assert_eq!(quick.head_end, careful.head_end);
                proptest::prop_assert_eq!(quick.body, careful.body);
                proptest::prop_assert_eq!(format!("{:?}", quick.fields()), format!("{:?}", careful.fields()));
                proptest::prop_assert_eq!((quick.first, quick.repeated), (careful.first, careful.repeated));
            } else {
                let is_stray = text.replace("\r\n", "").contains(['\0', '\t', '\n', '\r']);
                proptest::prop_assert!(is_stray);
            }
        }
    }
}
