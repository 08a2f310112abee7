//! The disk image a Debian guest starts from: Debian's own, one built from the package mirror, or a file of the
//! user's. Images in the cache are named by their digest and never written to again.

mod complaint;
mod digest;
mod download;
mod error;
mod fetch;
mod file;
mod in_use;
mod mirror;
mod obtain;
mod official;
mod qemu_img;
mod sources;
mod store;
mod sums;
#[cfg(test)]
mod test_server;
mod turn;
mod wish;
mod workshop;

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use error::ImageError;
pub use in_use::{BaseUse, BasesInUse, DISK_RECORD, bases_in_use};
pub use obtain::{confirm, obtain};
pub use store::{Made, Stored, find, lock, stored};
pub use wish::Wish;
pub(crate) use workshop::find_program;

/// Where Debian publishes its cloud images.
pub const OFFICIAL_URL: &str = "https://cloud.debian.org/images/cloud/bookworm";

/// What the user wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageChoice {
    /// What is cached, else Debian's own, else one built from the mirror.
    Auto,
    /// One built from the package mirror.
    Mirror,
    /// Debian's `generic` image.
    Official,
    /// The user's own.
    File(PathBuf),
}

impl FromStr for ImageChoice {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "auto" => Self::Auto,
            "mirror" => Self::Mirror,
            "official" => Self::Official,
            file => Self::File(file.into()),
        })
    }
}

/// Where an image came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Built from the package mirror.
    Mirror,
    /// Debian's own.
    Official,
    /// The user's.
    File,
}

impl Origin {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mirror => "mirror",
            Self::Official => "official",
            Self::File => "file",
        }
    }
}

/// How an image is booted when it has no boot loader: with its own kernel and initrd, given to QEMU as files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectBoot {
    /// The kernel.
    pub kernel: PathBuf,
    /// Its initial RAM disk.
    pub initrd: PathBuf,
    /// The kernel's release, such as `6.1.0-28-cloud-amd64`.
    pub release: String,
    /// What the kernel's `root=` says, such as `LABEL=root`.
    pub root: String,
}

/// An image that a VM's disk can lie upon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseImage {
    /// Where it came from.
    pub origin: Origin,
    /// The image file, absolute. Never written to.
    pub path: PathBuf,
    /// Its format as QEMU calls it: `qcow2` or `raw`.
    pub format: String,
    /// SHA-256 of the file, in hexadecimal digits.
    pub sha256: String,
    /// The size of the disk it holds.
    pub virtual_bytes: u64,
    /// Set when the image is booted by its kernel directly, unset when by its boot loader.
    pub direct_boot: Option<DirectBoot>,
    /// Whether the root file system fills the disk only when the guest grows it (partition and file system).
    pub grows_in_guest: bool,
    /// One sentence for the user: what it is.
    pub what: String,
}

impl fmt::Display for BaseImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}
