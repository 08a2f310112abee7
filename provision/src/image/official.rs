//! Debian's own `generic` image: which file it is, what its checksum must be, and how it gets into the cache.

use std::fs;
use std::path::Path;
use std::time::Duration;

use sha2::Sha256;

use super::download::Download;
use super::fetch::{FetchError, Request, ask};
use super::store::{self, DISK, Made, Stored};
use super::wish::{Wish, trimmed};
use super::{BaseImage, ImageError, Origin, digest, qemu_img, sums};
use crate::interrupt::Interrupts;
use crate::progress::Progress;

/// Longest silence of a server. While nothing is there to wait for but another way to get an image, it is not long.
const SILENCE: Duration = Duration::from_secs(30);
/// A checksum file has a few dozen lines.
const SUMS_BYTES_MAX: usize = 1 << 20;

/// Where a release is.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    directory: String,
    file: String,
}

impl Place {
    fn of(wish: &Wish) -> Self {
        let release = &wish.image_release;
        let suffix = if release == "latest" { String::new() } else { format!("-{release}") };
        Self {
            directory: format!("{}/{release}", trimmed(&wish.image_url)),
            file: format!("debian-12-generic-amd64{suffix}.qcow2"),
        }
    }

    fn sums_url(&self) -> String {
        format!("{}/SHA512SUMS", self.directory)
    }
}

/// Downloads the image. The caller holds the lock of its origin.
pub(super) fn fetch(
    wish: &Wish,
    cache_root: &Path,
    interrupts: &Interrupts,
    progress: Progress,
) -> Result<BaseImage, ImageError> {
    let place = Place::of(wish);
    let sha512 = promised(&place, wish, interrupts)?;
    let part = match download(&place, &sha512, cache_root, interrupts, progress) {
        // Perhaps a new image was published between the two requests: then there is a new promise, too.
        Err(wrong @ ImageError::WrongChecksum { .. }) => match promised(&place, wish, interrupts) {
            Ok(newer) if newer != sha512 => {
                progress.note("the image was replaced by a newer one meanwhile: fetching that");
                return adopt(
                    &download(&place, &newer, cache_root, interrupts, progress)?,
                    wish,
                    newer,
                    cache_root,
                    interrupts,
                );
            }
            _ => return Err(wrong),
        },
        other => other?,
    };
    adopt(&part, wish, sha512, cache_root, interrupts)
}

/// The digest that the checksum file promises.
fn promised(place: &Place, wish: &Wish, interrupts: &Interrupts) -> Result<String, ImageError> {
    let url = place.sums_url();
    let request = Request { url: url.clone(), from: 0, version: None };
    let text = ask(request, interrupts, SILENCE).and_then(|answer| answer.text(SUMS_BYTES_MAX));
    let text = text.map_err(|e| match e {
        FetchError::Interrupted(interrupted) => ImageError::Interrupted(interrupted),
        other => ImageError::Unreachable { url: url.clone(), said: other.to_string() },
    })?;
    sums::digest_of(&text, &place.file).ok_or_else(|| ImageError::NotListed {
        sums_url: url,
        file: place.file.clone(),
        base_url: trimmed(&wish.image_url).to_owned(),
    })
}

fn download(
    place: &Place,
    sha512: &str,
    cache_root: &Path,
    interrupts: &Interrupts,
    progress: Progress,
) -> Result<std::path::PathBuf, ImageError> {
    let url = format!("{}/{}", place.directory, place.file);
    let directory = cache_root.join("downloads");
    Download { url: &url, sha512, directory: &directory, silence: SILENCE, interrupts, progress }.run()
}

/// Moves the checked download into the cache.
fn adopt(
    part: &Path,
    wish: &Wish,
    sha512: String,
    cache_root: &Path,
    interrupts: &Interrupts,
) -> Result<BaseImage, ImageError> {
    let info = qemu_img::info(part, interrupts)?;
    let sha256 = digest::of_file::<Sha256>(part, interrupts, None)?;
    let staging = store::staging(cache_root, Origin::Official)?;
    let disk = staging.path().join(DISK);
    fs::rename(part, &disk).map_err(ImageError::io("move the download to", &disk))?;
    let image = BaseImage {
        origin: Origin::Official,
        path: disk,
        format: info.format,
        sha256,
        virtual_bytes: info.virtual_size,
        direct_boot: None,
        grows_in_guest: true,
        what: format!("Debian 12 generic cloud image, {}", wish.image_release),
    };
    let made = Made::Official {
        image_url: trimmed(&wish.image_url).to_owned(),
        release: wish.image_release.clone(),
        sha512,
    };
    store::adopt(cache_root, staging.path(), &Stored::new(image, made))
}

