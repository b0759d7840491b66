//! Messages as gateways and nodes read and write them: a few lines of text, independent of the edge's own parser.

use std::rc::Rc;

/// A message on the wire.
pub type Octets = Rc<[u8]>;

/// A message, taken apart.
#[derive(Clone, Debug, Default)]
pub struct Message<'a> {
    /// The start line.
    pub start: &'a str,
    /// Every Via line's value, the top one first.
    pub vias: Vec<&'a str>,
    /// Every Record-Route line's value.
    pub record_routes: Vec<&'a str>,
    pub from: &'a str,
    pub to: &'a str,
    pub call_id: &'a str,
    /// Number and method.
    pub cseq: (u32, &'a str),
    pub contact: &'a str,
    pub reason: Option<&'a str>,
    pub session_expires: Option<&'a str>,
}

impl<'a> Message<'a> {
    /// Reads what somebody sent. Nobody here sends what is not a message, so that would be the edge's fault.
    pub fn read(octets: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(octets).ok()?;
        let (head, _) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let mut message = Message { start: lines.next()?, ..Message::default() };
        for line in lines {
            let (name, value) = line.split_once(':')?;
            let value = value.trim();
            match name {
                "Via" => message.vias.push(value),
                "Record-Route" => message.record_routes.push(value),
                "From" => message.from = value,
                "To" => message.to = value,
                "Call-ID" => message.call_id = value,
                "CSeq" => {
                    let (number, method) = value.split_once(' ')?;
                    message.cseq = (number.parse().ok()?, method.trim());
                }
                "Contact" => message.contact = value,
                "Reason" => message.reason = Some(value),
                "Session-Expires" => message.session_expires = Some(value),
                _ => {}
            }
        }
        let whole = !message.vias.is_empty() && !message.call_id.is_empty() && message.cseq.0 > 0;
        whole.then_some(message)
    }

    /// The status code of a response.
    pub fn code(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// The method of a request.
    pub fn method(&self) -> &'a str {
        self.start.split(' ').next().unwrap_or_default()
    }

    /// The branch of the top Via.
    pub fn branch(&self) -> &'a str {
        param(self.vias[0], "branch=").unwrap_or_default()
    }

    /// The To tag.
    pub fn to_tag(&self) -> Option<&'a str> {
        param(self.to, "tag=")
    }

    /// The From tag: who says it.
    pub fn sender_tag(&self) -> Option<&'a str> {
        param(self.from, "tag=")
    }

    /// The number of the call, which its Call-ID begins with.
    pub fn call(&self) -> Option<u32> {
        self.call_id.strip_prefix('c')?.split('@').next()?.parse().ok()
    }

    /// The URI in Contact.
    pub fn contact_uri(&self) -> &'a str {
        self.contact.trim_start_matches('<').split('>').next().unwrap_or_default()
    }

    /// The answer to this request, with a To tag and further header lines.
    pub fn reply(&self, code: u16, tag: &str, headers: &str) -> Octets {
        let mut text = format!("SIP/2.0 {code} Said\r\n");
        for (name, values) in [("Via", &self.vias), ("Record-Route", &self.record_routes)] {
            for value in values {
                text.extend([name, ": ", value, "\r\n"]);
            }
        }
        let tag = if self.to_tag().is_some() || code == 100 { String::new() } else { format!(";tag={tag}") };
        let Message { from, to, call_id, cseq: (number, method), .. } = self;
        text += &format!(
            "From: {from}\r\nTo: {to}{tag}\r\nCall-ID: {call_id}\r\nCSeq: {number} {method}\r\n{headers}Content-Length: 0\r\n\r\n"
        );
        octets(text)
    }
}

/// A parameter's value, up to the next separator.
fn param<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let at = value.find(name)?;
    value[at + name.len()..].split([';', ',', '>', ' ']).next()
}

/// Text as octets.
pub fn octets(text: String) -> Octets {
    text.into_bytes().into()
}
