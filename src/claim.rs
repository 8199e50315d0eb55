//! A number or sentence of the paper that an experiment can test, and how its verdict is reached.
//!
//! Claims are written in `experiments/*.yaml` under `claims:`; the report's verdicts come from them and nowhere else.

use serde::{Deserialize, Serialize};

use crate::analysis::Question;
use crate::number::trimmed;
use crate::tolerance::Tolerance;

/// How many tolerances away a number still counts as [`Verdict::Close`].
pub const CLOSE_TOLERANCES: f64 = 5.0;

/// Relative distance that counts as close where a claim states no tolerance (and reproduced means equal).
pub const CLOSE_WITHOUT_TOLERANCE: f64 = 0.01;

/// One number or sentence of the paper, and what measures it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Short name, unique within its experiment.
    pub id: String,
    /// The paper's sentence, or its number with what it counts.
    pub says: String,
    /// Where the paper says it.
    pub place: String,
    /// The paper's number; absent for a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// What measures it: a dotted path into `statistics.json`, or `<split>.<metric>.<best|last>` of the metrics table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// How far from `value` still counts as reproduced; absent, only the same number does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<Tolerance>,
    /// What a measured number must satisfy for a sentence to count as reproduced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expectation>,
    /// What a sentence about a figure asks of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figure: Option<FigureSentence>,
    /// What a sentence about learning asks of the held-out scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning: Option<LearningSentence>,
    /// Why the paper's number and ours cannot be compared, where they cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_comparable: Option<String>,
    /// What a reader should know beside the verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What a claim is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimKind {
    /// It says something of the music or the model that could have come out otherwise.
    Finding,
    /// It says that the same data were read in the same way.
    Check,
    /// It says how much was trained, and how long that took.
    Coverage,
}

impl ClaimKind {
    /// The name in `verdicts.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Finding => "finding",
            Self::Check => "check",
            Self::Coverage => "coverage",
        }
    }
}

/// Whether a sentence says that something is there or that it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// It is there.
    Present,
    /// It is not.
    Absent,
}

/// A sentence about how labels lie in a figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FigureSentence {
    /// What is asked of the figure.
    pub question: Question,
    /// What the sentence answers.
    pub expect: Expected,
}

/// A sentence about whether a model learns: whether it comes to predict held-out pieces better than a baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearningSentence {
    /// The baseline.
    pub baseline: BaselineName,
    /// Whether the sentence says that it learns.
    pub expect: Expected,
}

/// A model without a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BaselineName {
    /// The frequencies of the train split.
    Unigram,
    /// A first-order Markov chain.
    Markov,
}

impl BaselineName {
    /// The name in `statistics.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unigram => "unigram",
            Self::Markov => "markov",
        }
    }

    /// The name in tables.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Unigram => "unigram",
            Self::Markov => "first-order Markov chain",
        }
    }
}

/// Bounds on a measured number; every bound given must hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// The number must be smaller than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<f64>,
    /// The number must be larger than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    /// The number must be smaller than this other measured number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below_metric: Option<String>,
    /// The number must be larger than this other measured number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above_metric: Option<String>,
}

/// What a comparison of the paper with its runs comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Within the tolerance, or what the sentence says.
    Reproduced,
    /// A number outside the tolerance, but within [`CLOSE_TOLERANCES`] of it.
    Close,
    /// Where the sentence has two places to hold, it holds in one and its contrary in the other.
    Partly,
    /// A number further off, or the contrary of the sentence.
    Differs,
    /// The numbers carry neither the sentence nor its contrary, and why.
    Inconclusive(String),
    /// The held-out score does not beat the baseline yet, but still falls.
    NotLearnedYet,
    /// The two cannot be compared, and why.
    NotComparable(String),
    /// No finished run, or it did not measure this, and why.
    NotRun(String),
    /// Measured, but the paper gives nothing to compare with.
    PaperGivesNoNumber,
}

