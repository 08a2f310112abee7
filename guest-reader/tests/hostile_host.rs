//! The loop that answers, over a mapped file, against a host that does what no host should. Nothing may hang: every wait
//! has a deadline, and the guest goes on serving.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use guest_reader::choice::KernelChoice;
use guest_reader::inject::Faults;
use guest_reader::serve::{STALL_LIMIT, Server};
use ivshmem_proto::clock::Clock;
use ivshmem_proto::copy::Kernel;
use ivshmem_proto::descriptor::{DescriptorError, FETCH_SHIFT_BYTES_MAX, Operation, RawDescriptor};
use ivshmem_proto::doorbell::GuestWait;
use ivshmem_proto::geometry::Geometry;
use ivshmem_proto::guest::Guest;
use ivshmem_proto::host::{Host, Outcome, Presence};
use ivshmem_proto::layout::SIGNATURE_MAGIC;
use ivshmem_proto::mapping::Mapping;
use ivshmem_proto::memory::Payload as _;
use ivshmem_proto::pattern::{check_pattern, check_pattern_from, fill_pattern};
use ivshmem_proto::region_file::ensure;
use ivshmem_proto::report::{ClockReport, GuestReport, RateReport};
use ivshmem_proto::wire::{ClockSource, Digest, Kind, MapKind, MemoryType, Spin, Status, Verdict};

/// Much longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until `ready` yields something.
fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "the guest never {what}");
        std::thread::yield_now();
    }
}

/// A guest that serves a file of its own, in a thread.
struct Served {
    _dir: tempfile::TempDir,
    path: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    fn start(region_bytes: u64) -> Self {
        Self::with_stall_limit(region_bytes, STALL_LIMIT)
    }

    fn with_stall_limit(region_bytes: u64, stall_limit: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("region");
        ensure(&path, region_bytes).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (path, stop) = (path.clone(), Arc::clone(&stop));
            move || serve(&path, stall_limit, &stop)
        });
        Self { _dir: dir, path, stop, thread: Some(thread) }
    }

    /// Asks the guest to stop and waits until it has.
    fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().unwrap();
        until("stopped", || thread.is_finished().then_some(()));
        thread.join().unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn report() -> GuestReport {
    GuestReport {
        map_kind: MapKind::Resource2Wc,
        memory_type: MemoryType::WriteBack,
        clock: ClockReport::from(&Clock::of(ClockSource::ClockMonotonic)),
        stamp_source: None,
        stamp_frequency_hz: 1e9,
        cpu_features: 0,
        spin: Spin::Sleep,
        spin_sleep_ns: 20_000,
        wait: GuestWait::POLL,
        ring: None,
        thread: None,
        cpu_pinned: None,
        rates: RateReport::default(),
        kernel_release: "6.1".into(),
        cpu_model: "some CPU".into(),
        device: "0000:00:03.0".into(),
        tool_version: "1".into(),
    }
}

fn serve(path: &Path, stall_limit: Duration, stop: &AtomicBool) {
    let map = Mapping::open(path).unwrap();
    let clock = Clock::of(ClockSource::ClockMonotonic);
    let server = Server {
        map: &map,
        report: &report(),
        guest: Guest::announce(&map, map.bytes(), 1),
        clock,
        stamp: clock,
        kernels: KernelChoice::default(),
        spin: Spin::Sleep,
        sleep: Duration::from_micros(20),
        doorbell: None,
        stall_limit,
        faults: Faults::new(None),
    };
    server.serve(stop, |_| ());
}

/// Opens a session and waits until the guest serves it.
fn open<'m>(map: &'m Mapping, geometry: &Geometry, random: u64) -> Host<'m, Mapping> {
    let host = Host::open(map, geometry, random);
    until("joined", || matches!(host.presence(), Presence::Attached { .. }).then_some(()));
    host
}

/// Waits for PROCESSED of a message of the ring.
fn outcome(host: &Host<'_, Mapping>, sequence: u64) -> Outcome {
    until("answered", || host.is_processed(sequence).then_some(()));
    host.outcome(sequence).expect("processed without a result")
}

fn status(host: &Host<'_, Mapping>, sequence: u64) -> Option<Status> {
    outcome(host, sequence).status
}

/// Waits until the guest, busy with a message, has looked for more of it and found nothing.
fn until_it_waits(host: &Host<'_, Mapping>) {
    let before = host.guest_heartbeat();
    until("waited for the watermark", || (host.guest_heartbeat() > before + 1).then_some(()));
}

const CHUNKED: Operation = Operation { chunked: true, ..Operation::of(Kind::Frame) };

