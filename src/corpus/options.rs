//! Where corpora are looked for and kept.

use std::env;
use std::path::PathBuf;

use super::fetch::Patience;

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
        }
    }

    /// Prints `what` on stderr if progress is reported.
    pub(super) fn tell(&self, what: &str) {
        if self.progress {
            eprintln!("{what}");
        }
    }
}
