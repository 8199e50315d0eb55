//! Dropout: each value is zero with the given probability, and the rest are scaled so that the mean stays.

use super::Matrix;
use crate::model::backend::cpu::filled;
use crate::model::backend::cpu_slice::{put_gradient, take_gradient, values};
use dfdx::prelude::*;
use rand::Rng;

/// What each value of a matrix is multiplied by. The draws do not depend on the device.
pub fn mask(shape: (usize, usize), probability: f32, rng: &mut impl Rng) -> Vec<f32> {
    let kept = 1.0 / (1.0 - probability);
    (0..shape.0 * shape.1)
        .map(|_| {
            if rng.r#gen::<f32>() < probability {
                0.0
            } else {
                kept
            }
        })
        .collect()
}

/// `x` times `mask`.
pub fn composed<D: Device<f32>, T: Tape<f32, D>>(x: Matrix<D, T>, mask: Vec<f32>) -> Matrix<D, T> {
    let mask: Matrix<D> = x.device().tensor_from_vec(mask, *x.shape());
    x * mask
}

/// The same in one pass each way.
pub fn fused<T: Tape<f32, Cpu>>(x: Matrix<Cpu, T>, mask: Vec<f32>) -> Matrix<Cpu, T> {
    let (x, mut tape) = x.split_tape();
    let product = |a: &[f32], b: &[f32], out: &mut [f32]| {
        out.iter_mut()
            .zip(a.iter().zip(b))
            .for_each(|(out, (a, b))| *out = a * b);
    };
    let out = filled(x.device(), *x.shape(), |out| {
        product(values(&x), &mask, out)
    });
    let ghost = out.clone();
    tape.add_backward_op(move |gradients| {
        let dout = take_gradient(gradients, &ghost);
        let mut dx = take_gradient(gradients, &x);
        product(&dout, &mask, &mut dx);
        put_gradient(gradients, &x, dx);
        put_gradient(gradients, &ghost, dout);
        Ok(())
    });
    out.put_tape(tape)
}
