//! One plot with its heading: title, a line or two of facts, a legend that never covers data, and axes.

use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::cartesian::Cartesian2d;
use plotters::drawing::DrawingArea;
use plotters::element::{PathElement, Rectangle, Text};
use plotters::prelude::BitMapBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{RGBColor, ShapeStyle};

use super::Context;
use super::axis::{Axis, Coord};
use super::style::{self, Area, Drawn, FAINT_GRID, GREY, GRID, INK, px};

/// A plot on which positions of [`Axis::at`] are drawn.
pub(super) struct Chart<'a> {
    context: ChartContext<'a, BitMapBackend<'a>, Cartesian2d<Coord, Coord>>,
    /// The panel around it, for what plotters would clip to the plot.
    panel: Area<'a>,
}

/// How a series shows in the legend.
#[derive(Debug, Clone, Copy)]
pub(super) enum Swatch {
    Block(RGBColor, f64),
    Line(RGBColor),
    Dot(RGBColor),
    Tick(RGBColor),
}

/// What surrounds a plot.
#[derive(Debug, Default)]
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) context: Option<Context>,
    pub(super) facts: Vec<String>,
    pub(super) legend: Vec<(Swatch, String)>,
    /// Free pixels between the legend and the plot, for labels of marks.
    pub(super) headroom: i32,
}

const TITLE: i32 = 21;
const FACT: i32 = 15;
const LABEL: i32 = 15;

impl Panel {
    /// Draws heading and axes on `area`.
    pub(super) fn draw<'a>(&self, area: &Area<'a>, x: &Axis, y: &Axis) -> Drawn<Chart<'a>> {
        let (width, _) = area.dim_in_pixel();
        let left = px(12);
        let mut top = px(8);
        area.draw(&Text::new(self.title.clone(), (left, top), style::bold(TITLE, INK)))?;
        top += px(TITLE + 5);
        if let Some(context) = &self.context {
            context.draw(area, (left, top))?;
            top += px(FACT + 4);
        }
        for fact in &self.facts {
            area.draw(&Text::new(fact.clone(), (left, top), style::text(FACT, GREY)))?;
            top += px(FACT + 4);
        }
        if !self.legend.is_empty() {
            top = self.draw_legend(area, left, top + px(2), width as i32 - left)?;
        }
        top += px(self.headroom);

        let mut chart = ChartBuilder::on(area)
            .margin_top(top + px(4))
            .margin_left(px(8))
            .margin_right(px(26))
            .margin_bottom(px(6))
            .x_label_area_size(px(44))
            .y_label_area_size(px(76))
            .build_cartesian_2d(x.coord(), y.coord())?;
        chart
            .configure_mesh()
            .x_desc(x.title.clone())
            .y_desc(y.title.clone())
            .axis_desc_style(style::text(FACT, INK))
            .label_style(style::text(LABEL, INK))
            // The font's letters stand above the middle of the box plotters centres.
            .y_label_offset(px(2))
            .x_label_formatter(&|position| x.label(*position))
            .y_label_formatter(&|position| y.label(*position))
            .bold_line_style(style::line(GRID, 1))
            .light_line_style(style::line(FAINT_GRID, 1))
            .axis_style(style::line(GREY, 1))
            .set_all_tick_mark_size(px(4))
            .draw()?;
        Ok(Chart { context: chart, panel: area.clone() })
    }

    /// The legend from `left`, in as many rows as it takes; returns where it ends.
    fn draw_legend(&self, area: &Area<'_>, left: i32, mut top: i32, right: i32) -> Drawn<i32> {
        let mut x = left;
        let row = px(FACT + 5);
        for (swatch, name) in &self.legend {
            let (text_width, _) = area.estimate_text_size(name, &style::text(FACT, INK))?;
            let width = px(30) + text_width as i32 + px(18);
            if x > left && x + width > right {
                x = left;
                top += row;
            }
            draw_swatch(area, *swatch, x, top + px(FACT) / 3)?;
            area.draw(&Text::new(name.clone(), (x + px(30), top), style::text(FACT, INK)))?;
            x += width;
        }
        Ok(top + row)
    }
}

fn draw_swatch(area: &Area<'_>, swatch: Swatch, x: i32, middle: i32) -> Drawn {
    let (wide, high) = (px(22), px(5));
    match swatch {
        Swatch::Block(color, opacity) => {
            area.draw(&Rectangle::new(
                [(x, middle - high), (x + wide, middle + high)],
                style::fill(color, opacity),
            ))?;
        }
        Swatch::Line(color) => {
            area.draw(&PathElement::new([(x, middle), (x + wide, middle)], style::line(color, 3)))?;
        }
        Swatch::Dot(color) => {
            let dot = plotters::element::Circle::new((x + wide / 2, middle), px(5), style::fill(color, 1.0));
            area.draw(&dot)?;
        }
        Swatch::Tick(color) => {
            let top_and_foot = [(x + wide / 2, middle - px(7)), (x + wide / 2, middle + px(7))];
            area.draw(&PathElement::new(top_and_foot, style::line(color, 2)))?;
        }
    }
    Ok(())
}

impl<'a> Chart<'a> {
    /// The area within the axes; takes positions and clips to the plot.
    pub(super) fn plotting_area(&self) -> &DrawingArea<BitMapBackend<'a>, Cartesian2d<Coord, Coord>> {
        self.context.plotting_area()
    }

    /// The pixel of the panel at `place`.
    fn pixel(&self, place: (f64, f64)) -> (i32, i32) {
        let (x, y) = self.context.backend_coord(&place);
        let (left, top) = self.panel.get_base_pixel();
        (x - left, y - top)
    }

    /// A vertical dashed line at `x` from `low` to `high`.
    pub(super) fn dashed_vertical(&self, x: f64, (low, high): (f64, f64), line: ShapeStyle) -> Drawn {
        let (foot, head) = (self.pixel((x, low)), self.pixel((x, high)));
        let mut y = head.1;
        while y < foot.1 {
            let end = (y + px(5)).min(foot.1);
            self.panel.draw(&PathElement::new([(head.0, y), (head.0, end)], line))?;
            y += px(9);
        }
        Ok(())
    }

    /// A vertical line at `x` from `low` to `high` with a cap at either end.
    pub(super) fn whisker(&self, x: f64, (low, high): (f64, f64), line: ShapeStyle) -> Drawn {
        let (foot, head) = (self.pixel((x, low)), self.pixel((x, high)));
        self.panel.draw(&PathElement::new([foot, head], line))?;
        for (x, y) in [foot, head] {
            self.panel.draw(&PathElement::new([(x - px(5), y), (x + px(5), y)], line))?;
        }
        Ok(())
    }

    /// Text at `place`, anchored as said, moved by pixels of the finished picture.
    pub(super) fn note(
        &self,
        place: (f64, f64),
        moved: (i32, i32),
        (horizontal, vertical): (HPos, VPos),
        content: &str,
        color: RGBColor,
    ) -> Drawn {
        let (x, y) = self.pixel(place);
        let style = style::text(LABEL, color).pos(Pos::new(horizontal, vertical));
        self.panel.draw(&Text::new(content.to_owned(), (x + px(moved.0), y + px(moved.1)), style))?;
        Ok(())
    }
}
