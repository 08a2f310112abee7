//! One plot with its heading: title, a line or two of facts, a legend that never covers data, and axes.

use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::cartesian::Cartesian2d;
use plotters::drawing::DrawingArea;
use plotters::element::{Circle, PathElement, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{RGBColor, ShapeStyle};

use super::Context;
use super::axis::{Axis, Coord};
use super::canvas::Canvas;
use super::drawing::Layer;
use super::hover::{Begin, Plot, Values};
use super::mark::{Dash, Dashed, Mark};
use super::style::{self, Area, Drawn, FAINT_GRID, GREY, GRID, INK, PAPER, px};

/// A plot on which positions of [`Axis::at`] are drawn.
pub(super) struct Chart<'a> {
    context: ChartContext<'a, Canvas<'a>, Cartesian2d<Coord, Coord>>,
    /// The panel around it, for what plotters would clip to the plot.
    panel: Area<'a>,
}

/// How a series shows in the legend.
#[derive(Debug, Clone, Copy)]
pub(super) enum Swatch {
    Block(RGBColor, f64),
    Line(RGBColor),
    /// A thin line with a hollow mark.
    Ring(RGBColor),
    /// A hollow block.
    Frame(RGBColor),
    Dot(RGBColor),
    Tick(RGBColor),
    Dashed(RGBColor, Dash),
    Marked(RGBColor, Mark),
}

/// A part of the canvas that holds something, in its pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    left: i32,
    top: i32,
    right: i32,
    bottom: i32,
}

impl Place {
    fn touches(&self, other: &Self) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }
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
    /// Pixels for the labels of the y axis, where they are not numbers.
    pub(super) label_width: Option<i32>,
    /// Pixels right of the plot, where something stands there.
    pub(super) margin_right: Option<i32>,
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
        area.draw(&Begin(Layer::Heading))?;
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
            top = draw_legend(area, &self.legend, left, top + px(2), width as i32 - left)?;
        }
        top += px(self.headroom);

        area.draw(&Begin(Layer::Axes))?;
        let mut chart = ChartBuilder::on(area)
            .margin_top(top + px(4))
            .margin_left(px(8))
            .margin_right(px(self.margin_right.unwrap_or(26)))
            .margin_bottom(px(6))
            .x_label_area_size(px(if x.second_lines().is_empty() || x.title.is_empty() { 44 } else { 60 }))
            .y_label_area_size(px(self.label_width.unwrap_or(76)))
            .build_cartesian_2d(x.coord(), y.coord())?;
        chart
            .configure_mesh()
            .x_desc(x.title.clone())
            .y_desc(y.title.clone())
            .axis_desc_style(style::text(FACT, INK))
            .label_style(style::text(LABEL, INK))
            // The font's letters stand above the middle of the box plotters centres.
            .y_label_offset(px(2))
            .x_label_formatter(&|position| x.label(*position).lines().next().unwrap_or_default().to_owned())
            .y_label_formatter(&|position| y.label(*position))
            .bold_line_style(style::line(GRID, 1))
            .light_line_style(style::line(FAINT_GRID, 1))
            .axis_style(style::line(GREY, 1))
            .set_all_tick_mark_size(px(4))
            .draw()?;
        let chart = Chart { context: chart, panel: area.clone() };
        // Plotters draws one line of a label.
        for (position, second) in x.second_lines() {
            let (place, moved) = ((position, y.part(0.0)), (0, 10 + LABEL));
            chart.note(place, moved, (HPos::Center, VPos::Top), &second, INK)?;
        }
        let (columns, rows) = chart.plotting_area().get_pixel_range();
        let (left, top) = area.get_base_pixel();
        let corner = |x, y| (x - left, y - top);
        let corners = [corner(columns.start, rows.start), corner(columns.end, rows.end)];
        area.draw(&Plot { title: self.title.clone(), corners })?;
        area.draw(&Begin(Layer::Marks))?;
        Ok(chart)
    }
}

