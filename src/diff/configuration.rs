//! What differs in what went into two groups of runs: experiment, corpus, code, environment.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::run::{Execution, StoredRun, flat_settings};

/// One thing that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// `experiment`, `corpus`, `code` or `environment`.
    pub section: &'static str,
    /// Such as `training.batch_size`.
    pub key: String,
    /// The values of A's runs, each once; `(absent)` where there is none.
    pub a: Vec<String>,
    /// The values of B's runs.
    pub b: Vec<String>,
}

const ABSENT: &str = "(absent)";

/// The inputs of one run, by (section, key).
type Inputs = BTreeMap<(usize, String), String>;

const SECTIONS: [&str; 4] = ["experiment", "corpus", "code", "environment"];

/// What differs between the groups, section by section, and nothing that does not.
pub fn differences(a: &[&StoredRun], b: &[&StoredRun]) -> Result<Vec<Difference>> {
    let inputs = |runs: &[&StoredRun]| {
        runs.iter()
            .map(|run| inputs(run))
            .collect::<Result<Vec<Inputs>>>()
    };
    let (a, b) = (inputs(a)?, inputs(b)?);
    let keys: BTreeSet<&(usize, String)> = a.iter().chain(&b).flat_map(BTreeMap::keys).collect();
    let values = |runs: &[Inputs], key: &(usize, String)| -> Vec<String> {
        let mut values = Vec::new();
        for run in runs {
            let value = run.get(key).cloned().unwrap_or_else(|| ABSENT.into());
            if !values.contains(&value) {
                values.push(value);
            }
        }
        values
    };
    let mut found = Vec::new();
    for key in keys {
        let (a, b) = (values(&a, key), values(&b, key));
        if a.iter().collect::<BTreeSet<_>>() != b.iter().collect::<BTreeSet<_>>() {
            found.push(Difference {
                section: SECTIONS[key.0],
                key: key.1.clone(),
                a,
                b,
            });
        }
    }
    Ok(found)
}

fn inputs(run: &StoredRun) -> Result<Inputs> {
    let mut inputs = Inputs::new();
    let record = &run.record;
    let mut add = |section: usize, key: &str, value: &str| {
        inputs.insert((section, key.to_string()), value.to_string());
    };
    let settings = flat_settings(&run.experiment_yaml()?)
        .with_context(|| format!("failed to read the experiment of run {}", run.id))?;
    add(0, "(name)", &record.experiment);
    for (key, value) in &settings {
        add(0, key, value);
    }
    if record.smoke {
        add(0, "(smoke)", "yes");
    }
    if let Some(step) = record.changed_at() {
        add(0, "(changed at step)", &step.to_string());
    }
    if let Some(step) = record.concluded_at {
        add(0, "(concluded at step)", &step.to_string());
    }
    if let Some(corpus) = &record.corpus {
        add(1, "name", &corpus.name);
        add(1, "fingerprint", &corpus.fingerprint);
        add(1, "origin", &corpus.origin);
        add(1, "stand_in", corpus.stand_in.as_deref().unwrap_or("no"));
        add(1, "synthetic", if corpus.synthetic { "yes" } else { "no" });
    }
    // A resumed run may have gone on elsewhere: each value once, in the order of their first use.
    let all = |of: &dyn Fn(&Execution) -> String| {
        let mut values: Vec<String> = Vec::new();
        for value in record.executions().map(of) {
            if !values.contains(&value) {
                values.push(value);
            }
        }
        values.join(" and ")
    };
    add(2, "version", &all(&|it| it.code.version.clone()));
    add(2, "commit", &all(&|it| it.code.commit.clone()));
    add(2, "modified", &all(&|it| it.code.dirty.clone()));
    add(
        2,
        "patch_sha256",
        &all(&|it| {
            it.code
                .patch_sha256
                .clone()
                .unwrap_or_else(|| "none".into())
        }),
    );
    add(2, "rustc", &all(&|it| it.code.rustc.clone()));
    add(2, "target", &all(&|it| it.code.target.clone()));
    add(2, "profile", &all(&|it| it.code.profile.clone()));
    add(3, "device", &all(&|it| it.environment.device.clone()));
    add(
        3,
        "emulated",
        &all(&|it| if it.environment.emulated { "yes" } else { "no" }.to_string()),
    );
    let hardware = |it: &Execution| match &it.environment.hardware {
        Some(hardware) => hardware.to_string(),
        None => "not told".to_owned(),
    };
    add(3, "hardware", &all(&hardware));
    add(
        3,
        "kernel_path",
        &all(&|it| it.environment.kernel_path.clone()),
    );
    add(3, "precision", &all(&|it| it.environment.precision.clone()));
    add(3, "threads", &all(&|it| it.environment.threads.to_string()));
    Ok(inputs)
}
