//! The life of a Debian guest, end to end: an image from the package mirror, real QEMU under TCG, real cloud-init,
//! real SSH, real frames through BAR2, and snapshots. The image is cached below the target directory, across runs.
//!
//! Needs the package mirror the first time, and the static guest-reader and host-writer.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use common::{Place, fail, run, succeed};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use provision::process::ProcessId;
use serde_json::Value;

/// One VM at a time: two share the machine's cores with each other's deadlines.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `provision up` of a Debian guest on this place's region, with more arguments.
fn up(place: &Place, args: &[&str]) -> Command {
    let mut command = place.provision(&["up", "--image", "mirror", "--no-dev-tools", "--ssh-port", "auto"]);
    command.args(["--accel", "tcg", "--shm-size", "32M", "--shm"]).arg(place.region()).args(args);
    command
}

fn up_json(place: &Place, args: &[&str]) -> (Value, String) {
    let (out, err) = succeed(up(place, &["--json"]).args(args));
    (serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}")), err)
}

/// Runs a command in the guest and returns what it printed.
fn guest(place: &Place, command: &str) -> String {
    succeed(&mut place.provision(&["ssh", "--", command])).0.trim().to_owned()
}

/// A few messages and frames through the guest's BAR2, every one of them verified.
fn measure(place: &Place, out: &Path) {
    let mut command = place.provision(&["run", "--out"]);
    command.arg(out).args(["--host-writer"]).arg(program("host-writer"));
    succeed(command.args(["--", "--messages", "2000", "--frames", "1080p", "--iterations", "2", "--quiet"]));
    let latency = fs::read_to_string(out.join("latency_results.csv")).unwrap();
    assert_eq!(latency.lines().filter(|line| line.contains(",ok")).count(), 2000);
    let bandwidth = fs::read_to_string(out.join("bandwidth_results.csv")).unwrap();
    let column = |row: &str, name: &str| {
        let at = bandwidth.lines().next().unwrap().split(',').position(|header| header == name).unwrap();
        row.split(',').nth(at).unwrap().to_owned()
    };
    let rows: Vec<&str> = bandwidth.lines().skip(1).collect();
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| column(row, "status") == "ok"), "{bandwidth}");
    assert!(fs::read_to_string(out.join("guest-reader.log")).unwrap().contains("0000:00:"));
    assert!(!out.join("guest-load.log").exists());
    let run: Value = serde_json::from_str(&fs::read_to_string(out.join("run.json")).unwrap()).unwrap();
    assert_eq!(run["vm"]["guest"], "debian");
}

/// The same beside workers of every kind, which are there and are gone again.
fn measure_loaded(place: &Place, out: &Path) {
    let mut command = place.provision(&["run", "--guest-load", "cpu=1,memory=1,io=1", "--out"]);
    command.arg(out).args(["--host-writer"]).arg(program("host-writer"));
    succeed(command.args(["--", "--messages", "2000", "--frames", "none", "--quiet"]));
    let latency = fs::read_to_string(out.join("latency_results.csv")).unwrap();
    assert_eq!(latency.lines().filter(|line| line.contains(",ok")).count(), 2000);
    let log = fs::read_to_string(out.join("guest-load.log")).unwrap();
    assert!(log.contains("dispatching hogs: 1 cpu, 1 stream, 1 hdd"), "{log}");
    assert!(log.contains("successful run completed"), "{log}");
    assert_eq!(guest(place, "pgrep -c stress-ng; ls /run /var/tmp | grep -c guest-load; true"), "0\n0");
}

/// The kernel driver is built for this guest and loaded, in the place of an older one but not of one in use, and when
/// it is gone again the device is as it was.
fn deploy_driver(place: &Place) {
    let deploy = || place.provision(&["deploy", "--driver"]);
    for _ in 0..2 {
        let (out, _) = succeed(&mut deploy());
        assert!(out.starts_with("ivshmem_uio is loaded in debian, built for kernel "), "{out}");
        // ivshmem-plain has no interrupts, and one UIO device.
        assert_eq!(out.lines().skip(1).collect::<Vec<_>>(), ["/dev/uio0 ivshmem_uio.0"]);
    }
    assert_eq!(guest(place, "cat /sys/bus/pci/drivers/ivshmem_uio/*:*/shared_memory_pages"), "1");
    guest(
        place,
        "sudo systemd-run --quiet --unit holder sh -c 'exec 3</dev/uio0; touch /run/held; sleep 1000'",
    );
    guest(place, "until [ -e /run/held ]; do sleep 0.1; done");
    let refused = fail(&mut deploy(), 1);
    assert!(refused.ends_with("the loaded one is in use: stop guest-reader and deploy again"), "{refused}");
    guest(place, "sudo systemctl stop holder; sudo rmmod ivshmem_uio");
}

