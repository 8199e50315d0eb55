//! Embedding rows → points of a map: t-SNE, by linfa-tsne's exact mode, from a seed.
//!
//! The only door to linfa-tsne. Exact mode draws from the seeded generator alone, so the same rows and seed give the same points;
//! the Barnes-Hut mode does not.

use anyhow::{Result, bail, ensure};
use linfa::traits::Transformer;
use linfa_tsne::TSneParams;
use ndarray::Array2;

use crate::random;

/// The fewest rows a map is made of.
pub const SMALLEST_MAP: usize = 4;

/// A two-dimensional map of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Map {
    /// One point a row, in the rows' order.
    pub points: Vec<[f64; 2]>,
    /// Kullback-Leibler divergence between the neighbourhoods of the rows and of the points, in nats: what t-SNE minimises.
    pub kl: f64,
}

/// The largest perplexity that `rows` rows allow: a third of the other rows.
pub fn largest_perplexity(rows: usize) -> f64 {
    rows.saturating_sub(1) as f64 / 3.0
}

/// Places `rows` (each of the same length) in the plane by t-SNE (van der Maaten & Hinton 2008).
///
/// Equal rows are allowed: they start apart, by the random start, and end close together. Fails on ragged rows, on a value that
/// is not finite, on rows that are all equal, and on a perplexity above [`largest_perplexity`].
pub fn embed(rows: &[Vec<f64>], perplexity: f64, iterations: usize, seed: u64) -> Result<Map> {
    let width = check(rows)?;
    ensure!(
        perplexity.is_finite() && perplexity >= 1.0,
        "failed to embed {} rows: the perplexity {perplexity} is below 1",
        rows.len()
    );
    ensure!(
        perplexity <= largest_perplexity(rows.len()),
        "failed to embed {} rows: the perplexity {perplexity} is too large; at most {:.2} (a third of the other rows) works",
        rows.len(),
        largest_perplexity(rows.len())
    );
    ensure!(
        iterations > 0,
        "failed to embed {} rows: no iterations asked for",
        rows.len()
    );
    let data: Vec<f64> = rows.iter().flatten().copied().collect();
    let data = Array2::from_shape_vec((rows.len(), width), data)?;
    let embedded = TSneParams::embedding_size_with_rng(2, random::stream(seed, "t-SNE start"))
        .perplexity(perplexity)
        .approx_threshold(0.0)
        .max_iter(iterations)
        .transform(data)
        .map_err(|error| {
            anyhow::anyhow!(
                "failed to embed {} rows of {width} values by t-SNE: {error}",
                rows.len()
            )
        })?;
    let points: Vec<[f64; 2]> = embedded
        .outer_iter()
        .map(|point| [point[0], point[1]])
        .collect();
    if points.iter().flatten().any(|value| !value.is_finite()) {
        bail!(
            "failed to embed {} rows by t-SNE: the map diverged; another seed or perplexity may work",
            rows.len()
        );
    }
    let kl = divergence(&neighbourhoods(rows, perplexity), &points);
    Ok(Map { points, kl })
}

/// The rows' common length.
fn check(rows: &[Vec<f64>]) -> Result<usize> {
    ensure!(
        rows.len() >= SMALLEST_MAP,
        "failed to embed {} rows: at least {SMALLEST_MAP} are needed",
        rows.len()
    );
    let width = rows[0].len();
    ensure!(
        width >= 2,
        "failed to embed rows of {width} values: at least 2 are needed"
    );
    for (index, row) in rows.iter().enumerate() {
        ensure!(
            row.len() == width,
            "failed to embed: row {index} has {} values, row 0 has {width}",
            row.len()
        );
        ensure!(
            row.iter().all(|value| value.is_finite()),
            "failed to embed: row {index} holds a value that is not finite"
        );
    }
    ensure!(
        rows.iter().any(|row| *row != rows[0]),
        "failed to embed {} rows: all are equal",
        rows.len()
    );
    Ok(width)
}

/// The joint neighbour probabilities `p_ij` of the rows, `(n, n)` row-major: Gaussian around each row, its width such that the
/// entropy is `ln perplexity`, made symmetric.
fn neighbourhoods(rows: &[Vec<f64>], perplexity: f64) -> Vec<f64> {
    let n = rows.len();
    let mut joint = vec![0.0; n * n];
    for i in 0..n {
        let mut squared: Vec<f64> = rows
            .iter()
            .map(|row| {
                row.iter()
                    .zip(&rows[i])
                    .map(|(a, b)| (a - b) * (a - b))
                    .sum::<f64>()
            })
            .collect();
        // The scale makes the search start near its end; the nearest other row makes the exponentials safe.
        squared[i] = f64::INFINITY;
        let nearest = squared.iter().copied().fold(f64::INFINITY, f64::min);
        let finite = squared.iter().filter(|it| it.is_finite());
        let scale = finite.sum::<f64>() / (n - 1) as f64;
        let scale = if scale > 0.0 { scale } else { 1.0 };
        let conditional = conditional(&squared, nearest, scale, perplexity.ln());
        for (j, probability) in conditional.iter().enumerate() {
            joint[i * n + j] += probability / (2 * n) as f64;
            joint[j * n + i] += probability / (2 * n) as f64;
        }
    }
    joint
}

