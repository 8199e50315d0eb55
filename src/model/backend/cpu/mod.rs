//! The CPU with fused operations: each is one call into `kernel/`.

mod dropout;
mod embedding;
mod lstm;
mod projection;
mod sigmoid;
mod softmax;
mod update;

use super::{Backend, HostAccess, step_by_sequences};
use crate::kernel::{Bags, Kernels, LstmTape, SparseGradient};
use crate::model::matrix::{Buffer, Matrix};
use crate::model::op::lstm::{LayerState, Weights};
use crate::model::op::update::Rule;
use crate::model::op::{Loss, Projection, Taped};
use crate::model::parameters::{Parameter, Parameters};
use dfdx::prelude::*;
use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::{Arc, Mutex};

/// The CPU with fused operations.
#[derive(Clone)]
pub struct FusedCpu {
    device: Cpu,
    workspace: Arc<Mutex<Workspace>>,
}

/// The kernels with what the operations keep between calls.
struct Workspace {
    kernels: Kernels,
    /// The gradient of the token embedding: the rows that the last window read.
    embedding: SparseGradient,
    /// Activations of a layer, kept from its forward to its backward pass; here while not in use.
    tapes: Vec<LstmTape>,
    /// Logits of the sigmoid model, `(N, V)`, and their gradient.
    logits: Vec<f32>,
}

impl FusedCpu {
    /// The CPU with these kernels.
    pub fn new(kernels: Kernels) -> Self {
        let workspace = Workspace {
            kernels,
            embedding: SparseGradient::default(),
            tapes: Vec::new(),
            logits: Vec::new(),
        };
        Self {
            device: caching_cpu(),
            workspace: Arc::new(Mutex::new(workspace)),
        }
    }

    /// Runs `operation` with the workspace, which is locked meanwhile.
    fn with<R>(&self, operation: impl FnOnce(&mut Workspace) -> R) -> R {
        operation(
            &mut self
                .workspace
                .lock()
                .expect("no operation panicked half-way"),
        )
    }

    /// Zeros for a new matrix. dfdx keeps the memory of every dropped tensor for reuse, so this takes it from there.
    fn buffer(&self, length: usize) -> Vec<f32> {
        let buffer = Storage::<f32>::try_alloc_len(&self.device, length);
        // Dropping the emptied buffer would add it to the kept ones, as one of length 0.
        let mut buffer = ManuallyDrop::new(buffer.expect("activations fit in memory"));
        std::mem::take(&mut **buffer)
    }
}

impl fmt::Debug for FusedCpu {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("FusedCpu")
    }
}

/// A CPU that keeps freed buffers for reuse, since fresh memory from the system is slow.
pub fn caching_cpu() -> Cpu {
    let device = Cpu::default();
    device.enable_cache();
    device
}

impl HostAccess for Cpu {
    fn read(buffer: &Buffer<Self>) -> Vec<f32> {
        buffer.to_vec()
    }

    fn write(buffer: &mut Buffer<Self>, values: &[f32]) {
        buffer.copy_from_slice(values);
    }
}

impl Backend for FusedCpu {
    type Device = Cpu;
    /// The projection's weights in bfloat16, if that is the precision.
    type Prepared = Option<Vec<u16>>;

    fn device(&self) -> &Cpu {
        &self.device
    }

    fn matrix(&self, values: Vec<f32>, shape: (usize, usize)) -> Matrix<Cpu> {
        Matrix::of_host(&self.device, values, shape)
    }

    fn zeros(&self, shape: (usize, usize)) -> Matrix<Cpu> {
        self.matrix(self.buffer(shape.0 * shape.1), shape)
    }

    fn set(&self, matrix: &mut Matrix<Cpu>, values: &[f32]) {
        matrix.values_mut().copy_from_slice(values);
    }

    fn embedding<T: Tape<f32, Cpu>>(&self, table: &Matrix<Cpu>, ids: &[u32]) -> Matrix<Cpu, T> {
        embedding::embedding(self, table, ids)
    }

    fn embedding_bag<T: Tape<f32, Cpu>>(&self, table: &Matrix<Cpu>, bags: Bags) -> Matrix<Cpu, T> {
        embedding::embedding_bag(self, table, bags)
    }

    fn dropout<T: Tape<f32, Cpu>>(&self, x: Matrix<Cpu, T>, mask: Vec<f32>) -> Matrix<Cpu, T> {
        dropout::dropout(self, x, mask)
    }

    fn lstm<T: Tape<f32, Cpu>>(
        &self,
        x: Matrix<Cpu, T>,
        weights: &Weights<Cpu>,
        state: &LayerState<Cpu>,
    ) -> (Matrix<Cpu, T>, LayerState<Cpu>) {
        lstm::lstm(self, x, None, weights, state)
    }

