//! A KVM that passes the ladder and on which QEMU then fails: `auto` starts once more under TCG, `kvm` gives up.
//! QEMU is a script here that aborts under KVM, as `-cpu host` does on a KVM that only emulates, and plays a
//! whole start under TCG.

mod common;

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use clap::Parser;
use common::{Place, script};
use provision::Error;
use provision::accel::ladder::Climb;
use provision::accel::{Accelerator, Asked, Measured, Rung, Verdict};
use provision::claim::Claim;
use provision::cli::{Cli, Command};
use provision::config::UpConfig;
use provision::interrupt::Interrupts;
use provision::pin::Plan;
use provision::qemu::args::Boot;
use provision::report::Progress;
use provision::start::{Guest, Start, Up};
use provision::state::VmDirectory;

const QEMU: &str = r#"
greet() { echo '{"QMP":{"version":{"qemu":{"micro":22,"minor":2,"major":7},"package":"script"},"capabilities":[]}}' >&0; }
answer() { read -r request; echo "{\"return\": $1}" >&0; }
greet
case "$*" in *"-accel kvm"*) echo 'error: failed to set MSR 0x10a' >&2; kill -ABRT $$;; esac
answer '{}'
answer "[{\"cpu-index\":0,\"qom-path\":\"/machine\",\"thread-id\":$$,\"target\":\"x86_64\"}]"
answer '{}'
echo booting > SERIAL_LOG
echo 'READY version=script'
read -r until_killed
"#;

/// A start on a KVM that passed the whole ladder.
fn start(place: &Place, asked: &str) -> Result<Up, Error> {
    let args = ["provision", "up", "--guest", "micro", "--accel", asked, "--shm"].map(OsString::from);
    let cli = Cli::try_parse_from(args.into_iter().chain([place.region().into()])).unwrap();
    let Command::Up(args) = cli.command else { unreachable!() };
    let config = UpConfig::try_from(*args).unwrap();
    let directory = VmDirectory::new(place.state(), &config.name);
    let qemu = script(place, &QEMU.replace("SERIAL_LOG", directory.serial_log().to_str().unwrap()));
    let (mut claim, _) = Claim::take(directory, &config.region.path, None).unwrap();
    let measured = Measured { instructions_per_second: 3e9, exit_cost_ns: Some(1000.0) };
    let rungs = vec![Rung::passed("instruction rate", "3000 million instructions/s")];
    let climb = Climb { rungs, measured: Some(measured), cost: Duration::from_millis(10) };
    let start = Start {
        config: &config,
        qemu: &qemu,
        pins: &Plan { others: vec![], cpus: Vec::new(), note: None },
        interrupts: &Interrupts::catch().unwrap(),
        progress: Progress { quiet: true },
        guest: Guest::Micro(Boot {
            kernel: Path::new("/nonexistent/vmlinuz"),
            initrd: Path::new("/nonexistent/initramfs"),
            append: "",
        }),
    };
    start.until_ready(&mut claim, Verdict::from_climb(config.asked, climb).unwrap())
}

#[test]
fn auto_starts_once_more_under_tcg_and_records_why() {
    let place = Place::new();
    let up = start(&place, "auto").unwrap();
    assert_eq!((up.verdict.asked, up.verdict.effective), (Asked::Auto, Accelerator::Tcg));
    assert_eq!(up.verdict.why, "QEMU does not survive its start on KVM: error: failed to set MSR 0x10a");
    let (last, before) = up.verdict.ladder.split_last().unwrap();
    assert!(before.iter().all(|rung| rung.passed));
    assert_eq!((last.rung.as_str(), last.passed), ("QEMU start", false));
    assert_eq!(
        (up.booted.version.as_str(), up.booted.ready.as_str()),
        ("7.2.22 (script)", "READY version=script")
    );
    assert!(up.args.windows(2).any(|pair| pair == ["-accel", "tcg"]));
    drop(up);
    place.assert_clean();
}

#[test]
fn who_insists_on_kvm_is_told_qemus_words() {
    let place = Place::new();
    let error = start(&place, "kvm").unwrap_err().to_string();
    assert!(
        error.starts_with("KVM is not usable here: QEMU does not survive its start on KVM: error: failed"),
        "{error}"
    );
    place.assert_clean();
}
