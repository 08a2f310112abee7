//! The thread of a guest that is a process of this host: what it costs and what holds it up are measured as a vCPU's are.
//!
//! The guest names it in its page, and a guest may write anything: it is believed only when the process maps the region.

use std::fs;
use std::path::PathBuf;

use ivshmem_proto::mapping::Mapping;
use ivshmem_proto::report::GuestThread;
use ivshmem_proto::wire::MapKind;
use nix::sys::stat::{major, minor};

use crate::vcpu::{cpu_in, run_delay_of};

/// A thread, by its directory below /proc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NativeGuest(PathBuf);

impl NativeGuest {
    /// What a guest that maps the region as `kind` calls its own; `None` when it is no process of this host, or one that does
    /// not map the region or may not be looked at.
    #[must_use]
    pub fn of(kind: MapKind, thread: Option<GuestThread>, map: &Mapping) -> Option<Self> {
        let GuestThread { pid, tid } = thread.filter(|_| kind == MapKind::File)?;
        let (device, inode) = map.identity().ok()?;
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
        maps.lines().any(|line| is_of(line, device, inode)).then_some(())?;
        // Below the process, so that a number that has gone to another process names nothing.
        Some(Self(PathBuf::from(format!("/proc/{pid}/task/{tid}"))))
    }

    /// Time it has run so far, in nanoseconds; `None` when it is gone.
    #[must_use]
    pub fn cpu_ns(&self) -> Option<u64> {
        cpu_in(&fs::read_to_string(self.0.join("schedstat")).ok()?)
    }

    /// Time it was ready to run and had no CPU so far, in nanoseconds; `None` when it is gone.
    #[must_use]
    pub fn run_delay_ns(&self) -> Option<u64> {
        run_delay_of(&self.0)
    }
}

/// Whether a line of /proc/PID/maps is of that file: `from-to rights offset major:minor inode path` (proc(5)).
fn is_of(line: &str, device: u64, inode: u64) -> bool {
    let mut fields = line.split_whitespace().skip(3);
    let expected = format!("{:02x}:{:02x}", major(device), minor(device));
    fields.next() == Some(&*expected) && fields.next().and_then(|field| field.parse().ok()) == Some(inode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_processs_memory_is_known_by_device_and_inode() {
        let line = "7f0000000000-7f0004000000 rw-s 00000000 00:1a 42                 /dev/shm/ivshmem";
        assert!(is_of(line, 0x1a, 42));
        assert!(!is_of(line, 0x1b, 42) && !is_of(line, 0x1a, 43) && !is_of("", 0x1a, 42));
    }

    #[test]
    fn a_thread_is_believed_only_when_its_process_maps_the_region() {
        let file = tempfile::Builder::new().tempfile_in("/dev/shm").unwrap();
        file.as_file().set_len(64 << 10).unwrap();
        let map = Mapping::open(file.path()).unwrap();
        let of = |kind, pid| NativeGuest::of(kind, Some(GuestThread { pid, tid: pid }), &map);
        let me = std::process::id();
        assert!(of(MapKind::File, me).is_some_and(|own| own.cpu_ns().is_some()));
        assert_eq!(of(MapKind::File, 1), None, "init maps no region");
        assert_eq!(of(MapKind::Uio, me), None, "a guest in a VM");
        assert_eq!(NativeGuest::of(MapKind::File, None, &map), None, "one that does not say");
    }
}
