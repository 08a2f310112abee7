//! How all pictures look: the embedded font, the palette and sizes.

use std::error::Error as StdError;
use std::sync::Once;

use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::style::{Color, FontStyle, IntoFont, RGBColor, TextStyle, register_font};

use super::canvas::Canvas;
use super::drawing::{Drawing, UNITS};

/// Any failure while drawing; carried as a message.
pub(super) type Drawn<T = ()> = Result<T, Box<dyn StdError>>;
/// Where all drawing goes.
pub(super) type Area<'a> = DrawingArea<Canvas<'a>, Shift>;

/// Okabe and Ito (2008), "Color Universal Design": told apart with every common colour vision.
pub(super) const BLUE: RGBColor = RGBColor(0, 114, 178);
pub(super) const ORANGE: RGBColor = RGBColor(230, 159, 0);
pub(super) const GREEN: RGBColor = RGBColor(0, 158, 115);
pub(super) const SKY: RGBColor = RGBColor(86, 180, 233);
pub(super) const PURPLE: RGBColor = RGBColor(204, 121, 167);
/// For what went wrong, and nothing else.
pub(super) const VERMILLION: RGBColor = RGBColor(213, 94, 0);
pub(super) const INK: RGBColor = RGBColor(34, 34, 34);
pub(super) const GREY: RGBColor = RGBColor(105, 105, 105);
pub(super) const PAPER: RGBColor = RGBColor(255, 255, 255);
pub(super) const GRID: RGBColor = RGBColor(222, 222, 222);
pub(super) const FAINT_GRID: RGBColor = RGBColor(242, 242, 242);

/// The font's name, in SVG too.
pub(super) const FAMILY: &str = "roboto";
pub(super) const REGULAR_FONT: &[u8] = include_bytes!("../../assets/Roboto-Regular-subset.ttf");
pub(super) const BOLD_FONT: &[u8] = include_bytes!("../../assets/Roboto-Bold-subset.ttf");
/// The em, which is SVG's font size, of plotters' size, which is ascent and descent: 1900 and 500 of 2048.
pub(super) const EM: f64 = 2048.0 / 2400.0;

/// A length of the finished picture, in units of the canvas.
pub(super) fn px(length: i32) -> i32 {
    length * UNITS
}

/// Text of this height in pixels of the finished picture.
pub(super) fn text(height: i32, color: RGBColor) -> TextStyle<'static> {
    (FAMILY, px(height)).into_font().color(&color)
}

/// The same, bold.
pub(super) fn bold(height: i32, color: RGBColor) -> TextStyle<'static> {
    (FAMILY, px(height), FontStyle::Bold).into_font().color(&color)
}

fn register_fonts() {
    static FONTS: Once = Once::new();
    FONTS.call_once(|| {
        // Both fonts are part of the binary and a test draws with them: they cannot be invalid.
        let _ = register_font(FAMILY, FontStyle::Normal, REGULAR_FONT);
        let _ = register_font(FAMILY, FontStyle::Bold, BOLD_FONT);
    });
}

/// What `draw` draws on `width` × `height` pixels.
pub(super) fn drawing(width: u32, height: u32, draw: impl FnOnce(&Area<'_>) -> Drawn) -> Drawn<Drawing> {
    register_fonts();
    let mut drawing = Drawing { width, height, ..Drawing::default() };
    draw(&Canvas(&mut drawing).into_drawing_area())?;
    Ok(drawing)
}

/// A translucent fill.
pub(super) fn fill(color: RGBColor, opacity: f64) -> plotters::style::ShapeStyle {
    color.mix(opacity).filled()
}

/// A line of this width in pixels of the finished picture.
pub(super) fn line(color: RGBColor, width: i32) -> plotters::style::ShapeStyle {
    color.stroke_width(px(width) as u32)
}
