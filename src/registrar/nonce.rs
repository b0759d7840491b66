//! Nonces that need no memory: the time and a keyed proof of it, the same at every edge of a farm (RFC 7616 section 3.3).

use crate::keys::{Key, fill_base32, read_base32};

/// How long a nonce may be answered with new counts. Then the client is told that it is stale, and goes on with a new
/// one by itself.
pub const LIFE_SECS: u64 = 300;

/// Clocks of two edges may differ by so much.
const SKEW_SECS: u64 = 60;

const TIME_DIGITS: usize = 7;
const SALT_DIGITS: usize = 13;
const PROOF_DIGITS: usize = 13;

/// Characters of a nonce.
pub const LEN: usize = TIME_DIGITS + SALT_DIGITS + PROOF_DIGITS;

/// A nonce as text.
pub type Text = [u8; LEN];

/// Makes a nonce. The salt tells nonces of one second apart: a keyed hash of the request that it answers, so that a repetition
/// of the request gets the same one.
pub fn make(key: &Key, unix_secs: u64, salt: u64) -> Text {
    let mut text = [b'0'; LEN];
    fill_base32(&mut text[..TIME_DIGITS], unix_secs);
    fill_base32(&mut text[TIME_DIGITS..TIME_DIGITS + SALT_DIGITS], salt);
    let proof = key.hash().piece(&text[..TIME_DIGITS + SALT_DIGITS]).finish64();
    fill_base32(&mut text[TIME_DIGITS + SALT_DIGITS..], proof);
    text
}

/// What is known of a nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The farm made it, so many seconds ago.
    Fresh {
        /// Seconds since it was made.
        age: u64,
    },
    /// The farm made it, too long ago.
    Stale,
    /// The farm never made it.
    Foreign,
}

/// Judges a nonce.
pub fn judge(key: &Key, unix_secs: u64, nonce: &[u8]) -> Verdict {
    let Some((head, proof)) = nonce.split_at_checked(TIME_DIGITS + SALT_DIGITS).filter(|_| nonce.len() == LEN) else {
        return Verdict::Foreign;
    };
    let expected = key.hash().piece(head).finish64();
    let mut digits = [0; PROOF_DIGITS];
    fill_base32(&mut digits, expected);
    if digits != *proof {
        return Verdict::Foreign;
    }
    let made = read_base32(&head[..TIME_DIGITS]).unwrap_or(0);
    match unix_secs.checked_sub(made) {
        Some(age) if age <= LIFE_SECS => Verdict::Fresh { age },
        None if made - unix_secs <= SKEW_SECS => Verdict::Fresh { age: 0 },
        _ => Verdict::Stale,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keys;

    const NOW: u64 = 1_795_000_000;

    #[test]
    fn a_nonce_is_known_again_until_its_time_is_over() {
        let key = Keys::derive(b"farm").nonce;
        let nonce = make(&key, NOW, 7);
        assert_eq!(judge(&key, NOW + 10, &nonce), Verdict::Fresh { age: 10 });
        assert_eq!(judge(&key, NOW - SKEW_SECS, &nonce), Verdict::Fresh { age: 0 }, "another edge's clock");
        assert_eq!(judge(&key, NOW + LIFE_SECS + 1, &nonce), Verdict::Stale);
        assert_eq!(judge(&key, NOW - SKEW_SECS - 1, &nonce), Verdict::Stale);
        assert_ne!(nonce, make(&key, NOW, 8));
    }

    #[test]
    fn a_nonce_that_the_farm_never_made_is_foreign() {
        let key = Keys::derive(b"farm").nonce;
        let nonce = make(&key, NOW, 7);
        for at in 0..LEN {
            let mut changed = nonce;
            changed[at] = if changed[at] == b'3' { b'4' } else { b'3' };
            assert_eq!(judge(&key, NOW, &changed), Verdict::Foreign, "{at}");
        }
        assert_eq!(judge(&Keys::derive(b"other").nonce, NOW, &nonce), Verdict::Foreign);
        assert_eq!(judge(&key, NOW, b""), Verdict::Foreign);
        assert_eq!(judge(&key, NOW, &[b'v'; 200]), Verdict::Foreign);
    }
}
