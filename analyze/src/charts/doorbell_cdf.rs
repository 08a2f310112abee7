//! doorbell_latency_cdf.png: how the round trips of each way to wait are distributed, a panel for each rate.
//!
//! The share of messages is stretched towards the tail as in latency_percentiles.png.

use super::axis::{Axis, nanoseconds};
use super::doorbell::{Looks, heading};
use super::mark::Dash;
use super::panel::{Panel, Swatch};
use super::percentiles::{marks, say_percentiles, steps, stretched};
use super::style::{self, Area, Drawn, GREY, px};
use crate::analysis::Analysis;
use crate::doorbell::{Cell, Doorbells};
use crate::stats::MIN_SAMPLES_BEYOND;
use plotters::style::{Color, RGBColor};

/// Width and height of one of several panels, in pixels.
const PANEL: (u32, u32) = (760, 480);
/// Of the only one.
const ONLY_PANEL: (u32, u32) = (1200, 680);
/// Height of the heading.
const HEADING: u32 = 120;
/// Opacity of the part of a curve that is no percentile.
const UNKNOWN: f64 = 0.35;

/// The picture's size in pixels.
pub(super) fn size(doorbells: &Doorbells) -> (u32, u32) {
    match rates(doorbells).len() as u32 {
        0 | 1 => (ONLY_PANEL.0, ONLY_PANEL.1 + HEADING),
        panels => (PANEL.0 * 2, PANEL.1 * panels.div_ceil(2) + HEADING),
    }
}

/// Rates, the lowest first.
fn rates(doorbells: &Doorbells) -> Vec<Option<f64>> {
    let mut rates: Vec<Option<f64>> = doorbells.cells.iter().map(|cell| cell.rate_per_s).collect();
    let key = |rate: &Option<f64>| rate.unwrap_or(f64::INFINITY);
    rates.sort_by(|a, b| key(a).total_cmp(&key(b)));
    rates.dedup();
    rates
}

pub(super) fn draw(area: &Area<'_>, analysis: &Analysis) -> Drawn {
    let Some(doorbells) = &analysis.doorbells else { return Ok(()) };
    let looks = Looks::of(doorbells);
    let mut facts = vec![format!(
        "from the publication to PROCESSED, every ok message; a curve is pale where fewer than {MIN_SAMPLES_BEYOND} \
         messages lie beyond, and ends with its slowest"
    )];
    facts.extend(looks.left_out());
    let legend = looks.legend(
        doorbells,
        |color, _, dash| lined(color, dash),
        |dashes, _| {
            let names: Vec<&str> = dashes.iter().map(|dash| dash.name()).collect();
            (lined(GREY, dashes[0]), names.join(" or "))
        },
    );
    let title = looks.title("Round trips by way to wait (guest/host)");
    let top = heading(area, doorbells, (&title, &facts), &legend)?;

    let cells: Vec<&Cell> = doorbells.cells.iter().filter(|cell| cell.ok > 0).collect();
    let all = || cells.iter().filter_map(|cell| cell.rtt.as_ref());
    let low = all().map(|rtt| rtt.min_ns).min().unwrap_or(1).max(1) as f64;
    let high = all().map(|rtt| rtt.max_ns).max().unwrap_or(1) as f64;
    let time = Axis::log("round trip, log scale", low / 1.3, high * 1.6, nanoseconds);

    let rates = rates(doorbells);
    let below = area.clone().margin(top, 0, 0, 0);
    let columns = rates.len().clamp(1, 2);
    let panels = below.split_evenly((rates.len().div_ceil(2).max(1), columns));
    for (rate, panel) in rates.iter().zip(&panels) {
        let shown: Vec<&Cell> = cells.iter().copied().filter(|cell| cell.rate_per_s == *rate).collect();
        let most = shown.iter().map(|cell| cell.ok).max().unwrap_or(1);
        let end = (most as f64).log10().max(1.0) + 0.3;
        let share = Axis::marked("share of messages", 0.0, end, marks(end));
        let name = doorbells.cells.iter().find(|cell| cell.rate_per_s == *rate).map(Cell::rate);
        let nothing = shown.is_empty().then(|| "no message was acknowledged".to_owned());
        let heading = Panel {
            title: name.unwrap_or_default(),
            facts: nothing.into_iter().collect(),
            ..Panel::default()
        };
        let chart = heading.draw(panel, &time, &share)?;
        for cell in shown.iter().rev() {
            let Some((color, _, dash)) = looks.of_cell(cell) else { continue };
            let [known, pale] = curve(cell.sorted_ns.as_slice(), &time, &share);
            dash.draw(chart.plotting_area(), pale, paler(color))?;
            dash.draw(chart.plotting_area(), known, style::line(color, 2))?;
        }
        for cell in &shown {
            let Some((color, _, _)) = looks.of_cell(cell) else { continue };
            let name = format!("{}, {}", cell.name(), cell.load);
            let place = |nines, ns| (time.at(ns), share.at(nines));
            say_percentiles(&chart, (&name, color), cell.sorted_ns.as_slice(), place)?;
        }
    }
    Ok(())
}

/// A piece of such a line.
fn lined(color: RGBColor, dash: Dash) -> Swatch {
    if dash == Dash::Solid { Swatch::Line(color) } else { Swatch::Dashed(color, dash) }
}

fn paler(color: RGBColor) -> plotters::style::ShapeStyle {
    color.mix(UNKNOWN).stroke_width(px(2) as u32)
}

/// The part of a curve that is a percentile, and the part beyond.
fn curve(sorted: &[u64], time: &Axis, share: &Axis) -> [Vec<(f64, f64)>; 2] {
    let known = 1.0 - MIN_SAMPLES_BEYOND as f64 / sorted.len() as f64;
    let border = share.at(stretched(known.max(0.0)));
    let path: Vec<_> = steps(sorted, share, time).into_iter().map(|(share, time)| (time, share)).collect();
    let first_beyond = path.iter().position(|(_, share)| *share > border).unwrap_or(path.len());
    let (mut before, mut beyond) = (path[..first_beyond].to_vec(), path[first_beyond..].to_vec());
    if let (Some(&last), Some(&(time, _))) = (before.last(), beyond.first()) {
        // Equal messages are one upright piece, which the border may lie in.
        let meeting = if last.0 == time { (time, border) } else { last };
        before.push(meeting);
        beyond.insert(0, meeting);
    }
    [before, beyond]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_grows_pale_ten_messages_before_its_end() {
        let time = Axis::linear("", 0.0, 200.0, |v| v.to_string());
        let share = Axis::marked("", 0.0, 3.0, vec![]);
        let [known, pale] = curve(&(1..=100).collect::<Vec<_>>(), &time, &share);
        // The 90th of 100 ends at p90, which is 1 on the stretched axis, and there the curve goes on to the 91st.
        assert_eq!((known.last(), pale.first()), (Some(&(91.0, 1.0)), Some(&(91.0, 1.0))));
        assert_eq!(pale.last(), Some(&(100.0, 3.0)));
        let [known, pale] = curve(&[7; 100], &time, &share);
        assert_eq!((known, pale), (vec![(7.0, 0.0), (7.0, 1.0)], vec![(7.0, 1.0), (7.0, 3.0)]));
        // Too few for any percentile.
        let [known, pale] = curve(&[5, 6], &time, &share);
        assert_eq!((known, pale.len()), (vec![(5.0, 0.0), (5.0, 0.0)], 4));
    }
}
