//! Everything a user, a disk or a peer can get wrong: one clear line, a non-zero exit, nothing left behind.

mod common;

use std::fs;
use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;

use common::{Place, assert_no_leftovers, complaint, stderr};
use ivshmem_proto::copy::Kernel;
use ivshmem_proto::guest::{Event, Guest};
use ivshmem_proto::layout::{GUEST_MAGIC, LAYOUT_VERSION, guest_words as g};
use ivshmem_proto::mapping::Mapping;
use ivshmem_proto::memory::ControlWords as _;
use ivshmem_proto::wire::State;

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
    assert!(!place.region.exists() && !place.out().exists());
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
    let version = complaint_with(&[(g::magic, GUEST_MAGIC), (g::layout_version, 1)]);
    let size = complaint_with(&[(g::layout_version, LAYOUT_VERSION), (g::region_bytes, 4096)]);
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

#[test]
fn what_no_slot_can_hold_is_refused_with_what_would_fit() {
    let place = Place::with_region(1 << 20);
    let complaints = [
        &["--mode", "chunked", "--sizes", "4KiB", "--chunk", "1MiB"][..],
        &["--mode", "stream", "--sizes", "256KiB", "--slots", "8"],
        &["--sizes", "2MiB"],
        &["--sizes", "1TiB"],
        &["--sizes", "600000", "--direction", "both"],
    ]
    .map(|args| complaint(&place, &place.run_host(args)));
    insta::assert_debug_snapshot!(complaints);
    assert!(!place.out().exists());
}

#[test]
fn options_that_contradict_each_other_are_one_line_and_nothing_is_touched() {
    let place = Place::new();
    let complaints = [
        &["--mode", "chunked", "--chunk", "100"][..],
        &["--chunk", "4KiB"],
        &["--mode", "stream", "--slots", "16"],
        &["--mode", "stream", "--slots", "0"],
        &["--payload", "5KiB"],
        &["--arrivals", "poisson"],
        &["--one-way", "--record", "histogram"],
        &["--one-way", "--duration", "1s"],
        &["--direction", "both", "--mode", "stream"],
        &["--consume", "scan", "--verify", "xxh3"],
        &["--iterations", "18446744073709551615"],
    ]
    .map(|args| complaint(&place, &place.run_host(args)));
    insta::assert_debug_snapshot!(complaints);
    let no_chunk = stderr(&place.run_host(&["--mode", "chunked", "--chunk", "0"]));
    let line = "a chunk of 0 bytes moves nothing; write a multiple of 64, for example 256KiB";
    assert!(no_chunk.contains(line), "{no_chunk}");
    for args in [
        &["--mode", "chunked", "--chunk", "0"][..],
        &["--sizes", "4K"],
        &["--fps", "0.00000000000000000000001"],
        &["--fifo", "100"],
        &["--load", "gpu=1"],
    ] {
        let output = place.run_host(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
    }
    assert!(!place.region.exists() && !place.out().exists());
}

#[test]
fn a_cpu_that_is_not_there_is_named_beside_those_that_are() {
    let place = Place::with_region(1 << 20);
    let (code, line) = complaint(&place, &place.run_host(&["--frames", "none", "--cpu", "1023"]));
    assert_eq!(code, Some(2));
    assert!(line.starts_with("host-writer: cannot run on CPU 1023 (EINVAL"), "{line}");
    assert!(line.contains("this process may use [0"), "{line}");
    assert_no_leftovers(&place.out());
}

#[test]
fn a_copy_kernel_that_this_cpu_lacks_is_refused() {
    let place = Place::new();
    for kernel in Kernel::ALL.iter().filter(|kernel| !kernel.is_available()) {
        let (code, line) = complaint(&place, &place.run_host(&["--copy", kernel.name()]));
        assert_eq!(code, Some(2));
        assert!(line.contains("this CPU lacks the instructions"), "{line}");
    }
}

#[test]
fn a_rate_so_high_that_its_rows_fit_no_disk_is_said_before_the_first_message() {
    let place = Place::with_region(1 << 20);
    let args =
        ["--messages", "0", "--mode", "stream", "--sizes", "64", "--fps", "1000M", "--duration", "10000days"];
    let (code, line) = complaint(&place, &place.run_host(&args));
    assert_eq!(code, Some(1));
    assert!(line.contains("no room for"), "{line}");
    assert_no_leftovers(&place.out());
}

#[test]
fn samples_that_fit_no_memory_are_refused() {
    let place = Place::with_region(1 << 20);
    let _guest = place.guest(&[]);
    let output = Command::new("prlimit")
        .args(["--as=1000000000", env!("CARGO_BIN_EXE_host-writer"), "--shm"])
        .arg(&place.region)
        .arg("--out")
        .arg(place.out())
        .args(["--messages", "20000000", "--frames", "none"])
        .output()
        .unwrap();
    insta::assert_debug_snapshot!(complaint(&place, &output));
}

#[test]
fn privileges_and_programs_that_are_missing_are_named() {
    let place = Place::with_region(1 << 20);
    let _guest = place.guest(&[]);
    let quick = ["--messages", "10", "--frames", "none"];
    let no_stress_ng =
        place.host(&quick).args(["--load", "cpu=1"]).env("PATH", "/nonexistent").output().unwrap();
    let without = |capability: &str, limit: &str, option: &[&str]| {
        let output = Command::new("prlimit")
            .args([
                limit,
                "setpriv",
                &format!("--bounding-set=-{capability}"),
                env!("CARGO_BIN_EXE_host-writer"),
                "--shm",
            ])
            .arg(&place.region)
            .arg("--out")
            .arg(place.out())
            .args(quick)
            .args(option)
            .output()
            .unwrap();
        complaint(&place, &output)
    };
    let no_priority = without("sys_nice", "--rtprio=0", &["--fifo", "10"]);
    let no_locked_memory = without("ipc_lock", "--memlock=65536", &["--mlock"]);
    insta::assert_debug_snapshot!([complaint(&place, &no_stress_ng), no_priority, no_locked_memory]);
    assert!(!place.out().exists());
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
