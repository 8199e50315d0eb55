//! `reports/`: the pages, figures and tables of all runs, their manifest, and the check whether they are stale.
//!
//! ```text
//! reports/index.html, and verdicts.md, conclusion.md, experiments.md   all experiments at a glance
//! reports/<experiment>/index.html                      one experiment
//! reports/<experiment>/figures/*.{svg,png,csv}         its figures, and what is drawn in them
//! reports/<experiment>/tables/*.md, samples/*.mid      its tables; its music
//! reports/manifest.json                                the records used and the checksum of every file written
//! reports/records/                                     published records: read here, never written
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::figure::{Drawing, Section, png};
use super::finding;
use super::page::{self, ExperimentReport, IndexReport};
use super::record::RunRecord;
use super::table::{TABLES, Table, claims, hyperparameters};
use crate::checksum::sha256;
use crate::claim::Claim;
use crate::run::{Store, write_atomically};
use crate::sample::Origin;

/// The manifest's name.
pub const MANIFEST: &str = "manifest.json";

/// The longest excerpt of real music in a published page: 16 bars of four beats at 120 beats a minute, in seconds.
const LONGEST_EXCERPT: f64 = 32.0;

/// Where a report reads and writes.
#[derive(Debug, Clone)]
pub struct Places {
    /// This machine's runs.
    pub runs: PathBuf,
    /// The experiment files, for what was not run.
    pub experiments: PathBuf,
    /// The report; published records lie in its `records`.
    pub reports: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            runs: "runs".into(),
            experiments: "experiments".into(),
            reports: "reports".into(),
        }
    }
}

impl Places {
    /// The folder of published records.
    pub fn records(&self) -> PathBuf {
        self.reports.join("records")
    }
}

/// What a report was built from, and what came of it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Manifest {
    /// `published` or `local`.
    pub form: String,
    /// The records used, by experiment and id.
    pub records: Vec<UsedRecord>,
    /// The experiment files used, by path and SHA-256.
    pub experiments: BTreeMap<String, String>,
    /// The SHA-256 of every file written, by path in the report.
    pub files: BTreeMap<String, String>,
}

/// One record that a report was built from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedRecord {
    /// `<experiment>/<id>`.
    pub run: String,
    /// `published` or `local`.
    pub origin: String,
    /// SHA-256 of `record.json`, which holds those of all other files.
    pub record_sha256: String,
}

/// A report's files in memory, by path in `reports/`; PNG files are rendered from the SVG files when they are written.
struct Built {
    files: BTreeMap<String, Vec<u8>>,
    manifest: Manifest,
}

/// What writing a report did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Experiments that have a page.
    pub experiments: usize,
    /// Records used.
    pub records: usize,
    /// Files in the report.
    pub files: usize,
    /// Runs and experiment files that could not be read, and why.
    pub broken: Vec<(String, String)>,
}

/// Regenerates the report from local runs and published records, or from the latter alone.
///
/// Files of an earlier report that are no longer part of it are removed; nothing else is.
pub fn write(places: &Places, published: bool) -> Result<Written> {
    let (built, broken) = build(places, published, None)?;
    let earlier = read_manifest(places).unwrap_or_default();
    let mut manifest = built.manifest;
    for (path, bytes) in &built.files {
        put(places, path, bytes)?;
        manifest.files.insert(path.clone(), sha256(bytes));
        if let Some(stem) = path.strip_suffix(".svg") {
            let picture = format!("{stem}.png");
            let checksum = match unchanged_picture(places, &earlier, path, &picture, bytes) {
                Some(checksum) => checksum,
                None => {
                    let bytes = render(path, bytes)?;
                    put(places, &picture, &bytes)?;
                    sha256(&bytes)
                }
            };
            manifest.files.insert(picture, checksum);
        }
    }
    for path in earlier
        .files
        .keys()
        .filter(|path| !manifest.files.contains_key(*path) && is_ours(path))
    {
        let path = places.reports.join(path);
        if path.is_file() {
            fs::remove_file(&path)
                .with_context(|| format!("failed to remove '{}'", path.display()))?;
        }
    }
    put(places, MANIFEST, &manifest_bytes(&manifest)?)?;
    let experiments = manifest
        .files
        .keys()
        .filter(|path| path.ends_with("/index.html"))
        .count();
    Ok(Written {
        experiments,
        records: manifest.records.len(),
        files: manifest.files.len() + 1,
        broken,
    })
}

