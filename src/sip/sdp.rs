//! Which way media flow, as a session description says it (RFC 8866, RFC 3264 sections 5.1 and 8.4).
//!
//! Only this is read, and only of a body that is a session description and nothing else; what is inside `multipart` is not. Nothing is
//! allocated, and no octets make it fail.

use super::scan::{decimal, trim};

/// What the sender of a description does with media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direction {
    /// It sends on at least one stream.
    pub sends: bool,
    /// It wants to receive on at least one stream.
    pub receives: bool,
}

impl Direction {
    const BOTH: Direction = Direction { sends: true, receives: true };
    const NONE: Direction = Direction { sends: false, receives: false };

    /// True when the other side is put on hold: nothing of what it says is wanted (RFC 3264 section 8.4).
    pub fn is_hold(self) -> bool {
        !self.receives
    }

    fn of_attribute(value: &[u8]) -> Option<Self> {
        match value {
            b"sendrecv" => Some(Direction::BOTH),
            b"sendonly" => Some(Direction { sends: true, receives: false }),
            b"recvonly" => Some(Direction { sends: false, receives: true }),
            b"inactive" => Some(Direction::NONE),
            _ => None,
        }
    }

    /// With an address of zeros nothing can be received, which was the way to hold in RFC 2543.
    fn at(self, has_address: bool) -> Self {
        Direction { receives: self.receives && has_address, ..self }
    }
}

/// What is said at one level: of the session, or of one stream in place of it.
#[derive(Clone, Copy, Debug, Default)]
struct Level {
    direction: Option<Direction>,
    has_address: Option<bool>,
}

/// One stream.
#[derive(Clone, Copy, Debug, Default)]
struct Stream {
    is_wanted: bool,
    own: Level,
}

/// The directions of all streams that are wanted, put together. `None` when the octets are no session description, or one without
/// a stream that is wanted.
pub fn direction(body: &[u8]) -> Option<Direction> {
    if !body.starts_with(b"v=") {
        return None;
    }
    let (mut session, mut stream, mut whole) = (Level::default(), None::<Stream>, None);
    for line in body.split(|octet| *octet == b'\n') {
        let Some((kind, value)) = field(line) else { continue };
        if kind == b'm' {
            whole = sum(whole, stream, session);
            stream = Some(Stream { is_wanted: is_wanted(value), own: Level::default() });
            continue;
        }
        let level = stream.as_mut().map_or(&mut session, |stream| &mut stream.own);
        match kind {
            b'a' => level.direction = Direction::of_attribute(value).or(level.direction),
            b'c' => level.has_address = Some(!is_nowhere(value)),
            _ => {}
        }
    }
    sum(whole, stream, session)
}

/// `x=value` without blanks at its end.
fn field(line: &[u8]) -> Option<(u8, &[u8])> {
    match line {
        [kind, b'=', value @ ..] => Some((*kind, trim(value))),
        _ => None,
    }
}

/// A stream with port zero is not wanted (RFC 3264 section 5.1).
fn is_wanted(media: &[u8]) -> bool {
    let port = media.split(|octet| *octet == b' ').nth(1).unwrap_or_default();
    let port = port.split(|octet| *octet == b'/').next().unwrap_or_default();
    decimal(port, 65_535).is_some_and(|port| port > 0)
}

/// `IN IP4 0.0.0.0`, and the same of IPv6.
fn is_nowhere(connection: &[u8]) -> bool {
    let address = connection.rsplit(|octet| *octet == b' ').next().unwrap_or_default();
    matches!(address, b"0.0.0.0" | b"::")
}

