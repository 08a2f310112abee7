//! QEMU: whether it is there and runs, its version, and what was compiled into it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::finding::Finding;
use super::host::Host;
use crate::interrupt::Interrupted;
use crate::qemu::binary;

const AREA: &str = "QEMU";
const INSTALL: &str = "install Debian's: 'apt-get install qemu-system-x86', or name another with --qemu PATH";

/// The first version that saves and loads snapshots over QMP (snapshot-save, snapshot-load).
const OLDEST: (u32, u32) = (6, 0);

/// What is known of QEMU.
#[derive(Debug, Clone)]
pub struct Facts {
    /// What was looked for.
    pub asked: PathBuf,
    /// The program found.
    pub program: Option<Program>,
}

/// A QEMU. Where it does not answer, its last words.
#[derive(Debug, Clone)]
pub struct Program {
    /// Where it is.
    pub path: PathBuf,
    /// The first line of `--version`.
    pub version: Result<String, String>,
    /// Its devices.
    pub devices: Result<BTreeSet<String>, String>,
    /// Its accelerators.
    pub accelerators: Result<BTreeSet<String>, String>,
    /// Its network backends.
    pub networks: Result<BTreeSet<String>, String>,
    /// Whether it takes `-sandbox on`.
    pub sandbox: bool,
}

impl Facts {
    /// Whether QEMU runs and an accelerator is in it. One that does not tell is believed to have it.
    pub fn accelerates_with(&self, name: &str) -> bool {
        let Some(Program { version: Ok(_), accelerators, .. }) = &self.program else { return false };
        accelerators.as_ref().map_or(true, |there| there.contains(name))
    }
}

/// Looks.
///
/// # Errors
/// [`Interrupted`].
pub fn probe(host: &Host<'_>, asked: &Path) -> Result<Facts, Interrupted> {
    let facts = |program| Facts { asked: asked.to_owned(), program };
    let Ok(path) = binary::find(asked) else { return Ok(facts(None)) };
    let version = host.ask(&path, &["--version"])?.map(|text| text.lines().next().unwrap_or("").to_owned());
    if let Err(said) = &version {
        let (devices, accelerators, networks) = (Err(said.clone()), Err(said.clone()), Err(said.clone()));
        return Ok(facts(Some(Program { path, version, devices, accelerators, networks, sandbox: false })));
    }
    let help = |args: &[&str]| host.ask(&path, args);
    let words = |text: String| text.lines().map(|line| line.trim().to_owned()).collect();
    Ok(facts(Some(Program {
        devices: help(&["-device", "help"])?.map(|text| device_names(&text)),
        accelerators: help(&["-accel", "help"])?.map(words),
        networks: help(&["-netdev", "help"])?.map(words),
        // A QEMU without seccomp does not know the option, and ends before it comes to the second.
        sandbox: help(&["-sandbox", "on", "-accel", "help"])?.is_ok(),
        version,
        path,
    })))
}

/// Device names in `-device help`: `name "ivshmem-plain", bus PCI, desc "Inter-VM shared memory"`.
fn device_names(text: &str) -> BTreeSet<String> {
    let names = text.lines().filter_map(|line| line.trim().strip_prefix("name \"")?.split_once('"'));
    names.map(|(name, _)| name.to_owned()).collect()
}

