//! How fast a CPU runs, and how often CPUs were slowed down.

use std::fs;
use std::path::Path;

/// Where Linux describes the CPUs (Documentation/ABI/testing/sysfs-devices-system-cpu).
const CPUS: &str = "/sys/devices/system/cpu";

/// What CPU `cpu` runs at now: from cpufreq, or from /proc/cpuinfo where there is no such driver (in a guest that is the
/// nominal frequency).
pub(crate) fn frequency_mhz(cpu: usize) -> Option<f64> {
    let khz = fs::read_to_string(format!("{CPUS}/cpu{cpu}/cpufreq/scaling_cur_freq")).ok();
    khz.and_then(|text| text.trim().parse::<f64>().ok())
        .map(|khz| khz / 1e3)
        .or_else(|| frequency_in(&fs::read_to_string("/proc/cpuinfo").ok()?, cpu))
        .filter(|mhz| mhz.is_finite() && *mhz > 0.0)
}

/// The line `cpu MHz` of processor `cpu` in /proc/cpuinfo.
fn frequency_in(cpuinfo: &str, cpu: usize) -> Option<f64> {
    let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(name, value)| name.trim() == "processor" && value.trim().parse() == Ok(cpu))?;
    let (_, mhz) = fields
        .take_while(|(name, _)| name.trim() != "processor")
        .find(|(name, _)| name.trim() == "cpu MHz")?;
    mhz.trim().parse().ok()
}

/// Times that any CPU was slowed down for its temperature or power since boot, as each CPU counts them (so that an event
/// of a package counts once a CPU); `None` where no CPU counts.
#[must_use]
pub(crate) fn throttle_events() -> Option<u64> {
    throttle_events_in(Path::new(CPUS))
}

fn throttle_events_in(cpus: &Path) -> Option<u64> {
    let paths = fs::read_dir(cpus).ok()?.flatten().map(|entry| entry.path().join("thermal_throttle"));
    let counts = paths.flat_map(|path| {
        ["core_throttle_count", "package_throttle_count"]
            .map(|name| fs::read_to_string(path.join(name)).ok()?.trim().parse::<u64>().ok())
    });
    counts.flatten().reduce(u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_frequency_is_that_of_the_cpu_asked_for() {
        let text = "processor\t: 0\ncpu MHz\t\t: 2599.998\n\nprocessor\t: 1\nmodel name\t: x: y\ncpu MHz\t\t: 3100.5\n\n\
                    processor\t: 2\nflags\t: fpu\n\nprocessor\t: 3\ncpu MHz\t: no\n";
        assert_eq!(frequency_in(text, 0), Some(2599.998));
        assert_eq!(frequency_in(text, 1), Some(3100.5));
        for cpu in 2..5 {
            assert_eq!(frequency_in(text, cpu), None, "{cpu}");
        }
    }

    #[test]
    fn throttle_counts_of_all_cpus_are_summed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("cpufreq")).unwrap();
        assert_eq!(throttle_events_in(dir.path()), None);
        for (cpu, core, package) in [("cpu0", "3\n", "10\n"), ("cpu1", "4\n", "10\n")] {
            let counts = dir.path().join(cpu).join("thermal_throttle");
            fs::create_dir_all(&counts).unwrap();
            fs::write(counts.join("core_throttle_count"), core).unwrap();
            fs::write(counts.join("package_throttle_count"), package).unwrap();
        }
        assert_eq!(throttle_events_in(dir.path()), Some(27));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_panic(
            text in "\\PC*", lines in "(processor\t: [0-9]{1,3}\n|cpu MHz: [0-9.e]*\n)*",
        ) {
            let _ = (frequency_in(&text, 1), frequency_in(&lines, 1));
        }
    }
}
