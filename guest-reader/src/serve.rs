//! The loop that answers the host.
//!
//! Between a published word and its acknowledgement there is nothing but what was asked for: no system call, no
//! allocation, no formatting. Memory for a session's payloads is prepared before the session is joined.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ivshmem_proto::adaptive::LOOKS_PER_READING;
use ivshmem_proto::clock::{Clock, Ticks};
use ivshmem_proto::copy::Kernel;
use ivshmem_proto::descriptor::{Check, Descriptor, FETCH_SHIFT_BYTES_MAX, INLINE_BYTES_MAX};
use ivshmem_proto::doorbell::{AT_PROCESSED, AT_RECEIVED};
use ivshmem_proto::geometry::PayloadRange;
use ivshmem_proto::guest::{Done, Event, Guest, Refusal};
use ivshmem_proto::mapping::Mapping;
use ivshmem_proto::memory::Payload as _;
use ivshmem_proto::report::GuestReport;
use ivshmem_proto::wire::{Consume, Digest, Spin, Status};
use ivshmem_proto::word::sequence_of;

use crate::choice::KernelChoice;
use crate::doorbell::Doorbell;
use crate::inject::Faults;
use crate::rates::{self, touched};
use crate::verify;
use crate::waiting::{Looking, Rung, Sleeping, Waiting};

/// Looks at the published word between two heartbeats.
const LOOKS_PER_BEAT: u32 = 4096;
/// How long the watermark of a chunked frame may stand still before the frame is given up, unless a test says otherwise.
pub const STALL_LIMIT: Duration = Duration::from_secs(10);

/// What the loop works with.
#[derive(Debug)]
pub struct Server<'a> {
    /// The region.
    pub map: &'a Mapping,
    /// What this guest tells of itself.
    pub report: &'a GuestReport,
    /// The guest's half of the handshake over the same region.
    pub guest: Guest<'a, Mapping>,
    /// Times copies and checks.
    pub clock: Clock,
    /// Stamps timed pings.
    pub stamp: Clock,
    /// Which kernel copies payloads of which size.
    pub kernels: KernelChoice,
    /// What to do between two looks.
    pub spin: Spin,
    /// How long to sleep between two looks, for [`Spin::Sleep`].
    pub sleep: Duration,
    /// How to ring and be rung, if there is a way.
    pub doorbell: Option<Doorbell>,
    /// How long the watermark of a chunked frame may stand still: [`STALL_LIMIT`].
    pub stall_limit: Duration,
    /// Faults to commit.
    pub faults: Faults,
}

/// Private memory of a session.
#[derive(Debug, Default)]
struct Buffers {
    /// Where payloads are copied to.
    inbox: Vec<u8>,
    /// What is written when the host fetches: what was produced last, and what a fetch may begin further on.
    outbox: Vec<u8>,
    /// A slot's size in bytes.
    slot_bytes: usize,
    /// Messages of the session that an earlier guest has answered.
    messages_before: u64,
    /// Whether the host has closed the session.
    is_closed: bool,
}

