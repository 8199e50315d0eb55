//! Which instructions the kernels run on, found at run time, and how one generic body reaches them.

#![allow(unsafe_code)]

use std::marker::PhantomData;

use anyhow::{Result, bail};

use super::Precision;
use super::product::{Bf16, F32, Format};
use super::simd::{Plain, Simd};
#[cfg(target_arch = "x86_64")]
use super::{avx2::Avx2, avx512::Avx512};

/// An instruction set that every kernel is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelPath {
    /// AVX-512 with the bf16 dot product `vdpbf16ps`.
    Avx512Bf16,
    /// AVX-512 (F, BW, DQ, VL); bf16 products are emulated.
    Avx512,
    /// AVX2 and FMA; bf16 products are emulated.
    Avx2,
    /// Portable Rust, any CPU.
    Plain,
    /// AVX-512's shapes in portable Rust: tests them on CPUs without it.
    #[cfg(test)]
    Wide,
}

impl KernelPath {
    /// Every path that a user can name, best first.
    pub const ALL: [Self; 4] = [Self::Avx512Bf16, Self::Avx512, Self::Avx2, Self::Plain];

    /// The best path that this CPU has.
    pub fn detect() -> Self {
        Self::ALL
            .into_iter()
            .find(|path| path.is_available())
            .expect("the plain path runs anywhere")
    }

    /// The path of that name; an error says which names this CPU can run.
    pub fn parse(name: &str) -> Result<Self> {
        let available = || Self::ALL.into_iter().filter(|path| path.is_available());
        match available().find(|path| path.name() == name) {
            Some(path) => Ok(path),
            None => {
                let names: Vec<_> = available().map(Self::name).collect();
                bail!(
                    "cannot run kernel path '{name}': this CPU has {}",
                    names.join(", ")
                )
            }
        }
    }

    /// Its name, as recorded with a run: `avx512bf16`, `avx512`, `avx2` or `plain`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512Bf16 => "avx512bf16",
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Plain => "plain",
            #[cfg(test)]
            Self::Wide => "wide",
        }
    }

    /// Whether this CPU can run it.
    #[cfg(target_arch = "x86_64")]
    pub fn is_available(self) -> bool {
        let avx512 = || {
            is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
        };
        match self {
            Self::Avx512Bf16 => avx512() && is_x86_feature_detected!("avx512bf16"),
            Self::Avx512 => avx512(),
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            _ => true,
        }
    }

    /// Whether this CPU can run it.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn is_available(self) -> bool {
        !matches!(self, Self::Avx512Bf16 | Self::Avx512 | Self::Avx2)
    }

    /// The paths that this machine can test.
    #[cfg(test)]
    pub(super) fn testable() -> Vec<Self> {
        for path in Self::ALL.into_iter().filter(|path| !path.is_available()) {
            eprintln!("skipped: this CPU cannot run kernel path '{}'", path.name());
        }
        Self::ALL
            .into_iter()
            .filter(|path| path.is_available())
            .chain([Self::Wide])
            .collect()
    }

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

    /// Runs `task` compiled for this path. The path must be available, which [`Kernels::new`](super::Kernels::new) checks.
    #[inline]
    pub(super) fn dispatch<T: Task>(self, task: T) -> T::Output {
        match self {
            // SAFETY: `Kernels::new` asserted that the CPU has the features of its path.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => unsafe { run_avx512_bf16(task) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { run_avx512(task) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { run_avx2(task) },
            #[cfg(test)]
            Self::Wide => task.run::<super::simd::Wide>(),
            _ => task.run::<Plain>(),
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
    fn run<S: Simd>(self) -> Self::Output;
}

/// A [`Task`] that also depends on the format of a product's operands.
pub(super) trait FormatTask {
    /// What it returns.
    type Output;
    /// The body.
    fn run<S: Simd, M: Format>(self) -> Self::Output;
}

/// A task with its format chosen.
struct In<M, T>(T, PhantomData<M>);

impl<M: Format, T: FormatTask> Task for In<M, T> {
    type Output = T::Output;
    #[inline(always)]
    fn run<S: Simd>(self) -> T::Output {
        self.0.run::<S, M>()
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
fn run_avx512_bf16<T: Task>(task: T) -> T::Output {
    task.run::<Avx512<true>>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn run_avx512<T: Task>(task: T) -> T::Output {
    task.run::<Avx512<false>>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<T: Task>(task: T) -> T::Output {
    task.run::<Avx2>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_detected_path_is_available_and_its_name_parses_back() {
        let path = KernelPath::detect();
        assert!(path.is_available());
        assert_eq!(KernelPath::parse(path.name()).unwrap(), path);
    }

    #[test]
    fn the_best_path_is_chosen_and_what_this_cpu_lacks_is_refused() {
        let (available, lacking): (Vec<_>, Vec<_>) = KernelPath::ALL
            .into_iter()
            .partition(|path| path.is_available());
        assert_eq!(available[0], KernelPath::detect());
        // `ALL` is best first: what runs one path runs all after it, down to the plain one.
        assert_eq!(available, KernelPath::ALL[lacking.len()..]);
        assert_eq!(available.last(), Some(&KernelPath::Plain));
        for path in lacking {
            assert!(KernelPath::parse(path.name()).is_err());
            let made = std::panic::catch_unwind(|| super::super::Kernels::new(path, 1));
            assert!(made.is_err(), "{}", path.name());
        }
    }

    #[test]
    fn an_unknown_path_is_refused_with_the_names_that_would_work() {
        let error = KernelPath::parse("sse9").unwrap_err().to_string();
        assert!(
            error.starts_with("cannot run kernel path 'sse9': this CPU has "),
            "{error}"
        );
        assert!(error.ends_with("plain"), "{error}");
    }
}
