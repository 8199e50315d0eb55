//! Projection to the vocabulary, softmax and cross-entropy as one operation, in tiles of positions: never all logits at once.
//!
//! Of one position with output `h` and target `y` the loss is `ln Σ_v exp(l_v) − l_y`, with logits `l = W h + b`, in nats.

use super::{Loss, Projection, Taped, affine, keep, swap_gradient};
use crate::model::matrix::{Matrix, Tensor2};
use dfdx::prelude::*;
use std::ops::Range;

/// Logits that exist at one time: 32 MiB of them, of which dfdx holds a few copies.
const TILE: usize = 1 << 23;

/// Mean negative log-likelihood of `targets`, nats per position, with `h` `(N, H)`.
///
/// The loss is the root of the tape. Its gradient is therefore computed at once, while a tile's logits exist: that of the projection
/// is put into `gradients`, and that of `h` is handed to the tape.
pub fn loss<D: Device<f32>>(
    h: Taped<D>,
    projection: Projection<D>,
    targets: &[u32],
    gradients: &mut Gradients<f32, D>,
) -> Loss<D> {
    let (h, mut tape) = h.into_tensor().split_tape();
    let (weight, bias) = (projection.weight.tensor(), projection.bias.tensor());
    let mut mean: Tensor<Rank0, f32, D> = h.device().zeros();
    let mut inner = Gradients::leaky();
    for rows in tiles(targets.len(), weight.shape().0) {
        let nll = tile_nll(h.trace(inner), projection, rows, targets);
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
pub fn nll<D: Device<f32>>(h: &Matrix<D>, projection: Projection<D>, targets: &[u32]) -> Vec<f32> {
    tiles(targets.len(), projection.weight.shape().0)
        .flat_map(|rows| tile_nll(h.tensor().clone(), projection, rows, targets).as_vec())
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
    h: Tensor2<D, T>,
    projection: Projection<D>,
    rows: Range<usize>,
    targets: &[u32],
) -> Tensor<(usize,), f32, D, T> {
    let device = h.device().clone();
    let targets: Vec<usize> = targets[rows.clone()]
        .iter()
        .map(|&target| target as usize)
        .collect();
    let targets: Tensor<(usize,), usize, D> = device.tensor_from_vec(targets, (rows.len(),));
    let [weight, bias] =
        [projection.weight, projection.bias].map(|matrix| matrix.tensor().retaped());
    let logits = affine(h.slice((rows, ..)), weight, bias); // (rows, V)
    logits.log_softmax::<Axis<1>>().select(targets).negate()
}
