//! From what a user calls an experiment to its file.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::explain::nearest;
use crate::bail_usage;

/// Where experiments are kept.
const FOLDER: &str = "experiments";

/// The file of the experiment `named`: a path, or the name of one in `experiments/` or a folder in it, such as `quickstart`.
///
/// # Errors
/// When there is none or there are several, with what would work.
pub fn find(named: &Path) -> Result<PathBuf> {
    find_in(named, Path::new(FOLDER))
}

fn find_in(named: &Path, folder: &Path) -> Result<PathBuf> {
    if named.exists() && !named.is_dir() {
        return Ok(named.to_path_buf());
    }
    let kept = kept_in(folder);
    let is_bare = named.components().count() == 1;
    let matching: Vec<&PathBuf> = kept
        .iter()
        .filter(|it| is_bare && (it.file_stem() == Some(named.as_os_str()) || it.ends_with(named)))
        .collect();
    let shown = named.display();
    match matching[..] {
        [only] => return Ok(only.clone()),
        [] => {}
        _ => bail_usage!(
            "'{shown}' could be any of {}: give the path",
            list(matching.into_iter())
        ),
    }
    if named.is_dir() {
        match experiments_in(named).first() {
            Some(first) => bail_usage!(
                "'{shown}' is a folder, and an experiment is one file, such as '{}'",
                first.display()
            ),
            None => bail_usage!(
                "'{shown}' is a folder, and an experiment is a YAML file; MIDI files of your own are a corpus, which -S corpus={shown} sets"
            ),
        }
    }
    let stems: Vec<&str> = kept
        .iter()
        .filter_map(|it| it.file_stem()?.to_str())
        .collect();
    let wanted = named.file_stem().unwrap_or_default().to_string_lossy();
    match nearest(&wanted, stems.iter().copied()) {
        Some(name) => bail_usage!("there is no experiment '{shown}'; did you mean `{name}`?"),
        None if kept.is_empty() => bail_usage!(
            "there is no experiment '{shown}', and no folder '{}' to look for one in: name its YAML file",
            folder.display()
        ),
        None => bail_usage!(
            "there is no experiment '{shown}': name its YAML file, or one of {}",
            stems.join(", ")
        ),
    }
}

fn list<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> String {
    let names: Vec<String> = paths.map(|it| format!("'{}'", it.display())).collect();
    names.join(", ")
}

/// The experiments of `folder` and of each folder in it.
fn kept_in(folder: &Path) -> Vec<PathBuf> {
    let mut kept = experiments_in(folder);
    for inner in entries(folder).iter().filter(|it| it.is_dir()) {
        kept.append(&mut experiments_in(inner));
    }
    kept
}

fn experiments_in(folder: &Path) -> Vec<PathBuf> {
    let mut files = entries(folder);
    files.retain(|it| it.extension().is_some_and(|it| it == "yaml" || it == "yml"));
    files
}

/// What is in `folder`, sorted; nothing where it cannot be read, as where there is none.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut entries: Vec<PathBuf> = read.map(|it| it.path()).collect();
    entries.sort();
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_finds_its_file_and_what_finds_none_says_what_would() {
        let root = tempfile::tempdir().unwrap();
        let kept = root.path().join("kept");
        for folder in ["more", "other"] {
            fs::create_dir_all(kept.join(folder)).unwrap();
        }
        for file in [
            "quickstart.yaml",
            "more/tuned.yaml",
            "more/twice.yaml",
            "other/twice.yaml",
        ] {
            fs::write(kept.join(file), "").unwrap();
        }
        let find = |named: &Path| find_in(named, &kept).map_err(|error| error.to_string());
        let by_name = |named: &str| find(Path::new(named));
        assert_eq!(by_name("quickstart").unwrap(), kept.join("quickstart.yaml"));
        assert_eq!(by_name("tuned.yaml").unwrap(), kept.join("more/tuned.yaml"));
        let path = kept.join("more/tuned.yaml");
        assert_eq!(find(&path).unwrap(), path);
        assert!(by_name("twice").unwrap_err().contains("could be any of"));
        assert!(
            by_name("quikstart")
                .unwrap_err()
                .ends_with("did you mean `quickstart`?")
        );
        assert!(
            by_name("zzz")
                .unwrap_err()
                .contains("or one of quickstart, tuned")
        );
        let folder = find(&kept).unwrap_err();
        assert!(
            folder.contains("is a folder") && folder.contains("quickstart.yaml"),
            "{folder}"
        );
        let empty = root.path().join("empty");
        fs::create_dir(&empty).unwrap();
        assert!(find(&empty).unwrap_err().contains("-S corpus="));
    }
}
