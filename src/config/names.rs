//! Names: of nodes, pools and edges, of hosts, of header fields; and patterns over texts.

use std::borrow::Cow;

use schemars::{Schema, json_schema};

use crate::sip::Method;

use super::suggest;
use super::words::{Complaint, FromText};

/// A name that the operator gives: of an edge, a node, a gateway, a pool or a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(pub String);

impl Name {
    /// Names end up in metric labels, HTTP paths and store keys, so they are short and of plain letters.
    const LEN_MAX: usize = 64;
}

impl FromText for Name {
    fn legal() -> Cow<'static, str> {
        "a name: 1 to 64 letters, digits, `-`, `_` or `.`, a letter or digit first".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let legal = first && text.len() <= Self::LEN_MAX && text.bytes().all(inner);
        if legal { Ok(Name(text.to_owned())) } else { Err(Complaint::not::<Self>(text)) }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$" })
    }
}

/// The name of a user: what stands before the `@` of his address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UserName(pub String);

impl FromText for UserName {
    fn legal() -> Cow<'static, str> {
        "a user's name: 1 to 128 octets without blanks, `@`, `:` and `;`".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let legal = |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, '@' | ':' | ';' | '"' | '%');
        let fits = (1..=crate::registrar::aor::LEN_MAX).contains(&text.len());
        let complaint = || Complaint::not::<Self>(text).with_hint(Some("such as 1001 or anna".to_owned()));
        if fits && text.chars().all(legal) { Ok(UserName(text.to_owned())) } else { Err(complaint()) }
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["string", "integer"], "minLength": 1, "maxLength": 128 })
    }
}

/// The realm of passwords.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Realm(pub String);

impl FromText for Realm {
    fn legal() -> Cow<'static, str> {
        "a realm: 1 to 128 printable characters without quotes and backslashes".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let legal = |b: u8| (b' '..=b'~').contains(&b) && !matches!(b, b'"' | b'\\');
        let fits = (1..=128).contains(&text.len());
        if fits && text.bytes().all(legal) { Ok(Realm(text.to_owned())) } else { Err(Complaint::not::<Self>(text)) }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": 128 })
    }
}

/// Why an agent is not ready. It stands in dialplans, so it has none of their signs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReasonText(pub String);

impl FromText for ReasonText {
    fn legal() -> Cow<'static, str> {
        "a reason: 1 to 64 letters, digits, blanks, `-`, `_` or `.`".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let legal = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_' | '.');
        let fits = !text.trim().is_empty() && text.chars().count() <= 64;
        if fits && text.chars().all(legal) {
            Ok(ReasonText(text.to_owned()))
        } else {
            Err(Complaint::not::<Self>(text))
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": 64 })
    }
}

/// A host: a DNS name or an address, IPv6 with brackets; in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Host(pub String);

impl FromText for Host {
    fn legal() -> Cow<'static, str> {
        "a host name or an address".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let split = crate::sip::uri::parse_hostport(text.as_bytes());
        if split.is_some_and(|(_, port)| port.is_none()) && is_host(text) {
            return Ok(Host(text.to_ascii_lowercase()));
        }
        let bracketed = format!("[{text}]");
        let hint = match text {
            _ if is_host(&bracketed) => format!("an IPv6 address stands in brackets: {bracketed}"),
            _ if text.contains(':') => "no scheme and no port, only the name: pbx.example.com".to_owned(),
            _ => "such as pbx.example.com or 192.0.2.1".to_owned(),
        };
        Err(Complaint::not::<Self>(text).with_hint(Some(hint)))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": 253 })
    }
}

/// Where a sentinel of Redis is: a host or address without brackets, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentinelAt(pub String, pub u16);

impl SentinelAt {
    const PORT: u16 = 26_379;
}

impl FromText for SentinelAt {
    fn legal() -> Cow<'static, str> {
        "HOST or HOST:PORT".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let split = crate::sip::uri::parse_hostport(text.as_bytes());
        let read = split.and_then(|(host, port)| Some((std::str::from_utf8(host).ok()?, port.unwrap_or(Self::PORT))));
        match read.filter(|(host, port)| is_host(host) && *port > 0) {
            Some((host, port)) => Ok(SentinelAt(host.trim_matches(['[', ']']).to_owned(), port)),
            None => Err(Complaint::not::<Self>(text).with_hint(Some("such as 192.0.2.7:26379".to_owned()))),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": 259 })
    }
}

/// True for a DNS name or an address, IPv6 with brackets. What is all digits and dots must be an address.
pub fn is_host(text: &str) -> bool {
    if crate::sip::uri::ip(text.as_bytes()).is_some() {
        return !text.contains(':') || text.starts_with('[');
    }
    let bare = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let numeric = bare.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    bare.len() <= 253 && !numeric && bare.split('.').all(label)
}

