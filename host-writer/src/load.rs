//! Load beside the test, from stress-ng: what the memory path gives when the machine has other work.
//!
//! Its workers run until they are stopped, as ordinary processes on every CPU this process was given (host-writer
//! itself is pinned, and may run in real time: neither may be handed down). Nothing of it outlives host-writer, however
//! that ends: the kernel tells stress-ng of its parent's death, and stress-ng takes its workers and their files along.
#![allow(unsafe_code, reason = "what a child inherits is set between fork and exec")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::libc;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getpid, getppid};
use serde::Serialize;

pub use crate::load_spec::{BadLoad, LoadSpec};
use crate::process_group::{Member, members};
use crate::stress_ng::{STRESS_NG, arguments, cannot_run, is_running, owner_of, shown, version};

/// How long the workers may take to run: they fill their memory first, on a busy machine.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// How long they may take to end when asked.
const STOP_DEADLINE: Duration = Duration::from_secs(5);
/// Between two looks at /proc.
const LOOK: Duration = Duration::from_millis(20);
/// A running load. Dropping it kills it.
#[derive(Debug)]
pub struct Load {
    spec: LoadSpec,
    child: Child,
    output: File,
    directory: PathBuf,
    version: String,
    command: String,
    started: Instant,
    /// The workers seen so far, whose files may have to be removed.
    workers: BTreeSet<u32>,
    /// Everything is gone and reaped: from then on its id may be another's.
    over: bool,
}

/// What ran beside the test.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoadRecord {
    /// What was asked for.
    pub spec: LoadSpec,
    /// Workers that ran from the start to the end.
    pub workers: u32,
    /// How long they ran, in seconds.
    pub seconds: f64,
    /// The program's version.
    pub version: String,
    /// The command line.
    pub command: String,
}

impl Load {
    /// Starts the workers on the CPUs `allowed` and returns once all of them run. I/O workers write below
    /// `directory_for_io`, which must exist.
    ///
    /// Call it from a thread that lives as long as the load: the kernel ends the load with the thread that
    /// started it (prctl(2), PR_SET_PDEATHSIG).
    ///
    /// # Errors
    /// No stress-ng, one that ends at once (with its last line), or workers that do not run within 30 seconds.
    pub fn start(spec: &LoadSpec, directory_for_io: &Path, allowed: &[u32]) -> anyhow::Result<Self> {
        Self::start_program(STRESS_NG, spec, directory_for_io, allowed)
    }

