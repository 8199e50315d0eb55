//! An encoded corpus as one file, so that it is read and encoded once.
//!
//! ```text
//! magic, 8 bytes · length of the JSON, 8 bytes · JSON: key, pieces, music, lengths of the arrays
//! symbols, 16 bytes each · their counts, 8 bytes each · tokens, 4 bytes each · SHA-256 of all before, 32 bytes
//! ```
//! Numbers are little-endian. The key says what the file was made from; a file with another key, or a damaged one, is not used.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::dataset::{Dataset, EncodedPiece, RejectedPiece};
use super::statistics::Music;
use super::vocabulary::{Vocabulary, VocabularyConfig};
use super::{EncodingConfig, Symbol};
use crate::checksum::sha256;

/// Names the format, and ends with its version.
const MAGIC: &[u8; 8] = b"harness1";

/// A hash of the sources that read and encode corpora, of `build.rs`: what other sources made is made anew.
const READERS: &str = env!("HARNESS_READERS");

const CHECKSUM: usize = 32;

/// An encoded corpus: where it is kept, and what it is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The file. Its name leaves the readers out, so that a change of them does not leave the older file behind.
    pub path: PathBuf,
    /// What the file says that it is made from, and by which readers.
    pub key: String,
}

/// The place in the directory `cache` of a corpus with this fingerprint, so split and so encoded.
pub fn entry(
    cache: &Path,
    fingerprint: &str,
    splits: &str,
    encoding: &EncodingConfig,
    vocabulary: &VocabularyConfig,
) -> Entry {
    entry_of(
        cache,
        READERS,
        &format!("corpus {fingerprint}, splits {splits}, {encoding:?}, {vocabulary:?}"),
    )
}

fn entry_of(cache: &Path, readers: &str, content: &str) -> Entry {
    let name = format!("{}.dataset", &sha256(content.as_bytes())[..16]);
    Entry {
        path: cache.join("encoded").join(name),
        key: format!("readers {readers}, {content}"),
    }
}

/// The dataset in the file at `path` if it was made from what `key` says, or else a new one from `build`, which is saved there.
///
/// The second value says what was amiss with the file, or why a new one could not be saved, if anything.
pub fn load_or_build(
    path: &Path,
    key: &str,
    build: impl FnOnce() -> Result<Dataset>,
) -> Result<(Dataset, Vec<String>)> {
    let mut notices = Vec::new();
    if path.exists() {
        match load(path, key) {
            Ok(dataset) => return Ok((dataset, notices)),
            Err(error) => notices.push(format!(
                "encoded corpus '{}' is made anew: {error:#}",
                path.display()
            )),
        }
    }
    let dataset = build()?;
    if let Err(error) = save(&dataset, path, key) {
        notices.push(format!(
            "failed to save encoded corpus '{}': {error:#}",
            path.display()
        ));
    }
    Ok((dataset, notices))
}

