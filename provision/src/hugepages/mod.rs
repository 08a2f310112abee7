//! Huge pages for the region: their sizes, how many the kernel has, and the file system they are files in.
//!
//! They are reserved by the administrator and never taken silently from elsewhere: a region that does not fit is an
//! error at `up`, in one line with the command that reserves what is missing.

mod mounts;
mod place;
mod pool;

pub use mounts::{Mount, mount_at, mounts, read, unmount};
pub use place::{Place, place};
pub use pool::Pool;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use nix::sys::statfs::{HUGETLBFS_MAGIC, statfs};
use serde::{Deserialize, Serialize};

use crate::size::Bytes;

/// The sizes x86 has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
pub enum HugePage {
    /// 2 MiB.
    #[value(name = "2M")]
    #[serde(rename = "2M")]
    Size2M,
    /// 1 GiB.
    #[value(name = "1G")]
    #[serde(rename = "1G")]
    Size1G,
}

impl HugePage {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Size2M, Self::Size1G];

    /// Its size.
    pub fn bytes(self) -> u64 {
        match self {
            Self::Size2M => 2 << 20,
            Self::Size1G => 1 << 30,
        }
    }

    /// As the command line and hugetlbfs' `pagesize=` write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Size2M => "2M",
            Self::Size1G => "1G",
        }
    }

    /// The pages that a file lies in, or that a file in a directory would; `None` for ordinary ones.
    pub fn of(path: &Path) -> Option<Self> {
        let found = statfs(path).ok().filter(|found| found.filesystem_type() == HUGETLBFS_MAGIC)?;
        let bytes = u64::try_from(found.block_size()).ok()?;
        Self::ALL.into_iter().find(|page| page.bytes() == bytes)
    }
}

/// `2 MiB`.
impl fmt::Display for HugePage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Bytes(self.bytes()).fmt(f)
    }
}

/// Why the region cannot lie in huge pages.
#[derive(Debug, thiserror::Error)]
pub enum HugePageError {
    /// The region is no number of whole pages.
    #[error(
        "--shm-size {region}: a region in huge pages of {page} takes at least one: write --shm-size {}", .page.as_str()
    )]
    Size {
        /// The region's size.
        region: Bytes,
        /// The pages.
        page: HugePage,
    },
    /// The kernel or the processor has no such pages.
    #[error("this machine has no huge pages of {page}: leave --hugepages out, or take another size")]
    Unsupported {
        /// The pages.
        page: HugePage,
    },
    /// Not enough of them are free.
    #[error("{}; reserve them: {}", shortage(*.page, *.pool, *.needed), .pool.remedy(*.page, *.needed))]
    NotReserved {
        /// The pages.
        page: HugePage,
        /// What the kernel has.
        pool: Pool,
        /// How many the region takes.
        needed: u64,
    },
    /// They are there and still refused.
    #[error(
        "no room for {needed} huge pages of {page} at {path}, although {free} are free: {error}; raise the limit \
         (size=) that it is mounted with, or that of this control group"
    )]
    Limited {
        /// The region's file.
        path: PathBuf,
        /// The pages.
        page: HugePage,
        /// How many the region takes.
        needed: u64,
        /// How many are free.
        free: u64,
        /// What the kernel said.
        error: io::Error,
    },
    /// The file named is elsewhere.
    #[error(
        "--shm {path}: not on a hugetlbfs with pages of {page}: name a file on one ('grep hugetlbfs /proc/mounts'), or \
         leave --shm out"
    )]
    Elsewhere {
        /// The file.
        path: PathBuf,
        /// The pages.
        page: HugePage,
    },
    /// There is no file system for them, and only root can make one.
    #[error("no hugetlbfs with pages of {page} is mounted; mount one: {}", mount_command(*.page))]
    NotMounted {
        /// The pages.
        page: HugePage,
    },
    /// There is one that is not for this user.
    #[error(
        "the hugetlbfs at {path} is not writable for this user: 'sudo chmod 1777 {path}', or name a file on another \
         with --shm"
    )]
    NotWritable {
        /// Where it is mounted.
        path: PathBuf,
    },
    /// Mounting failed.
    #[error("mount a hugetlbfs with pages of {page} at {path}: {error}; mount one where it is allowed: {}", mount_command(*.page))]
    Mount {
        /// Where.
        path: PathBuf,
        /// The pages.
        page: HugePage,
        /// What the kernel said.
        error: io::Error,
    },
}

fn shortage(page: HugePage, pool: Pool, needed: u64) -> String {
    let Pool { free, total, .. } = pool;
    match free {
        0 => format!("no {page} huge pages are free (0 of {total})"),
        _ => format!("only {free} of {total} huge pages of {page} are free, the region takes {needed}"),
    }
}

fn mount_command(page: HugePage) -> String {
    let (size, directory) = (page.as_str(), place::usual_directory(page));
    format!(
        "sudo mkdir -p {directory} && sudo mount -t hugetlbfs -o pagesize={size},mode=1777 none {directory}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_says_what_to_do() {
        let pool = |free, total, is_default| Pool { free, on_demand: 0, total, is_default };
        let lines = [
            HugePageError::Size { region: Bytes(64 << 20), page: HugePage::Size1G },
            HugePageError::Unsupported { page: HugePage::Size1G },
            HugePageError::NotReserved { page: HugePage::Size2M, pool: pool(0, 0, true), needed: 32 },
            HugePageError::NotReserved { page: HugePage::Size2M, pool: pool(3, 10, false), needed: 32 },
            HugePageError::NotReserved { page: HugePage::Size1G, pool: pool(0, 2, false), needed: 1 },
            HugePageError::Limited {
                path: "/huge/region".into(),
                page: HugePage::Size2M,
                needed: 32,
                free: 40,
                error: io::ErrorKind::StorageFull.into(),
            },
            HugePageError::Elsewhere { path: "/dev/shm/ivshmem".into(), page: HugePage::Size2M },
            HugePageError::NotMounted { page: HugePage::Size2M },
            HugePageError::NotMounted { page: HugePage::Size1G },
            HugePageError::NotWritable { path: "/dev/hugepages".into() },
            HugePageError::Mount {
                path: "/state/vm/hugepages".into(),
                page: HugePage::Size2M,
                error: io::ErrorKind::PermissionDenied.into(),
            },
        ]
        .map(|error| error.to_string());
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn the_record_holds_the_size_as_it_is_typed() {
        for page in HugePage::ALL {
            let text = serde_json::to_string(&page).unwrap();
            assert_eq!(text, format!("{:?}", page.as_str()));
            assert_eq!(serde_json::from_str::<HugePage>(&text).unwrap(), page);
            assert_eq!(HugePage::from_str(page.as_str(), false), Ok(page));
        }
    }

    #[test]
    fn ordinary_files_have_ordinary_pages() {
        assert_eq!(HugePage::of(Path::new("/")), None);
        assert_eq!(HugePage::of(Path::new("/nonexistent")), None);
    }
}