#[cfg(test)]
mod tests {
    use super::super::test_server::{Habit, Server};
    use super::*;
    use crate::image::ImageChoice;
    use sha2::{Digest, Sha512};
    use std::process::Command;

    const FILE: &str = "debian-12-generic-amd64.qcow2";

    fn qcow2(size: &str) -> Vec<u8> {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.qcow2");
        assert!(
            Command::new("qemu-img")
                .args(["create", "-q", "-f", "qcow2"])
                .arg(&path)
                .arg(size)
                .status()
                .unwrap()
                .success()
        );
        fs::read(path).unwrap()
    }

    fn sums(bytes: &[u8], file: &str) -> Vec<u8> {
        let digest: String = Sha512::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{digest}  {file}\n").into_bytes()
    }

    fn serve(image: &[u8], sums: Vec<u8>, habit: Habit) -> (Server, Wish) {
        let files = [(format!("/latest/{FILE}"), image.to_owned()), ("/latest/SHA512SUMS".to_owned(), sums)];
        let server = Server::with_files(files, habit);
        let wish = Wish { image_url: server.url(""), ..Wish::of(ImageChoice::Official) };
        (server, wish)
    }

    fn get(wish: &Wish, cache: &Path) -> Result<BaseImage, ImageError> {
        fs::create_dir_all(store::directory(cache)).unwrap();
        fetch(wish, cache, &Interrupts::catch().unwrap(), Progress { quiet: true })
    }

    #[test]
    fn latest_and_dated_releases_are_named_as_debian_names_them() {
        let latest = Wish::of(ImageChoice::Official);
        assert_eq!(
            Place::of(&latest).sums_url(),
            "https://cloud.debian.org/images/cloud/bookworm/latest/SHA512SUMS"
        );
        assert_eq!(Place::of(&latest).file, FILE);
        let dated = Place::of(&Wish { image_release: "20250530-2128".into(), ..latest });
        assert!(dated.directory.ends_with("/bookworm/20250530-2128"));
        assert_eq!(dated.file, "debian-12-generic-amd64-20250530-2128.qcow2");
    }

    #[test]
    fn a_good_image_is_in_the_cache_afterwards_and_no_part_is_left() {
        let (image, cache) = (qcow2("2G"), tempfile::tempdir().unwrap());
        let (_server, wish) =
            serve(&image, sums(&image, FILE), Habit { cut_after: Some(90_000), ..Habit::good() });
        let got = get(&wish, cache.path()).unwrap();
        assert_eq!((got.virtual_bytes, got.format.as_str(), got.grows_in_guest), (2 << 30, "qcow2", true));
        assert_eq!(fs::read(&got.path).unwrap(), image);
        assert_eq!(fs::read_dir(cache.path().join("downloads")).unwrap().count(), 0);
        let stored = store::stored(cache.path()).into_iter().map(|(_, stored)| stored).collect();
        assert_eq!(wish.best_of(stored).unwrap().image, got);
    }

    #[test]
    fn a_checksum_file_without_the_image_is_said() {
        let (image, cache) = (qcow2("2G"), tempfile::tempdir().unwrap());
        let (_server, wish) = serve(&image, sums(&image, "other.qcow2"), Habit::good());
        let error = get(&wish, cache.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("SHA512SUMS does not list {FILE}")), "{error}");
    }

    #[test]
    fn an_image_replaced_between_the_requests_is_fetched_as_it_is_now() {
        let (old, new, cache) = (qcow2("2G"), qcow2("3G"), tempfile::tempdir().unwrap());
        let habit = Habit { cut_after: Some(90_000), cuts: 1, then: Some(new.clone()), ..Habit::good() };
        let (server, wish) = serve(&old, sums(&old, FILE), habit);
        let newer = sums(&new, FILE);
        server.once_the_image_was_asked_for("/latest/SHA512SUMS", newer);
        assert_eq!(get(&wish, cache.path()).unwrap().virtual_bytes, 3 << 30);
        assert_eq!(fs::read_dir(cache.path().join("downloads")).unwrap().count(), 0);
    }

    #[test]
    fn a_server_without_the_release_is_named() {
        let cache = tempfile::tempdir().unwrap();
        let (_server, wish) = serve(b"", Vec::new(), Habit::good());
        let error =
            get(&Wish { image_release: "20200101-1".into(), ..wish }, cache.path()).unwrap_err().to_string();
        assert!(
            error.contains("/20200101-1/SHA512SUMS cannot be fetched: the server answered 404"),
            "{error}"
        );
    }
}
