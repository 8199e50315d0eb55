//! CUDA through dfdx: every operation composed, or those that dominate by kernels of our own, as the runtime says.
//!
//! Parameters, optimizer state, gradients and activations live on the device. Of a step's numbers only the ids of the window go there,
//! and only the loss and the sums that the gradients' norm is made of come back.

mod embedding;
mod kernels;
mod lstm;
mod softmax;
mod span;

use super::{Backend, Precision, Runtime};
use crate::device::gpu;
use crate::model::op::lstm::{LayerState, Weights};
use crate::model::op::update::{self, Rule};
use crate::model::op::{self, Buffer, Matrix, Scalar};
use crate::model::parameters::Parameter;
use anyhow::{Result, anyhow};
use cudarc::driver::CudaSlice;
use dfdx::prelude::*;
use kernels::Kernels;
use span::Span;
use std::sync::{Arc, Mutex, MutexGuard};

/// The kernels of a CUDA device, if the runtime has them. Clones share them.
#[derive(Clone)]
pub struct CudaKernels(Option<Arc<Mutex<Kernels>>>);

impl CudaKernels {
    /// The kernels, for the time of one operation on this thread.
    fn get(&self) -> Option<MutexGuard<'_, Kernels>> {
        let kernels = self.0.as_ref()?.lock();
        let kernels = kernels.expect("no operation panicked half-way");
        kernels.bind();
        Some(kernels)
    }
}

impl std::fmt::Debug for CudaKernels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "own" } else { "composed" })
    }
}

impl Runtime<Cuda> {
    /// The CUDA device with this number, with kernels of our own.
    ///
    /// # Errors
    /// When there is no driver or no such device, when the kernels cannot be compiled, or for a precision that has no kernels.
    pub fn cuda(ordinal: usize, precision: Precision) -> Result<Self> {
        precision.ensure_on_cuda()?;
        let mut runtime = Self::cuda_composed(ordinal)?;
        let buffer = Storage::<f32>::try_alloc_len(&runtime.device, 1)
            .map_err(|error| anyhow!("failed to allocate memory of the device: {error}"))?;
        let kernels = Kernels::new(CudaSlice::device(&buffer))?;
        runtime.kernels = CudaKernels(Some(Arc::new(Mutex::new(kernels))));
        Ok(runtime)
    }

    /// The CUDA device with this number, with dfdx's operations alone: slower, and what the kernels are compared with.
    ///
    /// # Errors
    /// When there is no driver or no such device.
    pub fn cuda_composed(ordinal: usize) -> Result<Self> {
        gpu::ensure_there(ordinal)?;
        let device = Cuda::try_build(ordinal, 0)
            .map_err(|error| anyhow!("failed to start CUDA device {ordinal}: {error}"))?;
        device.enable_cache();
        Ok(Self {
            device,
            kernels: CudaKernels(None),
        })
    }
}

impl Backend for Cuda {
    type Kernels = CudaKernels;
    type Prepared = ();

    fn gather<T: Tape<f32, Self>>(
        runtime: &Runtime<Self>,
        table: Matrix<Self, T>,
        ids: &[u32],
    ) -> Matrix<Self, T> {
        match runtime.kernels.get() {
            Some(kernels) => embedding::gather(&runtime.kernels, &kernels, table, ids),
            None => op::embedding::gather(table, ids),
        }
    }

    fn lstm<T: Tape<f32, Self>>(
        runtime: &Runtime<Self>,
        x: Matrix<Self, T>,
        weights: &Weights<Self>,
        state: &LayerState<Self>,
    ) -> (Matrix<Self, T>, LayerState<Self>) {
        match runtime.kernels.get() {
            Some(mut kernels) => lstm::sequence(&runtime.kernels, &mut kernels, x, weights, state),
            None => op::lstm::composed(x, weights, state),
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
            Some(mut kernels) => softmax::loss(&mut kernels, h, weight, bias, targets, gradients),
            None => op::softmax::loss(h, weight, bias, targets, gradients),
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
        match runtime.kernels.get() {
            Some(mut kernels) => softmax::nll(&mut kernels, &h, rows, weight, bias, targets),
            None => {
                let h = op::embedding::gather(h, rows);
                op::softmax::nll(&h, weight, bias, targets)
            }
        }
    }

    fn prepare(_: &Runtime<Self>, _: &Matrix<Self>) {}

    fn gradient_norm(
        runtime: &Runtime<Self>,
        parameters: &[Parameter<Self>],
        gradients: &mut Gradients<f32, Self>,
    ) -> f64 {
        match runtime.kernels.get() {
            Some(kernels) => {
                let span = |p: &Parameter<Self>| Span::of_gradient(gradients, &p.tensor);
                let spans: Vec<Span> = parameters.iter().map(span).collect();
                kernels.sum_of_squares(&spans).sqrt()
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
        match (runtime.kernels.get(), &*slots) {
            (Some(kernels), [first, second]) => {
                let moments = [first, second].map(Span::of_buffer);
                let gradient = Span::of_gradient(gradients, &parameter.tensor);
                kernels.adam(rule, scale, Span::of(&parameter.tensor), moments, gradient);
            }
            _ => update::composed(
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
        let slice: &CudaSlice<f32> = buffer;
        slice
            .device()
            .dtoh_sync_copy(slice)
            .expect("a copy from the device to the host succeeds")
    }

    fn write(buffer: &mut Buffer<Self>, values: &[f32]) {
        let slice: &mut CudaSlice<f32> = buffer;
        slice
            .device()
            .htod_sync_copy_into(values, slice)
            .expect("a copy from the host to the device succeeds");
    }
}

#[cfg(test)]
mod tests;
