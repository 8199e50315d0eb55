//! Every file of a report but its pictures, in memory: a function of records and experiment files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;

use super::Places;
use super::described::{Described, described_experiments};
use super::manifest::{Manifest, UsedRecord};
use crate::checksum::sha256;
use crate::claim::Claim;
use crate::corpus::catalogue;
use crate::report::experiment::{ExperimentReport, Kind};
use crate::report::figure::ablations;
use crate::report::group::Group;
use crate::report::markdown;
use crate::report::page::{self, IndexReport, Links};
use crate::report::record::RunRecord;
use crate::report::table::glance;
use crate::report::verdict::{FigureTests, judge};
use crate::report::verdicts_json;
use crate::run::Store;
use crate::sample::Origin;

/// The longest excerpt of real music in a published page: 16 bars of four beats at 120 beats a minute, in seconds.
const LONGEST_EXCERPT: f64 = 32.0;

/// A report's files by path in `reports/`, without its pictures, which are rendered from the SVG files when they are written.
pub(super) struct Built {
    /// The files.
    pub(super) files: BTreeMap<String, Vec<u8>>,
    /// What they are built from.
    pub(super) manifest: Manifest,
    /// Runs and experiment files that could not be read, and why.
    pub(super) broken: Vec<Broken>,
}

/// Builds every file but the pictures. With a manifest, only its records are used.
pub(super) fn build(places: &Places, published: bool, only: Option<&Manifest>) -> Result<Built> {
    let (mut runs, mut broken) = read_runs(places, published, only)?;
    let described = described_experiments(places, &mut broken)?;
    let varies = |run: &RunRecord| {
        let mut files = described.iter();
        let file = files.find(|it| it.name == run.stored.record.experiment);
        run.resolved_text("base").is_some() || file.is_some_and(|it| it.base.is_some())
    };
    runs.iter_mut().filter(|run| varies(run)).for_each(abridge);
    let mut manifest = Manifest {
        form: if published { "published" } else { "local" }.to_owned(),
        records: runs.iter().map(used_record).collect::<Result<_>>()?,
        ..Manifest::default()
    };
    let names: BTreeSet<&str> = runs
        .iter()
        .map(|run| run.stored.record.experiment.as_str())
        .chain(described.iter().map(|it| it.name.as_str()))
        .collect();
    let (mut reports, mut claims_of) = (Vec::new(), Vec::new());
    for name in names {
        let file = described.iter().find(|it| it.name == name);
        let of_experiment = runs
            .iter()
            .filter(|run| run.stored.record.experiment == name);
        let (report, claims, used_file) = experiment_report(name, of_experiment.collect(), file)?;
        if let Some(file) = file.filter(|_| used_file) {
            let entry = (file.file.clone(), file.sha256.clone());
            manifest.experiments.extend([entry]);
        }
        reports.push(report);
        claims_of.push(claims);
    }
    let asked = reports.iter().zip(&claims_of).flat_map(|(report, claims)| {
        let runs = report.group.iter().flat_map(Group::runs);
        runs.map(move |run| (*run, *claims))
    });
    let tests = FigureTests::of(asked);
    for (report, claims) in reports.iter_mut().zip(&claims_of) {
        report.judged = judge(claims, report.group.as_ref(), &tests);
    }

    let mut files = BTreeMap::new();
    for report in reports.iter().filter(|report| report.has_page()) {
        experiment_files(report, published, &mut files)?;
    }
    let ablations = ablations::draw(&reports)?;
    for drawing in &ablations {
        files.insert(
            format!("{}.svg", drawing.name),
            drawing.svg.clone().into_bytes(),
        );
    }
    let unlisted = glance::without_page(&reports);
    let index = IndexReport {
        experiments: &reports,
        ablations: &ablations,
        unlisted: unlisted.as_ref(),
        broken: &broken,
        published,
    };
    let mut text = |path: &str, text: String| files.insert(path.to_owned(), text.into_bytes());
    text("index.html", page::index_page(&index));
    text("README.md", markdown::index(&reports, unlisted.as_ref()));
    text("verdicts.json", verdicts_json::render(&reports));
    Ok(Built {
        files,
        manifest,
        broken,
    })
}

