//! What plotters draws on: a backend that writes down the shapes of a [`Drawing`] and draws nothing itself.

use std::convert::Infallible;

use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{FontStyle, FontTransform};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind,
};

use super::drawing::{Anchor, Drawing, Ink, Layer, Point, Shape, TextLine, UNITS};
use super::hover::{HoverPanel, HoverSeries};

/// Writes to a drawing.
pub(super) struct Canvas<'a>(pub(super) &'a mut Drawing);

type Done = Result<(), DrawingErrorKind<Infallible>>;

impl Canvas<'_> {
    pub(super) fn begin(&mut self, layer: Layer) {
        self.0.shapes.push(Shape::Layer(layer));
    }

    pub(super) fn record(&mut self, panel: HoverPanel) {
        self.0.hover.push(panel);
    }

    /// On the panel recorded last.
    pub(super) fn record_series(&mut self, series: HoverSeries) {
        if let Some(panel) = self.0.hover.last_mut() {
            panel.series.push(series);
        }
    }

    pub(super) fn stroke(&mut self, mut points: Vec<Point>, width: i32, dash: Option<(i32, i32)>, ink: Ink) {
        points = without_needless(&points);
        if points.len() < 2 || ink.opacity == 0.0 {
            return;
        }
        // An upright or level line is put on whole pixels: between two it would be pale and twice as wide.
        if let [from, to] = points.as_mut_slice() {
            let level = |a: &mut i32, b: &mut i32| {
                let edge = f64::from(*a - width / 2) / f64::from(UNITS);
                (*a, *b) = (edge.round() as i32 * UNITS + width / 2, edge.round() as i32 * UNITS + width / 2);
            };
            if from.0 == to.0 {
                level(&mut from.0, &mut to.0);
            } else if from.1 == to.1 {
                level(&mut from.1, &mut to.1);
            }
        }
        self.0.shapes.push(Shape::Stroke { points, width, dash, ink });
    }
}

/// Leaves out what lies on the straight way from the point before to the point after.
fn without_needless(points: &[Point]) -> Vec<Point> {
    let mut kept: Vec<Point> = Vec::with_capacity(points.len());
    for point in points {
        if let [.., before, last] = kept[..] {
            let (a, b) = ((last.0 - before.0, last.1 - before.1), (point.0 - last.0, point.1 - last.1));
            let (across, along) = (a.0 * b.1 - a.1 * b.0, a.0 * b.0 + a.1 * b.1);
            if across == 0 && along > 0 {
                kept.pop();
            }
        }
        if kept.last() != Some(point) {
            kept.push(*point);
        }
    }
    kept
}

pub(super) fn ink(color: BackendColor) -> Ink {
    Ink { color: color.rgb, opacity: color.alpha }
}

/// To the next whole pixel.
fn pixel(units: i32) -> i32 {
    (f64::from(units) / f64::from(UNITS)).round() as i32
}

impl DrawingBackend for Canvas<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        (self.0.width * UNITS as u32, self.0.height * UNITS as u32)
    }

    fn ensure_prepared(&mut self) -> Done {
        Ok(())
    }

    fn present(&mut self) -> Done {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, color: BackendColor) -> Done {
        let (left, top) = (pixel(x), pixel(y));
        let block = Shape::Block { left, top, right: left + 1, bottom: top + 1, ink: ink(color) };
        self.0.shapes.push(block);
        Ok(())
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Done {
        self.stroke(vec![from, to], style.stroke_width() as i32, None, ink(style.color()));
        Ok(())
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        (left, top): BackendCoord,
        (right, bottom): BackendCoord,
        style: &S,
        fill: bool,
    ) -> Done {
        if fill {
            let (left, right) = (pixel(left.min(right)), pixel(left.max(right)));
            let (top, bottom) = (pixel(top.min(bottom)), pixel(top.max(bottom)));
            // What is there is seen, however small.
            let (right, bottom) = (right.max(left + 1), bottom.max(top + 1));
            self.0.shapes.push(Shape::Block { left, top, right, bottom, ink: ink(style.color()) });
        } else {
            let corners = vec![(left, top), (right, top), (right, bottom), (left, bottom), (left, top)];
            self.stroke(corners, style.stroke_width() as i32, None, ink(style.color()));
        }
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Done {
        self.stroke(path.into_iter().collect(), style.stroke_width() as i32, None, ink(style.color()));
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(
        &mut self,
        center: BackendCoord,
        radius: u32,
        style: &S,
        fill: bool,
    ) -> Done {
        let ring = (!fill).then(|| style.stroke_width() as i32);
        let ink = ink(style.color());
        self.0.shapes.push(Shape::Circle { center, radius: radius as i32, ring, ink });
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        corners: I,
        style: &S,
    ) -> Done {
        let points = corners.into_iter().collect();
        self.0.shapes.push(Shape::Polygon { points, ink: ink(style.color()) });
        Ok(())
    }

    fn draw_text<T: BackendTextStyle>(&mut self, text: &str, style: &T, (x, y): BackendCoord) -> Done {
        if text.trim().is_empty() || style.color().alpha == 0.0 {
            return Ok(());
        }
        let layout = style.layout_box(text).map_err(|error| DrawingErrorKind::FontError(Box::new(error)))?;
        let (width, height) = (layout.1.0 - layout.0.0, layout.1.1 - layout.0.1);
        let size = style.size() as i32;
        let top = match style.anchor().v_pos {
            VPos::Top => 0,
            VPos::Center => -height / 2,
            VPos::Bottom => -height,
        };
        // Plotters puts the base line half the size below the top of the box.
        let base = top + size / 2;
        let upwards = matches!(style.transform(), FontTransform::Rotate270);
        self.0.shapes.push(Shape::Text(TextLine {
            content: text.to_owned(),
            // Base lines on whole pixels: letters are sharper, and browsers put them there, too.
            at: if upwards { (pixel(x + base) * UNITS, y) } else { (x, pixel(y + base) * UNITS) },
            anchor: match style.anchor().h_pos {
                HPos::Left => Anchor::Start,
                HPos::Center => Anchor::Middle,
                HPos::Right => Anchor::End,
            },
            upwards,
            size,
            is_bold: matches!(style.style(), FontStyle::Bold),
            width,
            ink: ink(style.color()),
        }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_keeps_its_corners_and_turns_and_nothing_else() {
        let path = [(0, 0), (0, 0), (4, 0), (8, 0), (8, 8), (8, 4), (12, 8), (13, 9)];
        assert_eq!(without_needless(&path), [(0, 0), (8, 0), (8, 8), (8, 4), (13, 9)]);
        assert_eq!(without_needless(&path[..1]), path[..1]);
    }

    #[test]
    fn an_upright_line_is_on_whole_pixels() {
        let mut drawing = Drawing::default();
        let ink = Ink { color: (0, 0, 0), opacity: 1.0 };
        for (width, expected) in [(UNITS, 10 * UNITS + UNITS / 2), (2 * UNITS, 10 * UNITS)] {
            Canvas(&mut drawing).stroke(vec![(41, 0), (41, 90)], width, None, ink);
            let Some(Shape::Stroke { points, .. }) = drawing.shapes.pop() else { panic!("a stroke") };
            assert_eq!(points, [(expected, 0), (expected, 90)]);
        }
    }
}
