//! `harness corpus stats`: what a corpus holds, as one table, one JSON object, or one line a file.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};

use crate::corpus::catalogue::{Counts, Format};
use crate::corpus::split::{Split, SplitConfig, assign};
use crate::corpus::{Corpus, OpenOptions, Remark, WhyLeftOut};
use crate::encoding::dataset::{Dataset, Piece};
use crate::encoding::statistics::statistics;
use crate::encoding::vocabulary::{VocabularyConfig, VocabularySource};
use crate::encoding::{EncodingConfig, EncodingKind};
use crate::ensure_usage;
use crate::exit_code::OrUsage;
use crate::number::grouped;
use crate::text_table::{aligned, print};

/// The arguments of `harness corpus stats`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A name of the catalogue, or a directory or archive of MIDI files
    name: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// The part to count: the published split, else 90/5/5 by hash
    #[arg(long, value_enum, default_value_t = Part::All)]
    split: Part,
    /// How scores become tokens [default: chord for piano rolls, else midi-message]
    #[arg(long, value_enum)]
    encoding: Option<Kind>,
    /// The most notes of a chord; of more, only some are kept, drawn at random
    #[arg(long, value_name = "N")]
    polyphony_limit: Option<usize>,
    /// How many notes are kept of a chord over the limit
    #[arg(
        long,
        value_name = "N",
        default_value_t = 3,
        requires = "polyphony_limit"
    )]
    polyphony_keep: usize,
    /// The seed of those draws
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Say of each file how its reading ended, before the summary (with --json as JSON Lines)
    #[arg(long)]
    files: bool,
    /// Threads; 0 for as many as there are processors
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Train,
    Valid,
    Test,
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    MidiMessage,
    Chord,
    MultiHot,
}