/// Rebuilds the report from exactly the records of its manifest and names what is absent or differs; nothing if it is fresh.
pub fn check(places: &Places) -> Result<Vec<String>> {
    let path = places.reports.join(MANIFEST);
    let manifest = read_manifest(places).with_context(|| {
        format!(
            "failed to check the report: `harness report` writes '{}'",
            path.display()
        )
    })?;
    let mut stale = Vec::new();
    let (built, _) = build(places, manifest.form == "published", Some(&manifest))?;
    for used in &manifest.records {
        match built
            .manifest
            .records
            .iter()
            .find(|record| record.run == used.run)
        {
            None => stale.push(format!("record {} is absent", used.run)),
            Some(record) if record != used => {
                stale.push(format!("record {} is not the one that was used", used.run))
            }
            Some(_) => {}
        }
    }
    for (file, checksum) in &built.manifest.experiments {
        if manifest.experiments.get(file) != Some(checksum) {
            stale.push(format!(
                "experiment file {file} is not the one that was used"
            ));
        }
    }
    stale.extend(
        manifest
            .experiments
            .keys()
            .filter(|file| !built.manifest.experiments.contains_key(*file))
            .map(|file| format!("experiment file {file} is absent or was run since")),
    );
    let mut expected = built.files;
    let pictures: Vec<(String, Vec<u8>)> = expected
        .iter()
        .filter_map(|(path, bytes)| {
            Some((
                format!("{}.png", path.strip_suffix(".svg")?),
                render(path, bytes),
            ))
        })
        .map(|(path, bytes)| Ok((path, bytes?)))
        .collect::<Result<_>>()?;
    expected.extend(pictures);
    for (path, bytes) in &expected {
        match fs::read(places.reports.join(path)) {
            Ok(found) if found == *bytes => {}
            Ok(_) => stale.push(format!("{path} differs")),
            Err(_) => stale.push(format!("{path} is absent")),
        }
    }
    stale.extend(
        manifest
            .files
            .keys()
            .filter(|path| !expected.contains_key(*path))
            .map(|path| format!("{path} is no longer part of the report")),
    );
    stale.sort();
    Ok(stale)
}

/// Copies the compact records of the named runs into `reports/records/`; returns the folders made.
pub fn publish(places: &Places, names: &[String]) -> Result<Vec<PathBuf>> {
    let store = Store::new(&places.runs, places.records());
    names
        .iter()
        .map(|name| store.find(name)?.publish(&places.records()))
        .collect()
}

