//! A [`Drawing`] as SVG: neighbours that look alike share a group, coordinates are as short as they can be.

use std::fmt::Write as _;
use std::sync::LazyLock;

use super::drawing::{Anchor, Drawing, Ink, Point, Shape, TextLine, UNITS};
use super::hover::{HoverPanel, hex};
use super::style::{BOLD_FONT, EM, FAMILY, REGULAR_FONT};

/// A picture for a page, and what it says where a reader points.
#[derive(Debug, Clone, PartialEq)]
pub struct Svg {
    /// The `<svg>` element, with a viewBox and without a size. Its text is set in a font that [`FONT_CSS`] defines.
    pub markup: String,
    /// Its plots.
    pub hover: Vec<HoverPanel>,
}

/// The rules that give a page the pictures' font, as data; a page needs them once.
pub static FONT_CSS: LazyLock<String> = LazyLock::new(|| {
    let face = |weight: u32, font: &[u8]| {
        format!(
            "@font-face{{font-family:{FAMILY};font-weight:{weight};src:url(data:font/ttf;base64,{}) format(\"truetype\")}}",
            base64(font)
        )
    };
    face(400, REGULAR_FONT) + &face(700, BOLD_FONT)
});

impl Svg {
    pub(super) fn of(drawing: &Drawing, alt: &str) -> Self {
        let mut writer = Writer { out: String::new(), looks: String::new(), layer: None };
        let (width, height) = (drawing.width, drawing.height);
        let label = escaped(alt);
        // Plotters does not kern, and letters stand where they do in the PNG.
        let _ = write!(
            writer.out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
             aria-label=\"{label}\" font-family=\"{FAMILY},sans-serif\" font-kerning=\"none\">\
             <rect class=\"paper\" width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>"
        );
        writer.shapes(&drawing.shapes);
        writer.out.push_str("</svg>");
        Self { markup: writer.out, hover: drawing.hover.clone() }
    }

    /// A file that needs nothing beside it: of its own size, with its font.
    #[must_use]
    pub fn standalone(&self, width: u32, height: u32) -> String {
        let (open, rest) = self.markup.split_once('>').unwrap_or_default();
        format!("{open} width=\"{width}\" height=\"{height}\"><style>{}</style>{rest}\n", *FONT_CSS)
    }
}

struct Writer {
    out: String,
    /// Attributes of the group that is open; empty if none is.
    looks: String,
    layer: Option<&'static str>,
}

impl Writer {
    fn shapes(&mut self, shapes: &[Shape]) {
        let mut rest = shapes;
        while let [shape, behind @ ..] = rest {
            rest = behind;
            match shape {
                Shape::Layer(layer) => self.begin(layer.name()),
                Shape::Block { ink, .. } => {
                    let count = 1 + blocks_alike(shape, behind);
                    let all = &shapes[shapes.len() - rest.len() - 1..][..count];
                    rest = &behind[count - 1..];
                    self.look(&filled(*ink));
                    let mut path = String::new();
                    for block in all {
                        if let Shape::Block { left, top, right, bottom, .. } = block {
                            let (width, height) = (right - left, bottom - top);
                            let _ = write!(path, "M{left} {top}h{width}v{height}h{}z", -width);
                        }
                    }
                    let _ = write!(self.out, "<path d=\"{path}\"/>");
                }
                Shape::Stroke { points, width, dash, ink } => {
                    let mut looks = stroked(*ink, *width);
                    if let Some((on, off)) = dash {
                        let _ = write!(looks, " stroke-dasharray=\"{} {}\"", number(*on), number(*off));
                    }
                    self.look(&looks);
                    let mut all = path(points);
                    // Opaque lines of one look are one path: where they cross, nothing is seen of it.
                    while let [Shape::Stroke { points, width: w, dash: d, ink: i }, more @ ..] = rest
                        && (w, d, i) == (width, dash, ink)
                        && ink.opacity >= 1.0
                    {
                        all.push_str(&path(points));
                        rest = more;
                    }
                    let _ = write!(self.out, "<path d=\"{all}\"/>");
                }
                Shape::Polygon { points, ink } => {
                    self.look(&filled(*ink));
                    let _ = write!(self.out, "<path d=\"{}z\"/>", path(points));
                }
                Shape::Circle { center, radius, ring, ink } => {
                    self.look(&ring.map_or_else(|| filled(*ink), |width| stroked(*ink, width)));
                    let (x, y) = (number(center.0), number(center.1));
                    let _ = write!(self.out, "<circle cx=\"{x}\" cy=\"{y}\" r=\"{}\"/>", number(*radius));
                }
                Shape::Text(line) => self.text(line),
            }
        }
        self.look("");
        if self.layer.is_some() {
            self.out.push_str("</g>");
        }
    }

