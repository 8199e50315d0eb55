//! The resolved experiment, value by value, and where each value is from: the paper, or a choice with its reason.

use serde_json::Value;

use super::super::record::RunRecord;
use super::{Cell, Table};

/// Keys that are prose or have a table of their own.
const LEFT_OUT: [&str; 4] = ["title", "question", "claims", "chosen"];

/// The settings of a run; `None` if its experiment cannot be read.
pub fn fill(run: &RunRecord) -> Option<Table> {
    let mut settings = Vec::new();
    for (key, value) in run.resolved.as_object()?.iter().filter(|(key, _)| !LEFT_OUT.contains(&key.as_str())) {
        flatten(key, value, &mut settings);
    }
    let rows = settings.into_iter().map(|(key, value)| {
        let (source, reason) = source(run, &key);
        vec![Cell::text(key), value, Cell::text(source), Cell::text(reason)]
    });
    let caption = "Every setting of the run. Chosen: the paper is silent in what is at hand, so harness decided, for the reason given.";
    Some(Table {
        name: "settings",
        caption: caption.to_owned(),
        columns: vec!["setting", "value", "from", "reason or place"],
        rows: rows.collect(),
    })
}

/// Whether a value is the paper's (a claim names it) or chosen (the experiment gives the reason, for it or for a key above it).
fn source(run: &RunRecord, key: &str) -> (&'static str, String) {
    let chosen = run.resolved.get("chosen").and_then(Value::as_object);
    let mut path = key;
    loop {
        if let Some(reason) = chosen.and_then(|chosen| chosen.get(path)).and_then(Value::as_str) {
            return ("chosen", reason.to_owned());
        }
        match path.rsplit_once('.') {
            Some((above, _)) => path = above,
            None => break,
        }
    }
    let metric = format!("experiment.{key}");
    match run.claims.iter().find(|claim| claim.metric.as_deref() == Some(&metric)) {
        Some(claim) => ("paper", claim.place.clone()),
        None => ("experiment", String::new()),
    }
}

fn flatten(path: &str, value: &Value, settings: &mut Vec<(String, Cell)>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| flatten(&format!("{path}.{key}"), value, settings)),
        Value::String(text) => settings.push((path.to_owned(), Cell::text(text))),
        Value::Null => settings.push((path.to_owned(), Cell::text("none"))),
        // A setting reads as it is written, so that it can be copied into a file.
        other => settings.push((path.to_owned(), Cell { text: other.to_string(), number: other.as_f64(), ..Cell::default() })),
    }
}
