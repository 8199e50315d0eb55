//! Where a model runs: a dfdx device, and which form of each operation it has there.
//!
//! A method of [`Backend`] is by default the operation composed of dfdx ops. A device with a fused form overrides the method; the model
//! does not know.

use super::op::lstm::{LayerState, Weights};
use super::op::update::{self, Rule};
use super::op::{Buffer, Matrix, Scalar, dropout, embedding, lstm, sigmoid, softmax};
use super::parameters::Parameter;
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

    /// See [`dropout::dropout`].
    fn dropout<T: Tape<f32, Self>>(
        x: Matrix<Self, T>,
        probability: f32,
        rng: &mut ChaCha8Rng,
    ) -> Matrix<Self, T> {
        dropout::dropout(x, probability, rng)
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

    /// See [`softmax::nll`].
    fn softmax_nll(
        _: &Runtime<Self>,
        h: &Matrix<Self>,
        weight: &Matrix<Self>,
        bias: &Matrix<Self>,
        targets: &[u32],
    ) -> Vec<f32> {
        softmax::nll(h, weight, bias, targets)
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

    /// The logits `(N, V)` of few positions, into `logits`: for generation.
    fn logits(
        _: &Runtime<Self>,
        h: &Matrix<Self>,
        weight: &Matrix<Self>,
        bias: &Matrix<Self>,
        logits: &mut Vec<f32>,
    ) {
        *logits = super::op::affine(h.clone(), weight.clone(), bias.clone()).as_vec();
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

    /// The sum of the squares of a gradient.
    fn squared_norm(
        _: &Runtime<Self>,
        parameter: &Parameter<Self>,
        gradients: &Gradients<f32, Self>,
    ) -> f64 {
        let sum: Scalar<Self> = gradients.get(&parameter.tensor).square().sum();
        f64::from(sum.as_vec()[0])
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

impl Runtime<Cpu> {
    /// The CPU with the composed operations alone: slow, and what the fused ones are compared with.
    pub fn composed() -> Self {
        let device = Cpu::default();
        device.enable_cache();
        Self {
            device,
            kernels: (),
        }
    }
}

impl Backend for Cpu {
    type Kernels = ();

    fn read(buffer: &Buffer<Self>) -> Vec<f32> {
        buffer.to_vec()
    }

    fn write(buffer: &mut Buffer<Self>, values: &[f32]) {
        buffer.copy_from_slice(values);
    }
}

#[cfg(feature = "cuda")]
impl Runtime<Cuda> {
    /// The CUDA device with this number.
    ///
    /// # Errors
    /// When there is no such device, or for a precision that it has no kernels for.
    pub fn cuda(ordinal: usize, precision: Precision) -> anyhow::Result<Self> {
        use anyhow::bail;
        if precision != Precision::F32 {
            bail!(
                "precision bf16 has kernels on the CPU only: use precision f32 with --device cuda"
            );
        }
        if let Err(error) = cudarc::driver::result::init() {
            bail!(
                "failed to start CUDA: {error:?}: is a driver installed? --device cpu needs none"
            );
        }
        let devices = cudarc::driver::CudaDevice::count().unwrap_or(0);
        if ordinal as i64 >= i64::from(devices) {
            bail!("there is no CUDA device {ordinal}: the driver reports {devices}");
        }
        let device = Cuda::try_build(ordinal, 0)
            .map_err(|error| anyhow::anyhow!("failed to start CUDA device {ordinal}: {error}"))?;
        device.enable_cache();
        Ok(Self {
            device,
            kernels: (),
        })
    }
}

#[cfg(feature = "cuda")]
impl Backend for Cuda {
    type Kernels = ();

    fn read(buffer: &Buffer<Self>) -> Vec<f32> {
        let slice: &cudarc::driver::CudaSlice<f32> = buffer;
        slice
            .device()
            .dtoh_sync_copy(slice)
            .expect("a copy from the device to the host succeeds")
    }

    fn write(buffer: &mut Buffer<Self>, values: &[f32]) {
        let slice: &mut cudarc::driver::CudaSlice<f32> = buffer;
        slice
            .device()
            .htod_sync_copy_into(values, slice)
            .expect("a copy from the host to the device succeeds");
    }
}
impl Runtime<Cpu> { /// shim
 pub fn fused(_: crate::kernel::Kernels, _: Precision) -> Self { Self::composed() } }
impl Precision { /// The name.
 pub fn name(self) -> &'static str { match self { Self::F32 => "f32", Self::Bf16 => "bf16" } } }
