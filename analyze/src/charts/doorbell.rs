//! What both doorbell pictures have in common: how each way to wait and each load looks, and the heading.

use plotters::element::Text;
use plotters::style::RGBColor;

use super::mark::{Dash, Mark, Shape};
use super::panel::{Swatch, draw_legend};
use super::style::{self, Area, BLUE, Drawn, GREEN, GREY, INK, ORANGE, PURPLE, SKY, VERMILLION, px};
use crate::doorbell::{Cell, Doorbells};
use crate::report::text::plural;

/// Colours of ways to wait. More ways take them again with other dashes and marks, as far as loads leave dashes over.
const PALETTE: [RGBColor; 5] = [BLUE, ORANGE, GREEN, PURPLE, SKY];

/// Letters of a line of facts.
const LINE: usize = 150;

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

    /// How often the colours go round before dashes are used up.
    fn rounds(&self) -> usize {
        (Dash::ALL.len() / self.loads.len().max(1)).max(1)
    }

    /// How the way to wait at `place` looks: its colour, its shape, and which round of the colours it is of.
    fn look(&self, place: usize) -> Option<(RGBColor, Shape, usize)> {
        let (round, color) = (place / PALETTE.len(), place % PALETTE.len());
        // The last shape is the floor's.
        let shapes = &Shape::ALL[..Shape::ALL.len() - 1];
        (round < self.rounds()).then(|| (PALETTE[color], shapes[(color + round) % shapes.len()], round))
    }

    /// The line of a way to wait of this round, under the load at this place.
    fn dash(&self, round: usize, load: usize) -> Option<Dash> {
        Dash::ALL.get(round * self.loads.len() + load).copied()
    }

    /// Colour, mark and line of a cell; `None` where there are more than can be told apart.
    pub(super) fn of_cell(&self, cell: &Cell) -> Option<(RGBColor, Mark, Dash)> {
        let load = self.loads.iter().position(|load| *load == cell.load)?;
        let (color, shape, round) =
            if cell.is_floor() { FLOOR } else { self.look(self.place(&cell.name())?)? };
        Some((color, Mark { shape, is_full: cell.is_idle() }, self.dash(round, load)?))
    }

    /// What tells its load from the others that are not idle; empty if there is but one.
    pub(super) fn load_beyond_one<'a>(&self, cell: &'a Cell) -> &'a str {
        if cell.is_idle() || self.loads.len() < 3 { "" } else { &cell.load }
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.modes.iter().position(|mode| mode == name)
    }

    /// Ways to wait, then loads, as the picture draws them; the dashes of a load are those of each round.
    pub(super) fn legend(
        &self,
        doorbells: &Doorbells,
        of_mode: impl Fn(RGBColor, Shape, Dash) -> Swatch,
        of_load: impl Fn(&[Dash], bool) -> (Swatch, String),
    ) -> Vec<(Swatch, String)> {
        let modes = self.modes.iter().enumerate().filter_map(|(place, name)| Some((name, self.look(place)?)));
        let modes = modes.chain(self.floor.iter().map(|name| (name, FLOOR)));
        let mode = |(name, (color, shape, round)): (&String, (RGBColor, Shape, usize))| {
            Some((of_mode(color, shape, self.dash(round, 0)?), name.clone()))
        };
        let mut legend: Vec<_> = modes.filter_map(mode).collect();
        let rounds = self.modes.len().div_ceil(PALETTE.len()).clamp(1, self.rounds());
        for (place, load) in self.loads.iter().enumerate() {
            let dashes: Vec<Dash> = (0..rounds).filter_map(|round| self.dash(round, place)).collect();
            if !dashes.is_empty() && doorbells.cells.iter().any(|cell| cell.load == *load) {
                let (swatch, look) = of_load(&dashes, load == IDLE);
                legend.push((swatch, format!("{look}: {load}")));
            }
        }
        legend
    }

    /// `title`, and how many of all ways and loads are drawn where that is not all of them.
    pub(super) fn title(&self, title: &str) -> String {
        let ways = self.modes.len() + usize::from(self.floor.is_some());
        let shown = ways - self.modes.len().saturating_sub(PALETTE.len() * self.rounds());
        let loads = self.loads.len().min(Dash::ALL.len());
        let parts = [("ways", shown, ways), ("loads", loads, self.loads.len())];
        let parts: Vec<String> = parts
            .into_iter()
            .filter(|(_, shown, all)| shown < all)
            .map(|(what, shown, all)| format!("{shown} of {all} {what}"))
            .collect();
        if parts.is_empty() { title.into() } else { format!("{title}: {} drawn", parts.join(" and ")) }
    }

    /// The names of what is not drawn, in lines.
    pub(super) fn left_out(&self) -> Vec<String> {
        let modes = self.modes.iter().skip(PALETTE.len() * self.rounds());
        let mut lines: Vec<String> = Vec::new();
        for name in modes.chain(self.loads.iter().skip(Dash::ALL.len())) {
            let mut line = lines.pop().unwrap_or_default();
            if line.is_empty() {
                line = format!("NOT DRAWN, in the report only: {name}");
            } else if line.chars().count() + name.chars().count() < LINE {
                line += &format!(", {name}");
            } else {
                lines.push(line + ",");
                line = name.clone();
            }
            lines.push(line);
        }
        lines
    }
}

