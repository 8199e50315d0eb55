//! Croissant 1.1: Parquet tables as record sets, and corpora as what is known of them, without their data.

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::corpus_note::CorpusNote;
use super::{ExportedRun, citation, to_json};
use crate::artifacts;
use crate::checksum::sha256;
use crate::metric::METRICS;
use crate::run::{ColumnKind, Table};

/// The file that describes tables.
pub const TABLES: &str = "croissant.json";

/// The file that describes a run's corpus.
pub const CORPUS: &str = "corpus.croissant.json";

const VERSION: &str = "http://mlcommons.org/croissant/1.1";

/// A table of a run: its file, what a row is, and what its columns hold. A column whose name is a letter and a number is described by the
/// letter.
struct Described {
    file: &'static str,
    row: &'static str,
    columns: &'static [(&'static str, &'static str)],
}

const MEASURED: &[(&str, &str)] = &[
    ("step", "Optimizer steps completed when it was measured"),
    ("epoch", "Epochs begun, from 1; 0 before training"),
    ("split", "train, valid or test"),
    ("metric", "The metric's name"),
    ("value", "The value"),
];

const DESCRIBED: &[Described] = &[
    Described {
        file: "metrics.parquet",
        row: "One measured value",
        columns: MEASURED,
    },
    Described {
        file: "timings.parquet",
        row: "One value that the clock gave, such as tokens per second",
        columns: MEASURED,
    },
    Described {
        file: artifacts::EVALUATION,
        row: "What the model makes of one piece",
        columns: &[
            ("split", "train, valid or test"),
            ("piece", "The piece's name"),
            ("steps", "Its tokens or time steps"),
            ("nll", "Its negative log-likelihood, in nats"),
        ],
    },
    Described {
        file: artifacts::CORPUS_STATISTICS,
        row: "One point of a figure of the corpus",
        columns: &[
            (
                "figure",
                "rank_frequency, vocabulary_growth, polyphony, pitch or duration",
            ),
            ("series", "The part of the corpus that it counts"),
            ("x", "Across"),
            ("y", "Up"),
        ],
    },
    Described {
        file: artifacts::EMBEDDINGS,
        row: "The embedding of one single-note token",
        columns: &[
            ("map", "The map that the token is on"),
            ("token", "The token, or a name for the mean of several"),
            ("kind", "on, off or note"),
            ("pitch", "MIDI pitch"),
            ("count", "How often it occurs in the corpus"),
            ("e", "One value of the trained embedding"),
            ("u", "One value of the embedding at initialisation"),
        ],
    },
    Described {
        file: artifacts::TSNE,
        row: "One point of a t-SNE map",
        columns: &[
            ("map", "The map"),
            ("seed", "The seed of t-SNE"),
            ("token", "The token"),
            ("x", "Across"),
            ("y", "Up"),
        ],
    },
];

/// The Croissant of one run's tables.
pub fn of_run(run: &ExportedRun) -> Result<Vec<u8>> {
    let mut tables = Tables::default();
    for described in DESCRIBED {
        tables.add(run, "", described)?;
    }
    let description = format!("{} The tables of one run.", run.description());
    let mut dataset = dataset(
        &format!("harness {}", run.record.title()),
        &format!("{description} {}", metrics_in_words()),
    );
    dataset.insert("datePublished".into(), json!(run.date()));
    dataset.insert("version".into(), json!(run.version()));
    dataset.insert("url".into(), json!(run.software()));
    tables.finish(dataset)
}

/// The Croissant of the metrics of several runs, each in the folder of its name.
pub fn of_all(runs: &[ExportedRun]) -> Result<Vec<u8>> {
    let mut tables = Tables::default();
    for run in runs {
        tables.add(run, &format!("{}/", run.record.name()), &DESCRIBED[0])?;
    }
    let mut dataset = dataset(
        "harness published metrics",
        &format!(
            "The metrics of the published runs of harness, which reproduces \"Deep Learning for Music\" (Huang & Wu, 2016). {}",
            metrics_in_words()
        ),
    );
    let newest = runs
        .iter()
        .max_by_key(|run| run.ended())
        .context("there is no run")?;
    dataset.insert("datePublished".into(), json!(newest.date()));
    dataset.insert("version".into(), json!(newest.version()));
    dataset.insert("url".into(), json!(newest.software()));
    tables.finish(dataset)
}

