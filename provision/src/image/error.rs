//! Every way of not having an image, each as one line that says what to do.

use std::io;
use std::path::{Path, PathBuf};

use crate::helper::HelperError;
use crate::interrupt::Interrupted;

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The user stopped it.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The operating system refuses.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A program is not installed.
    #[error("{program} is not installed: install it with 'apt-get install {package}'")]
    NoProgram {
        /// The program.
        program: String,
        /// The Debian package that holds it.
        package: &'static str,
    },
    /// A program failed.
    #[error(transparent)]
    Helper(HelperError),
    /// The server does not give the file.
    #[error(
        "{url} cannot be fetched: {said}; name a copy with --image-url URL, or have an image built with --image mirror"
    )]
    Unreachable {
        /// The file.
        url: String,
        /// What went wrong.
        said: String,
    },
    /// The checksum file does not list the image.
    #[error(
        "{sums_url} does not list {file}: is --image-release right? {base_url} shows which releases there are"
    )]
    NotListed {
        /// The checksum file.
        sums_url: String,
        /// The image's name.
        file: String,
        /// The directory of all releases.
        base_url: String,
    },
    /// The download is not what the checksum file promises.
    #[error(
        "{url} is not what its SHA512SUMS promises: expected {}..., got {}...; it was removed: try again, or have an \
         image built with --image mirror",
        short(.expected), short(.got)
    )]
    WrongChecksum {
        /// The file.
        url: String,
        /// The digest promised.
        expected: String,
        /// The digest it has.
        got: String,
    },
    /// No space left.
    #[error(
        "no space left in {path} while the image was being made: free some, or set {variable} to a directory elsewhere"
    )]
    Full {
        /// The directory that is full.
        path: PathBuf,
        /// What moves it.
        variable: &'static str,
    },
    /// An ordinary user may not build.
    #[error(
        "an image cannot be built by this user ({said}): have 'apt-get install uidmap' and an entry in /etc/subuid and \
         /etc/subgid ('usermod --add-subuids {ids} --add-subgids {ids} {user}'), or run as root"
    )]
    NoNamespace {
        /// What unshare or the kernel said.
        said: String,
        /// Who lacks the entry.
        user: String,
        /// A range of ids that nobody has.
        ids: String,
    },
    /// The package mirror cannot be used.
    #[error(
        "the image cannot be built because packages cannot be fetched: {said}; is the mirror reachable? --mirror URL names another"
    )]
    MirrorUnreachable {
        /// apt's words.
        said: String,
    },
    /// The build failed for another reason.
    #[error("the image cannot be built: {said}; the whole of what mmdebstrap said is in {log}")]
    Build {
        /// The last complaint.
        said: String,
        /// Where all of it is.
        log: PathBuf,
    },
    /// The user's file cannot be used.
    #[error("image {path} {why}")]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What it is, and what to do.
        why: String,
    },
    /// The image below a disk is not there any more.
    #[error(
        "the VM's disk lies upon image {path}, which {why}: put that image back, or start over with 'provision up --fresh'"
    )]
    Gone {
        /// Where it was.
        path: PathBuf,
        /// `is gone` or `has changed`.
        why: &'static str,
    },
    /// A disk smaller than its image.
    #[error(
        "--disk {asked}: the image holds a disk of {least}, and a VM's disk cannot be smaller; write --disk {least_flag} or more"
    )]
    DiskTooSmall {
        /// The size asked for.
        asked: crate::size::Bytes,
        /// The image's.
        least: crate::size::Bytes,
        /// The same as the flag takes it.
        least_flag: String,
    },
}

impl ImageError {
    /// For `map_err`: what was tried, on which file.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull => Self::cache_full(path),
            _ => Self::Io { action, path: path.to_owned(), source },
        }
    }

    pub(crate) fn cache_full(path: &Path) -> Self {
        Self::Full { path: path.to_owned(), variable: "IVSHMEM_CACHE_DIR" }
    }

    /// A helper's failure; `package` is what to install when it is absent.
    pub(crate) fn helper(package: &'static str) -> impl FnOnce(HelperError) -> Self {
        move |e| match e {
            HelperError::Interrupted(interrupted) => Self::Interrupted(interrupted),
            HelperError::Start { program, source } if source.kind() == io::ErrorKind::NotFound => {
                Self::NoProgram { program, package }
            }
            other => Self::Helper(other),
        }
    }
}

fn short(digest: &str) -> &str {
    digest.get(..16).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::size::Bytes;

    #[test]
    fn each_line_says_what_to_do() {
        let lines = [
            ImageError::NoProgram { program: "mmdebstrap".into(), package: "mmdebstrap" },
            ImageError::Unreachable {
                url: "http://127.0.0.1/SHA512SUMS".into(),
                said: "it answered 404".into(),
            },
            ImageError::NotListed {
                sums_url: "http://127.0.0.1/latest/SHA512SUMS".into(),
                file: "debian.qcow2".into(),
                base_url: "http://127.0.0.1".into(),
            },
            ImageError::WrongChecksum {
                url: "http://127.0.0.1/a".into(),
                expected: "a".repeat(128),
                got: "b".repeat(128),
            },
            ImageError::cache_full(Path::new("/cache")),
            ImageError::NoNamespace {
                said: "Operation not permitted".into(),
                user: "ann".into(),
                ids: "100000-165535".into(),
            },
            ImageError::MirrorUnreachable { said: "Could not connect to 127.0.0.1:9".into() },
            ImageError::Build { said: "E: dpkg failed".into(), log: "/cache/images/build.log".into() },
            ImageError::BadFile {
                path: "/a".into(),
                why: "is a directory: name the image file in it".into(),
            },
            ImageError::Gone { path: "/a".into(), why: "is gone" },
            ImageError::DiskTooSmall {
                asked: Bytes(1 << 30),
                least: Bytes(20 << 30),
                least_flag: "20G".into(),
            },
        ]
        .map(|error| error.to_string());
        insta::assert_snapshot!(lines.join("\n"));
    }
}
