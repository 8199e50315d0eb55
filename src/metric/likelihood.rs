//! Likelihood: how well a model foresaw what came, in nats.

/// A negative log-likelihood and what it is over, summed before anything is divided.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Likelihood {
    /// The sum of −ln P over everything predicted.
    pub nats: f64,
    /// How many predictions that were: tokens, or time steps.
    pub count: u64,
}

impl Likelihood {
    /// Adds `count` predictions that cost `nats` together.
    pub fn add(&mut self, nats: f64, count: u64) {
        self.nats += nats;
        self.count += count;
    }

    /// The mean cost of a prediction, in nats; NaN of none.
    pub fn mean(&self) -> f64 {
        if self.count == 0 {
            f64::NAN
        } else {
            self.nats / self.count as f64
        }
    }

    /// exp(mean): among how many equally likely outcomes a guess would do as well. NaN of none.
    pub fn perplexity(&self) -> f64 {
        self.mean().exp()
    }
}

/// Notes foreseen, missed and imagined, over whole frames of piano roll.
///
/// Bay, Ehmann & Downie, "Evaluation of multiple-F0 estimation and tracking systems" (2009).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameCounts {
    /// Notes that were predicted and sounded.
    pub true_positives: u64,
    /// Notes that were predicted and did not sound.
    pub false_positives: u64,
    /// Notes that sounded and were not predicted.
    pub false_negatives: u64,
}

impl FrameCounts {
    /// Counts one key of one frame.
    pub fn add(&mut self, predicted: bool, sounded: bool) {
        match (predicted, sounded) {
            (true, true) => self.true_positives += 1,
            (true, false) => self.false_positives += 1,
            (false, true) => self.false_negatives += 1,
            (false, false) => {}
        }
    }

    /// TP / (TP + FP + FN); NaN where no note was predicted and none sounded.
    pub fn accuracy(&self) -> f64 {
        let all = self.true_positives + self.false_positives + self.false_negatives;
        if all == 0 {
            f64::NAN
        } else {
            self.true_positives as f64 / all as f64
        }
    }
}

/// The entropy of drawing from `counts`, in nats: the loss of a model that knows frequencies and no order.
///
/// H = −Σ p ln p = ln N − (Σ n ln n) / N. Zero counts are skipped; NaN where all are zero.
pub fn unigram_entropy(counts: impl IntoIterator<Item = u64>) -> f64 {
    let (mut total, mut weighted) = (0.0, 0.0);
    for count in counts.into_iter().filter(|count| *count > 0) {
        let count = count as f64;
        total += count;
        weighted += count * count.ln();
    }
    if total == 0.0 {
        f64::NAN
    } else {
        total.ln() - weighted / total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uniform_guess_over_v_outcomes_has_perplexity_v() {
        let mut likelihood = Likelihood::default();
        assert!(likelihood.perplexity().is_nan());
        for _ in 0..10 {
            likelihood.add(3.0 * 39_289f64.ln(), 3);
        }
        assert!((likelihood.perplexity() - 39_289.0).abs() < 1e-6);
        assert_eq!(likelihood.count, 30);
    }

    #[test]
    fn sums_come_before_the_division() {
        let mut likelihood = Likelihood::default();
        likelihood.add(1.0, 1);
        likelihood.add(9.0, 3);
        assert_eq!(likelihood.mean(), 2.5);
    }

    #[test]
    fn silence_foreseen_counts_for_nothing() {
        let mut counts = FrameCounts::default();
        counts.add(false, false);
        assert!(counts.accuracy().is_nan());
        for (predicted, sounded) in [(true, true), (true, false), (false, true), (false, true)] {
            counts.add(predicted, sounded);
        }
        assert_eq!(counts.accuracy(), 0.25);
    }

    #[test]
    fn unigram_entropy_of_equal_counts_is_the_logarithm_of_their_number() {
        assert!((unigram_entropy([7; 88]) - 88f64.ln()).abs() < 1e-12);
        assert!(
            (unigram_entropy([1, 3, 0]) - (0.25 * 4f64.ln() + 0.75 * (4.0f64 / 3.0).ln())).abs()
                < 1e-12
        );
        assert_eq!(unigram_entropy([5]), 0.0);
        assert!(unigram_entropy([0, 0]).is_nan());
    }
}
