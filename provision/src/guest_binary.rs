//! The program that becomes the micro guest's `/init`: where it is found, and whether it can run there, that is
//! without any file beside it.

use std::env;
use std::io;
use std::path::{Path, PathBuf};

/// The file's name, beside `provision` or in the static build's directory.
const FILE_NAME: &str = "guest-reader";

/// How it is built.
const HOW_TO_BUILD: &str = "build it with: RUSTFLAGS='-C target-feature=+crt-static' cargo build --release \
                            --target x86_64-unknown-linux-gnu -p guest-reader";

/// Why a program cannot be the guest's `/init`.
#[derive(Debug, thiserror::Error)]
pub enum GuestBinaryError {
    /// It is in none of the places looked at.
    #[error("no static guest-reader at {}; {HOW_TO_BUILD}, or name it with --guest-reader FILE", show(.looked_at))]
    NotFound {
        /// Where it was looked for.
        looked_at: Vec<PathBuf>,
    },
    /// It cannot be read.
    #[error("guest program {path}: {source}; {HOW_TO_BUILD}, or name another with --guest-reader FILE")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It is not a program for this guest.
    #[error("guest program {path} is not a 64-bit x86 ELF executable; {HOW_TO_BUILD}")]
    NotElf {
        /// The file.
        path: PathBuf,
    },
    /// It needs a dynamic linker, and the guest has none.
    #[error(
        "guest program {path} is dynamically linked (it asks for {interpreter}), but nothing else is in the guest; {HOW_TO_BUILD}"
    )]
    Dynamic {
        /// The file.
        path: PathBuf,
        /// The dynamic linker it asks for.
        interpreter: String,
    },
}

fn show(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
}

/// A program fit to be `/init`.
#[derive(Debug)]
pub struct GuestBinary {
    /// What of the file is loaded to run.
    pub image: Vec<u8>,
}

/// Reads the guest's program: `chosen`, else `$IVSHMEM_GUEST_READER`, else the static guest-reader beside this
/// executable or in the static build's directory beside that.
///
/// # Errors
/// It is not there, no program for this guest, or not static.
pub fn load(chosen: Option<&Path>) -> Result<GuestBinary, GuestBinaryError> {
    let from_env =
        || env::var_os("IVSHMEM_GUEST_READER").filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = chosen.map(Path::to_path_buf).or_else(from_env) {
        return read(&path);
    }
    let beside = env::current_exe().ok().and_then(|exe| exe.parent().map(default_places)).unwrap_or_default();
    let mut refused = None;
    for path in &beside {
        match read(path) {
            Ok(binary) => return Ok(binary),
            Err(GuestBinaryError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            // The ordinary build of the workspace leaves a dynamic one beside us: look on.
            Err(e) => refused = Some(e),
        }
    }
    Err(refused.unwrap_or(GuestBinaryError::NotFound { looked_at: beside }))
}

fn default_places(directory: &Path) -> Vec<PathBuf> {
    vec![directory.join(FILE_NAME), directory.join("../x86_64-unknown-linux-gnu/release").join(FILE_NAME)]
}

fn read(path: &Path) -> Result<GuestBinary, GuestBinaryError> {
    let bytes =
        std::fs::read(path).map_err(|source| GuestBinaryError::Io { path: path.to_owned(), source })?;
    let not_elf = || GuestBinaryError::NotElf { path: path.to_owned() };
    let elf = Elf::parse(&bytes).ok_or_else(not_elf)?;
    if let Some(interpreter) = elf.interpreter {
        return Err(GuestBinaryError::Dynamic { path: path.to_owned(), interpreter });
    }
    let mut image = bytes;
    image.truncate(elf.loaded_end);
    forget_sections(&mut image);
    Ok(GuestBinary { image })
}

/// What an executable's program headers say (elf(5)).
#[derive(Debug, PartialEq, Eq)]
struct Elf {
    interpreter: Option<String>,
    /// End of the last byte that is loaded. Behind it lie symbols and debug information: several times the
    /// program's own size, which the guest's kernel would unpack in vain.
    loaded_end: usize,
}

const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const EM_X86_64: u16 = 62;

impl Elf {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let class_and_order = bytes.get(..6)?;
        if class_and_order != b"\x7fELF\x02\x01" || u16_at(bytes, 18)? != EM_X86_64 {
            return None;
        }
        let (table, entry_bytes, entries) = (u64_at(bytes, 32)?, u16_at(bytes, 54)?, u16_at(bytes, 56)?);
        let table_end = table.checked_add(u64::from(entry_bytes) * u64::from(entries))?;
        let mut elf = Self { interpreter: None, loaded_end: usize::try_from(table_end).ok()? };
        for index in 0..u64::from(entries) {
            let entry = usize::try_from(table.checked_add(index * u64::from(entry_bytes))?).ok()?;
            let start = usize::try_from(u64_at(bytes, entry.checked_add(8)?)?).ok()?;
            let end = start.checked_add(usize::try_from(u64_at(bytes, entry.checked_add(32)?)?).ok()?)?;
            let content = bytes.get(start..end)?;
            match u32_at(bytes, entry)? {
                PT_LOAD => elf.loaded_end = elf.loaded_end.max(end),
                PT_INTERP => {
                    elf.interpreter =
                        Some(String::from_utf8_lossy(content).trim_end_matches('\0').to_owned());
                }
                _ => {}
            }
        }
        (entries > 0 && elf.loaded_end <= bytes.len()).then_some(elf)
    }
}