/// Messages that each side sleeps for: by our driver, by the kernel's own VFIO, and by neither while another driver has the
/// device.
fn measure_by_interrupts(place: &Place, out: &Path) {
    let measured = |wait: &str| {
        let mut command = place.provision(&["run", "--guest-args", &format!("--wait {wait}"), "--out"]);
        command.arg(out).args(["--host-writer"]).arg(program("host-writer"));
        command.args([
            "--",
            "--wait",
            "doorbell",
            "--messages",
            "300",
            "--interval",
            "1ms",
            "--frames",
            "none",
            "--quiet",
        ]);
        command
    };
    let device = guest(place, "cd /sys/bus/pci/devices; grep -l 0x1110 */device | cut -d/ -f1");
    let bind = format!(
        "sudo modprobe uio_pci_generic; cd /sys/bus/pci; echo uio_pci_generic | sudo tee devices/{device}/driver_override; \
         echo {device} | sudo tee drivers_probe"
    );
    guest(place, &bind);
    let unbind = format!("echo {device} | sudo tee /sys/bus/pci/drivers/uio_pci_generic/unbind");
    for mut refused in [place.provision(&["deploy", "--driver"]), measured("uio"), measured("vfio")] {
        let line = fail(&mut refused, 1);
        let taken = format!("{device} is bound to the driver uio_pci_generic; unbind it: {unbind}");
        assert!(line.ends_with(&taken), "{line}");
    }
    guest(place, &unbind);
    let (deployed, _) = succeed(&mut place.provision(&["deploy", "--driver"]));
    assert!(
        deployed
            .ends_with(&format!("{device} is bound to none: guest-reader --wait uio takes it from there\n")),
        "{deployed}"
    );
    for (wait, memory_type) in [("uio", "write-back"), ("vfio", "uncached-minus")] {
        succeed(&mut measured(wait));
        let run: Value = serde_json::from_str(&fs::read_to_string(out.join("run.json")).unwrap()).unwrap();
        let doorbell = &run["doorbell"];
        assert_eq!((&doorbell["guest_wait"], &doorbell["missed"]), (&wait.into(), &0.into()), "{doorbell}");
        for counted in ["interrupts", "host_interrupts"] {
            assert!(doorbell[counted].as_u64().unwrap() >= 200, "{counted}: {doorbell}");
        }
        assert_eq!(
            (&run["guest"]["map_kind"], &run["guest"]["memory_type"]),
            (&wait.into(), &memory_type.into())
        );
    }
    let (deployed, _) = succeed(&mut place.provision(&["deploy", "--driver"]));
    assert!(deployed.contains(&format!("{device} is bound to vfio-pci: ")), "{deployed}");
}

