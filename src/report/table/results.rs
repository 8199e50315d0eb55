//! Final and best metrics by split, beside the numbers they are set against.

use super::super::record::RunRecord;
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

/// The results of a run; `None` if it measured nothing.
pub fn fill(run: &RunRecord) -> Option<Table> {
    let mut rows = Vec::new();
    for (metric, counts) in SHOWN {
        let direction = registered(metric).direction;
        let unit = match run.unit(metric) {
            "" => counts,
            unit => unit,
        };
        for split in ["train", "valid", "test"] {
            let mut measured = run
                .metrics
                .iter()
                .filter(|row| row.split == split && row.metric == metric);
            let finite = measured.clone().filter(|row| row.value.is_finite());
            let best =
                finite.min_by(|a, b| direction.cost(a.value).total_cmp(&direction.cost(b.value)));
            if let Some(last) = measured.next_back() {
                let yardsticks = run.yardsticks(metric, split);
                let yardsticks = yardsticks
                    .iter()
                    .map(|(name, value)| format!("{name} {}", number(*value)));
                let yardsticks = yardsticks.collect::<Vec<_>>().join(", ");
                rows.push(vec![
                    Cell::text(metric.replace('_', " ")).with_detail(Some(unit.to_owned())),
                    Cell::text(split),
                    Cell::number(Some(last.value))
                        .with_detail(Some(format!("epoch {}", last.epoch))),
                    Cell::number(best.map(|row| row.value))
                        .with_detail(best.map(|row| format!("epoch {}", row.epoch))),
                    Cell::text(if yardsticks.is_empty() {
                        "–".to_owned()
                    } else {
                        yardsticks
                    }),
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
        columns: vec!["metric", "split", "last", "best", "to set beside"],
        rows,
    })
}
