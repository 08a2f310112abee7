//! What QEMU's last words mean for the user.

/// Why QEMU ended when it should have run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Complaint {
    /// This build has not this device.
    NoIvshmem(&'static str),
    /// This build or this kernel has no seccomp.
    NoSandbox,
    /// Anything else, in its own words.
    Other(String),
}

/// Devices that some builds have not.
const DEVICES: [&str; 3] = ["ivshmem-plain", "ivshmem-doorbell", "intel-iommu"];
/// Lines of QEMU's standard error that go into one error line, at most.
const LINES_QUOTED: usize = 3;

/// Reads what QEMU wrote to its standard error.
pub fn read(stderr: &str) -> Complaint {
    let missing = |device: &&str| stderr.contains(&format!("'{device}' is not a valid device model name"));
    if let Some(device) = DEVICES.into_iter().find(missing) {
        return Complaint::NoIvshmem(device);
    }
    if stderr.contains("seccomp") || stderr.contains("-sandbox") {
        return Complaint::NoSandbox;
    }
    Complaint::Other(last_words(stderr))
}

/// The last lines that say something, joined into one, free of control characters.
pub fn last_words(log: &str) -> String {
    let lines: Vec<&str> = log.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let from = lines.len().saturating_sub(LINES_QUOTED);
    let words = lines[from..].join(" / ");
    if words.is_empty() { "it said nothing".to_owned() } else { printable(&words) }
}

/// Text from outside, with everything that could move a terminal's cursor taken out.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_complaints_are_told_apart() {
        let device = "qemu-system-x86_64: -device ivshmem-plain,memdev=region: 'ivshmem-plain' is not a valid device model name\n";
        assert_eq!(read(device), Complaint::NoIvshmem("ivshmem-plain"));
        let other = device.replace("ivshmem-plain", "intel-iommu");
        assert_eq!(read(&other), Complaint::NoIvshmem("intel-iommu"));
        for line in [
            "-sandbox support is not enabled in this QEMU binary",
            "failed to install seccomp syscall filter",
        ] {
            assert_eq!(read(line), Complaint::NoSandbox);
        }
    }

    #[test]
    fn other_words_are_quoted_last_lines_first_dropped() {
        let stderr = "one\n\ntwo\nthree\n\u{1b}[31mfour\n";
        assert_eq!(read(stderr), Complaint::Other("two / three /  [31mfour".to_owned()));
        assert_eq!(read(" \n"), Complaint::Other("it said nothing".to_owned()));
    }
}
