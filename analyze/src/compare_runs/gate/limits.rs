//! What `--max-regression` allows.

use crate::compare_runs::percent;

/// What is allowed: figures' keys with shares of 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits(pub(super) Vec<(String, f64)>);

impl Limits {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut limits: Vec<(String, f64)> = Vec::new();
        for part in text.split(',') {
            let expected = || format!("`{part}` is not FIGURE=PERCENT, such as p50=5%");
            let (key, share) = part.split_once('=').ok_or_else(expected)?;
            let key = key.trim();
            if key.is_empty() {
                return Err(expected());
            }
            if limits.iter().any(|(known, _)| known == key) {
                return Err(format!("{key} is named twice"));
            }
            limits.push((key.into(), percent::share(share).map_err(|why| format!("{key}: {why}"))?));
        }
        Ok(Self(limits))
    }

    /// Whether a figure has a limit of its own, which goes before that of all.
    pub(super) fn name(&self, key: &str) -> bool {
        self.0.iter().any(|(named, _)| named == key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_or_refused_with_what_was_expected() {
        let limits = Limits::parse("p50=5%, 4k_rate=0.5%,p99.9=10").unwrap();
        let expected = [("p50", 0.05), ("4k_rate", 0.005), ("p99.9", 0.1)];
        assert_eq!(limits.0, expected.map(|(key, share)| (key.to_owned(), share)));
        let error = |text| Limits::parse(text).unwrap_err();
        assert_eq!(error("p50"), "`p50` is not FIGURE=PERCENT, such as p50=5%");
        assert_eq!(error("p50=5%,"), "`` is not FIGURE=PERCENT, such as p50=5%");
        assert_eq!(error("=5%"), "`=5%` is not FIGURE=PERCENT, such as p50=5%");
        assert_eq!(error("p50=x"), "p50: expected a percentage from 0 to below 100, such as 2%");
        assert_eq!(error("p50=5%,p50=6%"), "p50 is named twice");
    }
}
