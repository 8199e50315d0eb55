//! Whether two executions of a record that were computed otherwise come to the same.
//!
//! On other kernels or another device, or by other code, sums are added in another order. The first steps then agree to rounding; each
//! step multiplies what parts them, until two honest executions of one record are as far apart as two draws of the same training. So
//! early steps are judged by their values, one by one, and what the training came to by how much such an outcome moves by chance:
//!
//! - up to step [`EARLY_STEPS`], every value must be within its metric's [`equivalence`](crate::metric::Metric::equivalence);
//! - at the end, each outcome (the last value on train at a step that both have, the best on valid, the one on test) must be within
//!   its noise: the range of its own curve over the last quarter of the training, but at least [`LEAST_NOISE`] and at most
//!   [`MOST_NOISE`] of its size. Test, which has no curve, has the noise of valid. Batches and gradients between are no outcome;
//! - what no arithmetic moves, such as the learning rate, must be the same throughout, and nothing may be missing.
//!
//! The bounds were chosen on 35 pairs of honest executions (plain, AVX2, AVX-512 and its bf16; token, chord and sigmoid models; learning
//! rates up to fifty times the experiments'). At step 30 their losses parted by at most 5e-4, mostly by 1e-7; their outcomes by at most
//! 3.6 %, also where a curve still fell steeply, mostly by less than 0.5 %. Other seeds part at step 1.

use std::collections::BTreeSet;
use std::fmt;

use super::curve::{FirstDifference, first_difference};
use super::page::significant;
use crate::metric::{Direction, metric};
use crate::run::Row;

/// The last step whose values are compared one by one.
pub const EARLY_STEPS: u64 = 30;
/// The smallest share of an outcome that counts as its noise.
pub const LEAST_NOISE: f64 = 0.05;
/// The largest.
pub const MOST_NOISE: f64 = 0.1;
/// The share of the training, at its end, in which a curve's range tells its noise.
const SETTLED: f64 = 0.25;
/// Shares and accuracies, which may be next to nothing, may part by so much whatever their size.
const LEAST_SHARE: f64 = 0.02;
/// What a run logs that no arithmetic of its model moves.
const UNMOVED: [&str; 2] = ["learning_rate", "unknown_share"];

/// Where two executions part.
#[derive(Debug, Clone, PartialEq)]
pub enum Parting {
    /// No metric does, but weights do.
    Weights,
    /// This value, which only one of them has, or beyond its tolerance.
    Value(FirstDifference),
    /// This outcome, beyond its noise.
    Outcome(Outcome),
}

/// What a training came to in one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The split.
    pub split: String,
    /// The metric.
    pub metric: String,
    /// The record's value.
    pub a: f64,
    /// That of the second execution.
    pub b: f64,
    /// Up to which distance the two count as the same.
    pub noise: f64,
}

/// How many early values there are, and the outcomes; or what is not equivalent. Where training `stops_early`, noise decides when.
pub(super) fn judge(
    expected: &[Row],
    measured: &[Row],
    stops_early: bool,
) -> Result<(usize, Vec<Outcome>), Parting> {
    let equivalent = |name: &str, a: f64, b: f64| metric(name).equivalence.covers(a, b);
    let within = |rows: &[Row], chosen: &dyn Fn(&Row) -> bool| -> Vec<Row> {
        rows.iter().filter(|row| chosen(row)).cloned().collect()
    };
    let is_test = |row: &Row| row.split == "test";
    let same = |chosen: &dyn Fn(&Row) -> bool, same: &dyn Fn(&str, f64, f64) -> bool| {
        let part = first_difference(&within(expected, chosen), &within(measured, chosen), same);
        part.map_or(Ok(()), |part| Err(Parting::Value(part)))
    };
    let is_early = |row: &Row| row.step <= EARLY_STEPS && !is_test(row);
    same(&is_early, &equivalent)?;
    // The test split is scored at the step of the best weights, which noise may move.
    let last = |rows: &[Row]| rows.iter().map(|row| row.step).max().unwrap_or(0);
    let until = match stops_early {
        true => last(expected).min(last(measured)),
        false => u64::MAX,
    };
    let both_have = |row: &Row| !is_test(row) && row.step < until;
    same(&both_have, &|name, a, b| {
        !UNMOVED.contains(&name) || equivalent(name, a, b)
    })?;

    let names = |rows: &[Row]| -> BTreeSet<(String, String)> {
        let names = rows
            .iter()
            .map(|row| (row.split.clone(), row.metric.clone()));
        names.collect()
    };
    let (before, after) = (names(expected), names(measured));
    if let Some((split, name)) = before.symmetric_difference(&after).next() {
        let rows = expected.iter().chain(measured);
        let mut rows = rows.filter(|row| row.split == *split && row.metric == *name);
        let only = rows.next().expect("one of them has it");
        let value = |names: &BTreeSet<_>| {
            let has = names.contains(&(split.clone(), name.clone()));
            has.then_some(only.value)
        };
        return Err(Parting::Value(FirstDifference {
            step: only.step,
            split: split.clone(),
            metric: name.clone(),
            a: value(&before),
            b: value(&after),
        }));
    }
    let mut outcomes = Vec::new();
    for (split, name) in before {
        let kind = metric(&name);
        // What is a function of another metric says the same as it.
        if kind.direction != Direction::Neutral && kind.function_of.is_none() {
            outcomes.push(outcome(expected, measured, split, name));
        }
    }
    match outcomes.iter().find(|outcome| !outcome.is_within_noise()) {
        Some(beyond) => Err(Parting::Outcome(beyond.clone())),
        None => Ok((within(expected, &is_early).len(), outcomes)),
    }
}

