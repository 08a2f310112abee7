//! Binding the device to the driver that delivers its interrupts, through sysfs.
//!
//! Another driver than ours and vfio-pci is somebody's decision and is left alone: whoever runs this is told its name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ivshmem_proto::wire::WaitSource;

use crate::device::{Device, IVSHMEM_UIO};
use crate::modules::{self, ModuleError};

/// Where Linux lists the drivers of PCI devices.
pub const PCI_DRIVERS: &str = "/sys/bus/pci/drivers";

/// The driver of VFIO.
pub const VFIO_PCI: &str = "vfio-pci";

/// A driver that can deliver interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// Ours, from `ivshmem_uio/`.
    IvshmemUio,
    /// The kernel's.
    VfioPci,
}

impl Driver {
    /// The one for a way of waiting; `None` for those that need none.
    #[must_use]
    pub const fn of(source: WaitSource) -> Option<Self> {
        match source {
            WaitSource::Uio => Some(Self::IvshmemUio),
            WaitSource::Vfio => Some(Self::VfioPci),
            WaitSource::Poll | WaitSource::Doorbell => None,
        }
    }

    /// Its name in sysfs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::IvshmemUio => IVSHMEM_UIO,
            Self::VfioPci => VFIO_PCI,
        }
    }

    /// Modules it consists of.
    const fn modules(self) -> &'static [&'static str] {
        match self {
            Self::IvshmemUio => modules::UIO,
            Self::VfioPci => modules::VFIO,
        }
    }
}

/// Why the device is not bound.
#[derive(Debug, thiserror::Error)]
pub enum BindingError {
    /// The driver is not there.
    #[error(transparent)]
    NotLoaded(#[from] ModuleError),
    /// Another driver has the device.
    #[error(
        "{bdf} is bound to the driver {driver}; unbind it: echo {bdf} | sudo tee {PCI_DRIVERS}/{driver}/unbind"
    )]
    Taken {
        /// The device.
        bdf: String,
        /// The driver that has it.
        driver: String,
    },
    /// The driver refused the device.
    #[error("the driver {driver} did not take {bdf}: 'dmesg' says why")]
    Refused {
        /// The device.
        bdf: String,
        /// The driver.
        driver: &'static str,
    },
    /// sysfs refused.
    #[error("write {path}: {error}; run guest-reader as root")]
    Sysfs {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
}

/// Loads `driver`, unless it is there already: from what lies beside this program in the micro guest, else with modprobe(8).
///
/// # Errors
/// It is in neither place, or the kernel does not take it.
pub fn load(driver: Driver) -> Result<(), BindingError> {
    let is_loaded = || Path::new(PCI_DRIVERS).join(driver.name()).exists();
    if is_loaded() {
        return Ok(());
    }
    let beside = modules::load(Path::new(modules::DIRECTORY), driver.modules());
    if beside.is_err() {
        // What it says is of no more use than that it failed, and there may be none.
        let _ = Command::new("modprobe").args(["-q", driver.name()]).stderr(Stdio::null()).status();
    }
    if is_loaded() { Ok(()) } else { Ok(beside?) }
}

fn write(path: PathBuf, text: &str) -> Result<(), BindingError> {
    fs::write(&path, text).map_err(|error| BindingError::Sysfs { path, error })
}

/// Takes `device` from its driver, if it has one and that is one of those above: while bound, nobody else can map it.
///
/// # Errors
/// Another driver has it, or sysfs refuses.
pub fn unbind(device: &Device) -> Result<(), BindingError> {
    match device.driver() {
        None => Ok(()),
        Some(bound) if [IVSHMEM_UIO, VFIO_PCI].contains(&&*bound) => {
            write(device.directory().join("driver/unbind"), &device.bdf)
        }
        Some(driver) => Err(BindingError::Taken { bdf: device.bdf.clone(), driver }),
    }
}

/// Binds `device` to `driver`, which is loaded.
///
/// # Errors
/// Another driver has it, this one does not take it, or sysfs refuses.
pub fn bind(device: &Device, driver: Driver) -> Result<(), BindingError> {
    let (bdf, name) = (&device.bdf, driver.name());
    if device.driver().is_some_and(|bound| bound == name) {
        return Ok(());
    }
    unbind(device)?;
    // The kernel binds to this driver only, whatever else would match.
    write(device.directory().join("driver_override"), name)?;
    // A driver that refuses the device makes this write fail, without saying more.
    let probed = write(Path::new("/sys/bus/pci/drivers_probe").to_owned(), bdf);
    match device.driver() {
        Some(bound) if bound == name => Ok(()),
        _ => probed.and(Err(BindingError::Refused { bdf: bdf.clone(), driver: name })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_drivers_that_were_bound_for_this_are_taken_off() {
        for (driver, left) in [("ivshmem_uio", true), ("vfio-pci", true), ("uio_pci_generic", false)] {
            let root = tempfile::tempdir().unwrap();
            let directory = root.path().join("devices/0000:00:03.0");
            let drivers = root.path().join("drivers").join(driver);
            fs::create_dir_all(&directory).unwrap();
            fs::create_dir_all(&drivers).unwrap();
            fs::write(directory.join("vendor"), "0x1af4").unwrap();
            fs::write(directory.join("device"), "0x1110").unwrap();
            let device = Device::find(&root.path().join("devices"), None).unwrap();
            unbind(&device).unwrap();
            symlink(&drivers, directory.join("driver")).unwrap();
            match unbind(&device) {
                Ok(()) => assert_eq!(fs::read_to_string(drivers.join("unbind")).unwrap(), "0000:00:03.0"),
                Err(error) => assert_eq!(
                    error.to_string(),
                    "0000:00:03.0 is bound to the driver uio_pci_generic; unbind it: echo 0000:00:03.0 | sudo tee \
                     /sys/bus/pci/drivers/uio_pci_generic/unbind"
                ),
            }
            assert_eq!(drivers.join("unbind").exists(), left, "{driver}");
        }
    }
}