    fn lstm_of_bags<T: Tape<f32, Cpu>>(
        &self,
        table: &Matrix<Cpu>,
        bags: Bags,
        weights: &Weights<Cpu>,
        state: &LayerState<Cpu>,
    ) -> (Matrix<Cpu, T>, LayerState<Cpu>) {
        lstm::lstm(self, table.retaped(), Some(bags), weights, state)
    }

    fn softmax_loss(
        &self,
        h: Taped<Cpu>,
        projection: Projection<Cpu>,
        targets: &[u32],
        gradients: &mut Gradients<f32, Cpu>,
    ) -> Loss<Cpu> {
        softmax::loss(self, h, projection, targets, gradients)
    }

    fn softmax_nll(
        &self,
        h: &Matrix<Cpu>,
        rows: &[u32],
        projection: Projection<Cpu>,
        targets: &[u32],
    ) -> Vec<f32> {
        softmax::nll(self, &self.embedding(h, rows), projection, targets)
    }

    fn sigmoid_loss(
        &self,
        h: Taped<Cpu>,
        projection: Projection<Cpu>,
        targets: Bags,
        gradients: &mut Gradients<f32, Cpu>,
    ) -> Loss<Cpu> {
        sigmoid::loss(self, h, projection, targets, gradients)
    }

    fn logits(&self, h: &Matrix<Cpu>, projection: Projection<Cpu>) -> Vec<f32> {
        projection::logits(self, h, projection)
    }

    fn prepare(&self, projection: Projection<Cpu>) -> Option<Vec<u16>> {
        projection::prepare(self, projection)
    }

    fn lstm_step(
        &self,
        x: Matrix<Cpu>,
        layers: &[Weights<Cpu>],
        state: &mut [LayerState<Cpu>],
    ) -> Matrix<Cpu> {
        match x.shape() {
            (1, _) => lstm::step(self, x, layers, state),
            _ => step_by_sequences(self, x, layers, state),
        }
    }

    fn next_logits(
        &self,
        h: &Matrix<Cpu>,
        projection: Projection<Cpu>,
        prepared: &Option<Vec<u16>>,
        logits: &mut Vec<f32>,
    ) {
        match h.shape() {
            (1, _) => projection::next_logits(self, h, projection, prepared.as_deref(), logits),
            _ => *logits = self.logits(h, projection),
        }
    }

    fn draw(&self, logits: &mut [f32], inverse_temperature: f32, u: f64) -> usize {
        self.with(|it| it.kernels.sample(logits, inverse_temperature, u))
    }

    fn keeps_gradient(&self, parameter: &Parameter<Cpu>) -> bool {
        parameter.sparse
    }

    fn gradient(&self, parameter: &Parameter<Cpu>, gradients: &Gradients<f32, Cpu>) -> Vec<f32> {
        if !parameter.sparse {
            return gradients.get(parameter.matrix.tensor()).as_vec();
        }
        let (rows, width) = parameter.matrix.shape();
        self.with(|it| it.embedding.to_dense(rows, width))
    }

    fn gradient_norm(
        &self,
        parameters: &Parameters<Cpu>,
        gradients: &mut Gradients<f32, Cpu>,
    ) -> f64 {
        update::gradient_norm(self, parameters, gradients)
    }

    fn update(
        &self,
        rule: &Rule,
        scale: f32,
        parameter: &mut Parameter<Cpu>,
        slots: &mut [Buffer<Cpu>],
        gradients: &mut Gradients<f32, Cpu>,
    ) {
        update::update(self, rule, scale, parameter, slots, gradients);
    }
}

/// Takes the gradient of a matrix out of its container, zeros if there was none. It is always put back, so that dfdx can reuse its
/// memory.
fn take_gradient(gradients: &mut Gradients<f32, Cpu>, matrix: &Matrix<Cpu>) -> Vec<f32> {
    std::mem::take(gradient(gradients, matrix))
}

/// Puts a gradient back.
fn put_gradient(gradients: &mut Gradients<f32, Cpu>, matrix: &Matrix<Cpu>, values: Vec<f32>) {
    *gradient(gradients, matrix) = values;
}

/// The gradient of a matrix in its container.
fn gradient<'a>(gradients: &'a mut Gradients<f32, Cpu>, matrix: &Matrix<Cpu>) -> &'a mut Vec<f32> {
    let buffer = gradients.get_or_alloc_mut(matrix.tensor());
    buffer.expect("a gradient fits in memory")
}
