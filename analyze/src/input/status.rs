//! The status column: `ok`, or the name of a failure.

/// Status of a row that measured what it set out to.
const OK: &str = "ok";

/// Whether `status` says success; the reason it is no status otherwise.
///
/// Failures unknown to this version keep their own names, so a newer writer's rows are counted rather than refused.
pub(crate) fn is_ok(status: Option<&str>) -> Result<bool, &'static str> {
    match status {
        None => Err("empty; every row has a status"),
        Some(OK) => Ok(true),
        Some(name) if is_name(name, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') => {
            Ok(false)
        }
        Some(_) => Err("not a status; expected ok, or a failure's name such as timeout_received"),
    }
}

/// Whether `name` is short and made of such characters only.
pub(crate) fn is_name(name: &str, allowed: impl Fn(char) -> bool) -> bool {
    (1..=32).contains(&name.len()) && name.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ok_is_ok() {
        assert_eq!(is_ok(Some("ok")), Ok(true));
        assert_eq!(is_ok(Some("timeout_received")), Ok(false));
        assert_eq!(is_ok(Some("some_later_failure")), Ok(false));
        for garbage in ["OK", "o k", "", "\u{1b}[31m", &"x".repeat(33)] {
            assert!(is_ok(Some(garbage)).is_err(), "{garbage:?}");
        }
        assert!(is_ok(None).is_err());
    }
}
