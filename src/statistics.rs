//! The statistics of a comparison, as plain functions of values.

use rand::Rng;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// The outcome of a Mann-Whitney test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MannWhitney {
    /// How many pairs have the larger value in the first group; ties count a half.
    pub u: f64,
    /// The two-sided p-value, exact also with ties.
    pub p: f64,
    /// The smallest p-value that groups of this size, with these ties, could have given.
    pub smallest_p: f64,
}

/// The largest number of values for which [`mann_whitney`] counts every arrangement.
pub const MOST_VALUES: usize = 200;

/// Whether one group tends to larger values than the other: the Mann-Whitney U test, two-sided, with an exact p-value.
///
/// The p-value is 2 · min(P(U ≤ u), P(U ≥ u)), at most 1, over all ways of dealing the observed (mid)ranks to groups of
/// these sizes; without ties this is SciPy's `mannwhitneyu(method="exact")`. `None` if a group is empty, a value is NaN,
/// or there are more than [`MOST_VALUES`]. Source: Mann & Whitney (1947); for ties, Streitberg & Röhmel (1986).
pub fn mann_whitney(a: &[f64], b: &[f64]) -> Option<MannWhitney> {
    let total = a.len() + b.len();
    if a.is_empty()
        || b.is_empty()
        || total > MOST_VALUES
        || a.iter().chain(b).any(|it| it.is_nan())
    {
        return None;
    }
    let ranks = doubled_midranks(a, b);
    let observed: usize = ranks[..a.len()].iter().sum();

    // ways[n][s]: in how many ways n of the ranks seen so far add up to s.
    let most: usize = ranks.iter().sum();
    let mut ways = vec![vec![0.0f64; most + 1]; a.len() + 1];
    ways[0][0] = 1.0;
    for rank in ranks {
        for n in (1..=a.len()).rev() {
            let (fewer, more) = ways.split_at_mut(n);
            for sum in rank..=most {
                more[0][sum] += fewer[n - 1][sum - rank];
            }
        }
    }
    let ways = &ways[a.len()];
    let all: f64 = ways.iter().sum();
    let (at_most, at_least): (f64, f64) = (
        ways[..=observed].iter().sum(),
        ways[observed..].iter().sum(),
    );
    let mut extremes = ways.iter().filter(|it| **it > 0.0);
    let lowest = extremes.next().copied().unwrap_or(all);
    let highest = extremes.next_back().copied().unwrap_or(lowest);
    let n = a.len() as f64;
    Some(MannWhitney {
        u: observed as f64 / 2.0 - n * (n + 1.0) / 2.0,
        p: (2.0 * at_most.min(at_least) / all).min(1.0),
        smallest_p: (2.0 * lowest.min(highest) / all).min(1.0),
    })
}

/// Twice the rank of each value among all, those of `a` first; equal values share their mean rank.
fn doubled_midranks(a: &[f64], b: &[f64]) -> Vec<usize> {
    let values: Vec<f64> = a.iter().chain(b).copied().collect();
    let rank = |value: &f64| {
        let below = values.iter().filter(|it| *it < value).count();
        let equal = values.iter().filter(|it| *it == value).count();
        2 * below + equal + 1
    };
    values.iter().map(rank).collect()
}

/// An interval that holds 95 % of what resampling gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The 2.5 % quantile.
    pub low: f64,
    /// The 97.5 % quantile.
    pub high: f64,
}

/// How often a bootstrap resamples.
pub const RESAMPLES: usize = 10_000;

/// The percentile-bootstrap interval of mean(b) − mean(a), each group resampled by itself.
///
/// `None` if a group has fewer than two values: one value has no spread to resample. Source: Efron (1979).
pub fn bootstrap_difference(a: &[f64], b: &[f64], rng: &mut impl Rng) -> Option<Interval> {
    if a.len() < 2 || b.len() < 2 {
        return None;
    }
    let mut resampled_mean =
        |values: &[f64]| mean((0..values.len()).map(|_| values[rng.gen_range(0..values.len())]));
    Some(interval(
        (0..RESAMPLES)
            .map(|_| resampled_mean(b) - resampled_mean(a))
            .collect(),
    ))
}

/// One held-out piece under two models.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairedPiece {
    /// How many predictions the piece takes.
    pub count: u64,
    /// What they cost the first model together, in nats.
    pub nats_a: f64,
    /// What they cost the second.
    pub nats_b: f64,
}

