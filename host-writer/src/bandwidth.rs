//! The bandwidth test: payloads of each size, one after another or several in flight.

use ivshmem_proto::clock::{Clock, Ticks};
use ivshmem_proto::copy::Kernel;
use ivshmem_proto::geometry::Geometry;
use ivshmem_proto::wire::Digest;

use crate::cli::{Cache, Direction};
use crate::config::{BandwidthPlan, Extent, Mode, PayloadSize};
use crate::content::{self, Proof};
use crate::interference::switches_now;
use crate::link::{Link, Stopped};
use crate::progress::Progress;
use crate::status::RowStatus;
use crate::stream;
use crate::transfer::{self, Errand, Manner, Parcel, Transfer};
use crate::working_set::WorkingSet;

/// One payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Which of its size and direction, from 1.
    pub iteration: u64,
    /// Its size.
    pub size: PayloadSize,
    /// How it went.
    pub transfer: Transfer,
    /// The host's copy kernel.
    pub kernel: Kernel,
    /// The guest's, if forced.
    pub guest_kernel: Option<Kernel>,
    /// Slots of the session.
    pub slots: u64,
    /// First byte written, since the start of the test, in nanoseconds.
    pub start_ns: u64,
    /// From the moment it was due to the reader having it all; in an open loop only.
    pub from_due_ns: Option<u64>,
    /// Whether that came after the next one was due; in an open loop only.
    pub late: Option<bool>,
    /// The longest clock gap of this thread during it.
    pub gap_ns: u64,
    /// Preemptions of this thread during it.
    pub switches: u64,
}

impl Row {
    /// Whether the content arrived changed.
    #[must_use]
    pub fn is_mismatch(&self) -> bool {
        self.transfer.status == RowStatus::Mismatch
    }
}

#[cfg(test)]
impl Row {
    /// The first row of its size, undisturbed.
    pub(crate) fn sample(size: PayloadSize, transfer: Transfer) -> Self {
        Self {
            iteration: 1,
            size,
            transfer,
            kernel: Kernel::Memcpy,
            guest_kernel: None,
            slots: 2,
            start_ns: 0,
            from_due_ns: None,
            late: None,
            gap_ns: 0,
            switches: 0,
        }
    }
}

/// What all payloads of a test share.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    /// What was asked for.
    pub plan: &'a BandwidthPlan,
    /// The slots.
    pub geometry: &'a Geometry,
    /// The start of the test.
    pub start: Ticks,
}

/// A size and the kernel it is copied with.
#[derive(Debug, Clone, Copy)]
pub struct Leg {
    /// The size.
    pub size: PayloadSize,
    /// The host's kernel.
    pub kernel: Kernel,
    /// The guest's, where trials have chosen one.
    pub guest_kernel: Option<Kernel>,
}

impl Setting<'_> {
    /// How payloads of `leg` travel.
    #[must_use]
    pub fn manner(&self, leg: &Leg, direction: Direction) -> Manner {
        Manner::of(self.plan, leg.kernel, self.guest_kernel(leg, direction))
    }

    /// The row of a payload of `leg` that was due at no certain time; `disturbed` is what [`Watch::look`] saw.
    #[must_use]
    pub fn row(
        &self,
        leg: &Leg,
        iteration: u64,
        transfer: Transfer,
        clock: &Clock,
        disturbed: (u64, u64),
    ) -> Row {
        let (gap_ns, switches) = disturbed;
        Row {
            iteration,
            size: leg.size,
            transfer,
            kernel: leg.kernel,
            guest_kernel: self.guest_kernel(leg, transfer.direction),
            slots: self.geometry.slot_count(),
            start_ns: clock.ns(self.start, transfer.start),
            from_due_ns: None,
            late: None,
            gap_ns,
            switches,
        }
    }

    /// The guest's kernel: forced, or chosen by trials, which are of reading. What it writes with is its own choice.
    #[must_use]
    pub fn guest_kernel(&self, leg: &Leg, direction: Direction) -> Option<Kernel> {
        let tried = leg.guest_kernel.filter(|_| direction != Direction::GuestToHost);
        self.plan.guest_kernel.or(tried)
    }

    /// How payload `number` (from 0) of its size is checked.
    #[must_use]
    pub fn digest(&self, number: u64) -> Digest {
        if number.is_multiple_of(self.plan.verify_every) { self.plan.digest } else { Digest::None }
    }
}

/// Watches what disturbs a single payload.
#[derive(Debug)]
pub struct Watch {
    switches: u64,
}

impl Watch {
    /// From now on.
    pub fn start(link: &mut Link<'_>) -> Self {
        link.gaps.take_largest_since();
        Self { switches: switches_now() }
    }

