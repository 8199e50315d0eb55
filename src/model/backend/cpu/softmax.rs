//! [`op::softmax`](crate::model::op::softmax) in one sweep over the vocabulary.

use super::FusedCpu;
use super::projection::{linear, mean_loss};
use crate::kernel::LinearGradients;
use crate::model::matrix::Matrix;
use crate::model::op::{Loss, Projection, Taped};
use dfdx::prelude::*;

/// Mean negative log-likelihood of `targets`, nats per position.
pub fn loss(
    cpu: &FusedCpu,
    h: Taped<Cpu>,
    projection: Projection<Cpu>,
    targets: &[u32],
    gradients: &mut Gradients<f32, Cpu>,
) -> Loss<Cpu> {
    let compute = |h: &[f32], scale: f32, to: LinearGradients<'_>| {
        let layer = linear(projection);
        cpu.with(|it| it.kernels.softmax_loss(h, layer, targets, scale, to))
    };
    mean_loss(h, projection, targets.len(), gradients, compute)
}

/// The negative log-likelihood of each target, nats.
pub fn nll(
    cpu: &FusedCpu,
    h: &Matrix<Cpu>,
    projection: Projection<Cpu>,
    targets: &[u32],
) -> Vec<f32> {
    let mut nll = vec![0.0; targets.len()];
    let (h, projection) = (h.values(), linear(projection));
    cpu.with(|it| it.kernels.softmax_nll(h, projection, targets, &mut nll));
    nll
}
