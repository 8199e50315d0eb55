//! How points lie to one another: whether labelled points keep to their own kind, and whether a map keeps what was near.
//!
//! All distances are Euclidean. Labels are small integers, one a point. Ties between equally near points go to the lower index.

/// The distances between points, `(n, n)` row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Distances {
    values: Vec<f64>,
    points: usize,
}

impl Distances {
    /// The distances between `rows`, which have the same length.
    pub fn between<R: AsRef<[f64]>>(rows: &[R]) -> Self {
        let points = rows.len();
        let mut values = vec![0.0; points * points];
        for i in 0..points {
            for j in 0..i {
                let squared: f64 = rows[i]
                    .as_ref()
                    .iter()
                    .zip(rows[j].as_ref())
                    .map(|(a, b)| (a - b) * (a - b))
                    .sum();
                values[i * points + j] = squared.sqrt();
                values[j * points + i] = squared.sqrt();
            }
        }
        Self { values, points }
    }

    /// How many points there are.
    pub fn points(&self) -> usize {
        self.points
    }

    /// The distances from point `i` to every point, itself included.
    pub fn from(&self, i: usize) -> &[f64] {
        &self.values[i * self.points..(i + 1) * self.points]
    }

    /// The other points, nearest first.
    fn order(&self, i: usize) -> Vec<usize> {
        let distances = self.from(i);
        let mut others: Vec<usize> = (0..self.points).filter(|j| *j != i).collect();
        others.sort_by(|a, b| distances[*a].total_cmp(&distances[*b]).then(a.cmp(b)));
        others
    }

    /// Each point's `k` nearest other points, nearest first; fewer where there are fewer.
    pub fn neighbours(&self, k: usize) -> Vec<Vec<usize>> {
        (0..self.points)
            .map(|i| self.order(i).into_iter().take(k).collect())
            .collect()
    }
}

/// The share of points' neighbours that carry the point's own label, averaged over the points: 1 is perfect separation.
///
/// `neighbours` is what [`Distances::neighbours`] gives. NaN without points or neighbours.
/// This is the mean of a leave-one-out k-nearest-neighbour vote's share (Manning et al. 2008, Introduction to Information
/// Retrieval, ch. 16, for purity as such).
pub fn purity(neighbours: &[Vec<usize>], labels: &[usize]) -> f64 {
    let own = |i: usize| {
        neighbours[i]
            .iter()
            .filter(|j| labels[**j] == labels[i])
            .count()
    };
    let (mut same, mut all) = (0, 0);
    for (i, near) in neighbours.iter().enumerate() {
        same += own(i);
        all += near.len();
    }
    same as f64 / all as f64
}

/// The mean silhouette coefficient, from −1 to 1 (Rousseeuw 1987).
///
/// For each point `(b − a) / max(a, b)`, with `a` its mean distance to the others of its label and `b` the smallest mean distance
/// to the points of another label; 0 for the only point of a label. NaN with fewer than two labels.
pub fn silhouette(distances: &Distances, labels: &[usize]) -> f64 {
    let classes = labels.iter().max().map_or(0, |it| it + 1);
    let mut sizes = vec![0_usize; classes];
    labels.iter().for_each(|label| sizes[*label] += 1);
    if sizes.iter().filter(|size| **size > 0).count() < 2 {
        return f64::NAN;
    }
    let mut total = 0.0;
    let mut sums = vec![0.0; classes];
    for (i, label) in labels.iter().enumerate() {
        if sizes[*label] == 1 {
            continue;
        }
        sums.fill(0.0);
        for (distance, other) in distances.from(i).iter().zip(labels) {
            sums[*other] += distance;
        }
        let a = sums[*label] / (sizes[*label] - 1) as f64;
        let others = (0..classes).filter(|class| class != label && sizes[*class] > 0);
        let b = others
            .map(|class| sums[class] / sizes[class] as f64)
            .fold(f64::INFINITY, f64::min);
        if a.max(b) > 0.0 {
            total += (b - a) / a.max(b);
        }
    }
    total / labels.len() as f64
}

/// How far a map can be trusted, from 0 to 1: whether points near in the map were near in `space` (Venna & Kaski 2001).
///
/// `1 − 2 / (n k (2n − 3k − 1)) · Σ_i Σ_j (r(i, j) − k)` over the points `j` among the `k` nearest of `i` in `map` but not in
/// `space`, with `r(i, j)` the rank of `j` by distance from `i` in `space`. NaN unless `k < n / 2`.
pub fn trustworthiness(space: &Distances, map: &Distances, k: usize) -> f64 {
    let n = space.points();
    if k == 0 || 2 * k >= n {
        return f64::NAN;
    }
    let mut penalty = 0_usize;
    let mut rank = vec![0; n];
    for (i, near) in map.neighbours(k).iter().enumerate() {
        for (position, j) in space.order(i).into_iter().enumerate() {
            rank[j] = position + 1;
        }
        penalty += near
            .iter()
            .map(|j| rank[*j].saturating_sub(k))
            .sum::<usize>();
    }
    1.0 - 2.0 * penalty as f64 / (n * k * (2 * n - 3 * k - 1)) as f64
}