/// The Croissant of a corpus: what it is, its licence, where it is to be had and what must be counted in it. It holds no piece of it.
pub fn of_corpus(note: &CorpusNote) -> Result<Vec<u8>> {
    let mut dataset = Map::new();
    dataset.insert("@context".into(), context());
    dataset.insert("@type".into(), json!("sc:Dataset"));
    dataset.insert("name".into(), json!(note.name));
    dataset.insert("description".into(), json!(note.in_full()));
    dataset.insert("conformsTo".into(), json!(VERSION));
    dataset.insert("license".into(), json!(note.licence));
    if let Some(address) = note.addresses.first() {
        dataset.insert("url".into(), json!(address.url));
    }
    // An archive that its host makes anew each time has no checksum, so it stands in the description alone.
    let files: Vec<Value> = note
        .addresses
        .iter()
        .filter_map(|address| {
            let file = address.url.rsplit('/').next().unwrap_or(address.url);
            Some(json!({
                "@type": "cr:FileObject",
                "@id": file,
                "name": file,
                "contentUrl": address.url,
                "encodingFormat": "application/octet-stream",
                "sha256": address.sha256?,
            }))
        })
        .collect();
    if !files.is_empty() {
        dataset.insert("distribution".into(), json!(files));
    }
    if !note.counts.is_empty() {
        dataset.insert("recordSet".into(), json!([counts(note)]));
    }
    to_json(&Value::Object(dataset))
}

/// What must be counted in a corpus, as a record set that holds its own rows.
fn counts(note: &CorpusNote) -> Value {
    let field = |name: &str, kind: &str, description: &str| {
        json!({
            "@type": "cr:Field",
            "@id": format!("counts/{name}"),
            "name": name,
            "description": description,
            "dataType": kind,
        })
    };
    let rows: Vec<Value> = note
        .counts
        .iter()
        .map(|(split, counts)| {
            json!({
                "counts/split": split,
                "counts/pieces": counts.pieces,
                "counts/tokens": counts.tokens,
                "counts/unique_tokens": counts.unique_tokens,
            })
        })
        .collect();
    json!({
        "@type": "cr:RecordSet",
        "@id": "counts",
        "name": "counts",
        "description": "What is counted in the corpus, in all and in each published split",
        "key": { "@id": "counts/split" },
        "field": [
            field("split", "sc:Text", "all, train, valid or test"),
            field("pieces", "sc:Integer", "Pieces that can be read"),
            field("tokens", "sc:Integer", "Tokens; time steps of piano rolls"),
            field("unique_tokens", "sc:Integer", "Distinct tokens; distinct chords of piano rolls"),
        ],
        "data": rows,
    })
}

/// The files and record sets of a Croissant as they come together.
#[derive(Default)]
struct Tables {
    distribution: Vec<Value>,
    record_sets: Vec<Value>,
}

