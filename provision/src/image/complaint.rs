//! Reading what mmdebstrap and the programs below it print: how far it is, and why it failed.

/// Why a build failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Complaint {
    /// No space left.
    Full,
    /// No user namespace, or no ids for it.
    Namespace(String),
    /// The mirror does not give what was asked for.
    Network(String),
    /// Anything else: the first complaint.
    Other(String),
}

/// The step that a line of mmdebstrap's announces.
pub(super) fn step(line: &str) -> Option<&'static str> {
    let known = [
        ("I: running apt-get update", "reading the package lists"),
        ("I: downloading packages", "fetching the essential packages"),
        ("I: extracting archives", "unpacking them"),
        ("I: installing essential packages", "installing them"),
        ("I: installing remaining packages", "fetching and installing the others"),
        ("I: running --customize-hook", "making the file system"),
    ];
    known.into_iter().find_map(|(start, step)| line.starts_with(start).then_some(step))
}

/// Why it failed, by all it said.
pub(super) fn of(lines: &[String]) -> Complaint {
    let first = |is: &dyn Fn(&str) -> bool| lines.iter().find(|line| is(line)).map(|line| cleaned(line));
    let full = ["No space left on device", "enough free space in"];
    if first(&|line| full.iter().any(|words| line.contains(words))).is_some() {
        return Complaint::Full;
    }
    let namespace = ["unshare: ", "newuidmap: ", "newgidmap: ", "setpriv: "];
    if let Some(said) = first(&|line| namespace.iter().any(|start| line.starts_with(start))) {
        return Complaint::Namespace(said);
    }
    // apt names the archive in one line and the reason in the next, or both in one.
    let reason = ["Could not connect", "Could not resolve", "Unable to connect", "Connection timed out"];
    let failed = ["E: Failed to fetch", "Err:", "E: Unable to fetch", "W: Failed to fetch"];
    if let Some(said) = first(&|line| reason.iter().any(|words| line.contains(words)))
        .or_else(|| first(&|line| failed.iter().any(|start| line.starts_with(start))))
    {
        return Complaint::Network(said);
    }
    let complaint = first(&|line| line.contains(": error") || line.starts_with("E: "))
        .or_else(|| lines.last().map(|line| cleaned(line)));
    Complaint::Other(complaint.unwrap_or_else(|| "mmdebstrap said nothing".to_owned()))
}

/// A line without its marker.
fn cleaned(line: &str) -> String {
    let line = line.trim();
    line.strip_prefix("E: ").or_else(|| line.strip_prefix("W: ")).unwrap_or(line).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_text(text: &str) -> Complaint {
        of(&text.lines().map(ToOwned::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn each_kind_is_told_by_its_words() {
        let full = "I: extracting archives...\ntar: ./usr: Cannot mkdir: No space left on device\nE: failed";
        assert_eq!(of_text(full), Complaint::Full);
        let ids = "unshare: failed to find subuid for user\n";
        assert_eq!(of_text(ids), Complaint::Namespace("unshare: failed to find subuid for user".into()));
        let network =
            "Err:1 http://127.0.0.1:9 bookworm InRelease\n  Could not connect to 127.0.0.1:9\nE: no";
        assert_eq!(of_text(network), Complaint::Network("Could not connect to 127.0.0.1:9".into()));
        let missing = "E: Failed to fetch http://m/x  404  Not Found\n";
        assert_eq!(of_text(missing), Complaint::Network("Failed to fetch http://m/x  404  Not Found".into()));
        let other = "I: a\nE: Unable to locate package x\nE: apt-get failed";
        assert_eq!(of_text(other), Complaint::Other("Unable to locate package x".into()));
        assert_eq!(of_text(""), Complaint::Other("mmdebstrap said nothing".into()));
    }

    #[test]
    fn steps_are_few() {
        assert_eq!(step("I: running apt-get update..."), Some("reading the package lists"));
        assert_eq!(step("I: using /x as tempdir"), None);
    }
}
