//! Memory: whether the region fits into `/dev/shm`, what huge pages there are, how much may be locked, and whether
//! a guest fits beside all that.

use ivshmem_proto::available_memory;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::unistd::{AccessFlags, access};
use rustix::process::{Resource, getrlimit};

use super::container;
use super::finding::Finding;
use super::host::{Host, about};
use crate::hugepages::{self, HugePage, Mount, Pool};

const AREA: &str = "memory";
/// The region of the main job (`--shm-size`'s default).
const REGION_BYTES: u64 = 64 << 20;
/// The Debian guest's memory (`--memory`'s default), and the micro guest's.
const DEBIAN_BYTES: u64 = 2 << 30;
const MICRO_BYTES: u64 = 512 << 20;
/// CAP_IPC_LOCK (capabilities(7)): whoever has it may lock any amount.
const CAP_IPC_LOCK: u64 = 14;

/// What is known of memory.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// `/dev/shm`.
    pub shm: Option<Shm>,
    /// Where huge pages are mounted.
    pub hugetlbfs: Vec<Mount>,
    /// The huge pages of each size that the machine has.
    pub huge: Vec<(HugePage, Pool)>,
    /// The policy of transparent huge pages in shared memory.
    pub transparent: Option<String>,
    /// Bytes that programs can have without swapping.
    pub available_bytes: Option<u64>,
    /// The most bytes this container may use, where there is a limit.
    pub container_bytes: Option<u64>,
    /// The most bytes this process may lock; `None` for no limit.
    pub lock_limit_bytes: Option<u64>,
}

/// A `/dev/shm`.
#[derive(Debug, Clone, Copy)]
pub struct Shm {
    /// Whether it lies in memory.
    pub tmpfs: bool,
    /// Whether this user may make files there.
    pub writable: bool,
    /// Its size.
    pub size_bytes: u64,
    /// What is free for this user.
    pub free_bytes: u64,
}

/// Looks.
pub fn probe(host: &Host<'_>) -> Facts {
    let huge = HugePage::ALL.into_iter().filter_map(|page| Some((page, Pool::read(&host.root, page)?)));
    let policy = host.read("sys/kernel/mm/transparent_hugepage/shmem_enabled").unwrap_or_default();
    Facts {
        shm: shm(host),
        hugetlbfs: hugepages::read(&host.read("proc/self/mounts").unwrap_or_default()),
        huge: huge.collect(),
        transparent: chosen(&policy).map(str::to_owned),
        available_bytes: available_memory::in_meminfo(&host.read("proc/meminfo").unwrap_or_default()),
        container_bytes: container::limit_bytes(host),
        lock_limit_bytes: lock_limit(&host.read("proc/self/status").unwrap_or_default()),
    }
}

fn shm(host: &Host<'_>) -> Option<Shm> {
    let path = host.path("dev/shm");
    let found = statfs(&path).ok()?;
    let block_bytes = u64::try_from(found.block_size()).unwrap_or(0);
    Some(Shm {
        tmpfs: found.filesystem_type() == TMPFS_MAGIC,
        writable: access(&path, AccessFlags::W_OK | AccessFlags::X_OK).is_ok(),
        size_bytes: found.blocks().saturating_mul(block_bytes),
        free_bytes: found.blocks_available().saturating_mul(block_bytes),
    })
}

fn lock_limit(status: &str) -> Option<u64> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let capabilities = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    if capabilities >> CAP_IPC_LOCK & 1 == 1 { None } else { getrlimit(Resource::Memlock).current }
}

/// The chosen word of `always within_size [never]`.
fn chosen(policy: &str) -> Option<&str> {
    policy.split_once('[')?.1.split_once(']').map(|(word, _)| word)
}

/// Judges.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    vec![
        region(facts.shm.as_ref()),
        huge_pages(facts),
        free(facts.available_bytes, facts.container_bytes),
        locking(facts.lock_limit_bytes),
    ]
}