/// What both executions came to in a metric that both have.
fn outcome(expected: &[Row], measured: &[Row], split: String, name: String) -> Outcome {
    let curve = |rows: &[Row], split: &str| -> Vec<(u64, f64)> {
        let rows = rows
            .iter()
            .filter(|row| row.split == split && row.metric == name);
        rows.map(|row| (row.step, row.value)).collect()
    };
    let (a, b) = (curve(expected, &split), curve(measured, &split));
    let value = |curve: &[(u64, f64)], other: &[(u64, f64)]| {
        let direction = metric(&name).direction;
        let cost = |point: &&(u64, f64)| direction.cost(point.1);
        let shared = |point: &&(u64, f64)| other.iter().any(|it| it.0 == point.0);
        let chosen = match split.as_str() {
            "valid" => curve.iter().min_by(|a, b| cost(a).total_cmp(&cost(b))),
            "train" => curve.iter().rfind(shared).or(curve.last()),
            _ => curve.last(),
        };
        chosen.map_or(f64::NAN, |point| point.1)
    };
    let (value_a, value_b) = (value(&a, &b), value(&b, &a));
    let telling = if split == "test" {
        curve(expected, "valid")
    } else {
        a
    };
    let end = telling.last().map_or(0, |point| point.0) as f64;
    let settled = telling
        .iter()
        .filter(|it| it.0 as f64 > (1.0 - SETTLED) * end);
    let (low, high) = settled.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), it| {
        (low.min(it.1), high.max(it.1))
    });
    let size = value_a.abs();
    let mut noise = (high - low).max(LEAST_NOISE * size).min(MOST_NOISE * size);
    if metric(&name).unit.is_empty() {
        noise = noise.max(LEAST_SHARE);
    }
    Outcome {
        split,
        metric: name,
        a: value_a,
        b: value_b,
        noise,
    }
}

impl Outcome {
    fn is_within_noise(&self) -> bool {
        self.a == self.b
            || (self.a - self.b).abs() <= self.noise
            || self.a.is_nan() && self.b.is_nan()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let Self {
            split,
            metric,
            a,
            b,
            noise,
        } = self;
        let (a, b, noise) = (
            significant(*a, 6),
            significant(*b, 6),
            significant(*noise, 2),
        );
        write!(out, "{split} {metric}: {a} → {b} (noise: up to {noise})")
    }
}

