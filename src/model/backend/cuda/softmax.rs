//! [`op::softmax`](crate::model::op::softmax) in tiles of positions: a tile's logits are one product, a kernel turns them into
//! their gradient in place, and three more products take that to the inputs, the weights and the bias.

use super::FusedCuda;
use super::kernels::Kernels;
use super::product::Read;
use super::span::Span;
use crate::model::matrix::Matrix;
use crate::model::memory::tile_rows;
use crate::model::op::{Loss, Projection, Taped, swap_gradient};
use dfdx::prelude::*;
use std::ops::Range;

/// Mean negative log-likelihood of `targets`, nats per position, with `h` `(N, H)`.
///
/// The root of the tape: the gradient of the projection is put into `gradients`, and that of `h` is handed to the tape.
pub fn loss(
    cuda: &FusedCuda,
    h: Taped<Cuda>,
    projection: Projection<Cuda>,
    targets: &[u32],
    gradients: &mut Gradients<f32, Cuda>,
) -> Loss<Cuda> {
    let (h, mut tape) = h.split_tape();
    let (positions, width) = h.shape();
    let weight = Span::of(projection.weight);
    let vocabulary = projection.weight.shape().0;
    let mut inner = Gradients::leaky();
    let nll: Matrix<Cuda> = cuda.device.zeros_like(&(positions, 1)).into();
    let mean: Tensor<Rank0, f32, Cuda> = cuda.device.zeros();
    let scale = 1.0 / positions as f32;
    cuda.with(|kernels| {
        let [dh] = Span::of_gradients(&mut inner, [&h]);
        let [dw, db] = Span::of_gradients(gradients, [projection.weight, projection.bias]);
        let targets = kernels.upload(targets);
        reserve(kernels, positions, projection);
        for rows in tiles(positions, vocabulary) {
            let count = rows.len();
            let part = rows.start * width..rows.end * width;
            let h = Span::of(&h).part(part.clone());
            let (logits, _) = kernels.tile(count * vocabulary, 0);
            project(kernels, h, projection, logits);
            let nll = Span::of(&nll).part(rows.clone());
            let bias = Span::of(projection.bias);
            kernels.softmax_rows(logits, bias, &targets, rows.start, nll, scale);
            // The first tile replaces what the gradients held, the others add to it.
            let keep = if rows.start == 0 { 0.0 } else { 1.0 };
            kernels.product(
                (count, vocabulary, width),
                (logits, Read::Plain),
                (weight, Read::Plain),
                0.0,
                dh.part(part),
            );
            kernels.product(
                (vocabulary, count, width),
                (logits, Read::Transposed),
                (h, Read::Plain),
                keep,
                dw,
            );
            kernels.product(
                (1, count, vocabulary),
                (kernels.ones(count), Read::Plain),
                (logits, Read::Plain),
                keep,
                db,
            );
        }
        kernels.scaled_sum(Span::of(&nll), scale, Span::of_tensor(&mean));
    });
    tape.add_backward_op(move |gradients| {
        swap_gradient(gradients, &mut inner, h.tensor());
        Ok(())
    });
    mean.put_tape(tape)
}

/// The negative log-likelihood of each of `targets`, nats, at the positions `rows` of `h`.
pub fn nll(
    cuda: &FusedCuda,
    h: &Matrix<Cuda>,
    rows: &[u32],
    projection: Projection<Cuda>,
    targets: &[u32],
) -> Vec<f32> {
    let (vocabulary, width) = projection.weight.shape();
    let nll: Matrix<Cuda> = cuda.device.zeros_like(&(targets.len(), 1)).into();
    cuda.with(|kernels| {
        let uploaded = kernels.upload(targets);
        reserve(kernels, targets.len(), projection);
        for tile in tiles(targets.len(), vocabulary) {
            let ids = kernels.upload(&rows[tile.clone()]);
            let (logits, chosen) = kernels.tile(tile.len() * vocabulary, tile.len() * width);
            kernels.gather_rows(Span::of(h), &ids, chosen, width);
            project(kernels, chosen, projection, logits);
            let found = Span::of(&nll).part(tile.clone());
            let bias = Span::of(projection.bias);
            kernels.softmax_rows(logits, bias, &uploaded, tile.start, found, 0.0);
        }
    });
    nll.tensor().as_vec()
}

/// Room for the largest tile of so many positions.
fn reserve(kernels: &mut Kernels, positions: usize, projection: Projection<Cuda>) {
    let (vocabulary, width) = projection.weight.shape();
    let rows = tile_rows(vocabulary).min(positions);
    kernels.reserve(rows, rows * (vocabulary + width));
}

/// The logits of the positions `h`, without their bias.
fn project(kernels: &Kernels, h: Span, projection: Projection<Cuda>, logits: Span) {
    let (vocabulary, width) = projection.weight.shape();
    kernels.product(
        (h.len() / width, width, vocabulary),
        (h, Read::Plain),
        (Span::of(projection.weight), Read::Transposed),
        0.0,
        logits,
    );
}

/// Blocks of positions whose logits make a tile.
fn tiles(positions: usize, vocabulary: usize) -> impl Iterator<Item = Range<usize>> {
    let rows = tile_rows(vocabulary);
    (0..positions)
        .step_by(rows)
        .map(move |start| start..(start + rows).min(positions))
}
