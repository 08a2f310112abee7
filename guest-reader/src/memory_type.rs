//! The memory type the guest's kernel gave the mapping, from the PAT's list in debugfs.

use std::fs;

use ivshmem_proto::wire::MemoryType;

/// Where x86 kernels list the types of mapped physical ranges.
const PAT_LIST: &str = "/sys/kernel/debug/x86/pat_memtype_list";

/// The type of the mapping that covers physical addresses `first..=last`; `Unknown` where debugfs is absent.
/// Call it while the mapping exists.
#[must_use]
pub fn of_physical_range(first: u64, last: u64) -> MemoryType {
    fs::read_to_string(PAT_LIST).map_or(MemoryType::Unknown, |list| in_list(&list, first, last))
}

/// Lines look like `PAT: [mem 0x00000000f8000000-0x00000000fc000000] write-combining` since Linux 5.6, and like
/// `write-combining @ 0xf8000000-0xfc000000` before. The end is exclusive. A BAR that several processes map has a
/// line for each, all of one type, because the kernel allows no aliases (memtype.c, `memtype_seq_show`, `cattr_name`).
fn in_list(list: &str, first: u64, last: u64) -> MemoryType {
    list.lines()
        .find(|line| {
            range_in(line).is_some_and(|(start, end)| start <= first && last.saturating_add(1) <= end)
        })
        .and_then(|line| {
            // Longer names first: "uncached" is a prefix of "uncached-minus".
            [
                MemoryType::UncachedMinus,
                MemoryType::Uncached,
                MemoryType::WriteCombining,
                MemoryType::WriteBack,
                MemoryType::WriteThrough,
            ]
            .into_iter()
            .find(|kind| line.contains(kind.name()))
        })
        .unwrap_or(MemoryType::Unknown)
}

fn range_in(line: &str) -> Option<(u64, u64)> {
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let (_, rest) = line.split_once("0x")?;
    let (start, rest) = rest.split_once("-0x")?;
    let end = rest.split(|c: char| !c.is_ascii_hexdigit()).next()?;
    Some((hex(start)?, hex(end)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "\
PAT memtype list:
PAT: [mem 0x000000001ffe0000-0x000000001ffe3000] write-back
PAT: [mem 0x00000000f8000000-0x00000000fc000000] write-combining
PAT: [mem 0x00000000fd000000-0x00000000fd001000] uncached-minus
PAT: [mem 0x00000000fd002000-0x00000000fd003000] write-protected
PAT: [mem 0x00000000fd004000-0x00000000fd005000] write-through
PAT: [mem 0x0000380000000000-0x0000380004000000] write-combining
PAT: [mem 0x0000380000000000-0x0000380004000000] write-combining
";

    /// As kernels before 5.6 write it.
    const OLD_LIST: &str = "\
PAT memtype list:
write-back @ 0x1ffe0000-0x1ffe3000
uncached @ 0xfee00000-0xfee01000
uncached-minus @ 0xf8000000-0xfc000000
";

    #[test]
    fn finds_the_line_that_covers_the_bar() {
        assert_eq!(in_list(LIST, 0xf800_0000, 0xfbff_ffff), MemoryType::WriteCombining);
        assert_eq!(in_list(LIST, 0xfd00_0000, 0xfd00_0fff), MemoryType::UncachedMinus);
        assert_eq!(in_list(LIST, 0xfd00_4000, 0xfd00_4fff), MemoryType::WriteThrough);
        // A 64-bit BAR above 4 GiB that two processes map.
        assert_eq!(in_list(LIST, 0x3800_0000_0000, 0x3800_03ff_ffff), MemoryType::WriteCombining);
    }

    #[test]
    fn the_older_format_is_read_too() {
        assert_eq!(in_list(OLD_LIST, 0xfee0_0000, 0xfee0_0fff), MemoryType::Uncached);
        assert_eq!(in_list(OLD_LIST, 0xf800_0000, 0xfbff_ffff), MemoryType::UncachedMinus);
    }

    #[test]
    fn a_type_that_has_no_name_here_is_unknown() {
        assert_eq!(in_list(LIST, 0xfd00_2000, 0xfd00_2fff), MemoryType::Unknown);
    }

    #[test]
    fn a_range_that_is_not_listed_is_unknown() {
        assert_eq!(in_list(LIST, 0xf800_0000, 0xfc00_0000), MemoryType::Unknown);
        assert_eq!(in_list("", 0, 1), MemoryType::Unknown);
        assert_eq!(in_list("PAT: [mem 0x-0x] garbage\n0x", 0, 1), MemoryType::Unknown);
    }
}
