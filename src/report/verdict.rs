//! What each claim of the paper comes to by the runs of an experiment, and how strong that is.
//!
//! A sentence about a figure is judged by one statistic, [`crate::analysis::Structure`], in the embedding's space and on the drawn
//! maps, for every training seed; p-values are adjusted over all figure tests of the report. A sentence about learning is judged by
//! the valid and the test score against a baseline. A number is judged by its tolerance.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::group::Group;
use super::record::RunRecord;
use super::seeds::OverSeeds;
use crate::analysis::permutation::holm;
use crate::analysis::{
    AnalysisConfig, Outcome, Question, Spaces, Structure, maps_of, played_by_rows,
};
use crate::claim::{Claim, ClaimKind, Expected, LearningSentence, Verdict};
use crate::run::State;

/// The fewest training seeds with which a finding is not provisional.
pub const FEWEST_SEEDS: usize = 3;

/// One figure test, and what it comes to among those of the report.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tested {
    /// The statistic.
    pub structure: Structure,
    /// Its p-value, adjusted over all figure tests of the report.
    pub p_holm: f64,
    /// What it says.
    pub outcome: Outcome,
}

/// Every figure test of a report, by run and question.
#[derive(Debug, Clone, Default)]
pub struct FigureTests {
    by_run: BTreeMap<(String, Question), Spaces<Tested>>,
}

impl FigureTests {
    /// Makes the tests that the claims ask of the runs that count, and adjusts their p-values together.
    pub fn of<'a>(asked: impl Iterator<Item = (&'a RunRecord, &'a [Claim])>) -> Self {
        let asked: Vec<(&RunRecord, Question)> = asked
            .filter(|(run, _)| run.counts())
            .flat_map(|(run, claims)| {
                let questions = claims
                    .iter()
                    .filter_map(|it| Some(it.figure.as_ref()?.question));
                questions.map(move |question| (run, question))
            })
            .collect();
        let found: Vec<((String, Question), Spaces<Structure>)> = asked
            .into_par_iter()
            .filter_map(|(run, question)| Some(((run.name(), question), ask(run, question)?)))
            .collect();
        let p_values: Vec<f64> = found
            .iter()
            .flat_map(|(_, spaces)| spaces.named().map(|(_, it)| it.p_value))
            .collect();
        let adjusted = holm(&p_values);
        let by_run = found
            .into_iter()
            .zip(adjusted.chunks(2))
            .map(|((key, spaces), p)| {
                let tested = |structure: Structure, p_holm: f64| Tested {
                    structure,
                    p_holm,
                    outcome: structure.outcome(p_holm),
                };
                let spaces = Spaces {
                    embedding: tested(spaces.embedding, p[0]),
                    map: tested(spaces.map, p[1]),
                };
                (key, spaces)
            })
            .collect();
        Self { by_run }
    }

    /// How many tests were read together.
    pub fn family(&self) -> usize {
        2 * self.by_run.len()
    }

    fn get(&self, run: &RunRecord, question: Question) -> Option<Spaces<Tested>> {
        self.by_run.get(&(run.name(), question)).copied()
    }
}

/// What a question finds in the first map of a run's record.
fn ask(run: &RunRecord, question: Question) -> Option<Spaces<Structure>> {
    let (name, rows) = run.notes.first()?;
    // The map of means holds every token of a kind and pitch, so its counts are those of the notes played.
    let counted = run.notes.iter().find(|(name, _)| name == "mean");
    let played = played_by_rows(counted.map_or(rows, |(_, rows)| rows));
    let maps = maps_of(name, rows, &run.points);
    let config = run.resolved.get("analysis").cloned();
    let config: AnalysisConfig = config
        .and_then(|it| serde_json::from_value(it).ok())
        .unwrap_or_default();
    question.ask(rows, &played, &maps, &config)
}

