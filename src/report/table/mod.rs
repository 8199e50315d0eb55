//! Every table of a report, in page order, and how a table is written as Markdown; the page writes it as HTML.

pub mod claims;
pub mod conclusion;
pub mod corpus;
pub mod embeddings;
pub mod geometry;
pub mod glance;
pub mod hyperparameters;
pub mod results;

use super::figure::Section;
use super::group::Group;

/// A table of text, ready to be set.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// File name without its ending, unique in a run.
    pub name: &'static str,
    /// What it shows.
    pub caption: String,
    /// The columns' names.
    pub columns: Vec<&'static str>,
    /// The rows, each as long as `columns`.
    pub rows: Vec<Vec<Cell>>,
}

/// One cell of a table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cell {
    /// What a reader sees.
    pub text: String,
    /// The number behind it, by which a column is sorted and set flush right.
    pub number: Option<f64>,
    /// A smaller line beneath it.
    pub detail: Option<String>,
    /// What is behind it seed by seed, a line each; empty where there is nothing more to tell.
    pub each_seed: Vec<String>,
    /// Where it leads, relative to the page.
    pub link: Option<String>,
    /// What kind of cell it is, for its colour and shape; empty for most.
    pub class: &'static str,
}

impl Cell {
    /// A cell of text.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    /// A cell of a number, or of nothing.
    pub fn number(number: Option<f64>) -> Self {
        match number {
            Some(number) => Self {
                text: super::text::number(number),
                number: Some(number),
                ..Self::default()
            },
            None => Self::text("–"),
        }
    }

    /// The cell with a smaller line beneath, after what stands there already.
    pub fn with_detail(mut self, detail: Option<String>) -> Self {
        let lines = self.detail.into_iter().chain(detail);
        let lines: Vec<String> = lines.filter(|it| !it.is_empty()).collect();
        self.detail = (!lines.is_empty()).then(|| lines.join("; "));
        self
    }
}

/// Text as a cell of a Markdown table: nothing in it is markup, HTML included.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\n' | '\r' => escaped.push(' '),
            '|' | '`' | '[' | ']' | '*' | '\\' => escaped.extend(['\\', letter]),
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// One kind of table: how runs become one, if their records have anything of the kind.
pub struct TableKind {
    /// Its part of the page.
    pub section: Section,
    /// Fills it.
    pub fill: fn(&Group) -> Option<Table>,
}

/// Every table of an experiment, in page order; the paper against what was measured stands before them all.
pub const TABLES: &[TableKind] = &[
    TableKind {
        section: Section::Learning,
        fill: results::fill,
    },
    TableKind {
        section: Section::Embeddings,
        fill: embeddings::fill_labels,
    },
    TableKind {
        section: Section::Embeddings,
        fill: embeddings::fill_maps,
    },
    TableKind {
        section: Section::Embeddings,
        fill: geometry::fill,
    },
    TableKind {
        section: Section::Embeddings,
        fill: geometry::fill_steps,
    },
    TableKind {
        section: Section::Corpus,
        fill: |group| corpus::fill(group.shown()),
    },
];

impl Table {
    /// Whether a column holds numbers, or nothing, and at least one number.
    pub fn is_numeric(&self, column: usize) -> bool {
        let cells = || self.rows.iter().map(|row| &row[column]);
        cells().any(|cell| cell.number.is_some())
            && cells().all(|cell| cell.number.is_some() || cell.text == "–")
    }

    /// The table as Markdown, its caption first.
    pub fn to_markdown(&self) -> String {
        let mut markdown = format!(
            "{}\n\n| {} |\n",
            escape(&self.caption),
            self.columns.join(" | ")
        );
        let rules = (0..self.columns.len()).map(|column| {
            if self.is_numeric(column) {
                "---:"
            } else {
                "---"
            }
        });
        markdown.push_str(&format!("|{}|\n", rules.collect::<Vec<_>>().join("|")));
        for row in &self.rows {
            let cells = row.iter().map(|cell| {
                let details: Vec<String> = cell
                    .detail
                    .iter()
                    .chain(&cell.each_seed)
                    .map(|it| escape(it))
                    .collect();
                match details.is_empty() {
                    true => escape(&cell.text),
                    false => format!("{} ({})", escape(&cell.text), details.join("; ")),
                }
            });
            markdown.push_str(&format!("| {} |\n", cells.collect::<Vec<_>>().join(" | ")));
        }
        markdown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_reads_as_markdown() {
        let table = Table {
            name: "x",
            caption: "Tokens.".to_owned(),
            columns: vec!["what", "count"],
            rows: vec![
                vec![
                    Cell::text("a|b<script>").with_detail(Some("[x](y)".to_owned())),
                    Cell::number(Some(1200.0)),
                ],
                vec![Cell::text("c"), Cell::number(None)],
            ],
        };
        assert_eq!(
            table.to_markdown(),
            "Tokens.\n\n| what | count |\n|---|---:|\n| a\\|b&lt;script&gt; (\\[x\\](y)) | 1,200 |\n| c | – |\n"
        );
    }
}
