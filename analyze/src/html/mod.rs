//! report.html: the whole report in one file that asks nothing of any network and shows all of it without scripts.
//!
//! Every text that comes from a file goes through `escape`: statuses and names may be a hostile guest's. Besides, the page
//! forbids itself (Content-Security-Policy) all but its own style, its own script by hash, and nothing from elsewhere.

mod escape;
mod figure;
mod tables;

use crate::analysis::{Analysis, Analyzed};
use crate::charts::{FONT_CSS, Picture};
use crate::doubt::Severity;
use crate::error::Error;
use crate::report::concern::{self, Concern};
use crate::report::document::{Section, sections};
use crate::report::figures::Figures;
use crate::report::verdict::Verdict;
use crate::report::{first_of, notes, provenance};
use escape::escaped;

const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");

/// SHA-256 of [`SCRIPT`] in base64, the only script the page lets run. After a change of the script the browser's test says
/// the right one; so does `openssl dgst -sha256 -binary report.js | base64`.
const SCRIPT_SHA256: &str = include_str!("report.js.sha256");

/// Where charts go, by the beginning of their name; any other goes to the end.
const PLACES: [(&str, &str); 7] = [
    ("comparison", "figures"),
    ("history", "changes"),
    ("latency", "latency"),
    ("doorbell", "doorbells"),
    ("bandwidth", "bandwidth"),
    ("phase", "bandwidth"),
    ("frame", "bandwidth"),
];

/// What a page is filled with.
pub(crate) struct Page {
    /// Without the tool's name.
    pub(crate) title: String,
    /// What it is about: names, each with a path and more.
    pub(crate) about: Vec<[String; 3]>,
    /// What happened, and whether to believe it.
    pub(crate) verdict: [String; 2],
    /// How grave that is by itself, if it is.
    pub(crate) severity: Option<Severity>,
    pub(crate) concerns: Vec<Concern>,
    pub(crate) sections: Vec<Section>,
    pub(crate) notes: Vec<String>,
    /// Folded at its end, as HTML.
    pub(crate) end: String,
}

