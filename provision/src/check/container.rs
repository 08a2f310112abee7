//! What a container may use at most, from the control group that it sees as its root: version 2 of these, or 1
//! (Documentation/admin-guide/cgroup-v2.rst and cgroup-v1).

use super::host::Host;

/// How many CPUs' time: quota by period, `200000 100000` in version 2. No limit is `max` there, and -1 in version 1.
pub(super) fn quota_cpus(host: &Host<'_>) -> Option<f64> {
    let number = |file: &str| host.number(&format!("sys/fs/cgroup/cpu/cpu.cfs_{file}_us"));
    let both = host.read("sys/fs/cgroup/cpu.max").and_then(|text| {
        let (quota, period) = text.split_once(' ')?;
        Some((quota.parse().ok()?, period.parse().ok()?))
    });
    let (quota_us, period_us): (u64, u64) = both.or_else(|| Some((number("quota")?, number("period")?)))?;
    (period_us > 0).then(|| quota_us as f64 / period_us as f64)
}

/// How much memory. No limit is `max` in version 2; version 1 has an absurd number for that, more than any machine's.
pub(super) fn limit_bytes(host: &Host<'_>) -> Option<u64> {
    let files = ["memory.max", "memory/memory.limit_in_bytes"];
    files.into_iter().find_map(|file| host.number(&format!("sys/fs/cgroup/{file}")))
}

#[cfg(test)]
mod tests {
    use super::super::host::tests::made_of;
    use super::*;
    use crate::interrupt::Interrupts;

    #[test]
    fn quotas_of_both_versions_are_read() {
        let interrupts = Interrupts::catch().unwrap();
        let quota_in = |files: &[(&str, &str)]| {
            let root = made_of(files);
            quota_cpus(&Host { root: root.path().to_owned(), interrupts: &interrupts })
        };
        assert_eq!(quota_in(&[("sys/fs/cgroup/cpu.max", "150000 100000\n")]), Some(1.5));
        assert_eq!(quota_in(&[("sys/fs/cgroup/cpu.max", "max 100000\n")]), None);
        let version_1 = ["quota", "period"].map(|name| format!("sys/fs/cgroup/cpu/cpu.cfs_{name}_us"));
        assert_eq!(quota_in(&[(&version_1[0], "-1"), (&version_1[1], "100000")]), None);
        assert_eq!(quota_in(&[(&version_1[0], "50000"), (&version_1[1], "100000")]), Some(0.5));
    }

    #[test]
    fn memory_limits_of_both_versions_are_read() {
        let interrupts = Interrupts::catch().unwrap();
        let limit_in = |path: &str, text: &str| {
            let root = made_of(&[(path, text)]);
            limit_bytes(&Host { root: root.path().to_owned(), interrupts: &interrupts })
        };
        assert_eq!(limit_in("sys/fs/cgroup/memory.max", "1048576\n"), Some(1 << 20));
        assert_eq!(limit_in("sys/fs/cgroup/memory.max", "max\n"), None);
        assert_eq!(limit_in("sys/fs/cgroup/memory/memory.limit_in_bytes", "4096\n"), Some(4096));
        assert_eq!(limit_in("elsewhere", "1"), None);
    }
}
