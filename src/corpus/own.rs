//! The user's own corpora: MIDI files below a directory, in an archive, or one by one.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rayon::iter::Either;
use rayon::prelude::*;

use super::archive::{self, Wanted};
use super::catalogue::Format;
use super::midi::is_midi;
use super::piece::{Piece, Place, make_names_unique, roll_pieces};
use super::{Corpus, CorpusError, LeftOut, WhyLeftOut, file_name, files_below, fingerprint, mat};
use crate::checksum::sha256;

/// The most bytes of a user's own archive that are held in memory.
const HELD: usize = 1 << 30;

/// The MIDI files below `folder`, which the user calls `name`.
pub fn open_directory(name: &str, folder: &Path) -> Result<Corpus> {
    let relative = |path: &Path| {
        let inside = path.strip_prefix(folder).unwrap_or(path);
        let parts = inside.components();
        let parts = parts.map(|part| part.as_os_str().to_string_lossy());
        parts.collect::<Vec<_>>().join("/")
    };
    // Only the checksum is kept: a large folder does not fit into memory.
    let examine = |path: PathBuf| -> Result<(String, PathBuf, Result<String, String>), String> {
        let name = relative(&path);
        let head = match first_bytes(&path) {
            Ok(head) => head,
            Err(err) if is_midi(&name, &[]) => return Ok((name, path, Err(err.to_string()))),
            Err(_) => return Err(name),
        };
        if !is_midi(&name, &head) {
            return Err(name);
        }
        let digest = read_score(&path)
            .map(|bytes| sha256(&bytes))
            .map_err(|err| err.to_string());
        Ok((name, path, digest))
    };
    let files = files_below(folder).map_err(|err| unreadable(name, err))?;
    let (found, skipped): (Vec<_>, Vec<_>) =
        files
            .into_par_iter()
            .partition_map(|path| match examine(path) {
                Ok(found) => Either::Left(found),
                Err(name) => Either::Right(name),
            });
    let (mut pieces, mut left_out) = (Vec::new(), Vec::new());
    for (name, path, digest) in found {
        match digest {
            Ok(sha256) => pieces.push(Piece::new(name, sha256, Place::File(path))),
            Err(why) => left_out.push(LeftOut {
                name,
                why: WhyLeftOut::Unreadable(why),
            }),
        }
    }
    let corpus = own(name, "directory", Format::Midi, pieces, left_out)?;
    Ok(Corpus { skipped, ..corpus })
}

/// The MIDI file, archive of MIDI files or piano rolls at `path`, which the user calls `name`.
pub fn open_file(name: &str, path: &Path) -> Result<Corpus> {
    let kind = fs::metadata(path).map_err(|err| unreadable(name, err))?;
    if !kind.is_file() {
        // Opening a pipe would wait until another program writes to it.
        return Err(CorpusError::Unknown(format!(
            "'{name}' is no corpus: it is a pipe, socket or device, and only files and directories are read"
        ))
        .into());
    }
    let all_bytes = || read_score(path).map_err(|err| unreadable(name, err));
    let head = first_bytes(path).map_err(|err| unreadable(name, err))?;
    if archive::is_archive(&head) {
        let (pieces, left_out, skipped) = archive_pieces(path).map_err(|err| {
            CorpusError::Integrity(format!("failed to read the archive '{name}': {err:#}"))
        })?;
        let corpus = own(name, "archive", Format::Midi, pieces, left_out)?;
        Ok(Corpus { skipped, ..corpus })
    } else if head.starts_with(b"MATLAB 5.0") {
        let rolls = mat::read(&all_bytes()?).map_err(|err| {
            CorpusError::Integrity(format!("failed to read the piano rolls '{name}': {err:#}"))
        })?;
        let pieces = roll_pieces(rolls);
        own(name, "file", Format::PianoRoll, pieces, Vec::new())
    } else if is_midi(name, &head) {
        let digest = sha256(&all_bytes()?);
        let piece = Piece::new(file_name(path), digest, Place::File(path.into()));
        own(name, "file", Format::Midi, vec![piece], Vec::new())
    } else {
        Err(CorpusError::Unknown(format!(
            "'{name}' is no corpus: only a directory, a tar, tar.gz or zip archive of MIDI files, a MIDI file or a .mat file is read"
        ))
        .into())
    }
}

