//! The file as a tree of texts, lists and mappings, each with its place.
//!
//! The only module that knows the YAML library. A scalar keeps its text as it was written, whatever YAML would make
//! of it: `0900` stays `0900` and `off` stays `off`; what a text means is for the one who reads it to say. An alias
//! stands for a copy of what it names, with the places of the original, since that is the text that has to be
//! mended; merge keys are resolved. Both are bounded, and so is the file.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_yaml::{Location, Options, Spanned};

use super::place::{Path, Place, Step};
use super::problem::Problem;

/// Largest file, in octets. Twenty thousand nodes are about a third of it; no human wrote a larger one.
pub const FILE_BYTES_MAX: usize = 4 << 20;

/// Values of one file: keys, texts, lists and mappings.
const NODES_MAX: usize = 250_000;

/// Values that aliases may stand for in all, so that a small file cannot unfold into a large one.
const ALIASED_MAX: usize = 20_000;

/// A value with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// What stands at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// An empty value, `~` or `null`.
    Nothing,
    /// A scalar as it was written; quotes and folding are resolved.
    Text(Box<str>),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping; no key stands in it twice.
    Map(Vec<Entry>),
    /// A value that was wrong and is passed over, so that the rest can be read.
    Lost,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Box<str>,
    /// Where the key stands.
    pub key_place: Place,
    /// The value.
    pub value: Node,
}

/// Reads a file. What breaks YAML itself ends the reading; keys that stand twice are noted, and the first one counts.
pub fn parse(text: &str) -> Result<(Node, Vec<Problem>), Problem> {
    parse_up_to(text, FILE_BYTES_MAX, NODES_MAX)
}

/// The same for a file of so many octets and values at most.
pub fn parse_up_to(text: &str, bytes_max: usize, nodes_max: usize) -> Result<(Node, Vec<Problem>), Problem> {
    if text.len() > bytes_max {
        let what = format!("the file has {} octets; at most {bytes_max} are read", text.len());
        return Err(Problem::new(Place::START, &Path::default(), what));
    }
    let parsed = load(text, DuplicateKeyPolicy::LastWins, nodes_max)?;
    let mut building = Building { text, problems: Vec::new() };
    let mut root = building.node(&parsed, &Path::default());
    if root.value == Value::Nothing {
        root.place = Place::START;
    }
    if has_bare_key(&parsed) {
        building.merged_keys(&load(text, DuplicateKeyPolicy::FirstWins, nodes_max)?, &parsed, &Path::default());
    }
    Ok((root, building.problems))
}

fn load(text: &str, duplicate_keys: DuplicateKeyPolicy, nodes_max: usize) -> Result<Spanned<Parsed>, Problem> {
    serde_yaml::from_str_with_options(text, options(duplicate_keys, nodes_max)).map_err(|error| broken(&error))
}

fn options(duplicate_keys: DuplicateKeyPolicy, nodes_max: usize) -> Options {
    serde_yaml::options! {
        // Each value begins with one event, and may end with another.
        budget: serde_yaml::budget! { max_nodes: nodes_max, max_events: nodes_max.saturating_mul(4) },
        alias_limits: serde_yaml::alias_limits! { max_total_replayed_events: ALIASED_MAX },
        duplicate_keys: duplicate_keys,
        emit_comments: false,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

/// A complaint of the YAML library in our form.
fn broken(error: &serde_yaml::Error) -> Problem {
    let place = error.location().map_or(Place::START, place_of);
    let said = error.without_snippet().to_string();
    let what = said.split(" at line ").next().unwrap_or_default();
    let (what, hint) = match error.without_snippet() {
        serde_yaml::Error::MultipleDocuments { .. } => ("a second document begins here", "the file is one document"),
        serde_yaml::Error::UnknownAnchor { .. } => {
            ("no anchor has this name", "a text that begins with * must stand in quotes")
        }
        _ => (what, "this breaks YAML itself, so nothing behind it was read"),
    };
    Problem { hint: Some(hint.to_owned()), ..Problem::new(place, &Path::default(), format!("not YAML: {what}")) }
}

fn place_of(location: Location) -> Place {
    let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX).max(1);
    Place { line: number(location.line()), column: number(location.column()) }
}

/// A value as the YAML library hands it over.
enum Parsed {
    Nothing,
    Text(Box<str>),
    /// A scalar that YAML takes for a truth value or a number; its text has to be fetched from the file.
    Bare(Box<str>),
    List(Vec<Spanned<Parsed>>),
    Map(Vec<(Spanned<Parsed>, Spanned<Parsed>)>),
}

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ParsedVisitor)
    }
}

