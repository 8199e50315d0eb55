//! Errors of the YAML parser in the words of whoever writes an experiment.

use anyhow::anyhow;

use super::location;

/// A YAML error with the nearest valid name where a field or a value is misspelt, and with the line of a key that stands twice.
pub fn explain(error: serde_yaml::Error, text: &str) -> anyhow::Error {
    let message = error.to_string();
    if let Some(key) = message.strip_prefix("duplicate field `")
        && let Some((key, _)) = key.split_once('`')
        && let Some((first, second)) = location::twice(text, key)
    {
        return anyhow!("line {second}: `{key}` stands twice; it was already set in line {first}");
    }
    if message.contains("expected struct Experiment") {
        return anyhow!(
            "line 1: {message}: an experiment is a mapping, with lines such as `title: …`"
        );
    }
    if let Some(told) = wrong_kind(&message) {
        return anyhow!(told);
    }
    let Some((_, rest)) = message.split_once("unknown ") else {
        return anyhow!(message);
    };
    let mut names = rest.split('`').skip(1).step_by(2);
    match names.next() {
        Some(given) => anyhow!("{message}{}", hint(given, names)),
        None => anyhow!(message),
    }
}

/// What to ask the writer of `given`: whether the nearest of the candidates was meant, if any is near.
pub fn hint<'a>(given: &str, candidates: impl Iterator<Item = &'a str>) -> String {
    nearest(given, candidates)
        .map(|name| format!("; did you mean `{name}`?"))
        .unwrap_or_default()
}

/// The candidate most like `given`, if any is alike enough to be meant.
pub fn nearest<'a>(given: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|name| (strsim::damerau_levenshtein(given, name), name))
        .min()
        .filter(|(distance, name)| *distance <= 1 + name.len() / 3)
        .map(|(_, name)| name)
}

/// `error`, which begins with the dotted key at fault, with the line of `text` that has the key, unless overrides moved it.
pub fn located(error: anyhow::Error, text: &str, overrides: &[String]) -> anyhow::Error {
    match location::line_of(text, &error.to_string()) {
        Some(line) if overrides.is_empty() => error.context(format!("line {line}")),
        _ => error,
    }
}

/// `training.epochs: invalid type: string "three", expected u32 at line 18 column 11` in the words of its writer; nothing for an error
/// that is not of a value's kind.
fn wrong_kind(message: &str) -> Option<String> {
    let (message, line) = match message.rsplit_once(" at line ") {
        Some((message, place)) => (message, place.split(' ').next()),
        None => (message, None),
    };
    let (before, rest) = match message.split_once("invalid type: ") {
        Some(parts) => parts,
        None => message.split_once("invalid value: ")?,
    };
    let key = match before.trim_end_matches(": ") {
        "" => "the value",
        key => key,
    };
    let (found, expected) = rest.split_once(", expected ")?;
    let expected = match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" if found.contains('-') => {
            "a whole number of at least 0"
        }
        "u8" | "u16" | "u32" | "u64" | "usize" | "i8" | "i16" | "i32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "a string" => "text",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "a group of settings",
        group if group.starts_with("struct ") => "a group of settings",
        other => other,
    };
    let found = match found.split_once(' ') {
        Some(("string", text)) => text.to_owned(),
        _ => match found.split('`').nth(1) {
            Some(value) => value.to_owned(),
            None => match found {
                "map" => "a group of settings".to_owned(),
                "sequence" => "a list".to_owned(),
                "unit value" => "nothing".to_owned(),
                other => other.to_owned(),
            },
        },
    };
    let line = line.map_or_else(String::new, |line| format!("line {line}: "));
    Some(format!("{line}{key} must be {expected}, not {found}"))
}
