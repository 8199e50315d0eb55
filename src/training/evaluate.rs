//! Held-out pieces → likelihoods: each piece from a zero state, its first step predicted from silence.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};

use super::data::{Data, Piece};
use crate::batch::{Batch, NO_TOKEN, Symbols};
use crate::corpus::score::KEYS;
use crate::model::Network;
use crate::model::backend::Backend;

/// How one piece was scored.
#[derive(Debug, Clone, PartialEq)]
pub struct PieceScore {
    /// The piece's name.
    pub piece: String,
    /// Its tokens or time steps; each is predicted.
    pub steps: usize,
    /// Total negative log-likelihood, in nats. Where a vocabulary leaves tokens unknown, this is of the known ones, without any rule.
    pub nll: f64,
    /// The same with the unknown-chord rule, over all steps; equal to `nll` for models that know every symbol.
    pub density_nll: f64,
    /// Steps whose token the vocabulary does not hold.
    pub unknown: usize,
    /// Keys predicted to sound that do (sigmoid model).
    pub hits: usize,
    /// Keys predicted wrongly, one way or the other (sigmoid model).
    pub misses: usize,
}

/// What a model gave to one symbol of a piece.
#[derive(Debug, Clone, Copy)]
pub struct Prediction<'a> {
    /// Which of the pieces.
    pub piece: usize,
    /// Which of its symbols, from 0.
    pub step: usize,
    /// Its negative log-likelihood, in nats; of chords with the unknown-chord rule.
    pub nll: f64,
    /// The logits of the 88 keys (sigmoid model); else empty.
    pub logits: &'a [f32],
}

/// What ends an evaluation that is asked to stop; nothing of it is kept.
#[derive(Debug, Clone, Copy)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        out.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Time steps read at a time; has no effect on the scores.
pub const WINDOW: usize = 50;

/// Scores each of `pieces`, in their order, `batch_size` of them side by side. `watch` hears of every prediction, a piece's in order.
///
/// # Errors
/// [`Interrupted`] soon after `interrupted` is set.
pub fn evaluate<B: Backend>(
    network: &Network<B>,
    data: &Data,
    pieces: &[Piece],
    batch_size: usize,
    interrupted: &AtomicBool,
    watch: &mut dyn FnMut(Prediction),
) -> Result<Vec<PieceScore>> {
    // Pieces of like length share a batch, so that little of it is padding.
    let mut by_length: Vec<usize> = (0..pieces.len()).collect();
    by_length.sort_by_key(|&i| (std::cmp::Reverse(pieces[i].symbols.len()), i));
    let mut scores: Vec<PieceScore> = pieces.iter().map(PieceScore::empty).collect();
    for group in by_length.chunks(batch_size.max(1)) {
        let mut state = network.zero_state(group.len());
        let longest = pieces[group[0]].symbols.len();
        for start in (0..longest).step_by(WINDOW) {
            if interrupted.load(Ordering::Relaxed) {
                bail!(Interrupted);
            }
            let length = WINDOW.min(longest - start);
            let batch = window(data, pieces, group, start, length);
            let evaluation = network.evaluate(&batch, &mut state)?;
            for t in 0..length {
                for (sequence, &piece) in group.iter().enumerate() {
                    if start + t < pieces[piece].symbols.len() {
                        let row = t * group.len() + sequence;
                        let predicted = evaluation.predicted.get(row).copied();
                        let nll = f64::from(evaluation.nll[row]);
                        let symbols = &pieces[piece].symbols;
                        let nll = scores[piece].add(data, symbols, start + t, nll, predicted);
                        let logits = match evaluation.logits.is_empty() {
                            true => &[][..],
                            false => &evaluation.logits[row * KEYS..][..KEYS],
                        };
                        watch(Prediction {
                            piece,
                            step: start + t,
                            nll,
                            logits,
                        });
                    }
                }
            }
        }
    }
    Ok(scores)
}

/// Steps `start..start + length` of the pieces in `group` as one batch, padded where a piece has ended.
fn window(data: &Data, pieces: &[Piece], group: &[usize], start: usize, length: usize) -> Batch {
    let rows = |shift: usize| {
        (start..start + length).flat_map(move |step| {
            group
                .iter()
                .map(move |&piece| (piece, step.checked_sub(shift)))
        })
    };
    let token = |(piece, step): (usize, Option<usize>)| match &pieces[piece].symbols {
        Symbols::Tokens(tokens) => step
            .and_then(|step| tokens.get(step))
            .copied()
            .filter(|&id| data.knows(id)),
        Symbols::Keys(_) => None,
    };
    let keys = |(piece, step): (usize, Option<usize>)| match &pieces[piece].symbols {
        Symbols::Keys(keys) => step.and_then(|step| keys.get(step)).copied(),
        Symbols::Tokens(_) => None,
    };
    let symbols = |shift: usize| match &data.train {
        Symbols::Tokens(_) => Symbols::Tokens(
            rows(shift)
                .map(|row| token(row).unwrap_or(NO_TOKEN))
                .collect(),
        ),
        Symbols::Keys(_) => Symbols::Keys(rows(shift).map(|row| keys(row).unwrap_or(0)).collect()),
    };
    Batch {
        inputs: symbols(1),
        targets: symbols(0),
        batch_size: group.len(),
        length,
    }
}

impl PieceScore {
    fn empty(piece: &Piece) -> Self {
        let steps = piece.symbols.len();
        Self {
            piece: piece.name.clone(),
            steps,
            nll: 0.0,
            density_nll: 0.0,
            unknown: 0,
            hits: 0,
            misses: 0,
        }
    }

    /// Counts one step in, and returns what it costs, unknown tokens by their rule.
    fn add(
        &mut self,
        data: &Data,
        symbols: &Symbols,
        step: usize,
        nll: f64,
        predicted: Option<u128>,
    ) -> f64 {
        let density_nll = match symbols {
            Symbols::Tokens(tokens) if !data.knows(tokens[step]) => {
                self.unknown += 1;
                data.unknown_nll(tokens[step])
            }
            Symbols::Tokens(_) => {
                self.nll += nll;
                data.known_nll(nll)
            }
            Symbols::Keys(keys) => {
                self.nll += nll;
                let predicted = predicted.unwrap_or(0);
                self.hits += (keys[step] & predicted).count_ones() as usize;
                self.misses += (keys[step] ^ predicted).count_ones() as usize;
                nll
            }
        };
        self.density_nll += density_nll;
        density_nll
    }
}

/// What the scores of one split come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SplitScore {
    /// Nats per known token.
    pub loss: f64,
    /// Nats per step, unknown tokens by their rule.
    pub nll_per_step: f64,
    /// TP / (TP + FP + FN) over all keys and steps (Bay et al. 2009); NaN where no key sounds or is predicted.
    pub frame_accuracy: f64,
    /// The share of steps whose token the vocabulary does not hold.
    pub unknown_share: f64,
}

impl SplitScore {
    /// The sums of `scores`, divided by their numbers of steps. NaN where there is no step.
    pub fn of(scores: &[PieceScore]) -> Self {
        let sum = |value: fn(&PieceScore) -> f64| scores.iter().map(value).sum::<f64>();
        let steps = sum(|score| score.steps as f64);
        let unknown = sum(|score| score.unknown as f64);
        let hits = sum(|score| score.hits as f64);
        Self {
            loss: sum(|score| score.nll) / (steps - unknown),
            nll_per_step: sum(|score| score.density_nll) / steps,
            frame_accuracy: hits / (hits + sum(|score| score.misses as f64)),
            unknown_share: unknown / steps,
        }
    }
}
