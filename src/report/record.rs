//! One run as a report sees it: everything its folder holds, and what of it could not be read.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use super::text::short;
use crate::analysis::MapPoint;
use crate::artifacts::{self, NoteMap};
use crate::claim::Claim;
use crate::run::disk::sha256;
use crate::run::metrics::Metrics;
use crate::run::record::{Record, Status};
use crate::run::table::Table;
use crate::sample::Sample;

pub use crate::artifacts::{CorpusPoint, Evaluation};
pub use crate::run::metrics::Row as Metric;

/// Everything a report draws from one run.
#[derive(Debug, Clone)]
pub struct RunRecord {
    /// The run's folder.
    pub folder: PathBuf,
    /// What ran, on what, where.
    pub record: Record,
    /// The resolved experiment.
    pub resolved: Value,
    /// SHA-256 of the resolved experiment's file; empty without one.
    pub experiment_hash: String,
    /// The paper's claims that the experiment tests.
    pub claims: Vec<Claim>,
    /// Every metric, sorted by step.
    pub metrics: Vec<Metric>,
    /// What the clock said, sorted by step.
    pub timings: Vec<Metric>,
    /// Held-out pieces.
    pub evaluation: Vec<Evaluation>,
    /// The corpus figures' points.
    pub corpus: Vec<CorpusPoint>,
    /// Single-note embeddings by map.
    pub notes: Vec<NoteMap>,
    /// Flat maps.
    pub points: Vec<MapPoint>,
    /// Nested numbers.
    pub statistics: Value,
    /// Generated music and excerpts.
    pub samples: Vec<Sample>,
    /// Files that are missing or cannot be read, and why: never fatal.
    pub problems: Vec<String>,
}

impl RunRecord {
    /// Reads the run in `folder`. Fails only if `record.json` itself cannot be read.
    pub fn read(folder: &Path) -> Result<Self> {
        let record = Record::read(folder)?;
        let mut reader = Reader { folder, finished: record.status == Status::Finished, problems: Vec::new() };
        let text = reader.optional("experiment.yaml", |bytes| Ok(String::from_utf8(bytes)?)).unwrap_or_default();
        let resolved: Value = reader.keep("experiment.yaml", || serde_yaml::from_str(&text).context("not YAML")).unwrap_or(Value::Null);
        let claims = resolved.get("claims").filter(|claims| !claims.is_null()).cloned();
        let claims = claims.and_then(|claims| reader.keep("experiment.yaml: claims", || Ok(serde_json::from_value(claims)?)));
        let mut run = Self {
            folder: folder.to_path_buf(),
            record,
            resolved,
            experiment_hash: if text.is_empty() { String::new() } else { sha256(text.as_bytes()) },
            claims: claims.unwrap_or_default(),
            metrics: reader.optional("metrics.parquet", read_metrics).unwrap_or_default(),
            timings: reader.optional("timings.parquet", read_metrics).unwrap_or_default(),
            evaluation: reader.table(artifacts::EVALUATION, artifacts::evaluation_rows),
            corpus: reader.table(artifacts::CORPUS_STATISTICS, artifacts::corpus_points),
            notes: reader.table(artifacts::EMBEDDINGS, artifacts::embeddings),
            points: reader.table(artifacts::TSNE, artifacts::map_points),
            statistics: reader.optional(artifacts::STATISTICS, |bytes| Ok(serde_json::from_slice(&bytes)?)).unwrap_or(Value::Null),
            samples: reader.optional(artifacts::SAMPLES, |bytes| Ok(serde_json::from_slice(&bytes)?)).unwrap_or_default(),
            problems: Vec::new(),
        };
        run.problems = reader.problems;
        Ok(run)
    }

    /// The run in a few words, such as `quickstart run 3`.
    pub fn title(&self) -> String {
        let smoke = if self.record.smoke { " (smoke run)" } else { "" };
        format!("{} run {}{smoke}", self.record.experiment, self.record.number)
    }

    /// Whether the run finished and was no smoke run: only then are its numbers set beside the paper's.
    pub fn counts(&self) -> bool {
        self.record.status == Status::Finished && !self.record.smoke
    }

    /// The corpus by name, with what it is not.
    pub fn corpus_name(&self) -> String {
        let Some(corpus) = &self.record.corpus else { return "corpus not read".to_owned() };
        let synthetic = if corpus.synthetic { ", synthetic" } else { "" };
        match &corpus.stand_in {
            Some(original) => format!("{} (stand-in for {original}{synthetic})", corpus.name),
            None if corpus.synthetic => format!("{} (synthetic)", corpus.name),
            None => corpus.name.clone(),
        }
    }

    /// Where the run was computed.
    pub fn device(&self) -> String {
        let environment = &self.record.execution.environment;
        let emulated = if environment.emulated { " (emulated)" } else { "" };
        format!("{}{emulated}, {} threads, kernels {}", environment.device, environment.threads, environment.kernel_path)
    }

