//! What an SVG says where a reader points: the values behind the marks, recorded while they are drawn.

use plotters::element::{Drawable, PointCollection};
use plotters::style::RGBColor;
use plotters_backend::DrawingErrorKind;
use serde::Serialize;
use std::convert::Infallible;

use super::canvas::Canvas;
use super::drawing::{Layer, UNITS};

/// Points recorded of a series at most; of more, evenly chosen ones and both ends.
const POINTS_MAX: usize = 400;

/// One plot of a picture. Places are in units of the SVG's viewBox.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HoverPanel {
    /// Left, top, width and height of the plot within its axes.
    pub plot: [f64; 4],
    /// The panel's title.
    pub title: String,
    /// What is drawn on it.
    pub series: Vec<HoverSeries>,
}

/// One series of a plot.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HoverSeries {
    /// Its name in the legend.
    pub name: String,
    /// `#rrggbb`.
    pub color: String,
    /// From left to right as drawn.
    pub points: Vec<HoverPoint>,
}

/// One value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HoverPoint {
    /// Its place.
    pub x: f64,
    /// Its place.
    pub y: f64,
    /// In words: `12.3 µs: 4.5 %`.
    pub text: String,
}

pub(super) fn hex((r, g, b): (u8, u8, u8)) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

fn place(units: i32) -> f64 {
    f64::from(units) / f64::from(UNITS)
}

/// Begins a layer; drawn as an element so that it reaches the canvas in order.
pub(super) struct Begin(pub(super) Layer);

impl<'a> PointCollection<'a, (i32, i32)> for &'a Begin {
    type Point = &'a (i32, i32);
    type IntoIter = [&'a (i32, i32); 0];
    fn point_iter(self) -> Self::IntoIter {
        []
    }
}

impl Drawable<Canvas<'_>> for Begin {
    fn draw<I: Iterator<Item = (i32, i32)>>(
        &self,
        _: I,
        canvas: &mut Canvas<'_>,
        _: (u32, u32),
    ) -> Result<(), DrawingErrorKind<Infallible>> {
        canvas.begin(self.0);
        Ok(())
    }
}

/// A plot that series are recorded on from now on: its title, left top and right bottom corners.
pub(super) struct Plot {
    pub(super) title: String,
    pub(super) corners: [(i32, i32); 2],
}

impl<'a> PointCollection<'a, (i32, i32)> for &'a Plot {
    type Point = &'a (i32, i32);
    type IntoIter = &'a [(i32, i32); 2];
    fn point_iter(self) -> Self::IntoIter {
        &self.corners
    }
}

impl Drawable<Canvas<'_>> for Plot {
    fn draw<I: Iterator<Item = (i32, i32)>>(
        &self,
        corners: I,
        canvas: &mut Canvas<'_>,
        _: (u32, u32),
    ) -> Result<(), DrawingErrorKind<Infallible>> {
        if let [(left, top), (right, bottom)] = corners.collect::<Vec<_>>()[..] {
            let plot = [place(left), place(top), place(right - left), place(bottom - top)];
            canvas.record(HoverPanel { plot, title: self.title.clone(), series: Vec::new() });
        }
        Ok(())
    }
}

/// The values of one series, by positions of the plot's axes.
pub(super) struct Values {
    name: String,
    color: RGBColor,
    places: Vec<(f64, f64)>,
    texts: Vec<String>,
}

impl Values {
    /// Of `values`, thinned out where they are many; `text` is asked only for those that stay.
    pub(super) fn new<T>(
        name: &str,
        color: RGBColor,
        values: &[T],
        place: impl Fn(&T) -> (f64, f64),
        text: impl Fn(&T) -> String,
    ) -> Self {
        let last = values.len().saturating_sub(1);
        let count = values.len().min(POINTS_MAX);
        let chosen = (0..count).map(|i| &values[i * last / (count - 1).max(1)]);
        let (places, texts) = chosen.map(|value| (place(value), text(value))).unzip();
        Self { name: name.to_owned(), color, places, texts }
    }
}

impl<'a> PointCollection<'a, (f64, f64)> for &'a Values {
    type Point = &'a (f64, f64);
    type IntoIter = &'a [(f64, f64)];
    fn point_iter(self) -> Self::IntoIter {
        &self.places
    }
}

impl Drawable<Canvas<'_>> for Values {
    fn draw<I: Iterator<Item = (i32, i32)>>(
        &self,
        places: I,
        canvas: &mut Canvas<'_>,
        _: (u32, u32),
    ) -> Result<(), DrawingErrorKind<Infallible>> {
        let point = |((x, y), text): ((i32, i32), &String)| HoverPoint {
            x: place(x),
            y: place(y),
            text: text.clone(),
        };
        let RGBColor(r, g, b) = self.color;
        canvas.record_series(HoverSeries {
            name: self.name.clone(),
            color: hex((r, g, b)),
            points: places.zip(&self.texts).map(point).collect(),
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charts::style;

    #[test]
    fn many_values_are_thinned_out_and_keep_both_ends() {
        let values: Vec<u32> = (0..=5_000).collect();
        let thin = Values::new("n", style::BLUE, &values, |v| (f64::from(*v), 0.0), u32::to_string);
        assert_eq!((thin.places.len(), thin.texts.len()), (POINTS_MAX, POINTS_MAX));
        assert_eq!((thin.texts[0].as_str(), thin.texts[POINTS_MAX - 1].as_str()), ("0", "5000"));
        assert!(thin.places.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for count in [0, 1, 2, 400] {
            let few =
                Values::new("n", style::BLUE, &values[..count], |v| (f64::from(*v), 0.0), u32::to_string);
            assert_eq!(few.places.len(), count);
        }
    }
}
