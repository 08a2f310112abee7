//! A payload that can be checked without a digest: every word says where it belongs and to which message.
//!
//! Writing and checking it cost about as much as touching the bytes, which makes it the check of choice under TCG. In
//! frames of different tokens no aligned word is the same at the same place, and in one frame no word occurs twice:
//! a displaced block, a stale frame and a torn one are all seen, and the place where they begin is known.

/// Apart from its neighbours by this much: 2^64 divided by the golden ratio, odd, so that no two words of a frame
/// are equal.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
/// Bytes compared between two decisions: the comparison itself has no branch, so that the compiler can vectorise it.
const BLOCK_BYTES: usize = 1024;

/// Fills `bytes` with the pattern of `token`: word i is `mix(token) + i * STEP`, little-endian and wrapping; the
/// last word is cut off where the bytes end.
pub fn fill_pattern(bytes: &mut [u8], token: u64) {
    let start = mix(token);
    let (slots, tail) = bytes.as_chunks_mut::<8>();
    let count = slots.len();
    for (i, slot) in slots.iter_mut().enumerate() {
        *slot = word(start, i).to_le_bytes();
    }
    let length = tail.len();
    tail.copy_from_slice(&word(start, count).to_le_bytes()[..length]);
}

/// The offset of the first byte that is not as [`fill_pattern`] with the same token and length left it; `None`
/// when all are.
///
/// The byte found is the first that differs: where a wrong word has a byte in common with the right one, that byte
/// is not wrong. A word of another token, or from another place, differs within its eight bytes.
#[must_use]
pub fn check_pattern(bytes: &[u8], token: u64) -> Option<usize> {
    check_pattern_from(bytes, token, 0)
}

/// The same of bytes that begin `words` words into the pattern. Wherever two such pieces of one pattern begin, no aligned
/// word is the same at the same place.
#[must_use]
pub fn check_pattern_from(bytes: &[u8], token: u64, words: usize) -> Option<usize> {
    let mut start = word(mix(token), words);
    for (number, block) in bytes.chunks(BLOCK_BYTES).enumerate() {
        let (slots, tail) = block.as_chunks::<8>();
        let mut difference = 0;
        for (i, slot) in slots.iter().enumerate() {
            difference |= u64::from_le_bytes(*slot) ^ word(start, i);
        }
        if difference != 0 || tail != &word(start, slots.len()).to_le_bytes()[..tail.len()] {
            return first_wrong(block, start).map(|at| number * BLOCK_BYTES + at);
        }
        start = word(start, BLOCK_BYTES / 8);
    }
    None
}

/// The first wrong byte of a block whose first word should be `start`. Slow: it runs once a broken payload.
fn first_wrong(block: &[u8], start: u64) -> Option<usize> {
    let expected = (0..).flat_map(|i| word(start, i).to_le_bytes());
    block.iter().zip(expected).position(|(found, expected)| *found != expected)
}

/// The word `i` places after `start`.
#[inline(always)]
const fn word(start: u64, i: usize) -> u64 {
    start.wrapping_add(STEP.wrapping_mul(i as u64))
}

/// The first output of SplitMix64 seeded with `token` (Steele, Lea and Flood 2014). One to one, so that different
/// tokens never share a pattern; not linear, so that one token's pattern is not that of another moved by some words.
const fn mix(token: u64) -> u64 {
    let z = token.wrapping_add(STEP);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filled(length: usize, token: u64) -> Vec<u8> {
        let mut bytes = vec![0xA5; length];
        fill_pattern(&mut bytes, token);
        bytes
    }

    /// The definition, byte by byte.
    fn defined(at: usize, token: u64) -> u8 {
        mix(token).wrapping_add((at as u64 / 8).wrapping_mul(STEP)).to_le_bytes()[at % 8]
    }

    #[test]
    fn the_words_are_those_of_splitmix64() {
        // The first two outputs for seed 1234567, as printed by the authors' reference, Rosetta Code "Pseudo-random
        // numbers/Splitmix64". The state goes from one seed to the next by STEP.
        assert_eq!(mix(1_234_567), 6_457_827_717_110_365_317);
        assert_eq!(mix(1_234_567_u64.wrapping_add(STEP)), 3_203_168_211_198_807_973);
    }

    proptest! {
        #[test]
        fn the_pattern_is_as_defined_at_any_length_and_is_found_right(length in 0_usize..5000, token: u64) {
            let bytes = filled(length, token);
            prop_assert!(bytes.iter().enumerate().all(|(at, byte)| *byte == defined(at, token)));
            prop_assert_eq!(check_pattern(&bytes, token), None);
        }

        #[test]
        fn any_flipped_bit_is_found_where_it_is(length in 1_usize..5000, token: u64, bit: prop::sample::Index) {
            let mut bytes = filled(length, token);
            let bit = bit.index(length * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(check_pattern(&bytes, token), Some(bit / 8));
        }

        #[test]
        fn a_displaced_or_swapped_line_is_found_where_it_is(
            count in 2_usize..60, tail in 0_usize..64, token: u64, from: prop::sample::Index, to: prop::sample::Index,
        ) {
            let (from, to) = (from.index(count), to.index(count));
            prop_assume!(from != to);
            let right = filled(count * 64 + tail, token);
            let mut displaced = right.clone();
            displaced.copy_within(from * 64..(from + 1) * 64, to * 64);
            let mut swapped = displaced.clone();
            swapped[from * 64..(from + 1) * 64].copy_from_slice(&right[to * 64..(to + 1) * 64]);
            for (bytes, line) in [(displaced, to), (swapped, from.min(to))] {
                let found = check_pattern(&bytes, token).unwrap();
                prop_assert!((line * 64..line * 64 + 8).contains(&found), "{} in line {}", found, line);
                prop_assert_eq!(Some(found), bytes.iter().zip(&right).position(|(a, b)| a != b));
            }
        }

        #[test]
        fn a_frame_torn_between_two_tokens_is_found_at_the_tear(
            length in 16_usize..5000, token: u64, apart in 1_u64..1000, tear: prop::sample::Index,
        ) {
            let stale = filled(length, token.wrapping_sub(apart));
            let tear = tear.index(length - 15);
            for (torn, right) in [
                ([&filled(length, token)[..tear], &stale[tear..]].concat(), filled(length, token)),
                ([&stale[..tear], &filled(length, token)[tear..]].concat(), stale.clone()),
            ] {
                let expected = (tear..length).find(|&at| torn[at] != right[at]).unwrap();
                let token = if right == stale { token.wrapping_sub(apart) } else { token };
                prop_assert_eq!(check_pattern(&torn, token), Some(expected));
                // At the latest in the first whole word after the tear.
                prop_assert!(expected < tear.next_multiple_of(8) + 8);
            }
        }
    }

    #[test]
    fn a_piece_of_a_pattern_is_known_by_where_it_begins() {
        let all = filled(4099, 7);
        for words in [0, 1, 8, 200] {
            assert_eq!(check_pattern_from(&all[words * 8..], 7, words), None);
            let stale = check_pattern_from(&all[words * 8..], 7, words + 8);
            assert!(stale.is_some_and(|at| at < 8), "{words}: {stale:?}");
        }
    }

    #[test]
    fn a_stale_frame_is_wrong_in_every_word() {
        let (new, old) = (filled(4099, 8), filled(4099, 7));
        assert!(new.chunks_exact(8).zip(old.chunks_exact(8)).all(|(new, old)| new != old));
        assert!(check_pattern(&old, 8).unwrap() < 8);
    }
}