/// The legend from `left`, in as many rows as it takes; returns where it ends.
pub(super) fn draw_legend(
    area: &Area<'_>,
    legend: &[(Swatch, String)],
    left: i32,
    mut top: i32,
    right: i32,
) -> Drawn<i32> {
    let mut x = left;
    let row = px(FACT + 5);
    area.draw(&Begin(Layer::Legend))?;
    for (swatch, name) in legend {
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
        Swatch::Ring(color) => {
            area.draw(&PathElement::new([(x, middle), (x + wide, middle)], style::line(color, 1)))?;
            for (radius, fill) in [(px(5), color), (px(3), PAPER)] {
                let mark = Circle::new((x + wide / 2, middle), radius, style::fill(fill, 1.0));
                area.draw(&mark)?;
            }
        }
        Swatch::Frame(color) => {
            let corners = [(x, middle - high), (x + wide, middle + high)];
            area.draw(&Rectangle::new(corners, style::line(color, 2)))?;
        }
        Swatch::Dot(color) => {
            let dot = Circle::new((x + wide / 2, middle), px(5), style::fill(color, 1.0));
            area.draw(&dot)?;
        }
        Swatch::Tick(color) => {
            let top_and_foot = [(x + wide / 2, middle - px(7)), (x + wide / 2, middle + px(7))];
            area.draw(&PathElement::new(top_and_foot, style::line(color, 2)))?;
        }
        Swatch::Dashed(color, dash) => {
            dash.draw(area, vec![(x, middle), (x + wide, middle)], style::line(color, 3))?;
        }
        Swatch::Marked(color, mark) => mark.draw(area, (x + wide / 2, middle), color)?,
    }
    Ok(())
}

