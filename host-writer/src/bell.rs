//! The host's doorbell: ringing the guest, being rung by it, sleeping until then.
//!
//! Only there with `--server`. Peers come and go while a run lasts: a guest that has left ends it, a server that has ended
//! does not, because doorbells that are connected need no server.

use std::time::Duration;

use anyhow::{bail, ensure};
use ivshmem_proto::adaptive::{self, Adaptive, FIRST_LOOKS};
use ivshmem_proto::clock::{Clock, Ticks};
use ivshmem_proto::doorbell::Ring;
use ivshmem_proto::event::{Event, Woken};
use ivshmem_proto::host::Host;
use ivshmem_proto::mapping::Mapping;
use ivshmem_proto::peers::Peers;
use ivshmem_proto::report::GuestReport;
use ivshmem_proto::wait::look_until;

use crate::cli::{HostWait, Phases};
use crate::link::Stopped;
use crate::native_guest::NativeGuest;
use crate::numbering::At;
use crate::vcpu::VcpuThreads;

/// The longest sleep: a signal is heard, and an acknowledgement whose interrupt was lost is found.
pub(crate) const NET: Duration = Duration::from_millis(100);
/// How long the server may take to tell of a guest that is there.
pub(crate) const INTRODUCTION: Duration = Duration::from_secs(1);

/// To be told once.
pub(crate) const SERVER_HAS_ENDED: &str = "the ivshmem server has ended; doorbells that are connected go on working, but no peer can join any more, and QEMU cannot \
     rejoin another server: provision down, then provision up --doorbell";

/// What the host counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HostCounts {
    /// Times it rang the guest.
    pub rings_sent: u64,
    /// Interrupts it was given.
    pub interrupts: u64,
    /// Times it found an acknowledgement only because its sleep was bounded.
    pub rescued: u64,
}

/// A doorbell.
#[derive(Debug)]
pub struct Bell {
    peers: Peers,
    event: Event,
    wait: HostWait,
    phases: Phases,
    /// Whether it only looks for the time being.
    is_looking: bool,
    adaptive: Adaptive,
    /// Waits that ended within their first looks, and were not learnt from yet.
    first_looks: u32,
    /// A glance said that the guest does not sleep; a look after a full fence is owed.
    owes: bool,
    guest: Option<Ring>,
    counts: HostCounts,
    vcpus: VcpuThreads,
    native: Option<NativeGuest>,
}

impl Bell {
    /// One that waits as told.
    ///
    /// # Errors
    /// No descriptors are to be had.
    pub fn new(peers: Peers, wait: HostWait, phases: Phases) -> anyhow::Result<Self> {
        let event = peers.own_event()?;
        Ok(Self {
            peers,
            event,
            wait,
            phases,
            is_looking: false,
            adaptive: Adaptive::default(),
            first_looks: 0,
            owes: false,
            guest: None,
            counts: HostCounts::default(),
            vcpus: VcpuThreads::default(),
            native: None,
        })
    }

    /// Where the guest rings this host.
    #[must_use]
    pub fn own_ring(&self) -> Ring {
        self.peers.own_ring()
    }

    /// Where this host rings the guest.
    #[must_use]
    pub fn guest_ring(&self) -> Option<Ring> {
        self.guest
    }

