//! How strongly a figure's labels hang together: lift over chance, its interval, and a p-value.
//!
//! Every sentence of the paper about a figure is judged by this one statistic. Lift is `(value − chance) / (1 − chance)`: 0 is
//! what chance gives, 1 is perfect separation. It has the form of Cohen's kappa, so [`BOUND`] follows the usual scale for kappa.

use std::collections::BTreeMap;

use crate::analysis::permutation::permutation_tests;
use rand::seq::SliceRandom;

/// The least lift that counts as structure, and the most that counts as none.
///
/// Landis & Koch (1977) call agreement up to 0.20 slight. What is at most slight is no structure; what is more, and significant, is.
pub const BOUND: f64 = 0.2;

/// The level of significance, after Holm's correction over all figure tests of a report.
pub const LEVEL: f64 = 0.05;

/// The 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// One statistic of labelled points, against chance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Structure {
    /// How many points there are.
    pub points: usize,
    /// The statistic, from 0 to 1: purity, or how often one kind of point lies nearer the centre.
    pub value: f64,
    /// What the statistic is on average when the labels mean nothing.
    pub chance: f64,
    /// `(value − chance) / (1 − chance)`.
    pub lift: f64,
    /// The lower end of the lift's 95 % interval.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// The share of shuffles that give at least as much, one-sided (Phipson & Smyth 2010).
    pub p_value: f64,
}

/// What a test says of the structure it looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Significant, and a lift of at least [`BOUND`].
    Present,
    /// The whole interval of the lift lies below [`BOUND`].
    Absent,
    /// Neither.
    Undecided,
}

impl Outcome {
    /// The outcome in a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Absent => "absent",
            Self::Undecided => "undecided",
        }
    }
}

impl Structure {
    /// What this comes to, with the p-value as it was adjusted for the tests that are read together with it.
    pub fn outcome(&self, p_holm: f64) -> Outcome {
        if p_holm < LEVEL && self.lift >= BOUND {
            Outcome::Present
        } else if self.high < BOUND {
            Outcome::Absent
        } else {
            Outcome::Undecided
        }
    }

    /// From a statistic, the standard error of its value, and the p-value.
    fn new(points: usize, value: f64, chance: f64, error: f64, p_value: f64) -> Self {
        let lift = (value - chance) / (1.0 - chance);
        let half = Z * error / (1.0 - chance);
        Self {
            points,
            value,
            chance,
            lift,
            low: lift - half,
            high: (lift + half).min(1.0),
            p_value,
        }
    }
}

/// Whether points have neighbours of their own label.
///
/// `graphs` holds each point's nearest neighbours, one graph a map; the value is the purity over all of them. Chance is exact:
/// `Σ c (c − 1) / (n (n − 1))` over the sizes `c` of the labels.
///
/// The interval is `± 1.96` standard errors. The standard error is the dyadic cluster-robust one (Fafchamps & Gubert 2007), since
/// neighbours share points, and not less than the standard deviation over shuffled labels.
pub fn of_labels(
    graphs: &[Vec<Vec<usize>>],
    labels: &[usize],
    permutations: usize,
    seed: u64,
) -> Structure {
    let mut weights: BTreeMap<(usize, usize), f64> = BTreeMap::new();
    for (i, near) in graphs.iter().flat_map(|graph| graph.iter().enumerate()) {
        for &j in near {
            *weights.entry((i.min(j), i.max(j))).or_default() += 1.0;
        }
    }
    let pairs: Vec<(usize, usize, f64)> = weights.iter().map(|(&(i, j), &w)| (i, j, w)).collect();
    let total: f64 = pairs.iter().map(|pair| pair.2).sum();
    let purity = |labels: &[usize]| -> f64 {
        let same = pairs.iter().filter(|(i, j, _)| labels[*i] == labels[*j]);
        same.map(|pair| pair.2).sum::<f64>() / total
    };
    let value = purity(labels);
    let (p_value, shuffled) = shuffle_test(value, labels, permutations, seed, purity);

    let (mut by_point, mut by_pair) = (vec![0.0; labels.len()], 0.0);
    for &(i, j, weight) in &pairs {
        let residual = weight * (f64::from(u8::from(labels[i] == labels[j])) - value);
        by_point[i] += residual;
        by_point[j] += residual;
        by_pair += residual * residual;
    }
    let squares: f64 = by_point.iter().map(|sum| sum * sum).sum();
    let dyadic = (squares - by_pair).max(0.0).sqrt() / total;
    Structure::new(
        labels.len(),
        value,
        same_label_by_chance(labels),
        dyadic.max(shuffled),
        p_value,
    )
}

