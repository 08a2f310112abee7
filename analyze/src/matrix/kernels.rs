//! Copy kernels by size: as frames were really carried with them where the user forced one, else as the run tried them.
//!
//! Without force each run takes the winner of its own trial, so the kernels of several runs differ by chance and a few
//! of them would hide the whole list. Each run that measured a kernel is one trial of it; disturbed runs count where
//! there is no other.

use serde::Serialize;

use super::{Cell, Row};
use crate::report::text::{plural, size};
use crate::stats::Sorted;

/// One kernel's rate at one size, 1e9 bytes a second.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KernelRate {
    /// `VM (tcg)`, `native`.
    pub machine: String,
    /// How the guest mapped the region: `write-combining by resource2_wc`.
    pub mapping: Option<String>,
    /// `host` (writes into the region) or `guest` (reads out of it).
    pub side: String,
    /// Payload bytes.
    pub size_bytes: u64,
    /// Its name in the file: `4k`, `64B`.
    pub size: String,
    /// Its name.
    pub kernel: String,
    /// The median of its trials, nearest rank: of two the lower.
    pub gb_per_s: f64,
    /// Their lowest.
    pub low_gb_per_s: f64,
    /// Their highest.
    pub high_gb_per_s: f64,
    /// How many there are.
    pub trials: u64,
    /// `frames`: each trial is the median of frames carried with it; `trial`: of the trial copies before the test.
    pub source: &'static str,
    /// The mode of the runs.
    pub mode: Option<String>,
    /// Whether the runs it rests on were disturbed too much.
    pub dirty: bool,
}

/// What a lone trial may be off by, either way: figures of one run and the next differ by a few percent.
const LONE_TRIAL: f64 = 0.025;

impl KernelRate {
    /// Whether the spread of the trials of the two covers their difference.
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        let ([low, high], [other_low, other_high]) = (self.range(), other.range());
        low <= other_high && other_low <= high
    }

    fn range(&self) -> [f64; 2] {
        if self.trials > 1 {
            return [self.low_gb_per_s, self.high_gb_per_s];
        }
        [self.gb_per_s * (1.0 - LONE_TRIAL), self.gb_per_s * (1.0 + LONE_TRIAL)]
    }
}

/// How many trials the figures rest on: `one trial`, `3 trials`, `1 to 3 trials`.
pub(super) fn trials<'a>(rates: impl IntoIterator<Item = &'a KernelRate>) -> String {
    let counts = Sorted::new(rates.into_iter().map(|rate| rate.trials).collect());
    match counts.as_slice() {
        [] | [1] | [1, .., 1] => "one trial".into(),
        [least, .., most] if least < most => format!("{least} to {}", plural(*most, "trial")),
        [count, ..] => plural(*count, "trial"),
    }
}

impl KernelRate {
    /// Whether both are of one machine and mapping.
    #[must_use]
    pub fn is_of_like_place(&self, other: &Self) -> bool {
        (&self.machine, &self.mapping) == (&other.machine, &other.mapping)
    }

    /// Its machine, and its mapping where rates of the same machine have another.
    #[must_use]
    pub fn place(&self, all: &[Self]) -> String {
        let several = all.iter().any(|other| other.machine == self.machine && other.mapping != self.mapping);
        match self.mapping.as_ref().filter(|_| several) {
            Some(mapping) => format!("{}, {mapping}", self.machine),
            None => self.machine.clone(),
        }
    }
}

/// What one run measured of one kernel at one size.
#[derive(Debug, Clone)]
struct Trial {
    machine: String,
    mapping: Option<String>,
    side: &'static str,
    size_bytes: u64,
    size: String,
    kernel: String,
    gb_per_s: f64,
    source: &'static str,
    dirty: bool,
    /// Whether payloads went as a whole from the host and were copied by the guest.
    plain: bool,
    /// Mode, direction, cache and use. What a trial times depends on them: those of other ways are of another thing.
    way: [Option<String>; 4],
}

impl Trial {
    fn is_beside(&self, other: &Self) -> bool {
        (&self.machine, &self.mapping, self.side, self.size_bytes)
            == (&other.machine, &other.mapping, other.side, other.size_bytes)
    }
}

