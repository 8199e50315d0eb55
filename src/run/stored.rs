//! A run on disk, to be read, or to be taken up again.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::checkpoint::{Checkpoint, Checkpoints, NamedArray, read_arrays, read_checkpoint};
use super::clock;
use super::code::CodeVersion;
use super::disk::{files_below, read_file, remove_unfinished, write_atomically};
use super::error::RunError;
use super::lock::{LOCK, is_held, try_lock};
use super::metrics::{Metrics, load};
use super::record::{Environment, Event, Execution, FileChecksum, RECORD, Record, Status};
use super::settings::changed_settings;
use super::table::Table;
use super::writer::{Run, WEIGHTS};
use crate::checksum::sha256;
use crate::ensure_usage;
use crate::exit_code::OrUsage;

/// A run as it lies on disk.
#[derive(Debug, Clone)]
pub struct StoredRun {
    /// The run's folder.
    pub path: PathBuf,
    /// The name of the folder, by which commands name the run.
    pub id: String,
    /// Whether this is the compact copy in the repository, without checkpoints.
    pub published: bool,
    /// What it says of itself.
    pub record: Record,
}

/// How a run stands, as a reader sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A process is working on it.
    Running,
    /// Its process ended without a word, for example by `kill -9`.
    Died,
    /// It is complete.
    Finished,
    /// It gave up.
    Failed,
    /// It was asked to stop.
    Interrupted,
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Running => "running",
            Self::Died => "died",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        })
    }
}

impl StoredRun {
    /// The run in the folder `path`.
    pub fn open(path: &Path, published: bool) -> Result<Self> {
        let record = Record::read(path)?;
        let id = path.file_name().map_or_else(
            || record.id.clone(),
            |name| name.to_string_lossy().into_owned(),
        );
        Ok(Self {
            path: path.to_path_buf(),
            id,
            published,
            record,
        })
    }

    /// How the run stands. The lock decides whether it is running, so neither a wrong clock nor a copied folder deceives.
    pub fn state(&self) -> State {
        match self.record.status {
            Status::Running if is_held(&self.path.join(LOCK)) => State::Running,
            Status::Running => State::Died,
            Status::Finished => State::Finished,
            Status::Failed => State::Failed,
            Status::Interrupted => State::Interrupted,
        }
    }

    /// The resolved experiment, as YAML.
    pub fn experiment_yaml(&self) -> Result<String> {
        let file = self.record.experiment_file();
        String::from_utf8(self.read_bytes(file)?)
            .map_err(|error| self.damaged(file, &error.to_string()))
    }

    /// The metrics so far.
    pub fn metrics(&self) -> Result<Metrics> {
        self.rows("metrics")
    }

    /// What the clock said so far.
    pub fn timings(&self) -> Result<Metrics> {
        self.rows("timings")
    }

    fn rows(&self, name: &str) -> Result<Metrics> {
        if self.record.status == Status::Finished {
            let file = format!("{name}.parquet");
            return Metrics::from_table(self.table(&file)?)
                .map_err(|error| self.damaged(&file, &format!("{error:#}")));
        }
        // A running process may have merged some since the record was read.
        let at_least = match self.state() {
            State::Running => 0,
            _ => self.record.segments_in(name),
        };
        let executions: Vec<&Execution> = self.record.executions().collect();
        load(&self.path.join(name), &executions, at_least)
    }

    /// Whether the run has the file `file`.
    pub fn has(&self, file: &str) -> bool {
        self.path.join(file).is_file()
    }

