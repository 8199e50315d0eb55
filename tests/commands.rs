//! What the commands have in common, as a user meets it: exit codes, a standard output that nobody reads, threads, warnings.

#[path = "../src/skip.rs"]
mod skip;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use skip::skipped;

/// A model and corpus so small that a smoke run takes seconds.
const EXPERIMENT: &str = "\
title: A small run
corpus: counterpoint
split: {kind: hash, valid: 0.1, test: 0.1}
vocabulary: {from: corpus}
model: {embedding: 16, hidden: 16}
training: {batch_size: 20, sequence_length: 40, learning_rate: 0.01, checkpoint_every: 10, log_every: 5}
analysis: {iterations: 50, seeds: [1], permutations: 99}
samples: {count: 1, length: 60}
";

fn folder_with_experiment() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("small.yaml"), EXPERIMENT).unwrap();
    folder
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
    command
        .args(arguments)
        .current_dir(folder)
        .env_remove("HARNESS_MIRROR")
        .env_remove("HARNESS_DATA")
        .env_remove("RAYON_NUM_THREADS");
    command
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs the small experiment as a smoke run with more arguments, and returns what it said and its folder.
fn smoke_run(folder: &Path, arguments: &[&str]) -> (String, std::path::PathBuf) {
    let arguments = [&["run", "small.yaml", "--smoke"], arguments].concat();
    let output = command(folder, &arguments).output().unwrap();
    assert!(output.status.success(), "{}", errors(&output));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    (errors(&output), folder.join(printed.trim()))
}

#[test]
fn a_standard_output_that_nobody_reads_ends_no_command_with_an_error() {
    let folder = folder_with_experiment();
    let folder = folder.path();
    smoke_run(folder, &[]);
    for arguments in [
        "--help",
        "list",
        "list --json",
        "show latest",
        "show latest --json",
        "verify latest",
        "evaluate latest",
        "diff latest latest",
        "reproduce latest",
        "report",
        "report --check",
        "run small.yaml --dry-run",
        "run small.yaml --smoke",
        "corpus list",
        "corpus list --json",
        "corpus fetch counterpoint",
        "corpus stats counterpoint",
        "corpus stats counterpoint --files",
        "corpus stats counterpoint --files --json",
        "corpus verify counterpoint",
        "corpus verify counterpoint --json",
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let words: Vec<&str> = arguments.split(' ').collect();
        let output = command(folder, &words)
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output()
            .unwrap();
        let said = errors(&output);
        assert_eq!(output.status.code(), Some(0), "{arguments}: {said}");
        assert!(
            !said.contains("error") && !said.contains("panicked"),
            "{arguments}: {said}"
        );
    }
}

