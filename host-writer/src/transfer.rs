//! One payload through the region, in either direction: written, announced, read, verified, each step timed apart.

use ivshmem_proto::clock::Ticks;
use ivshmem_proto::copy::Kernel;
use ivshmem_proto::descriptor::{Operation, RawDescriptor};
use ivshmem_proto::digest::digest_words;
use ivshmem_proto::doorbell::AT_PROCESSED;
use ivshmem_proto::geometry::{Geometry, GeometryError, PayloadRange};
use ivshmem_proto::host::{Judged, Outcome};
use ivshmem_proto::memory::Payload as _;
use ivshmem_proto::pattern::check_pattern_from;
use ivshmem_proto::wait::Waited;
use ivshmem_proto::wire::{Consume, Digest, Kind, Verdict};

use crate::cli::Direction;
use crate::config::BandwidthPlan;
use crate::content::Proof;
use crate::link::{Link, Stopped};
use crate::status::RowStatus;

/// How payloads are moved, whatever they hold.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// How the host copies.
    pub kernel: Kernel,
    /// How the guest copies, if not as it chooses.
    pub guest_kernel: Option<Kernel>,
    /// What the reader does.
    pub consume: Consume,
    /// How often the watermark advances in bytes; `None` publishes whole payloads.
    pub chunk_bytes: Option<usize>,
}

impl Manner {
    /// As `plan` says, with these kernels.
    #[must_use]
    pub fn of(plan: &BandwidthPlan, kernel: Kernel, guest_kernel: Option<Kernel>) -> Self {
        let chunk_bytes = plan.mode.chunk_bytes().and_then(|bytes| usize::try_from(bytes).ok());
        Self { kernel, guest_kernel, consume: plan.consume, chunk_bytes }
    }
}

/// What is to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Parcel<'a> {
    /// The bytes.
    pub payload: &'a [u8],
    /// Where they go.
    pub slot: u16,
    /// How the guest can check them.
    pub proof: Proof,
    /// How they travel.
    pub manner: Manner,
}

/// How it went. Durations in nanoseconds; `None` for what was not reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// The message's number in its session.
    pub sequence: u64,
    /// Which way it went.
    pub direction: Direction,
    /// How it was to be checked.
    pub digest: Digest,
    /// When the first byte was written, or fetched.
    pub start: Ticks,
    /// First byte written to the reader having all, on the host's clock.
    pub duration_ns: Option<u64>,
    /// The writer's writing.
    pub write_ns: Option<u64>,
    /// Publication to RECEIVED.
    pub notify_ns: Option<u64>,
    /// The reader's reading, as the host sees it.
    pub read_ns: Option<u64>,
    /// PROCESSED to verdict.
    pub verify_ns: Option<u64>,
    /// The guest's copy, on the guest's clock.
    pub guest_copy_ns: Option<u64>,
    /// How much of that it waited for the watermark.
    pub guest_stall_ns: Option<u64>,
    /// The guest's check, on the guest's clock.
    pub guest_verify_ns: Option<u64>,
    /// The first byte that differs, where the check can tell.
    pub mismatch_offset: Option<u64>,
    /// Whether the content was checked and found intact.
    pub verified: bool,
    /// How it ended.
    pub status: RowStatus,
}

impl Transfer {
    /// A message that was published, and nothing more.
    #[must_use]
    pub fn published(sequence: u64, direction: Direction, digest: Digest, start: Ticks) -> Self {
        Self {
            sequence,
            direction,
            digest,
            start,
            duration_ns: None,
            write_ns: None,
            notify_ns: None,
            read_ns: None,
            verify_ns: None,
            guest_copy_ns: None,
            guest_stall_ns: None,
            guest_verify_ns: None,
            mismatch_offset: None,
            verified: false,
            status: RowStatus::TimeoutReceived,
        }
    }

    /// The guest's own duration without what it waited.
    #[must_use]
    pub fn guest_ns(&self) -> Option<u64> {
        Some(self.guest_copy_ns?.saturating_sub(self.guest_stall_ns.unwrap_or(0)))
    }