/// A run's held-out scores beside a baseline's, in nats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores {
    /// The best on valid.
    pub valid: f64,
    /// The baseline's on valid.
    pub valid_baseline: f64,
    /// That of the weights best on valid, on test.
    pub test: f64,
    /// The baseline's on test.
    pub test_baseline: f64,
    /// Whether the valid score has stopped falling: see [`has_plateau`].
    pub plateau: bool,
}

impl Scores {
    /// The scores of a run in nats per step where it has them, else per token; `None` if it lacks one of them.
    pub fn of(run: &RunRecord, baseline: &str) -> Option<Self> {
        let number = |name: String| run.number(&name).filter(|it| it.is_finite());
        let valid_baseline = number(format!("baseline.{baseline}.valid"))?;
        let density = run.metrics.iter().any(|row| row.metric == "nll_per_step");
        let metric = if density { "nll_per_step" } else { "loss" };
        let rows = run.metrics.iter();
        let curve: Vec<(f64, f64)> = rows
            .filter(|row| row.split == "valid" && row.metric == metric)
            .map(|row| (row.step as f64, row.value))
            .collect();
        Some(Self {
            valid: number(format!("valid.{metric}.best"))?,
            valid_baseline,
            test: number(format!("test.{metric}.last"))?,
            test_baseline: number(format!("baseline.{baseline}.test"))?,
            plateau: has_plateau(&curve, valid_baseline),
        })
    }

    /// Whether the model beats the baseline, on valid and on test. Not to beat it counts only once the score has stopped falling.
    pub fn beats(&self) -> [bool; 2] {
        [
            self.valid < self.valid_baseline,
            self.test < self.test_baseline,
        ]
    }

    fn verdict(&self, expected: Expected) -> Verdict {
        if self.beats() == [false, false] && !self.plateau {
            return Verdict::NotLearnedYet;
        }
        Verdict::of_sentence(expected, &self.beats().map(Some))
    }
}

/// Whether a falling score, continued as a straight line at the rate of the last third of its points for as many steps as were
/// trained already, stays above `goal`. A curve flattens, so this calls a plateau late rather than early.
///
/// `curve` holds steps and scores. Fewer than three points show no plateau.
pub fn has_plateau(curve: &[(f64, f64)], goal: f64) -> bool {
    let n = curve.len();
    if n < 3 {
        return false;
    }
    let (last_step, last) = curve[n - 1];
    let (step, score) = curve[n - 1 - (n / 3).max(1)];
    let rate = ((score - last) / (last_step - step)).max(0.0);
    last - rate * last_step >= goal
}

/// How much stands behind a verdict on a sentence.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Strength {
    /// How many training seeds were run.
    pub seeds: usize,
    /// The fewest epochs of a seed as a share of the paper's, or of those planned where the paper gives none.
    pub epochs_share: Option<f64>,
    /// What makes the verdict provisional; empty if nothing does.
    pub provisional: Vec<String>,
}

impl Strength {
    fn of(group: &Group, paper_epochs: Option<f64>) -> Self {
        let share = |run: &RunRecord| {
            let planned = run.number("training.epochs_planned");
            let planned = planned.or_else(|| run.number("experiment.training.epochs"));
            let trained = run
                .number("training.epochs")
                .unwrap_or(f64::from(run.stored.record.epoch));
            Some(trained / paper_epochs.or(planned)?)
        };
        // A run that its own rule for stopping ended has nothing more to learn.
        let falls = |run: &RunRecord| {
            let steps = run
                .number("training.steps")
                .zip(run.number("training.best.step"));
            steps.is_none_or(|(steps, best)| best >= steps)
        };
        let shares: Vec<(f64, bool)> = group
            .runs()
            .iter()
            .filter_map(|run| Some((share(run)?, falls(run))))
            .collect();
        let seeds = group.runs().len();
        let mut provisional = Vec::new();
        if seeds < FEWEST_SEEDS {
            let plural = if seeds == 1 { "" } else { "s" };
            provisional.push(format!("{seeds} training seed{plural}"));
        }
        if shares.iter().any(|(share, falls)| *share < 1.0 && *falls) {
            provisional.push("training ended while the held-out score still fell".to_owned());
        }
        Self {
            seeds,
            epochs_share: shares.iter().map(|it| it.0).reduce(f64::min),
            provisional,
        }
    }

