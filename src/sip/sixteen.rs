//! Looking at sixteen octets at once.
//!
//! Where the processor can compare sixteen octets in one step it does; elsewhere they are looked at one by one.
//!
//! `unsafe`, because the compiler wants it said that a processor has what every processor of its kind has.

#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::{
    __m128i, _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
};

/// Which of 64 octets are no greater than `most`: the lowest bit stands for the first of them.
#[inline(always)]
pub(super) fn up_to(octets: &[u8; 64], most: u8) -> u64 {
    let (sixteens, _) = octets.as_chunks();
    sixteens.iter().rev().fold(0, |found, sixteen| found << 16 | u64::from(sixteen_up_to(sixteen, most)))
}

/// Number of the first of sixteen octets that is this one; sixteen for none.
#[inline(always)]
pub(super) fn first_of(octets: &[u8; 16], octet: u8) -> usize {
    (u32::from(equal(octets, &[octet; 16])) | 1 << 16).trailing_zeros() as usize
}

/// True when two times sixteen octets are the same.
#[inline(always)]
pub(super) fn are_same(octets: &[u8; 16], others: &[u8; 16]) -> bool {
    equal(octets, others) == u16::MAX
}

/// Which of sixteen octets are no greater than a blank, or one of these.
#[inline(always)]
pub(super) fn stops<const N: usize>(octets: &[u8; 16], these: [u8; N]) -> u16 {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { sse2::stops(octets, these) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    these.iter().fold(sixteen_up_to(octets, b' '), |found, octet| found | equal(octets, &[*octet; 16]))
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn equal(octets: &[u8; 16], others: &[u8; 16]) -> u16 {
    // SAFETY: SSE2 is part of x86-64.
    unsafe { sse2::equal(octets, others) }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn sixteen_up_to(octets: &[u8; 16], most: u8) -> u16 {
    // SAFETY: SSE2 is part of x86-64.
    unsafe { sse2::up_to(octets, most) }
}

#[cfg(not(target_arch = "x86_64"))]
fn equal(octets: &[u8; 16], others: &[u8; 16]) -> u16 {
    octets.iter().zip(others).rev().fold(0, |found, (octet, other)| found << 1 | u16::from(octet == other))
}

#[cfg(not(target_arch = "x86_64"))]
fn sixteen_up_to(octets: &[u8; 16], most: u8) -> u16 {
    octets.iter().rev().fold(0, |found, octet| found << 1 | u16::from(*octet <= most))
}

#[cfg(target_arch = "x86_64")]
mod sse2 {
    use super::*;

    #[target_feature(enable = "sse2")]
    #[inline]
    fn load(octets: &[u8; 16]) -> __m128i {
        let number = u128::from_le_bytes(*octets);
        _mm_set_epi64x((number >> 64) as i64, number as i64)
    }

    /// All bits of each octet that is no greater than `most`.
    #[target_feature(enable = "sse2")]
    #[inline]
    fn at_most(octets: __m128i, most: u8) -> __m128i {
        _mm_cmpeq_epi8(_mm_min_epu8(octets, _mm_set1_epi8(most as i8)), octets)
    }

    #[target_feature(enable = "sse2")]
    #[inline]
    pub fn equal(octets: &[u8; 16], others: &[u8; 16]) -> u16 {
        _mm_movemask_epi8(_mm_cmpeq_epi8(load(octets), load(others))) as u16
    }

    #[target_feature(enable = "sse2")]
    #[inline]
    pub fn stops<const N: usize>(octets: &[u8; 16], these: [u8; N]) -> u16 {
        let octets = load(octets);
        let mut found = at_most(octets, b' ');
        for octet in these {
            found = _mm_or_si128(found, _mm_cmpeq_epi8(octets, _mm_set1_epi8(octet as i8)));
        }
        _mm_movemask_epi8(found) as u16
    }

    #[target_feature(enable = "sse2")]
    #[inline]
    pub fn up_to(octets: &[u8; 16], most: u8) -> u16 {
        _mm_movemask_epi8(at_most(load(octets), most)) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn each_bit_stands_for_its_octet(octets in proptest::array::uniform32(0u8..), most: u8) {
            let octets: [u8; 64] = std::array::from_fn(|at| octets[at % 32].wrapping_add((at / 32) as u8));
            let lower = up_to(&octets, most);
            for (at, octet) in octets.iter().enumerate() {
                proptest::prop_assert_eq!(lower >> at & 1 == 1, *octet <= most);
            }
            let sixteen = octets.first_chunk().unwrap();
            let first = sixteen.iter().position(|octet| *octet == most);
            proptest::prop_assert_eq!(first_of(sixteen, most), first.unwrap_or(16));
            proptest::prop_assert!(are_same(sixteen, sixteen));
            let mut other = *sixteen;
            other[usize::from(most) % 16] ^= 1;
            proptest::prop_assert!(!are_same(sixteen, &other));
        }
    }
}
