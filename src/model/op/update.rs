//! The optimizer's step for one parameter.

use super::{Buffer, Matrix, zeros};
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
