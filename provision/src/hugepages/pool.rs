//! The kernel's pool of huge pages of one size (Documentation/admin-guide/mm/hugetlbpage.rst).

use std::fs;
use std::path::Path;

use super::HugePage;

/// Pages of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Free, and promised to no one.
    pub free: u64,
    /// Those that the kernel makes of ordinary memory when they are asked for, if it finds any.
    pub on_demand: u64,
    /// All there are.
    pub total: u64,
    /// Whether it is the size that `/proc/sys/vm/nr_hugepages` is about.
    pub is_default: bool,
}

impl Pool {
    /// Reads the pool of a machine whose `/proc` and `/sys` lie below `root`; `None` when it has no such pages.
    pub fn read(root: &Path, page: HugePage) -> Option<Self> {
        let directory = root.join("sys/kernel/mm/hugepages").join(directory(page));
        let number = |name| fs::read_to_string(directory.join(name)).ok()?.trim().parse::<u64>().ok();
        let (total, free) = (number("nr_hugepages")?, number("free_hugepages")?);
        let promised = number("resv_hugepages").unwrap_or(0);
        let (overcommit, surplus) = (number("nr_overcommit_hugepages"), number("surplus_hugepages"));
        let on_demand = overcommit.unwrap_or(0).saturating_sub(surplus.unwrap_or(0));
        let meminfo = fs::read_to_string(root.join("proc/meminfo")).unwrap_or_default();
        let default = meminfo.lines().find_map(|line| line.strip_prefix("Hugepagesize:"));
        let is_default = default.is_some_and(|size| size.trim() == format!("{} kB", page.bytes() >> 10));
        Some(Self { free: free.saturating_sub(promised), on_demand, total, is_default })
    }

    /// The command that makes `needed` pages free. The file holds the number of all pages, those in use included.
    pub fn remedy(self, page: HugePage, needed: u64) -> String {
        let all = (self.total + needed).saturating_sub(self.free);
        let file = if self.is_default {
            "/proc/sys/vm/nr_hugepages".to_owned()
        } else {
            format!("/sys/kernel/mm/hugepages/{}/nr_hugepages", directory(page))
        };
        format!("echo {all} | sudo tee {file}")
    }
}

fn directory(page: HugePage) -> String {
    format!("hugepages-{}kB", page.bytes() >> 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::made_of;

    #[test]
    fn pages_promised_to_others_are_not_free() {
        const POOL: &str = "sys/kernel/mm/hugepages/hugepages-2048kB";
        let root = made_of(&[
            ("proc/meminfo", "MemTotal: 1 kB\nHugepagesize:       2048 kB\n"),
            (&format!("{POOL}/nr_hugepages"), "40\n"),
            (&format!("{POOL}/free_hugepages"), "10\n"),
            (&format!("{POOL}/resv_hugepages"), "4\n"),
            (&format!("{POOL}/nr_overcommit_hugepages"), "3\n"),
            (&format!("{POOL}/surplus_hugepages"), "1\n"),
        ]);
        let pool = Pool::read(root.path(), HugePage::Size2M).unwrap();
        assert_eq!(pool, Pool { free: 6, on_demand: 2, total: 40, is_default: true });
        assert_eq!(pool.remedy(HugePage::Size2M, 32), "echo 66 | sudo tee /proc/sys/vm/nr_hugepages");
        assert_eq!(Pool::read(root.path(), HugePage::Size1G), None);
    }

    #[test]
    fn pages_of_another_size_than_the_default_have_a_file_of_their_own() {
        let pool = Pool { free: 0, on_demand: 0, total: 0, is_default: false };
        assert_eq!(
            pool.remedy(HugePage::Size1G, 2),
            "echo 2 | sudo tee /sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages"
        );
    }
}
