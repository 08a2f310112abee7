//! The device through VFIO: no driver of ours, but an IOMMU is needed.
//!
//! Constants and structures are those of the kernel's `include/uapi/linux/vfio.h`; the order of calls is that of its
//! `Documentation/driver-api/vfio.rst`. No DMA is set up: the device does none.
#![allow(unsafe_code, reason = "ioctl(2) has no safe form")]

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use ivshmem_proto::event::Event;
use ivshmem_proto::mapping::{MapError, Mapping, Registers};
use nix::errno::Errno;
use nix::libc::{c_char, c_int, c_ulong};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::device::Device;

const CONTAINER: &str = "/dev/vfio/vfio";
const API_VERSION: c_int = 0;
const TYPE1_IOMMU: c_ulong = 1;
const GROUP_VIABLE: u32 = 1;
const REGION_MMAP: u32 = 4;
const BAR0: u32 = 0;
const BAR2: u32 = 2;
const CONFIG: u32 = 7;
const MSIX: u32 = 2;
/// `VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER`.
const SET_TRIGGER_EVENTFD: u32 = 4 | 32;
/// Offset of the command register, and its bits that switch on memory decoding and let the device write messages, which
/// is what its interrupts are.
const COMMAND: u64 = 4;
const COMMAND_MEMORY_AND_MASTER: u16 = 2 | 4;

#[repr(C)]
#[derive(Default)]
struct GroupStatus {
    argsz: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct RegionInfo {
    argsz: u32,
    flags: u32,
    index: u32,
    cap_offset: u32,
    size: u64,
    offset: u64,
}

#[repr(C)]
#[derive(Default)]
struct IrqInfo {
    argsz: u32,
    flags: u32,
    index: u32,
    count: u32,
}

/// `struct vfio_irq_set` with the one descriptor that follows it.
#[repr(C)]
struct IrqSet {
    argsz: u32,
    flags: u32,
    index: u32,
    start: u32,
    count: u32,
    eventfd: i32,
}

/// The calls, numbered from `VFIO_BASE` (100) of type `;`.
mod calls {
    use nix::libc::{c_char, c_int};
    use nix::{
        ioctl_none_bad, ioctl_readwrite_bad, ioctl_write_int_bad, ioctl_write_ptr_bad, request_code_none,
    };

    const fn number(call: u8) -> nix::sys::ioctl::ioctl_num_type {
        request_code_none!(b';', 100 + call) as nix::sys::ioctl::ioctl_num_type
    }

    ioctl_none_bad!(get_api_version, number(0));
    ioctl_write_int_bad!(set_iommu, number(2));
    ioctl_readwrite_bad!(group_get_status, number(3), super::GroupStatus);
    ioctl_write_ptr_bad!(group_set_container, number(4), c_int);
    ioctl_write_ptr_bad!(group_get_device_fd, number(6), c_char);
    ioctl_readwrite_bad!(device_get_region_info, number(8), super::RegionInfo);
    ioctl_readwrite_bad!(device_get_irq_info, number(9), super::IrqInfo);
    ioctl_write_ptr_bad!(device_set_irqs, number(10), super::IrqSet);
}

/// Why there is no way through VFIO.
#[derive(Debug, thiserror::Error)]
pub enum VfioError {
    /// No IOMMU.
    #[error(
        "{bdf} is in no IOMMU group: vfio-pci needs an IOMMU; start the VM with 'provision up --doorbell --viommu', or use \
         --wait uio"
    )]
    NoIommu {
        /// The device.
        bdf: String,
    },
    /// The group cannot be used.
    #[error(
        "IOMMU group {group} of {bdf} is not viable: other devices in it are bound to other drivers ({path})"
    )]
    NotViable {
        /// The device.
        bdf: String,
        /// Its group.
        group: String,
        /// Where its members are listed.
        path: PathBuf,
    },
    /// VFIO gives a group to one process at a time.
    #[error("{bdf} is in use by another process ({path}), such as another guest-reader: stop it first")]
    Busy {
        /// The device.
        bdf: String,
        /// Its group's file.
        path: PathBuf,
    },
    /// The kernel speaks another VFIO.
    #[error("the kernel's VFIO has API version {0}, not {API_VERSION}")]
    Version(c_int),
    /// A call failed.
    #[error("{action}: {error}")]
    Io {
        /// What was tried.
        action: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// The shared memory cannot be mapped.
    #[error(transparent)]
    Map(#[from] MapError),
}

/// What VFIO gives.
#[derive(Debug)]
pub struct Vfio {
    /// BAR2.
    pub memory: Mapping,
    /// BAR0.
    pub registers: Registers,
    /// The interrupts of the vector.
    pub event: Event,
    /// Open as long as the device is used.
    pub held: Held,
}

/// Descriptors that keep the device ours.
#[derive(Debug)]
pub struct Held {
    _container: File,
    _group: File,
}

fn io(action: impl Into<String>) -> impl FnOnce(Errno) -> VfioError {
    let action = action.into();
    move |errno| VfioError::Io { action, error: errno.into() }
}

fn open_file(path: &Path) -> Result<File, VfioError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|error| VfioError::Io { action: format!("open {}", path.display()), error })
}

