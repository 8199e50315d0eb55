//! Corpora: named collections of pieces, where they come from, and how their files become scores.
//!
//! A [`Corpus`] is a list of pieces in a fixed order, each of which can be read at any time from any thread. `catalogue` knows
//! the corpora by name, `open` finds or fetches them, and `midi`, `mat`, `musicxml` and `counterpoint` make the scores.

pub mod archive;
pub mod cache;
pub mod catalogue;
pub mod counterpoint;
pub mod fetch;
pub mod mat;
pub mod midi;
pub mod musicxml;
mod obtain;
pub mod open;
mod options;
mod own;
mod piece;
pub mod roll;
pub mod score;
pub mod split;

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use cache::Pack;
use catalogue::Format;
pub use options::OpenOptions;
pub use piece::Source;
use piece::{Piece, Place};
use score::Score;
use serde::{Deserialize, Serialize};

use crate::checksum::{hex, sha256};
use crate::exit_code::{FAILED, INTEGRITY, USAGE};

/// How the reading of one file ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Read as it stands.
    Ok,
    /// Read after repairs, each with a remark.
    Repaired,
    /// Not readable as music. A remark says why.
    Rejected,
}

/// One thing that a reader changed, or the reason why it gave up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// Byte offset in the file as given.
    pub offset: usize,
    /// What was wrong and what was done about it.
    pub what: String,
}

/// The result of reading one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The score; `None` exactly when the file was rejected.
    pub score: Option<Score>,
    /// Repairs, or the one reason for a rejection; empty exactly when the file was read as it stands.
    pub remarks: Vec<Remark>,
}

impl Reading {
    /// How the reading ended.
    pub fn outcome(&self) -> Outcome {
        match (&self.score, self.remarks.is_empty()) {
            (None, _) => Outcome::Rejected,
            (Some(_), true) => Outcome::Ok,
            (Some(_), false) => Outcome::Repaired,
        }
    }
}

/// Why a corpus cannot be opened, for callers that handle the cases differently. Everything else is a plain error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorpusError {
    /// No corpus has this name, and no file or directory either.
    Unknown(String),
    /// It is not available: what was tried, and what would help.
    Unavailable(String),
    /// The disk is full or cannot be written.
    Disk(String),
    /// The data are not what they should be.
    Integrity(String),
}

impl CorpusError {
    /// The exit code of a program that ends with this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            CorpusError::Unknown(_) => USAGE,
            CorpusError::Unavailable(_) | CorpusError::Disk(_) => FAILED,
            CorpusError::Integrity(_) => INTEGRITY,
        }
    }
}

impl fmt::Display for CorpusError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            CorpusError::Unknown(what)
            | CorpusError::Unavailable(what)
            | CorpusError::Disk(what)
            | CorpusError::Integrity(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for CorpusError {}

/// A collection of pieces, in a fixed order: by SHA-256, or by split and id for piano rolls.
#[derive(Debug)]
pub struct Corpus {
    /// The name in the catalogue, or the path of the user's own corpus.
    pub name: String,
    /// A heading for tables.
    pub title: String,
    /// Whether it was composed by rule.
    pub synthetic: bool,
    /// The corpus of the paper that it replaces.
    pub stand_in_for: Option<String>,
    /// Its licence, as far as known.
    pub licence: String,
    /// What its pieces are made of.
    pub format: Format,
    /// SHA-256 over the sorted SHA-256s of its pieces. It does not depend on how they are packed.
    pub fingerprint: String,
    /// Where it comes from: `mirror …`, `url …`, `pip …`, `built in`, `directory …`, `archive …`.
    pub origin: String,
    /// Files of the user's own corpus that are no pieces.
    pub left_out: Vec<LeftOut>,
    /// The names of files beside the user's own pieces that are no music which can be read, such as a text.
    pub skipped: Vec<String>,
    packs: Vec<Pack>,
    pieces: Vec<Piece>,
}

/// A file that was found but is no piece of the corpus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its path, in the form of a piece's name.
    pub name: String,
    /// Why.
    pub why: WhyLeftOut,
}

/// Why a file is no piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhyLeftOut {
    /// It has the same bytes as the piece with this index.
    Duplicate(usize),
    /// It cannot be read, for this reason.
    Unreadable(String),
}

