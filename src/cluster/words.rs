//! When something was last said, of nodes and agents: the last word holds, wherever it was said.

use std::collections::HashMap;

/// Words of which it is remembered when they were said.
const WORDS_MAX: usize = 1_000_000;

/// When the last word about each thing was said.
#[derive(Debug, Default)]
pub struct Words {
    said: HashMap<Vec<u8>, u64>,
}

impl Words {
    /// Whether a word is at least as new as any that was heard about the same; it is remembered.
    pub fn is_last(&mut self, name: &[u8], since: u64) -> bool {
        let is_last = self.said.get(name).is_none_or(|known| *known <= since);
        if is_last && (self.said.len() < WORDS_MAX || self.said.contains_key(name)) {
            self.said.insert(name.to_vec(), since);
        }
        is_last
    }

    /// When the last word about something was said, in milliseconds of Unix time; 0 when that is not known.
    pub fn said(&self, name: &[u8]) -> u64 {
        self.said.get(name).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_word_is_not_the_last() {
        let mut words = Words::default();
        assert!(words.is_last(b"a:ast-1", 5) && words.is_last(b"a:ast-1", 5) && !words.is_last(b"a:ast-1", 4));
        assert_eq!((words.said(b"a:ast-1"), words.said(b"a:ast-2")), (5, 0));
    }
}