impl<'a> Chart<'a> {
    /// The area within the axes; takes positions and clips to the plot.
    pub(super) fn plotting_area(&self) -> &DrawingArea<Canvas<'a>, Cartesian2d<Coord, Coord>> {
        self.context.plotting_area()
    }

    /// The pixel of the panel at `place`.
    pub(super) fn pixel(&self, place: (f64, f64)) -> (i32, i32) {
        let (x, y) = self.context.backend_coord(&place);
        let (left, top) = self.panel.get_base_pixel();
        (x - left, y - top)
    }

    /// What the SVG says where a reader points: values in the order they are drawn in, their places and words for them.
    pub(super) fn values<T>(
        &self,
        (name, color): (&str, RGBColor),
        values: &[T],
        place: impl Fn(&T) -> (f64, f64),
        text: impl Fn(&T) -> String,
    ) -> Drawn {
        self.plotting_area().draw(&Values::new(name, color, values, place, text))?;
        Ok(())
    }

    /// A mark around `place`.
    pub(super) fn mark(&self, place: (f64, f64), mark: Mark, color: RGBColor) -> Drawn {
        mark.draw(&self.panel, self.pixel(place), color)
    }

    /// A vertical dashed line at `x` from `low` to `high`.
    pub(super) fn dashed_vertical(&self, x: f64, (low, high): (f64, f64), line: ShapeStyle) -> Drawn {
        let path = vec![self.pixel((x, high)), self.pixel((x, low))];
        self.panel.draw(&Dashed { path, lengths: (px(5), px(4)), line })?;
        Ok(())
    }

    /// A vertical line at `x` from `low` to `high` with a cap at either end.
    pub(super) fn whisker(&self, x: f64, (low, high): (f64, f64), line: ShapeStyle) -> Drawn {
        self.whisker_from(x, (low, high), true, line)
    }

    /// The same; without a cap at its foot where that is only the end of the axis.
    pub(super) fn whisker_from(
        &self,
        x: f64,
        (low, high): (f64, f64),
        is_whole: bool,
        line: ShapeStyle,
    ) -> Drawn {
        let (foot, head) = (self.pixel((x, low)), self.pixel((x, high)));
        self.panel.draw(&PathElement::new([foot, head], line))?;
        for (x, y) in std::iter::once(head).chain(is_whole.then_some(foot)) {
            self.panel.draw(&PathElement::new([(x - px(5), y), (x + px(5), y)], line))?;
        }
        Ok(())
    }

    /// Text beside a point at `place`, on the side that has room; nothing if none has. `taken` holds what is drawn already.
    pub(super) fn note_beside(&self, place: (f64, f64), content: &str, taken: &mut Vec<Place>) -> Drawn {
        let (x, y) = self.pixel(place);
        let (width, height) = self.size_of(content)?;
        let (right, bottom) = self.panel.dim_in_pixel();
        let beside = px(9);
        for (to_left, below) in [(false, false), (false, true), (true, false), (true, true)] {
            let left = if to_left { x - beside - width } else { x + beside };
            let top = if below { y + beside / 2 } else { y - beside / 2 - height };
            let wanted = Place { left, top, right: left + width, bottom: top + height };
            let inside =
                left >= 0 && wanted.right <= right as i32 && top >= 0 && wanted.bottom <= bottom as i32;
            if inside && !taken.iter().any(|other| other.touches(&wanted)) {
                taken.push(wanted);
                return self.write((left, top), (width, height), content, INK);
            }
        }
        Ok(())
    }

    /// What a point of this radius in pixels of the finished picture takes at `place`.
    pub(super) fn place_of(&self, place: (f64, f64), radius: i32) -> Place {
        let (x, y) = self.pixel(place);
        let r = px(radius);
        Place { left: x - r, top: y - r, right: x + r, bottom: y + r }
    }

    /// What a block with these corners takes, top left and bottom right; a line is as wide as its caps.
    pub(super) fn place_between(&self, first: (f64, f64), last: (f64, f64)) -> Place {
        let ((left, top), (right, bottom)) = (self.pixel(first), self.pixel(last));
        let cap = if left == right { px(5) } else { 0 };
        Place { left: left - cap, top, right: right + cap, bottom }
    }

    fn size_of(&self, content: &str) -> Drawn<(i32, i32)> {
        let (width, height) = self.panel.estimate_text_size(content, &style::text(LABEL, INK))?;
        Ok((width as i32, height as i32))
    }

    /// Text at `place`, anchored as said, moved by pixels of the finished picture.
    pub(super) fn note(
        &self,
        place: (f64, f64),
        moved: (i32, i32),
        anchors: (HPos, VPos),
        content: &str,
        color: RGBColor,
    ) -> Drawn {
        let Place { left, top, right, bottom } = self.place_of_note(place, moved, anchors, content)?;
        self.write((left, top), (right - left, bottom - top), content, color)
    }

    /// What that text takes.
    pub(super) fn place_of_note(
        &self,
        place: (f64, f64),
        moved: (i32, i32),
        (horizontal, vertical): (HPos, VPos),
        content: &str,
    ) -> Drawn<Place> {
        let (x, y) = self.pixel(place);
        let (width, height) = self.size_of(content)?;
        let left = match horizontal {
            HPos::Left => x,
            HPos::Right => x - width,
            HPos::Center => x - width / 2,
        };
        let top = match vertical {
            VPos::Top => y,
            VPos::Bottom => y - height,
            VPos::Center => y - height / 2,
        };
        let (left, top) = (left + px(moved.0), top + px(moved.1));
        Ok(Place { left, top, right: left + width, bottom: top + height })
    }

    /// Text in the middle of something drawn, whose colour it stands on.
    pub(super) fn inscribe(&self, place: (f64, f64), content: &str, color: RGBColor) -> Drawn {
        let (x, y) = self.pixel(place);
        let style = style::text(LABEL, color).pos(Pos::new(HPos::Center, VPos::Center));
        self.panel.draw(&Text::new(content.to_owned(), (x, y + px(3)), style))?;
        Ok(())
    }

    /// Text with its top left corner at a pixel of the panel; what is behind it fades.
    fn write(&self, corner: (i32, i32), size: (i32, i32), content: &str, color: RGBColor) -> Drawn {
        // Letters stand above the box plotters gives them.
        let behind = [(corner.0, corner.1 - px(2)), (corner.0 + size.0, corner.1 + size.1 - px(1))];
        self.panel.draw(&Rectangle::new(behind, style::fill(PAPER, 0.75)))?;
        self.panel.draw(&Text::new(content.to_owned(), corner, style::text(LABEL, color)))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_touch_where_they_share_a_pixel() {
        let place = |left, top| Place { left, top, right: left + 10, bottom: top + 5 };
        assert!(place(0, 0).touches(&place(9, 4)) && place(9, 4).touches(&place(0, 0)));
        assert!(!place(0, 0).touches(&place(10, 0)) && !place(0, 0).touches(&place(0, 5)));
    }
}
