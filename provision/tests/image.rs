//! A disk image really built from the package mirror, as root and as an ordinary user; what is in it; and what is
//! left when that goes wrong.
//!
//! Needs mmdebstrap, qemu-img, e2fsprogs and the package mirror. Packages are kept below the target directory,
//! across runs. Each image is made by a process of its own, this test program with [`obtain_as_told`] alone, for
//! each needs its own environment and its own signals.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use provision::image::{BaseImage, ImageChoice, Wish, obtain};
use provision::interrupt::Interrupts;
use provision::report::Progress;
use tempfile::TempDir;

const RESULT: &str = "RESULT ";
const INSTALLING: &str = "fetching and installing the others";

/// Not a test: the process that obtains an image, told by its environment.
#[test]
#[ignore = "started by the tests below"]
fn obtain_as_told() {
    let told = |key: &str| std::env::var(key).ok();
    let Some(cache) = told("TEST_CACHE") else { return };
    // The signals are blocked in all threads already, by `env --block-signal`.
    let interrupts = Interrupts::catch().unwrap();
    let choice = told("TEST_CHOICE").map_or(ImageChoice::Mirror, |text| text.parse().unwrap());
    let wish = Wish {
        mirror: told("TEST_MIRROR"),
        image_url: "http://127.0.0.1:9".to_owned(),
        dev_tools: told("TEST_DEV_TOOLS").is_some(),
        ..Wish::of(choice)
    };
    match obtain(&wish, Path::new(&cache), &interrupts, Progress { quiet: false }) {
        Ok(image) => println!("\n{RESULT}{}", serde_json::to_string(&image).unwrap()),
        Err(e) => println!("\n{RESULT}{e}"),
    }
}

/// The building ones one after the other: there are few CPUs.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A cache, and a directory to build in.
struct Place {
    root: TempDir,
}

impl Place {
    fn new() -> Self {
        Self::below(Path::new("/var/tmp"))
    }

    fn below(parent: &Path) -> Self {
        let root = tempfile::Builder::new().prefix("image-test-").tempdir_in(parent).unwrap();
        fs::create_dir(root.path().join("tmp")).unwrap();
        let place = Self { root };
        fs::create_dir_all(place.cache().join("packages")).unwrap();
        place
    }

    fn cache(&self) -> PathBuf {
        self.root.path().join("cache")
    }

    fn tmp(&self) -> PathBuf {
        self.root.path().join("tmp")
    }

    /// Takes packages from earlier tests, and gives them to later ones.
    fn share_packages(&self, give: bool) {
        let (mine, shared) =
            (self.cache().join("packages"), Path::new(env!("CARGO_TARGET_TMPDIR")).join("debs"));
        fs::create_dir_all(&shared).unwrap();
        let (from, to) = if give { (mine, shared) } else { (shared, mine) };
        let script = "find \"$0\" -name '*.deb' -exec cp -u -t \"$1\" {} +";
        assert!(Command::new("sh").args(["-c", script]).args([from, to]).status().unwrap().success());
    }

    fn obtain(&self) -> Command {
        self.obtain_by(&[], &std::env::current_exe().unwrap())
    }

    /// The process that obtains an image, started through another program.
    fn obtain_by(&self, by: &[&str], program: &Path) -> Command {
        let words = [by, &["env", "--block-signal=INT"]].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(program);
        command.args(["--ignored", "--exact", "obtain_as_told", "--nocapture", "--test-threads=1"]);
        command.env("TEST_CACHE", self.cache()).env("TMPDIR", self.tmp()).current_dir("/");
        command
    }

    fn assert_nothing_is_left(&self) {
        assert_eq!(names(&self.tmp()), Vec::<String>::new(), "left where it was built");
        assert_eq!(names(&self.cache().join("images")), [".mirror.lock"], "left in the cache");
        let needle = self.root.path().as_os_str().as_encoded_bytes();
        let pids = names(Path::new("/proc"));
        let processes = pids.iter().filter(|pid| pid.parse::<u32>().is_ok()).filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.windows(needle.len()).any(|window| window == needle)
        });
        assert_eq!(processes.collect::<Vec<_>>(), Vec::<&String>::new(), "processes are left");
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// What the process said in the end, and all it said on standard error.
fn finish(child: Child) -> (String, String) {
    let output = child.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let result = out.lines().find_map(|line| line.strip_prefix(RESULT));
    (result.unwrap_or_else(|| panic!("{out}\n{err}")).to_owned(), err.into_owned())
}

fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap()
}

fn image(result: &str, said: &str) -> BaseImage {
    serde_json::from_str(result).unwrap_or_else(|_| panic!("{result}\n{said}"))
}

/// Presses Ctrl-C as soon as packages are being installed, and returns what is said then.
fn interrupted(mut child: Child, signalled: impl Fn(&Child) -> u32) -> String {
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains(INSTALLING) {
        line.clear();
        assert_ne!(err.read_line(&mut line).unwrap(), 0, "it ended before it was interrupted");
    }
    kill(Pid::from_raw(signalled(&child).try_into().unwrap()), Signal::SIGINT).unwrap();
    err.read_to_string(&mut String::new()).unwrap();
    finish(child).0
}

