//! `provision check`, `completions` and `man`, end to end. No guest boots here.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Place, install, run, script, succeed};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use serde_json::Value;

const SUBCOMMANDS: [&str; 14] = [
    "check",
    "clean",
    "completions",
    "console",
    "deploy",
    "doorbell-server",
    "down",
    "driver",
    "list",
    "man",
    "run",
    "ssh",
    "status",
    "up",
];

/// What `check --json` says, with more arguments, and its exit code.
fn checked(place: &Place, args: &[&str]) -> (Option<i32>, Value) {
    let (code, out, err) = run(place.provision(&["check", "--json"]).args(args));
    assert_eq!(err, "");
    (code, serde_json::from_str(&out).unwrap())
}

fn finding<'a>(report: &'a Value, area: &str, name: &str) -> &'a Value {
    let findings = report["findings"].as_array().unwrap();
    findings.iter().find(|f| f["area"] == area && f["name"] == name).unwrap()
}

#[test]
fn this_machine_can_run_the_main_job_and_both_forms_agree() {
    let place = Place::new();
    let (code, report) = checked(&place, &[]);
    assert_eq!(
        (code, &report["schema"], &report["can_run"]),
        (Some(0), &"ivshmem-check/1".into(), &true.into())
    );
    let accelerator = report["accelerator"].as_str().unwrap().to_uppercase();
    let (text, _) = succeed(&mut place.provision(&["check"]));
    assert!(text.contains(&format!("\nThe main job can run here, under {accelerator}: ")), "{text}");
    assert!(!text.contains('\x1b'), "no colours in a pipe");
    for finding in report["findings"].as_array().unwrap() {
        let line =
            format!("  {:8}  {}", finding["state"].as_str().unwrap(), finding["name"].as_str().unwrap());
        assert!(text.lines().any(|shown| shown.starts_with(&line)), "no line {line:?} in\n{text}");
        assert!(finding["state"] == "ok" || finding["remedy"].is_string(), "{finding}");
    }
    // The ladder decides here as it does for up.
    let ladder = finding(&report, "KVM", "ladder");
    assert_eq!(ladder["state"] == "ok", accelerator == "KVM", "{ladder}");
    place.assert_clean();
}

#[test]
fn without_kvm_the_main_job_runs_under_tcg() {
    let place = Place::new();
    let (code, report) = checked(&place, &["--kvm-device", "/nonexistent/kvm"]);
    assert_eq!((code, &report["accelerator"]), (Some(0), &"tcg".into()));
    assert_eq!(finding(&report, "KVM", "device")["seen"], "/nonexistent/kvm is absent");
    let summary = report["summary"].as_str().unwrap();
    assert!(
        summary.starts_with("The main job can run here, under TCG: /nonexistent/kvm is absent"),
        "{summary}"
    );
    let lying = tempfile::NamedTempFile::new().unwrap();
    let (code, report) = checked(&place, &["--kvm-device", lying.path().to_str().unwrap()]);
    assert_eq!((code, &finding(&report, "KVM", "device")["state"]), (Some(0), &"ok".into()));
    let ladder = finding(&report, "KVM", "ladder")["seen"].as_str().unwrap();
    assert!(ladder.contains("is not a KVM device"), "{ladder}");
    place.assert_clean();
}

#[test]
fn an_ordinary_user_without_rights_is_told_of_the_group_and_never_of_666() {
    let place = Place::new();
    let device = tempfile::NamedTempFile::new().unwrap();
    fs::set_permissions(device.path(), fs::Permissions::from_mode(0o000)).unwrap();
    // Root may open anything: then an ordinary user asks, with a copy of the program that user can reach.
    let copies = tempfile::tempdir().unwrap();
    let copy = copies.path().join("provision");
    install(assert_cmd::cargo::cargo_bin!("provision"), &copy);
    for open_to_all in [copies.path(), place.state()] {
        fs::set_permissions(open_to_all, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let mut check = Command::new(&copy);
    check.args(["check", "--json", "--kvm-device"]).arg(device.path());
    check.env("IVSHMEM_STATE_DIR", place.state()).env("IVSHMEM_CACHE_DIR", copies.path());
    if nix::unistd::geteuid().is_root() {
        check.uid(65534).gid(65534);
    }
    let (out, _) = succeed(&mut check);
    let report = serde_json::from_str(&out).unwrap();
    let device = finding(&report, "KVM", "device");
    assert_eq!(device["state"], "degraded");
    let remedy = device["remedy"].as_str().unwrap();
    assert!(remedy.contains("sudo usermod -aG kvm $USER', and log in again"), "{remedy}");
    assert!(!out.contains("chmod 666"), "{out}");
    // Only an ordinary user needs these.
    assert!(finding(&report, "tools", "user namespaces")["seen"].is_string());
    // No rights to write is no reason to fail either, only to say so.
    check.env("IVSHMEM_STATE_DIR", "/proc/forbidden");
    let (code, out, _) = run(&mut check);
    let report = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &finding(&report, "disk", "state")["state"]), (Some(3), &"missing".into()));
    place.assert_clean();
}

