//! Where something stands in the file, and by which keys one gets there.

use std::fmt;

/// A line and a column, both counted from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl Place {
    /// Where every file begins.
    pub const START: Place = Place { line: 1, column: 1 };
}

/// One step down from a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// To the value of a key.
    Key(Box<str>),
    /// To an item of a list, counted from 0.
    Item(usize),
}

/// The steps from the top of the file to a value: `pools.inbound.nodes[0].weight`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Vec<Step>);

impl Path {
    /// The way to a key at the top of the file.
    pub fn to(key: &str) -> Self {
        Path::default().key(key)
    }

    /// One step further, to the value of a key.
    pub fn key(&self, key: &str) -> Self {
        self.then(Step::Key(key.into()))
    }

    /// One step further, to an item of a list.
    pub fn item(&self, index: usize) -> Self {
        self.then(Step::Item(index))
    }

    fn then(&self, step: Step) -> Self {
        let mut steps = Vec::with_capacity(self.0.len() + 1);
        steps.extend_from_slice(&self.0);
        steps.push(step);
        Path(steps)
    }

    /// The steps from the top down.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// A path from its steps, the innermost first.
    pub fn from_innermost(mut steps: Vec<Step>) -> Self {
        steps.reverse();
        Path(steps)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Item(index) => write!(f, "[{index}]")?,
                Step::Key(key) => {
                    f.write_str(if position > 0 { "." } else { "" })?;
                    write_key(f, key)?;
                }
            }
        }
        Ok(())
    }
}

/// A key as it is; in quotes where a reader of the path could take it for several steps.
fn write_key(f: &mut fmt::Formatter<'_>, key: &str) -> fmt::Result {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    if !key.is_empty() && key.chars().all(plain) { f.write_str(key) } else { write!(f, "{key:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_like_the_file() {
        let path = Path::to("pools").key("inbound").key("nodes").item(0).key("weight");
        assert_eq!(path.to_string(), "pools.inbound.nodes[0].weight");
        assert_eq!(Path::to("pools").key("a.b").key("").to_string(), "pools.\"a.b\".\"\"");
        assert_eq!(Path::default().to_string(), "");
    }
}
