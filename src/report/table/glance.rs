//! All experiments at a glance: the paper's own, what was changed to understand them, and the rest.

use super::super::experiment::{ExperimentReport, Kind};
use super::super::group::{Group, changes};
use super::super::seeds::RULE;
use super::super::verdict::Scores;
use super::claims::{of_kind, scores_cell, tally};
use super::{Cell, Table};
use crate::claim::{BaselineName, ClaimKind};

/// A table of the index.
pub struct GlanceTable {
    /// What stands above it.
    pub heading: &'static str,
    /// Fills it; `None` if no experiment belongs to it.
    pub fill: fn(&[ExperimentReport]) -> Option<Table>,
}

/// The index's tables, in page order.
pub const TABLES: &[GlanceTable] = &[
    GlanceTable {
        heading: "The paper's experiments",
        fill: |reports| fill(reports, "experiments", |kind| *kind == Kind::Paper),
    },
    GlanceTable {
        heading: "Ablations",
        fill: ablations,
    },
    GlanceTable {
        heading: "Other experiments",
        fill: |reports| fill(reports, "other-experiments", |kind| *kind == Kind::Other),
    },
];

fn fill(
    reports: &[ExperimentReport],
    name: &'static str,
    belongs: fn(&Kind) -> bool,
) -> Option<Table> {
    let chosen = || reports.iter().filter(|report| belongs(&report.kind));
    let is_paper = chosen().any(|report| report.kind == Kind::Paper);
    let row = |report: &ExperimentReport| {
        let group = report.group.as_ref();
        let mut cells = opening(report);
        cells.push(Cell::text(
            group.map_or("–".to_owned(), |it| it.shown().corpus_name()),
        ));
        cells.extend(effort_cells(report));
        cells.push(held_out_scores(group));
        if is_paper {
            cells.push(Cell::text(tally(of_kind(
                &report.judged,
                ClaimKind::Finding,
            ))));
        }
        cells
    };
    let rows: Vec<Vec<Cell>> = chosen().map(row).collect();
    let mut columns = vec![
        "experiment",
        "runs",
        "corpus",
        "epochs",
        "time of a run",
        "held-out scores",
    ];
    if is_paper {
        columns.push("findings");
    }
    let caption = if is_paper {
        format!("What was run, how far and on what, against the paper. {RULE}.")
    } else {
        "Nothing of the paper's is tested by these.".to_owned()
    };
    (!rows.is_empty()).then_some(Table {
        name,
        caption,
        columns,
        rows,
    })
}

/// What each ablation changes of its base experiment, and what comes of it.
fn ablations(reports: &[ExperimentReport]) -> Option<Table> {
    let row = |report: &ExperimentReport| {
        let Kind::Ablation(base) = &report.kind else {
            return None;
        };
        let base_report = reports.iter().find(|it| it.name == base);
        let base_group = base_report.and_then(|it| it.group.as_ref());
        let changes: Option<Vec<String>> = base_report
            .map(|it| changes(&it.resolved, &report.resolved))
            .map(|changes| changes.iter().map(ToString::to_string).collect());
        let verdicts: Vec<String> = report
            .judged
            .iter()
            .filter(|it| it.kind() == ClaimKind::Finding)
            .map(|it| format!("{}: {}", it.claim.says, it.verdict.name()))
            .collect();
        let mut cells = opening(report);
        cells.extend([
            Cell::text(base),
            Cell::text(changes.map_or("its base is not known".to_owned(), |it| it.join("; "))),
            held_out_scores(report.group.as_ref()),
            held_out_scores(base_group),
            Cell::text(if verdicts.is_empty() {
                "–".to_owned()
            } else {
                verdicts.join("; ")
            }),
        ]);
        Some(cells)
    };
    let rows: Vec<Vec<Cell>> = reports.iter().filter_map(row).collect();
    (!rows.is_empty()).then_some(Table {
        name: "ablations",
        caption: "Experiments of ours that change something of one of the paper's, to see what its outcome depends on. The last column \
                  judges the paper's sentences about the base's figure by the ablation's runs; these verdicts count nowhere else."
            .to_owned(),
        columns: vec![
            "ablation",
            "runs",
            "of",
            "what it changes",
            "held-out scores",
            "held-out scores of the base",
            "the paper's sentences",
        ],
        rows,
    })
}

/// Runs of experiments that have no page: failed, unfinished and smoke runs; `None` if there are none.
pub fn without_page(reports: &[ExperimentReport]) -> Option<Table> {
    let runs = reports.iter().filter(|report| !report.has_page());
    let rows: Vec<Vec<Cell>> = runs
        .flat_map(|report| &report.runs)
        .map(|run| {
            let record = &run.stored.record;
            let smoke = record.smoke.then(|| "smoke run".to_owned());
            vec![
                Cell::text(run.name()),
                Cell::text(run.state.to_string()).with_detail(smoke),
                Cell::text(record.reason.clone().unwrap_or_else(|| "–".to_owned())),
            ]
        })
        .collect();
    (!rows.is_empty()).then_some(Table {
        name: "without-page",
        caption: "Failed, unfinished and smoke runs have no page here; a run's own page is in its folder.".to_owned(),
        columns: vec!["run", "state", "reason"],
        rows,
    })
}

/// The experiment's name and title, and how its runs stand.
fn opening(report: &ExperimentReport) -> Vec<Cell> {
    let name = Cell {
        link: report
            .has_page()
            .then(|| format!("{}/index.html", report.name)),
        ..Cell::text(report.name)
    };
    let runs = match &report.group {
        None => Cell::text("not run"),
        Some(group) if group.shown().stored.record.smoke => {
            Cell::text(group.shown().state.to_string())
                .with_detail(Some("smoke run: its numbers mean nothing".to_owned()))
        }
        Some(group) => {
            let seeds = group.runs().len();
            let several = (seeds > 1).then(|| format!("{seeds} seeds"));
            let early = group.concluded();
            let early = (early > 0).then(|| format!("{early} concluded early"));
            let changed = group.shown().changes_in_words();
            let changed = changed.map(|it| format!("changed on the command line: {it}"));
            Cell::text(group.shown().state.to_string())
                .with_detail(several)
                .with_detail(early)
                .with_detail(changed)
        }
    };
    vec![name.with_detail(Some(report.title.clone())), runs]
}

/// Epochs and time, each beside the paper's.
fn effort_cells(report: &ExperimentReport) -> [Cell; 2] {
    let Some(effort) = report.effort() else {
        return [Cell::text("–"), Cell::text("–")];
    };
    let time = effort.paper_time.map(|time| format!("paper: {time}"));
    [
        Cell::text(effort.epochs_text()),
        Cell::text(effort.time_text())
            .with_detail(Some(effort.devices))
            .with_detail(time),
    ]
}

/// What finished runs at full size scored on valid and test, beside a first-order Markov chain: nats per time step where unknown
/// tokens are answered for, else nats per token.
fn held_out_scores(group: Option<&Group>) -> Cell {
    let Some(group) = group.filter(|it| it.shown().counts()) else {
        return Cell::number(None);
    };
    let markov = BaselineName::Markov;
    let runs = group.runs().iter();
    let scores: Vec<Scores> = runs
        .filter_map(|run| Scores::of(run, markov.name()))
        .collect();
    if scores.is_empty() {
        return Cell::number(None);
    }
    let metrics = &group.shown().metrics;
    let density = metrics.iter().any(|row| row.metric == "nll_per_step");
    let unit = if density {
        "nats per time step"
    } else {
        "nats per token"
    };
    scores_cell(&scores, markov.in_words()).with_detail(Some(unit.to_owned()))
}