impl Verdict {
    /// The verdict in a word or two, the same everywhere it is printed.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Reproduced => "reproduced",
            Self::Close => "close",
            Self::Partly => "partly",
            Self::Differs => "differs",
            Self::Inconclusive(_) => "inconclusive",
            Self::NotLearnedYet => "not learned yet",
            Self::NotComparable(_) => "not comparable",
            Self::NotRun(_) => "not run",
            Self::PaperGivesNoNumber => "paper gives no number",
        }
    }

    /// Why, for the verdicts that have a reason.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Inconclusive(why) | Self::NotComparable(why) | Self::NotRun(why) => Some(why),
            _ => None,
        }
    }

    /// The verdict on a sentence, from what was found in each place where it should hold: `Some(true)` for its presence,
    /// `Some(false)` for its absence, `None` where neither is shown.
    pub fn of_sentence(expected: Expected, found: &[Option<bool>]) -> Self {
        let says = expected == Expected::Present;
        if found.iter().all(|it| *it == Some(says)) {
            Self::Reproduced
        } else if found.iter().all(|it| *it == Some(!says)) {
            Self::Differs
        } else if found.contains(&Some(true)) && found.contains(&Some(false)) {
            Self::Partly
        } else {
            Self::Inconclusive("neither shown nor ruled out".to_owned())
        }
    }

    /// The verdict of several training seeds: the one that all reach.
    ///
    /// # Panics
    /// Without a verdict.
    pub fn of_seeds(verdicts: &[Self]) -> Self {
        let first = &verdicts[0];
        if verdicts.iter().all(|it| it.name() == first.name()) {
            return first.clone();
        }
        let unjudged = |it: &&Self| matches!(it, Self::NotRun(_) | Self::NotComparable(_));
        if let Some(missing) = verdicts.iter().find(unjudged) {
            return missing.clone();
        }
        let mut counts: Vec<(&str, usize)> = Vec::new();
        for verdict in verdicts {
            match counts.iter_mut().find(|it| it.0 == verdict.name()) {
                Some(it) => it.1 += 1,
                None => counts.push((verdict.name(), 1)),
            }
        }
        let counts: Vec<String> = counts
            .iter()
            .map(|(name, count)| format!("{name} in {count}"))
            .collect();
        let all = verdicts.len();
        Self::Inconclusive(format!("of {all} seeds {}", counts.join(", ")))
    }
}

impl Expectation {
    /// The bounds as a reader would write them, such as `below 0.05`.
    pub fn describe(&self) -> String {
        let numbers = [("below", self.below), ("above", self.above)];
        let metrics = [("below", &self.below_metric), ("above", &self.above_metric)];
        let numbers = numbers
            .iter()
            .filter_map(|(word, bound)| bound.map(|it| format!("{word} {}", trimmed(it))));
        let metrics = metrics
            .iter()
            .filter_map(|(word, bound)| bound.as_ref().map(|it| format!("{word} {it}")));
        numbers.chain(metrics).collect::<Vec<_>>().join(" and ")
    }

    /// Whether `measured` satisfies every bound; `None` if a metric it is compared with was not measured.
    fn holds(&self, measured: f64, look_up: &dyn Fn(&str) -> Option<f64>) -> Option<bool> {
        let mut holds = self.below.is_none_or(|bound| measured < bound)
            && self.above.is_none_or(|bound| measured > bound);
        if let Some(metric) = &self.below_metric {
            holds &= measured < look_up(metric)?;
        }
        if let Some(metric) = &self.above_metric {
            holds &= measured > look_up(metric)?;
        }
        Some(holds)
    }
}

impl Claim {
    /// What the claim is for. A sentence is a finding; a number is a check of the data, or tells what a training took.
    pub fn kind(&self) -> ClaimKind {
        let about_training = |metric: &String| metric.starts_with("training.");
        if self.metric.as_ref().is_some_and(about_training) {
            ClaimKind::Coverage
        } else if self.is_sentence() {
            ClaimKind::Finding
        } else {
            ClaimKind::Check
        }
    }

    /// Whether it is a sentence, and no number alone.
    fn is_sentence(&self) -> bool {
        self.figure.is_some() || self.learning.is_some() || self.expect.is_some()
    }

    /// What this claim, a number or bounds on one, comes to in a run whose measured numbers `look_up` finds by name.
    ///
    /// A number and a sentence's bounds may both be given: both must then hold for `Reproduced`.
    pub fn judge(&self, look_up: &dyn Fn(&str) -> Option<f64>) -> Verdict {
        if let Some(why) = &self.not_comparable {
            return Verdict::NotComparable(why.clone());
        }
        let Some(metric) = &self.metric else {
            return Verdict::NotComparable("no measurement is defined for it".to_owned());
        };
        let Some(measured) = look_up(metric).filter(|it| it.is_finite()) else {
            return Verdict::NotRun(format!("the run did not measure {metric}"));
        };
        let number = self
            .value
            .map(|value| judge_number(measured, value, self.tolerance));
        let sentence = match &self.expect {
            None => None,
            Some(expectation) => match expectation.holds(measured, look_up) {
                None => {
                    return Verdict::NotRun(
                        "the run did not measure what it is compared with".to_owned(),
                    );
                }
                Some(true) => Some(Verdict::Reproduced),
                Some(false) => Some(Verdict::Differs),
            },
        };
        match (number, sentence) {
            (None, None) => Verdict::PaperGivesNoNumber,
            (Some(verdict), None) | (None, Some(verdict)) => verdict,
            (Some(number), Some(Verdict::Reproduced)) => number,
            (Some(_), Some(sentence)) => sentence,
        }
    }
}

