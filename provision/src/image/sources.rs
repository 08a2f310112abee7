//! Where packages come from: the archives this machine itself uses, or the mirror the user names; and what of apt's
//! settings is needed to reach them.

use std::process::Command;
use std::time::Duration;

use super::ImageError;
use crate::helper::run;
use crate::interrupt::Interrupts;

/// The release that is built.
pub(super) const RELEASE: &str = "bookworm";
const PATIENCE: Duration = Duration::from_secs(60);

/// What mmdebstrap is told about package sources.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    /// Lines for `sources.list`; none for mmdebstrap's own default.
    pub(super) lines: Vec<String>,
    /// Settings for apt, during the build only.
    pub(super) apt_settings: Vec<String>,
}

/// Finds the sources. `mirror` takes the place of all of this machine's: there is no telling where a mirror keeps
/// its updates and security fixes, so only its main archive is used.
pub(super) fn find(mirror: Option<&str>, interrupts: &Interrupts) -> Result<Sources, ImageError> {
    let ask = |program: &str, arguments: &[&str]| {
        let said = run(Command::new(program).args(arguments), interrupts, PATIENCE);
        match said.map_err(ImageError::helper("apt")) {
            Err(ImageError::Interrupted(interrupted)) => Err(ImageError::Interrupted(interrupted)),
            // A machine whose apt has nothing to say is not asked.
            other => Ok(other.unwrap_or_default()),
        }
    };
    let lines = match mirror {
        Some(url) => vec![format!("deb {url} {RELEASE} main")],
        None => {
            let format = "$(SITE) $(RELEASE) $(COMPONENT)";
            lines(&ask("apt-get", &["indextargets", "--format", format, "Created-By: Packages"])?)
        }
    };
    Ok(Sources { lines, apt_settings: settings(&ask("apt-config", &["dump", "Acquire"])?) })
}

/// Lines for the Debian archives among what apt prints, as `site suite component`. Others' archives do not belong
/// into the image, and Debian's are told by how their paths end.
fn lines(targets: &str) -> Vec<String> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    for line in targets.lines() {
        let &[site, suite, "main"] = line.split_whitespace().collect::<Vec<_>>().as_slice() else { continue };
        let site = site.trim_end_matches('/');
        let fits = match suite.strip_prefix(RELEASE) {
            Some("" | "-updates") => site.ends_with("/debian"),
            Some("-security") => site.ends_with("/debian-security"),
            _ => false,
        };
        let reachable = site.starts_with("http://") || site.starts_with("https://");
        if fits && reachable && !found.contains(&(site, suite)) {
            found.push((site, suite));
        }
    }
    // Updates without what they update would be of no use.
    if !found.iter().any(|(_, suite)| *suite == RELEASE) {
        return Vec::new();
    }
    found.sort_by_key(|(_, suite)| suite.len());
    found.into_iter().map(|(site, suite)| format!("deb {site} {suite} main")).collect()
}

/// What of this machine's settings decides whether an archive can be reached and is believed. Settings that name
/// files or programs of this machine are left out: apt also runs where these are not.
fn settings(dump: &str) -> Vec<String> {
    let wanted = |key: &str, value: &str| {
        let at = |prefix: &str| key.starts_with(prefix);
        let network = at("Acquire::http::") || at("Acquire::https::") || at("Acquire::Retries");
        let belief = at("Acquire::Check-") || at("Acquire::Max-") || at("Acquire::Force");
        let here = value.starts_with('/') || key.to_ascii_lowercase().replace('-', "").contains("autodetect");
        (network || belief) && !value.is_empty() && !here
    };
    let parse = |line: &str| {
        let (key, value) = line.strip_suffix(';')?.split_once(' ')?;
        let value = value.trim_matches('"');
        wanted(key, value).then(|| format!("{key} \"{value}\""))
    };
    let mut settings = vec!["Acquire::Languages \"none\"".to_owned()];
    settings.extend(dump.lines().filter_map(parse));
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debians_own_archives_are_taken_and_others_are_not() {
        let targets = "\
            http://m/debian/ bookworm-updates main\n\
            http://m/debian-security bookworm-security main\n\
            http://m/debian bookworm main\n\
            http://m/debian bookworm main\n\
            http://m/debian bookworm contrib\n\
            http://m/debian trixie main\n\
            https://elsewhere/apt bookworm main\n\
            https://elsewhere/linux/debian bookworm stable\n\
            cdrom:[Debian]/debian bookworm main\n\
            nonsense\n";
        let expected = [
            "deb http://m/debian bookworm main",
            "deb http://m/debian bookworm-updates main",
            "deb http://m/debian-security bookworm-security main",
        ];
        assert_eq!(lines(targets), expected);
    }

    #[test]
    fn a_machine_of_another_release_leaves_it_to_mmdebstrap() {
        assert!(lines("http://m/debian trixie main\n").is_empty());
        assert!(lines("http://m/debian-security bookworm-security main\n").is_empty());
        assert!(lines("").is_empty());
    }

    #[test]
    fn proxies_and_checks_are_handed_over_and_local_files_are_not() {
        let dump = "\
            Acquire::http \"\";\n\
            Acquire::http::Proxy \"http://proxy:3128\";\n\
            Acquire::http::Proxy::mirror \"DIRECT\";\n\
            Acquire::http::Proxy-Auto-Detect \"detect\";\n\
            Acquire::https::CAInfo \"/etc/ssl/our.pem\";\n\
            Acquire::Check-Valid-Until \"false\";\n\
            Acquire::cdrom::mount \"/media/cdrom/\";\n\
            Acquire::Languages:: \"de\";\n";
        let expected = [
            "Acquire::Languages \"none\"",
            "Acquire::http::Proxy \"http://proxy:3128\"",
            "Acquire::http::Proxy::mirror \"DIRECT\"",
            "Acquire::Check-Valid-Until \"false\"",
        ];
        assert_eq!(settings(dump), expected);
    }

    #[test]
    fn a_named_mirror_is_the_only_source() {
        let sources = find(Some("http://m/debian"), &Interrupts::catch().unwrap()).unwrap();
        assert_eq!(sources.lines, ["deb http://m/debian bookworm main"]);
    }
}
