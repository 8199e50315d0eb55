//! The CPU: every operation fused, or every operation composed, as the runtime says.

use super::cpu_slice::{values, values_mut};
use super::{Backend, Precision, Runtime};
use crate::kernel::{Kernels, LstmTape, RowGradient};
use crate::model::op::lstm::{LayerState, Weights};
use crate::model::op::update::{self, Rule};
use crate::model::op::{self, Buffer, Matrix, Scalar, dropout, embedding, lstm, sigmoid, softmax};
use crate::model::parameters::Parameter;
use crate::model::sampling;
use dfdx::prelude::*;
use rand_chacha::ChaCha8Rng;
use std::sync::{Arc, Mutex, MutexGuard};

/// The fused kernels of a CPU, if the runtime has them. Clones share them.
#[derive(Clone)]
pub struct CpuKernels(Option<Arc<Mutex<Fused>>>);

/// The kernels with what the operations keep between calls.
pub struct Fused {
    /// Threads, instruction path and workspaces.
    pub kernels: Kernels,
    /// Of the products.
    pub precision: Precision,
    /// The gradient of the token embedding: the rows that the last window read.
    pub embedding: RowGradient,
    /// Activations of a layer, kept from its forward to its backward pass; here while not in use.
    pub tapes: Vec<LstmTape>,
    /// Logits of the sigmoid model, `(N, 88)`, and their gradient.
    pub logits: Vec<f32>,
}

impl CpuKernels {
    /// The kernels, for the time of one operation.
    pub fn get(&self) -> Option<MutexGuard<'_, Fused>> {
        self.0
            .as_ref()
            .map(|fused| fused.lock().expect("no operation panicked half-way"))
    }
}

impl std::fmt::Debug for CpuKernels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() {
            "fused"
        } else {
            "composed"
        })
    }
}

impl Runtime<Cpu> {
    /// The CPU with fused operations.
    pub fn fused(kernels: Kernels, precision: Precision) -> Self {
        let fused = Fused {
            kernels,
            precision,
            embedding: RowGradient::default(),
            tapes: Vec::new(),
            logits: Vec::new(),
        };
        Self {
            device: cached_cpu(),
            kernels: CpuKernels(Some(Arc::new(Mutex::new(fused)))),
        }
    }

    /// The CPU with the composed operations alone: slow, and what the fused ones are compared with.
    pub fn composed() -> Self {
        Self {
            device: cached_cpu(),
            kernels: CpuKernels(None),
        }
    }
}

impl From<Precision> for crate::kernel::Precision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::Bf16,
        }
    }
}

/// A device that keeps freed buffers: fresh memory costs more than what is done with it.
fn cached_cpu() -> Cpu {
    let device = Cpu::default();
    device.enable_cache();
    device
}

impl Backend for Cpu {
    type Kernels = CpuKernels;
    type Prepared = Vec<u16>;

    fn gather<T: Tape<f32, Self>>(
        runtime: &Runtime<Self>,
        table: Matrix<Self, T>,
        ids: &[u32],
    ) -> Matrix<Self, T> {
        match runtime.kernels.get() {
            Some(mut fused) => embedding::fused_gather(&runtime.kernels, &mut fused, table, ids),
            None => embedding::gather(table, ids),
        }
    }

    fn sum_keys<T: Tape<f32, Self>>(
        runtime: &Runtime<Self>,
        table: Matrix<Self, T>,
        keys: &[u128],
    ) -> Matrix<Self, T> {
        match runtime.kernels.get() {
            Some(mut fused) => embedding::fused_sum(&runtime.kernels, &mut fused, table, keys),
            None => embedding::sum(table, keys),
        }
    }

    fn dropout<T: Tape<f32, Self>>(
        runtime: &Runtime<Self>,
        x: Matrix<Self, T>,
        probability: f32,
        rng: &mut ChaCha8Rng,
    ) -> Matrix<Self, T> {
        let mask = dropout::mask(*x.shape(), probability, rng);
        match runtime.kernels.get() {
            Some(_) => dropout::fused(x, mask),
            None => dropout::composed(x, mask),
        }
    }

    fn lstm<T: Tape<f32, Self>>(
        runtime: &Runtime<Self>,
        x: Matrix<Self, T>,
        weights: &Weights<Self>,
        state: &LayerState<Self>,
    ) -> (Matrix<Self, T>, LayerState<Self>) {
        match runtime.kernels.get() {
            Some(mut fused) => lstm::fused(&runtime.kernels, &mut fused, x, None, weights, state),
            None => lstm::composed(x, weights, state),
        }
    }

    fn lstm_of_keys<T: Tape<f32, Self>>(
        runtime: &Runtime<Self>,
        table: Matrix<Self, T>,
        keys: &[u128],
        weights: &Weights<Self>,
        state: &LayerState<Self>,
    ) -> (Matrix<Self, T>, LayerState<Self>) {
        match runtime.kernels.get() {
            Some(mut fused) => {
                let kernels = &runtime.kernels;
                lstm::fused(kernels, &mut fused, table, Some(keys), weights, state)
            }
            None => lstm::composed(embedding::sum(table, keys), weights, state),
        }
    }

    fn softmax_loss(
        runtime: &Runtime<Self>,
        h: Matrix<Self, OwnedTape<f32, Self>>,
        weight: &Matrix<Self>,
        bias: &Matrix<Self>,
        targets: &[u32],
        gradients: &mut Gradients<f32, Self>,
    ) -> Scalar<Self, OwnedTape<f32, Self>> {
        match runtime.kernels.get() {
            Some(mut fused) => softmax::fused_loss(&mut fused, h, weight, bias, targets, gradients),
            None => softmax::loss(h, weight, bias, targets, gradients),
        }
    }

