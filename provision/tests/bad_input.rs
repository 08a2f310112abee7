//! Input that cannot work: one clear line, a non-zero exit, nothing left behind. No guest boots here.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use common::{Place, fail, install, run, script};

#[test]
fn unknown_flags_and_values_are_usage_errors() {
    let place = Place::new();
    for args in [
        &["up", "--no-such-flag"][..],
        &["up", "--guest", "windows"],
        &["up", "--vcpus", "0"],
        &["up", "--memory", "lots"],
        &["up", "--cpu-pin", "3-1"],
        &["up", "--cpu-pin", "1023"],
        &["up", "--shm-size", "60M"],
        &["up", "--guest", "micro", "--fresh"],
        &["up", "--name", "../evil"],
        &["down", "--name", "A"],
        &[],
    ] {
        let (code, _, err) = run(&mut place.provision(args));
        assert_eq!(code, Some(2), "{args:?}: {err}");
    }
    place.assert_clean();
}

#[test]
fn a_kernel_that_is_absent_or_none_is_named() {
    let place = Place::new();
    let absent = fail(&mut place.up(&["--accel", "tcg", "--kernel", "/nonexistent/vmlinuz"]), 1);
    assert_eq!(absent, "provision: kernel /nonexistent/vmlinuz: No such file or directory (os error 2)");
    let none = fail(&mut place.up(&["--accel", "tcg", "--kernel", "/etc/passwd"]), 1);
    assert!(none.starts_with("provision: /etc/passwd is not a kernel: neither a bzImage"), "{none}");
    place.assert_clean();
}

#[test]
fn a_guest_program_that_is_absent_or_dynamic_comes_with_how_to_build_it() {
    let place = Place::new();
    let absent = fail(&mut place.up(&["--guest-reader", "/nonexistent/guest-reader"]), 1);
    assert!(absent.contains("-C target-feature=+crt-static"), "{absent}");
    let dynamic = assert_cmd::cargo::cargo_bin!("provision");
    let error = fail(place.up(&["--guest-reader"]).arg(dynamic), 1);
    assert!(error.contains("is dynamically linked (it asks for /lib64/"), "{error}");
    place.assert_clean();
}

#[test]
fn a_region_of_another_size_is_left_alone() {
    let place = Place::new();
    fs::write(place.region(), "something of value").unwrap();
    let error = fail(&mut place.up(&["--accel", "tcg"]), 1);
    assert!(error.contains("holds 18 bytes but 16777216 are wanted"), "{error}");
    assert_eq!(fs::read(place.region()).unwrap(), b"something of value");
    fs::remove_file(place.region()).unwrap();
    place.assert_clean();
}

#[test]
fn a_qemu_that_is_absent_or_no_qemu_or_dies_is_told_in_its_own_words() {
    let place = Place::new();
    let with = |program: &Path| fail(place.up(&["--accel", "tcg", "--qemu"]).arg(program), 1);
    let absent = with(Path::new("no-such-qemu"));
    assert!(
        absent.contains("no no-such-qemu in PATH; install it with 'apt-get install qemu-system-x86'"),
        "{absent}"
    );
    let silent = with(Path::new("/bin/true"));
    assert!(silent.contains("QEMU ended before the guest ran (exit status: 0)"), "{silent}");
    let dies = with(&script(&place, "echo 'qemu: cannot set up guest memory' >&2; exit 1"));
    assert_eq!(
        dies,
        "provision: QEMU ended before the guest ran (exit status: 1): qemu: cannot set up guest memory"
    );
    let old =
        with(&script(&place, "echo \"x: 'ivshmem-plain' is not a valid device model name\" >&2; exit 1"));
    assert!(old.contains("has no ivshmem-plain device: install Debian's QEMU"), "{old}");
    // As `-cpu host` does on a KVM that does not keep its promises: it greets, and then aborts.
    let greets = r#"echo '{"QMP":{"version":{"qemu":{"micro":0,"minor":2,"major":7},"package":""},"capabilities":[]}}' >&0
        echo 'error: failed to set MSR 0x10a' >&2; kill -ABRT $$"#;
    let aborts = with(&script(&place, greets));
    assert!(aborts.contains("failed to set MSR 0x10a"), "{aborts}");
    place.assert_clean();
}

#[test]
fn insisting_on_a_kvm_that_is_none_fails_clearly() {
    let place = Place::new();
    let with = |device: &str| fail(&mut place.up(&["--accel", "kvm", "--kvm-device", device]), 1);
    let absent = with("/nonexistent/kvm");
    assert!(absent.starts_with("provision: KVM is not usable here: /nonexistent/kvm is absent"), "{absent}");
    let file = tempfile::NamedTempFile::new().unwrap();
    let lying = with(file.path().to_str().unwrap());
    assert!(lying.contains("is not a KVM device: it does not know KVM_GET_API_VERSION"), "{lying}");
    place.assert_clean();
}

#[test]
fn a_forbidden_kvm_advises_the_group() {
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
    let mut up = Command::new(&copy);
    up.args(["up", "--guest", "micro", "--accel", "kvm", "--shm"]).arg(place.region()).arg("--kvm-device");
    up.arg(device.path()).env("IVSHMEM_STATE_DIR", place.state()).env("IVSHMEM_CACHE_DIR", copies.path());
    if nix::unistd::geteuid().is_root() {
        up.uid(65534).gid(65534);
    }
    // Only the ladder must fail here, not what is prepared beside it.
    up.args(["--kernel", "/etc/passwd"]);
    let error = fail(&mut up, 1);
    assert!(
        error.contains("is forbidden to this user: join its group with 'sudo usermod -aG kvm $USER'"),
        "{error}"
    );
    place.assert_clean();
}

#[test]
fn a_state_directory_too_deep_for_a_socket_is_refused() {
    let place = Place::new();
    let deep = place.state().join("d".repeat(100));
    let error = fail(place.up(&[]).env("IVSHMEM_STATE_DIR", &deep), 1);
    assert!(error.contains("set IVSHMEM_STATE_DIR to a shorter path"), "{error}");
    place.assert_clean();
}

#[test]
fn help_is_what_the_user_reads() {
    let place = Place::new();
    let mut texts = Vec::new();
    for args in [
        &["--help"][..],
        &["up", "--help"],
        &["status", "--help"],
        &["down", "--help"],
        &["console", "--help"],
        &["doorbell-server", "--help"],
    ] {
        let (out, _) = common::succeed(place.provision(args).env("COLUMNS", "100"));
        texts.push(out);
    }
    insta::assert_snapshot!(texts.join("\n----------\n"));
}
