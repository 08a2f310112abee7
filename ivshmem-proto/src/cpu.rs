//! What CPUID says of this CPU: its model and the features that decide how bytes move and time is told.

#[cfg(target_arch = "x86_64")]
use std::sync::LazyLock;

/// Features by bit position in the guest page's `cpu_features` word. Append only: positions are part of the layout.
const FEATURES: &[&str] = &[
    "sse4.2",
    "avx",
    "avx2",
    "avx512f",
    "ermsb",
    "sha",
    "aes",
    "invariant_tsc",
    "hypervisor",
    "rdtscp",
    "tcg",
];

/// The features of this CPU as a bit set.
#[must_use]
#[cfg(target_arch = "x86_64")]
pub fn features() -> u64 {
    use std::arch::x86_64::__cpuid;
    let extended = __cpuid(0x8000_0000).eax;
    let edx = |leaf| if extended >= leaf { __cpuid(leaf).edx } else { 0 };
    let present = [
        is_x86_feature_detected!("sse4.2"),
        is_x86_feature_detected!("avx"),
        is_x86_feature_detected!("avx2"),
        is_x86_feature_detected!("avx512f"),
        is_x86_feature_detected!("ermsb"),
        is_x86_feature_detected!("sha"),
        is_x86_feature_detected!("aes"),
        edx(0x8000_0007) & 1 << 8 != 0,
        __cpuid(1).ecx & 1 << 31 != 0,
        edx(0x8000_0001) & 1 << 27 != 0,
        is_tcg(),
    ];
    present.iter().enumerate().map(|(bit, &set)| u64::from(set) << bit).sum()
}

/// Whether QEMU translates this CPU's instructions (signature in leaf 0x40000000). A machine with one such CPU has no
/// fences: TCG leaves them out, although the CPU shares memory with the host's. Asked of the CPU once: CPUID leaves the guest.
#[must_use]
#[inline]
#[cfg(target_arch = "x86_64")]
pub fn is_tcg() -> bool {
    static IS_TCG: LazyLock<bool> = LazyLock::new(|| {
        use std::arch::x86_64::__cpuid;
        let is_guest = __cpuid(1).ecx & 1 << 31 != 0;
        let leaf = __cpuid(0x4000_0000);
        is_guest && [leaf.ebx, leaf.ecx, leaf.edx].map(u32::to_le_bytes) == [*b"TCGT", *b"CGTC", *b"GTCG"]
    });
    *IS_TCG
}

/// Whether QEMU translates this CPU's instructions: not known here.
#[must_use]
#[cfg(not(target_arch = "x86_64"))]
pub fn is_tcg() -> bool {
    true
}

/// The features of this CPU as a bit set.
#[must_use]
#[cfg(not(target_arch = "x86_64"))]
pub fn features() -> u64 {
    0
}

/// The names of the features in a bit set; bits without a name are ignored.
#[must_use]
pub fn feature_names(bits: u64) -> Vec<&'static str> {
    FEATURES.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, &name)| name).collect()
}

/// The brand string of this CPU (CPUID leaves 0x80000002 to 0x80000004).
#[must_use]
#[cfg(target_arch = "x86_64")]
pub fn model() -> String {
    use std::arch::x86_64::__cpuid;
    if __cpuid(0x8000_0000).eax < 0x8000_0004 {
        return "unknown".to_owned();
    }
    let bytes: Vec<u8> = (0x8000_0002u32..=0x8000_0004)
        .map(__cpuid)
        .flat_map(|r| [r.eax, r.ebx, r.ecx, r.edx])
        .flat_map(u32::to_le_bytes)
        .take_while(|&b| b != 0)
        .collect();
    String::from_utf8_lossy(&bytes).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The architecture, where there is no brand string.
#[must_use]
#[cfg(not(target_arch = "x86_64"))]
pub fn model() -> String {
    std::env::consts::ARCH.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_bits_and_unknown_bits_are_ignored() {
        assert_eq!(feature_names(0b101 | 1 << 60), ["sse4.2", "avx2"]);
        assert!(feature_names(u64::MAX).len() == FEATURES.len());
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn only_a_processor_made_by_qemu_says_that_it_is_translated() {
        let tcg = feature_names(features()).contains(&"tcg");
        assert!(tcg == is_tcg() && (!tcg || model().contains("QEMU")));
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn agrees_with_the_kernel() {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        assert!(
            info.contains(&model())
                || info.split_whitespace().collect::<Vec<_>>().join(" ").contains(&model())
        );
        let names = feature_names(features());
        for (ours, theirs) in
            [("avx2", "avx2"), ("sha", "sha_ni"), ("hypervisor", "hypervisor"), ("rdtscp", "rdtscp")]
        {
            let kernel = info.split_whitespace().any(|flag| flag == theirs);
            assert_eq!(names.contains(&ours), kernel, "{ours}");
        }
    }
}
