//! A [`Drawing`] as pixels. Shapes are smoothed by how much of each pixel they cover, so nothing is drawn larger than it is.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, ScaleFont, point};

use super::drawing::{Anchor, Drawing, Ink, Point, Shape, TextLine, UNITS};
use super::style::{BOLD_FONT, REGULAR_FONT};

/// Regular and bold. They are part of the program and a test draws with them: they cannot be invalid.
static FONTS: LazyLock<[Option<FontRef<'static>>; 2]> =
    LazyLock::new(|| [REGULAR_FONT, BOLD_FONT].map(|font| FontRef::try_from_slice(font).ok()));

/// Rows of RGB pixels.
pub(super) fn pixels(drawing: &Drawing) -> Vec<u8> {
    let mut raster = Raster::new(drawing.width as usize, drawing.height as usize);
    for shape in &drawing.shapes {
        match shape {
            Shape::Block { left, top, right, bottom, ink } => {
                raster.block([*left, *top, *right, *bottom], *ink);
            }
            Shape::Stroke { points, width, dash, ink } => {
                match dash {
                    None => raster.stroke(points, *width),
                    Some(dash) => dashes(points, *dash).iter().for_each(|dash| raster.stroke(dash, *width)),
                }
                raster.lay(*ink);
            }
            Shape::Polygon { points, ink } => {
                raster.polygon(points);
                raster.lay(*ink);
            }
            Shape::Circle { center, radius, ring, ink } => {
                raster.circle(*center, *radius, *ring);
                raster.lay(*ink);
            }
            Shape::Text(line) => {
                raster.text(line);
                raster.lay(line.ink);
            }
            Shape::Layer(_) => {}
        }
    }
    raster.pixels
}

struct Raster {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
    /// How much of each pixel the shape at hand covers, 0 to 1; 0 everywhere between shapes.
    cover: Vec<f32>,
    /// Columns of each row that it may cover.
    spans: Vec<(usize, usize)>,
    /// Rows that it may cover.
    rows: (usize, usize),
}

fn in_pixels((x, y): Point) -> (f32, f32) {
    (x as f32 / UNITS as f32, y as f32 / UNITS as f32)
}

/// Pieces of a line up to this long, in pixels: the pixels around a piece are all looked at.
const PIECE: f32 = 24.0;

/// Degrees of covering a pixel.
const STEPS: f32 = 16.0;

impl Raster {
    fn new(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            pixels: vec![255; width * height * 3],
            cover: vec![0.0; width * height],
            spans: vec![(usize::MAX, 0); height],
            rows: (usize::MAX, 0),
        }
    }

    fn block(&mut self, [left, top, right, bottom]: [i32; 4], ink: Ink) {
        let within = |at: i32, end: usize| (at.max(0) as usize).min(end);
        let (left, right) = (within(left, self.width), within(right, self.width));
        for y in within(top, self.height)..within(bottom, self.height) {
            let row = &mut self.pixels[(y * self.width + left) * 3..(y * self.width + right) * 3];
            for pixel in row.chunks_exact_mut(3) {
                blend(pixel, ink.color, ink.opacity as f32);
            }
        }
    }

    /// The columns and rows around a box in pixels, and remembers that they may be covered.
    fn around(&mut self, low: (f32, f32), high: (f32, f32)) -> Option<([usize; 2], [usize; 2])> {
        let bound = |from: f32, to: f32, end: usize| {
            let first = from.floor().max(0.0) as usize;
            let last = (to.ceil().max(0.0) as usize).min(end);
            (first < last).then_some([first, last])
        };
        let (columns, rows) = (bound(low.0, high.0, self.width)?, bound(low.1, high.1, self.height)?);
        for span in &mut self.spans[rows[0]..rows[1]] {
            *span = (span.0.min(columns[0]), span.1.max(columns[1]));
        }
        self.rows = (self.rows.0.min(rows[0]), self.rows.1.max(rows[1]));
        Some((columns, rows))
    }

    /// Covers each pixel of a box as much as `cover` of its middle says, where it is not covered more already.
    fn fill(&mut self, low: (f32, f32), high: (f32, f32), cover: impl Fn(f32, f32) -> f32) {
        let Some((columns, rows)) = self.around(low, high) else { return };
        for y in rows[0]..rows[1] {
            let row = &mut self.cover[y * self.width..][..self.width];
            for (x, old) in (columns[0]..columns[1]).zip(&mut row[columns[0]..columns[1]]) {
                *old = old.max(cover(x as f32 + 0.5, y as f32 + 0.5).clamp(0.0, 1.0));
            }
        }
    }

    /// By the distance of pixels from the line: flat at its ends, round at its corners.
    fn stroke(&mut self, points: &[Point], width: i32) {
        let half = width as f32 / UNITS as f32 / 2.0;
        let last = points.len().saturating_sub(2);
        let is_closed = points.len() > 2 && points.first() == points.last();
        for (index, pair) in points.windows(2).enumerate() {
            let ((x0, y0), (x1, y1)) = (in_pixels(pair[0]), in_pixels(pair[1]));
            let length = (x1 - x0).hypot(y1 - y0);
            let (along_x, along_y) = ((x1 - x0) / length, (y1 - y0) / length);
            let (first, final_one) = (index == 0 && !is_closed, index == last && !is_closed);
            let count = (length / PIECE).ceil().max(1.0);
            for piece in 0..count as usize {
                let (from, to) = (length * piece as f32 / count, length * (piece + 1) as f32 / count);
                let ends = [from, to].map(|at| (x0 + along_x * at, y0 + along_y * at));
                let reach = half + 1.0;
                let low = (ends[0].0.min(ends[1].0) - reach, ends[0].1.min(ends[1].1) - reach);
                let high = (ends[0].0.max(ends[1].0) + reach, ends[0].1.max(ends[1].1) + reach);
                self.fill(low, high, |x, y| {
                    let along = (x - x0) * along_x + (y - y0) * along_y;
                    let across = ((x - x0) * along_y - (y - y0) * along_x).abs();
                    let (before, after) = (-along, along - length);
                    let beyond = before.max(after);
                    let is_flat = if before > after { first } else { final_one };
                    let side = (half + 0.5 - across).min(half * 2.0);
                    if beyond <= -0.5 || is_flat {
                        side.min(1.0) * (0.5 - beyond).clamp(0.0, 1.0)
                    } else {
                        (half + 0.5 - across.hypot(beyond.max(0.0))).min(half * 2.0)
                    }
                });
            }
        }
    }

    fn circle(&mut self, center: Point, radius: i32, ring: Option<i32>) {
        let ((cx, cy), radius) = (in_pixels(center), radius as f32 / UNITS as f32);
        let half = ring.map(|width| width as f32 / UNITS as f32 / 2.0);
        let reach = radius + half.unwrap_or(0.0) + 1.0;
        self.fill((cx - reach, cy - reach), (cx + reach, cy + reach), |x, y| {
            let distance = (x - cx).hypot(y - cy);
            half.map_or(radius + 0.5 - distance, |half| half + 0.5 - (distance - radius).abs())
        });
    }

    /// The nonzero inside, sampled on four lines a row with exact horizontal coverage.
    fn polygon(&mut self, points: &[Point]) {
        const LINES: usize = 4;
        let corners: Vec<(f32, f32)> = points.iter().map(|point| in_pixels(*point)).collect();
        let edge = |of: fn(f32, f32) -> f32, start: f32| {
            corners.iter().fold((start, start), |(x, y), corner| (of(x, corner.0), of(y, corner.1)))
        };
        let (low, high) = (edge(f32::min, f32::INFINITY), edge(f32::max, f32::NEG_INFINITY));
        let Some((_, rows)) = self.around(low, high) else { return };
        let mut crossings: Vec<(f32, i32)> = Vec::new();
        for line in rows[0] * LINES..rows[1] * LINES {
            let y = (line as f32 + 0.5) / LINES as f32;
            crossings.clear();
            for (index, from) in corners.iter().enumerate() {
                let to = corners[(index + 1) % corners.len()];
                if (from.1 <= y) != (to.1 <= y) {
                    let x = from.0 + (to.0 - from.0) * (y - from.1) / (to.1 - from.1);
                    crossings.push((x, if to.1 > from.1 { 1 } else { -1 }));
                }
            }
            crossings.sort_by(|a, b| a.0.total_cmp(&b.0));
            let row = &mut self.cover[line / LINES * self.width..][..self.width];
            let mut winding = 0;
            for pair in crossings.windows(2) {
                winding += pair[0].1;
                if winding != 0 {
                    cover_span(row, pair[0].0, pair[1].0, 1.0 / LINES as f32);
                }
            }
        }
    }

    /// Letter by letter along the base line, unkerned as plotters measures them.
    fn text(&mut self, line: &TextLine) {
        let Some(font) = &FONTS[usize::from(line.is_bold)] else { return };
        let font = font.as_scaled(line.size as f32 / UNITS as f32);
        let before = match line.anchor {
            Anchor::Start => 0,
            Anchor::Middle => line.width / 2,
            Anchor::End => line.width,
        };
        let (x, y) = in_pixels(line.at);
        // Letters that run upwards are drawn level and their pixels turned: across is then down, along is up.
        let origin = if line.upwards { (y.ceil() - y, x.fract()) } else { (x, y) };
        let mut along = origin.0 - before as f32 / UNITS as f32;
        for letter in line.content.chars() {
            let id = font.glyph_id(letter);
            let glyph = id.with_scale_and_position(font.scale(), point(along, origin.1));
            along += font.h_advance(id);
            let Some(outline) = font.outline_glyph(glyph) else { continue };
            let bounds = outline.px_bounds();
            let turned = |right: f32, down: f32| match line.upwards {
                false => (right, down),
                true => (x.floor() + down, y.ceil() - right),
            };
            let ends = [turned(bounds.min.x, bounds.min.y), turned(bounds.max.x, bounds.max.y)];
            let low = (ends[0].0.min(ends[1].0), ends[0].1.min(ends[1].1));
            let high = (ends[0].0.max(ends[1].0), ends[0].1.max(ends[1].1));
            let Some((columns, rows)) = self.around(low, high) else { continue };
            let (cover, width) = (&mut self.cover, self.width);
            outline.draw(|right, down, share| {
                // The middle of a pixel is in it, whichever way it is turned.
                let (x, y) = turned(bounds.min.x + right as f32 + 0.5, bounds.min.y + down as f32 + 0.5);
                let (column, row) = (x as usize, y as usize);
                if x >= 0.0 && y >= 0.0 && column < columns[1] && row < rows[1] {
                    cover[row * width + column] += share;
                }
            });
        }
    }

    /// Lays ink where the shape at hand covers, and forgets the shape.
    fn lay(&mut self, ink: Ink) {
        for y in self.rows.0..self.rows.1 {
            let (first, last) = std::mem::replace(&mut self.spans[y], (usize::MAX, 0));
            if first >= last {
                continue;
            }
            let covers = &mut self.cover[y * self.width..][first..last];
            let row = &mut self.pixels[(y * self.width + first) * 3..][..covers.len() * 3];
            for (pixel, cover) in row.chunks_exact_mut(3).zip(covers) {
                if *cover > 0.0 {
                    // In steps: the eye sees no finer ones, and few colours make a small file.
                    let cover_in_steps = (cover.min(1.0) * STEPS).round() / STEPS;
                    blend(pixel, ink.color, ink.opacity as f32 * cover_in_steps);
                    *cover = 0.0;
                }
            }
        }
        self.rows = (usize::MAX, 0);
    }
}

