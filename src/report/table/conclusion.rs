//! The paper's conclusion, judged: from the figures' verdicts, held-out likelihood against baselines, and how much samples copy.

use super::super::group::Group;
use super::super::record::RunRecord;
use super::super::text::number;
use super::claims::{Judged, median, verdict_cell};
use super::{Cell, Table};
use crate::claim::Verdict;

/// What the conclusion is judged from: one experiment's runs and its judged claims.
pub struct Evidence<'a> {
    /// The experiment's name.
    pub experiment: &'a str,
    /// The runs that stand for it.
    pub group: Option<&'a Group<'a>>,
    /// Its claims.
    pub judged: &'a [Judged],
}

/// The evidence, row by row, and what it comes to; `None` if there is no claim about a figure.
pub fn fill(evidence: &[Evidence]) -> Option<Table> {
    let mut rows = Vec::new();
    let mut verdicts = Vec::new();
    for (experiment, judged) in evidence
        .iter()
        .flat_map(|it| it.judged.iter().map(|judged| (it.experiment, judged)))
    {
        if judged.claim.place.starts_with("Figure") {
            verdicts.push(judged.verdict.clone());
            rows.push(vec![
                Cell::text(format!("{}: {}", judged.claim.place, judged.claim.says)),
                Cell::text(experiment).with_detail(judged.corpus_word.map(str::to_owned)),
                judged
                    .measured_cell()
                    .with_detail(judged.claim.metric.clone()),
                judged.verdict_cell(),
            ]);
        }
    }
    if rows.is_empty() {
        return None;
    }
    for it in evidence {
        let Some(group) = it.group.filter(|group| {
            group.shown().counts() && group.shown().why_not_the_experiment().is_none()
        }) else {
            continue;
        };
        let run = group.shown();
        let synthetic = run
            .stored
            .record
            .corpus
            .as_ref()
            .is_some_and(|corpus| corpus.synthetic);
        if let Some((cell, verdict)) = likelihood(group).filter(|_| !synthetic) {
            // The paper says of its sigmoid model that it did not learn: how well ours does is no evidence for the conclusion.
            if !run.models_keys() {
                verdicts.push(verdict.clone());
            }
            let corpus = Cell::text(it.experiment).with_detail(Some(run.corpus_name()));
            rows.push(vec![Cell::text("Held-out nats per step are below the unigram's and the first-order Markov baseline's"), corpus, cell, verdict_cell(&verdict)]);
        }
        let overlap = group.over_seeds(overlap);
        if overlap.mean().is_some() && !synthetic {
            let what = "Share of the samples' runs of eight tokens that occur in train: high means copying";
            rows.push(vec![
                Cell::text(what),
                Cell::text(it.experiment),
                overlap.cell(),
                Cell::text("–"),
            ]);
        }
    }
    let human = Verdict::NotComparable("human judgement was not measured".to_owned());
    rows.push(vec![
        Cell::text("The music passes as composed by a human"),
        Cell::text("–"),
        Cell::number(None),
        verdict_cell(&human),
    ]);
    rows.push(vec![
        Cell::text(
            "Conclusion: the embeddings suggest moderate success at a viable generative model",
        ),
        Cell::text("all"),
        Cell::number(None),
        verdict_cell(&overall(&verdicts)).with_detail(differing(&verdicts)),
    ]);
    let caption = "The paper's conclusion, judged: reproduced if every sentence about a figure is, and every token model's held-out score is below both \
                   baselines. Whether people take the music for a human's was not measured.";
    Some(Table {
        name: "conclusion",
        caption: caption.to_owned(),
        columns: vec!["evidence", "experiment", "measured", "verdict"],
        rows,
    })
}

/// How much of the evidence differs, if any does.
fn differing(verdicts: &[Verdict]) -> Option<String> {
    let differ = verdicts
        .iter()
        .filter(|it| **it == Verdict::Differs)
        .count();
    let all = verdicts.len();
    (differ > 0).then(|| format!("{differ} of {all} pieces of evidence differ"))
}

/// The weakest of the verdicts.
fn overall(verdicts: &[Verdict]) -> Verdict {
    let open = verdicts
        .iter()
        .filter(|it| {
            matches!(
                it,
                Verdict::NotRun(_) | Verdict::NotComparable(_) | Verdict::PaperGivesNoNumber
            )
        })
        .count();
    if verdicts.contains(&Verdict::Differs) {
        Verdict::Differs
    } else if open > 0 {
        Verdict::NotRun(format!(
            "{open} of {} pieces of evidence are missing",
            verdicts.len()
        ))
    } else if verdicts.contains(&Verdict::Close) {
        Verdict::Close
    } else {
        Verdict::Reproduced
    }
}

/// The test score beside the baselines', in nats per step: the one that answers for unknown tokens where there is one.
fn likelihood(group: &Group) -> Option<(Cell, Verdict)> {
    let (unigram, markov) = (
        group.shown().number("baseline.unigram.test")?,
        group.shown().number("baseline.markov.test")?,
    );
    let scores = group.over_seeds(|run| {
        let density = run.number("test.nll_per_step.last");
        density.or_else(|| run.number("test.loss.last"))
    });
    scores.mean()?;
    let verdicts: Vec<Verdict> = scores
        .values()
        .map(|score| {
            if score < unigram && score < markov {
                Verdict::Reproduced
            } else {
                Verdict::Differs
            }
        })
        .collect();
    let beside = format!("unigram {}, Markov {}", number(unigram), number(markov));
    let cell = scores.cell().with_detail(Some(beside));
    Some((cell, median(verdicts.iter())))
}

/// The mean over the run's samples of the share of their n-grams that occur in train.
fn overlap(run: &RunRecord) -> Option<f64> {
    let generated = run
        .statistics
        .get("samples")?
        .get("generated")?
        .as_array()?;
    let shares: Vec<f64> = generated
        .iter()
        .filter_map(|sample| sample.get("n_gram_overlap")?.as_f64())
        .collect();
    (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weakest_evidence_decides() {
        let missing = Verdict::NotRun(String::new());
        assert_eq!(
            overall(&[Verdict::Reproduced, Verdict::Reproduced]),
            Verdict::Reproduced
        );
        assert_eq!(
            overall(&[Verdict::Reproduced, Verdict::Close]),
            Verdict::Close
        );
        assert_eq!(
            overall(&[Verdict::Differs, missing.clone()]),
            Verdict::Differs
        );
        assert_eq!(
            overall(&[Verdict::Reproduced, missing]).reason(),
            Some("1 of 2 pieces of evidence are missing")
        );
    }
}
