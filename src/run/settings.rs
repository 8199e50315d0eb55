//! Resolved experiments as flat settings, `training.batch_size: 50`, so that two can be compared whatever their format was.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_yaml::Value;

/// The parts of an experiment that explain it, and move no result.
const EXPLANATIONS: [&str; 7] = [
    "title",
    "question",
    "base",
    "paper",
    "chosen",
    "changed_on_command_line",
    "claims",
];

/// Whether the dotted key `key` is of a part of an experiment that explains it, and so is no setting.
pub fn explains(key: &str) -> bool {
    let part = key.split('.').next().unwrap_or_default();
    EXPLANATIONS.contains(&part)
}

/// One setting that two experiments do not share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingChange {
    /// Such as `training.batch_size`.
    pub key: String,
    /// The value before; absent where there was none.
    pub before: Option<String>,
    /// The value after; absent where there is none.
    pub after: Option<String>,
}

impl std::fmt::Display for SettingChange {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "(absent)".into());
        write!(
            formatter,
            "{}: {} → {}",
            self.key,
            text(&self.before),
            text(&self.after)
        )
    }
}

/// Every leaf of a resolved experiment by its path; a list of plain values is one leaf.
pub fn flat_settings(yaml: &str) -> Result<BTreeMap<String, String>> {
    let value: Value = serde_yaml::from_str(yaml).context("the recorded experiment is not YAML")?;
    let mut settings = BTreeMap::new();
    flatten(&value, String::new(), &mut settings);
    Ok(settings)
}

/// The settings that differ between two resolved experiments, by key; what only explains them is none.
pub fn changed_settings(before: &str, after: &str) -> Result<Vec<SettingChange>> {
    let (before, after) = (flat_settings(before)?, flat_settings(after)?);
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changes = keys
        .into_iter()
        .filter(|key| !explains(key) && before.get(*key) != after.get(*key));
    Ok(changes
        .map(|key| SettingChange {
            key: key.clone(),
            before: before.get(key).cloned(),
            after: after.get(key).cloned(),
        })
        .collect())
}

fn flatten(value: &Value, path: String, settings: &mut BTreeMap<String, String>) {
    let below = |key: &str| {
        if path.is_empty() {
            key.to_string()
        } else {
            format!("{path}.{key}")
        }
    };
    match value {
        Value::Mapping(fields) if !fields.is_empty() => {
            for (key, field) in fields {
                flatten(field, below(&leaf(key)), settings);
            }
        }
        Value::Sequence(values) if values.iter().any(|it| it.is_mapping() || it.is_sequence()) => {
            for (index, field) in values.iter().enumerate() {
                flatten(field, below(&index.to_string()), settings);
            }
        }
        Value::Tagged(tagged) => flatten(&tagged.value, below(&tagged.tag.to_string()), settings),
        _ => {
            settings.insert(path, leaf(value));
        }
    }
}

fn leaf(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(it) => it.to_string(),
        Value::Number(it) => it.to_string(),
        Value::String(it) => it.clone(),
        Value::Sequence(values) => format!(
            "[{}]",
            values.iter().map(leaf).collect::<Vec<String>>().join(", ")
        ),
        Value::Mapping(_) => "{}".into(),
        Value::Tagged(tagged) => format!("{} {}", tagged.tag, leaf(&tagged.value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "corpus: muse\ntraining:\n  seed: 1\n  rates: [0.1, 0.2]\nclaims:\n  - value: 1\n  - value: 2\nempty: {}\n";

    #[test]
    fn settings_are_named_by_their_path() {
        let settings = flat_settings(BEFORE).unwrap();
        let lines: Vec<String> = settings
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let expected = "claims.0.value=1 claims.1.value=2 corpus=muse empty={} training.rates=[0.1, 0.2] training.seed=1";
        assert_eq!(lines.join(" "), expected);
    }

    #[test]
    fn only_what_differs_is_told() {
        let after = "training:\n  seed: 2\n  rates: [0.1, 0.2]\n  momentum: null\nclaims:\n- value: 1\n- value: 3\nempty: {}\ntitle: a\n";
        let changes: Vec<String> = changed_settings(BEFORE, after)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            changes,
            [
                "corpus: muse → (absent)",
                "training.momentum: (absent) → null",
                "training.seed: 1 → 2"
            ]
        );
        assert!(changed_settings(BEFORE, BEFORE).unwrap().is_empty());
        assert!(flat_settings(": : {").is_err());
    }
}
