//! Our SSH sessions against a real sshd on this machine, as a library and through `provision ssh` and `deploy`.
//! No VM runs: its record names this very test as its process.

#[path = "common/sshd.rs"]
mod sshd;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use provision::deploy::{self, Delivery};
use provision::interrupt::Interrupts;
use provision::process::ProcessId;
use provision::ssh::{Exit, Handshaken, Input, Patience, Session, Sink, SshError, Stage, Target};
use sshd::{Sshd, Vm};

/// Long enough for any machine; no test waits for its end.
const AMPLE: Duration = Duration::from_secs(60);

fn within(interrupts: &Interrupts, time: Duration) -> Patience<'_> {
    Patience { interrupts, process: None, deadline: Some(Instant::now() + time) }
}

fn connect(target: &Target) -> Result<Session, SshError> {
    Session::connect(target, &within(&Interrupts::catch().unwrap(), AMPLE))
}

/// Exit and both outputs of a command without input.
fn run(session: &Session, command: &str) -> (Exit, String, String) {
    let interrupts = Interrupts::catch().unwrap();
    let output = session.output(command, b"", &within(&interrupts, AMPLE)).unwrap();
    (output.exit, String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// Bytes that do not repeat soon.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    })
    .take(length)
    .collect()
}

#[test]
fn exit_codes_signals_and_both_outputs_come_through() {
    let sshd = Sshd::start();
    let session = connect(&sshd.target()).unwrap();
    assert_eq!(run(&session, "true"), (Exit::Code(0), String::new(), String::new()));
    let (exit, out, err) = run(&session, "echo out; echo err >&2; exit 7");
    assert_eq!((exit, out.as_str(), err.as_str()), (Exit::Code(7), "out\n", "err\n"));
    let (exit, _, _) = run(&session, "kill -KILL $$");
    assert_eq!(exit, Exit::Signal("KILL".to_owned()));
    assert_eq!(exit.code(), 137);
    assert_eq!(run(&session, "no-such-command").0, Exit::Code(127));
}

#[test]
fn ten_megabytes_go_both_ways_at_once() {
    let sshd = Sshd::start();
    let session = connect(&sshd.target()).unwrap();
    let interrupts = Interrupts::catch().unwrap();
    let content = noise(10_000_000);
    let mut told = 0;
    let mut out = Sink::Memory { bytes: Vec::new(), limit_bytes: 16 << 20 };
    let mut err = Sink::Memory { bytes: Vec::new(), limit_bytes: 16 << 20 };
    let mut sent = |bytes| told = bytes;
    let input = Input::Bytes { bytes: &content, sent: &mut sent };
    let exit = session.exec("tee /dev/stderr", input, &mut out, &mut err, &within(&interrupts, AMPLE));
    assert_eq!(exit.unwrap(), Exit::Code(0));
    for sink in [out, err] {
        let Sink::Memory { bytes, .. } = sink else { panic!() };
        assert!(bytes == content, "{} bytes came back", bytes.len());
    }
    assert_eq!(told, content.len());
    assert_eq!(run(&session, "echo the session is of use still").0, Exit::Code(0));
}

#[test]
fn a_command_that_closes_its_output_still_gets_all_its_input() {
    let sshd = Sshd::start();
    let session = connect(&sshd.target()).unwrap();
    let interrupts = Interrupts::catch().unwrap();
    let content = noise(5_000_000);
    let file = sshd.path("received");
    let command = format!("exec >{} 2>&1; cat; exit 3", file.display());
    let output = session.output(&command, &content, &within(&interrupts, AMPLE)).unwrap();
    assert_eq!(output.exit, Exit::Code(3));
    assert!(fs::read(file).unwrap() == content);
}

#[test]
fn a_command_that_ends_before_its_input_is_over_at_once() {
    let sshd = Sshd::start();
    let session = connect(&sshd.target()).unwrap();
    let interrupts = Interrupts::catch().unwrap();
    let output = session.output("head -c 3", &noise(20_000_000), &within(&interrupts, AMPLE)).unwrap();
    assert_eq!((output.exit, output.stdout.len()), (Exit::Code(0), 3));
    let (idle, _keep) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut out = Sink::Memory { bytes: Vec::new(), limit_bytes: 100 };
    let mut err = Sink::Memory { bytes: Vec::new(), limit_bytes: 100 };
    let input = Input::Descriptor(idle.as_fd());
    let exit = session.exec("exit 4", input, &mut out, &mut err, &within(&interrupts, AMPLE)).unwrap();
    assert_eq!(exit, Exit::Code(4));
}

#[test]
fn a_flood_is_refused_and_does_not_fill_the_memory() {
    let sshd = Sshd::start();
    let session = connect(&sshd.target()).unwrap();
    let interrupts = Interrupts::catch().unwrap();
    let flood = session.output("cat /dev/zero", b"", &within(&interrupts, AMPLE));
    assert!(matches!(flood, Err(SshError::TooMuchOutput { .. })), "{flood:?}");
}

#[test]
fn a_server_with_another_host_key_learns_nothing() {
    let mut sshd = Sshd::start();
    let target = Target { host_key: sshd.key("other"), ..sshd.target() };
    let error = connect(&target).unwrap_err();
    assert!(matches!(error, SshError::WrongHostKey { .. }), "{error}");
    let line = error.to_string();
    assert!(line.contains(&format!("the server on 127.0.0.1:{} is not this VM", target.port)), "{line}");
    let fingerprint = Command::new("ssh-keygen").arg("-lf").arg(sshd.path("host.pub")).output().unwrap();
    let fingerprint = String::from_utf8(fingerprint.stdout).unwrap();
    assert!(line.contains(&format!("its host key is {},", fingerprint.split(' ').nth(1).unwrap())), "{line}");
    let log = sshd.log_until("Connection closed|Connection reset|Disconnected");
    for word in ["user", "publickey", &target.user] {
        assert!(!log.contains(word), "{word}: {log}");
    }
}

#[test]
fn a_key_that_is_refused_or_is_none_is_named() {
    let mut sshd = Sshd::start();
    let error = connect(&Target { identity_file: sshd.path("other"), ..sshd.target() }).unwrap_err();
    assert!(matches!(error, SshError::LoginRefused { .. }), "{error:?}");
    assert!(
        error.to_string().contains(&format!("refuses user {} with the key /tmp/", Sshd::user())),
        "{error}"
    );
    sshd.log_until("Failed publickey|Connection closed|Connection reset|Disconnected");
    for (name, text) in [("absent", None), ("odd", Some("odd")), ("cut", Some(CUT_KEY))] {
        if let Some(text) = text {
            fs::write(sshd.path(name), text).unwrap();
        }
        let error = connect(&Target { identity_file: sshd.path(name), ..sshd.target() }).unwrap_err();
        assert!(matches!(error, SshError::BadIdentity { .. }), "{name}: {error:?}");
    }
}

const CUT_KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ\n";

#[test]
fn the_stages_can_be_taken_one_by_one() {
    let sshd = Sshd::start();
    let interrupts = Interrupts::catch().unwrap();
    let patience = within(&interrupts, AMPLE);
    let handshaken = Handshaken::connect(&sshd.target(), &patience).unwrap();
    let session = handshaken.authenticate(&sshd.target(), &patience).unwrap();
    assert_eq!(run(&session, "echo $SSH_CONNECTION").0, Exit::Code(0));
}

fn target_at(port: u16) -> Target {
    let host_key =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ".to_owned();
    Target { port, user: "debian".to_owned(), identity_file: "/nonexistent".into(), host_key }
}

#[test]
fn ports_that_are_silent_that_hang_up_and_that_are_closed_are_told_apart() {
    let interrupts = Interrupts::catch().unwrap();
    // As user-mode networking does before the guest's server runs: it accepts, and nothing follows.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = target_at(listener.local_addr().unwrap().port());
    let silent = Session::connect(&target, &within(&interrupts, Duration::from_millis(50))).unwrap_err();
    assert!(matches!(silent, SshError::Late { stage: Stage::Handshake, .. }), "{silent:?}");

    let mut child = Command::new("true").spawn().unwrap();
    let process = ProcessId::open_child(&child).unwrap();
    let patience = Patience { process: Some(process.as_fd()), ..within(&interrupts, AMPLE) };
    let ended = Session::connect(&target, &patience).unwrap_err();
    assert!(matches!(ended, SshError::VmEnded { .. }), "{ended:?}");
    child.wait().unwrap();

    let hang_up = listener.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            // The two above are in the queue yet.
            for _ in 0..3 {
                drop(hang_up.accept().unwrap());
            }
        });
        let closed = Session::connect(&target, &within(&interrupts, AMPLE)).unwrap_err();
        assert!(matches!(closed, SshError::Closed { stage: Stage::Handshake, .. }), "{closed:?}");
    });

    drop(listener);
    let refused = Session::connect(&target, &within(&interrupts, AMPLE)).unwrap_err();
    assert!(matches!(refused, SshError::Refused { .. }), "{refused:?}");
}

