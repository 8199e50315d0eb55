//! Opening a [`Corpus`] by its name in the catalogue, or by the path of the user's own files.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::Result;

use super::cache::{self, Pack};
use super::catalogue::{self, Entry, Format};
use super::obtain::obtain;
use super::own::{open_directory, open_file, unreadable};
use super::piece::{Piece, Place, composed_pieces, make_names_unique, roll_pieces};
use super::{Corpus, CorpusError, OpenOptions, fingerprint, mat};

impl Corpus {
    /// Opens a corpus of the catalogue by name, fetching it first if it is not cached; or the user's own MIDI files by the path
    /// of a directory, an archive or a file (a `.mat` of piano rolls is read too).
    ///
    /// Every piece of a catalogued corpus is checked against its SHA-256, and all of them against the catalogue's fingerprint.
    /// Errors that a caller may want to tell apart are [`CorpusError`]s.
    pub fn open(name_or_path: &str, options: &OpenOptions) -> Result<Corpus> {
        options.on_threads(|| Self::find(name_or_path, options))
    }

    fn find(name_or_path: &str, options: &OpenOptions) -> Result<Corpus> {
        if let Some(entry) = catalogue::find(name_or_path) {
            return open_entry(entry, catalogue::all(), options);
        }
        let path = Path::new(name_or_path);
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => open_directory(name_or_path, path),
            Ok(_) => open_file(name_or_path, path),
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => {
                Err(unknown(name_or_path).into())
            }
            Err(err) => Err(unreadable(name_or_path, err).into()),
        }
    }

    /// Makes sure that the catalogued corpus `name` is in the cache, and opens it. With `again`, what is cached is replaced.
    pub fn fetch(name: &str, again: bool, options: &OpenOptions) -> Result<Corpus> {
        let entry = catalogue::find(name).ok_or_else(|| unknown(name))?;
        options.on_threads(|| {
            if again {
                for part in parts(entry, catalogue::all()) {
                    obtain(part, options, true)?;
                }
            }
            open_entry(entry, catalogue::all(), options)
        })
    }
}

/// Whether every file that `entry` needs is in the cache.
pub fn is_cached(entry: &Entry, options: &OpenOptions) -> bool {
    parts(entry, catalogue::all())
        .iter()
        .all(|part| cache::path(&options.cache, &part.name).exists())
}

/// The error for an unknown name. It suggests the most similar known one.
pub fn unknown(name: &str) -> CorpusError {
    let hint = match catalogue::nearest(name) {
        Some(nearest) => format!("did you mean '{nearest}'?"),
        None => "`harness corpus list` shows the names".into(),
    };
    CorpusError::Unknown(format!(
        "unknown corpus '{name}', and no such file or directory; {hint}"
    ))
}

/// The entries that the cache holds for `entry`: itself, or the parts that it is selected from. None if it is composed.
fn parts<'a>(entry: &'a Entry, catalogue: &'a [Entry]) -> Vec<&'a Entry> {
    if !entry.parts.is_empty() {
        let find = |name: &String| {
            catalogue
                .iter()
                .find(|it| it.name == *name)
                .expect("a test checks that the catalogue has every part")
        };
        entry.parts.iter().map(find).collect()
    } else if entry.sources.is_empty() {
        Vec::new()
    } else {
        vec![entry]
    }
}

/// Opens a corpus of `catalogue`, fetching what is not cached.
fn open_entry(entry: &Entry, catalogue: &[Entry], options: &OpenOptions) -> Result<Corpus> {
    let mut packs = Vec::new();
    for part in parts(entry, catalogue) {
        obtain(part, options, false)?;
        packs.push(Pack::open(&cache::path(&options.cache, &part.name))?);
    }
    let pieces = match (&entry.compose, entry.format) {
        (Some(compose), _) => composed_pieces(compose),
        (None, Format::PianoRoll) => {
            packs[0].check(&[0])?;
            roll_pieces(mat::read(&packs[0].read(0)?)?)
        }
        (None, _) => packed_pieces(entry, &packs)?,
    };
    let mut origins: Vec<&str> = packs
        .iter()
        .map(|pack| pack.manifest.origin.as_str())
        .collect();
    origins.dedup();
    let origin = if origins.is_empty() {
        "built in".into()
    } else {
        origins.join(", ")
    };
    let corpus = Corpus {
        name: entry.name.clone(),
        title: entry.title.clone(),
        synthetic: entry.synthetic,
        stand_in_for: entry.stand_in_for.clone(),
        licence: entry.licence.clone(),
        format: entry.format,
        fingerprint: fingerprint(pieces.iter().map(|piece| piece.source.sha256.as_str())),
        origin,
        left_out: Vec::new(),
        skipped: Vec::new(),
        packs,
        pieces,
    };
    entry.check(&corpus.fingerprint, corpus.len(), &corpus.origin)?;
    Ok(corpus)
}

/// The pieces of `packs` that belong to `entry`, each checked against its SHA-256, sorted by it.
fn packed_pieces(entry: &Entry, packs: &[Pack]) -> Result<Vec<Piece>> {
    let belongs = entry.membership();
    let mut pieces = HashMap::new();
    for (pack, opened) in packs.iter().enumerate() {
        let files = opened.manifest.files.iter().enumerate();
        let chosen: Vec<_> = files
            .filter(|(_, it)| belongs(&it.sha256, it.bytes))
            .collect();
        opened.check(&chosen.iter().map(|(file, _)| *file).collect::<Vec<_>>())?;
        for (file, packed) in chosen {
            let (name, digest) = (packed.name.clone(), packed.sha256.clone());
            let place = Place::Packed { pack, file };
            pieces
                .entry(digest.clone())
                .or_insert(Piece::new(name, digest, place));
        }
    }
    let mut pieces: Vec<Piece> = pieces.into_values().collect();
    pieces.sort_by(|a, b| a.source.sha256.cmp(&b.source.sha256));
    make_names_unique(&mut pieces);
    Ok(pieces)
}

#[cfg(test)]
mod tests;
