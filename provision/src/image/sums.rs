//! Checksum files as `sha512sum` writes them.

/// The digest that `sums` gives for `file`, as lower-case hexadecimal digits.
pub(super) fn digest_of(sums: &str, file: &str) -> Option<String> {
    sums.lines().find_map(|line| {
        let (digest, name) = line.trim_end().split_once(' ')?;
        // Two spaces, or a space and an asterisk for a file read as binary.
        let name = name.strip_prefix([' ', '*'])?;
        let sound = digest.len() == 128 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        (sound && name == file).then(|| digest.to_ascii_lowercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_very_file_counts() {
        let (a, b) = ("a".repeat(128), "B".repeat(128));
        let sums = format!("{a}  debian-12-generic-amd64.json\n{b}  debian-12-generic-amd64.qcow2\r\n");
        assert_eq!(digest_of(&sums, "debian-12-generic-amd64.qcow2"), Some("b".repeat(128)));
        assert_eq!(digest_of(&sums, "debian-12-generic-amd64.json"), Some(a.clone()));
        assert_eq!(digest_of(&sums, "generic-amd64.qcow2"), None);
        assert_eq!(digest_of(&format!("{a} *x"), "x"), Some(a));
    }

    #[test]
    fn lines_that_are_no_sums_are_passed_over() {
        let text = format!("<html>\n\nabc  x\n{}  x\n{}\n", "g".repeat(128), "a".repeat(128));
        assert_eq!(digest_of(&text, "x"), None);
    }
}