/// The difference of two models' mean cost, B − A, in nats per prediction.
pub fn paired_difference(pieces: impl IntoIterator<Item = PairedPiece>) -> f64 {
    let (mut nats, mut count) = (0.0, 0);
    for piece in pieces {
        nats += piece.nats_b - piece.nats_a;
        count += piece.count;
    }
    nats / count as f64
}

/// The percentile-bootstrap interval of [`paired_difference`], whole pieces resampled: what another draw of held-out
/// pieces might have said of these two models. It says nothing of other seeds. `None` of fewer than two pieces.
pub fn paired_bootstrap(pieces: &[PairedPiece], rng: &mut impl Rng) -> Option<Interval> {
    if pieces.len() < 2 || pieces.iter().any(|it| it.count == 0) {
        return None;
    }
    let draw =
        |_| paired_difference((0..pieces.len()).map(|_| pieces[rng.gen_range(0..pieces.len())]));
    Some(interval((0..RESAMPLES).map(draw).collect()))
}

fn interval(mut values: Vec<f64>) -> Interval {
    values.sort_by(f64::total_cmp);
    Interval {
        low: quantile(&values, 0.025),
        high: quantile(&values, 0.975),
    }
}

/// The quantile `share` of ascending values, interpolated between neighbours (Hyndman & Fan's type 7, as NumPy). NaN of none.
pub fn quantile(ascending: &[f64], share: f64) -> f64 {
    let Some(last) = ascending.len().checked_sub(1) else {
        return f64::NAN;
    };
    let at = share * last as f64;
    let (below, above) = (
        ascending[at.floor() as usize],
        ascending[(at.ceil() as usize).min(last)],
    );
    if below == above {
        below
    } else {
        below + (above - below) * at.fract()
    }
}

/// The mean; NaN of none.
pub fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

/// The standard deviation of the population that `values` were drawn from (n − 1); NaN of fewer than two.
pub fn standard_deviation(values: &[f64]) -> f64 {
    let centre = mean(values.iter().copied());
    let squares: f64 = values.iter().map(|it| (it - centre).powi(2)).sum();
    (squares / (values.len() as f64 - 1.0)).sqrt()
}

/// What ± stands for, for whatever prints it.
pub const MEANING: &str = "± is half of the 95 % interval of the mean by Student's t";