/// The report about a run.
///
/// # Errors
/// [`Error::Draw`] naming the picture.
pub fn render(analysis: &Analysis, figures: &Figures, charts: &[Picture<'_>]) -> Result<String, Error> {
    let verdict = Verdict::of(analysis);
    // Of the main run only, which is the first.
    let first = std::iter::once(first_of(analysis)).chain(std::iter::repeat(None));
    let folded: String = analysis.runs().map(of_provenance).collect();
    Page {
        title: title(analysis),
        about: analysis.runs().zip(first).map(|(analyzed, first)| about(analyzed, first)).collect(),
        verdict: [verdict.happened, verdict.belief],
        severity: None,
        concerns: concern::all(analysis),
        sections: sections(analysis, figures),
        notes: notes(analysis).into_iter().map(str::to_owned).collect(),
        end: format!("<section id=\"provenance\">\n{folded}</section>\n"),
    }
    .render(charts)
}

impl Page {
    /// The page, with each chart in the section that its name begins with, or at the end.
    pub(crate) fn render(&self, charts: &[Picture<'_>]) -> Result<String, Error> {
        let title = escaped(&format!("ivshmem: {}", self.title));
        let mut body = self.header(&title);
        body += &self.verdict();
        body += &self.doubts();
        body += &self.contents();
        for section in &self.sections {
            let (id, heading) = (section.id, escaped(&section.title));
            let charts = figures_of(charts, |chart| place(chart) == Some(id))?;
            let blocks = tables::blocks(section);
            body += &format!("<section id=\"{id}\">\n<h2>{heading}</h2>\n{blocks}{charts}</section>\n");
        }
        let is_shown =
            |chart: &Picture<'_>| self.sections.iter().any(|section| place(chart) == Some(section.id));
        let others = figures_of(charts, |chart| !is_shown(chart))?;
        if !others.is_empty() {
            body += &format!("<section id=\"charts\">\n<h2>More charts</h2>\n{others}</section>\n");
        }
        body += &self.reading();
        body += &self.end;
        Ok(page(&title, &body))
    }

    fn header(&self, title: &str) -> String {
        let line = |[name, path, more]: &[String; 3]| {
            let [name, path, more] = [name, path, more].map(|text| escaped(text));
            format!("<li>{name}: <code>{path}</code>{more}</li>\n")
        };
        let lines: String = self.about.iter().map(line).collect();
        format!("<header>\n<h1>{title}</h1>\n<ul class=\"runs\">\n{lines}</ul>\n</header>\n")
    }

    fn verdict(&self) -> String {
        let gravest = self.concerns.iter().map(|concern| concern.severity).chain(self.severity).min();
        let level = gravest.map_or("clean", concern::name);
        let [happened, belief] = self.verdict.each_ref().map(|text| escaped(text));
        let belief = if belief.is_empty() { belief } else { format!("<p class=\"belief\">{belief}</p>\n") };
        format!(
            "<section id=\"verdict\" class=\"{level}\" aria-label=\"Verdict\">\n<p>{happened}</p>\n{belief}</section>\n"
        )
    }

    fn doubts(&self) -> String {
        let line = |concern: &Concern| {
            let (text, advice) = (escaped(&concern.text), escaped(&concern.advice));
            let level = concern::name(concern.severity);
            format!(
                "<li class=\"{level}\"><strong>{level}</strong> {text} <span class=\"advice\">{advice}</span></li>\n"
            )
        };
        let lines: String = self.concerns.iter().map(line).collect();
        if lines.is_empty() {
            return lines;
        }
        format!(
            "<section id=\"warnings\" aria-label=\"Warnings\">\n<h2>What to doubt</h2>\n<ul>\n{lines}</ul>\n</section>\n"
        )
    }

    fn contents(&self) -> String {
        let link = |id: &str, title: &str| format!("<li><a href=\"#{id}\">{}</a></li>\n", escaped(title));
        let mut links: String =
            self.sections.iter().map(|section| link(section.id, &section.title)).collect();
        links += &link("reading", "How to read this");
        if !self.end.is_empty() {
            links += &link("provenance", "Provenance");
        }
        format!("<nav aria-label=\"Contents\">\n<ul>\n{links}</ul>\n</nav>\n")
    }

    fn reading(&self) -> String {
        let notes: String = self.notes.iter().map(|note| format!("<li>{}</li>\n", escaped(note))).collect();
        format!(
            "<section id=\"reading\">\n<details><summary>How to read this</summary>\n<ul>\n{notes}</ul>\n</details>\n</section>\n"
        )
    }
}

fn figures_of(charts: &[Picture<'_>], wanted: impl Fn(&Picture<'_>) -> bool) -> Result<String, Error> {
    charts.iter().filter(|chart| wanted(chart)).map(figure::render).collect()
}

fn page(title: &str, body: &str) -> String {
    let (script, font) = (SCRIPT_SHA256.trim(), FONT_CSS.as_str());
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'sha256-{script}'; img-src data:; font-src data:; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"generator\" content=\"analyze {}\">\n<title>{title}</title>\n<style>\n{font}\n{STYLE}</style>\n</head>\n\
         <body>\n<main>\n{body}</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    )
}

fn title(analysis: &Analysis) -> String {
    let main = analysis.main.title();
    let summary = &analysis.main.summary;
    if analysis.doorbells.is_some() && summary.latency.is_none() && summary.bandwidth.is_none() {
        return "doorbells".into();
    }
    match &analysis.baseline {
        Some(baseline) => format!("{main} beside {}", baseline.title()),
        None => main,
    }
}

/// A run's name, its directory, and when it was taken.
fn about(analyzed: &Analyzed, first: Option<String>) -> [String; 3] {
    let json = analyzed.run.provenance.as_ref().map(|provenance| &provenance.run);
    let taken = json.and_then(|run| run.started_utc.as_ref());
    let taken = taken.map_or_else(String::new, |utc| format!(", taken {utc}"));
    [analyzed.title(), analyzed.summary.directory.clone(), taken + &first.unwrap_or_default()]
}

fn place(chart: &Picture<'_>) -> Option<&'static str> {
    PLACES.iter().find(|(begin, _)| chart.name.starts_with(begin)).map(|(_, section)| *section)
}

/// Where, on what and how a run was taken: in sentences, and its run.json word for word.
fn of_provenance(analyzed: &Analyzed) -> String {
    let title = escaped(&analyzed.title());
    let Some(provenance) = &analyzed.run.provenance else {
        return "<p>No provenance: there is no run.json beside the CSV.</p>\n".into();
    };
    let facts = tables::of_facts(&provenance::facts(&provenance.run));
    let verbatim = escaped(&format!("{:#}", provenance.verbatim));
    format!(
        "<details><summary>Provenance of {title}</summary>\n{facts}\
         <details><summary>run.json</summary>\n<pre tabindex=\"0\">{verbatim}</pre>\n</details>\n</details>\n"
    )
}
