//! The resolved experiment, value by value, and where each value is from: the paper with its place, or a choice with its reason.

use serde_json::Value;

use super::super::changed::Changed;
use super::super::record::RunRecord;
use super::{Cell, Table};
use crate::experiment::covers;
use crate::run::explains;

/// Where a value is from that the command line set.
const CHANGED: &str = "changed on the command line";

/// The settings of a run; `None` if its experiment cannot be read.
pub fn fill(run: &RunRecord) -> Option<Table> {
    let mut settings = Vec::new();
    let fields = run.resolved.as_object()?.iter();
    for (key, value) in fields.filter(|(key, _)| !explains(key)) {
        flatten(key, value, &mut settings);
    }
    let changed = run.changed_settings();
    let rows = settings.into_iter().map(|(key, value)| {
        // A reason is of the file's value, even where it is of all that stands below a key.
        let (source, reason) = match changed.iter().find(|it| covers(&it.key, &key)) {
            None => source(run, &key),
            Some(Changed { file, .. }) => {
                let file = file.as_ref().map(|file| format!("the file: {file}"));
                (CHANGED, file.unwrap_or_default())
            }
        };
        vec![
            Cell::text(key),
            value_cell(value),
            Cell::text(source),
            Cell::text(reason),
        ]
    });
    let caption = "Every setting of the run. Chosen: the paper is silent in what is at hand, so harness decided, for the reason given. \
                   Changed on the command line: not the value of the experiment's file, and no reason of the file is of it.";
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

fn flatten<'a>(path: &str, value: &'a Value, settings: &mut Vec<(String, &'a Value)>) {
    match value {
        Value::Object(fields) => fields
            .iter()
            .for_each(|(key, value)| flatten(&format!("{path}.{key}"), value, settings)),
        other => settings.push((path.to_owned(), other)),
    }
}

fn value_cell(value: &Value) -> Cell {
    match value {
        Value::String(text) => Cell::text(text),
        Value::Null => Cell::text("none"),
        // A setting reads as it is written, so that it can be copied into a file.
        other => Cell {
            text: other.to_string(),
            number: other.as_f64(),
            ..Cell::default()
        },
    }
}
