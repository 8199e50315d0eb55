//! Whether values of several runs are of the same predictions: only then can one be better than another.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::run::{StoredRun, flat_settings};

/// What a run logs that says nothing of predictions, and can be compared whatever was predicted.
const OF_TRAINING_ALONE: [&str; 2] = ["learning_rate", "gradient_norm"];
/// What is counted by time steps: the same of chords and of keys, whatever the vocabulary, since unknown chords are answered for.
const BY_TIME_STEP: [&str; 2] = ["nll_per_step", "frame_accuracy"];

/// What runs do not have in common of that which they predict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparability {
    /// Which pieces were predicted.
    pieces: Vec<String>,
    /// Which time steps they were taken for.
    time_steps: Vec<String>,
    /// Which symbols.
    symbols: Vec<String>,
}

/// Named values of one run.
type Aspects = BTreeMap<String, String>;

impl Comparability {
    /// What `runs` have in common.
    pub fn of(runs: &[&StoredRun]) -> Result<Self> {
        let aspects = |of: fn(&StoredRun, &Aspects) -> Aspects| -> Result<Vec<String>> {
            let each: Vec<Aspects> = runs
                .iter()
                .map(|run| Ok(of(run, &settings(run)?)))
                .collect::<Result<_>>()?;
            let differs = |name: &&String| {
                let mut values = each.iter().map(|it| it.get(*name));
                let first = values.next();
                values.any(|value| Some(value) != first)
            };
            let mut names: Vec<&String> = each.iter().flat_map(BTreeMap::keys).collect();
            names.sort();
            names.dedup();
            Ok(names.into_iter().filter(differs).cloned().collect())
        };
        Ok(Self {
            pieces: aspects(pieces)?,
            time_steps: aspects(time_steps)?,
            symbols: aspects(symbols)?,
        })
    }

    /// Why values of `metric` cannot be compared; `None` where they can.
    pub fn why_not(&self, metric: &str) -> Option<String> {
        if OF_TRAINING_ALONE.contains(&metric) {
            return None;
        }
        let of_what = match BY_TIME_STEP.contains(&metric) {
            true => &self.time_steps,
            false => &self.symbols,
        };
        let mut differing: Vec<&str> = self
            .pieces
            .iter()
            .chain(of_what)
            .map(String::as_str)
            .collect();
        differing.dedup();
        (!differing.is_empty()).then(|| {
            format!(
                "not of the same predictions: {} differ",
                differing.join(", ")
            )
        })
    }
}

fn settings(run: &StoredRun) -> Result<Aspects> {
    flat_settings(&run.experiment_yaml()?)
        .with_context(|| format!("failed to read the experiment of run {}", run.id))
}

/// The settings of these keys, as they are.
fn chosen(settings: &Aspects, keys: &[&str]) -> Aspects {
    let chosen = settings
        .iter()
        .filter(|(key, _)| keys.contains(&key.as_str()));
    chosen
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// A count that the record keeps of its corpus.
fn count(run: &StoredRun, name: &str) -> Option<String> {
    let corpus = run.record.corpus.as_ref()?;
    Some(corpus.details.get(name)?.to_string())
}

fn pieces(run: &StoredRun, settings: &Aspects) -> Aspects {
    let by_hash = settings
        .get("split.kind")
        .is_some_and(|kind| kind == "hash");
    let keys: &[&str] = match by_hash {
        true => &["split.kind", "split.valid", "split.test"],
        false => &["split.kind"],
    };
    let mut aspects = chosen(settings, keys);
    let mut add = |name: &str, value: Option<String>| {
        aspects.extend(value.map(|value| (name.to_owned(), value)));
    };
    let fingerprint = run.record.corpus.as_ref().map(|it| it.fingerprint.clone());
    add("corpus", fingerprint);
    add("pieces", count(run, "pieces"));
    add("smoke", run.record.smoke.then(String::new));
    aspects
}

fn time_steps(run: &StoredRun, settings: &Aspects) -> Aspects {
    let on_a_grid = is_on_a_grid(settings);
    let limited = settings
        .get("encoding.polyphony_limit")
        .is_some_and(|limit| limit != "null");
    let mut keys = Vec::new();
    if on_a_grid {
        keys.push("encoding.steps_per_beat");
    } else {
        // Messages have no time steps in common with anything else.
        keys.push("encoding.kind");
    }
    if limited {
        keys.extend([
            "encoding.polyphony_limit",
            "encoding.polyphony_keep",
            "encoding.seed",
        ]);
    }
    let mut aspects = chosen(settings, &keys);
    aspects.extend(count(run, "tokens").map(|tokens| ("tokens".to_owned(), tokens)));
    aspects
}

fn symbols(run: &StoredRun, settings: &Aspects) -> Aspects {
    let mut aspects = time_steps(run, settings);
    aspects.extend(chosen(settings, &["encoding.kind"]));
    let of_keys = settings
        .get("encoding.kind")
        .is_some_and(|kind| kind == "multi-hot");
    if !of_keys {
        aspects.extend(chosen(settings, &["vocabulary.from"]));
        let size = count(run, "vocabulary");
        aspects.extend(size.map(|size| ("vocabulary".to_owned(), size)));
    }
    aspects
}

/// Whether symbols are what sounds in a time step.
fn is_on_a_grid(settings: &Aspects) -> bool {
    let kind = settings.get("encoding.kind").map(String::as_str);
    matches!(kind, Some("chord" | "multi-hot"))
}
