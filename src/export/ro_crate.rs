//! Process Run Crate 0.5: what was run, by which software, on what, when, and what came of it, as one JSON-LD graph (RO-Crate 1.1).

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::corpus_note::{CorpusNote, FINGERPRINT};
use super::file_kind::{in_words, is_input, media_type};
use super::{AUTHORS, ExportedRun, Files, LICENCES, citation, to_json};
use crate::checksum::sha256;
use crate::run::{CodeVersion, State};

/// The file that makes a folder a crate.
pub const FILE: &str = "ro-crate-metadata.json";

const PROFILE: &str = "https://w3id.org/ro/wfrun/process/0.5";

/// The entity for whoever started a run.
const USER: &str = "#user";

/// The crate of one run, whose folder holds `files`.
pub fn of_run(run: &ExportedRun, files: &Files) -> Result<Vec<u8>> {
    let mut graph = Graph::default();
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    for (path, bytes) in files {
        let mut file = file(path, bytes);
        let sample = path.strip_prefix("samples/");
        let sample = run
            .record
            .samples
            .iter()
            .find(|it| Some(it.file.as_str()) == sample);
        if let Some(sample) = sample {
            file["description"] = json!(sample.description);
        }
        let id = graph.part(file);
        if is_input(path) {
            inputs.push(id);
        } else if run.kept.contains_key(path) {
            outputs.push(id);
        }
    }
    for (file, why) in &run.left_out {
        outputs.push(graph.add(json!({
            "@id": format!("#{}", file.path),
            "@type": "CreativeWork",
            "name": file.path,
            "description": format!("{}. Left out of this folder: {why}.", in_words(&file.path)),
            "contentSize": file.bytes.to_string(),
            "sha256": file.sha256,
        })));
    }
    inputs.extend(corpus(&mut graph, run));
    let action = action(&mut graph, run, inputs, outputs);
    graph.finish(About {
        name: format!("harness {}", run.record.title()),
        description: run.description(),
        date: run.date(),
        software: run.software(),
        actions: vec![action],
    })
}

/// The crate of several runs, each a crate of its own in the folder of its name.
pub fn of_all(runs: &[ExportedRun], files: &Files) -> Result<Vec<u8>> {
    let mut graph = Graph::default();
    for (path, bytes) in files {
        if !runs.iter().any(|run| path.starts_with(&folder(run))) {
            graph.part(file(path, bytes));
        }
    }
    let mut actions = Vec::new();
    for run in runs {
        let (folder, mut inputs) = (folder(run), Vec::new());
        for path in run.kept.keys().filter(|path| is_input(path)) {
            let path = format!("{folder}{path}");
            inputs.push(graph.part(file(&path, &files[&path])));
        }
        let described = format!("{folder}{FILE}");
        let description = graph.part(file(&described, &files[&described]));
        let output = graph.part(json!({
            "@id": folder,
            "@type": "Dataset",
            "name": run.record.title(),
            "description": run.description(),
            "datePublished": run.date(),
            "subjectOf": description,
        }));
        inputs.extend(corpus(&mut graph, run));
        actions.push(action(&mut graph, run, inputs, vec![output]));
    }
    let newest = runs
        .iter()
        .max_by_key(|run| run.ended())
        .context("there is no run")?;
    graph.finish(About {
        name: "Published runs of harness".to_owned(),
        description: "The published records of harness, which reproduces \"Deep Learning for Music\" (Huang & Wu, 2016)."
            .to_owned(),
        date: newest.date(),
        software: newest.software(),
        actions,
    })
}

/// The address of the code: the Software Heritage identifier of its commit, which needs no host to be known. Of code without a
/// commit it is a name within the crate.
pub fn software_address(code: &CodeVersion) -> String {
    let is_commit =
        code.commit.len() == 40 && code.commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    match is_commit {
        true => format!(
            "https://archive.softwareheritage.org/swh:1:rev:{}",
            code.commit
        ),
        false => "#harness".to_owned(),
    }
}

fn folder(run: &ExportedRun) -> String {
    format!("{}/", run.record.name())
}

/// Entities as they come together: all, and those that are parts of the crate.
#[derive(Default)]
struct Graph {
    entities: Vec<Value>,
    parts: Vec<Value>,
}

impl Graph {
    /// Adds an entity unless it is there already, and returns a reference to it.
    fn add(&mut self, entity: Value) -> Value {
        let reference = json!({ "@id": entity["@id"] });
        if !self.entities.iter().any(|it| it["@id"] == entity["@id"]) {
            self.entities.push(entity);
        }
        reference
    }

    /// Adds a file or folder of the crate.
    fn part(&mut self, entity: Value) -> Value {
        let reference = self.add(entity);
        self.parts.push(reference.clone());
        reference
    }

    /// The whole crate as it is written.
    fn finish(mut self, about: About) -> Result<Vec<u8>> {
        let licences: Vec<Value> = LICENCES
            .iter()
            .map(|(name, address)| {
                let choice = "harness may be used under the MIT or the Apache-2.0 licence, as the user chooses";
                self.add(json!({ "@id": address, "@type": "CreativeWork", "name": name, "description": choice }))
            })
            .collect();
        for entity in citation::paper() {
            self.add(entity);
        }
        // They have no page of their own; their work has an address.
        let authors = self.add(json!({
            "@id": "#authors",
            "@type": "Organization",
            "name": AUTHORS,
            "url": about.software,
        }));
        self.add(json!({ "@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5" }));
        let root = json!({
            "@id": "./",
            "@type": "Dataset",
            "name": about.name,
            "description": about.description,
            "datePublished": about.date,
            "license": licences,
            "author": authors,
            "publisher": authors,
            "citation": { "@id": citation::PAPER },
            "conformsTo": { "@id": PROFILE },
            "hasPart": self.parts,
            "mentions": one_or_many(about.actions),
        });
        let descriptor = json!({
            "@id": FILE,
            "@type": "CreativeWork",
            "conformsTo": { "@id": "https://w3id.org/ro/crate/1.1" },
            "about": { "@id": "./" },
        });
        let mut graph = vec![descriptor, root];
        graph.append(&mut self.entities);
        to_json(&json!({
            "@context": [
                "https://w3id.org/ro/crate/1.1/context",
                { "sha256": "https://w3id.org/ro/terms/workflow-run#sha256" },
            ],
            "@graph": graph,
        }))
    }
}

