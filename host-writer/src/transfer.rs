//! One payload through the region: written, announced, read, verified, each step timed apart.

use ivshmem_proto::clock::Ticks;
use ivshmem_proto::copy::Kernel;
use ivshmem_proto::descriptor::RawDescriptor;
use ivshmem_proto::geometry::{Geometry, GeometryError};
use ivshmem_proto::memory::Payload as _;
use ivshmem_proto::wait::Waited;
use ivshmem_proto::wire::Verdict;

use crate::link::{Link, Stopped};
use crate::status::RowStatus;

/// What is to be sent, and how.
#[derive(Debug, Clone, Copy)]
pub struct Parcel<'a> {
    /// The bytes.
    pub payload: &'a [u8],
    /// Where they go.
    pub slot: u64,
    /// What the guest shall check.
    pub sha256: Option<[u8; 32]>,
    /// How they are copied.
    pub kernel: Kernel,
}

/// How it went. Durations in nanoseconds; `None` for what was not reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// The message's number in its session.
    pub sequence: u64,
    /// First byte written to PROCESSED, on the host's clock.
    pub duration_ns: Option<u64>,
    /// Writing the payload.
    pub write_ns: u64,
    /// Publication to RECEIVED.
    pub notify_ns: Option<u64>,
    /// RECEIVED to PROCESSED.
    pub read_ns: Option<u64>,
    /// PROCESSED to verdict.
    pub verify_ns: Option<u64>,
    /// The guest's copy, on the guest's clock.
    pub guest_read_ns: Option<u64>,
    /// The guest's hashing, on the guest's clock.
    pub guest_verify_ns: Option<u64>,
    /// Whether the content was checked and found intact.
    pub verified: bool,
    /// How it ended.
    pub status: RowStatus,
}

/// Sends one parcel and sees it through.
///
/// # Errors
/// A signal, a payload larger than a slot. A transfer that ended badly is no error but a status.
pub fn send(link: &mut Link<'_>, geometry: &Geometry, parcel: &Parcel<'_>) -> anyhow::Result<Transfer> {
    let length = parcel.payload.len() as u64;
    let range = geometry.payload(parcel.slot, length).ok_or(GeometryError::PayloadTooLarge {
        payload: length,
        slot_bytes: geometry.slot_bytes(),
        region_bytes: geometry.region_bytes(),
    })?;
    let descriptor = RawDescriptor::frame(parcel.slot, length, parcel.sha256);
    let clock = link.clock;

    let start = clock.now();
    link.map.write(range, parcel.payload, parcel.kernel);
    let written = clock.now();
    let sequence = link.host.publish(&descriptor).map_err(|_| Stopped::Exhausted)?;
    let received = link.acknowledged(written, |host| host.is_received(sequence))?;
    let processed = match received {
        Some(received) => link.acknowledged(received, |host| host.is_processed(sequence))?,
        None => None,
    };

    let ns = |from: Ticks, to: Option<Ticks>| to.map(|to| clock.ns(from, to));
    let mut transfer = Transfer {
        sequence,
        duration_ns: ns(start, processed),
        write_ns: clock.ns(start, written),
        notify_ns: ns(written, received),
        read_ns: received.and_then(|received| ns(received, processed)),
        verify_ns: None,
        guest_read_ns: None,
        guest_verify_ns: None,
        verified: false,
        status: if received.is_none() { RowStatus::TimeoutReceived } else { RowStatus::TimeoutProcessed },
    };
    if let Some(processed) = processed {
        let answer = link.host.processed();
        transfer.guest_read_ns = Some(answer.read_ns);
        transfer.status = RowStatus::of_guest(answer.status);
        if parcel.sha256.is_some() && transfer.status == RowStatus::Ok {
            await_verdict(link, processed, &mut transfer)?;
        }
    }
    Ok(transfer)
}

fn await_verdict(link: &mut Link<'_>, processed: Ticks, transfer: &mut Transfer) -> Result<(), Stopped> {
    let sequence = transfer.sequence;
    match link.wait(processed, |host| host.verdict(sequence)) {
        Waited::Done(judged) => {
            transfer.verify_ns = Some(link.clock.ns(processed, link.clock.now()));
            transfer.guest_verify_ns = Some(judged.verify_ns);
            transfer.verified = judged.verdict == Some(Verdict::Match);
            transfer.status = match judged.verdict {
                Some(Verdict::Match) => RowStatus::Ok,
                Some(Verdict::Mismatch) => RowStatus::Mismatch,
                None => RowStatus::ProtocolError,
            };
        }
        Waited::TimedOut => transfer.status = RowStatus::TimeoutVerdict,
        Waited::Stopped => return Err(Stopped::Interrupted),
    }
    Ok(())
}
