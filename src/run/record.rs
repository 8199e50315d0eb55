//! `record.json`: what ran, on what, where, and how it ended.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::clock;
use super::code::CodeVersion;
use super::disk::{read_file, write_atomically};
use super::error::RunError;
use crate::checksum::sha256;
use crate::device::Hardware;

/// The version of this format; a record of a newer one is refused.
pub const FORMAT: u32 = 1;

/// The file's name in a run's folder.
pub const RECORD: &str = "record.json";

/// The resolved experiment's.
pub const EXPERIMENT: &str = "experiment.yaml";

/// A run's record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The version of the format.
    pub format: u32,
    /// `<number>-<short hash>`, the name of the run's folder when it was made.
    pub id: String,
    /// The experiment: the stem of its file.
    pub experiment: String,
    /// Counts the runs of the experiment, from 1.
    pub number: u64,
    /// Counts the runs of the whole store, from 1: the order in which they were started.
    pub sequence: u64,
    /// Whether this was a run of `--smoke`, whose numbers mean nothing.
    pub smoke: bool,
    /// The seed that every random stream of the run comes from.
    pub seed: u64,
    /// How the run stands, as its own process last wrote it.
    pub status: Status,
    /// Why it failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When the run ended, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// The last sign of life, in UTC.
    pub heartbeat: String,
    /// The last step that was logged.
    pub step: u64,
    /// The last epoch that was logged.
    pub epoch: u32,
    /// The step at which the run was concluded though more training was planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concluded_at: Option<u64>,
    /// What was read; absent until the corpus has been read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corpus: Option<CorpusIdentity>,
    /// The first execution, which started the run.
    #[serde(flatten)]
    pub execution: Execution,
    /// The executions that resumed it, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resumed: Vec<Execution>,
    /// What happened that a reader should know of, such as a damaged checkpoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
    /// SHA-256 of the resolved experiment, while the record has no checksum of every file: a run is not resumed as another experiment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment_sha256: Option<String>,
    /// How many segments there are, while there are any: one that is lost is missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segments: Option<SegmentCounts>,
    /// The checksum of every other file, once the run has finished.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileChecksum>,
    /// SHA-256 of this file with this value empty, once the run has finished.
    #[serde(default)]
    pub seal: String,
}

/// How a run stands, as its own process last wrote it; see [`super::State`] for what a reader makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It has not ended; its process may have died.
    Running,
    /// It is complete.
    Finished,
    /// It gave up, with a reason.
    Failed,
    /// It was asked to stop.
    Interrupted,
}

/// One process that worked on a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Execution {
    /// When it started, in UTC.
    pub started: String,
    /// How long it worked, by a clock that is never set back.
    pub seconds: f64,
    /// The checkpoint that it continued; absent where it began at the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_step: Option<u64>,
    /// The first metrics segment that it wrote: earlier segments count up to `from_step` only.
    pub first_segment: u32,
    /// The arguments of the process, without the program.
    pub command: Vec<String>,
    /// Where it computed.
    #[serde(flatten)]
    pub environment: Environment,
    /// The code that ran.
    pub code: CodeVersion,
    /// The resolved experiment that ran, where it is no more the one that the run was started with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<FileChecksum>,
}

/// Where a run is computed: what may move its bits, besides the code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// `cpu`, or such as `cuda:0`.
    pub device: String,
    /// Whether software stands in for the device.
    pub emulated: bool,
    /// The device's make, where its driver tells it; absent for a CPU and in older records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware: Option<Hardware>,
    /// The kernels that were chosen, such as `avx512`.
    pub kernel_path: String,
    /// The number format of the model.
    pub precision: String,
    /// How many threads compute; does not move bits on a CPU.
    pub threads: usize,
}

/// Exactly what was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CorpusIdentity {
    /// Its name in the catalogue.
    pub name: String,
    /// SHA-256 over its pieces, see the corpus room.
    pub fingerprint: String,
    /// What it stands in for, where the original cannot be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stand_in: Option<String>,
    /// Whether a program composed it.
    pub synthetic: bool,
    /// Where it came from.
    pub origin: String,
    /// Counts and whatever else is worth keeping.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub details: serde_json::Value,
}

/// How many segments a run had when its record was written. There may be one more, of a process that died between the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentCounts {
    /// In `metrics/`.
    pub metrics: usize,
    /// In `timings/`.
    pub timings: usize,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in UTC.
    pub at: String,
    /// What.
    pub what: String,
}

/// The checksum of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChecksum {
    /// Relative to the run's folder, with `/`.
    pub path: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
}

impl Environment {
    /// The device, such as `cuda:0`, and whether it is only emulated.
    pub fn device_marked(&self) -> String {
        let emulated = if self.emulated { " (emulated)" } else { "" };
        format!("{}{emulated}", self.device)
    }

    /// The same with the device's make, where that is known.
    pub fn device_in_words(&self) -> String {
        let device = self.device_marked();
        match &self.hardware {
            Some(hardware) => format!("{device}: {hardware}"),
            None => device,
        }
    }
}

impl Record {
    /// Whether another record was executed again as this run.
    pub fn is_reproduction(&self) -> bool {
        self.execution.command.first().map(String::as_str) == Some("reproduce")
    }

