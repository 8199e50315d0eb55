//! [`op::update`](crate::model::op::update) in one pass over parameter, gradient and slots.

use super::{FusedCpu, Workspace, gradient};
use crate::kernel::{self, Gradient};
use crate::model::matrix::Buffer;
use crate::model::op::update::Rule;
use crate::model::parameters::{Parameter, Parameters};
use dfdx::prelude::*;

/// The norm of the gradients of all parameters together, without a copy.
pub fn gradient_norm(
    cpu: &FusedCpu,
    parameters: &Parameters<Cpu>,
    gradients: &mut Gradients<f32, Cpu>,
) -> f64 {
    cpu.with(
        |Workspace {
             kernels, embedding, ..
         }| {
            let square = |parameter: &Parameter<Cpu>| match parameter.sparse {
                true => kernels.squared_norm(&embedding.values),
                false => kernels.squared_norm(gradient(gradients, &parameter.matrix)),
            };
            parameters.iter().map(square).sum::<f64>().sqrt()
        },
    )
}

/// Moves `parameter` along its gradient times `scale`.
pub fn update(
    cpu: &FusedCpu,
    rule: &Rule,
    scale: f32,
    parameter: &mut Parameter<Cpu>,
    slots: &mut [Buffer<Cpu>],
    gradients: &mut Gradients<f32, Cpu>,
) {
    let mut states: [&mut [f32]; 2] = [&mut [], &mut []];
    for (state, slot) in states.iter_mut().zip(slots) {
        *state = slot;
    }
    cpu.with(
        |Workspace {
             kernels, embedding, ..
         }| {
            let gradient = match parameter.sparse {
                true => Gradient::Sparse(embedding),
                false => Gradient::Dense(gradient(gradients, &parameter.matrix)),
            };
            let values = parameter.matrix.values_mut();
            kernels.update(&in_f32(rule), values, gradient, scale, states);
        },
    );
}

/// The rule as the kernels know it.
fn in_f32(rule: &Rule) -> kernel::Rule {
    match *rule {
        Rule::Sgd { rate, momentum } => kernel::Rule::Sgd(kernel::Sgd {
            learning_rate: rate as f32,
            momentum: momentum as f32,
        }),
        Rule::RmsProp {
            rate,
            decay,
            epsilon,
        } => kernel::Rule::RmsProp(kernel::RmsProp {
            learning_rate: rate as f32,
            alpha: decay as f32,
            epsilon: epsilon as f32,
            momentum: 0.0,
        }),
        Rule::Adam {
            rate,
            betas: [beta1, beta2],
            epsilon,
            step,
        } => kernel::Rule::Adam(kernel::Adam {
            step: step as u64,
            learning_rate: rate as f32,
            beta1: beta1 as f32,
            beta2: beta2 as f32,
            epsilon: epsilon as f32,
        }),
    }
}
