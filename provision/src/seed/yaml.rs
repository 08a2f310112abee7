//! YAML as PyYAML, cloud-init's parser, understands it: read from the user, and written for the guest.
//!
//! PyYAML speaks YAML 1.1. There bare `yes`, `no`, `on` and `off` are booleans and `0644` is octal, while `y`, `n`
//! are words. Reading keeps to that, so that a file means here what it means to cloud-init. Two differences remain
//! and are for the better: `12:30:00` stays text instead of becoming a number in base 60, and a date stays text.
//!
//! What is written is JSON, which is YAML: every string is quoted, so a host named `no` stays a name.

use serde_json::Value;
use serde_saphyr::Options;

use crate::qemu::complaint::printable;

/// Why a text is not YAML.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotYaml {
    /// Counted from 1, when known.
    pub(super) line_and_column: Option<(u64, u64)>,
    pub(super) why: String,
}

/// Reads one YAML document. Nesting, aliases and merge keys are bounded by the parser's budgets, so that a few
/// anchors cannot blow up to gigabytes.
pub(super) fn read(text: &str) -> Result<Value, NotYaml> {
    let loose = parse(text, false)?;
    let strict = parse(text, true)?;
    Ok(like_pyyaml(loose, strict))
}

fn parse(text: &str, strict_booleans: bool) -> Result<Value, NotYaml> {
    let options: Options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: 100_000, max_total_scalar_bytes: 8 << 20, max_documents: 2 },
        legacy_octal_numbers: true,
        strict_booleans: strict_booleans,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let error = error.without_snippet();
        NotYaml {
            line_and_column: error.location().map(|at| (at.line(), at.column())),
            why: first_words(&error.to_string()),
        }
    })
}

/// The parser's first line, without the place, which is kept apart, and without advice to programmers.
fn first_words(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let words = [" at line ", ", set DuplicateKeyPolicy", "; use from_"]
        .iter()
        .fold(line, |words, end| words.split_once(end).map_or(words, |(before, _)| before));
    printable(words.trim())
}

/// The parser takes bare `y` and `n` for booleans, too, unless it is strict; then it takes none but `true` and
/// `false`. Both readings together tell which word stood there.
fn like_pyyaml(loose: Value, strict: Value) -> Value {
    match (loose, strict) {
        (Value::Bool(_), Value::String(word)) if word.trim().len() == 1 => Value::String(word),
        (Value::Array(loose), Value::Array(strict)) => {
            Value::Array(loose.into_iter().zip(strict).map(|(l, s)| like_pyyaml(l, s)).collect())
        }
        (Value::Object(loose), Value::Object(mut strict)) => Value::Object(
            loose
                .into_iter()
                .map(|(key, value)| {
                    let other = strict.get_mut(&key).map_or(Value::Null, Value::take);
                    (key, like_pyyaml(value, other))
                })
                .collect(),
        ),
        (loose, _) => loose,
    }
}

/// `value` as indented JSON with sorted keys, the same for the same value.
pub(super) fn write(mut value: Value) -> String {
    value.sort_all_objects();
    let mut text = String::new();
    // Strings are the only place where these characters can stand.
    for c in format!("{value:#}").chars() {
        match c {
            // Line breaks to YAML 1.1, which would be folded, and characters that PyYAML refuses.
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                text += &format!("\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bare_words_mean_what_they_mean_to_pyyaml() {
        let read = read("a: [yes, No, on, OFF, true, y, N, 'yes', ~]\nb: {on: off}\n").unwrap();
        assert_eq!(
            read,
            json!({"a": [true, false, true, false, true, "y", "N", "yes", null], "b": {"on": false}})
        );
    }

    #[test]
    fn numbers_mean_what_they_mean_to_pyyaml_except_clocks_and_dates() {
        let read = read("a: [0644, 12, '0644', 12:30:00, 2024-01-02, 0x10]").unwrap();
        assert_eq!(read, json!({"a": [0o644, 12, "0644", "12:30:00", "2024-01-02", 16]}));
    }

    #[test]
    fn what_is_not_yaml_is_located() {
        for (text, line) in
            [("a: [1,\nb: ]\nc", 2), ("a:\n\tb: 2\n", 2), ("a: 1\na: 2\n", 2), ("a: 1\n---\nb: 2\n", 2)]
        {
            let error = read(text).unwrap_err();
            assert!(error.line_and_column.is_some_and(|(at, _)| at >= line), "{text:?}: {error:?}");
            assert!(!error.why.is_empty() && !error.why.contains('\n'), "{error:?}");
        }
    }

    #[test]
    fn a_bomb_of_anchors_is_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let alias = format!("*a{}", level - 1);
            bomb += &format!("a{level}: &a{level} [{}]\n", [alias.as_str(); 9].join(", "));
        }
        assert!(read(&bomb).is_err());
        assert!(read(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn what_yaml_would_take_for_a_line_break_is_escaped() {
        let text = write(json!({"b": "\u{85}\u{2028}é😀\u{7f}", "a": "no"}));
        assert_eq!(text, "{\n  \"a\": \"no\",\n  \"b\": \"\\u0085\\u2028é😀\\u007f\"\n}\n");
    }
}
