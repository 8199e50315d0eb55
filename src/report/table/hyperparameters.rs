//! The resolved experiment, value by value, and where each value is from: the paper with its place, or a choice with its reason.

use serde_json::Value;

use super::super::record::RunRecord;
use super::{Cell, Table};

/// Keys that are prose or have a table of their own.
const LEFT_OUT: [&str; 5] = ["title", "question", "claims", "paper", "chosen"];

/// The settings of a run; `None` if its experiment cannot be read.
pub fn fill(run: &RunRecord) -> Option<Table> {
    let mut settings = Vec::new();
    for (key, value) in run
        .resolved
        .as_object()?
        .iter()
        .filter(|(key, _)| !LEFT_OUT.contains(&key.as_str()))
    {
        flatten(key, value, &mut settings);
    }
    let rows = settings.into_iter().map(|(key, value)| {
        let (source, reason) = source(run, &key);
        vec![
            Cell::text(key),
            value,
            Cell::text(source),
            Cell::text(reason),
        ]
    });
    let caption = "Every setting of the run. Chosen: the paper is silent in what is at hand, so harness decided, for the reason given.";
    Some(Table {
        name: "settings",
        caption: caption.to_owned(),
        columns: vec!["setting", "value", "from", "reason or place"],
        rows: rows.collect(),
    })
}

/// Where a value is from: the experiment's `paper` and `chosen` name keys, each for all keys below it; the nearest one counts.
fn source(run: &RunRecord, key: &str) -> (&'static str, String) {
    let named = |map: &str, path: &str| {
        let entry = run
            .resolved
            .get(map)
            .and_then(Value::as_object)
            .and_then(|map| map.get(path));
        entry.and_then(Value::as_str).map(str::to_owned)
    };
    let mut path = key;
    loop {
        let (paper, chosen) = (named("paper", path), named("chosen", path));
        match (paper, chosen) {
            (Some(place), Some(reason)) => {
                return ("paper, with a choice", format!("{place}; {reason}"));
            }
            (Some(place), None) => return ("paper", place),
            (None, Some(reason)) => return ("chosen", reason),
            (None, None) => {}
        }
        match path.rsplit_once('.') {
            Some((above, _)) => path = above,
            None => return ("not stated", String::new()),
        }
    }
}

fn flatten(path: &str, value: &Value, settings: &mut Vec<(String, Cell)>) {
    match value {
        Value::Object(fields) => fields
            .iter()
            .for_each(|(key, value)| flatten(&format!("{path}.{key}"), value, settings)),
        Value::String(text) => settings.push((path.to_owned(), Cell::text(text))),
        Value::Null => settings.push((path.to_owned(), Cell::text("none"))),
        // A setting reads as it is written, so that it can be copied into a file.
        other => settings.push((
            path.to_owned(),
            Cell {
                text: other.to_string(),
                number: other.as_f64(),
                ..Cell::default()
            },
        )),
    }
}
