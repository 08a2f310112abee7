//! Writing the results: each file is written aside in the same directory, synced, then renamed into place.
//!
//! All files are staged before the first rename, so a full disk or a Ctrl-C leaves the older results as they were.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::Error;
use crate::interrupt::Interrupt;

/// One file to be written.
#[derive(Debug)]
pub struct Artifact {
    /// Its name in the output directory.
    pub name: &'static str,
    /// Its whole content.
    pub bytes: Vec<u8>,
}

/// Writes every artifact into `directory`, creating it if need be, and returns the paths.
///
/// # Errors
/// [`Error::Write`] naming the file or directory, [`Error::Interrupted`]. Either way no temporary file remains, and
/// unless a rename itself failed no earlier result was touched.
pub fn write_all(
    directory: &Path,
    artifacts: &[Artifact],
    interrupt: &Interrupt,
) -> Result<Vec<PathBuf>, Error> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source: io::Error| Error::Write { path, source }
    };
    create_directory(directory)?;

    let mut staged = Vec::with_capacity(artifacts.len());
    for artifact in artifacts {
        interrupt.check()?;
        let path = directory.join(artifact.name);
        let file = stage(directory, &artifact.bytes).map_err(failed(&path))?;
        staged.push((file, path));
    }
    interrupt.check()?;

    let mut written = Vec::with_capacity(staged.len());
    for (file, path) in staged {
        file.persist(&path).map_err(|e| failed(&path)(e.error))?;
        written.push(path);
    }
    File::open(directory).and_then(|d| d.sync_all()).map_err(failed(directory))?;
    Ok(written)
}

/// Makes `directory` unless it is there.
///
/// # Errors
/// [`Error::NotADirectory`], or [`Error::Write`] with what the system said.
pub(crate) fn create_directory(directory: &Path) -> Result<(), Error> {
    if directory.exists() && !directory.is_dir() {
        return Err(Error::NotADirectory { path: directory.into() });
    }
    fs::create_dir_all(directory).map_err(|source| Error::Write { path: directory.into(), source })
}

fn stage(directory: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let mut file = aside(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// An empty file in `directory` that is gone when it is dropped, unless it was given a name.
pub(crate) fn aside(directory: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".analyze-");
    #[cfg(unix)]
    {
        // tempfile's default is 0600; results are ordinary files, subject to the umask.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(name: &'static str, text: &str) -> Artifact {
        Artifact { name, bytes: text.as_bytes().to_vec() }
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn writes_all_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("a/b");
        write_all(&out, &[artifact("x", "1"), artifact("y", "2")], &Interrupt::default()).unwrap();
        assert_eq!(names(&out), ["x", "y"]);
        assert_eq!(fs::read_to_string(out.join("y")).unwrap(), "2");
    }

    #[test]
    fn an_interrupt_leaves_the_older_file_and_no_litter() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x"), "old").unwrap();
        let interrupt = Interrupt::default();
        interrupt.raise();
        let error = write_all(dir.path(), &[artifact("x", "new")], &interrupt).unwrap_err();
        assert!(matches!(error, Error::Interrupted));
        assert_eq!(names(dir.path()), ["x"]);
        assert_eq!(fs::read_to_string(dir.path().join("x")).unwrap(), "old");
    }

    #[test]
    fn a_rename_that_fails_names_its_file_and_leaves_no_litter() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("x/occupied")).unwrap();
        let error = write_all(dir.path(), &[artifact("x", "new")], &Interrupt::default()).unwrap_err();
        assert!(error.to_string().contains("/x: cannot write"), "{error}");
        assert_eq!(names(dir.path()), ["x"]);
    }
}
