//! What the softmax and the sigmoid head share: the projection, and a loss whose kernel gives all gradients at once.

use super::{FusedCpu, put_gradient, take_gradient};
use crate::kernel::{Linear, LinearGradients, Precision, WeightRows, to_bf16};
use crate::model::matrix::Matrix;
use crate::model::op::{Loss, Projection, Taped, swap_gradient};
use dfdx::prelude::*;

/// The projection as the kernels see it.
pub fn linear<'a>(projection: Projection<'a, Cpu>) -> Linear<'a> {
    Linear {
        weight: projection.weight.values(),
        bias: projection.bias.values(),
    }
}

/// The mean loss of `positions`, the root of the tape.
///
/// `compute` is given `h`, the weight of one position in the mean, and the gradients to overwrite; it returns the total loss. The
/// gradient of the projection is put into `gradients`, and that of `h` is handed to the tape.
pub fn mean_loss(
    h: Taped<Cpu>,
    projection: Projection<Cpu>,
    positions: usize,
    gradients: &mut Gradients<f32, Cpu>,
    compute: impl FnOnce(&[f32], f32, LinearGradients) -> f64,
) -> Loss<Cpu> {
    let (h, mut tape) = h.split_tape();
    let Projection { weight, bias } = projection;
    let mut inner = Gradients::leaky();
    let mut dw = take_gradient(gradients, weight);
    let mut db = take_gradient(gradients, bias);
    let mut dh = take_gradient(&mut inner, &h);
    let to = LinearGradients {
        input: &mut dh,
        weight: &mut dw,
        bias: &mut db,
    };
    let total = compute(h.values(), 1.0 / positions as f32, to);
    put_gradient(gradients, weight, dw);
    put_gradient(gradients, bias, db);
    put_gradient(&mut inner, &h, dh);
    let mean: Tensor<Rank0, f32, Cpu> = h
        .tensor()
        .device()
        .tensor((total / positions as f64) as f32);
    tape.add_backward_op(move |gradients| {
        swap_gradient(gradients, &mut inner, h.tensor());
        Ok(())
    });
    mean.put_tape(tape)
}

/// The logits `(N, V)` of `h` `(N, H)`.
pub fn logits(cpu: &FusedCpu, h: &Matrix<Cpu>, projection: Projection<Cpu>) -> Vec<f32> {
    let mut logits = vec![0.0; h.shape().0 * projection.weight.shape().0];
    let projection = linear(projection);
    cpu.with(|it| it.kernels.linear(h.values(), projection, &mut logits));
    logits
}

/// The weights in bfloat16, if that is the precision: half the memory to read for each token.
pub fn prepare(cpu: &FusedCpu, projection: Projection<Cpu>) -> Option<Vec<u16>> {
    let rounded = cpu.with(|it| it.kernels.precision()) == Precision::Bf16;
    rounded.then(|| to_bf16(projection.weight.values()))
}

/// The logits of one position, by the rounded weights if there are any.
pub fn next_logits(
    cpu: &FusedCpu,
    h: &Matrix<Cpu>,
    projection: Projection<Cpu>,
    rounded: Option<&[u16]>,
    logits: &mut Vec<f32>,
) {
    let Linear { weight, bias } = linear(projection);
    logits.resize(bias.len(), 0.0);
    let weight = rounded.map_or(WeightRows::F32(weight), WeightRows::Bf16);
    cpu.with(|it| it.kernels.logits(h.values(), weight, bias, logits));
}
