//! A region in huge pages, end to end: pages reserved by the test, a real micro guest, a real measurement, and nothing
//! left of it.

mod common;

use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{Place, fail, succeed};
use provision::hugepages::{HugePage, Pool};
use serde_json::Value;

/// One test at a time: they count the pages that are free.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

const FILE: &str = "/proc/sys/vm/nr_hugepages";

/// Huge pages reserved for a test, given back when it ends.
struct Reserved(u64);

impl Reserved {
    /// Reserves; where that is not possible, says why and returns `None`.
    fn pages(more: u64) -> Option<Self> {
        let pool = || Pool::read(Path::new("/"), HugePage::Size2M);
        let Some(before) = pool().filter(|pool| pool.is_default) else {
            eprintln!("skipped: this machine's usual huge pages are not of 2 MiB");
            return None;
        };
        if before.free >= more {
            return Some(Self(0));
        }
        if let Err(e) = fs::write(FILE, (before.total + more).to_string()) {
            eprintln!("skipped: no huge pages can be reserved: {FILE}: {e}");
            return None;
        }
        // Dropped, and so given back, when there are fewer than were asked for.
        let reserved = Self(pool().unwrap().total.saturating_sub(before.total));
        if reserved.0 < more {
            eprintln!("skipped: the kernel finds memory for {} of {more} huge pages", reserved.0);
            return None;
        }
        Some(reserved)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let total = Pool::read(Path::new("/"), HugePage::Size2M).map_or(0, |pool| pool.total);
        let _ = fs::write(FILE, total.saturating_sub(self.0).to_string());
    }
}

/// `up` without a region's file of its own.
fn up(place: &Place, name: &str, args: &[&str]) -> std::process::Command {
    let mut command = place.provision(&["up", "--guest", "micro", "--accel", "tcg", "--name", name]);
    command.arg("--hugepages").args(args);
    command
}

/// The page size of the mapping of `file` in a process, in kB.
fn kernel_page_size_kb(pid: &Value, file: &str) -> Option<u64> {
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let mut lines = smaps.lines().skip_while(|line| !line.ends_with(file));
    let size = lines.find_map(|line| line.strip_prefix("KernelPageSize:"))?;
    size.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[test]
fn a_region_in_huge_pages_is_measured_and_given_back() {
    let _turn = alone();
    let Some(_reserved) = Reserved::pages(8) else { return };
    let (place, name) = (Place::new(), format!("huge{}", std::process::id()));
    let results = tempfile::tempdir().unwrap();
    let (out, err) = succeed(&mut up(&place, &name, &["--shm-size", "16M", "--json"]));
    let vm: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}\n{err}"));
    assert_eq!((&vm["hugepages"], &vm["shm_bytes"]), (&"2M".into(), &(16 << 20).into()));
    let region = vm["shm_path"].as_str().unwrap();
    assert!(region.ends_with(&format!("/ivshmem-{name}")), "{region}");
    assert_eq!(HugePage::of(Path::new(region)), Some(HugePage::Size2M));
    assert_eq!(kernel_page_size_kb(&vm["pid"], region), Some(2048));
    let (out, _) = succeed(&mut place.provision(&["status"]));
    assert!(out.contains("16 MiB in huge pages of 2 MiB"), "{out}");

    let host_writer = assert_cmd::cargo::cargo_bin!("provision").with_file_name("host-writer");
    let mut run = place.provision(&["run", "--out"]);
    run.arg(results.path()).arg("--host-writer").arg(host_writer);
    succeed(run.args(["--", "--messages", "1000", "--frames", "1080p", "--iterations", "2", "--quiet"]));
    let rows = |file: &str| fs::read_to_string(results.path().join(file)).unwrap();
    assert_eq!(rows("latency_results.csv").lines().filter(|line| line.contains(",ok")).count(), 1000);
    assert_eq!(rows("bandwidth_results.csv").lines().filter(|line| line.contains(",ok,")).count(), 2);

    succeed(&mut place.provision(&["down"]));
    place.assert_clean();
    assert!(!Path::new(region).exists());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(place.state().to_str().unwrap()), "a mount is left: {mounts}");
}

/// Where none is mounted, each VM has one of its own, which is no place for the next.
#[test]
fn two_vms_have_their_regions_in_huge_pages_and_one_outlives_the_other() {
    let _turn = alone();
    let Some(_reserved) = Reserved::pages(16) else { return };
    let place = Place::new();
    let names = ["one", "two"].map(|name| format!("{name}{}", std::process::id()));
    let regions = names.each_ref().map(|name| {
        let (out, err) = succeed(&mut up(&place, name, &["--shm-size", "16M", "--json"]));
        let vm: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}\n{err}"));
        vm["shm_path"].as_str().unwrap().to_owned()
    });
    succeed(&mut place.provision(&["down", "--name", &names[0]]));
    assert!(!Path::new(&regions[0]).exists());
    assert_eq!(HugePage::of(Path::new(&regions[1])), Some(HugePage::Size2M));
    succeed(&mut place.provision(&["down", "--name", &names[1]]));
    place.assert_clean();
}

#[test]
fn a_region_that_finds_no_pages_is_told_how_many_to_reserve_and_leaves_nothing() {
    let _turn = alone();
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root has a hugetlbfs wherever there is none");
        return;
    }
    let Some(pool) = Pool::read(Path::new("/"), HugePage::Size2M) else {
        eprintln!("skipped: this machine has no huge pages of 2 MiB");
        return;
    };
    let place = Place::new();
    // More than there is on any machine.
    let line = fail(&mut up(&place, "nopages", &["--shm-size", "1024G"]), 1);
    let pages = (1 << 40) / (2 << 20) + pool.total - pool.free;
    let free = if pool.free == 0 { "no 2 MiB huge pages are free (0 of " } else { "only " };
    assert!(line.starts_with(&format!("provision: {free}")), "{line}");
    assert!(line.contains(&format!("; reserve them: echo {pages} | sudo tee /")), "{line}");
    place.assert_clean();
}

#[test]
fn a_file_that_is_not_in_huge_pages_is_refused() {
    let place = Place::new();
    let line = fail(up(&place, "a", &["--shm"]).arg(place.region()), 1);
    assert!(line.contains("not on a hugetlbfs with pages of 2 MiB"), "{line}");
    place.assert_clean();
}
