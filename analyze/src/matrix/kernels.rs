//! Copy kernels by size: as frames were really carried with them where the user forced one, else as the run tried them.
//!
//! Without force each run takes the winner of its own trial, so the kernels of several runs differ by chance and a few
//! of them would hide the whole list.

use serde::Serialize;

use super::{Cell, Row};
use crate::report::text::size;

/// One kernel's rate at one size.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KernelRate {
    /// `VM (tcg)`, `native`.
    pub machine: String,
    /// `host` (writes into the region) or `guest` (reads out of it).
    pub side: String,
    /// Payload bytes.
    pub size_bytes: u64,
    /// Its name in the file: `4k`, `64B`.
    pub size: String,
    /// Its name.
    pub kernel: String,
    /// Its best rate.
    pub gb_per_s: f64,
    /// `frames`: medians of frames carried with it; `trial`: the trial copies before the test.
    pub source: &'static str,
}

/// Those of one machine and side, by size and in it the fastest first.
#[must_use]
pub fn of_side<'a>(rates: &'a [KernelRate], machine: &str, side: &str) -> Vec<&'a KernelRate> {
    rates.iter().filter(|rate| rate.machine == machine && rate.side == side).collect()
}

/// All rates of idle runs, by machine and side, then size, the fastest first.
pub(super) fn rates(cells: &[Cell], rows: &[Row]) -> Vec<KernelRate> {
    let mut rates: Vec<KernelRate> = Vec::new();
    let mut frames = of_frames(rows);
    frames.retain(|rate| is_swept(cells, rate));
    for trial in of_trials(cells, rows) {
        let same = |rate: &&KernelRate| {
            rate.machine == trial.machine && rate.side == trial.side && rate.size_bytes == trial.size_bytes
        };
        let carried = frames.iter().filter(same).count();
        if carried < 2 {
            keep_best(&mut rates, trial);
        }
    }
    for rate in &frames {
        let peers = frames
            .iter()
            .filter(|r| r.machine == rate.machine && r.side == rate.side && r.size_bytes == rate.size_bytes);
        if peers.count() > 1 {
            keep_best(&mut rates, rate.clone());
        }
    }
    rates.sort_by(|a, b| {
        (&a.machine, &a.side, a.size_bytes)
            .cmp(&(&b.machine, &b.side, b.size_bytes))
            .then(b.gb_per_s.total_cmp(&a.gb_per_s))
    });
    rates
}

/// Whether a run forced a kernel on that side at that size, or no run tried any.
fn is_swept(cells: &[Cell], rate: &KernelRate) -> bool {
    let trials = || {
        let runs = cells.iter().filter(|cell| cell.analyzed.machine() == rate.machine);
        let runs = runs.filter_map(|cell| cell.analyzed.run.provenance.as_ref());
        runs.flat_map(|p| p.run.copy_by_size.iter().flatten())
            .filter(|trial| trial.bytes == rate.size_bytes && trial.side.as_ref() == Some(&rate.side))
    };
    trials().next().is_none() || trials().any(|trial| trial.forced == Some(true))
}

fn keep_best(rates: &mut Vec<KernelRate>, rate: KernelRate) {
    let same = |r: &&mut KernelRate| {
        (&r.machine, &r.side, r.size_bytes, &r.kernel)
            == (&rate.machine, &rate.side, rate.size_bytes, &rate.kernel)
    };
    match rates.iter_mut().find(same) {
        Some(known) if known.gb_per_s >= rate.gb_per_s => {}
        Some(known) => *known = rate,
        None => rates.push(rate),
    }
}

/// From idle frames that the host wrote as a whole and the guest copied: kernels differ, all else does not.
fn of_frames(rows: &[Row]) -> Vec<KernelRate> {
    let plain = |row: &&Row| {
        row.load.is_none()
            && row.mode.as_deref() == Some("whole")
            && row.direction.as_deref() == Some("host-to-guest")
            && row.cache.as_deref() != Some("cold")
            && matches!(row.consume.as_deref(), None | Some("copy"))
    };
    let mut rates = Vec::new();
    for row in rows.iter().filter(plain) {
        let (Some(bytes), Some(name)) = (row.size_bytes, &row.size) else { continue };
        for (side, kernel, rate) in [
            ("host", &row.copy_kernel, row.write_gb_per_s),
            ("guest", &row.guest_copy_kernel, row.read_gb_per_s),
        ] {
            let (Some(kernel), Some(gb_per_s)) = (kernel, rate) else { continue };
            let rate = KernelRate {
                machine: row.machine.clone(),
                side: side.into(),
                size_bytes: bytes,
                size: name.clone(),
                kernel: kernel.clone(),
                gb_per_s,
                source: "frames",
            };
            keep_best(&mut rates, rate);
        }
    }
    rates
}

fn of_trials(cells: &[Cell], rows: &[Row]) -> Vec<KernelRate> {
    let mut rates = Vec::new();
    for cell in cells.iter().filter(|cell| cell.analyzed.summary.load.is_none()) {
        let Some(provenance) = &cell.analyzed.run.provenance else { continue };
        for trial in provenance.run.copy_by_size.iter().flatten() {
            let Some(side) = trial.side.as_ref().filter(|side| ["host", "guest"].contains(&side.as_str()))
            else {
                continue;
            };
            let named = rows.iter().find(|row| row.size_bytes == Some(trial.bytes));
            let name = named.and_then(|row| row.size.clone());
            for candidate in &trial.candidates {
                let (Some(kernel), Some(gb_per_s)) = (&candidate.kernel, candidate.region_gb_per_s) else {
                    continue;
                };
                if gb_per_s.is_finite() && gb_per_s > 0.0 {
                    rates.push(KernelRate {
                        machine: cell.analyzed.machine(),
                        side: side.clone(),
                        size_bytes: trial.bytes,
                        size: name.clone().unwrap_or_else(|| size(trial.bytes)),
                        kernel: kernel.clone(),
                        gb_per_s,
                        source: "trial",
                    });
                }
            }
        }
    }
    rates
}
