//! Paper against measured: each claim of an experiment, what a run measured, and the verdict.

use super::super::group::Group;
use super::super::record::RunRecord;
use super::super::seeds::{OverSeeds, RULE};
use super::super::text::number;
use super::{Cell, Table};
use crate::claim::{Claim, Verdict};
use crate::run::State;

/// One claim judged by the runs of an experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The claim.
    pub claim: Claim,
    /// What the runs measured, by seed.
    pub measured: OverSeeds,
    /// What it comes to.
    pub verdict: Verdict,
    /// What it comes to for each seed.
    pub by_seed: Vec<(u64, Verdict)>,
    /// The runs, by experiment and id.
    pub runs: Vec<String>,
    /// What a reader should know of the corpus, if it is not the paper's own.
    pub corpus: Option<String>,
    /// The same in a word or two, for every row.
    pub corpus_word: Option<&'static str>,
}

/// What `claim` comes to by the runs of `group`; without a run, a finished one or one at full size, that is "not run".
///
/// Over several seeds the verdict is that of the median seed, the weaker of the two in the middle.
pub fn judge(claim: &Claim, group: Option<&Group>) -> Judged {
    let Some(group) = group else {
        return Judged {
            claim: claim.clone(),
            measured: OverSeeds::new(Vec::new()),
            verdict: Verdict::NotRun("no finished run".to_owned()),
            by_seed: Vec::new(),
            runs: Vec::new(),
            corpus: None,
            corpus_word: None,
        };
    };
    let identity = group.shown().stored.record.corpus.as_ref();
    let by_seed: Vec<(u64, Verdict)> = group
        .runs()
        .iter()
        .map(|run| (run.stored.record.seed, judge_run(claim, run)))
        .collect();
    let measured = group.over_seeds(|run| {
        let metric = claim.metric.as_deref().filter(|_| run.counts())?;
        run.number(metric)
    });
    Judged {
        claim: claim.clone(),
        measured,
        verdict: median(by_seed.iter().map(|(_, verdict)| verdict)),
        by_seed,
        runs: group.runs().iter().map(|run| run.name()).collect(),
        corpus: identity
            .filter(|corpus| corpus.synthetic || corpus.stand_in.is_some())
            .map(|_| group.shown().corpus_in_full()),
        corpus_word: identity.and_then(|corpus| match (corpus.synthetic, &corpus.stand_in) {
            (true, _) => Some("synthetic corpus"),
            (false, Some(_)) => Some("stand-in corpus"),
            (false, None) => None,
        }),
    }
}

/// What `claim` comes to by one run.
fn judge_run(claim: &Claim, run: &RunRecord) -> Verdict {
    let identity = run.stored.record.corpus.as_ref();
    if run.stored.record.smoke {
        return Verdict::NotRun("a smoke run's numbers mean nothing".to_owned());
    }
    if run.state != State::Finished {
        return Verdict::NotRun("the run has not finished".to_owned());
    }
    if identity.is_some_and(|corpus| corpus.synthetic) && claim.not_comparable.is_none() {
        return Verdict::NotComparable("the corpus is synthetic".to_owned());
    }
    if let Some(why) = run
        .why_not_the_experiment()
        .filter(|_| claim.not_comparable.is_none())
    {
        return Verdict::NotComparable(why);
    }
    claim.judge(&|name| run.number(name))
}

/// The verdict in the middle when all are put in order, the weaker of two; those that judged nothing come last.
///
/// # Panics
/// Without a verdict: a group has at least one run.
pub fn median<'a>(verdicts: impl Iterator<Item = &'a Verdict>) -> Verdict {
    let rank = |verdict: &Verdict| match verdict {
        Verdict::Reproduced => 0,
        Verdict::Close => 1,
        Verdict::Differs => 2,
        Verdict::NotComparable(_) | Verdict::NotRun(_) | Verdict::PaperGivesNoNumber => 3,
    };
    let mut ordered: Vec<&Verdict> = verdicts.collect();
    ordered.sort_by_key(|verdict| rank(verdict));
    ordered[ordered.len() / 2].clone()
}

impl Judged {
    /// What was measured, as a cell: the mean over seeds; of p-values, the largest; of what a training took, all from the least on.
    pub fn measured_cell(&self) -> Cell {
        let metric = self.claim.metric.as_deref().unwrap_or_default();
        if metric.ends_with("p_value") || metric.ends_with("_p") {
            self.measured.largest_cell()
        } else if self.is_effort() {
            self.measured.range_cell()
        } else {
            self.measured.cell()
        }
    }

    /// Whether it tells what a training took, which has no mean worth telling.
    fn is_effort(&self) -> bool {
        let metric = self.claim.metric.as_deref();
        metric.is_some_and(|metric| metric.starts_with("training."))
    }

    /// The verdict as a cell: how many of several seeds reach it, and which do not.
    pub fn verdict_cell(&self) -> Cell {
        let mut cell = verdict_cell(&self.verdict);
        let judged = matches!(
            self.verdict,
            Verdict::Reproduced | Verdict::Close | Verdict::Differs
        );
        if self.by_seed.len() > 1 && judged {
            let agree = self
                .by_seed
                .iter()
                .filter(|it| it.1 == self.verdict)
                .count();
            cell.detail = Some(format!("{agree} of {} seeds", self.by_seed.len()));
            if agree < self.by_seed.len() {
                let line =
                    |(seed, verdict): &(u64, Verdict)| format!("seed {seed}: {}", verdict.name());
                cell.each_seed = self.by_seed.iter().map(line).collect();
            }
        }
        cell
    }
}