#[test]
fn a_server_that_speaks_no_ssh_does_not_hang_anyone() {
    let interrupts = Interrupts::catch().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = target_at(listener.local_addr().unwrap().port());
    thread::scope(|scope| {
        scope.spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        });
        let error = Session::connect(&target, &within(&interrupts, AMPLE)).unwrap_err();
        assert!(matches!(error, SshError::Closed { .. } | SshError::Protocol { .. }), "{error:?}");
    });
}

#[test]
fn files_are_deployed_whole_or_not_at_all() {
    let sshd = Sshd::start();
    let session = connect(&sshd.target()).unwrap();
    let interrupts = Interrupts::catch().unwrap();
    let patience = within(&interrupts, AMPLE);
    let content = noise(3_000_000);
    fs::create_dir(sshd.path("to")).unwrap();
    let to = |name: &str| sshd.path("to").join(name).to_str().unwrap().as_bytes().to_vec();

    let odd = to("it's a \"file\" $HOME\n");
    let sha256 = deploy::bytes(&session, &content, &odd, 0o750, false, &patience).unwrap();
    assert_eq!(sha256, Delivery::new(&content, &odd, 0, false).sha256);
    let file = String::from_utf8(odd).unwrap();
    assert!(fs::read(&file).unwrap() == content);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o750);

    let small = to("small");
    deploy::bytes(&session, b"", &small, 0o600, false, &patience).unwrap();
    let damaged = Delivery { sha256: "0".repeat(64), ..Delivery::new(&content, &small, 0o600, false) };
    let error = damaged.send(&session, &mut |_| {}, &patience).unwrap_err().to_string();
    assert!(error.contains("the guest says: it arrived damaged (sha256 "), "{error}");
    assert_eq!(fs::read(sshd.path("to/small")).unwrap(), b"", "the old file is there still");

    let nowhere = deploy::bytes(&session, &content, b"/proc/nowhere/x", 0o600, false, &patience).unwrap_err();
    assert!(nowhere.to_string().contains("/proc/nowhere/x: the guest says: mktemp: "), "{nowhere}");
    deploy::bytes(&session, b"as root", &to("root"), 0o644, true, &patience).unwrap();
    let mut names: Vec<_> = fs::read_dir(sshd.path("to"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["it's a \"file\" $HOME\n", "root", "small"], "no temporary file is left");
}