/// The load of a run without one.
const IDLE: &str = "idle";

/// How the native floor looks.
const FLOOR: (RGBColor, Shape, usize) = (INK, Shape::Cross, 0);

/// Title, context, facts and legend above the panels; returns where they end.
pub(super) fn heading(
    area: &Area<'_>,
    doorbells: &Doorbells,
    (title, facts): (&str, &[String]),
    legend: &[(Swatch, String)],
) -> Drawn<i32> {
    let left = px(12);
    area.draw(&Text::new(title.to_owned(), (left, px(8)), style::bold(21, INK)))?;
    let mut top = px(34);
    let (context, is_alarming) = context(doorbells);
    let look = if is_alarming { style::bold(15, VERMILLION) } else { style::text(15, GREY) };
    area.draw(&Text::new(context, (left, top), look))?;
    for fact in facts {
        top += px(19);
        area.draw(&Text::new(fact.clone(), (left, top), style::text(15, GREY)))?;
    }
    draw_legend(area, legend, left, top + px(23), area.dim_in_pixel().0 as i32 - left)
}

/// Where the figures come from, and whether they are not to be relied on.
fn context(doorbells: &Doorbells) -> (String, bool) {
    let files =
        |of: &dyn Fn(&crate::doorbell::Source) -> bool| doorbells.sources.iter().filter(|s| of(s)).count();
    let dirty = files(&|source| source.dirty.is_some());
    let unknown = files(&|source| !source.has_provenance);
    let of = |count: usize| format!("{count} of {}", plural(doorbells.sources.len() as u64, "file"));
    let runs: usize = doorbells.sources.iter().map(|source| source.runs).sum();
    let cpus = doorbells.distinct(|machine| machine.cpu.as_ref());
    let cpu = match cpus.as_slice() {
        [] => None,
        [cpu] => Some((*cpu).to_owned()),
        several => Some(format!("{} DIFFERENT CPUS", several.len())),
    };
    let accelerators = doorbells.distinct(|machine| machine.accelerator.as_ref());
    let accelerators =
        (accelerators.len() > 1).then(|| format!("DIFFERENT ACCELERATORS: {}", accelerators.join(", ")));
    let is_mixed = cpus.len() > 1 || accelerators.is_some();
    let parts = [
        (dirty > 0).then(|| format!("DIRTY RUN: {}", of(dirty))),
        (unknown > 0).then(|| format!("NO PROVENANCE: no run.json beside {}", of(unknown))),
        accelerators,
        Some(plural(runs as u64, "run")),
        cpu,
    ];
    (parts.into_iter().flatten().collect::<Vec<_>>().join(" · "), dirty + unknown > 0 || is_mixed)
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
        let mut runs: Vec<_> = ways.map(|ways| run(ways, Some(10.0), "idle", 900, 40)).into();
        runs.extend(["x", "y"].map(|load| run(["uio", "doorbell"], Some(10.0), load, 900, 40)));
        let looks = Looks::of(&doorbells(runs));
        assert_eq!(looks.title("Title"), "Title: 5 of 7 ways drawn");
        let names = "NOT DRAWN, in the report only: vfio/doorbell=both, adaptive=uio/adaptive=both";
        assert_eq!(looks.left_out(), [names]);
    }

    /// Idle runs of `ways`, and one way under each of `loads`.
    fn looks_of(ways: usize, loads: &[&str]) -> (Doorbells, Looks) {
        let names: Vec<String> = (0..ways).map(|way| format!("way-{way:02}")).collect();
        let mut runs: Vec<_> =
            names.iter().map(|way| run([way, "doorbell"], Some(10.0), "idle", 900, 40)).collect();
        runs.push(run(["doorbell", "doorbell"], Some(10.0), "idle", 900, 40));
        for load in loads {
            runs.extend(names.iter().map(|way| run([way, "doorbell"], Some(10.0), load, 900, 40)));
        }
        let mut all = doorbells(runs);
        for cell in all.cells.iter_mut().filter(|cell| cell.guest_wait == "doorbell") {
            cell.native = Some(true);
        }
        let looks = Looks::of(&all);
        (all, looks)
    }

    #[test]
    fn all_that_is_drawn_looks_different_and_the_rest_is_named() {
        for (ways, loads, drawn, title) in [
            (7, &["x"][..], 7, "T"),
            (20, &[], 20, "T"),
            (21, &[], 20, "T: 21 of 22 ways drawn"),
            (11, &["x"], 10, "T: 11 of 12 ways drawn"),
            (6, &["x", "y", "z", "zz"], 5, "T: 6 of 7 ways and 4 of 5 loads drawn"),
        ] {
            let (all, looks) = looks_of(ways, loads);
            let seen: Vec<_> = all.cells.iter().filter_map(|cell| looks.of_cell(cell)).collect();
            let loads_drawn = loads.len().min(Dash::ALL.len() - 1);
            assert_eq!(seen.len(), drawn * (1 + loads_drawn) + 1, "{ways} ways, {loads:?}");
            for (index, (color, mark, dash)) in seen.iter().enumerate() {
                for (other, other_mark, other_dash) in &seen[..index] {
                    assert!(color != other || dash != other_dash, "lines: {color:?} {dash:?}");
                    // Several loads are outlines alike, and named beside the mark.
                    let is_alike = color == other && mark.shape == other_mark.shape;
                    assert!(!is_alike || dash != other_dash, "marks: {mark:?}");
                }
            }
            assert_eq!(looks.title("T"), title);
            let named = looks.left_out().join(", ");
            let left = ways - drawn;
            assert_eq!(named.matches("way-").count(), left, "{named}");
            assert_eq!(named.contains("zz"), loads.contains(&"zz"), "{named}");
        }
    }

    #[test]
    fn marks_of_different_ways_differ_by_colour_or_shape() {
        let (_, looks) = looks_of(20, &[]);
        let marks: Vec<_> = (0..20).map(|place| looks.look(place).unwrap()).collect();
        for (index, (color, shape, _)) in marks.iter().enumerate() {
            assert!(
                !marks[..index].iter().any(|(other, others, _)| other == color && others == shape),
                "{index}"
            );
            assert_ne!(*shape, Shape::Cross);
        }
    }

    #[test]
    fn the_legend_has_every_way_and_load_with_its_dashes() {
        let (all, looks) = looks_of(7, &["x"]);
        let names = |dashes: &[Dash]| dashes.iter().map(|dash| dash.name()).collect::<Vec<_>>().join(" or ");
        let legend = looks.legend(
            &all,
            |color, _, dash| Swatch::Dashed(color, dash),
            |dashes, _| (Swatch::Line(INK), names(dashes)),
        );
        let names: Vec<_> = legend.into_iter().map(|(_, name)| name).collect();
        assert_eq!(names.len(), 10);
        assert_eq!(
            names[7..],
            ["doorbell/doorbell (floor)", "solid or dotted: idle", "dashed or long dashes: x"]
        );
    }

    #[test]
    fn a_load_is_not_taken_for_an_idle_machine() {
        let only_loaded = doorbells(vec![run(["uio", "doorbell"], Some(10.0), "x", 900, 40)]);
        let (_, mark, dash) = Looks::of(&only_loaded).of_cell(&only_loaded.cells[0]).unwrap();
        assert!(!mark.is_full && dash == Dash::Long);
    }
}