    fn softmax_nll(
        runtime: &Runtime<Self>,
        h: Matrix<Self>,
        rows: &[u32],
        weight: &Matrix<Self>,
        bias: &Matrix<Self>,
        targets: &[u32],
    ) -> Vec<f32> {
        let h = Self::gather(runtime, h, rows);
        match runtime.kernels.get() {
            Some(mut fused) => softmax::fused_nll(&mut fused, &h, weight, bias, targets),
            None => softmax::nll(&h, weight, bias, targets),
        }
    }

    fn sigmoid_loss(
        runtime: &Runtime<Self>,
        h: Matrix<Self, OwnedTape<f32, Self>>,
        weight: &Matrix<Self>,
        bias: &Matrix<Self>,
        targets: &[u128],
        gradients: &mut Gradients<f32, Self>,
    ) -> Scalar<Self, OwnedTape<f32, Self>> {
        match runtime.kernels.get() {
            Some(mut fused) => sigmoid::fused_loss(&mut fused, h, weight, bias, targets, gradients),
            None => sigmoid::loss(h, weight, bias, targets, gradients),
        }
    }

    fn logits(
        runtime: &Runtime<Self>,
        h: &Matrix<Self>,
        weight: &Matrix<Self>,
        bias: &Matrix<Self>,
    ) -> Vec<f32> {
        match runtime.kernels.get() {
            Some(mut fused) => {
                let mut logits = vec![0.0; h.shape().0 * weight.shape().0];
                let Fused {
                    kernels, precision, ..
                } = &mut *fused;
                kernels.linear_forward(
                    (*precision).into(),
                    values(h),
                    values(weight),
                    values(bias),
                    &mut logits,
                );
                logits
            }
            None => op::logits(h, weight, bias),
        }
    }

    fn prepare(runtime: &Runtime<Self>, weight: &Matrix<Self>) -> Vec<u16> {
        match runtime.kernels.get() {
            Some(fused) if fused.precision == Precision::Bf16 => softmax::rounded(values(weight)),
            _ => Vec::new(),
        }
    }

    fn step(
        runtime: &Runtime<Self>,
        x: Matrix<Self>,
        layers: &[Weights<Self>],
        output: (&Matrix<Self>, &Matrix<Self>),
        prepared: &Vec<u16>,
        state: &mut [LayerState<Self>],
        logits: &mut Vec<f32>,
    ) {
        match runtime.kernels.get() {
            Some(mut fused) if x.shape().0 == 1 => {
                let h = lstm::fused_step(&mut fused, x, layers, state);
                softmax::fused_logits(&mut fused, &h, output, prepared, logits);
            }
            fused => {
                drop(fused);
                super::composed_step(runtime, x, layers, output, state, logits);
            }
        }
    }

    fn draw(
        runtime: &Runtime<Self>,
        logits: &mut [f32],
        inverse_temperature: f32,
        u: f64,
    ) -> usize {
        match runtime.kernels.get() {
            Some(mut fused) => fused.kernels.sample(logits, inverse_temperature, u),
            None => sampling::draw(logits, inverse_temperature, u),
        }
    }

    fn holds_gradient(runtime: &Runtime<Self>, parameter: &Parameter<Self>) -> bool {
        runtime.kernels.0.is_none() || !parameter.few_rows
    }

    fn gradient(
        runtime: &Runtime<Self>,
        parameter: &Parameter<Self>,
        gradients: &Gradients<f32, Self>,
    ) -> Vec<f32> {
        match runtime.kernels.get() {
            Some(fused) if parameter.few_rows => {
                embedding::dense(&fused.embedding, parameter.shape())
            }
            _ => gradients.get(&parameter.tensor).as_vec(),
        }
    }

    fn gradient_norm(
        runtime: &Runtime<Self>,
        parameters: &[Parameter<Self>],
        gradients: &mut Gradients<f32, Self>,
    ) -> f64 {
        match runtime.kernels.get() {
            Some(mut fused) => {
                let squares = parameters
                    .iter()
                    .map(|parameter| update::fused_squared_norm(&mut fused, parameter, gradients));
                squares.sum::<f64>().sqrt()
            }
            None => update::gradient_norm(parameters, gradients),
        }
    }

    fn update(
        runtime: &Runtime<Self>,
        rule: &Rule,
        scale: f32,
        parameter: &mut Parameter<Self>,
        slots: &mut [Buffer<Self>],
        gradients: &mut Gradients<f32, Self>,
    ) {
        match runtime.kernels.get() {
            Some(mut fused) => update::fused(&mut fused, rule, scale, parameter, slots, gradients),
            None => update::composed(
                &runtime.device,
                rule,
                scale,
                &mut parameter.tensor,
                slots,
                gradients,
            ),
        }
    }

    fn read(buffer: &Buffer<Self>) -> Vec<f32> {
        buffer.to_vec()
    }

    fn write(buffer: &mut Buffer<Self>, values: &[f32]) {
        buffer.copy_from_slice(values);
    }
}

/// A new contiguous matrix that `fill` writes all of.
pub(crate) fn filled(
    device: &Cpu,
    shape: (usize, usize),
    fill: impl FnOnce(&mut [f32]),
) -> Matrix<Cpu> {
    let mut matrix: Matrix<Cpu> = device.zeros_like(&shape);
    fill(values_mut(&mut matrix));
    matrix
}