/// Major and minor of `QEMU emulator version 7.2.22 (Debian ...)`.
fn version_number(text: &str) -> Option<(u32, u32)> {
    let (_, number) = text.split_once("version ")?;
    let mut parts = number.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

/// Judges. `kvm_works` tells whether a missing KVM in QEMU matters.
pub fn findings(facts: &Facts, kvm_works: bool) -> Vec<Finding> {
    let Some(program) = &facts.program else {
        let place = if facts.asked.components().count() > 1 { "exists" } else { "is in PATH" };
        return vec![Finding::missing(
            AREA,
            "program",
            format!("no {} {place}", facts.asked.display()),
            INSTALL,
        )];
    };
    let version = match &program.version {
        Ok(version) => version,
        Err(said) => {
            return vec![Finding::missing(AREA, "program", format!("does not run: {said}"), INSTALL)];
        }
    };
    vec![
        Finding::ok(AREA, "program", program.path.display().to_string()),
        judge_version(version),
        devices(program),
        accelerators(program, kvm_works),
        network(program),
        sandbox(program),
    ]
}

fn judge_version(text: &str) -> Finding {
    const NAME: &str = "version";
    let (major, minor) = OLDEST;
    match version_number(text) {
        Some(number) if number >= OLDEST => {
            Finding::ok(AREA, NAME, text.strip_prefix("QEMU emulator version ").unwrap_or(text))
        }
        Some(_) => Finding::degraded(
            AREA,
            NAME,
            format!(
                "{text}: older than {major}.{minor}, so no snapshot of the Debian guest: each start is a cold boot"
            ),
            INSTALL,
        ),
        None => Finding::degraded(AREA, NAME, format!("not understood: {text:?}"), INSTALL),
    }
}

fn devices(program: &Program) -> Finding {
    const NAME: &str = "ivshmem";
    let devices = match &program.devices {
        Ok(devices) => devices,
        Err(said) => {
            return Finding::missing(AREA, NAME, format!("its devices are not told: {said}"), INSTALL);
        }
    };
    match ["ivshmem-plain", "ivshmem-doorbell"].map(|name| devices.contains(name)) {
        [true, true] => Finding::ok(AREA, NAME, "ivshmem-plain, ivshmem-doorbell"),
        [true, false] => Finding::degraded(AREA, NAME, "ivshmem-plain only: no doorbell", INSTALL),
        [false, _] => Finding::missing(AREA, NAME, "no ivshmem-plain device", INSTALL),
    }
}

fn accelerators(program: &Program, kvm_works: bool) -> Finding {
    const NAME: &str = "accelerators";
    let there = match &program.accelerators {
        Ok(there) => there,
        Err(said) => return Finding::degraded(AREA, NAME, format!("not told: {said}"), INSTALL),
    };
    match (there.contains("kvm"), there.contains("tcg")) {
        (true, true) => Finding::ok(AREA, NAME, "kvm, tcg"),
        (true, false) if kvm_works => Finding::ok(AREA, NAME, "kvm only, and it works here"),
        (true, false) => Finding::missing(AREA, NAME, "kvm only, which does not work here", INSTALL),
        (false, true) if kvm_works => {
            Finding::degraded(AREA, NAME, "tcg only, though KVM works on this machine", INSTALL)
        }
        (false, true) => Finding::ok(AREA, NAME, "tcg only, which is all this machine can use"),
        (false, false) => Finding::missing(AREA, NAME, "neither kvm nor tcg", INSTALL),
    }
}

fn network(program: &Program) -> Finding {
    const NAME: &str = "network";
    match &program.networks {
        Ok(there) if there.contains("user") => Finding::ok(AREA, NAME, "user-mode networking (slirp)"),
        Ok(_) => {
            let seen =
                "no user-mode networking (slirp): the Debian guest has no SSH; the micro guest needs none";
            Finding::degraded(AREA, NAME, seen, INSTALL)
        }
        Err(said) => Finding::degraded(AREA, NAME, format!("not told: {said}"), INSTALL),
    }
}

fn sandbox(program: &Program) -> Finding {
    const NAME: &str = "sandbox";
    if program.sandbox {
        return Finding::ok(AREA, NAME, "seccomp");
    }
    Finding::degraded(AREA, NAME, "no seccomp: QEMU runs without confining itself", INSTALL)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::finding::State;
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    /// A QEMU with everything.
    pub(crate) fn whole() -> Facts {
        let program = Program {
            path: "/usr/bin/qemu-system-x86_64".into(),
            version: Ok("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)".to_owned()),
            devices: Ok(set(&["ivshmem-plain", "ivshmem-doorbell", "e1000"])),
            accelerators: Ok(set(&["kvm", "tcg"])),
            networks: Ok(set(&["user", "tap"])),
            sandbox: true,
        };
        Facts { asked: binary::DEFAULT.into(), program: Some(program) }
    }

    fn changed(change: impl FnOnce(&mut Program)) -> Facts {
        let mut facts = whole();
        change(facts.program.as_mut().unwrap());
        facts
    }

    fn worst(facts: &Facts, kvm_works: bool) -> (State, &'static str) {
        let finding = findings(facts, kvm_works).into_iter().max_by_key(|finding| finding.state).unwrap();
        (finding.state, if finding.state == State::Ok { "" } else { finding.name })
    }

    #[test]
    fn a_whole_qemu_is_fine() {
        assert_eq!(worst(&whole(), true), (State::Ok, ""));
    }

    #[test]
    fn without_a_program_or_its_device_the_main_job_cannot_run() {
        let absent = Facts { program: None, ..whole() };
        assert_eq!(worst(&absent, true), (State::Missing, "program"));
        assert_eq!(findings(&absent, true)[0].seen, "no qemu-system-x86_64 is in PATH");
        let silent = changed(|program| program.version = Err("killed".to_owned()));
        assert_eq!(worst(&silent, true), (State::Missing, "program"));
        assert!(!silent.accelerates_with("tcg"));
        for devices in [Ok(set(&["e1000"])), Err("it crashed".to_owned())] {
            assert_eq!(worst(&changed(|p| p.devices = devices), true), (State::Missing, "ivshmem"));
        }
    }

    #[test]
    fn what_only_the_debian_guest_or_a_doorbell_needs_degrades() {
        let old = changed(|p| p.version = Ok("QEMU emulator version 5.2.0 (Debian)".to_owned()));
        assert_eq!(worst(&old, true), (State::Degraded, "version"));
        let odd = changed(|p| p.version = Ok("hello".to_owned()));
        assert_eq!(worst(&odd, true), (State::Degraded, "version"));
        let plain = changed(|p| p.devices = Ok(set(&["ivshmem-plain"])));
        assert_eq!(worst(&plain, true), (State::Degraded, "ivshmem"));
        assert_eq!(worst(&changed(|p| p.networks = Ok(set(&["tap"]))), true), (State::Degraded, "network"));
        assert_eq!(worst(&changed(|p| p.sandbox = false), true), (State::Degraded, "sandbox"));
    }

    #[test]
    fn an_accelerator_matters_where_the_other_does_not_work() {
        let with = |names: &[&str]| changed(|p| p.accelerators = Ok(set(names)));
        assert_eq!(worst(&with(&["tcg"]), false).0, State::Ok);
        assert_eq!(worst(&with(&["tcg"]), true).0, State::Degraded);
        assert_eq!(worst(&with(&["kvm"]), true).0, State::Ok);
        assert_eq!(worst(&with(&["kvm"]), false).0, State::Missing);
        assert_eq!(worst(&with(&[]), true).0, State::Missing);
    }

    #[test]
    fn versions_and_devices_are_read_from_qemus_words() {
        assert_eq!(version_number("QEMU emulator version 10.0.2 (Debian 1:10)"), Some((10, 0)));
        assert_eq!(version_number("QEMU emulator version x"), None);
        let help = "Misc devices:\nname \"ivshmem-plain\", bus PCI, desc \"x\"\nname \"edu\"\n";
        assert_eq!(device_names(help), set(&["edu", "ivshmem-plain"]));
    }
}
