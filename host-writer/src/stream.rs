//! Stream mode: several payloads in flight, as fast as they go or due at a fixed rate.
//!
//! One thread writes and reaps. It writes in pieces and looks for acknowledgements between two of them, so that a frame's
//! end is not noticed a whole frame's writing too late.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::ensure;
use ivshmem_proto::clock::Ticks;
use ivshmem_proto::host::Reached;
use ivshmem_proto::memory::Payload as _;
use ivshmem_proto::wire::Digest;

use crate::bandwidth::{Leg, Row, Setting, Watch};
use crate::cli::{Cache, Direction};
use crate::config::Extent;
use crate::content::{self, Proof};
use crate::link::{Link, Stopped};
use crate::progress::Progress;
use crate::schedule::is_late;
use crate::status::RowStatus;
use crate::transfer::{self, Manner, Parcel, Transfer};
use crate::working_set::WorkingSet;

/// Bytes written between two looks for acknowledgements.
const PIECE_BYTES: usize = 256 << 10;
/// Rows kept at the most: some 300 bytes each.
const ROWS_MAX: usize = 5_000_000;

/// A payload in flight.
#[derive(Debug)]
struct Flight {
    iteration: u64,
    due: Option<Ticks>,
    published: Ticks,
    received: Option<Ticks>,
    slot: u16,
    proof: Proof,
    /// Acknowledged before it was published.
    is_foretold: bool,
    transfer: Transfer,
}

/// A stream of one size.
struct Stream<'s, 'm> {
    link: &'s mut Link<'m>,
    setting: &'s Setting<'s>,
    leg: &'s Leg,
    manner: Manner,
    set: &'s WorkingSet,
    inbox: Vec<u8>,
    /// What the guest is asked for in turn.
    pieces: Vec<Proof>,
    period_ticks: Option<u64>,
    flying: VecDeque<Flight>,
    free: VecDeque<u16>,
    /// Indices of rows whose verdict is awaited, oldest first.
    judging: VecDeque<(usize, Ticks)>,
    /// Acknowledgements up to this number came out of turn.
    disorder_up_to: u64,
    watch: Watch,
    last_look: Ticks,
    rows: &'s mut Vec<Row>,
    progress: &'s Progress,
}

/// Runs a stream of one size; rows are appended as payloads end.
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
    let (plan, geometry) = (setting.plan, setting.geometry);
    let bytes = usize::try_from(leg.size.bytes())?;
    // One more than there are slots: the same slot never holds the same content twice running.
    let count = geometry.slot_count() as usize + 1;
    let own;
    let set = match working_set {
        Some(set) => set,
        None => {
            own = WorkingSet::of_count(count, bytes, plan.seed, plan.digest);
            &own
        }
    };
    let (mut inbox, mut pieces) = (Vec::new(), Vec::new());
    if plan.direction == Direction::GuestToHost {
        inbox = vec![0; bytes];
        // Once: between two frames there is no time to make content. Each frame begins a cache line further on, so that a
        // slot that was not written again does not hold what is expected. Of this size only: no other's content passes.
        let token = content::token(plan.seed, leg.size.bytes());
        transfer::produce(link, leg.size.bytes(), token, Digest::None)?;
        pieces = content::pieces(bytes, token, plan.digest, count);
    }
    if let Extent::Count(count) = plan.extent {
        rows.reserve(usize::try_from(count)?);
    }
    let period_ticks =
        plan.mode.fps().map(|fps| link.clock.after(Ticks(0), Duration::from_secs_f64(1.0 / fps)).0);
    let watch = Watch::start(link);
    let now = link.clock.now();
    let mut stream = Stream {
        manner: setting.manner(leg, plan.direction),
        link,
        setting,
        leg,
        set,
        inbox,
        pieces,
        period_ticks,
        flying: VecDeque::with_capacity(count),
        free: (0..geometry.slot_count() as u16).collect(),
        judging: VecDeque::with_capacity(32),
        disorder_up_to: 0,
        watch,
        last_look: now,
        rows,
        progress,
    };
    let ended = stream.run();
    if let Err(error) = &ended {
        stream.abandon(matches!(error.downcast_ref(), Some(Stopped::Interrupted)));
    }
    ended
}

