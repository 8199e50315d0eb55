//! Projection to the 88 keys and binary cross-entropy with logits: the head of the sigmoid model.
//!
//! Of one time step with targets `y` the loss is `Σ_k ln(1 + exp(l_k)) − y_k l_k`, summed over the keys, in nats.

use super::embedding::multi_hot;
use super::root::{HeadGradients, fused_mean};
use super::{Matrix, Scalar, affine, swap_gradient};
use crate::corpus::score::{KEYS, LOWEST_KEY};
use crate::model::backend::cpu::Fused;
use crate::model::backend::cpu_slice::values;
use dfdx::prelude::*;

/// Mean over the time steps of the loss summed over the keys, with `h` `(N, H)`, `weight` `(88, H)` and `bias` `(1, 88)`.
///
/// The root of the tape, as [`super::softmax::loss`] is: the gradient of `weight` and `bias` is put into `gradients`, and that of `h` is
/// handed to the tape.
pub fn loss<D: Device<f32>>(
    h: Matrix<D, OwnedTape<f32, D>>,
    weight: &Matrix<D>,
    bias: &Matrix<D>,
    targets: &[u128],
    gradients: &mut Gradients<f32, D>,
) -> Scalar<D, OwnedTape<f32, D>> {
    let (h, mut tape) = h.split_tape();
    let logits = affine(h.leaky_trace(), weight.retaped(), bias.retaped()); // (N, 88)
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

/// From the logits `(N, 88)` of `N` steps: the loss of each step summed over the keys, in nats, and the keys with a probability above one
/// half.
pub fn score(logits: &[f32], targets: &[u128]) -> (Vec<f32>, Vec<u128>) {
    let step = |(logits, &target): (&[f32], &u128)| {
        let mut nll = 0.0;
        let mut predicted = 0;
        for (key, &logit) in (LOWEST_KEY..).zip(logits) {
            let sounds = target >> key & 1 == 1;
            let other = f64::from(if sounds { -logit } else { logit }); // logit of the wrong outcome
            nll += other.max(0.0) + (-other.abs()).exp().ln_1p();
            predicted |= u128::from(logit > 0.0) << key;
        }
        (nll as f32, predicted)
    };
    logits.chunks_exact(KEYS).zip(targets).map(step).unzip()
}

/// [`loss`] with the logits turned into their gradient in place.
pub fn fused_loss(
    fused: &mut Fused,
    h: Matrix<Cpu, OwnedTape<f32, Cpu>>,
    weight: &Matrix<Cpu>,
    bias: &Matrix<Cpu>,
    targets: &[u128],
    gradients: &mut Gradients<f32, Cpu>,
) -> Scalar<Cpu, OwnedTape<f32, Cpu>> {
    let Fused {
        kernels,
        precision,
        logits,
        ..
    } = fused;
    let precision = (*precision).into();
    logits.resize(targets.len() * KEYS, 0.0);
    fused_mean(
        h,
        weight,
        bias,
        targets.len(),
        gradients,
        |h, scale, grown| {
            let HeadGradients { dh, dw, db } = grown;
            kernels.linear_forward(precision, values(h), values(weight), values(bias), logits);
            let total = kernels.bce_with_logits(logits, targets, scale, None);
            kernels.linear_backward(precision, values(h), values(weight), logits, dh, dw, db);
            total
        },
    )
}
