//! The binary as a user runs it, on the built-in corpus, in a folder of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A model and corpus so small that a run takes seconds, with enough steps to be interrupted in.
const EXPERIMENT: &str = "\
title: A small run
corpus: counterpoint
split: {kind: hash, valid: 0.1, test: 0.1}
vocabulary: {from: corpus}
model: {embedding: 16, hidden: 16}
training: {epochs: 2, batch_size: 20, sequence_length: 40, learning_rate: 0.01, checkpoint_every: 10, log_every: 5}
analysis: {iterations: 50, seeds: [1], permutations: 99}
samples: {count: 1, length: 60}
";

fn harness(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("HARNESS_MIRROR")
        .env_remove("HARNESS_DATA")
        .output()
        .expect("the binary starts")
}

fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// Runs a command that must succeed, and returns its standard output.
fn succeed(folder: &Path, arguments: &[&str]) -> String {
    let output = harness(folder, arguments);
    let (out, err) = text(&output);
    assert!(
        output.status.success(),
        "harness {arguments:?}: {}\n{out}\n{err}",
        output.status
    );
    out
}

fn folder_with_experiment() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("small.yaml"), EXPERIMENT).unwrap();
    folder
}

fn run_folder(folder: &Path, printed: &str) -> PathBuf {
    folder.join(
        printed
            .lines()
            .last()
            .expect("a run prints its folder")
            .trim(),
    )
}

#[test]
fn an_experiment_is_run_shown_reported_compared_and_generated_from() {
    let folder = folder_with_experiment();
    let folder = folder.path();
    let first = run_folder(folder, &succeed(folder, &["run", "small.yaml"]));
    for file in [
        "experiment.yaml",
        "record.json",
        "metrics.parquet",
        "timings.parquet",
        "evaluation.parquet",
        "corpus_statistics.parquet",
        "embeddings.parquet",
        "tsne.parquet",
        "statistics.json",
        "samples/sample-1.mid",
        "report.html",
        "final.safetensors",
        "vocabulary.tsv",
        "log",
    ] {
        assert!(first.join(file).is_file(), "{file} is missing");
    }
    let statistics: serde_json::Value =
        serde_json::from_slice(&fs::read(first.join("statistics.json")).unwrap()).unwrap();
    assert_eq!(statistics["corpus"]["pieces"], 120);
    assert_eq!(statistics["training"]["epochs"], 2);

    let second = run_folder(
        folder,
        &succeed(folder, &["run", "small.yaml", "--threads", "1"]),
    );
    let bytes = |run: &Path, file: &str| fs::read(run.join(file)).unwrap();
    for file in [
        "metrics.parquet",
        "final.safetensors",
        "evaluation.parquet",
        "samples/sample-1.mid",
        "statistics.json",
    ] {
        assert_eq!(
            bytes(&first, file),
            bytes(&second, file),
            "{file} depends on the number of threads"
        );
    }
    assert!(succeed(folder, &["reproduce", "small@2"]).contains("identical"));

    let listed = succeed(folder, &["list", "--json"]);
    assert_eq!(listed.lines().count(), 3, "{listed}");
    assert!(succeed(folder, &["show", "latest"]).contains("finished"));
    succeed(folder, &["verify", "latest"]);

    succeed(
        folder,
        &["run", "small.yaml", "-S", "training.learning_rate=0.0001"],
    );
    let difference = succeed(folder, &["diff", "small@2", "small@1"]);
    assert!(
        difference.contains("training.learning_rate"),
        "{difference}"
    );
    assert!(difference.contains("regressed"), "{difference}");
    let gate = harness(
        folder,
        &[
            "diff",
            "small@2",
            "small@1",
            "--fail-on",
            "untested-regression",
        ],
    );
    assert_eq!(gate.status.code(), Some(1));

    succeed(
        folder,
        &["generate", "small@2", "--seed", "7", "-o", "a.mid"],
    );
    succeed(
        folder,
        &["generate", "small@2", "--seed", "7", "-o", "b.mid"],
    );
    let again = ["generate", "small@2", "--seed", "8", "-o", "b.mid"];
    let refused = harness(folder, &again);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused).1.contains("--force"));
    succeed(
        folder,
        &[
            "generate", "small@2", "--seed", "8", "--primer", "a.mid", "-o", "c.mid",
        ],
    );
    assert_eq!(
        fs::read(folder.join("a.mid")).unwrap(),
        fs::read(folder.join("b.mid")).unwrap()
    );
    assert_ne!(
        fs::read(folder.join("a.mid")).unwrap(),
        fs::read(folder.join("c.mid")).unwrap()
    );

    for file in ["a.mid", "c.mid"] {
        assert!(closed_notes(&folder.join(file)) > 0, "{file}");
    }
    let samples: serde_json::Value =
        serde_json::from_slice(&bytes(&first, "samples.json")).unwrap();
    for sample in samples.as_array().unwrap() {
        let file = format!("samples/{}", sample["file"].as_str().unwrap());
        let notes = sample["notes"].as_array().unwrap().len();
        assert_eq!(closed_notes(&first.join(&file)), notes, "{file}");
    }

    evaluated_as_recorded(folder);

    succeed(folder, &["report"]);
    assert!(folder.join("runs/report/index.html").is_file());
    assert!(folder.join("runs/report/small/index.html").is_file());

    // A claim can name every number that a run measures.
    let names = harness::measurable::names();
    let mut numbers = Vec::new();
    number_paths(&statistics, String::new(), &mut numbers);
    assert!(numbers.len() > 100, "{numbers:?}");
    for number in numbers {
        assert!(names.contains(&number), "{number}");
    }

    // Options have no place after `--`, and damage has an exit code of its own.
    let misplaced = harness(
        folder,
        &[
            "diff", "small@2", "small@3", "--", "small@1", "small@4", "--json",
        ],
    );
    assert_eq!(misplaced.status.code(), Some(2));
    assert!(text(&misplaced).1.contains("'--json' stands after `--`"));
    succeed(folder, &["report", "--publish", "small@2"]);
    succeed(folder, &["report", "--published"]);
    let damaged = fs::read_dir(folder.join("reports/records/small")).unwrap();
    let damaged = damaged
        .map(|it| it.unwrap().path())
        .next()
        .unwrap()
        .join("evaluation.parquet");
    fs::write(damaged, "no table").unwrap();
    for arguments in [
        &["report", "--published", "--check"][..],
        &["report", "--published"],
    ] {
        let output = harness(folder, arguments);
        let (_, err) = text(&output);
        assert_eq!(output.status.code(), Some(4), "{arguments:?}: {err}");
        assert!(
            err.contains("damaged: reports/records/small/") && err.contains("evaluation.parquet"),
            "{err}"
        );
    }
}

