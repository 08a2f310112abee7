//! The doorbell server of a VM: this very program, started beside QEMU in a session of its own, and ended after it.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::config::UpConfig;
use crate::doorbell_server::{MemoryKind, is_memfd};
use crate::interrupt::{Interrupts, unblocked};
use crate::name::VmName;
use crate::process::{Process, ProcessId};
use crate::qemu::complaint::last_words;
use crate::qemu::process::in_own_session;
use crate::state::VmDirectory;
use crate::wait::readable;

/// Longest wait for the server to listen. It takes a millisecond, and allocating a large memfd some hundreds.
const LISTENS_WITHIN: Duration = Duration::from_secs(30);

/// What is recorded of a VM's doorbell server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoorbellRecord {
    /// Its pid.
    pub server_pid: u32,
    /// Its start, in clock ticks since boot.
    pub server_pid_start_time_ticks: u64,
    /// Where it listens.
    pub socket: PathBuf,
    /// Interrupts of each peer.
    pub vectors: u16,
    /// Which memory its peers share.
    pub memory: MemoryKind,
    /// The VM whose server it is, when that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined: Option<VmName>,
}

impl DoorbellRecord {
    /// Its process.
    pub fn server(&self) -> ProcessId {
        ProcessId { pid: self.server_pid, start_time_ticks: self.server_pid_start_time_ticks }
    }
}

/// A server we started. Dropping it kills it, unless it was [`Server::release`]d.
#[derive(Debug)]
pub struct Server {
    child: Option<Child>,
    process: Process,
    log: PathBuf,
    /// What the record will say.
    pub record: DoorbellRecord,
}

impl Server {
    /// Starts the server of a VM that shall have one of its own. The region's file is there already.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(config: &UpConfig, directory: &VmDirectory) -> Result<Option<Self>, Error> {
        let Some(vectors) = config.doorbell_vectors.filter(|_| config.join.is_none()) else {
            return Ok(None);
        };
        let failed = |e| Error::io("start the doorbell server", e);
        let (socket, log) = (directory.doorbell_socket(), directory.doorbell_log());
        let region = &config.region.path;
        let program = std::env::current_exe().map_err(failed)?;
        let stderr = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&log);
        let mut command = Command::new(program);
        command
            .args([
                "doorbell-server",
                "--vectors",
                &vectors.to_string(),
                "--size",
                &config.shm_bytes.to_string(),
            ])
            .arg("--socket")
            .arg(&socket)
            .arg("--shm")
            .arg(region)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr.map_err(failed)?)
            .current_dir("/");
        in_own_session(&mut command);
        let mut child = unblocked(&mut command).spawn().map_err(failed)?;
        let process = ProcessId::open_child(&child).inspect_err(|_| {
            let _ = child.kill();
            let _ = child.wait();
        });
        let process = process.map_err(failed)?;
        let ProcessId { pid: server_pid, start_time_ticks: server_pid_start_time_ticks } = process.id();
        let memory = if is_memfd(region) { MemoryKind::Memfd } else { MemoryKind::File };
        let record =
            DoorbellRecord { server_pid, server_pid_start_time_ticks, socket, vectors, memory, joined: None };
        Ok(Some(Self { child: Some(child), process, log, record }))
    }

    /// Who it is.
    pub fn id(&self) -> ProcessId {
        self.process.id()
    }

    /// Waits until it listens, which it says in a line.
    ///
    /// # Errors
    /// It says something else, or nothing, or the user stops it.
    pub fn listens(&mut self, interrupts: &Interrupts) -> Result<(), Error> {
        let failed = |e| Error::io("hear the doorbell server", e);
        let Some(out) = self.child.as_mut().and_then(|child| child.stdout.take()) else { return Ok(()) };
        let deadline = Instant::now() + LISTENS_WITHIN;
        let [said, stop] = readable([out.as_fd(), interrupts.as_fd()], Some(deadline)).map_err(failed)?;
        if stop && !said {
            interrupts.check()?;
        }
        if !said {
            return Err(Error::DoorbellServer { said: "it does not say that it listens".to_owned() });
        }
        // It writes the line at once, or ends.
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).map_err(failed)?;
        if line.starts_with("listening on ") {
            return Ok(());
        }
        let said = last_words(&self.log().map_err(failed)?);
        Err(Error::DoorbellServer { said: said.trim_start_matches("provision: ").to_owned() })
    }

    fn log(&self) -> io::Result<String> {
        let mut text = Vec::new();
        File::open(&self.log)?.read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Lets it live on after this process.
    pub fn release(mut self) {
        self.child = None;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
