//! Whether pitch is laid out in a space of note rows: the same step everywhere, octaves and fifths, and ON to OFF as a direction.
//!
//! Rows belong to rising pitches, one each. The statistics take `place`: the row that stands at each pitch, so that shuffled pitch
//! labels are a shuffled `place` and every shuffle costs `O(n)` to `O(n²)` look-ups, whatever the width of the rows.

use super::super::neighbours::Distances;

/// The inner products of rows about their mean, `(n, n)` row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Gram {
    values: Vec<f64>,
    rows: usize,
}

impl Gram {
    /// The inner products between `rows`, which have the same length.
    pub fn of<R: AsRef<[f64]>>(rows: &[R]) -> Self {
        let n = rows.len();
        let width = rows.first().map_or(0, |row| row.as_ref().len());
        let mean: Vec<f64> = (0..width)
            .map(|d| rows.iter().map(|row| row.as_ref()[d]).sum::<f64>() / n as f64)
            .collect();
        let centred: Vec<Vec<f64>> = rows
            .iter()
            .map(|row| row.as_ref().iter().zip(&mean).map(|(x, m)| x - m).collect())
            .collect();
        let values = centred
            .iter()
            .flat_map(|a| centred.iter().map(|b| dot(a, b)))
            .collect();
        Self { values, rows: n }
    }

    fn from(&self, i: usize) -> &[f64] {
        &self.values[i * self.rows..(i + 1) * self.rows]
    }

    /// `(row b − row a) · (row d − row c)`.
    fn between_steps(&self, (a, b): (usize, usize), (c, d): (usize, usize)) -> f64 {
        let (a, b) = (self.from(a), self.from(b));
        b[d] - b[c] - a[d] + a[c]
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Every step of one interval among some pitches: from a pitch to the one so many semitones above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steps {
    /// The positions of the lower and the upper pitch.
    steps: Vec<(usize, usize)>,
    /// The steps (by index) of which the second starts where the first ends.
    chained: Vec<(usize, usize)>,
}

impl Steps {
    /// The steps of `interval` semitones among rising `pitches`.
    pub fn of(pitches: &[u8], interval: u8) -> Self {
        let position = positions(pitches);
        let upper = |pitch: u8| position(i32::from(pitch) + i32::from(interval));
        let steps: Vec<(usize, usize)> = pitches
            .iter()
            .enumerate()
            .filter_map(|(lower, pitch)| Some((lower, upper(*pitch)?)))
            .collect();
        let starting = |at: usize| steps.iter().position(|(lower, _)| *lower == at);
        let chained = steps
            .iter()
            .enumerate()
            .filter_map(|(first, (_, end))| Some((first, starting(*end)?)))
            .collect();
        Self { steps, chained }
    }

    /// Whether all steps are the same: the mean cosine between the differences `e(p + k) − e(p)` and `e(q + k) − e(q)`, from −1 to 1.
    ///
    /// The mean is over all pairs of steps that share no row. Chained steps (`q = p + k`) share one, and their differences would
    /// have a cosine of −1/2 on average where rows are random. A difference of length zero counts as cosine 0. Rows that are
    /// exchangeable give 0 on average: exchanging the two rows of one step turns the cosine's sign. NaN without such a pair.
    pub fn consistency(&self, gram: &Gram, place: &[usize]) -> f64 {
        let count = self.steps.len();
        let pairs = (count * count.saturating_sub(1) / 2).saturating_sub(self.chained.len());
        if pairs == 0 {
            return f64::NAN;
        }
        let rows = |step: usize| {
            let (lower, upper) = self.steps[step];
            (place[lower], place[upper])
        };
        // The sum of all unit differences is a weighted sum of rows: its squared length holds every pair of steps at once.
        let mut weights = vec![0.0; gram.rows];
        let mut inverse = vec![0.0; count];
        let mut own = 0.0;
        for (step, inverse) in inverse.iter_mut().enumerate() {
            let (lower, upper) = rows(step);
            let length = gram.between_steps((lower, upper), (lower, upper)).sqrt();
            if length > 0.0 {
                *inverse = 1.0 / length;
                weights[upper] += *inverse;
                weights[lower] -= *inverse;
                own += 1.0;
            }
        }
        let mut product = vec![0.0; gram.rows];
        for (row, weight) in weights.iter().enumerate() {
            for (sum, value) in product.iter_mut().zip(gram.from(row)) {
                *sum += weight * value;
            }
        }
        let chained: f64 = self
            .chained
            .iter()
            .map(|&(a, b)| inverse[a] * inverse[b] * gram.between_steps(rows(a), rows(b)))
            .sum();
        ((dot(&weights, &product) - own) / 2.0 - chained) / pairs as f64
    }
}

/// Every place among some pitches where one interval can be compared with its two neighbours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbourhoods {
    /// The positions of a pitch, and of those one semitone less than, exactly, and one more than the interval away from it.
    places: Vec<[usize; 4]>,
}

impl Neighbourhoods {
    /// The places where `interval` semitones (at least 2) up or down, and one semitone less and more, lead to one of `pitches`.
    pub fn of(pitches: &[u8], interval: u8) -> Self {
        let position = positions(pitches);
        let mut places = Vec::new();
        for (at, pitch) in pitches.iter().enumerate() {
            for direction in [1, -1] {
                let away =
                    |by: i32| position(i32::from(*pitch) + direction * (i32::from(interval) + by));
                if let (Some(less), Some(same), Some(more)) = (away(-1), away(0), away(1)) {
                    places.push([at, less, same, more]);
                }
            }
        }
        Self { places }
    }

