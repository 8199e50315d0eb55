//! Projection to independent yes-or-no outputs and binary cross-entropy with logits.
//!
//! Of one position with targets `y` the loss is `Σ_k ln(1 + exp(l_k)) − y_k l_k`, summed over the outputs, in nats.

use super::embedding::multi_hot;
use super::{Loss, Projection, Taped, affine, swap_gradient};
use crate::kernel::Bags;
use dfdx::prelude::*;

/// Mean over the positions of the loss summed over the outputs, with `h` `(N, H)`. Output `k` should be 1 where `k` is in the set.
///
/// The root of the tape, as [`softmax::loss`](super::softmax::loss) is: the gradient of the projection is put into `gradients`, and that
/// of `h` is handed to the tape.
pub fn loss<D: Device<f32>>(
    h: Taped<D>,
    projection: Projection<D>,
    targets: Bags,
    gradients: &mut Gradients<f32, D>,
) -> Loss<D> {
    let (h, mut tape) = h.into_tensor().split_tape();
    let (weight, bias) = (projection.weight.tensor(), projection.bias.tensor());
    let logits = affine(h.leaky_trace(), weight.retaped(), bias.retaped()); // (N, V)
    let loss = logits
        .bce_with_logits(multi_hot(h.device(), targets))
        .sum::<Rank0, _>()
        / targets.len() as f32;
    let value = loss.retaped::<NoneTape>();
    let mut inner = loss.backward();
    swap_gradient(gradients, &mut inner, weight);
    swap_gradient(gradients, &mut inner, bias);
    tape.add_backward_op(move |gradients| {
        swap_gradient(gradients, &mut inner, &h);
        Ok(())
    });
    value.put_tape(tape)
}

/// From the logits `(N, V)` of `N` positions: the loss of each summed over the outputs, in nats, and the set of outputs with a
/// probability above one half.
pub fn score(logits: &[f32], targets: Bags) -> (Vec<f32>, Vec<u128>) {
    let step = |(logits, &target): (&[f32], &u128)| {
        let mut nll = 0.0;
        let mut predicted = 0;
        for (bit, &logit) in (targets.bits.first..).zip(logits) {
            let wanted = target >> bit & 1 == 1;
            let other = f64::from(if wanted { -logit } else { logit }); // logit of the wrong outcome
            nll += other.max(0.0) + (-other.abs()).exp().ln_1p();
            predicted |= u128::from(logit > 0.0) << bit;
        }
        (nll as f32, predicted)
    };
    let rows = logits.chunks_exact(targets.bits.rows);
    rows.zip(targets.masks).map(step).unzip()
}
