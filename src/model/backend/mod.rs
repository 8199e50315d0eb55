//! Where a model runs: a dfdx device, and which form of each operation it has there.
//!
//! A method of [`Backend`] is by default the operation composed of dfdx ops. A device with a fused form overrides the method; the model
//! does not know. Each parameter and each activation is used once in a model: fused operations replace its gradient, and do not add to it.

pub mod cpu;
pub mod cpu_slice;
#[cfg(feature = "cuda")]
pub mod cuda;

use super::op::lstm::{LayerState, Weights};
use super::op::update::{self, Rule};
use super::op::{self, Buffer, Matrix, Scalar, dropout, embedding, lstm, sigmoid, softmax};
use super::parameters::Parameter;
use super::sampling;
use anyhow::{Result, ensure};
use dfdx::prelude::*;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// The arithmetic of the large products. Parameters, sums and optimizer state are f32 in either.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// Products of f32 numbers.
    #[default]
    F32,
    /// Products of numbers rounded to bfloat16, accumulated in f32.
    Bf16,
}

impl Precision {
    /// Its name in experiments and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// Checks that a CUDA device has kernels for it.
    ///
    /// # Errors
    /// When there are none.
    pub fn ensure_on_cuda(self) -> Result<()> {
        ensure!(
            self == Self::F32,
            "precision bf16 has kernels on the CPU only: use f32 with --device cuda"
        );
        Ok(())
    }
}

/// A device with all that its operations need between calls.
#[derive(Debug, Clone)]
pub struct Runtime<D: Backend> {
    /// The device.
    pub device: D,
    /// Its fused kernels, if it has any.
    pub kernels: D::Kernels,
}

/// A device that can run the model.
pub trait Backend: Device<f32> {
    /// What fused kernels keep between calls (threads, workspaces).
    type Kernels: Clone + std::fmt::Debug + 'static;

    /// What generation keeps of the output projection, so as not to make it at each step.
    type Prepared;

    /// See [`embedding::gather`].
    fn gather<T: Tape<f32, Self>>(
        _: &Runtime<Self>,
        table: Matrix<Self, T>,
        ids: &[u32],
    ) -> Matrix<Self, T> {
        embedding::gather(table, ids)
    }

    /// See [`embedding::sum`].
    fn sum_keys<T: Tape<f32, Self>>(
        _: &Runtime<Self>,
        table: Matrix<Self, T>,
        keys: &[u128],
    ) -> Matrix<Self, T> {
        embedding::sum(table, keys)
    }

    /// See [`dropout()`].
    fn dropout<T: Tape<f32, Self>>(
        _: &Runtime<Self>,
        x: Matrix<Self, T>,
        probability: f32,
        rng: &mut ChaCha8Rng,
    ) -> Matrix<Self, T> {
        let mask = dropout::mask(*x.shape(), probability, rng);
        dropout::composed(x, mask)
    }

    /// See [`lstm::composed`].
    fn lstm<T: Tape<f32, Self>>(
        _: &Runtime<Self>,
        x: Matrix<Self, T>,
        weights: &Weights<Self>,
        state: &LayerState<Self>,
    ) -> (Matrix<Self, T>, LayerState<Self>) {
        lstm::composed(x, weights, state)
    }

    /// [`Backend::lstm`] over [`Backend::sum_keys`].
    fn lstm_of_keys<T: Tape<f32, Self>>(
        runtime: &Runtime<Self>,
        table: Matrix<Self, T>,
        keys: &[u128],
        weights: &Weights<Self>,
        state: &LayerState<Self>,
    ) -> (Matrix<Self, T>, LayerState<Self>) {
        let sums = Self::sum_keys(runtime, table, keys);
        Self::lstm(runtime, sums, weights, state)
    }

    /// See [`softmax::loss`].
    fn softmax_loss(
        _: &Runtime<Self>,
        h: Matrix<Self, OwnedTape<f32, Self>>,
        weight: &Matrix<Self>,
        bias: &Matrix<Self>,
        targets: &[u32],
        gradients: &mut Gradients<f32, Self>,
    ) -> Scalar<Self, OwnedTape<f32, Self>> {
        softmax::loss(h, weight, bias, targets, gradients)
    }

