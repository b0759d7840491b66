//! From the tree to typed values, past every mistake.
//!
//! Decoding stops at the first mistake, as it always does with serde. So the mistake is noted, the value that holds it
//! is taken out of the tree, and decoding begins again, until nothing is left to complain of. What is missing because
//! it was taken out stays known as lost, so that nobody complains of it a second time.

use std::fmt::Display;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor};

use super::place::{Path, Step};
use super::problem::Problem;
use super::suggest;
use super::tree::{Entry, Node, Value};
use super::words::{Complaint, quoted};

/// Mistakes after which nothing more is looked for: who has that many has one that makes the others.
pub const MISTAKES_MAX: usize = 50;

/// Decodes a tree and notes every mistake. `None` when there are more than anybody wants to read.
pub fn decode<T: DeserializeOwned>(tree: &mut Node, problems: &mut Vec<Problem>) -> Option<T> {
    for _ in 0..MISTAKES_MAX {
        let fault = match T::deserialize(At(tree)) {
            Ok(decoded) => return Some(decoded),
            Err(fault) => fault,
        };
        let path = Path::from_innermost(fault.steps);
        let place = if fault.at_key { tree.key_place(&path) } else { tree.place(&path) };
        // What was taken out is missing, and was complained of already.
        if !fault.missing.is_some_and(|field| tree.is_lost(&path.key(field))) {
            problems.push(Problem { hint: fault.complaint.hint, ..Problem::new(place, &path, fault.complaint.what) });
        }
        tree.lose(&path);
    }
    let what = format!("{MISTAKES_MAX} mistakes were found; the search ended there");
    problems.push(Problem::new(super::place::Place::START, &Path::default(), what));
    None
}

/// A mistake on its way up through the tree.
#[derive(Debug)]
struct Fault {
    complaint: Complaint,
    /// The steps to it, the innermost first.
    steps: Vec<Step>,
    /// True when the key is wrong and not its value.
    at_key: bool,
    /// The key that is missing.
    missing: Option<&'static str>,
}

impl Fault {
    fn within(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}

impl From<Complaint> for Fault {
    fn from(complaint: Complaint) -> Self {
        Fault { complaint, steps: Vec::new(), at_key: false, missing: None }
    }
}

impl std::error::Error for Fault {}

impl Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.complaint.fmt(f)
    }
}

impl de::Error for Fault {
    fn custom<T: Display>(said: T) -> Self {
        Complaint::read(&said.to_string()).into()
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let found = match found {
            Unexpected::Str(text) => quoted(text),
            Unexpected::Map => "a mapping".to_owned(),
            Unexpected::Seq => "a list".to_owned(),
            Unexpected::Unit => "nothing".to_owned(),
            other => other.to_string(),
        };
        Complaint::new(format!("must be {expected}, not {found}")).into()
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let complaint = Complaint::new(format!("must be {}, not {}", one_of(expected), quoted(variant)));
        complaint.with_hint(suggest::near(variant, expected.iter().copied())).into()
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let complaint = Complaint::new("there is no such key");
        complaint.with_hint(suggest::hint(field, expected.iter().copied())).into()
    }

    fn missing_field(field: &'static str) -> Self {
        Fault { missing: Some(field), ..Complaint::new(format!("`{field}` is missing")).into() }
    }
}

fn one_of(words: &[&str]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [word] => (*word).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// The deserializer: a value of the tree.
struct At<'t>(&'t Node);

impl<'t> At<'t> {
    fn shape(&self) -> &'static str {
        match &self.0.value {
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
            Value::Nothing | Value::Lost => "nothing",
            Value::Text(_) => "a single value",
        }
    }

    fn text(&self, expected: &str) -> Result<&'t str, Fault> {
        match &self.0.value {
            Value::Text(text) => Ok(text),
            _ => Err(Complaint::new(format!("must be {expected}, not {}", self.shape())).into()),
        }
    }
}

impl<'de> de::Deserializer<'de> for At<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.value {
            Value::Nothing | Value::Lost => visitor.visit_unit(),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(items) => visitor.visit_seq(Items { items, next: 0 }),
            Value::Map(entries) => visitor.visit_map(Entries { entries, next: 0, value: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.value {
            Value::Nothing | Value::Lost => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.text("true or false")? {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            other => Err(Complaint::new(format!("must be true or false, not {}", quoted(other))).into()),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.value {
            Value::List(_) => self.deserialize_any(visitor),
            Value::Nothing | Value::Lost => visitor.visit_seq(Items { items: &[], next: 0 }),
            Value::Text(text) => {
                let complaint = Complaint::new(format!("must be a list, not {}", quoted(text)));
                Err(complaint.with_hint(Some("a list of one stands in brackets: [...]".to_owned())).into())
            }
            Value::Map(_) => Err(Complaint::new("must be a list, not a mapping").into()),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.value {
            Value::Map(_) => self.deserialize_any(visitor),
            Value::Nothing | Value::Lost => visitor.visit_map(Entries { entries: &[], next: 0, value: None }),
            Value::Text(text) => {
                Err(Complaint::new(format!("must be a mapping of keys to values, not {}", quoted(text))).into())
            }
            Value::List(_) => Err(Complaint::new("must be a mapping of keys to values, not a list").into()),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let word: StrDeserializer<'de, Fault> = self.text(&one_of(variants))?.into_deserializer();
        visitor.visit_enum(word)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple
        tuple_struct identifier ignored_any
    }
}

/// The items of a list that are not lost.
struct Items<'t> {
    items: &'t [Node],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        while let Some(item) = self.items.get(self.next) {
            self.next += 1;
            if item.value != Value::Lost {
                let index = self.next - 1;
                return seed.deserialize(At(item)).map(Some).map_err(|fault| fault.within(Step::Item(index)));
            }
        }
        Ok(None)
    }
}

/// The entries of a mapping that are not lost.
struct Entries<'t> {
    entries: &'t [Entry],
    next: usize,
    value: Option<&'t Entry>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        while let Some(entry) = self.entries.get(self.next) {
            self.next += 1;
            if entry.value.value != Value::Lost {
                self.value = Some(entry);
                let key: StrDeserializer<'de, Fault> = (&*entry.key).into_deserializer();
                let at_key = |fault: Fault| Fault { at_key: true, ..fault.within(Step::Key(entry.key.clone())) };
                return seed.deserialize(key).map(Some).map_err(at_key);
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some(entry) = self.value.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        seed.deserialize(At(&entry.value)).map_err(|fault| fault.within(Step::Key(entry.key.clone())))
    }
}
