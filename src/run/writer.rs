//! A run that is being executed: everything its process writes, under a lock that ends with the process.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::checkpoint::{Checkpoint, Checkpoints, NamedArray, read_checkpoint, write_arrays};
use super::clock;
use super::disk::{create_folder, files_below, write_atomically};
use super::lock::{LOCK, Lock};
use super::log::Log;
use super::metrics::{Row, Segments, load};
use super::record::{
    CorpusIdentity, Event, Execution, FileChecksum, RECORD, Record, SegmentCounts, Status,
};
use super::stored::StoredRun;
use super::table::Table;
use crate::checksum::sha256_of_file;

/// The file of the trained weights.
pub const WEIGHTS: &str = "final.safetensors";

/// How often [`Run::tick`] writes.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// A run that this process executes. Made by [`super::Store::create`] or [`super::StoredRun::resume`].
///
/// A value that is dropped without [`Run::finish`], [`Run::fail`] or [`Run::interrupt`] leaves a run that reads as died.
#[derive(Debug)]
pub struct Run {
    folder: PathBuf,
    record: Record,
    metrics: Segments,
    timings: Segments,
    ends_here: bool,
    /// Whether a score on held-out pieces waits to be written.
    has_score: bool,
    began: Instant,
    wrote: Instant,
    _lock: Lock,
}

impl Run {
    /// Takes over the run in `folder`, whose last execution in `record` is this process; `lock` is held.
    pub(super) fn begin(folder: PathBuf, record: Record, lock: Lock) -> Result<Self> {
        let (metrics, timings) = (
            Segments::open(folder.join("metrics"))?,
            Segments::open(folder.join("timings"))?,
        );
        let now = Instant::now();
        let mut run = Self {
            folder,
            record,
            metrics,
            timings,
            ends_here: false,
            has_score: false,
            began: now,
            wrote: now,
            _lock: lock,
        };
        let first_segment = run.metrics.next().max(run.timings.next());
        (run.metrics.next, run.timings.next) = (first_segment, first_segment);
        run.record.last_execution_mut().first_segment = first_segment;
        run.record.status = Status::Running;
        run.record.reason = None;
        run.record.ended = None;
        run.write_record()?;
        Ok(run)
    }

    /// The run's id, by which commands name it.
    pub fn id(&self) -> &str {
        &self.record.id
    }

    /// The run's folder.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// The record as it stands.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Says exactly what was read. On a resumed run a different fingerprint is refused: the data are not the same.
    pub fn set_corpus(&mut self, corpus: CorpusIdentity) -> Result<()> {
        if let Some(before) = &self.record.corpus
            && before.fingerprint != corpus.fingerprint
        {
            bail!(
                "the corpus '{}' is not what run {} was started on (fingerprint {} then, {} now): restore the corpus, or \
                 start a new run",
                corpus.name,
                self.record.id,
                before.fingerprint,
                corpus.fingerprint
            );
        }
        self.record.corpus = Some(corpus);
        self.write_record()
    }

    /// Whether it was taken up to be ended where it stands: [`super::StoredRun::conclude`].
    pub fn ends_here(&self) -> bool {
        self.ends_here
    }

    pub(super) fn end_here(&mut self) {
        self.ends_here = true;
    }

    /// Says that training ends at `step`, though more is planned.
    pub fn conclude_at(&mut self, step: u64) -> Result<()> {
        if self.record.concluded_at == Some(step) {
            return Ok(());
        }
        self.record.concluded_at = Some(step);
        self.event(format!(
            "concluded at step {step}, before the end of the training that was planned"
        ))
    }

    /// Keeps in the record that something happened which its reader should know of.
    pub fn event(&mut self, what: impl Into<String>) -> Result<()> {
        let what = what.into();
        self.note(&what)?;
        self.record.events.push(Event {
            at: clock::now(),
            what,
        });
        self.write_record()
    }