impl Stream<'_, '_> {
    fn run(&mut self) -> anyhow::Result<()> {
        let start = self.link.clock.now();
        let end = match self.setting.plan.extent {
            Extent::Time(length) => self.link.clock.after(start, length),
            Extent::Count(_) => Ticks(u64::MAX),
        };
        let mut iteration = 0;
        loop {
            // From the count, not from the one before: what is rounded off must not add up to a frame more.
            let due = self.setting.plan.mode.fps().map(|fps| {
                self.link
                    .clock
                    .after(start, Duration::from_nanos((iteration as f64 * 1e9 / fps).round() as u64))
            });
            let over = match self.setting.plan.extent {
                Extent::Count(count) => iteration >= count,
                Extent::Time(_) => due.unwrap_or_else(|| self.link.clock.now()) >= end,
            };
            if over {
                break;
            }
            ensure!(
                self.rows.len() < ROWS_MAX,
                "{ROWS_MAX} payloads are as many as are kept as rows; those are kept; give a shorter --duration, larger \
                 payloads or --fps"
            );
            iteration += 1;
            // The schedule of an open loop goes on whatever the guest does.
            while due.is_some_and(|due| self.link.clock.now() < due) {
                self.reap()?;
            }
            let patience =
                due.zip(self.period_ticks).map(|(due, period)| Ticks(due.0.saturating_add(period)));
            while self.free.is_empty() && patience.is_none_or(|last| self.link.clock.now() < last) {
                self.reap()?;
            }
            match self.free.pop_front() {
                Some(slot) => self.launch(iteration, slot, due)?,
                None => self.drop_frame(iteration, due),
            }
        }
        while !self.flying.is_empty() {
            self.reap()?;
        }
        while let Some((index, processed)) = self.judging.pop_front() {
            let mut transfer = self.rows[index].transfer;
            transfer::await_verdict(self.link, processed, &mut transfer)?;
            self.rows[index].transfer = transfer;
        }
        self.link.look_for_trouble();
        Ok(())
    }

    /// Writes and publishes a payload, or asks the guest to.
    fn launch(&mut self, iteration: u64, slot: u16, due: Option<Ticks>) -> anyhow::Result<()> {
        let (geometry, plan) = (self.setting.geometry, self.setting.plan);
        self.link.host.beat();
        let digest = self.setting.digest(iteration - 1);
        let bytes = self.leg.size.bytes() as usize;
        let range = transfer::range_of(geometry, slot, bytes)?;
        let set = self.set;
        let (payload, proof) = set.payload(iteration, bytes);
        let proof = if digest == Digest::None { Proof::NONE } else { proof };
        if plan.cache == Cache::Cold {
            self.link.map.evict(range);
        }
        let start = self.link.clock.now();
        self.last_look = start;
        let (descriptor, proof, write_ns) = if plan.direction == Direction::GuestToHost {
            // Slots take turns, message by message: by its number, the same slot never gets the same piece twice running.
            let piece = self.pieces[(self.link.host.next_sequence() % self.pieces.len() as u64) as usize];
            let proof = if digest == Digest::None { Proof::NONE } else { piece };
            (transfer::fetch_descriptor(bytes, slot, &self.manner, piece.shift_bytes), proof, None)
        } else {
            let parcel = Parcel { payload, slot, proof, manner: self.manner };
            for (index, piece) in payload.chunks(PIECE_BYTES).enumerate() {
                if let Some(part) = range.part(index * PIECE_BYTES, piece.len()) {
                    self.link.map.write(part, piece, self.manner.kernel);
                }
                // Writing is no gap: only a spin that takes long is.
                self.last_look = self.link.clock.now();
                self.reap()?;
            }
            let write_ns = Some(self.link.clock.ns(start, self.link.clock.now()));
            (transfer::descriptor_of(&parcel), proof, write_ns)
        };
        let is_foretold = self.link.is_foretold();
        let published = self.link.clock.now();
        let sequence = self.link.publish(&descriptor)?;
        let transfer =
            Transfer { write_ns, ..Transfer::published(sequence, plan.direction, proof.digest, start) };
        self.flying.push_back(Flight {
            iteration,
            due,
            published,
            received: None,
            slot,
            proof,
            is_foretold,
            transfer,
        });
        Ok(())
    }

    /// A frame that found no slot in time is a row, too.
    fn drop_frame(&mut self, iteration: u64, due: Option<Ticks>) {
        let now = self.link.clock.now();
        let transfer = Transfer {
            status: RowStatus::Dropped,
            ..Transfer::published(0, self.setting.plan.direction, Digest::None, due.unwrap_or(now))
        };
        self.push(iteration, transfer, None, None);
    }

    /// Takes in whatever has been acknowledged, and gives up on what is overdue.
    fn reap(&mut self) -> anyhow::Result<()> {
        let now = self.link.clock.now();
        self.link.gaps.look(self.last_look, now);
        self.last_look = now;
        if self.link.is_stopped() {
            return Err(Stopped::Interrupted.into());
        }
        self.collect_verdicts();
        for flight in self.flying.iter_mut().filter(|flight| flight.received.is_none()) {
            if self.link.host.has_received(flight.transfer.sequence) {
                flight.received = Some(now);
            }
        }
        let mut landed = false;
        while self.flying.front().is_some_and(|f| self.link.host.has_processed(f.transfer.sequence)) {
            landed = true;
            if let Some(flight) = self.flying.pop_front() {
                self.land(&flight, now);
            }
        }
        let overdue = |f: &Flight| now.0.saturating_sub(f.published.0) > self.link.timeout_ticks();
        if self.flying.front().is_some_and(overdue)
            && let Some(mut flight) = self.flying.pop_front()
        {
            let sequence = flight.transfer.sequence;
            flight.transfer.status = transfer::give_up(self.link, sequence, flight.received.is_some());
            self.free.push_back(flight.slot);
            self.push(flight.iteration, flight.transfer, None, None);
            self.link.check_alive(sequence)?;
        }
        // What was done here is no gap either, and mostly nothing.
        if landed {
            self.last_look = self.link.clock.now();
        }
        Ok(())
    }

