//! A VM's own disk: a thin layer over an image that is never written to.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::helper::run;
use crate::image::{BaseImage, ImageError};
use crate::interrupt::Interrupts;
use crate::size::Bytes;

/// The program that makes disks.
pub const QEMU_IMG: &str = "qemu-img";
/// The Debian package it is in.
pub(crate) const QEMU_IMG_PACKAGE: &str = "qemu-utils";

/// Making a thin disk takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes a disk of `bytes` upon `base` at `path`, readable by its owner alone. It takes only what is written.
///
/// # Errors
/// The image holds a larger disk, qemu-img is absent or refuses, or the user stopped it.
pub fn create_overlay(
    qemu_img: &Path,
    base: &BaseImage,
    path: &Path,
    bytes: Bytes,
    interrupts: &Interrupts,
) -> Result<(), ImageError> {
    if bytes.0 < base.virtual_bytes {
        let mebibytes = base.virtual_bytes.div_ceil(1 << 20);
        let least_flag = match mebibytes.is_multiple_of(1024) {
            true => format!("{}G", mebibytes / 1024),
            false => format!("{mebibytes}M"),
        };
        return Err(ImageError::DiskTooSmall { asked: bytes, least: Bytes(base.virtual_bytes), least_flag });
    }
    let mut command = Command::new(qemu_img);
    command.args(arguments(base, path, bytes));
    let made = run(&mut command, interrupts, PATIENCE)
        .map_err(ImageError::helper(QEMU_IMG_PACKAGE))
        .and_then(|_| {
            fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(ImageError::io("protect", path))
        });
    if made.is_err() {
        let _ = fs::remove_file(path);
    }
    made
}

/// What qemu-img is told.
fn arguments(base: &BaseImage, path: &Path, bytes: Bytes) -> Vec<OsString> {
    let mut arguments: Vec<OsString> =
        ["create", "-q", "-f", "qcow2", "-F", &base.format, "-b"].map(Into::into).into();
    arguments.push(base.path.clone().into());
    arguments.push(path.into());
    arguments.push(bytes.0.to_string().into());
    arguments
}

/// What a file takes on the disk it lies on, holes not counted.
///
/// # Errors
/// There is no such file, or it cannot be looked at.
pub fn allocated_bytes(path: &Path) -> io::Result<u64> {
    // st_blocks counts 512 bytes, whatever the file system's block is (stat(2)).
    Ok(fs::metadata(path)?.blocks() * 512)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Origin;

    fn base(path: &Path) -> BaseImage {
        BaseImage {
            origin: Origin::Mirror,
            path: path.to_owned(),
            format: "qcow2".into(),
            sha256: "ab".into(),
            virtual_bytes: 20 << 30,
            direct_boot: None,
            grows_in_guest: false,
            what: "an example".into(),
        }
    }

    #[test]
    fn the_overlay_names_its_base_with_its_format() {
        let arguments =
            arguments(&base(Path::new("/c/disk.qcow2")), Path::new("/s/d.qcow2"), Bytes(20 << 30));
        let expected = "create -q -f qcow2 -F qcow2 -b /c/disk.qcow2 /s/d.qcow2 21474836480";
        assert_eq!(arguments.join(" ".as_ref()), expected);
    }

    #[test]
    fn a_disk_smaller_than_its_image_is_refused_with_the_least_size() {
        let interrupts = Interrupts::catch().unwrap();
        let made = |bytes| {
            create_overlay(QEMU_IMG.as_ref(), &base("/b".as_ref()), "/d".as_ref(), bytes, &interrupts)
        };
        let error = made(Bytes(10 << 30)).unwrap_err().to_string();
        assert!(error.starts_with("--disk 10 GiB: the image holds a disk of 20 GiB"), "{error}");
        assert!(error.ends_with("write --disk 20G or more"), "{error}");
    }

    #[test]
    fn a_thin_disk_is_private_and_takes_next_to_nothing() {
        let root = tempfile::tempdir().unwrap();
        let (lower, upper) = (root.path().join("base.qcow2"), root.path().join("disk.qcow2"));
        let mut create = Command::new(QEMU_IMG);
        assert!(
            create.args(["create", "-q", "-f", "qcow2"]).arg(&lower).arg("20G").status().unwrap().success()
        );
        let interrupts = Interrupts::catch().unwrap();
        create_overlay(QEMU_IMG.as_ref(), &base(&lower), &upper, Bytes(30 << 30), &interrupts).unwrap();
        assert_eq!(fs::metadata(&upper).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(allocated_bytes(&upper).unwrap() < 1 << 20);
    }

    #[test]
    fn an_absent_qemu_img_is_named_with_its_package() {
        let interrupts = Interrupts::catch().unwrap();
        let error = create_overlay(
            "no-such-qemu-img".as_ref(),
            &base("/b".as_ref()),
            "/nonexistent/d".as_ref(),
            Bytes(20 << 30),
            &interrupts,
        );
        assert!(error.unwrap_err().to_string().ends_with("'apt-get install qemu-utils'"));
    }
}
