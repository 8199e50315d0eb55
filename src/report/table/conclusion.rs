//! The paper's conclusion, judged: from the figures' verdicts, held-out scores against baselines, and how much samples copy.

use super::super::experiment::{ExperimentReport, of_the_paper};
use super::super::record::RunRecord;
use super::super::verdict::Scores;
use super::claims::{bare_verdict_cell, measured_cell, scores_cell, verdict_cell};
use super::{Cell, Table};
use crate::claim::{BaselineName, ClaimKind, Expected, Verdict};

/// The evidence, row by row, and what it comes to; `None` if there is no claim about a figure.
pub fn fill(reports: &[ExperimentReport]) -> Option<Table> {
    let mut rows = Vec::new();
    let mut verdicts = Vec::new();
    for report in of_the_paper(reports) {
        let findings = report
            .judged
            .iter()
            .filter(|it| it.kind() == ClaimKind::Finding);
        for judged in findings {
            verdicts.push(judged.verdict.clone());
            rows.push(vec![
                Cell::text(format!("{}: {}", judged.claim.place, judged.claim.says)),
                Cell::text(report.name).with_detail(judged.corpus_word.map(str::to_owned)),
                measured_cell(judged),
                verdict_cell(judged),
            ]);
        }
    }
    if rows.is_empty() {
        return None;
    }
    for report in of_the_paper(reports) {
        let counts = |run: &RunRecord| {
            let corpus = run.stored.record.corpus.as_ref();
            run.counts()
                && run.why_not_the_experiment().is_none()
                && !corpus.is_some_and(|corpus| corpus.synthetic)
        };
        let Some(group) = report.group.as_ref().filter(|it| counts(it.shown())) else {
            continue;
        };
        let run = group.shown();
        let name = || Cell::text(report.name).with_detail(Some(run.corpus_name()));
        for baseline in [BaselineName::Unigram, BaselineName::Markov] {
            let scores: Vec<Scores> = group
                .runs()
                .iter()
                .filter_map(|run| Scores::of(run, baseline.name()))
                .collect();
            // The paper says of its sigmoid model that it did not learn: how well ours does is no evidence for the conclusion.
            if run.models_keys() || scores.is_empty() {
                continue;
            }
            let by_seed: Vec<Verdict> = scores
                .iter()
                .map(|it| Verdict::of_sentence(Expected::Present, &it.beats().map(Some)))
                .collect();
            let verdict = Verdict::of_seeds(&by_seed);
            verdicts.push(verdict.clone());
            let what = match baseline {
                BaselineName::Unigram => "Held-out scores are below the unigram's",
                BaselineName::Markov => "Held-out scores are below a first-order Markov chain's",
            };
            rows.push(vec![
                Cell::text(what),
                name(),
                scores_cell(&scores, baseline.in_words()),
                bare_verdict_cell(&verdict),
            ]);
        }
        let overlap = group.over_seeds(overlap);
        if overlap.mean().is_some() {
            let what = "Share of the samples' runs of eight tokens that occur in train: high means copying";
            rows.push(vec![
                Cell::text(what),
                name(),
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
        bare_verdict_cell(&human),
    ]);
    rows.push(vec![
        Cell::text(
            "Conclusion: the embeddings suggest moderate success at a viable generative model",
        ),
        Cell::text("all"),
        Cell::text(counted(&verdicts)),
        bare_verdict_cell(&overall(&verdicts)),
    ]);
    Some(Table {
        name: "conclusion",
        caption: "The paper's conclusion, judged: reproduced if every sentence about a figure is, and every token model's held-out scores are \
                  below both baselines', on valid and on test; it differs if none is; partly, if some are and some are not. Whether \
                  people take the music for a human's was not measured."
            .to_owned(),
        columns: vec!["evidence", "experiment", "measured", "verdict"],
        rows,
    })
}

/// How many pieces of evidence come to what.
fn counted(verdicts: &[Verdict]) -> String {
    let of = |name: &str| verdicts.iter().filter(|it| it.name() == name).count();
    format!(
        "{} of {} reproduced, {} partly, {} differ, {} inconclusive",
        of("reproduced"),
        verdicts.len(),
        of("partly"),
        of("differs"),
        of("inconclusive")
    )
}

/// What all evidence comes to.
fn overall(verdicts: &[Verdict]) -> Verdict {
    let bears = |it: &Verdict| matches!(it, Verdict::Reproduced | Verdict::Partly);
    let speaks = |it: &Verdict| bears(it) || *it == Verdict::Differs;
    let open = verdicts.iter().filter(|it| !speaks(it)).count();
    if open == verdicts.len() {
        Verdict::Inconclusive("no evidence speaks for it or against it".to_owned())
    } else if verdicts.iter().all(|it| *it == Verdict::Reproduced) {
        Verdict::Reproduced
    } else if !verdicts.iter().any(bears) && open == 0 {
        Verdict::Differs
    } else if verdicts.iter().any(bears)
        && verdicts
            .iter()
            .any(|it| matches!(it, Verdict::Differs | Verdict::Partly))
    {
        Verdict::Partly
    } else {
        Verdict::Inconclusive(format!(
            "{open} of {} pieces of evidence are open",
            verdicts.len()
        ))
    }
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
    fn evidence_for_and_against_is_partly_and_what_is_open_keeps_it_open() {
        use Verdict::{Differs, Partly, Reproduced};
        let open = Verdict::NotRun(String::new());
        let of = |verdicts: &[Verdict]| overall(verdicts).name();
        assert_eq!(of(&[Reproduced, Reproduced]), "reproduced");
        assert_eq!(of(&[Reproduced, Differs]), "partly");
        assert_eq!(of(&[Reproduced, Partly, open.clone()]), "partly");
        assert_eq!(of(&[Differs, Differs]), "differs");
        assert_eq!(of(&[Differs, open.clone()]), "inconclusive");
        assert_eq!(
            overall(&[Reproduced, open.clone()]).reason(),
            Some("1 of 2 pieces of evidence are open")
        );
        assert_eq!(of(&[open]), "inconclusive");
    }
}
