//! What the guest tells the host while it boots, read from its lines. A guest may write anything: lines are
//! bounded, and nothing that could move a terminal's cursor gets through.

use serde::Deserialize;

use crate::qemu::complaint::printable;

/// Longest line accepted, in bytes. cloud-init quotes output of failed commands in its result.
pub const LINE_BYTES_MAX: usize = 64 << 10;

/// Errors kept of one report, at most.
const ERRORS_MAX: usize = 16;

/// Characters kept of one error, at most.
const ERROR_CHARS_MAX: usize = 600;

/// Characters kept of a kernel's release, at most.
const KERNEL_CHARS_MAX: usize = 128;

/// How far the boot has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The network is up, and cloud-init begins.
    Network,
    /// sshd is up.
    Sshd,
}

/// One report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The boot goes on.
    Phase(Phase),
    /// cloud-init is through.
    Finished {
        /// The PCI address of the ivshmem device, such as `0000:00:02.0`; none when the guest does not see one.
        device: Option<String>,
        /// The kernel's release.
        kernel: String,
        /// What went wrong in cloud-init; empty when nothing did.
        errors: Vec<String>,
    },
}

/// Why a line is not a report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAReport {
    /// It is too long.
    #[error("the guest sent a line of {0} bytes, at most {LINE_BYTES_MAX} are a report: see its console")]
    TooLong(usize),
    /// It is something else.
    #[error("the guest sent unexpected words: {0}: see its console")]
    Unexpected(String),
}

/// Reads one line, without its end.
///
/// # Errors
/// It is not a report.
pub fn parse(line: &str) -> Result<Report, NotAReport> {
    if line.len() > LINE_BYTES_MAX {
        return Err(NotAReport::TooLong(line.len()));
    }
    let line = line.trim_end();
    match line {
        "PHASE network" => Ok(Report::Phase(Phase::Network)),
        "PHASE sshd" => Ok(Report::Phase(Phase::Sshd)),
        _ => finished(line).ok_or_else(|| NotAReport::Unexpected(plain(line, 100))),
    }
}

/// `FINISHED device=<address or none> kernel=<release> result=<JSON>`; the last holds spaces.
fn finished(line: &str) -> Option<Report> {
    let (device, rest) = line.strip_prefix("FINISHED device=")?.split_once(" kernel=")?;
    let (kernel, result) = rest.split_once(" result=")?;
    let is_address = |text: &str| {
        (7..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit() || b":.".contains(&b))
    };
    let device = match device {
        "none" => None,
        address if is_address(address) => Some(address.to_owned()),
        _ => return None,
    };
    Some(Report::Finished { device, kernel: plain(kernel, KERNEL_CHARS_MAX), errors: errors(result) })
}

/// The part of cloud-init's `result.json` that matters here.
#[derive(Deserialize)]
struct CloudInitResult {
    v1: V1,
}

#[derive(Deserialize)]
struct V1 {
    #[serde(default)]
    errors: Vec<serde_json::Value>,
}

fn errors(result: &str) -> Vec<String> {
    let Ok(result) = serde_json::from_str::<CloudInitResult>(result) else {
        return vec![format!("cloud-init's result is unreadable: {}", plain(result, 100))];
    };
    let text = |error: &serde_json::Value| {
        plain(&error.as_str().map_or_else(|| error.to_string(), str::to_owned), ERROR_CHARS_MAX)
    };
    result.v1.errors.iter().take(ERRORS_MAX).map(text).collect()
}

/// One line of words: no control characters, no line breaks as Python's `repr` writes them, no runs of spaces.
fn plain(text: &str, chars_max: usize) -> String {
    let text = printable(text).replace("\\n", " ");
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.chars().count() <= chars_max {
        return words;
    }
    words.chars().take(chars_max).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = r#"FINISHED device=0000:00:02.0 kernel=6.1.0-28-cloud-amd64 result={ "v1": { "datasource": "DataSourceNoCloud [seed=/dev/vdb]", "errors": [] }}"#;

    #[test]
    fn phases_and_a_good_end_are_read() {
        assert_eq!(parse("PHASE network\r\n"), Ok(Report::Phase(Phase::Network)));
        assert_eq!(parse("PHASE sshd"), Ok(Report::Phase(Phase::Sshd)));
        assert_eq!(
            parse(GOOD),
            Ok(Report::Finished {
                device: Some("0000:00:02.0".to_owned()),
                kernel: "6.1.0-28-cloud-amd64".to_owned(),
                errors: vec![],
            })
        );
    }

    fn errors_of(result: &str) -> Vec<String> {
        match parse(&format!("FINISHED device=none kernel=6 result={result}")) {
            Ok(Report::Finished { device: None, errors, .. }) => errors,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn errors_become_plain_words() {
        let result =
            r#"{"v1":{"errors":["('runcmd',\u001b[1m ProcessExecutionError(\"boo\\nExit code: 1\"))", 7]}}"#;
        assert_eq!(errors_of(result), ["('runcmd', [1m ProcessExecutionError(\"boo Exit code: 1\"))", "7"]);
        assert_eq!(errors_of("{\"v1\""), ["cloud-init's result is unreadable: {\"v1\""]);
        assert_eq!(errors_of(""), ["cloud-init's result is unreadable: "]);
    }

    #[test]
    fn a_flood_is_bounded() {
        let many =
            format!(r#"{{"v1":{{"errors":[{}"x"]}}}}"#, format!("\"{}\",", "e".repeat(1000)).repeat(50));
        let errors = errors_of(&many);
        assert_eq!(errors.len(), ERRORS_MAX);
        assert!(errors.iter().all(|error| error.len() <= ERROR_CHARS_MAX + 3));
        assert_eq!(parse(&"x".repeat(LINE_BYTES_MAX + 1)), Err(NotAReport::TooLong(LINE_BYTES_MAX + 1)));
    }

    #[test]
    fn other_words_are_quoted_without_control_characters() {
        let error = parse("READY \u{1b}[2Jnow").unwrap_err().to_string();
        assert_eq!(error, "the guest sent unexpected words: READY [2Jnow: see its console");
        assert!(parse("FINISHED device=../../x kernel=6 result={}").is_err());
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(line in ".{0,200}") {
            let _ = parse(&line);
        }

        #[test]
        fn any_end_is_read_or_refused_and_printable(tail in ".{0,200}", device in "[0-9a-f:.]{0,20}") {
            if let Ok(Report::Finished { kernel, errors, .. }) =
                parse(&format!("FINISHED device={device} kernel={tail} result={tail}"))
            {
                prop_assert!(!kernel.chars().chain(errors.concat().chars()).any(char::is_control));
            }
        }
    }
}
