//! Where a run computes: `--device auto|cpu|cuda[:N]`, and what the record says of it.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, anyhow, bail};

/// A device that a user can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// A GPU where this binary can use one and one answers, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU of this number.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = |text: &str| {
            text.parse()
                .map_err(|_| anyhow!("'{text}' is not the number of a GPU"))
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The CPU.
    Cpu,
    /// The GPU of this number.
    #[cfg(feature = "cuda")]
    Cuda(usize),
}

impl Device {
    /// Whether the device is a GPU that software stands in for.
    pub fn is_emulated(self) -> bool {
        match self {
            Self::Cpu => false,
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => std::env::var_os("CUDA_EMULATOR_NVCC").is_some(),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Cpu => write!(out, "cpu"),
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => write!(out, "cuda:{index}"),
        }
    }
}

impl DeviceChoice {
    /// The device that was asked for.
    ///
    /// # Errors
    /// When this binary cannot use it, or none answers; there is no silent fall back.
    #[cfg(not(feature = "cuda"))]
    pub fn resolve(self) -> Result<Device> {
        match self {
            Self::Auto | Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(index) => bail!(
                "device 'cuda:{index}' needs a binary built with `cargo build --release --features cuda`; this one has no CUDA"
            ),
        }
    }

    /// The device that was asked for.
    ///
    /// # Errors
    /// When this binary cannot use it, or none answers; there is no silent fall back.
    #[cfg(feature = "cuda")]
    pub fn resolve(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto => Ok(match gpus() {
                Ok(1..) => Device::Cuda(0),
                _ => Device::Cpu,
            }),
            Self::Cuda(index) => match gpus() {
                Ok(count) if index < count => Ok(Device::Cuda(index)),
                Ok(count) => {
                    bail!("device 'cuda:{index}' is not there: the driver knows {count} GPUs")
                }
                Err(error) => bail!("device 'cuda:{index}' does not answer: {error}"),
            },
        }
    }
}

/// How many GPUs the driver knows. Asked before dfdx is, which would panic without one.
#[cfg(feature = "cuda")]
fn gpus() -> Result<usize> {
    use cudarc::driver::result;
    result::init().map_err(|error| anyhow!("the CUDA driver does not start: {error:?}"))?;
    let count = result::device::get_count()
        .map_err(|error| anyhow!("the CUDA driver lists no GPU: {error:?}"))?;
    Ok(count as usize)
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
        assert_eq!(DeviceChoice::Auto.resolve().unwrap(), Device::Cpu);
        assert!(
            DeviceChoice::Cuda(0)
                .resolve()
                .unwrap_err()
                .to_string()
                .contains("--features cuda")
        );
    }
}