fn file(path: &Path, content: &[u8]) -> File {
    fs::write(path, content).unwrap();
    File::open(path).unwrap()
}

#[test]
fn provision_ssh_passes_code_and_streams_on() {
    let vm = Vm::new();
    let output = vm.ssh("echo out; echo err >&2; exit 9").output().unwrap();
    assert_eq!(output.status.code(), Some(9));
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!(vm.ssh("kill -TERM $$").output().unwrap().status.code(), Some(143));
    let words = vm.provision(&["ssh", "--", "printf", "%s.", "a", "b"]).output().unwrap();
    assert_eq!(words.stdout, b"a.b.");

    let content = noise(3_000_000);
    let input = file(&vm.sshd.path("input"), &content);
    let output = vm.ssh("cat").stdin(input).output().unwrap();
    assert!(output.stdout == content && output.status.success(), "{:?}", output.stderr);
    assert_eq!(vm.ssh("wc -c").output().unwrap().stdout, b"0\n", "/dev/null is an end at once");
    let closed = "exec \"$0\" ssh -- wc -c <&-";
    let mut shell = Command::new("sh");
    shell.args(["-c", closed]).arg(assert_cmd::cargo::cargo_bin!("provision"));
    let output = shell.env("IVSHMEM_STATE_DIR", vm.state.path()).output().unwrap();
    assert_eq!(output.stdout, b"0\n", "so is a closed standard input: {output:?}");
}