/// The converse of [`trustworthiness`]: whether points near in `space` are still near in `map`.
pub fn continuity(space: &Distances, map: &Distances, k: usize) -> f64 {
    trustworthiness(map, space, k)
}

/// The distance between the mean rows of the two labels `a` and `b`, in the rows' own unit; NaN if either has no row.
pub fn centroid_distance<R: AsRef<[f64]>>(rows: &[R], labels: &[usize], a: usize, b: usize) -> f64 {
    let mean = |wanted: usize| -> Option<Vec<f64>> {
        let members: Vec<&[f64]> = rows
            .iter()
            .zip(labels)
            .filter(|(_, label)| **label == wanted)
            .map(|(row, _)| row.as_ref())
            .collect();
        let width = members.first()?.len();
        Some(
            (0..width)
                .map(|d| members.iter().map(|row| row[d]).sum::<f64>() / members.len() as f64)
                .collect(),
        )
    };
    match (mean(a), mean(b)) {
        (Some(a), Some(b)) => a
            .iter()
            .zip(&b)
            .map(|(x, y)| (x - y) * (x - y))
            .sum::<f64>()
            .sqrt(),
        _ => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twelve points by formula, so that another program can build the same ones.
    fn points() -> Vec<[f64; 3]> {
        (0..12)
            .map(|i| {
                let i = i as f64;
                [
                    (i * 1.7).sin() * 3.0 + if i < 6.0 { 0.0 } else { 2.0 },
                    (i * 0.9).cos() * 2.0,
                    (i * i * 0.31).sin(),
                ]
            })
            .collect()
    }

    fn map() -> Vec<[f64; 2]> {
        points()
            .iter()
            .map(|p| [p[0] + 0.5 * p[2], p[1] * p[2]])
            .collect()
    }

    const LABELS: [usize; 12] = [0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2];

    #[test]
    fn purity_of_separate_pairs_is_one_and_of_alternating_points_is_low() {
        let line: Vec<[f64; 1]> = [0.0, 1.0, 10.0, 11.0].map(|x| [x]).to_vec();
        let neighbours = Distances::between(&line).neighbours(1);
        assert_eq!(neighbours, [[1], [0], [3], [2]]);
        assert_eq!(purity(&neighbours, &[0, 0, 1, 1]), 1.0);
        assert_eq!(purity(&neighbours, &[0, 1, 0, 1]), 0.0);
    }

    #[test]
    fn silhouette_of_two_tight_pairs_by_hand() {
        let line: Vec<[f64; 1]> = [0.0, 1.0, 10.0, 11.0].map(|x| [x]).to_vec();
        // a = 1 for all; b = 10.5 for the outer points, 9.5 for the inner ones.
        let expected = ((10.5 - 1.0) / 10.5 + (9.5 - 1.0) / 9.5) / 2.0;
        assert!((silhouette(&Distances::between(&line), &[0, 0, 1, 1]) - expected).abs() < 1e-12);
        assert!(silhouette(&Distances::between(&line), &[0, 0, 0, 0]).is_nan());
    }

    #[test]
    fn the_numbers_agree_with_scikit_learn() {
        let (space, map) = (Distances::between(&points()), Distances::between(&map()));
        let close = |ours: f64, theirs: f64| {
            assert!((ours - theirs).abs() < 1e-9, "{ours} is not {theirs}")
        };
        close(silhouette(&space, &LABELS), SKLEARN_SILHOUETTE);
        close(trustworthiness(&space, &map, 5), SKLEARN_TRUSTWORTHINESS);
        close(continuity(&space, &map, 5), SKLEARN_CONTINUITY);
        close(purity(&space.neighbours(5), &LABELS), SKLEARN_PURITY);
    }

    // Printed by scikit-learn 1.9.1 for the points above: `silhouette_score`, `trustworthiness(space, map, n_neighbors=5)`, the same
    // with the two exchanged, and the mean share of equal labels among `NearestNeighbors(n_neighbors=5)`.
    const SKLEARN_SILHOUETTE: f64 = -0.13635364408962683;
    const SKLEARN_TRUSTWORTHINESS: f64 = 0.7916666666666666;
    const SKLEARN_CONTINUITY: f64 = 0.8291666666666666;
    const SKLEARN_PURITY: f64 = 0.3333333333333333;

    #[test]
    fn a_map_that_is_the_space_is_trusted_and_continuous() {
        let space = Distances::between(&points());
        assert_eq!(trustworthiness(&space, &space, 3), 1.0);
        assert_eq!(continuity(&space, &space, 3), 1.0);
        assert!(trustworthiness(&space, &space, 6).is_nan());
    }

    #[test]
    fn centroids_of_two_pairs_lie_their_means_apart() {
        let rows = [[0.0, 0.0], [2.0, 0.0], [4.0, 4.0], [4.0, 4.0]];
        assert_eq!(centroid_distance(&rows, &[0, 0, 1, 1], 0, 1), 5.0);
        assert!(centroid_distance(&rows, &[0, 0, 1, 1], 0, 2).is_nan());
    }
}
