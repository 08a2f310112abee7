//! How large this CPU's last cache is: what decides whether a working set is warm or cold.

use std::fs;
use std::path::Path;

/// Where Linux describes the CPUs (Documentation/ABI/testing/sysfs-devices-system-cpu).
const CPUS: &str = "/sys/devices/system/cpu";

/// Bytes of the highest-level cache of CPU `cpu` that holds data; `None` where the kernel does not say. In a guest it is
/// what the hypervisor claims, which may be the cache of a whole socket.
#[must_use]
pub fn llc_bytes(cpu: u32) -> Option<u64> {
    llc_bytes_in(&Path::new(CPUS).join(format!("cpu{cpu}/cache")))
}

fn llc_bytes_in(cache: &Path) -> Option<u64> {
    let indices = fs::read_dir(cache).ok()?.flatten().map(|entry| entry.path());
    let caches = indices.filter_map(|index| {
        let line = |name| fs::read_to_string(index.join(name)).ok();
        let holds_data = matches!(line("type")?.trim(), "Data" | "Unified");
        let level: u32 = line("level")?.trim().parse().ok()?;
        holds_data.then_some((level, size_bytes(line("size")?.trim())?))
    });
    caches.max().map(|(_, bytes)| bytes)
}

/// The kernel writes `32768K`; other suffixes for the day it does not.
fn size_bytes(text: &str) -> Option<u64> {
    let (digits, shift) = match text.char_indices().last()? {
        (at, 'K') => (&text[..at], 10),
        (at, 'M') => (&text[..at], 20),
        (at, 'G') => (&text[..at], 30),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn describe(caches: &[(&str, &str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("uevent"), "").unwrap();
        for (i, (level, kind, size)) in caches.iter().enumerate() {
            let index = dir.path().join(format!("index{i}"));
            fs::create_dir(&index).unwrap();
            for (name, text) in [("level", level), ("type", kind), ("size", size)] {
                fs::write(index.join(name), format!("{text}\n")).unwrap();
            }
        }
        dir
    }

    #[test]
    fn the_last_level_that_holds_data_counts() {
        let l1 = [("1", "Data", "32K"), ("1", "Instruction", "64K")];
        assert_eq!(llc_bytes_in(describe(&l1).path()), Some(32 << 10));
        let full = [l1[0], l1[1], ("3", "Unified", "32768K"), ("2", "Unified", "512K")];
        assert_eq!(llc_bytes_in(describe(&full).path()), Some(32 << 20));
    }

    #[test]
    fn a_cache_that_is_not_described_is_none() {
        assert_eq!(llc_bytes_in(Path::new("/nonexistent")), None);
        assert_eq!(llc_bytes_in(describe(&[]).path()), None);
        assert_eq!(llc_bytes_in(describe(&[("3", "Unified", "?")]).path()), None);
        assert_eq!(llc_bytes(u32::MAX), None);
    }

    proptest! {
        #[test]
        fn any_text_is_a_size_or_none(text in "\\PC*", number: u64, suffix in "[KMG]?") {
            let _ = size_bytes(&text);
            let _ = size_bytes(&format!("{number}{suffix}"));
        }
    }
}