impl Server<'_> {
    /// Answers sessions until `stop` is set, then leaves in good order. `log` is called on rare events only,
    /// never between a message and its acknowledgement.
    pub fn serve(mut self, stop: &AtomicBool, mut log: impl FnMut(&str)) {
        let mut buffers = Buffers::default();
        let mut doorbell = self.doorbell.take();
        // Before the first session, whoever can sleep does.
        let mut is_rung = doorbell.as_ref().is_some_and(Doorbell::sleeps);
        while !stop.load(Ordering::Relaxed) {
            let sleep = self.sleep;
            let nap = move || std::thread::sleep(sleep);
            let (buffers, log) = (&mut buffers, &mut log);
            match (&mut doorbell, self.spin) {
                (Some(doorbell), Spin::None) if is_rung => {
                    let rung = Rung { doorbell, between: || (), looks_per_reading: LOOKS_PER_READING };
                    self.answer_until(stop, buffers, log, rung);
                }
                (Some(doorbell), Spin::Pause) if is_rung => {
                    let between = std::hint::spin_loop;
                    let rung = Rung { doorbell, between, looks_per_reading: LOOKS_PER_READING };
                    self.answer_until(stop, buffers, log, rung);
                }
                (Some(doorbell), Spin::Sleep) if is_rung => {
                    // What is done between two looks may take longer than all looking should.
                    let rung = Rung { doorbell, between: nap, looks_per_reading: 1 };
                    self.answer_until(stop, buffers, log, rung);
                }
                (_, Spin::None) => self.answer_until(stop, buffers, log, Looking(|| ())),
                (_, Spin::Pause) => self.answer_until(stop, buffers, log, Looking(std::hint::spin_loop)),
                (_, Spin::Sleep) => self.answer_until(stop, buffers, log, Sleeping(nap)),
            }
            // Between sessions as before the first.
            let host = self.guest.host_ring().filter(|_| !buffers.is_closed);
            is_rung = doorbell.as_mut().is_some_and(|d| d.enter(host) || (buffers.is_closed && d.sleeps()));
        }
        self.end_session(&buffers, &mut log);
        self.guest.leave();
    }

    /// Why a session was not joined; of one that is in another lane, which.
    #[cold]
    fn in_words(&self, refusal: Refusal) -> String {
        let lanes = match refusal {
            Refusal::RegionBytes { host, guest } => self.map.other_lanes(host, guest),
            _ => None,
        };
        lanes.map_or_else(|| refusal.to_string(), |lanes| lanes.to_string())
    }

    /// Answers until it has joined another session or the host has closed this one: then another way of waiting may fit.
    #[inline(always)]
    fn answer_until(
        &mut self,
        stop: &AtomicBool,
        buffers: &mut Buffers,
        log: &mut impl FnMut(&str),
        mut waiting: impl Waiting,
    ) {
        while !stop.load(Ordering::Relaxed) {
            for _ in 0..LOOKS_PER_BEAT {
                match self.guest.poll() {
                    Event::Idle => {
                        if waiting.rest(&mut self.guest) {
                            break;
                        }
                    }
                    Event::Ping { word, token } => {
                        waiting.tell_soon(&mut self.guest, AT_RECEIVED);
                        if self.faults.is_none() || !self.misbehave(word) {
                            self.guest.complete_ping(word, token);
                            waiting.tell_soon(&mut self.guest, AT_PROCESSED);
                        }
                    }
                    Event::Message { word, descriptor } => {
                        // Before any ring, which is a system call or an exit from the guest: the stamp says when the
                        // message was seen.
                        let seen = match descriptor {
                            Descriptor::Ping { timed: true, .. } => self.stamp.now(),
                            _ => Ticks(0),
                        };
                        match descriptor {
                            Descriptor::Ping { .. } => waiting.tell_soon(&mut self.guest, AT_RECEIVED),
                            _ => waiting.tell(&mut self.guest, AT_RECEIVED),
                        }
                        self.answer(word, descriptor, seen, buffers, stop, &mut waiting);
                    }
                    Event::Invited { session, geometry } => {
                        self.end_session(buffers, log);
                        // Present, not merely reserved: no first touch may land inside a copy. A slot is smaller
                        // than the mapped region, so its size is a usize.
                        let slot_bytes = geometry.slot_bytes() as usize;
                        *buffers = Buffers { inbox: touched(slot_bytes), slot_bytes, ..Buffers::default() };
                        // Again, because another guest may have been here since: the host reads it after the echo.
                        self.report.write(self.map);
                        self.guest.join(session, geometry);
                        buffers.messages_before = self.guest.messages();
                        log(&format!("joined session {session}"));
                        return;
                    }
                    Event::Malformed { sequence, error } => {
                        waiting.tell(&mut self.guest, AT_PROCESSED);
                        log(&format!("message {sequence} refused: {error}"));
                    }
                    Event::Refused(refusal) => {
                        log(&format!("session refused: {}", self.in_words(refusal)));
                    }
                }
            }
            self.guest.beat();
            if let Some(trouble) = waiting.trouble() {
                log(&trouble);
            }
            if let Some(news) = self.faults.news() {
                log(&news);
            }
            if !buffers.is_closed && self.guest.host_closed() {
                self.end_session(buffers, log);
                buffers.is_closed = true;
                log("session closed by the host");
                return;
            }
        }
        waiting.finish(&mut self.guest);
    }

    /// Says what became of the fault that was asked for.
    fn end_session(&mut self, buffers: &Buffers, log: &mut impl FnMut(&str)) {
        let messages = self.guest.messages();
        // Of a session that had ended before this guest came there is nothing to say.
        if buffers.is_closed || messages == buffers.messages_before {
            return;
        }
        if let Some(line) = self.faults.end_session(messages) {
            log(&line);
        }
    }

    /// Faults that replace the acknowledgement of a ping; true when one did.
    #[cold]
    fn misbehave(&mut self, word: u64) -> bool {
        let sequence = sequence_of(word);
        self.faults.before_answer(self.map, &mut self.guest, sequence);
        if self.faults.acks_the_future(sequence) {
            self.guest.complete_ping(word + 1, 0);
            return true;
        }
        self.faults.drops_ack(sequence)
    }

    /// `seen` is when a timed ping was seen.
    #[inline(never)]
    fn answer(
        &mut self,
        word: u64,
        descriptor: Descriptor,
        seen: Ticks,
        buffers: &mut Buffers,
        stop: &AtomicBool,
        waiting: &mut impl Waiting,
    ) {
        match descriptor {
            Descriptor::Ping { token, range, .. } => {
                let mut echo = token;
                if let Some(range) = range {
                    const { assert!(INLINE_BYTES_MAX == 4096) };
                    let inbox = &mut buffers.inbox[..range.len()];
                    self.map.read(range, inbox, self.kernels.of(range.len()));
                    echo = token ^ last_word(inbox);
                }
                if self.faults.is_none() || !self.misbehave(word) {
                    self.guest.complete_short(word, Status::Ok, echo, seen.0);
                    waiting.tell_soon(&mut self.guest, AT_PROCESSED);
                }
            }
            Descriptor::Frame { range, consume, kernel, chunked, check } => {
                let frame = Frame { range, consume, kernel, chunked, check };
                self.answer_frame(word, &frame, buffers, stop, waiting);
            }
            Descriptor::Produce { length, token, digest } => {
                let digest = verify::produce(&mut buffers.outbox, length, token, digest);
                self.guest.complete(word, &Done { digest, ..Done::default() });
                waiting.tell(&mut self.guest, AT_PROCESSED);
            }
            Descriptor::Fetch { range, kernel, chunk_bytes, shift_bytes } => {
                let from = buffers.outbox.get(shift_bytes..).unwrap_or_default();
                let is_produced = buffers.outbox.len() >= range.len() + FETCH_SHIFT_BYTES_MAX;
                let done = if !is_produced || !runs(kernel) {
                    Done { status: Status::Unsupported, ..Done::default() }
                } else if self.faults.leaves_stale(sequence_of(word)) {
                    Done::default()
                } else {
                    self.write_slot(word, range, kernel, chunk_bytes, from)
                };
                if self.faults.is_none() || !self.misbehave_on(word, &done) {
                    self.guest.complete(word, &done);
                    waiting.tell(&mut self.guest, AT_PROCESSED);
                }
            }
            Descriptor::Measure { range } => {
                let report =
                    rates::measure(self.map, &self.clock, range, &mut buffers.inbox, buffers.slot_bytes);
                self.kernels.learn(&report);
                report.write(self.map);
                self.guest.complete(word, &Done::default());
                waiting.tell(&mut self.guest, AT_PROCESSED);
            }
        }
    }

    /// Faults that replace the acknowledgement of a ring's message; true when one did.
    #[cold]
    fn misbehave_on(&mut self, word: u64, done: &Done) -> bool {
        let sequence = sequence_of(word);
        self.faults.before_answer(self.map, &mut self.guest, sequence);
        if self.faults.holds_back(word, done) {
            return true;
        }
        if self.faults.acks_the_future(sequence) {
            self.guest.complete(word + 1, done);
            return true;
        }
        if self.faults.drops_ack(sequence) {
            return true;
        }
        if let Some((held, held_done)) = self.faults.take_held(sequence) {
            self.guest.complete(held, &held_done);
        }
        false
    }

    fn answer_frame(
        &mut self,
        word: u64,
        frame: &Frame,
        buffers: &mut Buffers,
        stop: &AtomicBool,
        waiting: &mut impl Waiting,
    ) {
        let inbox = &mut buffers.inbox[..frame.range.len()];
        let stale = self.faults.stale_half(sequence_of(word), inbox);
        let start = self.clock.now();
        let (status, stall_ns) = if !runs(frame.kernel) {
            (Status::Unsupported, 0)
        } else if frame.chunked {
            self.take_chunks(word, frame, inbox, stop)
        } else {
            self.take(frame, frame.range, inbox);
            (Status::Ok, 0)
        };
        let copy_ns = self.clock.ns(start, self.clock.now());
        let status = if self.guest.is_current(word) { status } else { Status::Superseded };
        let done = Done { status, copy_ns, stall_ns, ..Done::default() };
        if self.faults.is_none() || !self.misbehave_on(word, &done) {
            self.guest.complete(word, &done);
            waiting.tell(&mut self.guest, AT_PROCESSED);
        }
        if frame.check.digest == Digest::None || status != Status::Ok {
            return;
        }
        self.faults.damage(sequence_of(word), inbox, stale);
        let start = self.clock.now();
        let (verdict, offset) = verify::judge(inbox, &frame.check);
        let verify_ns = self.clock.ns(start, self.clock.now());
        self.guest.judge(word, verdict, verify_ns, offset);
        waiting.tell(&mut self.guest, AT_PROCESSED);
    }

    /// Takes the bytes of `part`, which lies in the frame, as the frame asks.
    #[inline]
    fn take(&self, frame: &Frame, part: PayloadRange, inbox: &mut [u8]) {
        match frame.consume {
            Consume::Copy => {
                let kernel = frame.kernel.unwrap_or_else(|| self.kernels.of(frame.range.len()));
                self.map.read(part, inbox, kernel);
            }
            Consume::Scan => {
                std::hint::black_box(self.map.scan(part));
            }
            Consume::None => {}
        }
    }

    /// Takes a frame behind the host's watermark. Returns how it went and how long it waited in nanoseconds.
    fn take_chunks(
        &mut self,
        word: u64,
        frame: &Frame,
        inbox: &mut [u8],
        stop: &AtomicBool,
    ) -> (Status, u64) {
        let length = frame.range.len();
        let (mut taken, mut stall_ns) = (0, 0);
        while taken < length {
            let valid = self.guest.watermark(word).map_or(0, |bytes| bytes.min(length as u64) as usize);
            if valid <= taken {
                let start = self.clock.now();
                let moved = self.watermark_moves(word, taken, start, stop);
                stall_ns += self.clock.ns(start, self.clock.now());
                match moved {
                    Ok(()) => continue,
                    Err(status) => return (status, stall_ns),
                }
            }
            // In bounds: `taken < valid <= length`.
            let Some(part) = frame.range.part(taken, valid - taken) else {
                return (Status::Stalled, stall_ns);
            };
            self.take(frame, part, &mut inbox[taken..valid]);
            taken = valid;
        }
        (Status::Ok, stall_ns)
    }

    /// Waits until more than `taken` bytes of the message are valid.
    fn watermark_moves(
        &mut self,
        word: u64,
        taken: usize,
        start: Ticks,
        stop: &AtomicBool,
    ) -> Result<(), Status> {
        let deadline = self.clock.after(start, self.stall_limit);
        loop {
            for _ in 0..LOOKS_PER_BEAT {
                if self.guest.watermark(word).is_some_and(|bytes| bytes > taken as u64) {
                    return Ok(());
                }
            }
            self.guest.beat();
            if !self.guest.is_current(word) || stop.load(Ordering::Relaxed) {
                return Err(Status::Superseded);
            }
            if self.clock.now() >= deadline {
                return Err(Status::Stalled);
            }
        }
    }

    /// Writes `content`, at least as long as the range, into the slot, in one piece or in chunks.
    fn write_slot(
        &mut self,
        word: u64,
        range: PayloadRange,
        kernel: Option<Kernel>,
        chunk_bytes: Option<usize>,
        content: &[u8],
    ) -> Done {
        let kernel = kernel.unwrap_or_else(|| self.kernels.writing(range.len()));
        let start = self.clock.now();
        let step = chunk_bytes.unwrap_or(range.len()).max(1);
        let mut written = 0;
        while let Some(part) = range.part(written, step.min(range.len() - written)).filter(|p| !p.is_empty())
        {
            self.map.write(part, &content[written..written + part.len()], kernel);
            written += part.len();
            if chunk_bytes.is_some() {
                self.guest.advance(word, written as u64);
                if !self.guest.is_current(word) {
                    // The slot may be another message's by now.
                    break;
                }
            }
        }
        let status = if self.guest.is_current(word) { Status::Ok } else { Status::Superseded };
        Done { status, copy_ns: self.clock.ns(start, self.clock.now()), ..Done::default() }
    }
}

