//! Values that the command line sets over those of the file (`-S training.epochs=3`), and what the record says of them.

use anyhow::{Context, Result, anyhow, bail};
use serde_yaml::Value;

use super::Experiment;
use crate::run::{changed_settings, flat_settings};

/// The end of the title of an experiment that the command line changed.
const CHANGED: &str = ", changed on the command line";

/// Sets one dotted key of a YAML tree: `training.epochs=3`.
pub fn apply(root: &mut Value, entry: &str) -> Result<()> {
    let (path, text) = entry
        .split_once('=')
        .ok_or_else(|| anyhow!("override '{entry}' is not of the form key.path=value"))?;
    let new: Value = serde_yaml::from_str(text)
        .with_context(|| format!("override '{entry}': the value is not YAML"))?;
    let mut place = root;
    for key in path.split('.') {
        if place.is_null() {
            *place = Value::Mapping(Default::default());
        }
        place = match place {
            Value::Mapping(mapping) => mapping.entry(key.into()).or_insert(Value::Null),
            _ => {
                bail!("override '{entry}': '{key}' has no place, what is above it is not a mapping")
            }
        };
    }
    *place = new;
    Ok(())
}

/// An error if the key of `entry` is the end of a setting's key and not all of it, as in `seed=2`: it names the settings that end so.
pub fn ensure_whole(entry: &str) -> Result<()> {
    let path = entry.split('=').next().unwrap_or_default();
    let written =
        Experiment::parse("{title: any, corpus: any, vocabulary: {from: corpus}}", &[])?.to_yaml();
    let settings = flat_settings(&written)?;
    let (end, below) = (format!(".{path}"), format!("{path}."));
    if settings
        .keys()
        .any(|key| key == path || key.starts_with(&below))
    {
        return Ok(());
    }
    let mut meant: Vec<String> = settings
        .keys()
        .filter(|key| key.ends_with(&end))
        .map(|key| format!("`{key}`"))
        .collect();
    // What is most often set is how a network is trained.
    meant.sort_by_key(|key| !key.starts_with("`training."));
    let Some(last) = meant.pop() else {
        return Ok(());
    };
    let others = match meant.is_empty() {
        true => String::new(),
        false => format!("{} or ", meant.join(", ")),
    };
    bail!("override '{entry}': there is no setting `{path}`; did you mean {others}{last}?")
}

/// Says in `experiment` what it has otherwise than `file`, which it comes from, and takes back the reasons of the values that it no
/// longer has. A training seed is no other experiment, so the title stays where nothing else was changed.
pub fn tell_changes(file: &Experiment, experiment: &mut Experiment) -> Result<()> {
    let wanted = experiment.to_yaml();
    let mut changed = file.changed_on_command_line.clone().unwrap_or_default();
    for change in changed_settings(&file.to_yaml(), &wanted)? {
        experiment.paper.remove(&change.key);
        experiment.chosen.remove(&change.key);
        // Of a value that is changed twice, as when a changed run is resumed, the first is the file's.
        let before = change.before.unwrap_or_else(|| "(absent)".to_owned());
        changed.entry(change.key).or_insert(before);
    }
    let now = flat_settings(&wanted)?;
    changed.retain(|key, before| now.get(key) != Some(before));
    if is_other_experiment(changed.keys().map(String::as_str))
        && !experiment.title.ends_with(CHANGED)
    {
        experiment.title.push_str(CHANGED);
    }
    experiment.changed_on_command_line = Some(changed);
    Ok(())
}

/// Whether changes of these settings make an experiment another one: all but the training seed do, by which runs of one are told apart.
pub fn is_other_experiment<'a>(mut keys: impl Iterator<Item = &'a str>) -> bool {
    keys.any(|key| key != "training.seed")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const FILE: &str = "\
title: A test
corpus: counterpoint
vocabulary: {from: corpus}
training: {epochs: 3, seed: 1}
paper: {training.epochs: Experiments, model.hidden: Experiments}
chosen: {corpus: it is no one's music, training: plain, model: small}
";

    fn with(overrides: &[&str]) -> Experiment {
        let overrides: Vec<String> = overrides.iter().map(|it| (*it).to_owned()).collect();
        Experiment::parse(FILE, &overrides).unwrap()
    }

    fn changed(experiment: &Experiment) -> Vec<(&str, &str)> {
        let changed = experiment.changed_on_command_line.as_ref().unwrap().iter();
        changed.map(|(a, b)| (a.as_str(), b.as_str())).collect()
    }

    #[test]
    fn overrides_replace_values_and_are_checked_like_the_file() {
        let experiment = with(&["training.epochs=7", "model.layers=1"]);
        assert_eq!(
            (experiment.training.epochs, experiment.model.layers),
            (7, 1)
        );
        let wrong = ["training.epoch=7".to_string()];
        let error = Experiment::parse(FILE, &wrong).unwrap_err();
        assert!(
            format!("{error:#}").contains("did you mean `epochs`?"),
            "{error:#}"
        );
    }

    #[test]
    fn a_changed_value_loses_its_reason_and_the_file_s_value_is_told() {
        let experiment = with(&["corpus=my/midi", "training={epochs: 4, batch_size: 7}"]);
        let expected = [
            ("corpus", "counterpoint"),
            ("training.batch_size", "50"),
            ("training.epochs", "3"),
        ];
        assert_eq!(changed(&experiment), expected);
        assert_eq!(experiment.title, "A test, changed on the command line");
        let reasons = |of: &BTreeMap<String, String>| of.keys().cloned().collect::<Vec<_>>();
        assert_eq!(reasons(&experiment.chosen), ["model", "training"]);
        assert_eq!(reasons(&experiment.paper), ["model.hidden"]);
        // What is recorded so is read so, and another change does not hide the first.
        let recorded = experiment.to_yaml();
        assert_eq!(Experiment::parse(&recorded, &[]).unwrap(), experiment);
        let more = ["corpus=bach".to_owned(), "training.epochs=3".to_owned()];
        let more = Experiment::parse(&recorded, &more).unwrap();
        assert_eq!(changed(&more), expected[..2]);
        assert_eq!(more.title, experiment.title);
    }

    #[test]
    fn the_file_s_own_value_is_no_change_and_a_seed_no_other_experiment() {
        assert_eq!(changed(&with(&["training.epochs=3"])), []);
        let seeded = with(&["training.seed=2"]);
        assert_eq!(seeded.title, "A test");
        assert_eq!(changed(&seeded), [("training.seed", "1")]);
    }
}
