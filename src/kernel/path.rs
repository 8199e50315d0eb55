//! Which instructions the kernels run on, found at run time.

use anyhow::{Result, bail, ensure};

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
}

fn names(paths: impl Iterator<Item = KernelPath>) -> String {
    paths.map(KernelPath::name).collect::<Vec<_>>().join(", ")
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
            let made = std::panic::catch_unwind(|| Kernels::new(path, 1, Precision::F32));
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
