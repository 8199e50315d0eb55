//! Metrics before and after: the values compared, the difference, and what may be concluded from it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::analysis::permutation::holm;
use crate::metric::{Direction, METRICS, metric};
use crate::random::stream;
use crate::run::{Metrics, Point, StoredRun};
use crate::tolerance::{Tolerance, written};

use super::{At, Options};
use crate::statistics::{Interval, bootstrap_difference, mann_whitney, mean, standard_deviation};

/// The chance of a false alarm, over all metrics of a comparison, that a verdict between groups may have.
const SIGNIFICANCE: f64 = 0.05;

/// One metric on one split, before and after.
#[derive(Debug, Clone)]
pub struct Measurement {
    /// The split.
    pub split: String,
    /// The metric's name.
    pub metric: String,
    /// The unit of its values.
    pub unit: &'static str,
    /// Which value is the better one.
    pub direction: Direction,
    /// The values of A's runs that have one.
    pub a: Vec<Measured>,
    /// The values of B's runs.
    pub b: Vec<Measured>,
    /// The difference of the means, B − A, if both sides have values.
    pub delta: Option<f64>,
    /// The difference in percent of A's size; absent where A is 0 or not finite.
    pub delta_percent: Option<f64>,
    /// Up to where a difference counts as none.
    pub tolerance: Tolerance,
    /// What may be concluded.
    pub verdict: Verdict,
    /// Why the verdict is not simply better or worse.
    pub reason: Option<String>,
    /// The test across runs, with two runs a side or more.
    pub test: Option<GroupTest>,
}

/// One run's value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// The run's id.
    pub run: String,
    /// The step at which it was measured.
    pub step: u64,
    /// The value.
    #[serde(skip)]
    pub value: f64,
}

/// What may be concluded from a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// B is better.
    Improved,
    /// B is worse.
    Regressed,
    /// Equal, or within the tolerance.
    NoChange,
    /// Different, and neither is better.
    Changed,
    /// The groups differ, and the runs are too few or too scattered to tell which is better.
    Inconclusive,
    /// Only B has it.
    Added,
    /// Only A has it.
    Removed,
    /// A value is not a number.
    Nan,
}

impl Verdict {
    /// As tables print it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Improved => "improved",
            Self::Regressed => "regressed",
            Self::NoChange => "no change",
            Self::Changed => "changed",
            Self::Inconclusive => "inconclusive",
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Nan => "NaN",
        }
    }
}

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
}

impl Measurement {
    /// The mean of A's runs; absent without any.
    pub fn mean_a(&self) -> Option<f64> {
        mean_of(&self.a)
    }

    /// The mean of B's runs; absent without any.
    pub fn mean_b(&self) -> Option<f64> {
        mean_of(&self.b)
    }

    /// Whether B is worse than A, or became NaN where A was a number.
    pub fn is_regression(&self) -> bool {
        let became_nan =
            self.mean_b().is_some_and(f64::is_nan) && self.mean_a().is_some_and(|it| !it.is_nan());
        self.verdict == Verdict::Regressed || became_nan
    }
}

fn mean_of(side: &[Measured]) -> Option<f64> {
    (!side.is_empty()).then(|| mean(side.iter().map(|it| it.value)))
}

/// Whether the pattern `glob` of `*` and `?` matches `metric` or `split/metric`.
pub fn covers_glob(glob: &str, split: &str, metric: &str) -> bool {
    fn matches(glob: &[u8], text: &[u8]) -> bool {
        match (glob.first(), text.first()) {
            (None, None) => true,
            (Some(b'*'), _) => {
                matches(&glob[1..], text) || (!text.is_empty() && matches(glob, &text[1..]))
            }
            (Some(b'?'), Some(_)) => matches(&glob[1..], &text[1..]),
            (Some(wanted), Some(found)) => wanted == found && matches(&glob[1..], &text[1..]),
            _ => false,
        }
    }
    matches(glob.as_bytes(), metric.as_bytes())
        || matches(glob.as_bytes(), format!("{split}/{metric}").as_bytes())
}

/// Every metric that either side has, and apart what the clock said.
pub fn measure(
    a: &[&StoredRun],
    b: &[&StoredRun],
    options: &Options,
) -> Result<(Vec<Measurement>, Vec<Measurement>)> {
    let tolerances = Tolerances::of(a, b)?;
    let logged = |runs: &[&StoredRun]| {
        runs.iter()
            .map(|it| Ok((it.id.clone(), it.metrics()?)))
            .collect::<Result<Vec<_>>>()
    };
    let mut rows = pair_up(&logged(a)?, &logged(b)?, options, &tolerances)?;
    judge_groups(&mut rows, a.len() > 1 || b.len() > 1);
    // An old or published record may lack the clock's table.
    let clocked = |runs: &[&StoredRun]| {
        let has = |run: &&&StoredRun| run.has("timings.parquet") || run.record.files.is_empty();
        runs.iter()
            .filter(has)
            .map(|it| Ok((it.id.clone(), it.timings()?)))
            .collect::<Result<Vec<_>>>()
    };
    let timings = pair_up(
        &clocked(a)?,
        &clocked(b)?,
        &Options {
            at: At::Last,
            only: options.only.clone(),
        },
        &tolerances,
    )?;
    Ok((rows, timings))
}

