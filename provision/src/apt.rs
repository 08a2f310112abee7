//! Debian packages without installing them: apt resolves, downloads and checks them against the archive's signatures,
//! and what is needed of them is unpacked. An ordinary user can do all of it.
//!
//! The machine's own package lists are tried first. When they are absent, or so old that the package they name is
//! gone from the mirror, lists of our own are fetched.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::helper::{HelperError, run, run_pair};
use crate::interrupt::{Interrupted, Interrupts};

/// Longest a single apt or dpkg command may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Why a package was not had.
#[derive(Debug, thiserror::Error)]
pub enum AptError {
    /// The user stopped it.
    #[error(transparent)]
    Interrupted(Interrupted),
    /// A program failed or is absent.
    #[error(transparent)]
    Helper(HelperError),
    /// apt knows no such package.
    #[error(
        "{package} is not in the package lists of this machine: is a Debian archive in /etc/apt/sources.list?"
    )]
    NoCandidate {
        /// The package.
        package: String,
    },
    /// A file cannot be written.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl From<HelperError> for AptError {
    fn from(e: HelperError) -> Self {
        match e {
            HelperError::Interrupted(interrupted) => Self::Interrupted(interrupted),
            other => Self::Helper(other),
        }
    }
}

impl AptError {
    pub(crate) fn io(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}

/// Which archives lists of our own are fetched from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sources<'a> {
    /// All that this machine uses.
    Machine,
    /// These lines of a sources.list, and no others.
    Lines(&'a [String]),
}

/// apt, with the machine's package lists or with lists of our own.
pub(crate) struct Apt<'a> {
    options: Vec<String>,
    interrupts: &'a Interrupts,
}

/// Does `work` with the machine's lists, and if that fails with lists of our own below `directory`: what goes wrong
/// with those is what is told.
pub(crate) fn with_lists<T>(
    directory: &Path,
    sources: Sources<'_>,
    interrupts: &Interrupts,
    work: impl Fn(&Apt<'_>) -> Result<T, AptError>,
) -> Result<T, AptError> {
    match work(&Apt { options: Vec::new(), interrupts }) {
        Err(AptError::Interrupted(interrupted)) => Err(AptError::Interrupted(interrupted)),
        Err(_) => work(&Apt::private(directory, sources, interrupts)?),
        done => done,
    }
}

impl<'a> Apt<'a> {
    /// With lists of our own, fetched now.
    fn private(directory: &Path, sources: Sources<'_>, interrupts: &'a Interrupts) -> Result<Self, AptError> {
        let options = private_lists(directory, sources).map_err(AptError::io(directory))?;
        let apt = Self { options, interrupts };
        let mut update = Command::new("apt-get");
        update.args(&apt.options).arg("update").args(["-o", "APT::Update::Error-Mode=any"]);
        run(&mut update, interrupts, PATIENCE)?;
        Ok(apt)
    }

    /// The packages that `package` cannot do without.
    pub(crate) fn depends(&self, package: &str) -> Result<Vec<String>, AptError> {
        let mut depends = Command::new("apt-cache");
        depends.args(&self.options).args(["depends", "--important", package]);
        Ok(dependencies(&run(&mut depends, self.interrupts, PATIENCE)?))
    }

    /// Downloads `package` into `directory`, which holds no other.
    pub(crate) fn download(&self, package: &str, directory: &Path) -> Result<PathBuf, AptError> {
        let io = AptError::io(directory);
        fs::create_dir_all(directory).map_err(&io)?;
        let mut get = Command::new("apt-get");
        get.args(&self.options).args(["-o", "APT::Sandbox::User=root", "download"]).arg(package);
        run(get.current_dir(directory), self.interrupts, PATIENCE)?;
        fs::read_dir(directory)
            .map_err(&io)?
            .filter_map(|entry| entry.ok().map(|e| e.path()))
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .ok_or_else(|| io(io::Error::other("apt-get download left no package")))
    }
}

/// Options that give apt lists and a cache of its own below `directory`, so that it needs no rights.
fn private_lists(directory: &Path, sources: Sources<'_>) -> io::Result<Vec<String>> {
    fs::create_dir_all(directory.join("lists/partial"))?;
    fs::create_dir_all(directory.join("cache/archives/partial"))?;
    let shown = directory.display();
    let mut settings = vec![
        format!("Dir::State::lists={shown}/lists"),
        format!("Dir::Cache={shown}/cache"),
        // apt run by root would otherwise download as a user who may not write here.
        "APT::Sandbox::User=root".to_owned(),
        "Acquire::Languages=none".to_owned(),
    ];
    if let Sources::Lines(lines) = sources {
        fs::write(directory.join("sources.list"), lines.join("\n") + "\n")?;
        settings.push(format!("Dir::Etc::sourcelist={shown}/sources.list"));
        settings.push("Dir::Etc::sourceparts=-".to_owned());
    }
    Ok(settings.into_iter().flat_map(|setting| ["-o".to_owned(), setting]).collect())
}

/// The packages named in what `apt-cache depends` prints.
fn dependencies(answer: &str) -> Vec<String> {
    let names = answer.lines().filter_map(|line| line.trim().strip_prefix("Depends:"));
    names.map(|name| name.trim().to_owned()).filter(|name| !name.starts_with('<')).collect()
}

/// Unpacks all of a package into `directory`.
pub(crate) fn unpack(package: &Path, directory: &Path, interrupts: &Interrupts) -> Result<(), AptError> {
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.arg("--extract").arg(package).arg(directory);
    run(&mut dpkg, interrupts, PATIENCE)?;
    Ok(())
}

/// Runs tar on the package's files with these arguments. tar may stop before it has seen all of them, and dpkg-deb
/// then ends with a broken pipe, so only tar is asked for success.
pub(crate) fn tar(
    package: &Path,
    arguments: &[&str],
    directory: &Path,
    interrupts: &Interrupts,
) -> Result<(), AptError> {
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.arg("--fsys-tarfile").arg(package);
    let mut tar = Command::new("tar");
    tar.arg("--extract").arg("--directory").arg(directory).args(arguments).stdout(Stdio::null());
    Ok(run_pair(&mut dpkg, &mut tar, interrupts, PATIENCE)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_out_of_apts_answer() {
        let answer = "linux-headers-x\n  Depends: linux-kbuild-x\n |Depends: a\n  Depends: <virtual>\n  Recommends: b\n";
        assert_eq!(dependencies(answer), ["linux-kbuild-x"]);
        assert!(dependencies("linux-image-cloud-amd64\n").is_empty());
    }

    #[test]
    fn private_lists_stay_below_their_directory() {
        let root = tempfile::tempdir().unwrap();
        let options = private_lists(&root.path().join("apt"), Sources::Machine).unwrap();
        assert!(root.path().join("apt/lists/partial").is_dir());
        assert!(options.contains(&format!("Dir::State::lists={}/apt/lists", root.path().display())));
        assert_eq!(options.iter().filter(|option| *option == "-o").count() * 2, options.len());
        assert!(!options.iter().any(|option| option.starts_with("Dir::Etc")));
    }

    #[test]
    fn archives_of_our_own_take_the_place_of_the_machines() {
        let root = tempfile::tempdir().unwrap();
        let lines = ["deb http://m/debian bookworm main".to_owned()];
        let options = private_lists(root.path(), Sources::Lines(&lines)).unwrap();
        assert!(options.contains(&"Dir::Etc::sourceparts=-".to_owned()), "{options:?}");
        let written = fs::read_to_string(root.path().join("sources.list")).unwrap();
        assert_eq!(written, "deb http://m/debian bookworm main\n");
    }
}