    /// Takes in what the guest says of the message; `None` when it says nothing although it acknowledged.
    pub fn take(&mut self, outcome: Option<Outcome>) {
        let Some(outcome) = outcome else {
            self.status = RowStatus::ProtocolError;
            return;
        };
        self.guest_copy_ns = Some(outcome.copy_ns);
        self.guest_stall_ns = Some(outcome.stall_ns);
        self.status = RowStatus::of_guest(outcome.status);
    }

    /// Takes in the verdict.
    pub fn judge(&mut self, judged: Judged, verify_ns: u64) {
        self.verify_ns = Some(verify_ns);
        self.guest_verify_ns = Some(judged.verify_ns);
        self.mismatch_offset = judged.mismatch_offset.filter(|_| judged.verdict == Some(Verdict::Mismatch));
        self.verified = judged.verdict == Some(Verdict::Match);
        self.status = match judged.verdict {
            Some(Verdict::Match) => RowStatus::Ok,
            Some(Verdict::Mismatch) => RowStatus::Mismatch,
            None => RowStatus::ProtocolError,
        };
    }
}

/// The bytes of a payload in a slot.
///
/// # Errors
/// It does not fit.
pub fn range_of(geometry: &Geometry, slot: u16, length: usize) -> Result<PayloadRange, GeometryError> {
    geometry.payload(slot.into(), length as u64).ok_or(GeometryError::PayloadTooLarge {
        payload: length as u64,
        slot_bytes: geometry.slot_bytes(),
        region_bytes: geometry.region_bytes(),
    })
}

/// The descriptor of a parcel.
#[must_use]
pub fn descriptor_of(parcel: &Parcel<'_>) -> RawDescriptor {
    let operation = Operation {
        digest: parcel.proof.digest,
        slot: parcel.slot,
        kernel: parcel.manner.guest_kernel,
        consume: parcel.manner.consume,
        chunked: parcel.manner.chunk_bytes.is_some(),
        ..Operation::of(Kind::Frame)
    };
    RawDescriptor::of(operation, parcel.payload.len() as u64, parcel.proof.token, parcel.proof.expected)
}

/// Sends one parcel and sees it through.
///
/// # Errors
/// A signal, a payload larger than a slot. A transfer that ended badly is no error but a status.
pub fn send(link: &mut Link<'_>, geometry: &Geometry, parcel: &Parcel<'_>) -> anyhow::Result<Transfer> {
    let range = range_of(geometry, parcel.slot, parcel.payload.len())?;
    let descriptor = descriptor_of(parcel);
    let is_foretold = link.is_foretold();
    let (clock, start);
    let (sequence, published, written, seen_early);
    if let Some(chunk_bytes) = parcel.manner.chunk_bytes {
        link.host.begin_chunks();
        (clock, start) = (link.clock, link.clock.now());
        let chunks = write_chunks(link, &descriptor, range, parcel, chunk_bytes)?;
        (sequence, published, seen_early, written) =
            (chunks.sequence, chunks.published, chunks.received, clock.now());
    } else {
        (clock, start) = (link.clock, link.clock.now());
        link.map.write(range, parcel.payload, parcel.manner.kernel);
        written = clock.now();
        sequence = link.publish(&descriptor)?;
        (published, seen_early) = (written, None);
    }
    let received = match seen_early {
        Some(received) => Some(received),
        None => link.acknowledged(written, |host| host.is_received(sequence))?,
    };
    let processed = match received {
        Some(_) => link.acknowledged(written, |host| host.is_processed(sequence))?,
        None => None,
    };
    let ns = |from: Ticks, to: Option<Ticks>| to.map(|to| clock.ns(from, to));
    let mut transfer = Transfer {
        duration_ns: ns(start, processed),
        write_ns: Some(clock.ns(start, written)),
        notify_ns: ns(published, received),
        read_ns: received.and_then(|received| ns(received, processed)),
        ..Transfer::published(sequence, Direction::HostToGuest, parcel.proof.digest, start)
    };
    match processed {
        Some(_) if is_foretold => disbelieve(link, &mut transfer),
        Some(processed) => {
            transfer.take(link.outcome(sequence));
            if parcel.proof.digest != Digest::None && transfer.status == RowStatus::Ok {
                await_verdict(link, processed, &mut transfer)?;
            }
        }
        None => transfer.status = give_up(link, sequence, received.is_some()),
    }
    Ok(transfer)
}