    fn begin(&mut self, layer: &'static str) {
        self.look("");
        if self.layer.replace(layer).is_some() {
            self.out.push_str("</g>");
        }
        let _ = write!(self.out, "<g class=\"{layer}\">");
    }

    /// Opens a group of this look, unless it is open.
    fn look(&mut self, looks: &str) {
        if self.looks == looks {
            return;
        }
        if !self.looks.is_empty() {
            self.out.push_str("</g>");
        }
        if !looks.is_empty() {
            let _ = write!(self.out, "<g {looks}>");
        }
        looks.clone_into(&mut self.looks);
    }

    fn text(&mut self, line: &TextLine) {
        let mut looks = filled(line.ink);
        let _ = write!(looks, " font-size=\"{}\"", short(f64::from(line.size) / f64::from(UNITS) * EM));
        if line.is_bold {
            looks.push_str(" font-weight=\"700\"");
        }
        match line.anchor {
            Anchor::Start => {}
            Anchor::Middle => looks.push_str(" text-anchor=\"middle\""),
            Anchor::End => looks.push_str(" text-anchor=\"end\""),
        }
        self.look(&looks);
        let (x, y) = (number(line.at.0), number(line.at.1));
        let place = match line.upwards {
            false => format!("x=\"{x}\" y=\"{y}\""),
            true => format!("transform=\"translate({x} {y})rotate(-90)\""),
        };
        let _ = write!(self.out, "<text {place}>{}</text>", escaped(&line.content));
    }
}

/// How many of the shapes after a block can be one path with it: of the same ink, and over none of those before them.
fn blocks_alike(first: &Shape, behind: &[Shape]) -> usize {
    let Shape::Block { right, bottom, ink, .. } = first else { return 0 };
    let (mut end, mut foot) = (*right, *bottom);
    let mut count = 0;
    for shape in behind {
        let Shape::Block { left, top, right, bottom, ink: other } = shape else { break };
        let is_apart = *left >= end || *top >= foot;
        if other != ink || !(is_apart || ink.opacity >= 1.0) {
            break;
        }
        (end, foot) = (end.max(*right), foot.max(*bottom));
        count += 1;
    }
    count
}

fn filled(ink: Ink) -> String {
    let opacity = opacity("fill", ink.opacity);
    format!("fill=\"{}\"{opacity}", hex(ink.color))
}

fn stroked(ink: Ink, width: i32) -> String {
    let opacity = opacity("stroke", ink.opacity);
    let color = hex(ink.color);
    format!(
        "fill=\"none\" stroke=\"{color}\"{opacity} stroke-width=\"{}\" stroke-linejoin=\"round\"",
        number(width)
    )
}

fn opacity(of: &str, opacity: f64) -> String {
    if opacity >= 1.0 { String::new() } else { format!(" {of}-opacity=\"{}\"", short(opacity)) }
}

