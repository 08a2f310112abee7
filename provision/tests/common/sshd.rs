//! A real sshd of the test's own: on a free port of 127.0.0.1, with keys of its own, for the user who runs the
//! tests, and gone with the value. Besides, a state directory in which it is a VM's.

// Each test file uses its own part of this.
#![allow(dead_code)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use provision::process::{ProcessId, host_boot_id};
use provision::ssh::Target;
use provision::state::{SshRecord, VmDirectory, VmRecord};
use serde_json::json;
use tempfile::TempDir;

const SSHD: &str = "/usr/sbin/sshd";
const CLIENT: &str = "a 'b' 50% d";

pub(crate) struct Sshd {
    directory: TempDir,
    server: Child,
    log: BufReader<ChildStderr>,
    port: u16,
}

impl Sshd {
    pub(crate) fn start() -> Self {
        assert!(Path::new(SSHD).exists(), "no {SSHD}: install it with 'apt-get install openssh-server'");
        if nix::unistd::geteuid().is_root() {
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let directory = tempfile::Builder::new().prefix("sshd").tempdir_in("/tmp").unwrap();
        let path = directory.path();
        for name in ["host", "user", "other"] {
            keygen(&path.join(name));
        }
        fs::copy(path.join("user.pub"), path.join("authorized_keys")).unwrap();
        // What the client is given lies where quoting counts.
        fs::create_dir(path.join(CLIENT)).unwrap();
        fs::copy(path.join("user"), path.join(CLIENT).join("user")).unwrap();
        install(&path.join("sudo"), SUDO);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized_keys\n\
             PidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nLogLevel VERBOSE\nSetEnv PATH={0}:/usr/bin:/bin\n",
            path.display()
        );
        fs::write(path.join("config"), config).unwrap();
        let mut command = Command::new(SSHD);
        command.args(["-D", "-e", "-f"]).arg(path.join("config")).stdin(Stdio::null());
        let mut server = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(server.stderr.take().unwrap());
        let mut sshd = Self { directory, server, log, port };
        sshd.log_until("Server listening on");
        sshd
    }

    /// What it logs, up to and with the first line that holds one of the words separated by `|`.
    pub(crate) fn log_until(&mut self, words: &str) -> String {
        let mut text = String::new();
        loop {
            let from = text.len();
            assert!(self.log.read_line(&mut text).unwrap() > 0, "sshd ended: {text}");
            if words.split('|').any(|word| text[from..].contains(word)) {
                return text;
            }
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn key(&self, name: &str) -> String {
        fs::read_to_string(self.path(name).with_extension("pub")).unwrap().trim().to_owned()
    }

    pub(crate) fn user() -> String {
        nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name
    }

    /// How to log in.
    pub(crate) fn target(&self) -> Target {
        Target::from(&self.record())
    }

    /// What a VM's record would hold.
    pub(crate) fn record(&self) -> SshRecord {
        SshRecord {
            port: self.port,
            user: Self::user(),
            identity_file: self.path(CLIENT).join("user"),
            known_hosts_file: self.path(CLIENT).join("known_hosts"),
            host_key: self.key("host"),
            host_alias: "vm".to_owned(),
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Stands in for sudo, which this machine may lack. The guest's guest-reader, its /run and its /var/tmp are in its own
/// directory, and what stands in for its other programs comes first.
const SUDO: &str = r#"#!/bin/sh
shift
here=${0%/*}
script=$3 what=$4
case $what in
    run) shift 6; exec sh -c "$script" run "$here/guest-reader" "$here" "$@" ;;
    load) shift 6; PATH=$here:$PATH; exec sh -c "$script" load "$here" "$here/io" "$@" ;;
    *) exec "$@" ;;
esac
"#;

/// Writes a program, by another process: were it written by this one, a test that forks at that moment would hold it
/// open for writing, and it could not be executed (ETXTBSY).
pub(crate) fn install(program: &Path, text: &str) {
    let script = "printf %s \"$1\" > \"$0\" && chmod 755 \"$0\"";
    assert!(Command::new("sh").args(["-c", script]).arg(program).arg(text).status().unwrap().success());
}

fn keygen(path: &Path) {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(path);
    assert!(command.status().unwrap().success());
}

/// A state directory in which a VM with that sshd runs: the test is its process.
pub(crate) struct Vm {
    pub(crate) state: TempDir,
    pub(crate) sshd: Sshd,
}

impl Vm {
    pub(crate) fn new() -> Self {
        Self::with_ssh(true)
    }

    /// With SSH, or without as the micro guest.
    pub(crate) fn with_ssh(has_ssh: bool) -> Self {
        let (state, sshd) = (tempfile::tempdir().unwrap(), Sshd::start());
        let me = ProcessId::current().unwrap();
        let record: VmRecord = serde_json::from_value(json!({
            "schema": "ivshmem-vm/1", "name": "vm", "guest": "debian",
            "pid": me.pid, "pid_start_time_ticks": me.start_time_ticks,
            "qemu": { "path": "/usr/bin/qemu-system-x86_64", "version": "7.2", "args": [] },
            "accelerator": {
                "asked": "tcg", "effective": "tcg", "why": "asked for", "ladder": [],
                "instructions_per_second": null, "exit_cost_ns": null, "ladder_ms": 0.0,
            },
            "vcpus": 1, "memory_bytes": 0, "shm_path": "/dev/shm/none", "shm_bytes": 0, "shm_created": false,
            "shm_inode": 0, "kernel": { "path": "/vmlinuz", "release": null, "sha256": null },
            "vcpu_threads": [], "phases_ms": { "qmp": 0.0, "first_serial_byte": 0.0, "ready": 0.0 },
            "prepare_ms": 0.0, "ready": "READY", "started_utc": "", "host_boot_id": host_boot_id(), "start": "cold",
            "ssh": has_ssh.then(|| sshd.record()),
        }))
        .unwrap();
        let directory = VmDirectory::new(state.path(), &record.name);
        directory.create().unwrap();
        directory.write_vm(&record).unwrap();
        Self { state, sshd }
    }

    pub(crate) fn provision(&self, args: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("provision"));
        command.args(args).env("IVSHMEM_STATE_DIR", self.state.path()).stdin(Stdio::null());
        command
    }

    pub(crate) fn ssh(&self, command: &str) -> Command {
        self.provision(&["ssh", "--", command])
    }
}