/// Runs `harness corpus stats`.
pub fn run(args: &Args, options: &OpenOptions) -> Result<ExitCode> {
    let options = OpenOptions {
        threads: args.threads,
        ..options.clone()
    };
    let corpus = Corpus::open(&args.name, &options)?;
    let split = match args.split {
        Part::Train => Some(Split::Train),
        Part::Valid => Some(Split::Valid),
        Part::Test => Some(Split::Test),
        Part::All => None,
    };
    let kind = match args.encoding {
        Some(Kind::MidiMessage) => EncodingKind::MidiMessage,
        Some(Kind::Chord) => EncodingKind::Chord,
        Some(Kind::MultiHot) => EncodingKind::MultiHot,
        None => usual_encoding(&corpus),
    };
    let encoding = EncodingConfig {
        kind,
        polyphony_limit: args.polyphony_limit,
        polyphony_keep: args.polyphony_keep,
        seed: args.seed,
        ..EncodingConfig::default()
    };
    encoding.build().or_usage()?;
    let dataset = encode(&corpus, &encoding, split, args.threads)?;
    if let Some(split) = split {
        ensure_usage!(
            !dataset.pieces.is_empty() || !dataset.rejected.is_empty(),
            "the {} split of corpus '{}' holds none of its {} pieces: there is nothing to count",
            split.name(),
            corpus.name,
            corpus.len()
        );
    }
    let files = files(&corpus, &dataset, split);
    if args.files {
        print(&match args.json {
            true => files.iter().map(|it| format!("{}\n", it.json())).collect(),
            false => {
                let rows: Vec<Vec<String>> = files.iter().map(FileLine::row).collect();
                aligned(&["outcome", "notes", "file", "what was found"], &rows) + "\n"
            }
        })?;
    }
    let summary = summary(&corpus, &dataset, &files, args, &encoding);
    if args.json {
        print(&format!("{summary}\n"))?;
    } else {
        for (key, value) in summary.as_object().expect("it is made as one") {
            let text = match value {
                Value::Null => continue,
                Value::String(text) => text.clone(),
                Value::Number(number) => number.as_u64().map_or(number.to_string(), grouped),
                other => other.to_string(),
            };
            print(&format!("{:<15} {text}\n", key.replace('_', " ")))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The counts of `corpus` in its usual encoding, for all of it or for one split.
pub fn counts(corpus: &Corpus) -> Result<impl Fn(Option<Split>) -> Counts> {
    let encoding = EncodingConfig {
        kind: usual_encoding(corpus),
        ..EncodingConfig::default()
    };
    let dataset = encode(corpus, &encoding, None, 0)?;
    Ok(move |split| {
        let found = statistics(&dataset, split);
        Counts {
            pieces: found.pieces as u64,
            tokens: found.tokens,
            unique_tokens: found.unique_tokens as u64,
        }
    })
}

fn usual_encoding(corpus: &Corpus) -> EncodingKind {
    match corpus.format {
        Format::PianoRoll => EncodingKind::Chord,
        Format::Midi | Format::MusicXml | Format::Counterpoint => EncodingKind::MidiMessage,
    }
}

/// The pieces of `split`, or all, as token ids.
fn encode(
    corpus: &Corpus,
    encoding: &EncodingConfig,
    split: Option<Split>,
    threads: usize,
) -> Result<Dataset> {
    let splits = assign(&SplitConfig::usual(corpus), corpus)?;
    let chosen: Vec<usize> = (0..corpus.len())
        .filter(|index| split.is_none_or(|it| it == splits[*index]))
        .collect();
    let read = |number: usize| {
        let index = chosen[number];
        Ok(Piece {
            name: corpus.source(index).name.clone(),
            split: splits[index],
            reading: corpus.read(index)?,
        })
    };
    let vocabulary = VocabularyConfig {
        from: VocabularySource::Corpus,
    };
    Dataset::build(chosen.len(), read, encoding, &vocabulary, threads)
}

/// The counts. Those of outcomes are of files, as `files` lists them: each file has one outcome, and counts once.
fn summary(
    corpus: &Corpus,
    dataset: &Dataset,
    files: &[FileLine],
    args: &Args,
    encoding: &EncodingConfig,
) -> Value {
    let found = statistics(dataset, None);
    let ended = |outcome: &str| files.iter().filter(|it| it.outcome == outcome).count();
    let limit = encoding.polyphony_limit;
    json!({
        "name": corpus.name,
        "title": (corpus.title != corpus.name).then_some(&corpus.title),
        "synthetic": corpus.synthetic,
        "stand_in_for": corpus.stand_in_for,
        "split": format!("{:?}", args.split).to_lowercase(),
        "encoding": encoding.kind,
        "polyphony_limit": limit,
        "polyphony_keep": limit.map(|_| encoding.polyphony_keep),
        "seed": limit.map(|_| encoding.seed),
        "pieces": found.pieces,
        "tokens": found.tokens,
        "unique_tokens": found.unique_tokens,
        "notes": found.music.notes,
        "repaired": ended(REPAIRED),
        "rejected": ended(REJECTED),
        "duplicates": ended(DUPLICATE),
        "skipped": ended(SKIPPED),
        "fingerprint": corpus.fingerprint,
        "origin": corpus.origin,
        "licence": corpus.licence,
    })
}

const REPAIRED: &str = "repaired";
const REJECTED: &str = "rejected";
/// It has the bytes of a file before it, with which it is one piece.
const DUPLICATE: &str = "duplicate";
/// It is no MIDI file.
const SKIPPED: &str = "skipped";

/// How the reading of one file ended.
struct FileLine<'a> {
    name: &'a str,
    outcome: &'static str,
    detail: String,
    notes: usize,
}

/// `text` in one line and without what would move a terminal: control characters are written as escapes.
fn printable(text: &str) -> String {
    let escape = |letter: char| match letter.is_control() {
        true => letter.escape_default().collect(),
        false => String::from(letter),
    };
    text.chars().map(escape).collect()
}

impl FileLine<'_> {
    fn row(&self) -> Vec<String> {
        vec![
            self.outcome.to_owned(),
            format!("{:>5}", grouped(self.notes as u64)),
            printable(self.name),
            printable(&self.detail),
        ]
    }

    fn json(&self) -> Value {
        json!({ "file": self.name, "outcome": self.outcome, "detail": self.detail, "notes": self.notes })
    }
}

/// A line for each file, by name. Files that are no pieces of their own belong to no split: they come when all is asked for.
fn files<'a>(corpus: &'a Corpus, dataset: &'a Dataset, split: Option<Split>) -> Vec<FileLine<'a>> {
    let detail = |remarks: &[Remark]| {
        let texts: Vec<_> = remarks
            .iter()
            .map(|it| format!("byte {}: {}", it.offset, it.what))
            .collect();
        texts.join("; ")
    };
    let read = dataset.pieces.iter().map(|piece| FileLine {
        name: &piece.name,
        outcome: if piece.remarks.is_empty() {
            "ok"
        } else {
            REPAIRED
        },
        detail: detail(&piece.remarks),
        notes: piece.notes,
    });
    let rejected = dataset.rejected.iter().map(|piece| FileLine {
        name: &piece.name,
        outcome: REJECTED,
        detail: detail(&piece.remarks),
        notes: 0,
    });
    let mut lines: Vec<FileLine> = read.chain(rejected).collect();
    let no_pieces = corpus.left_out.iter().map(|left_out| {
        let (outcome, detail) = match &left_out.why {
            WhyLeftOut::Unreadable(why) => (REJECTED, format!("cannot be read: {why}")),
            WhyLeftOut::Duplicate(of) => {
                let same = &corpus.source(*of).name;
                (DUPLICATE, format!("same bytes as {same}, which is counted"))
            }
        };
        (&left_out.name, outcome, detail)
    });
    let skipped = corpus.skipped.iter();
    let skipped = skipped.map(|name| (name, SKIPPED, "no MIDI file".to_owned()));
    let others = no_pieces.chain(skipped).filter(|_| split.is_none());
    lines.extend(others.map(|(name, outcome, detail)| FileLine {
        name,
        outcome,
        detail,
        notes: 0,
    }));
    lines.sort_by(|a, b| a.name.cmp(b.name));
    lines
}

#[cfg(test)]
mod tests;