impl Tables {
    /// Adds a table of `run`, whose files lie in the folder `prefix`, if the run has it.
    fn add(&mut self, run: &ExportedRun, prefix: &str, described: &Described) -> Result<()> {
        let Some(bytes) = run.kept.get(described.file) else {
            return Ok(());
        };
        let path = format!("{prefix}{}", described.file);
        let columns = Table::from_parquet(bytes)
            .and_then(|table| table.columns())
            .with_context(|| format!("failed to read the columns of '{path}'"))?;
        let id = path.strip_suffix(".parquet").unwrap_or(&path);
        let fields: Vec<Value> = columns
            .iter()
            .map(|(column, kind)| {
                json!({
                    "@type": "cr:Field",
                    "@id": format!("{id}/{column}"),
                    "name": column,
                    "description": column_in_words(described, column),
                    "dataType": data_type(*kind),
                    "source": { "fileObject": { "@id": path }, "extract": { "column": column } },
                })
            })
            .collect();
        self.distribution.push(json!({
            "@type": "cr:FileObject",
            "@id": path,
            "name": path,
            "description": described.row,
            "contentUrl": path,
            "contentSize": format!("{} B", bytes.len()),
            "encodingFormat": "application/x-parquet",
            "sha256": sha256(bytes),
        }));
        self.record_sets.push(json!({
            "@type": "cr:RecordSet",
            "@id": id,
            "name": id,
            "description": described.row,
            "field": fields,
        }));
        Ok(())
    }

    fn finish(self, mut dataset: Map<String, Value>) -> Result<Vec<u8>> {
        dataset.insert("distribution".into(), json!(self.distribution));
        dataset.insert("recordSet".into(), json!(self.record_sets));
        to_json(&Value::Object(dataset))
    }
}

fn dataset(name: &str, description: &str) -> Map<String, Value> {
    let fields = json!({
        "@context": context(),
        "@type": "sc:Dataset",
        "name": name,
        "description": description,
        "conformsTo": VERSION,
        "license": super::LICENCES.map(|(_, address)| address),
        "creator": { "@type": "sc:Organization", "name": super::AUTHORS },
        "citeAs": citation::BIBTEX,
    });
    match fields {
        Value::Object(fields) => fields,
        _ => unreachable!("the literal is an object"),
    }
}

/// What the names in the column `metric` mean.
fn metrics_in_words() -> String {
    let units: Vec<String> = METRICS
        .iter()
        .filter(|metric| !metric.unit.is_empty())
        .map(|metric| format!("{} in {}", metric.name, metric.unit))
        .collect();
    format!("Units of metrics: {}.", units.join(", "))
}

fn column_in_words(described: &Described, column: &str) -> &'static str {
    let name = column.trim_end_matches(|c: char| c.is_ascii_digit());
    let known = described
        .columns
        .iter()
        .find(|(known, _)| *known == column || *known == name);
    known.map_or("", |(_, words)| words)
}

fn data_type(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Whole => "sc:Integer",
        ColumnKind::Number => "sc:Float",
        ColumnKind::Text => "sc:Text",
    }
}

/// The context of Croissant 1.1, as its specification gives it.
fn context() -> Value {
    let mut context = Map::new();
    let mut put = |key: &str, value: Value| context.insert(key.to_owned(), value);
    put("@language", json!("en"));
    put("@vocab", json!("https://schema.org/"));
    put("sc", json!("https://schema.org/"));
    put("cr", json!("http://mlcommons.org/croissant/"));
    put("rai", json!("http://mlcommons.org/croissant/RAI/"));
    put("dct", json!("http://purl.org/dc/terms/"));
    put("conformsTo", json!("dct:conformsTo"));
    put("data", json!({ "@id": "cr:data", "@type": "@json" }));
    put(
        "examples",
        json!({ "@id": "cr:examples", "@type": "@json" }),
    );
    put(
        "dataType",
        json!({ "@id": "cr:dataType", "@type": "@vocab" }),
    );
    put("description", json!({ "@container": "@language" }));
    put("name", json!({ "@container": "@language" }));
    for term in [
        "arrayShape",
        "citeAs",
        "column",
        "containedIn",
        "equivalentProperty",
        "extract",
        "field",
        "fileObject",
        "fileProperty",
        "fileSet",
        "format",
        "includes",
        "isArray",
        "isLiveDataset",
        "jsonPath",
        "key",
        "md5",
        "parentField",
        "path",
        "recordSet",
        "references",
        "regex",
        "repeated",
        "replace",
        "samplingRate",
        "separator",
        "source",
        "subField",
        "transform",
    ] {
        put(term, json!(format!("cr:{term}")));
    }
    Value::Object(context)
}