#[test]
fn each_way_to_fail_has_its_exit_code() {
    let folder = folder_with_experiment();
    let folder = folder.path();
    let (_, run) = smoke_run(folder, &[]);
    fs::create_dir(folder.join("own")).unwrap();
    fs::copy(run.join("samples/sample-1.mid"), folder.join("own/a.mid")).unwrap();
    let ends = |environment: &[(&str, &str)], arguments: &str, code: i32, says: &str| {
        let words: Vec<&str> = arguments.split(' ').collect();
        let output = command(folder, &words)
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        let said = errors(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments}: {said}");
        assert!(said.contains(says), "{arguments}: {said}");
    };
    let usage = |arguments: &str, says: &str| ends(&[], arguments, 2, says);
    usage("run small.yaml -S training.epochs=0", "training.epochs");
    usage("run absent.yaml", "absent.yaml");
    usage("run small.yaml --threads 0", "--threads");
    usage("run small.yaml --kernel-path sse9", "sse9");
    usage(
        "run small.yaml -S training.batch_size=100000",
        "too few for one batch",
    );
    usage(
        "run small.yaml -S split.kind=published",
        "has no published split",
    );
    usage("resume 0001 -S training.seed=9", "is finished");
    usage("generate 0001 -o absent/a.mid", "no folder 'absent'");
    usage("generate 0001 -o a.mid --primer absent.mid", "absent.mid");
    usage("generate 0001 -o a.mid --temperature=-1", "temperature");
    usage("evaluate 0001 -o absent/a.parquet", "no folder 'absent'");
    usage("diff 0001 0001 --only nothing", "no metric");
    usage("report --check", "`harness report` writes");
    usage("corpus stats absent", "unknown corpus");
    let mut empty = 0;
    for split in ["train", "valid", "test"] {
        let output = command(folder, &["corpus", "stats", "own", "--split", split])
            .output()
            .unwrap();
        if output.status.code() == Some(2) {
            let said = errors(&output);
            assert!(said.contains("holds none of its 1 pieces"), "{said}");
            empty += 1;
        }
    }
    assert_eq!(empty, 2, "one piece is in one split");
    let off = "HARNESS_WITHOUT_KERNEL_PATHS";
    ends(&[(off, "avx3")], "run small.yaml", 2, "'avx3'");

    let fails = |environment: (&str, &str), arguments: &str, says: &str| {
        ends(&[environment], arguments, 3, says);
    };
    let mirror = ("HARNESS_MIRROR", "nowhere");
    fails(mirror, "corpus fetch muse", "is not a directory");
    fails(
        mirror,
        "run small.yaml -S corpus=muse",
        "is not a directory",
    );
    fails(
        ("HARNESS_DATA", "small.yaml"),
        "corpus fetch muse",
        "HARNESS_DATA",
    );
    let record = fs::read_to_string(run.join("record.json")).unwrap();
    let newer = record.replacen("\"format\": 1", "\"format\": 1000", 1);
    let newer = newer.replacen("\"format\": 2", "\"format\": 1000", 1);
    assert_ne!(newer, record);
    fs::write(run.join("record.json"), newer).unwrap();
    fails(("A", "a"), "verify 0001", "a newer harness wrote it");
}

#[test]
fn a_kernel_path_that_is_switched_off_is_not_used() {
    let folder = folder_with_experiment();
    let off = |paths: &str, arguments: &[&str]| {
        let arguments = [&["run", "small.yaml", "--dry-run"], arguments].concat();
        let output = command(folder.path(), &arguments)
            .env("HARNESS_WITHOUT_KERNEL_PATHS", paths)
            .output();
        errors(&output.unwrap())
    };
    let all = "avx512bf16,avx512,avx2";
    assert!(off(all, &[]).contains("(plain kernels,"));
    let said = off(all, &["--kernel-path", "avx2"]);
    assert!(
        said.contains("switched off") || said.contains("this CPU has plain"),
        "{said}"
    );
}

/// The most threads that a command had at once, looked at again and again.
#[cfg(target_os = "linux")]
fn most_threads(mut command: Command) -> usize {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let tasks = format!("/proc/{}/task", child.id());
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        // The folder may be gone by now.
        most = most.max(fs::read_dir(&tasks).map_or(0, Iterator::count));
    }
    assert!(child.wait().unwrap().success());
    most
}

#[test]
#[cfg(target_os = "linux")]
fn a_corpus_is_opened_on_as_many_threads_as_were_asked_for() {
    if std::thread::available_parallelism().unwrap().get() < 2 {
        return skipped("this machine runs one thread at a time", false);
    }
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["corpus", "stats", "counterpoint", "--threads", "1"];
    let most = most_threads(command(folder.path(), &arguments));
    // The program's own, one that opens, and one that encodes, which may begin before the other has quite ended.
    assert!((2..=3).contains(&most), "{most} threads");
}

#[test]
fn a_perplexity_that_is_lowered_is_told_in_the_terminal_the_record_and_the_page() {
    let folder = folder_with_experiment();
    let (said, run) = smoke_run(folder.path(), &["-S", "analysis.perplexity=5000"]);
    let says = "too few for the perplexity 5000 that was asked for: it is drawn with ";
    assert!(said.contains(says), "{said}");
    let record: Value =
        serde_json::from_slice(&fs::read(run.join("record.json")).unwrap()).unwrap();
    assert!(record["events"].to_string().contains(says));
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains(says));
    // In the table of the maps, and below the picture.
    assert!(page.contains("asked for: 5,000") || page.contains("asked for: 5000</"));
    assert!(page.contains("(asked for: 5000)"));
}
