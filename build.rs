//! Bakes into the binary which code it is made of: the commit, and the patch on top of it where there is one; and a hash of the sources
//! that read and encode corpora, by which older encodings are told.
//!
//! Only what the compiler reads counts as code here, so an edited experiment or page does not make a binary "dirty".
//! Without git, or outside a repository, the commit is "unknown" and the build goes on.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// What the compiler reads, besides dependencies (which Cargo.lock pins). Of `data/` it is these files, and never its cache.
const CODE: [&str; 9] = [
    "CITATION.cff",
    "src",
    "build.rs",
    "Cargo.toml",
    "Cargo.lock",
    ".cargo",
    "data/bach_417.txt",
    "data/corpora.yaml",
    "data/malformed.txt",
];

/// What decides which tokens the bytes of a corpus become.
const READERS: [&str; 6] = [
    "src/terminal.rs",
    "src/corpus",
    "src/encoding",
    "src/random.rs",
    "src/checksum.rs",
    "Cargo.lock",
];

fn main() {
    for path in CODE.iter().filter(|path| Path::new(path).exists()) {
        println!("cargo:rerun-if-changed={path}");
    }
    let repository = git(&["rev-parse", "--show-cdup"]).is_some_and(|up| up.trim().is_empty());
    let commit = if repository {
        git(&["rev-parse", "HEAD"])
    } else {
        None
    };
    let patch = commit.as_ref().map(|_| patch());
    for path in commit.iter().flat_map(|_| branch_files()) {
        println!("cargo:rerun-if-changed={}", path.display());
    }

    let dirty = patch.as_ref().map_or(
        "unknown",
        |patch| if patch.is_empty() { "no" } else { "yes" },
    );
    println!(
        "cargo:rustc-env=HARNESS_COMMIT={}",
        commit.as_deref().unwrap_or("unknown").trim()
    );
    println!("cargo:rustc-env=HARNESS_DIRTY={dirty}");
    println!(
        "cargo:rustc-env=HARNESS_TARGET={}",
        env::var("TARGET").unwrap_or_else(|_| "unknown".into())
    );
    println!(
        "cargo:rustc-env=HARNESS_PROFILE={}",
        env::var("PROFILE").unwrap_or_else(|_| "unknown".into())
    );
    println!("cargo:rustc-env=HARNESS_RUSTC={}", rustc());
    println!("cargo:rustc-env=HARNESS_READERS={}", hash_of(&READERS));
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::write(folder.join("code.patch"), patch.unwrap_or_default())
        .expect("cargo's OUT_DIR can be written to");
}

/// What the code has that the commit has not: the changes to tracked files, then each file that git does not know.
fn patch() -> String {
    let mut patch = git(&[
        &["diff", "--no-color", "--no-ext-diff", "HEAD", "--"][..],
        &CODE,
    ]
    .concat())
    .unwrap_or_default();
    let unknown = git(&[
        &["ls-files", "--others", "--exclude-standard", "--"][..],
        &CODE,
    ]
    .concat())
    .unwrap_or_default();
    for path in unknown.lines() {
        let text = fs::read(path).unwrap_or_default();
        patch += &format!("--- /dev/null\n+++ b/{path}\n");
        for line in String::from_utf8_lossy(&text).lines() {
            patch += &format!("+{line}\n");
        }
    }
    patch
}

/// A hash of the files below `paths`, with their names.
fn hash_of(paths: &[&str]) -> String {
    let mut files = Vec::new();
    for path in paths {
        add_files(Path::new(path), &mut files);
    }
    files.sort();
    let mut hasher = DefaultHasher::new();
    for path in files {
        let bytes = fs::read(&path).expect("a source can be read");
        (path, bytes).hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}

fn add_files(path: &Path, files: &mut Vec<PathBuf>) {
    if !path.is_dir() {
        return files.push(path.into());
    }
    for entry in fs::read_dir(path).expect("a folder of sources can be read") {
        add_files(&entry.expect("its entries, too").path(), files);
    }
}

/// The files that change when another commit is checked out or made.
fn branch_files() -> Vec<PathBuf> {
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]).unwrap_or_default();
    ["HEAD", branch.trim(), "packed-refs"]
        .iter()
        .filter(|name| !name.is_empty())
        .filter_map(|name| git(&["rev-parse", "--git-path", name]))
        .map(|path| PathBuf::from(path.trim()))
        .filter(|path| path.exists())
        .collect()
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .args(arguments)
        .output()
        .ok()
        .filter(|it| it.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn rustc() -> String {
    let compiler = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    match Command::new(compiler).arg("--version").output() {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_string()
        }
        _ => "unknown".into(),
    }
}
