//! What was read: the corpus by name and fingerprint, and its counts, over all pieces and by split.

use serde_json::Value;

use super::super::record::RunRecord;
use super::{Cell, Table};

const SPLITS: [&str; 3] = ["train", "valid", "test"];

/// The corpus of a run, one row a count; `None` if it read none.
pub fn fill(run: &RunRecord) -> Option<Table> {
    let corpus = run.stored.record.corpus.as_ref()?;
    let counts = run.statistics.get("corpus").unwrap_or(&corpus.details);
    let mut names: Vec<&str> = Vec::new();
    let parts = std::iter::once(counts).chain(SPLITS.iter().filter_map(|split| counts.get(split)));
    for (name, value) in parts.filter_map(Value::as_object).flatten() {
        if !value.is_object() && !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let row = |name: &&str| {
        let of = |part: Option<&Value>| {
            part.and_then(|part| part.get(name))
                .map_or_else(|| Cell::number(None), cell)
        };
        let splits = SPLITS.iter().map(|split| of(counts.get(split)));
        [Cell::text(name.replace('_', " ")), of(Some(counts))]
            .into_iter()
            .chain(splits)
            .collect()
    };
    let rows: Vec<Vec<Cell>> = names.iter().map(row).collect();
    let caption = format!(
        "The corpus that run {} read: {}, from {}. Fingerprint {}.",
        run.stored.record.id,
        run.corpus_in_full(),
        corpus.origin,
        corpus.fingerprint
    );
    Some(Table {
        name: "corpus",
        caption,
        columns: vec!["count", "all", "train", "valid", "test"],
        rows,
    })
}

fn cell(value: &Value) -> Cell {
    match value {
        Value::Number(number) => Cell::number(number.as_f64()),
        Value::String(text) => Cell::text(text),
        other => Cell::text(other.to_string()),
    }
}
