//! The machine that a run is computed on: the one place that turns a device into a backend.

use anyhow::Result;

use super::footprint::{ensure_fits, expected_vocabulary, footprint};
use crate::corpus::OpenOptions;
use crate::device::Device;
use crate::exit_code::OrUsage;
use crate::experiment::Experiment;
use crate::kernel::{KernelPath, Kernels, Precision};
use crate::model::backend::Backend;
use crate::model::backend::cpu::FusedCpu;
#[cfg(feature = "cuda")]
use crate::model::backend::cuda::{self, FusedCuda};
use crate::run::Environment;

/// Where and how a run is computed; none of it but the device and the kernel path moves its bits.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The device.
    pub device: Device,
    /// The kernels that a CPU computes with.
    pub kernel_path: KernelPath,
    /// Threads of a CPU.
    pub threads: usize,
    /// What the record should say of how the machine was found.
    pub notice: Option<String>,
}

/// Something to compute, whatever the backend.
pub trait Job {
    /// What it makes.
    type Output;

    /// Computes it.
    ///
    /// # Errors
    /// As the job does.
    fn on<B: Backend>(self, backend: B) -> Result<Self::Output>;
}

impl Machine {
    /// Computes `job` on the device, whose products are of `precision`.
    ///
    /// # Errors
    /// When the device cannot be opened or has no kernels for the precision, and as the job does.
    pub fn run<J: Job>(&self, precision: Precision, job: J) -> Result<J::Output> {
        self.device.ensure_runs(precision)?;
        match &self.device {
            Device::Cpu => {
                let kernels = Kernels::new(self.kernel_path, self.threads, precision);
                job.on(FusedCpu::new(kernels))
            }
            #[cfg(feature = "cuda")]
            Device::Cuda(gpu) => job.on(FusedCuda::new(cuda::device(gpu.index)?)?),
        }
    }

    /// What the record says of it.
    pub fn environment(&self, experiment: &Experiment) -> Environment {
        Environment {
            device: self.device.to_string(),
            emulated: self.device.is_emulated(),
            hardware: self.device.hardware(),
            kernel_path: match self.device {
                Device::Cpu => self.kernel_path.name().to_owned(),
                #[cfg(feature = "cuda")]
                Device::Cuda(_) => "cuda".to_owned(),
            },
            precision: experiment.training.precision.name().to_owned(),
            threads: self.threads,
        }
    }

    /// How corpora are opened on it.
    pub fn open_options(&self) -> OpenOptions {
        OpenOptions {
            threads: self.threads,
            ..OpenOptions::from_environment()
        }
    }

    /// Checks, before any corpus is read, what can be known to be impossible: a precision that the device has no kernels for, or too
    /// little memory. A smoke run reads too little for its memory to be known.
    ///
    /// # Errors
    /// Says what would work.
    pub fn check(&self, experiment: &Experiment, smoke: bool) -> Result<()> {
        if self.device == Device::Cpu {
            return Ok(());
        }
        self.device
            .ensure_runs(experiment.training.precision)
            .or_usage()?;
        match expected_vocabulary(experiment).filter(|_| !smoke) {
            Some(vocabulary) => ensure_fits(&footprint(experiment, vocabulary), &self.device),
            None => Ok(()),
        }
    }
}