/// All rates of idle runs, by machine and side, then size, the fastest first.
pub(super) fn rates(cells: &[Cell], rows: &[Row]) -> Vec<KernelRate> {
    let mut trials = of_frames(rows);
    trials.retain(|trial| is_swept(cells, trial));
    // A single kernel's frames have nothing to be compared with.
    let rivals = |of: &Trial| trials.iter().any(|trial| trial.is_beside(of) && trial.kernel != of.kernel);
    let swept: Vec<Trial> = trials.iter().filter(|trial| rivals(trial)).cloned().collect();
    let tried = of_trials(cells, rows);
    // Plain trials where there are any, else those of the way that came first.
    let is_wanted = |of: &Trial| {
        let beside = || tried.iter().filter(|trial| trial.is_beside(of));
        beside().find(|trial| trial.plain).or(beside().next()).is_some_and(|trial| trial.way == of.way)
    };
    let is_left = |of: &Trial| !swept.iter().any(|trial| trial.is_beside(of));
    let tried = tried.iter().filter(|trial| is_wanted(trial) && is_left(trial)).cloned();
    summed_up(swept.iter().cloned().chain(tried).collect())
}

/// The trials of each kernel in one figure.
fn summed_up(mut trials: Vec<Trial>) -> Vec<KernelRate> {
    let key = |trial: &Trial| {
        let place = (trial.machine.clone(), trial.mapping.clone());
        (place, trial.side, trial.size_bytes, trial.kernel.clone(), trial.dirty)
    };
    trials.sort_by_key(key);
    let is_same = |a: &Trial, b: &Trial| a.is_beside(b) && a.kernel == b.kernel;
    let mut rates: Vec<KernelRate> = trials.chunk_by(is_same).filter_map(of_kernel).collect();
    rates.sort_by(|a, b| {
        (&a.machine, &a.mapping, &a.side, a.size_bytes)
            .cmp(&(&b.machine, &b.mapping, &b.side, b.size_bytes))
            .then(b.gb_per_s.total_cmp(&a.gb_per_s))
    });
    rates
}

/// Of one kernel at one size, undisturbed trials first.
fn of_kernel(trials: &[Trial]) -> Option<KernelRate> {
    let first = trials.first()?;
    let counted = trials.iter().filter(|trial| trial.dirty == first.dirty);
    let sorted = Sorted::new(counted.map(|trial| trial.gb_per_s).collect());
    Some(KernelRate {
        machine: first.machine.clone(),
        mapping: first.mapping.clone(),
        side: first.side.into(),
        size_bytes: first.size_bytes,
        size: first.size.clone(),
        kernel: first.kernel.clone(),
        gb_per_s: sorted.median()?,
        low_gb_per_s: *sorted.as_slice().first()?,
        high_gb_per_s: *sorted.as_slice().last()?,
        trials: sorted.as_slice().len() as u64,
        source: first.source,
        mode: first.way[0].clone(),
        dirty: first.dirty,
    })
}

/// Whether a run forced a kernel on that side at that size, or no run tried any.
fn is_swept(cells: &[Cell], carried: &Trial) -> bool {
    let trials = || {
        let runs = cells.iter().filter(|cell| cell.analyzed.machine() == carried.machine);
        let runs = runs.filter_map(|cell| cell.analyzed.run.provenance.as_ref());
        let runs = runs.filter(|p| p.run.mapping() == carried.mapping);
        runs.flat_map(|p| p.run.copy_by_size.iter().flatten())
            .filter(|trial| trial.bytes == carried.size_bytes && trial.side.as_deref() == Some(carried.side))
    };
    trials().next().is_none() || trials().any(|trial| trial.forced == Some(true))
}

/// Whether an idle run's host wrote payloads as a whole and the guest copied them.
fn is_plain(row: &Row) -> bool {
    row.load.is_none()
        && row.mode.as_deref() == Some("whole")
        && row.direction.as_deref() == Some("host-to-guest")
        && row.cache.as_deref() != Some("cold")
        && matches!(row.consume.as_deref(), None | Some("copy"))
}

fn way(row: &Row) -> [Option<String>; 4] {
    [&row.mode, &row.direction, &row.cache, &row.consume].map(Clone::clone)
}

/// From plain rows: kernels differ, all else does not.
fn of_frames(rows: &[Row]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for row in rows.iter().filter(|row| is_plain(row)) {
        let (Some(size_bytes), Some(size)) = (row.size_bytes, &row.size) else { continue };
        for (side, kernel, rate) in [
            ("host", &row.copy_kernel, row.write_gb_per_s),
            ("guest", &row.guest_copy_kernel, row.read_gb_per_s),
        ] {
            let (Some(kernel), Some(gb_per_s)) = (kernel, rate) else { continue };
            trials.push(Trial {
                machine: row.machine.clone(),
                mapping: row.mapping.clone(),
                side,
                size_bytes,
                size: size.clone(),
                kernel: kernel.clone(),
                gb_per_s,
                source: "frames",
                dirty: row.dirty,
                plain: true,
                way: way(row),
            });
        }
    }
    trials
}