fn path(points: &[Point]) -> String {
    let mut path = String::new();
    let mut before: Option<Point> = None;
    let is_closed = points.len() > 2 && points.first() == points.last();
    for (x, y) in &points[..points.len() - usize::from(is_closed)] {
        let _ = match before {
            None => write!(path, "M{} {}", number(*x), number(*y)),
            Some((_, level)) if level == *y => write!(path, "H{}", number(*x)),
            Some((upright, _)) if upright == *x => write!(path, "V{}", number(*y)),
            Some(_) => write!(path, "L{} {}", number(*x), number(*y)),
        };
        before = Some((*x, *y));
    }
    if is_closed {
        path.push('z');
    }
    path
}

/// Units as pixels.
fn number(units: i32) -> String {
    short(f64::from(units) / f64::from(UNITS))
}

/// Two decimals at most, and none that say nothing.
fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let is_there = digit <= chunk.len();
            out.push(if is_there {
                char::from(DIGITS[(word >> (18 - 6 * digit)) as usize & 63])
            } else {
                '='
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charts::drawing::Layer;

    const RED: Ink = Ink { color: (255, 0, 0), opacity: 0.5 };

    fn block(left: i32, top: i32, ink: Ink) -> Shape {
        Shape::Block { left, top, right: left + 10, bottom: top + 10, ink }
    }

    fn body(shapes: Vec<Shape>) -> String {
        let svg = Svg::of(&Drawing { width: 9, height: 9, shapes, ..Drawing::default() }, "");
        let (_, body) = svg.markup.split_once("/>").unwrap();
        body.strip_suffix("</svg>").unwrap().to_owned()
    }

    #[test]
    fn examples_of_rfc_4648() {
        let expected = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        for (length, expected) in expected.into_iter().enumerate() {
            assert_eq!(base64(&b"foobar"[..length]), expected);
        }
    }

    #[test]
    fn neighbours_of_one_look_share_a_group_and_translucent_ones_a_path_only_if_apart() {
        let apart = body(vec![block(0, 0, RED), block(10, 0, RED)]);
        assert_eq!(
            apart,
            "<g fill=\"#ff0000\" fill-opacity=\"0.5\"><path d=\"M0 0h10v10h-10zM10 0h10v10h-10z\"/></g>"
        );
        let over = body(vec![block(0, 0, RED), block(5, 5, RED)]);
        assert_eq!(over.matches("<g ").count(), 1);
        assert_eq!(over.matches("<path").count(), 2);
        let opaque = Ink { opacity: 1.0, ..RED };
        assert_eq!(body(vec![block(0, 0, opaque), block(5, 5, opaque)]).matches("<path").count(), 1);
    }

    #[test]
    fn a_layer_is_a_group_of_its_own() {
        let shapes =
            vec![Shape::Layer(Layer::Axes), block(0, 0, RED), Shape::Layer(Layer::Marks), block(0, 0, RED)];
        let svg = body(shapes);
        assert!(
            svg.starts_with("<g class=\"axes\"><g fill")
                && svg.contains("</g></g><g class=\"marks\"><g fill")
        );
        assert_eq!(svg.matches("<g").count(), svg.matches("</g>").count());
    }

    #[test]
    fn coordinates_are_short_and_text_is_escaped() {
        let points = vec![(0, 0), (6, 0), (6, 8), (0, 0)];
        assert_eq!(path(&points), "M0 0H1.5V2z");
        assert_eq!(path(&points[..3]), "M0 0H1.5V2");
        let text = TextLine {
            content: "p99 < \"µ\" & more".into(),
            at: (4, 10),
            anchor: Anchor::End,
            upwards: true,
            size: 60,
            is_bold: true,
            width: 0,
            ink: RED,
        };
        let svg = body(vec![Shape::Text(text)]);
        assert!(svg.contains("p99 &lt; &quot;µ&quot; &amp; more</text>"), "{svg}");
        assert!(svg.contains("font-size=\"12.8\"") && svg.contains("translate(1 2.5)rotate(-90)"), "{svg}");
    }
}
