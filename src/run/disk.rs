//! How this room writes files: whole or not at all.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};

use super::error::RunError;
use super::record::RECORD;
use crate::bail_usage;

/// What the names of unfinished files begin with; a process that died may leave some behind, and they mean nothing.
pub const UNFINISHED: &str = ".unfinished-";

/// Writes `bytes` to `path`, so that a reader or a crash sees the old file or the new one and never a part.
///
/// A temporary file beside it is written, fsynced and renamed, then the folder is fsynced. On failure the temporary
/// file is removed, which also gives back its space on a full disk.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    replace_atomically(path, |unfinished| {
        let mut file = File::create(unfinished)?;
        file.write_all(bytes)?;
        Ok(())
    })
}

/// As [`write_atomically`], for a writer that wants a path of its own to write to.
pub fn replace_atomically(path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = path
        .file_name()
        .with_context(|| format!("'{}' has no file name to write to", path.display()))?;
    let unfinished = folder.join(format!("{UNFINISHED}{}", name.to_string_lossy()));
    let outcome = write(&unfinished).and_then(|()| {
        File::open(&unfinished)?.sync_all()?;
        fs::rename(&unfinished, path)?;
        sync_folder(folder)?;
        Ok(())
    });
    outcome.map_err(|error| {
        // Removing may fail as well, for example in a read-only folder: the first error is the one to tell.
        let _ = fs::remove_file(&unfinished);
        explain(error, path)
    })
}

/// The bytes of the file `path`. What stands there and is no file is damage; a pipe would be waited for, a device might never end.
pub fn read_file(path: &Path) -> Result<Vec<u8>> {
    let read = || {
        let metadata = fs::metadata(path)?;
        Ok(match metadata.is_file() {
            true => Some(fs::read(path)?),
            false => None,
        })
    };
    let bytes = read().map_err(|error: io::Error| {
        let advice = match error.kind() {
            ErrorKind::PermissionDenied => ": make it readable",
            _ => "",
        };
        anyhow::Error::new(error).context(format!("failed to read '{}'{advice}", path.display()))
    })?;
    bytes.ok_or_else(|| {
        RunError::Corrupt {
            file: path.to_path_buf(),
            reason: "it is no file; put back a copy of it".into(),
        }
        .into()
    })
}

/// The bytes of the file `path`, which a user named: refused if it is no file, since a pipe would be waited for and a device might never
/// end, or if it has more than `most` bytes.
pub fn read_regular(path: &Path, most: u64) -> Result<Vec<u8>> {
    let metadata = fs::metadata(path)?;
    ensure!(
        metadata.is_file(),
        "it is no file but a folder, a pipe or a device"
    );
    let mut bytes = Vec::new();
    // A file may grow, and some say that they are empty and are not.
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    ensure!(
        bytes.len() as u64 <= most,
        "it has more than {} MiB, which is too much",
        most >> 20
    );
    Ok(bytes)
}

/// An error if `output`, which is about to be written, lies in the folder of a run: what is there is the run's own.
pub fn ensure_outside_of_runs(output: &Path) -> Result<()> {
    let folder = match output.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // A folder that is not there holds no run; writing to it fails with a word of its own.
    let Ok(folder) = folder.canonicalize() else {
        return Ok(());
    };
    match folder.ancestors().find(|it| it.join(RECORD).is_file()) {
        None => Ok(()),
        Some(run) => bail_usage!(
            "'{}' lies in the folder of a run, '{}', whose files are its own: name a file elsewhere",
            output.display(),
            run.display()
        ),
    }
}

/// Makes a rename or a removal in `folder` last.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    File::open(folder)?.sync_all()
}

/// Names the file that could not be written, and what would help.
fn explain(error: anyhow::Error, path: &Path) -> anyhow::Error {
    let kind = error
        .chain()
        .find_map(|it| it.downcast_ref::<io::Error>())
        .map(io::Error::kind);
    let advice = match kind {
        Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
            ": no space left; what was written before is whole; free some space, then continue with `harness resume RUN`"
        }
        Some(ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
            ": the folder cannot be written to; make it writable, or work in another folder"
        }
        Some(ErrorKind::NotFound) => ": its folder is gone",
        _ => "",
    };
    error.context(format!("failed to write '{}'{advice}", path.display()))
}

