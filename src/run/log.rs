//! `log`: what a run's terminal showed, in lines with the hour.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::clock;

/// The log of one run, to which lines are added.
#[derive(Debug, Clone)]
pub struct Log {
    path: PathBuf,
}

impl Log {
    /// That of the run in `folder`.
    pub(super) fn of_run(folder: &Path) -> Self {
        Self {
            path: folder.join("log"),
        }
    }

    /// Adds a line.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note(&self, line: &str) -> Result<()> {
        let append = || -> std::io::Result<()> {
            let mut file = fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(&self.path)?;
            writeln!(file, "{} {line}", clock::now())
        };
        append().with_context(|| format!("failed to write '{}'", self.path.display()))
    }
}
