//! Where tests find real corpora: in the folder that `HARNESS_MIRROR` names, else beside the checkout.

use std::path::{Path, PathBuf};

/// The folder of corpora, whether or not there is one.
pub fn folder() -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora");
    std::env::var_os("HARNESS_MIRROR").map_or(beside, PathBuf::from)
}

/// A file of it; `None`, said aloud, where it is not at hand.
pub fn file(name: &str) -> Option<PathBuf> {
    let path = folder().join(name);
    if path.is_file() {
        return Some(path);
    }
    eprintln!(
        "SKIPPED what needs real corpora: there is no '{}'; HARNESS_MIRROR names a folder that has it",
        path.display()
    );
    None
}