    /// How much closer rows lie that are the interval apart than rows one semitone less or more apart, in the unit of `distances`.
    ///
    /// The mean of `½ (d(p, p ± (k − 1)) + d(p, p ± (k + 1))) − d(p, p ± k)`: positive if the interval is closer. Both neighbours
    /// are taken, so that a distance that grows evenly with the interval gives exactly 0. NaN without a place.
    pub fn closeness(&self, distances: &Distances, place: &[usize]) -> f64 {
        let sum: f64 = self
            .places
            .iter()
            .map(|&[at, less, same, more]| {
                let from = distances.from(place[at]);
                (from[place[less]] + from[place[more]]) / 2.0 - from[place[same]]
            })
            .sum();
        sum / self.places.len() as f64
    }
}

/// Looks up the position of a pitch among rising `pitches`.
fn positions(pitches: &[u8]) -> impl Fn(i32) -> Option<usize> {
    let mut table = [None; 256];
    for (position, pitch) in pitches.iter().enumerate() {
        table[usize::from(*pitch)] = Some(position);
    }
    move |pitch| *table.get(usize::try_from(pitch).ok()?)?
}

/// The cosines between differences of rows: `offsets[i]` against `offsets[j]`, `(n, n)`; 0 where one has no length.
pub fn cosines(offsets: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let length: Vec<f64> = offsets.iter().map(|it| dot(it, it).sqrt()).collect();
    let cosine = |i: usize, j: usize| match length[i] * length[j] {
        scale if scale > 0.0 => dot(&offsets[i], &offsets[j]) / scale,
        _ => 0.0,
    };
    (0..offsets.len())
        .map(|i| (0..offsets.len()).map(|j| cosine(i, j)).collect())
        .collect()
}

/// Whether differences share one direction: their mean cosine over all pairs, each difference turned around where its sign is −1.
///
/// From −1 / (n − 1) to 1; 0 on average if every sign is a coin's. NaN with fewer than two.
pub fn direction_consistency(cosines: &[Vec<f64>], signs: &[f64]) -> f64 {
    let n = signs.len();
    let mut sum = 0.0;
    for i in 0..n {
        sum += signs[i] * dot(&cosines[i][..i], &signs[..i]);
    }
    sum / (n * n.saturating_sub(1) / 2) as f64
}

/// The rows without what a polynomial of the pitch tells of them: the residuals of a least-squares fit of that degree in each
/// dimension, so that what is left is not a matter of register.
pub fn without_trend<R: AsRef<[f64]>>(rows: &[R], pitches: &[u8], degree: i32) -> Vec<Vec<f64>> {
    let mut residuals: Vec<Vec<f64>> = rows.iter().map(|row| row.as_ref().to_vec()).collect();
    let mut basis: Vec<Vec<f64>> = Vec::new();
    for power in 0..=degree {
        // Pitches about the middle of the range, in four octaves, so that the powers stay near 1.
        let mut column: Vec<f64> = pitches
            .iter()
            .map(|pitch| ((f64::from(*pitch) - 64.0) / 48.0).powi(power))
            .collect();
        // Twice, since once leaves rounding behind where powers are nearly alike.
        for other in basis.iter().chain(&basis) {
            let along = dot(&column, other);
            column
                .iter_mut()
                .zip(other)
                .for_each(|(x, y)| *x -= along * y);
        }
        let length = dot(&column, &column).sqrt();
        if length > 1e-9 {
            column.iter_mut().for_each(|x| *x /= length);
            basis.push(column);
        }
    }
    for column in &basis {
        for d in 0..residuals.first().map_or(0, Vec::len) {
            let along: f64 = residuals
                .iter()
                .zip(column)
                .map(|(row, y)| row[d] * y)
                .sum();
            residuals
                .iter_mut()
                .zip(column)
                .for_each(|(row, y)| row[d] -= along * y);
        }
    }
    residuals
}

/// The mean distance between two different points; NaN with fewer than two.
pub fn mean_distance(distances: &Distances) -> f64 {
    let n = distances.points();
    let sum: f64 = (0..n).map(|i| distances.from(i).iter().sum::<f64>()).sum();
    sum / (n * n.saturating_sub(1)) as f64
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::random;

    fn random_rows(rows: usize, width: usize) -> Vec<Vec<f64>> {
        let mut rng = random::stream(3, "rows");
        (0..rows)
            .map(|_| (0..width).map(|_| rng.gen_range(-1.0..1.0)).collect())
            .collect()
    }

    fn in_order(rows: usize) -> Vec<usize> {
        (0..rows).collect()
    }

    /// The mean cosine as its definition says it, pair by pair.
    fn pair_by_pair(rows: &[Vec<f64>], pitches: &[u8], interval: u8) -> f64 {
        let row = |pitch: u8| {
            pitches
                .iter()
                .position(|it| *it == pitch)
                .map(|at| &rows[at])
        };
        let (mut sum, mut pairs) = (0.0, 0);
        for p in pitches {
            for q in pitches.iter().filter(|q| *q > p && **q != p + interval) {
                let ends = (row(*p), row(p + interval), row(*q), row(q + interval));
                if let (Some(a), Some(b), Some(c), Some(d)) = ends {
                    let minus = |x: &[f64], y: &[f64]| -> Vec<f64> {
                        x.iter().zip(y).map(|(x, y)| x - y).collect()
                    };
                    let (first, second) = (minus(b, a), minus(d, c));
                    sum +=
                        dot(&first, &second) / (dot(&first, &first) * dot(&second, &second)).sqrt();
                    pairs += 1;
                }
            }
        }
        sum / f64::from(pairs)
    }

    #[test]
    fn rows_linear_in_pitch_take_the_same_step_everywhere() {
        let pitches: Vec<u8> = (40..60).collect();
        let rows: Vec<[f64; 3]> = pitches
            .iter()
            .map(|p| {
                let p = f64::from(*p);
                [2.0 * p + 1.0, -p, 5.0]
            })
            .collect();
        let gram = Gram::of(&rows);
        for interval in 1..=12 {
            let consistency = Steps::of(&pitches, interval).consistency(&gram, &in_order(20));
            assert!((consistency - 1.0).abs() < 1e-9, "{interval}");
        }
    }

    #[test]
    fn consistency_by_hand() {
        // Steps of 1: right, up, left; right and left share no row, the others are chained.
        let rows = [[0.0, 0.0], [1.0, 0.0], [1.0, 2.0], [-2.0, 2.0]];
        let steps = Steps::of(&[60, 61, 62, 63], 1);
        assert_eq!(steps.chained, [(0, 1), (1, 2)]);
        let consistency = steps.consistency(&Gram::of(&rows), &in_order(4));
        assert!((consistency + 1.0).abs() < 1e-12);
        // Of 60, 61, 62, 63 in the order 60, 62, 61, 63: right and up, diagonal, and left and down.
        let shuffled = steps.consistency(&Gram::of(&rows), &[0, 2, 1, 3]);
        let by_hand = (1.0 * -3.0 + 2.0 * 2.0) / (5.0_f64.sqrt() * 13.0_f64.sqrt());
        assert!((shuffled - by_hand).abs() < 1e-12, "{shuffled}");
        assert!(
            Steps::of(&[60, 61, 62], 1)
                .consistency(&Gram::of(&rows[..3]), &in_order(3))
                .is_nan()
        );
    }

    #[test]
    fn consistency_is_its_definition_on_pitches_with_gaps() {
        let pitches: Vec<u8> = (31..97).filter(|p| p % 7 != 0).collect();
        let rows = random_rows(pitches.len(), 5);
        let gram = Gram::of(&rows);
        for interval in [1, 5, 7, 12] {
            let steps = Steps::of(&pitches, interval);
            let fast = steps.consistency(&gram, &in_order(rows.len()));
            let slow = pair_by_pair(&rows, &pitches, interval);
            assert!((fast - slow).abs() < 1e-10, "{interval}: {fast} {slow}");
        }
    }

    #[test]
    fn a_step_of_no_length_counts_as_cosine_zero() {
        let rows = [[0.0], [0.0], [5.0], [6.0], [9.0], [11.0]];
        let steps = Steps::of(&[10, 11, 20, 21, 30, 31], 1);
        let consistency = steps.consistency(&Gram::of(&rows), &in_order(6));
        assert!((consistency - 1.0 / 3.0).abs() < 1e-12, "{consistency}");
    }

    #[test]
    fn octaves_of_a_helix_are_closer_and_a_line_has_no_closer_interval() {
        let pitches: Vec<u8> = (36..84).collect();
        let angle = |p: u8| f64::from(p) * std::f64::consts::TAU / 12.0;
        let helix: Vec<[f64; 2]> = pitches
            .iter()
            .map(|p| [angle(*p).cos(), angle(*p).sin()])
            .collect();
        let distances = Distances::between(&helix);
        let octave = Neighbourhoods::of(&pitches, 12);
        // On the circle an octave is no distance; 11 and 13 semitones are a chord of 30 degrees.
        let chord = 2.0 * (std::f64::consts::PI / 12.0).sin();
        assert!((octave.closeness(&distances, &in_order(48)) - chord).abs() < 1e-12);
        let line: Vec<[f64; 1]> = pitches.iter().map(|p| [f64::from(*p) / 3.0]).collect();
        let distances = Distances::between(&line);
        for interval in [5, 7, 12] {
            let closeness =
                Neighbourhoods::of(&pitches, interval).closeness(&distances, &in_order(48));
            assert!(closeness.abs() < 1e-12, "{interval}");
        }
    }

    #[test]
    fn closeness_by_hand_up_and_down() {
        // From 60 up to 61, 62, 63, and from 63 down to 62, 61, 60.
        let rows = [[0.0], [3.0], [4.0], [9.0]];
        let neighbourhoods = Neighbourhoods::of(&[60, 61, 62, 63], 2);
        assert_eq!(neighbourhoods.places, [[0, 1, 2, 3], [3, 2, 1, 0]]);
        let closeness = neighbourhoods.closeness(&Distances::between(&rows), &in_order(4));
        let by_hand = (((3.0 + 9.0) / 2.0 - 4.0) + ((5.0 + 9.0) / 2.0 - 6.0)) / 2.0;
        assert_eq!(closeness, by_hand);
        let none = Neighbourhoods::of(&[60, 62], 2);
        assert!(
            none.closeness(&Distances::between(&rows), &in_order(2))
                .is_nan()
        );
    }

    #[test]
    fn one_offset_everywhere_is_one_direction_and_signs_turn_it() {
        let same = cosines(&vec![vec![0.5, -2.0]; 4]);
        assert!((direction_consistency(&same, &[1.0; 4]) - 1.0).abs() < 1e-12);
        // Two against two: of six pairs, two agree and four oppose.
        let turned = direction_consistency(&same, &[1.0, 1.0, -1.0, -1.0]);
        assert!((turned + 1.0 / 3.0).abs() < 1e-12);
        assert!(direction_consistency(&same[..1], &[1.0]).is_nan());
        let still = cosines(&[vec![0.0], vec![1.0]]);
        assert_eq!(direction_consistency(&still, &[1.0, 1.0]), 0.0);
    }

    #[test]
    fn a_cubic_has_a_cubic_trend_and_a_wave_keeps_what_is_no_parabola() {
        let pitches: Vec<u8> = (30..90).filter(|p| p % 5 != 0).collect();
        let cubic = |p: u8| 1e-3 * f64::from(p).powi(3) - 2.0 * f64::from(p) + 7.0;
        let rows: Vec<[f64; 2]> = pitches.iter().map(|p| [cubic(*p), -1.0]).collect();
        for row in without_trend(&rows, &pitches, 3) {
            assert!(row.iter().all(|x| x.abs() < 1e-9), "{row:?}");
        }
        // Of three points a line leaves (1, −2, 1) times a sixth of the second difference.
        let left = without_trend(&[[0.0], [0.0], [6.0]], &[60, 61, 62], 1);
        for (row, expected) in left.iter().zip([1.0, -2.0, 1.0]) {
            assert!((row[0] - expected).abs() < 1e-12, "{left:?}");
        }
    }

    #[test]
    fn the_mean_distance_of_three_points_by_hand() {
        let distances = Distances::between(&[[0.0], [1.0], [5.0]]);
        assert!((mean_distance(&distances) - 10.0 / 3.0).abs() < 1e-12);
    }
}