/// A frame to take.
#[derive(Debug)]
struct Frame {
    range: PayloadRange,
    consume: Consume,
    kernel: Option<Kernel>,
    chunked: bool,
    check: Check,
}

/// Whether this CPU can run the kernel the host asked for, if it asked.
fn runs(kernel: Option<Kernel>) -> bool {
    kernel.is_none_or(Kernel::is_available)
}

/// The last eight bytes of a payload as a word, those of a shorter one with zeros behind: whoever echoes it has read the
/// payload's end.
#[must_use]
pub fn last_word(payload: &[u8]) -> u64 {
    let tail = &payload[payload.len().saturating_sub(8)..];
    let mut bytes = [0; 8];
    bytes[..tail.len()].copy_from_slice(tail);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ivshmem_proto::descriptor::Operation;
    use ivshmem_proto::doorbell::GuestWait;
    use ivshmem_proto::geometry::Geometry;
    use ivshmem_proto::host::Host;
    use ivshmem_proto::region_file::ensure;
    use ivshmem_proto::report::{ClockReport, RateReport};
    use ivshmem_proto::wire::{ClockSource, Kind, MapKind, MemoryType};

    /// Rings whatever it is told of, and ends the loop when there is nothing to answer.
    struct Ringing<'a> {
        stop: &'a AtomicBool,
        clock: Clock,
        rung: &'a mut Vec<(u64, Ticks)>,
    }

    impl Waiting for Ringing<'_> {
        fn rest(&mut self, _: &mut Guest<'_, Mapping>) -> bool {
            self.stop.store(true, Ordering::Relaxed);
            true
        }

        fn tell(&mut self, _: &mut Guest<'_, Mapping>, phase: u64) {
            self.rung.push((phase, self.clock.now()));
        }
    }

    #[test]
    fn a_timed_ping_is_stamped_before_anybody_is_rung() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("region");
        ensure(&path, 1 << 20).unwrap();
        let map = Mapping::open(&path).unwrap();
        let clock = Clock::of(ClockSource::ClockMonotonic);
        let report = GuestReport {
            map_kind: MapKind::File,
            memory_type: MemoryType::WriteBack,
            clock: ClockReport::from(&clock),
            stamp_source: None,
            stamp_frequency_hz: 1e9,
            cpu_features: 0,
            spin: Spin::None,
            spin_sleep_ns: 0,
            wait: GuestWait::POLL,
            ring: None,
            thread: None,
            cpu_pinned: None,
            rates: RateReport::default(),
            kernel_release: "6.1".into(),
            cpu_model: "some CPU".into(),
            device: "file".into(),
            tool_version: "1".into(),
        };
        let mut server = Server {
            map: &map,
            report: &report,
            guest: Guest::announce(&map, map.bytes(), 1),
            clock,
            stamp: clock,
            kernels: KernelChoice::default(),
            spin: Spin::None,
            sleep: Duration::ZERO,
            doorbell: None,
            stall_limit: STALL_LIMIT,
            faults: Faults::default(),
        };
        let (stop, mut buffers, mut rung) = (AtomicBool::new(false), Buffers::default(), Vec::new());
        let geometry = Geometry::for_payload(map.bytes(), 0).unwrap();
        let mut host = Host::open(&map, &geometry, 1);
        let mut answer = |rung: &mut Vec<_>| {
            server.answer_until(&stop, &mut buffers, &mut |_: &str| (), Ringing { stop: &stop, clock, rung });
        };
        answer(&mut rung);
        let published = clock.now();
        let operation = Operation { timed: true, ..Operation::of(Kind::Ping) };
        let sequence = host.publish_short(operation.to_wire(), 0, 7).unwrap();
        answer(&mut rung);
        assert!(host.is_processed(sequence));
        let seen = Ticks(host.processed().seen_ticks);
        let [(AT_RECEIVED, received), (AT_PROCESSED, _)] = rung[..] else { panic!("{rung:?}") };
        assert!(published <= seen && seen <= received, "{published:?} {seen:?} {rung:?}");
    }
}