fn blend(pixel: &mut [u8], (r, g, b): (u8, u8, u8), opacity: f32) {
    for (old, new) in pixel.iter_mut().zip([r, g, b]) {
        let (before, after) = (f32::from(*old), f32::from(new));
        *old = (before + (after - before) * opacity).round() as u8;
    }
}

/// Adds `share` to the pixels from `left` to `right`, to those at the ends as much of it as they are covered.
fn cover_span(row: &mut [f32], left: f32, right: f32, share: f32) {
    let (left, right) = (left.clamp(0.0, row.len() as f32), right.clamp(0.0, row.len() as f32));
    for x in left as usize..(right.ceil() as usize).min(row.len()) {
        let covered = right.min(x as f32 + 1.0) - left.max(x as f32);
        row[x] += covered.max(0.0) * share;
    }
}

/// A line cut into its dashes.
fn dashes(points: &[Point], (ink, gap): (i32, i32)) -> Vec<Vec<Point>> {
    let mut dashes = Vec::new();
    let mut dash: Vec<Point> = points.first().copied().into_iter().collect();
    let (mut is_ink, mut left) = (true, f64::from(ink));
    for pair in points.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let length = f64::from(to.0 - from.0).hypot(f64::from(to.1 - from.1));
        let at = |way: f64| {
            let part = |a: i32, b: i32| (f64::from(a) + f64::from(b - a) * way / length).round() as i32;
            (part(from.0, to.0), part(from.1, to.1))
        };
        let mut way = 0.0;
        while way + left < length {
            way += left;
            if is_ink {
                dash.push(at(way));
                dashes.push(std::mem::take(&mut dash));
            } else {
                dash = vec![at(way)];
            }
            is_ink = !is_ink;
            left = f64::from(if is_ink { ink } else { gap });
        }
        left -= length - way;
        if is_ink {
            dash.push(to);
        }
    }
    dashes.push(dash);
    dashes.iter_mut().for_each(Vec::dedup);
    dashes.retain(|dash| dash.len() > 1);
    dashes
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLACK: Ink = Ink { color: (0, 0, 0), opacity: 1.0 };

    /// How much of a picture of 20 × 20 pixels is black.
    fn covered(shape: Shape) -> f64 {
        let drawing = Drawing { width: 20, height: 20, shapes: vec![shape], ..Drawing::default() };
        pixels(&drawing).chunks(3).map(|p| f64::from(255 - p[0]) / 255.0).sum()
    }

    fn units(points: &[(i32, i32)]) -> Vec<Point> {
        points.iter().map(|(x, y)| (x * UNITS, y * UNITS)).collect()
    }

    #[test]
    fn shapes_cover_their_area() {
        let block = Shape::Block { left: 2, top: 3, right: 7, bottom: 5, ink: BLACK };
        assert_eq!(covered(block), 10.0);
        let circle =
            |ring| Shape::Circle { center: (10 * UNITS, 10 * UNITS), radius: 6 * UNITS, ring, ink: BLACK };
        assert!((covered(circle(None)) - std::f64::consts::PI * 36.0).abs() < 1.0);
        assert!((covered(circle(Some(2 * UNITS))) - std::f64::consts::PI * 24.0).abs() < 1.0);
        let triangle = Shape::Polygon { points: units(&[(2, 2), (18, 2), (2, 18)]), ink: BLACK };
        assert!((covered(triangle) - 128.0).abs() < 1.0);
        // Either way round, a hole-free star is one area.
        let backwards = Shape::Polygon { points: units(&[(2, 18), (18, 2), (2, 2)]), ink: BLACK };
        assert!((covered(backwards) - 128.0).abs() < 1.0);
    }

    #[test]
    fn a_line_is_as_wide_as_said_at_any_angle_and_its_corners_are_not_drawn_twice() {
        let stroke = |points, width| Shape::Stroke { points, width, dash: None, ink: BLACK };
        assert!((covered(stroke(units(&[(2, 10), (18, 10)]), 2 * UNITS)) - 32.0).abs() < 0.2);
        let diagonal = covered(stroke(units(&[(2, 2), (18, 18)]), 2 * UNITS));
        // Coverage by distance is a few percent off at 45 degrees.
        assert!((diagonal - 2.0 * 16.0 * 2.0_f64.sqrt()).abs() < 1.5, "{diagonal}");
        let bent = units(&[(2, 2), (2, 18), (18, 18)]);
        let half = Ink { opacity: 0.5, ..BLACK };
        let pale = covered(Shape::Stroke { points: bent.clone(), width: 2 * UNITS, dash: None, ink: half });
        let full = covered(stroke(bent, 2 * UNITS));
        assert!((pale * 2.0 - full).abs() < 0.5, "{pale} {full}");
    }

    #[test]
    fn a_text_is_as_black_upwards_as_level_and_lies_where_its_anchor_says() {
        let line = |content: &str, anchor, upwards, at| {
            Shape::Text(TextLine {
                content: content.into(),
                at,
                anchor,
                upwards,
                size: 15 * UNITS,
                is_bold: false,
                width: 8 * UNITS,
                ink: BLACK,
            })
        };
        let middle = (10 * UNITS, 14 * UNITS);
        let level = covered(line("8", Anchor::Middle, false, middle));
        assert!(level > 15.0, "{level}");
        for at in [(14 * UNITS, 10 * UNITS), (14 * UNITS + 1, 10 * UNITS + 3)] {
            assert!((covered(line("8", Anchor::Middle, true, at)) - level).abs() < 1.0);
        }
        let drawn = |anchor, x| {
            let shapes = vec![line("1", anchor, false, (x * UNITS, 14 * UNITS))];
            pixels(&Drawing { width: 20, height: 20, shapes, ..Drawing::default() })
        };
        assert!(drawn(Anchor::Start, 4) == drawn(Anchor::End, 12));
        assert!(drawn(Anchor::Start, 4) == drawn(Anchor::Middle, 8));
        assert!(drawn(Anchor::Start, 4) != drawn(Anchor::Start, 5));
    }

    #[test]
    fn dashes_go_round_corners() {
        let path = units(&[(0, 0), (10, 0), (10, 10)]);
        let cut = dashes(&path, (6 * UNITS, 2 * UNITS));
        assert_eq!(
            cut,
            [units(&[(0, 0), (6, 0)]), units(&[(8, 0), (10, 0), (10, 4)]), units(&[(10, 6), (10, 10)])]
        );
    }

    #[test]
    fn what_lies_outside_is_cut_and_nothing_remains_of_a_shape() {
        let far = units(&[(-50, 10), (70, 10)]);
        let stroke = Shape::Stroke { points: far, width: UNITS * 2, dash: None, ink: BLACK };
        assert!((covered(stroke) - 40.0).abs() < 0.5);
        let circle = Shape::Circle { center: (-100, -100), radius: 8, ring: None, ink: BLACK };
        assert_eq!(covered(circle), 0.0);
        let shapes = vec![
            Shape::Polygon { points: units(&[(2, 2), (18, 2), (2, 18)]), ink: Ink { opacity: 0.0, ..BLACK } },
            Shape::Circle { center: (40, 40), radius: 8, ring: None, ink: BLACK },
        ];
        let both = Drawing { width: 20, height: 20, shapes: shapes.clone(), ..Drawing::default() };
        let one = Drawing { shapes: shapes[1..].to_vec(), ..both.clone() };
        assert_eq!(pixels(&both), pixels(&one));
    }
}
