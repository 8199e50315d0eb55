//! A record and its second execution → identical, equivalent, or where they part.

use std::fmt;

use anyhow::Result;

use super::curve::{FirstDifference, first_difference, same_bits};
use crate::metric::metric;
use crate::run::{Metrics, StoredRun, WEIGHTS};

/// What a second execution of a record comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Reproduction {
    /// Every metric and every weight has the same bits.
    Identical {
        /// How many values were compared.
        values: usize,
    },
    /// Computed elsewhere or by other code, and every metric within its stated tolerance.
    Equivalent {
        /// What was different in how it was computed.
        differences: Vec<String>,
        /// The first value that has not the same bits; none where only weights differ.
        first: Option<FirstDifference>,
    },
    /// Not the same.
    Differs {
        /// The first value that should be the same and is not; none where only weights differ.
        first: Option<FirstDifference>,
        /// What was different in how it was computed; empty where nothing was, so that the bits should be the same.
        differences: Vec<String>,
    },
}

/// Compares a run with its second execution, `again`.
///
/// Where device, kernels, precision and code are the same and the device is a CPU, only the same bits will do. Otherwise values are
/// compared within each metric's [`equivalence`](crate::metric::Metric::equivalence).
pub fn compare(
    original: &StoredRun,
    expected: &Metrics,
    again: &StoredRun,
    measured: &Metrics,
) -> Result<Reproduction> {
    let (expected, measured) = (expected.rows()?, measured.rows()?);
    let first = first_difference(&expected, &measured, |_, a, b| same_bits(a, b));
    let weights = |run: &StoredRun| {
        run.record
            .files
            .iter()
            .find(|file| file.path == WEIGHTS)
            .map(|file| file.sha256.clone())
    };
    if first.is_none() && weights(original) == weights(again) {
        return Ok(Reproduction::Identical {
            values: measured.len(),
        });
    }
    let differences = differences(original, again);
    if differences.is_empty() {
        return Ok(Reproduction::Differs { first, differences });
    }
    let beyond = first_difference(&expected, &measured, |name, a, b| {
        metric(name).equivalence.covers(a, b)
    });
    Ok(match beyond {
        None => Reproduction::Equivalent { differences, first },
        Some(beyond) => Reproduction::Differs {
            first: Some(beyond),
            differences,
        },
    })
}

/// What may move bits and is not the same.
fn differences(original: &StoredRun, again: &StoredRun) -> Vec<String> {
    let last = |run: &StoredRun| run.record.last_execution().clone();
    let (then, now) = (last(original), last(again));
    let (before, after) = (&then.environment, &now.environment);
    // A run may have moved between devices.
    let device = |run: &StoredRun| -> Vec<String> {
        let executions = run.record.executions();
        let mut devices: Vec<String> = executions
            .map(|it| it.environment.device_in_words())
            .collect();
        devices.dedup();
        devices
    };
    let pairs = [
        (
            "device",
            device(original).join(", then "),
            device(again).join(", then "),
        ),
        (
            "kernels",
            before.kernel_path.clone(),
            after.kernel_path.clone(),
        ),
        ("code", then.code.summary(), now.code.summary()),
        (
            "code changes",
            then.code.patch_sha256.unwrap_or_default(),
            now.code.patch_sha256.unwrap_or_default(),
        ),
        ("compiler", then.code.rustc, now.code.rustc),
    ];
    let differing = pairs
        .into_iter()
        .filter(|(_, before, after)| before != after);
    let mut differences: Vec<String> = differing
        .map(|(what, before, after)| format!("{what}: {before} → {after}"))
        .collect();
    if device(again) != ["cpu"] {
        differences.push("a CUDA device adds in no fixed order".to_owned());
    }
    differences
}

impl fmt::Display for Reproduction {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let number =
            |value: Option<f64>| value.map_or("nothing".to_owned(), |value| value.to_string());
        let place = |first: &Option<FirstDifference>| match first {
            None => "only trained weights".to_owned(),
            Some(at) => {
                format!(
                    "step {}, {} {}: {} → {}",
                    at.step,
                    at.split,
                    at.metric,
                    number(at.a),
                    number(at.b)
                )
            }
        };
        match self {
            Self::Identical { values } => write!(
                out,
                "identical: {values} values and all weights have the same bits"
            ),
            Self::Equivalent { differences, first } => write!(
                out,
                "equivalent: every value is within its tolerance ({}); the first bits that differ: {}",
                differences.join("; "),
                place(first)
            ),
            Self::Differs { first, differences } if differences.is_empty() => {
                write!(
                    out,
                    "differs, though computed the same way: {}",
                    place(first)
                )
            }
            Self::Differs { first, differences } => {
                write!(
                    out,
                    "differs beyond its tolerance ({}): {}",
                    differences.join("; "),
                    place(first)
                )
            }
        }
    }
}
