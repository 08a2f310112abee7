//! The pictures. Each is drawn from the samples themselves; what a panel cannot show, it says in words.

mod axis;
mod bandwidth;
mod bandwidth_bars;
mod canvas;
mod ccdf;
mod doorbell;
mod doorbell_cdf;
mod doorbell_cpu;
mod drawing;
mod experiments;
pub mod forest;
mod heatmap;
mod histogram;
mod hover;
mod latencies;
#[cfg(test)]
mod laws;
mod mark;
mod over_time;
mod panel;
mod percentiles;
mod phases;
mod picture;
mod png_file;
mod raster;
mod scaling;
mod style;
mod svg;
pub mod trend;

pub use hover::{HoverPanel, HoverPoint, HoverSeries};
pub use picture::{Picture, Pictures, artifacts};
pub use svg::{FONT_CSS, Svg};

use std::sync::Arc;

use crate::analysis::{Analysis, Analyzed};
use crate::matrix::Matrix;
use crate::report::text::plural;
use experiments::Experiments;
use latencies::Latencies;
use picture::names;
use style::{Area, Drawn};

/// Width and height of each latency picture, in pixels.
pub const LATENCY_SIZE: (u32, u32) = (1200, 800);
/// Width and height of the histogram's two panels together, in pixels.
pub const HISTOGRAM_SIZE: (u32, u32) = (1200, 1000);
/// Width and height of the bandwidth picture's four panels together, in pixels.
pub const BANDWIDTH_SIZE: (u32, u32) = (1400, 1060);

/// Width and height of the two panels of phases together, in pixels.
pub const PHASES_SIZE: (u32, u32) = (1400, 580);

/// All pictures there is something to draw for.
#[must_use]
pub fn pictures(analysis: &Analysis) -> Vec<Picture<'_>> {
    type Draw = fn(&Area<'_>, &Latencies<'_>) -> Drawn;
    let mut pictures = Vec::new();
    if let Some(latency) = &analysis.main.run.latency {
        let latencies = Arc::new(Latencies::of(analysis));
        let [title, time] = latencies.quantity();
        let mut add = |names, title: String, alt: String, size, draw: Draw| {
            let latencies = Arc::clone(&latencies);
            let draw = if latency.samples.is_empty() { nothing } else { draw };
            pictures.push(Picture::new(names, title, alt, size, move |area| draw(area, &latencies)));
        };
        let of = format!("{time} to PROCESSED");
        let alt = format!("Histogram of the {of}, on linear axes and on logarithmic ones");
        add(names!("latency_histogram"), title.into(), alt, HISTOGRAM_SIZE, histogram::draw);
        let alt = format!("The {of} of each message, in the order they were sent in");
        add(names!("latency_over_time"), format!("{title} over time"), alt, LATENCY_SIZE, over_time::draw);
        let alt = format!("The {of} by percentile, the axis stretched towards the tail");
        let by_percentile = format!("{title} by percentile");
        add(names!("latency_percentiles"), by_percentile, alt, LATENCY_SIZE, percentiles::draw);
        let alt = format!("Share of messages up to a {of}, and share beyond, on a logarithmic axis");
        let cumulative = format!("{title}: cumulative distribution");
        add(names!("latency_ccdf"), cumulative, alt, HISTOGRAM_SIZE, ccdf::draw);
        let alt = format!("How densely messages lie, by the order they were sent in and the {of}");
        let density = format!("{title}: density over time");
        add(names!("latency_heatmap"), density, alt, LATENCY_SIZE, heatmap::draw);
    }
    type DrawAll = fn(&Area<'_>, &Analysis) -> Drawn;
    let mut add = |names, title: &str, alt: &str, size, draw: DrawAll| {
        let (title, alt) = (title.to_owned(), alt.to_owned());
        pictures.push(Picture::new(names, title, alt, size, move |area| draw(area, analysis)));
    };
    if analysis.main.run.bandwidth.is_some() {
        let alt = "Payload rates by frame format: distribution, scaling, duration and success";
        add(names!("bandwidth_analysis"), "Bandwidth by payload", alt, BANDWIDTH_SIZE, bandwidth::draw);
        if phases::is_there(&analysis.main) {
            let alt = "What a frame's time is made of, by frame format: write, notify, read, verify";
            add(names!("phase_breakdown"), "Where a frame's time goes", alt, PHASES_SIZE, phases::draw);
        }
    }
    if let Some(doorbells) = &analysis.doorbells {
        let title = "Round trips by way to wait";
        let alt = "Distribution of the round trips of each way to wait, a panel for each rate";
        add(names!("doorbell_latency_cdf"), title, alt, doorbell_cdf::size(doorbells), doorbell_cdf::draw);
        let title = "Latency against CPU time";
        let alt = "Round trip of each way to wait against the CPU time a message takes";
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
fn nothing(area: &Area<'_>, latencies: &Latencies<'_>) -> Drawn {
    let failed = latencies.analysis.main.summary.latency.as_ref().map_or(0, |l| l.failed + l.lost);
    let sentence = format!("Nothing to draw: {} and none acknowledged", plural(failed, "message"));
    area.draw(&plotters::element::Text::new(
        sentence,
        (style::px(40), style::px(40)),
        style::bold(24, style::VERMILLION),
    ))?;
    Ok(())
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
