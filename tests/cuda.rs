//! The binary with a CUDA device, as a user runs it: an emulated one where there is no GPU (see `.ci/run`). Each command is a process
//! of its own, so that the tests may run side by side.
#![cfg(feature = "cuda")]

#[path = "../src/skip.rs"]
mod skip;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use harness::execute::footprint;
use harness::experiment::Experiment;
use serde_json::Value;
use skip::skipped;

/// A model and corpus so small that an emulated device computes them in seconds.
const EXPERIMENT: &str = "\
title: A small run
corpus: counterpoint
split: {kind: hash, valid: 0.1, test: 0.1}
vocabulary: {from: corpus}
model: {embedding: 12, hidden: 16}
training: {batch_size: 8, sequence_length: 10, learning_rate: 0.01, checkpoint_every: 1, log_every: 1}
evaluation: {batch_size: 8}
analysis: {iterations: 50, seeds: [1], permutations: 99}
samples: {count: 1, length: 20}
";

/// Stands before the emulated driver: answers what that leaves open, and counts memory.
const DRIVER: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
typedef unsigned long long address;
static size_t now, most;
int cuInit(unsigned flags) { return getenv("DRIVER_WITHOUT_DEVICE") ? 100 : 0; }
int cuDeviceGetName(char *name, int length, int device) { snprintf(name, length, "Stand-in 9000"); return 0; }
int cuDriverGetVersion(int *version) { *version = 13020; return 0; }
int cuMemGetInfo_v2(size_t *left, size_t *total) {
    *left = *total = strtoull(getenv("DRIVER_MEMORY"), 0, 10);
    return 0;
}
int cuMemAlloc_v2(address *pointer, size_t bytes) {
    int (*real)(address *, size_t) = dlsym(RTLD_NEXT, "cuMemAlloc_v2");
    int error = real(pointer, bytes);
    now += malloc_usable_size((void *)*pointer);
    if (now > most) most = now;
    return error;
}
int cuMemFree_v2(address pointer) {
    int (*real)(address) = dlsym(RTLD_NEXT, "cuMemFree_v2");
    now -= malloc_usable_size((void *)pointer);
    return real(pointer);
}
__attribute__((destructor)) static void tell(void) {
    const char *path = getenv("DRIVER_MOST");
    FILE *file = path ? fopen(path, "w") : 0;
    if (file) { fprintf(file, "%zu", most); fclose(file); }
}
"#;

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
        .env_remove("HARNESS_DATA");
    command
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs a command that must succeed, and returns its standard output.
fn succeed(command: &mut Command) -> String {
    let output = command.output().expect("the binary starts");
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        errors(&output)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Starts a run on `device` and kills it when it has left a checkpoint.
fn kill_after_a_checkpoint(folder: &Path, device: &str) {
    for attempt in 1..=5 {
        let mut child = command(
            folder,
            &["run", "small.yaml", "--smoke", "--device", device],
        )
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
        let started = Instant::now();
        // An unfinished file begins with another name.
        let has_checkpoint = || {
            files_in(&folder.join("runs/small"))
                .filter(|run| file_name(run).starts_with(&format!("{attempt:04}-")))
                .flat_map(|run| files_in(&run.join("checkpoints")))
                .any(|file| file_name(&file).starts_with("step-"))
        };
        while !has_checkpoint() && child.try_wait().unwrap().is_none() {
            assert!(
                started.elapsed() < Duration::from_secs(300),
                "no checkpoint"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let listed = succeed(&mut command(folder, &["list", "--json"]));
        let newest = listed
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .max_by_key(|run| run["number"].as_u64());
        if newest.is_some_and(|run| run["status"] == "died" && run["step"].as_u64() > Some(0)) {
            return;
        }
    }
    panic!("every run ended before it could be killed");
}

fn files_in(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path()))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

fn latest_record(folder: &Path) -> (PathBuf, Value) {
    let listed = succeed(&mut command(folder, &["list", "--json"]));
    let latest = listed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .max_by_key(|run| run["number"].as_u64())
        .unwrap();
    let path = folder.join(latest["path"].as_str().unwrap());
    let record = fs::read_to_string(path.join("record.json")).unwrap();
    (path, serde_json::from_str(&record).unwrap())
}

#[test]
fn a_run_moves_between_devices_and_its_record_says_so() {
    for [first, second] in [["cpu", "cuda"], ["cuda", "cpu"]] {
        let folder = folder_with_experiment();
        let folder = folder.path();
        kill_after_a_checkpoint(folder, first);
        succeed(&mut command(
            folder,
            &["resume", "latest", "--device", second],
        ));
        let (path, record) = latest_record(folder);
        let name = |device: &str| format!("{device}{}", if device == "cpu" { "" } else { ":0" });
        assert_eq!(record["status"], "finished");
        assert_eq!(record["device"], name(first));
        assert_eq!(record["resumed"][0]["device"], name(second));
        let resumed = &record["resumed"][0];
        assert!(resumed["from_step"].as_u64() > Some(0), "{resumed}");
        for file in ["embeddings.parquet", "tsne.parquet", "samples/sample-1.mid"] {
            assert!(path.join(file).is_file(), "{file} is missing");
        }
        let shown = succeed(&mut command(folder, &["show", "latest"]));
        for device in [first, second] {
            assert!(
                shown.contains(&format!("device {}", name(device))),
                "{shown}"
            );
        }
        for device in ["cpu", "cuda"] {
            let arguments = [
                "generate", "latest", "--seed", "3", "--length", "30", "--device", device, "-o",
                device,
            ];
            succeed(&mut command(folder, &arguments));
        }
        assert!(
            fs::read(folder.join("cpu")).unwrap() == fs::read(folder.join("cuda")).unwrap(),
            "the devices generate different music from the same weights and seed"
        );
        // Executed again as a whole on one device, every metric is the same within its tolerance.
        let again = succeed(&mut command(
            folder,
            &["reproduce", "latest", "--device", first],
        ));
        assert!(again.contains("\nequivalent: "), "{again}");
    }
}

/// A driver that says more than the emulated one, as a library to be loaded before it; `None` where no device is emulated.
fn driver(folder: &Path) -> Option<PathBuf> {
    if std::env::var_os("CUDA_EMULATOR_NVCC").is_none() {
        skipped("only an emulated CUDA driver can be made to refuse", false);
        return None;
    }
    let (source, library) = (folder.join("driver.c"), folder.join("libdriver.so"));
    fs::write(&source, DRIVER).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .status();
    assert!(compiled.unwrap().success());
    Some(library)
}

#[test]
fn a_device_that_is_not_there_or_too_small_is_refused_before_anything_is_read() {
    let folder = folder_with_experiment();
    let folder = folder.path();
    let Some(driver) = driver(folder) else { return };
    let refused = |arguments: &[&str], environment: (&str, &str), says: &str| {
        let mut command = command(folder, &[&["run", "small.yaml"], arguments].concat());
        command
            .env("LD_PRELOAD", &driver)
            .env("DRIVER_MEMORY", "4294967296")
            .env(environment.0, environment.1);
        let output = command.output().unwrap();
        let error = errors(&output);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(says), "{error}");
        assert!(
            !error.contains("panicked") && error.lines().count() == 1,
            "{error}"
        );
        assert!(!folder.join("runs").exists(), "a run was made: {error}");
    };
    let none = ("DRIVER_WITHOUT_DEVICE", "1");
    let small = ("DRIVER_MEMORY", "67108864");
    let enough = ("DRIVER_MEMORY", "4294967296");
    refused(
        &["--device", "cuda"],
        none,
        "device 'cuda:0' does not answer",
    );
    refused(
        &["--device", "cuda:3"],
        enough,
        "the driver has 1 CUDA devices",
    );
    refused(&["--device", "cuda"], small, "64 MiB are free");
    let bf16 = ["--device", "cuda", "-S", "training.precision=bf16"];
    refused(&bf16, enough, "precision bf16");

    let mut auto = command(folder, &["run", "small.yaml", "--dry-run"]);
    auto.env("LD_PRELOAD", &driver).env(none.0, none.1);
    let output = auto.output().unwrap();
    assert!(errors(&output).contains("on cpu ("), "{}", errors(&output));
    let says = "--device auto takes the CPU: the CUDA driver does not start";
    assert!(errors(&output).contains(says), "{}", errors(&output));
    let mut auto = command(folder, &["run", "small.yaml", "--smoke"]);
    succeed(auto.env("LD_PRELOAD", &driver).env(none.0, none.1));
    let (_, record) = latest_record(folder);
    let events = record["events"].to_string();
    assert!(events.contains(says), "{events}");
}

#[test]
fn a_record_names_the_device_and_its_training_takes_the_memory_that_was_computed() {
    let folder = folder_with_experiment();
    let folder = folder.path();
    let Some(driver) = driver(folder) else { return };
    let most = folder.join("most");
    // Wide enough for the parts to be told apart.
    let overrides = ["model.hidden=40", "training.batch_size=16"];
    let mut run = command(
        folder,
        &["run", "small.yaml", "--smoke", "--device", "cuda"],
    );
    for setting in overrides {
        run.args(["-S", setting]);
    }
    succeed(
        run.env("LD_PRELOAD", &driver)
            .env("DRIVER_MEMORY", "4294967296")
            .env("DRIVER_MOST", &most),
    );
    let (path, record) = latest_record(folder);
    assert_eq!(record["emulated"], true);
    assert_eq!(record["hardware"]["name"], "Stand-in 9000");
    assert_eq!(record["hardware"]["driver"], "CUDA 13.2");
    assert_eq!(record["hardware"]["memory"], 4_294_967_296_u64);
    let shown = succeed(&mut command(folder, &["show", "latest"]));
    assert!(
        shown.contains("cuda:0 (emulated): Stand-in 9000, 4096 MiB"),
        "{shown}"
    );

    let statistics = fs::read(path.join("statistics.json")).unwrap();
    let statistics: Value = serde_json::from_slice(&statistics).unwrap();
    let vocabulary = statistics["vocabulary"]["size"].as_u64().unwrap() as usize;
    let text = fs::read_to_string(path.join("experiment.yaml")).unwrap();
    let computed = footprint(&Experiment::parse(&text, &[]).unwrap(), vocabulary).total() as f64;
    let measured: f64 = fs::read_to_string(most).unwrap().parse().unwrap();
    assert!(
        (0.7..=1.0).contains(&(measured / computed)),
        "{measured} bytes at most, {computed} computed"
    );
}
