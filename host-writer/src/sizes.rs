//! Sizes in words: whole numbers of bytes, KiB, MiB, GiB or TiB, for which K, M, G and T stand, too: units are those of 1024
//! only.
//!
//! `4k` is the name of a frame of 24,883,200 bytes: among payload sizes it is refused instead of guessed at.

use ivshmem_proto::frame::FrameFormat;

/// The largest payload that can be asked for, in bytes.
pub const SIZE_MAX_BYTES: u64 = 1 << 40;
/// The smallest size of a [`sweep`]: a cache line.
pub const SWEEP_MIN_BYTES: u64 = 64;

/// Largest first.
const UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// One size in bytes: `64`, `64B`, `4KiB`, `1M`.
///
/// # Errors
/// One line, for anything else, 0, or more than [`SIZE_MAX_BYTES`].
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let is = |name: &str| name == unit || (unit != "b" && unit.eq_ignore_ascii_case(&name[..1]));
    let factor = UNITS.iter().find(|(name, _)| is(name)).map(|&(_, bytes)| bytes);
    let factor = match factor {
        _ if number.is_empty() => None,
        None if unit.is_empty() => Some(1),
        factor => factor,
    };
    let Some(factor) = factor else { return Err(not_a_size(text, number, unit)) };
    // Digits only, so that what does not parse is too large.
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).unwrap_or(u64::MAX);
    match bytes {
        0 => Err("a payload of 0 bytes moves nothing; give 1 or more".to_owned()),
        1..=SIZE_MAX_BYTES => Ok(bytes),
        _ => Err(format!("'{text}' is more than the {} a payload may have", format_size(SIZE_MAX_BYTES))),
    }
}

fn not_a_size(text: &str, number: &str, unit: &str) -> String {
    // What a decimal, abbreviated or misspelt unit most likely stands for: "k", "kb", "kib" and the like.
    let unit = unit.to_ascii_lowercase();
    let meant = UNITS.iter().find(|(name, _)| {
        let name = name.to_ascii_lowercase();
        unit == name || unit == name[..1] || unit == name.replace('i', "")
    });
    match meant {
        Some((name, _)) if !number.is_empty() => format!("'{text}' is no size; write {number}{name}"),
        _ => format!("'{text}' is no size; write whole bytes, for example 64, 4KiB or 1MiB"),
    }
}

/// Sizes in bytes, separated by commas, in the order given and without repeats.
///
/// # Errors
/// That of the first that [`parse_size`] refuses, or one that is the name of a frame.
pub fn parse_sizes(text: &str) -> Result<Vec<u64>, String> {
    let mut sizes = Vec::new();
    for size in text.split(',') {
        if FrameFormat::from_name(size).is_some() {
            return Err(format!(
                "'{size}' is the name of a frame; write --frames {size}, or a size such as 4KiB"
            ));
        }
        let bytes = parse_size(size)?;
        if !sizes.contains(&bytes) {
            sizes.push(bytes);
        }
    }
    Ok(sizes)
}

/// A size as files name it: `64B`, `4KiB`, `1MiB`; exact bytes where the largest unit that divides it would count to
/// 1024 or more, as in `24883200B`. [`parse_size`] reads it back.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    let (name, unit) =
        UNITS.into_iter().find(|&(_, unit)| bytes >= unit && bytes.is_multiple_of(unit)).unwrap_or(("B", 1));
    if bytes / unit < 1024 { format!("{}{name}", bytes / unit) } else { format!("{bytes}B") }
}

