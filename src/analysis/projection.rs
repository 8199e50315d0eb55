//! Flat pictures of rows and how far two of them agree: principal components and Procrustes distance.

/// The rows' coordinates along their two directions of largest variance (Pearson 1901), and the share of variance each holds.
///
/// The directions are eigenvectors of the covariance matrix, found by Jacobi rotations, so the result is deterministic; each
/// one's sign is such that its largest coefficient is positive. Rows of equal values give zeros.
pub fn principal_components(rows: &[Vec<f64>]) -> (Vec<[f64; 2]>, [f64; 2]) {
    let n = rows.len();
    let width = rows.first().map_or(0, Vec::len);
    let means: Vec<f64> = (0..width)
        .map(|d| rows.iter().map(|row| row[d]).sum::<f64>() / n as f64)
        .collect();
    let centred: Vec<Vec<f64>> = rows
        .iter()
        .map(|row| row.iter().zip(&means).map(|(x, mean)| x - mean).collect())
        .collect();
    let mut covariance = vec![0.0; width * width];
    for row in &centred {
        for (i, a) in row.iter().enumerate() {
            for (j, b) in row.iter().enumerate() {
                covariance[i * width + j] += a * b;
            }
        }
    }
    let total: f64 = (0..width).map(|d| covariance[d * width + d]).sum();
    let (values, vectors) = symmetric_eigen(covariance, width);
    let mut order: Vec<usize> = (0..width).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]).then(a.cmp(b)));
    let mut points = vec![[0.0; 2]; n];
    let mut shares = [0.0; 2];
    for (axis, column) in order.into_iter().take(2).enumerate() {
        let direction: Vec<f64> = (0..width).map(|d| vectors[d * width + column]).collect();
        let largest = direction.iter().copied().fold(0.0_f64, |largest, x| {
            if x.abs() > largest.abs() { x } else { largest }
        });
        let sign = if largest < 0.0 { -1.0 } else { 1.0 };
        for (point, row) in points.iter_mut().zip(&centred) {
            point[axis] = sign * row.iter().zip(&direction).map(|(x, v)| x * v).sum::<f64>();
        }
        shares[axis] = if total > 0.0 {
            values[column] / total
        } else {
            0.0
        };
    }
    (points, shares)
}

/// Eigenvalues and eigenvectors (columns) of a symmetric `(n, n)` matrix, by cyclic Jacobi rotations (Golub & Van Loan, 8.5).
fn symmetric_eigen(mut matrix: Vec<f64>, n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut vectors = vec![0.0; n * n];
    (0..n).for_each(|d| vectors[d * n + d] = 1.0);
    let size: f64 = matrix.iter().map(|x| x * x).sum();
    for _ in 0..60 {
        let off: f64 = (0..n)
            .flat_map(|p| (p + 1..n).map(move |q| (p, q)))
            .map(|(p, q)| matrix[p * n + q].powi(2))
            .sum();
        if off <= 1e-26 * size {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut matrix, &mut vectors, n, p, q);
            }
        }
    }
    ((0..n).map(|d| matrix[d * n + d]).collect(), vectors)
}

/// One Jacobi rotation: makes element `(p, q)` zero.
fn rotate(matrix: &mut [f64], vectors: &mut [f64], n: usize, p: usize, q: usize) {
    let coupling = matrix[p * n + q];
    if coupling == 0.0 {
        return;
    }
    let tau = (matrix[q * n + q] - matrix[p * n + p]) / (2.0 * coupling);
    let tangent = if tau >= 0.0 {
        1.0 / (tau + (1.0 + tau * tau).sqrt())
    } else {
        -1.0 / (-tau + (1.0 + tau * tau).sqrt())
    };
    let cosine = 1.0 / (1.0 + tangent * tangent).sqrt();
    let sine = tangent * cosine;
    for k in 0..n {
        let (a, b) = (matrix[k * n + p], matrix[k * n + q]);
        matrix[k * n + p] = cosine * a - sine * b;
        matrix[k * n + q] = sine * a + cosine * b;
        let (a, b) = (vectors[k * n + p], vectors[k * n + q]);
        vectors[k * n + p] = cosine * a - sine * b;
        vectors[k * n + q] = sine * a + cosine * b;
    }
    for k in 0..n {
        let (a, b) = (matrix[p * n + k], matrix[q * n + k]);
        matrix[p * n + k] = cosine * a - sine * b;
        matrix[q * n + k] = sine * a + cosine * b;
    }
}

