//! The ivshmem PCI device in sysfs: found by its identity 1af4:1110, never by its slot.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ivshmem_proto::wire::MapKind;

/// Where Linux lists PCI devices.
pub const PCI_DEVICES: &str = "/sys/bus/pci/devices";

const VENDOR: &str = "0x1af4";
const DEVICE: &str = "0x1110";

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
        let text = fs::read_to_string(self.directory.join("resource")).ok()?;
        let mut numbers = text
            .lines()
            .nth(2)?
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
