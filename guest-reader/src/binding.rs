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
    #[error("{bdf} is bound to the driver {driver}; unbind it: echo {bdf} > {PCI_DRIVERS}/{driver}/unbind")]
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

/// Binds `device` to `driver`, which is loaded.
///
/// # Errors
/// Another driver has it, this one does not take it, or sysfs refuses.
pub fn bind(device: &Device, driver: Driver) -> Result<(), BindingError> {
    let (bdf, name) = (&device.bdf, driver.name());
    let write = |path: PathBuf, text: &str| {
        fs::write(&path, text).map_err(|error| BindingError::Sysfs { path, error })
    };
    match device.driver() {
        Some(bound) if bound == name => return Ok(()),
        Some(bound) if ![IVSHMEM_UIO, VFIO_PCI].contains(&&*bound) => {
            return Err(BindingError::Taken { bdf: bdf.clone(), driver: bound });
        }
        Some(_) => write(device.directory().join("driver/unbind"), bdf)?,
        None => {}
    }
    // The kernel binds to this driver only, whatever else would match.
    write(device.directory().join("driver_override"), name)?;
    // A driver that refuses the device makes this write fail, without saying more.
    let probed = write(Path::new("/sys/bus/pci/drivers_probe").to_owned(), bdf);
    match device.driver() {
        Some(bound) if bound == name => Ok(()),
        _ => probed.and(Err(BindingError::Refused { bdf: bdf.clone(), driver: name })),
    }
}
