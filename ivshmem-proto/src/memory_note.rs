//! A sentence for a guest whose reads of the region are uncached, because nothing else in the results explains them.
//!
//! sysfs maps a BAR uncached-minus or write-combining, never write-back. What that costs is the accelerator's choice: TCG
//! ignores the type, KVM on Intel usually does, KVM on AMD honours it (AMD64 Architecture Programmer's Manual vol. 2,
//! "Combining Guest and Host PAT Types"). So the measurement decides, and the type only explains it.

use crate::wire::{MapKind, MemoryType};

/// How many times slower than ordinary memory reads must be to be called uncached.
const UNCACHED_FROM: f64 = 10.0;
/// How many times slower they may be and need no note.
const AS_FAST_UNTIL: f64 = 2.0;
/// What to do about uncached reads.
const REMEDY: &str = "map it write-back through a driver (devm_memremap_pages), or use a host whose KVM ignores the guest's type";

/// What to know about reads of the region: a sentence when they were measured slow, or are typed uncached and were not
/// measured; `None` when all is well, whatever the type, and for files. `cpu_model` is the guest's; the rates are of its best copy kernel from the region and from private memory, zero
/// for one that was not measured.
#[must_use]
pub fn memory_note(
    map_kind: MapKind,
    memory_type: MemoryType,
    cpu_model: &str,
    region_bytes_per_s: u64,
    anon_bytes_per_s: u64,
) -> Option<String> {
    if map_kind == MapKind::File {
        return None;
    }
    let typed_uncached =
        matches!(memory_type, MemoryType::WriteCombining | MemoryType::UncachedMinus | MemoryType::Uncached);
    if region_bytes_per_s == 0 || anon_bytes_per_s == 0 {
        return typed_uncached.then(|| {
            format!(
                "BAR2 is mapped {memory_type} and its reads were not measured: where the accelerator honours the type, they \
                 are 10 to 100 times slower than those of ordinary memory; {REMEDY}"
            )
        });
    }
    let times = anon_bytes_per_s as f64 / region_bytes_per_s as f64;
    let measured = format!(
        "reads run at {}, {} times slower than ordinary memory",
        Rate(region_bytes_per_s),
        Times(times)
    );
    let host = host(cpu_model);
    if times > UNCACHED_FROM {
        return Some(match memory_type {
            _ if typed_uncached => format!("BAR2 is mapped {memory_type}{host}: {measured}; {REMEDY}"),
            MemoryType::Unknown => format!(
                "BAR2 seems to be mapped uncached{host} (its type is unknown without debugfs): {measured}; {REMEDY}"
            ),
            _ => format!(
                "BAR2 is mapped {memory_type}{host}, yet {measured}: something below the guest's page tables makes it \
                 uncached, such as an MTRR or the host's own mapping"
            ),
        });
    }
    (typed_uncached && times > AS_FAST_UNTIL).then(|| {
        format!(
            "BAR2 is typed {memory_type} and {measured}: too fast for uncached reads, so the accelerator ignores the \
             type and something else slows them down"
        )
    })
}

/// Whose CPU it is, as far as the model tells. QEMU's own models tell nothing.
fn host(cpu_model: &str) -> &'static str {
    if cpu_model.contains("QEMU") {
        ""
    } else if cpu_model.contains("AMD") {
        " on an AMD host"
    } else if cpu_model.contains("Intel") {
        " on an Intel host"
    } else {
        ""
    }
}

/// Bytes per second, in units of powers of ten.
struct Rate(u64);

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 as f64 {
            rate if rate >= 1e9 => write!(f, "{:.1} GB/s", rate / 1e9),
            rate if rate >= 1e7 => write!(f, "{:.0} MB/s", rate / 1e6),
            rate => write!(f, "{:.1} MB/s", rate / 1e6),
        }
    }
}