/// Half the width of the 95 % interval of the mean by Student's t: `t · s / √n`. `None` of fewer than two values, or where all are
/// equal.
pub fn half_width(values: &[f64]) -> Option<f64> {
    let differ = values.windows(2).any(|pair| pair[0] != pair[1]);
    let quantile = || {
        let freedom = values.len() as f64 - 1.0;
        let student = StudentsT::new(0.0, 1.0, freedom);
        student
            .expect("there is at least one degree of freedom")
            .inverse_cdf(0.975)
    };
    differ.then(|| quantile() * standard_deviation(values) / (values.len() as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::stream;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn p_values_are_those_counted_by_hand() {
        // Three against three, wholly apart: 2 of the 20 arrangements are as extreme.
        let apart = mann_whitney(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]).unwrap();
        assert!(close(apart.u, 0.0) && close(apart.p, 0.1) && close(apart.smallest_p, 0.1));
        // Two against two: P(U ≤ 1) = 2/6.
        let mixed = mann_whitney(&[1.0, 3.0], &[2.0, 4.0]).unwrap();
        assert!(
            close(mixed.u, 1.0) && close(mixed.p, 2.0 / 3.0) && close(mixed.smallest_p, 1.0 / 3.0)
        );
        // A tie: ranks 1, 2.5, 2.5, 4; the first two of 6 arrangements have sum ≤ 3.5.
        let tied = mann_whitney(&[1.0, 2.0], &[2.0, 3.0]).unwrap();
        assert!(close(tied.u, 0.5) && close(tied.p, 2.0 / 3.0));
        let same = mann_whitney(&[1.0; 3], &[1.0; 4]).unwrap();
        assert!(close(same.u, 6.0) && close(same.p, 1.0) && close(same.smallest_p, 1.0));
        assert_eq!(mann_whitney(&[], &[1.0]), None);
        assert_eq!(mann_whitney(&[f64::NAN], &[1.0]), None);
    }

    #[test]
    fn p_values_are_those_of_scipy() {
        // scipy.stats.mannwhitneyu(a, b, method="exact")
        let five = [0.2, 1.4, 2.9, 3.1, 0.9];
        let seven = [2.0, 3.3, 4.1, 5.0, 2.5, 6.2, 1.1];
        let outcome = mann_whitney(&five, &seven).unwrap();
        assert!(
            close(outcome.u, 7.0) && close(outcome.p, 0.10606060606060606),
            "{outcome:?}"
        );
        let ten: Vec<f64> = (0..10)
            .map(|it| f64::from(it * it % 23) + 0.01 * f64::from(it))
            .collect();
        let twelve: Vec<f64> = (0..12).map(|it| f64::from(it * 7 % 19) + 0.5).collect();
        let outcome = mann_whitney(&ten, &twelve).unwrap();
        assert!(
            close(outcome.u, 52.0) && close(outcome.p, 0.6277375874899096),
            "{outcome:?}"
        );
    }

    #[test]
    fn p_values_of_random_groups_are_those_of_scipy_with_and_without_ties() {
        // A second method: scipy.stats.permutation_test over every arrangement, of the statistic of mannwhitneyu (SciPy 1.17.1).
        let cases: [(&[f64], &[f64], f64, f64); 8] = [
            (&[0.0, 0.3, -0.27], &[-0.09, 0.35, -0.19], 4.0, 1.0),
            (&[2.0, 0.0, 1.0], &[2.5, 0.5, 2.0], 2.5, 0.5),
            (
                &[0.0, 1.0, 2.0, 0.5],
                &[1.0, 1.0, 2.0, 1.0, 2.5],
                5.0,
                0.2857142857142857,
            ),
            (
                &[-0.03, 0.7],
                &[-0.54, 0.34, -1.1, -0.49, -1.04],
                9.0,
                0.19047619047619047,
            ),
            (
                &[1.0, 2.0, 0.0, 2.0, 1.5],
                &[0.5, 0.5, 1.5, 0.5, 0.5],
                18.5,
                0.2857142857142857,
            ),
            (
                &[1.0, 2.0, 1.0, 2.0, 2.0, 2.0],
                &[2.0, 1.5, 1.5, 1.0],
                15.0,
                0.5238095238095238,
            ),
            (
                &[-0.48, -0.98, -0.81],
                &[1.86, -0.01, 0.77, 1.68, 0.22, 0.69, 0.91, 0.86],
                0.0,
                0.012121212121212121,
            ),
            (
                &[-1.23, 0.08, 1.36, -1.55, 0.86],
                &[0.92, 0.16, 2.8, 1.56, -0.4, 0.87],
                7.0,
                0.1774891774891775,
            ),
        ];
        for (a, b, u, p) in cases {
            let found = mann_whitney(a, b).unwrap();
            assert!(
                close(found.u, u) && close(found.p, p),
                "{a:?} {b:?} {found:?}"
            );
        }
    }

    #[test]
    fn bootstrap_intervals_are_those_of_scipy() {
        // A second method: scipy.stats.bootstrap, percentile, 400,000 resamples, the same to the last digit with two seeds.
        let near = |found: Interval, low: f64, high: f64| {
            assert!(
                (found.low - low).abs() < 2e-3 && (found.high - high).abs() < 2e-3,
                "{found:?}"
            );
        };
        let (a, b) = ([2.31, 2.29, 2.35, 2.30], [2.20, 2.27, 2.24]);
        let found = bootstrap_difference(&a, &b, &mut stream(1, "test")).unwrap();
        near(found, -0.115, -0.0375);
        // Paired, over the pieces' counts and nats.
        let pieces = [
            (40, 92.0, 90.0),
            (10, 31.0, 33.0),
            (25, 60.0, 55.0),
            (60, 140.0, 131.0),
            (33, 70.0, 71.0),
        ];
        let pieces = pieces.map(|(count, nats_a, nats_b)| PairedPiece {
            count,
            nats_a,
            nats_b,
        });
        let found = paired_bootstrap(&pieces, &mut stream(1, "test")).unwrap();
        near(found, -0.14857142857142858, 0.031746031746031744);
    }

    #[test]
    fn quantiles_are_interpolated() {
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0], 0.5), 2.5);
        assert!(close(quantile(&[1.0, 2.0, 3.0, 4.0], 0.025), 1.075));
        assert_eq!(quantile(&[7.0], 0.975), 7.0);
        assert!(quantile(&[], 0.5).is_nan());
        assert!(close(
            standard_deviation(&[1.0, 2.0, 3.0, 4.0]),
            (5.0f64 / 3.0).sqrt()
        ));
    }

    #[test]
    fn a_constant_shift_has_no_spread_over_pieces() {
        let pieces: Vec<PairedPiece> = (1..9)
            .map(|it| PairedPiece {
                count: it,
                nats_a: 3.0 * it as f64,
                nats_b: 2.5 * it as f64,
            })
            .collect();
        let interval = paired_bootstrap(&pieces, &mut stream(0, "test")).unwrap();
        assert!(close(interval.low, -0.5) && close(interval.high, -0.5));
        assert!(paired_bootstrap(&pieces[..1], &mut stream(0, "test")).is_none());
    }

    #[test]
    fn the_bootstrap_of_two_values_knows_only_three_means() {
        // mean(b) is 0, 1 or 2 with chances 1/4, 1/2, 1/4, and a never moves.
        let interval =
            bootstrap_difference(&[5.0, 5.0], &[0.0, 2.0], &mut stream(0, "test")).unwrap();
        assert_eq!(
            interval,
            Interval {
                low: -5.0,
                high: -3.0
            }
        );
        assert!(bootstrap_difference(&[5.0], &[0.0, 2.0], &mut stream(0, "test")).is_none());
    }

    /// The p-value by dealing the values to the groups in every possible way.
    fn p_by_enumeration(a: &[f64], b: &[f64]) -> f64 {
        let values: Vec<f64> = a.iter().chain(b).copied().collect();
        let u = |first: u32| -> f64 {
            let in_first = |at: usize| first >> at & 1 == 1;
            let pairs = (0..values.len()).flat_map(|i| (0..values.len()).map(move |j| (i, j)));
            pairs
                .filter(|(i, j)| in_first(*i) && !in_first(*j))
                .map(|(i, j)| {
                    f64::from(u8::from(values[i] > values[j]))
                        + 0.5 * f64::from(u8::from(values[i] == values[j]))
                })
                .sum()
        };
        let observed = u((1 << a.len()) - 1);
        let deals: Vec<f64> = (0u32..1 << values.len())
            .filter(|it| it.count_ones() as usize == a.len())
            .map(u)
            .collect();
        let share = |fits: &dyn Fn(f64) -> bool| {
            deals.iter().filter(|it| fits(**it)).count() as f64 / deals.len() as f64
        };
        (2.0 * share(&|it| it <= observed).min(share(&|it| it >= observed))).min(1.0)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_p_value_is_that_of_enumeration(
            a in prop::collection::vec(0u8..6, 1..6),
            b in prop::collection::vec(0u8..6, 1..6),
        ) {
            let (a, b): (Vec<f64>, Vec<f64>) = (a.into_iter().map(f64::from).collect(), b.into_iter().map(f64::from).collect());
            let (forth, back) = (mann_whitney(&a, &b).unwrap(), mann_whitney(&b, &a).unwrap());
            prop_assert!(close(forth.p, p_by_enumeration(&a, &b)));
            prop_assert!(close(forth.p, back.p) && close(forth.u + back.u, (a.len() * b.len()) as f64));
            prop_assert!(forth.smallest_p <= forth.p + 1e-12 && forth.p <= 1.0);
        }

        #[test]
        fn an_interval_holds_the_difference_of_shifted_groups(
            a in prop::collection::vec(-9.0f64..9.0, 2..7),
            shift in -3.0f64..3.0,
            seed in any::<u64>(),
        ) {
            let b: Vec<f64> = a.iter().map(|it| it + shift).collect();
            let interval = bootstrap_difference(&a, &b, &mut stream(seed, "test")).unwrap();
            prop_assert!(interval.low <= shift + 1e-9 && shift - 1e-9 <= interval.high);
        }
    }

    #[test]
    fn a_half_width_is_that_of_the_tables() {
        // s = 1, n = 3: 4.3027 / √3 = 2.4841.
        let found = half_width(&[6.5, 7.5, 8.5]).unwrap();
        assert!((found - 2.4841).abs() < 1e-4, "{found}");
        // s = 1 / √2, n = 2: 12.7062 / 2.
        assert!((half_width(&[1.0, 2.0]).unwrap() - 6.3531).abs() < 1e-4);
        assert_eq!(half_width(&[3.0]), None);
        assert_eq!(half_width(&[7.1, 7.1, 7.1]), None);
    }
}
