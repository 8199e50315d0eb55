//! A piece of a corpus: what is known of it without reading it, and where its bytes are.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::PathBuf;

use rayon::prelude::*;

use super::catalogue::Compose;
use super::counterpoint;
use super::mat::Roll;
use super::score::{NoteKind, Score};
use super::split::Split;
use crate::checksum::sha256;

/// What is known of a piece without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its path in the archive or directory, with `/`; `train/0` and so on for piano rolls. Unique in the corpus.
    pub name: String,
    /// The SHA-256 of its bytes (`data/corpora.yaml` defines them), in lower-case hexadecimal.
    pub sha256: String,
    /// The published split, where there is one.
    pub split: Option<Split>,
}

/// A piece and where its bytes are.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) source: Source,
    pub(super) place: Place,
}

#[derive(Debug)]
pub(super) enum Place {
    Packed { pack: usize, file: usize },
    File(PathBuf),
    Held(Vec<u8>),
    Roll(Roll),
    Composed { seed: u64, index: usize },
}

impl Piece {
    /// A piece without a published split.
    pub(super) fn new(name: String, sha256: String, place: Place) -> Piece {
        let split = None;
        let source = Source {
            name,
            sha256,
            split,
        };
        Piece { source, place }
    }
}

/// The pieces of piano rolls, ordered by split and number.
pub(super) fn roll_pieces(mut rolls: Vec<Roll>) -> Vec<Piece> {
    rolls.sort_by_key(|roll| (roll.split, roll.id));
    let piece = |roll: Roll| Piece {
        source: Source {
            name: format!("{}/{}", roll.split.name(), roll.id),
            sha256: sha256(roll.text().as_bytes()),
            split: Some(roll.split),
        },
        place: Place::Roll(roll),
    };
    rolls.into_par_iter().map(piece).collect()
}

/// The pieces that harness composes, ordered by SHA-256.
pub(super) fn composed_pieces(compose: &Compose) -> Vec<Piece> {
    let seed = compose.seed;
    let piece = |index| {
        let digest = sha256(text_of(&counterpoint::compose(seed, index)).as_bytes());
        let name = format!("counterpoint/{seed}/{index}");
        Piece::new(name, digest, Place::Composed { seed, index })
    };
    let mut pieces: Vec<Piece> = (0..compose.pieces).into_par_iter().map(piece).collect();
    pieces.sort_by(|a, b| a.source.sha256.cmp(&b.source.sha256));
    pieces
}

/// The text of a composed score that its SHA-256 is computed from.
fn text_of(score: &Score) -> String {
    let mut text = format!(
        "ticks per beat {}\nduration {}\n",
        score.ticks_per_beat, score.duration
    );
    for track in &score.tracks {
        text.push_str("track\n");
        for message in track {
            let kind = match message.kind {
                NoteKind::On => "on",
                NoteKind::Off => "off",
            };
            writeln!(text, "{kind} {} {}", message.pitch, message.delta)
                .expect("writing to a string cannot fail");
        }
    }
    text
}

/// Renames pieces of the same name (an archive may have them) by adding `~2`, `~3` and so on.
pub(super) fn make_names_unique(pieces: &mut [Piece]) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for piece in pieces {
        let count = seen.entry(piece.source.name.clone()).or_default();
        *count += 1;
        if *count > 1 {
            write!(piece.source.name, "~{count}").expect("writing to a string cannot fail");
        }
    }
}
