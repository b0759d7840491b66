//! Small header values that decide about a call: Retry-After, Reason, Session-Expires.

use super::headers::HeaderName;
use super::message::Message;
use super::scan::{Cursor, Span, decimal, is_token, trim};

/// Seconds of Retry-After (RFC 3261 section 20.33), the comment and parameters left aside.
pub fn retry_after_secs<'a>(message: impl Message<'a>) -> Option<u32> {
    let value = message.values(HeaderName::RetryAfter).next()?;
    let digits = value.split(|b| !b.is_ascii_digit()).next()?;
    decimal(digits, u64::from(u32::MAX)).map(|secs| secs as u32)
}

/// The Q.850 cause in Reason (RFC 3326). `None` when no Reason names one.
pub fn q850_cause<'a>(message: impl Message<'a>) -> Option<u8> {
    message.values(HeaderName::Reason).find_map(|value| {
        let mut cursor = Cursor::new(value, Span::new(0, value.len()));
        loop {
            let protocol = cursor.token()?;
            let mut cause = None;
            while let Ok(Some(param)) = cursor.param() {
                if param.name.of(value).eq_ignore_ascii_case(b"cause") {
                    cause = param.value.and_then(|v| decimal(v.of(value), 255));
                }
            }
            if protocol.of(value).eq_ignore_ascii_case(b"Q.850") {
                return cause.map(|c| c as u8);
            }
            if !cursor.eat_separator(b',') {
                return None;
            }
        }
    })
}

/// True when any Reason header is there at all.
pub fn has_reason<'a>(message: impl Message<'a>) -> bool {
    message.values(HeaderName::Reason).next().is_some()
}

/// The negotiated session interval in seconds (RFC 4028 section 4), from Session-Expires.
pub fn session_expires_secs<'a>(message: impl Message<'a>) -> Option<u32> {
    let value = message.values(HeaderName::SessionExpires).next()?;
    let digits = value.split(|b| !b.is_ascii_digit()).next()?;
    decimal(digits, u64::from(u32::MAX)).map(|secs| secs as u32)
}

/// The option tags of every line of a header, such as Proxy-Require (section 20.29).
pub fn option_tags<'a>(message: impl Message<'a>, name: HeaderName) -> impl Iterator<Item = &'a [u8]> {
    message
        .values(name)
        .flat_map(|value| value.split(|b| *b == b',').map(trim))
        .filter(|tag| !tag.is_empty() && tag.iter().all(|b| is_token(*b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::parse::{Framing, Index, Outcome, parse};

    fn with<T>(lines: &str, check: impl Fn(crate::sip::Response<'_>) -> T) -> T {
        let text = format!(
            "SIP/2.0 503 x\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKb\r\nFrom: <sip:a>;tag=1\r\nTo: <sip:b>;tag=2\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\n{lines}\r\n"
        );
        let mut index = Index::new();
        let Outcome::Response(response) = parse(text.as_bytes(), Framing::Datagram, &mut index) else {
            panic!("{text}")
        };
        check(response)
    }

    #[test]
    fn retry_after_may_carry_a_comment_and_parameters() {
        for (line, secs) in [
            ("Retry-After: 18000;duration=3600\r\n", Some(18_000)),
            ("retry-after: 120 (I'm in a meeting)\r\n", Some(120)),
            ("Retry-After: soon\r\n", None),
            ("", None),
        ] {
            assert_eq!(with(line, |r| retry_after_secs(r)), secs, "{line}");
        }
    }

    #[test]
    fn the_q850_cause_is_found_among_other_reasons() {
        for (line, cause) in [
            ("Reason: Q.850;cause=42\r\n", Some(42)),
            ("Reason: SIP ;cause=600 ;text=\"a, b\", q.850 ; cause = 34 ;text=\"x\"\r\n", Some(34)),
            ("Reason: SIP;cause=200\r\nReason: Q.850;cause=16\r\n", Some(16)),
            ("Reason: Q.850\r\n", None),
            ("", None),
        ] {
            assert_eq!(with(line, |r| q850_cause(r)), cause, "{line}");
        }
        assert!(with("Reason: SIP;cause=1\r\n", |r| has_reason(r)));
    }

    #[test]
    fn session_expires_is_read_in_both_spellings() {
        assert_eq!(with("x: 1800;refresher=uac\r\n", |r| session_expires_secs(r)), Some(1800));
        assert_eq!(with("Session-Expires: 90\r\n", |r| session_expires_secs(r)), Some(90));
    }

    #[test]
    fn option_tags_are_collected_over_lines() {
        let tags = with("Proxy-Require: a, b\r\nProxy-Require: c\r\n", |r| {
            option_tags(r, HeaderName::ProxyRequire).map(<[u8]>::to_vec).collect::<Vec<_>>()
        });
        assert_eq!(tags, [b"a".to_vec(), b"b".to_vec(), b"c".to_vec()]);
    }
}
