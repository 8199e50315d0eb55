//! Dropout: each value is zero with the given probability, and the rest are scaled so that the mean stays.

use crate::model::matrix::{Matrix, Tensor2};
use dfdx::prelude::*;
use rand::Rng;

/// What each value of a matrix is multiplied by. The draws do not depend on the device.
pub fn mask(shape: (usize, usize), probability: f32, rng: &mut impl Rng) -> Vec<f32> {
    let kept = 1.0 / (1.0 - probability);
    let mut factor = || match rng.r#gen::<f32>() < probability {
        true => 0.0,
        false => kept,
    };
    (0..shape.0 * shape.1).map(|_| factor()).collect()
}

/// `x` times `mask`.
pub fn dropout<D: Device<f32>, T: Tape<f32, D>>(x: Matrix<D, T>, mask: Vec<f32>) -> Matrix<D, T> {
    let x = x.into_tensor();
    let mask: Tensor2<D> = x.device().tensor_from_vec(mask, *x.shape());
    (x * mask).into()
}