/// A chunked frame whose first `valid` bytes are announced.
fn publish_chunked(host: &mut Host<'_, Mapping>, length: u64, token: u64, valid: u64) -> u64 {
    host.begin_chunks();
    host.advance(host.next_sequence(), valid);
    let operation = Operation { digest: Digest::Pattern, ..CHUNKED };
    let sequence = host.publish(&RawDescriptor::of(operation, length, token, [0; 4])).unwrap();
    until("saw the message", || host.is_received(sequence).then_some(()));
    sequence
}

#[test]
fn a_watermark_that_runs_backwards_or_beyond_the_length_moves_no_byte_twice_and_none_beyond() {
    let served = Served::start(1 << 20);
    let map = Mapping::open(&served.path).unwrap();
    let geometry = Geometry::for_payload(map.bytes(), 0).unwrap();
    let mut host = open(&map, &geometry, 7);
    let mut payload = vec![0; 10_001];
    fill_pattern(&mut payload, 3);
    let range = geometry.payload(0, 10_001).unwrap();
    map.write(range.part(0, 4096).unwrap(), &payload[..4096], Kernel::Memcpy);
    let sequence = publish_chunked(&mut host, 10_001, 3, 4096);
    for bytes in [64, 0, 4096, 1] {
        host.advance(sequence, bytes);
        until_it_waits(&host);
        assert!(!host.is_processed(sequence), "done before the bytes were there");
    }
    map.write(range, &payload, Kernel::Memcpy);
    host.advance(sequence, u64::MAX);
    assert_eq!(status(&host, sequence), Some(Status::Ok));
    let judged = until("judged", || host.verdict(sequence));
    assert_eq!((judged.verdict, judged.mismatch_offset), (Some(Verdict::Match), None));
    served.stop();
}

#[test]
fn a_message_given_up_in_the_middle_is_left_and_the_next_one_served() {
    let served = Served::start(1 << 20);
    let map = Mapping::open(&served.path).unwrap();
    let geometry = Geometry::for_payload(map.bytes(), 0).unwrap();
    let mut host = open(&map, &geometry, 7);
    let sequence = publish_chunked(&mut host, 8192, 3, 4096);
    until_it_waits(&host);
    host.retract(sequence);
    assert_eq!(status(&host, sequence), Some(Status::Superseded));
    // A mark of the next message alone moves nobody who waits for this one.
    let sequence = publish_chunked(&mut host, 8192, 3, 4096);
    host.begin_chunks();
    host.advance(sequence + 1, 8192);
    until_it_waits(&host);
    assert!(!host.is_processed(sequence));
    host.advance(sequence, 8192);
    assert_eq!(status(&host, sequence), Some(Status::Ok));
    served.stop();
}

#[test]
fn a_host_that_comes_back_while_the_guest_waits_for_more_of_a_frame_is_served() {
    let served = Served::start(1 << 20);
    let map = Mapping::open(&served.path).unwrap();
    let geometry = Geometry::for_payload(map.bytes(), 0).unwrap();
    let mut first = open(&map, &geometry, 7);
    let sequence = publish_chunked(&mut first, 8192, 3, 4096);
    until_it_waits(&first);
    // Dead. Its successor's first message has the same number.
    let mut second = Host::open(&map, &geometry, 8);
    second.begin_chunks();
    assert_eq!(second.next_sequence(), sequence);
    until("joined", || matches!(second.presence(), Presence::Attached { .. }).then_some(()));
    assert_eq!((second.outcome(sequence), second.guest_watermark(sequence)), (None, None));
    assert_eq!(first.outcome(sequence).unwrap().status, Some(Status::Superseded));
    let again = publish_chunked(&mut second, 8192, 3, 8192);
    assert_eq!((again, status(&second, again)), (sequence, Some(Status::Ok)));
    served.stop();
}

#[test]
fn a_frame_whose_watermark_stands_still_is_stalled_and_the_next_one_is_served() {
    let limit = Duration::from_millis(100);
    let served = Served::with_stall_limit(1 << 20, limit);
    let map = Mapping::open(&served.path).unwrap();
    let geometry = Geometry::for_payload(map.bytes(), 0).unwrap();
    let mut host = open(&map, &geometry, 7);
    let sequence = publish_chunked(&mut host, 8192, 3, 4096);
    let stalled = outcome(&host, sequence);
    assert_eq!(stalled.status, Some(Status::Stalled));
    assert!(u128::from(stalled.stall_ns) >= limit.as_nanos(), "{stalled:?}");
    assert_eq!(host.verdict(sequence), None, "there is nothing to check");
    // What comes too late moves nobody.
    host.advance(sequence, 8192);
    let next = publish_chunked(&mut host, 8192, 3, 8192);
    assert_eq!(status(&host, next), Some(Status::Ok));
    served.stop();
}

