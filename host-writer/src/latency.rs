//! The latency test: closed loop, one message at a time, each timed to both acknowledgements.

use std::time::Duration;

use ivshmem_proto::clock::Ticks;

use crate::config::LatencyPlan;
use crate::link::{Link, Stopped};
use crate::progress::Progress;
use crate::status::RowStatus;

/// Messages between two looks at the progress bar.
const MESSAGES_PER_PROGRESS: u64 = 4096;

/// One message, in ticks of the link's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Publication to RECEIVED, when that came.
    pub received_ticks: Option<u64>,
    /// Publication to PROCESSED, when that came.
    pub processed_ticks: Option<u64>,
    /// How it ended.
    pub status: RowStatus,
}

/// Runs the test; rows are appended to `samples` as they come, so that they survive an early end.
///
/// # Errors
/// A signal, or a guest that died.
pub fn run(
    link: &mut Link<'_>,
    plan: &LatencyPlan,
    samples: &mut Vec<Sample>,
    progress: &Progress,
) -> Result<(), Stopped> {
    let interval_ticks = link.clock.after(Ticks(0), plan.interval).0;
    let mut due = link.clock.now();
    for message in 0..plan.warmup + plan.messages {
        if link.is_stopped() {
            return Err(Stopped::Interrupted);
        }
        if interval_ticks > 0 {
            due = Ticks(due.0 + interval_ticks);
            pace(link, due);
        }
        // Any value that differs from message to message: the guest can echo it only after reading it.
        let token = message.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let (sequence, sample) = exchange(link, token)?;
        if message >= plan.warmup {
            samples.push(sample);
        }
        if sample.status.is_timeout() {
            link.check_alive(sequence)?;
            due = link.clock.now();
        }
        if message % MESSAGES_PER_PROGRESS == 0 {
            progress.at(message);
            link.host.beat();
        }
    }
    Ok(())
}

/// One timed exchange. Nothing happens between the first and the last reading of the clock but publication and
/// looking at the two acknowledgement words.
#[inline(always)]
fn exchange(link: &mut Link<'_>, token: u64) -> Result<(u64, Sample), Stopped> {
    let start = link.clock.now();
    let sequence = link.host.publish_ping(token).map_err(|_| Stopped::Exhausted)?;
    let lost = |received_ticks, status| Sample { received_ticks, processed_ticks: None, status };
    let Some(received) = link.acknowledged(start, |host| host.is_received(sequence))? else {
        return Ok((sequence, lost(None, RowStatus::TimeoutReceived)));
    };
    let received_ticks = received.0.saturating_sub(start.0);
    let Some(processed) = link.acknowledged(received, |host| host.is_processed(sequence))? else {
        return Ok((sequence, lost(Some(received_ticks), RowStatus::TimeoutProcessed)));
    };
    let answer = link.host.processed();
    let status = match RowStatus::of_guest(answer.status) {
        RowStatus::Ok if answer.token_echo != token => RowStatus::Mismatch,
        status => status,
    };
    let processed_ticks = Some(processed.0.saturating_sub(start.0));
    Ok((sequence, Sample { received_ticks: Some(received_ticks), processed_ticks, status }))
}

/// Waits until `due`, asleep while that is far off and spinning at the end. Not timed.
fn pace(link: &Link<'_>, due: Ticks) {
    const SPIN: Duration = Duration::from_micros(100);
    let left = Duration::from_nanos(link.clock.ns(link.clock.now(), due));
    if let Some(sleep) = left.checked_sub(SPIN).filter(|s| !s.is_zero()) {
        std::thread::sleep(sleep);
    }
    while link.clock.now() < due && !link.is_stopped() {}
}
