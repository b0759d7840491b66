//! One contact of an address of record (RFC 3261 section 10, flows: RFC 5626).

use crate::moment::Moment;
use crate::sip::uri::{self, Uri};
use crate::transport::flow::Flow;

/// Octets of the longest contact that is stored.
pub const CONTACT_LEN_MAX: usize = 512;

/// Where one phone can be reached, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// What the phone said of itself.
    pub texts: Texts,
    /// The flow that the registration came by: where it is called at, whatever the URI says. A phone behind NAT has no
    /// other way in, and a contact that names a stranger leads nowhere.
    pub flow: Flow,
    /// Preference (`q`) in thousandths.
    pub preference: u16,
    /// When it ends.
    pub expires: Moment,
    /// When it was last refreshed.
    pub updated: Moment,
    /// Hash of the registration's Call-ID.
    pub call_id: u64,
    /// Its CSeq.
    pub cseq: u32,
    /// Which of the device's flows (`reg-id`); 0 when none was given.
    pub reg_id: u32,
}

/// Texts of one binding, in one piece of memory: a million phones have a million of these.
///
/// The lengths of the first two, each in two octets, then contact, device and Path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts(Box<[u8]>);

impl Texts {
    /// From the contact's URI, the device and the Path. What is longer than any text may be (65,535 octets) is left out.
    pub fn new(contact: &[u8], instance: Option<&[u8]>, path: &[u8]) -> Self {
        let instance = instance.unwrap_or_default();
        let lens = [contact, instance].map(|text| u16::try_from(text.len()).unwrap_or(0));
        let texts = [(contact, lens[0]), (instance, lens[1])].map(|(text, len)| &text[..usize::from(len)]);
        Texts([&lens[0].to_be_bytes(), &lens[1].to_be_bytes(), texts[0], texts[1], path].concat().into())
    }

    /// The length at a place.
    fn len(&self, at: usize) -> usize {
        usize::from(u16::from_be_bytes([self.0[at], self.0[at + 1]]))
    }
}

/// Octets that the two lengths take.
const LENS: usize = 4;

impl Binding {
    /// The contact's URI as the phone gave it: what it is called by.
    pub fn contact(&self) -> &[u8] {
        &self.texts.0[LENS..LENS + self.texts.len(0)]
    }

    /// The device (`+sip.instance`, RFC 5626), with its angle brackets.
    pub fn instance(&self) -> Option<&[u8]> {
        let from = LENS + self.texts.len(0);
        Some(&self.texts.0[from..from + self.texts.len(2)]).filter(|instance| !instance.is_empty())
    }

    /// The Path that the registration came by (RFC 3327), ready to be sent as Route.
    pub fn path(&self) -> &[u8] {
        &self.texts.0[LENS + self.texts.len(0) + self.texts.len(2)..]
    }

    /// True when both are contacts of one phone, so that the newer one replaces the older.
    pub fn replaces(&self, older: &Binding) -> bool {
        match (self.instance(), older.instance()) {
            (Some(own), Some(other)) if self.reg_id != 0 && older.reg_id != 0 => {
                own == other && self.reg_id == older.reg_id
            }
            _ => same_uri(self.contact(), older.contact()),
        }
    }

    /// True when the phone says another address of itself than the one it was heard from: only the way that its REGISTER
    /// came by leads to it.
    pub fn is_behind_nat(&self) -> bool {
        let said = uri::parse(self.contact());
        let port = said.and_then(|said| said.port).unwrap_or(5060);
        let ip = said.and_then(|said| uri::ip(said.host));
        ip != Some(self.flow.remote.ip()) || port != self.flow.remote.port()
    }
}

/// True when two URIs name the same place (RFC 3261 section 19.1.4, as far as contacts need it).
pub fn same_uri(a: &[u8], b: &[u8]) -> bool {
    if a == b {
        return true;
    }
    let (Some(a), Some(b)) = (uri::parse(a), uri::parse(b)) else { return false };
    a.is_sip()
        && a.scheme == b.scheme
        && a.user == b.user
        && a.host.eq_ignore_ascii_case(b.host)
        && a.port == b.port
        && [&b"transport"[..], b"user", b"ttl", b"method", b"maddr", b"gr", b"ob"].iter().all(|name| same(&a, &b, name))
}

fn same(a: &Uri<'_>, b: &Uri<'_>, name: &[u8]) -> bool {
    match (a.param(name), b.param(name)) {
        (None, None) => true,
        (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
        _ => false,
    }
}

/// `q` in thousandths (section 25.1: `0`, `1`, or up to three decimals); 1 when none is said.
pub fn preference(q: Option<&[u8]>) -> Option<u16> {
    let Some(q) = q else { return Some(1_000) };
    let (whole, decimals) = match q.iter().position(|b| *b == b'.') {
        Some(dot) => (&q[..dot], &q[dot + 1..]),
        None => (q, &b""[..]),
    };
    if decimals.len() > 3 || !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let thousandths = (0..3).fold(0u16, |sum, at| sum * 10 + decimals.get(at).map_or(0, |b| u16::from(b - b'0')));
    match whole {
        b"0" | b"" if !q.is_empty() => Some(thousandths),
        b"1" if thousandths == 0 => Some(1_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::flow::{ListenerId, Protocol};

    #[test]
    fn what_a_phone_said_comes_back_whatever_it_left_out() {
        let remote = "127.0.0.31:5060".parse().unwrap();
        let flow = Flow { listener: ListenerId(1), protocol: Protocol::Udp, remote, connection: None };
        let long = [b'x'; CONTACT_LEN_MAX];
        for (contact, instance, path) in [
            (&b"sip:a"[..], Some(&b"<urn:x>"[..]), &b"<sip:p;lr>"[..]),
            (b"sip:a", None, b"<sip:p;lr>"),
            (b"sip:a", Some(b"<urn:x>"), b""),
            (b"", None, b""),
            (&long, Some(&long), &long),
        ] {
            let texts = Texts::new(contact, instance, path);
            let (expires, updated) = (Moment::ZERO, Moment::ZERO);
            let binding = Binding { texts, flow, preference: 0, expires, updated, call_id: 0, cseq: 0, reg_id: 0 };
            assert_eq!((binding.contact(), binding.instance(), binding.path()), (contact, instance, path));
        }
    }

    #[test]
    fn one_place_has_many_spellings() {
        assert!(same_uri(b"sip:a@HOST;ob;x=1", b"sip:a@host;OB"));
        assert!(same_uri(b"sip:a@h;transport=TCP", b"sip:a@h;Transport=tcp"));
        for (a, b) in [
            ("sip:a@h", "sip:A@h"),
            ("sip:a@h", "sip:a@h:5060"),
            ("sip:a@h", "sips:a@h"),
            ("sip:a@h", "sip:a@h;transport=tcp"),
            ("tel:1", "tel:2"),
        ] {
            assert!(!same_uri(a.as_bytes(), b.as_bytes()), "{a} {b}");
        }
    }

    #[test]
    fn preferences_are_read_in_all_their_forms() {
        for (q, expected) in [
            (None, Some(1_000)),
            (Some("1"), Some(1_000)),
            (Some("1.000"), Some(1_000)),
            (Some("0.5"), Some(500)),
            (Some("0.125"), Some(125)),
            (Some(".7"), Some(700)),
            (Some("0"), Some(0)),
            (Some("1.1"), None),
            (Some("2"), None),
            (Some("0.1234"), None),
            (Some("-1"), None),
            (Some(""), None),
        ] {
            assert_eq!(preference(q.map(str::as_bytes)), expected, "{q:?}");
        }
    }
}