#[test]
fn without_qemu_the_main_job_cannot_run_and_the_package_is_named() {
    let place = Place::new();
    for path in ["", "/nonexistent"] {
        let (code, out, err) = run(place.provision(&["check"]).env("PATH", path));
        assert_eq!((code, err.as_str()), (Some(3), ""), "{out}");
        assert!(out.contains("missing   program"), "{out}");
        assert!(out.contains("apt-get install qemu-system-x86"), "{out}");
        assert!(out.contains("apt-get install openssh-client"), "{out}");
        let summary = out.lines().find(|line| line.starts_with("The main job cannot run here")).unwrap();
        assert!(summary.contains("QEMU program"), "{summary}");
    }
    place.assert_clean();
}

#[test]
fn a_qemu_that_is_none_or_has_no_ivshmem_is_told_in_its_own_words() {
    let place = Place::new();
    let with = |text: &str| {
        let program = script(&place, text);
        let (code, report) = checked(&place, &["--qemu", program.to_str().unwrap()]);
        assert_eq!((code, &report["can_run"]), (Some(3), &false.into()), "{report}");
        report
    };
    let broken = with("echo 'error while loading shared libraries: libx.so' >&2; exit 127");
    let seen = finding(&broken, "QEMU", "program")["seen"].as_str().unwrap();
    assert!(seen.ends_with("error while loading shared libraries: libx.so"), "{seen}");
    assert!(broken["accelerator"].is_null());
    let poor = with(
        r#"case "$*" in
        --version) echo 'QEMU emulator version 5.2.0';;
        *sandbox*) echo '-sandbox support is not enabled in this QEMU binary' >&2; exit 1;;
        *accel*) echo 'Accelerators supported in QEMU binary:'; echo tcg;;
        *device*) echo 'name "e1000", bus PCI';;
    esac"#,
    );
    assert_eq!(finding(&poor, "QEMU", "ivshmem")["seen"], "no ivshmem-plain device");
    for name in ["version", "network", "sandbox"] {
        assert_eq!(finding(&poor, "QEMU", name)["state"], "degraded", "{name}");
    }
    place.assert_clean();
}

#[test]
fn ctrl_c_ends_it_and_the_program_it_was_asking() {
    let place = Place::new();
    let pipes = tempfile::tempdir().unwrap();
    let fifo = pipes.path().join("here");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let qemu = script(&place, &format!("echo $$ > {}; exec tail -f /dev/null", fifo.display()));
    let mut check = place.provision(&["check", "--qemu"]);
    let child = check.arg(qemu).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Opens and reads once QEMU has been asked.
    let mut qemu_pid = String::new();
    fs::File::open(&fifo).unwrap().read_to_string(&mut qemu_pid).unwrap();
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "provision: interrupted (SIGINT)\n");
    assert!(!Path::new("/proc").join(qemu_pid.trim()).exists(), "QEMU is left");
    place.assert_clean();
}

#[test]
fn completion_scripts_name_every_subcommand() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let (text, _) = succeed(&mut place.provision(&["completions", shell]));
        for subcommand in SUBCOMMANDS {
            assert!(text.contains(subcommand), "{shell}: {subcommand}");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &text).unwrap();
        // Shells that are installed read it without running it.
        match Command::new(shell).arg("-n").arg(file.path()).output() {
            Ok(read) => assert!(read.status.success(), "{shell}: {}", String::from_utf8_lossy(&read.stderr)),
            Err(_) => assert_ne!(shell, "bash", "bash is everywhere"),
        }
    }
    assert_eq!(run(&mut place.provision(&["completions", "command.com"])).0, Some(2));
}

#[test]
fn man_pages_are_whole_and_carry_examples_and_exit_codes() {
    let place = Place::new();
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("share/man/man1");
    let write = || succeed(place.provision(&["man"]).arg(&target)).0;
    let written: BTreeSet<String> = write().lines().map(str::to_owned).collect();
    assert_eq!(write().lines().count(), written.len(), "again, over the first");
    let mut expected: BTreeSet<String> = SUBCOMMANDS
        .iter()
        .map(|sub| target.join(format!("provision-{sub}.1")).display().to_string())
        .collect();
    expected.insert(target.join("provision.1").display().to_string());
    assert_eq!(written, expected);
    assert_eq!(fs::read_dir(&target).unwrap().count(), written.len(), "nothing else is left there");
    for path in &written {
        let page = fs::read_to_string(path).unwrap();
        let sections: Vec<&str> = page.split("\n.SH ").skip(1).collect();
        for section in &sections {
            let (heading, body) = section.split_once('\n').unwrap_or((section, ""));
            let text = body.lines().any(|line| !line.starts_with('.') && !line.trim().is_empty());
            assert!(text, "{path}: section {heading} is empty");
        }
        let has = |heading: &str| sections.iter().any(|s| s.trim_start_matches('"').starts_with(heading));
        assert!(has("NAME") && has("SYNOPSIS") && has("EXIT STATUS") && has("SEE ALSO"), "{path}");
        assert!(!page.contains("kvm\\-device"), "{path}: hidden flags stay hidden");
        if path.ends_with("-up.1") {
            assert!(has("EXAMPLES") && page.contains("\nprovision up \\-\\-guest micro"), "{page}");
        }
    }
}

#[test]
fn man_pages_in_a_place_that_cannot_be_are_one_line_of_error() {
    let place = Place::new();
    let error = common::fail(&mut place.provision(&["man", "/proc/man"]), 1);
    assert!(error.starts_with("provision: write man pages to /proc/man: No such file"), "{error}");
}
