//! The index of `reports/`: what came of everything, in the order in which a reader asks.

use maud::{Markup, html};

use super::super::experiment::{ExperimentReport, of_the_paper};
use super::super::record::RunRecord;
use super::super::table::claims::counters;
use super::super::table::{Table, conclusion, glance};
use super::super::text::number;
use super::super::verdict::Judged;
use super::{claims_markup, page, table_markup};

/// What the index shows.
pub struct IndexReport<'a> {
    /// Every experiment, by name.
    pub experiments: &'a [ExperimentReport<'a>],
    /// Runs and experiment files that could not be read, and why.
    pub broken: &'a [(String, String)],
    /// Whether only published records were used.
    pub published: bool,
}

/// The index.
pub fn index_page(index: &IndexReport) -> String {
    let title = "Deep Learning for Music, reproduced";
    let conclusion = conclusion::fill(index.experiments);
    let body = html! {
        header {
            h1 { (title) }
            p.question { "What Huang & Wu (2016) report, and what the same experiments give when they are run again by harness." }
        }
        main {
            (in_short(index, conclusion.as_ref()))
            @for (heading, table) in glance::TABLES.iter().filter_map(|it| Some((it.heading, (it.fill)(index.experiments)?))) {
                h2 { (heading) }
                (table_markup(&table))
            }
            @if let Some(table) = &conclusion {
                h2 #conclusion { "The paper's conclusion" }
                (table_markup(table))
            }
            h2 #verdicts { "The verdict on every claim" }
            @for report in of_the_paper(index.experiments) {
                h3 { a href={ (report.name) "/index.html" } { (report.name) } ": " (report.title) }
                (claims_markup(&report.judged, None))
            }
            (broken(index.broken))
        }
    };
    let runs: Vec<&RunRecord> = index
        .experiments
        .iter()
        .filter_map(|it| it.group.as_ref())
        .flat_map(|group| group.runs().iter().copied())
        .collect();
    let footer = html! {
        p { @if index.published { "From published records alone. " } "Every number is from these runs' records (" (number(runs.len() as f64)) "):" }
        ul { @for run in runs { li { (run.provenance_line()) " — " code { (run.command()) } } } }
    };
    page(title, body, footer)
}

/// The outcome in a few lines: the conclusion, the tally of claims, and what keeps the numbers from being the paper's.
fn in_short(index: &IndexReport, conclusion: Option<&Table>) -> Markup {
    let of_the_paper = || of_the_paper(index.experiments);
    let every: Vec<Judged> = of_the_paper()
        .flat_map(|it| it.judged.iter().cloned())
        .collect();
    let verdict = conclusion.and_then(|table| table.rows.last()?.last());
    let short: Vec<&ExperimentReport> = of_the_paper()
        .filter(|report| report.effort().is_some_and(|effort| effort.falls_short()))
        .collect();
    let stand_ins: Vec<(&str, String)> = of_the_paper()
        .filter_map(|report| {
            let run = report.group.as_ref()?.shown();
            let stands_in = run.stored.record.corpus.as_ref()?.stand_in.is_some();
            stands_in.then(|| (report.name, run.corpus_in_full()))
        })
        .collect();
    html! {
        ul.short {
            li { (counters(&every)) " " a href="#verdicts" { "Each with its verdict" } "." }
            @if let Some(cell) = verdict {
                li { "The paper's conclusion, moderate success at a viable generative model: " span class=(cell.class) { (cell.text) } @if let Some(detail) = &cell.detail { " (" (detail) ")" } "; " a href="#conclusion" { "by this evidence" } "." }
            }
            @for report in short {
                @if let Some(effort) = report.effort() { li { a href={ (report.name) "/index.html" } { (report.name) } ": " (effort.sentence()) } }
            }
            @for (name, corpus) in stand_ins { li { a href={ (name) "/index.html" } { (name) } " used a stand-in corpus: " (corpus) "." } }
        }
    }
}

fn broken(broken: &[(String, String)]) -> Markup {
    html! {
        @if !broken.is_empty() {
            h2 { "Could not be read" }
            ul { @for (folder, why) in broken { li { code { (folder) } ": " (why) } } }
        }
    }
}
