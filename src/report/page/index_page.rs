//! The index of `reports/`: what came of everything, in the order in which a reader asks.

use maud::{Markup, html};

use super::super::experiment::{ExperimentReport, of_the_paper};
use super::super::figure::Drawing;
use super::super::figure::style::WIDTH;
use super::super::record::RunRecord;
use super::super::table::claims::{counters, measured_cell, of_kind, verdict_cell};
use super::super::table::{Table, conclusion, glance};
use super::super::text::number;
use super::super::verdict::Judged;
use super::{Links, figure_with, page, table_markup};
use crate::claim::ClaimKind;

/// What the index shows.
pub struct IndexReport<'a> {
    /// Every experiment, by name.
    pub experiments: &'a [ExperimentReport<'a>],
    /// The ablations of each experiment, drawn.
    pub ablations: &'a [Drawing],
    /// Runs that have no page, as a table.
    pub unlisted: Option<&'a Table>,
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
            (figures(index))
            (in_short(index, conclusion.as_ref()))
            @for (heading, table) in glance::TABLES.iter().filter_map(|it| Some((it.heading, (it.fill)(index.experiments)?))) {
                h2 { (heading) }
                @if table.name == "ablations" {
                    @for drawing in index.ablations { (figure_with(drawing, Links::RunFolder, html! {})) }
                    details.wide { summary { "Table: what each ablation changes, and its scores" } (table_markup(&table)) }
                } @else { (table_markup(&table)) }
            }
            @if let Some(table) = &conclusion {
                h2 #conclusion { "The paper's conclusion" }
                (table_markup(table))
            }
            @if let Some(table) = index.unlisted { h2 { "Runs without a page" } (table_markup(table)) }
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

/// The paper's figures, each experiment's beside the paper's sentences and ours.
fn figures(index: &IndexReport) -> Markup {
    let shown = of_the_paper(index.experiments).filter_map(|it| Some((it, it.figure()?)));
    html! {
        h2 #figures { "The paper's figures" }
        @for (report, drawing) in shown.filter(|(report, _)| report.has_page()) {
            section.card {
                a href={ (report.name) "/index.html" } {
                    img src={ (report.name) "/figures/" (drawing.name) ".svg" } alt=(drawing.alt) width=(WIDTH) height=(drawing.height) loading="lazy";
                }
                div {
                    h3 { a href={ (report.name) "/index.html" } { (report.title) } }
                    @for judged in of_kind(&report.judged, ClaimKind::Finding) {
                        @let verdict = verdict_cell(judged);
                        p {
                            (judged.claim.place) ": “" (judged.claim.says) "”" br;
                            span class=(verdict.class) { (verdict.text) }
                            @if !judged.strength.provisional.is_empty() { ", provisional" }
                            ": " (measured_cell(judged).text) "."
                        }
                    }
                    @if let Some(effort) = report.effort() { p { small { (effort.sentence()) } } }
                }
            }
        }
    }
}

/// The outcome in a few lines: the conclusion, the tally of claims, and what keeps the numbers from being the paper's.
fn in_short(index: &IndexReport, conclusion: Option<&Table>) -> Markup {
    let of_the_paper = || of_the_paper(index.experiments);
    let every: Vec<Judged> = of_the_paper()
        .flat_map(|it| it.judged.iter().cloned())
        .collect();
    let verdict = conclusion.and_then(|table| table.rows.last()?.last());
    let stand_ins: Vec<(&str, String)> = of_the_paper()
        .filter_map(|report| {
            let run = report.group.as_ref()?.shown();
            let stands_in = run.stored.record.corpus.as_ref()?.stand_in.is_some();
            stands_in.then(|| (report.name, run.corpus_in_full()))
        })
        .collect();
    html! {
        ul.short {
            li { (counters(&every)) " " (coverage(index)) }
            @if let Some(cell) = verdict {
                li { "The paper's conclusion, moderate success at a viable generative model: " span class=(cell.class) { (cell.text) } @if let Some(detail) = &cell.detail { " (" (detail) ")" } "; " a href="#conclusion" { "by this evidence" } "." }
            }
            @for (name, corpus) in stand_ins { li { a href={ (name) "/index.html" } { (name) } " used a stand-in corpus: " (corpus) "." } }
        }
    }
}

/// How many of the paper's experiments were run, and of those whose epochs the paper gives how many for all of them.
fn coverage(index: &IndexReport) -> Markup {
    let all = of_the_paper(index.experiments).count();
    let efforts = of_the_paper(index.experiments).filter_map(|it| it.effort());
    let given: Vec<Option<bool>> = efforts
        .map(|effort| effort.paper_epochs.map(|_| !effort.falls_short()))
        .collect();
    let whole = given.iter().filter(|it| **it == Some(true)).count();
    let with_epochs = given.iter().flatten().count();
    html! {
        strong { "Coverage: " } (given.len()) " of the paper's " (all) " experiments were run; of the " (with_epochs)
        " whose epochs the paper gives, " (whole) " for all of them in every seed."
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