/// Whether some points lie nearer the centre than the others.
///
/// `distances` holds each point's distance to the centre, one list a map. The value is the chance that a point with `inner` lies
/// nearer than one without, ties counted half (the area under the ROC curve), averaged over the maps; by chance it is 1/2. Its
/// standard error is DeLong's (1988), and not less than the standard deviation over shuffled labels.
pub fn of_centre(
    distances: &[Vec<f64>],
    inner: &[bool],
    permutations: usize,
    seed: u64,
) -> Structure {
    let points = inner.len();
    let maps = distances.len() as f64;
    // Each point's rank by distance, the mean over maps.
    let mut ranks = vec![0.0; points];
    for of_map in distances {
        for i in 0..points {
            let below = of_map.iter().filter(|d| **d < of_map[i]).count() as f64;
            let equal = of_map.iter().filter(|d| **d == of_map[i]).count() as f64;
            ranks[i] += (below + (equal + 1.0) / 2.0) / maps;
        }
    }
    let labels: Vec<usize> = inner.iter().map(|it| usize::from(*it)).collect();
    let near = labels.iter().sum::<usize>() as f64;
    let far = points as f64 - near;
    let area = |labels: &[usize]| -> f64 {
        let ranked = ranks.iter().zip(labels).filter(|it| *it.1 == 1);
        let sum: f64 = ranked.map(|it| it.0).sum();
        1.0 - (sum - near * (near + 1.0) / 2.0) / (near * far)
    };
    let value = area(&labels);
    let (p_value, shuffled) = shuffle_test(value, &labels, permutations, seed, area);

    // For each point, how often it is on the right side of a point of the other kind.
    let placement = |i: usize| -> f64 {
        let right = |of_map: &Vec<f64>| -> f64 {
            let others = (0..points).filter(|j| inner[*j] != inner[i]);
            let score = others.map(|j| {
                let (near, far) = if inner[i] { (i, j) } else { (j, i) };
                match of_map[near].total_cmp(&of_map[far]) {
                    std::cmp::Ordering::Less => 1.0,
                    std::cmp::Ordering::Equal => 0.5,
                    std::cmp::Ordering::Greater => 0.0,
                }
            });
            score.sum::<f64>() / if inner[i] { far } else { near }
        };
        distances.iter().map(right).sum::<f64>() / maps
    };
    let variance = |kind: bool| -> f64 {
        let values: Vec<f64> = (0..points)
            .filter(|i| inner[*i] == kind)
            .map(placement)
            .collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (n - 1.0) / n
    };
    let delong = (variance(true) + variance(false)).sqrt();
    Structure::new(points, value, 0.5, delong.max(shuffled), p_value)
}

/// How likely two different points have the same label.
fn same_label_by_chance(labels: &[usize]) -> f64 {
    let mut sizes: BTreeMap<usize, f64> = BTreeMap::new();
    for label in labels {
        *sizes.entry(*label).or_default() += 1.0;
    }
    let n = labels.len() as f64;
    sizes.values().map(|c| c * (c - 1.0)).sum::<f64>() / (n * (n - 1.0))
}

/// The p-value of `observed`, and the statistic's standard deviation over shuffles of the labels.
fn shuffle_test(
    observed: f64,
    labels: &[usize],
    permutations: usize,
    seed: u64,
    statistic: impl Fn(&[usize]) -> f64,
) -> (f64, f64) {
    let (mut sum, mut squares) = (0.0, 0.0);
    let [test] = permutation_tests(
        [observed],
        labels,
        |labels, rng| labels.shuffle(rng),
        permutations,
        seed,
        |labels| {
            // Relative to what was observed, so that squares of nearly equal numbers lose no digits.
            let drawn = statistic(labels);
            sum += drawn - observed;
            squares += (drawn - observed) * (drawn - observed);
            [drawn]
        },
    );
    let n = permutations as f64;
    let variance = (squares / n - (sum / n) * (sum / n)).max(0.0);
    (test.p_value, variance.sqrt())
}

