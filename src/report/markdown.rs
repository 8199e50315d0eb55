//! The report as Markdown, which GitHub shows: one `README.md` of all experiments, and one of each.

use super::experiment::{ExperimentReport, of_the_paper};
use super::figure::{Drawing, Section};
use super::table::claims::{self, tally};
use super::table::{TABLES, Table, conclusion, escape, glance, hyperparameters};
use crate::claim::ClaimKind;

/// What all experiments came to: the paper's figures, every verdict, the conclusion, and the experiments at a glance.
pub fn index(reports: &[ExperimentReport], unlisted: Option<&Table>) -> String {
    let mut text = String::from(
        "# Deep Learning for Music, reproduced\n\nWritten by `harness report` from records alone; `harness report --published --check` says \
         whether it is fresh. The same as pages: `index.html`; for programs: `verdicts.json`.\n",
    );
    for report in of_the_paper(reports).filter(|it| it.has_page()) {
        if let Some(drawing) = report.figure() {
            text += &format!(
                "\n{}\n\n[{}]({}/README.md): {}\n",
                picture(drawing, &format!("{}/", report.name)),
                escape(&report.title),
                report.name,
                tally(claims::of_kind(&report.judged, ClaimKind::Finding)),
            );
        }
    }
    text += "\n## Verdicts\n";
    for report in of_the_paper(reports) {
        text += &format!("\n### {}\n", escape(&report.title));
        for (heading, fill) in claims::TABLES {
            if let Some(table) = fill(&report.judged) {
                text += &match table.name {
                    "findings" => format!("\n{}", table.to_markdown()),
                    _ => folded(heading, &table),
                };
            }
        }
    }
    let conclusion = conclusion::fill(reports).map(|table| ("The paper's conclusion", table));
    let glances = glance::TABLES.iter();
    let glances = glances.filter_map(|it| Some((it.heading, (it.fill)(reports)?)));
    let unlisted = unlisted.map(|table| ("Runs without a page", table.clone()));
    for (heading, table) in conclusion.into_iter().chain(glances).chain(unlisted) {
        text += &format!("\n## {heading}\n\n{}", table.to_markdown());
    }
    text
}

/// One experiment: its embeddings' figure, findings, curves, then the other figures and tables.
pub fn experiment(report: &ExperimentReport) -> String {
    let mut text = format!("# {}\n", escape(&report.title));
    if let Some(question) = &report.question {
        text += &format!("\n{}\n", escape(question));
    }
    if let Some(effort) = report.effort() {
        text += &format!("\n{}\n", escape(&effort.sentence()));
    }
    let first = report.figure();
    text.extend(first.map(|it| format!("\n{}\n", picture(it, ""))));
    for (heading, fill) in claims::TABLES {
        if let Some(table) = fill(&report.judged) {
            text += &format!("\n## {heading}\n\n{}", table.to_markdown());
        }
    }
    if let Some(beyond) = report.beyond() {
        text += &format!("\n**{}.** {}\n", beyond.about, escape(&beyond.text));
    }
    let Some(group) = &report.group else {
        return text;
    };
    for (section, heading) in Section::ALL {
        let drawings = report.drawings.iter().filter(|(of, _)| *of == section);
        let drawings: Vec<&Drawing> = drawings
            .map(|(_, drawing)| drawing)
            .filter(|drawing| first.is_none_or(|first| first.name != drawing.name))
            .collect();
        let tables = TABLES.iter().filter(|kind| kind.section == section);
        let tables: Vec<Table> = tables.filter_map(|kind| (kind.fill)(group)).collect();
        if drawings.is_empty() && tables.is_empty() {
            continue;
        }
        text += &format!("\n## {heading}\n");
        text.extend(drawings.iter().map(|it| format!("\n{}\n", picture(it, ""))));
        text.extend(tables.iter().map(|it| folded(it.name, it)));
    }
    if let Some(settings) = hyperparameters::fill(group.shown()) {
        text += &folded("settings", &settings);
    }
    text
}

/// A figure with its caption.
fn picture(drawing: &Drawing, folder: &str) -> String {
    format!(
        "![{}]({folder}figures/{}.svg)\n\n*{}*",
        escape(&drawing.alt),
        drawing.name,
        escape(&drawing.caption)
    )
}

/// A table that opens at a click.
fn folded(heading: &str, table: &Table) -> String {
    format!(
        "\n<details><summary>{}</summary>\n\n{}\n</details>\n",
        escape(heading),
        table.to_markdown()
    )
}
