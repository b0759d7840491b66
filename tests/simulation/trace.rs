//! What happened, as a hash that tells two runs apart, and as lines for those who have to find out why.

use cordboard::moment::Moment;

/// Whose lines are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Nobody's: only the hash.
    Hash,
    /// One call's, and what concerns all.
    Call(u32),
    /// Everybody's, printed at once.
    Print,
}

#[derive(Debug)]
pub struct Trace {
    keep: Keep,
    hash: u64,
    lines: Vec<String>,
}

impl Trace {
    pub fn new(keep: Keep) -> Self {
        Trace { keep, hash: 0xcbf2_9ce4_8422_2325, lines: Vec::new() }
    }

    /// Takes something into the hash.
    pub fn mix(&mut self, now: Moment, octets: &[u8]) {
        // Eight octets at a time: FNV's way, wide enough for a comparison.
        let mut mix = |word: u64| self.hash = (self.hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
        mix(now.micros());
        for piece in octets.chunks(8) {
            let mut word = [0; 8];
            word[..piece.len()].copy_from_slice(piece);
            mix(u64::from_le_bytes(word));
        }
    }

    /// Keeps a line, if anybody wants it. `call` is none for what concerns all.
    pub fn line(&mut self, now: Moment, call: Option<u32>, line: impl FnOnce() -> String) {
        let wanted = match self.keep {
            Keep::Hash => false,
            Keep::Call(wanted) => call.is_none_or(|call| call == wanted),
            Keep::Print => true,
        };
        if !wanted {
            return;
        }
        let call = call.map_or("      ".to_owned(), |call| format!("c{call:<5}"));
        let line = format!("{:>12.6} {call} {}", now.micros() as f64 / 1e6, line());
        if self.keep == Keep::Print {
            eprintln!("{line}");
        } else {
            self.lines.push(line);
        }
    }

    /// True when nobody wants lines.
    pub fn is_quiet(&self) -> bool {
        self.keep == Keep::Hash
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The last lines.
    pub fn last(&self, count: usize) -> &[String] {
        &self.lines[self.lines.len().saturating_sub(count)..]
    }
}
