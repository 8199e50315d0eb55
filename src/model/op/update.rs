//! The optimizer's step for one parameter.

use crate::model::matrix::{Buffer, Matrix, Tensor2};
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

/// A buffer of `length` zeros.
pub fn zeros<D: Device<f32>>(device: &D, length: usize) -> Buffer<D> {
    let buffer = Storage::<f32>::try_alloc_len(device, length);
    let mut buffer = buffer.expect("the optimizer's state fits in memory");
    device
        .try_fill_with_zeros(&mut buffer)
        .expect("a fill allocates nothing");
    buffer
}

/// Moves `parameter` along its gradient times `scale`, by dfdx's updates. The gradient is no longer needed after it.
pub fn update<D: Device<f32>>(
    rule: &Rule,
    scale: f32,
    parameter: &mut Matrix<D>,
    slots: &mut [Buffer<D>],
    gradients: &mut Gradients<f32, D>,
) {
    parameter.change(|tensor| {
        let gradient = gradients
            .get_or_alloc_mut(tensor)
            .expect("a gradient fits in memory");
        if scale != 1.0 {
            multiply(tensor, gradient, scale);
        }
        step(rule, tensor, slots, gradient);
    });
}

/// One step of dfdx's updates.
fn step<D: Device<f32>>(
    rule: &Rule,
    parameter: &mut Tensor2<D>,
    slots: &mut [Buffer<D>],
    gradient: &Buffer<D>,
) {
    let updated = match (*rule, slots) {
        (Rule::Sgd { rate, .. }, []) => {
            let config = SgdConfig {
                lr: rate,
                momentum: None,
                weight_decay: None,
            };
            let mut velocity = unused(parameter);
            config.try_update(parameter, &mut velocity, gradient)
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
            let [mut momentum, mut mean] = [unused(parameter), unused(parameter)];
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

/// A buffer that dfdx's updates require for a slot that the rule does not keep, and do not change.
fn unused<D: Device<f32>>(parameter: &Tensor2<D>) -> Buffer<D> {
    zeros(parameter.device(), parameter.shape().num_elements())
}

/// Multiplies a gradient in place. dfdx can scale a buffer only as momentum: `v ← 0 + scale v`, with a learning rate of 0.
fn multiply<D: Device<f32>>(parameter: &mut Tensor2<D>, gradient: &mut Buffer<D>, scale: f32) {
    let config = SgdConfig {
        lr: 0.0,
        momentum: Some(Momentum::Classic(f64::from(scale))),
        weight_decay: None,
    };
    let none = unused(parameter);
    config
        .try_update(parameter, gradient, &none)
        .expect("an update allocates nothing");
}

/// The norm of the gradients of all `parameters` together.
pub fn gradient_norm<'a, D: Device<f32>>(
    parameters: impl Iterator<Item = &'a Matrix<D>>,
    gradients: &Gradients<f32, D>,
) -> f64 {
    let square = |parameter: &Matrix<D>| {
        let sum: Tensor<Rank0, f32, D> = gradients.get(parameter.tensor()).square().sum();
        f64::from(sum.as_vec()[0])
    };
    parameters.map(square).sum::<f64>().sqrt()
}
