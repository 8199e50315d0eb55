//! What was read: the corpus by name and fingerprint, and its counts.

use serde_json::Value;

use super::super::record::RunRecord;
use super::{Cell, Table};

/// The corpus of a run; `None` if it read none.
pub fn fill(run: &RunRecord) -> Option<Table> {
    let corpus = run.stored.record.corpus.as_ref()?;
    let mut rows = vec![
        vec![Cell::text("corpus"), Cell::text(run.corpus_name())],
        vec![Cell::text("origin"), Cell::text(&corpus.origin)],
        vec![Cell::text("fingerprint"), Cell::text(&corpus.fingerprint)],
    ];
    if let Some(counts) = run.statistics.get("corpus") {
        flatten("", counts, &mut rows);
    } else {
        flatten("", &corpus.details, &mut rows);
    }
    let caption = format!("The corpus that run {} read.", run.stored.record.id);
    Some(Table {
        name: "corpus",
        caption,
        columns: vec!["what", "value"],
        rows,
    })
}

/// One row a scalar of `value`, named by its path in words.
pub fn flatten(prefix: &str, value: &Value, rows: &mut Vec<Vec<Cell>>) {
    let name = || Cell::text(prefix.replace('_', " "));
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let path = if prefix.is_empty() {
                    key.clone()
                } else {
                    format!("{prefix}, {key}")
                };
                flatten(&path, value, rows);
            }
        }
        Value::Number(number) => rows.push(vec![name(), Cell::number(number.as_f64())]),
        Value::String(text) => rows.push(vec![name(), Cell::text(text)]),
        Value::Bool(truth) => {
            rows.push(vec![name(), Cell::text(if *truth { "yes" } else { "no" })])
        }
        Value::Null => {}
        Value::Array(values) => {
            let texts = values.iter().map(|value| {
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned)
            });
            rows.push(vec![
                name(),
                Cell::text(texts.collect::<Vec<_>>().join(", ")),
            ]);
        }
    }
}
