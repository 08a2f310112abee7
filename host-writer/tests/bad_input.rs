//! Everything a user, a disk or a peer can get wrong: one clear line, a non-zero exit, nothing left behind.

mod common;

use std::fs;
use std::process::Command;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use common::{Place, assert_no_leftovers, complaint, stderr};
use ivshmem_proto::guest::{Event, Guest};
use ivshmem_proto::layout::{GUEST_MAGIC, guest_words as g};
use ivshmem_proto::mapping::Mapping;
use ivshmem_proto::memory::ControlWords as _;
use ivshmem_proto::report::{ClockReport, GuestReport};
use ivshmem_proto::wire::{ClockSource, MapKind, MemoryType, Spin, State};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng as _, SeedableRng as _};

#[test]
fn help_is_stable() {
    let output = Command::new(env!("CARGO_BIN_EXE_host-writer")).arg("--help").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap());
}

#[test]
fn unknown_flags_and_values_are_usage_errors() {
    let place = Place::new();
    for args in [&["--bogus"][..], &["--frames", "8k"], &["--interval", "soon"], &["--messages", "-1"]] {
        let output = place.run_host(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
    }
    assert!(!place.region.exists() && !place.out().exists());
}

#[test]
fn requests_that_make_no_sense_are_refused_before_anything_is_touched() {
    let place = Place::new();
    let nothing = place.run_host(&["--messages", "0", "--frames", "none"]);
    let no_time = place.run_host(&["--timeout", "0"]);
    let too_many = place.run_host(&["--messages", "1000000000"]);
    insta::assert_debug_snapshot!([nothing, no_time, too_many].map(|output| complaint(&place, &output)));
    assert!(!place.region.exists() && !place.out().exists());
}

#[test]
fn regions_of_wrong_size_are_refused() {
    let complaints = [0, 4096, (1 << 20) - 1, 3 << 20].map(|bytes| {
        let place = Place::with_region(bytes);
        let output = place.run_host(&["--frames", "none"]);
        assert_eq!(fs::metadata(&place.region).unwrap().len(), bytes as u64, "left as it was");
        complaint(&place, &output)
    });
    insta::assert_debug_snapshot!(complaints);
}

#[test]
fn a_region_that_is_no_file_is_refused() {
    let mut place = Place::new();
    place.region = "/dev/null".into();
    let device = complaint(&place, &place.run_host(&["--frames", "none"]));
    place.region = "/dev/shm".into();
    let directory = complaint(&place, &place.run_host(&["--frames", "none"]));
    place.region = "/no/such/directory/region".into();
    let nowhere = complaint(&place, &place.run_host(&["--frames", "none"]));
    // Nothing of these is ours to remove.
    place.region = "/dev/shm/ivshmem-test-none".into();
    insta::assert_debug_snapshot!([device, directory, nowhere]);
}

#[test]
fn a_frame_larger_than_a_slot_is_refused_with_both_numbers() {
    let place = Place::with_region(16 << 20);
    insta::assert_debug_snapshot!(complaint(&place, &place.run_host(&["--frames", "4k"])));
}

#[test]
fn no_guest_is_said_after_the_deadline_and_a_region_made_in_vain_goes_again() {
    let place = Place::new();
    let output = place.run_host(&["--guest-timeout", "100ms"]);
    assert!(!place.region.exists());
    assert_eq!(fs::read_dir(place.out()).unwrap().count(), 0);
    insta::assert_debug_snapshot!(complaint(&place, &output));
}

#[test]
fn guest_pages_that_promise_nothing_good_are_explained() {
    let place = Place::with_region(1 << 20);
    let map = Mapping::open(&place.region).unwrap();
    let complaint_with = |words: &[(ivshmem_proto::layout::WordOffset, u64)]| {
        for &(at, value) in words {
            map.store(at, value, Relaxed);
        }
        complaint(&place, &place.run_host(&["--frames", "none", "--guest-timeout", "100ms"]))
    };
    let foreign = complaint_with(&[(g::magic, 0x1234)]);
    let version = complaint_with(&[(g::magic, GUEST_MAGIC), (g::layout_version, 2)]);
    let size = complaint_with(&[(g::layout_version, 1), (g::region_bytes, 4096)]);
    let stale = complaint_with(&[(g::region_bytes, 1 << 20), (g::state, State::Attached.to_wire())]);
    insta::assert_debug_snapshot!([foreign, version, size, stale]);
}

#[test]
fn an_output_directory_that_cannot_be_is_refused_before_the_region_is_touched() {
    let place = Place::new();
    fs::write(place.out(), "in the way").unwrap();
    insta::assert_debug_snapshot!(complaint(&place, &place.run_host(&[])));
    assert!(!place.region.exists());
}

/// Runs host-writer with its output directory on a file system of `kib` KiB, in a mount namespace of its own.
fn on_a_tiny_disk(place: &Place, kib: u32, args: &str) -> std::process::Output {
    fs::create_dir_all(place.out()).unwrap();
    let out = place.out().display().to_string();
    let script = format!(
        "mount -t tmpfs -o size={kib}k none {out} && {} --shm {} --out {out} {args}; code=$?; ls -A {out} >&2; exit $code",
        env!("CARGO_BIN_EXE_host-writer"),
        place.region.display()
    );
    Command::new("unshare").args(["--map-root-user", "--mount", "sh", "-c", &script]).output().unwrap()
}

#[test]
fn a_full_disk_is_noticed_before_the_first_message() {
    let place = Place::with_region(1 << 20);
    let _guest = place.guest(&[]);
    let output = on_a_tiny_disk(&place, 256, "--messages 100000 --frames none");
    insta::assert_debug_snapshot!(complaint(&place, &output));
}

/// A guest double that joins properly and then answers every message with `answer`.
fn lying_guest(
    place: &Place,
    mut answer: impl FnMut(&Mapping, u64, u64) + Send + 'static,
) -> std::thread::JoinHandle<()> {
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
            cpu_features: u64::MAX,
            spin: Spin::None,
            cpu_pinned: None,
            copy_kernel: ivshmem_proto::copy::Kernel::Memcpy,
            candidates: vec![],
            kernel_release: "\x1b[31mred".into(),
            cpu_model: "liar".into(),
            device: "none".into(),
            tool_version: "0".into(),
        }
        .write(&map);
        let mut guest = Guest::announce(&map, map.bytes(), 1);
        let mut joined = false;
        while !(joined && guest.host_closed()) {
            match guest.poll() {
                Event::Invited { session, geometry } => {
                    guest.join(session, geometry);
                    joined = true;
                }
                Event::Ping { word, token } => answer(&map, word, token),
                Event::Frame { word, .. } => answer(&map, word, 0),
                Event::Idle => std::thread::yield_now(),
                other => panic!("{other:?}"),
            }
            guest.beat();
        }
    })
}