/// How many notes a MIDI file has, each of which must end.
fn closed_notes(file: &Path) -> usize {
    use harness::corpus::score::NoteKind;
    let score = harness::corpus::midi::read(&fs::read(file).unwrap()).score;
    let (mut sounding, mut count) = (std::collections::HashSet::new(), 0);
    for (track, messages) in score.unwrap().tracks.iter().enumerate() {
        for message in messages {
            let key = (track, message.pitch);
            let changed = match message.kind {
                NoteKind::On => sounding.insert(key),
                NoteKind::Off => sounding.remove(&key),
            };
            assert!(changed, "{}: {message:?}", file.display());
            count += usize::from(message.kind == NoteKind::On);
        }
    }
    assert!(sounding.is_empty(), "{}: {sounding:?}", file.display());
    count
}

/// What `evaluate` exports adds up to what it prints, and that is what the record says, to the last bit.
fn evaluated_as_recorded(folder: &Path) {
    for split in ["valid", "test"] {
        let file = format!("{split}.parquet");
        let arguments = [
            "evaluate", "small@2", "--split", split, "-o", &file, "--json",
        ];
        let printed: serde_json::Value =
            serde_json::from_str(&succeed(folder, &arguments)).unwrap();
        let loss = &printed["metrics"]["loss"];
        assert_eq!(loss["value"], loss["recorded"], "{printed}");
        let bytes = fs::read(folder.join(&file)).unwrap();
        let table = harness::run::Table::from_parquet(&bytes).unwrap();
        let probabilities = table.f64s("probability").unwrap();
        assert_eq!(printed["steps"], probabilities.len());
        let nats: f64 = probabilities.iter().map(|it| -it.ln()).sum();
        let mean = nats / probabilities.len() as f64;
        assert!(
            (mean - loss["value"].as_f64().unwrap()).abs() < 1e-9,
            "{mean} {loss}"
        );
        assert!(
            table.texts("symbol").unwrap()[0].starts_with("note-on-"),
            "{split}"
        );
    }
}

/// The dotted paths of all numbers in `value`.
fn number_paths(value: &serde_json::Value, path: String, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (key, value) in fields {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                number_paths(value, path, found);
            }
        }
        serde_json::Value::Number(_) => found.push(path),
        _ => {}
    }
}