#[test]
fn a_guest_that_waits_for_more_of_a_frame_stops_on_request() {
    let served = Served::start(1 << 20);
    let map = Mapping::open(&served.path).unwrap();
    let geometry = Geometry::for_payload(map.bytes(), 0).unwrap();
    let mut host = open(&map, &geometry, 7);
    publish_chunked(&mut host, 8192, 3, 4096);
    until_it_waits(&host);
    served.stop();
    assert_eq!(host.presence(), Presence::Announced);
}

#[test]
fn nothing_is_fetched_that_was_not_produced() {
    let served = Served::start(1 << 20);
    let map = Mapping::open(&served.path).unwrap();
    let geometry = Geometry::for_payload(map.bytes(), 0).unwrap();
    let mut host = open(&map, &geometry, 7);
    let mut ask = |operation: Operation, length, token| {
        let sequence = host.publish(&RawDescriptor::of(operation, length, token, [0; 4])).unwrap();
        let status = status(&host, sequence).unwrap();
        let mut bytes = vec![0; length as usize];
        map.read(geometry.payload(0, length).unwrap(), &mut bytes, Kernel::Memcpy);
        (status, host.guest_watermark(sequence), bytes)
    };
    let fetch = Operation::of(Kind::Fetch);
    let (untouched, nothing) = (vec![0; 1001], vec![0; 1000]);
    assert_eq!(ask(fetch, 1000, 0), (Status::Unsupported, None, nothing));
    assert_eq!(ask(Operation::of(Kind::Produce), 1000, 5).0, Status::Ok);
    assert_eq!(ask(fetch, 1001, 0), (Status::Unsupported, None, untouched));
    let (status, mark, bytes) = ask(fetch, 1000, 0);
    assert_eq!((status, mark, check_pattern(&bytes, 5)), (Status::Ok, None, None));
    for chunk_bytes in [1, 64, 999, 1000, 1001, u64::MAX] {
        assert_eq!(ask(Operation::of(Kind::Produce), 1000, chunk_bytes).0, Status::Ok);
        let (status, mark, bytes) = ask(Operation { chunked: true, ..fetch }, 1000, chunk_bytes);
        assert_eq!((status, mark, check_pattern(&bytes, chunk_bytes)), (Status::Ok, Some(1000), None));
    }
    // Less than before was produced: the rest of it is gone.
    assert_eq!(ask(Operation::of(Kind::Produce), 10, 5).0, Status::Ok);
    assert_eq!(ask(fetch, 11, 0).0, Status::Unsupported);
    served.stop();
}

#[test]
fn a_fetch_begins_where_in_the_pattern_it_is_asked_to() {
    let served = Served::start(1 << 20);
    let map = Mapping::open(&served.path).unwrap();
    let geometry = Geometry::for_payload(map.bytes(), 0).unwrap();
    let mut host = open(&map, &geometry, 7);
    let produce = RawDescriptor::of(Operation::of(Kind::Produce), 1001, 5, [0; 4]);
    let sequence = host.publish(&produce).unwrap();
    assert_eq!(status(&host, sequence), Some(Status::Ok));
    for chunked in [false, true] {
        for shift_bytes in [0, 64, FETCH_SHIFT_BYTES_MAX] {
            let operation = Operation { chunked, ..Operation::of(Kind::Fetch) };
            let fetch = RawDescriptor::of(operation, 1001, 100, [shift_bytes as u64, 0, 0, 0]);
            let sequence = host.publish(&fetch).unwrap();
            assert_eq!(status(&host, sequence), Some(Status::Ok));
            let mut bytes = vec![0; 1001];
            map.read(geometry.payload(0, 1001).unwrap(), &mut bytes, Kernel::Memcpy);
            assert_eq!(check_pattern_from(&bytes, 5, shift_bytes / 8), None, "{shift_bytes} {chunked}");
        }
    }
    served.stop();
}

