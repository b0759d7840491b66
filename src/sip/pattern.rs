//! Patterns over user parts and hosts, as operators write them.

/// Text with `*` for any run of characters and `?` for any one. Case does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Box<[u8]>);

impl Pattern {
    /// A pattern from its text.
    pub fn new(text: &str) -> Self {
        Pattern(text.to_ascii_lowercase().into_bytes().into_boxed_slice())
    }

    /// Its text, in lower case.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// True when all of `text` fits. Linear in the text for each `*`.
    pub fn matches(&self, text: &[u8]) -> bool {
        let (pattern, mut p, mut t) = (&self.0, 0, 0);
        let mut star: Option<(usize, usize)> = None;
        while t < text.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    star = Some((p, t));
                    p += 1;
                }
                Some(b) if *b == b'?' || *b == text[t].to_ascii_lowercase() => {
                    p += 1;
                    t += 1;
                }
                _ => match star {
                    Some((star_p, star_t)) => {
                        star = Some((star_p, star_t + 1));
                        p = star_p + 1;
                        t = star_t + 1;
                    }
                    None => return false,
                },
            }
        }
        pattern[p..].iter().all(|b| *b == b'*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_whole_texts() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("7??", "700", true),
            ("7??", "7000", false),
            ("+49*", "+4930", true),
            ("*00*1", "100200301", true),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXbX", false),
            ("PBX.Example.com", "pbx.example.COM", true),
            ("", "x", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(text.as_bytes()), fits, "{pattern} {text}");
        }
    }
}
