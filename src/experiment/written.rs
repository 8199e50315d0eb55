//! What only the writer of an experiment file has to heed: that the reasons under `paper` and `chosen` are of settings that there
//! are, and that each claim can be judged. A record is read without these checks.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};

use super::{Experiment, covers, hint};
use crate::claim::Claim;
use crate::measurable;
use crate::run::{explains, flat_settings};

/// Checks `experiment`, as it was read from a file.
///
/// # Errors
/// Begin with the dotted key at fault, and name the nearest valid name.
pub fn check(experiment: &Experiment) -> Result<()> {
    let mut settings = flat_settings(&experiment.to_yaml())?;
    settings.retain(|key, _| !explains(key));
    for (part, reasons) in [("paper", &experiment.paper), ("chosen", &experiment.chosen)] {
        for key in reasons.keys() {
            ensure!(
                settings.keys().any(|setting| covers(key, setting)),
                "{part}.{key} is the reason of a setting that there is not{}",
                hint(key, settings.keys().map(String::as_str))
            );
        }
    }
    let names = measurable::names();
    for (index, claim) in experiment.claims.iter().enumerate() {
        ensure!(
            experiment.claims[..index]
                .iter()
                .all(|it| it.id != claim.id),
            "claims.{} stands twice: an id names one claim",
            claim.id
        );
        check_claim(claim, &names, &settings)?;
    }
    Ok(())
}

fn check_claim(claim: &Claim, names: &[String], settings: &BTreeMap<String, String>) -> Result<()> {
    let id = &claim.id;
    let (mut metrics, mut bounds) = (vec![("metric", &claim.metric)], Vec::new());
    if let Some(expect) = &claim.expect {
        metrics.push(("expect.below_metric", &expect.below_metric));
        metrics.push(("expect.above_metric", &expect.above_metric));
        bounds.extend([expect.below, expect.above]);
        let bounded =
            metrics[1..].iter().any(|(_, it)| it.is_some()) || bounds.iter().any(Option::is_some);
        ensure!(
            bounded,
            "claims.{id}.expect has no bound: give `below`, `above`, `below_metric` or `above_metric`"
        );
    }
    for (key, metric) in metrics {
        let Some(metric) = metric else { continue };
        if let Some(setting) = metric.strip_prefix("experiment.") {
            let is_number = settings
                .get(setting)
                .is_some_and(|it| it.parse::<f64>().is_ok());
            ensure!(
                is_number,
                "claims.{id}.{key}: `{setting}` is no number of the experiment{}",
                hint(setting, settings.keys().map(String::as_str))
            );
        } else if !names.contains(metric) {
            bail!(
                "claims.{id}.{key}: `{metric}` is nothing that a run measures{}",
                hint(metric, names.iter().map(String::as_str))
            );
        }
    }
    ensure!(
        claim
            .value
            .iter()
            .chain(bounds.iter().flatten())
            .all(|it| it.is_finite()),
        "claims.{id} compares with what is not a finite number"
    );
    ensure!(
        claim.tolerance.is_none() || claim.value.is_some(),
        "claims.{id}.tolerance is of no `value`"
    );
    let by_number = claim.metric.is_some() && (claim.value.is_some() || claim.expect.is_some());
    let ways = [by_number, claim.figure.is_some(), claim.learning.is_some()];
    let ways = ways.iter().filter(|way| **way).count();
    ensure!(
        ways > 0 || claim.not_comparable.is_some(),
        "claims.{id} cannot be judged: give a `metric` with a `value` or `expect`, or `figure`, or `learning`, or say why it is \
         `not_comparable`"
    );
    ensure!(
        ways < 2,
        "claims.{id} is judged in two ways: give a `metric`, a `figure` or a `learning`, and no second one of them"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with an experiment that ends with `lines`.
    fn refusal(lines: &str) -> String {
        let text =
            format!("title: A test\ncorpus: counterpoint\nvocabulary:\n  from: corpus\n{lines}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.yaml");
        std::fs::write(&path, text).unwrap();
        Experiment::load(&path, &[])
            .map_or_else(|error| error.root_cause().to_string(), |_| "nothing".into())
    }

    fn claim(lines: &str) -> String {
        refusal(&format!(
            "claims:\n  - id: words\n    says: words\n    place: Data\n{lines}"
        ))
    }

    #[test]
    fn a_reason_is_of_a_setting() {
        assert_eq!(
            refusal("paper:\n  training.epochs: Experiments\nchosen:\n  model: small\n"),
            "nothing"
        );
        assert_eq!(
            refusal("chosen:\n  training.epoch: a guess\n"),
            "chosen.training.epoch is the reason of a setting that there is not; did you mean `training.epochs`?"
        );
        assert!(
            refusal("paper:\n  title: mine\n")
                .starts_with("paper.title is the reason of a setting that there is not")
        );
    }

    #[test]
    fn a_claim_is_on_something_measured() {
        assert_eq!(
            claim("    metric: corpus.tokens\n    value: 3\n"),
            "nothing"
        );
        assert_eq!(
            claim("    metric: experiment.training.epochs\n    value: 3\n"),
            "nothing"
        );
        assert_eq!(
            claim("    metric: corpus.token\n    value: 3\n"),
            "claims.words.metric: `corpus.token` is nothing that a run measures; did you mean `corpus.tokens`?"
        );
        assert_eq!(
            claim(
                "    metric: valid.loss.best\n    expect: {below_metric: baseline.markow.valid}\n"
            ),
            "claims.words.expect.below_metric: `baseline.markow.valid` is nothing that a run measures; did you mean `baseline.markov.valid`?"
        );
        assert_eq!(
            claim("    metric: experiment.training.epoch\n    value: 3\n"),
            "claims.words.metric: `training.epoch` is no number of the experiment; did you mean `training.epochs`?"
        );
    }

    #[test]
    fn a_claim_can_be_judged_or_says_why_not() {
        assert_eq!(claim("    not_comparable: other hardware\n"), "nothing");
        for lines in ["", "    metric: corpus.tokens\n", "    value: 3\n"] {
            assert!(
                claim(lines).starts_with("claims.words cannot be judged"),
                "{lines}"
            );
        }
        assert!(
            claim("    metric: corpus.tokens\n    expect: {}\n")
                .starts_with("claims.words.expect has no bound")
        );
        assert!(
            claim("    metric: corpus.tokens\n    value: .nan\n").ends_with("not a finite number")
        );
        let both = "    figure: {question: registers, expect: present}\n    learning: {baseline: markov, expect: absent}\n";
        assert!(claim(both).starts_with("claims.words is judged in two ways"));
        let twice = "    not_comparable: a\n  - id: words\n    says: b\n    place: c\n    not_comparable: d\n";
        assert!(claim(twice).starts_with("claims.words stands twice"));
    }
}
