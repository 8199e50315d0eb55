//! `manifest.json`: what a report was built from, and the checksum of every file written.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::exit_code::OrUsage;

/// The manifest's name.
pub const MANIFEST: &str = "manifest.json";

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

impl Manifest {
    /// The manifest of the report in the folder `reports`.
    pub fn read(reports: &Path) -> Result<Self> {
        let path = reports.join(MANIFEST);
        let text = fs::read_to_string(&path)
            .with_context(|| format!("failed to read '{}'", path.display()));
        // Where no report was ever written there is none to be asked for.
        let text = if path.exists() { text } else { text.or_usage() }?;
        serde_json::from_str(&text)
            .with_context(|| format!("failed to read '{}' as a manifest", path.display()))
    }

    /// The manifest as it is written.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        Ok((serde_json::to_string_pretty(self)? + "\n").into_bytes())
    }
}