/// The table of judged claims; `None` if there are none.
pub fn fill(judged: &[Judged]) -> Option<Table> {
    let rows: Vec<Vec<Cell>> = judged.iter().map(row).collect();
    let corpus = judged
        .iter()
        .find_map(|it| it.corpus.as_ref())
        .map(|corpus| format!(" Corpus: {corpus}."))
        .unwrap_or_default();
    let seeds = if judged.iter().any(|it| it.by_seed.len() > 1) {
        format!(" {RULE}; a verdict is that of the median seed, the weaker of two in the middle.")
    } else {
        String::new()
    };
    let caption = format!(
        "What the paper says, what was measured, and what that comes to. A number is close within five tolerances.{seeds}{corpus}"
    );
    let columns = vec![
        "the paper says",
        "where",
        "paper",
        "measured",
        "reproduced if",
        "verdict",
        "run",
    ];
    (!rows.is_empty()).then_some(Table {
        name: "paper-against-measured",
        caption,
        columns,
        rows,
    })
}

fn row(judged: &Judged) -> Vec<Cell> {
    let claim = &judged.claim;
    let tolerance = claim.tolerance.map(|tolerance| tolerance.describe());
    let expected = claim.expect.as_ref().map(|expect| expect.describe());
    let bounds = match (tolerance, expected) {
        _ if claim.not_comparable.is_some() => "–".to_owned(),
        (None, None) if claim.value.is_some() => "equal".to_owned(),
        (None, None) => "–".to_owned(),
        (tolerance, expected) => [tolerance, expected]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(", "),
    };
    let difference = claim
        .value
        .zip(judged.measured.mean())
        .filter(|_| !(judged.is_effort() && judged.measured.varies()))
        .filter(|(paper, measured)| *paper != 0.0 && paper != measured)
        .map(|(paper, measured)| {
            format!("{:+.2} %", 100.0 * (measured - paper) / paper).replace('-', "−")
        });
    vec![
        Cell::text(&claim.says).with_detail(claim.note.clone()),
        Cell::text(&claim.place),
        Cell::number(claim.value),
        judged.measured_cell().with_detail(difference),
        Cell::text(bounds).with_detail(claim.metric.clone()),
        judged.verdict_cell(),
        runs_cell(&judged.runs).with_detail(judged.corpus_word.map(str::to_owned)),
    ]
}

/// The runs behind a row: one by name, of several their number and each name within reach.
fn runs_cell(runs: &[String]) -> Cell {
    let text = match runs {
        [] => "–".to_owned(),
        [only] => only.clone(),
        several => format!("{} runs", several.len()),
    };
    Cell {
        text,
        class: "run",
        each_seed: if runs.len() > 1 {
            runs.to_vec()
        } else {
            Vec::new()
        },
        ..Cell::default()
    }
}

/// A verdict as a cell.
pub fn verdict_cell(verdict: &Verdict) -> Cell {
    Cell {
        text: verdict.name().to_owned(),
        class: class(verdict),
        ..Cell::default()
    }
    .with_detail(verdict.reason().map(str::to_owned))
}

fn class(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Reproduced => "verdict reproduced",
        Verdict::Close => "verdict close",
        Verdict::Differs => "verdict differs",
        Verdict::NotComparable(_) | Verdict::NotRun(_) | Verdict::PaperGivesNoNumber => {
            "verdict open"
        }
    }
}

/// A tally such as `3 reproduced, 1 not run`, in the verdicts' order.
pub fn tally(judged: &[Judged]) -> String {
    let names = [
        "reproduced",
        "close",
        "differs",
        "not comparable",
        "not run",
        "paper gives no number",
    ];
    let counted = names.iter().map(|name| {
        (
            name,
            judged
                .iter()
                .filter(|it| it.verdict.name() == *name)
                .count(),
        )
    });
    let parts: Vec<String> = counted
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{} {name}", number(count as f64)))
        .collect();
    if parts.is_empty() {
        "no claims".to_owned()
    } else {
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_seed_decides_and_of_two_the_weaker() {
        use Verdict::{Close, Differs, Reproduced};
        let of = |verdicts: &[Verdict]| median(verdicts.iter());
        assert_eq!(of(&[Reproduced, Differs, Reproduced]), Reproduced);
        assert_eq!(of(&[Reproduced, Differs]), Differs);
        assert_eq!(of(&[Differs, Reproduced, Close]), Close);
        let missing = Verdict::NotRun("not measured".to_owned());
        assert_eq!(of(&[missing.clone(), Reproduced]), missing);
    }

    #[test]
    fn a_verdict_says_how_many_seeds_reach_it() {
        let claim: Claim = serde_json::from_value(serde_json::json!({
            "id": "a", "says": "b", "place": "c", "metric": "x.p_value", "expect": {"below": 0.05},
        }))
        .unwrap();
        let by_seed = vec![
            (1, Verdict::Reproduced),
            (2, Verdict::Differs),
            (3, Verdict::Reproduced),
        ];
        let values = [(1, 0.01), (2, 0.3), (3, 0.02)];
        let judged = Judged {
            claim,
            measured: OverSeeds::new(values.map(|(seed, p)| (seed, p, String::new())).to_vec()),
            verdict: median(by_seed.iter().map(|it| &it.1)),
            by_seed,
            runs: ["x/1", "x/2", "x/3"].map(str::to_owned).to_vec(),
            corpus: None,
            corpus_word: None,
        };
        let cells = row(&judged);
        assert_eq!(cells[3].text, "0.3000");
        assert_eq!(
            cells[5].each_seed,
            [
                "seed 1: reproduced",
                "seed 2: differs",
                "seed 3: reproduced"
            ]
        );
        assert_eq!(cells[5].detail.as_deref(), Some("2 of 3 seeds"));
        assert_eq!(cells[6].text, "3 runs");
    }
}
