//! Where a run computes: `--device auto|cpu|cuda[:N]`, and what the record says of it.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::kernel::Precision;

#[cfg(feature = "cuda")]
pub mod gpu;

/// A device that a user can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// A CUDA device where this binary can use one and one answers, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device of this number.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = |text: &str| {
            text.parse()
                .map_err(|_| anyhow!("'{text}' is not the number of a CUDA device"))
        };
        match text.split_once(':') {
            None if text == "auto" => Ok(Self::Auto),
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "cuda" => Ok(Self::Cuda(0)),
            Some(("cuda", index)) => Ok(Self::Cuda(number(index)?)),
            _ => bail!("unknown device '{text}'; auto, cpu, cuda and cuda:N are known"),
        }
    }
}

/// A device that this binary can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// The CPU.
    Cpu,
    /// A CUDA device.
    #[cfg(feature = "cuda")]
    Cuda(gpu::Gpu),
}

impl Device {
    /// Whether the device is one that software stands in for. Such a device is never called a GPU.
    pub fn is_emulated(&self) -> bool {
        match self {
            Self::Cpu => false,
            #[cfg(feature = "cuda")]
            Self::Cuda(gpu) => gpu.emulated,
        }
    }

    /// Checks that the device has kernels for products of `precision`.
    ///
    /// # Errors
    /// When it has none.
    pub fn ensure_runs(&self, precision: Precision) -> Result<()> {
        match (self, precision) {
            (Self::Cpu, _) => Ok(()),
            #[cfg(feature = "cuda")]
            (Self::Cuda(_), Precision::F32) => Ok(()),
            #[cfg(feature = "cuda")]
            (Self::Cuda(_), Precision::Bf16) => {
                bail!("precision bf16 has kernels on the CPU only: use f32 with --device cuda")
            }
        }
    }

    /// How many bytes of the device's own memory are free now, where its driver tells it.
    pub fn free_memory(&self) -> Option<u64> {
        match self {
            Self::Cpu => None,
            #[cfg(feature = "cuda")]
            Self::Cuda(gpu) => gpu.free_memory(),
        }
    }

    /// What a record says of the device's make.
    pub fn hardware(&self) -> Option<Hardware> {
        match self {
            Self::Cpu => None,
            #[cfg(feature = "cuda")]
            Self::Cuda(gpu) => Some(Hardware {
                name: gpu.name.clone()?,
                driver: gpu.driver.clone()?,
                memory: gpu.memory?,
            }),
        }
    }
}

/// A CUDA device's make, as its driver tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hardware {
    /// Such as `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// The driver's version and that of the CUDA that it speaks.
    pub driver: String,
    /// Bytes of memory.
    pub memory: u64,
}

impl fmt::Display for Hardware {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let Self {
            name,
            driver,
            memory,
        } = self;
        write!(out, "{name}, {} MiB, driver {driver}", memory >> 20)
    }
}

impl fmt::Display for Device {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Cpu => write!(out, "cpu"),
            #[cfg(feature = "cuda")]
            Self::Cuda(gpu) => write!(out, "cuda:{}", gpu.index),
        }
    }
}

impl DeviceChoice {
    /// The device that was asked for; of `auto` in a binary with CUDA that takes the CPU all the same, also why.
    ///
    /// # Errors
    /// When this binary cannot use it, or none answers; there is no silent fall back.
    pub fn resolve(self) -> Result<(Device, Option<String>)> {
        match self {
            Self::Cpu => Ok((Device::Cpu, None)),
            #[cfg(not(feature = "cuda"))]
            Self::Auto => Ok((Device::Cpu, None)),
            #[cfg(not(feature = "cuda"))]
            Self::Cuda(index) => bail!(
                "device 'cuda:{index}' needs a binary built with `cargo build --release --features cuda`; this one has no CUDA"
            ),
            #[cfg(feature = "cuda")]
            Self::Auto => {
                let why = match gpu::count() {
                    Ok(1..) => return Ok((Device::Cuda(gpu::Gpu::open(0)?), None)),
                    Ok(_) => "the CUDA driver has no device".to_owned(),
                    Err(error) => format!("{error:#}"),
                };
                let notice = format!("--device auto takes the CPU: {why}");
                Ok((Device::Cpu, Some(notice)))
            }
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => Ok((Device::Cuda(gpu::Gpu::open(index)?), None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_as_in_pytorch() {
        assert_eq!("auto".parse::<DeviceChoice>().unwrap(), DeviceChoice::Auto);
        assert_eq!(
            "cuda".parse::<DeviceChoice>().unwrap(),
            DeviceChoice::Cuda(0)
        );
        assert_eq!(
            "cuda:3".parse::<DeviceChoice>().unwrap(),
            DeviceChoice::Cuda(3)
        );
        assert!("gpu".parse::<DeviceChoice>().is_err());
        assert!("cuda:x".parse::<DeviceChoice>().is_err());
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_binary_without_cuda_refuses_a_gpu() {
        assert_eq!(DeviceChoice::Auto.resolve().unwrap(), (Device::Cpu, None));
        assert!(
            DeviceChoice::Cuda(0)
                .resolve()
                .unwrap_err()
                .to_string()
                .contains("--features cuda")
        );
    }
}
