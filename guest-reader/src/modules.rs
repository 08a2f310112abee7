//! Loading kernel modules where there is no modprobe: in the micro guest they lie beside the program, as
//! `/modules/NN-name.ko`, and the numbers are the order in which they depend on each other.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

/// Where the micro guest has its modules.
pub const DIRECTORY: &str = "/modules";
/// Where the kernel lists the modules it has, loaded or built in.
const LOADED: &str = "/sys/module";

/// What interrupts by our own UIO driver need, the driver last.
pub const UIO: &[&str] = &["uio", "ivshmem_uio"];
/// What interrupts by VFIO need, the driver last. Which of the others there are differs between kernels.
pub const VFIO: &[&str] =
    &["irqbypass", "iommufd", "vfio", "vfio_virqfd", "vfio_iommu_type1", "vfio-pci-core", "vfio-pci"];

/// Why a driver is not there.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// There is no such module.
    #[error(
        "the kernel has no module {name} and {} holds none: 'provision up --doorbell' puts it there in a micro guest; \
         in another, load it with 'modprobe {name}' or 'provision deploy --driver'",
        .directory.display()
    )]
    Absent {
        /// Its name.
        name: String,
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// It cannot be read.
    #[error("{}: {error}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// The kernel does not take it.
    #[error("load {}: {errno}{}", .path.display(), advice(*.errno))]
    Refused {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
}

/// What each refusal means (init_module(2)), and what to do about it.
fn advice(errno: Errno) -> &'static str {
    match errno {
        Errno::ENOEXEC => {
            ": it is built for another kernel than the one that runs here; 'provision deploy --driver' builds and loads the \
             right one in a Debian guest, 'provision driver --kernel-release' builds it for what 'uname -r' prints"
        }
        Errno::EKEYREJECTED => {
            ": this kernel takes only signed modules; boot it without secure boot (or module.sig_enforce), or use --wait \
             vfio, which needs none but the kernel's own"
        }
        Errno::EPERM => {
            ": that takes root's rights, no 'nomodule' on the kernel's command line, and for a module that is not signed a \
             kernel that is not locked down (secure boot); --wait vfio needs none but the kernel's own"
        }
        Errno::ENOENT => ": a module it depends on is not loaded; the kernel's log names the symbols",
        _ => "",
    }
}

/// Loads those of `names` that lie in `directory`, in the order of their numbers. The last of `names`, the driver,
/// has to be there or in the kernel already. Loading what is loaded is fine.
///
/// # Errors
/// [`ModuleError`].
pub fn load(directory: &Path, names: &[&str]) -> Result<(), ModuleError> {
    let modules = present(directory, names)?;
    if let Some(driver) = names.last()
        && !modules.iter().any(|(name, _)| name == driver)
        && !is_loaded(Path::new(LOADED), driver)
    {
        return Err(ModuleError::Absent { name: (*driver).to_owned(), directory: directory.to_owned() });
    }
    for (_, path) in modules {
        let file = File::open(&path).map_err(|error| ModuleError::Io { path: path.clone(), error })?;
        match finit_module(&file, c"", ModuleInitFlags::empty()) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(ModuleError::Refused { path, errno }),
        }
    }
    Ok(())
}

/// Whether the kernel has it. It writes every module's name with underscores.
fn is_loaded(list: &Path, name: &str) -> bool {
    list.join(name.replace('-', "_")).exists()
}

/// The modules of these names, with their files, in loading order. A directory that is absent holds none.
fn present(directory: &Path, names: &[&str]) -> Result<Vec<(String, PathBuf)>, ModuleError> {
    let failed = |error| ModuleError::Io { path: directory.to_owned(), error };
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut numbered: Vec<(u32, String, PathBuf)> = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let parts = file.strip_suffix(".ko").and_then(|stem| stem.split_once('-'));
        if let Some((number, name)) = parts
            && let Ok(number) = number.parse()
            && names.contains(&name)
        {
            numbered.push((number, name.to_owned(), path.clone()));
        }
    }
    numbered.sort();
    Ok(numbered.into_iter().map(|(_, name, path)| (name, path)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for file in files {
            fs::write(directory.path().join(file), "").unwrap();
        }
        directory
    }

    #[test]
    fn the_wanted_ones_come_in_the_order_of_their_numbers() {
        let files =
            ["10-vfio-pci.ko", "09-vfio-pci-core.ko", "02-vfio.ko", "00-uio.ko", "vfio.ko", "03-vfio.txt"];
        let directory = directory(&files);
        let found = present(directory.path(), VFIO).unwrap();
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["vfio", "vfio-pci-core", "vfio-pci"]);
        assert_eq!(found[0].1, directory.path().join("02-vfio.ko"));
    }

    #[test]
    fn a_driver_that_is_nowhere_is_named_before_anything_is_loaded() {
        let directory = directory(&["00-uio.ko"]);
        let error = load(directory.path(), &["uio", "no-such-driver"]).unwrap_err().to_string();
        assert!(error.starts_with("the kernel has no module no-such-driver and "), "{error}");
        let absent = load(Path::new("/nonexistent"), &["no-such-driver"]).unwrap_err().to_string();
        assert!(absent.contains("/nonexistent holds none"), "{absent}");
    }

    #[test]
    fn a_loaded_driver_is_known_by_the_kernels_spelling() {
        let list = tempfile::tempdir().unwrap();
        fs::create_dir(list.path().join("vfio_pci")).unwrap();
        assert!(is_loaded(list.path(), "vfio-pci") && !is_loaded(list.path(), "vfio"));
    }

    #[test]
    fn refusals_say_what_they_mean() {
        let refused =
            |errno| ModuleError::Refused { path: "/modules/01-ivshmem_uio.ko".into(), errno }.to_string();
        let lines =
            [Errno::ENOEXEC, Errno::EKEYREJECTED, Errno::EPERM, Errno::ENOENT, Errno::ENOMEM].map(refused);
        insta::assert_snapshot!(lines.join("\n"));
    }
}
