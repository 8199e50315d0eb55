//! Whether a run's files are still what was written, and the compact copy of a run that is committed.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::checkpoint::{Checkpoints, read_checkpoint};
use super::disk::{UNFINISHED, create_folder, files_below, sync_folder, write_atomically};
use super::error::RunError;
use super::metrics::load;
use super::record::{EXPERIMENT, Execution, RECORD, Status, seal_holds};
use super::stored::StoredRun;
use super::writer::is_sealed;
use crate::checksum::sha256_of_file;
use crate::ensure_usage;

/// What was found when a run was checked against its checksums.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verification {
    /// How many files are as they were written.
    pub intact: usize,
    /// The files that are not.
    pub problems: Vec<Problem>,
    /// Files that the record does not know; they spoil nothing.
    pub unknown: Vec<String>,
    /// Files that a published record leaves out.
    pub left_out: usize,
    /// Whether the record holds a checksum for every file; an unfinished run's does not yet.
    pub complete: bool,
}

/// A file that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Relative to the run's folder.
    pub file: String,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.file, self.what)
    }
}

impl StoredRun {
    /// Checks every file of a finished run against the record, and the record against its seal. Of an unfinished run,
    /// whose record holds no checksums yet, the checkpoints and segments are checked against their own.
    pub fn verify(&self) -> Result<Verification> {
        if self.record.status == Status::Finished {
            self.verify_sealed(false)
        } else {
            self.verify_parts()
        }
    }

    /// Checks the files that reports are drawn from: those of the compact record. An unfinished run's carry their own checksums,
    /// and whoever reads them is told.
    pub fn verify_compact(&self) -> Result<Verification> {
        if self.record.status == Status::Finished {
            self.verify_sealed(true)
        } else {
            Ok(Verification::default())
        }
    }

    /// Checks a sealed run, or of it only the compact record.
    fn verify_sealed(&self, compact: bool) -> Result<Verification> {
        let mut found = Verification {
            complete: true,
            ..Verification::default()
        };
        let text =
            fs::read_to_string(self.path.join(RECORD)).context("failed to read the record")?;
        found.count(
            RECORD,
            seal_holds(&text)
                .then_some(())
                .ok_or("it does not have its own checksum".into()),
        );
        let present = files_below(&self.path)?;
        for known in &self.record.files {
            let is_present = present.contains(&known.path);
            if !is_compact(&known.path) && (compact || self.published && !is_present) {
                found.left_out += 1;
                continue;
            }
            if !is_present {
                found.count(&known.path, Err("it is missing".into()));
                continue;
            }
            let outcome = match sha256_of_file(&self.path.join(&known.path)) {
                Ok((_, bytes)) if bytes != known.bytes => {
                    Err(format!("{bytes} bytes instead of {}", known.bytes))
                }
                Ok((sha256, _)) if sha256 != known.sha256 => {
                    Err("its bytes have another checksum".into())
                }
                Ok(_) => Ok(()),
                Err(error) => Err(format!("it cannot be read: {error}")),
            };
            found.count(&known.path, outcome);
        }
        let known = |path: &String| self.record.files.iter().any(|it| it.path == *path);
        found.unknown = present
            .into_iter()
            .filter(|path| is_sealed(path) && !known(path))
            .collect();
        Ok(found)
    }

    fn verify_parts(&self) -> Result<Verification> {
        let mut found = Verification::default();
        let executions: Vec<&Execution> = self.record.executions().collect();
        for name in ["metrics", "timings"] {
            let at_least = self.record.segments_in(name);
            let outcome = load(&self.path.join(name), &executions, at_least).map(|_| ());
            found.count(name, outcome.map_err(|error| format!("{error:#}")));
        }
        let changed = executions.iter().filter_map(|it| it.changed.as_ref());
        let changed = changed.map(|file| file.path.as_str());
        let files: BTreeSet<&str> = std::iter::once(EXPERIMENT).chain(changed).collect();
        for file in files {
            let read = self.read_bytes(file).map(|_| ());
            found.count(file, read.map_err(|error| format!("{error:#}")));
        }
        let checkpoints = Checkpoints::of_run(&self.path);
        for step in checkpoints.steps()? {
            let path = checkpoints.path(step);
            let outcome = read_checkpoint(&path).map(|_| ()).map_err(|error| {
                match error.downcast_ref::<RunError>() {
                    Some(RunError::Corrupt { reason, .. }) => reason.clone(),
                    _ => format!("{error:#}"),
                }
            });
            found.count(
                &format!(
                    "checkpoints/{}",
                    path.file_name().unwrap_or_default().to_string_lossy()
                ),
                outcome,
            );
        }
        Ok(found)
    }

    /// Copies the run's compact record to `records/<experiment>/<id>/` and returns that folder: everything but
    /// checkpoints, weights, the vocabulary and the run's own page, whose content the report's has. Only a finished, intact run is published.
    pub fn publish(&self, records: &Path) -> Result<PathBuf> {
        ensure_usage!(
            self.record.status == Status::Finished,
            "run {} is not finished and cannot be published: `harness resume {}` continues it",
            self.id,
            self.id
        );
        if let Some(problem) = self.verify()?.problems.first() {
            let file = self.path.join(&problem.file);
            return Err(RunError::Corrupt {
                file,
                reason: problem.what.clone(),
            }
            .into());
        }
        let parent = records.join(&self.record.experiment);
        let (folder, unfinished) = (
            parent.join(&self.record.id),
            parent.join(format!("{UNFINISHED}{}", self.record.id)),
        );
        create_folder(&parent)?;
        remove_if_present(&unfinished)?;
        for path in files_below(&self.path)?
            .into_iter()
            .filter(|path| path == RECORD || is_sealed(path) && is_compact(path))
        {
            let bytes = self.read_bytes(&path)?;
            let target = unfinished.join(&path);
            create_folder(target.parent().unwrap_or(&unfinished))?;
            write_atomically(&target, &bytes)?;
        }
        remove_if_present(&folder)?;
        fs::rename(&unfinished, &folder)
            .with_context(|| format!("failed to make '{}'", folder.display()))?;
        sync_folder(&parent).with_context(|| format!("failed to write '{}'", parent.display()))?;
        Ok(folder)
    }
}

impl Verification {
    fn count(&mut self, file: &str, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => self.intact += 1,
            Err(what) => self.problems.push(Problem {
                file: file.to_string(),
                what,
            }),
        }
    }
}

/// Whether a file of a run belongs to its compact record: not checkpoints, weights, the vocabulary and the run's own page.
pub fn is_compact(path: &str) -> bool {
    !(path.starts_with("checkpoints/")
        || path.ends_with(".safetensors")
        || path.starts_with("vocabulary")
        || path == "report.html")
}

fn remove_if_present(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("failed to remove '{}'", folder.display()))?;
    }
    Ok(())
}
