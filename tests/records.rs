//! Runs as they were once written, which every later harness must read: `tests/records/finished` and `tests/records/interrupted`, made by
//! a harness of record format 1 from `tests/records/tiny.yaml`. They are never written anew; a new format gets folders of its own. They were
//! trained on chorales that harness no longer composes, so tests that go on with a run make their own from `tiny.yaml`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use harness::kernel::KernelPath;
use harness::report::record::RunRecord;
use harness::run::{State, StoredRun};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/records")
        .join(name)
}

/// A copy of the fixture `name` where runs lie, below `folder`.
fn copied(name: &str, folder: &Path) -> PathBuf {
    let target = folder.join("runs/tiny").join(name);
    for entry in walkdir::WalkDir::new(fixture(name)) {
        let entry = entry.unwrap();
        let path = target.join(entry.path().strip_prefix(fixture(name)).unwrap());
        if entry.file_type().is_dir() {
            fs::create_dir_all(path).unwrap();
        } else {
            fs::copy(entry.path(), path).unwrap();
        }
    }
    target
}

/// Runs a command; its exit code, and all that it printed.
fn harness(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&printed).into_owned(),
    )
}

#[test]
fn a_finished_run_of_format_1_is_read_to_the_last_number() {
    let run = StoredRun::open(&fixture("finished"), false).unwrap();
    assert_eq!((run.record.format, run.state()), (1, State::Finished));
    let found = run.verify().unwrap();
    assert_eq!((found.problems, found.unknown), (vec![], vec![]));
    let metrics = run.metrics().unwrap();
    let last = |split: &str, metric: &str| {
        let curve = metrics.series(split, metric).unwrap();
        let point = curve.last().unwrap();
        (point.step, point.epoch, point.value)
    };
    assert_eq!(last("valid", "loss"), (20, 1, 5.554663538634777));
    assert_eq!(last("test", "loss"), (20, 1, 5.534616734087467));
    assert_eq!(
        run.timings()
            .unwrap()
            .series("train", "seconds")
            .unwrap()
            .len(),
        1
    );
    let weights = run.final_weights().unwrap();
    let names: Vec<&str> = weights.iter().map(|array| array.name.as_str()).collect();
    let expected = [
        "embedding",
        "lstm.0.bias",
        "lstm.0.w_hh",
        "lstm.0.w_ih",
        "output.bias",
        "output.weight",
    ];
    assert_eq!(names, expected);
    let checkpoint = run.checkpoint(20).unwrap();
    assert_eq!((checkpoint.step, checkpoint.best_step), (20, Some(20)));

    let record = RunRecord::of(run);
    assert_eq!(record.problems, [] as [&str; 0]);
    assert_eq!(record.number("corpus.tokens"), Some(13_898.0));
    assert_eq!(record.claims.len(), 1);
    assert_eq!((record.evaluation.len(), record.samples.len()), (16, 2));
    assert!(!record.corpus.is_empty() && !record.notes.is_empty() && !record.points.is_empty());
}

#[test]
fn the_score_on_test_of_format_1_is_told_with_the_weights_that_it_is_of() {
    let folder = tempfile::tempdir().unwrap();
    let path = copied("finished", folder.path());
    let (code, told) = harness(folder.path(), &["show", path.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("5.5346 (weights of step 20, best on valid)"),
        "{told}"
    );
}

#[test]
fn a_record_of_format_1_is_written_as_it_was() {
    for name in ["finished", "interrupted"] {
        let text = fs::read_to_string(fixture(name).join("record.json")).unwrap();
        let record: harness::run::Record = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string_pretty(&record).unwrap() + "\n", text);
    }
}

