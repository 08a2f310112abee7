//! Sections of the report as HTML: tables in boxes that scroll, facts, sentences.

use serde_json::Value;

use super::escape::escaped;
use crate::report::document::{Block, Section, Table};
use crate::report::figures::Cell;
use crate::report::text::NOT_AVAILABLE;

/// What is under a section's heading.
pub(super) fn blocks(section: &Section) -> String {
    section.blocks.iter().map(block).collect()
}

fn block(block: &Block) -> String {
    match block {
        Block::Table(table) => of_table(table),
        Block::Facts(facts) => of_facts(facts),
        Block::Note(text) => format!("<p>{}</p>\n", escaped(text)),
        Block::List(texts) if texts.is_empty() => String::new(),
        Block::List(texts) => {
            format!(
                "<ul>\n{}</ul>\n",
                texts.iter().map(|text| format!("<li>{}</li>\n", escaped(text))).collect::<String>()
            )
        }
    }
}

/// A description list; empty without facts.
pub(super) fn of_facts(facts: &[(String, String)]) -> String {
    if facts.is_empty() {
        return String::new();
    }
    let mut out = String::from("<dl>\n");
    for (key, value) in facts {
        // An empty name goes on with the one before.
        if !key.is_empty() {
            out += &format!("<dt>{}</dt>", escaped(key));
        }
        out += &format!("<dd>{}</dd>\n", escaped(value));
    }
    out + "</dl>\n"
}

fn of_table(table: &Table) -> String {
    let caption = escaped(&table.caption);
    // The box can be scrolled by keyboard, so it has a name and takes the focus.
    let mut out = format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\"><table>\n<caption>{caption}</caption>\n\
         <thead><tr>"
    );
    for (place, title) in table.columns.iter().enumerate() {
        out += &match title.as_str() {
            "" if place == 0 => "<td></td>".into(),
            title => format!("<th scope=\"col\">{}</th>", escaped(title)),
        };
    }
    out += "</tr></thead>\n<tbody>\n";
    for row in &table.rows {
        let cells: String = row.cells.iter().map(cell).collect();
        out += &format!("<tr><th scope=\"row\">{}</th>{cells}</tr>\n", escaped(&row.name));
    }
    out + "</tbody></table></div>\n"
}

fn cell(cell: &Cell) -> String {
    let text = escaped(&cell.text);
    match &cell.figure {
        Some((key, value)) => {
            let plain = value.as_str().map_or_else(|| Value::to_string(value), str::to_owned);
            format!("<td data-key=\"{}\" data-value=\"{}\">{text}</td>", escaped(key), escaped(&plain))
        }
        None if cell.text == NOT_AVAILABLE => format!("<td class=\"none\">{text}</td>"),
        None => format!("<td>{text}</td>"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::document::Row;
    use serde_json::json;

    #[test]
    fn a_cell_carries_the_figure_behind_it() {
        let table = Table {
            caption: "<Times>".into(),
            columns: vec![String::new(), "p50".into()],
            rows: vec![Row {
                name: "a&b".into(),
                cells: vec![Cell {
                    text: "48.22 µs".into(),
                    figure: Some(("runs.0.p50_ns".into(), json!(48_217))),
                }],
            }],
        };
        let out = of_table(&table);
        assert!(out.contains("<caption>&lt;Times&gt;</caption>"), "{out}");
        assert!(
            out.contains(
                "<tr><th scope=\"row\">a&amp;b</th><td data-key=\"runs.0.p50_ns\" data-value=\"48217\">48.22 µs</td></tr>"
            ),
            "{out}"
        );
    }
}