fn sum(whole: Option<Direction>, stream: Option<Stream>, session: Level) -> Option<Direction> {
    let Some(Stream { is_wanted: true, own }) = stream else { return whole };
    let direction = own.direction.or(session.direction).unwrap_or(Direction::BOTH);
    let one = direction.at(own.has_address.or(session.has_address).unwrap_or(true));
    let before = whole.unwrap_or(Direction::NONE);
    Some(Direction { sends: before.sends || one.sends, receives: before.receives || one.receives })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(session: &str, streams: &[&str]) -> String {
        let head = format!("v=0\r\no=phone 1 2 IN IP4 192.0.2.7\r\ns=-\r\n{session}t=0 0\r\n");
        streams.iter().fold(head, |text, stream| text + stream)
    }

    fn word(body: &str) -> &'static str {
        match direction(body.as_bytes()) {
            None => "nothing",
            Some(Direction { sends: true, receives: true }) => "sendrecv",
            Some(Direction { sends: true, receives: false }) => "sendonly",
            Some(Direction { sends: false, receives: true }) => "recvonly",
            Some(Direction { sends: false, receives: false }) => "inactive",
        }
    }

    const AUDIO: &str = "m=audio 40000 RTP/AVP 8\r\n";
    const AT: &str = "c=IN IP4 192.0.2.7\r\n";

    #[test]
    fn the_attribute_of_a_stream_stands_before_that_of_the_session_and_none_is_both_ways() {
        for (session, stream, expected) in [
            ("", "", "sendrecv"),
            ("", "a=sendonly\r\n", "sendonly"),
            ("", "a=inactive\r\n", "inactive"),
            ("", "a=recvonly\r\n", "recvonly"),
            ("a=sendonly\r\n", "", "sendonly"),
            ("a=sendonly\r\n", "a=sendrecv\r\n", "sendrecv"),
            ("a=sendrecv\r\n", "a=rtpmap:8 PCMA/8000\r\na=sendonly \r\n", "sendonly"),
            ("", "a=sendonlyish\r\n", "sendrecv"),
        ] {
            let stream = format!("{AUDIO}{stream}");
            assert_eq!(word(&description(&format!("{AT}{session}"), &[&stream])), expected, "{session}{stream}");
        }
    }

    #[test]
    fn an_address_of_zeros_holds_as_rfc_2543_has_it() {
        for (session, stream, expected) in [
            ("c=IN IP4 0.0.0.0\r\n", "", "sendonly"),
            ("c=IN IP4 0.0.0.0\r\n", AT, "sendrecv"),
            (AT, "c=IN IP4 0.0.0.0\r\n", "sendonly"),
            (AT, "c=IN IP6 ::\r\na=recvonly\r\n", "inactive"),
            (AT, "c=IN IP4 10.0.0.0\r\n", "sendrecv"),
        ] {
            assert_eq!(word(&description(session, &[&format!("{AUDIO}{stream}")])), expected, "{session}{stream}");
        }
    }

    #[test]
    fn who_is_seen_or_heard_is_not_on_hold_and_a_refused_stream_does_not_count() {
        let (held, open) = (format!("{AUDIO}a=sendonly\r\n"), "m=video 40002 RTP/AVP 99\r\n");
        assert_eq!(word(&description(AT, &[&held, open])), "sendrecv");
        assert_eq!(word(&description(AT, &[&held, "m=video 0 RTP/AVP 99\r\na=sendrecv\r\n"])), "sendonly");
        assert_eq!(word(&description(AT, &["m=audio 0 RTP/AVP 8\r\n"])), "nothing");
        assert_eq!(word(&description(AT, &[])), "nothing");
        assert_eq!(word(&description(AT, &["m=audio 40000/2 RTP/AVP 8\r\na=inactive\r\n"])), "inactive");
    }

    #[test]
    fn lines_may_end_without_a_carriage_return_and_other_bodies_say_nothing() {
        let text = description(AT, &[&format!("{AUDIO}a=sendonly\r\n")]);
        assert_eq!(word(&text.replace("\r\n", "\n")), "sendonly");
        assert_eq!(word(text.trim_end()), "sendonly");
        for other in ["", "v", "Signal=5\r\nDuration=160\r\n", "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n"] {
            assert_eq!(word(other), "nothing", "{other}");
        }
    }

    #[test]
    fn no_octets_make_it_fail() {
        let text = description(AT, &[&format!("{AUDIO}a=sendonly\r\n"), "m=video 1/2 x\r\nc=IN IP6 ::\r\n"]);
        for cut in 0..text.len() {
            direction(&text.as_bytes()[..cut]);
            for octet in [0, b'\n', b'=', b'm', b' ', 0xff] {
                let mut bytes = text.clone().into_bytes();
                bytes[cut] = octet;
                direction(&bytes);
            }
        }
    }
}
