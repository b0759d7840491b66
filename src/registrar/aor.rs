//! Addresses of record: who may be registered (RFC 3261 section 10.3 step 5).

use std::sync::Arc;

use crate::sip::uri::Uri;

/// Octets of the longest one.
pub const LEN_MAX: usize = 128;

/// The user part of an address of record, without parameters and with its escapes undone. The host is one of the farm's names
/// and says nothing more. Any octets are legal in it.
///
/// Whoever keeps one shares its octets: a registered user is in the table, among the ends and in the agents' book, and stands in memory once.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Aor(Arc<[u8]>);

impl Aor {
    /// That of a URI; `None` when it has no user, or one that is too long.
    pub fn of(uri: &Uri<'_>) -> Option<Self> {
        Self::from_user(uri.number()?)
    }

    /// That of a user part.
    pub fn from_user(user: &[u8]) -> Option<Self> {
        let mut bare = Vec::with_capacity(user.len());
        let mut rest = user;
        while let Some((octet, tail)) = rest.split_first() {
            rest = tail;
            let escaped = (*octet == b'%').then(|| tail.split_at_checked(2)).flatten();
            match escaped.and_then(|(digits, tail)| Some((hex(digits)?, tail))) {
                Some((octet, tail)) => {
                    bare.push(octet);
                    rest = tail;
                }
                None => bare.push(*octet),
            }
        }
        (!bare.is_empty() && bare.len() <= LEN_MAX).then(|| Aor(bare.into()))
    }

    /// Its octets.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::borrow::Borrow<[u8]> for Aor {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Aor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl std::fmt::Display for Aor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

fn hex(digits: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u8::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::uri;

    fn of(text: &str) -> Option<Vec<u8>> {
        Aor::of(&uri::parse(text.as_bytes())?).map(|aor| aor.as_bytes().to_vec())
    }

    #[test]
    fn escapes_parameters_and_passwords_make_no_difference() {
        for text in ["sip:1001@pbx", "sip:%31001@other.example:5070", "sips:1001;x=y@pbx", "sip:1001:pw@pbx"] {
            assert_eq!(of(text).as_deref(), Some(&b"1001"[..]), "{text}");
        }
        assert_eq!(of("sip:a%00%0d%ffb@pbx").as_deref(), Some(&b"a\x00\r\xffb"[..]));
        assert_eq!(of("sip:50%@pbx").as_deref(), Some(&b"50%"[..]));
        assert_ne!(of("sip:Anna@pbx"), of("sip:anna@pbx"), "users are told apart by case (section 19.1.4)");
    }

    #[test]
    fn nobody_and_somebody_endless_have_no_address_of_record() {
        assert_eq!(of("sip:pbx"), None);
        assert_eq!(of(&format!("sip:{}@pbx", "9".repeat(LEN_MAX + 1))), None);
    }
}
