//! The image a wish comes down to: one in the cache, or one made now.

use std::path::Path;

use super::store::{self, Stored};
use super::wish::Wish;
use super::{BaseImage, ImageChoice, ImageError, Origin, file, mirror, official, turn};
use crate::interrupt::Interrupts;
use crate::progress::Progress;

/// Gets the image that `wish` asks for, below `cache_root`.
///
/// # Errors
/// [`ImageError`]; what was begun is gone, but for the part of a download, which the next one continues.
pub fn obtain(
    wish: &Wish,
    cache_root: &Path,
    interrupts: &Interrupts,
    progress: Progress,
) -> Result<BaseImage, ImageError> {
    if let ImageChoice::File(path) = &wish.choice {
        return file::open(path, cache_root, interrupts, progress);
    }
    if let Some(image) = cached(wish, cache_root) {
        return Ok(image);
    }
    let make = |origin| make(origin, wish, cache_root, interrupts, progress);
    match wish.choice {
        ImageChoice::Official => make(Origin::Official),
        ImageChoice::Mirror | ImageChoice::File(_) => make(Origin::Mirror),
        ImageChoice::Auto => match make(Origin::Official) {
            Err(e @ (ImageError::Interrupted(_) | ImageError::Full { .. })) => Err(e),
            Err(e) => {
                progress.note(&format!(
                    "official image not to be had ({}): building one from the package mirror",
                    reason(&e)
                ));
                make(Origin::Mirror)
            }
            image => image,
        },
    }
}

fn cached(wish: &Wish, cache_root: &Path) -> Option<BaseImage> {
    let all: Vec<Stored> = store::stored(cache_root).into_iter().map(|(_, stored)| stored).collect();
    wish.best_of(all).map(|stored| stored.image)
}

fn make(
    origin: Origin,
    wish: &Wish,
    cache_root: &Path,
    interrupts: &Interrupts,
    progress: Progress,
) -> Result<BaseImage, ImageError> {
    let _turn = turn::take(cache_root, origin, interrupts, progress)?;
    // Whoever had it before us may have made just what we want.
    if let Some(image) = cached(wish, cache_root) {
        return Ok(image);
    }
    match origin {
        Origin::Official => official::fetch(wish, cache_root, interrupts, progress),
        Origin::Mirror | Origin::File => mirror::build(wish, cache_root, interrupts, progress),
    }
}

/// Why, without the advice to do what is done next anyway.
fn reason(e: &ImageError) -> String {
    match e {
        ImageError::Unreachable { url, said } => format!("{url}: {said}"),
        other => other.to_string(),
    }
}

/// Makes sure that the image below a VM's disk is still there, and still what it was when the disk was made.
///
/// # Errors
/// [`ImageError::Gone`], naming the image.
pub fn confirm(
    base: &BaseImage,
    cache_root: &Path,
    interrupts: &Interrupts,
    progress: Progress,
) -> Result<(), ImageError> {
    let gone = |why| ImageError::Gone { path: base.path.clone(), why };
    if !base.path.is_file() {
        return Err(gone("is gone"));
    }
    let same = match base.origin {
        Origin::File => file::open(&base.path, cache_root, interrupts, progress)?.sha256 == base.sha256,
        // Images in the cache are named by their digest and read-only: the name will do.
        Origin::Mirror | Origin::Official => base
            .path
            .parent()
            .and_then(Path::file_name)
            .and_then(|name| name.to_str())
            .is_some_and(|name| base.sha256.get(..16).is_some_and(|digest| name.ends_with(digest))),
    };
    if same { Ok(()) } else { Err(gone("has changed")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const QUIET: Progress = Progress { quiet: true };

    #[test]
    fn a_file_below_a_disk_must_be_there_and_the_same() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("disk.raw");
        fs::write(&path, vec![1; 2 << 20]).unwrap();
        let interrupts = Interrupts::catch().unwrap();
        let wish = Wish::of(ImageChoice::File(path.clone()));
        let base = obtain(&wish, root.path(), &interrupts, QUIET).unwrap();
        confirm(&base, root.path(), &interrupts, QUIET).unwrap();
        fs::write(&path, vec![2; 2 << 20]).unwrap();
        let changed = confirm(&base, root.path(), &interrupts, QUIET).unwrap_err().to_string();
        assert!(changed.contains("which has changed: put that image back"), "{changed}");
        fs::remove_file(&path).unwrap();
        let gone = confirm(&base, root.path(), &interrupts, QUIET).unwrap_err().to_string();
        assert!(gone.contains("which is gone: put that image back, or start over with"), "{gone}");
    }

    #[test]
    fn an_unreachable_image_host_is_an_error_for_official() {
        let root = tempfile::tempdir().unwrap();
        let wish = Wish { image_url: "http://127.0.0.1:9".into(), ..Wish::of(ImageChoice::Official) };
        let error = obtain(&wish, root.path(), &Interrupts::catch().unwrap(), QUIET).unwrap_err().to_string();
        assert!(error.starts_with("http://127.0.0.1:9/latest/SHA512SUMS cannot be fetched: "), "{error}");
    }
}
