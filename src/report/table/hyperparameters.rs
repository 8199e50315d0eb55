//! The resolved experiment, value by value, and where each value is from: the paper with its place, or a choice with its reason.

use serde_json::Value;

use super::super::record::RunRecord;
use super::{Cell, Table};

/// Keys that are prose or have a table of their own.
const LEFT_OUT: [&str; 6] = ["title", "question", "base", "claims", "paper", "chosen"];

/// The settings of a run; `None` if its experiment cannot be read.
pub fn fill(run: &RunRecord) -> Option<Table> {
    let mut settings = Vec::new();
    let fields = run.resolved.as_object()?.iter();
    for (key, value) in fields.filter(|(key, _)| !LEFT_OUT.contains(&key.as_str())) {
        flatten(key, value, &mut settings);
    }
    let replaced = replaced(&run.stored.record.execution.command);
    let rows = settings.into_iter().map(|(key, value)| {
        let (mut source, mut reason) = source(run, &key);
        if replaced
            .iter()
            .any(|it| key == *it || key.starts_with(&format!("{it}.")))
        {
            reason = format!("not the file's value ({source}: {reason})");
            source = "changed for this run";
        }
        vec![
            Cell::text(key),
            value_cell(value),
            Cell::text(source),
            Cell::text(reason),
        ]
    });
    let caption = "Every setting of the run. Chosen: the paper is silent in what is at hand, so harness decided, for the reason given. \
                   Changed for this run: replaced on its command line.";
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

/// The keys that a command replaced with `-S key=value`.
fn replaced(command: &[String]) -> Vec<&str> {
    let mut keys = Vec::new();
    let mut arguments = command.iter();
    while let Some(argument) = arguments.next() {
        let entry = match argument.strip_prefix("-S") {
            Some("") => arguments.next().map(String::as_str),
            Some(entry) => Some(entry.trim_start_matches('=')),
            None if argument == "--set" => arguments.next().map(String::as_str),
            None => argument.strip_prefix("--set="),
        };
        keys.extend(entry.and_then(|entry| Some(entry.split_once('=')?.0)));
    }
    keys
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_keys_are_found_however_they_are_written() {
        let command = [
            "run",
            "a.yaml",
            "-S",
            "a.b=1",
            "-Sc=2",
            "-S=f=4",
            "--set",
            "d=x=y",
            "--set=e=3",
            "--smoke",
        ];
        let command = command.map(str::to_owned);
        assert_eq!(replaced(&command), ["a.b", "c", "f", "d", "e"]);
    }
}