/// Clears the section table's offset and counts: what they point to has been cut off.
fn forget_sections(image: &mut [u8]) {
    for range in [40..48, 60..64] {
        if let Some(field) = image.get_mut(range) {
            field.fill(0);
        }
    }
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 64-bit x86 executable with one program header of the given type over `content`.
    fn executable(header_type: u32, content: &[u8], behind: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 64 + 56];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[18..20].copy_from_slice(&EM_X86_64.to_le_bytes());
        file[32..40].copy_from_slice(&64_u64.to_le_bytes());
        file[40..48].copy_from_slice(&[0xaa; 8]);
        file[54..56].copy_from_slice(&56_u16.to_le_bytes());
        file[56..58].copy_from_slice(&1_u16.to_le_bytes());
        file[64..68].copy_from_slice(&header_type.to_le_bytes());
        file[72..80].copy_from_slice(&120_u64.to_le_bytes());
        file[96..104].copy_from_slice(&(content.len() as u64).to_le_bytes());
        file.extend(content);
        file.extend(behind);
        file
    }

    #[test]
    fn a_static_program_is_cut_to_what_is_loaded() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), executable(PT_LOAD, b"code", b"symbols and debug information")).unwrap();
        let image = read(file.path()).unwrap().image;
        assert_eq!(&image[120..], b"code");
        assert_eq!(image[40..48], [0; 8], "no section table any more");
    }

    #[test]
    fn a_dynamic_program_is_refused_with_its_linker_and_the_remedy() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), executable(PT_INTERP, b"/lib64/ld-linux-x86-64.so.2\0", b"")).unwrap();
        let error = read(file.path()).unwrap_err().to_string();
        assert!(error.contains("it asks for /lib64/ld-linux-x86-64.so.2"), "{error}");
        assert!(error.contains("+crt-static"), "{error}");
    }

    #[test]
    fn the_running_test_is_an_executable_and_dynamic() {
        assert!(matches!(read(&env::current_exe().unwrap()), Err(GuestBinaryError::Dynamic { .. })));
    }

    #[test]
    fn every_truncation_and_a_script_are_refused() {
        let whole = executable(PT_LOAD, b"code", b"");
        for length in 0..whole.len() {
            assert_eq!(Elf::parse(&whole[..length]), None, "{length}");
        }
        assert_eq!(Elf::parse(b"#!/bin/sh\nexit 0\n"), None);
    }

    #[test]
    fn offsets_beyond_all_bounds_are_refused() {
        for field in [32, 72, 96] {
            let mut file = executable(PT_LOAD, b"code", b"");
            file[field..field + 8].fill(0xff);
            assert_eq!(Elf::parse(&file), None, "{field}");
        }
    }

    #[test]
    fn an_absent_program_says_how_to_build_it() {
        let error = load(Some(Path::new("/nonexistent/guest-reader"))).unwrap_err().to_string();
        assert!(error.starts_with("guest program /nonexistent/guest-reader: No such file"), "{error}");
        assert!(error.contains("--guest-reader FILE"), "{error}");
    }
}
