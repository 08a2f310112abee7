//! A place of its own for each test: state below /tmp (short, for the socket), a region in /dev/shm, and proof at
//! the end that nothing of it is left. Kernels are cached below the target directory, across tests.

// Each test file uses its own part of this.
#![allow(dead_code)]

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

pub(crate) struct Place {
    state: TempDir,
    region: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let region = PathBuf::from(format!("/dev/shm/provision-test-{}-{number}", std::process::id()));
        Self { state: tempfile::Builder::new().prefix("prov").tempdir_in("/tmp").unwrap(), region }
    }

    pub(crate) fn state(&self) -> &Path {
        self.state.path()
    }

    pub(crate) fn region(&self) -> &Path {
        &self.region
    }

    /// Where [`script`] puts its program.
    fn script(&self) -> PathBuf {
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(self.region.file_name().unwrap()).with_extension("qemu")
    }

    /// `provision` with the given arguments.
    pub(crate) fn provision(&self, args: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("provision"));
        command
            .args(args)
            .env("IVSHMEM_STATE_DIR", self.state())
            .env("IVSHMEM_CACHE_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"));
        command
    }

    /// `provision up --guest micro` on this place's region, with more arguments.
    pub(crate) fn up(&self, args: &[&str]) -> Command {
        let mut command = self.provision(&["up", "--guest", "micro", "--shm-size", "16M", "--shm"]);
        command.arg(&self.region).args(args);
        command
    }

    /// Nothing is left: no state, no region, no process that knows of this place.
    pub(crate) fn assert_clean(&self) {
        let left: Vec<_> = fs::read_dir(self.state()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "left in the state directory: {left:?}");
        assert!(!self.region.exists(), "the region is left");
        assert_eq!(self.processes(), Vec::<u32>::new(), "processes are left");
    }

    /// The processes with this place's state directory among their arguments, that is its QEMUs.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let needle = self.state().as_os_str().as_bytes();
        let pids =
            fs::read_dir("/proc").unwrap().filter_map(|e| e.unwrap().file_name().to_str()?.parse().ok());
        pids.filter(|pid: &u32| {
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            arguments.windows(needle.len()).any(|window| window == needle)
        })
        .collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Only a test that failed has something to stop here.
        let names = fs::read_dir(self.state())
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        for name in names {
            let _ = self.provision(&["down", "--name", &name]).output();
        }
        let _ = fs::remove_file(&self.region);
        let _ = fs::remove_file(self.script());
    }
}

/// Runs a command that must succeed, and returns its standard output and error.
pub(crate) fn succeed(command: &mut Command) -> (String, String) {
    let (code, out, err) = run(command);
    assert_eq!(code, Some(0), "{command:?}\n{out}\n{err}");
    (out, err)
}

/// Runs a command that must fail with `code`, and returns its last line of standard error.
pub(crate) fn fail(command: &mut Command, code: i32) -> String {
    let (found, out, err) = run(command);
    assert_eq!(found, Some(code), "{command:?}\n{out}\n{err}");
    err.lines().last().unwrap_or_default().to_owned()
}

/// Runs a command: exit code, standard output, standard error.
pub(crate) fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A program of the test's own in place of QEMU.
pub(crate) fn script(place: &Place, text: &str) -> PathBuf {
    let program = place.script();
    let source = program.with_extension("sh");
    fs::write(&source, format!("#!/bin/sh\n{text}\n")).unwrap();
    install(&source, &program);
    fs::remove_file(source).unwrap();
    program
}

/// Copies a program, by another process: were it written by this one, a test that forks at that moment would hold
/// it open for writing, and it could not be executed (ETXTBSY).
pub(crate) fn install(source: &Path, program: &Path) {
    assert!(Command::new("install").args(["-m", "755"]).args([source, program]).status().unwrap().success());
}
