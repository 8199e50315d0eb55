//! Final and best metrics by split, beside the numbers they are set against.

use super::super::record::{RunRecord, larger_is_better};
use super::{Cell, Table};

/// Metrics worth a row, with their unit.
const SHOWN: [(&str, &str); 4] = [
    ("loss", "nats per token"),
    ("perplexity", "tokens"),
    ("nll_per_step", "nats per time step"),
    ("frame_accuracy", "TP / (TP + FP + FN)"),
];

/// The results of a run; `None` if it measured nothing.
pub fn fill(run: &RunRecord) -> Option<Table> {
    let mut rows = Vec::new();
    for (metric, unit) in SHOWN {
        let unit = if metric == "loss" && run.models_keys() {
            "nats per time step"
        } else {
            unit
        };
        for split in ["train", "valid", "test"] {
            let measured = run
                .metrics
                .iter()
                .filter(|row| row.split == split && row.metric == metric);
            let finite = measured.clone().filter(|row| row.value.is_finite());
            let sign = if larger_is_better(metric) { -1.0 } else { 1.0 };
            let best = finite.min_by(|a, b| (sign * a.value).total_cmp(&(sign * b.value)));
            if let Some(last) = measured.last() {
                rows.push(vec![
                    Cell::text(metric.replace('_', " ")).with_detail(Some(unit.to_owned())),
                    Cell::text(split),
                    Cell::number(Some(last.value))
                        .with_detail(Some(format!("epoch {}", last.epoch))),
                    Cell::number(best.map(|row| row.value))
                        .with_detail(best.map(|row| format!("epoch {}", row.epoch))),
                ]);
            }
            for (name, value) in run.yardsticks(metric, split) {
                rows.push(vec![
                    Cell::text(metric.replace('_', " ")).with_detail(Some(unit.to_owned())),
                    Cell::text(split).with_detail(Some(format!("yardstick: {name}"))),
                    Cell::number(Some(value)),
                    Cell::text("–"),
                ]);
            }
        }
    }
    let caption = format!(
        "Results of {}, and what to set them beside. Corpus: {}.",
        run.title(),
        run.corpus_name()
    );
    (!rows.is_empty()).then_some(Table {
        name: "results",
        caption,
        columns: vec!["metric", "split", "last", "best"],
        rows,
    })
}