/// Builds every file but the pictures. With a manifest, only its records are used.
fn build(
    places: &Places,
    published: bool,
    only: Option<&Manifest>,
) -> Result<(Built, Vec<(String, String)>)> {
    let (runs, mut broken) = read_runs(places, published, only)?;
    let described = described_experiments(places, &mut broken)?;
    let with_runs: BTreeSet<String> = runs
        .iter()
        .map(|run| run.stored.record.experiment.clone())
        .collect();
    let names: BTreeSet<String> = with_runs
        .iter()
        .cloned()
        .chain(described.iter().map(|it| it.name.clone()))
        .collect();
    let mut manifest = Manifest {
        form: if published { "published" } else { "local" }.to_owned(),
        ..Manifest::default()
    };
    let shown: BTreeMap<&str, &RunRecord> = names
        .iter()
        .filter_map(|name| Some((name.as_str(), choose(&runs, name)?)))
        .collect();
    let drawn: BTreeMap<&str, Vec<(Section, Drawing)>> = shown
        .iter()
        .map(|(name, run)| Ok((*name, super::drawings(run)?)))
        .collect::<Result<_>>()?;

    let mut reports = Vec::new();
    for name in &names {
        let run = shown.get(name.as_str()).copied();
        let file = described
            .iter()
            .find(|it| it.name == *name)
            .filter(|_| run.is_none());
        let claims: &[Claim] = run
            .map(|run| run.claims.as_slice())
            .or(file.map(|it| it.claims.as_slice()))
            .unwrap_or_default();
        if let Some(file) = file {
            manifest
                .experiments
                .insert(file.file.clone(), file.sha256.clone());
        }
        let title = run
            .and_then(|run| run.resolved_text("title").map(str::to_owned))
            .or(file.and_then(|it| it.title.clone()));
        let mut of_experiment: Vec<&RunRecord> = runs
            .iter()
            .filter(|run| run.stored.record.experiment == *name)
            .collect();
        of_experiment.sort_by_key(|run| {
            std::cmp::Reverse((run.stored.record.number, run.stored.record.id.clone()))
        });
        reports.push(ExperimentReport {
            name,
            title: title.unwrap_or_else(|| name.clone()),
            question: run
                .and_then(|run| run.resolved_text("question").map(str::to_owned))
                .or(file.and_then(|it| it.question.clone())),
            shown: run,
            drawings: drawn
                .get(name.as_str())
                .map(Vec::as_slice)
                .unwrap_or_default(),
            runs: of_experiment,
            judged: claims
                .iter()
                .map(|claim| claims::judge(claim, run))
                .collect(),
        });
    }
    for run in &runs {
        let bytes = run.stored.read_bytes("record.json")?;
        let name = format!("{}/{}", run.stored.record.experiment, run.stored.record.id);
        let origin = if run.stored.published {
            "published"
        } else {
            "local"
        };
        manifest.records.push(UsedRecord {
            run: name,
            origin: origin.to_owned(),
            record_sha256: sha256(&bytes),
        });
    }
    let mut files = BTreeMap::new();
    for report in &reports {
        experiment_files(report, &mut files)?;
    }
    let index = IndexReport {
        experiments: &reports,
        broken: &broken,
        published,
    };
    files.insert(
        "index.html".to_owned(),
        page::index_page(&index).into_bytes(),
    );
    files.insert(
        "experiments.md".to_owned(),
        page::glance_table(&index).to_markdown().into_bytes(),
    );
    if let Some(table) = page::conclusion_table(&index) {
        files.insert("conclusion.md".to_owned(), table.to_markdown().into_bytes());
    }
    files.insert(
        "verdicts.md".to_owned(),
        verdicts_markdown(&reports).into_bytes(),
    );
    Ok((Built { files, manifest }, broken))
}

/// A folder that is not a readable run, and why.
type Broken = (String, String);

/// The readable runs, by experiment and number, and the folders that are not.
fn read_runs(
    places: &Places,
    published: bool,
    only: Option<&Manifest>,
) -> Result<(Vec<RunRecord>, Vec<Broken>)> {
    let nowhere = places.reports.join("no-local-runs");
    let store = Store::new(
        if published { &nowhere } else { &places.runs },
        places.records(),
    );
    let (mut runs, mut broken) = (Vec::new(), Vec::new());
    for listed in store.list()? {
        let name = format!("{}/{}", listed.experiment, listed.id);
        if only.is_some_and(|manifest| {
            listed.run.is_ok() && !manifest.records.iter().any(|used| used.run == name)
        }) {
            continue;
        }
        match listed.run {
            Ok(stored) if is_folder_name(&stored.record.experiment) => {
                runs.push(RunRecord::of(stored))
            }
            Ok(stored) => broken.push((
                name,
                format!(
                    "'{}' cannot be the name of a report's folder",
                    stored.record.experiment
                ),
            )),
            Err(error) => broken.push((name, format!("{error:#}"))),
        }
    }
    if published {
        runs.iter_mut().for_each(keep_published_excerpts);
    }
    Ok((runs, broken))
}

/// Takes real music out of a run that is shown in public: all but short excerpts of the corpus whose music is free.
fn keep_published_excerpts(run: &mut RunRecord) {
    let free = run
        .stored
        .record
        .corpus
        .as_ref()
        .is_some_and(|corpus| corpus.name == "muse" || corpus.synthetic);
    run.samples.retain(|sample| {
        let end = sample
            .notes
            .iter()
            .map(|note| note.onset() + note.duration())
            .fold(0.0, f64::max);
        sample.origin == Origin::Generated || (free && end <= LONGEST_EXCERPT)
    });
}

