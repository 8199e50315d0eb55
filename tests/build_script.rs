//! `build.rs`, compiled and run by itself in a small repository: what it takes for code, and for a reader of corpora.

#[path = "../src/skip.rs"]
mod skip;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use skip::skipped;
use walkdir::WalkDir;

/// The package's own folder.
fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A repository with one commit, and the build script compiled.
struct Repository {
    folder: tempfile::TempDir,
    out: tempfile::TempDir,
}

impl Repository {
    /// `None`, and the test counts as skipped, without git.
    fn new() -> Option<Self> {
        if Command::new("git").arg("--version").output().is_err() {
            skipped("there is no git", false);
            return None;
        }
        let it = Self {
            folder: tempfile::tempdir().unwrap(),
            out: tempfile::tempdir().unwrap(),
        };
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let compiled = Command::new(rustc)
            .args(["--edition", "2024", "-o"])
            .arg(it.out.path().join("build"))
            .arg(package().join("build.rs"))
            .status();
        assert!(compiled.unwrap().success());
        for path in [
            "Cargo.toml",
            "Cargo.lock",
            "build.rs",
            "data/bach_417.txt",
            "data/corpora.yaml",
            "data/malformed.txt",
            "experiments/a.yaml",
            "src/checksum.rs",
            "src/terminal.rs",
            "src/corpus/midi/track.rs",
            "src/encoding/chord.rs",
            "src/random.rs",
            "src/report/mod.rs",
        ] {
            it.write(path, "as it was");
        }
        it.write(".gitignore", "/data/cache/");
        it.git(&["init", "--quiet"]);
        it.git(&["add", "."]);
        it.git(&["commit", "--quiet", "--message", "all"]);
        Some(it)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn git(&self, arguments: &[&str]) {
        let status = Command::new("git")
            .args(["-c", "user.name=A", "-c", "user.email=a@example.org"])
            .args(arguments)
            .current_dir(self.folder.path())
            .status();
        assert!(status.unwrap().success(), "git {arguments:?}");
    }

    /// What the build script bakes in under `name`.
    fn baked(&self, name: &str) -> String {
        let output = Command::new(self.out.path().join("build"))
            .current_dir(self.folder.path())
            .env("OUT_DIR", self.out.path())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let start = format!("cargo:rustc-env={name}=");
        let value = text.lines().find_map(|line| line.strip_prefix(&start));
        value.unwrap_or_else(|| panic!("{text}")).to_owned()
    }

    fn patch(&self) -> String {
        fs::read_to_string(self.out.path().join("code.patch")).unwrap()
    }
}

#[test]
fn a_change_of_what_is_compiled_in_makes_a_build_dirty_and_no_other_does() {
    let Some(repository) = Repository::new() else {
        return;
    };
    assert_eq!(repository.baked("HARNESS_DIRTY"), "no");
    for path in ["data/cache/muse.tar", "data/own.mid", "experiments/a.yaml"] {
        repository.write(path, "another");
        assert_eq!(repository.baked("HARNESS_DIRTY"), "no", "{path}");
    }
    for path in [
        "data/corpora.yaml",
        "data/bach_417.txt",
        "data/malformed.txt",
        "src/report/mod.rs",
    ] {
        repository.write(path, "another");
        assert_eq!(repository.baked("HARNESS_DIRTY"), "yes", "{path}");
        let patch = repository.patch();
        assert!(
            patch.contains(path) && patch.contains("+another"),
            "{patch}"
        );
        repository.write(path, "as it was");
        assert_eq!(repository.baked("HARNESS_DIRTY"), "no", "{path}");
    }
}

#[test]
fn the_hash_of_the_readers_follows_their_sources_and_no_others() {
    let Some(repository) = Repository::new() else {
        return;
    };
    let readers = || repository.baked("HARNESS_READERS");
    let before = readers();
    repository.write("src/report/mod.rs", "another");
    repository.write("data/cache/muse.tar", "another");
    assert_eq!(readers(), before);
    let mut seen = BTreeSet::from([before]);
    for path in [
        "src/corpus/midi/track.rs",
        "src/corpus/mat/new.rs",
        "src/encoding/chord.rs",
        "src/random.rs",
        "Cargo.lock",
    ] {
        repository.write(path, "another");
        assert!(seen.insert(readers()), "{path} does not count");
    }
}

/// The sources below `folder`, with their paths in the package.
fn sources(folder: &str) -> impl Iterator<Item = (PathBuf, String)> {
    let walked = WalkDir::new(package().join(folder)).into_iter();
    walked.filter_map(|entry| {
        let path = entry.unwrap().into_path();
        let is_source = path.extension().is_some_and(|it| it == "rs");
        is_source.then(|| {
            let text = fs::read_to_string(&path).unwrap();
            (path.strip_prefix(package()).unwrap().to_owned(), text)
        })
    })
}

/// The list of strings that `build.rs` calls `name`.
fn listed(name: &str) -> Vec<String> {
    let script = fs::read_to_string(package().join("build.rs")).unwrap();
    let (_, rest) = script.split_once(&format!("const {name}: ")).unwrap();
    let (list, _) = rest.split_once("];").unwrap();
    let strings = list.split('"').skip(1).step_by(2);
    strings.map(str::to_owned).collect()
}

#[test]
fn every_file_that_is_compiled_in_counts_as_code() {
    let code = listed("CODE");
    let mut included = 0;
    for (source, text) in sources("src") {
        for start in ["include_str!(\"", "include_bytes!(\""] {
            for rest in text.split(start).skip(1) {
                let (name, _) = rest.split_once('"').unwrap();
                let path = source.parent().unwrap().join(name);
                let path = package().join(path).canonicalize().unwrap();
                let path = path
                    .strip_prefix(package().canonicalize().unwrap())
                    .unwrap();
                assert!(
                    code.iter().any(|it| path.starts_with(it)),
                    "{}: build.rs does not name '{}'",
                    source.display(),
                    path.display()
                );
                included += 1;
            }
        }
    }
    assert!(included >= 7, "only {included} found");
}

/// Modules that readers use and that decide nothing of what they read.
const HARMLESS: [&str; 4] = ["exit_code", "mirror", "skip", "tell"];

#[test]
fn the_readers_use_nothing_that_their_hash_leaves_out() {
    let readers = listed("READERS");
    for (source, text) in sources("src/corpus").chain(sources("src/encoding")) {
        for rest in text.split("crate::").skip(1) {
            let is_letter = |letter: char| letter.is_ascii_lowercase() || letter == '_';
            let end = rest.find(|it| !is_letter(it)).unwrap_or(rest.len());
            let module = &rest[..end];
            let counts = [format!("src/{module}"), format!("src/{module}.rs")];
            assert!(
                HARMLESS.contains(&module) || counts.iter().any(|it| readers.contains(it)),
                "{}: build.rs does not name '{module}' among the readers",
                source.display()
            );
        }
    }
}