#[cfg(test)]
mod tests {
    use rand::Rng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::analysis::neighbours::Distances;
    use crate::random;

    /// The classes of the points of each of the paper's figures, as our records have them.
    const FIGURES: [(&str, &[usize]); 4] = [
        ("Figure 1, mid-range", &[18, 18]),
        ("Figure 1, low and high", &[45, 45]),
        ("Figure 2", &[17, 24, 23]),
        ("Figure 3", &[27, 24, 31]),
    ];

    fn normal(rng: &mut ChaCha8Rng) -> f64 {
        // The sum of twelve uniform numbers: close enough to normal for a test.
        (0..12).map(|_| rng.gen_range(0.0..1.0)).sum::<f64>() - 6.0
    }

    /// Points in `dimensions` whose classes lie `gap` apart in the first one, five "maps" of them with some noise of their own.
    fn planted(
        sizes: &[usize],
        dimensions: usize,
        gap: f64,
        maps: usize,
        rng: &mut ChaCha8Rng,
    ) -> (Vec<Vec<Vec<usize>>>, Vec<usize>) {
        let labels: Vec<usize> = sizes
            .iter()
            .enumerate()
            .flat_map(|(label, size)| std::iter::repeat_n(label, *size))
            .collect();
        let rows: Vec<Vec<f64>> = labels
            .iter()
            .map(|label| {
                let mut row: Vec<f64> = (0..dimensions).map(|_| normal(rng)).collect();
                row[0] += gap * *label as f64;
                row
            })
            .collect();
        let graphs = (0..maps)
            .map(|_| {
                let noisy: Vec<Vec<f64>> = rows
                    .iter()
                    .map(|row| row.iter().map(|x| x + 0.2 * normal(rng)).collect())
                    .collect();
                Distances::between(&noisy).neighbours(5)
            })
            .collect();
        (graphs, labels)
    }

    /// The mean lift, and the shares of present and absent outcomes over `draws` draws; p is multiplied by `family` as Holm would at worst.
    fn outcomes(sizes: &[usize], gap: f64, family: f64, draws: u64) -> (f64, f64, f64) {
        let (mut lift, mut present, mut absent) = (0.0, 0.0, 0.0);
        for draw in 0..draws {
            let mut rng = random::stream(draw, "calibration");
            let (graphs, labels) = planted(sizes, 2, gap, 5, &mut rng);
            let found = of_labels(&graphs, &labels, 199, draw);
            let p = (found.p_value * family).min(1.0);
            lift += found.lift / draws as f64;
            match found.outcome(p) {
                Outcome::Present => present += 1.0 / draws as f64,
                Outcome::Absent => absent += 1.0 / draws as f64,
                Outcome::Undecided => {}
            }
        }
        (lift, present, absent)
    }

    /// The gap at which the mean lift over 40 draws comes nearest to `lift`.
    fn gap_for(sizes: &[usize], lift: f64) -> f64 {
        let (mut low, mut high) = (0.0, 8.0);
        for _ in 0..8 {
            let middle = (low + high) / 2.0;
            match outcomes(sizes, middle, 1.0, 40).0 < lift {
                true => low = middle,
                false => high = middle,
            }
        }
        (low + high) / 2.0
    }

