//! Where runs lie, and how they are found by name.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use super::clock;
use super::code::{CodeVersion, PATCH};
use super::disk::{UNFINISHED, create_folder, sync_folder, write_atomically};
use super::error::RunError;
use super::lock::{LOCK, try_lock, wait_for_lock};
use super::record::{EXPERIMENT, Environment, Execution, FORMAT, RECORD, Record, Status};
use super::stored::StoredRun;
use super::writer::Run;
use crate::checksum::sha256;
use crate::ensure_usage;

/// The runs of this machine, and the records that came with the repository.
#[derive(Debug, Clone)]
pub struct Store {
    runs: PathBuf,
    records: PathBuf,
}

/// What is known of a run before anything is read.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// The experiment's name: the stem of its file.
    pub experiment: String,
    /// The resolved experiment, as YAML.
    pub resolved: String,
    /// The training seed.
    pub seed: u64,
    /// Whether this is a run of `--smoke`.
    pub smoke: bool,
    /// Where it is computed.
    pub environment: Environment,
    /// The arguments of the process, without the program.
    pub command: Vec<String>,
    /// The step to conclude it at, where that is not the end of the training that is planned.
    pub concluded_at: Option<u64>,
}

/// One folder of a store, whether or not its record can be read.
#[derive(Debug)]
pub struct Listed {
    /// The experiment that the folder lies under.
    pub experiment: String,
    /// The folder's name.
    pub id: String,
    /// Whether it lies among the published records.
    pub published: bool,
    /// The run, or why it cannot be read.
    pub run: Result<StoredRun>,
}

impl Listed {
    /// The number in the folder's name, by which runs of one experiment are ordered.
    pub fn number(&self) -> u64 {
        number_of(&self.id)
    }

    fn full_name(&self) -> String {
        format!("{}/{}", self.experiment, self.id)
    }
}

impl Store {
    /// The store with its runs in the folder `runs` and published records in `records`; either may be missing.
    pub fn new(runs: impl Into<PathBuf>, records: impl Into<PathBuf>) -> Self {
        Self {
            runs: runs.into(),
            records: records.into(),
        }
    }

    /// The store of the current directory: `runs/` and `reports/records/`.
    pub fn here() -> Self {
        Self::new("runs", "reports/records")
    }

    /// The folder of published records.
    pub fn records(&self) -> &Path {
        &self.records
    }

    /// Makes the folder of a new run, numbered and locked for this process, whose record says that it is running.
    pub fn create(&self, new: NewRun) -> Result<Run> {
        ensure_is_name(&new.experiment)?;
        let parent = self.runs.join(&new.experiment);
        create_folder(&parent)?;
        let _turn = wait_for_lock(&self.runs.join(".lock"))?;

        let listed = self.list()?;
        let same = listed.iter().filter(|it| it.experiment == new.experiment);
        let number = 1 + same.map(Listed::number).max().unwrap_or(0);
        let local = listed
            .iter()
            .filter(|it| !it.published)
            .filter_map(|it| it.run.as_ref().ok());
        let sequence = 1 + local.map(|run| run.record.sequence).max().unwrap_or(0);
        let nanoseconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos();
        let unique = format!(
            "{}\n{number} {sequence} {nanoseconds} {}",
            new.resolved,
            std::process::id()
        );
        let id = format!("{number:04}-{}", &sha256(unique.as_bytes())[..6]);

        remove_unfinished_runs(&parent)?;
        let (folder, unfinished) = (parent.join(&id), parent.join(format!("{UNFINISHED}{id}")));
        create_folder(&unfinished)?;
        let now = clock::now();
        let record = Record {
            format: FORMAT,
            id: id.clone(),
            experiment: new.experiment,
            number,
            sequence,
            smoke: new.smoke,
            seed: new.seed,
            status: Status::Running,
            reason: None,
            ended: None,
            heartbeat: now.clone(),
            step: 0,
            epoch: 0,
            concluded_at: new.concluded_at,
            corpus: None,
            execution: Execution {
                started: now,
                seconds: 0.0,
                from_step: None,
                first_segment: 1,
                command: new.command,
                environment: new.environment,
                code: CodeVersion::current(),
                changed: None,
            },
            resumed: Vec::new(),
            events: Vec::new(),
            experiment_sha256: Some(sha256(new.resolved.as_bytes())),
            segments: None,
            files: Vec::new(),
            seal: String::new(),
        };
        write_atomically(&unfinished.join(EXPERIMENT), new.resolved.as_bytes())?;
        if !PATCH.is_empty() {
            write_atomically(&unfinished.join("code.patch"), PATCH.as_bytes())?;
        }
        record.write(&unfinished)?;
        let lock = try_lock(&unfinished.join(LOCK))?.ok_or(RunError::Locked { id })?;
        fs::rename(&unfinished, &folder)
            .with_context(|| format!("failed to make '{}'", folder.display()))?;
        sync_folder(&parent).with_context(|| format!("failed to write '{}'", parent.display()))?;
        Run::begin(folder, record, lock)
    }

    /// Every folder of the store: this machine's runs, then published records that it has no run of; each by experiment
    /// and number. A folder that cannot be read is listed as such.
    pub fn list(&self) -> Result<Vec<Listed>> {
        let mut listed = list_folder(&self.runs, false)?;
        let known: HashSet<String> = listed.iter().map(Listed::full_name).collect();
        listed.extend(
            list_folder(&self.records, true)?
                .into_iter()
                .filter(|it| !known.contains(&it.full_name())),
        );
        Ok(listed)
    }

    /// Every published record, whether or not this machine has its run.
    pub fn list_published(&self) -> Result<Vec<Listed>> {
        list_folder(&self.records, true)
    }

