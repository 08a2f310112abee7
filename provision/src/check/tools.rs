//! Programs of others that the Debian guest and the fetching of kernels need, each with its Debian package; and
//! what an ordinary user needs to build an image: subordinate ids and user namespaces.

use std::path::PathBuf;

use super::account;
use super::finding::Finding;
use super::host::Host;

const AREA: &str = "tools";

/// A program of another package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// What it is called.
    pub program: &'static str,
    /// The Debian package that has it.
    pub package: &'static str,
    /// What needs it.
    pub needed_by: &'static str,
    /// Whether root can do without.
    pub root_can_do_without: bool,
}

const fn tool(program: &'static str, package: &'static str, needed_by: &'static str) -> Tool {
    Tool { program, package, needed_by, root_can_do_without: false }
}

/// All of them. What the main job cannot do without is judged where it is used (see [`super::programs`]).
pub const TOOLS: [Tool; 8] = [
    tool("apt-get", "apt", "'up' when it fetches a kernel or builds an image"),
    tool("apt-cache", "apt", "'up' when it fetches a kernel"),
    tool("dpkg-deb", "dpkg", "'up' when it fetches a kernel"),
    tool("qemu-img", "qemu-utils", "'up' of the Debian guest, for its disk"),
    tool("ssh", "openssh-client", "'ssh', the shell in the Debian guest"),
    tool("mmdebstrap", "mmdebstrap", "'up --image mirror', to build the image"),
    tool("mke2fs", "e2fsprogs", "'up --image mirror', to build the image"),
    Tool {
        root_can_do_without: true,
        ..tool("newuidmap", "uidmap", "'up --image mirror' as an ordinary user")
    },
];

/// What is known of the tools.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Whether this process is root's.
    pub root: bool,
    /// Each tool, and where it is.
    pub found: Vec<(Tool, Place)>,
    /// Unless this user has subordinate user and group ids: the first id that nobody has.
    pub no_subordinate_ids: Option<u64>,
    /// Why an ordinary user gets no user namespace, and the setting that gives it.
    pub no_namespaces: Option<(String, &'static str)>,
}

/// Where a tool is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Where PATH says.
    InPath(PathBuf),
    /// In a directory of the system's that is not in this PATH.
    Outside(PathBuf),
    /// Nowhere.
    Nowhere,
}

impl Facts {
    /// Whether PATH has a tool.
    pub fn has(&self, program: &str) -> bool {
        self.found.iter().any(|(tool, place)| tool.program == program && matches!(place, Place::InPath(_)))
    }
}

/// Looks.
pub fn probe(host: &Host<'_>) -> Facts {
    let uid = rustix::process::getuid().as_raw();
    let user = account::user_name(&host.read("etc/passwd").unwrap_or_default(), uid);
    let files = ["etc/subuid", "etc/subgid"].map(|file| host.read(file).unwrap_or_default());
    let has_ids = files.iter().all(|file| account::has_subordinate_ids(file, user.as_deref(), uid));
    let first_free = files.iter().map(|file| account::first_free_id(file)).max();
    Facts {
        root: rustix::process::geteuid().is_root(),
        found: TOOLS.iter().map(|&tool| (tool, place(host, tool.program))).collect(),
        no_subordinate_ids: first_free.filter(|_| !has_ids),
        no_namespaces: no_namespaces(host),
    }
}

fn place(host: &Host<'_>, program: &str) -> Place {
    // An ordinary user's PATH has no sbin on Debian.
    let outside = ["usr/sbin", "sbin"].into_iter().map(|directory| host.path(directory).join(program));
    match host.program(program) {
        Some(path) => Place::InPath(path),
        None => outside.into_iter().find(|path| path.is_file()).map_or(Place::Nowhere, Place::Outside),
    }
}

fn no_namespaces(host: &Host<'_>) -> Option<(String, &'static str)> {
    let settings = [
        ("kernel/unprivileged_userns_clone", 0, "kernel.unprivileged_userns_clone=1"),
        ("user/max_user_namespaces", 0, "user.max_user_namespaces=10000"),
        ("kernel/apparmor_restrict_unprivileged_userns", 1, "kernel.apparmor_restrict_unprivileged_userns=0"),
    ];
    settings.into_iter().find_map(|(path, forbids, mend)| {
        // A setting that this kernel does not have forbids nothing.
        let value = host.number(&format!("proc/sys/{path}"))?;
        (value == forbids).then(|| (format!("forbidden by {}={value}", path.replace('/', ".")), mend))
    })
}

/// Judges. Nothing here stands in the way of the main job: the micro guest needs none of it once the kernel is
/// cached.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let wanted = facts.found.iter().filter(|(tool, _)| !(facts.root && tool.root_can_do_without));
    let mut findings: Vec<Finding> = wanted.map(|(tool, place)| judge(tool, place)).collect();
    if !facts.root {
        findings.push(subordinate_ids(facts.no_subordinate_ids));
        findings.push(namespaces(facts.no_namespaces.as_ref()));
    }
    findings
}

