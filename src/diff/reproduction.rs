//! A record and its second execution → identical, equivalent, or where they part.

use std::fmt;

use anyhow::Result;

use super::curve::{FirstDifference, first_difference, same_bits};
use super::equivalence::{EARLY_STEPS, Outcome, Parting, judge};
use crate::run::{Execution, Metrics, Row, StoredRun, WEIGHTS, flat_settings};

/// What a second execution of a record comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Reproduction {
    /// Every metric and every weight has the same bits.
    Identical {
        /// How many values were compared.
        values: usize,
    },
    /// Computed elsewhere or by other code: early values within their tolerances, outcomes within their noise.
    Equivalent {
        /// What was different in how it was computed.
        differences: Vec<String>,
        /// How many early values there were.
        early: usize,
        /// What the training came to.
        outcomes: Vec<Outcome>,
        /// The first value that has not the same bits; none where only weights differ.
        first: Option<FirstDifference>,
    },
    /// Not the same.
    Differs {
        /// What was different in how it was computed; empty where nothing was, so that the bits should be the same.
        differences: Vec<String>,
        /// What should be the same and is not.
        what: Parting,
    },
}

/// Compares a run with its second execution, `again`.
///
/// Where device, kernels, precision and code are the same and the device is a CPU, only the same bits will do.
pub fn compare(
    original: &StoredRun,
    expected: &Metrics,
    again: &StoredRun,
    measured: &Metrics,
) -> Result<Reproduction> {
    let (expected, measured) = (
        with_test_at_the_end(expected.rows()?),
        with_test_at_the_end(measured.rows()?),
    );
    let first = first_difference(&expected, &measured, |_, a, b| same_bits(a, b));
    let weights = |run: &StoredRun| {
        let mut files = run.record.files.iter();
        files
            .find(|file| file.path == WEIGHTS)
            .map(|file| file.sha256.clone())
    };
    if first.is_none() && weights(original) == weights(again) {
        let values = measured.len();
        return Ok(Reproduction::Identical { values });
    }
    let differences = differences(original, again);
    if differences.is_empty() {
        let what = first.map_or(Parting::Weights, Parting::Value);
        return Ok(Reproduction::Differs { differences, what });
    }
    let settings = flat_settings(&original.experiment_yaml()?)?;
    let stops_early = settings
        .get("training.early_stopping")
        .is_some_and(|patience| patience != "null");
    Ok(match judge(&expected, &measured, stops_early) {
        Ok((early, outcomes)) => Reproduction::Equivalent {
            differences,
            early,
            outcomes,
            first,
        },
        Err(what) => Reproduction::Differs { differences, what },
    })
}

/// The rows with the score on test at the last step of the training, where an older harness put it, whatever the weights that it is of.
fn with_test_at_the_end(mut rows: Vec<Row>) -> Vec<Row> {
    let last = rows.iter().map(|row| row.step).max().unwrap_or(0);
    for row in rows.iter_mut().filter(|row| row.split == "test") {
        row.step = last;
    }
    rows
}

/// What may move bits and is not the same.
fn differences(original: &StoredRun, again: &StoredRun) -> Vec<String> {
    // A run may have moved between devices, and been resumed by another build.
    let each = |run: &StoredRun, of: fn(&Execution) -> String| {
        let executions = run.record.telling_executions();
        let mut values: Vec<String> = executions.into_iter().map(of).collect();
        values.dedup();
        values.join(", then ")
    };
    type Of = fn(&Execution) -> String;
    let device: Of = |it| it.environment.device_in_words();
    let aspects: [(&str, Of); 5] = [
        ("device", device),
        ("kernels", |it| it.environment.kernel_path.clone()),
        ("code", |it| it.code.summary()),
        ("code changes", |it| {
            it.code.patch_sha256.clone().unwrap_or_default()
        }),
        ("compiler", |it| it.code.rustc.clone()),
    ];
    let mut differences = Vec::new();
    for (what, of) in aspects {
        let (before, after) = (each(original, of), each(again, of));
        if before != after {
            differences.push(format!("{what}: {before} → {after}"));
        }
    }
    if each(again, device) != "cpu" {
        differences.push("a CUDA device adds in no fixed order".to_owned());
    }
    differences
}

impl fmt::Display for Reproduction {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Identical { values } => write!(
                out,
                "identical: {values} values and all weights have the same bits"
            ),
            Self::Equivalent {
                differences,
                early,
                outcomes,
                first,
            } => {
                let first = first.clone().map_or(Parting::Weights, Parting::Value);
                let early = match early {
                    0 => format!("no value was logged up to step {EARLY_STEPS}"),
                    early => format!(
                        "{early} values up to step {EARLY_STEPS} are within their tolerances"
                    ),
                };
                write!(
                    out,
                    "equivalent: {early}, and the outcome is within its noise\n  computed otherwise: {}\n  the first bits that differ: {first}",
                    differences.join("; ")
                )?;
                outcomes.iter().try_for_each(|it| write!(out, "\n  {it}"))
            }
            Self::Differs { differences, what } if differences.is_empty() => {
                write!(out, "differs, though computed the same way: {what}")
            }
            Self::Differs { differences, what } => {
                write!(
                    out,
                    "differs beyond what computing otherwise explains ({}): {what}",
                    differences.join("; ")
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_an_older_harness_is_the_same_with_its_score_on_test_at_another_step() {
        let row = |step: u64, split: &str, value: f64| Row {
            step,
            epoch: 1,
            split: split.into(),
            metric: "loss".into(),
            value,
        };
        let older = [
            row(10, "valid", 2.0),
            row(20, "valid", 3.0),
            row(20, "test", 2.5),
        ];
        let newer = [
            row(10, "test", 2.5),
            row(10, "valid", 2.0),
            row(20, "valid", 3.0),
        ];
        let part = |newer: &[Row]| {
            let at_the_end = |rows: &[Row]| with_test_at_the_end(rows.to_vec());
            first_difference(&at_the_end(&older), &at_the_end(newer), |_, a, b| {
                same_bits(a, b)
            })
        };
        assert_eq!(part(&newer), None);
        let other = [row(10, "test", 2.6), newer[1].clone(), newer[2].clone()];
        assert!(part(&other).is_some_and(|at| at.split == "test"));
    }
}
