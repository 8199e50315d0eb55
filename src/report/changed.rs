//! What the command line changed of a run's experiment: such a run is told as changed, stands for its experiment only where no other
//! does, and judges no claim that the change concerns.

use serde_json::Value;

use super::record::{RunRecord, at_path};
use crate::experiment::covers;
use crate::experiment::overrides::is_other_experiment;

/// A setting that the command line replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Its dotted key.
    pub key: String,
    /// The value in the file, where the record tells it.
    pub file: Option<String>,
}

impl RunRecord {
    /// The settings that the command line set to another value than the experiment's file, by key.
    ///
    /// A record of an older harness tells only the keys, in its command, and not whether their values differ.
    pub fn changed_settings(&self) -> Vec<Changed> {
        match self.resolved.get("changed_on_command_line") {
            Some(changed) => {
                let changed = changed.as_object().into_iter().flatten();
                let value = |value: &Value| value.as_str().map(str::to_owned);
                changed
                    .map(|(key, file)| Changed {
                        key: key.clone(),
                        file: value(file),
                    })
                    .collect()
            }
            None => overridden(&self.stored.record.execution.command)
                .into_iter()
                .map(|key| Changed {
                    key: key.to_owned(),
                    file: None,
                })
                .collect(),
        }
    }

    /// Whether the run is of another experiment than its file's: the command line changed more than the training seed.
    pub fn is_changed(&self) -> bool {
        let changed = self.changed_settings();
        is_other_experiment(changed.iter().map(|it| it.key.as_str()))
    }

    /// Why claims on the experiment cannot be judged by this run: the command line changed what they are about. How long the training
    /// was is told apart, and what is logged, kept, scored in which order and sampled moves no claim.
    pub fn why_not_the_experiment(&self) -> Option<String> {
        const HARMLESS: [&str; 7] = [
            "training.seed",
            "training.epochs",
            "training.checkpoint_every",
            "training.log_every",
            "evaluation",
            "samples",
            "tolerances",
        ];
        let is_harmless = |key: &str| HARMLESS.iter().any(|part| covers(part, key));
        let changed = self.changed_settings();
        let keys = changed.iter().map(|it| it.key.as_str());
        let keys: Vec<&str> = keys.filter(|key| !is_harmless(key)).collect();
        (!keys.is_empty()).then(|| format!("changed on the command line: {}", keys.join(", ")))
    }

    /// What was changed on the command line besides the training seed, in words; `None` if nothing was.
    pub fn changes_in_words(&self) -> Option<String> {
        let changed = self.changed_settings();
        let of = |it: &Changed| {
            let value = at_path(&self.resolved, &it.key).map(|value| match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            });
            let value = value.unwrap_or_else(|| "(absent)".to_owned());
            match &it.file {
                Some(file) => format!("{}: {value} in place of {file}", it.key),
                None => format!("{}: {value}", it.key),
            }
        };
        let others = changed.iter().filter(|it| it.key != "training.seed");
        let words: Vec<String> = others.map(of).collect();
        (!words.is_empty()).then(|| words.join("; "))
    }
}

/// The keys that a command replaced with `-S key=value`.
fn overridden(command: &[String]) -> Vec<&str> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overridden_keys_are_found_however_they_are_written() {
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
        assert_eq!(overridden(&command), ["a.b", "c", "f", "d", "e"]);
    }
}
