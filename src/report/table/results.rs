//! Final and best metrics by split, beside the numbers they are set against.

use super::super::group::Group;
use super::super::record::{Metric, RunRecord};
use super::super::seeds::RULE;
use super::super::text::number;
use super::{Cell, Table};
use crate::metric::metric as registered;

/// Metrics worth a row, and what those without a unit count.
const SHOWN: [(&str, &str); 4] = [
    ("loss", ""),
    ("perplexity", "tokens"),
    ("nll_per_step", ""),
    ("frame_accuracy", "TP / (TP + FP + FN)"),
];

/// The results of a group of runs; `None` if it measured nothing.
pub fn fill(group: &Group) -> Option<Table> {
    let run = group.shown();
    let mut rows = Vec::new();
    // Where some runs were trained to their end, what the others had when they were concluded is no last value of theirs.
    let concluded = |run: &RunRecord| run.stored.record.concluded_at.is_some();
    let mixed = (1..group.runs().len()).contains(&group.concluded());
    // The loss of a model of keys is its likelihood per step: one of them suffices.
    let has_density = run.metrics.iter().any(|row| row.metric == "nll_per_step");
    let repeated = |metric: &str| metric == "loss" && run.models_keys() && has_density;
    for (metric, counts) in SHOWN.iter().filter(|(metric, _)| !repeated(metric)) {
        let unit = match run.unit(metric) {
            "" => *counts,
            unit => unit,
        };
        for split in ["train", "valid", "test"] {
            let found = |of: fn(&RunRecord, &str, &str) -> Option<(f64, String)>| {
                group.noted(|run| of(run, metric, split))
            };
            let of_whole = |of: fn(&RunRecord, &str, &str) -> Option<(f64, String)>| {
                group.noted(|run| of(run, metric, split).filter(|_| !concluded(run)))
            };
            let (last, best) = match (mixed, split) {
                (true, "train") => (of_whole(last), of_whole(best)),
                (true, "valid") => (of_whole(last), found(best)),
                _ => (found(last), found(best)),
            };
            if last.mean().is_none() {
                continue;
            }
            let yardsticks = run.yardsticks(metric, split);
            let yardsticks = yardsticks
                .iter()
                .map(|(name, value)| format!("{name} {}", number(*value)));
            let yardsticks = yardsticks.collect::<Vec<_>>().join(", ");
            rows.push(vec![
                Cell::text(metric.replace('_', " ")).with_detail(Some(unit.to_owned())),
                Cell::text(split),
                last.cell(),
                best.cell(),
                Cell::text(if yardsticks.is_empty() {
                    "–".to_owned()
                } else {
                    yardsticks
                }),
            ]);
        }
    }
    let rule = if group.runs().len() > 1 {
        format!(" {RULE}.")
    } else {
        String::new()
    };
    let mixed = match mixed {
        true => {
            " Of runs that were concluded early the best on valid and the score on test count, and no other value."
        }
        false => "",
    };
    let caption = format!(
        "Results of {}, and what to set them beside.{rule}{mixed} Corpus: {}.",
        group.title(),
        run.corpus_name()
    );
    (!rows.is_empty()).then_some(Table {
        name: "results",
        caption,
        columns: vec!["metric", "split", "last", "best", "to set beside"],
        rows,
    })
}

/// A run's last value of a metric on a split, and its epoch.
fn last(run: &RunRecord, metric: &str, split: &str) -> Option<(f64, String)> {
    measured(run, metric, split).next_back().map(with_epoch)
}

/// A run's best value of a metric on a split, and its epoch.
fn best(run: &RunRecord, metric: &str, split: &str) -> Option<(f64, String)> {
    let cost = |row: &&Metric| registered(metric).direction.cost(row.value);
    measured(run, metric, split)
        .filter(|row| row.value.is_finite())
        .min_by(|a, b| cost(a).total_cmp(&cost(b)))
        .map(with_epoch)
}

fn measured<'a>(
    run: &'a RunRecord,
    metric: &'a str,
    split: &'a str,
) -> impl DoubleEndedIterator<Item = &'a Metric> {
    let rows = run.metrics.iter();
    rows.filter(move |row| row.split == split && row.metric == metric)
}

fn with_epoch(row: &Metric) -> (f64, String) {
    (row.value, format!("epoch {}", row.epoch))
}