/// The run that an experiment's page shows: the newest that counts, else the newest finished, else the newest.
fn choose<'a>(runs: &'a [RunRecord], experiment: &str) -> Option<&'a RunRecord> {
    let of = runs
        .iter()
        .filter(|run| run.stored.record.experiment == experiment);
    of.max_by_key(|run| {
        (
            run.counts(),
            run.state == crate::run::State::Finished,
            run.stored.record.number,
        )
    })
}

/// An experiment file, for what was not run.
struct Described {
    name: String,
    file: String,
    sha256: String,
    title: Option<String>,
    question: Option<String>,
    claims: Vec<Claim>,
}

/// The files `experiments/*.yaml`; what of them cannot be read is added to `broken`.
fn described_experiments(
    places: &Places,
    broken: &mut Vec<(String, String)>,
) -> Result<Vec<Described>> {
    let Ok(entries) = fs::read_dir(&places.experiments) else {
        return Ok(Vec::new());
    };
    let mut described = Vec::new();
    for entry in entries {
        let path = entry
            .with_context(|| format!("failed to list '{}'", places.experiments.display()))?
            .path();
        let Some(name) = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .filter(|name| is_folder_name(name))
        else {
            continue;
        };
        if path.extension().is_none_or(|ending| ending != "yaml") {
            continue;
        }
        let bytes =
            fs::read(&path).with_context(|| format!("failed to read '{}'", path.display()))?;
        let file = format!("experiments/{name}.yaml");
        let value: Value = match serde_yaml::from_slice(&bytes) {
            Ok(value) => value,
            Err(error) => {
                broken.push((file, format!("not YAML: {error}")));
                continue;
            }
        };
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let claims = value.get("claims").filter(|claims| !claims.is_null());
        let claims = match claims.cloned().map(serde_json::from_value).transpose() {
            Ok(claims) => claims,
            Err(error) => {
                broken.push((file.clone(), format!("its claims cannot be read: {error}")));
                None
            }
        };
        described.push(Described {
            name: name.to_owned(),
            file,
            sha256: sha256(&bytes),
            title: text("title"),
            question: text("question"),
            claims: claims.unwrap_or_default(),
        });
    }
    described.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(described)
}

/// Whether an experiment of this name can have a folder in the report.
fn is_folder_name(name: &str) -> bool {
    let plain = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    plain && !name.is_empty() && !name.starts_with('.') && name != "records"
}

fn experiment_files(
    report: &ExperimentReport,
    files: &mut BTreeMap<String, Vec<u8>>,
) -> Result<()> {
    let folder = report.name;
    files.insert(
        format!("{folder}/index.html"),
        page::experiment_page(report).into_bytes(),
    );
    let mut table = |table: Option<Table>| {
        if let Some(table) = table {
            files.insert(
                format!("{folder}/tables/{}.md", table.name),
                table.to_markdown().into_bytes(),
            );
        }
    };
    table(claims::fill(&report.judged));
    let Some(run) = report.shown else {
        return Ok(());
    };
    TABLES.iter().for_each(|kind| table((kind.fill)(run)));
    table(hyperparameters::fill(run));
    for (_, drawing) in report.drawings {
        let stem = format!("{folder}/figures/{}", drawing.name);
        files.insert(format!("{stem}.svg"), drawing.svg.clone().into_bytes());
        files.insert(format!("{stem}.csv"), drawing.csv.clone().into_bytes());
        for (name, csv) in &drawing.more_csv {
            files.insert(
                format!("{folder}/figures/{name}.csv"),
                csv.clone().into_bytes(),
            );
        }
    }
    for sample in &run.samples {
        // A sample whose file is gone keeps its notes and its drawing; the page's link to it is then dead, and the record says so.
        if let Ok(bytes) = run.stored.read_bytes(&format!("samples/{}", sample.file)) {
            files.insert(format!("{folder}/samples/{}", sample.file), bytes);
        }
    }
    Ok(())
}

fn verdicts_markdown(reports: &[ExperimentReport]) -> String {
    let mut markdown = String::from("# The verdict on every claim\n");
    for report in reports {
        if let Some(table) = claims::fill(&report.judged) {
            markdown.push_str(&format!(
                "\n## {}\n\n{}: {}.\n\n{}",
                report.title,
                report.name,
                claims::tally(&report.judged),
                table.to_markdown()
            ));
            let findings = report.findings();
            if !findings.is_empty() {
                markdown.push_str(&format!("\n{}", finding::to_markdown(&findings)));
            }
        }
    }
    markdown
}

