//! One run as a report sees it: everything its folder holds, and what of it could not be read.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::text::short;
use crate::analysis::MapPoint;
use crate::artifacts::{self, NoteMap};
use crate::checksum::sha256;
use crate::claim::Claim;
use crate::metric::metric as registered;
use crate::run::{State, StoredRun, Table};
use crate::sample::Sample;

pub use crate::artifacts::{CorpusPoint, Evaluation};
pub use crate::run::Row as Metric;

/// Everything a report draws from one run.
#[derive(Debug, Clone)]
pub struct RunRecord {
    /// The run on disk: its folder and its record.
    pub stored: StoredRun,
    /// How it stands.
    pub state: State,
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
    pub fn read(folder: &Path, published: bool) -> Result<Self> {
        Ok(Self::of(StoredRun::open(folder, published)?))
    }

    /// Reads everything of a stored run. What cannot be read is listed in `problems`.
    pub fn of(stored: StoredRun) -> Self {
        let state = stored.state();
        let mut reader = Reader {
            stored: &stored,
            finished: state == State::Finished,
            problems: Vec::new(),
        };
        let text = reader
            .optional(stored.record.experiment_file(), |bytes| {
                Ok(String::from_utf8(bytes)?)
            })
            .unwrap_or_default();
        let resolved: Value = reader
            .keep("experiment.yaml", || {
                serde_yaml::from_str(&text).context("not YAML")
            })
            .unwrap_or(Value::Null);
        let claims = resolved
            .get("claims")
            .filter(|claims| !claims.is_null())
            .cloned();
        let claims = claims.and_then(|claims| {
            reader.keep("claims of experiment.yaml", || {
                Ok(serde_json::from_value(claims)?)
            })
        });
        let metrics = reader.keep("metrics", || stored.metrics().and_then(|it| it.rows()));
        let timings = reader.keep("timings", || stored.timings().and_then(|it| it.rows()));
        let evaluation = reader.table(artifacts::EVALUATION, artifacts::evaluation_rows);
        let corpus = reader.table(artifacts::CORPUS_STATISTICS, artifacts::corpus_points);
        let notes = reader.table(artifacts::EMBEDDINGS, artifacts::embeddings);
        let points = reader.table(artifacts::TSNE, artifacts::map_points);
        let statistics = reader.optional(artifacts::STATISTICS, |bytes| {
            Ok(serde_json::from_slice(&bytes)?)
        });
        let samples = reader.optional(artifacts::SAMPLES, |bytes| {
            Ok(serde_json::from_slice(&bytes)?)
        });
        let problems = reader.problems;
        Self {
            state,
            resolved,
            experiment_hash: if text.is_empty() {
                String::new()
            } else {
                sha256(text.as_bytes())
            },
            claims: claims.unwrap_or_default(),
            metrics: metrics.unwrap_or_default(),
            timings: timings.unwrap_or_default(),
            evaluation,
            corpus,
            notes,
            points,
            statistics: statistics.unwrap_or(Value::Null),
            samples: samples.unwrap_or_default(),
            problems,
            stored,
        }
    }

    /// The run in a few words, such as `quickstart run 3`.
    pub fn title(&self) -> String {
        let smoke = if self.stored.record.smoke {
            " (smoke run)"
        } else {
            ""
        };
        format!(
            "{} run {}{smoke}",
            self.stored.record.experiment, self.stored.record.number
        )
    }

    /// Whether the run finished and was no smoke run: only then are its numbers set beside the paper's.
    pub fn counts(&self) -> bool {
        self.state == State::Finished && !self.stored.record.smoke
    }

    /// The corpus by name, with a word on what it is not: synthetic, or a stand-in.
    pub fn corpus_name(&self) -> String {
        match &self.stored.record.corpus {
            None => "corpus not read".to_owned(),
            Some(corpus) if corpus.synthetic => format!("{} (synthetic)", corpus.name),
            Some(corpus) if corpus.stand_in.is_some() => format!("{} (stand-in)", corpus.name),
            Some(corpus) => corpus.name.clone(),
        }
    }

    /// The corpus by name, with what it stands in for.
    pub fn corpus_in_full(&self) -> String {
        let corpus = self.stored.record.corpus.as_ref();
        match corpus.and_then(|corpus| Some((&corpus.name, corpus.stand_in.as_ref()?))) {
            Some((name, original)) => format!("{name}, which stands in for {original}"),
            None => self.corpus_name(),
        }
    }

    /// Where the run was computed: every device that worked on it, in order.
    pub fn device(&self) -> String {
        let mut devices = Vec::new();
        for execution in self.stored.record.executions() {
            let environment = &execution.environment;
            let threads = match environment.threads {
                1 => "1 thread".to_owned(),
                threads => format!("{threads} threads"),
            };
            let words = format!(
                "{}, {threads}, kernels {}",
                environment.device_in_words(),
                environment.kernel_path
            );
            if !devices.contains(&words) {
                devices.push(words);
            }
        }
        devices.join("; then ")
    }

    /// Where a figure's numbers come from, in one line.
    pub fn provenance_line(&self) -> String {
        format!(
            "run {} · harness {} · corpus {} · experiment {}",
            self.name(),
            self.stored.record.execution.code.summary(),
            self.corpus_and_fingerprint(),
            short(&self.experiment_hash, 12)
        )
    }

    /// The corpus by name, with enough of its fingerprint to tell it from another.
    pub fn corpus_and_fingerprint(&self) -> String {
        let corpus = self.stored.record.corpus.as_ref();
        let fingerprint = corpus
            .map(|corpus| format!(" {}", short(&corpus.fingerprint, 12)))
            .unwrap_or_default();
        format!("{}{fingerprint}", self.corpus_name())
    }