    /// The run called `name`: an id, the beginning of one or of its hash, `experiment/id`, `latest`, `EXPERIMENT@N` (the
    /// N-th newest), or the path of a run's folder. Runs of this machine come before published records.
    pub fn find(&self, name: &str) -> Result<StoredRun> {
        let as_path = Path::new(name);
        let is_run = |file| as_path.join(file).is_file();
        if name.contains('/') && (is_run(RECORD) || is_run(EXPERIMENT)) {
            return StoredRun::open(as_path, as_path.starts_with(&self.records));
        }
        let unknown = || RunError::Unknown {
            name: name.to_string(),
            searched: vec![self.runs.clone(), self.records.clone()],
        };
        let mut listed = self.list()?;
        let chosen = if name == "latest" {
            newest(&listed)
        } else if let Some((experiment, rank)) = name.split_once('@') {
            let rank: usize = rank.parse().map_err(|_| unknown())?;
            let mut runs: Vec<usize> = (0..listed.len())
                .filter(|at| listed[*at].experiment == experiment)
                .collect();
            runs.sort_by_key(|at| {
                (
                    listed[*at].published,
                    std::cmp::Reverse(listed[*at].number()),
                )
            });
            rank.checked_sub(1).and_then(|rank| runs.get(rank).copied())
        } else {
            choose_by_prefix(&listed, name)?
        };
        listed.swap_remove(chosen.ok_or_else(unknown)?).run
    }
}

/// An error unless `name` can be the name of an experiment, which is that of a folder.
pub fn ensure_is_name(name: &str) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    ensure_usage!(
        name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(is_plain)
            && name != REPORT,
        "'{name}' cannot name an experiment: a name has letters, digits, '_', '-' and '.', begins with a letter or digit, and is not '{REPORT}'"
    );
    Ok(())
}

/// The run that was started last, among those of this machine if it has any. A run that cannot be read may be it, unless a later one
/// of its experiment can: then nobody knows, and it is chosen, so that its error is told.
fn newest(listed: &[Listed]) -> Option<usize> {
    let is_last = |at: usize| {
        let later = listed.get(at + 1);
        later.is_none_or(|it| it.experiment != listed[at].experiment || it.published)
    };
    let key = |at: &usize| {
        let run = &listed[*at];
        let record = run.run.as_ref().ok().map(|run| &run.record);
        let order = record.map(|it| (it.sequence, it.number));
        (!run.published, record.is_none(), order)
    };
    (0..listed.len())
        .filter(|at| listed[*at].run.is_ok() || is_last(*at) && looks_like_a_run(&listed[*at].id))
        .max_by_key(key)
}

/// Whether a folder's name is one that harness gives to runs.
fn looks_like_a_run(id: &str) -> bool {
    id.split_once('-').is_some_and(|(number, hash)| {
        number.parse::<u64>().is_ok()
            && hash.len() == 6
            && hash.bytes().all(|it| it.is_ascii_hexdigit())
    })
}

fn choose_by_prefix(listed: &[Listed], name: &str) -> Result<Option<usize>> {
    if name.is_empty() {
        return Ok(None);
    }
    let candidates = |fits: &dyn Fn(&Listed) -> bool| -> Vec<usize> {
        (0..listed.len()).filter(|at| fits(&listed[*at])).collect()
    };
    let exact = candidates(&|it| it.id == name || it.full_name() == name);
    let begun = candidates(&|it| {
        let hash = it.id.split_once('-').map_or("", |(_, hash)| hash);
        it.id.starts_with(name)
            || it.full_name().starts_with(name) && name.contains('/')
            || hash.starts_with(name)
    });
    match if exact.is_empty() { begun } else { exact }[..] {
        [] => Ok(None),
        [only] => Ok(Some(only)),
        ref many => {
            let candidates = many.iter().map(|at| listed[*at].full_name()).collect();
            Err(RunError::Ambiguous {
                name: name.to_string(),
                candidates,
            }
            .into())
        }
    }
}

fn number_of(id: &str) -> u64 {
    id.split('-')
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// The folders `root/<experiment>/<id>`, sorted by experiment and number.
fn list_folder(root: &Path, published: bool) -> Result<Vec<Listed>> {
    let mut listed = Vec::new();
    // A local report lies among the runs and is none.
    let experiments = folders_in(root)?
        .into_iter()
        .filter(|it| published || it != REPORT);
    for experiment in experiments {
        for id in folders_in(&root.join(&experiment))? {
            let run = StoredRun::open(&root.join(&experiment).join(&id), published);
            listed.push(Listed {
                experiment: experiment.clone(),
                id,
                published,
                run,
            });
        }
    }
    listed.sort_by(|a, b| {
        (&a.experiment, a.number(), &a.id).cmp(&(&b.experiment, b.number(), &b.id))
    });
    Ok(listed)
}

/// The folder among the runs that holds the local report.
const REPORT: &str = "report";

/// The names of the folders in `folder` that do not begin with a dot; none if it is missing.
fn folders_in(folder: &Path) -> Result<Vec<String>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in
        fs::read_dir(folder).with_context(|| format!("failed to list '{}'", folder.display()))?
    {
        let entry = entry.with_context(|| format!("failed to list '{}'", folder.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !name.starts_with('.') {
            names.push(name);
        }
    }
    Ok(names)
}

/// Removes the folders of runs whose making was cut short. The caller holds the store's lock, so nobody is making one.
fn remove_unfinished_runs(parent: &Path) -> Result<()> {
    for entry in
        fs::read_dir(parent).with_context(|| format!("failed to list '{}'", parent.display()))?
    {
        let entry = entry.with_context(|| format!("failed to list '{}'", parent.display()))?;
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            fs::remove_dir_all(entry.path())
                .with_context(|| format!("failed to remove '{}'", entry.path().display()))?;
        }
    }
    Ok(())
}