/// One row's neighbour probabilities, by bisection on the precision of its Gaussian.
fn conditional(squared: &[f64], nearest: f64, scale: f64, target_entropy: f64) -> Vec<f64> {
    let (mut low, mut high, mut precision) = (0.0_f64, f64::INFINITY, 1.0_f64);
    let mut probabilities = vec![0.0; squared.len()];
    for _ in 0..200 {
        let mut sum = 0.0;
        for (probability, distance) in probabilities.iter_mut().zip(squared) {
            *probability = (-precision * (distance - nearest) / scale).exp();
            sum += *probability;
        }
        let mut entropy = 0.0;
        for probability in &mut probabilities {
            *probability /= sum;
            if *probability > 0.0 {
                entropy -= *probability * probability.ln();
            }
        }
        if (entropy - target_entropy).abs() < 1e-10 {
            break;
        }
        if entropy > target_entropy {
            low = precision;
            precision = if high.is_finite() {
                (low + high) / 2.0
            } else {
                precision * 2.0
            };
        } else {
            high = precision;
            precision = (low + high) / 2.0;
        }
        if !precision.is_finite() {
            break;
        }
    }
    probabilities
}

/// `KL(P || Q) = Σ p_ij ln(p_ij / q_ij)` with `q_ij` the Student-t similarities of the points.
fn divergence(joint: &[f64], points: &[[f64; 2]]) -> f64 {
    let n = points.len();
    let similarity = |i: usize, j: usize| {
        let (dx, dy) = (points[i][0] - points[j][0], points[i][1] - points[j][1]);
        1.0 / (1.0 + dx * dx + dy * dy)
    };
    let pairs = || (0..n).flat_map(|i| (0..n).filter(move |j| *j != i).map(move |j| (i, j)));
    let total: f64 = pairs().map(|(i, j)| similarity(i, j)).sum();
    pairs()
        .filter(|(i, j)| joint[i * n + j] > 0.0)
        .map(|(i, j)| joint[i * n + j] * (joint[i * n + j] * total / similarity(i, j)).ln())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    fn two_blobs() -> Vec<Vec<f64>> {
        let mut rng = random::stream(1, "blobs");
        (0..40)
            .map(|i| {
                (0..8)
                    .map(|_| rng.gen_range(-1.0..1.0) + if i < 20 { 0.0 } else { 20.0 })
                    .collect()
            })
            .collect()
    }

    #[test]
    fn two_blobs_stay_apart_and_the_same_seed_gives_the_same_bits() {
        let map = embed(&two_blobs(), 10.0, 500, 3).unwrap();
        let centre = |range: std::ops::Range<usize>| {
            let points = &map.points[range];
            points.iter().fold([0.0, 0.0], |sum, p| {
                [sum[0] + p[0] / 20.0, sum[1] + p[1] / 20.0]
            })
        };
        let (a, b) = (centre(0..20), centre(20..40));
        let between = ((a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2)).sqrt();
        let within = map.points[..20]
            .iter()
            .map(|p| ((p[0] - a[0]).powi(2) + (p[1] - a[1]).powi(2)).sqrt())
            .fold(0.0, f64::max);
        assert!(between > 2.0 * within, "{between} apart, {within} wide");
        assert_eq!(map, embed(&two_blobs(), 10.0, 500, 3).unwrap());
        assert_ne!(
            map.points,
            embed(&two_blobs(), 10.0, 500, 4).unwrap().points
        );
        assert!(map.kl > 0.0 && map.kl < 2.0, "{}", map.kl);
    }

    #[test]
    fn a_perplexity_too_large_for_the_rows_says_what_would_work() {
        let error = embed(&two_blobs(), 14.0, 10, 0).unwrap_err().to_string();
        assert!(error.contains("at most 13.00"), "{error}");
        assert_eq!(largest_perplexity(40), 13.0);
    }

    #[test]
    fn rows_that_cannot_be_embedded_are_named() {
        let mut rows = two_blobs();
        rows[7][2] = f64::NAN;
        assert!(
            embed(&rows, 5.0, 10, 0)
                .unwrap_err()
                .to_string()
                .contains("row 7")
        );
        assert!(
            embed(&vec![vec![1.0, 2.0]; 20], 5.0, 10, 0)
                .unwrap_err()
                .to_string()
                .contains("all are equal")
        );
        assert!(embed(&[], 5.0, 10, 0).is_err());
        let mut ragged = two_blobs();
        ragged[3].pop();
        assert!(
            embed(&ragged, 5.0, 10, 0)
                .unwrap_err()
                .to_string()
                .contains("row 3")
        );
    }

    #[test]
    fn equal_rows_are_placed_near_each_other() {
        let mut rows = two_blobs();
        for index in 1..12 {
            rows[index] = rows[0].clone();
        }
        let map = embed(&rows, 8.0, 500, 5).unwrap();
        assert!(map.points.iter().flatten().all(|value| value.is_finite()) && map.kl.is_finite());
    }

    #[test]
    fn neighbour_probabilities_have_the_asked_entropy() {
        let squared = [f64::INFINITY, 1.0, 2.0, 4.0, 9.0, 16.0];
        let p = conditional(&squared, 1.0, 6.4, 3f64.ln());
        let entropy: f64 = p
            .iter()
            .filter(|it| **it > 0.0)
            .map(|it| -it * it.ln())
            .sum();
        assert!((entropy - 3f64.ln()).abs() < 1e-9);
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }
}
