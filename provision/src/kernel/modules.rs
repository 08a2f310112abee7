//! Modules of the cached kernel, for guests that have no file system to take them from: kept beside its image, as
//! `<cache>/kernels/<package and version>/modules/*.ko`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::image::KernelImage;
use super::{FetchError, KernelError, kernels};
use crate::apt::{self, AptError, Sources};
use crate::cache::{adopt, staging};
use crate::helper::run;
use crate::interrupt::Interrupts;

const DIRECTORY: &str = "modules";
/// What is kept, as tar's patterns, in which `*` matches any directories: what a driver of ivshmem in user space needs.
const KEPT: [&str; 3] =
    ["*/kernel/drivers/uio/uio.ko*", "*/kernel/drivers/vfio/*.ko*", "*/kernel/virt/lib/irqbypass.ko*"];
/// Longest that unpacking a few files takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A kernel module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelModule {
    /// Its file's name without `.ko`.
    pub name: String,
    /// The file's bytes.
    pub image: Vec<u8>,
}

/// Those of the kernel's own modules that are `wanted`, with all they depend on, in loading order. One that the
/// kernel does not have as a module is left out if it is only depended on.
///
/// # Errors
/// [`KernelError`]: the kernel is one of the user's, or its modules are not to be had.
pub fn stock(
    kernel: &KernelImage,
    wanted: &[&str],
    cache_root: &Path,
    interrupts: &Interrupts,
    announce: &mut dyn FnMut(&str),
) -> Result<Vec<KernelModule>, KernelError> {
    let home = kernel.path.parent().filter(|home| home.parent() == Some(&kernels(cache_root)));
    let (Some(home), Some(release)) = (home, &kernel.release) else {
        return Err(KernelError::NoModules { path: kernel.path.clone() });
    };
    let directory = home.join(DIRECTORY);
    if !directory.is_dir() {
        announce(&format!("fetching the modules of kernel {release} (once)"));
        fetch(home, release, interrupts).map_err(KernelError::Modules)?;
    }
    let read = |path: &Path| fs::read(path).map_err(|e| KernelError::Modules(FetchError::cache(path)(e)));
    let mut ordered = Vec::new();
    for name in wanted {
        let found = add(name, &directory, &mut ordered, &read)?;
        if !found {
            return Err(KernelError::NoModule { name: (*name).to_owned(), release: release.clone() });
        }
    }
    Ok(ordered)
}

/// Puts what `name` depends on and then itself behind those already there; whether there is such a module.
fn add(
    name: &str,
    directory: &Path,
    ordered: &mut Vec<KernelModule>,
    read: &dyn Fn(&Path) -> Result<Vec<u8>, KernelError>,
) -> Result<bool, KernelError> {
    if ordered.iter().any(|module| spelled(&module.name) == spelled(name)) {
        return Ok(true);
    }
    let Some(path) = find(name, directory) else { return Ok(false) };
    let image = read(&path)?;
    for needed in depends(&image) {
        add(&needed, directory, ordered, read)?;
    }
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    ordered.push(KernelModule { name, image });
    Ok(true)
}

fn find(name: &str, directory: &Path) -> Option<PathBuf> {
    let paths = fs::read_dir(directory).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let is_it = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "ko")
            && path.file_stem().is_some_and(|stem| spelled(&stem.to_string_lossy()) == spelled(name))
    };
    paths.into_iter().find(is_it)
}

/// Files are called by dashes or underscores, and dependencies by either.
fn spelled(name: &str) -> String {
    name.replace('-', "_")
}

/// What a module says it depends on: `depends=a,b`, one of the zero-terminated strings in its section .modinfo.
fn depends(image: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = image.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let value: Vec<u8> = image[at + KEY.len()..].iter().copied().take_while(|byte| *byte != 0).collect();
    let names = String::from_utf8_lossy(&value).into_owned();
    names.split(',').filter(|name| !name.is_empty()).map(ToOwned::to_owned).collect()
}