    /// Adds a line to `log`.
    pub fn note(&mut self, line: &str) -> Result<()> {
        self.notes().note(line)
    }

    /// The `log`, for whoever notes lines while the run is in other hands.
    pub fn notes(&self) -> Log {
        Log::of_run(&self.folder)
    }

    /// Logs one value. `step` counts optimizer steps completed, `epoch` those begun.
    ///
    /// Only what the record determines belongs here; what the clock says goes to [`Run::log_timing`]. A row of the same
    /// step, split and metric replaces the earlier one. The value is in memory until a flush, a checkpoint or the end.
    pub fn log(&mut self, step: u64, epoch: u32, split: &str, metric: &str, value: f64) {
        self.record.step = self.record.step.max(step);
        self.record.epoch = self.record.epoch.max(epoch);
        self.has_score |= split != "train";
        self.metrics.push(Row {
            step,
            epoch,
            split: split.into(),
            metric: metric.into(),
            value,
        });
    }

    /// Logs what the clock says, such as `tokens_per_second`; kept apart, since no second run says the same.
    pub fn log_timing(&mut self, step: u64, epoch: u32, metric: &str, value: f64) {
        self.timings.push(Row {
            step,
            epoch,
            split: "train".into(),
            metric: metric.into(),
            value,
        });
    }

    /// Writes every value logged so far as a segment, and a sign of life.
    pub fn flush(&mut self) -> Result<()> {
        self.has_score = false;
        self.metrics.flush()?;
        self.timings.flush()?;
        self.write_record()?;
        let executions: Vec<&Execution> = self.record.executions().collect();
        let metrics = self.metrics.merge(&executions)?;
        let timings = self.timings.merge(&executions)?;
        if metrics.is_empty() && timings.is_empty() {
            return Ok(());
        }
        self.write_record()?;
        self.metrics.remove(&metrics)?;
        self.timings.remove(&timings)
    }

    /// Flushes if the last time is some seconds ago, or held-out pieces were scored since, which is what whoever watches the run waits
    /// for; cheap enough for every step.
    pub fn tick(&mut self) -> Result<()> {
        if self.wrote.elapsed() < HEARTBEAT && !self.has_score {
            Ok(())
        } else {
            self.flush()
        }
    }

