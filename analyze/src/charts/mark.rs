//! Marks and dashes: told apart without colour.

use std::convert::Infallible;

use plotters::coord::CoordTranslate;
use plotters::drawing::DrawingArea;
use plotters::element::{Circle, Drawable, PathElement, PointCollection, Polygon};
use plotters::style::{Color, RGBColor, ShapeStyle};
use plotters_backend::DrawingErrorKind;

use super::canvas::{self, Canvas};
use super::style::{self, Area, Drawn, PAPER, px};

/// Half the width of a mark, in pixels of the finished picture.
pub(super) const RADIUS: i32 = 7;

/// A shape around a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) shape: Shape,
    /// Full, or an outline.
    pub(super) is_full: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Circle,
    Square,
    Triangle,
    Diamond,
    /// A triangle on its head.
    Funnel,
    /// Higher than wide.
    Tower,
    Cross,
}

impl Shape {
    pub(super) const ALL: [Self; 7] =
        [Self::Circle, Self::Square, Self::Triangle, Self::Diamond, Self::Funnel, Self::Tower, Self::Cross];

    /// Its corners in shares of the radius; none of a circle.
    fn corners(self) -> &'static [(f64, f64)] {
        match self {
            Self::Circle => &[],
            Self::Square => &[(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)],
            Self::Triangle => &[(0.0, -1.1), (1.05, 0.8), (-1.05, 0.8)],
            Self::Diamond => &[(0.0, -1.2), (1.2, 0.0), (0.0, 1.2), (-1.2, 0.0)],
            Self::Funnel => &[(0.0, 1.1), (1.05, -0.8), (-1.05, -0.8)],
            Self::Tower => &[(-0.5, -1.1), (0.5, -1.1), (0.5, 1.1), (-0.5, 1.1)],
            Self::Cross => &[
                (-0.35, -1.1),
                (0.35, -1.1),
                (0.35, -0.35),
                (1.1, -0.35),
                (1.1, 0.35),
                (0.35, 0.35),
                (0.35, 1.1),
                (-0.35, 1.1),
                (-0.35, 0.35),
                (-1.1, 0.35),
                (-1.1, -0.35),
                (-0.35, -0.35),
            ],
        }
    }
}

impl Mark {
    /// Around a pixel of `area`.
    pub(super) fn draw(self, area: &Area<'_>, (x, y): (i32, i32), color: RGBColor) -> Drawn {
        let inside = style::fill(if self.is_full { color } else { PAPER }, 1.0);
        let outline = style::line(color, 2);
        if self.shape == Shape::Circle {
            area.draw(&Circle::new((x, y), px(RADIUS), inside))?;
            area.draw(&Circle::new((x, y), px(RADIUS), outline))?;
            return Ok(());
        }
        let at = |(right, down): &(f64, f64)| {
            let pixels = |share: f64| (share * f64::from(px(RADIUS))).round() as i32;
            (x + pixels(*right), y + pixels(*down))
        };
        let mut corners: Vec<_> = self.shape.corners().iter().map(at).collect();
        area.draw(&Polygon::new(corners.clone(), inside))?;
        corners.push(corners[0]);
        area.draw(&PathElement::new(corners, outline))?;
        Ok(())
    }
}

/// How a line is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dash {
    Solid,
    Long,
    Short,
    Wide,
}

impl Dash {
    pub(super) const ALL: [Self; 4] = [Self::Solid, Self::Long, Self::Short, Self::Wide];

    /// As a legend calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Solid => "solid",
            Self::Long => "dashed",
            Self::Short => "dotted",
            Self::Wide => "long dashes",
        }
    }

    /// Pixels of the finished picture with ink, and without.
    fn lengths(self) -> (i32, i32) {
        match self {
            Self::Solid => (1, 0),
            Self::Long => (9, 5),
            Self::Short => (3, 4),
            Self::Wide => (22, 6),
        }
    }

    /// A line through points of `area`.
    pub(super) fn draw<T: CoordTranslate<From: Clone + 'static>>(
        self,
        area: &DrawingArea<Canvas<'_>, T>,
        path: Vec<T::From>,
        line: ShapeStyle,
    ) -> Drawn {
        if self == Self::Solid {
            area.draw(&PathElement::new(path, line))?;
        } else {
            let (ink, gap) = self.lengths();
            area.draw(&Dashed { path, lengths: (px(ink), px(gap)), line })?;
        }
        Ok(())
    }
}

/// A broken line: one shape, however many dashes.
pub(super) struct Dashed<P> {
    pub(super) path: Vec<P>,
    /// Of ink and gap, in units.
    pub(super) lengths: (i32, i32),
    pub(super) line: ShapeStyle,
}

impl<'a, P: 'a> PointCollection<'a, P> for &'a Dashed<P> {
    type Point = &'a P;
    type IntoIter = &'a [P];
    fn point_iter(self) -> Self::IntoIter {
        &self.path
    }
}

impl<P> Drawable<Canvas<'_>> for Dashed<P> {
    fn draw<I: Iterator<Item = (i32, i32)>>(
        &self,
        path: I,
        canvas: &mut Canvas<'_>,
        _: (u32, u32),
    ) -> Result<(), DrawingErrorKind<Infallible>> {
        let ink = canvas::ink(self.line.color.to_backend_color());
        canvas.stroke(path.collect(), self.line.stroke_width as i32, Some(self.lengths), ink);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inked(mark: Mark) -> Vec<u8> {
        let drawing = style::drawing(24, 24, |area| mark.draw(area, (px(12), px(12)), style::BLUE));
        crate::charts::raster::pixels(&drawing.unwrap())
    }

    #[test]
    fn no_two_marks_look_alike() {
        let marks: Vec<Vec<u8>> = [true, false]
            .into_iter()
            .flat_map(|is_full| Shape::ALL.map(|shape| inked(Mark { shape, is_full })))
            .collect();
        for (index, mark) in marks.iter().enumerate() {
            assert!(!marks[..index].contains(mark), "{index}");
        }
    }
}
