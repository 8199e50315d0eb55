//! Runs in forms that other tools read: a folder that describes itself.
//!
//! ```text
//! ro-crate-metadata.json       Process Run Crate 0.5: which software made which files from what, when, and their SHA-256
//! croissant.json               Croissant 1.1: the Parquet tables as record sets
//! corpus.croissant.json        what the corpus is, its licence, and how to get it
//! projector/                   the embeddings for TensorBoard's projector
//! CITATION.cff                 how harness and the paper are cited
//! record.json, metrics.parquet, …   the files of the run's compact record
//! SHA256SUMS                   the checksum of every other file, as `sha256sum -c` reads it
//! ```
//!
//! An export of all published records has such a folder for each run, `<experiment>/<id>/`, with a crate and a Croissant of all above
//! them, and `corpora/<name>.croissant.json` for every corpus of the catalogue.
//!
//! No data of a corpus is exported: excerpts of real music, and the list of samples where it holds their notes, stay behind. Nothing
//! tells the hour of the export, so the same runs give the same bytes.

mod check;
pub mod citation;
mod corpus_note;
mod croissant;
mod file_kind;
mod projector;
mod ro_crate;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

pub use check::{Checked, check};

use crate::artifacts::SAMPLES;
use crate::checksum::sha256;
use crate::corpus::catalogue;
use crate::ensure_usage;
use crate::report::record::RunRecord;
use crate::run::{
    FileChecksum, RECORD, RunError, State, Store, StoredRun, create_folder, is_compact,
    write_atomically,
};
use crate::sample::Origin;
use corpus_note::CorpusNote;

/// The file of checksums.
pub const SUMS: &str = "SHA256SUMS";

/// Who wrote harness.
const AUTHORS: &str = "The harness authors";

/// The licences of harness and of what it measures, of which the user chooses one: their names and addresses.
const LICENCES: [(&str, &str); 2] = [
    ("MIT", "https://spdx.org/licenses/MIT"),
    ("Apache-2.0", "https://spdx.org/licenses/Apache-2.0"),
];

/// Files by path in an export.
type Files = BTreeMap<String, Vec<u8>>;

/// What an export wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// How many runs.
    pub runs: usize,
    /// How many files.
    pub files: usize,
    /// Files of the runs that stayed behind, and why.
    pub left_out: Vec<(String, &'static str)>,
}

/// A run to be exported.
struct ExportedRun {
    record: RunRecord,
    /// The run's files that are exported.
    kept: Files,
    /// Those that are not, with their checksums, and why.
    left_out: Vec<(FileChecksum, &'static str)>,
}

/// Exports one run into `folder`, which must be new or empty.
///
/// # Errors
/// When the run is running, is not what was written, or the folder cannot be written.
pub fn export_run(stored: StoredRun, folder: &Path) -> Result<Exported> {
    ensure_empty(folder)?;
    let run = ExportedRun::read(stored)?;
    let files = run.files()?;
    write(folder, &files)?;
    Ok(Exported {
        runs: 1,
        files: files.len(),
        left_out: run.left_out(""),
    })
}

/// Exports every published record of `store` into `folder`, which must be new or empty.
///
/// # Errors
/// When there is none, one is not what was written, or the folder cannot be written.
pub fn export_published(store: &Store, folder: &Path) -> Result<Exported> {
    ensure_empty(folder)?;
    let listed = store.list_published()?;
    ensure_usage!(
        !listed.is_empty(),
        "'{}' has no published record: `harness report --publish RUN` makes one",
        store.records().display()
    );
    let (mut runs, mut files) = (Vec::new(), Files::new());
    for it in listed {
        let run = ExportedRun::read(it.run?)?;
        let name = run.record.name();
        let of_run = run.files()?.into_iter();
        files.extend(of_run.map(|(path, bytes)| (format!("{name}/{path}"), bytes)));
        runs.push(run);
    }
    for entry in catalogue::all() {
        let path = format!("corpora/{}.croissant.json", entry.name);
        let note = CorpusNote::of_entry(entry);
        files.insert(path, croissant::of_corpus(&note)?);
    }
    files.insert(croissant::TABLES.into(), croissant::of_all(&runs)?);
    files.insert(citation::FILE.into(), citation::TEXT.into());
    files.insert(ro_crate::FILE.into(), ro_crate::of_all(&runs, &files)?);
    seal(&mut files);
    write(folder, &files)?;
    let left_out = runs
        .iter()
        .flat_map(|run| run.left_out(&format!("{}/", run.record.name())));
    Ok(Exported {
        runs: runs.len(),
        files: files.len(),
        left_out: left_out.collect(),
    })
}

impl ExportedRun {
    /// Reads a run and chooses what is exported of it.
    fn read(stored: StoredRun) -> Result<Self> {
        let id = &stored.id;
        ensure_usage!(
            stored.state() != State::Running,
            "run {id} is running: export it when it has ended"
        );
        if let Some(problem) = stored.verify_compact()?.problems.first() {
            return Err(RunError::Corrupt {
                file: stored.path.join(&problem.file),
                reason: problem.what.clone(),
            }
            .into());
        }
        let record = RunRecord::of(stored);
        if let Some(problem) = record.problems.first() {
            bail!("run {} cannot be exported: {problem}", record.stored.id);
        }
        let mut run = Self {
            record,
            kept: Files::new(),
            left_out: Vec::new(),
        };
        run.choose()?;
        Ok(run)
    }

