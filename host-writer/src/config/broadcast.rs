//! Messages to many guests at once.

use std::time::Duration;

use anyhow::ensure;

use super::{MESSAGES_DEFAULT, SAMPLES_MAX};
use crate::cli::{Args, ModeName};

/// Messages to many guests at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BroadcastPlan {
    /// Guests, each in a lane of its own.
    pub lanes: u64,
    /// Messages that count.
    pub messages: u64,
    /// Messages before them.
    pub warmup: u64,
    /// Pause between messages.
    pub interval: Duration,
}

impl BroadcastPlan {
    pub(super) fn new(lanes: u64, args: &Args) -> anyhow::Result<Self> {
        let (latency, bandwidth) = (&args.latency, &args.bandwidth);
        for (is_given, flag) in [
            (args.preset.is_some(), "--preset"),
            (latency.rate.is_some(), "--rate"),
            (latency.payload > 0, "--payload"),
            (latency.record.is_some(), "--record"),
            (latency.one_way, "--one-way"),
            (bandwidth.mode != ModeName::Whole, "--mode"),
            (bandwidth.frames.as_ref().is_some_and(|list| !list.0.is_empty()), "--frames"),
            (bandwidth.sizes.is_some(), "--sizes"),
            (bandwidth.sweep, "--sweep"),
            (bandwidth.duration.is_some(), "--duration"),
        ] {
            ensure!(
                !is_given,
                "--broadcast sends messages without payload in a closed loop: leave {flag} out"
            );
        }
        let messages = latency.messages.unwrap_or(MESSAGES_DEFAULT);
        ensure!(messages > 0, "nothing to measure: give --messages above 0");
        ensure!(
            messages.saturating_mul(lanes) <= SAMPLES_MAX,
            "--messages {messages} to {lanes} guests: at most {SAMPLES_MAX} samples are kept"
        );
        Ok(Self { lanes, messages, warmup: latency.warmup, interval: latency.interval })
    }
}
