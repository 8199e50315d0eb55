//! One run a side: how far the choice of held-out pieces could move the difference.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::artifacts::{EVALUATION, evaluation_rows};
use crate::random::stream;
use crate::run::StoredRun;

use crate::statistics::{Interval, PairedPiece, paired_bootstrap, paired_difference};

/// The difference of two models' negative log-likelihood, and how much of it hangs on which pieces were held out.
#[derive(Debug, Clone, PartialEq)]
pub struct PieceNoise {
    /// The split.
    pub split: String,
    /// How many pieces both runs scored.
    pub pieces: usize,
    /// B − A, in nats per prediction, over those pieces.
    pub delta: f64,
    /// The paired bootstrap interval of `delta` over pieces.
    pub interval: Interval,
}

/// The noise of each split that both runs scored; where it cannot be had, `notes` says why.
pub fn piece_noise(
    a: &StoredRun,
    b: &StoredRun,
    notes: &mut Vec<String>,
) -> Result<Vec<PieceNoise>> {
    let lacking: Vec<&StoredRun> = [a, b]
        .into_iter()
        .filter(|it| !it.has(EVALUATION))
        .collect();
    if !lacking.is_empty() {
        notes.extend(lacking.into_iter().map(|run| {
            let lost = run.record.files.iter().any(|file| file.path == EVALUATION);
            let why = match lost {
                true => "is gone, though its record lists it: put back a copy of it",
                false => "is not there, as of a run that has not finished",
            };
            let id = &run.id;
            format!("the evaluation noise over held-out pieces is not known: '{EVALUATION}' of run {id} {why}")
        }));
        return Ok(Vec::new());
    }
    let (scores_a, scores_b) = (scores(a)?, scores(b)?);
    let mut found = Vec::new();
    for (split, pieces_a) in &scores_a {
        let Some(pieces_b) = scores_b.get(split) else {
            continue;
        };
        let mut pairs = Vec::new();
        let mut unequal = 0;
        for (piece, (count, nats_a)) in pieces_a {
            match pieces_b.get(piece) {
                Some((other, nats_b)) if other == count => {
                    pairs.push(PairedPiece {
                        count: *count,
                        nats_a: *nats_a,
                        nats_b: *nats_b,
                    });
                }
                Some(_) => unequal += 1,
                None => {}
            }
        }
        if unequal > 0 {
            notes.push(format!("{unequal} pieces of {split} have another length in B: the runs predict different things"));
            continue;
        }
        let alone = pieces_a.len() + pieces_b.len() - 2 * pairs.len();
        if alone > 0 {
            notes.push(format!("{alone} pieces of {split} were scored by one run alone and are left out of its noise"));
        }
        pairs.retain(|it| it.count > 0);
        if pairs
            .iter()
            .any(|it| !it.nats_a.is_finite() || !it.nats_b.is_finite())
        {
            notes.push(format!(
                "a piece of {split} has no finite score, so its noise is not known"
            ));
        } else if let Some(interval) =
            paired_bootstrap(&pairs, &mut stream(0, &format!("diff pieces {split}")))
        {
            let delta = paired_difference(pairs.iter().copied());
            found.push(PieceNoise {
                split: split.clone(),
                pieces: pairs.len(),
                delta,
                interval,
            });
        }
    }
    Ok(found)
}

type Scores = BTreeMap<String, BTreeMap<String, (u64, f64)>>;

fn scores(run: &StoredRun) -> Result<Scores> {
    let rows = evaluation_rows(&run.table(EVALUATION)?)
        .with_context(|| format!("failed to read '{EVALUATION}' of run {}", run.id))?;
    let mut scores = Scores::new();
    for row in rows {
        let pieces = scores.entry(row.split).or_default();
        pieces.insert(row.piece, (row.steps, row.nll));
    }
    Ok(scores)
}