    /// How this host was told to wait.
    #[must_use]
    pub fn wait(&self) -> HostWait {
        self.wait
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> HostCounts {
        HostCounts { interrupts: self.event.count(), ..self.counts }
    }

    /// CPU time of the guest's vCPUs so far, in nanoseconds; `None` without a VM whose threads are known.
    #[must_use]
    pub fn vcpu_cpu_ns(&self) -> Option<u64> {
        self.vcpus.cpu_ns()
    }

    /// CPU time of the thread that answers, of a guest that is a process of this host; `None` of any other.
    #[must_use]
    pub fn native_cpu_ns(&self) -> Option<u64> {
        self.native.as_ref()?.cpu_ns()
    }

    /// Whether waits are sleeps at present.
    #[must_use]
    #[inline(always)]
    pub fn sleeps(&self) -> bool {
        self.wait != HostWait::Poll && !self.is_looking
    }

    /// Whether waits are sleeps at present, and RECEIVED is not one of them.
    #[must_use]
    #[inline(always)]
    pub fn sleeps_through_received(&self) -> bool {
        self.sleeps() && self.phases == Phases::Processed
    }

    /// Has this host look for a while, or wait as told again.
    pub fn look_only(&mut self, only: bool) {
        self.is_looking = only;
    }

    /// A guest has joined: learns how to ring it. `vcpus` are its own, or it is `native`.
    ///
    /// # Errors
    /// It is not at this server, or it cannot ring and this host was to sleep.
    pub fn meet(
        &mut self,
        guest: &GuestReport,
        vcpus: VcpuThreads,
        native: Option<NativeGuest>,
    ) -> anyhow::Result<()> {
        (self.vcpus, self.native) = (vcpus, native);
        ensure!(
            guest.wait.can_ring || self.wait == HostWait::Poll,
            "the guest cannot ring: it is no peer of the server (it maps a file, or its device is ivshmem-plain); start it \
             with --server, or its VM with 'provision up --doorbell', or wait with --wait poll"
        );
        if let Some(ring) = guest.ring
            && !self.peers.wait_for(ring, INTRODUCTION)
        {
            match self.peers.vectors(ring.peer) {
                None => bail!(
                    "the guest says that it is peer {}, and this server knows no such peer: is the guest at another server?",
                    ring.peer
                ),
                Some(vectors) => {
                    bail!("the guest says that it is rung at {ring}, but that peer has {vectors} vectors")
                }
            }
        }
        self.guest = guest.ring;
        Ok(())
    }

    /// After a message was published: rings the guest if it sleeps.
    #[inline(always)]
    pub fn tell(&mut self, host: &Host<'_, Mapping>) {
        self.owes = false;
        if self.guest.is_some() && host.guest_is_armed() {
            self.ring();
        }
    }

    /// The same at a glance, before a wait for the answer. A guest that is just falling asleep may be missed; the wait makes
    /// up for it ([`Self::settle`]) when the answer does not come at once.
    #[inline(always)]
    pub fn tell_soon(&mut self, host: &Host<'_, Mapping>) {
        if self.guest.is_some() {
            self.owes = !host.guest_seems_armed();
            if !self.owes {
                self.ring();
            }
        }
    }

    /// Whether a glance was not enough.
    #[must_use]
    #[inline(always)]
    pub fn owes(&self) -> bool {
        self.owes
    }

    /// Looks where a glance was not enough.
    #[inline(always)]
    pub fn settle(&mut self, host: &Host<'_, Mapping>) {
        if self.owes {
            self.tell(host);
        }
    }

    /// The same before the guest has joined, by what its page says.
    pub fn tell_whoever_is_there(&mut self, host: &Host<'_, Mapping>) {
        let _ = self.peers.update();
        if let Some(ring) = host.guest_ring()
            && host.guest_is_armed()
        {
            self.peers.ring(ring);
        }
    }

    #[inline(never)]
    fn ring(&mut self) {
        if let Some(ring) = self.guest {
            self.peers.ring(ring);
            self.counts.rings_sent += 1;
        }
    }

    /// Takes in what the server said. A server that has ended is told of once; `at` is the latest message.
    ///
    /// # Errors
    /// [`Stopped::GuestLeft`].
    pub fn check_guest(&mut self, at: At) -> Result<(), Stopped> {
        if self.peers.update().is_err() {
            eprintln!("host-writer: {SERVER_HAS_ENDED}");
        }
        match self.guest {
            Some(ring) if !self.peers.has(ring) => Err(Stopped::GuestLeft { ring, at }),
            _ => Ok(()),
        }
    }

    /// Looks for as long as recent waits took, if this host adapts; `None` when that was in vain. Whoever is owed a ring has
    /// it then.
    #[inline]
    pub fn look_first<T>(
        &mut self,
        host: &Host<'_, Mapping>,
        clock: &Clock,
        start: Ticks,
        ready: impl Fn(&Host<'_, Mapping>) -> Option<T>,
    ) -> Option<(T, Ticks)> {
        if self.wait != HostWait::Adaptive {
            self.settle(host);
            return None;
        }
        if let Some(found) = adaptive::look(FIRST_LOOKS, || ready(host)) {
            let now = clock.now();
            self.first_looks = self.first_looks.saturating_add(1);
            return Some((found, now));
        }
        self.settle(host);
        self.adaptive.learn_first_looks(std::mem::take(&mut self.first_looks));
        let until = clock.after(start, Duration::from_nanos(self.adaptive.look_ns()));
        let found = look_until(clock, until, || ready(host));
        if let Some((_, now)) = found {
            self.adaptive.learn(clock.ns(start, now), false);
        }
        found
    }

    /// Sleeps until rung for one of `phases`, or for `longest`, unless `ready` holds when the guest can see that it is to
    /// ring.
    pub fn sleep_unless<T>(
        &mut self,
        host: &mut Host<'_, Mapping>,
        clock: &Clock,
        phases: u64,
        longest: Duration,
        ready: impl Fn(&Host<'_, Mapping>) -> Option<T>,
    ) -> Slept<T> {
        if let Err(error) = self.event.drain() {
            return Slept::Broken(error);
        }
        host.arm(phases);
        if let Some(found) = ready(host) {
            let now = clock.now();
            host.disarm();
            return Slept::Ready(found, now);
        }
        let woken = self.event.sleep(longest.min(NET), self.peers.socket());
        let found = ready(host);
        let now = clock.now();
        host.disarm();
        match (woken, found) {
            (Ok(woken), Some(found)) => {
                self.counts.rescued += u64::from(woken == Woken::Nothing && !self.event.has_come());
                Slept::Ready(found, now)
            }
            (Ok(Woken::Other), None) => Slept::PeersChanged,
            (Ok(_), None) => Slept::InVain,
            (Err(error), _) => Slept::Broken(error),
        }
    }

    /// A wait that was no mere look is over.
    pub fn learn(&mut self, wait_ns: u64) {
        self.adaptive.learn(wait_ns, true);
    }
}

/// How a sleep ended.
#[derive(Debug)]
pub enum Slept<T> {
    /// With what was waited for, seen at this moment.
    Ready(T, Ticks),
    /// The server has something to tell.
    PeersChanged,
    /// Its time was over, a signal came, or an interrupt that belonged to nothing.
    InVain,
    /// There is no sleeping any more.
    Broken(std::io::Error),
}