#[test]
fn a_guest_stops_writing_into_a_slot_when_the_fetch_is_given_up() {
    let served = Served::start(32 << 20);
    let map = Mapping::open(&served.path).unwrap();
    let geometry = Geometry::for_payload(map.bytes(), 0).unwrap();
    let mut host = open(&map, &geometry, 7);
    let length = geometry.slot_bytes();
    let produce = host.publish(&RawDescriptor::of(Operation::of(Kind::Produce), length, 5, [0; 4])).unwrap();
    assert_eq!(status(&host, produce), Some(Status::Ok));
    let fetch = Operation { chunked: true, ..Operation::of(Kind::Fetch) };
    until("was caught in the middle of a fetch", || {
        let sequence = host.publish(&RawDescriptor::of(fetch, length, 1, [0; 4])).unwrap();
        until("began to write", || host.guest_watermark(sequence));
        host.retract(sequence);
        let status = status(&host, sequence).unwrap();
        let written = host.guest_watermark(sequence).unwrap();
        // Ok when it was done before it was given up: then once more.
        (status == Status::Superseded)
            .then(|| assert!(written < length, "{written} bytes written all the same"))
    });
    served.stop();
}

#[test]
fn a_kernel_this_cpu_cannot_run_is_refused_and_not_run() {
    let Some(&kernel) = Kernel::ALL.iter().find(|kernel| !kernel.is_available()) else { return };
    let served = Served::start(1 << 20);
    let map = Mapping::open(&served.path).unwrap();
    let geometry = Geometry::for_payload(map.bytes(), 0).unwrap();
    let mut host = open(&map, &geometry, 7);
    for kind in [Kind::Produce, Kind::Frame, Kind::Fetch] {
        let operation = Operation { kernel: Some(kernel), digest: Digest::Pattern, ..Operation::of(kind) };
        let sequence = host.publish(&RawDescriptor::of(operation, 100, 5, [0; 4])).unwrap();
        // What is produced is not copied.
        let expected = if kind == Kind::Produce { Status::Ok } else { Status::Unsupported };
        assert_eq!((status(&host, sequence), host.verdict(sequence)), (Some(expected), None));
    }
    served.stop();
}

#[test]
fn arbitrary_requests_are_all_answered_and_the_hosts_page_stays_the_hosts() {
    let served = Served::start(64 << 10);
    let map = Mapping::open(&served.path).unwrap();
    let geometry = Geometry::for_payload(map.bytes(), 0).unwrap();
    let mut host = open(&map, &geometry, 7);
    // Xorshift64 (Marsaglia 2003): the same requests in every run.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut refused = 0;
    for _ in 0..400 {
        let kind = random() % 7;
        let raw = RawDescriptor {
            // Mostly known digests, kernels and slots, sometimes a bit where none belongs.
            operation: random() & random() & 0x1D0F_0001_0700 | kind,
            length: (random() % (2 * geometry.slot_bytes())) >> (random() % 16),
            token: random() >> (random() % 64),
            signature_magic: if random() % 8 == 0 { random() } else { SIGNATURE_MAGIC },
            digest: [random(); 4],
        };
        // A chunked frame that never comes would be waited for.
        host.begin_chunks();
        host.advance(host.next_sequence(), random());
        let sequence = host.publish(&raw).unwrap();
        let deadline = Instant::now() + DEADLINE;
        while !host.is_processed(sequence) {
            assert!(Instant::now() < deadline, "no answer to {raw:?}");
            host.advance(sequence, random());
            std::thread::yield_now();
        }
        let short =
            Operation::from_wire(raw.operation).is_some_and(|o| matches!(o.kind, Kind::Ping | Kind::Inline));
        if short {
            assert!(host.processed().status.is_some());
            continue;
        }
        let status = host.outcome(sequence).unwrap().status.unwrap();
        let valid: Result<_, DescriptorError> = raw.validate(&geometry);
        assert_eq!(valid.is_err(), status == Status::BadDescriptor, "{raw:?}: {status}");
        refused += u32::from(valid.is_err());
    }
    assert!((50..350).contains(&refused), "{refused} of 400 refused: a poor mixture");
    assert_eq!(host.mend(), None);
    served.stop();
}

#[test]
fn a_guest_that_joins_tells_of_itself_whoever_wrote_its_page_meanwhile() {
    let served = Served::start(1 << 20);
    let map = Mapping::open(&served.path).unwrap();
    let geometry = Geometry::for_payload(1 << 20, 0).unwrap();
    drop(open(&map, &geometry, 1));
    let visitor = GuestReport { map_kind: MapKind::File, device: "none".into(), ..report() };
    visitor.write(&map);
    assert_eq!(GuestReport::read(&map).unwrap().map_kind, MapKind::File);
    let _host = open(&map, &geometry, 2);
    let (told, own) = (GuestReport::read(&map).unwrap(), report());
    assert_eq!((told.map_kind, told.device), (own.map_kind, own.device));
    served.stop();
}
