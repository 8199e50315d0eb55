//! How one generic body of a kernel is compiled for each path and reached at run time.

#![allow(unsafe_code)]

use std::marker::PhantomData;

use super::path::KernelPath;
use super::precision::Precision;
use super::product::format::{Bf16, F32, Format};
use super::simd::{Plain, Simd};
#[cfg(target_arch = "x86_64")]
use super::{avx2::Avx2, avx512::Avx512};

impl KernelPath {
    /// The path's register shapes.
    pub(super) fn shape(self) -> Shape {
        const fn of<S: Simd>() -> Shape {
            Shape {
                lanes: S::LANES,
                wide: S::WIDE,
            }
        }
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 | Self::Avx512 => of::<Avx512<false>>(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => of::<Avx2>(),
            #[cfg(test)]
            Self::Wide => of::<super::simd::Wide>(),
            _ => of::<Plain>(),
        }
    }

    /// Runs `task` compiled for this path. Only [`Kernels`](super::Kernels), which checks that its path is available, and tests, which
    /// take theirs from [`KernelPath::testable`], come here.
    #[inline]
    pub(super) fn dispatch<T: Task>(self, task: T) -> T::Output {
        match self {
            // SAFETY: the path is available, so the CPU has its instructions.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => unsafe { run_avx512_bf16(task) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { run_avx512(task) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { run_avx2(task) },
            #[cfg(test)]
            Self::Wide => task.run(super::simd::Wide),
            _ => task.run(Plain),
        }
    }
}

impl KernelPath {
    /// Runs `task` compiled for this path and for operands of that precision.
    #[inline]
    pub(super) fn dispatch_in<T: FormatTask>(self, precision: Precision, task: T) -> T::Output {
        match precision {
            Precision::F32 => self.dispatch_as::<F32, T>(task),
            Precision::Bf16 => self.dispatch_as::<Bf16, T>(task),
        }
    }

    /// The same for a format that is known as a type.
    #[inline]
    pub(super) fn dispatch_as<M: Format, T: FormatTask>(self, task: T) -> T::Output {
        self.dispatch(In::<M, T>(task, PhantomData))
    }
}

/// The sizes that buffers and partitions follow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// f32 values in a vector.
    pub lanes: usize,
    /// Whether there are 32 vector registers to block for (else 16).
    pub wide: bool,
}

impl Shape {
    /// Vectors across a product's panel.
    pub fn vectors(self) -> usize {
        if self.wide { 4 } else { 2 }
    }

    /// Columns of a product's panel.
    pub fn panel(self) -> usize {
        self.vectors() * self.lanes
    }
}

/// A kernel: one generic body, run for the SIMD type that [`KernelPath::dispatch`] picks.
///
/// `run` and all that it calls must be `#[inline(always)]`, so that it is compiled with the path's features.
pub(super) trait Task {
    /// What it returns.
    type Output;
    /// The body.
    fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// A [`Task`] that also depends on the format of a product's operands.
pub(super) trait FormatTask {
    /// What it returns.
    type Output;
    /// The body.
    fn run<S: Simd, M: Format>(self, s: S) -> Self::Output;
}

/// A task with its format chosen.
struct In<M, T>(T, PhantomData<M>);

impl<M: Format, T: FormatTask> Task for In<M, T> {
    type Output = T::Output;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> T::Output {
        self.0.run::<S, M>(s)
    }
}

/// `task` compiled for AVX-512 with the bf16 dot product.
///
/// # Safety
/// The CPU has the instructions that are enabled here.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
fn run_avx512_bf16<T: Task>(task: T) -> T::Output {
    // SAFETY: the instructions are enabled here, so the CPU has them.
    task.run(unsafe { Avx512::<true>::assumed() })
}

/// `task` compiled for AVX-512.
///
/// # Safety
/// The CPU has the instructions that are enabled here.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn run_avx512<T: Task>(task: T) -> T::Output {
    // SAFETY: the instructions are enabled here, so the CPU has them.
    task.run(unsafe { Avx512::<false>::assumed() })
}

/// `task` compiled for AVX2 and FMA.
///
/// # Safety
/// The CPU has the instructions that are enabled here.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<T: Task>(task: T) -> T::Output {
    // SAFETY: the instructions are enabled here, so the CPU has them.
    task.run(unsafe { Avx2::assumed() })
}
