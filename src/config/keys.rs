//! Words that choose: what a hash goes by, whom a rule is for, that something is off, where a directory is.

use std::borrow::Cow;
use std::path::PathBuf;

use schemars::{Schema, json_schema};

use crate::dispatch::farm::KeyedBy;

use super::checked::StoreKind;
use super::names::{Name, is_header_name};
use super::suggest;
use super::words::{Complaint, FromText};

/// What the algorithm `hash` goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashKey(pub KeyedBy);

impl FromText for HashKey {
    fn legal() -> Cow<'static, str> {
        "call_id, from_user, to_user or header:NAME".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        match text {
            "call_id" => Ok(HashKey(KeyedBy::CallId)),
            _ => keyed_by(text).map(HashKey).ok_or_else(|| {
                Complaint::not::<Self>(text).with_hint(suggest::near(text, ["call_id", "from_user", "to_user"]))
            }),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^(call_id|from_user|to_user|header:.+)$" })
    }
}

/// What keeps calls together on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StickyKey(pub KeyedBy);

impl FromText for StickyKey {
    fn legal() -> Cow<'static, str> {
        "from_user, to_user or header:NAME".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        keyed_by(text).map(StickyKey).ok_or_else(|| {
            let hint = match text {
                "call_id" => {
                    Some("every call has another Call-ID, and all of a call stays on its node anyway".to_owned())
                }
                _ => suggest::near(text, ["from_user", "to_user"]),
            };
            Complaint::not::<Self>(text).with_hint(hint)
        })
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^(from_user|to_user|header:.+)$" })
    }
}

fn keyed_by(text: &str) -> Option<KeyedBy> {
    match text {
        "from_user" => Some(KeyedBy::FromUser),
        "to_user" => Some(KeyedBy::ToUser),
        _ => {
            let name = text.strip_prefix("header:")?.trim();
            is_header_name(name).then(|| KeyedBy::Header(name.to_ascii_lowercase().into_bytes().into()))
        }
    }
}

/// A key as it is written in the file.
pub fn show_key(key: &KeyedBy) -> String {
    match key {
        KeyedBy::CallId => "call_id".to_owned(),
        KeyedBy::FromUser => "from_user".to_owned(),
        KeyedBy::ToUser => "to_user".to_owned(),
        KeyedBy::Header(name) => format!("header:{}", String::from_utf8_lossy(name)),
    }
}

/// Whom a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FromWord(pub RouteFrom);

/// Who sends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RouteFrom {
    /// Any gateway.
    Gateways,
    /// Any node.
    Nodes,
    /// Any registered user.
    Agents,
    /// Everybody, strangers too.
    Anyone,
    /// The gateway or node of this name.
    Named(String),
}

impl RouteFrom {
    /// Words that mean groups, so no node and no gateway may have them as its name.
    pub const GROUPS: [&'static str; 4] = ["gateways", "nodes", "agents", "anyone"];
}

impl std::fmt::Display for RouteFrom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            RouteFrom::Gateways => "gateways",
            RouteFrom::Nodes => "nodes",
            RouteFrom::Agents => "agents",
            RouteFrom::Anyone => "anyone",
            RouteFrom::Named(name) => name,
        })
    }
}

impl FromText for FromWord {
    fn legal() -> Cow<'static, str> {
        "gateways, nodes, agents, anyone or the name of a gateway or node".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        Ok(FromWord(match text {
            "gateways" => RouteFrom::Gateways,
            "nodes" => RouteFrom::Nodes,
            "agents" => RouteFrom::Agents,
            "anyone" => RouteFrom::Anyone,
            name => RouteFrom::Named(Name::from_text(name).map_err(|_| Complaint::not::<Self>(text))?.0),
        }))
    }

    fn schema() -> Schema {
        Name::schema()
    }
}

/// A digest algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlgorithmWord(pub crate::registrar::digest::Algorithm);

impl FromText for AlgorithmWord {
    fn legal() -> Cow<'static, str> {
        "sha-512-256, sha-256 or md5".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let found = crate::registrar::digest::Algorithm::from_bytes(text.as_bytes());
        found.map(AlgorithmWord).ok_or_else(|| Complaint::not::<Self>(text))
    }

    fn schema() -> Schema {
        json_schema!({ "enum": ["sha-512-256", "sha-256", "md5"] })
    }
}

/// A store that one word says enough of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreWord(pub StoreKind);

impl FromText for StoreWord {
    fn legal() -> Cow<'static, str> {
        "embedded or memory".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        match text {
            "embedded" => Ok(StoreWord(StoreKind::Embedded)),
            "memory" => Ok(StoreWord(StoreKind::Memory)),
            "redis" => Err(Complaint::not::<Self>(text)
                .with_hint(Some("redis needs a mapping: { redis: { url: \"redis://HOST:6379\" } }".to_owned()))),
            _ => {
                let hint = super::suggest::hint(text, ["embedded", "memory"]);
                Err(Complaint::not::<Self>(text).with_hint(hint))
            }
        }
    }

    fn schema() -> Schema {
        json_schema!({ "enum": ["embedded", "memory"] })
    }
}

/// The word that something is not wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Off;

impl FromText for Off {
    fn legal() -> Cow<'static, str> {
        "off".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        match text {
            // To some YAML writers the two are one.
            "off" | "false" => Ok(Off),
            _ => Err(Complaint::not::<Self>(text).with_hint(Some("or a mapping with `listen` and `token`".to_owned()))),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "enum": ["off", false] })
    }
}

/// A path of the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathText(pub PathBuf);

impl FromText for PathText {
    fn legal() -> Cow<'static, str> {
        "a path".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let legal = (1..=1_024).contains(&text.len()) && !text.chars().any(char::is_control);
        if legal { Ok(PathText(text.into())) } else { Err(Complaint::not::<Self>(text)) }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_parts_of_a_request() {
        for text in ["call_id", "from_user", "to_user", "header:x-tenant"] {
            assert_eq!(show_key(&HashKey::from_text(text).unwrap().0), text);
        }
        assert_eq!(StickyKey::from_text("header: X-Tenant"), Ok(StickyKey(KeyedBy::Header(b"x-tenant"[..].into()))));
        for bad in ["", "header:", "header:X Y", "to-user", "user"] {
            assert!(HashKey::from_text(bad).is_err() && StickyKey::from_text(bad).is_err(), "{bad}");
        }
        assert_eq!(HashKey::from_text("to-user").unwrap_err().hint.as_deref(), Some("did you mean `to_user`?"));
        assert!(StickyKey::from_text("call_id").unwrap_err().hint.unwrap().contains("anyway"));
    }

    #[test]
    fn a_rule_is_for_a_group_or_for_one() {
        let read = |text| FromWord::from_text(text).map(|from| from.0.to_string());
        for text in ["gateways", "nodes", "anyone", "pri-1"] {
            assert_eq!(read(text).as_deref(), Ok(text));
        }
        assert!(read("pri 1").is_err());
    }
}
