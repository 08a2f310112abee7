//! The bandwidth test: whole frames, each written, announced, read and verified, each step timed apart.

use ivshmem_proto::copy::Kernel;
use ivshmem_proto::descriptor::RawDescriptor;
use ivshmem_proto::frame::FrameFormat;
use ivshmem_proto::geometry::{Geometry, GeometryError};
use ivshmem_proto::memory::Payload as _;
use ivshmem_proto::rates::median_rates;
use ivshmem_proto::wait::Waited;
use ivshmem_proto::wire::Verdict;

use crate::cli::Verify;
use crate::config::BandwidthPlan;
use crate::content;
use crate::link::{Link, Stopped};
use crate::progress::Progress;
use crate::status::RowStatus;

/// Samples of each copy kernel before the test.
const KERNEL_SAMPLES: usize = 7;

/// One frame. Durations in nanoseconds; `None` for what was not reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Which frame of its size, from 1.
    pub iteration: u64,
    /// Its size.
    pub format: FrameFormat,
    /// First byte written to PROCESSED, on the host's clock.
    pub duration_ns: Option<u64>,
    /// Writing the payload.
    pub write_ns: Option<u64>,
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

/// The host's copy kernels on this region, in bytes per second, fastest first.
///
/// # Errors
/// The payload does not fit.
pub fn measure_kernels(
    link: &Link<'_>,
    geometry: &Geometry,
    bytes: u64,
) -> Result<Vec<(Kernel, u64)>, GeometryError> {
    let range = geometry.payload(0, bytes).ok_or(GeometryError::PayloadTooLarge {
        payload: bytes,
        slot_bytes: geometry.slot_bytes(),
        region_bytes: geometry.region_bytes(),
    })?;
    let mut source = vec![0; range.len()];
    content::fill(&mut source, 0, 0);
    Ok(median_rates(link.clock, &Kernel::available(), KERNEL_SAMPLES, range.len(), |kernel| {
        link.map.write(range, &source, kernel);
    }))
}

/// Runs the test with the given kernel; rows are appended as they come.
///
/// # Errors
/// A signal, a guest that died, a region that shrank.
pub fn run(
    link: &mut Link<'_>,
    plan: &BandwidthPlan,
    geometry: &Geometry,
    kernel: Kernel,
    rows: &mut Vec<Row>,
    progress: &Progress,
) -> anyhow::Result<()> {
    let mut source = vec![0; usize::try_from(plan.largest_bytes())?];
    let mut number = 0;
    for &format in &plan.frames {
        for iteration in 1..=plan.iterations {
            let frame = &mut source[..format.bytes() as usize];
            content::fill(frame, plan.seed, number);
            let digest = (plan.verify == Verify::Sha256).then(|| content::sha256(frame));
            link.map.check_not_shrunk()?;
            if link.is_stopped() {
                return Err(Stopped::Interrupted.into());
            }
            // Slots take turns: a guest that is still reading a lost frame is not overwritten by the next.
            let slot = number % geometry.slot_count();
            let (sequence, row) = transfer(link, geometry, slot, frame, digest, kernel, format, iteration)?;
            rows.push(row);
            if row.status.is_timeout() {
                link.check_alive(sequence)?;
            }
            number += 1;
            progress.at(number);
            link.host.beat();
        }
    }
    Ok(())
}

#[allow(clippy::too_many_arguments, reason = "one call site, and a struct would only rename the arguments")]
fn transfer(
    link: &mut Link<'_>,
    geometry: &Geometry,
    slot: u64,
    frame: &[u8],
    digest: Option<[u8; 32]>,
    kernel: Kernel,
    format: FrameFormat,
    iteration: u64,
) -> anyhow::Result<(u64, Row)> {
    let length = frame.len() as u64;
    let range = geometry.payload(slot, length).ok_or(GeometryError::SlotBytes(length))?;
    let descriptor = RawDescriptor::frame(slot, length, digest);
    let mut row = Row {
        iteration,
        format,
        duration_ns: None,
        write_ns: None,
        notify_ns: None,
        read_ns: None,
        verify_ns: None,
        guest_read_ns: None,
        guest_verify_ns: None,
        verified: false,
        status: RowStatus::Ok,
    };
    let clock = link.clock;

    let start = clock.now();
    link.map.write(range, frame, kernel);
    let written = clock.now();
    let sequence = link.host.publish(&descriptor).map_err(|_| Stopped::Exhausted)?;
    row.write_ns = Some(clock.ns(start, written));

    let Some(received) = link.acknowledged(written, |host| host.is_received(sequence))? else {
        return Ok((sequence, Row { status: RowStatus::TimeoutReceived, ..row }));
    };
    row.notify_ns = Some(clock.ns(written, received));

    let Some(processed) = link.acknowledged(received, |host| host.is_processed(sequence))? else {
        return Ok((sequence, Row { status: RowStatus::TimeoutProcessed, ..row }));
    };
    row.read_ns = Some(clock.ns(received, processed));
    row.duration_ns = Some(clock.ns(start, processed));
    let answer = link.host.processed();
    row.guest_read_ns = Some(answer.read_ns);
    row.status = RowStatus::of_guest(answer.status);

    if digest.is_some() && row.status == RowStatus::Ok {
        match link.wait(processed, |host| host.verdict(sequence)) {
            Waited::Done(judged) => {
                row.verify_ns = Some(clock.ns(processed, clock.now()));
                row.guest_verify_ns = Some(judged.verify_ns);
                row.verified = judged.verdict == Some(Verdict::Match);
                row.status = match judged.verdict {
                    Some(Verdict::Match) => RowStatus::Ok,
                    Some(Verdict::Mismatch) => RowStatus::Mismatch,
                    None => RowStatus::ProtocolError,
                };
            }
            Waited::TimedOut => row.status = RowStatus::TimeoutVerdict,
            Waited::Stopped => return Err(Stopped::Interrupted.into()),
        }
    }
    Ok((sequence, row))
}
