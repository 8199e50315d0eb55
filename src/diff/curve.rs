//! Where two runs' curves part.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde::Serialize;

use crate::run::{Row, StoredRun};

use super::measurement::covers_glob;

/// The first measured value that two runs do not share.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FirstDifference {
    /// Optimizer steps completed.
    pub step: u64,
    /// The split.
    pub split: String,
    /// The metric.
    pub metric: String,
    /// The first run's value; absent where it has none.
    pub a: Option<f64>,
    /// The second run's value.
    pub b: Option<f64>,
}

/// The first row, by step, split and metric, that is not in both or whose values are not the `same`.
///
/// `same` is asked with the metric's name and both values. Rows come in any order.
pub fn first_difference(
    a: &[Row],
    b: &[Row],
    same: impl Fn(&str, f64, f64) -> bool,
) -> Option<FirstDifference> {
    type Key<'a> = (u64, &'a str, &'a str);
    fn by_key(rows: &[Row]) -> BTreeMap<Key<'_>, f64> {
        rows.iter()
            .map(|row| {
                (
                    (row.step, row.split.as_str(), row.metric.as_str()),
                    row.value,
                )
            })
            .collect()
    }
    let (a, b) = (by_key(a), by_key(b));
    let keys: BTreeSet<&Key> = a.keys().chain(b.keys()).collect();
    for key in keys {
        let (left, right) = (a.get(key).copied(), b.get(key).copied());
        if !matches!((left, right), (Some(left), Some(right)) if same(key.2, left, right)) {
            let (step, split, metric) = (key.0, key.1.to_string(), key.2.to_string());
            return Some(FirstDifference {
                step,
                split,
                metric,
                a: left,
                b: right,
            });
        }
    }
    None
}

/// Whether two values are the same in every bit, or both NaN.
pub fn same_bits(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

/// Two runs' curves set side by side, over the steps and metrics that both have.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Curves {
    /// How many values both have.
    pub shared: usize,
    /// Where they part; absent where every shared value is the same in every bit.
    pub first_difference: Option<FirstDifference>,
}

/// Sets two runs' curves side by side, of the metrics that `only` matches.
pub(super) fn side_by_side(a: &StoredRun, b: &StoredRun, only: Option<&str>) -> Result<Curves> {
    let (mut a, mut b) = (a.metrics()?.rows()?, b.metrics()?.rows()?);
    let names = |rows: &[Row]| -> BTreeSet<(u64, String, String)> {
        rows.iter()
            .map(|row| (row.step, row.split.clone(), row.metric.clone()))
            .collect()
    };
    let (of_a, of_b) = (names(&a), names(&b));
    let keep = |row: &Row, other: &BTreeSet<(u64, String, String)>| {
        other.contains(&(row.step, row.split.clone(), row.metric.clone()))
            && only.is_none_or(|glob| covers_glob(glob, &row.split, &row.metric))
    };
    a.retain(|row| keep(row, &of_b));
    b.retain(|row| keep(row, &of_a));
    Ok(Curves {
        shared: a.len(),
        first_difference: first_difference(&a, &b, |_, a, b| same_bits(a, b)),
    })
}
