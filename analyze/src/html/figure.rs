//! A chart on the page: its SVG, what hovering over it says, and its title.

use super::escape::{escaped, json_in_script};

/// A chart as the page needs it.
#[derive(Debug, Clone)]
pub struct Figure {
    /// Its file's name without the ending.
    pub name: String,
    /// Its title.
    pub title: String,
    /// What it shows, for whoever does not see it.
    pub alt: String,
    /// The `svg` element.
    pub markup: String,
    /// Panels with their points, as JSON.
    pub hover: String,
}

/// The figure element.
pub(super) fn render(figure: &Figure) -> String {
    let name = escaped(&figure.name);
    let (title, alt) = (escaped(&figure.title), escaped(&figure.alt));
    let svg = scalable(&figure.markup, &alt);
    let hover = json_in_script(&figure.hover);
    format!(
        "<figure class=\"chart\" id=\"chart-{name}\">\n<figcaption>{title}</figcaption>\n<div class=\"plot\">{svg}</div>\n\
         <script type=\"application/json\" class=\"hover\">{hover}</script>\n</figure>\n"
    )
}

/// The markup from its `svg` element on, as an image with a name.
fn scalable(markup: &str, alt: &str) -> String {
    let start = markup.find("<svg").unwrap_or(0);
    markup[start..].replacen("<svg", &format!("<svg role=\"img\" aria-label=\"{alt}\""), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_a_name_and_no_prologue() {
        let figure = Figure {
            name: "latency_histogram".into(),
            title: "a < b".into(),
            alt: "say \"hi\"".into(),
            markup: "<?xml version=\"1.0\"?>\n<svg viewBox=\"0 0 10 10\"><rect/></svg>".into(),
            hover: "[\"</script>\"]".into(),
        };
        let out = render(&figure);
        assert!(
            out.contains("<div class=\"plot\"><svg role=\"img\" aria-label=\"say &quot;hi&quot;\" viewBox="),
            "{out}"
        );
        assert!(out.contains("<figcaption>a &lt; b</figcaption>"), "{out}");
        assert_eq!(out.matches("</script>").count(), 1, "{out}");
    }
}
