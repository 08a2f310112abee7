//! The device through UIO: one `/dev/uioN` for each interrupt vector, of which the first also maps both BARs.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use ivshmem_proto::event::Event;
use ivshmem_proto::layout::PAGE_BYTES;
use ivshmem_proto::mapping::{MapError, Mapping, Registers};

use crate::device::{Device, IVSHMEM_UIO};

/// Number of the map of BAR0 in the vector-0 device, and of that of BAR2.
const REGISTERS_MAP: usize = 0;
/// See above.
const MEMORY_MAP: usize = 1;

/// Why there is no way through UIO.
#[derive(Debug, thiserror::Error)]
pub enum UioError {
    /// No such UIO device.
    #[error("{bdf} has no UIO device named {wanted}; its driver offers {offered}")]
    Absent {
        /// The PCI device.
        bdf: String,
        /// What was looked for.
        wanted: String,
        /// What there is.
        offered: String,
    },
    /// The operating system refused.
    #[error("{action} {path}: {error}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// The shared memory cannot be mapped.
    #[error(transparent)]
    Map(#[from] MapError),
}

/// What UIO gives.
#[derive(Debug)]
pub struct Uio {
    /// BAR2.
    pub memory: Mapping,
    /// BAR0.
    pub registers: Registers,
    /// The interrupts of the vector.
    pub event: Event,
}

/// A UIO device below a PCI device.
struct Node {
    /// Its directory in sysfs.
    directory: PathBuf,
    /// Its file.
    dev: PathBuf,
}

impl Node {
    /// The one that listens to `vector`.
    fn find(device: &Device, vector: u16) -> Result<Self, UioError> {
        let root = device.directory().join("uio");
        let wanted = format!("{IVSHMEM_UIO}.{vector}");
        let mut names = Vec::new();
        for entry in fs::read_dir(&root).into_iter().flatten().flatten() {
            let directory = entry.path();
            let name = fs::read_to_string(directory.join("name")).unwrap_or_default().trim().to_owned();
            if name == wanted {
                return Ok(Self { dev: Path::new("/dev").join(entry.file_name()), directory });
            }
            names.push(name);
        }
        names.sort();
        let offered = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Err(UioError::Absent { bdf: device.bdf.clone(), wanted, offered })
    }

    /// A number that sysfs shows, decimal or hexadecimal.
    fn number(&self, file: &str) -> Result<u64, UioError> {
        let path = self.directory.join(file);
        let parse = |text: &str| match text.trim().strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => text.trim().parse(),
        };
        fs::read_to_string(&path)
            .and_then(|text| parse(&text).map_err(io::Error::other))
            .map_err(|error| UioError::Io { action: "read", path, error })
    }

    fn open(&self) -> Result<File, UioError> {
        OpenOptions::new().read(true).write(true).open(&self.dev).map_err(|error| UioError::Io {
            action: "open",
            path: self.dev.clone(),
            error,
        })
    }
}

/// Where map number `index` lies in a UIO device's file (the kernel's uio-howto).
const fn map_offset(index: usize) -> u64 {
    (index * PAGE_BYTES) as u64
}

/// Opens the device, which is bound to its driver, for a guest that is rung at `vector`.
///
/// # Errors
/// No UIO device for that vector, or it cannot be opened or mapped.
pub fn open(device: &Device, vector: u16) -> Result<Uio, UioError> {
    let first = Node::find(device, 0)?;
    let own = Node::find(device, vector)?;
    let file = first.open()?;
    let within = first.number(&format!("maps/map{REGISTERS_MAP}/offset"))?;
    let registers = Registers::map(&file, map_offset(REGISTERS_MAP), within as usize)
        .map_err(|error| UioError::Io { action: "map the registers of", path: first.dev.clone(), error })?;
    let bytes = first.number(&format!("maps/map{MEMORY_MAP}/size"))?;
    let memory = Mapping::of_device(file, map_offset(MEMORY_MAP), bytes, first.dev.clone())?;
    // The total first: an interrupt in between is counted, not lost.
    let total = own.number("event")? as u32;
    let event = Event::of_uio(own.open()?, total);
    Ok(Uio { memory, registers, event })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(root: &Path) -> Device {
        let directory = root.join("0000:00:03.0");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("vendor"), "0x1af4\n").unwrap();
        fs::write(directory.join("device"), "0x1110\n").unwrap();
        Device::find(root, None).unwrap()
    }

    #[test]
    fn the_uio_device_of_a_vector_is_found_by_its_name() {
        let root = tempfile::tempdir().unwrap();
        let device = device(root.path());
        let absent = Node::find(&device, 0).err().unwrap().to_string();
        assert_eq!(absent, "0000:00:03.0 has no UIO device named ivshmem_uio.0; its driver offers none");
        for (node, name) in [("uio7", "ivshmem_uio.0"), ("uio2", "ivshmem_uio.1")] {
            let directory = device.directory().join("uio").join(node);
            fs::create_dir_all(directory.join("maps/map1")).unwrap();
            fs::write(directory.join("name"), format!("{name}\n")).unwrap();
            fs::write(directory.join("event"), "12\n").unwrap();
            fs::write(directory.join("maps/map1/size"), "0x0000000004000000\n").unwrap();
        }
        let node = Node::find(&device, 1).unwrap();
        assert_eq!(node.dev, Path::new("/dev/uio2"));
        assert_eq!((node.number("event").unwrap(), node.number("maps/map1/size").unwrap()), (12, 64 << 20));
        assert!(node.number("nothing").is_err());
        let absent = Node::find(&device, 2).err().unwrap().to_string();
        assert!(
            absent.ends_with("named ivshmem_uio.2; its driver offers ivshmem_uio.0, ivshmem_uio.1"),
            "{absent}"
        );
    }
}