    /// The strength in a word.
    pub fn name(&self) -> &'static str {
        match self.provisional.is_empty() {
            true => "established",
            false => "provisional",
        }
    }
}

/// What a claim comes to by one run.
#[derive(Debug, Clone, PartialEq)]
pub struct SeedJudged {
    /// The training seed.
    pub seed: u64,
    /// The run, by experiment and id.
    pub run: String,
    /// The verdict.
    pub verdict: Verdict,
    /// The tests behind a sentence about a figure.
    pub figure: Option<Spaces<Tested>>,
    /// The scores behind a sentence about learning.
    pub scores: Option<Scores>,
}

/// One claim judged by the runs of an experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The claim.
    pub claim: Claim,
    /// A claim's number by seed: of a sentence about a figure, the smaller lift of its two spaces; of one about learning, the score
    /// on test.
    pub measured: OverSeeds,
    /// What it comes to.
    pub verdict: Verdict,
    /// What it comes to for each seed.
    pub by_seed: Vec<SeedJudged>,
    /// How much stands behind it.
    pub strength: Strength,
    /// What a reader should know of the corpus, if it is not the paper's own.
    pub corpus: Option<String>,
    /// The same in a word or two, for every row.
    pub corpus_word: Option<&'static str>,
}

impl Judged {
    /// What the claim is for.
    pub fn kind(&self) -> ClaimKind {
        self.claim.kind()
    }
}

/// Judges every claim by the runs of `group`. Without a finished run at full size, that is "not run".
pub fn judge(claims: &[Claim], group: Option<&Group>, tests: &FigureTests) -> Vec<Judged> {
    let about_epochs = claims
        .iter()
        .find(|claim| claim.metric.as_deref() == Some("training.epochs"));
    let paper_epochs = about_epochs.and_then(|claim| claim.value);
    claims
        .iter()
        .map(|claim| match group {
            Some(group) => judge_by(claim, group, tests, paper_epochs),
            None => Judged {
                claim: claim.clone(),
                measured: OverSeeds::new(Vec::new()),
                verdict: Verdict::NotRun("no finished run".to_owned()),
                by_seed: Vec::new(),
                strength: Strength::default(),
                corpus: None,
                corpus_word: None,
            },
        })
        .collect()
}

fn judge_by(
    claim: &Claim,
    group: &Group,
    tests: &FigureTests,
    paper_epochs: Option<f64>,
) -> Judged {
    let identity = group.shown().stored.record.corpus.as_ref();
    let by_seed: Vec<SeedJudged> = group
        .runs()
        .iter()
        .map(|run| judge_run(claim, run, tests))
        .collect();
    let number_of = |run: &RunRecord| {
        let judged = by_seed.iter().find(|it| it.run == run.name())?;
        if let Some(figure) = judged.figure {
            let lifts = figure.named().map(|(_, it)| it.structure.lift);
            return Some(lifts[0].min(lifts[1]));
        }
        if let Some(scores) = judged.scores {
            return Some(scores.test);
        }
        run.number(claim.metric.as_deref().filter(|_| run.counts())?)
    };
    let verdicts: Vec<Verdict> = by_seed.iter().map(|it| it.verdict.clone()).collect();
    Judged {
        measured: group.over_seeds(number_of),
        verdict: Verdict::of_seeds(&verdicts),
        strength: Strength::of(group, paper_epochs),
        by_seed,
        corpus: identity
            .filter(|corpus| corpus.synthetic || corpus.stand_in.is_some())
            .map(|_| group.shown().corpus_in_full()),
        corpus_word: identity.and_then(|corpus| match (corpus.synthetic, &corpus.stand_in) {
            (true, _) => Some("synthetic corpus"),
            (false, Some(_)) => Some("stand-in corpus"),
            (false, None) => None,
        }),
        claim: claim.clone(),
    }
}