/// A run of `tiny.yaml` below `folder`, interrupted after its first checkpoint: its folder, and the step of its last one.
#[cfg(unix)]
fn interrupted(folder: &Path) -> (PathBuf, u64) {
    let experiment = folder.join("tiny.yaml");
    fs::copy(fixture("tiny.yaml"), experiment).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["run", "tiny.yaml", "--threads", "1"])
        .args(["-S", "training.epochs=5"])
        .args(["-S", "training.checkpoint_every=100"])
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    // The folder of the run, and the step of its last checkpoint.
    let last_checkpoint = || {
        let runs = fs::read_dir(folder.join("runs/tiny")).ok()?;
        let run = runs.map(|it| it.unwrap().path()).find(|it| it.is_dir())?;
        let files = fs::read_dir(run.join("checkpoints")).ok()?;
        let names = files.map(|it| it.unwrap().file_name().into_string().unwrap());
        let steps = names.filter_map(|name| {
            let step = name.strip_prefix("step-")?;
            step.strip_suffix(".safetensors")?.parse().ok()
        });
        Some((run, steps.max()?))
    };
    while last_checkpoint().is_none() {
        assert!(started.elapsed() < Duration::from_secs(60), "no checkpoint");
        std::thread::sleep(Duration::from_millis(2));
    }
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status();
    assert!(sent.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    last_checkpoint().unwrap()
}