/// The powers of two from [`SWEEP_MIN_BYTES`] to `max_bytes` and no further; none when that is less.
#[must_use]
pub fn sweep(max_bytes: u64) -> Vec<u64> {
    std::iter::successors(Some(SWEEP_MIN_BYTES), |bytes| bytes.checked_mul(2))
        .take_while(|&bytes| bytes <= max_bytes)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_whole_numbers_of_bytes_or_units_of_1024() {
        for (text, bytes) in [
            ("64", 64),
            ("64B", 64),
            ("1", 1),
            ("4KiB", 4096),
            ("1MiB", 1 << 20),
            ("3GiB", 3 << 30),
            ("1TiB", 1 << 40),
            ("1024GiB", 1 << 40),
            ("24883200B", 24_883_200),
            ("007", 7),
            ("4K", 4096),
            ("64k", 64 << 10),
            ("200M", 200 << 20),
            ("1g", 1 << 30),
            ("1T", 1 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_what_to_write() {
        for (text, error) in [
            ("64KB", "'64KB' is no size; write 64KiB"),
            ("1mib", "'1mib' is no size; write 1MiB"),
            ("64b", "'64b' is no size; write 64B"),
            ("1.5MiB", "'1.5MiB' is no size; write whole bytes, for example 64, 4KiB or 1MiB"),
            ("", "'' is no size; write whole bytes, for example 64, 4KiB or 1MiB"),
            ("KiB", "'KiB' is no size; write whole bytes, for example 64, 4KiB or 1MiB"),
            ("-1", "'-1' is no size; write whole bytes, for example 64, 4KiB or 1MiB"),
            ("4 KiB", "'4 KiB' is no size; write whole bytes, for example 64, 4KiB or 1MiB"),
            ("0", "a payload of 0 bytes moves nothing; give 1 or more"),
            ("0MiB", "a payload of 0 bytes moves nothing; give 1 or more"),
            ("2TiB", "'2TiB' is more than the 1TiB a payload may have"),
            ("1099511627777", "'1099511627777' is more than the 1TiB a payload may have"),
            ("99999999999999999999TiB", "'99999999999999999999TiB' is more than the 1TiB a payload may have"),
        ] {
            assert_eq!(parse_size(text), Err(error.to_owned()));
        }
    }

    #[test]
    fn lists_keep_their_order_and_drop_repeats() {
        assert_eq!(parse_sizes("64,4KiB,1MiB"), Ok(vec![64, 4096, 1 << 20]));
        assert_eq!(parse_sizes("1MiB,4096,4KiB,64,64B"), Ok(vec![1 << 20, 4096, 64]));
        assert!(parse_sizes("64,").is_err());
        assert_eq!(parse_sizes("64K,1M"), Ok(vec![64 << 10, 1 << 20]));
        for (text, name) in [("64,4k", "4k"), ("4K", "4K"), ("1080p", "1080p")] {
            let expected =
                format!("'{name}' is the name of a frame; write --frames {name}, or a size such as 4KiB");
            assert_eq!(parse_sizes(text), Err(expected));
        }
    }

    #[test]
    fn names_in_files_are_those_a_reader_expects() {
        for (bytes, name) in [
            (0, "0B"),
            (64, "64B"),
            (1000, "1000B"),
            (1024, "1KiB"),
            (1025, "1025B"),
            (4096, "4KiB"),
            (1 << 20, "1MiB"),
            (3 << 20, "3MiB"),
            (24_883_200, "24883200B"),
            (1 << 40, "1TiB"),
            (u64::MAX, "18446744073709551615B"),
        ] {
            assert_eq!(format_size(bytes), name);
        }
    }

    #[test]
    fn a_sweep_ends_at_the_last_power_of_two_that_fits() {
        assert_eq!(sweep(63), Vec::<u64>::new());
        assert_eq!(sweep(64), [64]);
        assert_eq!(sweep(1000), [64, 128, 256, 512]);
        assert_eq!(sweep(1024), [64, 128, 256, 512, 1024]);
        assert_eq!(sweep(u64::MAX).last(), Some(&(1 << 63)));
    }

    proptest! {
        #[test]
        fn a_formatted_size_reads_back(
            bytes in prop_oneof![
                1..=SIZE_MAX_BYTES,
                1_u64..5000,
                (1_u64..2000, 0_u32..30).prop_map(|(number, shift)| number << shift),
            ],
        ) {
            prop_assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_is_anything_but_a_size_or_one_line(text in "\\PC{0,12}|[0-9]{0,22}[kKMGTiIbB]{0,4}") {
            match parse_size(&text) {
                Ok(bytes) => prop_assert!((1..=SIZE_MAX_BYTES).contains(&bytes)),
                Err(error) => prop_assert!(!error.contains('\n')),
            }
        }
    }
}