/// Fetches the modules of a kernel that was cached without them.
fn fetch(home: &Path, release: &str, interrupts: &Interrupts) -> Result<(), FetchError> {
    let package = format!("linux-image-{release}");
    let io = FetchError::cache(home);
    let staging = staging(home).map_err(&io)?;
    let downloaded = apt::with_lists(&staging.path().join("apt"), Sources::Machine, interrupts, |apt| {
        apt.download(&package, &staging.path().join("package"))
    });
    downloaded
        .and_then(|package| unpack(&package, staging.path(), interrupts))
        .map_err(FetchError::apt(&package))?;
    adopt(&staging.path().join(DIRECTORY), &home.join(DIRECTORY)).map_err(&io)
}

/// Unpacks the modules of the kernel's package into `directory`.
pub(super) fn unpack(package: &Path, directory: &Path, interrupts: &Interrupts) -> Result<(), AptError> {
    let flat = format!("--transform=s,.*/,{DIRECTORY}/,");
    let arguments: Vec<&str> = ["--wildcards", &flat].into_iter().chain(KEPT).collect();
    apt::tar(package, &arguments, directory, interrupts)?;
    let directory = directory.join(DIRECTORY);
    let entries = fs::read_dir(&directory).map_err(AptError::io(&directory))?;
    let compressed: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "xz"))
        .collect();
    if !compressed.is_empty() {
        run(Command::new("xz").arg("--decompress").args(compressed), interrupts, PATIENCE)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest file with a module's dependencies.
    fn module(depends: &str) -> Vec<u8> {
        format!("\x7fELF\0license=GPL\0depends={depends}\0name=x\0").into_bytes()
    }

    fn kernel(root: &Path, modules: &[(&str, &str)]) -> KernelImage {
        let home = root.join("kernels/linux-image-6.1_amd64");
        fs::create_dir_all(home.join(DIRECTORY)).unwrap();
        for (name, depends) in modules {
            fs::write(home.join(DIRECTORY).join(format!("{name}.ko")), module(depends)).unwrap();
        }
        KernelImage { path: home.join("vmlinuz"), release: Some("6.1.0-1".to_owned()) }
    }

    fn names(kernel: &KernelImage, wanted: &[&str], root: &Path) -> Result<Vec<String>, String> {
        let interrupts = Interrupts::catch().unwrap();
        let unexpected = &mut |text: &str| panic!("{text}");
        let found = stock(kernel, wanted, root, &interrupts, unexpected);
        Ok(found.map_err(|e| e.to_string())?.into_iter().map(|module| module.name).collect())
    }

    #[test]
    fn modules_come_after_what_they_depend_on_and_once() {
        let root = tempfile::tempdir().unwrap();
        let kernel = kernel(
            root.path(),
            &[
                ("uio", ""),
                ("vfio-pci", "vfio-pci-core"),
                ("vfio-pci-core", "vfio,irqbypass"),
                ("vfio", "built_in"),
                ("vfio_iommu_type1", "vfio"),
                ("irqbypass", ""),
                ("mlx5-vfio-pci", "vfio-pci-core"),
            ],
        );
        let found = names(&kernel, &["uio", "vfio_iommu_type1", "vfio_pci"], root.path()).unwrap();
        assert_eq!(found, ["uio", "vfio", "vfio_iommu_type1", "irqbypass", "vfio-pci-core", "vfio-pci"]);
    }

    #[test]
    fn a_module_that_the_kernel_does_not_have_and_a_kernel_of_the_users_are_told() {
        let root = tempfile::tempdir().unwrap();
        let ours = kernel(root.path(), &[("uio", "")]);
        let absent = names(&ours, &["uio", "vfio-pci"], root.path()).unwrap_err();
        assert_eq!(absent, "kernel 6.1.0-1 has no module vfio-pci");
        let theirs = KernelImage { path: "/boot/vmlinuz".into(), ..ours };
        let error = names(&theirs, &["uio"], root.path()).unwrap_err();
        assert!(
            error.starts_with("kernel /boot/vmlinuz was given with --kernel, and comes without"),
            "{error}"
        );
    }

    #[test]
    fn a_module_without_dependencies_has_none() {
        assert!(
            depends(&module("")).is_empty() && depends(b"\0depends=").is_empty() && depends(b"").is_empty()
        );
    }
}