    /// Writes a checkpoint, after every value logged so far; the last two checkpoints and the best are kept.
    ///
    /// A resumed run keeps the rows of steps up to `checkpoint.step` and drops later ones. So what is measured at that
    /// step is logged before this call, or logged again by a run that is resumed from here.
    pub fn save_checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.flush()?;
        Checkpoints::of_run(&self.folder)
            .save(checkpoint)
            .with_context(|| {
                format!(
                    "failed to keep the checkpoint of step {} of run {}",
                    checkpoint.step, self.record.id
                )
            })
    }

    /// The checkpoint of exactly this step, for example the best.
    pub fn checkpoint(&self, step: u64) -> Result<Checkpoint> {
        read_checkpoint(&Checkpoints::of_run(&self.folder).path(step))
    }

    /// Writes the trained weights as `final.safetensors`: nothing else is in it, so equal weights give equal bytes.
    pub fn save_final(&mut self, weights: &[NamedArray]) -> Result<()> {
        write_arrays(&self.folder.join(WEIGHTS), weights)
    }

    /// Writes a table as Parquet, for example `evaluation.parquet`.
    pub fn write_table(&mut self, file: &str, table: &Table) -> Result<()> {
        self.write_bytes(
            file,
            &table
                .to_parquet()
                .with_context(|| format!("failed to write '{file}'"))?,
        )
    }

    /// Writes a value as indented JSON, for example `statistics.json`.
    pub fn write_json(&mut self, file: &str, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(value)
            .with_context(|| format!("failed to write '{file}' as JSON"))?;
        self.write_bytes(file, (text + "\n").as_bytes())
    }

    /// Writes a file, for example `samples/1.mid`; its folder is made if it is missing.
    pub fn write_bytes(&mut self, file: &str, bytes: &[u8]) -> Result<()> {
        let path = self.folder.join(file);
        create_folder(path.parent().unwrap_or(&self.folder))?;
        write_atomically(&path, bytes)
    }

    /// Ends the run as complete: the metrics become one table, and the record takes every file's checksum.
    pub fn finish(&mut self) -> Result<()> {
        self.finish_with(|_| Ok(()))
    }

    /// As [`Run::finish`]; before the record says so, `write_last` writes what is made of the run as it then reads, such as its page.
    ///
    /// Until the record is written the run can be resumed, and nothing that this needs is removed.
    pub fn finish_with(&mut self, write_last: impl FnOnce(&StoredRun) -> Result<()>) -> Result<()> {
        self.flush()?;
        let executions: Vec<&Execution> = self.record.executions().collect();
        for name in ["metrics", "timings"] {
            let at_least = self.record.segments_in(name);
            let all = load(&self.folder.join(name), &executions, at_least)?;
            write_atomically(
                &self.folder.join(format!("{name}.parquet")),
                &all.to_parquet()?,
            )?;
        }
        self.note("finished")?;
        self.touch();
        let mut finished = StoredRun {
            path: self.folder.clone(),
            id: self.record.id.clone(),
            published: false,
            record: Record {
                experiment_sha256: None,
                segments: None,
                ..self.record.clone()
            },
        };
        finished.record.end(Status::Finished, None);
        write_last(&finished)?;
        finished.record.files = checksums(&self.folder)?;
        finished.record.write_sealed(&self.folder)?;
        self.record = finished.record;
        for name in ["metrics", "timings"] {
            let folder = self.folder.join(name);
            fs::remove_dir_all(&folder)
                .with_context(|| format!("failed to remove '{}'", folder.display()))?;
        }
        Ok(())
    }

    /// Ends the run as interrupted; what was logged is kept, and the run can be resumed.
    pub fn interrupt(&mut self) -> Result<()> {
        self.flush()?;
        self.note("interrupted")?;
        self.stamp(Status::Interrupted, None);
        self.write_record()
    }

    /// Ends the run as failed, for a stated reason; what was logged is kept, and the run can be resumed.
    pub fn fail(&mut self, reason: &str) -> Result<()> {
        self.stamp(Status::Failed, Some(reason.to_string()));
        let kept = self.flush();
        self.note(&format!("failed: {reason}"))?;
        kept
    }

    fn stamp(&mut self, status: Status, reason: Option<String>) {
        self.record.end(status, reason);
        self.touch();
    }

    fn touch(&mut self) {
        self.record.heartbeat = clock::now();
        self.record.last_execution_mut().seconds = self.began.elapsed().as_secs_f64();
    }

    fn write_record(&mut self) -> Result<()> {
        self.touch();
        self.record.segments = Some(SegmentCounts {
            metrics: self.metrics.count(),
            timings: self.timings.count(),
        });
        self.wrote = Instant::now();
        self.record.write(&self.folder)
    }
}

/// The checksum of every file of the run in `folder` that belongs under its seal.
fn checksums(folder: &Path) -> Result<Vec<FileChecksum>> {
    let sealed = files_below(folder)?
        .into_iter()
        .filter(|path| is_sealed(path));
    sealed
        .map(|path| {
            let file = folder.join(&path);
            let (sha256, bytes) = sha256_of_file(&file)
                .with_context(|| format!("failed to read '{}'", file.display()))?;
            Ok(FileChecksum {
                path,
                sha256,
                bytes,
            })
        })
        .collect()
}

/// Whether a file of a run's folder belongs under its seal: not the record itself, the lock, or segments on their way out.
pub(super) fn is_sealed(path: &str) -> bool {
    path != RECORD && path != LOCK && !path.starts_with("metrics/") && !path.starts_with("timings/")
}
