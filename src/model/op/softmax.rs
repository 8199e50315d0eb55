//! Projection to the vocabulary, softmax and cross-entropy as one operation, in tiles of positions: never all logits at once.
//!
//! Of one position with output `h` and target `y` the loss is `ln Σ_v exp(l_v) − l_y`, with logits `l = W h + b`, in nats.

use super::root::{HeadGradients, fused_mean};
use super::{Matrix, Scalar, affine, keep, swap_gradient};
use crate::kernel::{WeightRows, to_bf16};
use crate::model::backend::cpu::Fused;
use crate::model::backend::cpu_slice::values;
use dfdx::prelude::*;
use std::ops::Range;

/// Logits that exist at one time, in the composed form: 32 MiB of them, of which dfdx holds a few copies.
const TILE: usize = 1 << 23;

/// Mean negative log-likelihood of `targets`, nats per position, with `h` `(N, H)`, `weight` `(V, H)` and `bias` `(1, V)`.
///
/// The loss is the root of the tape. Its gradient is therefore computed at once, while a tile's logits exist: that of `weight` and
/// `bias` is put into `gradients`, and that of `h` is handed to the tape.
pub fn loss<D: Device<f32>>(
    h: Matrix<D, OwnedTape<f32, D>>,
    weight: &Matrix<D>,
    bias: &Matrix<D>,
    targets: &[u32],
    gradients: &mut Gradients<f32, D>,
) -> Scalar<D, OwnedTape<f32, D>> {
    let (h, mut tape) = h.split_tape();
    let mut mean: Scalar<D> = h.device().zeros();
    let mut inner = Gradients::leaky();
    for rows in tiles(targets.len(), weight.shape().0) {
        let nll = tile_nll(h.trace(inner), weight, bias, rows, targets);
        let share = nll.sum::<Rank0, _>() / targets.len() as f32;
        mean = mean + share.retaped::<NoneTape>();
        inner = keep(share.backward(), &[&h, weight, bias]);
    }
    swap_gradient(gradients, &mut inner, weight);
    swap_gradient(gradients, &mut inner, bias);
    tape.add_backward_op(move |gradients| {
        swap_gradient(gradients, &mut inner, &h);
        Ok(())
    });
    mean.put_tape(tape)
}

/// The negative log-likelihood of each target, nats, `N` of them.
pub fn nll<D: Device<f32>>(
    h: &Matrix<D>,
    weight: &Matrix<D>,
    bias: &Matrix<D>,
    targets: &[u32],
) -> Vec<f32> {
    tiles(targets.len(), weight.shape().0)
        .flat_map(|rows| tile_nll(h.clone(), weight, bias, rows, targets).as_vec())
        .collect()
}

/// Blocks of positions whose logits fit in [`TILE`].
fn tiles(positions: usize, vocabulary: usize) -> impl Iterator<Item = Range<usize>> {
    let rows = (TILE / vocabulary).max(1);
    (0..positions)
        .step_by(rows)
        .map(move |start| start..(start + rows).min(positions))
}

/// The losses of the positions `rows`.
fn tile_nll<D: Device<f32>, T: Tape<f32, D>>(
    h: Matrix<D, T>,
    weight: &Matrix<D>,
    bias: &Matrix<D>,
    rows: Range<usize>,
    targets: &[u32],
) -> Tensor<(usize,), f32, D, T> {
    let device = h.device().clone();
    let targets: Vec<usize> = targets[rows.clone()]
        .iter()
        .map(|&target| target as usize)
        .collect();
    let targets: Tensor<(usize,), usize, D> = device.tensor_from_vec(targets, (rows.len(),));
    let logits = affine(h.slice((rows, ..)), weight.retaped(), bias.retaped()); // (rows, V)
    logits.log_softmax::<Axis<1>>().select(targets).negate()
}

/// [`loss`] in one sweep over the vocabulary.
pub fn fused_loss(
    fused: &mut Fused,
    h: Matrix<Cpu, OwnedTape<f32, Cpu>>,
    weight: &Matrix<Cpu>,
    bias: &Matrix<Cpu>,
    targets: &[u32],
    gradients: &mut Gradients<f32, Cpu>,
) -> Scalar<Cpu, OwnedTape<f32, Cpu>> {
    let precision = fused.precision.into();
    fused_mean(
        h,
        weight,
        bias,
        targets.len(),
        gradients,
        |h, scale, grown| {
            let HeadGradients { dh, dw, db } = grown;
            let (weight, bias) = (values(weight), values(bias));
            fused.kernels.head_forward_backward(
                precision,
                values(h),
                weight,
                bias,
                targets,
                scale,
                dh,
                dw,
                db,
            )
        },
    )
}

/// [`nll`] in one sweep over the vocabulary.
pub fn fused_nll(
    fused: &mut Fused,
    h: &Matrix<Cpu>,
    weight: &Matrix<Cpu>,
    bias: &Matrix<Cpu>,
    targets: &[u32],
) -> Vec<f32> {
    let mut nll = vec![0.0; targets.len()];
    fused.kernels.head_nll(
        fused.precision.into(),
        values(h),
        values(weight),
        values(bias),
        targets,
        &mut nll,
    );
    nll
}

/// Weights rounded to bfloat16, for [`fused_logits`].
pub fn rounded(weight: &[f32]) -> Vec<u16> {
    let mut rounded = vec![0; weight.len()];
    to_bf16(weight, &mut rounded);
    rounded
}

/// The logits of one position into `logits`, with the weights in bfloat16 unless `rounded` is empty.
pub fn fused_logits(
    fused: &mut Fused,
    h: &Matrix<Cpu>,
    (weight, bias): (&Matrix<Cpu>, &Matrix<Cpu>),
    rounded: &[u16],
    logits: &mut Vec<f32>,
) {
    logits.resize(weight.shape().0, 0.0);
    let rows = if rounded.is_empty() {
        WeightRows::F32(values(weight))
    } else {
        WeightRows::Bf16(rounded)
    };
    fused
        .kernels
        .head_logits(values(h), rows, values(bias), logits);
}
