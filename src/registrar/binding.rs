//! One contact of an address of record (RFC 3261 section 10, flows: RFC 5626).

use crate::moment::Moment;
use crate::sip::uri::{self, Uri};
use crate::transport::flow::Flow;

/// Octets of the longest contact that is stored.
pub const CONTACT_LEN_MAX: usize = 512;

/// Where one phone can be reached, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The contact's URI as the phone gave it: what it is called by.
    pub contact: Box<[u8]>,
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
    /// The device (`+sip.instance`, RFC 5626), with its angle brackets.
    pub instance: Option<Box<[u8]>>,
    /// Which of the device's flows (`reg-id`); 0 when none was given.
    pub reg_id: u32,
    /// The Path that the registration came by (RFC 3327), ready to be sent as Route.
    pub path: Box<[u8]>,
}

impl Binding {
    /// True when both are contacts of one phone, so that the newer one replaces the older.
    pub fn replaces(&self, older: &Binding) -> bool {
        match (&self.instance, &older.instance) {
            (Some(own), Some(other)) if self.reg_id != 0 && older.reg_id != 0 => {
                own == other && self.reg_id == older.reg_id
            }
            _ => same_uri(&self.contact, &older.contact),
        }
    }

    /// True when the phone says another address of itself than the one it was heard from: only the way that its REGISTER
    /// came by leads to it.
    pub fn is_behind_nat(&self) -> bool {
        let said = uri::parse(&self.contact);
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