/// A ratio, to two figures.
struct Times(f64);

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = usize::from(self.0 < 9.95);
        write!(f, "{:.digits$}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EPYC: &str = "AMD EPYC 7763 64-Core Processor";
    const XEON: &str = "Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz";
    const TCG: &str = "QEMU TCG CPU version 2.5+";

    fn note(kind: MemoryType, cpu: &str, region: u64, anon: u64) -> Option<String> {
        memory_note(MapKind::Resource2Wc, kind, cpu, region, anon)
    }

    #[test]
    fn uncached_reads_of_an_uncached_type_name_the_host_the_cost_and_the_remedy() {
        let remedy = "map it write-back through a driver (devm_memremap_pages), or use a host whose KVM ignores the \
                      guest's type";
        assert_eq!(
            memory_note(MapKind::Resource2, MemoryType::UncachedMinus, EPYC, 85_000_000, 3_400_000_000)
                .unwrap(),
            format!(
                "BAR2 is mapped uncached-minus on an AMD host: reads run at 85 MB/s, 40 times slower than ordinary memory; \
                 {remedy}"
            )
        );
        assert_eq!(
            note(MemoryType::WriteCombining, XEON, 123_456_789, 10_000_000_000).unwrap(),
            format!(
                "BAR2 is mapped write-combining on an Intel host: reads run at 123 MB/s, 81 times slower than ordinary \
                 memory; {remedy}"
            )
        );
        assert_eq!(
            note(MemoryType::Uncached, TCG, 1_500_000, 3_000_000_000).unwrap(),
            format!(
                "BAR2 is mapped uncached: reads run at 1.5 MB/s, 2000 times slower than ordinary memory; {remedy}"
            )
        );
        assert_eq!(
            note(MemoryType::Unknown, EPYC, 85_000_000, 3_400_000_000).unwrap(),
            format!(
                "BAR2 seems to be mapped uncached on an AMD host (its type is unknown without debugfs): reads run at \
                 85 MB/s, 40 times slower than ordinary memory; {remedy}"
            )
        );
    }

    #[test]
    fn uncached_reads_of_a_cached_type_point_below_the_guest() {
        for kind in [MemoryType::WriteBack, MemoryType::WriteThrough] {
            assert_eq!(
                note(kind, EPYC, 1_000_000_000, 20_000_000_000).unwrap(),
                format!(
                    "BAR2 is mapped {kind} on an AMD host, yet reads run at 1.0 GB/s, 20 times slower than ordinary memory: \
                     something below the guest's page tables makes it uncached, such as an MTRR or the host's own mapping"
                )
            );
        }
    }

    #[test]
    fn a_type_that_costs_nothing_needs_no_note_and_one_that_costs_little_a_softer_one() {
        assert_eq!(note(MemoryType::WriteCombining, TCG, 2_000_000_000, 2_200_000_000), None);
        assert_eq!(note(MemoryType::UncachedMinus, XEON, 1_000_000_000, 2_000_000_000), None);
        assert_eq!(
            note(MemoryType::UncachedMinus, XEON, 1_000_000_000, 4_200_000_000).unwrap(),
            "BAR2 is typed uncached-minus and reads run at 1.0 GB/s, 4.2 times slower than ordinary memory: too fast for \
             uncached reads, so the accelerator ignores the type and something else slows them down"
        );
    }

    #[test]
    fn a_type_alone_is_a_warning_where_nothing_was_measured() {
        let expected = "BAR2 is mapped write-combining and its reads were not measured: where the accelerator honours the \
                        type, they are 10 to 100 times slower than those of ordinary memory; map it write-back through a \
                        driver (devm_memremap_pages), or use a host whose KVM ignores the guest's type";
        for (region, anon) in [(0, 0), (0, 1), (1, 0)] {
            assert_eq!(note(MemoryType::WriteCombining, EPYC, region, anon).unwrap(), expected);
            assert_eq!(note(MemoryType::Unknown, EPYC, region, anon), None);
            assert_eq!(note(MemoryType::WriteBack, EPYC, region, anon), None);
        }
    }

    #[test]
    fn a_tenth_is_where_uncached_begins() {
        let starts = |region| note(MemoryType::WriteBack, EPYC, region, 10_000_000_000).is_some();
        assert!(starts(999_999_999) && !starts(1_000_000_000));
    }

    #[test]
    fn files_and_cached_mappings_that_run_well_need_no_note() {
        for &kind in MemoryType::ALL {
            assert_eq!(memory_note(MapKind::File, kind, EPYC, 1, u64::MAX), None, "{kind}");
        }
        for kind in [MemoryType::WriteBack, MemoryType::WriteThrough, MemoryType::Unknown] {
            assert_eq!(note(kind, EPYC, 9_000_000_000, 10_000_000_000), None, "{kind}");
            assert_eq!(note(kind, EPYC, 20_000_000_000, 10_000_000_000), None, "{kind}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_guest_reports_is_at_most_one_printable_line(
            map in 0..MapKind::ALL.len(), kind in 0..MemoryType::ALL.len(), cpu in ".*", region: u64, anon: u64,
        ) {
            let note = memory_note(MapKind::ALL[map], MemoryType::ALL[kind], &cpu, region, anon);
            prop_assert!(note.is_none_or(|note| note.bytes().all(|byte| (b' '..=b'~').contains(&byte))));
        }
    }
}
