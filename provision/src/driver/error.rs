//! Why there is no driver for a guest's kernel.

use std::io;
use std::path::{Path, PathBuf};

use crate::apt::AptError;
use crate::helper::HelperError;
use crate::interrupt::Interrupted;

/// Each as one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The user stopped it.
    #[error(transparent)]
    Interrupted(Interrupted),
    /// No kernel calls itself so.
    #[error(
        "{release:?} is no kernel release, which is what 'uname -r' prints in the guest, such as 6.1.0-28-cloud-amd64"
    )]
    BadRelease {
        /// As given.
        release: String,
    },
    /// A tool that is not installed.
    #[error("building the driver takes {program}: 'apt-get install {package}'")]
    NoProgram {
        /// The program or library.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// The archive has no headers for that kernel, or cannot be reached.
    #[error(
        "no headers for kernel {release}: {source}; when the archive has moved on to a newer one, 'provision clean' \
         lets go of old kernels and images, and the next 'up' has the newer one"
    )]
    NoHeaders {
        /// The kernel's release.
        release: String,
        /// What went wrong.
        source: AptError,
    },
    /// It was not built.
    #[error("the driver does not build for kernel {release}: {said}; all that make said is in {log}")]
    Build {
        /// The kernel's release.
        release: String,
        /// The first complaint.
        said: String,
        /// Everything.
        log: PathBuf,
    },
    /// make did not end, or did not start.
    #[error(transparent)]
    Helper(HelperError),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl From<HelperError> for DriverError {
    fn from(e: HelperError) -> Self {
        match e {
            HelperError::Interrupted(interrupted) => Self::Interrupted(interrupted),
            other => Self::Helper(other),
        }
    }
}

impl DriverError {
    pub(super) fn headers(release: &str) -> impl Fn(AptError) -> Self {
        move |source| match source {
            AptError::Interrupted(interrupted) => Self::Interrupted(interrupted),
            source => Self::NoHeaders { release: release.to_owned(), source },
        }
    }

    pub(super) fn io(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}
