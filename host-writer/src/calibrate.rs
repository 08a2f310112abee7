//! Before the test: which kernel each side copies each size with, and the roofs; after it: the roofs again.

use ivshmem_proto::copy::Kernel;
use ivshmem_proto::geometry::Geometry;
use ivshmem_proto::report::RateReport;
use ivshmem_proto::wire::Consume;

use crate::bandwidth::{Leg, Row};
use crate::cli::Direction;
use crate::config::{BandwidthPlan, PayloadSize};
use crate::kernels;
use crate::link::{Link, Stopped};
use crate::progress::Progress;
use crate::roofline::{self, Roof, Roofs, SizeRoof};
use crate::run_json::SizeKernels;

/// How often a roof is measured after the test at the most.
const ATTEMPTS: usize = 10;

/// What was found of one size.
#[derive(Debug)]
pub struct SizeCalibration {
    /// The size.
    pub size: PayloadSize,
    /// The host's kernel.
    pub kernel: Kernel,
    /// The host's kernels and their rates in bytes per second, fastest first; empty when one was forced.
    pub kernels: Vec<(Kernel, u64)>,
    /// What the guest measured.
    pub guest: RateReport,
    /// The guest's kernels by what they made of payloads that the host had just written, fastest first; empty when there
    /// was nothing to choose.
    pub guest_kernels: Vec<(Kernel, u64)>,
    roof: SizeRoof,
}

impl SizeCalibration {
    /// The kernel the guest copies this size with: forced, or best on trial, or its own choice, which is another one where
    /// it writes.
    #[must_use]
    pub fn guest_kernel(&self, plan: Option<&BandwidthPlan>) -> Option<Kernel> {
        let tried = self.guest_kernels.first().map(|&(kernel, _)| kernel);
        let writes = plan.is_some_and(|plan| plan.direction == Direction::GuestToHost);
        let fastest_write = self.guest.candidates.iter().max_by_key(|rate| rate.write.typical);
        let own = if writes { fastest_write.map(|rate| rate.kernel) } else { self.guest.chosen };
        plan.and_then(|plan| plan.guest_kernel).or(tried).or(own)
    }
}

/// What was found of all sizes.
#[derive(Debug)]
pub struct Calibration {
    sizes: Vec<SizeCalibration>,
    consume: Consume,
    overlaps: bool,
}

impl Default for Calibration {
    fn default() -> Self {
        Self { sizes: Vec::new(), consume: Consume::Copy, overlaps: false }
    }
}

impl Calibration {
    /// Measures everything.
    ///
    /// # Errors
    /// A signal, a guest that died, a payload that does not fit.
    pub fn measure(
        link: &mut Link<'_>,
        geometry: &Geometry,
        sizes: &[PayloadSize],
        plan: &BandwidthPlan,
        progress: &Progress,
    ) -> anyhow::Result<Self> {
        let mut all = Self { sizes: Vec::new(), consume: plan.consume, overlaps: plan.mode.overlaps() };
        for &size in sizes {
            let bytes = size.bytes();
            let mut roof = SizeRoof { bytes, host: Default::default(), guest: Default::default() };
            // The guest first: it must know its kernel when the host's are ranked.
            let guest = measure_roof(link, geometry, &mut roof)?;
            let kernels = match plan.kernel {
                Some(_) => Vec::new(),
                None => kernels::measure(link, geometry, bytes, plan)?,
            };
            let kernel = plan.kernel.or(kernels.first().map(|&(kernel, _)| kernel)).unwrap_or(Kernel::Memcpy);
            let guest_kernels = match plan.guest_kernel {
                Some(_) => Vec::new(),
                None => kernels::rank_guest(link, geometry, bytes, plan, kernel, &guest)?,
            };
            all.sizes.push(SizeCalibration { size, kernel, kernels, guest, guest_kernels, roof });
            progress.step();
        }
        Ok(all)
    }

    /// Measures the roofs once more; the better figures stay. Where a figure of `rows` lies above its roof, the roof may have
    /// been measured in a bad moment: it gets a few more chances, and what is still above then is no noise.
    ///
    /// # Errors
    /// A signal, a guest that died.
    pub fn measure_again(
        &mut self,
        link: &mut Link<'_>,
        geometry: &Geometry,
        rows: &[Row],
    ) -> anyhow::Result<()> {
        for attempt in 0..ATTEMPTS {
            for size in &mut self.sizes {
                let is_above = || !roofline::exceeded(rows, &[size.roof], self.consume).is_empty();
                if attempt == 0 || is_above() {
                    measure_roof(link, geometry, &mut size.roof)?;
                }
            }
        }
        Ok(())
    }

    /// What payloads of `size` are copied with.
    #[must_use]
    pub fn leg(&self, size: PayloadSize) -> Leg {
        let found = self.sizes.iter().find(|calibrated| calibrated.size == size);
        Leg {
            size,
            kernel: found.map_or(Kernel::Memcpy, |calibrated| calibrated.kernel),
            guest_kernel: found.and_then(|calibrated| Some(calibrated.guest_kernels.first()?.0)),
        }
    }

    /// The roofs over payloads that go one way; `None` each where not measured.
    #[must_use]
    pub fn roofs_of(&self, size: PayloadSize, direction: Direction) -> Roofs {
        let Some(found) = self.sizes.iter().find(|calibrated| calibrated.size == size) else {
            return Roofs::default();
        };
        let (host, guest) = (&found.roof.host, &found.roof.guest);
        let (writer, reader) =
            if direction == Direction::GuestToHost { (guest, host) } else { (host, guest) };
        Roofs::of(writer, reader, self.consume, self.overlaps)
    }

    /// The largest size.
    #[must_use]
    pub fn largest(&self) -> Option<&SizeCalibration> {
        self.sizes.iter().max_by_key(|calibrated| calibrated.size.bytes())
    }

    /// Choices and candidates of both sides.
    #[must_use]
    pub fn by_size(&self, plan: Option<&BandwidthPlan>) -> Vec<SizeKernels> {
        let forced = plan.is_some_and(|plan| plan.kernel.is_some());
        let guest_forced = plan.and_then(|plan| plan.guest_kernel);
        let both = |c: &SizeCalibration| {
            let bytes = c.size.bytes();
            let chosen = c.guest_kernel(plan);
            [
                SizeKernels::host(bytes, c.kernel, forced, &c.kernels),
                SizeKernels::guest(bytes, guest_forced, chosen, &c.guest, &c.guest_kernels),
            ]
        };
        self.sizes.iter().flat_map(both).collect()
    }

    /// The roofs, and which figures of `rows` lie above them.
    #[must_use]
    pub fn roof(&self, rows: &[Row]) -> Roof {
        let sizes: Vec<SizeRoof> = self.sizes.iter().map(|calibrated| calibrated.roof).collect();
        let exceeded = roofline::exceeded(rows, &sizes, self.consume);
        Roof { sizes, exceeded }
    }
}

fn measure_roof(link: &mut Link<'_>, geometry: &Geometry, roof: &mut SizeRoof) -> anyhow::Result<RateReport> {
    if link.is_stopped() {
        return Err(Stopped::Interrupted.into());
    }
    link.map.check_not_shrunk()?;
    let guest = roofline::ask_guest(link, roof.bytes)?;
    let mut round = SizeRoof { bytes: roof.bytes, host: Default::default(), guest: Default::default() };
    round.guest.take(&guest);
    if let Some(range) = geometry.payload(0, roof.bytes) {
        roofline::measure_host(link.map, link.clock, range, &mut round.host);
    }
    roof.host.absorb(&round.host);
    roof.guest.absorb(&round.guest);
    Ok(guest)
}
