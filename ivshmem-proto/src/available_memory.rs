//! What can be allocated without swapping, as the kernel estimates (`MemAvailable`, proc_meminfo(5)).

/// In bytes, now; `None` where the kernel does not tell.
#[must_use]
pub fn now() -> Option<u64> {
    in_meminfo(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

/// In bytes, out of the text of `/proc/meminfo`.
#[must_use]
pub fn in_meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn kibibytes_become_bytes() {
        let text = "MemTotal:       49368168 kB\nMemFree:        1 kB\nMemAvailable:   48000000 kB\n";
        assert_eq!(in_meminfo(text), Some(48_000_000 * 1024));
        assert_eq!((in_meminfo(""), in_meminfo("MemTotal: 1 kB\n")), (None, None));
        assert_eq!(in_meminfo("MemAvailable: x kB"), None);
        // A machine that runs this test has some.
        assert!(now().unwrap() > 1 << 20);
    }

    proptest! {
        #[test]
        fn any_text_is_a_size_or_none(text in "\\PC*", number: u64) {
            let _ = in_meminfo(&format!("MemAvailable: {number} kB{text}"));
        }
    }
}