/// Opens the device, which is bound to vfio-pci, for a guest that is rung at `vector`.
///
/// # Errors
/// No IOMMU, a group that others use, or a call that fails.
pub fn open(device: &Device, vector: u16) -> Result<Vfio, VfioError> {
    let bdf = device.bdf.clone();
    let group = device.iommu_group().ok_or_else(|| VfioError::NoIommu { bdf: bdf.clone() })?;
    let container = open_file(Path::new(CONTAINER))?;
    // SAFETY: the descriptor is open and the call takes no argument.
    let version =
        unsafe { calls::get_api_version(container.as_raw_fd()) }.map_err(io("ask for VFIO's version"))?;
    if version != API_VERSION {
        return Err(VfioError::Version(version));
    }
    let path = Path::new("/dev/vfio").join(&group);
    let group_file = match open_file(&path) {
        Err(VfioError::Io { error, .. }) if error.raw_os_error() == Some(Errno::EBUSY as i32) => {
            return Err(VfioError::Busy { bdf, path });
        }
        file => file?,
    };
    let mut status = GroupStatus { argsz: size_of::<GroupStatus>() as u32, ..GroupStatus::default() };
    // SAFETY: the kernel reads and writes at most `argsz` bytes of a structure that lives across the call.
    unsafe { calls::group_get_status(group_file.as_raw_fd(), &mut status) }
        .map_err(io("ask for the group's status"))?;
    if status.flags & GROUP_VIABLE == 0 {
        let path = PathBuf::from(format!("/sys/kernel/iommu_groups/{group}/devices"));
        return Err(VfioError::NotViable { bdf, group, path });
    }
    // SAFETY: the kernel reads one int that lives across the call.
    unsafe { calls::group_set_container(group_file.as_raw_fd(), &container.as_raw_fd()) }
        .map_err(io("put the group into a container"))?;
    // SAFETY: an int by value.
    unsafe { calls::set_iommu(container.as_raw_fd(), TYPE1_IOMMU as c_int) }
        .map_err(io("choose the IOMMU's type"))?;
    let file = device_file(&group_file, &bdf)?;
    switch_on(&file)?;
    let memory = region(&file, BAR2)?;
    let registers = region(&file, BAR0)?;
    let registers = Registers::map(&file, registers.offset, device.bar0_within_page())
        .map_err(|error| VfioError::Io { action: "map the device's registers".into(), error })?;
    let event = interrupts(&file, vector)?;
    let path = PathBuf::from(format!("/dev/vfio/{group} ({bdf})"));
    let memory = Mapping::of_device(file, memory.offset, memory.size, path)?;
    Ok(Vfio { memory, registers, event, held: Held { _container: container, _group: group_file } })
}

fn device_file(group: &File, bdf: &str) -> Result<File, VfioError> {
    let name =
        CString::new(bdf).map_err(|e| VfioError::Io { action: "name the device".into(), error: e.into() })?;
    let name: *const c_char = name.as_ptr();
    // SAFETY: `name` is a NUL-terminated string that lives across the call.
    let fd: RawFd =
        unsafe { calls::group_get_device_fd(group.as_raw_fd(), name) }.map_err(io(format!("open {bdf}")))?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) }.into())
}

fn region(device: &File, index: u32) -> Result<RegionInfo, VfioError> {
    let mut info = RegionInfo { argsz: size_of::<RegionInfo>() as u32, index, ..RegionInfo::default() };
    // SAFETY: the kernel reads and writes at most `argsz` bytes of a structure that lives across the call.
    unsafe { calls::device_get_region_info(device.as_raw_fd(), &mut info) }
        .map_err(io(format!("ask for the device's region {index}")))?;
    if index != CONFIG && info.flags & REGION_MMAP == 0 {
        let error = io::Error::other("the kernel does not let it be mapped");
        return Err(VfioError::Io { action: format!("use BAR{index}"), error });
    }
    Ok(info)
}

/// Memory decoding and bus mastering, which VFIO leaves to whoever opens the device.
fn switch_on(device: &File) -> Result<(), VfioError> {
    let config = region(device, CONFIG)?;
    let at = config.offset + COMMAND;
    let mut command = [0; 2];
    let result = device.read_exact_at(&mut command, at).and_then(|()| {
        let wanted = u16::from_le_bytes(command) | COMMAND_MEMORY_AND_MASTER;
        device.write_all_at(&wanted.to_le_bytes(), at)
    });
    result.map_err(|error| VfioError::Io { action: "switch the device on".into(), error })
}

/// Has the interrupts of `vector` delivered to an eventfd.
fn interrupts(device: &File, vector: u16) -> Result<Event, VfioError> {
    let mut info = IrqInfo { argsz: size_of::<IrqInfo>() as u32, index: MSIX, ..IrqInfo::default() };
    // SAFETY: the kernel reads and writes at most `argsz` bytes of a structure that lives across the call.
    unsafe { calls::device_get_irq_info(device.as_raw_fd(), &mut info) }
        .map_err(io("ask for the device's interrupts"))?;
    let eventfd = EventFd::from_flags(EfdFlags::EFD_CLOEXEC).map_err(io("make an eventfd"))?;
    let set = IrqSet {
        argsz: size_of::<IrqSet>() as u32,
        flags: SET_TRIGGER_EVENTFD,
        index: MSIX,
        start: vector.into(),
        count: 1,
        eventfd: eventfd.as_raw_fd(),
    };
    // SAFETY: the kernel reads `argsz` bytes of a structure that lives across the call and holds one descriptor, as its
    // `count` says.
    unsafe { calls::device_set_irqs(device.as_raw_fd(), &set) }
        .map_err(io("switch the device's interrupts on"))?;
    Ok(Event::of_eventfd(eventfd.into()))
}
