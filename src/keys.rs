//! Keyed hashes: what makes branches, route tokens and table keys the edge's own.
//!
//! All edges of a farm share one secret. Each use has a key of its own, so that a value made for one can never
//! serve as another. The hash is SipHash-2-4 with a 128-bit result, a pseudo-random function made for short input.

use std::hash::Hasher;

use sha2::{Digest, Sha256};
use siphasher::sip128::{Hasher128, SipHasher24};

/// One key for each use.
#[derive(Clone)]
pub struct Keys {
    /// Call-IDs in the lease table.
    pub call: Key,
    /// Branches of the edge's Via.
    pub branch: Key,
    /// The part of a branch that detects loops.
    pub turn: Key,
    /// Tokens in Record-Route.
    pub token: Key,
    /// To tags of the edge's own answers.
    pub tag: Key,
    /// The flow parameter of the edge's Via.
    pub flow: Key,
    /// Call-IDs and branches of probes.
    pub probe: Key,
    /// Nonces of challenges.
    pub nonce: Key,
}

/// A 128-bit key. It is never printed.
#[derive(Clone, Copy)]
pub struct Key([u8; 16]);

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(..)")
    }
}

impl Keys {
    /// Derives all keys from the farm's secret.
    pub fn derive(secret: &[u8]) -> Self {
        let key = |label: &str| {
            let digest = Sha256::new().chain_update(label).chain_update([0]).chain_update(secret).finalize();
            let mut key = [0; 16];
            key.copy_from_slice(&digest[..16]);
            Key(key)
        };
        Keys {
            call: key("call"),
            branch: key("branch"),
            turn: key("turn"),
            token: key("token"),
            tag: key("tag"),
            flow: key("flow"),
            probe: key("probe"),
            nonce: key("nonce"),
        }
    }
}

impl Key {
    /// Starts a hash under this key.
    pub fn hash(&self) -> Keyed {
        Keyed(SipHasher24::new_with_key(&self.0))
    }
}

/// A hash in the making. Each piece is closed off by its length, so that two lists of pieces never run together.
pub struct Keyed(SipHasher24);

impl Keyed {
    /// Takes in one piece.
    pub fn piece(mut self, bytes: &[u8]) -> Self {
        self.0.write(bytes);
        self.0.write_u32(bytes.len() as u32);
        self
    }

    /// Takes in a number.
    pub fn number(mut self, number: u64) -> Self {
        self.0.write_u64(number);
        self
    }

    /// 128 bits.
    pub fn finish128(self) -> u128 {
        self.0.finish128().as_u128()
    }

    /// The low 64 of the 128 bits.
    pub fn finish64(self) -> u64 {
        self.finish128() as u64
    }
}

/// Writes the lowest `5 * digits` bits as lower-case base32: letters and digits that are legal in tokens and URI
/// parameters and survive a change of case.
pub fn write_base32(out: &mut Vec<u8>, value: u64, digits: usize) {
    let start = out.len();
    out.resize(start + digits, b'0');
    fill_base32(&mut out[start..], value);
}

/// The same into a given place, as many digits as it has.
pub fn fill_base32(place: &mut [u8], mut value: u64) {
    for digit in place.iter_mut().rev() {
        *digit = BASE32[(value & 31) as usize];
        value >>= 5;
    }
}

/// Reads what [`write_base32`] wrote, in either case.
pub fn read_base32(digits: &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for digit in digits {
        let digit = digit.to_ascii_lowercase();
        let bits = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'v' => digit - b'a' + 10,
            _ => return None,
        };
        value = value << 5 | u64::from(bits);
    }
    Some(value)
}

const BASE32: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_never_run_together_and_uses_never_mix() {
        let keys = Keys::derive(b"secret");
        let hash = |key: &Key, a: &[u8], b: &[u8]| key.hash().piece(a).piece(b).finish128();
        assert_ne!(hash(&keys.call, b"ab", b"c"), hash(&keys.call, b"a", b"bc"));
        assert_ne!(hash(&keys.call, b"a", b"b"), hash(&keys.branch, b"a", b"b"));
        assert_eq!(hash(&keys.call, b"a", b"b"), hash(&Keys::derive(b"secret").call, b"a", b"b"));
        assert_ne!(hash(&keys.call, b"a", b"b"), hash(&Keys::derive(b"other").call, b"a", b"b"));
    }

    #[test]
    fn base32_comes_back_in_either_case() {
        let mut out = Vec::new();
        write_base32(&mut out, 0xfedc_ba98_7654_3210, 13);
        assert_eq!(read_base32(&out), Some(0xfedc_ba98_7654_3210));
        assert_eq!(read_base32(&out.to_ascii_uppercase()), Some(0xfedc_ba98_7654_3210));
        assert_eq!(read_base32(b"w"), None);
    }
}