    /// The run by experiment and id.
    pub fn name(&self) -> String {
        let record = &self.stored.record;
        format!("{}/{}", record.experiment, record.id)
    }

    /// The command that started the run, for a shell.
    pub fn command(&self) -> String {
        let quoted = self.stored.record.execution.command.iter().map(|argument| {
            let plain = argument
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_./=:,+@".contains(&byte));
            if plain && !argument.is_empty() {
                argument.clone()
            } else {
                format!("'{}'", argument.replace('\'', "'\\''"))
            }
        });
        std::iter::once("harness".to_owned())
            .chain(quoted)
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// A measured number by name.
    ///
    /// Names are dotted paths into `statistics.json`; `<split>.<metric>.<best|last>` of the metrics; `timings.<metric>.<mean|last>`;
    /// `training.hours`, of all processes that worked on the run; and `experiment.<path>` for a number of the resolved experiment.
    pub fn number(&self, name: &str) -> Option<f64> {
        if let Some(number) = at_path(&self.statistics, name).and_then(Value::as_f64) {
            return Some(number);
        }
        if let Some(path) = name.strip_prefix("experiment.") {
            return at_path(&self.resolved, path).and_then(Value::as_f64);
        }
        match name.split('.').collect::<Vec<_>>()[..] {
            ["training", "hours"] => Some(self.stored.record.seconds() / 3600.0),
            ["timings", metric, which] => {
                let values: Vec<f64> = self
                    .timings
                    .iter()
                    .filter(|row| row.metric == metric)
                    .map(|row| row.value)
                    .collect();
                pick(&values, metric, which)
            }
            [split, metric, which] => {
                let rows = self
                    .metrics
                    .iter()
                    .filter(|row| row.split == split && row.metric == metric);
                pick(
                    &rows.map(|row| row.value).collect::<Vec<_>>(),
                    metric,
                    which,
                )
            }
            _ => None,
        }
    }

    /// What models without a network score in a metric on a split: the name and the number.
    ///
    /// The baselines are in nats per step. They stand beside `nll_per_step` where the run has it, else beside `loss`, which then
    /// counts the same; on train there is only the unigram's entropy.
    pub fn yardsticks(&self, metric: &str, split: &str) -> Vec<(&'static str, f64)> {
        let has_density = self.metrics.iter().any(|row| row.metric == "nll_per_step");
        let beside = if has_density { "nll_per_step" } else { "loss" };
        let names: &[(&str, &str)] = match split {
            "train" if metric == "loss" => &[("unigram entropy", "unigram.train_entropy")],
            "valid" if metric == beside => &[
                ("unigram", "unigram.valid"),
                ("first-order Markov", "markov.valid"),
            ],
            "test" if metric == beside => &[
                ("unigram", "unigram.test"),
                ("first-order Markov", "markov.test"),
            ],
            _ => &[],
        };
        let Some(baselines) = self.statistics.get("baseline") else {
            return Vec::new();
        };
        names
            .iter()
            .filter_map(|(name, path)| Some((*name, at_path(baselines, path)?.as_f64()?)))
            .collect()
    }

    /// The maps' statistics by name, in the order in which they were measured.
    pub fn maps(&self) -> impl Iterator<Item = (&str, &Value)> {
        let maps = self
            .statistics
            .get("analysis")
            .and_then(Value::as_object)
            .into_iter()
            .flatten();
        maps.filter(|(name, _)| *name != "claims")
            .map(|(name, statistics)| (name.as_str(), statistics))
    }

    /// Whether the model predicts the keys of a time step one by one, so that its loss is a sum over keys.
    pub fn models_keys(&self) -> bool {
        self.resolved_text("model.kind") == Some("sigmoid")
    }

    /// The unit of a metric of this run: the loss of a model of keys is the sum over the keys of a time step.
    pub fn unit(&self, metric: &str) -> &'static str {
        let of_keys = metric == "loss" && self.models_keys();
        registered(if of_keys { "nll_per_step" } else { metric }).unit
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

fn pick(values: &[f64], metric: &str, which: &str) -> Option<f64> {
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    match which {
        "last" => values.last().copied(),
        "mean" => (finite().count() > 0).then(|| finite().sum::<f64>() / finite().count() as f64),
        "best" => {
            let cost = |value: &f64| registered(metric).direction.cost(*value);
            finite().min_by(|a, b| cost(a).total_cmp(&cost(b)))
        }
        _ => None,
    }
}

/// Reads a run's files one by one, keeping what went wrong.
struct Reader<'a> {
    stored: &'a StoredRun,
    finished: bool,
    problems: Vec<String>,
}

impl Reader<'_> {
    /// What `read` makes of the bytes of a file, if it is there.
    fn optional<T>(&mut self, file: &str, read: impl FnOnce(Vec<u8>) -> Result<T>) -> Option<T> {
        let stored = self.stored;
        self.present(file, || read(stored.read_bytes(file)?))
    }

    /// What `read` gives if the file is there; a missing file is a problem only of a finished run.
    fn present<T>(&mut self, file: &str, read: impl FnOnce() -> Result<T>) -> Option<T> {
        if self.stored.has(file) {
            return self.keep(file, read);
        }
        if self.finished {
            self.problems.push(format!("{file} is missing"));
        }
        None
    }

    fn table<T>(&mut self, file: &str, rows: impl FnOnce(&Table) -> Result<Vec<T>>) -> Vec<T> {
        let stored = self.stored;
        self.present(file, || rows(&stored.table(file)?))
            .unwrap_or_default()
    }

    fn keep<T>(&mut self, file: &str, read: impl FnOnce() -> Result<T>) -> Option<T> {
        read()
            .map_err(|error| {
                self.problems
                    .push(format!("{file} cannot be read: {error:#}"))
            })
            .ok()
    }
}