    #[test]
    fn the_rule_is_calibrated_for_the_points_of_each_figure() {
        for (figure, sizes) in FIGURES {
            let draws = 200;
            let none = outcomes(sizes, 0.0, 1.0, draws);
            let slight = outcomes(sizes, gap_for(sizes, BOUND / 2.0), 1.0, draws);
            let twice = outcomes(sizes, gap_for(sizes, 2.0 * BOUND), 1.0, draws);
            let strong = outcomes(sizes, gap_for(sizes, 4.0 * BOUND), 1.0, draws);
            println!(
                "{figure}, {sizes:?} points: no structure → absent {:.2}, present {:.2}; lift {:.2} → absent {:.2}, present {:.2}; \
                 lift {:.2} → absent {:.2}, present {:.2}; lift {:.2} → present {:.2}",
                none.2,
                none.1,
                slight.0,
                slight.2,
                slight.1,
                twice.0,
                twice.2,
                twice.1,
                strong.0,
                strong.1
            );
            assert!(none.1 <= 0.05, "{figure}: {none:?}");
            assert!(none.2 >= 0.5, "{figure}: {none:?}");
            assert!(twice.2 <= 0.01, "{figure}: {twice:?}");
            assert!(twice.1 >= 0.7, "{figure}: {twice:?}");
            assert!(strong.1 >= 0.99, "{figure}: {strong:?}");
        }
    }

    #[test]
    fn shuffled_labels_of_separate_clusters_give_a_positive_outcome_in_at_most_one_of_twenty() {
        let mut rng = random::stream(3, "clusters");
        let (graphs, mut labels) = planted(&[30, 30], 2, 12.0, 5, &mut rng);
        assert_eq!(of_labels(&graphs, &labels, 999, 0).lift, 1.0);
        let present = (0..400).filter(|draw| {
            labels.shuffle(&mut rng);
            let found = of_labels(&graphs, &labels, 199, *draw);
            found.outcome(found.p_value) == Outcome::Present
        });
        assert!(present.count() <= 20);
    }

    #[test]
    fn the_interval_covers_the_mean_lift_in_at_least_nine_of_ten_draws() {
        for gap in [0.0, 1.0, 1.6, 2.5] {
            let found: Vec<Structure> = (0..200)
                .map(|draw| {
                    let mut rng = random::stream(draw, "coverage");
                    let (graphs, labels) = planted(&[30, 30], 2, gap, 5, &mut rng);
                    of_labels(&graphs, &labels, 199, draw)
                })
                .collect();
            let mean = found.iter().map(|it| it.lift).sum::<f64>() / 200.0;
            let covers = found.iter().filter(|it| it.low <= mean && mean <= it.high);
            let share = covers.count() as f64 / 200.0;
            assert!(share >= 0.9, "gap {gap}: lift {mean}, coverage {share}");
        }
    }

    #[test]
    fn lift_is_that_of_hand_counted_purity() {
        // Four points in a row, 0 0 1 1, each with its nearest neighbour: 3 of 4 have one of their own label.
        let graphs = vec![vec![vec![1], vec![0], vec![1], vec![2]]];
        let found = of_labels(&graphs, &[0, 0, 1, 1], 999, 0);
        assert_eq!(found.value, 0.75);
        assert!((found.chance - 1.0 / 3.0).abs() < 1e-12);
        assert!((found.lift - 0.625).abs() < 1e-12);
    }

    #[test]
    fn points_at_the_centre_are_told_from_points_around_it() {
        let distances: Vec<f64> = (0..40).map(f64::from).collect();
        let inner: Vec<bool> = (0..40).map(|i| i < 20).collect();
        let found = of_centre(&[distances.clone(), distances.clone()], &inner, 999, 0);
        assert_eq!((found.value, found.lift, found.p_value), (1.0, 1.0, 0.001));
        assert_eq!(found.outcome(found.p_value), Outcome::Present);
        let outer: Vec<bool> = inner.iter().map(|it| !it).collect();
        let found = of_centre(std::slice::from_ref(&distances), &outer, 999, 0);
        assert_eq!((found.value, found.lift), (0.0, -1.0));
        assert_eq!(found.outcome(1.0), Outcome::Absent);
        let mixed: Vec<bool> = (0..40).map(|i| i % 2 == 0).collect();
        let found = of_centre(&[distances], &mixed, 999, 0);
        assert!((found.value - 0.525).abs() < 1e-12, "{found:?}");
        assert_ne!(found.outcome(found.p_value), Outcome::Present);
    }
}
