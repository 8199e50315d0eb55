//! A record and its second execution → identical, equivalent, or where they part.

use std::fmt;

use anyhow::Result;

use super::curve::{FirstDifference, first_difference, same_bits};
use crate::metric::metric;
use crate::run::{Execution, Metrics, StoredRun, WEIGHTS};

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
    // A run may have moved between devices, and been resumed by another build.
    let each = |run: &StoredRun, of: fn(&Execution) -> String| {
        let mut values: Vec<String> = run.record.executions().map(of).collect();
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
