//! What the CUDA driver says about its devices. This comes before any use of dfdx, which panics where there is none.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int};

use anyhow::{Result, anyhow, ensure};
use cudarc::driver::{result, sys};
use cudarc::nvrtc::compile_ptx;

/// A CUDA device that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// Its number.
    pub index: usize,
    /// Its name, such as `NVIDIA H100 80GB HBM3`, where the driver gives one.
    pub name: Option<String>,
    /// The versions of the kernel driver and of the CUDA that it speaks, such as `580.65.06, CUDA 13.0`.
    pub driver: Option<String>,
    /// Its memory in bytes.
    pub memory: Option<u64>,
    /// Whether software stands in for it: what its compiler makes is not PTX, the code that every GPU of this kind runs.
    pub emulated: bool,
}

impl Gpu {
    /// Opens the device of this number.
    ///
    /// # Errors
    /// When no driver or no such device answers, or the run-time compiler does not work.
    pub fn open(index: usize) -> Result<Self> {
        ensure_there(index)?;
        let failed = |error| anyhow!("device 'cuda:{index}' does not answer: {error:?}");
        let device = result::device::get(index as c_int).map_err(failed)?;
        // SAFETY: the device is the driver's own; its primary context is retained as long as the process lives.
        unsafe {
            let context = result::primary_ctx::retain(device).map_err(failed)?;
            result::ctx::set_current(context).map_err(failed)?;
        }
        let probe = compile_ptx("extern \"C\" __global__ void probe(int *out) { *out = 1; }")
            .map_err(|error| {
                anyhow!("NVRTC, the compiler of CUDA kernels, does not work: {error:?}")
            })?;
        Ok(Self {
            index,
            name: name(device),
            driver: driver(),
            memory: result::mem_get_info().ok().map(|(_, total)| total as u64),
            emulated: !probe.to_src().contains(".target sm_"),
        })
    }

    /// How many bytes of its memory are free now; `None` where the driver does not say.
    pub fn free_memory(&self) -> Option<u64> {
        result::mem_get_info().ok().map(|(free, _)| free as u64)
    }
}

/// Checks that the driver has a device of this number.
///
/// # Errors
/// When no driver or no such device answers.
pub fn ensure_there(index: usize) -> Result<()> {
    let count =
        count().map_err(|error| anyhow!("device 'cuda:{index}' does not answer: {error}"))?;
    ensure!(
        index < count,
        "device 'cuda:{index}' is not there: the driver has {count} CUDA devices; --device cpu needs none"
    );
    Ok(())
}

/// How many devices the driver has.
///
/// # Errors
/// When the driver does not start.
pub fn count() -> Result<usize> {
    result::init().map_err(|error| anyhow!("the CUDA driver does not start: {error:?}"))?;
    let count = result::device::get_count()
        .map_err(|error| anyhow!("the CUDA driver lists no device: {error:?}"))?;
    Ok(count as usize)
}

fn name(device: sys::CUdevice) -> Option<String> {
    let mut text: [c_char; 256] = [0; 256];
    // SAFETY: the buffer is as long as is said, and the driver ends what it writes with a zero.
    let name = unsafe {
        sys::cuDeviceGetName(text.as_mut_ptr(), text.len() as c_int, device)
            .result()
            .ok()?;
        CStr::from_ptr(text.as_ptr())
    };
    Some(name.to_string_lossy().into_owned())
}

fn driver() -> Option<String> {
    let mut version = 0;
    // SAFETY: the driver writes one number.
    unsafe { sys::cuDriverGetVersion(&mut version) }
        .result()
        .ok()?;
    let cuda = format!("CUDA {}.{}", version / 1000, version % 1000 / 10);
    // `NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun …`; absent where the kernel's driver is of another kind.
    let module = std::fs::read_to_string("/proc/driver/nvidia/version").unwrap_or_default();
    let number = module
        .split_whitespace()
        .find(|word| word.contains('.') && word.chars().all(|c| c.is_ascii_digit() || c == '.'));
    Some(match number {
        Some(number) => format!("{number}, {cuda}"),
        None => cuda,
    })
}
