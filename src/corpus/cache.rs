//! The cache: each corpus once it was had, as one plain tar file that is written whole or not at all.
//!
//! `<cache>/<corpus>.tar` holds the pieces, each once and named by its SHA-256, and last a `manifest.json` with their names
//! and where they came from. `<cache>/downloads/` holds what is on its way. Reading is by position, from any thread.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::BufWriter;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::CorpusError;
use crate::checksum::sha256;
use crate::tell;

const MANIFEST: &str = "manifest.json";
const FORMAT: u32 = 1;

/// What a cached corpus says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this format.
    pub format: u32,
    /// The corpus.
    pub corpus: String,
    /// Where it was had.
    pub origin: String,
    /// Its files, in the order of the tar.
    pub files: Vec<PackedFile>,
}

/// One file of a cached corpus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedFile {
    /// Its path in the archive that it came from.
    pub name: String,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
}

/// Where the corpus `name` is cached.
pub fn path(cache: &Path, name: &str) -> PathBuf {
    cache.join(format!("{name}.tar"))
}

/// Holds the cache for one writer until dropped; waits, and says so, while another program holds it.
pub fn lock(cache: &Path) -> Result<File, CorpusError> {
    let path = cache.join(".lock");
    let failed = |err| disk("open the lock", &path, err);
    fs::create_dir_all(cache).map_err(failed)?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    if file.try_lock().is_err() {
        tell!(
            "waiting for another harness that is writing to {}",
            cache.display()
        );
        file.lock().map_err(failed)?;
    }
    Ok(file)
}

/// An error of the disk that the cache is on, with what to do about it.
pub fn disk(tried: &str, path: &Path, err: std::io::Error) -> CorpusError {
    let remedy = match err.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            "free some space, or "
        }
        _ => "",
    };
    CorpusError::Disk(format!(
        "failed to {tried} at {}: {err}; {remedy}let HARNESS_DATA name a directory with room that can be written",
        path.display()
    ))
}

/// A cached corpus in the making. Dropped before [`PackWriter::finish`], it leaves nothing behind.
pub struct PackWriter {
    tar: Option<tar::Builder<BufWriter<File>>>,
    temporary: PathBuf,
    target: PathBuf,
    files: Vec<PackedFile>,
    places: HashMap<String, usize>,
}

impl PackWriter {
    /// Begins the cache entry of the corpus `name`. The caller holds the [`lock`].
    pub fn create(cache: &Path, name: &str) -> Result<Self, CorpusError> {
        let temporary = cache.join(format!(".{name}.tar.part"));
        let file = File::create(&temporary)
            .map_err(|err| disk("create the cached corpus", &temporary, err))?;
        let tar = Some(tar::Builder::new(BufWriter::with_capacity(1 << 18, file)));
        Ok(PackWriter {
            tar,
            temporary,
            target: path(cache, name),
            files: Vec::new(),
            places: HashMap::new(),
        })
    }

    /// Adds a file, unless one with the same bytes is there already.
    pub fn add(&mut self, name: String, sha256: String, bytes: &[u8]) -> Result<(), CorpusError> {
        if self.places.contains_key(&sha256) {
            return Ok(());
        }
        self.append(&sha256, bytes)?;
        self.places.insert(sha256.clone(), self.files.len());
        self.files.push(PackedFile {
            name,
            sha256,
            bytes: bytes.len() as u64,
        });
        Ok(())
    }

    /// The files added so far.
    pub fn files(&self) -> &[PackedFile] {
        &self.files
    }

    /// Writes the manifest, makes everything durable, and puts the entry in its place.
    pub fn finish(mut self, corpus: &str, origin: &str) -> Result<(), CorpusError> {
        let files = std::mem::take(&mut self.files);
        let manifest = Manifest {
            format: FORMAT,
            corpus: corpus.into(),
            origin: origin.into(),
            files,
        };
        let text = serde_json::to_vec_pretty(&manifest).expect("a manifest is plain data");
        self.append(MANIFEST, &text)?;
        let tar = self.tar.take().expect("taken only here");
        let written = (|| {
            let file = tar
                .into_inner()?
                .into_inner()
                .map_err(|err| err.into_error())?;
            file.sync_all()?;
            fs::rename(&self.temporary, &self.target)?;
            File::open(self.target.parent().expect("it is in the cache"))?.sync_all()
        })();
        written.map_err(|err| disk("write the cached corpus", &self.target, err))
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> Result<(), CorpusError> {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        let tar = self.tar.as_mut().expect("taken only by finish");
        tar.append_data(&mut header, name, bytes)
            .map_err(|err| disk("write the cached corpus", &self.temporary, err))
    }
}

impl Drop for PackWriter {
    fn drop(&mut self) {
        // After a finish the file has been renamed, and there is nothing to remove.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// A cached corpus, open for reading.
#[derive(Debug)]
pub struct Pack {
    file: File,
    path: PathBuf,
    offsets: Vec<u64>,
    /// What it says of itself.
    pub manifest: Manifest,
}

impl Pack {
    /// Opens the cached corpus at `path` and finds its files. Their bytes are not looked at: see [`Pack::check`].
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|err| {
            CorpusError::Unavailable(format!("failed to open {}: {err}", path.display()))
        })?;
        Self::index(file, path).map_err(|err| damaged(path, &format!("{err:#}")).into())
    }

