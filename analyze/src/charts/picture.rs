//! A picture: drawn once, at the first call, for as many formats as are asked for.

use std::sync::{Mutex, OnceLock};
use std::thread;

use clap::ValueEnum;

use super::drawing::Drawing;
use super::style::{self, Area, Drawn};
use super::svg::Svg;
use super::{png_file, raster};
use crate::error::Error;
use crate::interrupt::Interrupt;
use crate::output::Artifact;

type Draw<'a> = dyn Fn(&Area<'_>) -> Drawn + Send + Sync + 'a;

/// A picture that can be had as PNG and as SVG; both are the same drawing.
pub struct Picture<'a> {
    /// Its file's name, without an extension.
    pub name: &'static str,
    /// Its heading.
    pub title: String,
    /// What it shows, for those who do not see it.
    pub alt: String,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    files: [&'static str; 2],
    draw: Box<Draw<'a>>,
    drawing: OnceLock<Result<Drawing, String>>,
}

/// Formats of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Pictures {
    /// PNG files
    #[default]
    Png,
    /// SVG files, each with its font
    Svg,
    /// Both of each picture
    Both,
}

/// A picture's name, and those of its PNG and SVG.
pub(super) struct Names(pub(super) &'static str, pub(super) [&'static str; 2]);

macro_rules! names {
    ($name:literal) => {
        $crate::charts::picture::Names($name, [concat!($name, ".png"), concat!($name, ".svg")])
    };
}
pub(super) use names;

impl<'a> Picture<'a> {
    pub(super) fn new(
        Names(name, files): Names,
        title: String,
        alt: String,
        (width, height): (u32, u32),
        draw: impl Fn(&Area<'_>) -> Drawn + Send + Sync + 'a,
    ) -> Self {
        Self { name, title, alt, width, height, files, draw: Box::new(draw), drawing: OnceLock::new() }
    }

    pub(super) fn drawing(&self) -> Result<&Drawing, Error> {
        let draw = || style::drawing(self.width, self.height, &self.draw).map_err(|error| error.to_string());
        let drawing = self.drawing.get_or_init(draw).as_ref();
        drawing.map_err(|message| Error::Draw { picture: self.name, message: message.clone() })
    }

    /// The bytes of a PNG file.
    ///
    /// # Errors
    /// [`Error::Draw`].
    pub fn png(&self) -> Result<Vec<u8>, Error> {
        let pixels = raster::pixels(self.drawing()?);
        png_file::encoded(&pixels, self.width, self.height)
            .map_err(|error| Error::Draw { picture: self.name, message: error.to_string() })
    }

    /// An element for a page, and its values.
    ///
    /// # Errors
    /// [`Error::Draw`].
    pub fn svg(&self) -> Result<Svg, Error> {
        Ok(Svg::of(self.drawing()?, &self.alt))
    }
}

/// The pictures' files, in their order; drawn by as many threads as there are processors.
///
/// # Errors
/// [`Error::Draw`] naming the picture, [`Error::Interrupted`].
pub fn artifacts(
    pictures: &[Picture<'_>],
    formats: Pictures,
    interrupt: &Interrupt,
) -> Result<Vec<Artifact>, Error> {
    let files_of = |picture: &Picture<'_>| -> Result<Vec<Artifact>, Error> {
        interrupt.check()?;
        let [png, svg] = picture.files;
        let mut files = Vec::new();
        if formats != Pictures::Svg {
            files.push(Artifact { name: png, bytes: picture.png()? });
        }
        if formats != Pictures::Png {
            let text = picture.svg()?.standalone(picture.width, picture.height);
            files.push(Artifact { name: svg, bytes: text.into_bytes() });
        }
        Ok(files)
    };
    let next = Mutex::new(pictures.iter().enumerate());
    let made = Mutex::new(Vec::new());
    let work = || {
        loop {
            let taken = next.lock().ok().and_then(|mut next| next.next());
            let Some((place, picture)) = taken else { return };
            let files = files_of(picture);
            if let Ok(mut made) = made.lock() {
                made.push((place, files));
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(pictures.len());
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    let mut made = made.into_inner().unwrap_or_default();
    made.sort_by_key(|(place, _)| *place);
    let files: Result<Vec<Vec<Artifact>>, Error> = made.into_iter().map(|(_, files)| files).collect();
    Ok(files?.into_iter().flatten().collect())
}
