//! The KVM device node: whether it is there and opens for this user, and the way to it. The way is a group, never the
//! whole world.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::account;
use super::finding::Finding;
use super::host::Host;
use super::kvm::AREA;
use super::processor;

/// What is known of the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its path, normally `/dev/kvm`.
    pub path: PathBuf,
    /// What is there.
    pub node: Node,
    /// Whether this process is root's.
    pub root: bool,
    /// Whether there is a group `kvm`.
    pub kvm_group: bool,
}

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// There is none.
    Absent,
    /// It opens for reading and writing.
    Opens,
    /// It does not.
    Refused {
        /// What the kernel said.
        errno: Errno,
        /// Number of the group it belongs to.
        gid: u32,
        /// That group's name, when it has one here.
        group: Option<String>,
        /// Its permission bits.
        mode: u32,
    },
}

impl Device {
    /// What is wrong with the device, unless it opens.
    pub(super) fn closed(&self) -> Option<String> {
        let shown = self.path.display();
        match &self.node {
            Node::Opens => None,
            Node::Absent => Some(format!("{shown} is absent")),
            Node::Refused { errno: Errno::EACCES | Errno::EPERM, gid, group, mode } => {
                let name = group.clone().unwrap_or_else(|| format!("number {gid}, which has no name here"));
                Some(format!("{shown} is forbidden to this user (its group is {name}, its mode {mode:o})"))
            }
            Node::Refused { errno, .. } => {
                Some(format!("{shown} is there and does not open: {}", errno.desc()))
            }
        }
    }
}

/// Looks, and tries to open it.
pub(super) fn probe(host: &Host<'_>, path: &Path) -> Device {
    let groups = host.read("etc/group").unwrap_or_default();
    Device {
        path: path.to_owned(),
        node: node(path, &groups),
        root: rustix::process::geteuid().is_root(),
        kvm_group: account::group_exists(&groups, "kvm"),
    }
}

fn node(path: &Path, groups: &str) -> Node {
    let Err(error) = OpenOptions::new().read(true).write(true).open(path) else { return Node::Opens };
    let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
    match fs::metadata(path) {
        Ok(metadata) => Node::Refused {
            errno,
            gid: metadata.gid(),
            group: account::group_name(groups, metadata.gid()),
            mode: metadata.mode() & 0o7777,
        },
        Err(_) => Node::Absent,
    }
}

/// Judges. What is wrong may be mended by one of the `modules` loaded or to be loaded for this `processor`.
pub(super) fn finding(device: &Device, modules: &[String], processor: &processor::Facts) -> Finding {
    const NAME: &str = "device";
    let Some(closed) = device.closed() else {
        let seen = format!("{} opens for reading and writing", device.path.display());
        return Finding::ok(AREA, NAME, seen);
    };
    let remedy = match &device.node {
        Node::Refused { errno: Errno::EACCES | Errno::EPERM, gid, group, mode } => {
            rights(device, *gid, group.as_deref(), *mode)
        }
        _ => appear(modules, processor),
    };
    Finding::degraded(AREA, NAME, closed, remedy)
}

/// How the device comes to be and to work.
fn appear(modules: &[String], processor: &processor::Facts) -> String {
    match processor.kvm_module() {
        Some(module) if modules.iter().any(|loaded| loaded == module) => {
            "in a container, start it with '--device /dev/kvm'; else 'sudo udevadm trigger' makes the node".to_owned()
        }
        Some(module) => format!("'sudo modprobe {module}'; in a container, also start it with '--device /dev/kvm'"),
        None => "this processor shows no virtualisation: see 'virtualisation' above, then load kvm_intel or kvm_amd"
            .to_owned(),
    }
}

