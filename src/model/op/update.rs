//! The optimizer's step for one parameter.

use super::{Buffer, Matrix, Scalar, zeros};
use crate::kernel;
use crate::model::backend::cpu::Fused;
use crate::model::backend::cpu_slice::values_mut;
use crate::model::parameters::Parameter;
use dfdx::optim::{AdamConfig, Momentum, RMSpropConfig, SgdConfig};
use dfdx::prelude::*;

/// How a parameter `p` moves along its gradient `g`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// `v ← g + momentum v`, `p ← p − rate v`.
    Sgd {
        /// Learning rate.
        rate: f64,
        /// 0 for none.
        momentum: f64,
    },
    /// `s ← decay s + (1 − decay) g²`, `p ← p − rate g / sqrt(s + epsilon)`; `s` begins at 0 (Tieleman & Hinton 2012).
    RmsProp {
        /// Learning rate.
        rate: f64,
        /// Of the moving average.
        decay: f64,
        /// Keeps the quotient finite.
        epsilon: f64,
    },
    /// `m ← β₁ m + (1 − β₁) g`, `v ← β₂ v + (1 − β₂) g²`, `p ← p − rate m̂ / (sqrt(v̂) + epsilon)`, where `m̂ = m / (1 − β₁ᵗ)` and
    /// `v̂ = v / (1 − β₂ᵗ)` (Kingma & Ba 2015). Every row of an embedding moves at every step, also one with no gradient.
    Adam {
        /// Learning rate.
        rate: f64,
        /// β₁ and β₂.
        betas: [f64; 2],
        /// Keeps the quotient finite.
        epsilon: f64,
        /// `t`, from 1.
        step: i32,
    },
}

impl Rule {
    /// The names of what is kept for each parameter, each as large as it.
    pub fn slots(&self) -> &'static [&'static str] {
        match self {
            Self::Sgd { momentum, .. } if *momentum == 0.0 => &[],
            Self::Sgd { .. } => &["velocity"],
            Self::RmsProp { .. } => &["square_average"],
            Self::Adam { .. } => &["first_moment", "second_moment"],
        }
    }
}

/// Moves `parameter` along its gradient times `scale`, by dfdx's updates. The gradient is no longer needed after it.
pub fn composed<D: Device<f32>>(
    device: &D,
    rule: &Rule,
    scale: f32,
    parameter: &mut Matrix<D>,
    slots: &mut [Buffer<D>],
    gradients: &mut Gradients<f32, D>,
) {
    let gradient = gradients
        .get_or_alloc_mut(parameter)
        .expect("a gradient fits in memory");
    if scale != 1.0 {
        multiply(device, parameter, gradient, scale);
    }
    let updated = match (*rule, slots) {
        (Rule::Sgd { rate, .. }, []) => {
            let config = SgdConfig {
                lr: rate,
                momentum: None,
                weight_decay: None,
            };
            config.try_update(parameter, &mut zeros(device, parameter), gradient)
        }
        (Rule::Sgd { rate, momentum }, [velocity]) => {
            let config = SgdConfig {
                lr: rate,
                momentum: Some(Momentum::Classic(momentum)),
                weight_decay: None,
            };
            config.try_update(parameter, velocity, gradient)
        }
        (
            Rule::RmsProp {
                rate,
                decay,
                epsilon,
            },
            [squares],
        ) => {
            let config = RMSpropConfig {
                lr: rate,
                alpha: decay,
                eps: epsilon,
                ..RMSpropConfig::default()
            };
            let [mut momentum, mut mean] = [zeros(device, parameter), zeros(device, parameter)]; // dfdx wants them, and leaves them
            config.try_update(parameter, &mut momentum, squares, &mut mean, gradient)
        }
        (
            Rule::Adam {
                rate,
                betas,
                epsilon,
                step,
            },
            [first, second],
        ) => {
            let config = AdamConfig {
                lr: rate,
                betas,
                eps: epsilon,
                weight_decay: None,
            };
            config.try_update(step, parameter, first, second, gradient)
        }
        (rule, slots) => panic!("{} slots for {rule:?}", slots.len()),
    };
    updated.expect("an update allocates nothing");
}

