//! Where QEMU is.

use std::env;
use std::path::{Path, PathBuf};

/// The program looked for when none is named.
pub const DEFAULT: &str = "qemu-system-x86_64";

/// There is no such program.
#[derive(Debug, thiserror::Error)]
#[error(
    "QEMU is not there: no {} {}; install it with 'apt-get install qemu-system-x86', or name it with --qemu PATH",
    .program.display(), if .program.components().count() > 1 { "exists" } else { "in PATH" }
)]
pub struct NoQemu {
    /// What was looked for.
    pub program: PathBuf,
}

/// Finds `program` as a shell would: as a path when it has a slash, else in PATH.
///
/// # Errors
/// [`NoQemu`].
pub fn find(program: &Path) -> Result<PathBuf, NoQemu> {
    find_in(program, &env::var_os("PATH").unwrap_or_default())
}

fn find_in(program: &Path, search: &std::ffi::OsStr) -> Result<PathBuf, NoQemu> {
    let candidates: Vec<PathBuf> = if program.components().count() > 1 {
        vec![program.to_owned()]
    } else {
        env::split_paths(search)
            .filter(|directory| directory.is_absolute())
            .map(|d| d.join(program))
            .collect()
    };
    let found = candidates.into_iter().find(|path| path.is_file());
    let absolute = found.and_then(|path| std::path::absolute(path).ok());
    absolute.ok_or_else(|| NoQemu { program: program.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_in_the_search_path_or_by_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("qemu-x");
        std::fs::write(&program, "").unwrap();
        assert_eq!(find_in(Path::new("qemu-x"), directory.path().as_os_str()).unwrap(), program);
        assert_eq!(find_in(&program, "".as_ref()).unwrap(), program);
    }

    #[test]
    fn absence_names_the_package() {
        let error = find_in(Path::new("qemu-x"), "/nonexistent".as_ref()).unwrap_err().to_string();
        assert!(error.starts_with("QEMU is not there: no qemu-x in PATH; install it with"), "{error}");
        let error = find_in(Path::new("/no/qemu-x"), "".as_ref()).unwrap_err().to_string();
        assert!(error.starts_with("QEMU is not there: no /no/qemu-x exists; install"), "{error}");
    }
}
