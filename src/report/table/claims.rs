//! Paper against measured: each claim of an experiment, what a run measured, and the verdict.

use super::super::record::RunRecord;
use super::super::text::number;
use super::{Cell, Table};
use crate::claim::{Claim, Verdict};
use crate::run::State;

/// One claim judged by one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The claim.
    pub claim: Claim,
    /// What the run measured, if it did.
    pub measured: Option<f64>,
    /// What it comes to.
    pub verdict: Verdict,
    /// The run, by experiment and id; absent if there is none.
    pub run: Option<String>,
    /// What a reader should know of the corpus, if it is not the paper's own.
    pub corpus: Option<String>,
    /// The same in a word or two, for every row.
    pub corpus_word: Option<&'static str>,
}

/// What `claim` comes to by `run`; without a run, a finished one or one at full size, that is "not run".
pub fn judge(claim: &Claim, run: Option<&RunRecord>) -> Judged {
    let mut judged = Judged {
        claim: claim.clone(),
        measured: None,
        verdict: Verdict::NotRun("no finished run".to_owned()),
        run: None,
        corpus: None,
        corpus_word: None,
    };
    let Some(run) = run else { return judged };
    judged.run = Some(format!(
        "{}/{}",
        run.stored.record.experiment, run.stored.record.id
    ));
    let identity = run.stored.record.corpus.as_ref();
    judged.corpus = identity
        .filter(|corpus| corpus.synthetic || corpus.stand_in.is_some())
        .map(|_| run.corpus_in_full());
    judged.corpus_word = identity.and_then(|corpus| match (corpus.synthetic, &corpus.stand_in) {
        (true, _) => Some("synthetic corpus"),
        (false, Some(_)) => Some("stand-in corpus"),
        (false, None) => None,
    });
    if run.stored.record.smoke {
        judged.verdict = Verdict::NotRun("a smoke run's numbers mean nothing".to_owned());
    } else if run.state != State::Finished {
        judged.verdict = Verdict::NotRun("the run has not finished".to_owned());
    } else {
        judged.measured = claim
            .metric
            .as_deref()
            .and_then(|metric| run.number(metric));
        judged.verdict = match identity.is_some_and(|corpus| corpus.synthetic) {
            true if claim.not_comparable.is_none() => {
                Verdict::NotComparable("the corpus is synthetic".to_owned())
            }
            _ => claim.judge(&|name| run.number(name)),
        };
    }
    judged
}

/// The table of judged claims; `None` if there are none.
pub fn fill(judged: &[Judged]) -> Option<Table> {
    let rows: Vec<Vec<Cell>> = judged.iter().map(row).collect();
    let corpus = judged
        .iter()
        .find_map(|it| it.corpus.as_ref())
        .map(|corpus| format!(" Corpus: {corpus}."))
        .unwrap_or_default();
    let caption = format!(
        "What the paper says, what was measured, and what that comes to. A number is close within five tolerances.{corpus}"
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
        .zip(judged.measured)
        .filter(|(paper, measured)| *paper != 0.0 && paper != measured);
    let difference = difference.map(|(paper, measured)| {
        format!("{:+.2} %", 100.0 * (measured - paper) / paper).replace('-', "−")
    });
    vec![
        Cell::text(&claim.says).with_detail(claim.note.clone()),
        Cell::text(&claim.place),
        Cell::number(claim.value),
        Cell::number(judged.measured).with_detail(difference),
        Cell::text(bounds).with_detail(claim.metric.clone()),
        verdict_cell(&judged.verdict),
        Cell {
            text: judged.run.clone().unwrap_or("–".to_owned()),
            class: "run",
            ..Cell::default()
        }
        .with_detail(judged.corpus_word.map(str::to_owned)),
    ]
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
