//! The page of one experiment: its claims judged, its runs in full, and every other run that is at hand.

use maud::html;

use super::super::experiment::{ExperimentReport, Kind};
use super::super::record::RunRecord;
use super::super::table::claims::counters;
use super::super::table::{Cell, Table};
use super::run_page::{navigation, run_facts, run_sections};
use super::{Links, claims_markup, figure_markup, page, provenance_of, table_markup};

/// The page of one experiment.
pub fn experiment_page(report: &ExperimentReport, links: Links) -> String {
    let body = html! {
        header {
            p { a href="../index.html" { "All experiments" } }
            h1 { (report.title) }
            @if let Some(question) = &report.question { p.question { (question) } }
            @if let Some(group) = &report.group { (navigation(group, &report.drawings, !report.judged.is_empty())) }
        }
        main {
            @if let Kind::Ablation(base) = &report.kind {
                p.notice { strong { "Ablation. " } "It changes something of " a href={ "../" (base) "/index.html" } { (base) } ", and is no experiment of the paper's. Its page is short: the corpus's figures, the speed and further samples are left out." }
            }
            @match &report.group {
                Some(group) => (run_facts(group)),
                None => p.notice { strong { "Not run. " } "No run of this experiment is at hand." },
            }
            @if let Some(drawing) = report.figure() { (figure_markup(drawing, links)) }
            @if !report.judged.is_empty() {
                @match &report.kind {
                    Kind::Ablation(base) => {
                        h2 #claims { "What the paper says of " (base) ", judged by this variant" }
                        p { "Not counted among the paper's claims." }
                    }
                    _ => {
                        h2 #claims { "Paper against measured" }
                    }
                }
                (counters(&report.judged))
                (claims_markup(&report.judged, report.beyond().as_ref()))
            }
            @if let Some(group) = &report.group { (run_sections(group, &report.drawings, report.figure(), links)) }
            @if !report.runs.is_empty() { h2 #runs { "Runs" } (table_markup(&runs_table(report))) }
        }
    };
    let footer = html! {
        @match &report.group {
            Some(group) => (provenance_of(group)),
            None => p { "No run." },
        }
    };
    page(&report.title, body, footer)
}

/// The runs of an experiment, so that a reader sees what else there is.
fn runs_table(report: &ExperimentReport) -> Table {
    let members: Vec<&String> = report
        .group
        .iter()
        .flat_map(|group| group.runs())
        .map(|run| &run.stored.record.id)
        .collect();
    let several = members.len() > 1;
    let part = |id: &String| match members.iter().position(|member| *member == id) {
        Some(0) if several => Some("in the means; shown in figures".to_owned()),
        Some(0) => Some("shown above".to_owned()),
        Some(_) => Some("in the means".to_owned()),
        None => None,
    };
    let row = |run: &&RunRecord| {
        let record = &run.stored.record;
        let smoke = record.smoke.then(|| "smoke run".to_owned());
        let concluded = record.concluded_at;
        let concluded = concluded.map(|step| format!("concluded at step {step}"));
        let changed = run.changes_in_words();
        let changed = changed.map(|it| format!("changed on the command line: {it}"));
        vec![
            Cell::text(&record.id).with_detail(part(&record.id)),
            Cell::text(run.state.to_string())
                .with_detail(smoke.or_else(|| record.reason.clone()))
                .with_detail(concluded)
                .with_detail(changed),
            Cell {
                text: record.seed.to_string(),
                number: Some(record.seed as f64),
                ..Cell::default()
            },
            Cell::number(Some(f64::from(record.epoch))).with_detail(
                run.number("experiment.training.epochs")
                    .map(|planned| format!("of {planned} planned")),
            ),
            Cell::number(run.number("valid.loss.best")),
            Cell::number(run.number("valid.nll_per_step.best")),
            Cell::text(record.execution.code.summary()),
        ]
    };
    Table {
        name: "runs",
        caption: "Every run of the experiment that is at hand, newest first. Held-out values are the best on valid. Of the finished runs \
                  at full size, those that the command line did not change come first, then those with the most epochs planned, of these \
                  the newest settings; a mean is over the seeds that were run with them."
            .to_owned(),
        columns: vec!["run", "state", "seed", "epochs", "held-out loss", "held-out nats per step", "code"],
        rows: report.runs.iter().map(row).collect(),
    }
}
