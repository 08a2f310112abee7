//! The ivshmem PCI device in sysfs: found by its identity 1af4:1110, never by its slot.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ivshmem_proto::layout::PAGE_BYTES;
use ivshmem_proto::wire::MapKind;

/// Where Linux lists PCI devices.
pub const PCI_DEVICES: &str = "/sys/bus/pci/devices";

/// The driver whose UIO devices this program uses.
pub const IVSHMEM_UIO: &str = "ivshmem_uio";
const VENDOR: &str = "0x1af4";
const DEVICE: &str = "0x1110";

/// Where the capabilities begin in configuration space; without root's rights nothing from here on is shown.
const CAPABILITIES_START: usize = 64;
/// Offset of the pointer to the first capability (PCI Local Bus Specification 3.0, 6.7).
const CAPABILITIES_POINTER: usize = 0x34;
/// The capability MSI-X (6.8.2).
const MSIX: u8 = 0x11;

/// Entries of the MSI-X table in configuration space, if there is one.
fn msix_vectors(config: &[u8]) -> Option<u16> {
    let mut at = usize::from(config.get(CAPABILITIES_POINTER)? & !3);
    // As many as fit: a list that runs in a circle ends, too.
    for _ in 0..(config.len() / 4) {
        if at < CAPABILITIES_START {
            return None;
        }
        if *config.get(at)? == MSIX {
            let control = u16::from_le_bytes([*config.get(at + 2)?, *config.get(at + 3)?]);
            return Some((control & 0x7FF) + 1);
        }
        at = usize::from(config.get(at + 1)? & !3);
    }
    None
}

/// Why there is no device to use.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// None is present.
    #[error(
        "no ivshmem device (PCI 1af4:1110) here; start the VM with -device ivshmem-plain, or map a file with \
         --map PATH"
    )]
    None,
    /// The one asked for is not there.
    #[error("no ivshmem device at {asked}; present: {present}")]
    NotAt {
        /// What `--device` said.
        asked: String,
        /// What there is.
        present: String,
    },
    /// There are several and none was chosen.
    #[error("several ivshmem devices: {0}; choose one with --device BDF")]
    Several(String),
    /// sysfs refused.
    #[error("{action} {path}: {error}{hint}")]
    Sysfs {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
        /// What to do about it.
        hint: &'static str,
    },
}

/// An ivshmem device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its address, such as `0000:00:03.0`.
    pub bdf: String,
    directory: PathBuf,
}