struct ParsedVisitor;

macro_rules! bare {
    ($($visit:ident: $type:ty),+) => {
        $(fn $visit<E>(self, value: $type) -> Result<Parsed, E> {
            Ok(Parsed::Bare(value.to_string().into()))
        })+
    };
}

impl<'de> Visitor<'de> for ParsedVisitor {
    type Value = Parsed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    bare!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128, visit_f64: f64);

    fn visit_str<E>(self, text: &str) -> Result<Parsed, E> {
        Ok(Parsed::Text(text.into()))
    }

    fn visit_unit<E>(self) -> Result<Parsed, E> {
        Ok(Parsed::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Parsed, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Parsed::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parsed, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Parsed::Map(entries))
    }
}

/// What is needed to turn what the YAML library read into our tree.
struct Building<'t> {
    text: &'t str,
    problems: Vec<Problem>,
}

impl Building<'_> {
    fn node(&mut self, parsed: &Spanned<Parsed>, path: &Path) -> Node {
        let value = match &parsed.value {
            Parsed::Nothing => Value::Nothing,
            Parsed::Text(text) => Value::Text(text.clone()),
            Parsed::Bare(read) => Value::Text(self.as_written(parsed.defined).unwrap_or(read).into()),
            Parsed::List(items) => {
                Value::List(items.iter().enumerate().map(|(i, item)| self.node(item, &path.item(i))).collect())
            }
            Parsed::Map(entries) => Value::Map(self.entries(entries, path)),
        };
        Node { place: place_of(parsed.defined), value }
    }

    fn entries(&mut self, parsed: &[(Spanned<Parsed>, Spanned<Parsed>)], path: &Path) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::with_capacity(parsed.len());
        let mut known: HashMap<Box<str>, Place> = HashMap::with_capacity(parsed.len());
        for (key, value) in parsed {
            let key_place = place_of(key.defined);
            let Some(text) = self.key(key) else {
                self.problems.push(Problem::new(key_place, path, "a key must be a single word"));
                continue;
            };
            let here = path.key(&text);
            if let Some(first) = known.get(&text) {
                self.problems.push(twice(key_place, *first, &here));
                continue;
            }
            known.insert(text.clone(), key_place);
            entries.push(Entry { value: self.node(value, &here), key: text, key_place });
        }
        entries
    }

    fn key(&self, key: &Spanned<Parsed>) -> Option<Box<str>> {
        match &key.value {
            Parsed::Text(text) => Some(text.clone()),
            Parsed::Bare(read) => Some(self.as_written(key.defined).unwrap_or(read).into()),
            Parsed::Nothing => Some(self.as_written(key.defined).unwrap_or_default().into()),
            Parsed::List(_) | Parsed::Map(_) => None,
        }
    }

    /// The text of a scalar in the file, unless quotes stand around it.
    fn as_written(&self, location: Location) -> Option<&str> {
        let span = location.span();
        let start = usize::try_from(span.byte_offset()?).ok()?;
        let end = start.checked_add(usize::try_from(span.byte_len()?).ok()?)?;
        let text = self.text.get(start..end)?.trim();
        (!text.starts_with(['"', '\'', '|', '>'])).then_some(text)
    }

    /// Notes keys that YAML takes for the same number, of which the library keeps only one.
    fn merged_keys(&mut self, first: &Spanned<Parsed>, last: &Spanned<Parsed>, path: &Path) {
        match (&first.value, &last.value) {
            (Parsed::List(first), Parsed::List(last)) => {
                for (index, (first, last)) in first.iter().zip(last).enumerate() {
                    self.merged_keys(first, last, &path.item(index));
                }
            }
            (Parsed::Map(first), Parsed::Map(last)) => self.merged_entries(first, last, path),
            _ => {}
        }
    }

    fn merged_entries(
        &mut self,
        first: &[(Spanned<Parsed>, Spanned<Parsed>)],
        last: &[(Spanned<Parsed>, Spanned<Parsed>)],
        path: &Path,
    ) {
        let kept: HashMap<Location, &Spanned<Parsed>> = last.iter().map(|(key, value)| (key.defined, value)).collect();
        let later: HashMap<Option<&str>, Location> = last.iter().map(|(key, _)| (read_as(key), key.defined)).collect();
        for (key, value) in first {
            let here = path.key(&self.key(key).unwrap_or_default());
            match kept.get(&key.defined) {
                Some(same) => self.merged_keys(value, same, &here),
                None => {
                    let place = later.get(&read_as(key)).unwrap_or(&key.defined);
                    self.problems.push(twice(place_of(*place), place_of(key.defined), &here));
                }
            }
        }
    }
}

