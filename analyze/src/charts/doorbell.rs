//! What both doorbell pictures have in common: how each way to wait and each load looks, and the heading.

use plotters::element::Text;
use plotters::style::RGBColor;

use super::mark::{Dash, Mark, Shape};
use super::panel::{Swatch, draw_legend};
use super::style::{self, Area, BLUE, Drawn, GREEN, GREY, INK, ORANGE, PURPLE, SKY, VERMILLION, px};
use crate::analysis::Analysis;
use crate::doorbell::{Cell, Doorbells};
use crate::report::text::plural;

/// Colours of ways to wait; more than these are left to the report.
const PALETTE: [RGBColor; 6] = [BLUE, ORANGE, GREEN, PURPLE, SKY, GREY];

/// How each way to wait and each load looks.
pub(super) struct Looks {
    /// But for the native floor, whose look is its own.
    modes: Vec<String>,
    floor: Option<String>,
    loads: Vec<String>,
}

impl Looks {
    pub(super) fn of(doorbells: &Doorbells) -> Self {
        let mut looks = Self { modes: Vec::new(), floor: None, loads: Vec::new() };
        // The order of the report, within one rate; if any go without a colour, then those that are told of both phases.
        let mut cells: Vec<&Cell> = doorbells.cells.iter().collect();
        let is_both = |cell: &Cell| cell.host_wait.ends_with("=both");
        cells.sort_by_key(|cell| (is_both(cell), cell.native != Some(false), cell.place()));
        for cell in cells {
            if cell.is_floor() {
                looks.floor = Some(cell.name());
            } else if !looks.modes.contains(&cell.name()) {
                looks.modes.push(cell.name());
            }
        }
        for cell in &doorbells.cells {
            if !looks.loads.contains(&cell.load) {
                looks.loads.push(cell.load.clone());
            }
        }
        // Without an idle run the first load is not taken for one.
        if looks.loads.first().is_some_and(|load| load != IDLE) {
            looks.loads.insert(0, IDLE.into());
        }
        looks
    }

    /// Colour, mark and line of a cell; `None` where there are more than can be told apart.
    pub(super) fn of_cell(&self, cell: &Cell) -> Option<(RGBColor, Mark, Dash)> {
        let dash = *Dash::ALL.get(self.loads.iter().position(|load| *load == cell.load)?)?;
        let (color, shape) = if cell.is_floor() { FLOOR } else { look(self.place(&cell.name())?)? };
        Some((color, Mark { shape, is_full: cell.is_idle() }, dash))
    }

    /// What tells its load from the others that are not idle; empty if there is but one.
    pub(super) fn load_beyond_one<'a>(&self, cell: &'a Cell) -> &'a str {
        if cell.is_idle() || self.loads.len() < 3 { "" } else { &cell.load }
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.modes.iter().position(|mode| mode == name)
    }

    /// Ways to wait, then loads, as the picture draws them.
    pub(super) fn legend(
        &self,
        doorbells: &Doorbells,
        of_mode: impl Fn(RGBColor, Shape) -> Swatch,
        of_load: impl Fn(Dash, bool) -> (Swatch, &'static str),
    ) -> Vec<(Swatch, String)> {
        let looks = (0..).map_while(look);
        let modes = self.modes.iter().zip(looks).chain(self.floor.iter().map(|name| (name, FLOOR)));
        let mut legend: Vec<_> =
            modes.map(|(name, (color, shape))| (of_mode(color, shape), name.clone())).collect();
        let is_there = |load: &String| doorbells.cells.iter().any(|cell| cell.load == *load);
        for (load, dash) in self.loads.iter().zip(Dash::ALL).filter(|(load, _)| is_there(load)) {
            let (swatch, look) = of_load(dash, load == IDLE);
            legend.push((swatch, format!("{look}: {load}")));
        }
        legend
    }

    /// What there are no colours or lines for, in a sentence.
    pub(super) fn left_out(&self) -> Option<String> {
        let modes = self.modes.iter().skip(PALETTE.len());
        let names: Vec<&str> =
            modes.chain(self.loads.iter().skip(Dash::ALL.len())).map(String::as_str).collect();
        (!names.is_empty()).then(|| format!("in the report only: {}", names.join(", ")))
    }
}

/// The load of a run without one.
const IDLE: &str = "idle";

/// How the native floor looks.
const FLOOR: (RGBColor, Shape) = (INK, Shape::Cross);

/// How the ways to wait look, in their order.
fn look(place: usize) -> Option<(RGBColor, Shape)> {
    Some((*PALETTE.get(place)?, *Shape::ALL.get(place)?))
}

