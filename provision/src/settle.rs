//! What is looked after in a Debian guest through SSH before it counts as ready: its clock when it was restored, the
//! device, and guest-reader.

use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use crate::boot::Cause;
use crate::deploy;
use crate::guest_unit::GUEST_READER;
use crate::hex::hex;
use crate::qemu::complaint::{last_words, printable};
use crate::ssh::{Patience, Session};

/// What was found in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where the device is, such as `0000:00:02.0`.
    pub device: Option<String>,
    /// The kernel's release.
    pub kernel: String,
    /// SHA-256 of guest-reader, if it is there.
    pub guest_reader_sha256: Option<String>,
}

/// Looks around in the guest, and sets its clock first when `set_clock` says so: a restored guest's stands still
/// where the snapshot was taken.
///
/// # Errors
/// SSH fails, or the guest's shell does.
pub fn look(session: &Session, set_clock: bool, patience: &Patience<'_>) -> Result<Found, Cause> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let clock =
        if set_clock { format!("sudo date -u -s @{:.3}\n", now.as_secs_f64()) } else { String::new() };
    let output = session.output("sh -s", script(&clock).as_bytes(), patience).map_err(Cause::Ssh)?;
    if output.exit.success() {
        return Ok(parse(&String::from_utf8_lossy(&output.stdout)));
    }
    let said = last_words(&String::from_utf8_lossy(&output.stderr));
    Err(Cause::Guest(format!("looking around in it failed: {said}")))
}

/// Puts guest-reader into the guest, unless it is there already.
///
/// # Errors
/// SSH fails, or the guest's shell does.
pub fn deploy_guest_reader(
    session: &Session,
    found: &Found,
    guest_reader: &[u8],
    patience: &Patience<'_>,
) -> Result<(), Cause> {
    let ours = hex(&Sha256::digest(guest_reader));
    if found.guest_reader_sha256.as_ref() == Some(&ours) {
        return Ok(());
    }
    deploy::bytes(session, guest_reader, GUEST_READER.as_bytes(), 0o755, true, patience)
        .map(drop)
        .map_err(Cause::Deploy)
}

/// A script for any POSIX shell that prints what [`parse`] reads. Under TCG each program it would start costs some
/// 50 ms, so it starts few.
fn script(first: &str) -> String {
    format!(
        "set -e\n{{ {first}:; }} >/dev/null\n\
         for d in /sys/bus/pci/devices/*; do\n\
         read -r vendor <\"$d/vendor\"; read -r device <\"$d/device\"\n\
         if [ \"$vendor:$device\" = 0x1af4:0x1110 ]; then echo \"device=${{d##*/}}\"; fi\n\
         done\n\
         read -r release </proc/sys/kernel/osrelease; echo \"kernel=$release\"\n\
         if [ -e {GUEST_READER} ]; then echo \"guest_reader=$(sha256sum <{GUEST_READER})\"; fi\n"
    )
}

fn parse(text: &str) -> Found {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(printable(line.split_ascii_whitespace().next()?))
    };
    Found {
        device: value("device"),
        kernel: value("kernel").unwrap_or_else(|| "unknown".to_owned()),
        guest_reader_sha256: value("guest_reader"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn the_script_runs_in_a_real_shell_and_its_words_are_understood() {
        let output = Command::new("sh").args(["-c", &script("")]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let found = parse(&String::from_utf8(output.stdout).unwrap());
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        assert_eq!(found.kernel, release.trim());
    }

    #[test]
    fn what_is_absent_is_none() {
        let found = parse("kernel=6.1.0-1-cloud-amd64\n");
        assert_eq!((found.device, found.guest_reader_sha256), (None, None));
        let found = parse("device=0000:00:02.0\nkernel=6\nguest_reader=abc  -\n");
        assert_eq!(found.device.as_deref(), Some("0000:00:02.0"));
        assert_eq!(found.guest_reader_sha256.as_deref(), Some("abc"));
    }
}
