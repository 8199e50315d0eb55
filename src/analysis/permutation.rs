//! How unusual a statistic is when labels mean nothing: tests by shuffled labels, and many such tests read together.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::random;

/// What shuffling the labels makes of a statistic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Permuted {
    /// The statistic's mean under shuffled labels: what chance alone gives.
    pub chance: f64,
    /// `(1 + shuffles at least as large) / (1 + shuffles)` (Phipson & Smyth 2010): one-sided, large values count. NaN where the
    /// observed statistic is.
    pub p_value: f64,
}

/// Tests `observed` against `permutations` shuffles of `labels`, drawn from `seed`.
pub fn permutation_test(
    observed: f64,
    labels: &[usize],
    permutations: usize,
    seed: u64,
    statistic: impl Fn(&[usize]) -> f64,
) -> Permuted {
    let shuffle = |labels: &mut [usize], rng: &mut ChaCha8Rng| labels.shuffle(rng);
    let [test] = permutation_tests([observed], labels, shuffle, permutations, seed, |labels| {
        [statistic(labels)]
    });
    test
}

/// Tests several statistics of the same labels against the same `permutations` draws of new labels, made by `relabel` from `seed`.
///
/// `relabel` changes the labels in place, starting from the last draw, and must give every labelling that is as likely as the
/// observed one. A draw within 1e-12 of the observed value counts as at least as large, so that rounding cannot lower a p-value.
pub fn permutation_tests<L: Clone, const N: usize>(
    observed: [f64; N],
    labels: &[L],
    relabel: impl Fn(&mut [L], &mut ChaCha8Rng),
    permutations: usize,
    seed: u64,
    mut statistics: impl FnMut(&[L]) -> [f64; N],
) -> [Permuted; N] {
    let mut rng = random::stream(seed, "permutations");
    let mut labels = labels.to_vec();
    let (mut at_least, mut total) = ([0_usize; N], [0.0; N]);
    for _ in 0..permutations {
        relabel(&mut labels, &mut rng);
        let drawn = statistics(&labels);
        for i in 0..N {
            total[i] += drawn[i];
            at_least[i] += usize::from(drawn[i] >= observed[i] - 1e-12);
        }
    }
    std::array::from_fn(|i| Permuted {
        chance: total[i] / permutations as f64,
        p_value: match observed[i].is_nan() {
            true => f64::NAN,
            false => (1 + at_least[i]) as f64 / (1 + permutations) as f64,
        },
    })
}

/// The p-values adjusted for being read together, so that the chance of any false finding stays under the level (Holm 1979).
///
/// The i-th smallest of `m` is multiplied by `m − i` (counted from 0), and none is smaller than the one before it; 1 at most.
/// NaN stays NaN and does not count.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len())
        .filter(|i| !p_values[*i].is_nan())
        .collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut adjusted = vec![f64::NAN; p_values.len()];
    let mut smallest = 0.0_f64;
    for (rank, i) in order.iter().enumerate() {
        let factor = (order.len() - rank) as f64;
        smallest = smallest.max(factor * p_values[*i]).min(1.0);
        adjusted[*i] = smallest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::analysis::neighbours::{Distances, purity};

    #[test]
    fn a_permutation_test_never_gives_zero_and_knows_chance() {
        let line: Vec<[f64; 1]> = (0..20)
            .map(|i| [if i < 10 { i as f64 } else { 100.0 + i as f64 }])
            .collect();
        let labels: Vec<usize> = (0..20).map(|i| usize::from(i >= 10)).collect();
        let neighbours = Distances::between(&line).neighbours(5);
        let test = permutation_test(1.0, &labels, 999, 7, |shuffled| {
            purity(&neighbours, shuffled)
        });
        assert_eq!(test.p_value, 0.001);
        assert!((test.chance - 9.0 / 19.0).abs() < 0.01, "{}", test.chance);
        let same = permutation_test(0.5, &[0, 0, 0], 99, 7, |_| 0.5);
        assert_eq!(same.p_value, 1.0);
        assert!(
            permutation_test(f64::NAN, &[0, 1], 99, 7, |_| f64::NAN)
                .p_value
                .is_nan()
        );
    }

    #[test]
    fn several_statistics_of_the_same_draws_are_tested_as_each_alone() {
        let labels = [0, 1, 2, 3, 4];
        let first = |labels: &[usize]| labels[0] as f64;
        let last = |labels: &[usize]| labels[4] as f64;
        let shuffle = |labels: &mut [usize], rng: &mut ChaCha8Rng| labels.shuffle(rng);
        let both = permutation_tests([3.0, 4.0], &labels, shuffle, 499, 1, |labels| {
            [first(labels), last(labels)]
        });
        assert_eq!(both[0], permutation_test(3.0, &labels, 499, 1, first));
        assert_eq!(both[1], permutation_test(4.0, &labels, 499, 1, last));
    }

    #[test]
    fn adjusted_p_values_by_hand() {
        // 4 · 0.005; 3 · 0.01; 2 · 0.03; and 0.04, which may not fall under the one before it.
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        let expected = [0.03, 0.06, 0.06, 0.02];
        for (ours, expected) in adjusted.iter().zip(expected) {
            assert!((ours - expected).abs() < 1e-12, "{adjusted:?}");
        }
        assert_eq!(holm(&[0.7, 0.6]), [1.0, 1.0]);
        let one_missing = holm(&[f64::NAN, 0.02]);
        assert!(one_missing[0].is_nan() && one_missing[1] == 0.02);
    }

    proptest! {
        #[test]
        fn holm_keeps_the_order_and_never_lowers(ps in prop::collection::vec(0.0f64..=1.0, 0..9)) {
            let corrected = holm(&ps);
            for i in 0..ps.len() {
                prop_assert!(corrected[i] >= ps[i] && corrected[i] <= 1.0);
                for j in 0..ps.len() {
                    prop_assert!(ps[i] > ps[j] || corrected[i] <= corrected[j]);
                }
            }
        }
    }
}