/// The MIDI files of the archive at `path`, the members that cannot be read, and the names of those that are no MIDI.
fn archive_pieces(path: &Path) -> Result<(Vec<Piece>, Vec<LeftOut>, Vec<String>)> {
    let skipped = RefCell::new(Vec::new());
    let member = |name: &str, head: &[u8]| {
        let is_midi = is_midi(name, head);
        if !is_midi {
            skipped.borrow_mut().push(name.to_owned());
        }
        is_midi
    };
    let (mut pieces, mut left_out) = (Vec::new(), Vec::new());
    let mut held = 0;
    let wanted = Wanted {
        member: &member,
        nested: false,
    };
    archive::visit(path, &wanted, &mut |name, bytes| {
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(why) => {
                let why = WhyLeftOut::Unreadable(format!("{why:#}"));
                left_out.push(LeftOut { name, why });
                return Ok(());
            }
        };
        held += bytes.len();
        anyhow::ensure!(
            held <= HELD,
            "it holds more than {} MiB of MIDI files: unpack it, and name the folder",
            HELD >> 20
        );
        pieces.push(Piece::new(name, sha256(&bytes), Place::Held(bytes)));
        Ok(())
    })?;
    // A member may be asked for twice.
    let mut skipped = skipped.into_inner();
    skipped.dedup();
    Ok((pieces, left_out, skipped))
}

/// The error for a path that exists but cannot be read.
pub fn unreadable(name: &str, err: impl std::fmt::Display) -> CorpusError {
    CorpusError::Unavailable(format!("failed to read '{name}': {err}"))
}

/// A corpus of the user's own, found in a directory, archive or file: sorted, and without duplicates.
fn own(
    name: &str,
    found_in: &str,
    format: Format,
    mut found: Vec<Piece>,
    mut left_out: Vec<LeftOut>,
) -> Result<Corpus> {
    let mut pieces: Vec<Piece> = Vec::new();
    if format == Format::PianoRoll {
        pieces = found;
    } else {
        found.sort_by(|a, b| {
            (&a.source.sha256, &a.source.name).cmp(&(&b.source.sha256, &b.source.name))
        });
        for piece in found {
            match pieces.last() {
                Some(last) if last.source.sha256 == piece.source.sha256 => {
                    left_out.push(LeftOut {
                        name: piece.source.name,
                        why: WhyLeftOut::Duplicate(pieces.len() - 1),
                    });
                }
                _ => pieces.push(piece),
            }
        }
    }
    make_names_unique(&mut pieces);
    if pieces.is_empty() && left_out.is_empty() {
        return Err(CorpusError::Unavailable(format!("there is no MIDI file in '{name}'")).into());
    }
    Ok(Corpus {
        name: name.into(),
        title: name.into(),
        synthetic: false,
        stand_in_for: None,
        licence: "the user's own".into(),
        format,
        fingerprint: fingerprint(pieces.iter().map(|piece| piece.source.sha256.as_str())),
        origin: format!("{found_in} {name}"),
        left_out,
        skipped: Vec::new(),
        packs: Vec::new(),
        pieces,
    })
}

/// The bytes of a file that may be a score.
fn read_score(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    file.take(archive::MEMBER + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > archive::MEMBER {
        return Err(archive::too_large());
    }
    Ok(bytes)
}

/// The first bytes of a file, enough to recognise its format.
fn first_bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path)?.take(512).read_to_end(&mut head)?;
    Ok(head)
}

#[cfg(test)]
mod tests;