/// The tolerances that the experiments of both sides write; A's come first.
struct Tolerances(Vec<BTreeMap<String, Tolerance>>);

impl Tolerances {
    fn of(a: &[&StoredRun], b: &[&StoredRun]) -> Result<Self> {
        let of_run = |run: &&StoredRun| {
            written(&run.experiment_yaml()?).with_context(|| format!("run {}", run.id))
        };
        Ok(Self(a.iter().chain(b).map(of_run).collect::<Result<_>>()?))
    }

    fn get(&self, name: &str) -> Tolerance {
        let written = self.0.iter().find_map(|written| written.get(name));
        written.copied().unwrap_or(metric(name).tolerance)
    }
}

type Logged = [(String, Metrics)];

fn pair_up(
    a: &Logged,
    b: &Logged,
    options: &Options,
    tolerances: &Tolerances,
) -> Result<Vec<Measurement>> {
    let mut names = BTreeSet::new();
    for (_, metrics) in a.iter().chain(b) {
        names.extend(metrics.names()?);
    }
    let mut names: Vec<(String, String)> = names.into_iter().collect();
    let place = |name: &str| {
        METRICS
            .iter()
            .position(|it| it.name == name)
            .unwrap_or(METRICS.len())
    };
    let split_place = |name: &str| {
        ["test", "valid", "train"]
            .iter()
            .position(|it| *it == name)
            .unwrap_or(3)
    };
    names.sort_by_key(|(split, name)| (split_place(split), place(name), name.clone()));

    let mut rows = Vec::new();
    for (split, name) in names {
        if options
            .only
            .as_deref()
            .is_some_and(|glob| !covers_glob(glob, &split, &name))
        {
            continue;
        }
        let kind = metric(&name);
        let values = |side: &Logged| -> Result<Vec<Measured>> {
            let mut values = Vec::new();
            for (run, metrics) in side {
                if let Some(point) =
                    choose(&metrics.series(&split, &name)?, options.at, kind.direction)
                {
                    values.push(Measured {
                        run: run.clone(),
                        step: point.step,
                        value: point.value,
                    });
                }
            }
            Ok(values)
        };
        let (a, b) = (values(a)?, values(b)?);
        if a.is_empty() && b.is_empty() {
            continue;
        }
        let mut row = Measurement {
            split,
            tolerance: tolerances.get(&name),
            metric: name,
            unit: kind.unit,
            direction: kind.direction,
            a,
            b,
            delta: None,
            delta_percent: None,
            verdict: Verdict::NoChange,
            reason: None,
            test: None,
        };
        judge(&mut row);
        rows.push(row);
    }
    Ok(rows)
}

/// The point of a curve that is compared: the earliest best, the last, or the one at a step.
fn choose(curve: &[Point], at: At, direction: Direction) -> Option<Point> {
    match at {
        At::Step(step) => curve.iter().find(|it| it.step == step).copied(),
        At::Best if direction != Direction::Neutral => {
            let better = |best: Point, point: &Point| {
                if best.value.is_nan() || direction.is_better(point.value, best.value) {
                    *point
                } else {
                    best
                }
            };
            let first = *curve.first()?;
            Some(curve.iter().fold(first, better))
        }
        At::Best | At::Last => curve.last().copied(),
    }
}

/// What the means say by themselves: exact values need no test.
fn judge(row: &mut Measurement) {
    let (a, b) = match (row.mean_a(), row.mean_b()) {
        (Some(a), Some(b)) => (a, b),
        (a, _) => {
            row.verdict = if a.is_none() {
                Verdict::Added
            } else {
                Verdict::Removed
            };
            return;
        }
    };
    if a.is_nan() || b.is_nan() {
        row.verdict = Verdict::Nan;
        let side = if a.is_nan() && b.is_nan() {
            "A and B are"
        } else if a.is_nan() {
            "A is"
        } else {
            "B is"
        };
        row.reason = Some(format!("{side} not a number"));
        return;
    }
    // Equal infinities differ by nothing, not by NaN.
    let delta = if a == b { 0.0 } else { b - a };
    row.delta = Some(delta);
    row.delta_percent = (a != 0.0 && a.is_finite()).then(|| 100.0 * delta / a.abs());
    row.verdict = if row.tolerance.covers(a, b) {
        if delta != 0.0 {
            row.reason = Some("within the tolerance".into());
        }
        Verdict::NoChange
    } else if row.direction.is_better(b, a) {
        Verdict::Improved
    } else if row.direction.is_better(a, b) {
        Verdict::Regressed
    } else {
        Verdict::Changed
    };
}

/// With several runs a side, a verdict between them needs a test across runs, corrected for the number of tests.
fn judge_groups(rows: &mut [Measurement], grouped: bool) {
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
