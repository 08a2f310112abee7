//! What a user of guest-reader sees: help, and one clear line for everything that cannot work.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ivshmem_proto::guest::Guest;
use ivshmem_proto::layout::guest_words;
use ivshmem_proto::mapping::Mapping;
use ivshmem_proto::memory::ControlWords as _;

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_guest-reader")).args(args).output().unwrap()
}

/// A file in /dev/shm that goes when the test ends.
struct File(PathBuf);

impl File {
    fn new(name: &str, bytes: usize) -> Self {
        let path = PathBuf::from(format!("/dev/shm/ivshmem-guest-test-{}-{name}", std::process::id()));
        std::fs::write(&path, vec![0; bytes]).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn help_is_stable() {
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap());
}

#[test]
fn a_host_without_the_device_says_what_to_do() {
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(String::from_utf8(output.stderr).unwrap());
}

#[test]
fn what_cannot_be_mapped_is_one_clear_line() {
    let (empty, odd) = (File::new("empty", 0), File::new("odd", 3 << 20));
    let lines =
        [&["--map", empty.path()][..], &["--map", odd.path()], &["--map", "/no/such/region"]].map(|args| {
            let output = run(args);
            assert_eq!(output.status.code(), Some(1));
            let text = String::from_utf8(output.stderr).unwrap();
            assert_eq!(text.lines().count(), 1, "{text}");
            text.replace(empty.path(), "EMPTY").replace(odd.path(), "ODD")
        });
    insta::assert_debug_snapshot!(lines);
}

#[test]
fn wrong_usage_exits_with_2_a_cpu_that_is_not_there_too() {
    for args in [&["--map", "nonsense"][..], &["--inject", "explode"], &["--spin", "sleep"], &["--bogus"]] {
        assert_eq!(run(args).status.code(), Some(2), "{args:?}");
    }
    let region = File::new("cpu", 1 << 20);
    let output = run(&["--map", region.path(), "--cpu", "1023"]);
    assert_eq!(output.status.code(), Some(2));
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.starts_with("guest-reader: cannot run on CPU 1023 (EINVAL"), "{line}");
}

#[test]
fn a_failure_is_told_to_the_ready_port_in_one_line() {
    let port = File::new("port", 0);
    let output = run(&["--map", "/no/such/region", "--ready-port", port.path()]);
    assert_eq!(output.status.code(), Some(1));
    let told = std::fs::read_to_string(&port.0).unwrap();
    assert!(told.starts_with("FAILED ") && told.lines().count() == 1, "{told}");
}

#[test]
fn a_region_that_another_guest_serves_is_left_to_it() {
    let region = File::new("served", 1 << 20);
    let stop = Arc::new(AtomicBool::new(false));
    // As a virtual machine's, which holds no lock here.
    let other = std::thread::spawn({
        let (map, stop) = (Mapping::open(&region.0).unwrap(), Arc::clone(&stop));
        move || {
            let mut guest = Guest::announce(&map, map.bytes(), 1);
            while !stop.load(Ordering::Relaxed) {
                guest.beat();
                std::thread::yield_now();
            }
        }
    });
    let map = Mapping::open(&region.0).unwrap();
    while map.load(guest_words::heartbeat, Ordering::Relaxed) == 0 {
        std::thread::yield_now();
    }
    let output = run(&["--map", region.path()]);
    stop.store(true, Ordering::Relaxed);
    other.join().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let line = String::from_utf8(output.stderr).unwrap();
    let expected = "guest-reader: another guest serves this region (";
    assert!(line.starts_with(expected) && line.ends_with("): stop it first\n"), "{line}");
    assert_eq!(map.load(guest_words::incarnation, Ordering::Relaxed), 1, "its page is its own");
}
