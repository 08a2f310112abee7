//! Text from files as text of a page: nothing in it has a meaning in HTML.

/// For element content and for attributes in double quotes. A control character becomes a blank.
#[must_use]
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            '\n' => out.push('\n'),
            c if c.is_control() => out.push(' '),
            // Characters that turn the direction of what follows could make a figure read as another.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// JSON for the inside of a `script` element, which ends at the first `</script` whatever it stands in.
#[must_use]
pub(super) fn json_in_script(json: &str) -> String {
    // In JSON these stand in strings only, where an escape means the same.
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_opens_a_tag_or_ends_an_attribute() {
        let hostile = "\" onload='x' <script>alert(1)</script> & \u{202e}\u{1b}[2J";
        let shown = escaped(hostile);
        assert!(!shown.contains(['<', '>', '"', '\'', '\u{202e}', '\u{1b}']), "{shown}");
        assert!(shown.starts_with("&quot; onload=&#39;x&#39; &lt;script&gt;"), "{shown}");
    }

    #[test]
    fn a_string_ends_no_script() {
        let json = serde_json::to_string("</script><!--").unwrap();
        let inside = json_in_script(&json);
        assert!(!inside.contains('<'));
        assert_eq!(serde_json::from_str::<String>(&inside).unwrap(), "</script><!--");
    }
}
