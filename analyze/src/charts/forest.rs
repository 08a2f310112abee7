//! comparison_forest.png: ratios of two sets of runs, each with its interval, against the line of no change.

use plotters::element::{Circle, PathElement, Rectangle, Text};
use plotters::style::RGBColor;

use super::axis::{Axis, plain};
use super::panel::{Panel, Swatch};
use super::picture::{Picture, names};
use super::style::{self, Area, BLUE, Drawn, GREY, INK, ORANGE, SKY, VERMILLION, px};

/// One quantity: what the new runs have over what the base runs have.
#[derive(Debug, Clone, PartialEq)]
pub struct ForestRow {
    /// Its name: `p99 to PROCESSED`.
    pub label: String,
    /// New over base; 1 is no change.
    pub ratio: f64,
    /// Lower end of its interval; not finite where there is none.
    pub low: f64,
    /// Upper end of its interval.
    pub high: f64,
    /// What that comes to.
    pub verdict: ForestVerdict,
    /// The worst ratio that is allowed, if that is asked for.
    pub allowed: Option<f64>,
}

/// What a ratio comes to, in the words of the report: of rates and times alike, faster is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForestVerdict {
    /// Changed for the better.
    Faster,
    /// Changed for the worse.
    Slower,
    /// Not changed by more than is told apart.
    Same,
    /// The interval is too wide to say.
    CannotTell,
    /// Changed by no more than is allowed.
    Allowed,
    /// Changed for the worse by more than that.
    Regressed,
}

impl ForestVerdict {
    const ALL: [Self; 6] =
        [Self::Faster, Self::Slower, Self::Same, Self::CannotTell, Self::Allowed, Self::Regressed];

    fn words(self) -> &'static str {
        match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::Same => "same",
            Self::CannotTell => "cannot tell",
            Self::Allowed => "ok",
            Self::Regressed => "REGRESSED",
        }
    }

    fn color(self) -> RGBColor {
        match self {
            Self::Faster => BLUE,
            Self::Slower | Self::Regressed => VERMILLION,
            Self::Same | Self::Allowed => INK,
            Self::CannotTell => GREY,
        }
    }
}

/// What stands above the rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ForestHeading {
    /// What is compared: `new: 8 runs of vm-2, base: 8 runs of vm-1`.
    pub title: String,
    /// Further lines: how the intervals are made, what differs in provenance.
    pub facts: Vec<String>,
    /// Share up to which a change counts as none, drawn as a band: 0.02.
    pub same_within: Option<f64>,
}

const WIDTH: u32 = 1200;
/// Height of a row, in pixels.
const ROW: u32 = 38;
/// Height of all that is around the rows.
const AROUND: u32 = 200;
/// Width of the figures beside them.
const FIGURES: i32 = 330;
/// Room for names of rows, in letters; longer ones are cut.
const NAME: usize = 34;

/// The picture of these rows.
#[must_use]
pub fn picture(heading: ForestHeading, rows: Vec<ForestRow>) -> Picture<'static> {
    let height = AROUND + 19 * heading.facts.len() as u32 + ROW * rows.len().max(1) as u32;
    let alt = format!(
        "Ratios with their intervals: {}",
        rows.iter().map(|row| format!("{} {}", row.label, figures(row))).collect::<Vec<_>>().join("; ")
    );
    let title = heading.title.clone();
    Picture::new(names!("comparison_forest"), title, alt, (WIDTH, height), move |area| {
        draw(area, &heading, &rows)
    })
}

/// `0.934 × [0.912, 0.957]`.
fn figures(row: &ForestRow) -> String {
    let digits = |value: f64| if value.is_finite() { format!("{value:.3}") } else { "n/a".into() };
    format!("{} × [{}, {}]", digits(row.ratio), digits(row.low), digits(row.high))
}