/// How far two maps of the same points differ once moved, scaled, turned and mirrored onto each other, from 0 (the same) to 1.
///
/// Both maps are centred and scaled to unit size; the distance is `1 − (σ₁ + σ₂)²` with `σ` the singular values of their product
/// (Gower 1975), which is the sum of squares that the best fit leaves. NaN if a map's points all coincide.
pub fn procrustes_distance(a: &[[f64; 2]], b: &[[f64; 2]]) -> f64 {
    let (a, b) = (standardise(a), standardise(b));
    let mut product = [[0.0; 2]; 2];
    for (p, q) in a.iter().zip(&b) {
        for (i, row) in product.iter_mut().enumerate() {
            for (j, cell) in row.iter_mut().enumerate() {
                *cell += p[i] * q[j];
            }
        }
    }
    let squares: f64 = product.iter().flatten().map(|x| x * x).sum();
    let determinant = product[0][0] * product[1][1] - product[0][1] * product[1][0];
    // (σ₁ + σ₂)² = σ₁² + σ₂² + 2 σ₁σ₂
    (1.0 - (squares + 2.0 * determinant.abs())).clamp(0.0, 1.0)
}

/// The points around their mean, scaled so that their squares sum to 1.
fn standardise(points: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let n = points.len() as f64;
    let mean = points
        .iter()
        .fold([0.0; 2], |sum, p| [sum[0] + p[0] / n, sum[1] + p[1] / n]);
    let size = points
        .iter()
        .map(|p| (p[0] - mean[0]).powi(2) + (p[1] - mean[1]).powi(2))
        .sum::<f64>()
        .sqrt();
    points
        .iter()
        .map(|p| [(p[0] - mean[0]) / size, (p[1] - mean[1]) / size])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principal_components_of_points_on_a_line_lie_on_the_first_axis() {
        let rows: Vec<Vec<f64>> = [-2.0, -1.0, 0.0, 3.0]
            .iter()
            .map(|t| vec![3.0 * t, 4.0 * t, 0.0])
            .collect();
        let (points, shares) = principal_components(&rows);
        for (point, expected) in points.iter().zip([-10.0, -5.0, 0.0, 15.0]) {
            assert!(
                (point[0] - expected).abs() < 1e-9 && point[1].abs() < 1e-9,
                "{point:?}"
            );
        }
        assert!((shares[0] - 1.0).abs() < 1e-12);
    }

    #[test]
    fn principal_components_agree_with_a_diagonal_case() {
        let rows = vec![
            vec![0.0, 2.0],
            vec![0.0, -2.0],
            vec![1.0, 0.0],
            vec![-1.0, 0.0],
        ];
        let (points, shares) = principal_components(&rows);
        assert!((points[0][0] - 2.0).abs() < 1e-12 && (points[2][1] - 1.0).abs() < 1e-12);
        assert!((shares[0] - 0.8).abs() < 1e-12 && (shares[1] - 0.2).abs() < 1e-12);
    }

    #[test]
    fn a_turned_scaled_mirrored_map_is_the_same_map() {
        let a = [[0.0, 0.0], [1.0, 0.0], [1.0, 2.0], [-3.0, 1.0]];
        let b = a.map(|[x, y]: [f64; 2]| [5.0 - 3.0 * y, 3.0 * x + 1.0]);
        let mirrored = a.map(|[x, y]: [f64; 2]| [-x, y]);
        assert!(procrustes_distance(&a, &b) < 1e-12);
        assert!(procrustes_distance(&a, &mirrored) < 1e-12);
    }

    #[test]
    fn the_procrustes_distance_agrees_with_scipy() {
        let a = [[0.0, 0.0], [1.0, 0.0], [1.0, 2.0], [-3.0, 1.0]];
        let b = [[1.0, 2.0], [0.0, 1.0], [4.0, 4.0], [-1.0, 0.5]];
        let ours = procrustes_distance(&a, &b);
        assert!((ours - SCIPY_DISPARITY).abs() < 1e-9, "{ours}");
    }

    // `scipy.spatial.procrustes(a, b)[2]`, scipy 1.17.1.
    const SCIPY_DISPARITY: f64 = 0.5799191521905386;
}
