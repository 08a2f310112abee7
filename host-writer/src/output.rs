//! Result files that appear whole or not at all, and rows that survive a full disk.
//!
//! Files are written aside, synced and renamed. The space for the rows is allocated before the measurement, so
//! that an unwritable directory or a full disk shows before the first message and not after the last.

use std::fs;
use std::io::{self, BufWriter, Seek as _, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use nix::fcntl::{FallocateFlags, fallocate};
use tempfile::NamedTempFile;

/// A result file that is being prepared.
#[derive(Debug)]
pub struct Pending {
    file: NamedTempFile,
    path: PathBuf,
}

impl Pending {
    /// Prepares `directory/name` with room for `expected_bytes`.
    ///
    /// # Errors
    /// The directory is not there, cannot be written, or has no such room.
    pub fn create(directory: &Path, name: &str, expected_bytes: u64) -> anyhow::Result<Self> {
        let shown = directory.display();
        let file = tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            .permissions(fs::Permissions::from_mode(0o644))
            .tempfile_in(directory)
            .with_context(|| {
                format!("output directory {shown} is not writable; choose another with --out")
            })?;
        // What no file can hold, no disk has room for.
        let length = i64::try_from(expected_bytes.max(1)).unwrap_or(i64::MAX);
        match fallocate(&file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, length) {
            Ok(()) | Err(nix::errno::Errno::EOPNOTSUPP) => {}
            Err(errno) => bail!(
                "no room for {expected_bytes} bytes of results in {shown}: {}; free some space or choose another \
                 directory with --out",
                io::Error::from(errno)
            ),
        }
        Ok(Self { file, path: directory.join(name) })
    }

    /// Writes the content, syncs, and gives the file its name.
    ///
    /// # Errors
    /// The disk filled up all the same: then what was written, up to the last whole line, is kept beside as
    /// `NAME.partial` and the error says so.
    pub fn finish(self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<()> {
        let Self { mut file, path } = self;
        match write_all(&mut file, write) {
            Ok(()) => {
                file.persist(&path)
                    .map_err(|e| e.error)
                    .with_context(|| format!("write {}", path.display()))?;
                Ok(())
            }
            Err(error) => {
                let mut name = path.clone().into_os_string();
                name.push(".partial");
                let partial = PathBuf::from(name);
                keep_whole_lines(file, &partial).with_context(|| {
                    format!("write {}: {error}; and nothing could be kept", path.display())
                })?;
                bail!("write {}: {error}; the rows that fit are in {}", path.display(), partial.display())
            }
        }
    }
}

fn write_all(
    file: &mut NamedTempFile,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffered = BufWriter::new(file.as_file_mut());
    write(&mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    let end = file.as_file_mut().stream_position()?;
    // Gives back what was allocated beyond the content.
    file.as_file().set_len(end)?;
    file.as_file().sync_all()
}

fn keep_whole_lines(file: NamedTempFile, partial: &Path) -> anyhow::Result<()> {
    let content = fs::read(file.path())?;
    let end = content.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
    file.as_file().set_len(end as u64)?;
    file.persist(partial).map_err(|e| e.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let pending = Pending::create(dir.path(), "rows.csv", 1 << 20).unwrap();
        assert!(!dir.path().join("rows.csv").exists());
        pending.finish(|w| w.write_all(b"a\nb\n")).unwrap();
        assert_eq!(fs::read(dir.path().join("rows.csv")).unwrap(), b"a\nb\n");
        drop(Pending::create(dir.path(), "never.csv", 10).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn rows_written_before_an_error_are_kept_up_to_the_last_whole_line() {
        let dir = tempfile::tempdir().unwrap();
        let pending = Pending::create(dir.path(), "rows.csv", 10).unwrap();
        let error = pending
            .finish(|w| {
                w.write_all(b"1,2\n3,4\n5,")?;
                w.flush()?;
                Err(io::Error::from(io::ErrorKind::StorageFull))
            })
            .unwrap_err();
        assert!(error.to_string().contains("rows.csv.partial"), "{error}");
        assert_eq!(fs::read(dir.path().join("rows.csv.partial")).unwrap(), b"1,2\n3,4\n");
        assert!(!dir.path().join("rows.csv").exists());
    }

    #[test]
    fn a_directory_that_cannot_be_is_one_clear_error() {
        let dir = tempfile::tempdir().unwrap();
        let error = Pending::create(&dir.path().join("absent"), "rows.csv", 10).unwrap_err();
        assert!(format!("{error:#}").contains("choose another with --out: "), "{error:#}");
    }
}
