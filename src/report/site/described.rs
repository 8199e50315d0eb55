//! Experiment files, for what was not run and for what an ablation changes.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Places;
use super::build::{Broken, is_folder_name};
use crate::checksum::sha256;
use crate::claim::Claim;
use crate::experiment::Experiment;

/// An experiment file.
pub(super) struct Described {
    /// The experiment's name: the stem of its file.
    pub(super) name: String,
    /// The file, as the manifest names it.
    pub(super) file: String,
    /// Its checksum.
    pub(super) sha256: String,
    /// The experiment's title.
    pub(super) title: Option<String>,
    /// What it asks.
    pub(super) question: Option<String>,
    /// The file of the experiment that it changes something of.
    pub(super) base: Option<String>,
    /// The experiment with every default spelled out, or as it is written if it is no valid experiment.
    pub(super) resolved: Value,
    /// The paper's claims that it tests.
    pub(super) claims: Vec<Claim>,
}

/// The files `experiments/*.yaml` and `experiments/ablations/*.yaml`, by name; what of them cannot be read is added to `broken`.
pub(super) fn described_experiments(
    places: &Places,
    broken: &mut Vec<Broken>,
) -> Result<Vec<Described>> {
    let mut described = Vec::new();
    for folder in ["", "ablations/"] {
        let Ok(entries) = fs::read_dir(places.experiments.join(folder)) else {
            continue;
        };
        for entry in entries {
            let path = entry
                .with_context(|| format!("failed to list '{}'", places.experiments.display()))?
                .path();
            let is_yaml = path.extension().is_some_and(|ending| ending == "yaml");
            let name = path.file_stem().and_then(|stem| stem.to_str());
            if let Some(name) = name.filter(|name| is_yaml && is_folder_name(name)) {
                let file = format!("experiments/{folder}{name}.yaml");
                described.extend(describe(name, file, &path, broken)?);
            }
        }
    }
    described.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(described)
}

fn describe(
    name: &str,
    file: String,
    path: &Path,
    broken: &mut Vec<Broken>,
) -> Result<Option<Described>> {
    let bytes = fs::read(path).with_context(|| format!("failed to read '{}'", path.display()))?;
    // A file may be sound though its corpus or its base is not at hand: then it speaks for itself alone.
    let resolved = match Experiment::load(path, &[]) {
        Ok(experiment) => serde_yaml::from_str(&experiment.to_yaml()),
        Err(_) => serde_yaml::from_slice(&bytes),
    };
    let resolved: Value = match resolved {
        Ok(value) => value,
        Err(error) => {
            broken.push((file, format!("not YAML: {error}")));
            return Ok(None);
        }
    };
    let text = |key: &str| {
        let value = resolved.get(key).and_then(Value::as_str);
        value.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let claims = resolved.get("claims").filter(|claims| !claims.is_null());
    let claims = match claims.cloned().map(serde_json::from_value).transpose() {
        Ok(claims) => claims,
        Err(error) => {
            broken.push((file.clone(), format!("its claims cannot be read: {error}")));
            None
        }
    };
    Ok(Some(Described {
        name: name.to_owned(),
        file,
        sha256: sha256(&bytes),
        title: text("title"),
        question: text("question"),
        base: text("base"),
        claims: claims.unwrap_or_default(),
        resolved,
    }))
}
