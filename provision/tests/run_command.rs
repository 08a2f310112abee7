//! `provision run` with a host-writer of the test's own, against a real sshd behind which shell scripts play sudo
//! and systemd. No VM runs.

#[path = "common/sshd.rs"]
mod sshd;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sshd::{Vm, install};
use tempfile::TempDir;

/// Runs the unit until it is stopped, and then what follows its end. The load holds a lock while it runs.
const SYSTEMD_RUN: &str = r#"#!/bin/sh
here=${0%/*} log=/dev/null post=:
while :; do case $1 in
    StandardError=*) log=${1#StandardError=append:}; shift ;;
    ExecStopPost=*) post=${1#ExecStopPost=/bin/sh -c }; shift ;;
    --unit=ivshmem-guest-load.service) lock=$here/loaded; shift ;;
    -*|Type=*|TimeoutStopSec=*) shift ;;
    *) break ;;
esac; done
if [ -n "$lock" ]; then
    (flock 9; "$@" 3>&- 9>&-; :) 9>"$lock" >/dev/null </dev/null 2>&1 &
    exit 0
fi
("$@" 2>"$log"; eval "sh -c $post") 3>&- >/dev/null </dev/null 2>&1 &
"#;

/// `stop` waits for the end, which gives the lock free.
const SYSTEMCTL: &str = r#"#!/bin/sh
here=${0%/*}
case "$*" in
    'stop ivshmem-guest-load.service')
        [ -e "$here/loaded" ] || exit 5
        kill "$(cat "$here/worker")" 2>/dev/null
        flock "$here/loaded" rm "$here/loaded" ;;
    'is-active --quiet ivshmem-guest-load.service')
        [ -e "$here/loaded" ] || exit 3
        if flock -n "$here/loaded" true; then exit 3; fi ;;
    stop*)
        [ -e "$here/alive" ] || exit 0
        kill "$(cat "$here/alive")"
        flock "$here/alive" rm "$here/alive" ;;
esac
"#;

/// Runs until told to stop.
const STRESS_NG: &str = r#"#!/bin/sh
trap 'echo "successful run"; kill $!; exit 0' TERM
echo $$ > "${0%/*}/worker"
echo "dispatching hogs: $*"
sleep 50 >/dev/null &
wait $!
"#;

/// Serves until told to stop, like the real one.
const GUEST_READER: &str = r#"#!/bin/sh
here=${0%/*}
exec 4>"$here/alive"
flock 4
trap 'echo stopped on request >&2; kill $!; exit 0' TERM
sleep 50 4>&- &
echo $$ >&4
echo "options: $3 $4" >&2
echo READY > "$2"
wait $!
"#;

struct Measurement {
    vm: Vm,
    out: TempDir,
}

impl Measurement {
    fn new(guest_reader: &str, has_ssh: bool) -> Self {
        let this = Self { vm: Vm::with_ssh(has_ssh), out: tempfile::tempdir().unwrap() };
        install(&this.guest("systemd-run"), SYSTEMD_RUN);
        install(&this.guest("systemctl"), SYSTEMCTL);
        install(&this.guest("guest-reader"), guest_reader);
        this
    }

    /// A file of the guest.
    fn guest(&self, name: &str) -> PathBuf {
        self.vm.sshd.path(name)
    }

    fn results(&self) -> PathBuf {
        self.out.path().join("results")
    }

    fn run(&self, host_writer: &str, more: &[&str]) -> Command {
        let program = self.out.path().join("host-writer");
        // A shell cannot trap what was ignored when it began, as SIGINT is below a script that was started with `&`.
        let shell = "#!/usr/bin/env -S --default-signal=INT,TERM,HUP sh";
        install(&program, &format!("{shell}\n{host_writer}\n"));
        let mut command = self.vm.provision(&["run", "--out"]);
        command.arg(self.results()).arg("--host-writer").arg(program).args(more);
        command
    }

    fn log(&self) -> String {
        fs::read_to_string(self.results().join("guest-reader.log")).unwrap()
    }

    fn load_log(&self) -> String {
        fs::read_to_string(self.results().join("guest-load.log")).unwrap()
    }

    fn assert_guest_is_clean(&self) {
        let reader = ["ivshmem-guest-reader.log", "ivshmem-guest-reader.ready", "alive"];
        let load =
            ["ivshmem-guest-load.log", "ivshmem-guest-load.ready", "ivshmem-guest-load.sh", "loaded", "io"];
        for name in reader.into_iter().chain(load) {
            assert!(!self.guest(name).exists(), "{name} is left in the guest");
        }
    }
}

fn text(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn both_sides_run_and_the_guests_log_lies_beside_the_results() {
    let measurement = Measurement::new(GUEST_READER, true);
    let alive = measurement.guest("alive");
    let host_writer = format!("[ -e '{}' ] && echo \"$@\"; exit 3", alive.display());
    let options = ["--guest-args", "--spin pause", "--", "--frames", "4k"];
    let output = measurement.run(&host_writer, &options).output().unwrap();
    let expected = format!("--shm /dev/shm/none --out {} --frames 4k\n", measurement.results().display());
    assert_eq!(text(&output), (Some(3), expected, String::new()));
    assert_eq!(measurement.log(), "options: --spin pause\nstopped on request\n");
    measurement.assert_guest_is_clean();
}

#[test]
fn an_interrupt_lets_host_writer_finish_and_clears_the_guest() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let measurement = Measurement::new(GUEST_READER, true);
        let host_writer =
            "trap 'echo finished; kill $!; exit 130' INT TERM; sleep 50 >&2 & echo started; wait";
        let mut run = measurement.run(host_writer, &[]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(run.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert_eq!(lines.next().unwrap(), "started");
        kill(Pid::from_raw(run.id().cast_signed()), signal).unwrap();
        assert_eq!(lines.next().unwrap(), "finished");
        assert_eq!(run.wait().unwrap().code(), Some(130));
        assert!(measurement.log().ends_with("stopped on request\n"));
        measurement.assert_guest_is_clean();
    }
}

#[test]
fn a_load_runs_around_the_measurement_and_host_writer_is_told() {
    let measurement = Measurement::new(GUEST_READER, true);
    install(&measurement.guest("stress-ng"), STRESS_NG);
    let lock = measurement.guest("loaded");
    let host_writer = format!("flock -n '{}' true || echo \"$IVSHMEM_GUEST_LOAD|$*\"", lock.display());
    let options = ["--guest-load", "cpu=2,io=1", "--", "--loop", "open", "--rate=5000"];
    let output = measurement.run(&host_writer, &options).output().unwrap();
    let (code, out, err) = text(&output);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let stress_ng =
        "stress-ng --cpu 2 --hdd 1 --hdd-bytes 64M --temp-path /var/tmp/ivshmem-guest-load --timeout 0";
    let results = measurement.results();
    let given = format!("--shm /dev/shm/none --out {} --loop open --rate=5000", results.display());
    assert_eq!(out, format!("{stress_ng}|{given}\n"));
    let log = measurement.load_log();
    assert!(
        log.starts_with("dispatching hogs: --cpu 2 --hdd 1 ") && log.ends_with("\nsuccessful run\n"),
        "{log}"
    );
    measurement.assert_guest_is_clean();

    // Without a load none is claimed, whatever the environment says.
    let mut run = measurement.run("echo \"load:$IVSHMEM_GUEST_LOAD\"", &[]);
    let output = run.env("IVSHMEM_GUEST_LOAD", "stale").output().unwrap();
    assert_eq!(text(&output), (Some(0), "load:\n".to_owned(), String::new()));
}

#[test]
fn a_load_ends_with_the_measurement_however_that_ends() {
    let measurement = Measurement::new(GUEST_READER, true);
    install(&measurement.guest("stress-ng"), STRESS_NG);
    let output = measurement.run("exit 4", &["--guest-load", "cpu=1"]).output().unwrap();
    assert_eq!(text(&output), (Some(4), String::new(), String::new()));
    assert!(measurement.load_log().ends_with("successful run\n"));
    measurement.assert_guest_is_clean();

    let host_writer = "trap 'kill $!; exit 130' INT; sleep 50 >&2 & echo started; wait";
    let mut run = measurement.run(host_writer, &["--guest-load", "cpu=1"]);
    let mut run = run.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "started");
    kill(Pid::from_raw(run.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(130));
    measurement.assert_guest_is_clean();
}

#[test]
fn a_load_that_did_not_last_spoils_the_measurement() {
    let measurement = Measurement::new(GUEST_READER, true);
    install(&measurement.guest("stress-ng"), "#!/bin/sh\necho 'dispatching hogs: 1 cpu'\necho killed\n");
    let lock = measurement.guest("loaded");
    let host_writer = format!("flock '{}' echo measured", lock.display());
    let output = measurement.run(&host_writer, &["--guest-load", "cpu=1"]).output().unwrap();
    let (code, out, err) = text(&output);
    assert_eq!((code, out.as_str()), (Some(1), "measured\n"));
    assert_eq!(
        err,
        "provision: the load in VM vm ended before the measurement did, whose results are not those of a loaded \
         guest: dispatching hogs: 1 cpu / killed\n"
    );
    measurement.assert_guest_is_clean();
}

#[test]
fn a_load_that_cannot_start_leaves_no_guest_reader_either() {
    let measurement = Measurement::new(GUEST_READER, true);
    install(&measurement.guest("stress-ng"), "#!/bin/sh\necho 'stress-ng: no such option'\nexit 1\n");
    let output = measurement.run("echo measured", &["--guest-load", "io=1"]).output().unwrap();
    let said = "provision: the load in VM vm fails: stress-ng: no such option\n".to_owned();
    assert_eq!(text(&output), (Some(1), String::new(), said));
    measurement.assert_guest_is_clean();

    let output = measurement.run("echo measured", &["--guest-load", "cpu=0"]).output().unwrap();
    let (code, _, said) = text(&output);
    assert_eq!(code, Some(2));
    assert!(said.contains("no worker at all"), "{said}");
}

#[test]
fn a_guest_reader_that_fails_is_quoted_and_nothing_is_measured() {
    let measurement = Measurement::new("#!/bin/sh\necho FAILED no device 1af4:1110 > \"$2\"\nexit 1\n", true);
    let output = measurement.run("echo measured", &[]).output().unwrap();
    let said = "provision: guest-reader does not start in VM vm: no device 1af4:1110\n".to_owned();
    assert_eq!(text(&output), (Some(1), String::new(), said));
    measurement.assert_guest_is_clean();
}

#[test]
fn options_that_either_side_refuses_leave_nothing_behind() {
    for has_ssh in [true, false] {
        let measurement = Measurement::new(GUEST_READER, has_ssh);
        fs::write(measurement.vm.state.path().join("vm/serial.log"), "the console\n").unwrap();
        let output = measurement.run("echo \"$3: no\" >&2; exit 2", &["--", "--nosuch"]).output().unwrap();
        assert_eq!(text(&output).0, Some(2));
        assert!(!measurement.results().exists(), "{output:?}");
        // A directory that was there stays, and gets nothing.
        fs::create_dir(measurement.results()).unwrap();
        assert_eq!(measurement.run("exit 2", &[]).status().unwrap().code(), Some(2));
        assert_eq!(fs::read_dir(measurement.results()).unwrap().count(), 0);
        measurement.assert_guest_is_clean();
    }
    let refusing = "#!/bin/sh\necho FAILED unexpected argument > \"$2\"\nexit 2\n";
    let measurement = Measurement::new(refusing, true);
    let output = measurement.run("echo measured", &["--guest-args", "--nosuch"]).output().unwrap();
    assert_eq!(text(&output).0, Some(1));
    assert!(!measurement.results().exists(), "{output:?}");
}

#[test]
fn results_cannot_go_into_a_file() {
    let measurement = Measurement::new(GUEST_READER, true);
    fs::write(measurement.results(), "in the way").unwrap();
    let said = format!("provision: {} is a file; give --out a directory\n", measurement.results().display());
    let output = measurement.run("echo measured", &[]).output().unwrap();
    assert_eq!(text(&output), (Some(2), String::new(), said));
    measurement.assert_guest_is_clean();
}

#[test]
fn the_micro_guest_is_measured_as_it_is_and_its_console_is_the_log() {
    let measurement = Measurement::new(GUEST_READER, false);
    fs::write(measurement.vm.state.path().join("vm/serial.log"), "the console\n").unwrap();
    let output = measurement.run("exit 0", &[]).output().unwrap();
    assert_eq!(text(&output), (Some(0), String::new(), String::new()));
    assert_eq!(measurement.log(), "the console\n");
    let output = measurement.run("exit 0", &["--guest-args", "--spin pause"]).output().unwrap();
    let (code, _, said) = text(&output);
    assert_eq!(code, Some(2));
    assert!(said.contains("VM vm has its guest-reader already"), "{said}");
    let output = measurement.run("exit 0", &["--guest-load", "cpu=1"]).output().unwrap();
    let (code, _, said) = text(&output);
    assert_eq!(code, Some(2));
    assert!(
        said.starts_with("provision: --guest-load cpu=1: VM vm is a micro guest, in which nothing"),
        "{said}"
    );
    let output = measurement.vm.provision(&["ssh", "--", "true"]).output().unwrap();
    assert!(text(&output).2.starts_with("provision: VM vm has no SSH: it is the micro guest"), "{output:?}");
}

#[test]
fn an_absent_host_writer_is_told_before_the_guest_is_bothered() {
    let measurement = Measurement::new(GUEST_READER, true);
    let mut command = measurement.vm.provision(&["run", "--host-writer", "/nonexistent/host-writer"]);
    let (code, _, said) = text(&command.output().unwrap());
    assert_eq!(code, Some(1));
    assert!(
        said.starts_with("provision: no host-writer at /nonexistent/host-writer: build it with"),
        "{said}"
    );
    assert!(!Path::new("guest-reader.log").exists());
    measurement.assert_guest_is_clean();
}
