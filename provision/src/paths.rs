//! Where things live: one state directory a VM, one cache for kernels, both below the user's own directories.

use std::ffi::OsString;
use std::path::PathBuf;

/// No directory can be derived from the environment.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("neither {explicit}, {xdg} nor HOME is set: set {explicit} to a directory of yours")]
pub struct NoRoot {
    explicit: &'static str,
    xdg: &'static str,
}

/// Below which each VM has its directory: `$IVSHMEM_STATE_DIR`, else `$XDG_STATE_HOME/ivshmem`, else
/// `~/.local/state/ivshmem`.
///
/// # Errors
/// [`NoRoot`] when none of these is set.
pub fn state_root() -> Result<PathBuf, NoRoot> {
    root("IVSHMEM_STATE_DIR", "XDG_STATE_HOME", ".local/state", |key| std::env::var_os(key))
}

/// Where kernels are kept: `$IVSHMEM_CACHE_DIR`, else `$XDG_CACHE_HOME/ivshmem`, else `~/.cache/ivshmem`.
///
/// # Errors
/// [`NoRoot`] when none of these is set.
pub fn cache_root() -> Result<PathBuf, NoRoot> {
    root("IVSHMEM_CACHE_DIR", "XDG_CACHE_HOME", ".cache", |key| std::env::var_os(key))
}

fn root(
    explicit: &'static str,
    xdg: &'static str,
    below_home: &str,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<PathBuf, NoRoot> {
    let directory = |key: &str| env(key).filter(|value| !value.is_empty()).map(PathBuf::from);
    // The XDG specification has relative values ignored; the other two may be relative to here.
    let found = directory(explicit)
        .or_else(|| directory(xdg).filter(|path| path.is_absolute()).map(|path| path.join("ivshmem")))
        .or_else(|| directory("HOME").map(|home| home.join(below_home).join("ivshmem")))
        .ok_or(NoRoot { explicit, xdg })?;
    // QEMU and the recorded paths outlive this working directory.
    Ok(std::path::absolute(&found).unwrap_or(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(set: &[(&str, &str)]) -> Result<PathBuf, NoRoot> {
        root("IVSHMEM_STATE_DIR", "XDG_STATE_HOME", ".local/state", |key| {
            set.iter().find(|(name, _)| *name == key).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn the_explicit_variable_wins_then_xdg_then_home() {
        let all = [("IVSHMEM_STATE_DIR", "/a"), ("XDG_STATE_HOME", "/b"), ("HOME", "/c")];
        assert_eq!(resolve(&all).unwrap(), PathBuf::from("/a"));
        assert_eq!(resolve(&all[1..]).unwrap(), PathBuf::from("/b/ivshmem"));
        assert_eq!(resolve(&all[2..]).unwrap(), PathBuf::from("/c/.local/state/ivshmem"));
    }

    #[test]
    fn empty_and_relative_xdg_values_do_not_count() {
        let set = [("IVSHMEM_STATE_DIR", ""), ("XDG_STATE_HOME", "rel"), ("HOME", "/c")];
        assert_eq!(resolve(&set).unwrap(), PathBuf::from("/c/.local/state/ivshmem"));
    }

    #[test]
    fn without_any_the_error_names_what_to_set() {
        assert_eq!(
            resolve(&[]).unwrap_err().to_string(),
            "neither IVSHMEM_STATE_DIR, XDG_STATE_HOME nor HOME is set: set IVSHMEM_STATE_DIR to a directory of yours"
        );
    }
}