/// One experiment, of its runs and its file, not judged yet; its claims; and whether the file was needed.
///
/// The claims are those of the file where there is one: they are about the paper, and their rules may be newer than a run.
fn experiment_report<'a>(
    name: &'a str,
    mut runs: Vec<&'a RunRecord>,
    file: Option<&'a Described>,
) -> Result<(ExperimentReport<'a>, &'a [Claim], bool)> {
    let group = Group::choose(runs.iter().copied());
    let shown = group.as_ref().map(Group::shown);
    let text = |key: &str| Some(shown?.resolved_text(key)?.to_owned());
    let not_run = file.filter(|_| shown.is_none());
    // A record from before experiments named their base leaves it to the file.
    let in_file = file.and_then(|it| it.base.clone());
    let in_file_claims = file.map(|it| &it.claims[..]).filter(|it| !it.is_empty());
    let used_file = in_file_claims.is_some()
        || not_run.is_some()
        || text("base").is_none() && in_file.is_some();
    let claims: &[Claim] = in_file_claims
        .or(shown.map(|run| &run.claims[..]))
        .unwrap_or(&[]);
    let resolved = shown
        .map(|run| &run.resolved)
        .or(not_run.map(|it| &it.resolved));
    let kind = match text("base").or(in_file) {
        Some(base) => Kind::Ablation(name_of(&base)),
        None if claims.is_empty() => Kind::Other,
        None => Kind::Paper,
    };
    let mut drawings = match &group {
        Some(group) => crate::report::drawings(group)?,
        None => Vec::new(),
    };
    if matches!(kind, Kind::Ablation(_)) {
        // The embeddings themselves are in the record.
        drawings.iter_mut().for_each(|(_, it)| it.more_csv.clear());
    }
    runs.sort_by_key(|run| {
        std::cmp::Reverse((run.stored.record.number, run.stored.record.id.clone()))
    });
    let title = text("title").or(not_run.and_then(|it| it.title.clone()));
    let report = ExperimentReport {
        name,
        kind,
        title: title.unwrap_or_else(|| name.to_owned()),
        question: text("question").or(not_run.and_then(|it| it.question.clone())),
        drawings,
        runs,
        resolved: resolved.cloned().unwrap_or_default(),
        judged: Vec::new(),
        group,
    };
    Ok((report, claims, used_file))
}

/// The name of the experiment in a file.
fn name_of(file: &str) -> String {
    let stem = Path::new(file).file_stem();
    stem.map_or_else(
        || file.to_owned(),
        |stem| stem.to_string_lossy().into_owned(),
    )
}

fn used_record(run: &RunRecord) -> Result<UsedRecord> {
    let origin = if run.stored.published {
        "published"
    } else {
        "local"
    };
    Ok(UsedRecord {
        run: run.name(),
        origin: origin.to_owned(),
        record_sha256: sha256(&run.stored.read_bytes("record.json")?),
    })
}

/// A folder that is not a readable run, and why.
pub(super) type Broken = (String, String);

/// The readable runs, by experiment and number, and the folders that are not.
fn read_runs(
    places: &Places,
    published: bool,
    only: Option<&Manifest>,
) -> Result<(Vec<RunRecord>, Vec<Broken>)> {
    let nowhere = places.records.join("no-local-runs");
    let store = Store::new(
        if published { &nowhere } else { &places.runs },
        &places.records,
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

/// Takes out of an ablation's run what says nothing of the change: corpus figures, speed, and all samples but the first.
fn abridge(run: &mut RunRecord) {
    run.corpus.clear();
    run.timings.retain(|row| row.metric != "tokens_per_second");
    run.samples.truncate(1);
}

/// Takes real music out of a run that is shown in public: all but short excerpts of the corpus whose music is free.
fn keep_published_excerpts(run: &mut RunRecord) {
    let corpus = run.stored.record.corpus.as_ref();
    let free = corpus.is_some_and(|corpus| catalogue::may_show(&corpus.name));
    run.samples.retain(|sample| {
        let end = sample
            .notes
            .iter()
            .map(|note| note.onset() + note.duration())
            .fold(0.0, f64::max);
        sample.origin == Origin::Generated || (free && end <= LONGEST_EXCERPT)
    });
}

/// Whether an experiment of this name can have a folder in the report.
pub(super) fn is_folder_name(name: &str) -> bool {
    let plain = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    plain && !name.is_empty() && !name.starts_with('.') && name != "records"
}

fn experiment_files(
    report: &ExperimentReport,
    published: bool,
    files: &mut BTreeMap<String, Vec<u8>>,
) -> Result<()> {
    let folder = report.name;
    let links = match published {
        true => Links::PublishedReport,
        false => Links::Report,
    };
    let mut put = |name: &str, bytes: Vec<u8>| files.insert(format!("{folder}/{name}"), bytes);
    put(
        "index.html",
        page::experiment_page(report, links).into_bytes(),
    );
    put("README.md", markdown::experiment(report).into_bytes());
    for (_, drawing) in &report.drawings {
        put(
            &format!("figures/{}.svg", drawing.name),
            drawing.svg.clone().into_bytes(),
        );
        if !published {
            put(
                &format!("figures/{}.csv", drawing.name),
                drawing.csv.clone().into_bytes(),
            );
            for (name, csv) in &drawing.more_csv {
                put(&format!("figures/{name}.csv"), csv.clone().into_bytes());
            }
        }
    }
    let shown = report.group.iter().map(Group::shown);
    for (run, sample) in shown.flat_map(|run| run.samples.iter().map(move |it| (run, it))) {
        // A sample whose file is gone keeps its notes and its drawing; the page's link to it is then dead, and the record says so.
        if let Ok(bytes) = run.stored.read_bytes(&format!("samples/{}", sample.file)) {
            put(&format!("samples/{}", sample.file), bytes);
        }
    }
    Ok(())
}