impl fmt::Display for Parting {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let number =
            |value: Option<f64>| value.map_or("nothing".to_owned(), |value| value.to_string());
        match self {
            Self::Weights => out.write_str("only trained weights"),
            Self::Outcome(outcome) => write!(out, "the outcome, {outcome}"),
            Self::Value(at) => write!(
                out,
                "step {}, {} {}: {} → {}",
                at.step,
                at.split,
                at.metric,
                number(at.a),
                number(at.b)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of a training of ten epochs of ten steps; `shift` moves each value, by step, split and metric.
    fn rows(shift: impl Fn(u64, &str, &str) -> f64) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut add = |step: u64, split: &str, metric: &str, value: f64| {
            rows.push(Row {
                step,
                epoch: step.div_ceil(10) as u32,
                split: split.into(),
                metric: metric.into(),
                value: value + shift(step, split, metric),
            });
        };
        for step in (10..=100).step_by(10) {
            let loss = 2.0 + 3.0 * (-(step as f64) / 10.0).exp();
            add(step, "train", "batch_loss", loss);
            add(step, "train", "learning_rate", 0.1);
            add(step, "train", "loss", loss);
            add(step, "valid", "loss", loss);
            add(step, "valid", "perplexity", loss.exp());
        }
        add(90, "test", "loss", 2.1);
        rows
    }

    fn parting(shift: impl Fn(u64, &str, &str) -> f64) -> Option<Parting> {
        judge(&rows(|_, _, _| 0.0), &rows(shift), false).err()
    }

    #[test]
    fn chaos_in_late_batches_is_equivalent_and_in_early_ones_is_not() {
        let batches_from = |first: u64| {
            move |step, _: &str, metric: &str| {
                let moved = step >= first && metric == "batch_loss";
                f64::from(u8::from(moved)) * 0.5
            }
        };
        assert_eq!(parting(batches_from(EARLY_STEPS + 1)), None);
        let Some(Parting::Value(at)) = parting(batches_from(EARLY_STEPS)) else {
            panic!("an early value was let pass");
        };
        assert_eq!((at.step, at.metric.as_str()), (30, "batch_loss"));
    }

    #[test]
    fn an_outcome_is_judged_by_how_its_curve_moves() {
        let late = |split: &'static str, by: f64| {
            move |step, of: &str, metric: &str| {
                if of == split && metric == "loss" && step > EARLY_STEPS {
                    by
                } else {
                    0.0
                }
            }
        };
        for split in ["train", "valid", "test"] {
            assert_eq!(parting(late(split, 0.08)), None, "{split}");
            let Some(Parting::Outcome(beyond)) = parting(late(split, 0.12)) else {
                panic!("{split} was let pass");
            };
            assert_eq!(
                (beyond.split.as_str(), beyond.metric.as_str()),
                (split, "loss")
            );
        }
        // The same curve while it still falls: what it moves in a quarter of the training is its noise.
        let falling = |step: u64, _: &str, metric: &str| {
            let falls = metric == "loss" && step > 70;
            if falls {
                0.2 * (step as f64 - 100.0) / 30.0
            } else {
                0.0
            }
        };
        let moved = |step: u64, split: &str, metric: &str| {
            falling(step, split, metric) + late("valid", 0.12)(step, split, metric)
        };
        assert!(judge(&rows(falling), &rows(moved), false).is_ok());
    }

    #[test]
    fn what_no_arithmetic_moves_and_what_is_missing_is_told() {
        let rate = |step: u64, _: &str, metric: &str| {
            if metric == "learning_rate" && step == 80 {
                0.01
            } else {
                0.0
            }
        };
        assert!(matches!(parting(rate), Some(Parting::Value(at)) if at.step == 80));
        let whole = rows(|_, _, _| 0.0);
        let without = |gone: &dyn Fn(&Row) -> bool| -> Vec<Row> {
            whole.iter().filter(|row| !gone(row)).cloned().collect()
        };
        let shorter = without(&|row| row.step == 100);
        assert!(judge(&whole, &shorter, false).is_err());
        assert!(
            judge(&whole, &shorter, true).is_ok(),
            "early stopping may end sooner"
        );
        let unscored = without(&|row| row.split == "test");
        let Err(Parting::Value(at)) = judge(&whole, &unscored, true) else {
            panic!("a missing score was let pass");
        };
        assert_eq!((at.split.as_str(), at.a, at.b), ("test", Some(2.1), None));
    }

    #[test]
    fn an_outcome_that_became_no_number_differs() {
        let nan = |_, split: &str, _: &str| if split == "test" { f64::NAN } else { 0.0 };
        assert!(matches!(parting(nan), Some(Parting::Outcome(_))));
        assert!(judge(&rows(nan), &rows(nan), false).is_ok());
    }
}