#[test]
fn provision_ssh_ends_with_its_command_or_its_reader() {
    let vm = Vm::new();
    // Standard input stays open and says nothing.
    let mut idle = vm.ssh("exit 5").stdin(Stdio::piped()).spawn().unwrap();
    let keep = idle.stdin.take();
    assert_eq!(idle.wait().unwrap().code(), Some(5));
    drop(keep);

    let mut endless = vm.ssh("cat /dev/zero").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = endless.stdout.take().unwrap();
    out.read_exact(&mut [0; 100]).unwrap();
    drop(out);
    let output = endless.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[test]
fn ctrl_c_ends_a_long_command_and_a_reader_that_does_not_read() {
    let vm = Vm::new();
    for command in ["echo up; sleep 30", "echo up; cat /dev/zero"] {
        for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
            let mut ssh = vm.ssh(command);
            let mut ssh = ssh.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let mut out = BufReader::new(ssh.stdout.take().unwrap());
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
            assert_eq!(line, "up\n");
            kill(Pid::from_raw(ssh.id().cast_signed()), signal).unwrap();
            let output = ssh.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(code));
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(said, format!("provision: interrupted ({})\n", signal.as_str()));
        }
    }
}

#[test]
fn provision_ssh_without_a_command_is_opensshs_client() {
    let vm = Vm::new();
    // A known_hosts file as `up` writes it; the client reads its commands from a pipe here.
    let known = format!("vm {}\n", vm.sshd.key("host"));
    fs::write(vm.sshd.record().known_hosts_file, known).unwrap();
    let mut shell = vm.provision(&["ssh"]);
    shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut shell = shell.spawn().unwrap();
    shell.stdin.take().unwrap().write_all(b"echo from the $((1+1))nd shell; exit 6\n").unwrap();
    let output = shell.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("from the 2nd shell"));

    let output = vm.provision(&["ssh"]).env("PATH", "/nonexistent").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("apt-get install openssh-client"), "{said}");
}

#[test]
fn provision_deploy_says_what_the_guest_has() {
    let vm = Vm::new();
    let content = noise(1_400_000);
    let source = vm.sshd.path("tool");
    file(&source, &content);
    fs::set_permissions(&source, fs::Permissions::from_mode(0o755)).unwrap();
    let to = vm.sshd.path("to dir");
    fs::create_dir(&to).unwrap();
    let destination = format!("{}/", to.display());
    let output = vm.provision(&["deploy", source.to_str().unwrap(), &destination]).output().unwrap();
    let sha256 = Delivery::new(&content, b"x", 0, false).sha256;
    let expected = format!("deployed {} to {destination}tool (1.4 MB, sha256 {sha256})\n", source.display());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected, "{:?}", String::from_utf8(output.stderr));
    assert!(fs::read(to.join("tool")).unwrap() == content);
    assert_eq!(fs::metadata(to.join("tool")).unwrap().permissions().mode() & 0o777, 0o755);

    let onto = to.to_str().unwrap();
    let output = vm.provision(&["deploy", source.to_str().unwrap(), onto]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("the guest says: it is a directory: end it with /"), "{said}");
}
