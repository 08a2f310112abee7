//! The result files of a run, prepared before the first message.

use ivshmem_proto::clock::Clock;
use ivshmem_proto::made_directory::{MadeDirectory, MakeError};

use crate::bandwidth_csv;
use crate::broadcast_csv;
use crate::cli::Record;
use crate::config::{Config, Extent, Mode, Pace, PayloadSize, Unmet};
use crate::doorbell_csv::{self, Common};
use crate::facts::Results;
use crate::hgrm;
use crate::latency_csv;
use crate::output::Pending;
use crate::run_json::RunJson;

const LATENCY_CSV: &str = "latency_results.csv";
const HISTOGRAM: &str = "latency.hgrm";
const DOORBELL_CSV: &str = "doorbell_results.csv";
const BROADCAST_CSV: &str = "broadcast_results.csv";
const BANDWIDTH_CSV: &str = "bandwidth_results.csv";
/// Room for run.json and for a histogram.
const SMALL_BYTES: u64 = 256 << 10;

/// Files that do not have their names yet.
pub struct Files {
    samples: Option<Pending>,
    doorbell: Option<Pending>,
    broadcast: Option<Pending>,
    histogram: Option<Pending>,
    bandwidth: Option<Pending>,
    run: Pending,
    /// Outlives the files in it, so that it goes again when none got its name.
    _directory: MadeDirectory,
}

impl Files {
    /// Makes them with room for what will come.
    ///
    /// # Errors
    /// The directory cannot be had, or the disk has no room.
    pub fn prepare(config: &Config, sizes: &[PayloadSize]) -> anyhow::Result<Self> {
        let directory = MadeDirectory::ensure(&config.out).map_err(|error| match error {
            MakeError::IsFile { .. } => anyhow::Error::new(Unmet(error.into())),
            MakeError::Io { .. } => error.into(),
        })?;
        let create = |name: &str, bytes| Pending::create(&config.out, name, bytes);
        let kept = config.latency.and_then(|plan| match (plan.record, plan.extent) {
            (Record::Samples, Extent::Count(messages)) => Some(messages),
            _ => None,
        });
        let samples = kept.map(|messages| messages * latency_csv::ROW_BYTES_MAX);
        let rung = kept.filter(|_| config.server.is_some());
        let doorbell = rung.map(|messages| messages * doorbell_csv::ROW_BYTES_MAX);
        let broadcast = config.broadcast.map(|plan| plan.messages * broadcast_csv::row_bytes_max(plan.lanes));
        let bandwidth = config.bandwidth.as_ref().map(|plan| {
            let each = match (plan.extent, plan.mode) {
                (Extent::Count(count), _) => count.saturating_mul(2),
                (Extent::Time(length), Mode::Stream { fps: Some(fps), .. }) => {
                    (length.as_secs_f64() * fps) as u64
                }
                // Nobody knows.
                (Extent::Time(_), _) => 0,
            };
            let rows = each.saturating_mul(sizes.len() as u64).saturating_add(1);
            rows.saturating_mul(bandwidth_csv::ROW_BYTES_MAX)
        });
        Ok(Self {
            samples: samples.map(|bytes| create(LATENCY_CSV, bytes)).transpose()?,
            doorbell: doorbell.map(|bytes| create(DOORBELL_CSV, bytes)).transpose()?,
            broadcast: broadcast.map(|bytes| create(BROADCAST_CSV, bytes)).transpose()?,
            histogram: config.latency.map(|_| create(HISTOGRAM, SMALL_BYTES)).transpose()?,
            bandwidth: bandwidth.map(|bytes| create(BANDWIDTH_CSV, bytes)).transpose()?,
            run: create("run.json", SMALL_BYTES)?,
            _directory: directory,
        })
    }

    /// Writes them all.
    ///
    /// # Errors
    /// The first that could not be written; the others were tried all the same: one full disk or bad name loses nothing
    /// else.
    pub fn write(
        self,
        config: &Config,
        results: &Results,
        clock: &Clock,
        run: &RunJson,
    ) -> anyhow::Result<()> {
        // A test that was skipped leaves no rows of another run beside this run's run.json.
        for (name, is_stale) in [
            (LATENCY_CSV, self.samples.is_none()),
            (DOORBELL_CSV, self.doorbell.is_none()),
            (BROADCAST_CSV, self.broadcast.is_none()),
            (HISTOGRAM, self.histogram.is_none()),
            (BANDWIDTH_CSV, self.bandwidth.is_none()),
        ] {
            if is_stale {
                let _ = std::fs::remove_file(config.out.join(name));
            }
        }
        let mut written = Vec::new();
        if let (Some(file), Some(plan)) = (self.samples, config.latency) {
            let is_open = matches!(plan.pace, Pace::Open { .. });
            let (samples, one_way) = (&results.latency.samples, results.one_way.as_ref());
            written.push(file.finish(|out| latency_csv::write(out, samples, one_way, is_open, clock)));
        }
        if let (Some(file), Some(plan), Some(facts)) = (self.doorbell, config.latency, &run.doorbell) {
            let load = run.load.as_ref().map(|load| load.label.as_str());
            let common = Common { facts, pace: plan.pace, load, one_way: results.one_way.as_ref() };
            let samples = &results.latency.samples;
            written.push(file.finish(|out| doorbell_csv::write(out, samples, &common, clock)));
        }
        if let (Some(file), Some(rows)) = (self.broadcast, &results.broadcast) {
            written.push(file.finish(|out| broadcast_csv::write(out, rows, clock)));
        }
        if let Some(file) = self.histogram {
            written.push(file.finish(|out| hgrm::write(out, &results.latency.rtt)));
        }
        if let (Some(file), Some(plan)) = (self.bandwidth, &config.bandwidth) {
            written.push(file.finish(|out| bandwidth_csv::write(out, &results.rows, plan)));
        }
        written.push(self.run.finish(|out| {
            serde_json::to_writer_pretty(&mut *out, run)?;
            writeln!(out)
        }));
        written.into_iter().collect()
    }
}