/// The run as something that was done.
fn action(graph: &mut Graph, run: &ExportedRun, inputs: Vec<Value>, outputs: Vec<Value>) -> Value {
    let record = &run.record.stored.record;
    let mut codes: Vec<&CodeVersion> = Vec::new();
    for execution in record.executions() {
        if !codes.iter().any(|it| it.commit == execution.code.commit) {
            codes.push(&execution.code);
        }
    }
    let instruments: Vec<Value> = codes.iter().map(|code| software(graph, code)).collect();
    graph.add(json!({
        "@id": USER,
        "@type": "Person",
        "name": "Whoever started the run; the record does not say",
    }));
    let status = match run.record.state {
        State::Finished => "http://schema.org/CompletedActionStatus",
        _ => "http://schema.org/FailedActionStatus",
    };
    let mut action = Map::new();
    let mut put = |key: &str, value: Value| action.insert(key.to_owned(), value);
    put("@id", json!(format!("#{}", run.record.name())));
    put("@type", json!("CreateAction"));
    put("name", json!(run.record.title()));
    put("description", json!(how(run)));
    put("instrument", one_or_many(instruments));
    put("agent", json!({ "@id": USER }));
    put("object", one_or_many(inputs));
    put("result", one_or_many(outputs));
    put("startTime", json!(with_offset(&record.execution.started)));
    put("endTime", json!(with_offset(run.ended())));
    put("actionStatus", json!(status));
    if run.record.state != State::Finished {
        let reason = record
            .reason
            .as_deref()
            .unwrap_or("its training did not come to its end");
        put("error", json!(format!("{}: {reason}", run.record.state)));
    }
    graph.add(Value::Object(action))
}

/// How the run was started, resumed and computed, in a sentence or two.
fn how(run: &ExportedRun) -> String {
    let record = &run.record.stored.record;
    let resumed = match record.resumed.len() {
        0 => String::new(),
        1 => ", resumed once".to_owned(),
        times => format!(", resumed {times} times"),
    };
    let concluded = match record.concluded_at {
        Some(step) => format!(" Its training was ended early, at step {step}."),
        None => String::new(),
    };
    format!(
        "`{}`{resumed}: {} steps, seed {}, in {:.0} seconds of work on {}.{concluded}",
        run.record.command(),
        record.step,
        record.seed,
        record.seconds(),
        run.record.device()
    )
}

fn software(graph: &mut Graph, code: &CodeVersion) -> Value {
    let address = software_address(code);
    let changed = match (code.dirty.as_str(), &code.patch_sha256) {
        ("no", _) => String::new(),
        (_, Some(sha256)) => format!(" and changes with SHA-256 {sha256}, see code.patch"),
        _ => " and changes that are not known".to_owned(),
    };
    graph.add(json!({
        "@id": address,
        "@type": "SoftwareApplication",
        "name": "harness",
        "description": format!("harness of the git commit {}{changed}, compiled by {} for {}", code.commit, code.rustc, code.target),
        "url": address,
        "softwareVersion": code.summary(),
    }))
}

/// The corpus of a run, as something that is not in the crate.
fn corpus(graph: &mut Graph, run: &ExportedRun) -> Option<Value> {
    let identity = run.record.stored.record.corpus.as_ref()?;
    let note = CorpusNote::of_record(identity);
    let id = format!("#corpus-{}", note.fingerprint);
    let fingerprint = graph.add(json!({
        "@id": format!("{id}-fingerprint"),
        "@type": "PropertyValue",
        "name": "fingerprint",
        "propertyID": FINGERPRINT,
        "value": note.fingerprint,
    }));
    let licence = graph.add(json!({
        "@id": format!("{id}-licence"),
        "@type": "CreativeWork",
        "name": format!("Licence of {}", note.name),
        "description": note.licence,
    }));
    Some(graph.add(json!({
        "@id": id,
        "@type": "CreativeWork",
        "name": note.title,
        "alternateName": note.name,
        "description": format!("{} It was read from: {}.", note.in_full(), identity.origin),
        "identifier": fingerprint,
        "license": licence,
    })))
}

/// What stands in the graph for one file.
fn file(path: &str, bytes: &[u8]) -> Value {
    json!({
        "@id": path,
        "@type": "File",
        "name": path,
        "description": in_words(path),
        "encodingFormat": media_type(path),
        "contentSize": bytes.len().to_string(),
        "sha256": sha256(bytes),
    })
}

/// What is said of a crate as a whole.
struct About<'a> {
    name: String,
    description: String,
    /// The day that its newest run ended.
    date: &'a str,
    /// The address of the code of that run.
    software: String,
    actions: Vec<Value>,
}

/// An hour in UTC as RO-Crate's validators want it: with `+00:00` in place of `Z`.
fn with_offset(hour: &str) -> String {
    hour.replace('Z', "+00:00")
}

/// The only value by itself, or the list of all.
fn one_or_many(mut values: Vec<Value>) -> Value {
    match values.len() {
        1 => values.remove(0),
        _ => Value::Array(values),
    }
}
