//! Keyed hashes: what makes branches, route tokens and table keys the edge's own.
//!
//! All edges of a farm share one secret. Each use has a key of its own, so that a value made for one can never
//! serve as another. The hash is SipHash with a 128-bit result, a pseudo-random function made for short input: SipHash-2-4 for what
//! proves something to the farm, SipHash-1-3, which hash tables use, for what only tells things apart.

use sha2::{Digest, Sha256};

/// One key for each use.
#[derive(Clone)]
pub struct Keys {
    /// Call-IDs in the lease table.
    pub call: Key,
    /// Identities of transactions.
    pub transaction: Key,
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
            transaction: key("transaction"),
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
    /// Starts a hash under this key that proves something.
    #[inline]
    pub fn hash(&self) -> Keyed<2> {
        self.start()
    }

    /// Starts a hash under this key that only tells things apart. Nobody can find two that have the same one without the key, and
    /// nothing is believed for its sake.
    #[inline]
    pub fn quick_hash(&self) -> Keyed<1> {
        self.start()
    }

    #[inline]
    fn start<const ROUNDS: usize>(&self) -> Keyed<ROUNDS> {
        let half = |at: usize| self.0[at..].first_chunk().map_or(0, |octets| u64::from_le_bytes(*octets));
        Keyed(Sip128::new(half(0), half(8)))
    }
}

/// A hash in the making. Each piece stands behind its length, so that two lists of pieces never run together.
pub struct Keyed<const ROUNDS: usize>(Sip128<ROUNDS>);

impl<const ROUNDS: usize> Keyed<ROUNDS> {
    /// Takes in one piece: four octets of length, the octets, and zeros up to the next multiple of eight.
    #[inline(always)]
    pub fn piece(mut self, bytes: &[u8]) -> Self {
        let length = u64::from(bytes.len() as u32);
        let Some((head, rest)) = bytes.split_first_chunk::<4>() else {
            self.0.word(length | few(bytes) << 32);
            return self;
        };
        self.0.word(length | u64::from(u32::from_le_bytes(*head)) << 32);
        let (words, tail) = rest.as_chunks::<8>();
        for word in words {
            self.0.word(u64::from_le_bytes(*word));
        }
        if !tail.is_empty() {
            // The last eight octets of the piece, without those that were taken in already.
            let last = bytes.last_chunk().map(|last| u64::from_le_bytes(*last) >> (64 - 8 * tail.len()));
            self.0.word(last.unwrap_or_else(|| few(tail)));
        }
        self
    }

    /// Takes in a number.
    #[inline(always)]
    pub fn number(mut self, number: u64) -> Self {
        self.0.word(number);
        self
    }

    /// Takes in what another hash gave.
    #[inline(always)]
    pub fn wide(self, number: u128) -> Self {
        self.number(number as u64).number((number >> 64) as u64)
    }

    /// 128 bits.
    #[inline]
    pub fn finish128(self) -> u128 {
        let (low, high) = self.0.finish();
        u128::from(high()) << 64 | u128::from(low)
    }

    /// The low 64 of the 128 bits.
    #[inline]
    pub fn finish64(self) -> u64 {
        self.0.finish().0
    }
}

/// Up to three octets as a number.
fn few(octets: &[u8]) -> u64 {
    octets.iter().rev().fold(0, |number, octet| number << 8 | u64::from(*octet))
}

/// SipHash with a 128-bit result over whole words of eight octets, with so many rounds a word and two more at the end.
struct Sip128<const ROUNDS: usize> {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
    words: u64,
}

impl<const ROUNDS: usize> Sip128<ROUNDS> {
    #[inline]
    fn new(k0: u64, k1: u64) -> Self {
        Sip128 {
            v0: k0 ^ 0x736f_6d65_7073_6575,
            v1: k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
            v2: k0 ^ 0x6c79_6765_6e65_7261,
            v3: k1 ^ 0x7465_6462_7974_6573,
            words: 0,
        }
    }

    #[inline(always)]
    fn word(&mut self, word: u64) {
        self.words += 1;
        self.absorb(word);
    }

    #[inline(always)]
    fn absorb(&mut self, word: u64) {
        self.v3 ^= word;
        (0..ROUNDS).for_each(|_| self.round());
        self.v0 ^= word;
    }

    #[inline(always)]
    fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.rotate_left(32);
    }

    /// The low half, and how to come by the high one.
    #[inline(always)]
    fn finish(mut self) -> (u64, impl FnOnce() -> u64) {
        self.absorb(self.words << 59);
        self.v2 ^= 0xee;
        let low = self.last_rounds();
        let high = move || {
            self.v1 ^= 0xdd;
            self.last_rounds()
        };
        (low, high)
    }

    #[inline]
    fn last_rounds(&mut self) -> u64 {
        (0..ROUNDS + 2).for_each(|_| self.round());
        self.v0 ^ self.v1 ^ self.v2 ^ self.v3
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
#[inline]
pub fn fill_base32(place: &mut [u8], mut value: u64) {
    for digit in place.iter_mut().rev() {
        *digit = BASE32[(value & 31) as usize];
        value >>= 5;
    }
}

/// Reads what [`write_base32`] wrote, in either case.
#[inline]
pub fn read_base32(digits: &[u8]) -> Option<u64> {
    let (mut value, mut seen) = (0u64, 0u8);
    for digit in digits {
        let bits = BITS[*digit as usize];
        seen |= bits;
        // What is no digit spoils the number, and then there is none.
        value = value << 5 | u64::from(bits);
    }
    (seen & NO_DIGIT == 0).then_some(value)
}

/// Marks in [`BITS`] what is no digit.
const NO_DIGIT: u8 = 128;

/// What each octet stands for as a digit.
const BITS: [u8; 256] = {
    let mut table = [NO_DIGIT; 256];
    let mut value = 0u8;
    while value < 32 {
        let digit = BASE32[value as usize];
        table[digit as usize] = value;
        table[digit.to_ascii_uppercase() as usize] = value;
        value += 1;
    }
    table
};

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
    fn the_hashes_are_siphash_over_the_pieces_with_their_lengths() {
        use siphasher::sip128::{Hasher128, SipHasher13, SipHasher24};
        use std::hash::Hasher;
        let key = Key(*b"0123456789abcdef");
        for len in 0..40 {
            let text = &b"a Call-ID that is longer than any other one"[..len];
            let mut octets = (len as u32).to_le_bytes().to_vec();
            octets.extend_from_slice(text);
            octets.resize(octets.len().next_multiple_of(8), 0);
            octets.extend_from_slice(&77u64.to_le_bytes());
            let (mut proving, mut quick) = (SipHasher24::new_with_key(&key.0), SipHasher13::new_with_key(&key.0));
            proving.write(&octets);
            quick.write(&octets);
            let (proving, quick) = (proving.finish128().as_u128(), quick.finish128().as_u128());
            assert_eq!(key.hash().piece(text).number(77).finish128(), proving, "{len}");
            assert_eq!(key.hash().piece(text).number(77).finish64(), proving as u64);
            assert_eq!(key.quick_hash().piece(text).number(77).finish128(), quick, "{len}");
            assert_eq!(key.quick_hash().piece(text).number(77).finish64(), quick as u64);
        }
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
