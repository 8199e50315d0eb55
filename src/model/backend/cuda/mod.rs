//! CUDA through dfdx: the operations that dominate by kernels of our own, all others composed.
//!
//! Parameters, optimizer state, gradients and activations live on the device. Of a step's numbers only the ids of the window go there,
//! and only the loss and the sums that the gradients' norm is made of come back.

mod embedding;
mod kernels;
mod lstm;
mod product;
mod softmax;
mod span;
#[cfg(test)]
mod tests;
mod update;

use super::{Backend, HostAccess};
use crate::device::gpu;
use crate::model::matrix::{Buffer, Matrix};
use crate::model::op::lstm::{LayerState, Weights};
use crate::model::op::update::Rule;
use crate::model::op::{Loss, Projection, Taped};
use crate::model::parameters::{Parameter, Parameters};
use anyhow::{Result, anyhow};
use cudarc::driver::CudaSlice;
use dfdx::prelude::*;
use kernels::Kernels;
use std::fmt;
use std::sync::{Arc, Mutex};

/// A CUDA device with kernels of our own. Clones share them.
#[derive(Clone)]
pub struct FusedCuda {
    device: Cuda,
    kernels: Arc<Mutex<Kernels>>,
}

/// The CUDA device with this number.
///
/// # Errors
/// When there is no driver or no such device.
pub fn device(ordinal: usize) -> Result<Cuda> {
    gpu::ensure_there(ordinal)?;
    let device = Cuda::try_build(ordinal, 0)
        .map_err(|error| anyhow!("failed to start CUDA device {ordinal}: {error}"))?;
    device.enable_cache();
    Ok(device)
}

impl FusedCuda {
    /// Kernels of our own on `device`.
    ///
    /// # Errors
    /// When the kernels cannot be compiled.
    pub fn new(device: Cuda) -> Result<Self> {
        let buffer = Storage::<f32>::try_alloc_len(&device, 1)
            .map_err(|error| anyhow!("failed to allocate memory of the device: {error}"))?;
        let kernels = Kernels::new(CudaSlice::device(&buffer))?;
        Ok(Self {
            device,
            kernels: Arc::new(Mutex::new(kernels)),
        })
    }

    /// What `operation` makes with the kernels, on this thread.
    fn with<R>(&self, operation: impl FnOnce(&mut Kernels) -> R) -> R {
        let mut kernels = self.kernels.lock().expect("no operation panicked half-way");
        kernels.bind();
        operation(&mut kernels)
    }
}

impl fmt::Debug for FusedCuda {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("FusedCuda")
    }
}

impl HostAccess for Cuda {
    fn read(buffer: &Buffer<Self>) -> Vec<f32> {
        let slice: &CudaSlice<f32> = buffer;
        let values = slice.device().dtoh_sync_copy(slice);
        values.expect("a copy from the device to the host succeeds")
    }

    fn write(buffer: &mut Buffer<Self>, values: &[f32]) {
        let slice: &mut CudaSlice<f32> = buffer;
        let copied = slice.device().htod_sync_copy_into(values, slice);
        copied.expect("a copy from the host to the device succeeds");
    }
}

impl Backend for FusedCuda {
    type Device = Cuda;
    type Prepared = ();

    fn device(&self) -> &Cuda {
        &self.device
    }

    fn embedding<T: Tape<f32, Cuda>>(&self, table: &Matrix<Cuda>, ids: &[u32]) -> Matrix<Cuda, T> {
        embedding::embedding(self, table, ids)
    }

    fn lstm<T: Tape<f32, Cuda>>(
        &self,
        x: Matrix<Cuda, T>,
        weights: &Weights<Cuda>,
        state: &LayerState<Cuda>,
    ) -> (Matrix<Cuda, T>, LayerState<Cuda>) {
        lstm::lstm(self, x, weights, state)
    }

    fn softmax_loss(
        &self,
        h: Taped<Cuda>,
        projection: Projection<Cuda>,
        targets: &[u32],
        gradients: &mut Gradients<f32, Cuda>,
    ) -> Loss<Cuda> {
        softmax::loss(self, h, projection, targets, gradients)
    }

    fn softmax_nll(
        &self,
        h: &Matrix<Cuda>,
        rows: &[u32],
        projection: Projection<Cuda>,
        targets: &[u32],
    ) -> Vec<f32> {
        softmax::nll(self, h, rows, projection, targets)
    }

    fn gradient_norm(
        &self,
        parameters: &Parameters<Cuda>,
        gradients: &mut Gradients<f32, Cuda>,
    ) -> f64 {
        update::gradient_norm(self, parameters, gradients)
    }

    fn update(
        &self,
        rule: &Rule,
        scale: f32,
        parameter: &mut Parameter<Cuda>,
        slots: &mut [Buffer<Cuda>],
        gradients: &mut Gradients<f32, Cuda>,
    ) {
        update::update(self, rule, scale, parameter, slots, gradients);
    }
}
