//! The bandwidth test: whole frames of each size, one after another.

use ivshmem_proto::copy::Kernel;
use ivshmem_proto::frame::FrameFormat;
use ivshmem_proto::geometry::Geometry;

use crate::cli::Verify;
use crate::config::BandwidthPlan;
use crate::content;
use crate::link::{Link, Stopped};
use crate::progress::Progress;
use crate::transfer::{Parcel, Transfer, send};

/// One frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Which of its size, from 1.
    pub iteration: u64,
    /// Its size.
    pub format: FrameFormat,
    /// How it went.
    pub transfer: Transfer,
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
    let mut buffer = vec![0; usize::try_from(plan.largest_bytes())?];
    let mut number = 0;
    for &format in &plan.frames {
        for iteration in 1..=plan.iterations {
            let payload = &mut buffer[..format.bytes() as usize];
            let sha256 = content::produce(payload, plan.seed, number, plan.verify == Verify::Sha256);
            link.map.check_not_shrunk()?;
            if link.is_stopped() {
                return Err(Stopped::Interrupted.into());
            }
            // Slots take turns: a guest that is still reading a lost frame is not overwritten by the next.
            let slot = number % geometry.slot_count();
            let transfer = send(link, geometry, &Parcel { payload, slot, sha256, kernel })?;
            rows.push(Row { iteration, format, transfer });
            if transfer.status.is_timeout() {
                link.check_alive(transfer.sequence)?;
            }
            number += 1;
            progress.at(number);
            link.host.beat();
        }
    }
    Ok(())
}