/// Creates `folder` and its parents.
pub fn create_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|error| explain(error.into(), folder))
}

/// The files below `folder`, as paths relative to it with `/`, sorted; unfinished files and links are left out.
pub fn files_below(folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut open: Vec<(PathBuf, String)> = vec![(folder.to_path_buf(), String::new())];
    while let Some((path, prefix)) = open.pop() {
        let entries =
            fs::read_dir(&path).with_context(|| format!("failed to list '{}'", path.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("failed to list '{}'", path.display()))?;
            let name = entry.file_name();
            let name = name
                .to_str()
                .ok_or_else(|| anyhow!("a file name in '{}' is not Unicode", path.display()))?;
            let kind = entry
                .file_type()
                .with_context(|| format!("failed to read '{}'", entry.path().display()))?;
            if kind.is_dir() {
                open.push((entry.path(), format!("{prefix}{name}/")));
            } else if kind.is_file() && !name.starts_with(UNFINISHED) {
                found.push(format!("{prefix}{name}"));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Removes what a dead process left half-written below `folder`. The caller holds the lock of the run.
pub fn remove_unfinished(folder: &Path) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("failed to list '{}'", folder.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("failed to list '{}'", folder.display()))?;
        let kind = entry
            .file_type()
            .with_context(|| format!("failed to read '{}'", entry.path().display()))?;
        if kind.is_dir() {
            remove_unfinished(&entry.path())?;
        } else if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            fs::remove_file(entry.path())
                .with_context(|| format!("failed to remove '{}'", entry.path().display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_damage_and_what_is_absent_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let of = |path: &Path| read_file(path).unwrap_err().downcast::<RunError>();
        assert!(
            of(folder.path())
                .unwrap()
                .to_string()
                .contains("is no file")
        );
        assert!(of(&folder.path().join("absent")).is_err());
    }

    #[test]
    fn a_file_that_a_user_names_is_read_up_to_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("four");
        fs::write(&path, b"1234").unwrap();
        assert_eq!(read_regular(&path, 4).unwrap(), b"1234");
        let refusal = |path: &Path, most| read_regular(path, most).unwrap_err().to_string();
        assert!(refusal(&path, 3).contains("too much"));
        assert!(refusal(folder.path(), 4).contains("is no file"));
        #[cfg(unix)]
        assert!(refusal(Path::new("/dev/zero"), 4).contains("is no file"));
    }

    #[test]
    fn nothing_is_written_into_the_folder_of_a_run() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("0001-abcdef");
        fs::create_dir_all(run.join("samples")).unwrap();
        assert!(ensure_outside_of_runs(&run.join("a.mid")).is_ok());
        fs::write(run.join(RECORD), "{}").unwrap();
        for inside in ["a.mid", "samples/a.mid", "samples/../final.safetensors"] {
            assert!(
                ensure_outside_of_runs(&run.join(inside)).is_err(),
                "{inside}"
            );
        }
        assert!(ensure_outside_of_runs(&folder.path().join("a.mid")).is_ok());
        assert!(ensure_outside_of_runs(&run.join("absent/a.mid")).is_ok());
        #[cfg(unix)]
        {
            let link = folder.path().join("link");
            std::os::unix::fs::symlink(&run, &link).unwrap();
            assert!(ensure_outside_of_runs(&link.join("a.mid")).is_err());
        }
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_trace() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table");
        write_atomically(&path, b"old").unwrap();
        let failure = replace_atomically(&path, |unfinished| {
            fs::write(unfinished, b"half")?;
            Err(io::Error::from(ErrorKind::StorageFull).into())
        });
        let message = format!("{:#}", failure.unwrap_err());
        assert!(
            message.contains("table")
                && message.contains("no space left")
                && message.contains("resume"),
            "{message}"
        );
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(files_below(folder.path()).unwrap(), ["table"]);
    }
}
