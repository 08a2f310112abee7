//! The pictures. Each is drawn from the samples themselves; what a panel cannot show, it says in words.

mod axis;
mod bandwidth;
mod bandwidth_bars;
mod doorbell;
mod doorbell_cdf;
mod doorbell_cpu;
mod experiments;
mod histogram;
mod mark;
mod over_time;
mod panel;
mod percentiles;
mod scaling;
mod style;

use std::sync::Arc;

use crate::analysis::{Analysis, Analyzed};
use crate::error::Error;
use crate::interrupt::Interrupt;
use crate::latency_summary::LatencySummary;
use crate::matrix::Matrix;
use crate::output::Artifact;
use crate::report::text::plural;
use crate::stats::Sorted;
use experiments::Experiments;
use style::{Area, Drawn};

/// Width and height of each latency picture, in pixels.
pub const LATENCY_SIZE: (u32, u32) = (1200, 800);
/// Width and height of the histogram's two panels together, in pixels.
pub const HISTOGRAM_SIZE: (u32, u32) = (1200, 1000);
/// Width and height of the bandwidth picture's four panels together, in pixels.
pub const BANDWIDTH_SIZE: (u32, u32) = (1400, 1060);

type Draw = fn(&Area<'_>, &Analysis) -> Drawn;

/// All pictures the main run has samples for, as PNG files.
///
/// # Errors
/// [`Error::Draw`] naming the picture, [`Error::Interrupted`].
pub fn draw_all(analysis: &Analysis, interrupt: &Interrupt) -> Result<Vec<Artifact>, Error> {
    let mut wanted: Vec<(&'static str, (u32, u32), Draw)> = Vec::new();
    if let Some(latency) = &analysis.main.run.latency {
        let or_nothing = |draw: Draw| if latency.samples.is_empty() { nothing as Draw } else { draw };
        wanted.push(("latency_histogram.png", HISTOGRAM_SIZE, or_nothing(histogram::draw)));
        wanted.push(("latency_over_time.png", LATENCY_SIZE, or_nothing(over_time::draw)));
        wanted.push(("latency_percentiles.png", LATENCY_SIZE, or_nothing(percentiles::draw)));
    }
    if analysis.main.run.bandwidth.is_some() {
        wanted.push(("bandwidth_analysis.png", BANDWIDTH_SIZE, bandwidth::draw));
    }
    if let Some(doorbells) = &analysis.doorbells {
        wanted.push(("doorbell_latency_cdf.png", doorbell_cdf::size(doorbells), doorbell_cdf::draw));
        wanted.push(("doorbell_latency_vs_cpu.png", LATENCY_SIZE, doorbell_cpu::draw));
    }
    let mut artifacts = Vec::with_capacity(wanted.len());
    for (name, (width, height), draw) in wanted {
        interrupt.check()?;
        let bytes = style::picture(width, height, |area| draw(area, analysis))
            .map_err(|error| Error::Draw { picture: name, message: error.to_string() })?;
        artifacts.push(Artifact { name, bytes });
    }
    Ok(artifacts)
}

/// experiments.png, if the runs have anything to draw.
///
/// # Errors
/// [`Error::Draw`], [`Error::Interrupted`].
pub fn draw_experiments(matrix: &Matrix, interrupt: &Interrupt) -> Result<Option<Artifact>, Error> {
    interrupt.check()?;
    let Some(experiments) = Experiments::of(matrix) else { return Ok(None) };
    let (width, height) = experiments.size();
    let name = "experiments.png";
    let bytes = style::picture(width, height, |area| experiments.draw(area))
        .map_err(|error| Error::Draw { picture: name, message: error.to_string() })?;
    Ok(Some(Artifact { name, bytes }))
}

/// The picture of a run without a single acknowledged message.
fn nothing(area: &Area<'_>, analysis: &Analysis) -> Drawn {
    let failed = analysis.main.summary.latency.as_ref().map_or(0, |l| l.failed + l.lost);
    let sentence = format!("Nothing to draw: {} and none acknowledged", plural(failed, "message"));
    area.draw(&plotters::element::Text::new(
        sentence,
        (style::px(40), style::px(40)),
        style::bold(24, style::VERMILLION),
    ))?;
    Ok(())
}

/// Times to PROCESSED of one run, in ascending order.
struct Series {
    name: String,
    /// Its name where there is little room.
    short: &'static str,
    is_main: bool,
    sorted: Arc<Sorted<u64>>,
}

/// The baseline, if its latency is counted from the same moment as the main run's.
fn comparable_baseline(analysis: &Analysis) -> Option<&Analyzed> {
    let is_open = |analyzed: &Analyzed| analyzed.summary.latency.as_ref().map(LatencySummary::is_open);
    analysis.baseline.as_ref().filter(|baseline| is_open(baseline) == is_open(&analysis.main))
}

/// What the main run's times are, as a title begins and as an axis says it.
fn quantity(analysis: &Analysis) -> [&'static str; 2] {
    if analysis.main.summary.latency.as_ref().is_some_and(LatencySummary::is_open) {
        ["Latency from the due time", "time from the due time"]
    } else {
        ["Round-trip latency", "round-trip time"]
    }
}

impl Series {
    /// Of the main run, then of the baseline if it has any.
    fn processed(analysis: &Analysis) -> Vec<Self> {
        let of = |analyzed: &Analyzed, is_main| {
            let sorted = Arc::clone(analyzed.processed.as_ref()?);
            (!sorted.as_slice().is_empty()).then(|| Self {
                name: analyzed.title(),
                short: analyzed.short,
                is_main,
                sorted,
            })
        };
        let baseline = comparable_baseline(analysis).and_then(|b| of(b, false));
        of(&analysis.main, true).into_iter().chain(baseline).collect()
    }

    fn min(&self) -> u64 {
        self.sorted.as_slice().first().copied().unwrap_or(0)
    }

    fn max(&self) -> u64 {
        self.sorted.as_slice().last().copied().unwrap_or(0)
    }
}

/// What every picture says of the run behind it: machine and mapping, and loudly if it is not to be relied on.
#[derive(Debug)]
struct Context {
    text: String,
    alarming: bool,
}

impl Context {
    fn of(analysis: &Analysis) -> Self {
        let main = &analysis.main;
        // Disturbances of every run shown, each by its name where there are two.
        let named = |analyzed: &Analyzed, what: &str| {
            if analysis.baseline.is_some() { format!("{} {what}", analyzed.short) } else { what.to_owned() }
        };
        let suspect: Vec<String> =
            analysis.runs().filter(|a| a.run.is_suspect()).map(|a| named(a, "DIRTY RUN")).collect();
        let loaded = analysis.runs().filter(|a| a.run.is_dirty() && !a.run.is_suspect());
        let loaded = loaded.map(|a| named(a, "disturbed as meant"));
        let Some(provenance) = &main.run.provenance else {
            return Self { text: "NO PROVENANCE: no run.json beside the CSV".into(), alarming: true };
        };
        let run = &provenance.run;
        let guest = run.guest.as_ref();
        let incomplete = run.interrupted == Some(true) || run.completed == Some(false);
        let parts = [
            incomplete.then(|| "INCOMPLETE".to_owned()),
            Some(main.title()),
            guest.and_then(|g| g.map_kind.clone()),
            guest.and_then(|g| g.memory_type.clone()),
            run.host.as_ref().and_then(|h| h.cpu_model.clone()),
            run.started_utc.clone(),
        ];
        let alarming = !suspect.is_empty() || incomplete;
        let parts = suspect.into_iter().chain(loaded).chain(parts.into_iter().flatten());
        Self { text: parts.collect::<Vec<_>>().join(" · "), alarming }
    }

    /// Writes it with its top left corner at `place`, in pixels of the canvas.
    fn draw(&self, area: &Area<'_>, place: (i32, i32)) -> Drawn {
        let style =
            if self.alarming { style::bold(15, style::VERMILLION) } else { style::text(15, style::GREY) };
        area.draw(&plotters::element::Text::new(self.text.clone(), place, style))?;
        Ok(())
    }
}
