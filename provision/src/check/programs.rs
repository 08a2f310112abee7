//! Our own programs, and what is in the cache: the kernel that the micro guest boots, and images of the Debian
//! guest.

use std::env;
use std::path::{Path, PathBuf};

use super::finding::Finding;
use super::host::about;
use super::tools;
use crate::guest_binary;
use crate::kernel;
use crate::paths::cache_root;

const AREA: &str = "programs";

/// What is known of programs and cache.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Bytes of the static guest-reader, or why there is none.
    pub guest_reader: Result<usize, String>,
    /// host-writer, beside this program.
    pub host_writer: Result<PathBuf, PathBuf>,
    /// The release of the cached kernel, or its path.
    pub kernel: Option<String>,
    /// Names in the cache of images.
    pub images: Vec<String>,
}

/// Looks.
pub fn probe() -> Facts {
    let cache = cache_root().ok();
    let kernel = cache.as_deref().and_then(kernel::cached);
    Facts {
        guest_reader: guest_binary::load(None).map(|found| found.image.len()).map_err(|e| e.to_string()),
        host_writer: host_writer(),
        kernel: kernel.map(|found| found.release.unwrap_or_else(|| found.path.display().to_string())),
        images: cache.map(|cache| visible(&cache.join("images"))).unwrap_or_default(),
    }
}

fn host_writer() -> Result<PathBuf, PathBuf> {
    let beside = env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join("host-writer")));
    let path = beside.unwrap_or_else(|| "host-writer".into());
    if path.is_file() { Ok(path) } else { Err(path) }
}

fn visible(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let mut names: Vec<String> = entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}

/// Judges. What `scripts/run.sh` builds by itself only degrades.
pub fn findings(facts: &Facts, tools: &tools::Facts) -> Vec<Finding> {
    vec![guest_reader(facts), judge_host_writer(facts), judge_kernel(facts, tools), images(facts)]
}

fn guest_reader(facts: &Facts) -> Finding {
    const NAME: &str = "guest-reader";
    match &facts.guest_reader {
        Ok(bytes) => Finding::ok(AREA, NAME, format!("static, {}", about(*bytes as u64))),
        Err(why) => {
            let (seen, remedy) = why.split_once("; ").unwrap_or((why, "name it with --guest-reader FILE"));
            Finding::degraded(AREA, NAME, seen, format!("'scripts/run.sh' builds it; or {remedy}"))
        }
    }
}

fn judge_host_writer(facts: &Facts) -> Finding {
    const NAME: &str = "host-writer";
    match &facts.host_writer {
        Ok(path) => Finding::ok(AREA, NAME, path.display().to_string()),
        Err(path) => {
            let remedy = "'scripts/run.sh' builds it; or build it with: cargo build --release -p host-writer";
            Finding::degraded(AREA, NAME, format!("no {}", path.display()), remedy)
        }
    }
}

fn judge_kernel(facts: &Facts, tools: &tools::Facts) -> Finding {
    const NAME: &str = "kernel";
    if let Some(kernel) = &facts.kernel {
        return Finding::ok(AREA, NAME, format!("{kernel}, cached"));
    }
    let absent: Vec<&str> =
        ["apt-get", "apt-cache", "dpkg-deb"].into_iter().filter(|program| !tools.has(program)).collect();
    if absent.is_empty() {
        return Finding::ok(
            AREA,
            NAME,
            format!("none cached; 'up' fetches Debian's {} once", kernel::PACKAGE),
        );
    }
    let seen = format!("none cached, and none can be fetched without {}", absent.join(", "));
    let remedy = "copy $IVSHMEM_CACHE_DIR/kernels (default ~/.cache/ivshmem/kernels) from a Debian machine where 'up' \
                  has run; or 'provision up --guest micro --kernel FILE'";
    Finding::missing(AREA, NAME, seen, remedy)
}

fn images(facts: &Facts) -> Finding {
    const NAME: &str = "images";
    match facts.images.as_slice() {
        [] => Finding::ok(AREA, NAME, "none cached; 'up' of the Debian guest fetches or builds one"),
        [image] => Finding::ok(AREA, NAME, format!("{image}, cached")),
        [image, more @ ..] => Finding::ok(AREA, NAME, format!("{image} and {} more, cached", more.len())),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::finding::State;
    use super::*;

    /// All built, and a kernel in the cache.
    pub(crate) fn built() -> Facts {
        Facts {
            guest_reader: Ok(900 << 10),
            host_writer: Ok("/opt/ivshmem/host-writer".into()),
            kernel: Some("6.1.0-28-cloud-amd64".to_owned()),
            images: Vec::new(),
        }
    }

    fn without_apt() -> tools::Facts {
        let mut facts = tools::tests::whole();
        facts.found[0].1 = tools::Place::Nowhere;
        facts
    }

    #[test]
    fn a_kernel_is_cached_or_fetched_or_stands_in_the_way() {
        let none = Facts { kernel: None, ..built() };
        assert_eq!(judge_kernel(&built(), &without_apt()).state, State::Ok);
        assert_eq!(judge_kernel(&none, &tools::tests::whole()).state, State::Ok);
        let finding = judge_kernel(&none, &without_apt());
        assert_eq!(finding.state, State::Missing);
        assert_eq!(finding.seen, "none cached, and none can be fetched without apt-get");
    }

    #[test]
    fn what_the_main_job_builds_only_degrades() {
        let why = "no static guest-reader at /a; build it with: cargo, or name it".to_owned();
        let facts = Facts { guest_reader: Err(why), host_writer: Err("/a/host-writer".into()), ..built() };
        let [guest, host, ..] = &findings(&facts, &without_apt())[..] else { unreachable!() };
        assert_eq!((guest.state, host.state), (State::Degraded, State::Degraded));
        assert_eq!(guest.seen, "no static guest-reader at /a");
        assert!(guest.remedy.as_deref().unwrap().starts_with("'scripts/run.sh' builds it; or build it with"));
    }

    #[test]
    fn hidden_names_are_no_images() {
        let directory = tempfile::tempdir().unwrap();
        for name in [".building-1", "b.qcow2", "a.qcow2"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        assert_eq!(visible(directory.path()), ["a.qcow2", "b.qcow2"]);
        let some = Facts { images: visible(directory.path()), ..built() };
        assert_eq!(images(&some).seen, "a.qcow2 and 1 more, cached");
    }
}
