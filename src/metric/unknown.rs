//! The likelihood of chords that the training data never showed.
//!
//! A model over chord tokens gives no probability to a chord outside its vocabulary. To score held-out music with a density,
//! `P(x) = (1 − ε) · P_model(x)` where the chord is known, else `ε · Q(x)`, with `Q` the product of independent note
//! frequencies of the train split, renormalised over the unseen chords, and `ε` the share of unseen steps in the valid split, by
//! Laplace's rule of succession.

use super::baseline::{ALL_PITCHES, NoteBaseline};

/// The rule fitted on one data set.
pub struct UnknownRule {
    /// The probability that a step is an unseen chord.
    pub epsilon: f64,
    notes: NoteBaseline,
    /// Logarithm of the probability that independent notes give to all unseen chords together.
    log_unseen_mass: f64,
}

impl UnknownRule {
    /// Fits the rule: note frequencies on the train pieces, `ε` on the valid split's counts (of `steps`, `unseen`).
    ///
    /// `known` are the chords of the vocabulary, each once. `ε = (unseen + 1) / (steps + 2)`, Laplace's rule of succession,
    /// so that a valid split without an unseen chord does not rule them out.
    pub fn fit<'a>(
        train: impl IntoIterator<Item = &'a [u128]>,
        known: impl IntoIterator<Item = u128>,
        unseen: usize,
        steps: usize,
    ) -> Self {
        let notes = NoteBaseline::fit(train, ALL_PITCHES, false);
        let known_mass: f64 = known
            .into_iter()
            .map(|chord| notes.log_probability(chord).exp())
            .sum();
        Self {
            epsilon: (unseen as f64 + 1.0) / (steps as f64 + 2.0),
            notes,
            log_unseen_mass: (1.0 - known_mass).max(f64::MIN_POSITIVE).ln(),
        }
    }

    /// Negative log-likelihood of a step whose chord is known, given the model's own, in nats.
    pub fn known(&self, model_nll: f64) -> f64 {
        model_nll - (-self.epsilon).ln_1p()
    }

    /// Negative log-likelihood of a step whose chord the train split never showed, in nats.
    pub fn unseen(&self, chord: u128) -> f64 {
        self.log_unseen_mass - self.epsilon.ln() - self.notes.log_probability(chord)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_density_adds_up_to_one_over_known_and_unseen_chords() {
        // After so long a silence, chords of three notes and more have a probability of third order in 1 / 2,000,002.
        let train = vec![0u128; 2_000_000];
        let known = [0u128, 1 << 60];
        let rule = UnknownRule::fit([&train[..]], known, 5, 98);
        assert!((rule.epsilon - 0.06).abs() < 1e-12);
        let known_total: f64 = (1.0 - rule.epsilon) * 1.0;
        let singles = (0..=127u32)
            .filter(|&pitch| pitch != 60)
            .map(|pitch| 1u128 << pitch);
        let pairs = (0..=127u32).flat_map(|a| (a + 1..=127).map(move |b| 1u128 << a | 1 << b));
        let unseen_total: f64 = singles
            .chain(pairs)
            .map(|chord| (-rule.unseen(chord)).exp())
            .sum();
        assert!(
            (known_total + unseen_total - 1.0).abs() < 1e-6,
            "{}",
            known_total + unseen_total
        );
    }

    #[test]
    fn a_known_step_pays_for_the_mass_kept_for_unseen_ones() {
        let rule = UnknownRule::fit([&[0u128][..]], [0u128], 49, 98);
        assert!((rule.known(2.0) - (2.0 + 2f64.ln())).abs() < 1e-12);
    }
}