/// What writing in chunks brought.
struct Chunks {
    sequence: u64,
    published: Ticks,
    received: Option<Ticks>,
}

/// Writes chunk by chunk. The message is published with the first; RECEIVED is looked for between two chunks.
fn write_chunks(
    link: &mut Link<'_>,
    descriptor: &RawDescriptor,
    range: PayloadRange,
    parcel: &Parcel<'_>,
    chunk_bytes: usize,
) -> anyhow::Result<Chunks> {
    let next = link.host.next_sequence();
    let (mut written, mut published, mut received) = (0, None, None);
    for chunk in parcel.payload.chunks(chunk_bytes.max(1)) {
        // Chunks of the payload lie in its range.
        if let Some(part) = range.part(written, chunk.len()) {
            link.map.write(part, chunk, parcel.manner.kernel);
        }
        written += chunk.len();
        link.host.advance(next, written as u64);
        if published.is_none() {
            link.publish(descriptor)?;
            published = Some(link.clock.now());
        } else if received.is_none() && link.host.is_received(next) {
            received = Some(link.clock.now());
        }
    }
    Ok(Chunks { sequence: next, published: published.unwrap_or_else(|| link.clock.now()), received })
}

/// A message that was acknowledged before it was published, or out of turn. The guest may be reading it still: it is taken
/// back.
pub fn disbelieve(link: &mut Link<'_>, transfer: &mut Transfer) {
    link.host.retract(transfer.sequence);
    transfer.status = RowStatus::ProtocolError;
}

/// The status of a message that was not acknowledged in time; it is taken back, so that its slot may be used again.
pub fn give_up(link: &mut Link<'_>, sequence: u64, received: bool) -> RowStatus {
    link.host.retract(sequence);
    if link.look_for_trouble() {
        RowStatus::ProtocolError
    } else if received {
        RowStatus::TimeoutProcessed
    } else {
        RowStatus::TimeoutReceived
    }
}

/// Waits for the verdict on a message that was processed.
///
/// # Errors
/// A signal.
pub fn await_verdict(link: &mut Link<'_>, processed: Ticks, transfer: &mut Transfer) -> Result<(), Stopped> {
    let sequence = transfer.sequence;
    match link.wait_told(processed, AT_PROCESSED, |host| host.verdict(sequence))? {
        Some((judged, seen)) => {
            let verify_ns = link.clock.ns(processed, seen);
            link.remember_verdict(sequence, judged.verdict);
            transfer.judge(judged, verify_ns);
        }
        None => transfer.status = RowStatus::TimeoutVerdict,
    }
    Ok(())
}

/// Has the guest prepare `length` bytes of the pattern `token`; returns the digest it computed.
///
/// # Errors
/// A signal, or a guest that does not answer.
pub fn produce(link: &mut Link<'_>, length: u64, token: u64, digest: Digest) -> anyhow::Result<Proof> {
    let operation = Operation { digest, ..Operation::of(Kind::Produce) };
    let outcome = link.ask(&RawDescriptor::of(operation, length, token, [0; 4]))?;
    Ok(Proof { digest, expected: outcome.digest, token, shift_bytes: 0 })
}

/// What is to be fetched.
#[derive(Debug)]
pub struct Errand<'a> {
    /// Where the host takes it to; as long as the payload.
    pub inbox: &'a mut [u8],
    /// The slot it passes through.
    pub slot: u16,
    /// How it can be checked.
    pub proof: Proof,
    /// How it travels.
    pub manner: Manner,
}