#[test]
fn an_interrupted_run_of_format_1_is_read_and_does_not_go_on_with_other_music() {
    let folder = tempfile::tempdir().unwrap();
    let path = copied("interrupted", folder.path());
    let run = StoredRun::open(&path, false).unwrap();
    assert_eq!(run.state(), State::Interrupted);
    assert_eq!(run.verify().unwrap().problems, vec![]);
    assert!(!run.metrics().unwrap().rows().unwrap().is_empty());
    let checkpoint = run.checkpoint(11).unwrap();
    assert_eq!((checkpoint.step, checkpoint.best_step), (11, None));
    let (code, told) = harness(folder.path(), &["resume", "latest", "--threads", "1"]);
    assert_eq!(code, Some(3), "{told}");
    assert!(
        told.contains("is not what run interrupted was started on"),
        "{told}"
    );
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_goes_on_and_keeps_what_was_logged() {
    let folder = tempfile::tempdir().unwrap();
    let (path, step) = interrupted(folder.path());
    let before = StoredRun::open(&path, false).unwrap();
    assert_eq!(before.state(), State::Interrupted);
    assert_eq!(before.verify().unwrap().problems, vec![]);
    let logged = before.metrics().unwrap().rows().unwrap();
    assert!(!logged.is_empty());
    let (code, told) = harness(folder.path(), &["resume", "latest", "--threads", "1"]);
    assert_eq!(code, Some(0), "{told}");
    let after = StoredRun::open(&path, false).unwrap();
    assert_eq!(
        (after.state(), after.record.resumed.len()),
        (State::Finished, 1)
    );
    assert_eq!(after.record.resumed[0].from_step, Some(step));
    let rows = after.metrics().unwrap().rows().unwrap();
    assert!(
        logged.iter().all(|row| rows.contains(row)),
        "what was logged is lost"
    );
}

#[cfg(unix)]
#[test]
fn a_run_is_concluded_at_its_last_checkpoint_and_can_be_executed_again() {
    let folder = tempfile::tempdir().unwrap();
    let (path, step) = interrupted(folder.path());
    let conclude = || harness(folder.path(), &["conclude", "latest", "--threads", "1"]);
    let (code, told) = conclude();
    assert_eq!(code, Some(0), "{told}");
    let run = StoredRun::open(&path, false).unwrap();
    assert_eq!(
        (run.state(), run.record.concluded_at),
        (State::Finished, Some(step))
    );
    assert_eq!(run.verify().unwrap().problems, vec![]);
    let metrics = run.metrics().unwrap();
    for split in ["train", "valid", "test"] {
        let curve = metrics.series(split, "loss").unwrap();
        assert_eq!(curve.last().unwrap().step, step, "{split}");
    }
    let record = RunRecord::of(run);
    let epochs = record.number("training.epochs").unwrap();
    assert_eq!(record.number("training.steps"), Some(step as f64));
    assert!(epochs > 0.0 && epochs < 5.0, "{epochs}");
    let (_, told) = harness(folder.path(), &["list"]);
    assert!(told.contains(" concluded"), "{told}");
    let page = fs::read_to_string(path.join("report.html")).unwrap();
    assert!(
        page.contains("Concluded early.")
            && page.contains(&format!("at step {step}, epochs trained: "))
    );

    let (code, told) = conclude();
    assert_eq!(code, Some(3), "{told}");
    assert!(told.contains("finished"), "{told}");
    let (code, told) = harness(folder.path(), &["reproduce", "latest", "--threads", "1"]);
    assert_eq!(code, Some(0), "{told}");
    let best = KernelPath::detect().name();
    assert!(told.contains("identical"), "{told}");
    let paths = format!("recorded on {best}; runs on {best}");
    assert!(told.contains(&paths), "{told}");
}

#[cfg(unix)]
#[test]
fn a_run_goes_on_as_another_experiment_only_where_that_is_accepted_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (path, step) = interrupted(folder.path());
    let before = fs::read(path.join("record.json")).unwrap();
    let resume = |arguments: &[&str]| {
        harness(
            folder.path(),
            &[&["resume", "latest", "--threads", "1"], arguments].concat(),
        )
    };
    let change = "training.learning_rate: 0.01 → 0.005";
    let (code, told) = resume(&["-S", "training.learning_rate=0.005"]);
    assert_eq!(code, Some(2), "{told}");
    assert!(
        told.contains(change) && told.contains("--accept-changes"),
        "{told}"
    );
    let (code, told) = resume(&["-S", "model.hidden=8", "--accept-changes"]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("model.hidden: 4 → 8"), "{told}");
    assert_eq!(fs::read(path.join("record.json")).unwrap(), before);

    let (code, told) = resume(&["-S", "training.learning_rate=0.005", "--accept-changes"]);
    assert_eq!(code, Some(0), "{told}");
    let run = StoredRun::open(&path, false).unwrap();
    assert_eq!(run.verify().unwrap().problems, vec![]);
    assert_eq!(run.record.changed_at(), Some(step));
    let events = &run.record.events;
    assert!(
        events.iter().any(|event| event.what.contains(change)),
        "{events:?}"
    );
    let rates = run
        .metrics()
        .unwrap()
        .series("train", "learning_rate")
        .unwrap();
    let expected = |at: u64| if at <= step { 0.01 } else { 0.005 };
    assert!(rates.iter().all(|it| it.value == expected(it.step)));
    let steps = [rates[0].step, rates[rates.len() - 1].step];
    assert!(steps[0] <= step && steps[1] > step, "{steps:?}");
    let yaml = run.experiment_yaml().unwrap();
    assert!(yaml.contains("learning_rate: 0.005"), "{yaml}");
    let first = fs::read_to_string(path.join("experiment.yaml")).unwrap();
    assert!(first.contains("learning_rate: 0.01"), "{first}");
    let page = fs::read_to_string(path.join("report.html")).unwrap();
    assert!(page.contains("Changed on the way") && page.contains(change));
    let (code, told) = harness(folder.path(), &["reproduce", "latest"]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains(&format!("from step {step}")), "{told}");
    let (code, told) = resume(&["-S", "training.epochs=9", "--accept-changes"]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("finished"), "{told}");
}

#[test]
fn a_run_of_format_1_is_exported_and_a_changed_byte_ends_the_check_with_4() {
    let folder = tempfile::tempdir().unwrap();
    copied("finished", folder.path());
    let (code, printed) = harness(folder.path(), &["export", "tiny@1", "-o", "out"]);
    assert_eq!(code, Some(0), "{printed}");
    let (code, printed) = harness(folder.path(), &["export", "--check", "out"]);
    assert!(
        code == Some(0) && printed.contains("out is intact"),
        "{printed}"
    );
    let table = folder.path().join("out/metrics.parquet");
    let mut bytes = fs::read(&table).unwrap();
    bytes[10] ^= 1;
    fs::write(&table, bytes).unwrap();
    let (code, printed) = harness(folder.path(), &["export", "--check", "out"]);
    assert!(
        code == Some(4) && printed.contains("metrics.parquet: "),
        "{printed}"
    );
    // A folder that is no export is another matter than a damaged one.
    let (code, printed) = harness(folder.path(), &["export", "--check", "runs"]);
    assert!(
        ![Some(0), Some(4)].contains(&code) && printed.contains("no whole export"),
        "{printed}"
    );
}
