//! Two threads, one mapped file, frames that are all one byte value: whatever a reader has in private memory when
//! it says PROCESSED must be one whole frame, the one whose sequence it answers.

use std::path::Path;

use ivshmem_proto::copy::Kernel;
use ivshmem_proto::descriptor::RawDescriptor;
use ivshmem_proto::geometry::Geometry;
use ivshmem_proto::guest::{Event, Guest};
use ivshmem_proto::host::{Host, Presence};
use ivshmem_proto::mapping::Mapping;
use ivshmem_proto::memory::Payload as _;
use ivshmem_proto::region_file::ensure;
use ivshmem_proto::wire::Status;
use ivshmem_proto::word::sequence_of;

const FRAME_BYTES: usize = 200_000;
const FRAMES: u64 = 400;

fn guest(path: &Path, kernel: Kernel) {
    let map = Mapping::open(path).unwrap();
    let mut guest = Guest::announce(&map, map.bytes(), 1);
    let mut private = vec![0; FRAME_BYTES];
    loop {
        match guest.poll() {
            Event::Idle => std::thread::yield_now(),
            Event::Invited { session, geometry } => guest.join(session, geometry),
            Event::Frame { word, range, .. } => {
                map.read(range, &mut private, kernel);
                let expected = sequence_of(word) as u8;
                let torn = private.iter().position(|&b| b != expected);
                assert_eq!(torn, None, "frame {} is torn under {kernel}", sequence_of(word));
                assert!(guest.is_current(word));
                guest.complete(word, Status::Ok, 0, 0);
                if sequence_of(word) == FRAMES {
                    return;
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn no_kernel_ever_shows_half_a_frame() {
    for kernel in Kernel::available() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("region");
        ensure(&path, 1 << 20).unwrap();
        let reader = std::thread::spawn({
            let path = path.clone();
            move || guest(&path, kernel)
        });
        let map = Mapping::open(&path).unwrap();
        let geometry = Geometry::for_payload(map.bytes(), FRAME_BYTES as u64).unwrap();
        let mut host = Host::open(&map, &geometry, 1);
        let alive = || assert!(!reader.is_finished(), "the reader failed early");
        while !matches!(host.presence(), Presence::Attached { .. }) {
            alive();
            std::thread::yield_now();
        }
        for number in 1..=FRAMES {
            let range = geometry.payload(number % 2, FRAME_BYTES as u64).unwrap();
            map.write(range, &[number as u8; FRAME_BYTES], kernel);
            let sequence = host.publish(&RawDescriptor::frame(number % 2, FRAME_BYTES as u64, None)).unwrap();
            while !host.is_processed(sequence) {
                if number < FRAMES {
                    alive();
                }
                std::thread::yield_now();
            }
        }
        reader.join().unwrap();
    }
}
