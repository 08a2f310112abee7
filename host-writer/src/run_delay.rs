//! How long the threads of a run were ready and had no CPU: the one that measures, and those that answer it.
//!
//! Clock gaps do not show all of it. A thread that loses its CPU between two steps of a message, and finds everything done at
//! its first look afterwards, makes no two readings that a watch compares. The scheduler counts each of these pauses; time
//! that a thread sleeps because it means to is not in them.

use std::path::Path;

use crate::native_guest::NativeGuest;
use crate::vcpu::{Delays, VcpuThreads, run_delay_of};

/// The threads that answer: vCPUs, and guests that are processes of this host.
#[derive(Debug, Clone, Default)]
pub struct Answering {
    /// Of VMs.
    pub vcpus: VcpuThreads,
    /// The others.
    pub natives: Vec<NativeGuest>,
}

/// What the scheduler did to the threads of a run so far, or between two moments; `None` where it is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RunDelays {
    /// Time the calling thread was ready to run and had no CPU.
    pub(crate) own_ns: Option<u64>,
    /// The same of native guests, all of them together.
    pub(crate) guest_ns: Option<u64>,
    /// The same of the vCPUs, and their preemptions.
    pub(crate) vcpu: Option<Delays>,
}

impl RunDelays {
    /// Now, for the calling thread and those that answer it.
    pub(crate) fn now(answering: &Answering) -> Self {
        let natives = answering.natives.iter().map(NativeGuest::run_delay_ns);
        Self {
            own_ns: run_delay_of(Path::new("/proc/thread-self")),
            guest_ns: natives.reduce(|sum, next| Some(sum? + next?)).flatten(),
            vcpu: answering.vcpus.delays(),
        }
    }

    /// What came since `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let came = |is: Option<u64>, was| is.zip(was).map(|(is, was): (u64, u64)| is.saturating_sub(was));
        Self {
            own_ns: came(self.own_ns, before.own_ns),
            guest_ns: came(self.guest_ns, before.guest_ns),
            vcpu: self.vcpu.zip(before.vcpu).map(|(is, was)| Delays {
                run_delay_ns: is.run_delay_ns.saturating_sub(was.run_delay_ns),
                involuntary_switches: is.involuntary_switches.saturating_sub(was.involuntary_switches),
            }),
        }
    }

    /// Those that are known, in nanoseconds, and whose they are.
    pub(crate) fn known(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let vcpu_ns = self.vcpu.map(|vcpu| vcpu.run_delay_ns);
        [("this thread", self.own_ns), ("the guest's thread", self.guest_ns), ("the vCPU", vcpu_ns)]
            .into_iter()
            .filter_map(|(whose, ns)| Some((whose, ns?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ivshmem_proto::mapping::Mapping;
    use ivshmem_proto::report::GuestThread;
    use ivshmem_proto::wire::MapKind;

    #[test]
    fn this_thread_is_known_and_a_guest_only_while_all_of_them_are() {
        let file = tempfile::Builder::new().tempfile_in("/dev/shm").unwrap();
        file.as_file().set_len(64 << 10).unwrap();
        let map = Mapping::open(file.path()).unwrap();
        let pid = std::process::id();
        let native = |tid| NativeGuest::of(MapKind::File, Some(GuestThread { pid, tid }), &map).unwrap();
        let of = |natives: Vec<_>| RunDelays::now(&Answering { natives, ..Answering::default() });
        let alone = of(vec![]);
        assert!(alone.own_ns.is_some() && alone.guest_ns.is_none() && alone.vcpu.is_none(), "{alone:?}");
        assert!(of(vec![native(pid), native(pid)]).guest_ns.is_some());
        // Thread 1 is of another process: such a guest has died.
        assert_eq!(of(vec![native(pid), native(1)]).guest_ns, None);
    }

    #[test]
    fn what_came_between_is_a_difference_and_unknown_where_either_end_is() {
        let vcpu = |ns, involuntary_switches| Some(Delays { run_delay_ns: ns, involuntary_switches });
        let before = RunDelays { own_ns: Some(5), guest_ns: Some(7), vcpu: vcpu(1, 2) };
        let after = RunDelays { own_ns: Some(8), guest_ns: None, vcpu: vcpu(11, 5) };
        let came = after.since(&before);
        assert_eq!(came, RunDelays { own_ns: Some(3), guest_ns: None, vcpu: vcpu(10, 3) });
        assert_eq!(came.known().collect::<Vec<_>>(), [("this thread", 3), ("the vCPU", 10)]);
        assert_eq!(after.since(&RunDelays::default()), RunDelays::default());
    }
}
