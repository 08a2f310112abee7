//! What really backs the mapped region: which pages, on which NUMA node, of which file system.
//!
//! What was asked for proves nothing: tmpfs gives huge pages only when its policy says so and memory is not
//! fragmented, and pages lie on the node of whoever touched them first. The kernel tells what came of it (proc(5),
//! `smaps` and `numa_maps`).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use nix::sys::statfs::{HUGETLBFS_MAGIC, TMPFS_MAGIC, statfs};
use nix::unistd::{SysconfVar, sysconf};
use serde::Serialize;

/// Bytes of the pages that a page-middle-directory entry maps, where transparent huge pages exist.
const PMD_SIZE: &str = "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size";

/// What backs a mapping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Backing {
    /// Bytes of the pages that back most of it.
    pub page_bytes: u64,
    /// Whether those are huge pages.
    pub huge: bool,
    /// Bytes of it that are on huge pages.
    pub huge_bytes: u64,
    /// The NUMA node with most of its pages; `None` where the kernel knows no nodes.
    pub numa_node: Option<u32>,
    /// `tmpfs`, `hugetlbfs`, or the magic number of another file system (statfs(2)) in hexadecimal.
    pub filesystem: String,
}

impl Backing {
    /// What backs this process's mapping of `path`. Call it after prefaulting and outside any timed loop: the kernel
    /// walks all of this process's page tables.
    ///
    /// # Errors
    /// The file is not mapped, or /proc cannot be read.
    pub fn of_mapped(path: &Path) -> anyhow::Result<Self> {
        // The kernel shows where the file really is.
        let real = fs::canonicalize(path).with_context(|| format!("find {}", path.display()))?;
        let shown = real.to_string_lossy();
        let smaps = fs::read("/proc/self/smaps").context("read /proc/self/smaps")?;
        let mapped = Mapped::find(&String::from_utf8_lossy(&smaps), &shown)
            .ok_or_else(|| anyhow!("{shown} is not mapped by this process"))?;
        let numa_maps = fs::read("/proc/self/numa_maps").unwrap_or_default();
        let pmd = fs::read_to_string(PMD_SIZE).ok().and_then(|text| text.trim().parse().ok());
        let filesystem = match statfs(&real).context("ask for the file system")?.filesystem_type() {
            TMPFS_MAGIC => "tmpfs".to_owned(),
            HUGETLBFS_MAGIC => "hugetlbfs".to_owned(),
            other => format!("{:#x}", other.0),
        };
        let base = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|bytes| bytes.try_into().ok());
        let base: u64 = base.context("ask for the size of a page")?;
        let (page_bytes, huge_bytes) = mapped.pages(base, pmd);
        Ok(Self {
            page_bytes,
            huge: page_bytes > base,
            huge_bytes,
            numa_node: node_of(&String::from_utf8_lossy(&numa_maps), &mapped.starts),
            filesystem,
        })
    }
}

/// The mappings of one file, of which locking or protecting a part makes several. Sizes are in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Mapped {
    starts: Vec<u64>,
    size: u64,
    page: u64,
    pmd_mapped: u64,
}

impl Mapped {
    /// Sums up the mappings of `path` in the text of `smaps`; `None` when there is none.
    fn find(smaps: &str, path: &str) -> Option<Self> {
        let mut found = Self::default();
        let mut ours = false;
        for line in smaps.lines() {
            if let Some((start, mapped)) = header(line) {
                ours = mapped.is_some_and(|mapped| unescaped(mapped) == path);
                if ours {
                    found.starts.push(start);
                }
            } else if ours && let Some((field, bytes)) = field(line) {
                match field {
                    "Size" => found.size = found.size.saturating_add(bytes),
                    // The MMU's page, which follows, may be the smaller: it is what the TLB sees.
                    "KernelPageSize" | "MMUPageSize" => found.page = bytes,
                    "ShmemPmdMapped" | "FilePmdMapped" => {
                        found.pmd_mapped = found.pmd_mapped.saturating_add(bytes);
                    }
                    _ => {}
                }
            }
        }
        (!found.starts.is_empty()).then_some(found)
    }

