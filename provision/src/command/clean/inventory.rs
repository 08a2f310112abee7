//! What the cache holds, and for each thing whether it is needed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cache::is_being_made;
use crate::image::{BasesInUse, Origin, stored};
use crate::name::VmName;
use crate::state::{Found, VmDirectory, survey};

/// What becomes of a thing in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Fate {
    /// These VMs need it.
    Used(Vec<String>),
    /// It stays for another reason.
    Kept(String),
    /// Nothing needs it.
    Unused,
    /// It is gone.
    Removed,
}

/// A thing in the cache.
#[derive(Debug, Serialize)]
pub(super) struct Item {
    pub(super) kind: &'static str,
    pub(super) path: PathBuf,
    /// What it takes on the disk.
    pub(super) bytes: u64,
    pub(super) fate: Fate,
}

impl Item {
    fn new(kind: &'static str, path: PathBuf, fate: Fate) -> Self {
        Self { kind, bytes: taken_by(&path), path, fate }
    }

    pub(super) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// All there is. `busy` tells why what belongs to an origin must not be touched now.
pub(super) fn take(
    cache: &Path,
    state: &Path,
    bases: &BasesInUse,
    busy: &dyn Fn(Origin) -> Option<String>,
) -> Vec<Item> {
    let kept = |origin| busy(origin).map_or(Fate::Unused, Fate::Kept);
    let mut items = Vec::new();
    let whole = stored(cache);
    for path in entries(&cache.join("images")) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let origin = if name.contains("official") { Origin::Official } else { Origin::Mirror };
        let image = whole.iter().find(|(at, _)| *at == path).map(|(_, stored)| &stored.image);
        match image {
            Some(image) => {
                let users = bases.uses.iter().filter(|used| used.base.sha256 == image.sha256);
                let users: Vec<String> = users.map(|used| used.vm.clone()).collect();
                let fate = match (users.is_empty(), bases.doubts.first()) {
                    (false, _) => Fate::Used(users),
                    (true, Some(doubt)) => Fate::Kept(doubt.clone()),
                    (true, None) => kept(origin),
                };
                items.push(Item::new("image", path, fate));
            }
            None if name.ends_with(".lock") => {}
            None => items.push(Item::new("unfinished image", path, kept(origin))),
        }
    }
    let booted = kernels_in_use(state);
    for path in entries(&cache.join("kernels")) {
        let users = booted.iter().filter(|(_, kernel)| kernel.starts_with(&path));
        let users: Vec<String> = users.map(|(vm, _)| vm.clone()).collect();
        let fetched_now = is_being_made(&path);
        let fate = match (users.is_empty(), fetched_now) {
            (false, _) => Fate::Used(users),
            (_, true) => Fate::Kept("it is being fetched".to_owned()),
            _ => Fate::Unused,
        };
        items.push(Item::new("kernel", path, fate));
    }
    for (kind, directory) in [("kernel headers", "headers"), ("driver", "drivers")] {
        for path in entries(&cache.join(directory)) {
            let fate =
                if is_being_made(&path) { Fate::Kept("it is being made".to_owned()) } else { Fate::Unused };
            items.push(Item::new(kind, path, fate));
        }
    }
    let packages = cache.join("packages");
    if !entries(&packages).is_empty() {
        items.push(Item::new("packages", packages, kept(Origin::Mirror)));
    }
    for path in entries(&cache.join("downloads")) {
        items.push(Item::new("partial download", path, kept(Origin::Official)));
    }
    let log = cache.join("build.log");
    if log.exists() {
        items.push(Item::new("build log", log, Fate::Unused));
    }
    items
}

/// The kernels that running VMs were started with.
fn kernels_in_use(state: &Path) -> Vec<(String, PathBuf)> {
    let names = entries(state);
    let names = names.iter().filter_map(|path| path.file_name()?.to_str()?.parse::<VmName>().ok());
    let running = names.filter_map(|name| match survey(&VmDirectory::new(state, &name)) {
        Ok(Found::Running(vm)) => Some((name.to_string(), vm.kernel.path)),
        _ => None,
    });
    running.collect()
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

/// What a file, or all in a directory, takes on the disk. Links are not followed.
fn taken_by(path: &Path) -> u64 {
    let Ok(meta) = fs::symlink_metadata(path) else { return 0 };
    // st_blocks counts 512 bytes (stat(2)).
    let own = meta.blocks() * 512;
    if !meta.is_dir() {
        return own;
    }
    own + entries(path).iter().map(|path| taken_by(path)).sum::<u64>()
}
