//! Metrics before and after: the values compared, the difference, and what may be concluded from it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::metric::{Direction, METRICS, metric};
use crate::run::{Metrics, Point, StoredRun};
use crate::tolerance::{Tolerance, written};

use super::comparability::Comparability;
use super::groups::{GroupTest, judge_groups};
use super::{At, Options};
use crate::statistics::mean;

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
    /// The values are not of the same predictions, so that neither is better.
    NotComparable,
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
            Self::NotComparable => "not comparable",
        }
    }
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

    /// Whether a test says that B is worse than A, or B became NaN where A was a number.
    pub fn is_regression(&self) -> bool {
        let became_nan =
            self.mean_b().is_some_and(f64::is_nan) && self.mean_a().is_some_and(|it| !it.is_nan());
        self.verdict == Verdict::Regressed && self.test.is_some() || became_nan
    }

    /// Whether B is worse than A beyond the tolerance and no test can say whether that is more than chance.
    pub fn is_untested_regression(&self) -> bool {
        let worse = |a: f64, b: f64| self.direction.is_better(a, b) && !self.tolerance.covers(a, b);
        self.verdict != Verdict::NotComparable
            && self.test.is_none()
            && self
                .mean_a()
                .zip(self.mean_b())
                .is_some_and(|(a, b)| worse(a, b))
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
    comparability: &Comparability,
) -> Result<(Vec<Measurement>, Vec<Measurement>)> {
    let tolerances = Tolerances::of(a, b)?;
    let logged = |runs: &[&StoredRun]| {
        runs.iter()
            .map(|it| Ok((it.id.clone(), it.metrics()?)))
            .collect::<Result<Vec<_>>>()
    };
    let mut rows = pair_up(&logged(a)?, &logged(b)?, options, &tolerances)?;
    rows.iter_mut()
        .for_each(|row| refuse_others(row, comparability));
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

/// Takes back the verdict between values that are not of the same predictions, and their difference.
fn refuse_others(row: &mut Measurement, comparability: &Comparability) {
    if row.delta.is_none() {
        return; // One side has no number.
    }
    if let Some(why) = comparability.why_not(&row.metric) {
        (row.delta, row.delta_percent) = (None, None);
        row.verdict = Verdict::NotComparable;
        row.reason = Some(why);
    }
}