/// Title, context, facts and legend above the panels; returns where they end.
pub(super) fn heading(
    area: &Area<'_>,
    analysis: &Analysis,
    doorbells: &Doorbells,
    (title, facts): (&str, &[String]),
    legend: &[(Swatch, String)],
) -> Drawn<i32> {
    let left = px(12);
    area.draw(&Text::new(title.to_owned(), (left, px(8)), style::bold(21, INK)))?;
    let mut top = px(34);
    let (context, is_alarming) = context(analysis, doorbells);
    let look = if is_alarming { style::bold(15, VERMILLION) } else { style::text(15, GREY) };
    area.draw(&Text::new(context, (left, top), look))?;
    for fact in facts {
        top += px(19);
        area.draw(&Text::new(fact.clone(), (left, top), style::text(15, GREY)))?;
    }
    draw_legend(area, legend, left, top + px(23), area.dim_in_pixel().0 as i32 - left)
}

/// Where the figures come from, and whether they are not to be relied on.
fn context(analysis: &Analysis, doorbells: &Doorbells) -> (String, bool) {
    let files =
        |of: &dyn Fn(&crate::doorbell::Source) -> bool| doorbells.sources.iter().filter(|s| of(s)).count();
    let dirty = files(&|source| source.dirty.is_some());
    let unknown = files(&|source| !source.has_provenance);
    let of = |count: usize| format!("{count} of {}", plural(doorbells.sources.len() as u64, "file"));
    let runs: usize = doorbells.sources.iter().map(|source| source.runs).sum();
    let main = &analysis.main.run.provenance;
    let cpu = main.as_ref().and_then(|p| p.run.host.as_ref()?.cpu_model.clone());
    let parts = [
        (dirty > 0).then(|| format!("DIRTY RUN: {}", of(dirty))),
        (unknown > 0).then(|| format!("NO PROVENANCE: no run.json beside {}", of(unknown))),
        Some(plural(runs as u64, "run")),
        cpu,
    ];
    (parts.into_iter().flatten().collect::<Vec<_>>().join(" · "), dirty + unknown > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doorbell::tests::{doorbells, run};

    #[test]
    fn those_told_of_both_phases_are_the_first_to_go_without_a_colour() {
        let ways = [
            ["uio", "doorbell=both"],
            ["uio", "doorbell"],
            ["vfio", "doorbell=both"],
            ["vfio", "doorbell"],
            ["adaptive=uio", "adaptive=both"],
            ["adaptive=uio", "adaptive"],
            ["poll", "poll"],
        ];
        let all = doorbells(ways.map(|ways| run(ways, Some(10.0), "idle", 900, 40)).into());
        let left_out = Looks::of(&all).left_out();
        assert_eq!(left_out.unwrap(), "in the report only: adaptive=uio/adaptive=both");
    }

    #[test]
    fn all_that_is_drawn_looks_different_and_the_rest_is_named() {
        let ways = ["uio", "vfio", "adaptive=uio", "adaptive=vfio", "doorbell", "a", "b", "c"];
        let mut runs: Vec<_> = ways.map(|way| run([way, "doorbell"], Some(10.0), "idle", 900, 40)).into();
        runs.extend(["x", "y", "z"].map(|load| run(["uio", "doorbell"], Some(10.0), load, 900, 40)));
        let all = doorbells(runs);
        let looks = Looks::of(&all);
        let drawn: Vec<_> = all.cells.iter().filter_map(|cell| looks.of_cell(cell)).collect();
        // Six ways and the floor idle, two of three loads.
        assert_eq!(drawn.len(), 9);
        for (index, look) in drawn.iter().enumerate() {
            assert!(!drawn[..index].contains(look), "{look:?}");
        }
        assert_eq!(looks.left_out().unwrap(), "in the report only: c/doorbell (no vCPU), z");
        let legend = looks.legend(&all, |color, _| Swatch::Line(color), |_, _| (Swatch::Line(INK), "line"));
        let names: Vec<_> = legend.into_iter().map(|(_, name)| name).collect();
        assert_eq!(names[6..], ["doorbell/doorbell (floor)", "line: idle", "line: x", "line: y"]);
        let only_loaded = doorbells(vec![run(["uio", "doorbell"], Some(10.0), "x", 900, 40)]);
        let (_, mark, dash) = Looks::of(&only_loaded).of_cell(&only_loaded.cells[0]).unwrap();
        assert!(!mark.is_full && dash == Dash::Long);
    }
}
