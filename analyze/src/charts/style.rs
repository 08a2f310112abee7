//! How all pictures look: the embedded font, the palette, sizes, and the canvas that becomes a PNG.
//!
//! A picture is drawn at twice its size and averaged down, which smooths lines and letters alike.

use std::error::Error as StdError;
use std::sync::Once;

use plotters::backend::BitMapBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::style::{Color, FontStyle, IntoFont, RGBColor, TextStyle, register_font};

/// Any failure while drawing; carried as a message.
pub(super) type Drawn<T = ()> = Result<T, Box<dyn StdError>>;
/// Where all drawing goes.
pub(super) type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

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

const SUPERSAMPLING: u32 = 2;
const FAMILY: &str = "roboto";

/// A length of the finished picture, in pixels of the canvas.
pub(super) fn px(length: i32) -> i32 {
    length * SUPERSAMPLING as i32
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
        let regular = include_bytes!("../../assets/Roboto-Regular-subset.ttf");
        let bold = include_bytes!("../../assets/Roboto-Bold-subset.ttf");
        let _ = register_font(FAMILY, FontStyle::Normal, regular);
        let _ = register_font(FAMILY, FontStyle::Bold, bold);
    });
}

/// A picture of `width` × `height` pixels, drawn by `draw`, as a PNG.
pub(super) fn picture(width: u32, height: u32, draw: impl FnOnce(&Area<'_>) -> Drawn) -> Drawn<Vec<u8>> {
    register_fonts();
    let (wide, high) = (width * SUPERSAMPLING, height * SUPERSAMPLING);
    let mut canvas = vec![0; (wide * high * 3) as usize];
    {
        let area = BitMapBackend::with_buffer(&mut canvas, (wide, high)).into_drawing_area();
        area.fill(&PAPER)?;
        draw(&area)?;
        area.present()?;
    }
    encode(&averaged(&canvas, width as usize, height as usize), width, height)
}

/// Each pixel the mean of a square of the canvas.
fn averaged(canvas: &[u8], width: usize, height: usize) -> Vec<u8> {
    let factor = SUPERSAMPLING as usize;
    let row = width * factor * 3;
    let mut out = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            for channel in 0..3 {
                let corner = y * factor * row + x * factor * 3 + channel;
                let square = (0..factor).flat_map(|dy| (0..factor).map(move |dx| corner + dy * row + dx * 3));
                let sum: usize = square.map(|index| usize::from(canvas[index])).sum();
                out.push((sum / (factor * factor)) as u8);
            }
        }
    }
    out
}

fn encode(pixels: &[u8], width: u32, height: u32) -> Drawn<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(bytes)
}

/// A translucent fill.
pub(super) fn fill(color: RGBColor, opacity: f64) -> plotters::style::ShapeStyle {
    color.mix(opacity).filled()
}

/// A line of this width in pixels of the finished picture.
pub(super) fn line(color: RGBColor, width: i32) -> plotters::style::ShapeStyle {
    color.stroke_width(px(width) as u32)
}
