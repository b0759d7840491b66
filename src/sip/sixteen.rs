//! Looking at sixteen octets at once.
//!
//! Where the processor can compare sixteen octets in one step it does; elsewhere they are looked at one by one.
//!
//! `unsafe`, because the compiler wants it said that a processor has what every processor of its kind has.

#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::{__m128i, _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8};

/// Which of 64 octets are no greater than `most`: the lowest bit stands for the first of them.
#[inline(always)]
pub(super) fn up_to(octets: &[u8; 64], most: u8) -> u64 {
    let (sixteens, _) = octets.as_chunks();
    sixteens.iter().rev().fold(0, |found, sixteen| found << 16 | u64::from(sixteen_up_to(sixteen, most)))
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn sixteen_up_to(octets: &[u8; 16], most: u8) -> u16 {
    // SAFETY: SSE2 is part of x86-64.
    unsafe { by_sse2(octets, most) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
#[inline]
fn by_sse2(octets: &[u8; 16], most: u8) -> u16 {
    let number = u128::from_le_bytes(*octets);
    let octets: __m128i = _mm_set_epi64x((number >> 64) as i64, number as i64);
    let least = _mm_min_epu8(octets, _mm_set1_epi8(most as i8));
    _mm_movemask_epi8(_mm_cmpeq_epi8(least, octets)) as u16
}

#[cfg(not(target_arch = "x86_64"))]
fn sixteen_up_to(octets: &[u8; 16], most: u8) -> u16 {
    octets.iter().rev().fold(0, |found, octet| found << 1 | u16::from(*octet <= most))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn each_bit_stands_for_its_octet(octets in proptest::array::uniform32(0u8..), most: u8) {
            let octets: [u8; 64] = std::array::from_fn(|at| octets[at % 32].wrapping_add((at / 32) as u8));
            let found = up_to(&octets, most);
            for (at, octet) in octets.iter().enumerate() {
                proptest::prop_assert_eq!(found >> at & 1 == 1, *octet <= most);
            }
        }
    }
}
