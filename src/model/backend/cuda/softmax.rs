//! [`softmax::loss`](crate::model::op::softmax::loss) in tiles of positions: a tile's logits are one product, a kernel turns them into
//! their gradient in place, and three more products take that to the inputs, the weights and the bias.

use super::kernels::{Kernels, Read};
use super::span::Span;
use crate::model::memory::tile_rows;
use crate::model::op::{Matrix, Scalar, swap_gradient};
use dfdx::prelude::*;
use std::ops::Range;

/// Mean negative log-likelihood of `targets`, nats per position, with `h` `(N, H)`, `weight` `(V, H)` and `bias` `(1, V)`.
///
/// The root of the tape: the gradients of `weight` and `bias` are put into `gradients`, and that of `h` is handed to the tape.
pub fn loss(
    kernels: &mut Kernels,
    h: Matrix<Cuda, OwnedTape<f32, Cuda>>,
    weight: &Matrix<Cuda>,
    bias: &Matrix<Cuda>,
    targets: &[u32],
    gradients: &mut Gradients<f32, Cuda>,
) -> Scalar<Cuda, OwnedTape<f32, Cuda>> {
    let (h, mut tape) = h.split_tape();
    let (positions, width) = *h.shape();
    let vocabulary = weight.shape().0;
    let mut inner = Gradients::leaky();
    let dh = Span::of_gradient(&mut inner, &h);
    let dw = Span::of_gradient(gradients, weight);
    let db = Span::of_gradient(gradients, bias);
    let targets = kernels.upload(targets);
    let nll: Matrix<Cuda> = h.device().zeros_like(&(positions, 1));
    for rows in tiles(positions, vocabulary) {
        let count = rows.len();
        let part = |values: Span| values.part(rows.start * width..rows.end * width);
        let (logits, _) = kernels.tile(count * vocabulary, count * width);
        project(kernels, part(Span::of(&h)), weight, logits);
        kernels.softmax_rows(
            logits,
            Span::of(bias),
            &targets,
            rows.start,
            Span::of(&nll).part(rows.clone()),
            1.0 / positions as f32,
        );
        // The first tile replaces what the gradients held, the others add to it.
        let keep = if rows.start == 0 { 0.0 } else { 1.0 };
        kernels.product(
            (count, vocabulary, width),
            (logits, Read::Plain),
            (Span::of(weight), Read::Plain),
            0.0,
            part(dh),
        );
        kernels.product(
            (vocabulary, count, width),
            (logits, Read::Transposed),
            (part(Span::of(&h)), Read::Plain),
            keep,
            dw,
        );
        let ones = kernels.ones(count);
        kernels.product(
            (1, count, vocabulary),
            (ones, Read::Plain),
            (logits, Read::Plain),
            keep,
            db,
        );
    }
    let mean: Scalar<Cuda> = h.device().zeros();
    kernels.scaled_sum(Span::of(&nll), 1.0 / positions as f32, Span::of(&mean));
    tape.add_backward_op(move |gradients| {
        swap_gradient(gradients, &mut inner, &h);
        Ok(())
    });
    mean.put_tape(tape)
}

/// The negative log-likelihood of each of `targets`, nats, at the positions `rows` of `h`.
pub fn nll(
    kernels: &mut Kernels,
    h: &Matrix<Cuda>,
    rows: &[u32],
    weight: &Matrix<Cuda>,
    bias: &Matrix<Cuda>,
    targets: &[u32],
) -> Vec<f32> {
    let (vocabulary, width) = *weight.shape();
    let targets_there = kernels.upload(targets);
    let nll: Matrix<Cuda> = h.device().zeros_like(&(targets.len(), 1));
    for tile in tiles(targets.len(), vocabulary) {
        let ids = kernels.upload(&rows[tile.clone()]);
        let (logits, chosen) = kernels.tile(tile.len() * vocabulary, tile.len() * width);
        kernels.gather_rows(Span::of(h), &ids, chosen, width);
        project(kernels, chosen, weight, logits);
        let found = Span::of(&nll).part(tile.clone());
        kernels.softmax_rows(
            logits,
            Span::of(bias),
            &targets_there,
            tile.start,
            found,
            0.0,
        );
    }
    nll.as_vec()
}

/// The logits of the positions `h`, without their bias.
fn project(kernels: &Kernels, h: Span, weight: &Matrix<Cuda>, logits: Span) {
    let (vocabulary, width) = *weight.shape();
    kernels.product(
        (h.length / width, width, vocabulary),
        (h, Read::Plain),
        (Span::of(weight), Read::Transposed),
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