    /// The run's files with their lengths, as paths relative to its folder; not its record and lock.
    pub fn files(&self) -> Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for path in files_below(&self.path)?
            .into_iter()
            .filter(|path| path != RECORD && path != LOCK)
        {
            // A running run may remove a file between the two looks.
            if let Ok(metadata) = fs::metadata(self.path.join(&path)) {
                files.push((path, metadata.len()));
            }
        }
        Ok(files)
    }

    /// A table of the run, for example `evaluation.parquet`.
    pub fn table(&self, file: &str) -> Result<Table> {
        let bytes = self.read_bytes(file)?;
        let is_sealed = self.record.files.iter().any(|known| known.path == file);
        let table = if is_sealed {
            Table::from_intact_parquet(&bytes)
        } else {
            Table::from_parquet(&bytes)
        };
        table.map_err(|error| self.damaged(file, &format!("{error:#}")))
    }

    /// The bytes of one of the run's files; where the record holds its checksum, they are what was written.
    pub fn read_bytes(&self, file: &str) -> Result<Vec<u8>> {
        let path = self.path.join(file);
        let known = self.record.checksum_of(file);
        if known.is_some() && !path.exists() {
            return Err(self.damaged(file, "it is gone; put back a copy of it"));
        }
        let bytes = read_file(&path)?;
        if known.is_some_and(|known| known != sha256(&bytes)) {
            let reason = "its bytes do not have the checksum in the record; put back a copy of it";
            return Err(self.damaged(file, reason));
        }
        Ok(bytes)
    }

    fn damaged(&self, file: &str, reason: &str) -> anyhow::Error {
        RunError::Corrupt {
            file: self.path.join(file),
            reason: reason.to_string(),
        }
        .into()
    }

    /// The trained weights, of `final.safetensors`.
    pub fn final_weights(&self) -> Result<Vec<NamedArray>> {
        let (id, experiment) = (&self.id, &self.record.experiment);
        if self.has(WEIGHTS) {
            return read_arrays(&self.read_bytes(WEIGHTS)?)
                .map_err(|error| self.damaged(WEIGHTS, &format!("{error:#}")));
        }
        Err(match self.state() {
            State::Finished if self.published => anyhow!(
                "run {id} is a published record, which leaves {WEIGHTS} out: `harness reproduce {id}` trains it again, and \
                 `harness generate {experiment}@1` then draws from that run"
            ),
            State::Finished => bail!(
                "run {id} is finished but its {WEIGHTS} is gone: put back a copy of it (`harness verify {id}` tells whether it is \
                 the same), or train it again with `harness reproduce {id}`"
            ),
            State::Running => {
                anyhow!("run {id} is running and has no {WEIGHTS} yet: wait for it to end")
            }
            state => anyhow!(
                "run {id} is not finished ({state}) and has no {WEIGHTS} yet: `harness resume {id}` goes on with it"
            ),
        })
        .or_usage()
    }

    /// The checkpoint of exactly this step.
    pub fn checkpoint(&self, step: u64) -> Result<Checkpoint> {
        read_checkpoint(&Checkpoints::of_run(&self.path).path(step))
    }

    /// Takes the run up again: locks it and goes back to the newest whole checkpoint, or to the beginning where there is
    /// none. A damaged checkpoint is put aside, and the record says so. `changed` is another resolved experiment to go on as; the
    /// record tells from which step and what is changed.
    ///
    /// Refused while another process works on it ([`RunError::Locked`]) and when it is finished ([`RunError::Finished`]).
    pub fn resume(
        &self,
        environment: Environment,
        command: Vec<String>,
        changed: Option<&str>,
    ) -> Result<(Run, Option<Checkpoint>)> {
        let finished = || RunError::Finished {
            id: self.id.clone(),
        };
        // Known without the lock, which a folder that cannot be written does not have.
        ensure!(self.record.status != Status::Finished, finished());
        let lock = try_lock(&self.path.join(LOCK))?.ok_or_else(|| RunError::Locked {
            id: self.id.clone(),
        })?;
        // The record may have changed since it was read: from here on nobody else writes it.
        let mut record = Record::read(&self.path)?;
        ensure!(record.status != Status::Finished, finished());
        remove_unfinished(&self.path)?;
        // Segments that cannot be read are told of now, before anything is computed on top of them.
        for name in ["metrics", "timings"] {
            let executions: Vec<&Execution> = record.executions().collect();
            load(&self.path.join(name), &executions, record.segments_in(name))?;
        }
        let (checkpoint, damaged) = self.newest_whole_checkpoint()?;
        let from = match &checkpoint {
            Some(it) => format!("the checkpoint of step {} was used", it.step),
            None => "the run begins again at step 0".to_string(),
        };
        for Damage { step, reason } in &damaged {
            let what = format!("checkpoint {step} was damaged and put aside ({reason}); {from}");
            record.events.push(Event {
                at: clock::now(),
                what,
            });
        }
        if let (Status::Failed, Some(reason)) = (record.status, &record.reason) {
            record.events.push(Event {
                at: record.ended.clone().unwrap_or_else(clock::now),
                what: format!("failed: {reason}"),
            });
        }
        let changed = match changed {
            Some(yaml) => Some(self.write_changed_experiment(&mut record, yaml, &from)?),
            None => record.last_execution().changed.clone(),
        };
        record.id.clone_from(&self.id);
        record.step = checkpoint.as_ref().map_or(0, |it| it.step);
        record.epoch = checkpoint.as_ref().map_or(0, |it| it.epoch);
        record.resumed.push(Execution {
            started: clock::now(),
            seconds: 0.0,
            from_step: checkpoint.as_ref().map(|it| it.step),
            first_segment: 0, // set by `begin`, which knows the segments
            command,
            environment,
            code: CodeVersion::current(),
            changed,
        });
        let mut run = Run::begin(self.path.clone(), record, lock)?;
        // Aside only now that the record says so.
        for it in &damaged {
            Checkpoints::of_run(&self.path).put_aside(it.step)?;
        }
        run.note(&format!("resumed: {from}"))?;
        Ok((run, checkpoint))
    }

    /// Takes the run up as [`Self::resume`] does, to end its training at the newest whole checkpoint if it has not ended yet.
    ///
    /// # Errors
    /// As `resume`, and where there is no whole checkpoint.
    pub fn conclude(
        &self,
        environment: Environment,
        command: Vec<String>,
    ) -> Result<(Run, Checkpoint)> {
        let without = || {
            format!(
                "run {0} has no checkpoint to be concluded at: `harness resume {0}` trains it further",
                self.id
            )
        };
        // Known before the record is touched.
        ensure_usage!(
            self.record.status == Status::Finished || self.newest_whole_checkpoint()?.0.is_some(),
            "{}",
            without()
        );
        let (mut run, checkpoint) = self.resume(environment, command, None)?;
        run.end_here();
        Ok((run, checkpoint.with_context(without)?))
    }

    /// Writes the resolved experiment that the run goes on as beside the ones before, and says in `record` what is changed.
    fn write_changed_experiment(
        &self,
        record: &mut Record,
        yaml: &str,
        from: &str,
    ) -> Result<FileChecksum> {
        let changes = changed_settings(&self.experiment_yaml()?, yaml)?;
        let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
        let file = FileChecksum {
            // One for each execution, so that no experiment is ever written over.
            path: format!("experiment-{}.yaml", record.executions().count() + 1),
            sha256: sha256(yaml.as_bytes()),
            bytes: yaml.len() as u64,
        };
        write_atomically(&self.path.join(&file.path), yaml.as_bytes())?;
        record.events.push(Event {
            at: clock::now(),
            what: format!(
                "the experiment was changed ({from}): {}",
                changes.join("; ")
            ),
        });
        Ok(file)
    }

    /// The newest whole checkpoint, and on the way to it the damaged ones with what is wrong with them.
    fn newest_whole_checkpoint(&self) -> Result<(Option<Checkpoint>, Vec<Damage>)> {
        let checkpoints = Checkpoints::of_run(&self.path);
        let mut damaged = Vec::new();
        for step in checkpoints.steps()?.into_iter().rev() {
            match read_checkpoint(&checkpoints.path(step)) {
                Ok(checkpoint) => return Ok((Some(checkpoint), damaged)),
                Err(error) => match error.downcast_ref::<RunError>() {
                    Some(RunError::Corrupt { reason, .. }) => damaged.push(Damage {
                        step,
                        reason: reason.clone(),
                    }),
                    _ => return Err(error),
                },
            }
        }
        Ok((None, damaged))
    }
}

/// A checkpoint that cannot be used.
struct Damage {
    step: u64,
    reason: String,
}