/// How this user comes to use the device. Never by opening it to everybody: who has KVM can load the host.
fn rights(device: &Device, gid: u32, group: Option<&str>, mode: u32) -> String {
    if device.root {
        return "this container withholds the device: start it with '--device /dev/kvm'".to_owned();
    }
    let path = device.path.display();
    // Never the superuser's group, nor one that may not use the node itself.
    if gid == 0 || mode & 0o060 != 0o060 {
        let make = if device.kvm_group { "" } else { "'sudo groupadd --system kvm', " };
        return format!(
            "give it to group kvm until the next boot, and join that: {make}'sudo chgrp kvm {path}', \
             'sudo chmod 660 {path}', 'sudo usermod -aG kvm $USER', and log in again"
        );
    }
    match group {
        Some(group) => format!("join its group: 'sudo usermod -aG {group} $USER', and log in again"),
        None => format!(
            "name its group and join it: 'sudo groupadd --gid {gid} hostkvm', 'sudo usermod -aG hostkvm $USER', \
             and log in again"
        ),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::finding::State;
    use super::*;
    use crate::interrupt::Interrupts;

    /// A device as an ordinary user finds it, where there is a group `kvm`.
    pub(crate) fn with(node: Node) -> Device {
        Device { path: "/dev/kvm".into(), node, root: false, kvm_group: true }
    }

    fn forbidden(gid: u32, group: Option<&str>, mode: u32) -> Node {
        Node::Refused { errno: Errno::EACCES, gid, group: group.map(str::to_owned), mode }
    }

    fn remedy(device: &Device, modules: &[String], flag: &str) -> String {
        let processor = processor::Facts { flags: [flag.to_owned()].into(), ..Default::default() };
        let finding = finding(device, modules, &processor);
        assert_eq!(finding.state, State::Degraded, "KVM is never needed");
        finding.remedy.unwrap()
    }

    #[test]
    fn the_way_to_the_device_is_its_group_and_never_everybody() {
        let ways: Vec<String> = [
            forbidden(105, Some("kvm"), 0o660),
            forbidden(64, Some("virt"), 0o660),
            forbidden(107, None, 0o660),
            forbidden(0, Some("root"), 0o600),
            forbidden(105, Some("kvm"), 0o600),
        ]
        .map(|node| remedy(&with(node), &[], "vmx"))
        .into();
        insta::assert_snapshot!(ways.join("\n"), @r"
        join its group: 'sudo usermod -aG kvm $USER', and log in again
        join its group: 'sudo usermod -aG virt $USER', and log in again
        name its group and join it: 'sudo groupadd --gid 107 hostkvm', 'sudo usermod -aG hostkvm $USER', and log in again
        give it to group kvm until the next boot, and join that: 'sudo chgrp kvm /dev/kvm', 'sudo chmod 660 /dev/kvm', 'sudo usermod -aG kvm $USER', and log in again
        give it to group kvm until the next boot, and join that: 'sudo chgrp kvm /dev/kvm', 'sudo chmod 660 /dev/kvm', 'sudo usermod -aG kvm $USER', and log in again
        ");
        let without_group = Device { kvm_group: false, ..with(forbidden(0, Some("root"), 0o600)) };
        assert!(remedy(&without_group, &[], "vmx").contains("'sudo groupadd --system kvm', 'sudo chgrp"));
        let root = Device { root: true, ..with(forbidden(105, Some("kvm"), 0o660)) };
        assert!(remedy(&root, &[], "vmx").contains("container"));
    }

    #[test]
    fn an_absent_device_is_mended_by_the_module_or_the_firmware() {
        let absent = with(Node::Absent);
        assert!(remedy(&absent, &[], "vmx").starts_with("'sudo modprobe kvm_intel'"));
        assert!(remedy(&absent, &[], "fpu").contains("see 'virtualisation'"));
        assert!(remedy(&absent, &["kvm_amd".to_owned()], "svm").contains("--device /dev/kvm"));
    }

    #[test]
    fn the_node_is_told_apart_from_its_absence() {
        let interrupts = Interrupts::catch().unwrap();
        let host = Host { root: "/".into(), interrupts: &interrupts };
        let node = |path: &str| probe(&host, Path::new(path)).node;
        assert_eq!((node("/nonexistent/kvm"), node("/dev/null")), (Node::Absent, Node::Opens));
        assert!(matches!(node("/"), Node::Refused { errno: Errno::EISDIR, gid: 0, .. }));
    }
}
