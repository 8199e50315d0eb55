//! Where tests find real corpora: in the folder that `HARNESS_MIRROR` names, else beside the checkout.

use std::path::{Path, PathBuf};

use crate::skip::skipped;

/// The folder of corpora, whether or not there is one.
pub fn folder() -> PathBuf {
    named().unwrap_or_else(beside)
}

fn named() -> Option<PathBuf> {
    let name = std::env::var_os("HARNESS_MIRROR").filter(|name| !name.is_empty());
    name.map(PathBuf::from)
}

fn beside() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora")
}

/// A file of it; `None`, and the test counts as skipped, where it is not at hand.
pub fn file(name: &str) -> Option<PathBuf> {
    let path = folder().join(name);
    if path.is_file() {
        return Some(path);
    }
    let expected = should_be_there(name, named().is_some() || beside().is_dir());
    skipped(
        &format!("there is no corpus at '{}'", path.display()),
        expected,
    );
    None
}

/// Whether a folder of corpora should have the file; `is_there`: there is one, or one was named. A wheel comes from a package index.
fn should_be_there(name: &str, is_there: bool) -> bool {
    is_there && !name.ends_with(".whl")
}

#[test]
fn a_corpus_is_missed_where_there_is_a_folder_for_it() {
    assert!(should_be_there("muse/MuseData.mat", true));
    assert!(!should_be_there("muse/MuseData.mat", false));
    assert!(!should_be_there("music21-10.5.1-py3-none-any.whl", true));
}