/// Multiplies a gradient in place. dfdx scales a buffer nowhere but in its momentum: `v ← 0 + scale v`, with a learning rate of 0.
fn multiply<D: Device<f32>>(
    device: &D,
    parameter: &mut Matrix<D>,
    gradient: &mut Buffer<D>,
    scale: f32,
) {
    let config = SgdConfig {
        lr: 0.0,
        momentum: Some(Momentum::Classic(f64::from(scale))),
        weight_decay: None,
    };
    config
        .try_update(parameter, gradient, &zeros(device, parameter))
        .expect("an update allocates nothing");
}

/// The sum of the squares of a gradient.
fn squared_norm<D: Device<f32>>(parameter: &Matrix<D>, gradients: &Gradients<f32, D>) -> f64 {
    let sum: Scalar<D> = gradients.get(parameter).square().sum();
    f64::from(sum.as_vec()[0])
}

/// The norm of the gradients of all `parameters` together.
pub fn gradient_norm<D: Device<f32>>(
    parameters: &[Parameter<D>],
    gradients: &Gradients<f32, D>,
) -> f64 {
    let squares = parameters
        .iter()
        .map(|parameter| squared_norm(&parameter.tensor, gradients));
    squares.sum::<f64>().sqrt()
}

/// `squared_norm` without a copy.
pub fn fused_squared_norm(
    fused: &mut Fused,
    parameter: &Parameter<Cpu>,
    gradients: &mut Gradients<f32, Cpu>,
) -> f64 {
    let Fused {
        kernels, embedding, ..
    } = fused;
    if parameter.few_rows {
        return kernels.squared_norm(&embedding.values);
    }
    kernels.squared_norm(
        gradients
            .get_or_alloc_mut(&parameter.tensor)
            .expect("a gradient fits in memory"),
    )
}

/// [`composed`] in one pass over parameter, gradient and slots.
pub fn fused(
    fused: &mut Fused,
    rule: &Rule,
    scale: f32,
    parameter: &mut Parameter<Cpu>,
    slots: &mut [Buffer<Cpu>],
    gradients: &mut Gradients<f32, Cpu>,
) {
    let Fused {
        kernels, embedding, ..
    } = fused;
    let rows = parameter.few_rows.then_some(embedding);
    let dense: &[f32] = match rows {
        Some(_) => &[],
        None => gradients
            .get_or_alloc_mut(&parameter.tensor)
            .expect("a gradient fits in memory"),
    };
    let values = values_mut(&mut parameter.tensor);
    match (*rule, slots) {
        (Rule::Sgd { rate, momentum }, slots) => {
            let rule = kernel::Sgd {
                learning_rate: rate as f32,
                momentum: momentum as f32,
            };
            let velocity: &mut [f32] = slots.first_mut().map_or(&mut [], |velocity| velocity);
            match rows {
                Some(rows) => kernels.sgd_rows(&rule, scale, values, rows, velocity),
                None => kernels.sgd(&rule, scale, values, dense, velocity),
            }
        }
        (
            Rule::RmsProp {
                rate,
                decay,
                epsilon,
            },
            [squares],
        ) => {
            let (learning_rate, alpha, epsilon) = (rate as f32, decay as f32, epsilon as f32);
            let rule = kernel::RmsProp {
                learning_rate,
                alpha,
                epsilon,
                momentum: 0.0,
            };
            match rows {
                Some(rows) => kernels.rmsprop_rows(&rule, scale, values, rows, squares, &mut []),
                None => kernels.rmsprop(&rule, scale, values, dense, squares, &mut []),
            }
        }
        (
            Rule::Adam {
                rate,
                betas: [beta1, beta2],
                epsilon,
                step,
            },
            [first, second],
        ) => {
            let (learning_rate, epsilon) = (rate as f32, epsilon as f32);
            let rule = kernel::Adam {
                learning_rate,
                beta1: beta1 as f32,
                beta2: beta2 as f32,
                epsilon,
            };
            match rows {
                Some(rows) => {
                    kernels.adam_rows(&rule, step as u64, scale, values, rows, first, second)
                }
                None => kernels.adam(&rule, step as u64, scale, values, dense, first, second),
            }
        }
        (rule, slots) => panic!("{} slots for {rule:?}", slots.len()),
    }
}