    fn start_program(
        program: &str,
        spec: &LoadSpec,
        directory: &Path,
        allowed: &[u32],
    ) -> anyhow::Result<Self> {
        let version = version(program)?;
        let output = tempfile::tempfile().context("make a file for the output of stress-ng")?;
        let mut command = Command::new(program);
        command.args(arguments(spec)).arg("--temp-path").arg(directory);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output.try_clone()?);
        // Ctrl-C is for host-writer alone, which then stops the load.
        command.process_group(0);
        let mut cpus = CpuSet::new();
        for &cpu in allowed {
            cpus.set(cpu as usize).with_context(|| format!("let the load run on CPU {cpu}"))?;
        }
        let parent = getpid();
        // SAFETY: between fork and exec only system calls are made, on values made before the fork: nothing
        // allocates and no lock is taken, so it does not matter where other threads stood.
        unsafe { command.pre_exec(move || become_ordinary(&cpus, parent)) };
        let shown = shown(&command);
        let child = command.spawn().map_err(|error| cannot_run(&error))?;
        let mut load = Self {
            spec: *spec,
            child,
            output,
            directory: directory.to_owned(),
            version,
            command: shown,
            started: Instant::now(),
            workers: BTreeSet::new(),
            over: false,
        };
        load.wait_for_workers()?;
        load.started = Instant::now();
        Ok(load)
    }

    fn wait_for_workers(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            let running = self.look().iter().filter(|worker| is_running(worker)).count();
            if running >= self.spec.workers() as usize {
                return Ok(());
            }
            if self.has_ended() {
                bail!("the load ended at once: {}", self.last_line());
            }
            if Instant::now() >= deadline {
                bail!(
                    "only {running} of {} workers of the load run after {} seconds; ask for fewer",
                    self.spec.workers(),
                    START_DEADLINE.as_secs()
                );
            }
            sleep(LOOK);
        }
    }

    /// The command line that runs.
    #[must_use]
    pub fn command(&self) -> &str {
        &self.command
    }

    /// The version of stress-ng.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The process group of all of it.
    #[must_use]
    pub fn process_group(&self) -> u32 {
        self.child.id()
    }

    /// Ends the load and says what ran.
    ///
    /// # Errors
    /// It ended before it was told to, or lost workers: the results were not taken under this load.
    pub fn stop(mut self) -> anyhow::Result<LoadRecord> {
        let seconds = self.started.elapsed().as_secs_f64();
        if self.has_ended() {
            bail!("the load ended before the test did: {}", self.last_line());
        }
        let (workers, asked) = (self.look().len() as u32, self.spec.workers());
        let group = Pid::from_raw(self.child.id().cast_signed());
        // stress-ng then tells its workers, which remove their files. An error means that it ended by itself.
        let _ = killpg(group, Signal::SIGINT);
        let deadline = Instant::now() + STOP_DEADLINE;
        while !self.has_ended() && Instant::now() < deadline {
            sleep(LOOK);
        }
        self.end();
        if workers < asked {
            bail!("of the load's {asked} workers {workers} were left at the end: {}", self.last_line());
        }
        Ok(LoadRecord {
            spec: self.spec,
            workers: asked,
            seconds,
            version: self.version.clone(),
            command: self.command.clone(),
        })
    }

    /// The workers that are there now, running or starting; remembers them.
    fn look(&mut self) -> Vec<Member> {
        let mut workers = members(self.child.id());
        workers.retain(|member| member.is_alive() && member.name.starts_with("stress-ng-"));
        self.workers.extend(workers.iter().map(|worker| worker.pid));
        workers
    }

    /// Whether stress-ng itself ended. It is not reaped for the answer: until it is, nobody else can get its id.
    fn has_ended(&self) -> bool {
        !members(self.child.id()).iter().any(|member| member.pid == self.child.id() && member.is_alive())
    }

    /// Kills whatever is left, waits until it is gone, and removes its files. Does no harm the second time.
    fn end(&mut self) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        let deadline = Instant::now() + STOP_DEADLINE;
        loop {
            self.look();
            let alive = members(self.child.id()).iter().any(Member::is_alive);
            if !alive || Instant::now() >= deadline {
                break;
            }
            let _ = killpg(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGKILL);
            sleep(LOOK);
        }
        let _ = self.child.wait();
        self.remove_files();
    }

    /// Removes the directories of workers that were killed; the others removed their own.
    fn remove_files(&self) {
        for entry in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.to_str().and_then(owner_of).is_some_and(|pid| self.workers.contains(&pid)) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    fn last_line(&mut self) -> String {
        let mut text = Vec::new();
        let read = self.output.rewind().and_then(|()| self.output.read_to_end(&mut text));
        let text = String::from_utf8_lossy(&text);
        let last = text.lines().map(str::trim).rfind(|line| !line.is_empty());
        read.ok().and(last).unwrap_or("stress-ng said nothing").to_owned()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the child does between fork and exec: gives up what host-writer's thread has and an ordinary process has not.
fn become_ordinary(cpus: &CpuSet, parent: Pid) -> io::Result<()> {
    let ordinary = libc::sched_param { sched_priority: 0 };
    // SAFETY: the pointer is to a value that outlives the call.
    if unsafe { libc::sched_setscheduler(0, libc::SCHED_OTHER, &raw const ordinary) } != 0 {
        return Err(io::Error::last_os_error());
    }
    sched_setaffinity(Pid::from_raw(0), cpus)?;
    // SIGTERM, which stress-ng passes on: killed outright it could leave a worker behind that it is just forking.
    set_pdeathsig(Signal::SIGTERM)?;
    // The parent may have died before that.
    if getppid() == parent { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_stress_ng_one_line_says_what_to_install() {
        let spec = "cpu=1".parse().unwrap();
        let error =
            Load::start_program("/nonexistent/stress-ng", &spec, Path::new("/tmp"), &[0]).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "--load needs stress-ng, which is not in PATH; install it (Debian: apt install stress-ng)"
        );
    }
}
