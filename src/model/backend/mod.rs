//! Where a model runs, and in which form.
//!
//! A method of [`Backend`] is by default the reference in `op/`, composed of dfdx's operations. [`Reference`] uses these defaults on any
//! device. `FusedCpu` and `FusedCuda` override those that they have a fused form of, each in a file of the same name. Every parameter and
//! every activation is used once in a model, so fused operations overwrite its gradient instead of adding to it.

pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;

use super::matrix::{Buffer, Matrix};
use super::op::lstm::{LayerState, Weights};
use super::op::update::{self, Rule};
use super::op::{self, Loss, Projection, Taped};
use super::parameters::{Parameter, Parameters};
use super::sampling;
use crate::kernel::Bags;
use dfdx::prelude::*;
use std::fmt::Debug;

/// A device whose buffers can be copied to the host and from it.
pub trait HostAccess: Device<f32> {
    /// The values of a buffer.
    fn read(buffer: &Buffer<Self>) -> Vec<f32>;

    /// Fills a buffer; the lengths are the same.
    fn write(buffer: &mut Buffer<Self>, values: &[f32]);
}

/// A device that can run the model, with all that its operations need between calls. Clones share it.
pub trait Backend: Clone + Debug + 'static {
    /// The device.
    type Device: HostAccess;

    /// What generation computes once from the output projection and uses at each step.
    type Prepared: Default;

    /// The device.
    fn device(&self) -> &Self::Device;

    /// A matrix of these values.
    fn matrix(&self, values: Vec<f32>, shape: (usize, usize)) -> Matrix<Self::Device> {
        self.device().tensor_from_vec(values, shape).into()
    }

    /// A matrix of zeros.
    fn zeros(&self, shape: (usize, usize)) -> Matrix<Self::Device> {
        self.device().zeros_like(&shape).into()
    }

    /// Gives a matrix other values, as many as it has.
    fn set(&self, matrix: &mut Matrix<Self::Device>, values: &[f32]) {
        matrix.change(|tensor| tensor.copy_from(values));
    }

    /// See [`op::embedding::embedding`].
    fn embedding<T: Tape<f32, Self::Device>>(
        &self,
        table: &Matrix<Self::Device>,
        ids: &[u32],
    ) -> Matrix<Self::Device, T> {
        op::embedding::embedding(table.retaped(), ids)
    }

    /// See [`op::embedding::embedding_bag`].
    fn embedding_bag<T: Tape<f32, Self::Device>>(
        &self,
        table: &Matrix<Self::Device>,
        bags: Bags,
    ) -> Matrix<Self::Device, T> {
        op::embedding::embedding_bag(table.retaped(), bags)
    }

    /// See [`op::dropout::dropout`].
    fn dropout<T: Tape<f32, Self::Device>>(
        &self,
        x: Matrix<Self::Device, T>,
        mask: Vec<f32>,
    ) -> Matrix<Self::Device, T> {
        op::dropout::dropout(x, mask)
    }

    /// See [`op::lstm::lstm`].
    fn lstm<T: Tape<f32, Self::Device>>(
        &self,
        x: Matrix<Self::Device, T>,
        weights: &Weights<Self::Device>,
        state: &LayerState<Self::Device>,
    ) -> (Matrix<Self::Device, T>, LayerState<Self::Device>) {
        op::lstm::lstm(x, weights, state)
    }

    /// [`Backend::lstm`] over [`Backend::embedding_bag`].
    fn lstm_of_bags<T: Tape<f32, Self::Device>>(
        &self,
        table: &Matrix<Self::Device>,
        bags: Bags,
        weights: &Weights<Self::Device>,
        state: &LayerState<Self::Device>,
    ) -> (Matrix<Self::Device, T>, LayerState<Self::Device>) {
        self.lstm(self.embedding_bag(table, bags), weights, state)
    }

    /// See [`op::softmax::loss`].
    fn softmax_loss(
        &self,
        h: Taped<Self::Device>,
        projection: Projection<Self::Device>,
        targets: &[u32],
        gradients: &mut Gradients<f32, Self::Device>,
    ) -> Loss<Self::Device> {
        op::softmax::loss(h, projection, targets, gradients)
    }

    /// See [`op::softmax::nll`]; `targets` are those of the positions `rows` of `h`.
    fn softmax_nll(
        &self,
        h: &Matrix<Self::Device>,
        rows: &[u32],
        projection: Projection<Self::Device>,
        targets: &[u32],
    ) -> Vec<f32> {
        op::softmax::nll(&self.embedding(h, rows), projection, targets)
    }

    /// See [`op::sigmoid::loss`].
    fn sigmoid_loss(
        &self,
        h: Taped<Self::Device>,
        projection: Projection<Self::Device>,
        targets: Bags,
        gradients: &mut Gradients<f32, Self::Device>,
    ) -> Loss<Self::Device> {
        op::sigmoid::loss(h, projection, targets, gradients)
    }

    /// See [`op::logits`].
    fn logits(&self, h: &Matrix<Self::Device>, projection: Projection<Self::Device>) -> Vec<f32> {
        op::logits(h, projection)
    }

    /// What [`Backend::next_logits`] wants of the output projection.
    fn prepare(&self, _: Projection<Self::Device>) -> Self::Prepared {
        Self::Prepared::default()
    }

    /// One time step of generation: inputs `(B, E)` through all layers; moves `state`.
    fn lstm_step(
        &self,
        x: Matrix<Self::Device>,
        layers: &[Weights<Self::Device>],
        state: &mut [LayerState<Self::Device>],
    ) -> Matrix<Self::Device> {
        step_by_sequences(self, x, layers, state)
    }

    /// The logits of one time step of generation.
    fn next_logits(
        &self,
        h: &Matrix<Self::Device>,
        projection: Projection<Self::Device>,
        _: &Self::Prepared,
        logits: &mut Vec<f32>,
    ) {
        *logits = self.logits(h, projection);
    }

    /// See [`sampling::draw`].
    fn draw(&self, logits: &mut [f32], inverse_temperature: f32, u: f64) -> usize {
        sampling::draw(logits, inverse_temperature, u)
    }

    /// Whether the backend itself holds the gradient of a parameter after a backward pass. Otherwise dfdx's container does.
    fn keeps_gradient(&self, _: &Parameter<Self::Device>) -> bool {
        false
    }

    /// The gradient of a parameter, on the host.
    fn gradient(
        &self,
        parameter: &Parameter<Self::Device>,
        gradients: &Gradients<f32, Self::Device>,
    ) -> Vec<f32> {
        gradients.get(parameter.matrix.tensor()).as_vec()
    }

    /// See [`update::gradient_norm`].
    fn gradient_norm(
        &self,
        parameters: &Parameters<Self::Device>,
        gradients: &mut Gradients<f32, Self::Device>,
    ) -> f64 {
        let matrices = parameters.iter().map(|parameter| &parameter.matrix);
        update::gradient_norm(matrices, gradients)
    }

    /// See [`update::update`]. `slots` are what the rule keeps for the parameter ([`Rule::slots`]).
    fn update(
        &self,
        rule: &Rule,
        scale: f32,
        parameter: &mut Parameter<Self::Device>,
        slots: &mut [Buffer<Self::Device>],
        gradients: &mut Gradients<f32, Self::Device>,
    ) {
        update::update(rule, scale, &mut parameter.matrix, slots, gradients);
    }
}

/// A time step by the operations for whole sequences.
fn step_by_sequences<B: Backend>(
    backend: &B,
    mut x: Matrix<B::Device>,
    layers: &[Weights<B::Device>],
    state: &mut [LayerState<B::Device>],
) -> Matrix<B::Device> {
    for (weights, state) in layers.iter().zip(state) {
        (x, *state) = backend.lstm(x, weights, state);
    }
    x
}

/// A device with dfdx's operations only: slow, and what the fused forms are tested against.
#[derive(Debug, Clone)]
pub struct Reference<D>(pub D);

impl<D: HostAccess + Debug> Backend for Reference<D> {
    type Device = D;
    type Prepared = ();

    fn device(&self) -> &D {
        &self.0
    }
}
