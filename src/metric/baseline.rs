//! What a model without a network scores: the yardsticks that a trained one must beat.
//!
//! Note baselines score 88-key piano rolls in nats per time step, token baselines score token streams in nats per token.
//! All are fitted on the train split. Each piece starts from silence, or from no token at all.

use std::ops::Range;

use rustc_hash::FxHashMap;

use crate::corpus::score::{KEYS, LOWEST_KEY};

/// The MIDI pitches of the 88 keys of a piano.
pub const PIANO_PITCHES: Range<usize> = LOWEST_KEY as usize..LOWEST_KEY as usize + KEYS;
/// Every MIDI pitch.
pub const ALL_PITCHES: Range<usize> = 0..128;

fn sounds(step: u128, pitch: usize) -> bool {
    step >> pitch & 1 == 1
}

/// The probability of each pitch to sound, given whether it sounded in the step before: a first-order Markov chain for each.
///
/// With `remembers` off, the same for a pitch's plain frequency. Estimates are add-one smoothed.
pub struct NoteBaseline {
    pitches: Range<usize>,
    remembers: bool,
    /// `[sounded before][pitch]`: probability to sound.
    probability: [[f64; 128]; 2],
}

impl NoteBaseline {
    /// Fits on pieces, each a sequence of pitch masks (bit p: MIDI pitch p sounds); scores cover `pitches` alone.
    pub fn fit<'a>(
        pieces: impl IntoIterator<Item = &'a [u128]>,
        pitches: Range<usize>,
        remembers: bool,
    ) -> Self {
        let mut on = [[1.0; 128]; 2];
        let mut all = [[2.0; 128]; 2];
        for piece in pieces {
            let mut before = 0;
            for &step in piece {
                for pitch in pitches.clone() {
                    let row = usize::from(remembers && sounds(before, pitch));
                    all[row][pitch] += 1.0;
                    on[row][pitch] += f64::from(u8::from(sounds(step, pitch)));
                }
                before = step;
            }
        }
        let probability = std::array::from_fn(|row| {
            std::array::from_fn(|pitch| on[row][pitch] / all[row][pitch])
        });
        Self {
            pitches,
            remembers,
            probability,
        }
    }

    /// Total negative log-likelihood of one piece, in nats; divide by its steps for nats per time step.
    pub fn nll(&self, piece: &[u128]) -> f64 {
        let mut total = 0.0;
        let mut before = 0;
        for &step in piece {
            total += self.step_nll(before, step);
            before = step;
        }
        total
    }

    /// Negative log-likelihood of `step` after `before`, in nats.
    fn step_nll(&self, before: u128, step: u128) -> f64 {
        let nll = |pitch: usize| {
            let p = self.probability[usize::from(self.remembers && sounds(before, pitch))][pitch];
            if sounds(step, pitch) {
                -p.ln()
            } else {
                -(-p).ln_1p()
            }
        };
        self.pitches.clone().map(nll).sum()
    }

    /// Log-probability of one chord under independent keys, in nats; `before` matters only to a chain.
    pub fn log_probability(&self, step: u128) -> f64 {
        -self.step_nll(0, step)
    }
}

/// Token frequencies of the train split, add-one smoothed over the vocabulary.
pub struct TokenUnigram {
    log_probability: Vec<f64>,
}

impl TokenUnigram {
    /// Fits on token ids below `vocabulary`.
    pub fn fit(tokens: impl IntoIterator<Item = u32>, vocabulary: usize) -> Self {
        let mut counts = vec![1u64; vocabulary];
        for token in tokens {
            counts[token as usize] += 1;
        }
        let total: u64 = counts.iter().sum();
        Self {
            log_probability: counts
                .iter()
                .map(|&count| (count as f64 / total as f64).ln())
                .collect(),
        }
    }

    /// Negative log-likelihood of one token, in nats.
    pub fn nll(&self, token: u32) -> f64 {
        -self.log_probability[token as usize]
    }
}

/// A first-order Markov chain over tokens, backed off to the unigram by Witten-Bell interpolation:
/// `P(b|a) = (c(a,b) + u(a)·P(b)) / (c(a) + u(a))`, with `u(a)` the number of distinct successors of `a`.
pub struct TokenMarkov {
    unigram: TokenUnigram,
    pairs: FxHashMap<(u32, u32), u32>,
    /// For each token: how often it is followed, and by how many distinct tokens.
    contexts: Vec<(u32, u32)>,
}

impl TokenMarkov {
    /// Fits on pieces of token ids below `vocabulary`.
    pub fn fit<'a>(pieces: impl IntoIterator<Item = &'a [u32]> + Clone, vocabulary: usize) -> Self {
        let unigram = TokenUnigram::fit(pieces.clone().into_iter().flatten().copied(), vocabulary);
        let mut pairs = FxHashMap::default();
        let mut contexts = vec![(0, 0); vocabulary];
        for piece in pieces {
            for pair in piece.windows(2) {
                let count = pairs.entry((pair[0], pair[1])).or_insert(0);
                *count += 1;
                contexts[pair[0] as usize].0 += 1;
                contexts[pair[0] as usize].1 += u32::from(*count == 1);
            }
        }
        Self {
            unigram,
            pairs,
            contexts,
        }
    }

    /// Negative log-likelihood of `token` after `before` (`None` at the start of a piece), in nats.
    pub fn nll(&self, before: Option<u32>, token: u32) -> f64 {
        let Some(before) = before else {
            return self.unigram.nll(token);
        };
        let (count, distinct) = self.contexts[before as usize];
        if count == 0 {
            return self.unigram.nll(token);
        }
        let pair = self.pairs.get(&(before, token)).copied().unwrap_or(0);
        let backed_off = f64::from(distinct) * (-self.unigram.nll(token)).exp();
        -((f64::from(pair) + backed_off) / f64::from(count + distinct)).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_baseline_without_data_is_the_uniform_guess() {
        let baseline = NoteBaseline::fit([], PIANO_PITCHES, true);
        assert!((baseline.nll(&[0, 1 << 60]) - 2.0 * 88.0 * 2f64.ln()).abs() < 1e-9);
    }

    #[test]
    fn a_markov_baseline_learns_that_notes_are_held() {
        let held: Vec<u128> = (0..100)
            .map(|step| if step < 50 { 0 } else { 1 << 60 })
            .collect();
        let plain = NoteBaseline::fit([&held[..]], PIANO_PITCHES, false);
        let chain = NoteBaseline::fit([&held[..]], PIANO_PITCHES, true);
        // The plain guess pays ln 2 a step for the key; the chain pays for one change of it. The other keys cost both the same.
        assert!(plain.nll(&held) - chain.nll(&held) > 50.0);
    }

    #[test]
    fn token_probabilities_add_up_to_one() {
        let pieces: [&[u32]; 2] = [&[0, 1, 1, 2], &[1, 0]];
        let markov = TokenMarkov::fit(pieces, 4);
        for before in [None, Some(0), Some(1), Some(2), Some(3)] {
            let total: f64 = (0..4).map(|token| (-markov.nll(before, token)).exp()).sum();
            assert!((total - 1.0).abs() < 1e-12, "{before:?}: {total}");
        }
        // Counts 2, 3, 1, 0 plus one each, of ten in all.
        assert!(
            (TokenUnigram::fit([0, 1, 1, 2, 1, 0], 4).nll(1) - (10f64 / 4.0).ln()).abs() < 1e-12
        );
    }
}
