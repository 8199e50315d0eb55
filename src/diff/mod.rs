//! Two runs, or two groups of runs, compared: what differs in what went in, then what came out, with a verdict.
//!
//! ```text
//! runs → configuration (what went in) → measurement (metrics, verdicts) · curve · evaluation → page (text, Markdown), json, csv
//! ```
//! Values of a record are compared exactly unless its experiment gives a tolerance, and only where they are of the same predictions
//! (`comparability`). With several runs a side the verdict comes from an exact test across runs; with one a side there is no test, and
//! the spread over held-out pieces is given as what it is. No p-value is given that the data cannot carry.

mod comparability;
mod configuration;
pub mod curve;
pub mod equivalence;
mod evaluation;
mod export;
mod groups;
mod measurement;
mod page;
pub mod reproduction;
#[cfg(test)]
mod tests;

use std::str::FromStr;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::bail_usage;
use crate::ensure_usage;
use crate::metric::Direction;
use crate::run::StoredRun;
use comparability::Comparability;

pub use configuration::Difference;
pub use curve::{Curves, FirstDifference, first_difference};
pub use evaluation::PieceNoise;
pub use export::{to_csv, to_json};
pub use groups::GroupTest;
pub use measurement::{Measured, Measurement, Verdict, covers_glob};
pub use page::{significant, to_markdown, to_text};

/// Which value of a curve is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The best, by the metric's direction; the last of a metric that has none.
    Best,
    /// The last.
    Last,
    /// The one at this step.
    Step(u64),
}

impl FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "best" => Ok(Self::Best),
            "last" => Ok(Self::Last),
            _ => text
                .parse()
                .map(Self::Step)
                .map_err(|_| format!("'{text}' is neither best, last nor a step")),
        }
    }
}

impl std::fmt::Display for At {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Best => formatter.write_str("best"),
            Self::Last => formatter.write_str("last"),
            Self::Step(step) => write!(formatter, "step {step}"),
        }
    }
}

/// What is compared, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which value of each curve.
    pub at: At,
    /// Only metrics whose name, or `split/name`, matches this pattern of `*` and `?`.
    pub only: Option<String>,
}

/// A run, as a comparison names it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunName {
    /// Its id.
    pub id: String,
    /// Its experiment.
    pub experiment: String,
    /// Its seed.
    pub seed: u64,
    /// How it stands.
    pub state: String,
    /// The last step that it logged.
    pub step: u64,
}

/// Everything that `harness diff` tells.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The runs before.
    pub a: Vec<RunName>,
    /// The runs after.
    pub b: Vec<RunName>,
    /// Which value of each curve was compared.
    pub at: At,
    /// What differs in what went in, and nothing that does not.
    pub differences: Vec<Difference>,
    /// What came out, by metric, in the order of [`crate::metric::METRICS`].
    pub measurements: Vec<Measurement>,
    /// What the clock said. It depends on the machine and its load and is no part of any verdict.
    pub timings: Vec<Measurement>,
    /// With one run a side: their curves side by side.
    pub curves: Option<Curves>,
    /// With one run a side: how far the choice of held-out pieces could move the difference.
    pub piece_noise: Vec<PieceNoise>,
    /// What a reader must know to read the rest.
    pub notes: Vec<String>,
}

impl Comparison {
    /// The metrics that a test says are worse, or that became NaN: `split/metric`.
    pub fn regressions(&self) -> Vec<String> {
        self.named(Measurement::is_regression)
    }

    /// The metrics that are worse, but in no test: with one run on a side there is none.
    pub fn untested_regressions(&self) -> Vec<String> {
        self.named(|it| it.is_untested_regression())
    }

    /// The metrics that could be better or worse, and are not of the same predictions.
    pub fn not_comparable(&self) -> Vec<String> {
        self.named(|it| it.verdict == Verdict::NotComparable && it.direction != Direction::Neutral)
    }

    fn named(&self, chosen: impl Fn(&Measurement) -> bool) -> Vec<String> {
        let chosen = self.measurements.iter().filter(|it| chosen(it));
        chosen
            .map(|it| format!("{}/{}", it.split, it.metric))
            .collect()
    }
}

