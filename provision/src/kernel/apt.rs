//! Fetching the cloud kernel through apt, as an ordinary user: apt resolves, downloads and checks the package
//! against the archive's signatures; only the kernel image is unpacked from it, nothing is installed.
//!
//! The machine's own package lists are tried first. When they are absent, or so old that the package they name is
//! gone from the mirror, lists of our own are fetched below the cache.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::image::{self, ImageError, KernelImage};
use super::{PACKAGE, cache};
use crate::helper::{HelperError, run, run_pair};
use crate::interrupt::{Interrupted, Interrupts};

/// Longest a single apt or dpkg command may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Why the kernel was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The user stopped it.
    #[error(transparent)]
    Interrupted(Interrupted),
    /// A program failed or is absent.
    #[error("{PACKAGE} could not be fetched: {0}")]
    Helper(HelperError),
    /// apt knows no such package.
    #[error(
        "{PACKAGE} is not in the package lists of this machine: is a Debian archive in /etc/apt/sources.list?"
    )]
    NoCandidate,
    /// The package held no kernel.
    #[error("the downloaded {PACKAGE} held no usable kernel: {0}")]
    NoKernel(ImageError),
    /// The cache cannot be written.
    #[error("kernel cache {path}: {source}")]
    Cache {
        /// The cache.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl From<HelperError> for FetchError {
    fn from(e: HelperError) -> Self {
        match e {
            HelperError::Interrupted(interrupted) => Self::Interrupted(interrupted),
            other => Self::Helper(other),
        }
    }
}

/// Downloads the kernel's package and puts its image into the cache at `directory`.
pub(super) fn fetch(directory: &Path, interrupts: &Interrupts) -> Result<KernelImage, FetchError> {
    let io = |source| FetchError::Cache { path: directory.to_owned(), source };
    let staging = cache::staging(directory).map_err(io)?;
    let package = match download(&[], staging.path(), interrupts) {
        Ok(package) => package,
        Err(FetchError::Interrupted(interrupted)) => return Err(FetchError::Interrupted(interrupted)),
        // No lists, or lists older than the mirror: have lists of our own, and say what goes wrong with those.
        Err(_) => {
            let lists = private_lists(&staging.path().join("apt")).map_err(io)?;
            let mut update = Command::new("apt-get");
            update.args(&lists).arg("update").args(["-o", "APT::Update::Error-Mode=any"]);
            run(&mut update, interrupts, PATIENCE)?;
            download(&lists, staging.path(), interrupts)?
        }
    };
    let staged = cache::staged_image(staging.path()).map_err(io)?;
    unpack(&package, &staged, interrupts).map_err(|e| match e {
        Unpack::Helper(e) => FetchError::from(e),
        Unpack::Io(e) => io(e),
    })?;
    image::inspect(&staged).map_err(FetchError::NoKernel)?;
    let name = package.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let path = cache::adopt(directory, staging.path(), &name).map_err(io)?;
    image::inspect(&path).map_err(FetchError::NoKernel)
}

/// Options that give apt lists and a cache of its own below `directory`, so that it needs no rights.
fn private_lists(directory: &Path) -> io::Result<Vec<String>> {
    fs::create_dir_all(directory.join("lists/partial"))?;
    fs::create_dir_all(directory.join("cache/archives/partial"))?;
    let shown = directory.display();
    let settings = [
        format!("Dir::State::lists={shown}/lists"),
        format!("Dir::Cache={shown}/cache"),
        // apt run by root would otherwise download as a user who may not write here.
        "APT::Sandbox::User=root".to_owned(),
        "Acquire::Languages=none".to_owned(),
    ];
    Ok(settings.into_iter().flat_map(|setting| ["-o".to_owned(), setting]).collect())
}

fn download(options: &[String], directory: &Path, interrupts: &Interrupts) -> Result<PathBuf, FetchError> {
    let mut depends = Command::new("apt-cache");
    depends.args(options).args(["depends", "--important", PACKAGE]);
    let output = run(&mut depends, interrupts, PATIENCE)?;
    let package = current_kernel(&output).ok_or(FetchError::NoCandidate)?;
    let mut get = Command::new("apt-get");
    get.args(options).args(["-o", "APT::Sandbox::User=root", "download"]).arg(package).current_dir(directory);
    run(&mut get, interrupts, PATIENCE)?;
    let io = |source| FetchError::Cache { path: directory.to_owned(), source };
    let entries = fs::read_dir(directory).map_err(io)?;
    entries
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .ok_or_else(|| io(io::Error::other("apt-get download left no package")))
}

/// The versioned kernel package in what `apt-cache depends` prints.
fn current_kernel(depends: &str) -> Option<&str> {
    depends
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends:"))
        .map(str::trim)
        .find(|package| package.starts_with("linux-image-") && package.ends_with("-cloud-amd64"))
}

enum Unpack {
    Helper(HelperError),
    Io(io::Error),
}

/// Writes the package's `/boot/vmlinuz-*` to `image`. tar stops after the first match, which comes early in the
/// package; dpkg-deb then ends with a broken pipe, so only tar is asked for success.
fn unpack(package: &Path, image: &Path, interrupts: &Interrupts) -> Result<(), Unpack> {
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.arg("--fsys-tarfile").arg(package);
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--to-stdout", "--occurrence=1", "--wildcards", "./boot/vmlinuz-*"]);
    tar.stdout(Stdio::from(fs::File::create(image).map_err(Unpack::Io)?));
    run_pair(&mut dpkg, &mut tar, interrupts, PATIENCE).map_err(Unpack::Helper)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versioned_package_is_read_out_of_apts_answer() {
        let answer = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-28-cloud-amd64\n";
        assert_eq!(current_kernel(answer), Some("linux-image-6.1.0-28-cloud-amd64"));
    }

    #[test]
    fn other_dependencies_and_empty_answers_are_none() {
        for answer in
            ["", "linux-image-cloud-amd64\n", "x\n  Depends: linux-headers-6.1\n |Depends: <virtual>\n"]
        {
            assert_eq!(current_kernel(answer), None, "{answer:?}");
        }
    }

    #[test]
    fn private_lists_stay_below_their_directory() {
        let root = tempfile::tempdir().unwrap();
        let options = private_lists(&root.path().join("apt")).unwrap();
        assert!(root.path().join("apt/lists/partial").is_dir());
        assert!(options.contains(&format!("Dir::State::lists={}/apt/lists", root.path().display())));
        assert_eq!(options.iter().filter(|option| *option == "-o").count() * 2, options.len());
    }
}