impl Corpus {
    /// How many pieces there are, unreadable ones included.
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Whether there is no piece at all.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// What is known of piece `index`.
    pub fn source(&self, index: usize) -> &Source {
        &self.pieces[index].source
    }

    /// What is known of each piece, in order.
    pub fn sources(&self) -> impl ExactSizeIterator<Item = &Source> {
        self.pieces.iter().map(|piece| &piece.source)
    }

    /// Reads piece `index`. Many threads may call it at once. Nothing is kept in memory.
    ///
    /// A piece that is no music gives a [`Reading`] that says so. An error means that its bytes can no longer be read.
    pub fn read(&self, index: usize) -> Result<Reading> {
        let as_it_stands = |score| {
            Ok(Reading {
                score: Some(score),
                remarks: Vec::new(),
            })
        };
        let bytes = match &self.pieces[index].place {
            Place::Roll(roll) => return as_it_stands(roll.to_score()),
            Place::Composed { seed, index } => {
                return as_it_stands(counterpoint::compose(*seed, *index));
            }
            _ => self.bytes(index)?,
        };
        Ok(match self.format {
            Format::MusicXml => musicxml::read(&bytes),
            _ => midi::read(&bytes),
        })
    }

    /// The bytes of a piece that is a file.
    fn bytes(&self, index: usize) -> Result<Cow<'_, [u8]>> {
        let piece = &self.pieces[index];
        Ok(match &piece.place {
            Place::Packed { pack, file } => Cow::Owned(self.packs[*pack].read(*file)?),
            Place::File(path) => {
                let name = path.display();
                let bytes = std::fs::read(path).map_err(|err| {
                    CorpusError::Unavailable(format!("failed to read '{name}' again: {err}"))
                })?;
                if sha256(&bytes) != piece.source.sha256 {
                    return Err(CorpusError::Integrity(format!(
                        "'{name}' has changed since it was first read"
                    ))
                    .into());
                }
                Cow::Owned(bytes)
            }
            Place::Held(bytes) => Cow::Borrowed(bytes),
            Place::Roll(_) | Place::Composed { .. } => Cow::Borrowed(&[]),
        })
    }
}

/// The fingerprint of pieces with these SHA-256s, in any order.
pub fn fingerprint<'a>(digests: impl IntoIterator<Item = &'a str>) -> String {
    let mut sorted: Vec<&str> = digests.into_iter().collect();
    sorted.sort_unstable();
    let mut hasher = Sha256::new();
    for digest in sorted {
        hasher.update(digest);
        hasher.update("\n");
    }
    hex(&hasher.finalize())
}

/// The last part of a path.
fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Every file below `folder`, sorted by path; links are followed.
pub fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in WalkDir::new(folder).follow_links(true) {
        match entry {
            Ok(entry) if entry.file_type().is_file() => files.push(entry.into_path()),
            Ok(_) => {}
            Err(err) if err.depth() == 0 => return Err(err.into()),
            // A broken or circular link, or a folder without permission: listed, so that the caller reports it.
            Err(err) => files.extend(err.path().map(Path::to_path_buf)),
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_that_of_the_sorted_lines() {
        // printf '%s\n' a b | sha256sum
        let expected = "911169ddaaf146aff539f58c26c489af3b892dff0fe283c1c264c65ae5aa59a2";
        assert_eq!(fingerprint(["b", "a"]), fingerprint(["a", "b"]));
        assert_eq!(fingerprint(["b", "a"]), expected);
    }

    #[test]
    fn files_are_found_sorted_through_folders_and_links() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("b")).unwrap();
        for name in ["c.mid", "b/x.mid", "a.mid"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        std::os::unix::fs::symlink("..", folder.path().join("b/circle")).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("broken.mid")).unwrap();
        let found = files_below(folder.path()).unwrap();
        let names: Vec<_> = found
            .iter()
            .map(|path| {
                path.strip_prefix(folder.path())
                    .unwrap()
                    .display()
                    .to_string()
            })
            .collect();
        assert_eq!(
            names,
            ["a.mid", "b/circle", "b/x.mid", "broken.mid", "c.mid"]
        );
        assert!(files_below(&folder.path().join("absent")).is_err());
    }
}
