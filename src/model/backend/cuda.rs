//! CUDA through dfdx: the composed operations.

use super::{Backend, Precision, Runtime};
use crate::model::op::Buffer;
use anyhow::{Result, anyhow, ensure};
use cudarc::driver::{CudaDevice, CudaSlice};
use dfdx::prelude::*;

impl Runtime<Cuda> {
    /// The CUDA device with this number.
    ///
    /// # Errors
    /// When there is no driver or no such device, or for a precision that it has no kernels for.
    pub fn cuda(ordinal: usize, precision: Precision) -> Result<Self> {
        ensure!(
            precision == Precision::F32,
            "precision bf16 has kernels on the CPU only: use f32 with --device cuda"
        );
        cudarc::driver::result::init().map_err(|error| {
            anyhow!("failed to start CUDA: {error:?}: --device cpu needs no driver")
        })?;
        let devices = CudaDevice::count().unwrap_or(0);
        ensure!(
            i32::try_from(ordinal).is_ok_and(|ordinal| ordinal < devices),
            "there is no CUDA device {ordinal}: the driver reports {devices}"
        );
        let device = Cuda::try_build(ordinal, 0)
            .map_err(|error| anyhow!("failed to start CUDA device {ordinal}: {error}"))?;
        device.enable_cache();
        Ok(Self {
            device,
            kernels: (),
        })
    }
}

impl Backend for Cuda {
    type Kernels = ();
    type Prepared = ();

    fn prepare(_: &Runtime<Self>, _: &crate::model::op::Matrix<Self>) {}

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