    /// A payload that was acknowledged.
    fn land(&mut self, flight: &Flight, processed: Ticks) {
        let Flight { iteration, due, published, received, slot, proof, is_foretold, mut transfer } = *flight;
        let (clock, sequence) = (self.link.clock, transfer.sequence);
        match self.link.host.processed_up_to() {
            Reached::UpTo(later) if later > sequence && self.link.host.outcome(sequence).is_none() => {
                // Which of the two the guest has really done, nobody can tell.
                self.disorder_up_to = later;
                self.link.note_disorder(sequence);
            }
            _ if sequence > self.disorder_up_to => transfer.take(self.link.outcome(sequence)),
            _ => {}
        }
        if is_foretold || sequence <= self.disorder_up_to {
            transfer::disbelieve(self.link, &mut transfer);
            self.free.push_back(slot);
            self.push(iteration, transfer, None, None);
            return;
        }
        // The guest may have done both between two looks.
        let received = received.unwrap_or(processed);
        transfer.notify_ns = Some(clock.ns(published, received));
        let mut end = processed;
        if self.setting.plan.direction == Direction::GuestToHost {
            transfer.write_ns = transfer.guest_copy_ns;
            if transfer.status == RowStatus::Ok {
                let range = transfer::range_of(self.setting.geometry, slot, self.inbox.len());
                if let Ok(range) = range {
                    transfer::take(self.link, range, &mut self.inbox, &self.manner);
                }
                end = clock.now();
                transfer.read_ns = Some(clock.ns(processed, end));
                transfer::check(self.link, &self.inbox, &mut transfer, &proof);
            }
        } else {
            transfer.read_ns = Some(clock.ns(received, processed));
        }
        transfer.duration_ns = Some(clock.ns(transfer.start, end));
        self.free.push_back(slot);
        let awaits_verdict = self.setting.plan.direction == Direction::HostToGuest
            && proof.digest != Digest::None
            && transfer.status == RowStatus::Ok;
        if awaits_verdict {
            self.judging.push_back((self.rows.len(), processed));
        }
        let from_due_ns = due.map(|due| clock.ns(due, end));
        let late = due.zip(self.period_ticks).map(|(due, period)| {
            is_late(clock.ns(Ticks(0), due), clock.ns(Ticks(0), end), clock.ns(Ticks(0), Ticks(period)))
        });
        self.push(iteration, transfer, from_due_ns, late);
    }

    /// The stream ends before its time. Unless the user asked for that, what was in flight is lost and becomes rows.
    fn abandon(&mut self, is_interrupted: bool) {
        self.collect_verdicts();
        for (index, _) in std::mem::take(&mut self.judging) {
            let transfer = &mut self.rows[index].transfer;
            if is_interrupted {
                // It arrived, and nobody waited for the check.
                transfer.digest = Digest::None;
            } else {
                transfer.status = RowStatus::TimeoutVerdict;
            }
        }
        for mut flight in std::mem::take(&mut self.flying).into_iter().filter(|_| !is_interrupted) {
            let sequence = flight.transfer.sequence;
            flight.transfer.status = transfer::give_up(self.link, sequence, flight.received.is_some());
            self.push(flight.iteration, flight.transfer, None, None);
        }
    }

    /// Verdicts come in order, each before the guest takes the next payload.
    fn collect_verdicts(&mut self) {
        while let Some(&(index, processed)) = self.judging.front() {
            let sequence = self.rows[index].transfer.sequence;
            let Some(judged) = self.link.host.verdict(sequence) else { return };
            let verify_ns = self.link.clock.ns(processed, self.link.clock.now());
            self.link.remember_verdict(sequence, judged.verdict);
            self.rows[index].transfer.judge(judged, verify_ns);
            self.judging.pop_front();
        }
    }

    fn push(&mut self, iteration: u64, transfer: Transfer, from_due_ns: Option<u64>, late: Option<bool>) {
        let disturbed = self.watch.look(self.link);
        self.progress.step();
        let row = self.setting.row(self.leg, iteration, transfer, self.link.clock, disturbed);
        self.rows.push(Row { from_due_ns, late, ..row });
    }
}