fn debugfs(raw: &Path, request: &str) -> String {
    let output = Command::new("/sbin/debugfs").args(["-R", request]).arg(raw).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Looks into the image without mounting it.
fn assert_sound(image: &BaseImage) {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    let raw = scratch.path().join("root.img");
    let mut convert = Command::new("qemu-img");
    assert!(convert.args(["convert", "-O", "raw"]).args([&image.path, &raw]).status().unwrap().success());
    let check = Command::new("/sbin/e2fsck").arg("-fn").arg(&raw).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    let has = |path: &str| debugfs(&raw, &format!("stat {path}")).contains("Inode:");
    for path in [
        "/usr/bin/cloud-init",
        "/usr/sbin/sshd",
        "/usr/bin/sudo",
        "/usr/bin/lspci",
        "/etc/cloud/cloud.cfg.d/50_ivshmem.cfg",
        "/etc/systemd/system/multi-user.target.wants/systemd-networkd.service",
    ] {
        assert!(has(path), "{path} is missing");
    }
    for path in [
        "/etc/ssh/ssh_host_ed25519_key",
        "/etc/ssh/ssh_host_rsa_key",
        "/usr/bin/gcc",
        "/etc/apt/apt.conf.d/00mmdebstrap",
        "/etc/apt/apt.conf.d/99mmdebstrap",
        "/etc/dpkg/dpkg.cfg.d/99mmdebstrap",
        "/usr/sbin/policy-rc.d",
        "/usr/sbin/start-stop-daemon.REAL",
        "/var/cache/apt/archives",
        "/proc/self",
    ] {
        assert!(!has(path), "{path} is there");
    }
    for empty in ["/tmp", "/proc", "/sys"] {
        // `.` and `..`, each with its inode and the length of its entry.
        assert_eq!(
            debugfs(&raw, &format!("ls {empty}")).split_whitespace().count(),
            6,
            "{empty} is not empty"
        );
    }
    let shadow = debugfs(&raw, "stat /etc/shadow");
    let owner: Vec<&str> = shadow.split_whitespace().skip_while(|word| *word != "User:").take(4).collect();
    assert_eq!(owner, ["User:", "0", "Group:", "42"]);
    assert!(debugfs(&raw, "stat /etc/machine-id").contains("Size: 0"));
    assert_eq!(debugfs(&raw, "cat /etc/resolv.conf"), "nameserver 10.0.2.3\n");
    let fstab = debugfs(&raw, "cat /etc/fstab");
    assert_eq!(fstab, "LABEL=root / ext4 noatime,noinit_itable 0 1\n");
    assert!(debugfs(&raw, "show_super_stats -h").contains("volume name:   root\n"));
    assert!(debugfs(&raw, "cat /etc/apt/sources.list").contains("bookworm main"));

    let boot = image.direct_boot.as_ref().unwrap();
    assert!(boot.release.ends_with("-cloud-amd64"), "{}", boot.release);
    assert_eq!((image.virtual_bytes, image.grows_in_guest), (20 << 30, false));
    for path in [&image.path, &boot.kernel, &boot.initrd] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o444);
    }
    // Only what this machine's disk needs: some 5 MB, where a general one has 30.
    assert!(fs::metadata(&boot.initrd).unwrap().size() < 12 << 20);
}

#[test]
fn two_that_want_an_image_build_it_once_and_a_third_takes_it_from_the_cache() {
    let _turn = turn();
    let place = Place::new();
    place.share_packages(false);
    let both = [start(&mut place.obtain()), start(&mut place.obtain())].map(finish);
    place.share_packages(true);
    let [first, second] = [image(&both[0].0, &both[0].1), image(&both[1].0, &both[1].1)];
    assert_eq!(first, second);
    // Its pid is said, too, unless they began so close together that it was not written down yet.
    let waits = "waiting for the image that another provision";
    let waited = both.iter().filter(|(_, said)| said.contains(waits)).count();
    let built = both.iter().filter(|(_, said)| said.contains("built a Debian 12 image")).count();
    assert_eq!((waited, built), (1, 1), "{}\n{}", both[0].1, both[1].1);
    let (third, said) = finish(start(&mut place.obtain()));
    assert_eq!(image(&third, &said), first);
    assert!(!said.contains("building"), "{said}");
    assert_eq!(names(&place.tmp()), Vec::<String>::new());
    assert_eq!(names(&place.cache().join("images")).len(), 2, "the image and the lock");
    assert_sound(&first);
}

#[test]
fn ctrl_c_during_a_build_leaves_nothing() {
    let _turn = turn();
    let place = Place::new();
    place.share_packages(false);
    assert_eq!(interrupted(start(&mut place.obtain()), Child::id), "interrupted (SIGINT)");
    place.assert_nothing_is_left();
}

