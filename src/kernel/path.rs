//! Which instructions the kernels run on, found at run time.

use anyhow::{Result, bail};

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
}

#[cfg(test)]
mod tests {
    use super::super::{Kernels, Precision};
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
            let made = std::panic::catch_unwind(|| Kernels::new(path, 1, Precision::F32));
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
