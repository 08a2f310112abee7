//! Two threads, one mapped file, frames that are all one byte value: whatever a reader has in private memory when
//! it says PROCESSED must be one whole frame, the one whose sequence it answers.

use std::path::Path;

use ivshmem_proto::copy::Kernel;
use ivshmem_proto::descriptor::{Descriptor, Operation, RawDescriptor};
use ivshmem_proto::geometry::Geometry;
use ivshmem_proto::guest::{Done, Event, Guest};
use ivshmem_proto::host::{Host, Presence, Reached};
use ivshmem_proto::mapping::Mapping;
use ivshmem_proto::memory::Payload as _;
use ivshmem_proto::region_file::ensure;
use ivshmem_proto::wire::Kind;
use ivshmem_proto::word::sequence_of;

const FRAME_BYTES: usize = 200_000;
const FRAMES: u64 = 400;
const CHUNK_BYTES: usize = 7_040;

fn guest(path: &Path, kernel: Kernel) {
    let map = Mapping::open(path).unwrap();
    let mut guest = Guest::announce(&map, map.bytes(), 1);
    let mut private = vec![0; FRAME_BYTES];
    loop {
        match guest.poll() {
            Event::Idle => std::thread::yield_now(),
            Event::Invited { session, geometry } => guest.join(session, geometry),
            Event::Message { word, descriptor: Descriptor::Frame { range, chunked, .. } } => {
                let mut done = 0;
                while done < FRAME_BYTES {
                    let valid =
                        if chunked { guest.watermark(word).unwrap_or(0) as usize } else { FRAME_BYTES };
                    if valid == done {
                        std::thread::yield_now();
                    }
                    map.read(range.part(done, valid - done).unwrap(), &mut private[done..valid], kernel);
                    done = valid;
                }
                let expected = sequence_of(word) as u8;
                let torn = private.iter().position(|&b| b != expected);
                assert_eq!(torn, None, "frame {} is torn under {kernel}", sequence_of(word));
                assert!(guest.is_current(word));
                guest.complete(word, &Done::default());
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
            // Two in flight: a slot is free again when the frame before the last has been processed.
            while number > 2 && host.processed_up_to() < Reached::UpTo(number - 2) {
                alive();
                std::thread::yield_now();
            }
            let range = geometry.payload(number % 2, FRAME_BYTES as u64).unwrap();
            let frame = [number as u8; FRAME_BYTES];
            let chunked = number % 3 == 0;
            let operation = Operation { slot: (number % 2) as u16, chunked, ..Operation::of(Kind::Frame) };
            let descriptor = RawDescriptor::of(operation, FRAME_BYTES as u64, 0, [0; 4]);
            if !chunked {
                map.write(range, &frame, kernel);
                host.publish(&descriptor).unwrap();
                continue;
            }
            host.begin_chunks();
            let sequence = host.publish(&descriptor).unwrap();
            for (index, chunk) in frame.chunks(CHUNK_BYTES).enumerate() {
                let start = index * CHUNK_BYTES;
                map.write(range.part(start, chunk.len()).unwrap(), chunk, kernel);
                host.advance(sequence, (start + chunk.len()) as u64);
            }
        }
        reader.join().unwrap();
    }
}