/// A program built beside provision.
fn program(name: &str) -> PathBuf {
    assert_cmd::cargo::cargo_bin!("provision").with_file_name(name)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn assert_clock_is_right(place: &Place) {
    let (before, guests, after) = (now(), guest(place, "date +%s").parse::<u64>().unwrap(), now());
    assert!(before.saturating_sub(2) <= guests && guests <= after + 2, "{before} {guests} {after}");
}

fn assert_phases_in_order(vm: &Value, names: &[&str]) {
    let times: Vec<f64> =
        names.iter().map(|name| vm["phases_ms"][name].as_f64().unwrap_or(f64::NAN)).collect();
    assert!(times.is_sorted() && !times.iter().any(|ms| ms.is_nan()), "{names:?} {times:?}");
}

fn kill_and_wait(vm: &Value) {
    let pid: u32 = vm["pid"].as_u64().unwrap().try_into().unwrap();
    let id = ProcessId { pid, start_time_ticks: vm["pid_start_time_ticks"].as_u64().unwrap() };
    let process = id.open().unwrap().unwrap();
    process.kill().unwrap();
    assert!(process.wait_until(std::time::Instant::now() + std::time::Duration::from_secs(30)).unwrap());
}

#[test]
fn a_vm_is_booted_measured_stopped_restored_and_destroyed() {
    let _turn = alone();
    let place = Place::new();
    let results = tempfile::tempdir().unwrap();

    // Cold.
    let (vm, err) = up_json(&place, &[]);
    assert_eq!((vm["guest"].as_str(), vm["start"].as_str()), (Some("debian"), Some("cold")), "{err}");
    assert_phases_in_order(
        &vm,
        &[
            "qmp",
            "first_serial_byte",
            "kernel",
            "userland",
            "network",
            "sshd",
            "cloud_init",
            "ssh_handshake",
            "ready",
        ],
    );
    assert_eq!(vm["disk"]["snapshot"], true);
    let release = vm["kernel"]["release"].as_str().unwrap();
    assert_eq!(guest(&place, "uname -r"), release);
    assert_eq!(guest(&place, "id -un; sudo id -un"), "debian\nroot");
    assert_eq!(guest(&place, "cloud-init status"), "status: done");
    assert_eq!(guest(&place, "hostname"), "debian");
    assert_clock_is_right(&place);
    // The seed as the guest's own tools read it.
    let seed = guest(
        &place,
        "sudo mkdir -p /mnt/seed && sudo mount -o ro LABEL=CIDATA /mnt/seed && head -n 1 /mnt/seed/user-data && \
         ls /mnt/seed; sudo umount /mnt/seed",
    );
    assert_eq!(seed, "#cloud-config\nmeta-data\nnetwork-config\nuser-data");
    assert_eq!(guest(&place, "sudo passwd -S debian | cut -d' ' -f2"), "L");
    assert_eq!(
        guest(&place, "ls /etc/ssh/ssh_host_*"),
        "/etc/ssh/ssh_host_ed25519_key\n/etc/ssh/ssh_host_ed25519_key.pub"
    );

    // Streams and exit codes.
    let (code, out, err) = run(&mut place.provision(&["ssh", "--", "echo out; echo err >&2; exit 7"]));
    assert_eq!((code, out.as_str(), err.as_str()), (Some(7), "out\n", "err\n"));

    // A file of ours, whole and checked.
    let file = results.path().join("a file");
    fs::write(&file, b"content\n").unwrap();
    let (out, _) = succeed(place.provision(&["deploy"]).arg(&file));
    assert!(out.starts_with("deployed "), "{out}");
    assert_eq!(guest(&place, "cat 'a file'"), "content");

    deploy_driver(&place);
    measure(&place, &results.path().join("first"));
    measure_loaded(&place, &results.path().join("loaded"));

    let (out, _) = succeed(&mut place.provision(&["list"]));
    assert!(out.lines().nth(1).unwrap().starts_with("debian"), "{out}");
    let again = fail(&mut up(&place, &[]), 1);
    assert!(again.starts_with("provision: VM debian is already up (pid "), "{again}");

    // The port is this VM's, so another one that insists on it fails, and leaves nothing.
    let port = vm["ssh"]["port"].to_string();
    let region = place.region().with_extension("other");
    let mut other =
        place.provision(&["up", "--name", "other", "--image", "mirror", "--no-dev-tools", "--accel", "tcg"]);
    let taken = fail(other.args(["--ssh-port", &port, "--shm"]).arg(&region), 1);
    assert!(taken.starts_with(&format!("provision: port {port} of 127.0.0.1 is taken")), "{taken}");
    assert!(!place.state().join("other").exists() && !region.exists());

    // Down and back.
    let (out, _) = succeed(&mut place.provision(&["down"]));
    assert_eq!(out, "debian is down\n");
    assert!(!place.region().exists() && place.processes().is_empty());
    let (code, out, _) = run(&mut place.provision(&["status"]));
    assert_eq!(code, Some(3));
    assert!(out.contains("its disk is kept"), "{out}");
    let (vm, err) = up_json(&place, &[]);
    assert_eq!(vm["start"], "restored", "{err}");
    assert_phases_in_order(&vm, &["snapshot_loaded", "qmp", "ssh_handshake", "ready"]);
    assert_clock_is_right(&place);
    assert_eq!(guest(&place, "test -e 'a file' || echo gone"), "gone");
    measure(&place, &results.path().join("second"));

    // Killed behind our back: told, and no obstacle.
    kill_and_wait(&vm);
    let gone = fail(&mut place.provision(&["ssh", "--name", "debian", "--", "true"]), 1);
    assert!(gone.contains("VM debian does not run"), "{gone}");
    let (vm, err) = up_json(&place, &[]);
    assert!(err.contains("removed what a dead VM debian had left"), "{err}");
    assert_eq!(vm["start"], "restored", "{err}");

    let (out, _) = succeed(&mut place.provision(&["down", "--destroy"]));
    assert_eq!(out, "debian is down; its disk is removed\n");
    place.assert_clean();
}

#[test]
fn a_snapshot_that_does_not_fit_or_does_not_load_is_booted_past_and_interrupts_come_after_one_that_does() {
    let _turn = alone();
    let place = Place::new();
    // Interrupts, too: whoever returns to a snapshot meets another server.
    let doorbell = ["--doorbell", "--viommu"];
    let up_json = |place: &Place, args: &[&str]| up_json(place, &[&doorbell, args].concat());
    let up = |place: &Place, args: &[&str]| up(place, &[&doorbell, args].concat());
    let (vm, _) = up_json(&place, &[]);
    assert_eq!(vm["start"], "cold");
    guest(&place, "echo mine > kept && sync");
    succeed(&mut place.provision(&["down"]));

    // As after an upgrade of QEMU. The disk is the one that was shut down, not the one of the snapshot.
    let record = place.state().join("debian/machine/disk.json");
    let text = fs::read_to_string(&record).unwrap();
    let mut disk: Value = serde_json::from_str(&text).unwrap();
    disk["snapshot"]["made_of"]["qemu_version"] = "6.0.0".into();
    fs::write(&record, disk.to_string()).unwrap();
    let (vm, err) = up_json(&place, &[]);
    assert!(err.contains("the snapshot was made by QEMU 6.0.0, this is "), "{err}");
    assert_eq!(vm["start"], "cold");
    assert_eq!(guest(&place, "cat kept"), "mine");
    succeed(&mut place.provision(&["down"]));

    // A snapshot that is not in the disk any more. `--no-snapshot` would boot, too, but say nothing.
    let disk: Value = serde_json::from_str(&fs::read_to_string(&record).unwrap()).unwrap();
    let image = place.state().join("debian/machine/disk.qcow2");
    let listed = succeed(Command::new("qemu-img").args(["snapshot", "-l"]).arg(&image)).0;
    let tag = listed.split_ascii_whitespace().find(|word| word.starts_with("ready-")).unwrap().to_owned();
    assert!(disk["snapshot"].is_object());
    succeed(Command::new("qemu-img").args(["snapshot", "-d", &tag]).arg(&image));
    let (vm, err) = up_json(&place, &["--quiet"]);
    assert_eq!((vm["start"].as_str(), err.as_str()), (Some("cold"), ""));
    assert_eq!(vm["disk"]["snapshot"], true);
    succeed(&mut place.provision(&["down"]));

    // Another disk size or image is not what this VM has.
    let line = fail(&mut up(&place, &["--disk", "30G"]), 1);
    assert!(line.contains("VM debian's disk has 20 GiB, not 30 GiB"), "{line}");
    let line = fail(place.provision(&["up", "--image", "/etc/passwd", "--shm"]).arg(place.region()), 1);
    assert!(line.contains("/etc/passwd") && !line.contains("--fresh"), "{line}");
    let line = fail(&mut up(&place, &["--fresh", "--disk", "1G"]), 1);
    assert!(line.contains("--disk 1 GiB: the image holds a disk of 20 GiB"), "{line}");
    let (log, _) = succeed(&mut place.provision(&["console"]));
    assert!(log.contains("Linux version"), "the last words of a VM that is down");

    // A cloud-config that fails is not kept, and the snapshot of before fits again.
    let config = place.state().with_extension("yaml");
    fs::write(&config, "#cloud-config\nruncmd: [[sh, -c, 'exit 3']]\n").unwrap();
    let line = fail(up(&place, &["--user-data"]).arg(&config), 1);
    fs::remove_file(&config).unwrap();
    assert!(line.starts_with("provision: cloud-init failed: "), "{line}");
    let (vm, err) = up_json(&place, &[]);
    assert_eq!(vm["start"], "restored", "{err}");
    let results = tempfile::tempdir().unwrap();
    measure_by_interrupts(&place, results.path());
    succeed(&mut place.provision(&["down", "--destroy"]));
    place.assert_clean();
}

#[test]
fn what_cloud_init_complains_of_is_reported_in_its_own_words_and_nothing_is_left() {
    let _turn = alone();
    let place = Place::new();
    let config = place.state().with_extension("yaml");
    fs::write(&config, "#cloud-config\nruncmd:\n- [sh, -c, 'echo no such thing >&2; exit 3']\n").unwrap();
    let line = fail(up(&place, &["--user-data"]).arg(&config), 1);
    assert!(line.starts_with("provision: cloud-init failed: ") && line.contains("scripts"), "{line}");
    place.assert_clean();

    fs::write(&config, "#cloud-config\nruncmd: [\n").unwrap();
    let line = fail(up(&place, &["--user-data"]).arg(&config), 1);
    assert!(line.contains("is not YAML"), "{line}");
    fs::remove_file(&config).unwrap();
    place.assert_clean();
}

#[test]
fn an_image_without_cloud_init_is_told_from_a_slow_one() {
    let _turn = alone();
    let place = Place::new();
    let line = fail(&mut up(&place, &["--kernel-args", "cloud-init=disabled"]), 1);
    assert!(line.starts_with("provision: the guest booted, but cloud-init did not speak"), "{line}");
    place.assert_clean();
}

#[test]
fn down_waits_for_no_up_and_an_interrupted_up_leaves_nothing() {
    let _turn = alone();
    let place = Place::new();
    let mut starting = up(&place, &[]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut said = BufReader::new(starting.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().contains("first byte")), "the guest boots");
    let busy = fail(&mut place.provision(&["down", "--name", "debian"]), 1);
    assert!(
        busy.contains(&format!("is being worked on by another provision (pid {})", starting.id())),
        "{busy}"
    );
    kill(Pid::from_raw(starting.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    said.for_each(drop);
    assert_eq!(starting.wait().unwrap().code(), Some(130));
    place.assert_clean();
}

/// Removes the user when dropped.
struct OrdinaryUser(&'static str);

impl OrdinaryUser {
    fn create() -> Self {
        let user = Self("ivshmem-test");
        drop(Self(user.0));
        succeed(Command::new("useradd").args(["--create-home", "--shell", "/bin/sh", user.0]));
        user
    }

    /// A command as that user, with nothing of ours in its environment.
    fn command(&self, script: &str) -> Command {
        let mut command = Command::new("runuser");
        command.args(["--login", self.0, "--command", script]);
        command
    }
}

impl Drop for OrdinaryUser {
    fn drop(&mut self) {
        let _ = Command::new("userdel").args(["--remove", "--force", self.0]).output();
    }
}

#[test]
fn an_ordinary_user_builds_an_image_and_a_vm_of_their_own() {
    let _turn = alone();
    if !nix::unistd::geteuid().is_root() {
        // Who runs this is an ordinary user already, and all the other tests are this test.
        return;
    }
    let user = OrdinaryUser::create();
    let place = Place::new();
    let programs = place.state().with_extension("bin");
    succeed(Command::new("install").args(["-D", "-m", "755", "-t"]).arg(&programs).args([
        program("provision"),
        program("host-writer"),
        std::env::var_os("IVSHMEM_GUEST_READER").map_or_else(guest_reader, PathBuf::from),
    ]));
    succeed(Command::new("chmod").arg("755").arg(&programs));
    // The debs fetched for other tests, so that only what is new here is done again.
    let packages = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache/packages");
    if packages.exists() {
        let cache = Path::new("/home").join(user.0).join(".cache/ivshmem");
        succeed(Command::new("mkdir").arg("-p").arg(&cache));
        succeed(Command::new("cp").arg("-r").arg(&packages).arg(&cache));
        succeed(
            Command::new("chown")
                .args(["-R", &format!("{0}:{0}", user.0)])
                .arg(Path::new("/home").join(user.0)),
        );
    }
    let script = format!(
        "set -e; cd; umask 077; PATH={}:$PATH; trap 'provision down --destroy >/dev/null' EXIT
         provision up --image mirror --no-dev-tools --ssh-port auto --accel tcg --shm {} --quiet
         provision ssh -- id -un
         provision run --out results -- --messages 1000 --frames none --quiet
         grep -c ,ok results/latency_results.csv
         provision down; provision up --ssh-port auto --accel tcg --shm {1} --json --quiet | grep '\"start\"'
         provision down --destroy; provision clean
         ls -A .local/state/ivshmem .cache/ivshmem",
        programs.display(),
        place.region().display(),
    );
    let (out, err) = succeed(&mut user.command(&script));
    let mut lines = out.lines();
    assert_eq!(lines.next(), Some("debian"), "{out}\n{err}");
    assert!(lines.any(|line| line == "1000"), "{out}\n{err}");
    assert!(out.contains("\"start\": \"restored\""), "{out}\n{err}");
    assert!(!place.region().exists());
    fs::remove_dir_all(&programs).unwrap();
    std::io::stdout().flush().unwrap();
}

fn guest_reader() -> PathBuf {
    let target = program("provision").parent().and_then(Path::parent).unwrap().to_owned();
    target.join("x86_64-unknown-linux-gnu/release/guest-reader")
}