/// Compares the runs `a` (before) with the runs `b` (after).
pub fn compare(a: &[StoredRun], b: &[StoredRun], options: &Options) -> Result<Comparison> {
    ensure_usage!(
        !a.is_empty() && !b.is_empty(),
        "a comparison needs at least one run a side"
    );
    let mut notes = Vec::new();
    let grouped = a.len() > 1 || b.len() > 1;
    for run in a {
        if let Some(same) = b.iter().find(|it| it.path == run.path) {
            if grouped {
                bail_usage!(
                    "run {} is on both sides: a run can only be in one group",
                    same.id
                );
            }
            notes.push(format!("A and B are the same run, {}", same.id));
        }
    }
    let (a, b) = (distinct(a, "A", &mut notes)?, distinct(b, "B", &mut notes)?);
    let mut runs: Vec<&StoredRun> = a.iter().chain(&b).copied().collect();
    runs.dedup_by(|one, other| one.path == other.path);
    note_states(runs.into_iter(), &mut notes);
    let differences = configuration::differences(&a, &b)?;
    let every: Vec<&StoredRun> = a.iter().chain(&b).copied().collect();
    let comparability = Comparability::of(&every)?;
    let (measurements, timings) = measurement::measure(&a, &b, options, &comparability)?;
    if measurements.is_empty() {
        match &options.only {
            Some(glob) => bail_usage!("no metric at {} matches '{glob}'", options.at),
            None => bail_usage!("no metric was logged at {} on either side", options.at),
        }
    }
    let (mut curves, mut piece_noise) = (None, Vec::new());
    if let ([a], [b]) = (&a[..], &b[..]) {
        curves = Some(curve::side_by_side(a, b, options.only.as_deref())?);
        piece_noise = match comparability.why_not("nll_per_step") {
            None => evaluation::piece_noise(a, b, &mut notes)?,
            Some(_) => Vec::new(),
        };
    }
    let name = |runs: &[&StoredRun]| runs.iter().map(|it| run_name(it)).collect();
    Ok(Comparison {
        a: name(&a),
        b: name(&b),
        at: options.at,
        differences,
        measurements,
        timings,
        curves,
        piece_noise,
        notes,
    })
}

fn run_name(run: &StoredRun) -> RunName {
    RunName {
        id: run.id.clone(),
        experiment: run.record.experiment.clone(),
        seed: run.record.seed,
        state: run.state().to_string(),
        step: run.record.step,
    }
}

/// The runs of a group without those that only repeat another: the same experiment, seed and corpus give the same
/// numbers, so a repetition is no further observation.
fn distinct<'a>(
    runs: &'a [StoredRun],
    side: &str,
    notes: &mut Vec<String>,
) -> Result<Vec<&'a StoredRun>> {
    let mut kept: Vec<(&StoredRun, _)> = Vec::new();
    for run in runs {
        let yaml = run
            .experiment_yaml()
            .with_context(|| format!("failed to read the experiment of run {}", run.id))?;
        let fingerprint = run.record.corpus.as_ref().map(|it| it.fingerprint.clone());
        let record = &run.record;
        let identity = (
            yaml,
            record.seed,
            record.smoke,
            record.concluded_at,
            fingerprint,
        );
        match kept.iter().find(|(_, known)| *known == identity) {
            Some((first, _)) => notes.push(format!(
                "run {} of {side} repeats run {} (same experiment, seed and corpus) and counts once with it",
                run.id, first.id
            )),
            None => kept.push((run, identity)),
        }
    }
    Ok(kept.into_iter().map(|(run, _)| run).collect())
}

fn note_states<'a>(runs: impl Iterator<Item = &'a StoredRun>, notes: &mut Vec<String>) {
    for run in runs {
        let (state, step) = (run.state(), run.record.step);
        if state != crate::run::State::Finished {
            notes.push(format!(
                "run {} is not finished ({state}): its metrics end at step {step}",
                run.id
            ));
        }
        if run.record.smoke {
            notes.push(format!(
                "run {} is a smoke run: its numbers only show that the path works",
                run.id
            ));
        }
    }
}
