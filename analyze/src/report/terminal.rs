//! Colours for a report that is printed. Files and pipes get the same text without them: whoever prints goes through
//! `anstream`, which knows terminals, NO_COLOR, CLICOLOR and CLICOLOR_FORCE.

use anstyle::{AnsiColor, Style};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const ALARM: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BARS: Style = AnsiColor::Blue.on_default();

/// The report with colours: headings, warnings and bars stand out, what is not there steps back.
#[must_use]
pub fn coloured(report: &str) -> String {
    let lines: Vec<&str> = report.lines().collect();
    let mut out = String::with_capacity(report.len() * 2);
    // How far the lines of the warning are indented that is being written.
    let mut warning: Option<(Style, usize)> = None;
    for (place, line) in lines.iter().enumerate() {
        warning = begins_warning(line).or(warning.filter(|(_, indent)| continues(line, *indent)));
        let is_rule = |line: &str| line.len() > 3 && line.chars().all(|c| c == '-' || c == '=');
        let below = lines.get(place + 1).is_some_and(|next| is_rule(next));
        match warning {
            Some((style, _)) => paint(&mut out, style, line),
            None if is_rule(line) => paint(&mut out, DIM, line),
            None if below => paint(&mut out, BOLD, line),
            None if line.contains(['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']) => {
                paint(&mut out, BARS, line);
            }
            None => {
                let (style, length) = verdict(line).unwrap_or_default();
                if length > 0 {
                    paint(&mut out, style, &line[..length]);
                }
                out += &line[length..].replace("n/a", &format!("{DIM}n/a{DIM:#}"));
            }
        }
        out.push('\n');
    }
    out
}

/// The style of the words that begin a verdict of compare or gate, and their length.
fn verdict(line: &str) -> Option<(Style, usize)> {
    let words = [
        ("  FASTER.", GOOD),
        ("  SLOWER.", ALARM),
        ("  THE SAME.", BOLD),
        ("  CANNOT TELL.", WARNING),
        ("gate: passed", GOOD),
        ("gate: failed", ALARM),
    ];
    words.into_iter().find(|(words, _)| line.starts_with(words)).map(|(words, style)| (style, words.len()))
}

fn paint(out: &mut String, style: Style, line: &str) {
    *out += &format!("{style}{line}{style:#}");
}

/// The style of a warning and the indentation of its further lines, if `line` begins one.
fn begins_warning(line: &str) -> Option<(Style, usize)> {
    let marks = [("  !! ", ALARM), ("  ! ", WARNING)];
    marks.into_iter().find(|(mark, _)| line.starts_with(mark)).map(|(mark, style)| (style, mark.len()))
}

fn continues(line: &str, indent: usize) -> bool {
    line.len() > indent && line.bytes().take(indent).all(|byte| byte == b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str =
        "A HEADING\n-----\n  ! DIRTY RUN: disturbed\n    while measured\n  p99      n/a\n  ▁▃█\n";

    #[test]
    fn colours_change_no_character() {
        let plain = anstream::adapter::strip_str(&coloured(REPORT)).to_string();
        assert_eq!(plain, REPORT);
    }

    #[test]
    fn the_words_of_a_verdict_are_coloured() {
        let verdict = "  SLOWER. RTT, p50, is 1.1\n  times that of base\ngate: passed\n";
        let expected = format!(
            "{ALARM}  SLOWER.{ALARM:#} RTT, p50, is 1.1\n  times that of base\n{GOOD}gate: passed{GOOD:#}\n"
        );
        assert_eq!(coloured(verdict), expected);
    }

    #[test]
    fn a_warning_is_coloured_to_its_end() {
        let out = coloured(REPORT);
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines[2], format!("{WARNING}  ! DIRTY RUN: disturbed{WARNING:#}"));
        assert_eq!(lines[3], format!("{WARNING}    while measured{WARNING:#}"));
        assert_eq!(lines[4], format!("  p99      {DIM}n/a{DIM:#}"));
        assert_eq!(lines[0], format!("{BOLD}A HEADING{BOLD:#}"));
    }
}
