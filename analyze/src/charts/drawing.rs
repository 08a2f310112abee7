//! A picture as a list of shapes. Plotters draws on a [`Canvas`](super::canvas::Canvas), which writes the list; [`raster`](super::raster)
//! and [`svg`](super::svg) read it. A PNG and an SVG of a picture are the same drawing for that reason.

use super::hover::HoverPanel;

/// Units of the canvas in a pixel of the finished picture: plotters counts in whole numbers, and a whole pixel is too
/// coarse for a curve.
pub(super) const UNITS: i32 = 4;

/// A point of the canvas, in its units.
pub(super) type Point = (i32, i32);

/// A colour and how much of what is behind it it hides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ink {
    pub(super) color: (u8, u8, u8),
    pub(super) opacity: f64,
}

/// Where the point that a text is placed by lies within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// One line of text on its base line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TextLine {
    pub(super) content: String,
    /// Of the anchor, on the base line.
    pub(super) at: Point,
    pub(super) anchor: Anchor,
    /// Whether it runs upwards.
    pub(super) upwards: bool,
    /// Plotters' size, in units: ascent and descent together.
    pub(super) size: i32,
    pub(super) is_bold: bool,
    /// As plotters lays it out, in units.
    pub(super) width: i32,
    pub(super) ink: Ink,
}

/// What a part of the list is, for a reader of the SVG.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layer {
    /// Titles and facts.
    Heading,
    Legend,
    Axes,
    /// What was measured.
    Marks,
}

impl Layer {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Heading => "heading",
            Self::Legend => "legend",
            Self::Axes => "axes",
            Self::Marks => "marks",
        }
    }
}

/// One shape. Coordinates are units, but where whole pixels are said.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    /// Edges on whole pixels, so that neighbours share one and no seam is seen between them.
    Block {
        left: i32,
        top: i32,
        right: i32,
        bottom: i32,
        ink: Ink,
    },
    /// A line with round corners and flat ends; `dash` is ink and gap.
    Stroke {
        points: Vec<Point>,
        width: i32,
        dash: Option<(i32, i32)>,
        ink: Ink,
    },
    Polygon {
        points: Vec<Point>,
        ink: Ink,
    },
    /// Full, or a ring of that width.
    Circle {
        center: Point,
        radius: i32,
        ring: Option<i32>,
        ink: Ink,
    },
    Text(TextLine),
    /// What follows is of this layer.
    Layer(Layer),
}

/// A whole picture on white paper.
#[derive(Debug, Clone, Default)]
pub(super) struct Drawing {
    /// In pixels.
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) shapes: Vec<Shape>,
    pub(super) hover: Vec<HoverPanel>,
}
