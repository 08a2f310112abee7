//! How probes look at the machine: files below a root that tests replace, and programs run through PATH under
//! Ctrl-C and a deadline. Whatever is absent or fails is an answer, never an error; only Ctrl-C ends a probe.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::helper::{self, HelperError};
use crate::interrupt::{Interrupted, Interrupts};
use crate::qemu::binary;

/// Longest a program may take that only tells about itself; also on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// The machine looked at.
#[derive(Debug)]
pub struct Host<'a> {
    /// Where `/proc`, `/sys` and `/etc` begin.
    pub root: PathBuf,
    /// Ctrl-C.
    pub interrupts: &'a Interrupts,
}

impl Host<'_> {
    /// A path of the machine, such as `proc/cpuinfo`, below the root.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// The text of a file without the white space around it; `None` when it is absent, unreadable or empty.
    pub fn read(&self, relative: &str) -> Option<String> {
        let bytes = fs::read(self.path(relative)).ok()?;
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }

    /// A file that holds one number.
    pub fn number(&self, relative: &str) -> Option<u64> {
        self.read(relative)?.parse().ok()
    }

    /// The names in a directory, sorted; none when it is absent.
    pub fn list(&self, relative: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(relative)).into_iter().flatten();
        let mut names: Vec<String> = entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Where PATH has a program.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        binary::find(Path::new(name)).ok()
    }

    /// What a program prints, or why it does not.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn ask(&self, program: &Path, args: &[&str]) -> Result<Result<String, String>, Interrupted> {
        match helper::run(Command::new(program).args(args), self.interrupts, PATIENCE) {
            Ok(text) => Ok(Ok(text)),
            Err(HelperError::Interrupted(interrupted)) => Err(interrupted),
            Err(e) => Ok(Err(e.to_string())),
        }
    }
}

/// A number of bytes for people: two digits are enough to see whether it suffices.
pub(super) fn about(bytes: u64) -> String {
    let units = [(1_u64 << 30, "GiB"), (1 << 20, "MiB")];
    let (unit_bytes, unit) = units.into_iter().find(|(unit, _)| bytes >= *unit).unwrap_or((1 << 10, "KiB"));
    let value = bytes as f64 / unit_bytes as f64;
    // Rounded down: 1.99 GiB are not 2.
    if value < 10.0 {
        format!("{} {unit}", (value * 10.0).floor() / 10.0)
    } else {
        format!("{} {unit}", value.floor())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A machine made of the given files, for probes.
    pub(crate) fn made_of(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn sizes_are_rounded_down() {
        let sizes = [0, 1500, 65 << 20, (2 << 30) - 1, 2 << 30, 25 << 30].map(about);
        assert_eq!(sizes, ["0 KiB", "1.4 KiB", "65 MiB", "1.9 GiB", "2 GiB", "25 GiB"]);
    }

    #[test]
    fn what_is_absent_is_no_error() {
        let interrupts = Interrupts::catch().unwrap();
        let root = made_of(&[("sys/a", " 7\n"), ("sys/b", "\n")]);
        let host = Host { root: root.path().to_owned(), interrupts: &interrupts };
        assert_eq!((host.number("sys/a"), host.read("sys/b"), host.read("sys/c")), (Some(7), None, None));
        assert_eq!((host.list("sys"), host.list("proc")), (vec!["a".to_owned(), "b".to_owned()], vec![]));
        let said = host.ask(Path::new("/nonexistent/program"), &[]).unwrap().unwrap_err();
        assert!(said.starts_with("/nonexistent/program does not start"), "{said}");
    }

    #[test]
    fn programs_answer_with_what_they_print_or_their_last_words() {
        let interrupts = Interrupts::catch().unwrap();
        let host = Host { root: "/".into(), interrupts: &interrupts };
        let shell = host.program("sh").unwrap();
        assert_eq!(host.ask(&shell, &["-c", "echo yes"]).unwrap(), Ok("yes\n".to_owned()));
        let said = host.ask(&shell, &["-c", "echo no >&2; false"]).unwrap().unwrap_err();
        assert!(said.ends_with("failed (exit status: 1): no"), "{said}");
    }
}