/// The descriptor of an errand that begins `shift_bytes` into what the guest has produced.
#[must_use]
pub fn fetch_descriptor(length: usize, slot: u16, manner: &Manner, shift_bytes: usize) -> RawDescriptor {
    let chunked = manner.chunk_bytes.is_some();
    let operation = Operation { slot, kernel: manner.guest_kernel, chunked, ..Operation::of(Kind::Fetch) };
    RawDescriptor::of(
        operation,
        length as u64,
        manner.chunk_bytes.unwrap_or(0) as u64,
        [shift_bytes as u64, 0, 0, 0],
    )
}

/// Fetches what the guest has produced and sees it through.
///
/// # Errors
/// A signal, a payload larger than a slot. A transfer that ended badly is no error but a status.
pub fn fetch(link: &mut Link<'_>, geometry: &Geometry, errand: Errand<'_>) -> anyhow::Result<Transfer> {
    let Errand { inbox, slot, proof, manner } = errand;
    let range = range_of(geometry, slot, inbox.len())?;
    let descriptor = fetch_descriptor(inbox.len(), slot, &manner, proof.shift_bytes);
    let is_foretold = link.is_foretold();
    let clock = link.clock;
    let start = clock.now();
    let sequence = link.publish(&descriptor)?;
    let mut transfer = Transfer::published(sequence, Direction::GuestToHost, proof.digest, start);
    let Some(received) = link.acknowledged(start, |host| host.is_received(sequence))? else {
        transfer.status = give_up(link, sequence, false);
        return Ok(transfer);
    };
    transfer.notify_ns = Some(clock.ns(start, received));
    let (mut first_read, mut taken) = (None, 0);
    if manner.chunk_bytes.is_some() {
        while taken < inbox.len() {
            let more = link.wait(received, |host| {
                // In this order: what the watermark says after PROCESSED is all that will come.
                let is_processed = host.is_processed(sequence);
                let bytes = host.guest_watermark(sequence).unwrap_or(0);
                (is_processed || bytes > taken as u64).then_some(bytes)
            });
            let valid = match more {
                Waited::Done(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX).min(inbox.len()),
                Waited::TimedOut => break,
                Waited::Stopped => return Err(Stopped::Interrupted.into()),
            };
            if valid <= taken {
                break;
            }
            first_read.get_or_insert_with(|| clock.now());
            if let Some(part) = range.part(taken, valid - taken) {
                take(link, part, &mut inbox[taken..valid], &manner);
            }
            taken = valid;
        }
    }
    let all_taken = clock.now();
    let Some(processed) = link.acknowledged(received, |host| host.is_processed(sequence))? else {
        transfer.status = give_up(link, sequence, true);
        return Ok(transfer);
    };
    if is_foretold {
        disbelieve(link, &mut transfer);
        return Ok(transfer);
    }
    transfer.take(link.outcome(sequence));
    transfer.write_ns = Some(clock.ns(received, processed));
    if transfer.status != RowStatus::Ok {
        return Ok(transfer);
    }
    if manner.chunk_bytes.is_some() && taken < inbox.len() {
        link.note_nonsense(sequence, "before its watermark had reached the end");
        transfer.status = RowStatus::ProtocolError;
        return Ok(transfer);
    }
    let end = if manner.chunk_bytes.is_some() {
        all_taken.max(processed)
    } else {
        take(link, range, inbox, &manner);
        clock.now()
    };
    transfer.read_ns = Some(clock.ns(first_read.unwrap_or(processed), end));
    transfer.duration_ns = Some(clock.ns(start, end));
    check(link, inbox, &mut transfer, &proof);
    Ok(transfer)
}

/// Takes bytes out of the region as the manner says.
pub fn take(link: &Link<'_>, part: PayloadRange, inbox: &mut [u8], manner: &Manner) {
    match manner.consume {
        Consume::Copy => link.map.read(part, inbox, manner.kernel),
        Consume::Scan => {
            std::hint::black_box(link.map.scan(part));
        }
        Consume::None => {}
    }
}

