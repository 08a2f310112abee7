//! Telling a kernel from any other file, and reading which one it is.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Why a file is not a kernel to boot.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// It cannot be read.
    #[error("kernel {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It is something else.
    #[error("{path} is not a kernel: neither a bzImage (vmlinuz) nor an ELF vmlinux for 64-bit x86")]
    NotAKernel {
        /// The file.
        path: PathBuf,
    },
}

/// A kernel that QEMU can be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelImage {
    /// The file, as an absolute path.
    pub path: PathBuf,
    /// Its release, such as `6.1.0-28-cloud-amd64`, when its header tells.
    pub release: Option<String>,
}

/// Reads `path` and says which kernel it is.
///
/// # Errors
/// [`ImageError`].
pub(crate) fn inspect(path: &Path) -> Result<KernelImage, ImageError> {
    let io = |source| ImageError::Io { path: path.to_owned(), source };
    let path = std::path::absolute(path).map_err(io)?;
    let mut head = Vec::new();
    // The setup code with its header is at most 64 sectors (Documentation/arch/x86/boot.rst).
    File::open(&path).and_then(|file| file.take(64 << 10).read_to_end(&mut head)).map_err(io)?;
    match identify(&head) {
        Some(release) => Ok(KernelImage { path, release }),
        None => Err(ImageError::NotAKernel { path }),
    }
}

/// `None`: not a kernel. `Some(None)`: a kernel that does not tell its release.
fn identify(head: &[u8]) -> Option<Option<String>> {
    // A vmlinux is an ELF executable (type 2) for x86-64; it keeps no release at a fixed place.
    let is_elf = head.get(..6) == Some(b"\x7fELF\x02\x01") && head.get(16..20) == Some(&[2, 0, 62, 0]);
    if is_elf {
        return Some(None);
    }
    // Documentation/arch/x86/boot.rst: the header's magic, and the pointer to the version string, counted from
    // the second sector and present since protocol 2.00.
    if head.get(0x1fe..0x200)? != [0x55, 0xaa] || head.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let pointer = u16::from_le_bytes(head.get(0x20e..0x210)?.try_into().ok()?);
    let text = head.get(0x200 + usize::from(pointer)..).filter(|_| pointer != 0).unwrap_or_default();
    let word: Vec<u8> = text.iter().copied().take_while(u8::is_ascii_graphic).take(128).collect();
    Some(String::from_utf8(word).ok().filter(|release| !release.is_empty()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The smallest file with a kernel's header.
    pub(crate) fn bzimage(version: &str) -> Vec<u8> {
        let mut head = vec![0; 0x300];
        head[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
        head[0x202..0x206].copy_from_slice(b"HdrS");
        head[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
        head.extend(version.as_bytes());
        head.push(0);
        head
    }

    #[test]
    fn the_release_is_the_first_word_of_the_version_string() {
        let head = bzimage("6.1.0-28-cloud-amd64 (debian-kernel@lists.debian.org) #1 SMP");
        assert_eq!(identify(&head), Some(Some("6.1.0-28-cloud-amd64".to_owned())));
    }

    #[test]
    fn a_kernel_whose_version_pointer_leads_nowhere_is_still_a_kernel() {
        let mut head = bzimage("");
        assert_eq!(identify(&head), Some(None));
        head[0x20e..0x210].copy_from_slice(&u16::MAX.to_le_bytes());
        assert_eq!(identify(&head), Some(None));
    }

    #[test]
    fn an_elf_executable_for_this_machine_passes_and_a_library_does_not() {
        let mut head = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0".to_vec();
        assert_eq!(identify(&head), Some(None));
        head[16] = 3;
        assert_eq!(identify(&head), None);
    }

    #[test]
    fn other_files_are_named_as_what_they_are_not() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for content in [&b""[..], b"#!/bin/sh\n", &[0; 0x400]] {
            std::fs::write(file.path(), content).unwrap();
            let error = inspect(file.path()).unwrap_err();
            assert!(matches!(error, ImageError::NotAKernel { .. }), "{error}");
        }
        let absent = inspect(Path::new("/nonexistent/vmlinuz")).unwrap_err().to_string();
        assert_eq!(absent, "kernel /nonexistent/vmlinuz: No such file or directory (os error 2)");
    }
}
