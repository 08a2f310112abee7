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

/// Runs the unit until it is stopped, and then what follows its end.
const SYSTEMD_RUN: &str = r#"#!/bin/sh
here=${0%/*}
while :; do case $1 in
    StandardError=*) log=${1#StandardError=append:}; shift ;;
    ExecStopPost=*) post=${1#ExecStopPost=/bin/sh -c }; shift ;;
    -*|Type=*) shift ;;
    *) break ;;
esac; done
("$@" 2>"$log"; eval "sh -c $post") 3>&- >/dev/null </dev/null 2>&1 &
"#;

/// Only `stop` does anything: it waits for the end, which gives the lock free.
const SYSTEMCTL: &str = r#"#!/bin/sh
here=${0%/*}
[ "$1" = stop ] && [ -e "$here/alive" ] || exit 0
kill "$(cat "$here/alive")"
flock "$here/alive" rm "$here/alive"
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
        install(&program, &format!("#!/bin/sh\n{host_writer}\n"));
        let mut command = self.vm.provision(&["run", "--out"]);
        command.arg(self.results()).arg("--host-writer").arg(program).args(more);
        command
    }

    fn log(&self) -> String {
        fs::read_to_string(self.results().join("guest-reader.log")).unwrap()
    }

    fn assert_guest_is_clean(&self) {
        for name in ["ivshmem-guest-reader.log", "ivshmem-guest-reader.ready", "alive"] {
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
fn a_guest_reader_that_fails_is_quoted_and_nothing_is_measured() {
    let measurement = Measurement::new("#!/bin/sh\necho FAILED no device 1af4:1110 > \"$2\"\nexit 1\n", true);
    let output = measurement.run("echo measured", &[]).output().unwrap();
    let said = "provision: guest-reader does not start in VM vm: no device 1af4:1110\n".to_owned();
    assert_eq!(text(&output), (Some(1), String::new(), said));
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
    assert_eq!(code, Some(1));
    assert!(said.contains("VM vm has its guest-reader already"), "{said}");
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
