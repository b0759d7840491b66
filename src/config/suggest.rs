//! "Did you mean ...?": the known word that is nearest to a mistyped one.

/// Longest words that are compared; a longer one is no slip of the fingers.
const LEN_MAX: usize = 40;

/// Known words that are listed when none is near.
const LISTED_MAX: usize = 24;

/// The hint for a word that is not among the known ones: the nearest, or all of them when none is near.
pub fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let known: Vec<&str> = known.into_iter().collect();
    let all = || (!known.is_empty() && known.len() <= LISTED_MAX).then(|| format!("known are {}", known.join(", ")));
    near(word, known.iter().copied()).or_else(all)
}

/// The hint for a word whose alternatives were named already: the nearest, if one is near.
pub fn near<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let known: Vec<&str> = known.into_iter().collect();
    nearest(word, &known).map(|near| format!("did you mean `{near}`?"))
}

/// The known word that is near enough to be meant.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase().replace('-', "_");
    let length = word.chars().count();
    if length > LEN_MAX {
        return None;
    }
    let distance_of = |candidate: &&'a str| distance(&word, &candidate.to_lowercase().replace('-', "_"));
    let best = known.iter().filter(|k| k.len() <= LEN_MAX).map(|k| (distance_of(k), *k)).min()?;
    (best.0 <= (length / 3).max(1)).then_some(best.1)
}

/// Letters to change, add, leave out or swap to get from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows = vec![vec![0; to.len() + 1]; from.len() + 1];
    rows[0] = (0..=to.len()).collect();
    for i in 1..=from.len() {
        rows[i][0] = i;
        for j in 1..=to.len() {
            let other = usize::from(from[i - 1] != to[j - 1]);
            let mut least = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + other);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["weight", "max_calls", "name", "uri"];

    #[test]
    fn a_slip_of_the_fingers_finds_its_word() {
        for (typed, meant) in [("wieght", "weight"), ("max-calls", "max_calls"), ("Name", "name"), ("url", "uri")] {
            assert_eq!(hint(typed, KNOWN), Some(format!("did you mean `{meant}`?")), "{typed}");
        }
    }

    #[test]
    fn a_strange_word_is_answered_with_all_known_ones() {
        assert_eq!(hint("password", KNOWN).as_deref(), Some("known are weight, max_calls, name, uri"));
        assert_eq!(hint("password", []), None);
        assert_eq!(hint(&"x".repeat(10_000), KNOWN).as_deref(), Some("known are weight, max_calls, name, uri"));
    }
}
