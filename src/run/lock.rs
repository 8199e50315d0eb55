//! One process at a time: a lock that the system itself frees when its holder dies.

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};

/// The file of a run's folder that its writer holds locked.
pub const LOCK: &str = "lock";

/// A lock that is held until this value is dropped or its process dies, however that happens.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Locks the file `path`, which is created if it is missing; `None` if another process holds it.
///
/// [`is_held`] takes the lock for an instant, so a refusal is checked again for half a second.
pub fn try_lock(path: &Path) -> Result<Option<Lock>> {
    let file = open(path)?;
    for attempt in 0..10 {
        match file.try_lock() {
            Ok(()) => return Ok(Some(Lock { _file: file })),
            Err(TryLockError::WouldBlock) if attempt < 9 => sleep(Duration::from_millis(50)),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("failed to lock '{}'", path.display()));
            }
        }
    }
    Ok(None)
}

/// Locks the file `path`, which is created if it is missing, after waiting for whoever holds it.
pub fn wait_for_lock(path: &Path) -> Result<Lock> {
    let file = open(path)?;
    file.lock()
        .with_context(|| format!("failed to lock '{}'", path.display()))?;
    Ok(Lock { _file: file })
}

/// Whether another process holds the lock `path`; a missing file is nobody's, and nothing is created.
pub fn is_held(path: &Path) -> bool {
    // What is no file is not opened: a pipe would be waited for.
    path.is_file()
        && File::open(path)
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

fn open(path: &Path) -> Result<File> {
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .with_context(|| {
            format!(
                "failed to open the lock '{}': is its folder writable?",
                path.display()
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_until_the_first_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LOCK);
        assert!(!is_held(&path));
        let first = try_lock(&path).unwrap().expect("free");
        assert!(is_held(&path));
        assert!(try_lock(&path).unwrap().is_none());
        drop(first);
        assert!(!is_held(&path));
        assert!(try_lock(&path).unwrap().is_some());
    }
}
