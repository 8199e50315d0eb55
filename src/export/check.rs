//! Whether an export is still what was written: the hashes that no validator of its formats looks at.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{SUMS, ro_crate};
use crate::checksum::sha256_of_file;
use crate::exit_code::OrUsage;
use crate::run::{Problem, files_below};

/// What was found when an export was checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// How many files are as they were exported.
    pub intact: usize,
    /// How many checksums in crates and Croissants are those of their files.
    pub stated: usize,
    /// What is not as it was.
    pub problems: Vec<Problem>,
    /// Files that are no part of the export; they spoil nothing.
    pub unknown: Vec<String>,
}

/// Hashes every file of the export in `folder` again, and compares with `SHA256SUMS` and with what each crate and Croissant says.
///
/// # Errors
/// When `folder` is no export or cannot be read. Damage is no error but listed.
pub fn check(folder: &Path) -> Result<Checked> {
    let sums = fs::read(folder.join(SUMS))
        .with_context(|| {
            format!(
                "'{}' is no whole export: it has no {SUMS} that can be read",
                folder.display()
            )
        })
        .or_usage()?;
    let mut checked = Checked::default();
    let mut found = BTreeMap::new();
    for path in files_below(folder)? {
        let file = folder.join(&path);
        let (sha256, _) = sha256_of_file(&file)
            .with_context(|| format!("failed to read '{}'", file.display()))?;
        found.insert(path, sha256);
    }
    let mut listed = BTreeMap::new();
    for line in String::from_utf8_lossy(&sums).lines() {
        match line.split_once("  ") {
            Some((sha256, path)) if sha256.len() == 64 => {
                listed.insert(path.to_owned(), sha256.to_owned());
            }
            _ => checked.problem(SUMS, format!("'{line}' is no checksum and file")),
        }
    }
    for (path, sha256) in &listed {
        match found.get(path) {
            Some(it) if it == sha256 => checked.intact += 1,
            Some(_) => checked.problem(path, format!("its bytes have not the checksum in {SUMS}")),
            None => checked.problem(path, "it is missing".into()),
        }
    }
    for path in listed.keys().filter(|path| is_description(path)) {
        if found.contains_key(path) {
            checked.stated_in(folder, path, &found)?;
        }
    }
    let unknown = found
        .into_keys()
        .filter(|path| path != SUMS && !listed.contains_key(path));
    checked.unknown = unknown.collect();
    Ok(checked)
}

impl Checked {
    /// Compares the checksums that the description at `path` states with those of the files that were `found`.
    fn stated_in(
        &mut self,
        folder: &Path,
        path: &str,
        found: &BTreeMap<String, String>,
    ) -> Result<()> {
        let bytes =
            fs::read(folder.join(path)).with_context(|| format!("failed to read '{path}'"))?;
        let Ok(description) = serde_json::from_slice::<Value>(&bytes) else {
            self.problem(path, "it is no JSON".into());
            return Ok(());
        };
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        for (file, sha256) in stated(&description) {
            let file = match parent {
                "" => file.to_owned(),
                _ => format!("{parent}/{file}"),
            };
            match found.get(&file) {
                Some(it) if it == sha256 => self.stated += 1,
                Some(_) => self.problem(path, format!("it states another checksum of {file}")),
                None => self.problem(path, format!("it describes {file}, which is missing")),
            }
        }
        Ok(())
    }

    fn problem(&mut self, file: &str, what: String) {
        self.problems.push(Problem {
            file: file.to_owned(),
            what,
        });
    }
}

fn is_description(path: &str) -> bool {
    path.ends_with(ro_crate::FILE) || path.ends_with("croissant.json")
}

/// The files beside a description that it states a checksum of. What lies elsewhere has an address, and what was left out is no file.
fn stated(description: &Value) -> Vec<(&str, &str)> {
    let of_crate = description["@graph"].as_array().into_iter().flatten();
    let of_crate = of_crate
        .filter(|entity| entity["@type"] == "File")
        .map(|entity| (&entity["@id"], &entity["sha256"]));
    let of_croissant = description["distribution"].as_array().into_iter().flatten();
    let of_croissant = of_croissant.map(|file| (&file["contentUrl"], &file["sha256"]));
    of_crate
        .chain(of_croissant)
        .filter_map(|(path, sha256)| Some((path.as_str()?, sha256.as_str()?)))
        .filter(|(path, _)| !path.contains("://"))
        .collect()
}
