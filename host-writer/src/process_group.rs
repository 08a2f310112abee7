//! Who is in a process group, from /proc: the load's workers are forked by a program that reports nothing to us.

use std::fs;

/// A process of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub pid: u32,
    /// Its name, which the kernel cuts at 15 bytes.
    pub name: String,
    /// Its state letter (proc(5)): `Z` is a process that ended and was not reaped.
    pub state: char,
}

impl Member {
    /// Whether it has not ended yet.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }

    /// Its command line, words separated by spaces; empty when it is gone.
    #[must_use]
    pub fn command_line(&self) -> String {
        let bytes = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ").trim_end().to_owned()
    }
}

/// The processes of group `group`, also those that wait to be reaped; empty where /proc cannot be read.
#[must_use]
pub fn members(group: u32) -> Vec<Member> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    // A process may be gone between the listing and the reading.
    pids.filter_map(|pid| parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
        .filter_map(|(member, its_group)| (its_group == group).then_some(member))
        .collect()
}

/// A process and its group out of `/proc/<pid>/stat`. The name (field 2) is in parentheses and may hold anything, so
/// fields count from the last `)`.
fn parse_stat(stat: &str) -> Option<(Member, u32)> {
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    // After the state come the parent and the group.
    let group = fields.nth(1)?.parse().ok()?;
    Some((Member { pid: pid.parse().ok()?, name: name.to_owned(), state }, group))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    #[test]
    fn a_name_with_parentheses_hides_nothing() {
        let (member, group) = parse_stat("12 (a) b (c)) R 1 34 34 0 -1").unwrap();
        assert_eq!((member.pid, member.name.as_str(), member.state, group), (12, "a) b (c)", 'R', 34));
        for text in ["", "1 (x", "1 (x)", "1 (x) S 1", "1 (x) S 1 y", "y (x) S 1 2"] {
            assert_eq!(parse_stat(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_member_is_seen_until_it_is_reaped() {
        let mut child = Command::new("sleep").arg("1000").process_group(0).spawn().unwrap();
        let seen = members(child.id());
        assert_eq!(seen.len(), 1);
        assert!(seen[0].is_alive());
        child.kill().unwrap();
        while members(child.id()).iter().any(Member::is_alive) {
            std::thread::yield_now();
        }
        assert_eq!(members(child.id())[0].state, 'Z');
        child.wait().unwrap();
        assert_eq!(members(child.id()), []);
    }
}
