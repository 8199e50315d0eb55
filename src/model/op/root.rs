//! The root of the tape on a CPU: a loss whose kernel gives the gradients of its inputs at once.

use super::{Matrix, Scalar, swap_gradient};
use crate::model::backend::cpu_slice::{put_gradient, take_gradient};
use dfdx::prelude::*;

/// The gradients that a kernel overwrites: of `h`, of the weight and of the bias.
pub(super) struct HeadGradients<'a> {
    pub dh: &'a mut [f32],
    pub dw: &'a mut [f32],
    pub db: &'a mut [f32],
}

/// The mean loss of `positions`, with `h` `(N, H)`, `weight` `(V, H)` and `bias` `(1, V)`.
///
/// `compute` is given `h`, the weight of one position in the mean, and the gradients to overwrite; it returns the total loss. The
/// gradients of `weight` and `bias` are put into `gradients`, and that of `h` is handed to the tape.
pub(super) fn fused_mean(
    h: Matrix<Cpu, OwnedTape<f32, Cpu>>,
    weight: &Matrix<Cpu>,
    bias: &Matrix<Cpu>,
    positions: usize,
    gradients: &mut Gradients<f32, Cpu>,
    compute: impl FnOnce(&Matrix<Cpu>, f32, HeadGradients) -> f64,
) -> Scalar<Cpu, OwnedTape<f32, Cpu>> {
    let (h, mut tape) = h.split_tape();
    let mut inner = Gradients::leaky();
    let mut dw = take_gradient(gradients, weight);
    let mut db = take_gradient(gradients, bias);
    let mut dh = take_gradient(&mut inner, &h);
    let grown = HeadGradients {
        dh: &mut dh,
        dw: &mut dw,
        db: &mut db,
    };
    let total = compute(&h, 1.0 / positions as f32, grown);
    put_gradient(gradients, weight, dw);
    put_gradient(gradients, bias, db);
    put_gradient(&mut inner, &h, dh);
    let mean: Scalar<Cpu> = h.device().tensor((total / positions as f64) as f32);
    tape.add_backward_op(move |gradients| {
        swap_gradient(gradients, &mut inner, &h);
        Ok(())
    });
    mean.put_tape(tape)
}