/// The checksum of a picture that need not be rendered again: its SVG and it are as they were written last.
fn unchanged_picture(
    places: &Places,
    earlier: &Manifest,
    drawing: &str,
    picture: &str,
    svg: &[u8],
) -> Option<String> {
    let known = earlier.files.get(picture)?;
    let fresh = earlier.files.get(drawing)? == &sha256(svg)
        && *known == sha256(&fs::read(places.reports.join(picture)).ok()?);
    fresh.then(|| known.clone())
}

fn render(path: &str, svg: &[u8]) -> Result<Vec<u8>> {
    let svg = std::str::from_utf8(svg).context("an SVG is text")?;
    png::render(svg).with_context(|| format!("failed to draw '{path}' as PNG"))
}

/// Writes a file of the report unless it is there already.
fn put(places: &Places, path: &str, bytes: &[u8]) -> Result<()> {
    if !is_ours(path) {
        bail!("failed to write '{path}': it is not a place of the report");
    }
    let path = places.reports.join(path);
    if fs::read(&path).is_ok_and(|found| found == bytes) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| format!("failed to make '{}'", folder.display()))?;
    write_atomically(&path, bytes)
}

/// Whether a path lies in the report and not among the records, whatever a manifest or a sample's name says.
fn is_ours(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    !path.is_empty()
        && parts[0] != "records"
        && parts
            .iter()
            .all(|part| !part.is_empty() && *part != "." && *part != "..")
}

