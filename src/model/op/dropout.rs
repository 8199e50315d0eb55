//! Dropout: each value is zero with the given probability, and the rest are scaled so that the mean stays.

use super::Matrix;
use dfdx::prelude::*;
use rand::Rng;

/// `x` with each value dropped with `probability`, drawn from `rng`. The draws do not depend on the device.
pub fn dropout<D: Device<f32>, T: Tape<f32, D>>(
    x: Matrix<D, T>,
    probability: f32,
    rng: &mut impl Rng,
) -> Matrix<D, T> {
    let shape = *x.shape();
    let kept = 1.0 / (1.0 - probability);
    let mask = (0..shape.0 * shape.1)
        .map(|_| {
            if rng.r#gen::<f32>() < probability {
                0.0
            } else {
                kept
            }
        })
        .collect();
    let mask: Matrix<D> = x.device().tensor_from_vec(mask, shape);
    x * mask
}