    /// Bytes of a page of the kind that backs most of it, and bytes on huge pages, where an ordinary page has `base`
    /// bytes and a transparent huge one `pmd`.
    fn pages(&self, base: u64, pmd: Option<u64>) -> (u64, u64) {
        match pmd {
            // hugetlbfs: all of it, and not counted as mapped by page-middle-directory entries.
            _ if self.page > base && self.pmd_mapped == 0 => (self.page, self.size),
            Some(pmd) if self.pmd_mapped > self.size / 2 => (pmd, self.pmd_mapped),
            _ => (self.page, self.pmd_mapped),
        }
    }
}

/// Start address and path of a line such as `7f5-7f6 rw-s 00000000 00:1a 3   /dev/shm/ivshmem`; `None` when it is
/// no such line.
fn header(line: &str) -> Option<(u64, Option<&str>)> {
    let (range, mut rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    u64::from_str_radix(end, 16).ok()?;
    let start = u64::from_str_radix(start, 16).ok()?;
    // Permissions, offset, device, inode; the path may hold spaces of its own.
    for _ in 0..4 {
        rest = rest.trim_start_matches(' ').split_once(' ').unwrap_or_default().1;
    }
    let path = rest.trim_start_matches(' ');
    Some((start, (!path.is_empty()).then_some(path)))
}

/// Name and bytes of a line such as `KernelPageSize:        4 kB`.
fn field(line: &str) -> Option<(&str, u64)> {
    let (name, value) = line.split_once(':')?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some((name, kib.checked_mul(1 << 10)?))
}

/// In `smaps` the kernel escapes the newline alone.
fn unescaped(path: &str) -> String {
    path.replace("\\012", "\n")
}

/// The node with most pages of the mappings that begin at `starts`, the lowest of equals, in the text of `numa_maps`.
fn node_of(numa_maps: &str, starts: &[u64]) -> Option<u32> {
    let mut pages: BTreeMap<u32, u64> = BTreeMap::new();
    for line in numa_maps.lines() {
        let mut words = line.split_ascii_whitespace();
        let start = words.next().and_then(|word| u64::from_str_radix(word, 16).ok());
        if !start.is_some_and(|start| starts.contains(&start)) {
            continue;
        }
        for word in words {
            let count = word.strip_prefix('N').and_then(|word| word.split_once('='));
            if let Some((node, count)) = count
                && let (Ok(node), Ok(count)) = (node.parse(), count.parse::<u64>())
            {
                let sum = pages.entry(node).or_default();
                *sum = sum.saturating_add(count);
            }
        }
    }
    pages.into_iter().rev().max_by_key(|&(_, pages)| pages).map(|(node, _)| node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ivshmem_proto::mapping::Mapping;
    use proptest::prelude::*;

    const SMAPS: &str = "\
7f0000000000-7f0000400000 rw-s 00000000 00:1a 3                          /dev/shm/ivshmem
Size:               4096 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
Rss:                4096 kB
ShmemPmdMapped:     2048 kB
FilePmdMapped:         0 kB
THPeligible:           1
VmFlags: rd wr sh mr mw me ms sd
7f0000400000-7f0000800000 rw-s 00400000 00:1a 3                          /dev/shm/ivshmem
Size:               4096 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
ShmemPmdMapped:     4096 kB
FilePmdMapped:         0 kB
7f1000000000-7f1004000000 rw-s 00000000 00:1b 4                          /mnt/huge pages/a\\012b
Size:              65536 kB
KernelPageSize:     2048 kB
MMUPageSize:        2048 kB
ShmemPmdMapped:        0 kB
7f2000000000-7f2000001000 rw-p 00000000 00:00 0 
Size:                  4 kB
KernelPageSize:        4 kB
7f3000000000-7f3000001000 rw-s 00000000 00:1a 5                          /dev/shm/gone (deleted)
Size:                  4 kB
KernelPageSize:        4 kB
";

    #[test]
    fn mappings_of_one_file_are_summed_up() {
        let mapped = Mapped::find(SMAPS, "/dev/shm/ivshmem").unwrap();
        assert_eq!(mapped.starts, [0x7f00_0000_0000, 0x7f00_0040_0000]);
        assert_eq!((mapped.size, mapped.page, mapped.pmd_mapped), (8 << 20, 4096, 6 << 20));
        // Three quarters are on huge pages.
        assert_eq!(mapped.pages(4096, Some(2 << 20)), (2 << 20, 6 << 20));
        assert_eq!(Mapped { pmd_mapped: 4 << 20, ..mapped }.pages(4096, Some(2 << 20)), (4096, 4 << 20));
    }

    #[test]
    fn hugetlbfs_is_huge_throughout() {
        let mapped = Mapped::find(SMAPS, "/mnt/huge pages/a\nb").unwrap();
        assert_eq!(mapped.pages(4096, Some(2 << 20)), (2 << 20, 64 << 20));
        assert_eq!(mapped.pages(4096, None), (2 << 20, 64 << 20));
    }

    #[test]
    fn a_file_that_is_not_mapped_is_none() {
        for path in ["/dev/shm/ivshmem2", "/dev/shm", "/dev/shm/gone", ""] {
            assert_eq!(Mapped::find(SMAPS, path), None, "{path:?}");
        }
        assert!(Backing::of_mapped(Path::new("/proc/version")).is_err());
    }

    #[test]
    fn the_node_with_most_pages_of_our_mappings_counts() {
        let text = "\
7f0000000000 default file=/dev/shm/ivshmem dirty=1024 N0=600 N1=424 kernelpagesize_kB=4
7f0000400000 default file=/dev/shm/ivshmem dirty=1024 N1=1024 kernelpagesize_kB=4
7f1000000000 default file=/elsewhere N2=99999 kernelpagesize_kB=4
";
        let starts = [0x7f00_0000_0000, 0x7f00_0040_0000];
        assert_eq!(node_of(text, &starts), Some(1));
        assert_eq!(node_of(text, &starts[..1]), Some(0));
        assert_eq!(node_of("7f0000000000 default N0=5 N1=5\n", &starts), Some(0));
        assert_eq!(node_of("7f0000000000 default N0=x Nx=1 N\n", &starts), None);
        assert_eq!(node_of("", &starts), None);
    }

    #[test]
    fn this_kernel_tells_of_a_real_region_by_any_of_its_names() {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let (path, link) = (dir.path().join("a region"), dir.path().join("link"));
        fs::write(&path, vec![0; 4 << 20]).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let map = Mapping::open(&path).unwrap();
        map.prefault();
        let backing = Backing::of_mapped(&path).unwrap();
        assert_eq!(Backing::of_mapped(&link).unwrap(), backing);
        assert_eq!(backing.filesystem, "tmpfs");
        assert!(backing.page_bytes.is_power_of_two(), "{backing:?}");
        assert_eq!(backing.huge, backing.huge_bytes > 2 << 20, "{backing:?}");
        assert_eq!(backing.numa_node.is_some(), Path::new("/proc/self/numa_maps").exists());
        drop(map);
        let error = Backing::of_mapped(&path).unwrap_err().to_string();
        assert_eq!(error, format!("{} is not mapped by this process", path.display()));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_panic(
            text in "\\PC*",
            lines in proptest::collection::vec("[0-9a-fN=: kB/-]{0,40}", 0..20),
            start: u64,
        ) {
            let lines = lines.join("\n");
            for text in [&text, &lines] {
                if let Some(mapped) = Mapped::find(text, "/") {
                    let _ = mapped.pages(4096, Some(2 << 20));
                }
                let _ = node_of(text, &[start, 0]);
                let _ = header(text);
                let _ = field(text);
            }
        }

        #[test]
        fn any_figures_are_summed_without_overflow(a: u64, b: u64, n: u64) {
            let smaps = format!(
                "{a:x}-{b:x} rw-s 0 0:0 1 /x\nSize: {n} kB\nShmemPmdMapped: {n} kB\nFilePmdMapped: {b} kB\n"
            );
            let mapped = Mapped::find(&smaps, "/x").unwrap();
            prop_assert_eq!(&mapped.starts, &[a]);
            let _ = mapped.pages(4096, Some(a));
            let _ = node_of(&format!("{a:x} default N0={n} N0={n} N1={b}"), &[a]);
        }
    }
}
