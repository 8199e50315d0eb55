//! Which instructions the kernels run on, found at run time, and how one generic body reaches them.

#![allow(unsafe_code)]

use std::marker::PhantomData;

use anyhow::{Result, bail, ensure};

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

/// Names kernel paths, with commas between, that are not to be used though the CPU has them.
const SWITCHED_OFF: &str = "HARNESS_WITHOUT_KERNEL_PATHS";

impl KernelPath {
    /// Every path that a user can name, best first.
    pub const ALL: [Self; 4] = [Self::Avx512Bf16, Self::Avx512, Self::Avx2, Self::Plain];

    /// The best path that is available.
    pub fn detect() -> Self {
        Self::ALL
            .into_iter()
            .find(|path| path.is_available())
            .expect("the plain path runs anywhere")
    }

    /// The path of that name; an error says which names this CPU can run.
    pub fn parse(name: &str) -> Result<Self> {
        match Self::named(name) {
            Some(path) if path.is_available() => Ok(path),
            Some(path) if path.is_in_cpu() => {
                bail!("kernel path '{name}' is switched off by {SWITCHED_OFF}")
            }
            _ => bail!(
                "cannot run kernel path '{name}': this CPU has {}",
                names(Self::ALL.into_iter().filter(|path| path.is_available()))
            ),
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|path| path.name() == name)
    }

    /// The paths that the environment switches off.
    ///
    /// # Errors
    /// When `HARNESS_WITHOUT_KERNEL_PATHS` names something else, or the plain path, without which there may be none.
    pub fn switched_off() -> Result<Vec<Self>> {
        Self::parse_switched_off(&std::env::var(SWITCHED_OFF).unwrap_or_default())
    }

    fn parse_switched_off(text: &str) -> Result<Vec<Self>> {
        let mut paths = Vec::new();
        for name in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
            let Some(path) = Self::named(name) else {
                bail!(
                    "{SWITCHED_OFF}: there is no kernel path '{name}'; there are {}",
                    names(Self::ALL.into_iter())
                )
            };
            ensure!(
                path != Self::Plain,
                "{SWITCHED_OFF}: the plain path cannot be switched off"
            );
            paths.push(path);
        }
        Ok(paths)
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

    /// Whether this CPU can run it, and the environment does not switch it off ([`KernelPath::switched_off`]).
    pub fn is_available(self) -> bool {
        let is_off = || Self::switched_off().is_ok_and(|paths| paths.contains(&self));
        self.is_in_cpu() && !is_off()
    }

    #[cfg(target_arch = "x86_64")]
    fn is_in_cpu(self) -> bool {
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

    #[cfg(not(target_arch = "x86_64"))]
    fn is_in_cpu(self) -> bool {
        !matches!(self, Self::Avx512Bf16 | Self::Avx512 | Self::Avx2)
    }

    /// The paths that this machine can test; a test counts as skipped for the others.
    #[cfg(test)]
    pub(super) fn testable() -> Vec<Self> {
        Self::switched_off().unwrap();
        let (available, lacking): (Vec<_>, Vec<_>) =
            Self::ALL.into_iter().partition(|path| path.is_available());
        for path in lacking {
            let (name, in_cpu) = (path.name(), path.is_in_cpu());
            let why = match in_cpu {
                true => format!("kernel path '{name}' is switched off by {SWITCHED_OFF}"),
                false => format!("this CPU has no kernel path '{name}'"),
            };
            crate::skip::skipped(&why, in_cpu);
        }
        available.into_iter().chain([Self::Wide]).collect()
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

fn names(paths: impl Iterator<Item = KernelPath>) -> String {
    paths.map(KernelPath::name).collect::<Vec<_>>().join(", ")
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
        let (in_cpu, lacking): (Vec<_>, Vec<_>) = KernelPath::ALL
            .into_iter()
            .partition(|path| path.is_in_cpu());
        // `ALL` is best first: what runs one path runs all after it, down to the plain one.
        assert_eq!(in_cpu, KernelPath::ALL[lacking.len()..]);
        assert_eq!(in_cpu.last(), Some(&KernelPath::Plain));
        let off = KernelPath::switched_off().unwrap();
        let best = in_cpu.iter().find(|path| !off.contains(path));
        assert_eq!(best, Some(&KernelPath::detect()));
        for path in lacking {
            assert!(KernelPath::parse(path.name()).is_err());
            let made = std::panic::catch_unwind(|| super::super::Kernels::new(path, 1));
            assert!(made.is_err(), "{}", path.name());
        }
    }

    /// The kernel's own list of features, which is no concern of `is_x86_feature_detected`.
    #[test]
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    fn the_paths_of_this_cpu_are_those_that_the_system_lists() {
        let listed = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        let flags = listed.lines().find(|line| line.starts_with("flags"));
        let flags: Vec<&str> = flags.unwrap().split_whitespace().collect();
        let features: [(KernelPath, &[&str]); 3] = [
            (
                KernelPath::Avx512Bf16,
                &["avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_bf16"],
            ),
            (
                KernelPath::Avx512,
                &["avx512f", "avx512bw", "avx512dq", "avx512vl"],
            ),
            (KernelPath::Avx2, &["avx2", "fma"]),
        ];
        for (path, features) in features {
            let has = features.iter().all(|it| flags.contains(it));
            assert_eq!(path.is_in_cpu(), has, "{}", path.name());
        }
    }

    #[test]
    fn paths_are_switched_off_by_name() {
        let parse = KernelPath::parse_switched_off;
        assert_eq!(parse("").unwrap(), []);
        assert_eq!(
            parse("avx2, avx512").unwrap(),
            [KernelPath::Avx2, KernelPath::Avx512]
        );
        let error = parse("avx2,avx3").unwrap_err().to_string();
        assert!(
            error.ends_with(
                "there is no kernel path 'avx3'; there are avx512bf16, avx512, avx2, plain"
            ),
            "{error}"
        );
        assert!(parse("plain").is_err());
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
