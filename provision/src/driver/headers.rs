//! The headers of one of Debian's kernels, unpacked as `<cache>/headers/<release>/usr/{src,lib}/...`: what its
//! packages would put into the root directory.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::DriverError;
use crate::apt::{self, Apt, AptError, Sources};
use crate::cache::{adopt, staging};
use crate::helper::run;
use crate::interrupt::Interrupts;
use crate::progress::Progress;

/// Debian's archive, where the machine does not name another place for it.
const ARCHIVE: &str = "http://deb.debian.org/debian";
const SECURITY_ARCHIVE: &str = "http://deb.debian.org/debian-security";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Longest that asking apt for its settings takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A kernel's headers.
#[derive(Debug)]
pub(super) struct Headers {
    /// The kernel's release.
    pub(super) release: String,
    /// Where make is to be run.
    pub(super) build: PathBuf,
}

/// The headers of kernel `release`, from the cache when they were fetched before.
pub(super) fn obtain(
    release: &str,
    cache_root: &Path,
    interrupts: &Interrupts,
    progress: Progress,
) -> Result<Headers, DriverError> {
    let all = cache_root.join("headers");
    let home = all.join(release);
    let headers = Headers { release: release.to_owned(), build: build_directory(&home, release) };
    if headers.build.is_dir() {
        return Ok(headers);
    }
    let task = progress.task(&format!("fetching the headers of kernel {release} (once)"));
    let io = DriverError::io(&all);
    let staging = staging(&all).map_err(&io)?;
    let lines = sources(release, &machine_archives(interrupts)?);
    let packages = staging.path().join("packages");
    let download = |apt: &Apt<'_>| download(apt, &format!("linux-headers-{release}"), &packages);
    let files = apt::with_lists(&staging.path().join("apt"), Sources::Lines(&lines), interrupts, download)
        .map_err(DriverError::headers(release))?;
    let root = staging.path().join("root");
    fs::create_dir(&root).map_err(&io)?;
    for file in &files {
        apt::unpack(file, &root, interrupts).map_err(DriverError::headers(release))?;
    }
    make_relocatable(&build_directory(&root, release).join("Makefile"))?;
    adopt(&root, &home).map_err(&io)?;
    drop(task);
    Ok(headers)
}

fn build_directory(root: &Path, release: &str) -> PathBuf {
    root.join(format!("usr/src/linux-headers-{release}"))
}

/// Downloads the package and those of what it depends on that are headers and their build tools. Compilers are the
/// host's own.
fn download(apt: &Apt<'_>, package: &str, directory: &Path) -> Result<Vec<PathBuf>, AptError> {
    let mut files = Vec::new();
    let mut seen = BTreeSet::from([package.to_owned()]);
    let mut wanted = vec![package.to_owned()];
    while let Some(package) = wanted.pop() {
        files.push(apt.download(&package, &directory.join(&package))?);
        for needed in apt.depends(&package)? {
            let is_part = needed.starts_with("linux-headers-") || needed.starts_with("linux-kbuild-");
            if is_part && seen.insert(needed.clone()) {
                wanted.push(needed);
            }
        }
    }
    Ok(files)
}

/// The headers' Makefile includes the common one by the absolute path it would be installed at.
fn make_relocatable(makefile: &Path) -> Result<(), DriverError> {
    let io = DriverError::io(makefile);
    let text = fs::read_to_string(makefile).map_err(&io)?;
    fs::write(makefile, text.replace("include /usr/src/", "include ../")).map_err(&io)
}

/// The archives of Debian that this machine uses, as `site suite`, one a line.
fn machine_archives(interrupts: &Interrupts) -> Result<String, DriverError> {
    let mut ask = Command::new("apt-get");
    ask.args(["indextargets", "--format", "$(SITE) $(RELEASE)", "Created-By: Packages"]);
    match run(&mut ask, interrupts, PATIENCE).map_err(DriverError::from) {
        Err(DriverError::Interrupted(interrupted)) => Err(DriverError::Interrupted(interrupted)),
        // A machine whose apt has nothing to say uses Debian's own.
        other => Ok(other.unwrap_or_default()),
    }
}

/// The lines of a sources.list whose archives have headers for that release. Debian's kernels since 6.12 name the
/// version of Debian they are for; 12's own is 6.1 and names none, so one that names 12 is of its backports.
fn sources(release: &str, machine: &str) -> Vec<String> {
    let (suites, security): (&[&str], &str) = match release.split_once("+deb").map(|(_, rest)| rest) {
        Some(rest) if rest.starts_with("12") => (&["bookworm", "bookworm-backports"], "bookworm-security"),
        Some(rest) if rest.starts_with("13") => (&["trixie", "trixie-backports"], "trixie-security"),
        _ => (&["bookworm"], "bookworm-security"),
    };
    // One mirror has all suites of an archive; for security fixes it is another.
    let site = |ends: &str, default: &str| {
        let sites = machine.lines().filter_map(|line| line.split_whitespace().next());
        let found = sites.map(|site| site.trim_end_matches('/')).find(|site| {
            site.ends_with(ends) && (site.starts_with("http://") || site.starts_with("https://"))
        });
        found.unwrap_or(default).to_owned()
    };
    let options = if Path::new(KEYRING).exists() { format!("[signed-by={KEYRING}] ") } else { String::new() };
    let (main, security_site) = (site("/debian", ARCHIVE), site("/debian-security", SECURITY_ARCHIVE));
    let line = |site: &str, suite: &str| format!("deb {options}{site} {suite} main");
    let mut lines: Vec<String> = suites.iter().map(|suite| line(&main, suite)).collect();
    lines.push(line(&security_site, security));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(release: &str, machine: &str) -> Vec<String> {
        let lines = sources(release, machine);
        lines.iter().map(|line| line.replace(&format!("[signed-by={KEYRING}] "), "")).collect()
    }

    #[test]
    fn a_release_tells_which_suites_may_have_it() {
        let bookworm = plain("6.1.0-56-cloud-amd64", "");
        assert_eq!(
            bookworm,
            [
                "deb http://deb.debian.org/debian bookworm main",
                "deb http://deb.debian.org/debian-security bookworm-security main"
            ]
        );
        assert!(plain("6.12.95+deb12-amd64", "").concat().contains("bookworm-backports"));
        assert!(plain("6.12.43+deb13-amd64", "").concat().contains("trixie main"));
    }

    #[test]
    fn the_machines_own_mirror_is_asked_and_no_other_archive() {
        let machine = "cdrom:[x]/debian bookworm\nhttps://elsewhere/apt stable\nhttp://m/debian/ bookworm\n";
        let lines = plain("6.1.0-1-amd64", machine);
        assert_eq!(lines[0], "deb http://m/debian bookworm main");
        assert_eq!(lines[1], "deb http://deb.debian.org/debian-security bookworm-security main");
    }

    #[test]
    fn the_common_makefile_is_found_wherever_the_headers_lie() {
        let root = tempfile::tempdir().unwrap();
        let makefile = root.path().join("Makefile");
        fs::write(&makefile, "include /usr/src/linux-headers-6.1.0-1-common/Makefile\n").unwrap();
        make_relocatable(&makefile).unwrap();
        let text = fs::read_to_string(&makefile).unwrap();
        assert_eq!(text, "include ../linux-headers-6.1.0-1-common/Makefile\n");
    }
}
