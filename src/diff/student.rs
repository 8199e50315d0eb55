//! How sure a mean of a few runs is: the one meaning of ± in tables, pages and comparisons.

use super::statistics::standard_deviation;

/// What ± stands for, for whatever prints it.
pub const MEANING: &str = "± is half of the 95 % interval of the mean by Student's t";

/// Half the width of the 95 % interval of the mean by Student's t: `t · s / √n`. `None` of fewer than two values, or where all are
/// equal.
pub fn half_width(values: &[f64]) -> Option<f64> {
    let deviation = standard_deviation(values);
    let differ = values.windows(2).any(|pair| pair[0] != pair[1]);
    let quantile = || t_quantile(values.len() as u32 - 1);
    differ.then(|| quantile() * deviation / (values.len() as f64).sqrt())
}

/// The 97.5 % quantile of Student's t with so many degrees of freedom (at least 1).
///
/// By bisection of P(|T| ≤ t), a finite sum for whole degrees of freedom: Abramowitz & Stegun (1964), 26.7.3 and 26.7.4.
fn t_quantile(freedom: u32) -> f64 {
    let (mut low, mut high) = (0.0, 20.0);
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        if within(middle, freedom) < 0.95 {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low + high) / 2.0
}

/// P(|T| ≤ t) for Student's t with so many degrees of freedom.
fn within(t: f64, freedom: u32) -> f64 {
    let angle = (t / f64::from(freedom).sqrt()).atan();
    let (sine, cosine) = angle.sin_cos();
    let odd = freedom % 2 == 1;
    // The terms of the sum have cos^k for k = 1, 3, … or 0, 2, …, up to freedom − 2.
    let (mut term, mut sum) = (if odd { cosine } else { 1.0 }, 0.0);
    let mut k = freedom % 2;
    while k + 2 <= freedom {
        sum += term;
        k += 2;
        term *= f64::from(k - 1) / f64::from(k) * cosine * cosine;
    }
    if odd {
        std::f64::consts::FRAC_2_PI * (angle + sine * sum)
    } else {
        sine * sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        let table = [
            (1, 12.7062),
            (2, 4.3027),
            (3, 3.1824),
            (4, 2.7764),
            (5, 2.5706),
            (9, 2.2622),
            (30, 2.0423),
            (1000, 1.9623),
        ];
        for (freedom, quantile) in table {
            let found = t_quantile(freedom);
            assert!((found - quantile).abs() < 5e-5, "{freedom}: {found}");
        }
    }

    #[test]
    fn a_half_width_is_that_of_the_formula() {
        // s = 1, n = 3: 4.3027 / √3 = 2.4841.
        let found = half_width(&[6.5, 7.5, 8.5]).unwrap();
        assert!((found - 2.4841).abs() < 1e-4, "{found}");
        assert_eq!(half_width(&[3.0]), None);
        assert_eq!(half_width(&[7.1, 7.1, 7.1]), None);
    }
}