    fn index(file: File, path: &Path) -> Result<Self> {
        let mut offsets = HashMap::new();
        let mut manifest = None;
        let mut archive = tar::Archive::new(&file);
        for entry in archive.entries_with_seek()? {
            let entry = entry?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            if name == MANIFEST {
                manifest = Some(serde_json::from_reader::<_, Manifest>(entry)?);
            } else {
                offsets.insert(name, (entry.raw_file_position(), entry.size()));
            }
        }
        let manifest = manifest.context("it has no manifest")?;
        anyhow::ensure!(
            manifest.format == FORMAT,
            "it has format {}, this harness writes {FORMAT}",
            manifest.format
        );
        let find = |file: &PackedFile| match offsets.get(&file.sha256) {
            Some((offset, size)) if *size == file.bytes => Ok(*offset),
            _ => anyhow::bail!("'{}' is not in it", file.name),
        };
        let offsets = manifest.files.iter().map(find).collect::<Result<_>>()?;
        Ok(Pack {
            file,
            path: path.into(),
            offsets,
            manifest,
        })
    }

    /// The bytes of file `index` of the manifest.
    pub fn read(&self, index: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.manifest.files[index].bytes as usize];
        self.file
            .read_exact_at(&mut bytes, self.offsets[index])
            .map_err(|err| damaged(&self.path, &err.to_string()))?;
        Ok(bytes)
    }

    /// Reads the files `indices` and compares them with the manifest, all threads together.
    pub fn check(&self, indices: &[usize]) -> Result<()> {
        indices.par_iter().try_for_each(|index| {
            let file = &self.manifest.files[*index];
            if sha256(&self.read(*index)?) != file.sha256 {
                return Err(damaged(
                    &self.path,
                    &format!("the bytes of '{}' have changed", file.name),
                )
                .into());
            }
            Ok(())
        })
    }
}

fn damaged(path: &Path, what: &str) -> CorpusError {
    CorpusError::Integrity(format!(
        "the cached corpus {} is damaged: {what}; `harness corpus fetch --again {}` gets it anew",
        path.display(),
        path.file_stem().unwrap_or_default().to_string_lossy()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(bytes: &[u8]) -> String {
        sha256(bytes)
    }

    fn write(cache: &Path) -> PathBuf {
        let mut pack = PackWriter::create(cache, "tunes").unwrap();
        for (name, bytes) in [
            ("a/first.mid", "first"),
            ("b.mid", "second"),
            ("copy.mid", "first"),
        ] {
            pack.add(name.into(), digest(bytes.as_bytes()), bytes.as_bytes())
                .unwrap();
        }
        pack.finish("tunes", "a test").unwrap();
        path(cache, "tunes")
    }

    #[test]
    fn what_was_packed_is_read_again_each_content_once() {
        let cache = tempfile::tempdir().unwrap();
        let pack = Pack::open(&write(cache.path())).unwrap();
        assert_eq!(pack.manifest.origin, "a test");
        let names: Vec<_> = pack
            .manifest
            .files
            .iter()
            .map(|file| file.name.as_str())
            .collect();
        assert_eq!(names, ["a/first.mid", "b.mid"]);
        assert_eq!(pack.read(0).unwrap(), b"first");
        assert_eq!(pack.read(1).unwrap(), b"second");
        pack.check(&[0, 1]).unwrap();
    }

    #[test]
    fn a_writer_that_is_dropped_leaves_nothing_behind() {
        let cache = tempfile::tempdir().unwrap();
        let mut pack = PackWriter::create(cache.path(), "tunes").unwrap();
        pack.add("a.mid".into(), digest(b"a"), b"a").unwrap();
        drop(pack);
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0);
    }

    #[test]
    fn damage_is_found_and_named() {
        let cache = tempfile::tempdir().unwrap();
        let path = write(cache.path());
        let whole = fs::read(&path).unwrap();
        let mut changed = whole.clone();
        let at = whole.windows(6).position(|it| it == b"second").unwrap();
        changed[at] ^= 1;
        fs::write(&path, &changed).unwrap();
        let err = Pack::open(&path).unwrap().check(&[0, 1]).unwrap_err();
        assert!(
            err.to_string()
                .contains("the bytes of 'b.mid' have changed"),
            "{err}"
        );
        for length in [0, 700, 1300, whole.len() / 2] {
            fs::write(&path, &whole[..length]).unwrap();
            let err = Pack::open(&path).unwrap_err();
            assert!(
                matches!(err.downcast_ref(), Some(CorpusError::Integrity(_))),
                "{length}: {err}"
            );
        }
    }
}
