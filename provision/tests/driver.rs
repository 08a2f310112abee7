//! The guest's kernel driver: built without a warning for the cached kernel, and tried from inside a micro guest by
//! `driver/trial.c`, which takes guest-reader's place as init: mappings, unbinding under users, rebinding without
//! leaks, memory types, interrupts both ways.
//!
//! Needs the package mirror the first time, gcc and make.

mod common;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::{Place, fail, succeed};
use ivshmem_proto::server_client::join;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{read, write};
use serde_json::{Value, json};

/// Longest wait for an interrupt that takes a millisecond.
const PATIENCE_MS: u16 = 30_000;

fn built(place: &Place) -> (PathBuf, String) {
    let (out, err) = succeed(&mut place.provision(&["driver"]));
    (PathBuf::from(out.trim()), err)
}

/// The value of a key among a module's zero-terminated `key=value` strings.
fn modinfo(module: &[u8], key: &str) -> String {
    let start = format!("{key}=");
    let mut strings = module.split(|byte| *byte == 0);
    let found = strings.find_map(|string| std::str::from_utf8(string).ok()?.strip_prefix(&start));
    found.unwrap_or_else(|| panic!("no {key} in the module")).to_owned()
}

#[test]
fn it_is_built_once_for_the_cached_kernel_and_without_a_warning() {
    let place = Place::new();
    let (path, _) = built(&place);
    let module = fs::read(&path).unwrap();
    let home = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
    let (release, _digest) = home.rsplit_once('-').unwrap();
    assert!(modinfo(&module, "vermagic").starts_with(&format!("{release} ")));
    assert_eq!(modinfo(&module, "alias"), "pci:v00001AF4d00001110sv*sd*bc*sc*i*");
    let (again, said) = built(&place);
    assert_eq!((again, said.as_str()), (path.clone(), ""), "what is cached is not built again");

    // With the headers that were fetched for it, and all that the kernel's own build warns of when asked.
    let headers = path.ancestors().nth(3).unwrap();
    let headers = headers.join(format!("headers/{release}/usr/src/linux-headers-{release}"));
    let source = tempfile::tempdir().unwrap();
    for file in ["ivshmem_uio.c", "Kbuild"] {
        fs::copy(source_directory().join(file), source.path().join(file)).unwrap();
    }
    let mut make = Command::new("make");
    make.arg("-C").arg(headers).arg(format!("M={}", source.path().display()));
    make.args(["--silent", "W=1", "CC=gcc", "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules"])
        .env_remove("MAKEFLAGS");
    assert_eq!(succeed(&mut make), (String::new(), String::new()));

    let copy = tempfile::tempdir().unwrap();
    let out = copy.path().join("new");
    let (said, _) = succeed(place.provision(&["driver", "--out"]).arg(&out));
    assert_eq!(said.trim(), out.join("ivshmem_uio.ko").to_str().unwrap());
    assert_eq!(fs::read(out.join("ivshmem_uio.ko")).unwrap(), module);
}

#[test]
fn a_kernel_that_cannot_be_is_a_usage_error_and_one_that_is_gone_is_told() {
    let place = Place::new();
    fail(&mut place.provision(&["driver", "--kernel-release", "../../etc"]), 2);
    let gone = fail(&mut place.provision(&["driver", "--kernel-release", "6.1.0-0-amd64"]), 1);
    assert!(gone.starts_with("provision: no headers for kernel 6.1.0-0-amd64: "), "{gone}");
}

fn source_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-reader/ivshmem_uio")
}

fn build_trial(directory: &Path) -> PathBuf {
    let program = directory.join("trial");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/driver/trial.c");
    let mut gcc = Command::new("gcc");
    gcc.args(["-static", "-O1", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&program).arg(source);
    succeed(&mut gcc);
    program
}

#[test]
fn it_maps_write_back_survives_unbinding_leaks_nothing_and_counts_interrupts() {
    let place = Place::new();
    let directory = tempfile::tempdir().unwrap();
    let trial = build_trial(directory.path());
    let mut up = place.up(&["--doorbell", "--accel", "tcg", "--timeout", "300", "--json", "--guest-reader"]);
    let (out, _) = succeed(up.arg(trial));
    let vm: Value = serde_json::from_str(&out).unwrap();
    let ready = vm["ready"].as_str().unwrap();
    let fact = |name: &str| {
        let word = ready.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        word.unwrap_or_else(|| panic!("no {name} in {ready}"))
    };

    // Its page tables: the memory is write-back (neither C, cache disable, nor T, write-through), registers are not.
    let tlb = page_table(&place.state().join("micro/qmp.sock"));
    let flags = |at: &str| {
        let start = format!("{:0>16}: ", at.trim_start_matches("0x"));
        let line = tlb.lines().find(|line| line.starts_with(&start));
        line.unwrap_or_else(|| panic!("{at} is not mapped")).rsplit(' ').next().unwrap().to_owned()
    };
    let (memory, registers) = (flags(fact("memory")), flags(fact("registers")));
    assert!(!memory.contains('C') && !memory.contains('T'), "{memory}");
    assert!(registers.contains('C'), "{registers}");

    // Interrupts: the guest counts each and rings back.
    let server = vm["doorbell"]["socket"].as_str().unwrap();
    let host = join(Path::new(server), 2, Duration::from_secs(30)).unwrap();
    let guest: u16 = fact("peer").parse().unwrap();
    let bells = &host.table.peers[&guest];
    let region = File::options().read(true).write(true).open(place.region()).unwrap();
    let poke = |word: u64, value: u32| region.write_all_at(&value.to_le_bytes(), word * 4).unwrap();
    poke(1, host.table.own_id.into());
    poke(2, 1);
    for expected in 1..=5_u32 {
        write(&bells[0], &1_u64.to_le_bytes()).unwrap();
        wait_for(&host.table.own[0]);
        let mut count = [0; 4];
        region.read_exact_at(&mut count, 0).unwrap();
        assert_eq!(u32::from_le_bytes(count), expected);
    }
    succeed(&mut place.provision(&["down"]));
    place.assert_clean();
}

/// Waits until the eventfd was rung, and resets it.
fn wait_for(bell: impl AsFd) {
    let mut fds = [PollFd::new(bell.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut fds, PollTimeout::from(PATIENCE_MS)).unwrap(), 1, "the guest did not ring back");
    let mut count = [0; 8];
    read(bell.as_fd(), &mut count).unwrap();
}

/// All that the page tables in force map, as QEMU's monitor prints it.
fn page_table(monitor: &Path) -> String {
    let stream = UnixStream::connect(monitor).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut ask = |command: Value| {
        writeln!(&stream, "{command}").unwrap();
        loop {
            let answer: Value = serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap();
            if let Some(value) = answer.get("return") {
                return value.clone();
            }
        }
    };
    ask(json!({"execute": "qmp_capabilities"}));
    let tlb = ask(json!({"execute": "human-monitor-command", "arguments": {"command-line": "info tlb"}}));
    tlb.as_str().unwrap().replace('\r', "")
}
