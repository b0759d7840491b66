//! Single values: text that is one thing and says what it should have been when it is not.
//!
//! A type that can stand in the file as one word implements [`FromText`]; [`Given`] makes serde and the schema
//! understand it. [`TextOr`] is for the places where a word may stand for a whole mapping.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

/// What is wrong with a value, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub hint: Option<String>,
}

impl Complaint {
    /// A complaint without a hint.
    pub fn new(what: impl Into<String>) -> Self {
        Complaint { what: what.into(), hint: None }
    }

    /// The same with a hint.
    pub fn with_hint(self, hint: Option<String>) -> Self {
        Complaint { hint, ..self }
    }

    /// "must be this, not that".
    pub fn not<T: FromText>(text: &str) -> Self {
        Complaint::new(format!("must be {}, not {}", T::legal(), quoted(text)))
    }

    /// Reads a complaint back from its text: serde carries nothing else from a value to where it stands.
    pub fn read(text: &str) -> Self {
        match text.split_once('\n') {
            Some((what, hint)) => Complaint::new(what).with_hint(Some(hint.to_owned())),
            None => Complaint::new(text),
        }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.hint {
            Some(hint) => write!(f, "\n{hint}"),
            None => Ok(()),
        }
    }
}

/// Characters of a wrong value that are repeated in a complaint.
const QUOTED_MAX: usize = 60;

/// A value of the file inside a complaint: a number as it is, anything else marked, cut and without control characters.
pub fn quoted(text: &str) -> String {
    if text.len() <= 20 && text.parse::<f64>().is_ok_and(f64::is_finite) {
        return text.to_owned();
    }
    let cut: String = text.chars().take(QUOTED_MAX).collect();
    let more = if cut.len() < text.len() { "..." } else { "" };
    let clean: String =
        cut.chars().flat_map(|c| if c.is_control() { c.escape_debug().collect() } else { vec![c] }).collect();
    format!("`{clean}{more}`")
}

/// A value that is written as one word.
pub trait FromText: Sized {
    /// What is legal, to stand behind "must be".
    fn legal() -> Cow<'static, str>;

    /// Reads the word.
    fn from_text(text: &str) -> Result<Self, Complaint>;

    /// Its JSON schema.
    fn schema() -> Schema;
}

/// A value as the file gives it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Given<T>(pub T);

impl<'de, T: FromText> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(GivenVisitor(PhantomData))
    }
}

struct GivenVisitor<T>(PhantomData<T>);

impl<T: FromText> Visitor<'_> for GivenVisitor<T> {
    type Value = Given<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&T::legal())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Given<T>, E> {
        T::from_text(text).map(Given).map_err(E::custom)
    }
}

impl<T: FromText> JsonSchema for Given<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::legal()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        T::schema()
    }
}

/// One word, or the mapping that it is short for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextOr<W, M> {
    /// The word.
    Text(W),
    /// The mapping.
    Map(M),
}

impl<'de, W: FromText, M: Deserialize<'de>> Deserialize<'de> for TextOr<W, M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrVisitor(PhantomData))
    }
}

struct TextOrVisitor<W, M>(PhantomData<(W, M)>);

impl<'de, W: FromText, M: Deserialize<'de>> Visitor<'de> for TextOrVisitor<W, M> {
    type Value = TextOr<W, M>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, or a mapping", W::legal())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        W::from_text(text).map(TextOr::Text).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        M::deserialize(MapAccessDeserializer::new(map)).map(TextOr::Map)
    }
}

impl<W: FromText, M: JsonSchema> JsonSchema for TextOr<W, M> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("word_or_{}", M::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "anyOf": [W::schema(), generator.subschema_for::<M>()] })
    }
}
