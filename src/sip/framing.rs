//! Cutting messages out of a byte stream (RFC 3261 sections 7.5 and 18.3, keep-alives RFC 5626 section 3.5.1).
//!
//! Pure. A stream is only as trustworthy as its Content-Length: one that is missing, wrong or contradicts
//! itself ends the stream, because every byte behind it could be anything.

use super::parse::{Fault, Index, head_content_length};

/// What stands at the start of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A whole message of so many octets.
    Message(usize),
    /// Line ends between messages, so many octets. `CRLF CRLF` is a ping that wants a `CRLF` back.
    KeepAlive {
        /// Octets to drop.
        len: usize,
        /// True when an answer is asked for.
        ping: bool,
    },
    /// Not all there yet.
    NeedMore,
    /// The stream cannot be followed any further. So many octets can be parsed for an answer, then it closes.
    Broken(usize, Fault),
}

/// Finds message ends in one stream; remembers how far it looked, so that a slow sender costs nothing extra.
#[derive(Debug, Default)]
pub struct Framer {
    scanned: usize,
    head: Option<Head>,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    total: usize,
}

impl Framer {
    /// Looks at what the buffer starts with. A `Message`, `KeepAlive` or `Broken` answer expects the caller
    /// to take these octets off the buffer before it asks again.
    pub fn next(&mut self, buffer: &[u8], message_len_max: usize) -> Frame {
        if let Some(head) = self.head {
            return self.whole(buffer, head);
        }
        if matches!(buffer.first(), Some(b'\r' | b'\n')) {
            return keep_alive(buffer);
        }
        let Some(end) = self.head_end(buffer).filter(|end| *end <= message_len_max) else {
            if buffer.len() >= message_len_max {
                return self.broken(buffer.len(), Fault::Unfinished);
            }
            return Frame::NeedMore;
        };
        // An index has room for all lines that there may be: it lives as long as it is read by, and no connection keeps one.
        let length = match head_content_length(&buffer[..end], &mut Index::new()) {
            Ok(length) => length as usize,
            Err(fault) => return self.broken(end, fault),
        };
        if end + length > message_len_max {
            return self.broken(end, Fault::ContentLength);
        }
        let head = Head { total: end + length };
        self.head = Some(head);
        self.whole(buffer, head)
    }

    fn whole(&mut self, buffer: &[u8], head: Head) -> Frame {
        if buffer.len() < head.total {
            return Frame::NeedMore;
        }
        self.scanned = 0;
        self.head = None;
        Frame::Message(head.total)
    }

    fn broken(&mut self, len: usize, fault: Fault) -> Frame {
        self.scanned = 0;
        Frame::Broken(len, fault)
    }

    /// Offset behind the empty line.
    fn head_end(&mut self, buffer: &[u8]) -> Option<usize> {
        let mut from = self.scanned;
        while let Some(found) = memchr::memchr(b'\n', &buffer[from..]) {
            let next = from + found + 1;
            match &buffer[next..] {
                [b'\n', ..] => return Some(next + 1),
                [b'\r', b'\n', ..] => return Some(next + 2),
                [] | [b'\r'] => {
                    self.scanned = next - 1;
                    return None;
                }
                _ => from = next,
            }
        }
        self.scanned = buffer.len();
        None
    }
}

fn keep_alive(buffer: &[u8]) -> Frame {
    if buffer.starts_with(b"\r\n\r\n") {
        return Frame::KeepAlive { len: 4, ping: true };
    }
    if b"\r\n\r\n".starts_with(buffer) {
        return Frame::NeedMore;
    }
    let len = if buffer.starts_with(b"\r\n") { 2 } else { 1 };
    Frame::KeepAlive { len, ping: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/TCP b;branch=z9hG4bKc\r\nFrom: <sip:a>;tag=1\r\n\
        To: <sip:a>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\nContent-Length: 3\r\n\r\nabc";

    fn frames(stream: &[u8], step: usize) -> Vec<Frame> {
        let (mut framer, mut buffer, mut seen) = (Framer::default(), Vec::new(), Vec::new());
        for chunk in stream.chunks(step) {
            buffer.extend_from_slice(chunk);
            loop {
                let frame = framer.next(&buffer, 65_535);
                let len = match frame {
                    Frame::NeedMore => break,
                    Frame::Message(len) | Frame::KeepAlive { len, .. } | Frame::Broken(len, _) => len,
                };
                seen.push(frame);
                buffer.drain(..len);
                if matches!(frame, Frame::Broken(..)) || buffer.is_empty() {
                    break;
                }
            }
        }
        seen
    }

    #[test]
    fn messages_are_found_however_the_stream_is_cut() {
        let stream = [MESSAGE, b"\r\n\r\n", MESSAGE, MESSAGE].concat();
        let expected = [
            Frame::Message(MESSAGE.len()),
            Frame::KeepAlive { len: 4, ping: true },
            Frame::Message(MESSAGE.len()),
            Frame::Message(MESSAGE.len()),
        ];
        for step in [1, 2, 3, 7, 100, stream.len()] {
            assert_eq!(frames(&stream, step), expected, "in steps of {step}");
        }
    }

    #[test]
    fn a_stream_whose_length_cannot_be_trusted_ends() {
        let text = String::from_utf8(MESSAGE.to_vec()).unwrap();
        for (length, fault) in [
            ("", Fault::ContentLengthMissing),
            ("Content-Length: -1\r\n", Fault::ContentLength),
            ("Content-Length: 4294967328\r\n", Fault::ContentLength),
            ("Content-Length: 3\r\nl: 4\r\n", Fault::Contradiction),
            ("Content-Length: 65535\r\n", Fault::ContentLength),
            ("Content-Length\u{1}: 3\r\n", Fault::HeaderName),
        ] {
            let stream = text.replace("Content-Length: 3\r\n", length);
            let seen = frames(stream.as_bytes(), stream.len());
            assert_eq!(seen, [Frame::Broken(stream.len() - 3, fault)], "{length:?}");
        }
    }

    #[test]
    fn a_head_that_never_ends_is_cut_off_at_the_limit() {
        let mut framer = Framer::default();
        let buffer = vec![b'a'; 2_000];
        assert_eq!(framer.next(&buffer[..1_999], 2_000), Frame::NeedMore);
        assert_eq!(framer.next(&buffer, 2_000), Frame::Broken(2_000, Fault::Unfinished));
    }
}