impl Device {
    /// Finds the only ivshmem device below `root` (normally [`PCI_DEVICES`]), or the one called `asked` (with or
    /// without the PCI domain).
    ///
    /// # Errors
    /// None, several, or not the one asked for.
    pub fn find(root: &Path, asked: Option<&str>) -> Result<Self, DeviceError> {
        let is = |directory: &Path, file: &str, value: &str| {
            fs::read_to_string(directory.join(file)).is_ok_and(|text| text.trim() == value)
        };
        let mut found: Vec<Self> = fs::read_dir(root)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| is(&entry.path(), "vendor", VENDOR) && is(&entry.path(), "device", DEVICE))
            .map(|entry| Self {
                bdf: entry.file_name().to_string_lossy().into_owned(),
                directory: entry.path(),
            })
            .collect();
        found.sort_by(|a, b| a.bdf.cmp(&b.bdf));
        let list = |found: &[Self]| match found {
            [] => "none".to_owned(),
            _ => found.iter().map(|d| d.bdf.as_str()).collect::<Vec<_>>().join(", "),
        };
        match (asked, found.len()) {
            (Some(asked), _) => {
                let present = list(&found);
                let same = |d: &Self| d.bdf == asked || d.bdf.strip_prefix("0000:") == Some(asked);
                found.into_iter().find(same).ok_or(DeviceError::NotAt { asked: asked.to_owned(), present })
            }
            (None, 0) => Err(DeviceError::None),
            (None, 1) => Ok(found.remove(0)),
            (None, _) => Err(DeviceError::Several(list(&found))),
        }
    }

    /// Switches the device's memory decoding on.
    ///
    /// # Errors
    /// sysfs refuses, for example without root's rights.
    pub fn enable(&self) -> Result<(), DeviceError> {
        let path = self.directory.join("enable");
        fs::write(&path, "1").map_err(|error| {
            let hint = if error.kind() == io::ErrorKind::PermissionDenied {
                "; run guest-reader as root"
            } else {
                ""
            };
            DeviceError::Sysfs { action: "enable", path, error, hint }
        })
    }

    /// Where sysfs describes it.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The driver it is bound to.
    #[must_use]
    pub fn driver(&self) -> Option<String> {
        let target = fs::read_link(self.directory.join("driver")).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }

    /// Interrupt vectors it has: entries of its MSI-X table; zero for ivshmem-plain, which has no doorbell.
    ///
    /// # Errors
    /// Its configuration space cannot be read, or shows a part only: not as root.
    pub fn vectors(&self) -> Result<u16, DeviceError> {
        let path = self.directory.join("config");
        let sysfs = |error| DeviceError::Sysfs { action: "read", path: path.clone(), error, hint: "" };
        let config = fs::read(&path).map_err(sysfs)?;
        if config.len() <= CAPABILITIES_START {
            let error = io::Error::other("only its first 64 bytes are shown");
            return Err(DeviceError::Sysfs {
                action: "read",
                path,
                error,
                hint: "; run guest-reader as root",
            });
        }
        Ok(msix_vectors(&config).unwrap_or(0))
    }

    /// The number of its IOMMU group; `None` without an IOMMU.
    #[must_use]
    pub fn iommu_group(&self) -> Option<String> {
        let target = fs::read_link(self.directory.join("iommu_group")).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }

    /// Whether the driver of our own maps BAR2 like memory: then it is cached, whatever the kernel's list of types says of
    /// its physical addresses.
    #[must_use]
    pub fn is_mapped_by_page(&self) -> bool {
        fs::read_to_string(self.directory.join("shared_memory_pages")).is_ok_and(|text| text.trim() == "1")
    }

    /// Where in a page BAR0 begins.
    #[must_use]
    pub fn bar0_within_page(&self) -> usize {
        (self.bar_physical(0).map_or(0, |(first, _)| first) % PAGE_BYTES as u64) as usize
    }

    /// The sysfs file that maps BAR2 in the way `kind` names.
    #[must_use]
    pub fn bar2(&self, kind: MapKind) -> PathBuf {
        self.directory.join(kind.name())
    }

    /// `resource2_wc` where the kernel offers it (prefetchable BARs on x86), else `resource2`.
    #[must_use]
    pub fn best_map(&self) -> MapKind {
        if self.bar2(MapKind::Resource2Wc).exists() { MapKind::Resource2Wc } else { MapKind::Resource2 }
    }

    /// Physical addresses of BAR2, first and last, from the `resource` file.
    #[must_use]
    pub fn bar2_physical(&self) -> Option<(u64, u64)> {
        self.bar_physical(2)
    }

    fn bar_physical(&self, bar: usize) -> Option<(u64, u64)> {
        let text = fs::read_to_string(self.directory.join("resource")).ok()?;
        let mut numbers = text
            .lines()
            .nth(bar)?
            .split_whitespace()
            .map(|n| u64::from_str_radix(n.trim_start_matches("0x"), 16));
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(root: &Path, bdf: &str, vendor: &str, device: &str) {
        let directory = root.join(bdf);
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("vendor"), format!("{vendor}\n")).unwrap();
        fs::write(directory.join("device"), format!("{device}\n")).unwrap();
    }

    #[test]
    fn finds_the_only_one_wherever_it_sits() {
        let root = tempfile::tempdir().unwrap();
        add(root.path(), "0000:00:02.0", "0x1234", "0x1111");
        assert!(matches!(Device::find(root.path(), None), Err(DeviceError::None)));
        add(root.path(), "0000:00:1f.7", VENDOR, DEVICE);
        assert_eq!(Device::find(root.path(), None).unwrap().bdf, "0000:00:1f.7");
        assert_eq!(Device::find(root.path(), Some("00:1f.7")).unwrap().bdf, "0000:00:1f.7");
    }

    #[test]
    fn asks_to_choose_among_several_and_names_them() {
        let root = tempfile::tempdir().unwrap();
        add(root.path(), "0000:00:04.0", VENDOR, DEVICE);
        add(root.path(), "0000:00:03.0", VENDOR, DEVICE);
        let error = Device::find(root.path(), None).unwrap_err().to_string();
        assert_eq!(
            error,
            "several ivshmem devices: 0000:00:03.0, 0000:00:04.0; choose one with --device BDF"
        );
        let error = Device::find(root.path(), Some("0000:00:09.0")).unwrap_err().to_string();
        assert_eq!(error, "no ivshmem device at 0000:00:09.0; present: 0000:00:03.0, 0000:00:04.0");
    }

    #[test]
    fn vectors_are_counted_in_the_msix_table() {
        let mut config = vec![0; 256];
        assert_eq!(msix_vectors(&config), None);
        // Power management at 0x50, then MSI-X at 0x40 with four entries, enabled.
        (config[0x34], config[0x50], config[0x51]) = (0x50, 0x01, 0x40);
        config[0x40..0x44].copy_from_slice(&[MSIX, 0, 3, 0x80]);
        assert_eq!(msix_vectors(&config), Some(4));
        // A list that runs in a circle, and one that ends outside.
        (config[0x40], config[0x41]) = (0x05, 0x50);
        assert_eq!(msix_vectors(&config), None);
        config[0x41] = 0xFC;
        assert_eq!(msix_vectors(&config[..128]), None);
    }

    #[test]
    fn reads_the_bar_and_prefers_write_combining() {
        let root = tempfile::tempdir().unwrap();
        add(root.path(), "0000:00:03.0", VENDOR, DEVICE);
        let device = Device::find(root.path(), None).unwrap();
        assert_eq!((device.bar2_physical(), device.best_map()), (None, MapKind::Resource2));
        let text = "0x00000000febf1000 0x00000000febf10ff 0x0000000000040200\n\
                    0x0000000000000000 0x0000000000000000 0x0000000000000000\n\
                    0x00000000f8000000 0x00000000fbffffff 0x000000000014220c\n";
        fs::write(device.directory.join("resource"), text).unwrap();
        fs::write(device.directory.join("resource2_wc"), "").unwrap();
        assert_eq!(device.bar2_physical(), Some((0xf800_0000, 0xfbff_ffff)));
        assert_eq!(device.best_map(), MapKind::Resource2Wc);
    }
}
