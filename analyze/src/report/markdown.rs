//! The report as GitHub's Markdown, for a comment on a pull request: verdict, warnings, tables, provenance folded.

use super::concern::{self, Concern};
use super::document::{Block, Section, Table, sections};
use super::figures::Figures;
use super::provenance;
use super::verdict::Verdict;
use crate::analysis::{Analysis, Analyzed};
use crate::html::Page;

/// The report about a run.
#[must_use]
pub fn render(analysis: &Analysis, figures: &Figures) -> String {
    let verdict = Verdict::of(analysis);
    let concerns = concern::all(analysis);
    let mut out = of_parts(
        &title(analysis),
        [&verdict.happened, &verdict.belief],
        &concerns,
        &sections(analysis, figures),
    );
    for analyzed in analysis.runs() {
        out += &of_provenance(analyzed);
    }
    out
}

/// What a page shows, less its pictures and notes.
pub(crate) fn of_page(page: &Page) -> String {
    let [happened, belief] = &page.verdict;
    let report = of_parts(&page.title, [happened, belief], &page.concerns, &page.sections);
    let line = |[side, run, taken]: &[String; 3]| {
        format!("- {}: {}{}\n", escaped(side), escaped(run), escaped(taken))
    };
    let runs: String = page.about.iter().map(line).collect();
    report + &folded("Runs", &runs)
}

/// A verdict, what there is to doubt, and sections.
fn of_parts(title: &str, verdict: [&str; 2], concerns: &[Concern], sections: &[Section]) -> String {
    let [happened, belief] = verdict.map(escaped);
    let verdict = format!("**{happened}** {belief}");
    let mut out = format!("## ivshmem: {}\n\n{}\n", escaped(title), verdict.trim_end());
    out += &doubts(concerns);
    out + &sections.iter().map(of_section).collect::<String>()
}

fn title(analysis: &Analysis) -> String {
    let main = analysis.main.title();
    analysis
        .baseline
        .as_ref()
        .map_or_else(|| main.clone(), |baseline| format!("{main} and {}", baseline.title()))
}

fn doubts(concerns: &[Concern]) -> String {
    let line = |concern: &Concern| {
        let (text, advice) = (escaped(&concern.text), escaped(&concern.advice));
        format!("- **{}** {text} {advice}\n", concern::name(concern.severity))
    };
    let lines: String = concerns.iter().map(line).collect();
    if lines.is_empty() { lines } else { format!("\n{lines}") }
}

fn of_section(section: &Section) -> String {
    let blocks: String = section.blocks.iter().map(block).collect();
    format!("\n### {}\n{blocks}", escaped(&section.title))
}

fn block(block: &Block) -> String {
    match block {
        Block::Table(table) => of_table(table),
        Block::Facts(facts) if facts.is_empty() => String::new(),
        Block::Facts(facts) => {
            let line = |(key, value): &(String, String)| format!("- {}: {}\n", escaped(key), escaped(value));
            format!("\n{}", facts.iter().map(line).collect::<String>())
        }
        Block::Note(text) => format!("\n{}\n", escaped(text)),
        Block::List(texts) if texts.is_empty() => String::new(),
        Block::List(texts) => {
            format!("\n{}", texts.iter().map(|text| format!("- {}\n", escaped(text))).collect::<String>())
        }
    }
}

fn of_table(table: &Table) -> String {
    let line = |name: &str, cells: &mut dyn Iterator<Item = &str>| {
        let cells: String = cells.map(|cell| format!(" {} |", escaped(cell))).collect();
        format!("| {} |{cells}\n", escaped(name))
    };
    let mut titles = table.columns.iter().skip(1).map(String::as_str);
    let mut out = format!("\n{}\n\n", escaped(&table.caption));
    out += &line(&table.columns[0], &mut titles);
    out += &format!("|---|{}\n", "---:|".repeat(table.columns.len() - 1));
    for row in &table.rows {
        out += &line(&row.name, &mut row.cells.iter().map(|cell| cell.text.as_str()));
    }
    out
}

fn of_provenance(analyzed: &Analyzed) -> String {
    let Some(provenance) = &analyzed.run.provenance else { return String::new() };
    let line = |(key, value): &(String, String)| format!("- {} {}\n", escaped(key), escaped(value));
    let lines: String = provenance::facts(&provenance.run).iter().map(line).collect();
    let title = escaped(&analyzed.title());
    folded(&format!("Provenance of {title}"), &lines)
}

fn folded(summary: &str, lines: &str) -> String {
    format!("\n<details><summary>{summary}</summary>\n\n{lines}\n</details>\n")
}

/// `text` without a meaning in Markdown or HTML: it may come from a file that a guest had a say in.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '&' => out += "&amp;",
            // Names nobody.
            '@' => out += "&#64;",
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_has_a_meaning() {
        assert_eq!(
            escaped("a|b\n<img src=x> @me [x](y) *z*"),
            "a\\|b &lt;img src=x&gt; &#64;me \\[x\\](y) \\*z\\*"
        );
    }
}