/// Writes a dataset to `path`: to a temporary file beside it, which then takes its place.
pub fn save(dataset: &Dataset, path: &Path, key: &str) -> Result<()> {
    let folder = path.parent().context("the path has no folder")?;
    fs::create_dir_all(folder)?;
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = write(dataset, &temporary, key).and_then(|()| Ok(fs::rename(&temporary, path)?));
    if written.is_err() {
        // The error is what matters; a file that was never made cannot be removed.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Reads the dataset at `path`, if it is whole and was made from what `key` says.
pub fn load(path: &Path, key: &str) -> Result<Dataset> {
    parse(&fs::read(path)?, key)
}

/// The part of the file that is JSON.
#[derive(Serialize, Deserialize)]
struct Head {
    key: String,
    known: usize,
    unknown: usize,
    tokens: usize,
    pieces: Vec<EncodedPiece>,
    rejected: Vec<RejectedPiece>,
    music: [Music; 3],
}

fn write(dataset: &Dataset, path: &Path, key: &str) -> Result<()> {
    let head = serde_json::to_vec(&Head {
        key: key.to_owned(),
        known: dataset.vocabulary.len(),
        unknown: dataset.unknown.len(),
        tokens: dataset.tokens.len(),
        pieces: dataset.pieces.clone(),
        rejected: dataset.rejected.clone(),
        music: dataset.music.clone(),
    })?;
    let mut out = Checked {
        file: fs::File::create(path)?,
        digest: Sha256::new(),
    };
    out.write(MAGIC)?;
    out.write(&(head.len() as u64).to_le_bytes())?;
    out.write(&head)?;
    let symbols = || dataset.vocabulary.iter().chain(dataset.unknown.iter());
    out.write_all(symbols().map(|(symbol, _)| symbol.0.to_le_bytes()))?;
    out.write_all(symbols().map(|(_, count)| count.to_le_bytes()))?;
    out.write_all(dataset.tokens.iter().map(|token| token.to_le_bytes()))?;
    let Checked { mut file, digest } = out;
    file.write_all(&digest.finalize())?;
    Ok(file.sync_all()?)
}

/// A file, and the checksum of what went into it.
struct Checked {
    file: fs::File,
    digest: Sha256,
}

impl Checked {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.digest.update(bytes);
        Ok(self.file.write_all(bytes)?)
    }

    fn write_all<const N: usize>(
        &mut self,
        mut numbers: impl Iterator<Item = [u8; N]>,
    ) -> Result<()> {
        let mut buffer = Vec::new();
        loop {
            buffer.clear();
            buffer.extend(numbers.by_ref().take(1 << 16).flatten());
            if buffer.is_empty() {
                return Ok(());
            }
            self.write(&buffer)?;
        }
    }
}

fn parse(bytes: &[u8], key: &str) -> Result<Dataset> {
    ensure!(
        bytes.starts_with(MAGIC),
        "it is no encoded corpus of this version"
    );
    let body = bytes
        .len()
        .checked_sub(CHECKSUM)
        .context("it is cut short")?;
    let (body, checksum) = bytes.split_at(body);
    let length: [u8; 8] = body.get(8..16).context("it is cut short")?.try_into()?;
    let head = 16usize
        .checked_add(usize::try_from(u64::from_le_bytes(length))?)
        .and_then(|end| body.get(16..end));
    let head = head.context("it is cut short")?;
    let arrays = &body[16 + head.len()..];
    ensure!(
        Sha256::digest(body)[..] == *checksum,
        "its checksum differs"
    );
    let head: Head = serde_json::from_slice(head)?;
    ensure!(
        head.key == key,
        "it was made from something else ({}, not {key})",
        head.key
    );
    let symbols = head.known + head.unknown;
    ensure!(
        arrays.len() == symbols * 24 + head.tokens * 4,
        "its lengths do not agree"
    );
    let (packed, rest) = arrays.split_at(symbols * 16);
    let (counts, tokens) = rest.split_at(symbols * 8);
    let mut counted: Vec<(Symbol, u64)> = numbers(packed)
        .map(|it| Symbol(u128::from_le_bytes(it)))
        .zip(numbers(counts).map(u64::from_le_bytes))
        .collect();
    let unknown = Vocabulary::in_order(counted.split_off(head.known));
    Ok(Dataset {
        vocabulary: Vocabulary::in_order(counted),
        unknown,
        pieces: head.pieces,
        rejected: head.rejected,
        tokens: numbers(tokens).map(u32::from_le_bytes).collect(),
        music: head.music,
    })
}

/// Numbers of `N` bytes, one after the other.
fn numbers<const N: usize>(bytes: &[u8]) -> impl ExactSizeIterator<Item = [u8; N]> {
    bytes
        .chunks_exact(N)
        .map(|number| number.try_into().expect("a chunk has N bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::dataset::tests::small;
    use crate::encoding::vocabulary::VocabularySource;

    #[test]
    fn what_other_readers_made_is_made_anew_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let old = entry_of(folder.path(), "old", "corpus 1");
        let new = entry_of(folder.path(), "new", "corpus 1");
        save(&small(VocabularySource::Corpus, 1), &old.path, &old.key).unwrap();
        let dataset = small(VocabularySource::Train, 1);
        let (found, notices) = load_or_build(&new.path, &new.key, || Ok(dataset.clone())).unwrap();
        assert_eq!((found, notices.len()), (dataset.clone(), 1));
        assert_eq!(load(&new.path, &new.key).unwrap(), dataset);
        assert_eq!(old.path, new.path, "the older file is not left behind");
    }

    #[test]
    fn the_key_tells_the_readers_and_all_that_decides_the_tokens() {
        let of = |fingerprint: &str, splits: &str, limit: Option<usize>, from| {
            let encoding = EncodingConfig {
                polyphony_limit: limit,
                ..EncodingConfig::default()
            };
            let vocabulary = VocabularyConfig { from };
            entry(Path::new("c"), fingerprint, splits, &encoding, &vocabulary)
        };
        let entries = [
            of("1", "hash", None, VocabularySource::Train),
            of("2", "hash", None, VocabularySource::Train),
            of("1", "published", None, VocabularySource::Train),
            of("1", "hash", Some(4), VocabularySource::Train),
            of("1", "hash", None, VocabularySource::Corpus),
        ];
        for (at, entry) in entries.iter().enumerate() {
            assert!(entry.key.starts_with(&format!("readers {READERS}, ")));
            assert!(entries[..at].iter().all(|it| it.path != entry.path));
        }
    }

    #[test]
    fn a_saved_dataset_loads_as_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below/encoded");
        let dataset = small(VocabularySource::Train, 1);
        let build = || Ok(dataset.clone());
        assert_eq!(
            load_or_build(&path, "key", build).unwrap(),
            (dataset.clone(), vec![])
        );
        let not_again = || anyhow::bail!("built again");
        assert_eq!(
            load_or_build(&path, "key", not_again).unwrap(),
            (dataset.clone(), vec![])
        );
        let (_, notices) = load_or_build(&path, "other", build).unwrap();
        assert!(
            notices[0].contains("made from something else (key, not other)"),
            "{notices:?}"
        );
        assert!(load(&path, "other").is_ok());
        assert_eq!(
            fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "no temporary file is left"
        );
    }

    #[test]
    fn a_damaged_file_is_made_anew_and_that_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("encoded");
        let dataset = small(VocabularySource::Corpus, 1);
        save(&dataset, &path, "key").unwrap();
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 16;
            assert!(parse(&damaged, "key").is_err(), "byte {at}");
            assert!(parse(&whole[..at], "key").is_err(), "{at} bytes");
        }
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let (again, notices) = load_or_build(&path, "key", || Ok(dataset.clone())).unwrap();
        assert_eq!(again, dataset);
        assert!(
            notices[0].ends_with("made anew: its checksum differs"),
            "{notices:?}"
        );
        assert_eq!(load(&path, "key").unwrap(), dataset);
    }
}