fn draw(area: &Area<'_>, heading: &ForestHeading, rows: &[ForestRow]) -> Drawn {
    let (width, _) = area.dim_in_pixel();
    let names = rows.iter().rev().map(|row| shortened(&row.label)).enumerate();
    let y = Axis::marked(
        "",
        -0.6,
        rows.len() as f64 - 0.4,
        names.map(|(place, name)| (place as f64, name)).collect(),
    );
    let x = axis(heading, rows);
    let mut legend: Vec<_> = ForestVerdict::ALL
        .into_iter()
        .filter(|verdict| rows.iter().any(|row| row.verdict == *verdict))
        .map(|verdict| (Swatch::Dot(verdict.color()), verdict.words().to_owned()))
        .collect();
    if let Some(share) = heading.same_within {
        legend.push((Swatch::Block(SKY, 0.25), format!("same within {} %", plain(share * 100.0))));
    }
    if rows.iter().any(|row| row.allowed.is_some()) {
        legend.push((Swatch::Tick(ORANGE), "the worst that is allowed".to_owned()));
    }
    let panel = Panel {
        title: heading.title.clone(),
        facts: heading.facts.clone(),
        legend,
        label_width: Some(name_width(rows)),
        margin_right: Some(FIGURES),
        ..Panel::default()
    };
    let chart = panel.draw(area, &x, &y)?;
    if let Some(share) = heading.same_within {
        let corners = [(x.at(1.0 - share), y.part(0.0)), (x.at(1.0 + share), y.part(1.0))];
        chart.plotting_area().draw(&Rectangle::new(corners, style::fill(SKY, 0.25)))?;
    }
    let line = [(x.at(1.0), y.part(0.0)), (x.at(1.0), y.part(1.0))];
    chart.plotting_area().draw(&PathElement::new(line, style::line(INK, 1)))?;
    for (place, row) in rows.iter().rev().enumerate() {
        let (middle, color) = (place as f64, row.verdict.color());
        if row.low.is_finite() && row.high.is_finite() {
            let ends = [(x.at(row.low), middle), (x.at(row.high), middle)];
            chart.plotting_area().draw(&PathElement::new(ends, style::line(color, 3)))?;
        }
        if let Some(allowed) = row.allowed {
            let limit = [(x.at(allowed), middle - 0.35), (x.at(allowed), middle + 0.35)];
            chart.plotting_area().draw(&PathElement::new(limit, style::line(ORANGE, 3)))?;
        }
        if row.ratio.is_finite() {
            let dot = Circle::new((x.at(row.ratio), middle), px(6), style::fill(color, 1.0));
            chart.plotting_area().draw(&dot)?;
        }
        let (_, level) = chart.pixel((x.at(1.0), middle));
        let left = width as i32 - px(FIGURES - 14);
        let words = format!("{}  {}", figures(row), row.verdict.words());
        area.draw(&Text::new(words, (left, level - px(5)), style::text(15, color)))?;
    }
    let place = |(place, row): &(usize, &ForestRow)| (x.at(row.ratio), *place as f64);
    let text =
        |(_, row): &(usize, &ForestRow)| format!("{}: {}, {}", row.label, figures(row), row.verdict.words());
    let all: Vec<(usize, &ForestRow)> =
        rows.iter().rev().enumerate().filter(|(_, row)| row.ratio.is_finite()).collect();
    chart.values(("ratio", INK), &all, place, text)
}

/// Around 1 and all intervals, logarithmic: twice and half are equally far.
fn axis(heading: &ForestHeading, rows: &[ForestRow]) -> Axis {
    let allowed = rows.iter().filter_map(|row| row.allowed);
    let ends = rows.iter().flat_map(|row| [row.low, row.ratio, row.high]).chain(allowed);
    let known: Vec<f64> = ends.filter(|ratio| ratio.is_finite() && *ratio > 0.0).collect();
    let same = heading.same_within.unwrap_or(0.0).clamp(0.0, 0.9);
    let low = known.iter().copied().fold(1.0 - same, f64::min);
    let high = known.iter().copied().fold(1.0 + same, f64::max);
    let room = (high / low).powf(0.06).max(1.01);
    Axis::log("new / base, log scale", low / room, high * room, |ratio| format!("{} ×", plain(ratio)))
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= NAME {
        return name.to_owned();
    }
    name.chars().take(NAME - 1).chain(['…']).collect()
}

fn name_width(rows: &[ForestRow]) -> i32 {
    let longest = rows.iter().map(|row| shortened(&row.label).chars().count()).max().unwrap_or(0);
    24 + 8 * longest as i32
}
