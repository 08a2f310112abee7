//! A guest in this process that keeps to the protocol where a test does not say otherwise, without reading a byte.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ivshmem_proto::copy::Kernel;
use ivshmem_proto::descriptor::Descriptor;
use ivshmem_proto::doorbell::{GuestWait, Ring};
use ivshmem_proto::guest::{Done, Event, Guest};
use ivshmem_proto::mapping::Mapping;
use ivshmem_proto::report::{ClockReport, CopyRate, GuestReport, Rate, RateReport};
use ivshmem_proto::wire::{ClockSource, MapKind, MemoryType, Spin, Status, Verdict};

use super::Place;

/// Rates that any machine could have.
pub fn rates(bytes_per_s: u64) -> RateReport {
    let rate = Rate { typical: bytes_per_s, best: bytes_per_s };
    RateReport {
        bytes: 4096,
        chosen: Some(Kernel::Memcpy),
        scan_region_bytes_per_s: bytes_per_s,
        scan_anon_bytes_per_s: bytes_per_s,
        candidates: vec![CopyRate { kernel: Kernel::Memcpy, region: rate, anon: rate, write: rate }],
    }
}

/// The answer that the host hopes for.
pub fn answer(map: &Mapping, guest: &mut Guest<'_, Mapping>, event: Event) {
    match event {
        Event::Ping { word, token } => guest.complete_ping(word, token),
        Event::Message { word, descriptor: Descriptor::Ping { token, .. } } => {
            guest.complete_short(word, Status::Ok, token, 1);
        }
        Event::Message { word, descriptor: Descriptor::Measure { .. } } => {
            rates(10_000_000_000).write(map);
            guest.complete(word, &Done::default());
        }
        Event::Message { word, descriptor: Descriptor::Frame { .. } } => {
            guest.complete(word, &Done { copy_ns: 1_000_000, ..Done::default() });
            guest.judge(word, Verdict::Match, 1000, None);
        }
        Event::Message { word, .. } => guest.complete(word, &Done::default()),
        _ => {}
    }
}

/// A guest that joins properly and then leaves every message to `reply`. It ends when the host closes its session.
pub fn guest(
    place: &Place,
    reply: impl FnMut(&Mapping, &mut Guest<'_, Mapping>, Event) + Send + 'static,
) -> JoinHandle<()> {
    guest_rung(place, GuestWait::POLL, None, reply)
}

/// The same for one that says that it waits as told and is rung at `ring`.
pub fn guest_rung(
    place: &Place,
    wait: GuestWait,
    ring: Option<Ring>,
    mut reply: impl FnMut(&Mapping, &mut Guest<'_, Mapping>, Event) + Send + 'static,
) -> JoinHandle<()> {
    let map = Mapping::open(&place.region).unwrap();
    std::thread::spawn(move || {
        GuestReport {
            map_kind: MapKind::File,
            memory_type: MemoryType::Unknown,
            clock: ClockReport {
                source: ClockSource::ClockMonotonic,
                frequency_hz: 1e9,
                resolution_ns: 1.0,
                overhead_ns: 1.0,
            },
            stamp_source: None,
            stamp_frequency_hz: 1e9,
            cpu_features: u64::MAX,
            spin: Spin::None,
            spin_sleep_ns: 0,
            wait,
            ring,
            thread: None,
            cpu_pinned: None,
            rates: rates(10_000_000_000),
            kernel_release: "\x1b[31mred".into(),
            cpu_model: "liar".into(),
            device: "none".into(),
            tool_version: "0".into(),
        }
        .write(&map);
        let mut guest = Guest::announce(&map, map.bytes(), 1);
        let (mut joined, deadline) = (false, Instant::now() + Duration::from_secs(120));
        while !(joined && guest.host_closed()) && Instant::now() < deadline {
            match guest.poll() {
                Event::Invited { session, geometry } => {
                    guest.join(session, geometry);
                    joined = true;
                }
                Event::Idle => std::thread::yield_now(),
                event @ (Event::Ping { .. } | Event::Message { .. }) => reply(&map, &mut guest, event),
                other => panic!("{other:?}"),
            }
            guest.beat();
        }
    })
}