#[test]
fn a_mirror_that_does_not_answer_is_named_with_what_to_do() {
    let place = Place::new();
    let (error, said) = finish(start(place.obtain().env("TEST_MIRROR", "http://127.0.0.1:9/debian")));
    assert!(
        error.contains("127.0.0.1:9") && error.ends_with("--mirror URL names another"),
        "{error}\n{said}"
    );
    assert!(!error.contains('\n'));
    place.assert_nothing_is_left();
}

#[test]
fn auto_says_why_the_official_image_is_not_to_be_had_and_turns_to_the_mirror() {
    let place = Place::new();
    let mut command = place.obtain();
    let (error, said) =
        finish(start(command.env("TEST_CHOICE", "auto").env("TEST_MIRROR", "http://127.0.0.1:9/debian")));
    let note = "official image not to be had (http://127.0.0.1:9/latest/SHA512SUMS: ";
    assert!(said.contains(note) && said.contains("): building one from the package mirror\n"), "{said}");
    assert!(error.ends_with("--mirror URL names another"), "{error}");
}

#[test]
fn a_full_disk_is_named_with_what_moves_the_build() {
    if !geteuid().is_root() {
        eprintln!("SKIPPED: mounting a small file system takes root");
        return;
    }
    let _turn = turn();
    let place = Place::new();
    place.share_packages(false);
    // The mount is gone with its namespace, and so with the process.
    let script =
        "mount -t tmpfs -o size=200M none \"$TMPDIR\" && \"$@\" && ls -A \"$TMPDIR\" | sed 's/^/LEFT /'";
    let by = ["unshare", "--mount", "sh", "-c", script, "sh"];
    let child = start(&mut place.obtain_by(&by, &std::env::current_exe().unwrap()));
    let output = child.wait_with_output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    let expected = format!(
        "{RESULT}no space left in {} while the image was being made: free some, or set TMPDIR",
        place.tmp().display()
    );
    assert!(out.contains(&expected), "{out}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!out.contains("LEFT"), "{out}");
    place.assert_nothing_is_left();
}

/// An ordinary user with subordinate ids, gone when dropped.
struct OrdinaryUser {
    home: TempDir,
}

impl OrdinaryUser {
    const NAME: &str = "ivshmem-test";

    fn create() -> Self {
        let _ = Command::new("userdel").arg(Self::NAME).stderr(Stdio::null()).status();
        let home = tempfile::tempdir_in("/var/tmp").unwrap();
        let mut add = Command::new("useradd");
        add.args(["--no-create-home", "--home-dir"]).arg(home.path()).arg(Self::NAME);
        assert!(add.status().unwrap().success());
        let subuid = fs::read_to_string("/etc/subuid").unwrap_or_default();
        if !subuid.lines().any(|line| line.starts_with(&format!("{}:", Self::NAME))) {
            let ids = "3000000000-3000065535";
            let mut give = Command::new("usermod");
            give.args(["--add-subuids", ids, "--add-subgids", ids, Self::NAME]);
            assert!(give.status().unwrap().success());
        }
        Self { home }
    }

    fn own(&self, path: &Path) {
        assert!(Command::new("chown").args(["-R", Self::NAME]).arg(path).status().unwrap().success());
    }
}

impl Drop for OrdinaryUser {
    fn drop(&mut self) {
        let _ = Command::new("userdel").arg(Self::NAME).status();
    }
}

#[test]
fn an_ordinary_user_builds_the_same_and_leaves_as_little() {
    if !geteuid().is_root() {
        eprintln!("SKIPPED: making another user takes root; the other tests ran as an ordinary user already");
        return;
    }
    let _turn = turn();
    let user = OrdinaryUser::create();
    // Nobody else may enter the home: the build must not depend on it.
    fs::set_permissions(user.home.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let place = Place::below(user.home.path());
    place.share_packages(false);
    let program = user.home.path().join("image-test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    user.own(user.home.path());
    let by = ["runuser", "--user", OrdinaryUser::NAME, "--"];

    // `runuser --user` starts the program as its child, and that is whom Ctrl-C is for.
    let only_child = |child: &Child| {
        let path = format!("/proc/{0}/task/{0}/children", child.id());
        fs::read_to_string(path)
            .unwrap()
            .split_whitespace()
            .next()
            .map_or(child.id(), |pid| pid.parse().unwrap())
    };
    let said = interrupted(start(&mut place.obtain_by(&by, &program)), only_child);
    assert_eq!(said, "interrupted (SIGINT)");
    place.assert_nothing_is_left();

    let (result, said) = finish(start(&mut place.obtain_by(&by, &program)));
    let image = image(&result, &said);
    assert_sound(&image);
    assert_ne!(fs::metadata(&image.path).unwrap().uid(), 0);
    assert_eq!(names(&place.tmp()), Vec::<String>::new());
}