    /// Where a figure's numbers come from, in one line.
    pub fn provenance_line(&self) -> String {
        let corpus = self.record.corpus.as_ref();
        let fingerprint = corpus.map(|corpus| format!(" {}", short(&corpus.fingerprint, 12))).unwrap_or_default();
        format!(
            "run {}/{} · harness {} · corpus {}{fingerprint} · experiment {}",
            self.record.experiment,
            self.record.id,
            self.record.execution.code.summary(),
            self.corpus_name(),
            short(&self.experiment_hash, 12)
        )
    }

    /// The command that started the run, for a shell.
    pub fn command(&self) -> String {
        let quoted = self.record.execution.command.iter().map(|argument| {
            let plain = argument.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./=:,+@".contains(&byte));
            if plain && !argument.is_empty() { argument.clone() } else { format!("'{}'", argument.replace('\'', "'\\''")) }
        });
        std::iter::once("harness".to_owned()).chain(quoted).collect::<Vec<_>>().join(" ")
    }

    /// A measured number by name.
    ///
    /// Names are dotted paths into `statistics.json`; `<split>.<metric>.<best|last>` of the metrics; `timings.<metric>.<mean|last>`;
    /// `run.seconds` and `run.hours`; and `experiment.<path>` for a number of the resolved experiment.
    pub fn number(&self, name: &str) -> Option<f64> {
        if let Some(number) = at_path(&self.statistics, name).and_then(Value::as_f64) {
            return Some(number);
        }
        if let Some(path) = name.strip_prefix("experiment.") {
            return at_path(&self.resolved, path).and_then(Value::as_f64);
        }
        match name.split('.').collect::<Vec<_>>()[..] {
            ["run", "seconds"] => Some(self.record.seconds()),
            ["run", "hours"] => Some(self.record.seconds() / 3600.0),
            ["timings", metric, which] => {
                let values: Vec<f64> = self.timings.iter().filter(|row| row.metric == metric).map(|row| row.value).collect();
                pick(&values, metric, which)
            }
            [split, metric, which] => {
                let rows = self.metrics.iter().filter(|row| row.split == split && row.metric == metric);
                pick(&rows.map(|row| row.value).collect::<Vec<_>>(), metric, which)
            }
            _ => None,
        }
    }

    /// Numbers to set a metric beside, by name: `yardsticks.<metric>` of `statistics.json`.
    pub fn yardsticks(&self, metric: &str) -> Vec<(&str, f64)> {
        let yardsticks = self.statistics.get("yardsticks").and_then(|all| all.get(metric)).and_then(Value::as_object);
        yardsticks.into_iter().flatten().filter_map(|(name, value)| Some((name.as_str(), value.as_f64()?))).collect()
    }

    /// A text of the resolved experiment, such as its title.
    pub fn resolved_text(&self, path: &str) -> Option<&str> {
        at_path(&self.resolved, path).and_then(Value::as_str)
    }
}

/// The value at a dotted path.
pub fn at_path<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, key| value.get(key))
}

/// Whether larger values of a metric are better.
pub fn larger_is_better(metric: &str) -> bool {
    metric.ends_with("accuracy") || metric == "tokens_per_second"
}

fn pick(values: &[f64], metric: &str, which: &str) -> Option<f64> {
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    match which {
        "last" => values.last().copied(),
        "mean" => (finite().count() > 0).then(|| finite().sum::<f64>() / finite().count() as f64),
        "best" if larger_is_better(metric) => finite().max_by(f64::total_cmp),
        "best" => finite().min_by(f64::total_cmp),
        _ => None,
    }
}

fn read_metrics(bytes: Vec<u8>) -> Result<Vec<Metric>> {
    Metrics::from_table(Table::from_parquet(&bytes)?)?.rows()
}

/// Reads a run's files one by one, keeping what went wrong.
struct Reader<'a> {
    folder: &'a Path,
    finished: bool,
    problems: Vec<String>,
}

impl Reader<'_> {
    /// What `read` makes of a file; a missing file is a problem only of a finished run.
    fn optional<T>(&mut self, file: &str, read: impl FnOnce(Vec<u8>) -> Result<T>) -> Option<T> {
        match fs::read(self.folder.join(file)) {
            Ok(bytes) => self.keep(file, || read(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if self.finished {
                    self.problems.push(format!("{file} is missing"));
                }
                None
            }
            Err(error) => {
                self.problems.push(format!("{file} cannot be read: {error}"));
                None
            }
        }
    }

    fn table<T>(&mut self, file: &str, rows: impl FnOnce(&Table) -> Result<Vec<T>>) -> Vec<T> {
        self.optional(file, |bytes| rows(&Table::from_parquet(&bytes)?)).unwrap_or_default()
    }

    fn keep<T>(&mut self, file: &str, read: impl FnOnce() -> Result<T>) -> Option<T> {
        read().map_err(|error| self.problems.push(format!("{file} cannot be read: {error:#}"))).ok()
    }
}