#[cfg(unix)]
#[test]
fn a_run_interrupted_in_its_evaluations_is_resumed_to_the_same_bits() {
    use rand::Rng;
    use std::process::Stdio;
    use std::time::{Duration, Instant};

    const FEWEST: usize = 4;
    const MOST: usize = 40;
    const WANTED: &str = "interrupted in an evaluation";

    // Most of the time goes into scoring, and there is more of it than the signals leave time for.
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let split = "split: {kind: hash, valid: 0.7, test: 0.1}\nevaluation: {batch_size: 1}";
    let text = EXPERIMENT
        .replace("split: {kind: hash, valid: 0.1, test: 0.1}", split)
        .replace("epochs: 2", "epochs: 40");
    fs::write(folder.join("small.yaml"), text).unwrap();
    let undisturbed = run_folder(folder, &succeed(folder, &["run", "small.yaml"]));
    let mut moments = harness::random::stream(1, "interruptions");
    let others = || {
        let runs = fs::read_dir(folder.join("runs/small")).unwrap();
        let mut paths = runs.map(|it| it.unwrap().path());
        paths.find(|it| *it != undisturbed && it.join("log").exists())
    };
    let log = || {
        others().map_or(String::new(), |run| {
            fs::read_to_string(run.join("log")).unwrap()
        })
    };
    let trainings = || log().matches(", from step").count();
    let mut arguments = vec!["run", "small.yaml"];
    for interruptions in 1..=MOST {
        let before = trainings();
        let mut child = Command::new(env!("CARGO_BIN_EXE_harness"))
            .args(&arguments)
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while trainings() == before {
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "no training was started"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_millis(moments.gen_range(0..300)));
        let sent = Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
        let finished = child.wait().unwrap().success();
        arguments = vec!["resume", "latest"];
        if finished || (interruptions >= FEWEST && log().contains(WANTED)) {
            break;
        }
    }
    succeed(folder, &["resume", "latest"]);
    let resumed = others().unwrap();
    for file in ["metrics.parquet", "final.safetensors", "statistics.json"] {
        let same =
            fs::read(undisturbed.join(file)).unwrap() == fs::read(resumed.join(file)).unwrap();
        assert!(same, "{file} differs after interruptions");
    }
    let log = log();
    assert!(log.contains(WANTED), "{log}");
}

#[cfg(unix)]
#[test]
fn a_run_killed_dozens_of_times_is_resumed_to_the_same_bits() {
    use rand::Rng;
    use std::process::{Child, Stdio};
    use std::time::{Duration, Instant};

    const RUNS: usize = 3;
    const KILLS: usize = 12;

    let folder = folder_with_experiment();
    let folder = folder.path();
    let undisturbed = run_folder(folder, &succeed(folder, &["run", "small.yaml"]));
    let spawn = |arguments: &[&str]| -> Child {
        Command::new(env!("CARGO_BIN_EXE_harness"))
            .args(arguments)
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut moments = harness::random::stream(1, "kills");
    let recorded = || {
        let runs = fs::read_dir(folder.join("runs/small")).unwrap();
        runs.filter(|run| run.as_ref().unwrap().path().join("record.json").exists())
            .count()
    };
    for run in 0..RUNS {
        let mut child = spawn(&["run", "small.yaml"]);
        let started = Instant::now();
        while recorded() < run + 2 {
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "no run was started"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        for kill in 0..KILLS {
            std::thread::sleep(Duration::from_millis(moments.gen_range(0..150)));
            child.kill().unwrap();
            child.wait().unwrap();
            let threads = if kill % 2 == 0 { "1" } else { "2" };
            child = spawn(&["resume", "latest", "--threads", threads]);
        }
        child.wait().unwrap();
        let listed = succeed(folder, &["list", "--json"]);
        let latest = listed
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .max_by_key(|run| run["number"].as_u64())
            .unwrap();
        assert_eq!(latest["status"], "finished", "{listed}");
        let resumed = folder
            .join("runs/small")
            .join(latest["id"].as_str().unwrap());
        for file in ["metrics.parquet", "final.safetensors", "statistics.json"] {
            let same =
                fs::read(undisturbed.join(file)).unwrap() == fs::read(resumed.join(file)).unwrap();
            assert!(same, "{file} differs after {KILLS} kills");
        }
    }
}

#[test]
fn what_is_wrong_is_named_with_its_exit_code() {
    let folder = folder_with_experiment();
    let folder = folder.path();
    let fails = |arguments: &[&str], code: i32, says: &str| {
        let output = harness(folder, arguments);
        let (_, err) = text(&output);
        assert_eq!(
            output.status.code(),
            Some(code),
            "harness {arguments:?}: {err}"
        );
        assert!(err.contains(says), "harness {arguments:?}: {err}");
    };
    fs::write(
        folder.join("misspelt.yaml"),
        EXPERIMENT.replace("batch_size", "batchsize"),
    )
    .unwrap();
    fails(&["run", "misspelt.yaml"], 2, "did you mean `batch_size`?");
    fails(&["run", "misspelt.yaml"], 2, "line 6");
    assert!(
        !folder.join("runs").exists(),
        "nothing is made before the experiment is checked"
    );
    fails(&["run", "absent.yaml"], 2, "absent.yaml");
    fails(
        &["run", "small.yaml", "-S", "training.epoch=1"],
        2,
        "did you mean `epochs`?",
    );
    fails(
        &["run", "small.yaml", "--device", "cuda"],
        2,
        "--features cuda",
    );
    fails(&["show", "latest"], 2, "latest");
    fails(
        &["run", "small.yaml", "-S", "corpus=mues"],
        2,
        "did you mean 'muse'?",
    );
}
