//! A chart on the page: its SVG, what hovering over it says, and its title.

use super::escape::{escaped, json_in_script};
use crate::charts::Picture;
use crate::error::Error;

/// The figure element.
///
/// # Errors
/// [`Error::Draw`].
pub(super) fn render(picture: &Picture<'_>) -> Result<String, Error> {
    let svg = picture.svg()?;
    // Points are finite numbers and text: there is nothing in them that JSON has not.
    let hover = serde_json::to_string(&svg.hover)
        .map_err(|error| Error::Draw { picture: picture.name, message: error.to_string() })?;
    Ok(element(picture.name, &picture.title, &svg.markup, &hover))
}

fn element(name: &str, title: &str, svg: &str, hover: &str) -> String {
    let (name, title, hover) = (escaped(name), escaped(title), json_in_script(hover));
    format!(
        "<figure class=\"chart\" id=\"chart-{name}\">\n<figcaption>{title}</figcaption>\n<div class=\"plot\">{svg}</div>\n\
         <script type=\"application/json\" class=\"hover\">{hover}</script>\n</figure>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_and_values_are_text() {
        let out =
            element("latency_histogram", "a < b", "<svg viewBox=\"0 0 10 10\"></svg>", "[\"</script>\"]");
        assert!(out.contains("<figcaption>a &lt; b</figcaption>"), "{out}");
        assert_eq!(out.matches("</script>").count(), 1, "{out}");
    }
}
