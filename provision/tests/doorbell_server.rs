//! `provision doorbell-server` as its peers see it: programs that join and leave in any order, QEMU's own devices, and
//! clients that are no peers. Nothing here boots a guest.

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use common::{fail, install, run};
use ivshmem_proto::server_client::{Joined, ServerError, join};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);
const SIZE_BYTES: u64 = 1 << 20;

/// A server and its socket, in a directory of its own.
struct Server {
    child: Child,
    events: BufReader<ChildStdout>,
    directory: tempfile::TempDir,
}

fn command(socket: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("provision"));
    command.args(["doorbell-server", "--json", "--size", "1M", "--socket"]).arg(socket).args(args);
    command
}

impl Server {
    fn start(args: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), args)
    }

    fn start_in(directory: tempfile::TempDir, args: &[&str]) -> Self {
        Self::spawn(command(&directory.path().join("bell.sock"), args), directory)
    }

    fn spawn(mut command: Command, directory: tempfile::TempDir) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let events = BufReader::new(child.stdout.take().unwrap());
        let mut server = Self { child, events, directory };
        assert_eq!(server.event()["event"], "listening");
        server
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("bell.sock")
    }

    fn join(&self, vectors: u16) -> Joined {
        join(&self.socket(), vectors, PATIENCE).unwrap()
    }

    /// The next thing that happens.
    fn event(&mut self) -> Value {
        let mut line = String::new();
        self.events.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"))
    }

    /// Reads events up to the first that is `wanted`.
    fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let event = self.event();
            if wanted(&event) {
                return event;
            }
        }
    }

    /// Reads events until nobody is left.
    fn until_empty(&mut self) {
        self.until(|event| event["event"] == "left" && event["peers"] == 0);
    }

    fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Lets it finish what it was doing when it told of a peer's end.
    fn settles_to(&self, descriptors: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.descriptors() != descriptors {
            assert!(Instant::now() < deadline, "{} descriptors, not {descriptors}", self.descriptors());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Ends it well, and returns its directory.
    fn end(mut self) -> tempfile::TempDir {
        self.signal(Signal::SIGTERM);
        assert_eq!(self.until(|event| event["event"] == "ended")["why"], "SIGTERM");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        assert!(!self.socket().exists(), "the socket is left");
        std::mem::replace(&mut self.directory, tempfile::tempdir().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the kernel calls an eventfd, whichever process has it under whatever number.
fn eventfd_id(fd: &OwnedFd) -> u64 {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).unwrap();
    let id =
        info.lines().find_map(|line| line.strip_prefix("eventfd-id:")).unwrap_or_else(|| panic!("{info}"));
    id.trim().parse().unwrap()
}

type Table = BTreeMap<u16, Vec<u64>>;

fn table(peer: &Joined) -> Table {
    peer.table.peers.iter().map(|(id, bells)| (*id, bells.iter().map(eventfd_id).collect())).collect()
}

/// Lets `peer` hear until it knows those of `all` that are not itself, and nobody else.
fn settle(peer: &mut Joined, all: &Table) {
    let mut expected = all.clone();
    expected.remove(&peer.table.own_id);
    let deadline = Instant::now() + PATIENCE;
    loop {
        peer.update().unwrap();
        let known = table(peer);
        if known == expected {
            return;
        }
        assert!(Instant::now() < deadline, "peer {} knows {known:?}, not {expected:?}", peer.table.own_id);
        poll(&mut [PollFd::new(peer.as_fd(), PollFlags::POLLIN)], 1000u16).unwrap();
    }
}

fn own(peer: &Joined) -> (u16, Vec<u64>) {
    (peer.table.own_id, peer.table.own.iter().map(eventfd_id).collect())
}

#[test]
fn peers_share_memory_and_ring_each_other() {
    let server = Server::start(&["--vectors", "3"]);
    assert_eq!(fs::metadata(server.socket()).unwrap().permissions().mode() & 0o777, 0o600);
    let mut one = server.join(3);
    let two = server.join(3);
    assert_eq!((one.table.own_id, two.table.own_id), (0, 1));
    settle(&mut one, &[own(&two)].into());

    let [here, there] = [&one, &two].map(|peer| File::from(peer.memory.try_clone().unwrap()));
    assert_eq!(here.metadata().unwrap().len(), SIZE_BYTES);
    here.write_all_at(b"hello", 4096).unwrap();
    let mut read = [0; 5];
    there.read_exact_at(&mut read, 4096).unwrap();
    assert_eq!(&read, b"hello");
    for bytes in [0, 2 * SIZE_BYTES] {
        assert_eq!(there.set_len(bytes).unwrap_err().kind(), ErrorKind::PermissionDenied);
    }

    nix::unistd::write(&one.table.peers[&1][2], &1u64.to_ne_bytes()).unwrap();
    let rung: Vec<bool> = two
        .table
        .own
        .iter()
        .map(|bell| poll(&mut [PollFd::new(bell.as_fd(), PollFlags::POLLIN)], 0u16).unwrap() == 1)
        .collect();
    assert_eq!(rung, [false, false, true]);
    drop((one, two));
    server.end();
}

#[test]
fn a_thousand_peers_join_and_leave_and_everybody_knows_who_is_there() {
    const AT_ONCE: usize = 12;
    let mut server = Server::start(&["--vectors", "2", "--max-peers", "12"]);
    let before = server.descriptors();
    let mut peers: Vec<Joined> = Vec::new();
    let mut all = Table::new();
    let mut ids = std::collections::BTreeSet::new();
    // A fixed sequence that looks random (Knuth's MMIX).
    let mut state = 1u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let mut joined = 0;
    while joined < 1000 {
        // As many as are missing or fewer join, and some leave, before anybody looks.
        for _ in 0..=random(AT_ONCE) {
            if peers.len() < AT_ONCE {
                let peer = server.join(2);
                let (id, bells) = own(&peer);
                assert_eq!(bells.len(), 2);
                assert!(all.insert(id, bells).is_none(), "id {id} is in use");
                assert!(ids.insert(id), "id {id} is given out a second time, which no QEMU survives");
                peers.push(peer);
                joined += 1;
            }
        }
        for _ in 0..=random(peers.len()) {
            let gone = peers.swap_remove(random(peers.len()));
            all.remove(&gone.table.own_id);
            drop(gone);
            server.until(|event| event["event"] == "left");
        }
        if peers.is_empty() {
            ids.clear();
        }
        for peer in &mut peers {
            settle(peer, &all);
        }
    }
    let left = peers.len();
    drop(peers);
    for _ in 0..left {
        server.until(|event| event["event"] == "left");
    }
    server.settles_to(before);
    server.end();
}

/// What a client reads until the server closes the connection.
fn heard(client: &mut UnixStream) -> usize {
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut all = Vec::new();
    match client.read_to_end(&mut all) {
        Err(e) if e.kind() == ErrorKind::ConnectionReset => {}
        other => drop(other.unwrap()),
    }
    all.len()
}

#[test]
fn who_writes_is_disconnected_and_the_others_stay() {
    let mut server = Server::start(&[]);
    let mut peer = server.join(2);
    let mut client = UnixStream::connect(server.socket()).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    heard(&mut client);
    let left = server.until(|event| event["event"] == "left");
    assert_eq!(left["why"], "disconnected: it wrote, and peers have nothing to say");
    settle(&mut peer, &Table::new());
    server.end();
}

#[test]
fn who_never_reads_delays_nobody_and_is_disconnected_in_the_end() {
    let mut server = Server::start(&["--max-peers", "4", "--vectors", "8"]);
    let before = server.descriptors();
    let silent = UnixStream::connect(server.socket()).unwrap();
    server.until(|event| event["event"] == "joined");
    let mut watching = server.join(8);
    // Each that comes and goes is nine messages more for the silent one: it is gone before 300 have been.
    let fell_behind = (0..300).any(|_| {
        drop(server.join(8));
        server.until(|event| event["event"] == "left")["why"].as_str().unwrap().contains("does not read")
    });
    assert!(fell_behind);
    settle(&mut watching, &Table::new());
    drop((watching, silent));
    server.until_empty();
    // What was on its way to the silent one is closed, too.
    server.settles_to(before);
    server.end();
}

#[test]
fn a_thousand_connections_get_the_places_there_are_and_no_more() {
    let mut server = Server::start(&["--max-peers", "8"]);
    let before = server.descriptors();
    let mut peer = server.join(2);
    let mut clients: Vec<_> = (0..1000).map(|_| UnixStream::connect(server.socket()).unwrap()).collect();
    let refused = clients.drain(7..).filter(|client| {
        let mut client = client.try_clone().unwrap();
        heard(&mut client) == 0
    });
    assert_eq!(refused.count(), 993);
    let full = join(&server.socket(), 2, PATIENCE).unwrap_err();
    assert!(matches!(full, ServerError::TurnedAway { .. }), "{full}");
    drop(clients);
    let more = server.until(|event| event["event"] == "refused-more");
    assert!(more["connections"].as_u64().unwrap() >= 992, "{more}");
    settle(&mut peer, &Table::new());
    drop(peer);
    server.until_empty();
    server.settles_to(before);
    server.end();
}

#[test]
fn connections_that_close_at_once_or_midway_leave_nothing() {
    let mut server = Server::start(&["--max-peers", "8"]);
    let before = server.descriptors();
    let mut peer = server.join(2);
    for bytes in 0..200 {
        let mut client = UnixStream::connect(server.socket()).unwrap();
        // Some of them hear a part of what they are told.
        client.read_exact(&mut vec![0; bytes % 40]).unwrap();
    }
    settle(&mut peer, &Table::new());
    drop(peer);
    server.until_empty();
    server.settles_to(before);
    server.end();
}

#[test]
fn without_descriptors_nobody_joins_and_those_who_are_there_stay() {
    let mut server = Server::start(&["--max-peers", "64"]);
    let mut peer = server.join(2);
    let limit = |number: usize| {
        let mut prlimit = Command::new("prlimit");
        prlimit.arg("--pid").arg(server.child.id().to_string()).arg(format!("--nofile={number}:"));
        assert!(prlimit.status().unwrap().success());
    };
    limit(server.descriptors());
    for _ in 0..20 {
        let error = join(&server.socket(), 2, PATIENCE).unwrap_err();
        assert!(matches!(error, ServerError::TurnedAway { .. }), "{error}");
    }
    limit(1024);
    assert_eq!(server.until(|event| event["event"] == "refused")["why"], "Too many open files (os error 24)");
    let other = server.join(2);
    settle(&mut peer, &[own(&other)].into());
    server.end();
}

/// An ordinary user may have only so many descriptors under way in sockets, whoever is to read them.
#[test]
fn peers_that_leave_their_descriptors_unread_delay_the_others_but_do_not_rob_them() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let copy = directory.path().join("provision");
    install(assert_cmd::cargo::cargo_bin!("provision"), &copy);
    // 32 and three times 41: what three peers need, and less than what they are sent.
    let mut command = Command::new("prlimit");
    command.arg("--nofile=155").arg(&copy).args([
        "doorbell-server",
        "--json",
        "--size",
        "1M",
        "--vectors",
        "40",
    ]);
    command.args(["--max-peers", "3", "--socket"]).arg(directory.path().join("bell.sock"));
    if nix::unistd::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    let mut server = Server::spawn(command, directory);
    let mut silent: Vec<_> = (0..2)
        .map(|_| {
            let client = UnixStream::connect(server.socket()).unwrap();
            server.until(|event| event["event"] == "joined");
            client
        })
        .collect();
    let mut peer = std::thread::scope(|scope| {
        let joining = scope.spawn(|| server.join(40));
        // It waits for descriptors until one of the silent ones takes its own, or dies.
        std::thread::sleep(Duration::from_millis(50));
        silent.pop();
        joining.join().unwrap()
    });
    assert_eq!((peer.table.own_id, peer.table.own.len()), (2, 40));
    drop(silent);
    settle(&mut peer, &Table::new());
    server.end();
}

#[test]
fn a_taken_path_is_refused_and_a_dead_servers_is_taken_over() {
    let mut server = Server::start(&[]);
    let taken = fail(&mut command(&server.socket(), &[]), 1);
    assert!(
        taken.ends_with("is taken by a server that runs: use it, stop it, or take another --socket"),
        "{taken}"
    );
    let peer = server.join(2);
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    assert!(server.socket().exists(), "killed without mercy, it cannot remove its socket");
    let directory = std::mem::replace(&mut server.directory, tempfile::tempdir().unwrap());
    let next = Server::start_in(directory, &[]);
    drop((peer, next.join(2)));
    next.end();

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bell.sock");
    fs::write(&file, "something of value").unwrap();
    let refused = fail(&mut command(&file, &[]), 1);
    assert!(refused.ends_with("is there and is no socket: take another --socket"), "{refused}");
    assert_eq!(fs::read(&file).unwrap(), b"something of value");
    let long = fail(&mut command(&directory.path().join("l".repeat(120)), &[]), 1);
    assert!(long.contains("a socket's path at most 107: use a shorter one"), "{long}");
    let nowhere = fail(&mut command(&directory.path().join("no/bell.sock"), &[]), 1);
    assert!(nowhere.contains("No such file or directory"), "{nowhere}");
}

#[test]
fn a_server_that_does_not_come_to_accepting_keeps_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("bell.sock");
    let _stuck = UnixListener::bind(&socket).unwrap();
    let taken = fail(&mut command(&socket, &[]), 1);
    assert!(taken.contains("is taken by a server that runs"), "{taken}");
}

#[test]
fn a_region_file_is_shared_and_goes_only_if_the_server_made_it() {
    let directory = tempfile::tempdir().unwrap();
    let region = directory.path().join("region");
    let shm = region.to_str().unwrap();
    let server = Server::start(&["--shm", shm]);
    let memory = File::from(server.join(2).memory);
    fs::OpenOptions::new().write(true).open(&region).unwrap().write_all_at(b"by name", 0).unwrap();
    let mut read = [0; 7];
    memory.read_exact_at(&mut read, 0).unwrap();
    assert_eq!(&read, b"by name");
    server.end();
    assert!(!region.exists());

    fs::write(&region, vec![0; 1 << 20]).unwrap();
    Server::start(&["--shm", shm]).end();
    assert!(region.exists());
    let mut other_size = Command::new(assert_cmd::cargo::cargo_bin!("provision"));
    other_size.args(["doorbell-server", "--size", "2M", "--shm", shm, "--socket"]);
    let error = fail(other_size.arg(directory.path().join("bell.sock")), 1);
    assert!(error.contains("holds 1048576 bytes but 2097152 are wanted"), "{error}");
}

#[test]
fn what_cannot_be_served_is_a_usage_error() {
    let socket = Path::new("/tmp/never-made.sock");
    for args in
        [&["--vectors", "0"][..], &["--vectors", "2049"], &["--max-peers", "0"], &["--max-peers", "65537"]]
    {
        let (code, _, err) = run(&mut command(socket, args));
        assert_eq!(code, Some(2), "{args:?}: {err}");
    }
    let (code, _, err) = run(Command::new(assert_cmd::cargo::cargo_bin!("provision")).arg("doorbell-server"));
    assert!(code == Some(2) && err.contains("--socket <PATH>"), "{err}");
    assert!(!socket.exists());
}

/// A QEMU that has the device and no guest: it joins while it starts, and never runs an instruction.
fn qemu(server: &Server, vectors: u16) -> Child {
    let socket = server.socket();
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc", "-accel", "tcg", "-S"])
        .args(["-m", "16M", "-chardev"])
        .arg(format!("socket,id=doorbell,path={}", socket.display()))
        .args(["-device", &format!("ivshmem-doorbell,chardev=doorbell,vectors={vectors}")])
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

#[test]
fn qemus_join_beside_programs_and_leave_when_they_die() {
    let mut server = Server::start(&["--vectors", "4"]);
    let before = server.descriptors();
    let mut program = server.join(4);
    let mut qemus = [qemu(&server, 4), qemu(&server, 4)];
    for peers in [2, 3] {
        let joined = server.until(|event| event["event"] == "joined" && event["peers"] == peers);
        assert!(joined["program"].as_str().unwrap().starts_with("qemu-system"), "{joined}");
    }
    // QEMU does not survive a second peer of the same id.
    let visitors: Vec<u16> = (0..4)
        .map(|_| {
            let visitor = server.join(4);
            server.until(|event| event["event"] == "joined" && event["peer"] == visitor.table.own_id);
            let id = visitor.table.own_id;
            drop(visitor);
            server.until(|event| event["event"] == "left" && event["peer"] == id);
            id
        })
        .collect();
    assert_eq!(visitors, [3, 4, 5, 6]);
    // One that joins later is told of all of them at once, in the same words.
    let late = server.join(4);
    let mut all = table(&late);
    assert_eq!(all.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
    assert!(all.values().all(|bells| bells.len() == 4));
    all.extend([own(&late)]);
    settle(&mut program, &all);

    for (qemu, left) in qemus.iter_mut().zip([3, 2]) {
        assert!(qemu.try_wait().unwrap().is_none(), "QEMU has ended by itself");
        qemu.kill().unwrap();
        let mut said = String::new();
        qemu.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        qemu.wait().unwrap();
        assert_eq!(said, "", "QEMU complains");
        server.until(|event| event["event"] == "left" && event["peers"] == left);
    }
    settle(&mut program, &[own(&late)].into());
    drop((program, late));
    server.until_empty();
    server.settles_to(before);
    server.end();
}