/// What `claim` comes to by one run.
fn judge_run(claim: &Claim, run: &RunRecord, tests: &FigureTests) -> SeedJudged {
    let figure = claim
        .figure
        .as_ref()
        .and_then(|it| tests.get(run, it.question));
    let learning = claim.learning.as_ref().filter(|_| run.counts());
    let scores = learning.and_then(|it: &LearningSentence| Scores::of(run, it.baseline.name()));
    let verdict = if let Some(why) = unjudged(claim, run) {
        why
    } else if let Some(sentence) = &claim.figure {
        match figure {
            Some(spaces) => {
                let found = spaces.named().map(|(_, it)| match it.outcome {
                    Outcome::Present => Some(true),
                    Outcome::Absent => Some(false),
                    Outcome::Undecided => None,
                });
                Verdict::of_sentence(sentence.expect, &found)
            }
            None => Verdict::NotRun("the run drew no map with enough points".to_owned()),
        }
    } else if let Some(sentence) = &claim.learning {
        match scores {
            Some(scores) => scores.verdict(sentence.expect),
            None => {
                Verdict::NotRun("the run has no held-out scores beside the baseline's".to_owned())
            }
        }
    } else {
        claim.judge(&|name| run.number(name))
    };
    SeedJudged {
        seed: run.stored.record.seed,
        run: run.name(),
        verdict,
        figure,
        scores,
    }
}

/// Why a run judges nothing, if it does not.
fn unjudged(claim: &Claim, run: &RunRecord) -> Option<Verdict> {
    let identity = run.stored.record.corpus.as_ref();
    if let Some(why) = &claim.not_comparable {
        Some(Verdict::NotComparable(why.clone()))
    } else if run.stored.record.smoke {
        Some(Verdict::NotRun(
            "a smoke run's numbers mean nothing".to_owned(),
        ))
    } else if run.state != State::Finished {
        Some(Verdict::NotRun("the run has not finished".to_owned()))
    } else if identity.is_some_and(|corpus| corpus.synthetic) {
        Some(Verdict::NotComparable("the corpus is synthetic".to_owned()))
    } else {
        run.why_not_the_experiment().map(Verdict::NotComparable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_that_still_falls_fast_enough_to_reach_the_goal_has_no_plateau() {
        let curve = |scores: &[f64]| -> Vec<(f64, f64)> {
            scores
                .iter()
                .enumerate()
                .map(|(i, score)| (i as f64 + 1.0, *score))
                .collect()
        };
        // 0.2 an epoch for six more epochs would end at 7.8.
        let falling = curve(&[10.0, 9.8, 9.6, 9.4, 9.2, 9.0]);
        assert!(!has_plateau(&falling, 8.5) && has_plateau(&falling, 7.0));
        assert!(has_plateau(&curve(&[10.0, 9.0, 9.0, 9.0, 9.0, 9.0]), 8.5));
        assert!(has_plateau(&curve(&[9.0, 9.1, 9.2]), 8.5));
        assert!(!has_plateau(&curve(&[9.0, 9.0]), 8.5));
    }

    #[test]
    fn valid_and_test_must_agree_and_a_failure_needs_a_plateau() {
        let scores = |valid: f64, test: f64, plateau: bool| Scores {
            valid,
            valid_baseline: 8.0,
            test,
            test_baseline: 8.0,
            plateau,
        };
        let of = |valid, test, plateau| {
            scores(valid, test, plateau)
                .verdict(Expected::Absent)
                .name()
        };
        assert_eq!(of(7.0, 7.0, true), "differs");
        assert_eq!(of(9.0, 9.0, true), "reproduced");
        assert_eq!(of(9.0, 9.0, false), "not learned yet");
        assert_eq!(of(9.0, 7.0, false), "partly");
    }
}