    /// Largest gap in nanoseconds and preemptions since the last look.
    pub fn look(&mut self, link: &mut Link<'_>) -> (u64, u64) {
        let now = switches_now();
        let switches = now.saturating_sub(std::mem::replace(&mut self.switches, now));
        (link.clock.ns(Ticks(0), Ticks(link.gaps.take_largest_since())), switches)
    }
}

/// Runs the test of one size; rows are appended as they come.
///
/// # Errors
/// A signal, a guest that died, a region that shrank.
pub fn run(
    link: &mut Link<'_>,
    setting: &Setting<'_>,
    leg: &Leg,
    working_set: Option<&WorkingSet>,
    rows: &mut Vec<Row>,
    progress: &Progress,
) -> anyhow::Result<()> {
    // Only a stream can go by time.
    let (Mode::Whole | Mode::Chunked { .. }, Extent::Count(iterations)) =
        (setting.plan.mode, setting.plan.extent)
    else {
        return stream::run(link, setting, leg, working_set, rows, progress);
    };
    let bytes = usize::try_from(leg.size.bytes())?;
    let fetches = setting.plan.direction != Direction::HostToGuest;
    let inbox = if fetches { vec![0; bytes] } else { Vec::new() };
    let mut desk = Desk { outbox: vec![0; bytes], inbox, working_set, number: 0 };
    let mut watch = Watch::start(link);
    for iteration in 1..=iterations {
        if link.is_stopped() {
            return Err(Stopped::Interrupted.into());
        }
        link.map.check_not_shrunk()?;
        let transfers = desk.one(link, setting, leg, iteration)?;
        let disturbed = watch.look(link);
        rows.extend(
            transfers.iter().flatten().map(|t| setting.row(leg, iteration, *t, link.clock, disturbed)),
        );
        // When all of them are rows.
        if let Some(lost) = transfers.iter().flatten().find(|transfer| transfer.status.is_timeout()) {
            link.check_alive(lost.sequence)?;
        }
        progress.step();
        link.host.beat();
    }
    // Whatever the guest did to the last message is still to be seen.
    link.look_for_trouble();
    Ok(())
}

/// Where payloads are made ready.
struct Desk<'a> {
    outbox: Vec<u8>,
    inbox: Vec<u8>,
    working_set: Option<&'a WorkingSet>,
    /// Payloads so far.
    number: u64,
}

impl Desk<'_> {
    /// One payload, or one each way.
    fn one(
        &mut self,
        link: &mut Link<'_>,
        setting: &Setting<'_>,
        leg: &Leg,
        iteration: u64,
    ) -> anyhow::Result<[Option<Transfer>; 2]> {
        let (plan, geometry) = (setting.plan, setting.geometry);
        let (bytes, digest) = (leg.size.bytes() as usize, setting.digest(iteration - 1));
        // Slots take turns: a guest that is still reading a lost frame is not overwritten by the next.
        let slot_count = geometry.slot_count();
        let number = self.number;
        self.number += 1;
        let slot = (number % slot_count) as u16;
        let manner = setting.manner(leg, Direction::HostToGuest);
        let fetch_manner = setting.manner(leg, Direction::GuestToHost);
        let mut fetch_proof = Proof::NONE;
        if plan.direction != Direction::HostToGuest {
            fetch_proof = transfer::produce(link, bytes as u64, content::token(plan.seed, number), digest)?;
        }
        let (payload, proof): (&[u8], Proof) = match self.working_set {
            Some(set) => set.payload(number, bytes),
            None => {
                let payload = &mut self.outbox[..bytes];
                let proof = match plan.direction {
                    Direction::GuestToHost => Proof::NONE,
                    _ => content::produce(payload, plan.seed, number, digest),
                };
                (payload, proof)
            }
        };
        let proof = if digest == Digest::None { Proof::NONE } else { proof };
        let other_slot = ((number + 1) % slot_count) as u16;
        if plan.cache == Cache::Cold {
            for slot in [slot, other_slot] {
                link.map.evict(transfer::range_of(geometry, slot, bytes)?);
            }
        }
        let parcel = Parcel { payload, slot, proof, manner };
        let errand = |inbox, slot| Errand { inbox, slot, proof: fetch_proof, manner: fetch_manner };
        Ok(match plan.direction {
            Direction::HostToGuest => [Some(transfer::send(link, geometry, &parcel)?), None],
            Direction::GuestToHost => {
                [Some(transfer::fetch(link, geometry, errand(&mut self.inbox[..bytes], slot))?), None]
            }
            Direction::Both => {
                let errand = errand(&mut self.inbox[..bytes], other_slot);
                transfer::exchange(link, geometry, &parcel, errand)?.map(Some)
            }
        })
    }
}
