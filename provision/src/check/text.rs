//! The report as people read it: grouped by area, aligned, at most 100 columns, the remedy below what was seen.

use std::fmt::Write as _;

use super::finding::State;
use super::report::Report;

const WIDTH: usize = 100;
const STATE_WIDTH: usize = 8;

/// Whether states are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// Letters only.
    Plain,
    /// With colours, for a terminal.
    Colours,
}

impl Paint {
    fn state(self, state: State) -> String {
        let padded = format!("{:STATE_WIDTH$}", state.as_str());
        // SGR green, yellow, red (ECMA-48, 8.3.117).
        let colour = match state {
            State::Ok => 32,
            State::Degraded => 33,
            State::Missing => 31,
        };
        match self {
            Self::Plain => padded,
            Self::Colours => format!("\x1b[{colour}m{padded}\x1b[0m"),
        }
    }
}

/// The whole report.
pub fn text(report: &Report, paint: Paint) -> String {
    let name_width = report.findings.iter().map(|finding| finding.name.len()).max().unwrap_or(0);
    // Two columns before the state, two behind it, two behind the name.
    let indent = 2 + STATE_WIDTH + 2 + name_width + 2;
    let mut text = String::new();
    let mut area = "";
    for finding in &report.findings {
        if finding.area != area {
            area = finding.area;
            let _ = writeln!(text, "{area}");
        }
        let seen = wrap(&finding.seen, indent);
        let _ = writeln!(text, "  {}  {:name_width$}  {seen}", paint.state(finding.state), finding.name);
        if let Some(remedy) = &finding.remedy {
            let _ = writeln!(text, "{:indent$}-> {}", "", wrap(remedy, indent + 3));
        }
    }
    let _ = writeln!(text, "\n{}", wrap(&report.summary, 0));
    text
}

/// Breaks a text between words, all its lines from column `indent` on.
fn wrap(text: &str, indent: usize) -> String {
    let mut wrapped = String::new();
    let mut column = indent;
    for word in words(text, WIDTH - indent) {
        let length = word.chars().count();
        let at_start = wrapped.is_empty();
        if !at_start && column + 1 + length > WIDTH {
            let _ = write!(wrapped, "\n{:indent$}", "");
            column = indent;
        } else if !at_start {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += length;
    }
    wrapped
}

/// The words of a text, where what is in quotes is one word if a line has room for it: a command that is broken in
/// two cannot be copied.
fn words(mut text: &str, room: usize) -> Vec<&str> {
    let mut words = Vec::new();
    loop {
        text = text.trim_start();
        let blank = text.find(' ').unwrap_or(text.len());
        let quoted = text.strip_prefix('\'').and_then(|inside| {
            let quote = 1 + inside.find('\'')? + 1;
            // Whatever is glued to the closing quote, such as a comma, stays with it.
            let end = text[quote..].find(' ').map_or(text.len(), |glued| quote + glued);
            (text[..end].chars().count() <= room).then_some(end)
        });
        let (word, rest) = text.split_at(quoted.unwrap_or(blank));
        if word.is_empty() {
            return words;
        }
        words.push(word);
        text = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::super::kvm::tests::closed;
    use super::super::kvm_device::Node;
    use super::super::tests::good;
    use super::super::{Facts, processor};
    use super::*;

    #[test]
    fn a_good_machine_as_the_user_sees_it() {
        insta::assert_snapshot!(text(&Report::of(&good()), Paint::Plain));
    }

    #[test]
    fn a_poor_machine_as_the_user_sees_it() {
        let flags = ["hypervisor".to_owned()];
        let processor = processor::Facts { flags: flags.into(), ..good().processor };
        let cores = super::super::cores::tests::cores(&[&[0, 1]]);
        let mut facts = Facts { processor, cores, kvm: closed(Node::Absent), ..good() };
        facts.qemu.program = None;
        facts.tools.found[5].1 = super::super::tools::Place::Nowhere;
        facts.tools.no_subordinate_ids = Some(100_000);
        facts.programs.guest_reader =
            Err("no static guest-reader at /a/guest-reader; build it with: cargo build".to_owned());
        let report = text(&Report::of(&facts), Paint::Plain);
        assert!(report.lines().all(|line| line.chars().count() <= WIDTH), "{report}");
        insta::assert_snapshot!(report);
    }

    #[test]
    fn colours_surround_the_state_and_nothing_else() {
        let plain = text(&Report::of(&good()), Paint::Plain);
        let coloured = text(&Report::of(&good()), Paint::Colours);
        assert!(coloured.contains("  \x1b[32mok      \x1b[0m  model"), "{coloured}");
        assert_eq!(coloured.replace("\x1b[32m", "").replace("\x1b[0m", ""), plain);
    }

    #[test]
    fn commands_in_quotes_stay_whole_when_a_line_has_room_for_them() {
        assert_eq!(words("it's 'a b', c 'd' e", 7), ["it's", "'a b',", "c", "'d'", "e"]);
        assert_eq!(words("'a b c d' 'open e", 5), ["'a", "b", "c", "d'", "'open", "e"]);
        assert_eq!(words(" ", 5), Vec::<&str>::new());
    }

    #[test]
    fn a_word_longer_than_the_line_stays_whole() {
        let long = "x".repeat(120);
        assert_eq!(wrap(&format!("a {long} b"), 10), format!("a\n          {long}\n          b"));
    }
}