#[test]
fn a_guest_that_answers_with_garbage_yields_rows_that_say_so() {
    let place = Place::with_region(1 << 20);
    let mut message = 0;
    let liar = lying_guest(&place, move |map, word, token| {
        message += 1;
        let (status, echo, ack) = match message % 4 {
            // A status of no meaning, a token it cannot have read, an acknowledgement of the future, the truth.
            1 => (u64::MAX, token, word),
            2 => (1, token ^ 1, word),
            3 => (1, token, word + 2),
            _ => (1, token, word),
        };
        map.store(g::status, status, Relaxed);
        map.store(g::token_echo, echo, Relaxed);
        map.store(g::read_ns, u64::MAX, Relaxed);
        map.store(g::processed, ack, Release);
    });
    let args = ["--messages", "8", "--warmup", "0", "--frames", "none", "--timeout", "50ms"];
    let output = place.run_host(&args);
    liar.join().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let cycle = ["protocol_error", "mismatch", "timeout_processed", "ok"];
    assert_eq!(place.statuses("latency_results.csv"), [cycle, cycle].concat());
    assert_eq!(place.run_json()["guest"]["kernel"], "?[31mred");
}

#[test]
fn a_guest_that_scribbles_over_its_whole_page_never_crashes_or_hangs_the_host() {
    let place = Place::with_region(64 << 20);
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    let liar = lying_guest(&place, move |map, word, token| {
        for i in 0..512 {
            let at = g::magic.plus(i);
            // The words that keep the run alive are left alone: identity, echo and heartbeat.
            if ![g::magic, g::layout_version, g::region_bytes, g::session_echo, g::heartbeat].contains(&at) {
                map.store(at, random.next_u64(), Relaxed);
            }
        }
        map.store(g::token_echo, token, Relaxed);
        map.store(g::processed, if random.next_u64() % 2 == 0 { word } else { random.next_u64() }, Release);
        let _ = map.load(g::processed, Acquire);
    });
    let args =
        ["--messages", "20", "--warmup", "0", "--frames", "1080p", "--iterations", "4", "--timeout", "20ms"];
    let output = place.run_host(&args);
    liar.join().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert_eq!(place.rows("latency_results.csv").len(), 20);
    assert_eq!(place.rows("bandwidth_results.csv").len(), 4);
    assert!(place.statuses("bandwidth_results.csv").iter().all(|status| status != "ok"));
    assert_no_leftovers(&place.out());
}

#[test]
fn a_report_of_garbage_is_refused_by_the_name_of_the_word() {
    let place = Place::with_region(1 << 20);
    let map = Mapping::open(&place.region).unwrap();
    let garbage = std::thread::spawn(move || {
        map.store(g::map_kind, 99, Relaxed);
        let mut guest = Guest::announce(&map, map.bytes(), 1);
        loop {
            match guest.poll() {
                Event::Invited { session, geometry } => return guest.join(session, geometry),
                _ => std::thread::yield_now(),
            }
        }
    });
    let output = place.run_host(&["--frames", "none"]);
    garbage.join().unwrap();
    insta::assert_debug_snapshot!(complaint(&place, &output));
}