fn of_trials(cells: &[Cell], rows: &[Row]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for cell in cells.iter().filter(|cell| cell.analyzed.summary.load.is_none()) {
        let Some(provenance) = &cell.analyzed.run.provenance else { continue };
        let Some(row) = rows.iter().find(|row| row.label == cell.label) else { continue };
        for by_size in provenance.run.copy_by_size.iter().flatten() {
            let named = rows.iter().find(|row| row.size_bytes == Some(by_size.bytes));
            let name = named.and_then(|row| row.size.clone()).unwrap_or_else(|| size(by_size.bytes));
            let Some(side) = ["host", "guest"].into_iter().find(|side| by_size.side.as_deref() == Some(side))
            else {
                continue;
            };
            for candidate in &by_size.candidates {
                let (Some(kernel), Some(gb_per_s)) = (&candidate.kernel, candidate.region_gb_per_s) else {
                    continue;
                };
                if gb_per_s.is_finite() && gb_per_s > 0.0 {
                    trials.push(Trial {
                        machine: cell.analyzed.machine(),
                        mapping: provenance.run.mapping(),
                        side,
                        size_bytes: by_size.bytes,
                        size: name.clone(),
                        kernel: kernel.clone(),
                        gb_per_s,
                        source: "trial",
                        dirty: cell.analyzed.run.is_dirty(),
                        plain: is_plain(row),
                        way: way(row),
                    });
                }
            }
        }
    }
    trials
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(kernel: &str, gb_per_s: f64, dirty: bool) -> Trial {
        Trial {
            machine: "VM".into(),
            mapping: None,
            side: "guest",
            size_bytes: 64,
            size: "64B".into(),
            kernel: kernel.into(),
            gb_per_s,
            source: "trial",
            dirty,
            plain: true,
            way: Default::default(),
        }
    }

    #[test]
    fn a_kernel_is_its_median_trial_and_disturbed_ones_count_only_alone() {
        let rates = summed_up(vec![
            trial("memcpy", 2.0, true),
            trial("avx2", 9.0, true),
            trial("avx2", 3.0, false),
            trial("avx2", 2.5, false),
            trial("avx2", 2.75, false),
        ]);
        let figures: Vec<_> = rates
            .iter()
            .map(|r| (r.kernel.as_str(), r.gb_per_s, r.low_gb_per_s, r.high_gb_per_s, r.trials, r.dirty))
            .collect();
        assert_eq!(figures, [("avx2", 2.75, 2.5, 3.0, 3, false), ("memcpy", 2.0, 2.0, 2.0, 1, true)]);
        assert_eq!(trials(&rates), "1 to 3 trials");
        assert_eq!(trials(&rates[1..]), "one trial");
    }

    #[test]
    fn trials_through_different_mappings_are_never_one_kernels() {
        let through = |mapping: &str, gb_per_s| Trial {
            mapping: Some(mapping.into()),
            ..trial("memcpy", gb_per_s, false)
        };
        let rates = summed_up(vec![through("write-combining", 2.2), through("uncached-minus", 1.4)]);
        let figures: Vec<_> = rates.iter().map(|r| (r.place(&rates), r.gb_per_s, r.trials)).collect();
        assert_eq!(figures, [("VM, uncached-minus".into(), 1.4, 1), ("VM, write-combining".into(), 2.2, 1)]);
        assert_eq!(rates[0].place(&rates[..1]), "VM");
    }

    #[test]
    fn of_two_trials_the_lower_is_the_median_as_everywhere() {
        let rates = summed_up(vec![trial("memcpy", 2.247, false), trial("memcpy", 1.405, false)]);
        assert_eq!((rates[0].gb_per_s, rates[0].high_gb_per_s), (1.405, 2.247));
    }

    #[test]
    fn ranges_that_touch_hide_the_difference() {
        let rates = summed_up(vec![
            trial("avx2", 3.0, false),
            trial("avx2", 2.0, false),
            trial("sse2", 2.5, false),
            trial("memcpy", 1.9, false),
        ]);
        assert!(rates[0].is_alike(&rates[1]) && rates[1].is_alike(&rates[0]));
        assert!(!rates[0].is_alike(&rates[2]) && !rates[2].is_alike(&rates[1]));
        // Lone trials hide a few percent.
        let rates = summed_up(vec![
            trial("avx2", 3.0, false),
            trial("memcpy", 2.9, false),
            trial("sse2", 2.8, false),
        ]);
        assert!(rates[0].is_alike(&rates[1]) && !rates[0].is_alike(&rates[2]));
    }
}
