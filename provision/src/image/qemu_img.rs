//! What qemu-img says about a file, and turning one format into another.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use super::ImageError;
use crate::disk::{QEMU_IMG, QEMU_IMG_PACKAGE};
use crate::helper::run;
use crate::interrupt::Interrupts;

/// Longest a single qemu-img may take: converting copies a whole disk.
const PATIENCE: Duration = Duration::from_secs(1800);

/// The part of `qemu-img info` that counts here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Info {
    pub(super) format: String,
    pub(super) virtual_size: u64,
    pub(super) backing_filename: Option<PathBuf>,
    #[serde(default)]
    pub(super) encrypted: bool,
    format_specific: Option<FormatSpecific>,
}

#[derive(Debug, Deserialize)]
struct FormatSpecific {
    data: Option<Data>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Data {
    data_file: Option<String>,
}

impl Info {
    /// Where its content is, when that is outside the image.
    pub(super) fn data_file(&self) -> Option<&str> {
        self.format_specific.as_ref()?.data.as_ref()?.data_file.as_deref()
    }
}

/// Asks what a file is. A VM that has it open does not matter.
pub(super) fn info(path: &Path, interrupts: &Interrupts) -> Result<Info, ImageError> {
    let mut command = Command::new(QEMU_IMG);
    command.args(["info", "--force-share", "--output=json"]).arg(plain(path));
    let text = run(&mut command, interrupts, PATIENCE).map_err(ImageError::helper(QEMU_IMG_PACKAGE))?;
    serde_json::from_str(&text).map_err(|e| ImageError::io("understand qemu-img about", path)(e.into()))
}

/// Whether a qcow2's own tables are sound; `Err` holds what qemu-img complains about.
pub(super) fn check(path: &Path, interrupts: &Interrupts) -> Result<(), ImageError> {
    let mut command = Command::new(QEMU_IMG);
    command.args(["check", "--force-share", "-q", "-f", "qcow2"]).arg(plain(path));
    run(&mut command, interrupts, PATIENCE).map(drop).map_err(ImageError::helper(QEMU_IMG_PACKAGE))
}

/// Makes a thin qcow2 of a raw image.
pub(super) fn to_qcow2(raw: &Path, qcow2: &Path, interrupts: &Interrupts) -> Result<(), ImageError> {
    let mut command = Command::new(QEMU_IMG);
    command.args(["convert", "-f", "raw", "-O", "qcow2"]).arg(plain(raw)).arg(plain(qcow2));
    run(&mut command, interrupts, PATIENCE).map(drop).map_err(|e| {
        if e.to_string().contains("No space left") {
            return ImageError::cache_full(qcow2.parent().unwrap_or(qcow2));
        }
        ImageError::helper(QEMU_IMG_PACKAGE)(e)
    })
}

/// A path that QEMU takes for nothing but a path: one with a colon would be a protocol.
fn plain(path: &Path) -> OsString {
    let mut text = OsString::from("file:");
    text.push(path);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_colon_is_a_path() {
        assert_eq!(plain(Path::new("/a/b:c")), OsString::from("file:/a/b:c"));
    }

    #[test]
    fn what_is_said_of_a_qcow2_is_understood() {
        let text = r#"{"virtual-size": 1048576, "filename": "a", "cluster-size": 65536, "format": "qcow2",
            "actual-size": 200704, "format-specific": {"type": "qcow2", "data": {"compat": "1.1",
            "data-file": "b.raw", "lazy-refcounts": false}}, "backing-filename": "c", "dirty-flag": false}"#;
        let info: Info = serde_json::from_str(text).unwrap();
        assert_eq!((info.format.as_str(), info.virtual_size, info.encrypted), ("qcow2", 1 << 20, false));
        assert_eq!(
            (info.data_file(), info.backing_filename.as_deref()),
            (Some("b.raw"), Some(Path::new("c")))
        );
    }
}
