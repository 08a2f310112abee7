//! What the end-to-end tests share: regions of their own, real peers, and a look at the files.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "shared by test binaries, each of which uses its part"
)]

pub mod double;

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ivshmem_proto::layout::{guest_words, host_words};
use ivshmem_proto::mapping::Mapping;
use ivshmem_proto::memory::ControlWords as _;
use ivshmem_proto::word::{sequence_of, tag_of};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A run that lasts until something ends it.
pub const ENDLESS: [&str; 10] =
    ["--messages", "100000", "--warmup", "0", "--interval", "1ms", "--frames", "none", "--timeout", "200ms"];

/// Between two looks at the region: both CPUs of a small machine are for the pair that is watched.
const LOOK: Duration = Duration::from_micros(50);

/// Waits until `ready` yields something. A test whose other side has died fails instead of waiting for ever.
pub fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < deadline, "nobody ever {what}");
        std::thread::sleep(LOOK);
    }
}

/// A scratch directory and a region path in /dev/shm that nobody else uses; both go when the test ends.
pub struct Place {
    pub dir: tempfile::TempDir,
    pub region: PathBuf,
}

impl Place {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let region = PathBuf::from(format!("/dev/shm/ivshmem-test-{}-{number}", std::process::id()));
        Self { dir: tempfile::tempdir().unwrap(), region }
    }

    pub fn with_region(bytes: usize) -> Self {
        let place = Self::new();
        fs::write(&place.region, vec![0; bytes]).unwrap();
        place
    }

    pub fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    /// host-writer on this place's region, writing to `out`.
    pub fn host(&self, args: &[&str]) -> Command {
        let mut command = self.bare_host(args);
        command.arg("--shm").arg(&self.region);
        command
    }

    /// The same on no region in particular.
    pub fn bare_host(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_host-writer"));
        command.arg("--out").arg(self.out()).args(args);
        // No VM of the person who runs the tests shall leak into run.json.
        command.env("IVSHMEM_STATE_DIR", self.dir.path().join("state"));
        command
    }

    pub fn run_host(&self, args: &[&str]) -> Output {
        self.host(args).output().unwrap()
    }

    /// A native guest that has announced itself.
    pub fn guest(&self, args: &[&str]) -> Guest {
        Guest::start("--map", &self.region, args)
    }

    /// Waits until a host has published message `sequence` of a session that is not `but`; returns the session's tag.
    pub fn wait_for_message(&self, sequence: u64, but: u64) -> u64 {
        let map = Mapping::open(&self.region).unwrap();
        until("published that message", || {
            let word = map.load(host_words::publish, Ordering::Relaxed);
            (sequence_of(word) >= sequence && tag_of(word) != but).then(|| tag_of(word))
        })
    }

    /// Waits until a guest has joined a session.
    pub fn wait_for_session(&self) {
        let map = Mapping::open(&self.region).unwrap();
        until("joined a session", || {
            (map.load(guest_words::session_echo, Ordering::Relaxed) != 0).then_some(())
        });
    }

    /// Starts a host and kills it in the middle of a session that is not `but`; returns the session's tag.
    pub fn kill_a_host(&self, but: u64) -> u64 {
        let mut host = self.host(&ENDLESS).stdout(Stdio::null()).spawn().unwrap();
        let session = self.wait_for_message(5, but);
        host.kill().unwrap();
        host.wait().unwrap();
        session
    }

    /// The rows of a CSV as maps from column to value.
    pub fn rows(&self, file: &str) -> Vec<std::collections::HashMap<String, String>> {
        let mut reader = csv::Reader::from_path(self.out().join(file)).unwrap();
        reader.deserialize().map(|row| row.unwrap()).collect()
    }

    pub fn statuses(&self, file: &str) -> Vec<String> {
        self.rows(file).into_iter().map(|mut row| row.remove("status").unwrap()).collect()
    }

    pub fn run_json(&self) -> serde_json::Value {
        serde_json::from_str(&fs::read_to_string(self.out().join("run.json")).unwrap()).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.region);
    }
}

/// A running ivshmem server; ended when the test ends.
pub struct Server {
    child: Child,
    pub socket: PathBuf,
}

impl Server {
    /// One whose peers share `memory`: `memfd`, or a file.
    pub fn start(place: &Place, memory: &str, size: &str) -> Self {
        let path = target_release().join("provision");
        assert!(path.exists(), "{} is missing; run scripts/test.sh, which builds it first", path.display());
        let socket = place.dir.path().join("server");
        let mut child = Command::new(path)
            .args(["doorbell-server", "--json", "--shm", memory, "--size", size, "--socket"])
            .arg(&socket)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("listening"), "{line}");
        Self { child, socket }
    }

    /// host-writer as a peer, on results in `place`.
    pub fn host(&self, place: &Place, args: &[&str]) -> Command {
        let mut command = place.bare_host(args);
        command.arg("--server").arg(&self.socket);
        command
    }

    /// A native guest that has announced itself.
    pub fn guest(&self, args: &[&str]) -> Guest {
        Guest::start("--server", &self.socket, args)
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// A running guest-reader; killed when the test ends.
pub struct Guest {
    pub child: Child,
    lines: BufReader<ChildStderr>,
}

impl Guest {
    /// One that has announced itself; `--map` a file, or `--server` a socket.
    fn start(flag: &str, path: &Path, args: &[&str]) -> Self {
        let mut command = Command::new(guest_reader());
        let mut child = command.arg(flag).arg(path).args(args).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap());
        let mut guest = Self { child, lines };
        guest.wait_for_line("READY");
        guest
    }

    /// Reads the guest's log up to a line that contains `text`.
    pub fn wait_for_line(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "guest-reader ended before saying {text}");
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where cargo puts binaries: the directory above this test's own.
pub fn target_release() -> PathBuf {
    env::current_exe().unwrap().parent().and_then(Path::parent).unwrap().to_owned()
}

/// The static guest binary that `scripts/test.sh` builds first.
pub fn guest_reader() -> PathBuf {
    let path = env::var_os("IVSHMEM_GUEST_READER").map_or_else(
        || target_release().join("../x86_64-unknown-linux-gnu/release/guest-reader"),
        PathBuf::from,
    );
    assert!(path.exists(), "{} is missing; run scripts/test.sh, which builds it first", path.display());
    path
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Exit status and the one line on standard error, with the region's path made stable.
pub fn complaint(place: &Place, output: &Output) -> (Option<i32>, String) {
    let text = stderr(output).replace(&place.region.display().to_string(), "REGION");
    let text = text.replace(&place.dir.path().display().to_string(), "DIR");
    assert_eq!(text.lines().count(), 1, "not one line: {text}");
    (output.status.code(), text.trim_end().to_owned())
}

/// No half-made file is left in `directory`.
pub fn assert_no_leftovers(directory: &Path) {
    let hidden: Vec<_> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with('.'))
        .collect();
    assert!(hidden.is_empty(), "{hidden:?}");
}