    /// See [`softmax::nll`]; `targets` are those of the positions `rows` of `h`.
    fn softmax_nll(
        runtime: &Runtime<Self>,
        h: Matrix<Self>,
        rows: &[u32],
        weight: &Matrix<Self>,
        bias: &Matrix<Self>,
        targets: &[u32],
    ) -> Vec<f32> {
        let h = Self::gather(runtime, h, rows);
        softmax::nll(&h, weight, bias, targets)
    }

    /// See [`sigmoid::loss`].
    fn sigmoid_loss(
        _: &Runtime<Self>,
        h: Matrix<Self, OwnedTape<f32, Self>>,
        weight: &Matrix<Self>,
        bias: &Matrix<Self>,
        targets: &[u128],
        gradients: &mut Gradients<f32, Self>,
    ) -> Scalar<Self, OwnedTape<f32, Self>> {
        sigmoid::loss(h, weight, bias, targets, gradients)
    }

    /// See [`op::logits`].
    fn logits(
        _: &Runtime<Self>,
        h: &Matrix<Self>,
        weight: &Matrix<Self>,
        bias: &Matrix<Self>,
    ) -> Vec<f32> {
        op::logits(h, weight, bias)
    }

    /// What [`Backend::step`] wants of the output projection.
    fn prepare(runtime: &Runtime<Self>, weight: &Matrix<Self>) -> Self::Prepared;

    /// One step of generation: inputs `(B, E)` through all layers to the logits `(B, V)`; moves `state`.
    fn step(
        runtime: &Runtime<Self>,
        x: Matrix<Self>,
        layers: &[Weights<Self>],
        output: (&Matrix<Self>, &Matrix<Self>),
        _: &Self::Prepared,
        state: &mut [LayerState<Self>],
        logits: &mut Vec<f32>,
    ) {
        composed_step(runtime, x, layers, output, state, logits);
    }

    /// See [`sampling::draw`].
    fn draw(_: &Runtime<Self>, logits: &mut [f32], inverse_temperature: f32, u: f64) -> usize {
        sampling::draw(logits, inverse_temperature, u)
    }

    /// Whether dfdx's container holds the gradient of a parameter after a backward pass; else the kernels do.
    fn holds_gradient(_: &Runtime<Self>, _: &Parameter<Self>) -> bool {
        true
    }

    /// The gradient of a parameter, on the host.
    fn gradient(
        _: &Runtime<Self>,
        parameter: &Parameter<Self>,
        gradients: &Gradients<f32, Self>,
    ) -> Vec<f32> {
        gradients.get(&parameter.tensor).as_vec()
    }

    /// See [`update::gradient_norm`].
    fn gradient_norm(
        _: &Runtime<Self>,
        parameters: &[Parameter<Self>],
        gradients: &mut Gradients<f32, Self>,
    ) -> f64 {
        update::gradient_norm(parameters, gradients)
    }

    /// Moves one parameter along its gradient, which is first multiplied by `scale`. `slots` are what the rule keeps for the parameter
    /// ([`Rule::slots`]).
    fn update(
        runtime: &Runtime<Self>,
        rule: &Rule,
        scale: f32,
        parameter: &mut Parameter<Self>,
        slots: &mut [Buffer<Self>],
        gradients: &mut Gradients<f32, Self>,
    ) {
        update::composed(
            &runtime.device,
            rule,
            scale,
            &mut parameter.tensor,
            slots,
            gradients,
        );
    }

    /// The values of a buffer, on the host.
    fn read(buffer: &Buffer<Self>) -> Vec<f32>;

    /// Fills a buffer from the host; the lengths are the same.
    fn write(buffer: &mut Buffer<Self>, values: &[f32]);
}

/// One step by the operations for whole sequences.
fn composed_step<D: Backend>(
    runtime: &Runtime<D>,
    mut x: Matrix<D>,
    layers: &[Weights<D>],
    output: (&Matrix<D>, &Matrix<D>),
    state: &mut [LayerState<D>],
    logits: &mut Vec<f32>,
) {
    for (weights, state) in layers.iter().zip(state) {
        (x, *state) = D::lstm(runtime, x, weights, state);
    }
    *logits = D::logits(runtime, &x, output.0, output.1);
}