fn judge_number(measured: f64, value: f64, tolerance: Option<Tolerance>) -> Verdict {
    let distance = (measured - value).abs();
    let (reproduced, close) = match tolerance {
        Some(tolerance) => (
            tolerance.allowance(value),
            CLOSE_TOLERANCES * tolerance.allowance(value),
        ),
        None => (0.0, CLOSE_WITHOUT_TOLERANCE * value.abs()),
    };
    if distance <= reproduced {
        Verdict::Reproduced
    } else if distance <= close {
        Verdict::Close
    } else {
        Verdict::Differs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(
        value: Option<f64>,
        tolerance: Option<Tolerance>,
        expect: Option<Expectation>,
    ) -> Claim {
        Claim {
            id: "tokens".to_owned(),
            says: "words".to_owned(),
            place: "Data".to_owned(),
            value,
            metric: Some("corpus.tokens".to_owned()),
            tolerance,
            expect,
            figure: None,
            learning: None,
            not_comparable: None,
            note: None,
        }
    }

    fn relative(share: f64) -> Option<Tolerance> {
        Some(Tolerance {
            relative: Some(share),
            absolute: None,
        })
    }

    #[test]
    fn a_number_is_judged_by_its_tolerance() {
        let judge =
            |measured: f64| claim(Some(100.0), relative(0.02), None).judge(&|_| Some(measured));
        assert_eq!(judge(101.9), Verdict::Reproduced);
        assert_eq!(judge(91.0), Verdict::Close);
        assert_eq!(judge(111.0), Verdict::Differs);
    }

    #[test]
    fn without_a_tolerance_only_the_same_number_is_reproduced() {
        let judge = |measured: f64| claim(Some(39_289.0), None, None).judge(&|_| Some(measured));
        assert_eq!(judge(39_289.0), Verdict::Reproduced);
        assert_eq!(judge(39_290.0), Verdict::Close);
        assert_eq!(judge(30_000.0), Verdict::Differs);
    }

    #[test]
    fn a_sentence_is_judged_by_every_bound() {
        let expect = Expectation {
            below: Some(0.05),
            above: None,
            below_metric: Some("other".to_owned()),
            above_metric: None,
        };
        let judge = |measured: f64, other: Option<f64>| {
            claim(None, None, Some(expect.clone())).judge(&|name| {
                if name == "other" {
                    other
                } else {
                    Some(measured)
                }
            })
        };
        assert_eq!(judge(0.01, Some(0.02)), Verdict::Reproduced);
        assert_eq!(judge(0.03, Some(0.02)), Verdict::Differs);
        assert_eq!(judge(0.01, None).name(), "not run");
    }

    #[test]
    fn what_was_not_measured_is_not_run_and_what_the_paper_omits_has_no_number() {
        assert_eq!(
            claim(Some(1.0), None, None).judge(&|_| None).name(),
            "not run"
        );
        assert_eq!(
            claim(None, None, None).judge(&|_| Some(1.0)),
            Verdict::PaperGivesNoNumber
        );
        assert_eq!(
            claim(Some(1.0), None, None)
                .judge(&|_| Some(f64::NAN))
                .name(),
            "not run"
        );
    }

    #[test]
    fn bounds_read_as_text() {
        let expect = Expectation {
            below: Some(0.05),
            above: None,
            below_metric: None,
            above_metric: Some("a.b".to_owned()),
        };
        assert_eq!(expect.describe(), "below 0.05 and above a.b");
    }

    #[test]
    fn a_sentence_needs_both_places_and_its_contrary_too() {
        use Expected::{Absent, Present};
        let of = |expected, found: [Option<bool>; 2]| Verdict::of_sentence(expected, &found).name();
        assert_eq!(of(Present, [Some(true), Some(true)]), "reproduced");
        assert_eq!(of(Present, [Some(true), Some(false)]), "partly");
        assert_eq!(of(Present, [Some(true), None]), "inconclusive");
        assert_eq!(of(Present, [Some(false), Some(false)]), "differs");
        assert_eq!(of(Absent, [Some(false), Some(false)]), "reproduced");
        assert_eq!(of(Absent, [Some(true), Some(true)]), "differs");
        assert_eq!(of(Absent, [None, Some(false)]), "inconclusive");
    }

    #[test]
    fn seeds_that_disagree_are_inconclusive() {
        use Verdict::{Differs, Reproduced};
        assert_eq!(Verdict::of_seeds(&[Reproduced, Reproduced]), Reproduced);
        assert_eq!(
            Verdict::of_seeds(&[Reproduced, Differs, Reproduced]).reason(),
            Some("of 3 seeds reproduced in 2, differs in 1")
        );
        let missing = Verdict::NotRun("not measured".to_owned());
        assert_eq!(Verdict::of_seeds(&[Reproduced, missing.clone()]), missing);
    }

    #[test]
    fn sentences_are_findings_and_numbers_are_checks_or_coverage() {
        assert_eq!(claim(Some(1.0), None, None).kind(), ClaimKind::Check);
        let mut epochs = claim(Some(50.0), None, None);
        epochs.metric = Some("training.epochs".to_owned());
        assert_eq!(epochs.kind(), ClaimKind::Coverage);
        let sentence: Claim = serde_json::from_value(serde_json::json!({
            "id": "a", "says": "b", "place": "Figure 2", "figure": {"question": "registers", "expect": "present"},
        }))
        .unwrap();
        assert_eq!(sentence.kind(), ClaimKind::Finding);
    }
}