/// Checks what was fetched, as the proof says.
pub fn check(link: &Link<'_>, inbox: &[u8], transfer: &mut Transfer, proof: &Proof) {
    if proof.digest == Digest::None {
        return;
    }
    let start = link.clock.now();
    let intact = match proof.digest.algorithm() {
        Some(kind) => digest_words(kind, inbox) == proof.expected,
        None => {
            transfer.mismatch_offset =
                check_pattern_from(inbox, proof.token, proof.shift_bytes / 8).map(|offset| offset as u64);
            transfer.mismatch_offset.is_none()
        }
    };
    transfer.verify_ns = Some(link.clock.ns(start, link.clock.now()));
    transfer.verified = intact;
    if !intact {
        transfer.status = RowStatus::Mismatch;
    }
}

/// One parcel and one errand at the same time: the guest writes its slot while the host writes its own, then each reads
/// the other's.
///
/// # Errors
/// As [`send`] and [`fetch`].
pub fn exchange(
    link: &mut Link<'_>,
    geometry: &Geometry,
    parcel: &Parcel<'_>,
    errand: Errand<'_>,
) -> anyhow::Result<[Transfer; 2]> {
    let Errand { inbox, slot, proof, manner } = errand;
    let range = range_of(geometry, parcel.slot, parcel.payload.len())?;
    let fetch_range = range_of(geometry, slot, inbox.len())?;
    let (fetch, frame) =
        (fetch_descriptor(inbox.len(), slot, &manner, proof.shift_bytes), descriptor_of(parcel));
    let is_foretold = link.is_foretold();
    let clock = link.clock;

    let fetch_start = clock.now();
    let fetch_sequence = link.publish(&fetch)?;
    let start = clock.now();
    link.map.write(range, parcel.payload, parcel.manner.kernel);
    let written = clock.now();
    let sequence = link.publish(&frame)?;
    let mut fetched = Transfer::published(fetch_sequence, Direction::GuestToHost, proof.digest, fetch_start);
    let mut sent = Transfer {
        write_ns: Some(clock.ns(start, written)),
        ..Transfer::published(sequence, Direction::HostToGuest, parcel.proof.digest, start)
    };
    let reached = |link: &mut Link<'_>, upto| link.acknowledged(written, |host| host.has_processed(upto));
    let mut is_disordered = is_foretold;
    match reached(link, fetch_sequence)? {
        Some(_) if is_foretold => disbelieve(link, &mut fetched),
        Some(processed) => {
            let outcome = link.outcome(fetch_sequence);
            // The later message was acknowledged first: which of the two is done, nobody can tell.
            is_disordered |= outcome.is_none();
            fetched.take(outcome);
            fetched.write_ns = fetched.guest_copy_ns;
            if fetched.status == RowStatus::Ok {
                take(link, fetch_range, inbox, &manner);
                let end = clock.now();
                fetched.read_ns = Some(clock.ns(processed, end));
                fetched.duration_ns = Some(clock.ns(fetch_start, end));
            }
        }
        None => fetched.status = give_up(link, fetch_sequence, link.host.has_received(fetch_sequence)),
    }
    match reached(link, sequence)? {
        Some(_) if is_disordered => disbelieve(link, &mut sent),
        Some(processed) => {
            sent.take(link.outcome(sequence));
            sent.read_ns = sent.guest_copy_ns;
            sent.duration_ns = Some(clock.ns(start, processed));
            if parcel.proof.digest != Digest::None && sent.status == RowStatus::Ok {
                await_verdict(link, processed, &mut sent)?;
            }
        }
        None => sent.status = give_up(link, sequence, link.host.has_received(sequence)),
    }
    if fetched.status == RowStatus::Ok {
        check(link, inbox, &mut fetched, &proof);
    }
    Ok([fetched, sent])
}