fn region(shm: Option<&Shm>) -> Finding {
    const NAME: &str = "/dev/shm";
    let Some(shm) = shm else {
        let remedy = "'sudo mkdir -p /dev/shm && sudo mount -t tmpfs -o mode=1777 tmpfs /dev/shm'";
        return Finding::missing(AREA, NAME, "absent", remedy);
    };
    let sizes = format!("{}, {} free", about(shm.size_bytes), about(shm.free_bytes));
    let wanted = about(REGION_BYTES);
    if !shm.writable {
        return Finding::missing(AREA, NAME, "not writable for this user", "'sudo chmod 1777 /dev/shm'");
    }
    if shm.size_bytes < REGION_BYTES {
        let remedy = "'sudo mount -o remount,size=1G /dev/shm'; a container is started with '--shm-size 1g'";
        return Finding::missing(AREA, NAME, format!("{sizes}: the region of {wanted} does not fit"), remedy);
    }
    if shm.free_bytes < REGION_BYTES {
        let remedy =
            "remove what is not needed: 'ls -l /dev/shm'; regions of VMs that run go with 'provision down'";
        return Finding::missing(AREA, NAME, format!("{sizes}: the region of {wanted} does not fit"), remedy);
    }
    if !shm.tmpfs {
        let remedy = "'sudo mount -t tmpfs -o mode=1777 tmpfs /dev/shm'";
        return Finding::degraded(
            AREA,
            NAME,
            format!("{sizes}, but no tmpfs: the region is written to a disk"),
            remedy,
        );
    }
    Finding::ok(AREA, NAME, format!("tmpfs, {sizes}; the region takes {wanted}"))
}

/// Nothing needs them but `up --hugepages`: advice only.
fn huge_pages(facts: &Facts) -> Finding {
    const NAME: &str = "huge pages";
    let pools = facts.huge.iter().map(|(page, pool)| match pool.total {
        0 => format!("none of {page} reserved"),
        total => format!("{} of {total} of {page} free", pool.free),
    });
    let pools: Vec<String> = pools.collect();
    let pools = if pools.is_empty() { "this machine has none".to_owned() } else { pools.join(", ") };
    let mounts: Vec<String> =
        facts.hugetlbfs.iter().map(|mount| mount.directory.display().to_string()).collect();
    let mounted = if mounts.is_empty() {
        "hugetlbfs not mounted".to_owned()
    } else {
        format!("hugetlbfs at {}", mounts.join(", "))
    };
    let transparent = facts.transparent.as_deref().unwrap_or("not told");
    let seen = format!("{pools}, {mounted}; transparent ones in shared memory: {transparent}");
    let found = Finding::ok(AREA, NAME, seen);
    let needed = |page: HugePage| REGION_BYTES.div_ceil(page.bytes());
    let has_room = |(page, pool): &(HugePage, Pool)| pool.free >= needed(*page);
    match facts.huge.first() {
        Some((page, pool)) if !facts.huge.iter().any(has_room) => {
            let command = pool.remedy(*page, needed(*page));
            found.advising(format!("'{command}' makes room for 'provision up --hugepages'"))
        }
        _ => found,
    }
}

fn free(available_bytes: Option<u64>, container_bytes: Option<u64>) -> Finding {
    const NAME: &str = "free";
    let Some(bytes) = available_bytes else {
        return Finding::degraded(AREA, NAME, "not told: no MemAvailable in /proc/meminfo", "mount /proc");
    };
    let (bytes, whose) = match container_bytes {
        Some(limit) if limit < bytes => (limit, " for this container"),
        _ => (bytes, ""),
    };
    let seen = format!("{}{whose}", about(bytes));
    if bytes < MICRO_BYTES + REGION_BYTES {
        let seen = format!("{seen}: even the micro guest ({}) may not fit", about(MICRO_BYTES));
        return Finding::degraded(
            AREA,
            NAME,
            seen,
            "end other programs, or try 'provision up --memory 256M'",
        );
    }
    if bytes < DEBIAN_BYTES + REGION_BYTES {
        let seen =
            format!("{seen}: enough for the micro guest, not for the Debian guest ({})", about(DEBIAN_BYTES));
        return Finding::degraded(
            AREA,
            NAME,
            seen,
            "end other programs, or give the guest less with --memory 1G",
        );
    }
    Finding::ok(
        AREA,
        NAME,
        format!(
            "{seen}; the Debian guest takes {}, the micro guest {}",
            about(DEBIAN_BYTES),
            about(MICRO_BYTES)
        ),
    )
}

