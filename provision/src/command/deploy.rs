//! `provision deploy`: guest-reader, any file, or the kernel driver into the guest.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};

use super::{find, print, ssh::LOGIN_WITHIN};
use crate::Error;
use crate::cli::DeployArgs;
use crate::deploy::{Delivery, patience_for};
use crate::guest_binary;
use crate::guest_unit::GUEST_READER;
use crate::interrupt::Interrupts;
use crate::ssh::Patience;

/// From here on it takes long enough to be watched.
const PROGRESS_BYTES_MIN: usize = 1 << 20;

/// A file of ours and where it goes.
struct Cargo {
    name: String,
    content: Vec<u8>,
    mode: u32,
    destination: Vec<u8>,
}

/// Puts the file into the guest.
///
/// # Errors
/// [`Error`]: there is no such file or VM, or it did not arrive as it left.
pub(super) fn run(args: &DeployArgs) -> Result<ExitCode, Error> {
    if args.driver {
        return super::driver::deploy(args.name.name.as_ref());
    }
    let cargo = cargo(args)?;
    let (_, vm) = find::running(args.name.name.as_ref())?;
    let (ssh, process) = find::reachable(&vm)?;
    let interrupts = Interrupts::catch().map_err(|e| Error::io("catch signals", e))?;
    let within = |time| Patience::within(&interrupts, process.as_fd(), time);
    let session = find::connect(&vm, ssh, &within(LOGIN_WITHIN))?;
    let sudo = needs_root(&cargo.destination, &ssh.user);
    let delivery = Delivery::new(&cargo.content, &cargo.destination, cargo.mode, sudo);
    let bar = progress(&cargo);
    let patience = within(patience_for(cargo.content.len()));
    let sha256 = delivery.send(&session, &mut |bytes| bar.set_position(bytes as u64), &patience);
    bar.finish_and_clear();
    let sha256 = sha256.map_err(Error::deploy)?;
    let (name, size) = (&cargo.name, size(cargo.content.len()));
    let destination = String::from_utf8_lossy(&cargo.destination);
    print(format!("deployed {name} to {destination} ({size}, sha256 {sha256})\n").as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn cargo(args: &DeployArgs) -> Result<Cargo, Error> {
    let Some(path) = &args.file else {
        let image = guest_binary::load(args.guest_reader.as_deref())?.image;
        let destination = GUEST_READER.into();
        return Ok(Cargo { name: "guest-reader".to_owned(), content: image, mode: 0o755, destination });
    };
    let read = |e| Error::io(format!("read {}", path.display()), e);
    let content = std::fs::read(path).map_err(read)?;
    // Set-user-ID is not copied: in the guest the file may belong to root.
    let mode = std::fs::metadata(path).map_err(read)?.permissions().mode() & 0o777;
    let destination = destination(path, args.destination.as_deref());
    Ok(Cargo { name: path.display().to_string(), content, mode, destination })
}

/// Where a file goes: by its own name into the home directory, or into the directory named with a `/` at its end.
fn destination(file: &Path, asked: Option<&str>) -> Vec<u8> {
    let mut destination = asked.unwrap_or_default().as_bytes().to_vec();
    if destination.is_empty() || destination.ends_with(b"/") {
        destination.extend(file.file_name().map(OsStr::as_bytes).unwrap_or_default());
    }
    destination
}

/// Whether the user may not write there: anywhere but in the home directory.
fn needs_root(destination: &[u8], user: &str) -> bool {
    user != "root"
        && destination.starts_with(b"/")
        && !destination.starts_with(format!("/home/{user}/").as_bytes())
}

/// A bar on standard error, when that is a terminal and the file is not small.
fn progress(cargo: &Cargo) -> ProgressBar {
    if cargo.content.len() < PROGRESS_BYTES_MIN {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg} {bar:40} {bytes}/{total_bytes} {bytes_per_sec}");
    let bar = ProgressBar::new(cargo.content.len() as u64).with_message(cargo.name.clone());
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// As people say it, in powers of a thousand.
fn size(bytes: usize) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_goes_home_by_its_own_name_unless_told_otherwise() {
        let to = |asked| String::from_utf8(destination(Path::new("out/driver.ko"), asked)).unwrap();
        assert_eq!(to(None), "driver.ko");
        assert_eq!(to(Some("")), "driver.ko");
        assert_eq!(to(Some("/tmp/")), "/tmp/driver.ko");
        assert_eq!(to(Some("/tmp/a.ko")), "/tmp/a.ko");
    }

    #[test]
    fn only_what_lies_outside_the_home_directory_needs_root() {
        assert!(!needs_root(b"driver.ko", "debian"));
        assert!(!needs_root(b"/home/debian/bin/x", "debian"));
        assert!(needs_root(b"/home/debiana/x", "debian"));
        assert!(needs_root(b"/usr/local/bin/guest-reader", "debian"));
        assert!(!needs_root(b"/usr/local/bin/guest-reader", "root"));
    }

    #[test]
    fn sizes_are_readable() {
        assert_eq!([0, 999, 1_400, 1_400_000].map(size), ["0 bytes", "999 bytes", "1.4 kB", "1.4 MB"]);
    }
}