    /// Reads the record of the run in `folder`. Where other files of a run are and the record is not, it was lost.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(RECORD);
        if !path.exists() && folder.join(EXPERIMENT).exists() {
            return Err(RunError::Corrupt {
                file: path,
                reason: "it is gone, and nothing else says what this run is; put back a copy of it"
                    .into(),
            }
            .into());
        }
        let text = read_file(&path)?;
        let corrupt = |reason: String| RunError::Corrupt {
            file: path.clone(),
            reason,
        };
        let value: serde_json::Value =
            serde_json::from_slice(&text).map_err(|error| corrupt(error.to_string()))?;
        let format = value.get("format").and_then(serde_json::Value::as_u64);
        if format.is_some_and(|format| format > u64::from(FORMAT)) {
            let format = format.unwrap_or_default();
            bail!(
                "'{}' has format {format} and this harness knows {FORMAT}: a newer harness wrote it",
                path.display()
            );
        }
        Ok(serde_json::from_value(value).map_err(|error| corrupt(error.to_string()))?)
    }

    /// Writes the record into `folder`, whole or not at all.
    pub fn write(&self, folder: &Path) -> Result<()> {
        write_atomically(&folder.join(RECORD), self.to_text()?.as_bytes())
    }

    /// Writes the record with its seal, after which any change of the file shows.
    pub fn write_sealed(&mut self, folder: &Path) -> Result<()> {
        self.seal.clear();
        self.seal = sha256(self.to_text()?.as_bytes());
        self.write(folder)
    }

    /// Every process that worked on the run, in order.
    pub fn executions(&self) -> impl DoubleEndedIterator<Item = &Execution> {
        std::iter::once(&self.execution).chain(&self.resumed)
    }

    /// The processes whose work is in the run, in order: not those whose every step a later one did again.
    pub fn telling_executions(&self) -> Vec<&Execution> {
        let mut telling = Vec::new();
        let mut done_again_from = u64::MAX;
        for execution in self.executions().rev() {
            let start = execution.from_step.unwrap_or(0);
            // The last one wrote the end of the run, even where nothing was left to train.
            if telling.is_empty() || start < done_again_from {
                telling.push(execution);
                done_again_from = start;
            }
        }
        telling.reverse();
        telling
    }

    /// The file of the resolved experiment that the run is of: of the one it was last changed to, where it was changed.
    pub fn experiment_file(&self) -> &str {
        let changed = self.last_execution().changed.as_ref();
        changed.map_or(EXPERIMENT, |file| &file.path)
    }

    /// The step from which the run went on as another experiment, if ever.
    pub fn changed_at(&self) -> Option<u64> {
        let first = self.executions().find(|it| it.changed.is_some());
        first.map(|it| it.from_step.unwrap_or(0))
    }

    /// The checksum that the file `path` of the run must have, where the record says it.
    pub(super) fn checksum_of(&self, path: &str) -> Option<&str> {
        let changed = self.executions().filter_map(|it| it.changed.as_ref());
        let sealed = self
            .files
            .iter()
            .chain(changed)
            .find(|file| file.path == path);
        let begun = self.experiment_sha256.as_deref();
        sealed
            .map(|file| file.sha256.as_str())
            .or(begun.filter(|_| path == EXPERIMENT))
    }

    /// How many segments there must be at least in the folder `name`; 0 in a record that does not say.
    pub(super) fn segments_in(&self, name: &str) -> usize {
        self.segments.map_or(0, |counts| match name {
            "metrics" => counts.metrics,
            _ => counts.timings,
        })
    }

    /// The process that worked on the run last.
    pub fn last_execution(&self) -> &Execution {
        self.resumed.last().unwrap_or(&self.execution)
    }

    pub(super) fn last_execution_mut(&mut self) -> &mut Execution {
        self.resumed.last_mut().unwrap_or(&mut self.execution)
    }

    /// Says that the run has ended, now.
    pub(super) fn end(&mut self, status: Status, reason: Option<String>) {
        self.status = status;
        self.reason = reason;
        self.ended = Some(clock::now());
        self.heartbeat = clock::now();
    }

    /// How long the run was worked on, in seconds, over all executions.
    pub fn seconds(&self) -> f64 {
        self.executions().map(|it| it.seconds).sum()
    }

    fn to_text(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self).context("failed to write a record as JSON")? + "\n")
    }
}

/// Whether `text`, a sealed `record.json`, is what was written. A record that was never sealed is not.
pub fn seal_holds(text: &str) -> bool {
    let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(text) else {
        return false;
    };
    let Some(seal) = fields
        .get("seal")
        .and_then(|it| it.as_str())
        .filter(|it| !it.is_empty())
    else {
        return false;
    };
    let unsealed = text.replacen(&format!("\"seal\": \"{seal}\""), "\"seal\": \"\"", 1);
    sha256(unsealed.as_bytes()) == seal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_was_done_again_is_not_in_the_run() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/records/interrupted");
        let mut record = Record::read(&folder).unwrap();
        let mut told = |starts: &[Option<u64>]| -> Vec<Option<u64>> {
            let executions = starts.iter().map(|from_step| Execution {
                from_step: *from_step,
                ..record.execution.clone()
            });
            let mut executions: Vec<Execution> = executions.collect();
            record.execution = executions.remove(0);
            record.resumed = executions;
            let telling = record.telling_executions();
            telling.iter().map(|it| it.from_step).collect()
        };
        assert_eq!(told(&[None]), [None]);
        assert_eq!(told(&[None, Some(9), Some(20)]), [None, Some(9), Some(20)]);
        // The second died before its first checkpoint, and of the third nothing is left either.
        assert_eq!(told(&[None, Some(9), Some(9), Some(5)]), [None, Some(5)]);
        assert_eq!(told(&[None, None]), [None]);
        // Nothing was left to train, but the last one scored and sampled.
        assert_eq!(told(&[None, Some(40)]), [None, Some(40)]);
    }
}
