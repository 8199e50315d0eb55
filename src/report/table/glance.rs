//! All experiments at a glance: the paper's own, what was changed to understand them, and the rest.

use super::super::experiment::{ExperimentReport, Kind};
use super::super::group::{Group, changes};
use super::super::seeds::RULE;
use super::super::text::number;
use super::claims::tally;
use super::{Cell, Table};

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
        cells.push(test_score(group));
        if is_paper {
            cells.push(Cell::text(tally(&report.judged)));
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
        "test score",
    ];
    if is_paper {
        columns.push("claims");
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
            .filter(|it| it.claim.place.starts_with("Figure"))
            .map(|it| format!("{}: {}", it.claim.says, it.verdict.name()))
            .collect();
        let mut cells = opening(report);
        cells.extend([
            Cell::text(base),
            Cell::text(changes.map_or("its base is not known".to_owned(), |it| it.join("; "))),
            test_score(report.group.as_ref()),
            test_score(base_group),
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
            "test score",
            "test score of the base",
            "the paper's sentences",
        ],
        rows,
    })
}

/// The experiment's name and title, and how its runs stand.
fn opening(report: &ExperimentReport) -> Vec<Cell> {
    let name = Cell {
        link: Some(format!("{}/index.html", report.name)),
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

/// What finished runs at full size scored on test, and what a first-order Markov chain does: nats per step where unknown
/// tokens are answered for, else nats per token.
fn test_score(group: Option<&Group>) -> Cell {
    let score = |metric: &str, unit: &str| {
        let group = group.filter(|it| it.shown().counts())?;
        let scores = group.over_seeds(|run| run.number(&format!("test.{metric}.last")));
        scores.mean()?;
        let markov = group.shown().number("baseline.markov.test");
        let markov = markov.map(|markov| format!("Markov {}", number(markov)));
        Some(
            scores
                .cell()
                .with_detail(Some(unit.to_owned()))
                .with_detail(markov),
        )
    };
    let score =
        score("nll_per_step", "nats per time step").or_else(|| score("loss", "nats per token"));
    score.unwrap_or_else(|| Cell::number(None))
}
