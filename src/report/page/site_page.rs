//! The pages of `reports/`: one an experiment, and the index over all of them.

use maud::{Markup, html};

use super::super::figure::{Drawing, Section};
use super::super::finding::{Finding, findings};
use super::super::record::RunRecord;
use super::super::table::claims::Judged;
use super::super::table::conclusion::{self, Evidence};
use super::super::table::{Cell, Table, claims};
use super::super::text::number;
use super::{Links, findings_markup, page, provenance, run_facts, run_sections, table_markup};

/// What the page of one experiment shows.
pub struct ExperimentReport<'a> {
    /// The experiment's name.
    pub name: &'a str,
    /// Its title, from a run or from its file.
    pub title: String,
    /// What it asks.
    pub question: Option<String>,
    /// The run shown in full; none if there is no readable run.
    pub shown: Option<&'a RunRecord>,
    /// The shown run's figures.
    pub drawings: &'a [(Section, Drawing)],
    /// Every readable run, newest first.
    pub runs: Vec<&'a RunRecord>,
    /// Its claims, judged.
    pub judged: Vec<Judged>,
}

impl ExperimentReport<'_> {
    /// What its runs found, in words.
    pub fn findings(&self) -> Vec<Finding> {
        findings(&self.judged, self.shown, &self.runs)
    }
}

/// What the index shows.
pub struct IndexReport<'a> {
    /// Every experiment, by name.
    pub experiments: &'a [ExperimentReport<'a>],
    /// Runs and experiment files that could not be read, and why.
    pub broken: &'a [(String, String)],
    /// Whether only published records were used.
    pub published: bool,
}