/// Nothing of ours locks memory so far, so a low limit is no fault: advice only.
fn locking(limit_bytes: Option<u64>) -> Finding {
    const NAME: &str = "locking";
    match limit_bytes {
        None => Finding::ok(AREA, NAME, "as much as there is"),
        Some(limit) if limit >= REGION_BYTES => Finding::ok(AREA, NAME, format!("up to {}", about(limit))),
        Some(limit) => Finding::ok(
            AREA,
            NAME,
            format!(
                "up to {}: a program of yours could not lock the region ({})",
                about(limit),
                about(REGION_BYTES)
            ),
        )
        .advising("a line '* - memlock 131072' in /etc/security/limits.d/ivshmem.conf, and log in again"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::finding::State;
    use super::*;

    /// A machine with room for all.
    pub(crate) fn roomy() -> Facts {
        Facts {
            shm: Some(Shm { tmpfs: true, writable: true, size_bytes: 16 << 30, free_bytes: 15 << 30 }),
            huge: vec![
                (HugePage::Size2M, Pool { free: 0, on_demand: 0, total: 0, is_default: true }),
                (HugePage::Size1G, Pool { free: 1, on_demand: 0, total: 2, is_default: false }),
            ],
            hugetlbfs: vec![Mount { directory: "/dev/hugepages".into(), page: Some(HugePage::Size2M) }],
            transparent: Some("never".to_owned()),
            available_bytes: Some(20 << 30),
            container_bytes: None,
            lock_limit_bytes: Some(8 << 20),
        }
    }

    fn shm_state(shm: Shm) -> State {
        region(Some(&shm)).state
    }

    #[test]
    fn the_region_must_fit_into_dev_shm() {
        let good = roomy().shm.unwrap();
        assert_eq!(shm_state(good), State::Ok);
        assert_eq!(region(None).state, State::Missing);
        assert_eq!(shm_state(Shm { size_bytes: 63 << 20, ..good }), State::Missing);
        assert_eq!(shm_state(Shm { free_bytes: 63 << 20, ..good }), State::Missing);
        assert_eq!(shm_state(Shm { writable: false, ..good }), State::Missing);
        assert_eq!(shm_state(Shm { tmpfs: false, ..good }), State::Degraded);
    }

    #[test]
    fn little_memory_degrades_first_the_debian_guest_then_the_micro_guest() {
        assert_eq!(free(Some(3 << 30), Some(u64::MAX)).state, State::Ok);
        let seen = |bytes| free(Some(bytes), None).seen;
        assert_eq!(seen(2 << 30), "2 GiB: enough for the micro guest, not for the Debian guest (2 GiB)");
        assert_eq!(seen(300 << 20), "300 MiB: even the micro guest (512 MiB) may not fit");
        assert_eq!(free(Some(3 << 30), Some(1 << 30)).state, State::Degraded);
        assert_eq!(free(None, None).state, State::Degraded);
    }

    #[test]
    fn a_low_lock_limit_is_advice_and_no_fault() {
        let low = locking(Some(8 << 20));
        assert_eq!(low.state, State::Ok);
        assert!(low.remedy.unwrap().contains("memlock 131072"));
        assert_eq!(locking(Some(64 << 20)).remedy, None);
        assert_eq!(locking(None).remedy, None);
    }

    #[test]
    fn huge_pages_are_counted_and_how_to_reserve_them_is_advice() {
        let found = huge_pages(&roomy());
        let seen = "none of 2 MiB reserved, 1 of 2 of 1 GiB free, hugetlbfs at /dev/hugepages; transparent ones \
                    in shared memory: never";
        assert_eq!((found.seen.as_str(), found.remedy), (seen, None));
        let pool = Pool { free: 31, on_demand: 0, total: 40, is_default: true };
        let few = Facts { huge: vec![(HugePage::Size2M, pool)], ..roomy() };
        let remedy =
            "'echo 41 | sudo tee /proc/sys/vm/nr_hugepages' makes room for 'provision up --hugepages'";
        let found = huge_pages(&few);
        assert_eq!((found.state, found.remedy.as_deref()), (State::Ok, Some(remedy)));
        let none = huge_pages(&Facts { huge: Vec::new(), hugetlbfs: Vec::new(), ..roomy() });
        assert!(none.seen.starts_with("this machine has none, hugetlbfs not mounted; "), "{}", none.seen);
    }

    #[test]
    fn the_kernels_words_are_read() {
        assert_eq!((chosen("always [never] deny"), chosen("")), (Some("never"), None));
        assert_eq!(lock_limit("CapEff:\t000001ffffffffff\n"), None);
    }
}
