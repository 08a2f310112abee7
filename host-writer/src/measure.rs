//! The tests of a run, each in its turn: calibration, latency, bandwidth.

use ivshmem_proto::geometry::Geometry;
use ivshmem_proto::priority;

use crate::bandwidth::{self, Setting};
use crate::calibrate::Calibration;
use crate::cli::{Cache, Record};
use crate::config::{Config, Extent, PayloadSize};
use crate::facts::Results;
use crate::latency;
use crate::link::{Link, Stopped};
use crate::progress::Progress;
use crate::working_set::WorkingSet;

/// The tests of a run.
#[derive(Debug, Clone, Copy)]
pub struct Test<'a> {
    /// What was asked for.
    pub config: &'a Config,
    /// The slots.
    pub geometry: &'a Geometry,
    /// Payload sizes of the bandwidth test.
    pub sizes: &'a [PayloadSize],
    /// The last-level cache of the CPU this thread is pinned to.
    pub llc_bytes: Option<u64>,
}

impl Test<'_> {
    /// Kernels and roofs, in a session of their own; the link is then in the one that counts.
    ///
    /// # Errors
    /// A signal, a guest that died, a payload that does not fit.
    pub fn calibrate(&self, link: &mut Link<'_>, results: &mut Results) -> anyhow::Result<()> {
        let Some(plan) = &self.config.bandwidth else { return Ok(()) };
        let progress = Progress::new("calibration", self.sizes.len() as u64, self.config.print);
        results.calibration = Calibration::measure(link, self.geometry, self.sizes, plan, &progress)?;
        // The messages that count get a session of their own.
        link.open_next(self.geometry);
        if !link.wait_for_guest(self.config.guest_timeout)? {
            return Err(Stopped::Interrupted.into());
        }
        Ok(())
    }

    /// The messages that count.
    ///
    /// # Errors
    /// As [`Self::calibrate`]; or memory or a priority that is not to be had.
    pub fn run(&self, link: &mut Link<'_>, results: &mut Results) -> anyhow::Result<()> {
        let config = self.config;
        // Locked and raised only now, when all large buffers but the samples are there and the guest has joined: a
        // thread that spins at such a priority lets nobody else run on its CPU.
        let asked = &config.circumstances;
        if let Some(plan) = &config.latency
            && let (Record::Samples, Extent::Count(messages)) = (plan.record, plan.extent)
        {
            results.latency.reserve(messages)?;
        }
        if asked.mlock {
            priority::lock_memory()?;
        }
        if let Some(level) = asked.fifo {
            priority::set_fifo(level)?;
        }
        if let Some(plan) = &config.latency {
            let steps = match plan.extent {
                Extent::Count(messages) => plan.warmup.saturating_add(messages),
                Extent::Time(_) => 0,
            };
            let progress = Progress::new("latency", steps, config.print);
            latency::run(link, plan, self.geometry, &mut results.latency, &progress)?;
        }
        self.bandwidth(link, results)
    }

    fn bandwidth(&self, link: &mut Link<'_>, results: &mut Results) -> anyhow::Result<()> {
        let Some(plan) = &self.config.bandwidth else { return Ok(()) };
        let steps = match plan.extent {
            Extent::Count(count) => count.saturating_mul(self.sizes.len() as u64),
            Extent::Time(_) => 0,
        };
        let setting = Setting { plan, geometry: self.geometry, start: link.clock.now() };
        let progress = Progress::new("bandwidth", steps, self.config.print);
        for size in self.sizes {
            let leg = results.calibration.leg(*size);
            let set = match plan.cache {
                Cache::Warm => None,
                Cache::Cold => {
                    Some(WorkingSet::prepare(self.llc_bytes, size.bytes(), plan.seed, plan.digest)?)
                }
            };
            results.working_set_bytes = set.as_ref().map(WorkingSet::bytes);
            bandwidth::run(link, &setting, &leg, set.as_ref(), &mut results.rows, &progress)?;
        }
        Ok(())
    }
}
