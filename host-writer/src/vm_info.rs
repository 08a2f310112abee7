//! The state that `provision` keeps of its virtual machines: found by the region they share with us.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use ivshmem_proto::lane::Lane;
use ivshmem_proto::wire::MapKind;
use serde_json::Value;

/// Where VM states lie: `$IVSHMEM_STATE_DIR`, else `$XDG_STATE_HOME/ivshmem`, else `~/.local/state/ivshmem`.
#[must_use]
pub fn state_root() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("IVSHMEM_STATE_DIR")
        .or_else(|| set("XDG_STATE_HOME").map(|d| d.join("ivshmem")))
        .or_else(|| set("HOME").map(|d| d.join(".local/state/ivshmem")))
}

/// The state (`vm.json`) of the live VM below `root` whose region is `shm`, or whose server listens at `socket`, and whose
/// guest may answer in `lane`; `None`, too, when several may.
#[must_use]
pub fn find(root: &Path, shm: &Path, socket: Option<&Path>, lane: Lane) -> Option<Value> {
    let is = |said: &Value, ours: Option<&Path>| {
        let (said, ours) = (said.as_str().map(fs::canonicalize), ours.map(fs::canonicalize));
        matches!((said, ours), (Some(Ok(said)), Some(Ok(ours))) if said == ours)
    };
    let same = |vm: &Value| is(&vm["shm_path"], Some(shm)) || is(&vm["doorbell"]["socket"], socket);
    let mut found = fs::read_dir(root)
        .ok()?
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path().join("vm.json")).ok())
        .filter_map(|text| serde_json::from_str::<Value>(&text).ok())
        .filter(|vm| same(vm) && is_alive(vm) && may_answer(vm, lane));
    let first = found.next();
    first.filter(|_| found.next().is_none())
}

/// Whether its guest answers in `lane`, by its own word where it has given one: the micro guest's program does that when it
/// is ready, a Debian guest's is started later.
fn may_answer(vm: &Value, lane: Lane) -> bool {
    let ready = vm["ready"].as_str().unwrap_or_default();
    let said = |key: &str| ready.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    let its = said("lane").map_or(Some(Lane::WHOLE), |text| text.parse().ok());
    vm["guest"] != "micro" || (its == Some(lane) && said("initiate").is_none())
}

/// Whether the recorded process still is that process: same pid, same start time (field 22 of /proc/PID/stat).
fn is_alive(vm: &Value) -> bool {
    let (Some(pid), Some(start)) = (vm["pid"].as_u64(), vm["pid_start_time_ticks"].as_u64()) else {
        return false;
    };
    // The command in parentheses may hold spaces; fields are counted from behind it.
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse::<u64>().ok())
        == Some(start)
}

/// The CPUs its vCPU threads are pinned to.
#[must_use]
pub fn vcpu_cpus(vm: &Value) -> Vec<u32> {
    let threads = vm["vcpu_threads"].as_array().into_iter().flatten();
    threads.filter_map(|thread| thread["cpu"].as_u64()?.try_into().ok()).collect()
}

/// Which VM a guest that maps the region as `guest` says runs in, of the one `found` on its region: that VM, and else the
/// name of the VM that it does not run in. A process on this host may serve the region of a VM, too.
#[must_use]
pub fn of_guest(found: Option<Value>, guest: MapKind) -> (Option<Value>, Option<String>) {
    match found {
        Some(vm) if guest == MapKind::File => {
            (None, Some(vm["name"].as_str().unwrap_or("unknown").to_owned()))
        }
        found => (found, None),
    }
}

/// What `provision run --guest-load` runs in the guest while we measure.
#[must_use]
pub fn guest_load() -> Option<String> {
    env::var("IVSHMEM_GUEST_LOAD").ok().filter(|command| !command.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// When this process started, in clock ticks since boot.
    fn own_start() -> u64 {
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap()
    }

    fn state(root: &Path, name: &str, shm: &Path, pid: u32, start: u64) {
        fs::create_dir(root.join(name)).unwrap();
        let vm = json!({"name": name, "shm_path": shm, "pid": pid, "pid_start_time_ticks": start,
            "vcpu_threads": [{"vcpu": 0, "tid": 1, "cpu": 1}, {"vcpu": 1, "tid": 2, "cpu": null}]});
        fs::write(root.join(name).join("vm.json"), vm.to_string()).unwrap();
    }

    #[test]
    fn only_the_live_vm_of_this_region_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, other) = (dir.path().join("ours"), dir.path().join("other"));
        fs::write(&ours, "").unwrap();
        fs::write(&other, "").unwrap();
        let root = dir.path().join("state");
        fs::create_dir(&root).unwrap();
        let start = own_start();
        let me = std::process::id();
        state(&root, "elsewhere", &other, me, start);
        state(&root, "dead", &ours, me, start + 1);
        assert_eq!(find(&root, &ours, None, Lane::WHOLE), None);
        state(&root, "live", &ours, me, start);
        let found = find(&root, &ours, None, Lane::WHOLE).unwrap();
        assert_eq!(found["name"], "live");
        assert_eq!(vcpu_cpus(&found), [1]);
        // Neither is a file.
        let gone = dir.path().join("gone");
        state(&root, "without", &gone, me, start);
        assert_eq!(find(&root, &gone, None, Lane::WHOLE), None);
    }

    #[test]
    fn a_vm_whose_region_has_no_name_is_found_by_its_server() {
        let dir = tempfile::tempdir().unwrap();
        let (root, socket) = (dir.path().join("state"), dir.path().join("socket"));
        fs::create_dir_all(root.join("rung")).unwrap();
        fs::write(&socket, "").unwrap();
        let start = own_start();
        let vm = json!({"name": "rung", "shm_path": null, "pid": std::process::id(), "pid_start_time_ticks": start,
            "doorbell": {"socket": socket}});
        fs::write(root.join("rung/vm.json"), vm.to_string()).unwrap();
        let memfd = Path::new("/memfd:ivshmem (deleted)");
        assert_eq!(find(&root, memfd, None, Lane::WHOLE), None);
        assert_eq!(find(&root, memfd, Some(&socket), Lane::WHOLE).unwrap()["name"], "rung");
    }

    #[test]
    fn of_several_vms_at_one_server_the_one_in_our_lane_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (root, shm) = (dir.path().join("state"), dir.path().join("shm"));
        fs::write(&shm, "").unwrap();
        let start = own_start();
        let add = |name: &str, guest: &str, ready: &str| {
            fs::create_dir_all(root.join(name)).unwrap();
            let vm = json!({"name": name, "shm_path": shm, "pid": std::process::id(), "pid_start_time_ticks": start,
                "guest": guest, "ready": ready});
            fs::write(root.join(name).join("vm.json"), vm.to_string()).unwrap();
        };
        let name = |lane: &str| find(&root, &shm, None, lane.parse().unwrap()).map(|vm| vm["name"].clone());
        add("a", "micro", "READY version=0.1.0 lane=0/2");
        add("b", "micro", "READY version=0.1.0 lane=1/2");
        add("c", "micro", "READY version=0.1.0 lane=1/2 initiate=5");
        assert_eq!((name("0/2"), name("1/2"), name("0/1")), (Some("a".into()), Some("b".into()), None));
        // It may be in any.
        add("d", "debian", "READY");
        assert_eq!((name("0/2"), name("0/4")), (None, Some("d".into())));
    }
}