/// The manifest of the report that is there.
pub fn read_manifest(places: &Places) -> Result<Manifest> {
    let path = places.reports.join(MANIFEST);
    let text = fs::read_to_string(&path)
        .with_context(|| format!("failed to read '{}'", path.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("failed to read '{}' as a manifest", path.display()))
}

fn manifest_bytes(manifest: &Manifest) -> Result<Vec<u8>> {
    Ok((serde_json::to_string_pretty(manifest)? + "\n").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::{Options, make_run};

    fn places(folder: &Path) -> Places {
        Places {
            runs: folder.join("runs"),
            experiments: folder.join("experiments"),
            reports: folder.join("reports"),
        }
    }

    fn store(places: &Places) -> Store {
        Store::new(&places.runs, places.records())
    }

    fn bytes_of(places: &Places) -> BTreeMap<String, Vec<u8>> {
        let manifest = read_manifest(places).unwrap();
        let read = |path: &String| fs::read(places.reports.join(path)).unwrap();
        manifest
            .files
            .keys()
            .map(|path| (path.clone(), read(path)))
            .collect()
    }

    #[test]
    fn building_twice_gives_the_same_bytes_and_the_check_names_what_is_stale() {
        let folder = tempfile::tempdir().unwrap();
        let places = places(folder.path());
        make_run(&store(&places), "first", Options::default());
        make_run(
            &store(&places),
            "second",
            Options {
                chords: true,
                ..Options::default()
            },
        );
        let written = write(&places, false).unwrap();
        assert_eq!((written.experiments, written.records), (2, 2));
        let before = bytes_of(&places);
        fs::remove_dir_all(&places.reports).unwrap();
        write(&places, false).unwrap();
        assert_eq!(before, bytes_of(&places));
        assert_eq!(check(&places).unwrap(), [] as [&str; 0]);
        fs::write(places.reports.join("first/tables/corpus.md"), "other").unwrap();
        fs::remove_file(
            places
                .reports
                .join("second/figures/tsne-one-note-chords.png"),
        )
        .unwrap();
        assert_eq!(
            check(&places).unwrap(),
            [
                "first/tables/corpus.md differs",
                "second/figures/tsne-one-note-chords.png is absent"
            ]
        );
        // A later run is not part of what the manifest lists, so it does not make the report stale.
        write(&places, false).unwrap();
        make_run(&store(&places), "third", Options::default());
        assert_eq!(check(&places).unwrap(), [] as [&str; 0]);
        fs::remove_dir_all(places.runs.join("first")).unwrap();
        assert!(
            check(&places)
                .unwrap()
                .iter()
                .any(|line| line.starts_with("record first/") && line.ends_with("is absent"))
        );
    }

    #[test]
    fn published_reports_use_published_records_alone() {
        let folder = tempfile::tempdir().unwrap();
        let places = places(folder.path());
        let run = make_run(&store(&places), "first", Options::default());
        make_run(&store(&places), "second", Options::default());
        let id = run.file_name().unwrap().to_str().unwrap().to_owned();
        publish(&places, &[id]).unwrap();
        let written = write(&places, true).unwrap();
        assert_eq!((written.experiments, written.records), (1, 1));
        let page = fs::read_to_string(places.reports.join("first/index.html")).unwrap();
        assert!(
            !page.contains("Real excerpt"),
            "a real excerpt of an unknown corpus is published"
        );
        assert_eq!(check(&places).unwrap(), [] as [&str; 0]);
        // Without the local runs the published form is the same.
        let before = bytes_of(&places);
        fs::remove_dir_all(&places.runs).unwrap();
        write(&places, true).unwrap();
        assert_eq!(before, bytes_of(&places));
    }

    #[test]
    fn missing_and_broken_runs_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        let places = places(folder.path());
        fs::create_dir_all(&places.experiments).unwrap();
        let file = "title: Never run\nclaims:\n- {id: a, says: words, place: Data, value: 5, metric: corpus.tokens}\n";
        fs::write(places.experiments.join("never.yaml"), file).unwrap();
        fs::write(places.experiments.join("no_yaml.yaml"), "title: [").unwrap();
        let file = "title: Odd\nclaims:\n- {id: a, claims: words}\n";
        fs::write(places.experiments.join("odd.yaml"), file).unwrap();
        let run = make_run(&store(&places), "broken", Options::default());
        fs::write(run.join("tsne.parquet"), "not a table").unwrap();
        make_run(
            &store(&places),
            "died",
            Options {
                unfinished: true,
                ..Options::default()
            },
        );
        let lost = make_run(&store(&places), "lost", Options::default());
        fs::write(lost.join("record.json"), "{").unwrap();
        let written = write(&places, false).unwrap();
        assert_eq!(written.broken.len(), 3);
        let read = |path: &str| fs::read_to_string(places.reports.join(path)).unwrap();
        assert!(read("index.html").contains("Could not be read"));
        assert!(read("index.html").contains("experiments/no_yaml.yaml"));
        assert!(read("index.html").contains("its claims cannot be read"));
        assert!(read("broken/index.html").contains("tsne.parquet cannot be read"));
        assert!(read("died/index.html").contains("process ended without a word"));
        assert!(
            read("verdicts.md").contains(
                "| words | Data | 5 | – | equal (corpus.tokens) | not run (no finished run) | – |"
            ),
            "{}",
            read("verdicts.md")
        );
    }

    #[test]
    fn smoke_and_synthetic_runs_never_fill_the_table() {
        let folder = tempfile::tempdir().unwrap();
        let places = places(folder.path());
        make_run(
            &store(&places),
            "smoke",
            Options {
                smoke: true,
                ..Options::default()
            },
        );
        make_run(
            &store(&places),
            "made",
            Options {
                synthetic: true,
                ..Options::default()
            },
        );
        make_run(&store(&places), "real", Options::default());
        write(&places, false).unwrap();
        let tally = |name: &str| {
            let page = fs::read_to_string(
                places
                    .reports
                    .join(name)
                    .join("tables/paper-against-measured.md"),
            )
            .unwrap();
            (
                page.matches("| reproduced |").count(),
                page.matches("not run").count(),
                page.matches("the corpus is synthetic").count(),
            )
        };
        assert_eq!(tally("smoke"), (0, 6, 0));
        assert_eq!(tally("made"), (0, 0, 5));
        assert_eq!(tally("real"), (3, 1, 0));
    }

    #[test]
    fn no_path_leaves_the_report() {
        assert!(is_ours("a/figures/b.svg") && is_ours("index.html"));
        assert!(
            !is_ours("../a")
                && !is_ours("a/../b")
                && !is_ours("records/a")
                && !is_ours("/a")
                && !is_ours("")
        );
    }
}
