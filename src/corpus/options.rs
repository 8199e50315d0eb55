//! Where corpora are looked for and kept.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::fetch::Patience;
use crate::tell;

/// Where corpora are looked for and kept.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// The directory of cached corpora.
    pub cache: PathBuf,
    /// A directory of archives that is searched before anything is downloaded.
    pub mirror: Option<PathBuf>,
    /// How patient downloads are.
    pub patience: Patience,
    /// Whether to report on stderr what is being fetched.
    pub progress: bool,
    /// Threads that read and compare; 0 for as many as there are processors.
    pub threads: usize,
}

impl OpenOptions {
    /// The cache from `HARNESS_DATA`, else `data/cache`; the mirror from `HARNESS_MIRROR`.
    pub fn from_environment() -> Self {
        let set = |name| {
            env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        OpenOptions {
            cache: set("HARNESS_DATA").unwrap_or_else(|| "data/cache".into()),
            mirror: set("HARNESS_MIRROR"),
            patience: Patience::default(),
            progress: true,
            threads: 0,
        }
    }

    /// Runs `work` on so many threads: whatever it does side by side stays on them.
    pub(super) fn on_threads<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(self.threads)
            .build()
            .context("failed to start threads")?;
        pool.install(work)
    }

    /// Prints `what` on stderr if progress is reported.
    pub(super) fn tell(&self, what: &str) {
        if self.progress {
            tell!("{what}");
        }
    }
}
