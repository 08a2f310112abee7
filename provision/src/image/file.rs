//! An image of the user's own: looked at closely before a disk is laid upon it, used where it lies, never copied.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use super::{BaseImage, ImageError, Origin, digest, qemu_img};
use crate::helper::HelperError;
use crate::interrupt::Interrupts;
use crate::progress::Progress;
use crate::size::Bytes;

/// Less than this holds no system.
const BYTES_MIN: u64 = 1 << 20;

/// Looks at the user's file and describes it.
pub(super) fn open(
    path: &Path,
    cache_root: &Path,
    interrupts: &Interrupts,
    progress: Progress,
) -> Result<BaseImage, ImageError> {
    let bad = |why: String| ImageError::BadFile { path: path.to_owned(), why };
    let meta = fs::metadata(path)
        .map_err(|e| bad(format!("cannot be used ({e}): --image takes auto, mirror, official or a file")))?;
    if !meta.is_file() {
        return Err(bad("is not a file: name a qcow2 or raw disk image".to_owned()));
    }
    if let Some((format, tool)) = packed(path)? {
        return Err(bad(format!("is compressed ({format}): unpack it first with '{tool}'")));
    }
    let path = fs::canonicalize(path).map_err(ImageError::io("find", path))?;
    let info = qemu_img::info(&path, interrupts).map_err(|e| refused(e, bad))?;
    if !matches!(info.format.as_str(), "qcow2" | "raw") {
        let how = format!("qemu-img convert -O qcow2 {} disk.qcow2", path.display());
        return Err(bad(format!("is a {} image; only qcow2 and raw are used: '{how}'", info.format)));
    }
    let flatten = format!("'qemu-img convert -O qcow2 {} whole.qcow2' makes a whole one", path.display());
    if let Some(backing) = &info.backing_filename {
        return Err(bad(format!("is only the difference to {}: {flatten}", backing.display())));
    }
    if let Some(data) = info.data_file() {
        return Err(bad(format!("keeps its content in another file, {data}: {flatten}")));
    }
    if info.encrypted {
        return Err(bad(format!("is encrypted: {flatten}")));
    }
    if info.virtual_size < BYTES_MIN {
        return Err(bad(format!("holds only {}: is it a whole disk image?", Bytes(info.virtual_size))));
    }
    if info.format == "qcow2" {
        qemu_img::check(&path, interrupts).map_err(|e| refused(e, bad))?;
    }
    let task = || progress.byte_task(&format!("reading {}", path.display()), Some(meta.len()));
    let sha256 = digest::of_users_file(&path, cache_root, interrupts, task)?;
    Ok(BaseImage {
        origin: Origin::File,
        what: format!("{} ({})", path.display(), info.format),
        path,
        format: info.format,
        sha256,
        virtual_bytes: info.virtual_size,
        direct_boot: None,
        grows_in_guest: true,
    })
}

/// qemu-img's refusal, as one of this file.
fn refused(e: ImageError, bad: impl Fn(String) -> ImageError) -> ImageError {
    match e {
        ImageError::Helper(HelperError::Failed { said, .. }) => {
            bad(format!("is damaged or no disk image ({said}): fetch or copy it again"))
        }
        other => other,
    }
}

/// How a file is packed, by its first bytes, and what unpacks it. qemu-img would take it for a raw disk.
fn packed(path: &Path) -> Result<Option<(&'static str, &'static str)>, ImageError> {
    let mut head = Vec::new();
    File::open(path)
        .and_then(|file| file.take(6).read_to_end(&mut head))
        .map_err(ImageError::io("read", path))?;
    let known: [(&[u8], _); 5] = [
        (b"\xfd7zXZ\0", ("xz", "unxz --keep")),
        (b"\x1f\x8b", ("gzip", "gunzip --keep")),
        (b"\x28\xb5\x2f\xfd", ("zstd", "unzstd")),
        (b"BZh", ("bzip2", "bunzip2 --keep")),
        (b"PK\x03\x04", ("zip", "unzip")),
    ];
    Ok(known.into_iter().find_map(|(magic, how)| head.starts_with(magic).then_some(how)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn look(path: &Path) -> Result<BaseImage, String> {
        let cache = tempfile::tempdir().unwrap();
        let interrupts = Interrupts::catch().unwrap();
        open(path, cache.path(), &interrupts, Progress { quiet: true }).map_err(|e| e.to_string())
    }

    fn qemu_img(args: &[&str], directory: &Path) {
        assert!(
            Command::new("qemu-img").args(args).current_dir(directory).output().unwrap().status.success()
        );
    }

    #[test]
    fn whole_raw_and_qcow2_images_are_taken() {
        let root = tempfile::tempdir().unwrap();
        qemu_img(&["create", "-f", "qcow2", "./a:b.qcow2", "3G"], root.path());
        qemu_img(&["create", "-f", "raw", "b.raw", "3M"], root.path());
        let qcow2 = look(&root.path().join("a:b.qcow2")).unwrap();
        assert_eq!((qcow2.format.as_str(), qcow2.virtual_bytes), ("qcow2", 3 << 30));
        assert!(qcow2.grows_in_guest && qcow2.direct_boot.is_none() && qcow2.path.is_absolute());
        let raw = look(&root.path().join("b.raw")).unwrap();
        assert_eq!((raw.format.as_str(), raw.virtual_bytes), ("raw", 3 << 20));
    }

    #[test]
    fn what_cannot_lie_below_a_disk_is_named() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        qemu_img(&["create", "-f", "qcow2", "base.qcow2", "3G"], root.path());
        qemu_img(&["create", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2"], root.path());
        qemu_img(&["create", "-f", "vmdk", "a.vmdk", "3M"], root.path());
        fs::write(at("a.xz"), b"\xfd7zXZ\0rest").unwrap();
        fs::write(at("short.raw"), b"text\n").unwrap();
        fs::write(at("cut.qcow2"), &fs::read(at("base.qcow2")).unwrap()[..200]).unwrap();
        let cases = [
            ("absent", "No such file or directory"),
            (".", "is not a file"),
            ("top.qcow2", "is only the difference to base.qcow2"),
            ("a.vmdk", "is a vmdk image; only qcow2 and raw are used"),
            ("a.xz", "is compressed (xz): unpack it first with 'unxz --keep'"),
            ("short.raw", "holds only 512 bytes"),
            ("cut.qcow2", "is damaged or no disk image"),
        ];
        for (name, expected) in cases {
            let error = look(&at(name)).unwrap_err();
            assert!(error.contains(expected), "{name}: {error}");
        }
    }
}
