//! Up to what rate a figure is believed. Above it, the tool that wrote the file timed something else than a copy.

use serde::Serialize;

use crate::input::Provenance;

/// The limit where no measured one is known.
///
/// One core copies a frame of several megabytes, which outgrows its own caches, at some 10 to 50 GB/s on the machines
/// of this decade; 200 GB/s is beyond doubt, and far below the thousands of GB/s that a writer shows which
/// stops its clock before the reader has read.
pub const UNMEASURED_LIMIT_GB_PER_S: f64 = 200.0;

/// A rate, and where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Limit {
    /// The rate, 1e9 bytes a second.
    pub gb_per_s: f64,
    /// The copy kernel that reached it in the same run; `None` for [`UNMEASURED_LIMIT_GB_PER_S`].
    pub copy_kernel: Option<String>,
}

impl Limit {
    /// The fastest copy the run measured. A frame is written, then read, so its rate cannot reach that of one copy.
    /// `None` where the run has a roof, which was measured for each size and judged by the writer.
    #[must_use]
    pub fn of(provenance: Option<&Provenance>) -> Option<Self> {
        if provenance.is_some_and(|p| p.run.roof.is_some()) {
            return None;
        }
        Some(match provenance.and_then(|p| p.run.best_copy()) {
            Some((kernel, gb_per_s)) => Self { gb_per_s, copy_kernel: Some(kernel.to_owned()) },
            None => Self { gb_per_s: UNMEASURED_LIMIT_GB_PER_S, copy_kernel: None },
        })
    }

    /// Whether `gb_per_s` is not to be believed.
    #[must_use]
    pub fn is_exceeded_by(&self, gb_per_s: f64) -> bool {
        gb_per_s > self.gb_per_s
    }
}