fn judge(tool: &Tool, place: &Place) -> Finding {
    let Tool { program, package, needed_by, .. } = tool;
    match place {
        Place::InPath(path) => Finding::ok(AREA, program, path.display().to_string()),
        Place::Outside(path) => Finding::degraded(
            AREA,
            program,
            format!("{} is not in PATH; needed by {needed_by}", path.display()),
            "'export PATH=$PATH:/usr/sbin:/sbin'",
        ),
        Place::Nowhere => {
            let remedy = format!("'sudo apt-get install {package}'");
            Finding::degraded(AREA, program, format!("not in PATH; needed by {needed_by}"), remedy)
        }
    }
}

fn subordinate_ids(first_free: Option<u64>) -> Finding {
    const NAME: &str = "subordinate ids";
    let Some(first) = first_free else {
        return Finding::ok(AREA, NAME, "this user has some in /etc/subuid and /etc/subgid");
    };
    let range = format!("{first}-{}", first.saturating_add(65_535));
    Finding::degraded(
        AREA,
        NAME,
        "none for this user in /etc/subuid or /etc/subgid; needed by 'up --image mirror'",
        format!("'sudo usermod --add-subuids {range} $USER', 'sudo usermod --add-subgids {range} $USER'"),
    )
}

fn namespaces(forbidden: Option<&(String, &'static str)>) -> Finding {
    const NAME: &str = "user namespaces";
    match forbidden {
        None => Finding::ok(AREA, NAME, "permitted to ordinary users"),
        Some((why, mend)) => {
            let seen = format!("{why}; needed by 'up --image mirror' as an ordinary user");
            Finding::degraded(AREA, NAME, seen, format!("'sudo sysctl {mend}'"))
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::finding::State;
    use super::super::host::tests::made_of;
    use super::*;
    use crate::interrupt::Interrupts;

    /// An ordinary user with all of them.
    pub(crate) fn whole() -> Facts {
        let there = |tool: Tool| (tool, Place::InPath(format!("/usr/bin/{}", tool.program).into()));
        Facts { root: false, found: TOOLS.map(there).into(), no_subordinate_ids: None, no_namespaces: None }
    }

    #[test]
    fn an_absent_tool_degrades_and_names_package_and_use() {
        let mut facts = whole();
        facts.found[5].1 = Place::Nowhere;
        let finding = &findings(&facts)[5];
        assert_eq!(finding.state, State::Degraded);
        assert_eq!(finding.seen, "not in PATH; needed by 'up --image mirror', to build the image");
        assert_eq!(finding.remedy.as_deref(), Some("'sudo apt-get install mmdebstrap'"));
        assert!(facts.has("apt-get") && !facts.has("mmdebstrap"));
    }

    #[test]
    fn root_needs_neither_namespaces_nor_ids() {
        let poor = Facts {
            no_subordinate_ids: Some(100_000),
            no_namespaces: Some(("x".to_owned(), "y")),
            ..whole()
        };
        let worse = |facts: &Facts| findings(facts).iter().filter(|f| f.state != State::Ok).count();
        assert_eq!((worse(&poor), worse(&Facts { root: true, ..poor.clone() })), (2, 0));
        assert!(!findings(&Facts { root: true, ..poor }).iter().any(|f| f.name == "newuidmap"));
    }

    #[test]
    fn the_setting_that_forbids_namespaces_is_found() {
        let interrupts = Interrupts::catch().unwrap();
        let forbidden = |files: &[(&str, &str)]| {
            let root = made_of(files);
            no_namespaces(&Host { root: root.path().to_owned(), interrupts: &interrupts })
        };
        assert_eq!(forbidden(&[]), None);
        assert_eq!(forbidden(&[("proc/sys/user/max_user_namespaces", "96365\n")]), None);
        let (why, mend) = forbidden(&[("proc/sys/kernel/unprivileged_userns_clone", "0\n")]).unwrap();
        assert_eq!(why, "forbidden by kernel.unprivileged_userns_clone=0");
        assert_eq!(mend, "kernel.unprivileged_userns_clone=1");
        assert!(forbidden(&[("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1")]).is_some());
    }

    #[test]
    fn a_tool_in_sbin_alone_is_told_apart_from_an_absent_one() {
        let interrupts = Interrupts::catch().unwrap();
        let root = made_of(&[("usr/sbin/no-such-tool", "")]);
        let host = Host { root: root.path().to_owned(), interrupts: &interrupts };
        assert_eq!(place(&host, "no-such-tool"), Place::Outside(root.path().join("usr/sbin/no-such-tool")));
        assert_eq!(place(&host, "no-other-tool"), Place::Nowhere);
    }
}