    fn choose(&mut self) -> Result<()> {
        let stored = &self.record.stored;
        let known = &stored.record.files;
        let finished = self.record.state == State::Finished;
        let paths: Vec<String> = match finished {
            true => known.iter().map(|file| file.path.clone()).collect(),
            // Its segments and checkpoints are of use to `resume` alone; the rows are exported as the tables that they would become.
            false => stored
                .files()?
                .into_iter()
                .map(|(path, _)| path)
                .filter(|path| is_compact(path))
                .filter(|path| !path.starts_with("metrics/") && !path.starts_with("timings/"))
                .collect(),
        };
        for path in paths {
            match self.why_left_out(&path) {
                None => {
                    let bytes = stored.read_bytes(&path)?;
                    self.kept.insert(path, bytes);
                }
                Some(why) => {
                    let file = known.iter().find(|file| file.path == path).cloned();
                    self.left_out.extend(file.map(|file| (file, why)));
                }
            }
        }
        if !finished {
            for (path, rows) in [
                ("metrics.parquet", stored.metrics()?),
                ("timings.parquet", stored.timings()?),
            ] {
                self.kept.insert(path.into(), rows.to_parquet()?);
            }
        }
        self.kept.insert(RECORD.into(), stored.read_bytes(RECORD)?);
        Ok(())
    }

    /// Why a file of the run is not exported, if it is not.
    fn why_left_out(&self, path: &str) -> Option<&'static str> {
        if !is_compact(path) {
            return Some("no part of a compact record");
        }
        let corpus = self.record.stored.record.corpus.as_ref();
        if corpus.is_some_and(|corpus| corpus.synthetic) {
            return None;
        }
        let samples = &self.record.samples;
        if let Some(file) = path.strip_prefix("samples/") {
            // Only what is known to be the model's own goes out.
            let generated =
                |it: &crate::sample::Sample| it.file == file && it.origin == Origin::Generated;
            return (!samples.iter().any(generated)).then_some("music of the corpus");
        }
        let holds_an_excerpt =
            path == SAMPLES && samples.iter().any(|it| it.origin == Origin::Real);
        holds_an_excerpt.then_some("it holds the notes of an excerpt of the corpus")
    }

    /// Everything that is exported of the run.
    fn files(&self) -> Result<Files> {
        let mut files = self.kept.clone();
        files.insert(croissant::TABLES.into(), croissant::of_run(self)?);
        if let Some(corpus) = self.corpus() {
            files.insert(croissant::CORPUS.into(), croissant::of_corpus(&corpus)?);
        }
        projector::add(&mut files, &self.record.notes)?;
        files.insert(citation::FILE.into(), citation::TEXT.into());
        files.insert(ro_crate::FILE.into(), ro_crate::of_run(self, &files)?);
        seal(&mut files);
        Ok(files)
    }

    fn corpus(&self) -> Option<CorpusNote> {
        let identity = self.record.stored.record.corpus.as_ref();
        identity.map(CorpusNote::of_record)
    }

    /// What the run is, in a sentence or two.
    fn description(&self) -> String {
        let title = self.record.resolved_text("title").unwrap_or("A run");
        let smoke = match self.record.stored.record.smoke {
            true => " A smoke run: its numbers mean nothing.",
            false => "",
        };
        let question = self.record.resolved_text("question").unwrap_or_default();
        format!("{title}: {question}{smoke}")
    }

    /// When the run ended, or last gave a sign of life.
    fn ended(&self) -> &str {
        let record = &self.record.stored.record;
        record.ended.as_ref().unwrap_or(&record.heartbeat)
    }

    /// The day of [`Self::ended`].
    fn date(&self) -> &str {
        self.ended().split('T').next().unwrap_or_default()
    }

    /// The version of harness that ended the run.
    fn version(&self) -> &str {
        &self.record.stored.record.last_execution().code.version
    }

    /// The address of the code that ended the run.
    fn software(&self) -> String {
        ro_crate::software_address(&self.record.stored.record.last_execution().code)
    }

    fn left_out(&self, prefix: &str) -> Vec<(String, &'static str)> {
        let named =
            |(file, why): &(FileChecksum, &'static str)| (format!("{prefix}{}", file.path), *why);
        self.left_out.iter().map(named).collect()
    }
}

/// Adds the checksums of all files so far.
fn seal(files: &mut Files) {
    let line = |(path, bytes): (&String, &Vec<u8>)| format!("{}  {path}\n", sha256(bytes));
    let sums: String = files.iter().map(line).collect();
    files.insert(SUMS.into(), sums.into_bytes());
}

fn ensure_empty(folder: &Path) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    let mut entries =
        fs::read_dir(folder).with_context(|| format!("failed to list '{}'", folder.display()))?;
    ensure_usage!(
        entries.next().is_none(),
        "'{}' is not empty: name a new folder, so that nothing old is taken for a part of the export",
        folder.display()
    );
    Ok(())
}

/// Writes the files, the checksums last: without them a folder is no export.
fn write(folder: &Path, files: &Files) -> Result<()> {
    let sums = files.get_key_value(SUMS);
    let others = files.iter().filter(|(path, _)| *path != SUMS);
    for (path, bytes) in others.chain(sums) {
        let target = folder.join(path);
        create_folder(target.parent().unwrap_or(folder))?;
        write_atomically(&target, bytes)?;
    }
    Ok(())
}

fn to_json(value: &Value) -> Result<Vec<u8>> {
    Ok((serde_json::to_string_pretty(value)? + "\n").into_bytes())
}