/// The page of one experiment.
pub fn experiment_page(report: &ExperimentReport) -> String {
    let body = html! {
        header {
            p { a href="../index.html" { "All experiments" } }
            h1 { (report.title) }
            @if let Some(question) = &report.question { p.question { (question) } }
        }
        main {
            @match report.shown {
                Some(run) => (run_facts(run)),
                None => p.notice { strong { "Not run. " } "No run of this experiment is at hand; " code { "harness run experiments/" (report.name) ".yaml" } " makes one." },
            }
            @if let Some(table) = claims::fill(&report.judged) {
                h2 #claims { "Paper against measured" }
                p { (claims::tally(&report.judged)) "." }
                (table_markup(&table))
                (findings_markup(&report.findings()))
            }
            @if let Some(run) = report.shown { (run_sections(run, report.drawings, Links::Report)) }
            @if !report.runs.is_empty() { h2 #runs { "Runs" } (table_markup(&runs_table(report))) }
        }
    };
    let footer = html! {
        @match report.shown {
            Some(run) => { p { "From the run's own record:" } (provenance(run)) }
            None => p { "No run." },
        }
    };
    page(&report.title, body, footer)
}

/// The runs of an experiment, so that a reader sees what else there is.
fn runs_table(report: &ExperimentReport) -> Table {
    let shown = report.shown.map(|run| &run.stored.record.id);
    let row = |run: &&RunRecord| {
        let record = &run.stored.record;
        let smoke = record.smoke.then(|| "smoke run".to_owned());
        vec![
            Cell::text(&record.id)
                .with_detail((Some(&record.id) == shown).then(|| "shown above".to_owned())),
            Cell::text(run.state.to_string()).with_detail(smoke.or_else(|| record.reason.clone())),
            Cell {
                text: record.seed.to_string(),
                number: Some(record.seed as f64),
                ..Cell::default()
            },
            Cell {
                text: record.epoch.to_string(),
                number: Some(f64::from(record.epoch)),
                ..Cell::default()
            },
            Cell::number(run.number("valid.loss.best")),
            Cell::number(run.number("valid.nll_per_step.best")),
            Cell::text(record.execution.code.summary()),
        ]
    };
    Table {
        name: "runs",
        caption: "Every run of the experiment that is at hand, newest first. Held-out values are the best on valid.".to_owned(),
        columns: vec!["run", "state", "seed", "epochs", "held-out loss", "held-out nats per step", "code"],
        rows: report.runs.iter().map(row).collect(),
    }
}

/// What a run scored on test: nats per step where unknown tokens are answered for, else nats per token.
fn test_score(run: Option<&RunRecord>) -> Cell {
    let score = |metric: &str, unit: &str| {
        let value = run?.number(&format!("test.{metric}.last"))?;
        Some(Cell::number(Some(value)).with_detail(Some(unit.to_owned())))
    };
    let score =
        score("nll_per_step", "nats per time step").or_else(|| score("loss", "nats per token"));
    score.unwrap_or_else(|| Cell::number(None))
}

/// All experiments at a glance.
pub fn glance_table(index: &IndexReport) -> Table {
    let row = |report: &ExperimentReport| {
        let run = report.shown;
        let smoke = run
            .filter(|run| run.stored.record.smoke)
            .map(|_| "smoke run: its numbers mean nothing".to_owned());
        vec![
            Cell {
                link: Some(format!("{}/index.html", report.name)),
                ..Cell::text(report.name)
            }
            .with_detail(Some(report.title.clone())),
            Cell::text(run.map_or("not run".to_owned(), |run| run.state.to_string()))
                .with_detail(smoke),
            Cell::text(run.map_or("–".to_owned(), RunRecord::corpus_name)),
            Cell::number(run.and_then(|run| run.number("valid.loss.best"))),
            test_score(run),
            Cell::text(claims::tally(&report.judged)),
        ]
    };
    Table {
        name: "experiments",
        caption: "Every experiment: the newest finished run at full size where there is one."
            .to_owned(),
        columns: vec![
            "experiment",
            "state",
            "corpus",
            "held-out loss",
            "test score",
            "claims",
        ],
        rows: index.experiments.iter().map(row).collect(),
    }
}

/// The paper's conclusion, judged from all experiments.
pub fn conclusion_table(index: &IndexReport) -> Option<Table> {
    let evidence: Vec<Evidence> = index
        .experiments
        .iter()
        .map(|report| Evidence {
            experiment: report.name,
            run: report.shown,
            judged: &report.judged,
        })
        .collect();
    conclusion::fill(&evidence)
}

/// The index.
pub fn index_page(index: &IndexReport) -> String {
    let every: Vec<Judged> = index
        .experiments
        .iter()
        .flat_map(|it| it.judged.iter().cloned())
        .collect();
    let title = "Deep Learning for Music, reproduced";
    let body = html! {
        header {
            h1 { (title) }
            p.question { "What Huang & Wu (2016) report, and what the same experiments give when they are run again by harness." }
        }
        main {
            h2 { "Experiments" }
            (table_markup(&glance_table(index)))
            @if let Some(table) = conclusion_table(index) {
                h2 { "The paper's conclusion" }
                (table_markup(&table))
            }
            h2 { "The verdict on every claim" }
            p { (claims::tally(&every)) "." }
            @for report in index.experiments {
                @if let Some(table) = claims::fill(&report.judged) {
                    h3 { a href={ (report.name) "/index.html" } { (report.name) } ": " (report.title) }
                    (table_markup(&table))
                    (findings_markup(&report.findings()))
                }
            }
            (broken(index.broken))
        }
    };
    let runs: Vec<&RunRecord> = index.experiments.iter().filter_map(|it| it.shown).collect();
    let footer = html! {
        p { @if index.published { "From published records alone. " } "Every number is from these runs' records (" (number(runs.len() as f64)) "):" }
        ul { @for run in runs { li { (run.provenance_line()) " — " code { (run.command()) } } } }
    };
    page(title, body, footer)
}

fn broken(broken: &[(String, String)]) -> Markup {
    html! {
        @if !broken.is_empty() {
            h2 { "Could not be read" }
            ul { @for (folder, why) in broken { li { code { (folder) } ": " (why) } } }
        }
    }
}
