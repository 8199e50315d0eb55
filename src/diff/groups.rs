//! Verdicts between groups of runs: an exact test across runs, corrected for the number of tests.

use super::measurement::{Measured, Measurement, Verdict};
use crate::analysis::permutation::holm;
use crate::metric::{Direction, metric};
use crate::random::stream;
use crate::statistics::{
    Interval, bootstrap_difference, half_width, mann_whitney, standard_deviation,
};

/// The chance of a false alarm, over all metrics of a comparison, that a verdict between groups may have.
const SIGNIFICANCE: f64 = 0.05;

/// A test across runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupTest {
    /// Mann-Whitney's U of A.
    pub u: f64,
    /// The exact two-sided p-value.
    pub p: f64,
    /// The p-value corrected for the number of tests (Holm): metrics that say the same, such as loss and perplexity, are one.
    pub p_holm: f64,
    /// The smallest p-value that so many runs could have given.
    pub smallest_p: f64,
    /// The bootstrap interval of the difference of means.
    pub interval: Option<Interval>,
    /// The standard deviation of A's runs.
    pub deviation_a: f64,
    /// The standard deviation of B's runs.
    pub deviation_b: f64,
    /// Half of the 95 % interval of A's mean by Student's t; absent where all runs have the same value.
    pub half_width_a: Option<f64>,
    /// Half of that of B's mean.
    pub half_width_b: Option<f64>,
}

/// With several runs a side, a verdict between them needs a test across runs, corrected for the number of tests.
pub(super) fn judge_groups(rows: &mut [Measurement], grouped: bool) {
    if !grouped {
        return;
    }
    let mut tested = Vec::new();
    for (index, row) in rows.iter_mut().enumerate() {
        let judged = matches!(
            row.verdict,
            Verdict::Improved | Verdict::Regressed | Verdict::NoChange
        );
        if row.direction == Direction::Neutral || !judged {
            continue;
        }
        let values = |side: &[Measured]| side.iter().map(|it| it.value).collect::<Vec<f64>>();
        let (a, b) = (values(&row.a), values(&row.b));
        if a.len() < 2 || b.len() < 2 {
            conclude_nothing(
                row,
                format!(
                    "no test: n = {} and {}, and one run has no spread",
                    a.len(),
                    b.len()
                ),
            );
            continue;
        }
        let Some(test) = mann_whitney(&a, &b) else {
            conclude_nothing(row, format!("no exact test of {} runs", a.len() + b.len()));
            continue;
        };
        let mut rng = stream(0, &format!("diff bootstrap {}/{}", row.split, row.metric));
        row.test = Some(GroupTest {
            u: test.u,
            p: test.p,
            p_holm: test.p,
            smallest_p: test.smallest_p,
            interval: bootstrap_difference(&a, &b, &mut rng),
            deviation_a: standard_deviation(&a),
            deviation_b: standard_deviation(&b),
            half_width_a: half_width(&a),
            half_width_b: half_width(&b),
        });
        tested.push(index);
    }
    correct(rows, &tested);
}

/// Corrects the tests of `rows[tested]` for their number, and takes back the verdicts that do not stand it. Metrics that say the
/// same of the runs are one test.
fn correct(rows: &mut [Measurement], tested: &[usize]) {
    let mut families: Vec<Vec<usize>> = Vec::new();
    for &at in tested {
        match families
            .iter_mut()
            .find(|family| say_the_same(&rows[family[0]], &rows[at]))
        {
            Some(family) => family.push(at),
            None => families.push(vec![at]),
        }
    }
    let p = |at: usize| rows[at].test.map_or(1.0, |test| test.p);
    let ps: Vec<f64> = families.iter().map(|family| p(family[0])).collect();
    let tests = ps.len();
    for (family, corrected) in families.into_iter().zip(holm(&ps)) {
        for at in family {
            let row = &mut rows[at];
            let Some(test) = &mut row.test else { continue };
            test.p_holm = corrected.max(test.p);
            if test.p_holm > SIGNIFICANCE {
                let (n_a, n_b) = (row.a.len(), row.b.len());
                let smallest = test.smallest_p;
                let reason = if smallest * tests as f64 > SIGNIFICANCE {
                    format!(
                        "n = {n_a} and {n_b} cannot give p below {smallest:.2} in one test, and this is one of {tests}"
                    )
                } else {
                    format!("n = {n_a} and {n_b}: such a difference is not rare among equal groups")
                };
                conclude_nothing(row, reason);
            }
        }
    }
}

/// Whether `later` only repeats what `earlier` says of the runs: it is a function of it, or the same numbers under another name
/// (as a model of keys logs its loss).
fn say_the_same(earlier: &Measurement, later: &Measurement) -> bool {
    earlier.split == later.split
        && (metric(&later.metric).function_of == Some(earlier.metric.as_str())
            || earlier.a == later.a && earlier.b == later.b)
}

fn conclude_nothing(row: &mut Measurement, reason: String) {
    if row.verdict != Verdict::NoChange {
        row.verdict = Verdict::Inconclusive;
        row.reason = Some(reason);
    }
}
