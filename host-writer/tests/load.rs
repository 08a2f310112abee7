//! The load, with the real stress-ng: where it runs, what it leaves, and that nothing of it is ever left.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use host_writer::load::{Load, LoadSpec};
use host_writer::process_group::{Member, members};
use ivshmem_proto::affinity::{allowed_cpus, pin_current_thread};
use nix::sched::sched_getaffinity;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// In the environment of a process that is to be killed: where its load writes.
const VICTIM: &str = "HOST_WRITER_TEST_VICTIM";

fn spec(text: &str) -> LoadSpec {
    text.parse().unwrap()
}

/// Those that have not ended; who reaps orphans, and when, is not ours to say.
fn alive(group: u32) -> Vec<Member> {
    let mut all = members(group);
    all.retain(Member::is_alive);
    all
}

fn workers(group: u32) -> Vec<Member> {
    let mut all = alive(group);
    all.retain(|member| member.name.starts_with("stress-ng-"));
    all
}

/// Field 41 of /proc/<pid>/stat (proc(5)).
fn policy(pid: u32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(38).unwrap().to_owned()
}

fn files(directory: &Path) -> Vec<String> {
    fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn every_kind_of_worker_runs_on_all_cpus_though_this_thread_is_pinned() {
    let dir = tempfile::tempdir().unwrap();
    let allowed = allowed_cpus().unwrap();
    pin_current_thread(allowed[0]).unwrap();
    let load = Load::start(&spec("cpu=1,memory=1,io=1"), dir.path(), &allowed).unwrap();
    let group = load.process_group();
    let mut names: Vec<_> = workers(group).into_iter().map(|worker| worker.name).collect();
    names.sort();
    assert_eq!(names, ["stress-ng-cpu", "stress-ng-hdd", "stress-ng-strea"]);
    for worker in workers(group) {
        let set = sched_getaffinity(Pid::from_raw(worker.pid as i32)).unwrap();
        assert!(allowed.iter().all(|&cpu| set.is_set(cpu as usize).unwrap()), "{worker:?}");
        assert_eq!(policy(worker.pid), "0", "{worker:?} is not scheduled as an ordinary process");
    }
    wait_until("the I/O worker writes", || files(dir.path()).len() == 1);
    assert!(load.version().starts_with(|c: char| c.is_ascii_digit()), "{}", load.version());

    let record = load.stop().unwrap();
    assert_eq!((record.spec, record.workers), (spec("cpu=1,memory=1,io=1"), 3));
    assert_eq!(
        record.command,
        format!(
            "stress-ng --timeout 0 --cpu 1 --cpu-method matrixprod --stream 1 --stream-l3-size 16M --hdd 1 \
             --hdd-bytes 256M --temp-path {}",
            dir.path().display()
        )
    );
    assert_eq!((alive(group), files(dir.path())), (vec![], vec![]));
}

#[test]
fn a_dropped_load_is_gone_with_its_files() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("tmp-stress-ng-hdd-1-0"), "not ours").unwrap();
    let load = Load::start(&spec("cpu=1,io=1"), dir.path(), &allowed_cpus().unwrap()).unwrap();
    let group = load.process_group();
    wait_until("the I/O worker writes", || files(dir.path()).len() == 2);
    drop(load);
    assert_eq!(alive(group), []);
    assert_eq!(files(dir.path()), ["tmp-stress-ng-hdd-1-0"]);
}

#[test]
fn a_load_that_died_during_the_test_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let load = Load::start(&spec("cpu=1,io=1"), dir.path(), &allowed_cpus().unwrap()).unwrap();
    let group = load.process_group();
    kill(Pid::from_raw(group as i32), Signal::SIGKILL).unwrap();
    wait_until("stress-ng is dead", || alive(group).iter().all(|member| member.pid != group));
    let error = load.stop().unwrap_err().to_string();
    assert!(error.starts_with("the load ended before the test did: stress-ng: info:"), "{error}");
    assert_eq!((alive(group), files(dir.path())), (vec![], vec![]));
}

#[test]
fn a_load_that_cannot_start_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("nowhere");
    let error = Load::start(&spec("io=1"), &nowhere, &allowed_cpus().unwrap()).unwrap_err().to_string();
    assert!(error.starts_with("the load ended at once: ") && error.contains("nowhere"), "{error}");
}

#[test]
fn a_killed_host_takes_its_load_along() {
    if let Some(dir) = env::var_os(VICTIM) {
        let allowed = allowed_cpus().unwrap();
        let load = Load::start(&spec("cpu=1,memory=1,io=1"), Path::new(&dir), &allowed).unwrap();
        println!("\ngroup={}", load.process_group());
        loop {
            std::thread::park();
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let mut victim = Command::new(env::current_exe().unwrap())
        .args(["--exact", "a_killed_host_takes_its_load_along", "--nocapture"])
        .env(VICTIM, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines().map(Result::unwrap);
    let group: u32 =
        lines.into_iter().find_map(|line| line.strip_prefix("group=")?.parse().ok()).expect("the load runs");
    assert_eq!(workers(group).len(), 3);
    victim.kill().unwrap();
    victim.wait().unwrap();
    wait_until("the load is gone", || alive(group).is_empty());
    assert_eq!(files(dir.path()), [""; 0]);
}
