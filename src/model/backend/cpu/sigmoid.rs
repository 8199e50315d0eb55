//! [`op::sigmoid`](crate::model::op::sigmoid) with the logits turned into their gradient in place.

use super::projection::{linear, mean_loss};
use super::{FusedCpu, Workspace};
use crate::kernel::{Bags, LinearGradients};
use crate::model::op::{Loss, Projection, Taped};
use dfdx::prelude::*;

/// Mean over the positions of the loss summed over the outputs.
pub fn loss(
    cpu: &FusedCpu,
    h: Taped<Cpu>,
    projection: Projection<Cpu>,
    targets: Bags,
    gradients: &mut Gradients<f32, Cpu>,
) -> Loss<Cpu> {
    let compute = |h: &[f32], scale: f32, to: LinearGradients<'_>| {
        let layer = linear(projection);
        cpu.with(
            |Workspace {
                 kernels, logits, ..
             }| {
                logits.resize(targets.len() * targets.bits.rows, 0.0);
                kernels.linear(h, layer, logits);
                let total = kernels.sigmoid_loss(logits, targets, scale, None);
                kernels.linear_backward(h, layer, logits, to);
                total
            },
        )
    };
    mean_loss(h, projection, targets.len(), gradients, compute)
}
