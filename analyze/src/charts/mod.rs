//! The pictures. Each is drawn from the samples themselves; what a panel cannot show, it says in words.

mod axis;
mod bandwidth;
mod bandwidth_bars;
mod canvas;
mod doorbell;
mod doorbell_cdf;
mod doorbell_cpu;
mod drawing;
mod experiments;
mod histogram;
mod hover;
mod mark;
mod over_time;
mod panel;
mod percentiles;
mod picture;
mod raster;
mod scaling;
mod style;
mod svg;

pub use hover::{HoverPanel, HoverPoint, HoverSeries};
pub use picture::{Picture, Pictures, artifacts};
pub use svg::{FONT_CSS, Svg};

use std::sync::Arc;

use crate::analysis::{Analysis, Analyzed};
use crate::latency_summary::LatencySummary;
use crate::matrix::Matrix;
use crate::report::text::plural;
use crate::stats::Sorted;
use experiments::Experiments;
use picture::names;
use style::{Area, Drawn};

/// Width and height of each latency picture, in pixels.
pub const LATENCY_SIZE: (u32, u32) = (1200, 800);
/// Width and height of the histogram's two panels together, in pixels.
pub const HISTOGRAM_SIZE: (u32, u32) = (1200, 1000);
/// Width and height of the bandwidth picture's four panels together, in pixels.
pub const BANDWIDTH_SIZE: (u32, u32) = (1400, 1060);

/// All pictures there is something to draw for.
#[must_use]
pub fn pictures(analysis: &Analysis) -> Vec<Picture<'_>> {
    type Draw = fn(&Area<'_>, &Analysis) -> Drawn;
    let mut pictures = Vec::new();
    let mut add = |names, title: String, alt: String, size, draw: Draw| {
        pictures.push(Picture::new(names, title, alt, size, move |area| draw(area, analysis)));
    };
    if let Some(latency) = &analysis.main.run.latency {
        let or_nothing = |draw: Draw| if latency.samples.is_empty() { nothing as Draw } else { draw };
        let [title, time] = quantity(analysis);
        let (title, of) = (title.to_owned(), format!("{time} to PROCESSED"));
        let alt = format!("Histogram of the {of}, on linear axes and on logarithmic ones");
        add(names!("latency_histogram"), title.clone(), alt, HISTOGRAM_SIZE, or_nothing(histogram::draw));
        let alt = format!("The {of} of each message, in the order they were sent in");
        let over_time = format!("{title} over time");
        add(names!("latency_over_time"), over_time, alt, LATENCY_SIZE, or_nothing(over_time::draw));
        let alt = format!("The {of} by percentile, the axis stretched towards the tail");
        let by_percentile = format!("{title} by percentile");
        add(names!("latency_percentiles"), by_percentile, alt, LATENCY_SIZE, or_nothing(percentiles::draw));
    }
    if analysis.main.run.bandwidth.is_some() {
        let alt = "Payload rates by frame format: distribution, scaling, duration and success".to_owned();
        add(
            names!("bandwidth_analysis"),
            "Bandwidth by payload".into(),
            alt,
            BANDWIDTH_SIZE,
            bandwidth::draw,
        );
    }
    if let Some(doorbells) = &analysis.doorbells {
        let title = "Round trips by way to wait".to_owned();
        let alt = "Distribution of the round trips of each way to wait, a panel for each rate".to_owned();
        add(names!("doorbell_latency_cdf"), title, alt, doorbell_cdf::size(doorbells), doorbell_cdf::draw);
        let title = "Latency against CPU time".to_owned();
        let alt = "Round trip of each way to wait against the CPU time a message takes".to_owned();
        add(names!("doorbell_latency_vs_cpu"), title, alt, LATENCY_SIZE, doorbell_cpu::draw);
    }
    pictures
}

/// The picture of an experiment's runs side by side, if they have anything to draw.
#[must_use]
pub fn experiments(matrix: &Matrix) -> Option<Picture<'_>> {
    let experiments = Experiments::of(matrix)?;
    let alt = "Rates by size, copy kernels by size, and latency idle beside loaded".to_owned();
    let size = experiments.size();
    Some(Picture::new(names!("experiments"), "Experiments".into(), alt, size, move |area| {
        experiments.draw(area)
    }))
}

/// Instead of a picture of a run without a single acknowledged message.
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