/// The name of a header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderField(pub String);

impl FromText for HeaderField {
    fn legal() -> Cow<'static, str> {
        "the name of a header field".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        if is_header_name(text) {
            return Ok(HeaderField(text.to_owned()));
        }
        let hint = if text.contains('*') {
            "the whole name; patterns are not known here"
        } else {
            "such as P-Asserted-Identity"
        };
        Err(Complaint::not::<Self>(text).with_hint(Some(hint.to_owned())))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9.!%_+`'~-]+$" })
    }
}

/// True for a token (RFC 3261 section 25.1) without `*`, which is legal there and always a misunderstanding here.
pub fn is_header_name(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"-.!%_+`'~".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(legal)
}

/// A pattern over a user part or a host: `*` is any run of characters, `?` any one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternText(pub String);

impl FromText for PatternText {
    fn legal() -> Cow<'static, str> {
        "a pattern: 1 to 128 characters without blanks, with * for any run and ? for any one".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let legal = |c: char| !c.is_whitespace() && !c.is_control();
        if (1..=128).contains(&text.len()) && text.chars().all(legal) {
            return Ok(PatternText(text.to_owned()));
        }
        Err(Complaint::not::<Self>(text))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": 128 })
    }
}

impl FromText for Method {
    fn legal() -> Cow<'static, str> {
        "a request method such as INVITE".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        match Method::from_bytes(text.as_bytes()) {
            Method::Other => {
                let near = suggest::near(text, known_methods());
                Err(Complaint::not::<Self>(text).with_hint(near))
            }
            // Neither is routed: both follow the INVITE that they belong to (RFC 3261 sections 9.1 and 17.1.1.3).
            Method::Ack | Method::Cancel => {
                let complaint = Complaint::new(format!("{text} has no route of its own"));
                Err(complaint.with_hint(Some("it follows its INVITE".to_owned())))
            }
            method => Ok(method),
        }
    }

    fn schema() -> Schema {
        let names: Vec<&str> = known_methods().collect();
        json_schema!({ "type": "string", "enum": names })
    }
}

fn known_methods() -> impl Iterator<Item = &'static str> {
    let routed = |method: &Method| !matches!(method, Method::Other | Method::Ack | Method::Cancel);
    Method::ALL.into_iter().filter(routed).map(Method::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        for good in ["ast-1", "A", "1", "a.b_c"] {
            assert!(Name::from_text(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a b", "ä", "a/b", &"x".repeat(65)] {
            assert!(Name::from_text(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn reasons_are_words_without_signs_of_a_dialplan() {
        for good in ["lunch", "Mittag 1", "pause-2", "déjeuner"] {
            assert!(ReasonText::from_text(good).is_ok(), "{good}");
        }
        for bad in ["", " ", "a,b", "${X}", "a\"", "a(b)", "a\n", &"x".repeat(65)] {
            assert!(ReasonText::from_text(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        for good in ["pbx.example.com", "PBX", "192.0.2.1", "[2001:db8::1]", "_sip._udp.example.com", "a.example."] {
            assert!(Host::from_text(good).is_ok(), "{good}");
        }
        for bad in
            ["", "a..b", "-a.b", "1.2.3", "1.2.3.4.5", "a_b c", "a:5060", "sip:a", "2001:db8::1", "999.1.1.1", "*.a"]
        {
            assert!(Host::from_text(bad).is_err(), "{bad}");
        }
        let hint = |text| Host::from_text(text).unwrap_err().hint.unwrap();
        assert_eq!(hint("2001:db8::1"), "an IPv6 address stands in brackets: [2001:db8::1]");
        assert_eq!(hint("pbx:5060"), "no scheme and no port, only the name: pbx.example.com");
    }

    #[test]
    fn header_names_are_tokens_without_stars() {
        assert!(HeaderField::from_text("P-Asserted-Identity").is_ok());
        for bad in ["", "X Y", "X:", "X-*", "Ünder", &"x".repeat(65)] {
            assert!(HeaderField::from_text(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn methods_are_in_capitals_and_only_those_that_are_routed() {
        assert_eq!(Method::from_text("INVITE"), Ok(Method::Invite));
        assert_eq!(Method::from_text("invite").unwrap_err().hint.as_deref(), Some("did you mean `INVITE`?"));
        assert!(Method::from_text("CANCEL").unwrap_err().what.contains("no route of its own"));
        assert!(Method::from_text("FOO").is_err() && Method::from_text("OTHER").is_err());
    }
}
