//! A report: the pages, figures and tables of runs, their manifest, and the check whether they are stale.
//!
//! ```text
//! index.html, README.md, verdicts.json       all experiments at a glance, for a browser, for GitHub and for programs
//! <experiment>/index.html, README.md         one experiment that has a finished run at full size
//! <experiment>/figures/*.svg, samples/*.mid  its figures; its music
//! <experiment>/figures/*.{png,csv}           in the local form: the figures as pictures, and what is drawn in them
//! manifest.json                              the records used and the checksum of every file written
//! ```
//!
//! The published form is written to `reports/`, beside the published records, from these alone. The local form is written to
//! `runs/report/` from local runs and published records.

mod build;
mod described;
mod manifest;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::figure::png;
use crate::checksum::sha256;
use crate::run::{Store, write_atomically};
use build::build;
pub use manifest::{MANIFEST, Manifest, UsedRecord};

/// Where a report reads and writes.
#[derive(Debug, Clone)]
pub struct Places {
    /// This machine's runs.
    pub runs: PathBuf,
    /// The experiment files, for what was not run.
    pub experiments: PathBuf,
    /// The published records.
    pub records: PathBuf,
    /// Where the report is written.
    pub output: PathBuf,
}

impl Places {
    /// Those of the current directory. The output is `reports` in the published form, else `runs/report`.
    pub fn here(published: bool) -> Self {
        let output = if published { "reports" } else { "runs/report" };
        Self {
            runs: "runs".into(),
            experiments: "experiments".into(),
            records: "reports/records".into(),
            output: output.into(),
        }
    }
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
    let built = build(places, published, None)?;
    let earlier = Manifest::read(&places.output).unwrap_or_default();
    let mut manifest = built.manifest;
    for (path, bytes) in &built.files {
        put(places, path, bytes)?;
        manifest.files.insert(path.clone(), sha256(bytes));
        if let Some(picture) = picture_of(path, published) {
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
        let path = places.output.join(path);
        if path.is_file() {
            fs::remove_file(&path)
                .with_context(|| format!("failed to remove '{}'", path.display()))?;
        }
    }
    put(places, MANIFEST, &manifest.to_bytes()?)?;
    let experiments = manifest
        .files
        .keys()
        .filter(|path| path.ends_with("/index.html"))
        .count();
    Ok(Written {
        experiments,
        records: manifest.records.len(),
        files: manifest.files.len() + 1,
        broken: built.broken,
    })
}

/// Rebuilds the report from exactly the records of its manifest and names what is absent or differs; nothing if it is fresh.
pub fn check(places: &Places) -> Result<Vec<String>> {
    let path = places.output.join(MANIFEST);
    let manifest = Manifest::read(&places.output).with_context(|| {
        format!(
            "failed to check the report: `harness report` writes '{}'",
            path.display()
        )
    })?;
    let mut stale = Vec::new();
    let published = manifest.form == "published";
    let built = build(places, published, Some(&manifest))?;
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
            let picture = picture_of(path, published)?;
            Some(render(path, bytes).map(|bytes| (picture, bytes)))
        })
        .collect::<Result<_>>()?;
    expected.extend(pictures);
    for (path, bytes) in &expected {
        match fs::read(places.output.join(path)) {
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
    let store = Store::new(&places.runs, &places.records);
    names
        .iter()
        .map(|name| store.find(name)?.publish(&places.records))
        .collect()
}

/// The PNG that a file of the report is rendered to: of an SVG, but in the published form none is, which is kept small for a repository.
fn picture_of(path: &str, published: bool) -> Option<String> {
    let stem = path.strip_suffix(".svg").filter(|_| !published)?;
    Some(format!("{stem}.png"))
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
        && *known == sha256(&fs::read(places.output.join(picture)).ok()?);
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
    let path = places.output.join(path);
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
