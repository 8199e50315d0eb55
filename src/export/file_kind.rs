//! What the files of an export are, by their names.

use super::{citation, croissant, ro_crate};
use crate::artifacts;
use crate::run::RECORD;

/// Whether a file of a run went into it: the experiment, and what the code had that its commit had not.
pub fn is_input(path: &str) -> bool {
    path.starts_with("experiment") && path.ends_with(".yaml") || path == "code.patch"
}

/// What a file of an export holds.
pub fn in_words(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name {
        RECORD => {
            "What ran, on what, where and how it ended, with the SHA-256 of every file of the run"
        }
        "code.patch" => "What the code had that its commit had not",
        "log" => "What the run said, with the hour",
        "metrics.parquet" => "Every measured value",
        "timings.parquet" => "What the clock said",
        artifacts::EVALUATION => "What the model makes of each held-out piece",
        artifacts::CORPUS_STATISTICS => "The points of the corpus's figures",
        artifacts::EMBEDDINGS => "Trained and untrained embeddings of single-note tokens",
        artifacts::TSNE => "The points of the t-SNE maps",
        artifacts::STATISTICS => "Scores, baselines and what was measured in the embeddings",
        artifacts::SAMPLES => "The samples, with seed, temperature and notes",
        croissant::TABLES => "The tables as Croissant record sets",
        citation::FILE => "How harness and the paper are cited",
        ro_crate::FILE => "The crate of one run",
        "projector_config.pbtxt" => "What TensorBoard's projector reads",
        "vectors.tsv" => "Trained embeddings, one token a line",
        "untrained.tsv" => "Untrained embeddings, one token a line",
        "metadata.tsv" => "What is known of each token",
        "report.html" => "The run's own page",
        _ if is_input(name) => "The resolved experiment: every default spelled out",
        _ if name.ends_with(croissant::CORPUS) || path.starts_with("corpora/") => {
            "What a corpus is, its licence and how to get it; none of its data"
        }
        _ if name.ends_with(".mid") => "Music",
        _ if path.starts_with("checkpoints/") => "Weights and the state of training",
        _ if name.ends_with(".safetensors") => "Trained weights",
        _ if name.starts_with("vocabulary") => "The tokens of the corpus",
        _ => "A file of the run",
    }
}

/// The media type of a file of an export.
pub fn media_type(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or(path);
    if name.ends_with("croissant.json") || name == ro_crate::FILE {
        return "application/ld+json";
    }
    match name.rsplit('.').next() {
        Some("json") => "application/json",
        Some("yaml" | "cff") => "application/yaml",
        Some("parquet") => "application/vnd.apache.parquet",
        Some("mid") => "audio/midi",
        Some("tsv") => "text/tab-separated-values",
        _ => "text/plain",
    }
}