/// What YAML takes a key for: one number, however it is written.
fn read_as(key: &Spanned<Parsed>) -> Option<&str> {
    match &key.value {
        Parsed::Text(read) | Parsed::Bare(read) => Some(read),
        _ => None,
    }
}

fn twice(place: Place, first: Place, path: &Path) -> Problem {
    let what = format!("this key stands here a second time; the first is at {}:{}", first.line, first.column);
    Problem::new(place, path, what)
}

/// True when a key looks like a number, which is when the library merges keys by itself.
fn has_bare_key(parsed: &Spanned<Parsed>) -> bool {
    match &parsed.value {
        Parsed::List(items) => items.iter().any(has_bare_key),
        Parsed::Map(entries) => {
            entries.iter().any(|(key, value)| matches!(key.value, Parsed::Bare(_)) || has_bare_key(value))
        }
        _ => false,
    }
}

impl Node {
    /// The value at the end of a path; the outermost one that is lost, if there is one on the way.
    pub fn find(&self, path: &Path) -> Option<&Node> {
        let (node, rest) = self.walk(path);
        (rest.is_empty() || node.value == Value::Lost).then_some(node)
    }

    /// The place of the value at the end of a path, or of the innermost one around it that exists.
    pub fn place(&self, path: &Path) -> Place {
        self.walk(path).0.place
    }

    /// The place of the last key of a path.
    pub fn key_place(&self, path: &Path) -> Place {
        let Some((Step::Key(key), above)) = path.steps().split_last() else { return self.place(path) };
        let above = Path::from_innermost(above.iter().rev().cloned().collect());
        match self.find(&above).map(|node| &node.value) {
            Some(Value::Map(entries)) => {
                entries.iter().find(|e| e.key == *key).map_or_else(|| self.place(&above), |e| e.key_place)
            }
            _ => self.place(&above),
        }
    }

    /// True when the value at the end of a path, or one around it, was wrong.
    pub fn is_lost(&self, path: &Path) -> bool {
        self.find(path).is_some_and(|node| node.value == Value::Lost)
    }

    /// Passes over the value at the end of a path from here on.
    pub fn lose(&mut self, path: &Path) {
        let mut node = self;
        for step in path.steps() {
            let next = match (&mut node.value, step) {
                (Value::List(items), Step::Item(index)) => items.get_mut(*index),
                (Value::Map(entries), Step::Key(key)) => {
                    entries.iter_mut().find(|entry| entry.key == *key).map(|entry| &mut entry.value)
                }
                _ => None,
            };
            let Some(next) = next else { return };
            node = next;
        }
        node.value = Value::Lost;
    }

    /// The numbers of the items of a list that are not lost.
    pub fn items(&self, path: &Path) -> Vec<usize> {
        match self.find(path).map(|node| &node.value) {
            Some(Value::List(items)) => {
                items.iter().enumerate().filter(|(_, item)| item.value != Value::Lost).map(|(i, _)| i).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The entries of a mapping, those that are lost too.
    pub fn entries(&self, path: &Path) -> &[Entry] {
        match self.find(path).map(|node| &node.value) {
            Some(Value::Map(entries)) => entries,
            _ => &[],
        }
    }

    /// As far down a path as there is something, and the steps that are left.
    fn walk<'p>(&self, path: &'p Path) -> (&Node, &'p [Step]) {
        let mut node = self;
        for (taken, step) in path.steps().iter().enumerate() {
            let next = match (&node.value, step) {
                (Value::List(items), Step::Item(index)) => items.get(*index),
                (Value::Map(entries), Step::Key(key)) => {
                    entries.iter().find(|entry| entry.key == *key).map(|entry| &entry.value)
                }
                _ => None,
            };
            let Some(next) = next else { return (node, &path.steps()[taken..]) };
            node = next;
        }
        (node, &[])
    }
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
