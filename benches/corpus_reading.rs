//! Times MIDI files in memory of the system becoming token ids and statistics; prints one JSON line.
//!
//! ```text
//! cargo bench --bench corpus_reading -- FOLDER [--threads N] [--rounds N]
//! ```
//!
//! A round reads every `.mid` and `.midi` file below FOLDER, repairs it where it must, encodes it as `midi-message`, counts its notes and
//! polyphony, and numbers the vocabulary, as a run does; hashing and unpacking, of which a run does once what its cache keeps, are left
//! out. Times are medians.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use harness::corpus::midi;
use harness::corpus::split::Split;
use harness::encoding::dataset::{Dataset, Piece};
use harness::encoding::vocabulary::{VocabularyConfig, VocabularySource};
use harness::encoding::{EncodingConfig, EncodingKind};
use walkdir::WalkDir;

/// Times the reading of a corpus.
#[derive(Parser)]
struct Arguments {
    /// Where the unpacked files lie.
    folder: PathBuf,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// How often everything is read.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let files = midi_files(&arguments.folder)?;
    ensure!(
        !files.is_empty(),
        "no MIDI files below '{}'",
        arguments.folder.display()
    );
    let read = |index: usize| {
        let path: &PathBuf = &files[index];
        let bytes =
            std::fs::read(path).with_context(|| format!("failed to read '{}'", path.display()))?;
        Ok(Piece {
            name: path.display().to_string(),
            split: Split::Train,
            reading: midi::read(&bytes),
        })
    };
    let encoding = EncodingConfig {
        kind: EncodingKind::MidiMessage,
        ..EncodingConfig::default()
    };
    let vocabulary = VocabularyConfig {
        from: VocabularySource::Corpus,
    };
    let mut seconds = Vec::new();
    let mut tokens = 0;
    for _ in 0..arguments.rounds.max(1) {
        let started = Instant::now();
        let dataset = Dataset::build(files.len(), read, &encoding, &vocabulary, arguments.threads)?;
        seconds.push(started.elapsed().as_secs_f64());
        tokens = dataset.tokens.len();
    }
    seconds.sort_by(f64::total_cmp);
    let line = serde_json::json!({
        "files": files.len(),
        "tokens": tokens,
        "threads": arguments.threads,
        "seconds": seconds[seconds.len() / 2],
        "fastest_seconds": seconds[0],
    });
    println!("{line}");
    Ok(())
}

fn midi_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let is_midi = |path: &Path| {
        path.extension().is_some_and(|extension| {
            ["mid", "midi"].contains(&extension.to_string_lossy().to_lowercase().as_str())
        })
    };
    let mut files = Vec::new();
    for entry in WalkDir::new(folder).sort_by_file_name() {
        let entry = entry?;
        if entry.file_type().is_file() && is_midi(entry.path()) {
            files.push(entry.into_path());
        }
    }
    Ok(files)
}
